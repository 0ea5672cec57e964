//! `tollgate reload`: running nodes take the changed topology file.

use super::{Outcome, load_topology, node::refused};
use crate::{
    args,
    control::{self, Answer, NodeReload, Order, ReloadOrder},
    data::Data,
    error::CliError,
    ops,
    terminal::{Paint, say, say_json, tell},
};
use std::{path::Path, process::ExitCode};

/// Asks `up`, or each node of a file at its admin address.
pub(super) fn reload(args: &args::Reload, data: &Path) -> Outcome {
    let answer = match &args.config {
        Some(path) => Answer::Reloaded { nodes: ask_nodes(path, &args.nodes)? },
        None => {
            let data = Data::at(data);
            data.require_up()?;
            let order = ReloadOrder { reload: args.nodes.clone() };
            control::give(&data, &Order::Reload(order))?
        }
    };
    let nodes = match &answer {
        Answer::Reloaded { nodes } => nodes,
        Answer::Refused { message, hint } => {
            if args.json {
                say_json(&answer);
            }
            return Err(refused(message, hint.as_deref()));
        }
        Answer::Done { .. } => return Err(CliError::failed("`up` answers something else")),
    };
    if args.json {
        say_json(&answer);
    } else {
        say(&as_text(nodes));
    }
    let failed = nodes.iter().filter(|it| !it.ok).count();
    if failed != 0 {
        tell!("{}", Paint::stderr().red(&format!("{failed} of {} nodes failed", nodes.len())));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Each changed node with what has changed, then how many have not.
fn as_text(nodes: &[NodeReload]) -> String {
    let mut out = String::new();
    let mut unchanged = 0;
    for NodeReload { node, ok, lines } in nodes {
        if *ok && lines.is_empty() {
            unchanged += 1;
            continue;
        }
        out.push_str(&format!("{node}{}\n", if *ok { "" } else { ": failed" }));
        for line in lines {
            out.push_str(&format!("  {line}\n"));
        }
    }
    match unchanged {
        0 => {}
        1 => out.push_str("1 node unchanged\n"),
        _ => out.push_str(&format!("{unchanged} nodes unchanged\n")),
    }
    out
}

/// Checks the file here first, so that a broken one is refused by nobody halfway.
fn ask_nodes(path: &Path, names: &[String]) -> Result<Vec<NodeReload>, CliError> {
    let tree = load_topology(path)?;
    for name in names {
        tree.node(name).ok_or_else(|| super::run::unknown_node(name, &tree))?;
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|it| it == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::io("cannot ask the nodes", &error))?;
    let mut results = Vec::new();
    // From the leaves up: what a node is to send to is there before it sends.
    for node in tree.tiers().into_iter().flatten().filter(|node| wanted(&node.name)) {
        let result = match node.admin {
            Some(admin) => runtime.block_on(ops::reload(admin)),
            None => Err(vec!["the file gives it no admin address: send it SIGHUP".to_owned()]),
        };
        results.push(ops::told(&node.name, result));
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_listed_by_node() {
        let node = |node: &str, ok, lines: &[&str]| NodeReload {
            node: node.to_owned(),
            ok,
            lines: lines.iter().map(|&it| it.to_owned()).collect(),
        };
        let nodes =
            [node("edge", true, &["x: 1 to 2"]), node("a", true, &[]), node("b", false, &["no"])];
        assert_eq!(as_text(&nodes), "edge\n  x: 1 to 2\nb: failed\n  no\n1 node unchanged\n");
    }
}
