//! What the heartbeats of a tree go by: which monitors there are, and what a monitor watches.

use crate::{
    data::{read_key, read_password},
    error::CliError,
    topology::{
        Monitor, Node, Role, ServiceKind, Topology,
        elements::{engine::EngineUrl, role::RoleName},
    },
};
use monitor::{
    channel::{MailServer, Target, Url},
    config::{ChannelConfig, MonitorConfig, WatchedNode},
    store::Site,
};
use net::{
    agent::{Agent, AgentConfig},
    node::NodeConfig,
    shutdown::Shutdown,
    tls::{ClientTls, Spoken},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// Starts the node's agent; `None` in a tree without a monitor.
pub(super) fn agent(
    tree: &Topology,
    node: &Node,
    base: &NodeConfig,
    shutdown: &Shutdown,
) -> Result<Option<Agent>, CliError> {
    let monitors: Vec<&Monitor> = monitors(tree).filter(|it| !is_own(it, node)).collect();
    let Some(every) = monitors.iter().map(|it| it.beat.every).min() else { return Ok(None) };
    let config = AgentConfig {
        node: base.name.clone(),
        role: node.role.name().text(),
        version: env!("CARGO_PKG_VERSION"),
        monitors: monitors.iter().map(|it| reachable(it.http)).collect(),
        every,
        key: base.cluster_key.clone(),
        folder: folder(tree, node),
        limits: node.checks.clone(),
    };
    let agent = Agent::start(config, base.watched.clone(), shutdown.clone());
    agent.map(Some).map_err(|error| CliError::io("cannot start the heartbeat agent", &error))
}

fn monitors(tree: &Topology) -> impl Iterator<Item = &Monitor> {
    tree.nodes.iter().filter_map(|node| match &node.role {
        Role::Monitor(monitor) => Some(monitor),
        Role::Balancer { .. } | Role::Gateway { .. } | Role::Account { .. } => None,
    })
}

/// The monitors that come before this one in the file: as long as one of them is there, it tells.
fn before(tree: &Topology, role: &Monitor) -> Vec<String> {
    let monitors = tree.nodes.iter().filter(|it| it.role.name() == RoleName::Monitor);
    monitors.take_while(|it| !is_own(role, it)).map(|it| it.name.clone()).collect()
}

/// A monitor does not watch itself: it could not tell anybody.
fn is_own(monitor: &Monitor, node: &Node) -> bool {
    node.role.name() == RoleName::Monitor && node.role.http() == Some(monitor.http)
}

/// An address that takes in every interface is reached by loopback.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, addr.port())
}

/// Where the node keeps something.
fn folder(tree: &Topology, node: &Node) -> Option<PathBuf> {
    match &node.role {
        Role::Monitor(monitor) => monitor.store.is_none().then(|| monitor.folder.clone()),
        Role::Account { service, .. } => {
            let service = tree.services.iter().find(|it| it.name == *service)?;
            match &service.kind {
                ServiceKind::Account { engines, .. } => engines.iter().find_map(|it| match it {
                    EngineUrl::Sqlite(folder) => Some(folder.clone()),
                    EngineUrl::Postgres(_) => None, // Nothing of it is on this machine's disk.
                }),
                ServiceKind::Http { .. } => None,
            }
        }
        Role::Balancer { .. } | Role::Gateway { .. } => None,
    }
}

/// The configuration of a monitor.
pub(super) fn monitor(
    tree: &Topology,
    node: NodeConfig,
    role: &Monitor,
) -> Result<MonitorConfig, CliError> {
    let others = tree.nodes.iter().filter(|it| !is_own(role, it));
    let beat_grace = role.beat.grace;
    let server = mail_server(role)?;
    let channel = |(name, text): (String, &String)| {
        // The file was checked: what it holds can be read.
        let target = Target::parse(text, server.as_ref())
            .map_err(|want| CliError::failed(format!("notify {text:?}: want {want}")))?;
        Ok(ChannelConfig { name, target })
    };
    let told = role.channel_names().into_iter().zip(role.notify.iter().chain(&role.fallback));
    let channels: Vec<_> = told.map(channel).collect::<Result<_, CliError>>()?;
    let fallback = role.fallback.is_some().then(|| channels.last()).flatten();
    let fallback = fallback.map(|it| it.name.clone());
    let is_mail_tls = channels.iter().any(|it| it.target.is_mail_tls());
    let mail_tls = is_mail_tls.then(|| ClientTls::load(role.ca.as_deref(), Spoken::Smtp));
    let mail_tls = mail_tls.transpose();
    let is_tls = channels.iter().any(|it| it.target.is_tls());
    let beat_to = role.beat.to.as_deref().map(Url::parse).transpose();
    let beat_to = beat_to.map_err(|want| CliError::failed(format!("beat.to: want {want}")))?;
    let is_tls = is_tls || beat_to.as_ref().is_some_and(|it| it.tls);
    let tls = is_tls.then(|| ClientTls::load(role.ca.as_deref(), Spoken::Http1)).transpose();
    let store = match role.store.clone() {
        Some(url) => Site::Database { url, monitor: node.name.to_string() },
        None => Site::Folder(role.folder.clone()),
    };
    let peers = monitors(tree).filter(|it| it.http != role.http);
    Ok(MonitorConfig {
        node,
        http: role.http,
        store,
        retention: tree.alerting.retention,
        tree: tree.name.clone(),
        every: role.beat.every,
        grace: beat_grace.max(Duration::from_millis(1)),
        nodes: others.map(|it| watched(tree, it)).collect(),
        rules: tree.alerting.rules.clone(),
        windows: tree.alerting.windows.clone(),
        subscriptions: tree.alerting.subscriptions.clone(),
        channels,
        tls: tls.map_err(|error| CliError::failed(format!("notify: TLS: {error}")))?,
        mail_tls: mail_tls.map_err(|error| CliError::failed(format!("smtp: TLS: {error}")))?,
        fallback,
        undelivered_max: role.fallback_after,
        before: before(tree, role),
        peers: peers.map(|it| reachable(it.http)).collect(),
        beat_to,
        api_key: read_key(&tree.api_key)?,
        ping_key: read_key(&tree.ping_key)?,
        is_fresh: false,
    })
}

/// The mail server with its password and the sender.
fn mail_server(role: &Monitor) -> Result<Option<MailServer>, CliError> {
    let Some(text) = &role.smtp else { return Ok(None) };
    let mut server = MailServer::parse(text)
        .map_err(|want| CliError::failed(format!("smtp {text:?}: want {want}")))?;
    if let (Some(login), Some(file)) = (&mut server.login, &role.smtp_password) {
        login.password = read_password(file)?;
    }
    if let Some(from) = &role.mail_from {
        server.from.clone_from(from);
    }
    Ok(Some(server))
}

fn watched(tree: &Topology, node: &Node) -> WatchedNode {
    let accounts =
        || tree.nodes.iter().filter(|it| it.role.service().is_some()).map(|it| it.name.clone());
    let below = match &node.role {
        Role::Balancer { endpoints, .. } => endpoints.iter().map(|it| it.node.clone()).collect(),
        // A gateway sends to the nodes of every account service.
        Role::Gateway { .. } => accounts().collect(),
        Role::Account { .. } | Role::Monitor(_) => Vec::new(),
    };
    WatchedNode {
        name: node.name.clone(),
        role: node.role.name().text(),
        below,
        service: node.role.service().map(str::to_owned),
        admin: node.admin.map(reachable),
    }
}
