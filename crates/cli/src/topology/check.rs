//! What only shows when the parts of a file are held against each other.

use super::{
    Door, Monitor, Node, Role, Route, Service, ServiceKind, Topology,
    complaint::{Complaints, nearest},
    elements::{
        address, checks, endpoint::EndpointRef, engine::EngineUrl, front, notify, role::RoleName,
    },
    file::{NodeFile, RouteFile, ServiceFile, TopologyFile},
    reader::{Field, Placed},
};
use balance::Policy;
use net::trunk::{
    Ages, TlsFiles,
    limits::{CONNECTION_AGE_MAX, STREAM_AGE_MAX},
};
use proxy::config::HashBy;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};
use wire::{ServiceTag, limits::DEADLINE_SECONDS_MAX};

/// What is wanted where URLs of both schemes stand side by side.
const ONE_SCHEME: &str = "all http:// or all https://";
const PARTITIONS_DEFAULT: u16 = 16;
const DRAIN_DEFAULT: Duration = Duration::from_secs(10);
const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);
const FALLBACK_AFTER_DEFAULT: Duration = Duration::from_secs(60);
const DEADLINE_MAX: Duration = Duration::from_secs(DEADLINE_SECONDS_MAX as u64);

/// The checked tree, or everything that is wrong with the file.
pub(super) fn check(
    file: &TopologyFile,
    base: &Path,
    complaints: Complaints,
) -> Result<Topology, Complaints> {
    let mut check = Check { file, base, complaints };
    if file.name.is_missing() {
        check.complaints.missing(1, "name", "a name for the tree, as in name = \"shop\"");
    }
    let services: Vec<_> = file.services.iter().map(|it| check.service(it, base)).collect();
    check.tags();
    check.engines();
    let routes: Vec<_> = file.routes.iter().map(|it| check.route(it)).collect();
    check.routes_once();
    check.names();
    let nodes: Vec<_> = file.nodes.iter().map(|it| check.node(it, base)).collect();
    if file.nodes.is_empty() {
        check.complaints.missing(1, "nodes", "at least one node under [[nodes]]");
    }
    let trunk_tls = check.trunk_tls(base);
    check.ages();
    check.services_have_nodes();
    check.addresses();
    check.cycles();
    check.channels(nodes.iter().flatten());
    // Whatever could not be made was complained of, so nothing is lost by flattening.
    if !check.complaints.is_empty() {
        return Err(check.complaints);
    }
    let beside = |key: &Field<PathBuf>, name: &str| base.join(key.value_or(PathBuf::from(name)));
    Ok(Topology {
        name: file.name.value_or(String::new()),
        cluster_key: beside(&file.cluster_key, "cluster.key"),
        api_key: beside(&file.api_key, "admin.key"),
        api_keys: beside(&file.api_keys, "keys.json"),
        trunk_tls,
        connection_age: file.connection_age.value_or(CONNECTION_AGE_MAX),
        stream_age: file.stream_age.value_or(STREAM_AGE_MAX),
        ping_key: beside(&file.ping_key, "ping.key"),
        alerting: file.alerting.clone(),
        services: services.into_iter().flatten().collect(),
        routes: routes.into_iter().flatten().collect(),
        nodes: nodes.into_iter().flatten().collect(),
    })
}

struct Check<'a> {
    file: &'a TopologyFile,
    /// Where relative paths count from.
    base: &'a Path,
    complaints: Complaints,
}

impl Check<'_> {
    fn service(&mut self, it: &ServiceFile, base: &Path) -> Option<Service> {
        let kind = match (it.engines.is_missing(), it.http.is_missing()) {
            (true, true) => {
                let key = format!("{}.engine", it.path);
                let want = "\"sqlite:FOLDER\" or \"postgres://…\" (or http, for any HTTP service)";
                self.complaints.missing(it.line, &key, want);
                return None;
            }
            (false, false) => {
                let text = "has both engine and http: want one of them";
                self.complaints.add(it.line, &it.path, text);
                return None;
            }
            (false, true) => {
                let engines = it.engines.good()?;
                if engines.value.is_empty() {
                    self.complaints.unfit(engines, "at least one engine");
                }
                let partitions = it.partitions.value_or(PARTITIONS_DEFAULT);
                if usize::from(partitions) < engines.value.len() {
                    let want = format!("at most {partitions} engines, one for each partition");
                    self.complaints.unfit(engines, &want);
                }
                let engines = engines.value.iter().map(|it| rooted(&it.value, base)).collect();
                ServiceKind::Account { engines, partitions }
            }
            (true, false) => {
                if let Field::Good(partitions) = &it.partitions {
                    let text = "is no key of an HTTP service";
                    self.complaints.add(partitions.line, &partitions.key, text);
                }
                let urls = it.http.good()?;
                if urls.value.is_empty() {
                    self.complaints.unfit(urls, "at least one URL");
                }
                self.each_once(urls, "each URL once", |it| &it.url);
                let mut schemes = urls.value.iter().map(|it| it.value.url.tls);
                let is_tls = schemes.next().unwrap_or(false);
                if schemes.any(|it| it != is_tls) {
                    self.complaints.unfit(urls, ONE_SCHEME);
                }
                if it.manner.ca.is_some() && !is_tls {
                    let text = "has ca, which only https:// URLs ask for".to_owned();
                    self.complaints.add(it.line, &it.path, text);
                }
                let mut manner = it.manner.clone();
                manner.ca = manner.ca.map(|it| base.join(it));
                let urls = urls.value.iter().map(|it| it.value.clone());
                ServiceKind::Http { config: Box::new(manner.at(&it.name, urls)) }
            }
        };
        Some(Service { name: it.name.clone(), kind })
    }

    fn trunk_tls(&mut self, base: &Path) -> Option<TlsFiles> {
        let file = self.file.trunk_tls.as_ref()?;
        for (key, field, what) in [
            ("ca", &file.ca, "the certificate of the cluster's authority"),
            ("cert", &file.cert, "the nodes' certificate"),
            ("key", &file.key, "the key of that certificate"),
        ] {
            if field.is_missing() {
                let (key, want) = (format!("trunk_tls.{key}"), format!("a PEM file with {what}"));
                self.complaints.missing(file.line, &key, &want);
            }
        }
        let path = |field: &Field<PathBuf>| Some(base.join(&field.good()?.value));
        Some(TlsFiles { ca: path(&file.ca)?, cert: path(&file.cert)?, key: path(&file.key)? })
    }

    /// What streams on replaced connections must not be more than a link keeps of them.
    fn ages(&mut self) {
        let streams = self.file.stream_age.value_or(STREAM_AGE_MAX);
        let least = Ages::renewed_min(streams);
        if let Field::Good(renewed) = &self.file.connection_age
            && renewed.value < least
        {
            let (least, streams) = (least.as_secs(), streams.as_secs());
            let want = format!("at least {least}s where stream_age is {streams}s");
            self.complaints.unfit(renewed, &want);
        }
    }

    /// Ids carry a tag for the service; two services must not share one.
    fn tags(&mut self) {
        let mut seen: BTreeMap<ServiceTag, &str> = BTreeMap::new();
        for service in &self.file.services {
            if let Some(first) = seen.insert(ServiceTag::of(&service.name), &service.name) {
                let text = format!(
                    "and services.{first} have names that look the same within transaction ids: \
                     want another name for one of them"
                );
                self.complaints.add(service.line, &service.path, text);
            }
        }
    }

    fn engines(&mut self) {
        let mut seen: Vec<(&EngineUrl, &str)> = Vec::new();
        let services = self.file.services.iter();
        for (service, engines) in services.filter_map(|it| Some((it, it.engines.good()?))) {
            for engine in &engines.value {
                if let Some((_, first)) = seen.iter().find(|(url, _)| **url == engine.value)
                    // Services in one database each have a schema of their own.
                    && (*first == service.name || matches!(engine.value, EngineUrl::Sqlite(_)))
                {
                    let want = format!("an engine that service {first} does not use already");
                    self.complaints.unfit(engine, &want);
                }
                seen.push((&engine.value, &service.name));
            }
        }
    }

    fn route(&mut self, it: &RouteFile) -> Option<Route> {
        if it.path.is_missing() {
            let key = format!("{}.path", it.at);
            self.complaints.missing(it.line, &key, "a path, as in \"/rates/*\"");
        }
        if it.service.is_missing() {
            let key = format!("{}.service", it.at);
            self.complaints.missing(it.line, &key, "the name of an HTTP service");
        }
        let (path, service) = (it.path.good(), it.service.good()?);
        let target = self.file.services.iter().find(|it| it.name == service.value);
        match target {
            None => self.unknown_service(service),
            Some(target) if target.http.is_missing() => {
                let want = "a service with http: the account API needs no route";
                self.complaints.unfit(service, want);
            }
            Some(_) => {}
        }
        Some(Route { path: path?.value.clone(), service: service.value.clone() })
    }

    fn routes_once(&mut self) {
        let mut seen = BTreeSet::new();
        for path in self.file.routes.iter().filter_map(|it| it.path.good()) {
            if !seen.insert(path.value.as_str()) {
                self.complaints.unfit(path, "a path that no route before it has");
            }
        }
    }

    fn names(&mut self) {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for node in &self.file.nodes {
            let Some(name) = node.name.good() else { continue };
            if let Some(first) = seen.get(name.value.as_str()) {
                let want = format!("a name of its own (the node of line {first} has this one)");
                self.complaints.unfit(name, &want);
            }
            seen.entry(&name.value).or_insert(node.line);
        }
    }

    fn node(&mut self, it: &NodeFile, base: &Path) -> Option<Node> {
        if it.name.is_missing() {
            self.missing(it, "name", "a name, as in \"gateway-1\"");
        }
        if it.role.is_missing() {
            self.missing(it, "role", "one of balancer, gateway, account, monitor");
        }
        let role = match it.role.good()?.value {
            RoleName::Balancer => {
                let endpoints = self.endpoints(it);
                let policy = it.policy.value_or(Policy::LeastLoad);
                let hash = self.hash(it, policy);
                Role::Balancer { door: self.door(it)?, endpoints, policy, hash }
            }
            RoleName::Gateway => Role::Gateway { door: self.door(it)? },
            RoleName::Account => {
                if it.trunk.is_missing() {
                    self.missing(it, "trunk", "the address that gateways connect to");
                }
                let service = self.service_of(it);
                Role::Account { service: service?, trunk: it.trunk.good()?.value }
            }
            RoleName::Monitor => {
                if it.http.is_missing() {
                    self.missing(it, "http", "the address of its pages and of beats");
                }
                Role::Monitor(self.monitor(it, base)?)
            }
        };
        Some(Node {
            name: it.name.good()?.value.clone(),
            role,
            admin: it.admin.good().map(|it| it.value),
            drain: it.drain.value_or(DRAIN_DEFAULT),
            checks: checks::merged(&it.checks, &self.file.checks),
        })
    }

    fn monitor(&mut self, it: &NodeFile, base: &Path) -> Option<Monitor> {
        let told_all = it.notify.good().map_or(&[][..], |it| &it.value);
        let told = told_all.iter().map(|it| &it.value);
        let mut told = told.chain(it.fallback.good().map(|it| &it.value));
        if told.any(|it| it.starts_with("mailto:")) && it.smtp.is_missing() {
            self.missing(it, "smtp", "the mail server for mailto:, as in \"mail.example.com:25\"");
        }
        let has_user = it.smtp.good().is_some_and(|it| notify::wants_password(&it.value));
        if has_user && it.smtp_password.is_missing() {
            self.missing(it, "smtp_password", "the file of the password of smtp's user");
        }
        if let (Field::Good(store), Field::Good(_)) = (&it.store, &it.folder) {
            let text = "stands beside folder: want one of them";
            self.complaints.add(store.line, &store.key, text);
        }
        Some(Monitor {
            http: it.http.good()?.value,
            beat: it.beat.clone(),
            notify: told_all.iter().map(|it| it.value.clone()).collect(),
            smtp: it.smtp.good().map(|it| it.value.clone()),
            smtp_password: it.smtp_password.good().map(|it| base.join(&it.value)),
            mail_from: it.mail_from.good().map(|it| it.value.clone()),
            fallback: it.fallback.good().map(|it| it.value.clone()),
            fallback_after: it.fallback_after.value_or(FALLBACK_AFTER_DEFAULT),
            ca: it.ca.good().map(|it| base.join(&it.value)),
            folder: base.join(it.folder.value_or(PathBuf::from("monitor"))),
            store: it.store.good().map(|it| it.value.clone()),
        })
    }

    /// Subscriptions name channels of a monitor.
    fn channels<'n>(&mut self, nodes: impl Iterator<Item = &'n Node>) {
        let monitors = nodes.filter_map(|it| it.role.monitor());
        let names = monitors.flat_map(Monitor::channel_names);
        let names: BTreeSet<String> = names.collect();
        for channel in &self.file.alerting.channels {
            if !names.contains(&channel.value) {
                let known: Vec<&str> = names.iter().map(String::as_str).collect();
                let want = match known.is_empty() {
                    true => "a channel: the monitor has no notify".to_owned(),
                    false => format!("one of {}", known.join(", ")),
                };
                self.complaints.unfit(channel, &want);
            }
        }
    }

    fn door(&mut self, it: &NodeFile) -> Option<Door> {
        if it.http.is_missing() && it.trunk.is_missing() {
            let want = "an address for the tier above (or http, for clients)";
            self.missing(it, "trunk", want);
        }
        if let Field::Good(deadline) = &it.deadline
            && DEADLINE_MAX < deadline.value
        {
            let want = format!("at most {DEADLINE_SECONDS_MAX}s, as long as a key is waited for");
            self.complaints.unfit(deadline, &want);
        }
        let (http, trunk) = (it.http.good(), it.trunk.good());
        (http.is_some() || trunk.is_some()).then(|| Door {
            http: http.map(|it| it.value),
            trunk: trunk.map(|it| it.value),
            workers: it.workers.good().map(|it| it.value),
            deadline: it.deadline.value_or(DEADLINE_DEFAULT),
            front: front::rooted(&it.front, self.base),
        })
    }

    fn hash(&mut self, it: &NodeFile, policy: Policy) -> HashBy {
        if let Field::Good(hash) = &it.hash
            && policy != Policy::Hash
        {
            let text = format!("is of no use to policy {}: want policy = \"hash\"", policy.text());
            self.complaints.add(hash.line, &hash.key, text);
        }
        it.hash.value_or(HashBy::default())
    }

    fn endpoints(&mut self, it: &NodeFile) -> Vec<EndpointRef> {
        if it.endpoints.is_missing() {
            let want = "the names of balancers or gateways below it, or of an HTTP service";
            self.missing(it, "endpoints", want);
        }
        let Some(endpoints) = it.endpoints.good() else { return Vec::new() };
        if endpoints.value.is_empty() {
            self.complaints.unfit(endpoints, "at least one balancer or gateway");
        }
        self.each_once(endpoints, "each endpoint once", |it| &it.node);
        for endpoint in &endpoints.value {
            self.endpoint(endpoint);
        }
        self.not_mixed(endpoints);
        endpoints.value.iter().map(|it| it.value.clone()).collect()
    }

    fn each_once<T, K: PartialEq>(
        &mut self,
        list: &Placed<Vec<Placed<T>>>,
        want: &str,
        key: fn(&T) -> &K,
    ) {
        for (at, one) in list.value.iter().enumerate() {
            if list.value[..at].iter().any(|it| key(&it.value) == key(&one.value)) {
                self.complaints.unfit(one, want);
            }
        }
    }

    /// A balancer speaks either the trunk or HTTP to what is below it.
    fn not_mixed(&mut self, endpoints: &Placed<Vec<Placed<EndpointRef>>>) {
        let all = &endpoints.value;
        let urls = all.iter().filter(|it| it.value.is_url()).count();
        let services = all.iter().filter(|it| self.http_service(&it.value.node).is_some()).count();
        let one_kind = urls == all.len() || services == all.len() && services == 1;
        if urls + services != 0 && !one_kind {
            let want = "either nodes, or one HTTP service, or URLs of one";
            self.complaints.unfit(endpoints, want);
        }
        let tls = all.iter().filter(|it| it.value.node.starts_with("https://")).count();
        if tls != 0 && tls != urls {
            self.complaints.unfit(endpoints, ONE_SCHEME);
        }
    }

    fn http_service(&self, name: &str) -> Option<&ServiceFile> {
        let mut services = self.file.services.iter();
        services.find(|it| it.name == name && !it.http.is_missing())
    }

    fn endpoint(&mut self, endpoint: &Placed<EndpointRef>) {
        let name = &endpoint.value.node;
        if endpoint.value.is_url() {
            return;
        }
        if self.http_service(name).is_some() {
            if self.file_node(name).is_some() {
                let want = "a name that is not both a node's and a service's";
                self.complaints.unfit(endpoint, want);
            }
            if endpoint.value.weight != NonZeroU32::MIN {
                let want = "no weight here: the URLs of the service may have some";
                self.complaints.unfit(endpoint, want);
            }
            return;
        }
        let Some(node) = self.file_node(name) else {
            let known = self.file.nodes.iter().filter_map(|it| it.name.good());
            let want = match nearest(name, known.map(|it| it.value.as_str())) {
                Some(meant) => format!("the name of a node (did you mean {meant:?}?)"),
                None => "the name of a node".to_owned(),
            };
            return self.complaints.unfit(endpoint, &want);
        };
        match node.role.good().map(|it| it.value) {
            Some(RoleName::Balancer | RoleName::Gateway) if node.trunk.is_missing() => {
                let want = "a node with a trunk address (this one has none)";
                self.complaints.unfit(endpoint, want);
            }
            Some(role @ (RoleName::Account | RoleName::Monitor)) => {
                let want = format!("a balancer or gateway (this one's role is {})", role.text());
                self.complaints.unfit(endpoint, &want);
            }
            Some(RoleName::Balancer | RoleName::Gateway) | None => {}
        }
    }

    fn service_of(&mut self, it: &NodeFile) -> Option<String> {
        if it.service.is_missing() {
            self.missing(it, "service", "the name of an account service");
        }
        let service = it.service.good()?;
        match self.file.services.iter().find(|it| it.name == service.value) {
            None => self.unknown_service(service),
            Some(target) if !target.http.is_missing() => {
                self.complaints.unfit(service, "a service with an engine");
            }
            Some(_) => {}
        }
        Some(service.value.clone())
    }

    fn unknown_service(&mut self, service: &Placed<String>) {
        let known = self.file.services.iter().map(|it| it.name.as_str());
        let want = match nearest(&service.value, known) {
            Some(meant) => format!("the name of a service (did you mean {meant:?}?)"),
            None => "the name of a service under [services]".to_owned(),
        };
        self.complaints.unfit(service, &want);
    }

    fn services_have_nodes(&mut self) {
        for service in self.file.services.iter().filter(|it| !it.engines.is_missing()) {
            let of_it = |node: &NodeFile| {
                node.service.good().is_some_and(|placed| placed.value == service.name)
            };
            if !self.file.nodes.iter().any(of_it) {
                let text = format!(
                    "has no node: want a node with role = \"account\", service = {:?}",
                    service.name
                );
                self.complaints.add(service.line, &service.path, text);
            }
        }
    }

    fn addresses(&mut self) {
        let mut seen: Vec<&Placed<SocketAddr>> = Vec::new();
        for node in &self.file.nodes {
            for address in [&node.http, &node.trunk, &node.admin].into_iter().flat_map(Field::good)
            {
                if let Some(first) =
                    seen.iter().find(|it| address::collide(it.value, address.value))
                {
                    let want = format!("an address of its own ({} has this one)", first.key);
                    self.complaints.unfit(address, &want);
                }
                seen.push(address);
            }
        }
    }

    /// Follows endpoints down from every node; a way that leads back to itself is told once.
    fn cycles(&mut self) {
        let file = self.file;
        let mut done = BTreeSet::new();
        for node in &file.nodes {
            descend(file, node, &mut Vec::new(), &mut done, &mut self.complaints);
        }
    }

    fn file_node(&self, name: &str) -> Option<&NodeFile> {
        self.file.nodes.iter().find(|it| it.is_called(name))
    }

    fn missing(&mut self, it: &NodeFile, key: &str, want: &str) {
        self.complaints.missing(it.line, &format!("{}.{key}", it.path), want);
    }
}

impl NodeFile {
    fn is_called(&self, name: &str) -> bool {
        self.name.good().is_some_and(|it| it.value == name)
    }
}

/// As deep as the longest way down, which no node is on twice.
fn descend<'a>(
    file: &'a TopologyFile,
    node: &'a NodeFile,
    above: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
    complaints: &mut Complaints,
) {
    let (Some(name), Some(endpoints)) = (node.name.good(), node.endpoints.good()) else { return };
    let name = name.value.as_str();
    if let Some(start) = above.iter().position(|it| *it == name) {
        let ring = above[start..].iter().copied().chain([name]).collect::<Vec<_>>();
        let text = format!("lead back to where they start: {}", ring.join(" -> "));
        complaints.add(endpoints.line, &endpoints.key, text);
        return;
    }
    if !done.insert(name) {
        return;
    }
    above.push(name);
    for endpoint in &endpoints.value {
        if let Some(next) = file.nodes.iter().find(|it| it.is_called(&endpoint.value.node)) {
            descend(file, next, above, done, complaints);
        }
    }
    above.pop();
}

fn rooted(engine: &EngineUrl, base: &Path) -> EngineUrl {
    match engine {
        EngineUrl::Sqlite(folder) => EngineUrl::Sqlite(base.join(folder)),
        EngineUrl::Postgres(url) => EngineUrl::Postgres(url.clone()),
    }
}
