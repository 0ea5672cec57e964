//! `tollgate status`: the tree now, from what `up` wrote down and what each node says of itself.

use super::Outcome;
use crate::{
    args,
    data::{Data, NodeState, TreeState},
    error::CliError,
    http, proc,
    terminal::{Paint, say, say_json, span, table_within, width},
    topology::elements::url::HttpUrl,
};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, process::ExitCode, time::Duration};
use tokio::task::JoinSet;

/// How long a node may take to answer; one that hangs is shown as such.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);

/// What a node said when it was asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// `None` when it said nothing.
    is_ready: Option<bool>,
    status: Option<Value>,
}

impl Said {
    fn number(&self, key: &str) -> Option<u64> {
        self.status.as_ref()?.get(key)?.as_u64()
    }

    /// It is out of rotation, whoever told it so.
    fn is_draining(&self) -> bool {
        self.status.as_ref().is_some_and(|it| it["draining"] == true)
    }

    /// Latency and share of its limit, as it tells the tier above.
    fn load(&self) -> Option<String> {
        let load = self.status.as_ref()?.get("load")?;
        let (latency, permille) =
            (load.get("latency_us")?.as_u64()?, load.get("limit_permille")?.as_u64()?);
        let latency = match latency {
            0 => "-".to_owned(), // Nobody has asked it anything lately.
            us => format!("{:.1?}", Duration::from_micros(us)),
        };
        Some(format!("{latency} {}%", permille.div_ceil(10)))
    }
}

/// A table, or JSON.
pub(super) fn status(args: &args::Status, data: &Path) -> Outcome {
    let tree = Data::at(data).require_up()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::io("cannot ask the nodes", &error))?;
    let said = runtime.block_on(ask_all(&tree));
    if args.json {
        say_json(&as_json(&tree, &said));
    } else {
        say(&as_text(&tree, &said));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn ask_all(tree: &TreeState) -> Vec<Said> {
    let mut asked = JoinSet::new();
    for (index, node) in tree.nodes.iter().enumerate() {
        if let (Some(admin), Some(_)) = (node.admin, node.pid) {
            asked.spawn(async move { (index, ask(admin).await) });
        }
    }
    let mut said = vec![Said::default(); tree.nodes.len()];
    while let Some(answer) = asked.join_next().await {
        if let Ok((index, answer)) = answer {
            said[index] = answer;
        }
    }
    said
}

async fn ask(admin: SocketAddr) -> Said {
    let url = HttpUrl::plain(admin.ip().to_string(), admin.port());
    let ready = http::call(&url, None, http::get(&url, "/readyz"), ANSWER_TIME_MAX).await;
    let Ok(ready) = ready else { return Said::default() };
    let status = http::call(&url, None, http::get(&url, "/admin/status"), ANSWER_TIME_MAX).await;
    let status = status.ok().filter(|it| it.status == 200);
    Said {
        is_ready: Some(ready.status == 200),
        status: status.and_then(|it| serde_json::from_slice(&it.body).ok()),
    }
}

/// What `up` knows and what the node says, in one word.
fn state<'a>(node: &'a NodeState, said: &Said) -> &'a str {
    match (node.state.as_str(), said.is_ready) {
        ("ready", Some(false)) if said.is_draining() => {
            if said.number("unfinished") == Some(0) {
                "drained"
            } else {
                "draining"
            }
        }
        ("ready", Some(false)) => "not ready",
        ("ready", None) => "no answer",
        (state, _) => state,
    }
}

/// Requests that a node has taken: a node of accounts counts commands and queries apart.
pub(super) fn requests(said: &Said) -> Option<u64> {
    let count = |key: &str| said.number(key);
    count("requests").or_else(|| match (count("commands"), count("queries")) {
        (None, None) => None,
        (commands, queries) => commands.unwrap_or(0).checked_add(queries.unwrap_or(0)),
    })
}

fn as_json(tree: &TreeState, said: &[Said]) -> Value {
    let nodes = tree.nodes.iter().zip(said).map(|(node, said)| {
        json!({
            "name": node.name,
            "role": node.role,
            "state": state(node, said),
            "pid": node.pid,
            "uptime_seconds": node.pid.and_then(proc::uptime).map(|it| it.as_secs()),
            "restarts": node.restarts,
            "http": node.http,
            "trunk": node.trunk,
            "admin": node.admin,
            "requests": requests(said),
            "in_flight": said.number("in_flight"),
            "load": said.status.as_ref().and_then(|it| it.get("load")),
            "status": said.status,
        })
    });
    json!({
        "name": tree.name,
        "pid": tree.pid,
        "edge": tree.edge,
        "nodes": nodes.collect::<Vec<_>>(),
    })
}

fn as_text(tree: &TreeState, said: &[Said]) -> String {
    let heads = [
        "NODE",
        "ROLE",
        "STATE",
        "PID",
        "UPTIME",
        "RESTARTS",
        "REQUESTS",
        "IN FLIGHT",
        "LOAD",
        "ADDRESSES",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    for (node, said) in tree.nodes.iter().zip(said) {
        let addresses =
            [("http", node.http), ("trunk", node.trunk), ("admin", node.admin)].into_iter();
        let addresses = addresses.filter_map(|(name, it)| Some(format!("{name} {}", it?)));
        rows.push(vec![
            node.name.clone(),
            node.role.clone(),
            state(node, said).to_owned(),
            dash(node.pid.map(|it| it.to_string())),
            dash(node.pid.and_then(proc::uptime).map(span)),
            node.restarts.to_string(),
            dash(requests(said).map(|it| it.to_string())),
            dash(said.number("in_flight").map(|it| it.to_string())),
            dash(said.load()),
            addresses.collect::<Vec<_>>().join("  "),
        ]);
    }
    let edge = tree.edge.as_deref().unwrap_or("no HTTP address");
    let paint = Paint::stdout();
    let title = format!("{} at {edge}", tree.name);
    format!("{}\n\n{}", paint.bold(&title), painted(&rows, tree, said, paint))
}

/// Rows of nodes under their heads, each in the colour of its node's state.
pub(super) fn painted(
    rows: &[Vec<String>],
    tree: &TreeState,
    said: &[Said],
    paint: Paint,
) -> String {
    let (heads, body) = split_first_line(table_within(rows, width()));
    let body =
        body.lines().zip(tree.nodes.iter().zip(said)).map(|(line, (node, said))| {
            match state(node, said) {
                "ready" => format!("{line}\n"),
                "killed" | "restarting" | "no answer" => paint.red(line) + "\n",
                _ => paint.yellow(line) + "\n",
            }
        });
    format!("{heads}\n{}", body.collect::<String>())
}

/// The columns of a node that change from moment to moment.
pub(super) fn live(node: &NodeState, said: &Said) -> [String; 4] {
    let dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    [
        node.name.clone(),
        state(node, said).to_owned(),
        dash(said.number("in_flight").map(|it| it.to_string())),
        dash(said.load()),
    ]
}

fn split_first_line(text: String) -> (String, String) {
    match text.split_once('\n') {
        Some((first, rest)) => (first.to_owned(), rest.to_owned()),
        None => (text, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_where_they_are() {
        let of = |text: &str| {
            requests(&Said { is_ready: None, status: serde_json::from_str(text).ok() })
        };
        assert_eq!(of(r#"{"requests":3,"commands":1}"#), Some(3));
        assert_eq!(of(r#"{"requests":3}"#), Some(3));
        assert_eq!(of(r#"{"commands":3,"queries":4}"#), Some(7));
        assert_eq!(of(r#"{"other":3}"#), None);
        assert_eq!(of("broken"), None);
    }

    #[test]
    fn a_node_out_of_rotation_is_drained_once_it_has_nothing_left() {
        let node = NodeState {
            state: "ready".to_owned(),
            ..NodeState::new("a", crate::topology::elements::role::RoleName::Gateway)
        };
        let of = |is_ready, text: &str| {
            state(&node, &Said { is_ready, status: serde_json::from_str(text).ok() }).to_owned()
        };
        assert_eq!(of(Some(true), r#"{"draining":false}"#), "ready");
        assert_eq!(of(Some(false), r#"{"draining":true,"unfinished":2}"#), "draining");
        assert_eq!(of(Some(false), r#"{"draining":true,"unfinished":0}"#), "drained");
        assert_eq!(of(Some(false), r#"{"draining":false}"#), "not ready");
        assert_eq!(of(None, ""), "no answer");
    }

    #[test]
    fn load_is_latency_and_share_of_the_limit() {
        let status = r#"{"load":{"latency_us":1234,"limit_permille":341}}"#;
        let said = Said { is_ready: Some(true), status: serde_json::from_str(status).ok() };
        assert_eq!(said.load().as_deref(), Some("1.2ms 35%"));
        assert_eq!(Said::default().load(), None);
    }
}
