//! `tollgate check`: every mistake of a topology file in one run, or its tree.

use super::Outcome;
use crate::{
    args,
    error::CliError,
    terminal::{Paint, say, say_json, tell},
    topology::{LoadError, Node, Service, ServiceKind, Topology},
};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Complaints to stderr, or the tree to stdout; both to stdout as JSON.
pub(super) fn check(args: &args::Check) -> Outcome {
    let path = args.file.display();
    match Topology::load(&args.file) {
        Ok(tree) if args.json => say_json(&as_json(&tree)),
        Ok(tree) => say(&tree.draw()),
        Err(LoadError::Unreadable(error)) => {
            return Err(CliError::io(format!("cannot read {path}"), &error));
        }
        Err(LoadError::Unsound(complaints)) => {
            let all: Vec<_> = complaints.iter().collect();
            if args.json {
                say_json(&json!({ "ok": false, "complaints": all }));
            } else {
                for complaint in &all {
                    tell!("{path}:{complaint}");
                }
                let count = match all.len() {
                    1 => "1 mistake".to_owned(),
                    count => format!("{count} mistakes"),
                };
                tell!("{}", Paint::stderr().red(&count));
            }
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(tree: &Topology) -> Value {
    json!({
        "ok": true,
        "name": tree.name,
        "services": tree.services.iter().map(service).collect::<Vec<_>>(),
        "routes": tree.routes.iter()
            .map(|it| json!({ "path": it.path, "service": it.service }))
            .collect::<Vec<_>>(),
        "nodes": tree.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

fn service(it: &Service) -> Value {
    match &it.kind {
        ServiceKind::Account { engines, partitions } => {
            let engines: Vec<String> = engines.iter().map(ToString::to_string).collect();
            json!({ "name": it.name, "engines": engines, "partitions": partitions })
        }
        ServiceKind::Http { config } => {
            let urls = config.endpoints.iter().map(|it| format!("http://{}", it.authority()));
            let urls: Vec<String> = urls.collect();
            json!({ "name": it.name, "http": urls })
        }
    }
}

fn node(it: &Node) -> Value {
    json!({
        "name": it.name,
        "role": it.role.name().text(),
        "http": it.role.http(),
        "trunk": it.role.trunk(),
        "admin": it.admin,
        "endpoints": it.role.endpoints().iter().map(|it| &it.node).collect::<Vec<_>>(),
        "service": it.role.service(),
    })
}
