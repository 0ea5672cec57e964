//! What a changed file means for one running node: what it can take at once, and what only a
//! restart brings.
//!
//! Everything that a file can say is named here once, so that a new key cannot be forgotten.

use super::{
    Door, Front, Monitor, Node, Role, Service, ServiceKind, Topology,
    elements::{alerting::Alerting, checks, endpoint::EndpointRef, engine::EngineUrl, patience},
};
use net::trunk::TlsFiles;
use proxy::{
    config::HashBy,
    upstream::config::{HttpServiceConfig, ServiceTls},
};
use std::{
    fmt::{Debug, Display},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

/// The difference between two files, for one node. Both lists are lines for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// What the node takes while it runs.
    pub(crate) changes: Vec<String>,
    /// What it cannot take; if there is any, it takes nothing.
    pub(crate) restarts: Vec<String>,
}

/// What `new` changes for the running node of this name.
pub(crate) fn difference(old: &Topology, new: &Topology, name: &str) -> Difference {
    let mut out = Difference::default();
    match (old.node(name), new.node(name)) {
        (Some(was), Some(is)) => {
            out.tree(old, new, is);
            out.node(was, is);
            out.role((old, &was.role), (new, &is.role), &format!("nodes[{name}]"));
        }
        (_, None) => {
            let text = format!("nodes[{name}] is no longer in the file: stop it");
            out.restarts.push(text);
        }
        (None, Some(_)) => out.restarts.push(format!("nodes[{name}] is new: start it")),
    }
    out
}

impl Difference {
    fn change<T: Display>(&mut self, key: impl Display, was: T, is: T) {
        if was.to_string() != is.to_string() {
            self.changes.push(format!("{key}: {was} to {is}"));
        }
    }

    fn restart<T: Display>(&mut self, key: impl Display, was: T, is: T) {
        if was.to_string() != is.to_string() {
            self.restarts.push(format!("{key}: {was} to {is} needs a restart"));
        }
    }

    fn tree(&mut self, old: &Topology, new: &Topology, node: &Node) {
        // Services, routes and nodes count where a role has to do with them.
        let Topology {
            name,
            cluster_key,
            api_key,
            api_keys,
            ping_key,
            trunk_tls,
            connection_age,
            stream_age,
            services: _,
            routes,
            nodes: _,
            alerting,
        } = new;
        self.restart("name", &old.name, name);
        self.restart("cluster_key", old.cluster_key.display(), cluster_key.display());
        let files = |tls: &Option<TlsFiles>| match tls {
            Some(TlsFiles { ca, cert, key }) => {
                format!("{}, {}, {}", ca.display(), cert.display(), key.display())
            }
            None => "none".to_owned(),
        };
        self.restart("trunk_tls", files(&old.trunk_tls), files(trunk_tls));
        let shown = |age: Duration| format!("{age:?}");
        self.restart("connection_age", shown(old.connection_age), shown(*connection_age));
        self.restart("stream_age", shown(old.stream_age), shown(*stream_age));
        if let Role::Monitor(_) = node.role {
            self.alerting(&old.alerting, alerting);
            self.change("api_key", old.api_key.display(), api_key.display());
            self.restart("ping_key", old.ping_key.display(), ping_key.display());
        }
        if node.role.is_gateway() {
            self.change("api_key", old.api_key.display(), api_key.display());
            self.restart("api_keys", old.api_keys.display(), api_keys.display());
            let paths = |routes: &[super::Route]| -> Vec<String> {
                routes.iter().map(|it| format!("{} to {}", it.path, it.service)).collect()
            };
            self.list("routes", &paths(&old.routes), &paths(routes));
        }
    }

    /// A monitor takes all of it while it runs.
    fn alerting(&mut self, was: &Alerting, is: &Alerting) {
        fn shown<T: Debug>(all: &[T]) -> Vec<String> {
            all.iter().map(|it| format!("{it:?}")).collect()
        }
        let Alerting { rules, subscriptions, windows, retention, channels: _ } = is;
        self.list("rules", &shown(&was.rules), &shown(rules));
        self.list("subscriptions", &shown(&was.subscriptions), &shown(subscriptions));
        self.list("windows", &shown(&was.windows), &shown(windows));
        self.change("retention", format!("{:?}", was.retention), format!("{retention:?}"));
    }

    fn node(&mut self, was: &Node, is: &Node) {
        let Node { name, role: _, admin, drain, checks: limits } = is;
        let key = |of: &str| format!("nodes[{name}].{of}");
        self.restart(key("admin"), shown(was.admin), shown(*admin));
        self.change(key("drain"), format!("{:?}", was.drain), format!("{drain:?}"));
        self.restart(key("checks"), checks::shown(&was.checks), checks::shown(limits));
    }

    fn role(&mut self, (old, was): (&Topology, &Role), (new, is): (&Topology, &Role), at: &str) {
        match (was, is) {
            (
                Role::Balancer {
                    door: old_door,
                    endpoints: old_endpoints,
                    policy: old_policy,
                    hash: old_hash,
                },
                Role::Balancer { door, endpoints, policy, hash },
            ) => {
                self.door(old_door, door, at);
                self.change(format!("{at}.policy"), old_policy.text(), policy.text());
                self.change(format!("{at}.hash"), by(old_hash), by(hash));
                match (old.http_behind(old_endpoints), new.http_behind(endpoints)) {
                    (None, None) => (),
                    (Some(was), Some(is)) => return self.http(&was, &is, at),
                    (Some(_), None) | (None, Some(_)) => {
                        let text = format!("{at}.endpoints: from nodes to HTTP or back");
                        return self.restarts.push(format!("{text} needs a restart"));
                    }
                }
                let reached = |tree: &Topology, all: &[EndpointRef]| -> Vec<String> {
                    let shown =
                        |it: &EndpointRef| format!("{} at {}", it.node, reach(tree, &it.node));
                    all.iter().map(shown).collect()
                };
                let (was, is) = (reached(old, old_endpoints), reached(new, endpoints));
                self.list(&format!("{at}.endpoints"), &was, &is);
                for EndpointRef { node, weight } in endpoints {
                    if let Some(was) = old_endpoints.iter().find(|it| it.node == *node) {
                        self.change(
                            format!("{at}.endpoints: weight of {node}"),
                            was.weight,
                            *weight,
                        );
                    }
                }
            }
            (Role::Gateway { door: old_door }, Role::Gateway { door }) => {
                self.door(old_door, door, at);
                self.services(old, new);
                self.http_services(old, new);
            }
            (
                Role::Account { service: old_service, trunk: old_trunk },
                Role::Account { service, trunk },
            ) => {
                self.restart(format!("{at}.service"), old_service, service);
                self.restart(format!("{at}.trunk"), old_trunk, trunk);
                self.store(old, new, service);
            }
            (Role::Monitor(was), Role::Monitor(is)) => {
                self.monitor(was, is, at);
                let watched = |tree: &Topology| -> Vec<String> {
                    // What stands below what decides what is a cause and what a consequence.
                    let shown = |it: &Node| {
                        let below: Vec<&str> =
                            it.role.endpoints().iter().map(|it| it.node.as_str()).collect();
                        let over = if below.is_empty() { "" } else { " over " };
                        let role = it.role.name().text();
                        format!("{} ({role}{over}{})", it.name, below.join(", "))
                    };
                    tree.nodes.iter().map(shown).collect()
                };
                self.list("nodes", &watched(old), &watched(new));
            }
            (
                Role::Balancer { .. }
                | Role::Gateway { .. }
                | Role::Account { .. }
                | Role::Monitor(_),
                _,
            ) => self.restart(format!("{at}.role"), was.name().text(), is.name().text()),
        }
    }

    fn monitor(&mut self, was: &Monitor, is: &Monitor, at: &str) {
        let Monitor { http, beat, notify, ca, folder, .. } = is;
        self.restart(format!("{at}.http"), &was.http, http);
        let (old, new) = (format!("{:?}", was.beat), format!("{beat:?}"));
        self.restart(format!("{at}.beat"), old, new);
        self.restart(format!("{at}.folder"), was.folder.display(), folder.display());
        self.restart(format!("{at}.store"), format!("{:?}", was.store), format!("{:?}", is.store));
        self.restart(format!("{at}.notify"), was.notify.join(", "), notify.join(", "));
        let mail = |it: &Monitor| {
            let server = it.smtp.as_deref().unwrap_or("no mail server");
            let password = it.smtp_password.as_ref().map(|it| it.display());
            format!("{server}, {password:?}, from {:?}", it.mail_from)
        };
        self.restart(format!("{at}.smtp"), mail(was), mail(is));
        let fallback = |it: &Monitor| format!("{:?} after {:?}", it.fallback, it.fallback_after);
        self.restart(format!("{at}.fallback"), fallback(was), fallback(is));
        self.restart(format!("{at}.ca"), trusted(was.ca.as_ref()), trusted(ca.as_ref()));
    }

    fn door(&mut self, was: &Door, is: &Door, at: &str) {
        let Door { http, trunk, workers, deadline, front } = is;
        let tls = |front: &Front| format!("{:?}", front.tls);
        self.restart(format!("{at}.tls"), tls(&was.front), tls(front));
        let proxied = (was.front.proxy_protocol, front.proxy_protocol);
        self.restart(format!("{at}.proxy_protocol"), proxied.0, proxied.1);
        let trusted = |front: &Front| format!("{:?}", front.trusted);
        self.restart(format!("{at}.trusted"), trusted(&was.front), trusted(front));
        let (old, new) = (patience::shown(&was.front.patience), patience::shown(&front.patience));
        for ((key, was), (_, is)) in old.iter().zip(&new) {
            self.restart(format!("{at}.patience.{key}"), was, is);
        }
        self.restart(format!("{at}.http"), shown(was.http), shown(*http));
        self.restart(format!("{at}.trunk"), shown(was.trunk), shown(*trunk));
        let threads =
            |it: Option<usize>| it.map_or("as many as cores".to_owned(), |it| it.to_string());
        self.restart(format!("{at}.workers"), threads(was.workers), threads(*workers));
        let (was, is) = (format!("{:?}", was.deadline), format!("{deadline:?}"));
        self.change(format!("{at}.deadline"), was, is);
    }

    /// The account services as a gateway sees them: their nodes may come and go.
    fn services(&mut self, old: &Topology, new: &Topology) {
        for service in &old.services {
            if account(service).is_some() && !new.services.iter().any(|it| it.name == service.name)
            {
                self.restarts.push(format!("services.{} is gone: needs a restart", service.name));
            }
        }
        for service in &new.services {
            let Some(partitions) = account(service) else { continue };
            let name = &service.name;
            let was = old.services.iter().find(|it| it.name == *name).and_then(account);
            let Some(was) = was else {
                self.restarts.push(format!("services.{name} is new: needs a restart"));
                continue;
            };
            self.restart(format!("services.{name}.partitions"), was, partitions);
            let nodes = |tree: &Topology| -> Vec<String> {
                tree.nodes_of(name).map(|(node, at)| format!("{} at {at}", node.name)).collect()
            };
            self.list(&format!("nodes of {name}"), &nodes(old), &nodes(new));
        }
    }

    /// The HTTP services as a gateway sees them: those that a route leads to.
    fn http_services(&mut self, old: &Topology, new: &Topology) {
        let mut seen = Vec::new();
        for route in &new.routes {
            let name = &route.service;
            // One that is new, or gone, shows in the routes.
            if let (Some(was), Some(is)) = (old.http_service(name), new.http_service(name))
                && !seen.contains(&name)
            {
                seen.push(name);
                self.http(was, is, &format!("services.{name}"));
                self.change(format!("services.{name}.policy"), was.policy.text(), is.policy.text());
                self.change(format!("services.{name}.hash"), by(&was.hash), by(&is.hash));
            }
        }
    }

    /// What a node that speaks HTTP to a service goes by; policy and hash are told by the caller.
    fn http(&mut self, was: &HttpServiceConfig, is: &HttpServiceConfig, at: &str) {
        let HttpServiceConfig { name, endpoints, protocol, tls, host, check, policy: _, hash: _ } =
            is;
        self.change(format!("{at}: service"), &was.name, name);
        let urls = |of: &HttpServiceConfig| -> Vec<String> {
            of.endpoints.iter().map(|it| format!("{}://{}", of.scheme(), it.authority())).collect()
        };
        self.list(&format!("{at}: endpoints"), &urls(was), &urls(is));
        let ca = |tls: &Option<ServiceTls>| trusted(tls.as_ref().and_then(|it| it.ca.as_ref()));
        self.change(format!("{at}: ca"), ca(&was.tls), ca(tls));
        for endpoint in endpoints {
            let name = endpoint.authority();
            if let Some(was) = was.endpoints.iter().find(|it| it.authority() == name) {
                self.change(
                    format!("{at}: weight of {}://{name}", is.scheme()),
                    was.weight,
                    endpoint.weight,
                );
            }
        }
        let shown = |it: &Option<String>| it.clone().unwrap_or_else(|| "the client's".to_owned());
        self.change(format!("{at}: host"), shown(&was.host), shown(host));
        let (before, after) = (format!("{:?}", was.protocol), format!("{protocol:?}"));
        self.change(format!("{at}: protocol"), before, after);
        let (before, after) = (format!("{:?}", was.check), format!("{check:?}"));
        if before != after {
            self.changes.push(format!("{at}: check"));
        }
    }

    /// An account node's service: where its books are, and who else keeps them.
    fn store(&mut self, old: &Topology, new: &Topology, service: &str) {
        let of = |tree: &Topology| -> Option<String> {
            let found = tree.services.iter().find(|it| it.name == service)?;
            match &found.kind {
                ServiceKind::Account { engines, partitions } => {
                    let engines: Vec<String> = engines.iter().map(ToString::to_string).collect();
                    Some(format!("{partitions} partitions on {}", engines.join(", ")))
                }
                ServiceKind::Http { config: _ } => None,
            }
        };
        let none = || "none".to_owned();
        let (was, is) = (of(old).unwrap_or_else(none), of(new).unwrap_or_else(none));
        self.restart(format!("services.{service}"), was, is);
        // What is not shown may differ as well.
        let secrets = |tree: &Topology| -> Vec<String> {
            let found = tree.services.iter().filter(|it| it.name == service);
            let engines = found.filter_map(|it| match &it.kind {
                ServiceKind::Account { engines, partitions: _ } => Some(engines),
                ServiceKind::Http { config: _ } => None,
            });
            engines
                .flatten()
                .filter(|it| it.secret() != it.to_string())
                .map(EngineUrl::secret)
                .collect()
        };
        let (was, is) = (secrets(old), secrets(new));
        if was.len() == is.len() && was != is {
            self.restart(format!("services.{service}: password"), "one", "another");
        }
        // Partitions are dealt by a node's place in this list, and go to it while all run.
        let names = |tree: &Topology| -> Vec<String> {
            tree.nodes_of(service).map(|(node, _)| node.name.clone()).collect()
        };
        let (was, is) = (names(old).join(", "), names(new).join(", "));
        self.change(format!("nodes of {service}"), was, is);
    }

    fn list(&mut self, key: &str, was: &[String], is: &[String]) {
        for gone in was.iter().filter(|it| !is.contains(it)) {
            self.changes.push(format!("{key}: without {gone}"));
        }
        for new in is.iter().filter(|it| !was.contains(it)) {
            self.changes.push(format!("{key}: with {new}"));
        }
    }
}

fn by(hash: &HashBy) -> String {
    match hash {
        HashBy::Account => "account".to_owned(),
        HashBy::Header(name) => format!("header:{name}"),
    }
}

/// Where the tier above finds a node.
fn trusted(ca: Option<&PathBuf>) -> String {
    ca.map_or("the system's".to_owned(), |it| it.display().to_string())
}

fn reach(tree: &Topology, name: &str) -> String {
    shown(tree.node(name).and_then(|node| node.role.trunk()))
}

fn shown(address: Option<SocketAddr>) -> String {
    address.map_or("none".to_owned(), |it| it.to_string())
}

/// The partitions of an account service.
fn account(service: &Service) -> Option<u16> {
    match &service.kind {
        ServiceKind::Account { engines: _, partitions } => Some(*partitions),
        ServiceKind::Http { config: _ } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const FILE: &str = r#"
name = "x"
[services.a]
engine = "sqlite:a"
[[nodes]]
name = "edge"
role = "balancer"
http = "127.0.0.1:1"
endpoints = ["g-1", "g-2"]
[[nodes]]
name = "g-1"
role = "gateway"
trunk = "127.0.0.1:2"
[[nodes]]
name = "g-2"
role = "gateway"
trunk = "127.0.0.1:3"
[[nodes]]
name = "a-1"
role = "account"
service = "a"
trunk = "127.0.0.1:4"
"#;

    fn differs(node: &str, from: &str, to: &str) -> Difference {
        let parse = |text: &str| Topology::parse(text, Path::new("/")).unwrap();
        assert!(FILE.contains(from), "{from}");
        difference(&parse(FILE), &parse(&FILE.replacen(from, to, 1)), node)
    }

    #[track_caller]
    fn changes(node: &str, from: &str, to: &str, expected: &[&str]) {
        let difference = differs(node, from, to);
        assert_eq!(
            (difference.changes, difference.restarts.len()),
            (expected.iter().map(|&it| it.to_owned()).collect(), 0)
        );
    }

    #[track_caller]
    fn restarts(node: &str, from: &str, to: &str, expected: &str) {
        assert_eq!(differs(node, from, to).restarts, [expected]);
    }

    #[test]
    fn what_a_running_node_takes() {
        let endpoints = r#"endpoints = ["g-1", "g-2"]"#;
        let without = ["nodes[edge].endpoints: without g-2 at 127.0.0.1:3"];
        changes("edge", endpoints, r#"endpoints = ["g-1"]"#, &without);
        let slow = format!("{endpoints}\ndrain = \"1s\"\ndeadline = \"2s\"\npolicy = \"hash\"");
        let expected = [
            "nodes[edge].drain: 10s to 1s",
            "nodes[edge].deadline: 10s to 2s",
            "nodes[edge].policy: least-load to hash",
        ];
        changes("edge", endpoints, &slow, &expected);
        changes("g-1", endpoints, &slow, &[]);
        let heavy = r#"endpoints = ["g-1", { node = "g-2", weight = 3 }]"#;
        changes("edge", endpoints, heavy, &["nodes[edge].endpoints: weight of g-2: 1 to 3"]);
        let key = "name = \"x\"\napi_key = \"other\"";
        changes("g-1", "name = \"x\"", key, &["api_key: /admin.key to /other"]);
        changes("edge", "name = \"x\"", key, &[]);
        let moved =
            ["nodes of a: without a-1 at 127.0.0.1:4", "nodes of a: with a-1 at 127.0.0.1:9"];
        changes("g-2", "127.0.0.1:4", "127.0.0.1:9", &moved);
    }

    #[test]
    fn http_services_change_while_a_node_runs() {
        let service = "[services.a]";
        let rates = "[services.rates]\nhttp = [\"http://r:1\", \"http://r:2\"]\n";
        let route = "[[routes]]\npath = \"/rates/*\"\nservice = \"rates\"\n";
        changes(
            "g-1",
            service,
            &format!("{rates}{route}{service}"),
            &["routes: with /rates/* to rates"],
        );
        let parse = |text: &str| Topology::parse(text, Path::new("/")).unwrap();
        let first = FILE.replacen(service, &format!("{rates}{route}{service}"), 1);
        let heavy = "http = [\"http://r:3\", { url = \"http://r:2\", weight = 4 }]\nhost = \"r\"\n\
                     check = { path = \"/ok\" }";
        let second = first.replacen("http = [\"http://r:1\", \"http://r:2\"]", heavy, 1);
        let lines = [
            "services.rates: endpoints: without http://r:1",
            "services.rates: endpoints: with http://r:3",
            "services.rates: weight of http://r:2: 1 to 4",
            "services.rates: host: the client's to r",
            "services.rates: check",
        ];
        assert_eq!(difference(&parse(&first), &parse(&second), "g-1").changes, lines);
        assert_eq!(difference(&parse(&first), &parse(&second), "edge"), Difference::default());
        let endpoints = r#"endpoints = ["g-1", "g-2"]"#;
        let [before, after] =
            [first, second].map(|it| it.replacen(endpoints, "endpoints = [\"rates\"]", 1));
        let lines = lines.map(|it| it.replace("services.rates", "nodes[edge]"));
        assert_eq!(difference(&parse(&before), &parse(&after), "edge").changes, lines);
        let to_http = "nodes[edge].endpoints: from nodes to HTTP or back needs a restart";
        restarts("edge", endpoints, "endpoints = [\"http://r:1\"]", to_http);
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        let moved = "nodes[g-1].trunk: 127.0.0.1:2 to 127.0.0.1:9 needs a restart";
        restarts("g-1", "127.0.0.1:2", "127.0.0.1:9", moved);
        let endpoints = r#"endpoints = ["g-1", "g-2"]"#;
        let patient = format!("{endpoints}\npatience = {{ idle = \"5m\" }}");
        let idle = "nodes[edge].patience.idle: 60s to 300s needs a restart";
        restarts("edge", endpoints, &patient, idle);
        let split = "engine = \"sqlite:a\"\npartitions = 4";
        let partitions = "services.a.partitions: 16 to 4 needs a restart";
        restarts("g-1", "engine = \"sqlite:a\"", split, partitions);
        let store = "services.a: 16 partitions on sqlite:/a to 4 partitions on sqlite:/a \
                     needs a restart";
        restarts("a-1", "engine = \"sqlite:a\"", split, store);
        let on = |password: &str| {
            let engine = format!("engine = \"postgres://u:{password}@db/x\"");
            let text = FILE.replacen("engine = \"sqlite:a\"", &engine, 1);
            Topology::parse(&text, Path::new("/")).unwrap()
        };
        let other = difference(&on("p"), &on("q"), "a-1").restarts;
        assert_eq!(other, ["services.a: password: one to another needs a restart"]);
        assert_eq!(difference(&on("p"), &on("p"), "a-1"), Difference::default());
        restarts("g-2", "name = \"x\"", "name = \"y\"", "name: x to y needs a restart");
        let gone = "nodes[g-2] is no longer in the file: stop it";
        let file = FILE.replacen(r#"["g-1", "g-2"]"#, r#"["g-1"]"#, 1);
        let (from, to) = (
            file.find("[[nodes]]\nname = \"g-2\"").unwrap(),
            file.find("[[nodes]]\nname = \"a-1\"").unwrap(),
        );
        let parse = |text: &str| Topology::parse(text, Path::new("/")).unwrap();
        let less = format!("{}{}", &file[..from], &file[to..]);
        assert_eq!(difference(&parse(FILE), &parse(&less), "g-2").restarts, [gone]);
        let same = difference(&parse(FILE), &parse(FILE), "g-2");
        assert_eq!(same, Difference::default());
    }
}
