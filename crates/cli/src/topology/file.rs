//! The shape that people write: each value read on its own, nothing compared yet.

use super::{
    Front,
    elements::{
        address,
        alerting::{self, Alerting},
        beat::Beat,
        checks::{self, Checks},
        duration, endpoint,
        endpoint::EndpointRef,
        engine,
        engine::{EngineUrl, PostgresUrl},
        front, hash,
        http_service::{self, Manner, WeightedUrl},
        name, notify, path, policy,
        role::RoleName,
    },
    reader::{Field, Placed, Section, Walk},
};
use balance::Policy;
use net::trunk::limits::{CONNECTION_AGE_LIMIT, CONNECTION_AGE_MIN, STREAM_AGE_LIMIT};
use proxy::config::HashBy;
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use toml::de::DeTable;
use wire::limits;

const FILE_KEYS: [&str; 12 + alerting::KEYS.len()] = [
    "name",
    "services",
    "routes",
    "nodes",
    "cluster_key",
    "api_key",
    "api_keys",
    "ping_key",
    "trunk_tls",
    "connection_age",
    "stream_age",
    "checks",
    alerting::KEYS[0],
    alerting::KEYS[1],
    alerting::KEYS[2],
    alerting::KEYS[3],
];
const TRUNK_TLS_KEYS: [&str; 3] = ["ca", "cert", "key"];
const SERVICE_KEYS: [&str; 9] =
    ["engine", "partitions", "http", "protocol", "host", "policy", "hash", "check", "ca"];
const ROUTE_KEYS: [&str; 2] = ["path", "service"];
/// Every key of a node, with the roles that have it.
const NODE_KEYS: [(&str, &[RoleName]); 27] = {
    use RoleName::{Account, Balancer, Gateway, Monitor};
    const ALL: &[RoleName] = &[Balancer, Gateway, Account, Monitor];
    [
        ("name", ALL),
        ("role", ALL),
        ("admin", ALL),
        ("drain", ALL),
        ("checks", ALL),
        ("http", &[Balancer, Gateway, Monitor]),
        ("trunk", &[Balancer, Gateway, Account]),
        ("endpoints", &[Balancer]),
        ("policy", &[Balancer]),
        ("hash", &[Balancer]),
        ("workers", &[Balancer, Gateway]),
        ("deadline", &[Balancer, Gateway]),
        ("tls", &[Balancer, Gateway]),
        ("proxy_protocol", &[Balancer, Gateway]),
        ("trusted", &[Balancer, Gateway]),
        ("patience", &[Balancer, Gateway]),
        ("service", &[Account]),
        ("beat", &[Monitor]),
        ("notify", &[Monitor]),
        ("smtp", &[Monitor]),
        ("smtp_password", &[Monitor]),
        ("mail_from", &[Monitor]),
        ("fallback", &[Monitor]),
        ("fallback_after", &[Monitor]),
        ("ca", &[Monitor]),
        ("folder", &[Monitor]),
        ("store", &[Monitor]),
    ]
};
/// Threads of one node; more than this is a slip of the keyboard.
const WORKERS_MAX: i64 = 256;

/// A whole file.
#[derive(Debug)]
pub(super) struct TopologyFile {
    pub(super) name: Field<String>,
    pub(super) cluster_key: Field<PathBuf>,
    pub(super) api_key: Field<PathBuf>,
    pub(super) api_keys: Field<PathBuf>,
    pub(super) trunk_tls: Option<TrunkTlsFile>,
    pub(super) connection_age: Field<Duration>,
    pub(super) stream_age: Field<Duration>,
    pub(super) ping_key: Field<PathBuf>,
    pub(super) checks: Checks,
    pub(super) alerting: Alerting,
    pub(super) services: Vec<ServiceFile>,
    pub(super) routes: Vec<RouteFile>,
    pub(super) nodes: Vec<NodeFile>,
}

/// `[trunk_tls]`.
#[derive(Debug)]
pub(super) struct TrunkTlsFile {
    pub(super) line: usize,
    pub(super) ca: Field<PathBuf>,
    pub(super) cert: Field<PathBuf>,
    pub(super) key: Field<PathBuf>,
}

/// `[services.NAME]`.
#[derive(Debug)]
pub(super) struct ServiceFile {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) engines: Field<Vec<Placed<EngineUrl>>>,
    pub(super) partitions: Field<u16>,
    pub(super) http: Field<Vec<Placed<WeightedUrl>>>,
    pub(super) manner: Manner,
}

/// `[[routes]]`.
#[derive(Debug)]
pub(super) struct RouteFile {
    pub(super) at: String,
    pub(super) line: usize,
    pub(super) path: Field<String>,
    pub(super) service: Field<String>,
}

/// `[[nodes]]`.
#[derive(Debug)]
pub(super) struct NodeFile {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) name: Field<String>,
    pub(super) role: Field<RoleName>,
    pub(super) http: Field<SocketAddr>,
    pub(super) trunk: Field<SocketAddr>,
    pub(super) admin: Field<SocketAddr>,
    pub(super) endpoints: Field<Vec<Placed<EndpointRef>>>,
    pub(super) policy: Field<Policy>,
    pub(super) hash: Field<HashBy>,
    pub(super) service: Field<String>,
    pub(super) workers: Field<usize>,
    pub(super) drain: Field<Duration>,
    pub(super) checks: Checks,
    pub(super) deadline: Field<Duration>,
    pub(super) beat: Beat,
    pub(super) front: Front,
    pub(super) notify: Field<Vec<Placed<String>>>,
    pub(super) smtp: Field<String>,
    pub(super) smtp_password: Field<PathBuf>,
    pub(super) mail_from: Field<String>,
    pub(super) fallback: Field<String>,
    pub(super) fallback_after: Field<Duration>,
    pub(super) ca: Field<PathBuf>,
    pub(super) folder: Field<PathBuf>,
    pub(super) store: Field<PostgresUrl>,
}

/// Reads a file's table.
pub(super) fn read<'a>(walk: &mut Walk<'a>, table: &'a DeTable<'a>) -> TopologyFile {
    let root = Section::root(walk, table, &FILE_KEYS);
    TopologyFile {
        name: root.string(walk, "name", name::parse),
        cluster_key: root.string(walk, "cluster_key", path::parse_file),
        api_key: root.string(walk, "api_key", path::parse_file),
        api_keys: root.string(walk, "api_keys", path::parse_file),
        trunk_tls: root.table(walk, "trunk_tls", &TRUNK_TLS_KEYS).map(|table| TrunkTlsFile {
            line: table.line,
            ca: table.string(walk, "ca", path::parse_file),
            cert: table.string(walk, "cert", path::parse_file),
            key: table.string(walk, "key", path::parse_file),
        }),
        connection_age: root.string(walk, "connection_age", parse_connection_age),
        stream_age: root.string(walk, "stream_age", parse_stream_age),
        ping_key: root.string(walk, "ping_key", path::parse_file),
        checks: checks::read(walk, &root),
        alerting: Alerting::read(walk, &root),
        services: read_services(walk, &root),
        routes: read_routes(walk, &root),
        nodes: read_nodes(walk, &root),
    }
}

fn read_services<'a>(walk: &mut Walk<'a>, root: &Section<'a>) -> Vec<ServiceFile> {
    // Any key is a service's name here, so none of them is unknown.
    let names: Vec<&str> = root.table_keys("services");
    let Some(services) = root.table(walk, "services", &names) else { return Vec::new() };
    let mut out = Vec::new();
    for (name, value) in services.entries() {
        let path = services.key(name);
        let Some(table) = Section::open(walk, path.clone(), value, &SERVICE_KEYS) else { continue };
        if let Err(want) = name::parse(name) {
            walk.complaints.add(table.line, &path, format!("is no service's name: want {want}"));
        }
        for key in http_service::KEYS {
            if let Some(line) = table.line_of(walk, key)
                && table.line_of(walk, "http").is_none()
            {
                let text = "is no key of an account service".to_owned();
                walk.complaints.add(line, &table.key(key), text);
            }
        }
        out.push(ServiceFile {
            name: name.to_owned(),
            path,
            line: table.line,
            engines: table.strings(walk, "engine", engine::parse),
            partitions: table.integer(walk, "partitions", 1..=i64::from(limits::PARTITIONS_MAX)),
            http: http_service::read_urls(walk, &table),
            manner: Manner::read(walk, &table),
        });
    }
    out
}

fn read_routes<'a>(walk: &mut Walk<'a>, root: &Section<'a>) -> Vec<RouteFile> {
    let mut out = Vec::new();
    for (index, value) in root.list(walk, "routes").iter().enumerate() {
        let at = format!("routes[{}]", index + 1);
        let Some(table) = Section::open(walk, at.clone(), value, &ROUTE_KEYS) else { continue };
        out.push(RouteFile {
            at,
            line: table.line,
            path: table.string(walk, "path", path::parse_route),
            service: table.string(walk, "service", name::parse),
        });
    }
    out
}

fn read_nodes<'a>(walk: &mut Walk<'a>, root: &Section<'a>) -> Vec<NodeFile> {
    let known = NODE_KEYS.map(|(key, _)| key);
    let mut out = Vec::new();
    for (index, value) in root.list(walk, "nodes").iter().enumerate() {
        // A node is called by its name where it has one, else by its place.
        let name = value.get_ref().get("name").and_then(|it| it.get_ref().as_str());
        let path = match name.filter(|it| name::parse(it).is_ok()) {
            Some(name) => format!("nodes[{name}]"),
            None => format!("nodes[{}]", index + 1),
        };
        let Some(table) = Section::open(walk, path, value, &known) else { continue };
        out.push(read_node(walk, &table));
    }
    out
}

fn read_node<'a>(walk: &mut Walk<'a>, table: &Section<'a>) -> NodeFile {
    let role = table.string(walk, "role", RoleName::parse);
    if let Field::Good(role) = &role {
        for (key, roles) in NODE_KEYS {
            if let Some(line) = table.line_of(walk, key)
                && !roles.contains(&role.value)
            {
                let text = format!("is no key of a node of role {}", role.value.text());
                walk.complaints.add(line, &table.key(key), text);
            }
        }
    }
    NodeFile {
        path: table.path.clone(),
        line: table.line,
        name: table.string(walk, "name", name::parse),
        role,
        http: table.string(walk, "http", address::parse),
        trunk: table.string(walk, "trunk", address::parse_reachable),
        admin: table.string(walk, "admin", address::parse),
        endpoints: endpoint::read(walk, table),
        policy: table.string(walk, "policy", policy::parse),
        hash: table.string(walk, "hash", hash::parse),
        service: table.string(walk, "service", name::parse),
        workers: table.integer(walk, "workers", 1..=WORKERS_MAX),
        drain: table.string(walk, "drain", duration::parse),
        checks: checks::read(walk, table),
        deadline: table.string(walk, "deadline", duration::parse),
        beat: Beat::read(walk, table),
        front: front::read(walk, table),
        notify: table.strings(walk, "notify", notify::parse),
        smtp: table.string(walk, "smtp", notify::parse_server),
        smtp_password: table.string(walk, "smtp_password", path::parse_file),
        mail_from: table.string(walk, "mail_from", notify::parse_sender),
        fallback: table.string(walk, "fallback", notify::parse),
        fallback_after: table.string(walk, "fallback_after", duration::parse),
        ca: table.string(walk, "ca", path::parse_file),
        folder: table.string(walk, "folder", path::parse_file),
        store: table.string(walk, "store", engine::parse_database),
    }
}

fn parse_connection_age(text: &str) -> Result<Duration, String> {
    let want = "a length of time from 1m to 1h, as in \"10m\"";
    duration::parse_within(text, CONNECTION_AGE_MIN..=CONNECTION_AGE_LIMIT, want)
}

fn parse_stream_age(text: &str) -> Result<Duration, String> {
    let hours = STREAM_AGE_LIMIT.as_secs() / 3_600;
    let want = format!("a length of time up to {hours}h, as in \"4h\"");
    duration::parse_within(text, Duration::ZERO..=STREAM_AGE_LIMIT, &want)
}
