//! The topology file, `tollgate.toml`: read, checked whole, drawn.
//!
//! Two shapes: [`file`] is what people write, [`Topology`] what the code runs on. To hold a
//! `Topology` is proof that the file was sound.

mod check;
mod complaint;
mod difference;
pub(crate) mod elements;
mod file;
mod reader;
mod tree;

#[cfg(test)]
mod tests;

pub(crate) use difference::{Difference, difference};

use balance::Policy;
use complaint::Complaints;
use elements::{
    alerting::Alerting,
    beat::Beat,
    checks::Checks,
    endpoint::EndpointRef,
    engine::{EngineUrl, PostgresUrl},
    http_service::{Manner, WeightedUrl},
    role::RoleName,
    url,
};
use monitor::channel::{MailServer, Target};
use net::{
    edge::{Network, Patience, TlsFiles},
    trunk,
};
use proxy::{config::HashBy, upstream::config::HttpServiceConfig};
use reader::Walk;
use std::{
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use toml::de::DeTable;

/// Longest topology file: a tree of thousands of nodes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A sound tree. Paths are as the code opens them, the folder of the file before relative ones.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Topology {
    pub(crate) name: String,
    pub(crate) cluster_key: PathBuf,
    pub(crate) api_key: PathBuf,
    /// Further API keys, by their hashes; the file need not be there.
    pub(crate) api_keys: PathBuf,
    /// Set, every trunk is spoken within TLS.
    pub(crate) trunk_tls: Option<trunk::TlsFiles>,
    /// How old a trunk connection becomes before it is replaced.
    pub(crate) connection_age: Duration,
    /// How long an endless stream may live on a trunk connection that was replaced.
    pub(crate) stream_age: Duration,
    /// What stands in the addresses of beats by slug.
    pub(crate) ping_key: PathBuf,
    pub(crate) services: Vec<Service>,
    pub(crate) routes: Vec<Route>,
    /// What its monitors alarm about.
    pub(crate) alerting: Alerting,
    /// In the order of the file.
    pub(crate) nodes: Vec<Node>,
}

/// A service behind the gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) kind: ServiceKind,
}

/// What a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServiceKind {
    /// Many nodes, one set of accounts. At least one engine.
    Account { engines: Vec<EngineUrl>, partitions: u16 },
    /// Any other HTTP service. At least one URL.
    Http { config: Box<HttpServiceConfig> },
}

/// Requests that go to an HTTP service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) service: String,
}

/// One process of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) drain: Duration,
    /// Limits of its self checks that are not the usual ones.
    pub(crate) checks: Checks,
}

/// What a node does, and what only that role needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Balancer { door: Door, endpoints: Vec<EndpointRef>, policy: Policy, hash: HashBy },
    Gateway { door: Door },
    Account { service: String, trunk: SocketAddr },
    Monitor(Monitor),
}

/// What a monitor goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Monitor {
    pub(crate) http: SocketAddr,
    pub(crate) beat: Beat,
    /// Who is told, as `monitor::channel::Target` reads it.
    pub(crate) notify: Vec<String>,
    /// There is one if somebody is told by mail.
    pub(crate) smtp: Option<String>,
    /// The file of its password. There is one if the server's address names a user.
    pub(crate) smtp_password: Option<PathBuf>,
    /// The sender of its mails.
    pub(crate) mail_from: Option<String>,
    /// Who is told of what the others did not deliver within this time.
    pub(crate) fallback: Option<String>,
    pub(crate) fallback_after: Duration,
    /// Whom `https://` is believed by; without it whom the system trusts.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) folder: PathBuf,
    /// The database in which it keeps what it knows; without one, its folder.
    pub(crate) store: Option<PostgresUrl>,
}

impl Monitor {
    /// What its channels are called: by their kind and their place.
    pub(crate) fn channel_names(&self) -> Vec<String> {
        let server = self.smtp.as_deref().and_then(|it| MailServer::parse(it).ok());
        let name = |(at, text): (usize, &String)| {
            let target = Target::parse(text, server.as_ref()).ok()?;
            Some(format!("{}-{}", target.kind(), at + 1))
        };
        // The fallback comes last.
        self.notify.iter().chain(&self.fallback).enumerate().filter_map(name).collect()
    }
}

/// How requests come in. At least one of `http` and `trunk` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Door {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) trunk: Option<SocketAddr>,
    /// Threads; `None` leaves it to the machine.
    pub(crate) workers: Option<usize>,
    pub(crate) deadline: Duration,
    pub(crate) front: Front,
}

/// How HTTP clients reach a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Front {
    pub(crate) tls: Option<TlsFiles>,
    /// A load balancer of somebody else's stands before it and says whom it speaks for.
    pub(crate) proxy_protocol: bool,
    /// Peers that are believed what they say of the client.
    pub(crate) trusted: Vec<Network>,
    /// How long clients may take, and how long they are kept.
    pub(crate) patience: Patience,
}

impl Topology {
    /// Reads and checks the file at `path`.
    pub(crate) fn load(path: &Path) -> Result<Topology, LoadError> {
        Topology::load_as(path, path)
    }

    /// Reads and checks a copy of the file at `original`.
    pub(crate) fn load_as(copy: &Path, original: &Path) -> Result<Topology, LoadError> {
        let text = read_bounded(copy).map_err(LoadError::Unreadable)?;
        let base = match original.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        Topology::parse(&text, base).map_err(LoadError::Unsound)
    }

    /// Checks a file's text; `base` is the folder that relative paths count from.
    pub(crate) fn parse(text: &str, base: &Path) -> Result<Topology, Complaints> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut walk = Walk { text, complaints: Complaints::default() };
        for error in errors {
            let line = walk.line(&error.span().unwrap_or_default());
            walk.complaints.syntax(line, error.message());
        }
        let file = file::read(&mut walk, table.get_ref());
        check::check(&file, base, walk.complaints)
    }

    /// The node of this name.
    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The nodes of an account service, in the order of the file.
    pub(crate) fn nodes_of(&self, service: &str) -> impl Iterator<Item = (&Node, SocketAddr)> {
        self.nodes.iter().filter_map(move |node| match &node.role {
            Role::Account { service: its, trunk } if its == service => Some((node, *trunk)),
            Role::Account { .. }
            | Role::Balancer { .. }
            | Role::Gateway { .. }
            | Role::Monitor(_) => None,
        })
    }

    /// The HTTP service that a balancer with these endpoints stands before; `None` when its
    /// endpoints are nodes.
    pub(crate) fn http_behind(&self, endpoints: &[EndpointRef]) -> Option<HttpServiceConfig> {
        let first = endpoints.first()?;
        if first.is_url() {
            let urls = endpoints.iter().filter_map(|it| {
                Some(WeightedUrl { url: url::parse(&it.node).ok()?, weight: it.weight })
            });
            return Some(Manner::default().at("http", urls));
        }
        self.http_service(&first.node).cloned()
    }

    /// The HTTP service of this name.
    pub(crate) fn http_service(&self, name: &str) -> Option<&HttpServiceConfig> {
        self.services.iter().find(|it| it.name == name).and_then(|it| match &it.kind {
            ServiceKind::Http { config } => Some(&**config),
            ServiceKind::Account { .. } => None,
        })
    }

    /// Tiers from the leaves up: a node stands above everything that it sends to.
    pub(crate) fn tiers(&self) -> Vec<Vec<&Node>> {
        let mut tiers: Vec<Vec<&Node>> = Vec::new();
        for node in &self.nodes {
            let height = self.height(node);
            while tiers.len() <= height {
                tiers.push(Vec::new());
            }
            tiers[height].push(node);
        }
        tiers.retain(|tier| !tier.is_empty());
        tiers
    }

    /// Ends because a checked tree has no cycle.
    fn height(&self, node: &Node) -> usize {
        match &node.role {
            // First to start and last to end, so that everybody can say that they do.
            Role::Monitor(_) => 0,
            Role::Account { .. } => 1,
            Role::Gateway { .. } => 2,
            Role::Balancer { endpoints, .. } => {
                let below = endpoints.iter().filter_map(|it| self.node(&it.node));
                1 + below.map(|it| self.height(it)).max().unwrap_or(2)
            }
        }
    }

    /// Where a client of the whole tree connects: the highest node with an HTTP address.
    pub(crate) fn entrance(&self) -> Option<SocketAddr> {
        let nodes = self.tiers().into_iter().rev().flatten();
        nodes.filter(|node| node.role.name() != RoleName::Monitor).find_map(|node| node.role.http())
    }
}

impl Role {
    /// Which of the four it is.
    pub(crate) fn name(&self) -> RoleName {
        match self {
            Role::Balancer { .. } => RoleName::Balancer,
            Role::Gateway { .. } => RoleName::Gateway,
            Role::Account { .. } => RoleName::Account,
            Role::Monitor(_) => RoleName::Monitor,
        }
    }

    /// What it goes by, if it is a monitor.
    pub(crate) fn monitor(&self) -> Option<&Monitor> {
        match self {
            Role::Monitor(monitor) => Some(monitor),
            Role::Balancer { .. } | Role::Gateway { .. } | Role::Account { .. } => None,
        }
    }

    /// Whether it is a gateway.
    pub(crate) fn is_gateway(&self) -> bool {
        self.name() == RoleName::Gateway
    }

    /// Where it serves HTTP.
    pub(crate) fn http(&self) -> Option<SocketAddr> {
        match self {
            Role::Balancer { door, .. } | Role::Gateway { door } => door.http,
            Role::Account { .. } => None,
            Role::Monitor(monitor) => Some(monitor.http),
        }
    }

    /// The service whose accounts it holds.
    pub(crate) fn service(&self) -> Option<&str> {
        match self {
            Role::Account { service, .. } => Some(service),
            Role::Balancer { .. } | Role::Gateway { .. } | Role::Monitor(_) => None,
        }
    }

    /// Where the tier above connects.
    pub(crate) fn trunk(&self) -> Option<SocketAddr> {
        match self {
            Role::Balancer { door, .. } | Role::Gateway { door } => door.trunk,
            Role::Account { trunk, .. } => Some(*trunk),
            Role::Monitor(_) => None,
        }
    }
}

/// Why there is no tree.
#[derive(Debug)]
pub(crate) enum LoadError {
    Unreadable(io::Error),
    Unsound(Complaints),
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if FILE_BYTES_MAX < text.len() as u64 {
        return Err(io::Error::other(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}
