//! `tollgate run`: one node of a topology file, until it is told to drain.

mod reload;
mod watch;

use self::reload::Source;
use super::{Outcome, load_copy, load_topology};
use crate::{
    args,
    data::{Data, read_key},
    error::CliError,
    proc,
    topology::{
        Door, Node, Role, Route, Service, ServiceKind, Topology, elements::endpoint::EndpointRef,
    },
};
use account::AccountConfig;
use balance::Policy;
use monitor::config::MonitorConfig;
use net::{
    agent::Watched,
    edge::{EdgeConfig, EdgeTls},
    node::{ClusterKey, Endpoint, NodeConfig},
    shutdown::on_signals,
    trunk::{Ages, TrunkTls},
};
use proxy::{
    config::{BalancerConfig, EndpointConfig, GatewayConfig, HashBy, RouteConfig, ServiceConfig},
    upstream::{config::HttpServiceConfig, node::HttpBalancerConfig},
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::NonZero,
    path::Path,
    process::ExitCode,
    sync::Arc,
};

/// Where a node's admin pages are when the file does not say: a free port, told when it is ready.
const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs the node in this process.
pub(super) fn run(args: &args::Run, data: &Path) -> Outcome {
    // Read once before anything else: moments count from here.
    net::clock::now();
    keep_private();
    let path = args.config.clone().unwrap_or_else(|| Data::at(data).topology());
    let tree = match &args.in_force {
        Some(copy) => load_copy(copy, &path)?,
        None => load_topology(&path)?,
    };
    let node = tree.node(&args.node).ok_or_else(|| unknown_node(&args.node, &tree))?;
    let config = Config::of(&tree, node)?;
    log_to_stderr();
    #[cfg(debug_assertions)]
    crate::faults::follow(&node.name);
    raise_file_limit();
    let (shutdown, hangups) = on_signals(args.supervised)
        .map_err(|error| CliError::io("cannot listen for signals", &error))?;
    let agent = watch::agent(&tree, node, config.base(), &shutdown)?;
    let source = Source::new(path, tree.clone(), config.base());
    let ended = match config {
        Config::Balancer(config) => {
            proxy::balancer::run(config, shutdown, source.reload(hangups, Config::balancer))
        }
        Config::Http(config) => {
            proxy::upstream::node::run(config, shutdown, source.reload(hangups, Config::http))
        }
        Config::Gateway(config) => {
            proxy::gateway::run(config, shutdown, source.reload(hangups, Config::gateway))
        }
        Config::Account(config) => {
            account::run(config, shutdown, source.reload(hangups, Config::account))
        }
        Config::Monitor(config) => {
            let config = MonitorConfig { is_fresh: args.fresh, ..*config };
            monitor::run(config, shutdown, source.reload(hangups, Config::monitor))
        }
    };
    if let (Ok(()), Some(agent)) = (&ended, agent) {
        agent.stop();
    }
    ended.map_err(|error| failure(node, &error))?;
    Ok(ExitCode::SUCCESS)
}

/// Why a node ended, and who has its address if that is why.
fn failure(node: &Node, error: &io::Error) -> CliError {
    let failed = CliError::io(format!("node {}", node.name), error);
    if error.kind() != io::ErrorKind::AddrInUse {
        return failed;
    }
    let addresses = [node.role.http(), node.role.trunk(), node.admin].into_iter().flatten();
    let held =
        addresses.filter_map(|it| Some(format!("{it} is in use by {}", proc::listener(it)?)));
    match held.collect::<Vec<_>>().join("; ") {
        held if held.is_empty() => failed,
        held => failed.hint(held),
    }
}

/// The names that there are, for somebody who named another.
pub(super) fn unknown_node(name: &str, tree: &Topology) -> CliError {
    let names: Vec<&str> = tree.nodes.iter().map(|it| it.name.as_str()).collect();
    CliError::failed(format!("no node is called {name:?}"))
        .hint(format!("the nodes are {}", names.join(", ")))
}

/// The configuration of a node's role.
enum Config {
    Monitor(Box<MonitorConfig>),
    Balancer(BalancerConfig),
    /// A balancer before an HTTP service.
    Http(HttpBalancerConfig),
    Gateway(GatewayConfig),
    Account(AccountConfig),
}

impl Config {
    fn of(tree: &Topology, node: &Node) -> Result<Config, CliError> {
        let cluster_key = read_key(&tree.cluster_key)?;
        let base = NodeConfig {
            name: node.name.as_str().into(),
            admin: node.admin.unwrap_or(ADMIN_DEFAULT),
            cluster_key: ClusterKey(Arc::from(cluster_key.into_bytes())),
            edge: Config::edge(&node.role)?,
            trunk_tls: trunk_tls(tree)?,
            trunk_ages: Ages::of(tree.connection_age, tree.stream_age),
            drain_max: node.drain,
            watched: Watched::default(),
        };
        match &node.role {
            Role::Balancer { door, endpoints, policy, hash } => {
                if let Some(mut service) = tree.http_behind(endpoints) {
                    // The balancer's own, not that of the service, which is for routes.
                    (service.policy, service.hash) = (*policy, hash.clone());
                    return Ok(Config::Http(http_balancer(base, door, service)?));
                }
                let mut config = balancer(tree, base, door, endpoints);
                (config.policy, config.hash) = (*policy, hash.clone());
                Ok(Config::Balancer(config))
            }
            Role::Gateway { door } => Ok(Config::Gateway(gateway(tree, base, door)?)),
            Role::Account { service, trunk } => {
                Ok(Config::Account(account_node(tree, base, service, *trunk)?))
            }
            Role::Monitor(role) => Ok(Config::Monitor(Box::new(watch::monitor(tree, base, role)?))),
        }
    }

    /// How HTTP clients reach a node of this role.
    fn edge(role: &Role) -> Result<EdgeConfig, CliError> {
        let front = match role {
            Role::Balancer { door, .. } | Role::Gateway { door } => &door.front,
            Role::Account { .. } | Role::Monitor { .. } => return Ok(EdgeConfig::default()),
        };
        let tls = front.tls.as_ref().map(EdgeTls::load).transpose();
        Ok(EdgeConfig {
            tls: tls.map_err(|error| CliError::failed(format!("TLS: {error}")))?,
            proxy_protocol: front.proxy_protocol,
            trusted: front.trusted.clone().into(),
            patience: front.patience,
        })
    }

    fn balancer(self) -> Option<BalancerConfig> {
        match self {
            Config::Balancer(config) => Some(config),
            Config::Http(_) | Config::Gateway(_) | Config::Account(_) | Config::Monitor(_) => None,
        }
    }

    fn http(self) -> Option<HttpBalancerConfig> {
        match self {
            Config::Http(config) => Some(config),
            Config::Balancer(_) | Config::Gateway(_) | Config::Account(_) | Config::Monitor(_) => {
                None
            }
        }
    }

    fn gateway(self) -> Option<GatewayConfig> {
        match self {
            Config::Gateway(config) => Some(config),
            Config::Balancer(_) | Config::Http(_) | Config::Account(_) | Config::Monitor(_) => None,
        }
    }

    fn account(self) -> Option<AccountConfig> {
        match self {
            Config::Account(config) => Some(config),
            Config::Balancer(_) | Config::Http(_) | Config::Gateway(_) | Config::Monitor(_) => None,
        }
    }

    fn monitor(self) -> Option<MonitorConfig> {
        match self {
            Config::Monitor(config) => Some(*config),
            Config::Balancer(_) | Config::Http(_) | Config::Gateway(_) | Config::Account(_) => None,
        }
    }

    /// What all roles share.
    fn base(&self) -> &NodeConfig {
        match self {
            Config::Balancer(config) => &config.node,
            Config::Http(config) => &config.node,
            Config::Gateway(config) => &config.node,
            Config::Account(config) => &config.node,
            Config::Monitor(config) => &config.node,
        }
    }
}

/// The certificates that the nodes show each other, if they are to.
fn trunk_tls(tree: &Topology) -> Result<Option<TrunkTls>, CliError> {
    let Some(files) = &tree.trunk_tls else { return Ok(None) };
    let loaded = TrunkTls::load(files);
    loaded.map(Some).map_err(|error| CliError::failed(format!("trunk_tls: {error}")))
}

fn balancer(
    tree: &Topology,
    node: NodeConfig,
    door: &Door,
    endpoints: &[EndpointRef],
) -> BalancerConfig {
    let endpoints = endpoints.iter().filter_map(|it| {
        let node = tree.node(&it.node)?;
        let config = EndpointConfig::trunk(&endpoint(node, node.role.trunk()?));
        Some(EndpointConfig { weight: it.weight, ..config })
    });
    BalancerConfig {
        node,
        http: door.http,
        trunk: door.trunk,
        endpoints: endpoints.collect(),
        policy: Policy::LeastLoad,
        hash: HashBy::Account,
        workers: workers(door),
        deadline: door.deadline,
    }
}

fn http_balancer(
    node: NodeConfig,
    door: &Door,
    service: HttpServiceConfig,
) -> Result<HttpBalancerConfig, CliError> {
    Ok(HttpBalancerConfig {
        node,
        http: door.http,
        trunk: door.trunk,
        service: with_tls(service)?,
        workers: workers(door),
        deadline: door.deadline,
    })
}

/// The service with the authorities that its endpoints are believed by.
fn with_tls(mut service: HttpServiceConfig) -> Result<HttpServiceConfig, CliError> {
    let loaded = service.load_tls();
    loaded.map_err(|error| CliError::failed(format!("service {}: TLS: {error}", service.name)))?;
    Ok(service)
}

fn gateway(tree: &Topology, node: NodeConfig, door: &Door) -> Result<GatewayConfig, CliError> {
    let services = tree.services.iter().filter_map(|service| match &service.kind {
        ServiceKind::Account { partitions, .. } => Some(ServiceConfig {
            name: service.name.clone(),
            partitions: *partitions,
            nodes: tree
                .nodes_of(&service.name)
                .map(|(node, trunk)| endpoint(node, trunk))
                .collect(),
        }),
        ServiceKind::Http { .. } => None,
    });
    Ok(GatewayConfig {
        node,
        http: door.http,
        trunk: door.trunk,
        services: services.collect(),
        http_services: http_services(tree)?,
        routes: tree.routes.iter().map(route).collect(),
        api_key: read_key(&tree.api_key)?,
        api_keys: Some(tree.api_keys.clone()),
        workers: workers(door),
        deadline: door.deadline,
    })
}

/// The HTTP services that routes lead to.
fn http_services(tree: &Topology) -> Result<Vec<HttpServiceConfig>, CliError> {
    let is_routed = |service: &&Service| tree.routes.iter().any(|it| it.service == service.name);
    let services = tree.services.iter().filter(is_routed);
    services.filter_map(|it| tree.http_service(&it.name).cloned()).map(with_tls).collect()
}

fn route(it: &Route) -> RouteConfig {
    RouteConfig { path: it.path.clone(), service: it.service.clone() }
}

fn account_node(
    tree: &Topology,
    node: NodeConfig,
    service: &str,
    trunk: SocketAddr,
) -> Result<AccountConfig, CliError> {
    let kind = tree.services.iter().find(|it| it.name == service).map(|it| &it.kind);
    let Some(ServiceKind::Account { engines, partitions }) = kind else {
        unreachable!("a checked account node has an account service");
    };

    let roster = tree.nodes_of(service).map(|(node, _)| node.name.as_str().into()).collect();
    let of_accounts = |it: &&Node| matches!(it.role, Role::Account { .. });
    let before = tree.nodes.iter().take_while(|it| *it.name != *node.name).filter(of_accounts);
    let place = (before.count(), tree.nodes.iter().filter(of_accounts).count());
    Ok(AccountConfig {
        node,
        trunk,
        service: service.to_owned(),
        partitions: *partitions,
        engines: engines.clone(),
        roster,
        place,
    })
}

fn endpoint(node: &Node, addr: SocketAddr) -> Endpoint {
    Endpoint { name: node.name.as_str().into(), addr }
}

/// As many threads as cores where clients arrive; one inside, so that frames still coalesce.
fn workers(door: &Door) -> usize {
    let of_machine = || match door.http {
        Some(_) => std::thread::available_parallelism().map_or(1, NonZero::get),
        None => 1,
    };
    door.workers.unwrap_or_else(of_machine)
}

/// What this process and its children create, books and keys and logs, only its owner can read.
pub(crate) fn keep_private() {
    use rustix::{fs::Mode, process::umask};
    umask(Mode::RWXG | Mode::RWXO);
}

fn log_to_stderr() {
    let subscriber = tracing_subscriber::fmt().with_writer(io::stderr).with_target(false);
    // Already set only if a role had done so, and then its own wish stands.
    drop(subscriber.try_init());
}

/// Every connection is a file: asks for as many as the machine lets us have.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
