//! Draws a tree, for people.

use super::{Monitor, Node, Role, ServiceKind, Topology, elements::endpoint::EndpointRef};
use balance::Policy;
use proxy::config::HashBy;
use std::{collections::BTreeSet, fmt::Write};

/// Column in which the words after a name start, beyond the deepest name.
const GAP: usize = 2;

impl Topology {
    /// The balancers and gateways from the top down, then each service with its nodes.
    ///
    /// A node with several parents is drawn in full under the first one only.
    pub(crate) fn draw(&self) -> String {
        let mut rows = vec![Row { name: self.name.clone(), words: String::new() }];
        let mut drawn = BTreeSet::new();
        let tops: Vec<&Node> = self.tops().collect();
        for (index, node) in tops.iter().enumerate() {
            self.draw_node(node, "", index + 1 == tops.len(), &mut drawn, &mut rows);
        }
        for service in &self.services {
            rows.push(Row::default());
            rows.push(Row {
                name: format!("service {}", service.name),
                words: words(&service.kind),
            });
            let nodes: Vec<_> = self.nodes_of(&service.name).collect();
            for (index, (node, _)) in nodes.iter().enumerate() {
                let branch = branch(index + 1 == nodes.len());
                rows.push(Row { name: format!("{branch}{}", node.name), words: details(node) });
            }
        }
        for route in &self.routes {
            rows.push(Row::default());
            rows.push(Row {
                name: format!("route {}", route.path),
                words: format!("to service {}", route.service),
            });
        }
        aligned(&rows)
    }

    /// What no balancer sends to: entrances, and monitors.
    fn tops(&self) -> impl Iterator<Item = &Node> {
        let below: BTreeSet<&str> = self
            .nodes
            .iter()
            .flat_map(|it| it.role.endpoints())
            .map(|it| it.node.as_str())
            .collect();
        self.nodes.iter().filter(move |node| {
            !matches!(node.role, Role::Account { .. }) && !below.contains(node.name.as_str())
        })
    }

    fn draw_node<'a>(
        &'a self,
        node: &'a Node,
        indent: &str,
        is_last: bool,
        drawn: &mut BTreeSet<&'a str>,
        rows: &mut Vec<Row>,
    ) {
        let name = format!("{indent}{}{}", branch(is_last), node.name);
        if !drawn.insert(&node.name) {
            rows.push(Row { name, words: "(as above)".to_owned() });
            return;
        }
        rows.push(Row { name, words: details(node) });
        let indent = format!("{indent}{}", if is_last { "   " } else { "│  " });
        let endpoints = node.role.endpoints();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let is_last = index + 1 == endpoints.len();
            match self.node(&endpoint.node) {
                Some(endpoint) => self.draw_node(endpoint, &indent, is_last, drawn, rows),
                None => {
                    let name = format!("{indent}{}{}", branch(is_last), endpoint.node);
                    let words = if endpoint.is_url() { "" } else { "HTTP service" };
                    rows.push(Row { name, words: words.to_owned() });
                }
            }
        }
    }
}

impl Role {
    /// The nodes below it; only a balancer has any.
    pub(crate) fn endpoints(&self) -> &[EndpointRef] {
        match self {
            Role::Balancer { endpoints, .. } => endpoints,
            Role::Gateway { .. } | Role::Account { .. } | Role::Monitor(_) => &[],
        }
    }
}

#[derive(Default)]
struct Row {
    name: String,
    words: String,
}

fn branch(is_last: bool) -> &'static str {
    if is_last { "└─ " } else { "├─ " }
}

fn details(node: &Node) -> String {
    let mut out = format!("{:<8}", node.role.name().text());
    let addresses =
        [("http", node.role.http()), ("trunk", node.role.trunk()), ("admin", node.admin)];
    for (name, address) in addresses {
        if let Some(address) = address {
            write!(out, "  {name} {address}").expect("a String takes everything");
        }
    }
    let more = match &node.role {
        Role::Balancer { policy, hash, .. } => match (policy, hash) {
            (Policy::Hash, HashBy::Header(name)) => format!("  hash of {name}"),
            (Policy::Hash, HashBy::Account) => "  hash of account".to_owned(),
            (policy, _) => format!("  {}", policy.text()),
        },
        Role::Monitor(Monitor { beat, .. }) => {
            format!("  beats {:?} + {:?}", beat.every, beat.grace)
        }
        Role::Gateway { .. } | Role::Account { .. } => String::new(),
    };
    out + &more
}

fn words(kind: &ServiceKind) -> String {
    match kind {
        ServiceKind::Account { engines, partitions } => {
            let engines: Vec<String> = engines.iter().map(ToString::to_string).collect();
            format!("{partitions} partitions on {}", engines.join(", "))
        }
        ServiceKind::Http { config } => {
            let urls = config.endpoints.iter().map(|it| format!("http://{}", it.authority()));
            let check = match &config.check.path {
                Some(path) => format!("checked at {path}"),
                None => "checked by connecting".to_owned(),
            };
            let urls = urls.collect::<Vec<_>>().join(", ");
            format!("{urls}  {}  {check}", config.policy.text())
        }
    }
}

fn aligned(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0) + GAP;
    let mut out = String::new();
    for row in rows {
        let line = format!("{:<width$}{}", row.name, row.words);
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
