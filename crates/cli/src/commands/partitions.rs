//! `tollgate partitions`: who owns each partition, as the nodes say; and moving one.

use super::Outcome;
use crate::{
    args::{self, PartitionsVerb},
    data::{Data, TreeState},
    error::CliError,
    ops,
    terminal::{say, say_json, span, table},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::SocketAddr, path::Path, process::ExitCode, time::Duration};
use tokio::task::JoinSet;

/// How often a move is looked at, and how often before it is given up: ten seconds.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOKS_MAX: u32 = 200;
/// The last moves that a table shows.
const MOVES_SHOWN: usize = 10;

/// A partition and its owner.
#[derive(Clone, Debug)]
struct Row {
    owner: String,
    epoch: u64,
    age_ms: u64,
    head: u64,
    projected: u64,
}

/// What all account nodes say.
#[derive(Debug, Default)]
struct Told {
    /// Partitions of each service.
    counts: BTreeMap<String, u64>,
    rows: BTreeMap<(String, u64), Row>,
    /// Service, node, and what it remembers of a move; the last first.
    moves: Vec<(String, String, Value)>,
    /// Where the nodes of each service take orders.
    admins: BTreeMap<(String, String), SocketAddr>,
}

/// A table, or JSON; or a move.
pub(super) fn partitions(args: &args::Partitions, data: &Path) -> Outcome {
    let tree = Data::at(data).require_up()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::io("cannot ask the nodes", &error))?;
    match &args.verb {
        None => {
            let told = runtime.block_on(ask_all(&tree));
            if args.json {
                say_json(&as_json(&told));
            } else {
                say(&as_text(&told));
            }
        }
        Some(PartitionsVerb::Move { partition, node }) => {
            let place = parse(partition).ok_or_else(|| {
                CliError::failed(format!("{partition:?} is no partition"))
                    .hint("want SERVICE/NUMBER, as in a/3")
            })?;
            let row = runtime.block_on(move_one(&tree, &place, node.as_deref()))?;
            let (service, number) = place;
            if args.json {
                say_json(&row_json(&service, number, Some(&row)));
            } else {
                say(&format!("{service}/{number} is at {}, epoch {}\n", row.owner, row.epoch));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(text: &str) -> Option<(String, u64)> {
    let (service, number) = text.split_once('/')?;
    Some((service.to_owned(), number.parse().ok()?))
}

async fn ask_all(tree: &TreeState) -> Told {
    let mut asked = JoinSet::new();
    for node in tree.nodes.iter().filter(|it| it.role == "account") {
        if let (Some(admin), Some(_)) = (node.admin, node.pid) {
            let name = node.name.clone();
            asked.spawn(async move { (name, admin, ops::glance(admin).await) });
        }
    }
    let mut told = Told::default();
    while let Some(answer) = asked.join_next().await {
        if let Ok((name, admin, Ok(status))) = answer {
            told.add(&name, admin, &status);
        }
    }
    told.moves.sort_by_key(|it| std::cmp::Reverse(text(&it.2, "at")));
    told
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

impl Told {
    fn add(&mut self, name: &str, admin: SocketAddr, status: &Value) {
        let service = text(status, "service");
        self.counts.insert(service.clone(), number(status, "partitions_count"));
        self.admins.insert((service.clone(), name.to_owned()), admin);
        let list = |key: &str| status.get(key).and_then(Value::as_array).into_iter().flatten();
        for it in list("partitions") {
            let row = Row {
                owner: name.to_owned(),
                epoch: number(it, "epoch"),
                age_ms: number(it, "age_ms"),
                head: number(it, "head"),
                projected: number(it, "projected"),
            };
            let place = (service.clone(), number(it, "partition"));
            // During a move two may claim it: the later tenure is the true one.
            if self.rows.get(&place).is_none_or(|known| known.epoch < row.epoch) {
                self.rows.insert(place, row);
            }
        }
        let moves = list("moves").map(|it| (service.clone(), name.to_owned(), it.clone()));
        self.moves.extend(moves);
    }

    /// Every partition, those without an owner too.
    fn places(&self) -> impl Iterator<Item = (&str, u64, Option<&Row>)> {
        self.counts.iter().flat_map(|(service, count)| {
            let row = |number| self.rows.get(&(service.clone(), number));
            (0..*count).map(move |number| (service.as_str(), number, row(number)))
        })
    }
}

fn row_json(service: &str, number: u64, row: Option<&Row>) -> Value {
    match row {
        None => json!({ "service": service, "partition": number, "owner": null }),
        Some(row) => json!({
            "service": service,
            "partition": number,
            "owner": row.owner,
            "epoch": row.epoch,
            "age_ms": row.age_ms,
            "head": row.head,
            "projected": row.projected,
        }),
    }
}

fn as_json(told: &Told) -> Value {
    let partitions: Vec<Value> =
        told.places().map(|(service, number, row)| row_json(service, number, row)).collect();
    let moves: Vec<Value> = told
        .moves
        .iter()
        .map(|(service, node, it)| {
            let mut out = it.clone();
            out["service"] = service.as_str().into();
            out["node"] = node.as_str().into();
            out
        })
        .collect();
    json!({ "partitions": partitions, "moves": moves })
}

fn as_text(told: &Told) -> String {
    let head = ["PARTITION", "OWNER", "EPOCH", "SINCE", "HEAD", "LAG"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (service, number, row) in told.places() {
        let place = format!("{service}/{number}");
        rows.push(match row {
            None => vec![place, "nobody".to_owned()],
            Some(row) => vec![
                place,
                row.owner.clone(),
                row.epoch.to_string(),
                span(Duration::from_millis(row.age_ms)),
                row.head.to_string(),
                row.head.saturating_sub(row.projected).to_string(),
            ],
        });
    }
    let mut out = table(&rows);
    if !told.moves.is_empty() {
        out.push_str("\nlast moves\n");
    }
    for (service, node, it) in told.moves.iter().take(MOVES_SHOWN) {
        let peer = text(it, "peer");
        let to = if peer.is_empty() { String::new() } else { format!(" to {peer}") };
        let (at, what) = (text(it, "at"), text(it, "what"));
        let (partition, epoch) = (number(it, "partition"), number(it, "epoch"));
        out.push_str(&format!("{at}  {service}/{partition} {what} by {node}{to}, epoch {epoch}\n"));
    }
    out
}

/// Gives the order to any node of the service, and waits until it is carried out.
async fn move_one(
    tree: &TreeState,
    place: &(String, u64),
    node: Option<&str>,
) -> Result<Row, CliError> {
    let (service, partition) = place;
    let told = ask_all(tree).await;
    let of_service = told.admins.iter().filter(|((of, _), _)| of == service);
    let owner = told.rows.get(place).map(|row| row.owner.as_str());
    let mut nodes: Vec<(&str, SocketAddr)> =
        of_service.map(|((_, name), admin)| (name.as_str(), *admin)).collect();
    nodes.sort_by_key(|(name, _)| Some(*name) != owner);
    let Some((_, admin)) = nodes.first() else {
        return Err(CliError::failed(format!("no account node of service {service:?} answers"))
            .hint("see `tollgate status`"));
    };
    if let Some(node) = node.filter(|node| nodes.iter().all(|(name, _)| name != node)) {
        let names: Vec<&str> = nodes.iter().map(|(name, _)| *name).collect();
        return Err(CliError::failed(format!("no node {node:?} of service {service} answers"))
            .hint(format!("those that do are {}", names.join(", "))));
    }
    let path = match node {
        Some(node) => format!("/admin/partitions/{partition}/{node}"),
        None => format!("/admin/partitions/{partition}"),
    };
    ops::order(*admin, &path).await.map_err(CliError::failed)?;
    for _ in 0..LOOKS_MAX {
        let row = ask_all(tree).await.rows.remove(place);
        // Without a node it goes home when home has stood for a while: the order is what counts.
        match row {
            Some(row) if node.is_none_or(|node| row.owner == node) => return Ok(row),
            Some(_) | None => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    Err(CliError::failed(format!("{service}/{partition} has not moved within ten seconds"))
        .hint("see `tollgate partitions` and the logs of its nodes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_tenure_counts_and_what_nobody_has_is_shown() {
        let mut told = Told::default();
        let admin: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let status = |epoch: u64| {
            json!({
                "service": "a",
                "partitions_count": 2,
                "partitions": [{ "partition": 1, "epoch": epoch, "head": 9, "projected": 7 }],
                "moves": [],
            })
        };
        told.add("a-1", admin, &status(4));
        told.add("a-2", admin, &status(5));
        told.add("a-3", admin, &status(3));
        let owners: Vec<_> = told.places().map(|(.., row)| row.map(|it| &*it.owner)).collect();
        assert_eq!(owners, [None, Some("a-2")]);
        assert!(
            as_text(&told).contains("a/1        a-2     5      0s     9     2"),
            "{}",
            as_text(&told)
        );
        assert_eq!(parse("a/3"), Some(("a".to_owned(), 3)));
        assert_eq!((parse("a"), parse("a/x")), (None, None));
    }
}
