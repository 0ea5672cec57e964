//! What nodes count is what docs/metrics.md says that they count.

use crate::tree::Tree;
use std::collections::BTreeSet;

const TABLE: &str = include_str!("../../../../docs/metrics.md");

/// The metrics that the page gives to nodes of these kinds.
fn documented(kinds: &[&str]) -> BTreeSet<String> {
    let rows = TABLE.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| -> Option<String> {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, _, kind, ..] = cells[..] else { panic!("{line}") };
        kinds.contains(&kind).then(|| name.trim_matches('`').to_owned())
    };
    rows.filter_map(row).collect()
}

/// The metrics that a node prints.
fn printed(tree: &Tree, node: &str) -> BTreeSet<String> {
    let answer = tree.admin(node).get("/metrics");
    let text = String::from_utf8(answer.body).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    names.map(|rest| rest.split(' ').next().unwrap().to_owned()).collect()
}

/// Each node, which prints what is printed by these, prints just that.
pub(crate) fn are_as_documented(tree: &Tree, nodes: &[(&str, &[&str])]) {
    for (node, kinds) in nodes {
        let kinds = [&["every node"], *kinds].concat();
        assert_eq!(printed(tree, node), documented(&kinds), "{node}");
    }
}
