//! Alertmanager's `POST /api/v2/alerts`, so that Prometheus can send to us: each alert is a check
//! that fails while it fires and is well once it is resolved.
//!
//! Senders send an alert again and again while it fires, and its end for some minutes; an alert
//! that is neither sent again nor resolved ends by itself at its `endsAt`.

mod silence;

pub(super) use self::silence::{silence, silences};

use super::{Answer, error, has_key, input::Query, json_answer, others::is_ping_key};
use crate::{
    book::{Check, Plan, make_uuid, uuid_text},
    core::check::{CheckId, Signal, State, micros},
    node::{JobBeat, Node, now},
};
use data_encoding::BASE64;
use http::{HeaderMap, Method, header};
use net::{clock, edge::Asked};
use serde::Deserialize;
use serde_json::json;
use std::{collections::BTreeMap, rc::Rc, time::Duration};
use wire::Timestamp;

/// Alerts of one request.
const ALERTS_MAX: usize = 1_000;
/// Longest text that is kept of an alert.
const WORDS_CHARS_MAX: usize = 500;
/// The tag of a check that stands for an alert; its description is the alert's labels as JSON.
const TAG: &str = "alertmanager";
/// How long what fires now is said to go on, to whoever asks: Alertmanager's `resolve_timeout`.
const FIRES_FOR: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
struct Alert {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default, rename = "endsAt")]
    ends_at: Option<String>,
}

/// Takes alerts in, or lists those that fire. `key` is what stood before the path.
pub(super) async fn alerts(
    node: &Rc<Node>,
    asked: &Asked,
    query: &Query,
    key: Option<&str>,
) -> Answer {
    if asked.parts.method == Method::GET || asked.parts.method == Method::HEAD {
        return firing(node, query);
    }
    if asked.parts.method != Method::POST {
        return error(405, "only GET and POST");
    }
    if !may_send(node, &asked.parts.headers, key) {
        return error(
            401,
            "the ping key is wanted: Authorization: Bearer KEY, or /KEY before the path",
        );
    }
    let alerts: Vec<Alert> = match serde_json::from_slice(&asked.body) {
        Ok(alerts) => alerts,
        Err(err) => return error(400, &format!("no alerts: {err}")),
    };
    if ALERTS_MAX < alerts.len() {
        return error(400, "too many alerts at once");
    }
    for alert in alerts {
        let Some(id) = check_of(node, &alert) else { return error(400, "an alert has a name") };
        let ends_at = alert.ends_at.as_deref().and_then(Timestamp::parse);
        let is_over = ends_at.is_some_and(|at| Timestamp(0) < at && at <= clock::wall());
        let words =
            alert.annotations.get("summary").or_else(|| alert.annotations.get("description"));
        let words = words.map_or("the alert fires", String::as_str);
        let words: String = words.chars().take(WORDS_CHARS_MAX).collect();
        let is_firing = node.detector.borrow().state(id).is_some_and(|it| it.is_trouble());
        let (signal, kind) = match is_over {
            // Sent again: nothing new.
            false if is_firing => continue,
            true if !is_firing => continue,
            false => (Signal::Fail(words), "fail"),
            true => (Signal::Success, "success"),
        };
        let beat = JobBeat {
            signal,
            kind,
            run: None,
            metrics: Vec::new(),
            remote: asked.peer.ip().to_string(),
            method: "POST".to_owned(),
            agent: TAG.to_owned(),
            body: serde_json::to_vec(&alert.annotations).unwrap_or_default(),
        };
        if super::kept(node.hear_job(id, beat)).await.status() != 200 {
            return error(503, "not stored");
        }
    }
    json_answer(200, &json!({}))
}

/// Whoever sends alerts shows the ping key, as a Bearer token, as the password of any user, or in
/// the address; the API key does as well.
fn may_send(node: &Node, headers: &HeaderMap, key: Option<&str>) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let bearer = given.and_then(|it| it.strip_prefix("Bearer "));
    let login = given.and_then(|it| BASE64.decode(it.strip_prefix("Basic ")?.as_bytes()).ok());
    let login = login.and_then(|it| String::from_utf8(it).ok());
    let password = login.as_deref().and_then(|it| it.split_once(':')).map(|it| it.1);
    let mut given = [key, bearer, password].into_iter().flatten();
    has_key(node, headers) == Some(true) || given.any(|it| is_ping_key(node, it))
}

/// The check that stands for an alert: one for each set of labels.
fn check_of(node: &Node, alert: &Alert) -> Option<CheckId> {
    let name = alert.labels.get("alertname").filter(|it| !it.is_empty())?;
    let labels = serde_json::to_vec(&alert.labels).ok()?;
    let mut bits = [0; 16];
    bits.copy_from_slice(&blake3::hash(&labels).as_bytes()[..16]);
    let uuid = make_uuid(u128::from_be_bytes(bits));
    if let Some(id) = node.book.borrow().by_uuid(uuid) {
        return Some(id);
    }
    let rest = alert.labels.iter().filter(|(label, _)| *label != "alertname");
    let rest: Vec<String> = rest.map(|(label, value)| format!("{label}={value}")).collect();
    let name = if rest.is_empty() { name.clone() } else { format!("{name} {}", rest.join(" ")) };
    let mut plan = Plan::job(&name, "", clock::wall());
    // It is never missed: whoever sends it says when it is over.
    plan.every_ms = 365 * 86_400_000;
    plan.tags = TAG.to_owned();
    plan.desc = String::from_utf8(labels).ok()?;
    node.enter(uuid, plan)
}

/// `GET /api/v2/alerts`: what is wrong now, as Alertmanager's clients read it.
fn firing(node: &Node, query: &Query) -> Answer {
    let filters: Result<Vec<Filter<'_>>, String> = query.all("filter").map(Filter::parse).collect();
    let filters = match filters {
        Ok(filters) => filters,
        Err(filter) => return error(400, &format!("bad matcher format: {filter}")),
    };
    let (book, detector, now) = (node.book.borrow(), node.detector.borrow(), now());
    let until = Timestamp(now.wall.0.saturating_add(micros(FIRES_FOR)));
    let mut alerts = Vec::new();
    for it in book.iter() {
        let state = detector.state(it.id).unwrap_or(State::New);
        let labels = labels(it, state);
        if !state.is_trouble() || !filters.iter().all(|filter| filter.takes(&labels)) {
            continue;
        }
        let silences = node.desk.borrow();
        let silenced =
            silences.silences().iter().filter(|silence| silence.covers(&it.plan.name, now.wall));
        let silenced: Vec<String> = silenced.map(|it| uuid_text(u128::from(it.id))).collect();
        let is_silenced = if silenced.is_empty() { "active" } else { "suppressed" };
        alerts.push(json!({
            "labels": labels,
            "annotations": {"summary": format!("{} is {state}", it.plan.name)},
            "startsAt": detector.since(it.id).map(|at| at.to_string()),
            "endsAt": until.to_string(),
            "updatedAt": now.wall.to_string(),
            "generatorURL": node.url,
            "fingerprint": uuid_text(it.uuid),
            "status": {"state": is_silenced, "silencedBy": silenced, "inhibitedBy": []},
            "receivers": [{"name": "tollgate"}],
        }));
    }
    json_answer(200, &json!(alerts))
}

/// The labels that an alert came with; of a check of our own those that its letters bear.
fn labels(check: &Check, state: State) -> BTreeMap<String, String> {
    if check.plan.tags == TAG
        && let Ok(labels) = serde_json::from_str(&check.plan.desc)
    {
        return labels;
    }
    let alert = if state == State::Sick { "NodeSick" } else { "NodeDown" };
    let pairs = [("alertname", alert), ("node", &check.plan.name)];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// `NAME="VALUE"` or `NAME!="VALUE"`.
struct Filter<'a> {
    name: &'a str,
    value: &'a str,
    is_equal: bool,
}

impl<'a> Filter<'a> {
    fn parse(text: &'a str) -> Result<Filter<'a>, String> {
        let (name, value) = text.split_once('=').ok_or_else(|| text.to_owned())?;
        if value.starts_with('~') || name.ends_with('~') {
            return Err(format!("{text}: equality only"));
        }
        let bare = name.strip_suffix('!');
        let (name, is_equal) = (bare.unwrap_or(name), bare.is_none());
        Ok(Filter { name: name.trim(), value: value.trim_matches('"'), is_equal })
    }

    fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        (labels.get(self.name).map_or("", String::as_str) == self.value) == self.is_equal
    }
}

/// `GET /api/v2/status`: what a client asks to see that somebody is there.
pub(super) fn status(node: &Node) -> Answer {
    let version = json!({
        "version": env!("CARGO_PKG_VERSION"), "branch": "", "buildDate": "", "buildUser": "",
        "goVersion": "", "revision": "",
    });
    json_answer(
        200,
        &json!({
            "cluster": {"name": node.config().tree, "status": "disabled", "peers": []},
            "config": {"original": ""},
            "uptime": node.began.wall.to_string(),
            "versionInfo": version,
        }),
    )
}
