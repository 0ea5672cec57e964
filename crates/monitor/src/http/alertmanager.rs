//! Alertmanager's `POST /api/v2/alerts`, so that Prometheus can send to us: each alert is a check
//! that fails while it fires and is well once it is resolved.
//!
//! Senders send an alert again and again while it fires, and its end for some minutes; an alert
//! that is neither sent again nor resolved ends by itself at its `endsAt`.

use super::{Answer, error, json_answer};
use crate::{
    book::{Plan, make_uuid},
    core::check::{CheckId, Signal},
    node::{JobBeat, Node},
};
use http::Method;
use net::{clock, edge::Asked};
use serde::Deserialize;
use serde_json::json;
use std::{collections::BTreeMap, rc::Rc};
use wire::Timestamp;

/// Alerts of one request.
const ALERTS_MAX: usize = 1_000;
/// Longest text that is kept of an alert.
const WORDS_CHARS_MAX: usize = 500;

#[derive(Deserialize)]
struct Alert {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default, rename = "endsAt")]
    ends_at: Option<String>,
}

/// Takes alerts in, or lists those that fire.
pub(super) async fn alerts(node: &Rc<Node>, asked: &Asked) -> Answer {
    if asked.parts.method == Method::GET || asked.parts.method == Method::HEAD {
        return json_answer(200, &firing(node));
    }
    if asked.parts.method != Method::POST {
        return error(405, "only GET and POST");
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
            remote: asked.peer.ip().to_string(),
            method: "POST".to_owned(),
            agent: "alertmanager".to_owned(),
            body: serde_json::to_vec(&alert.annotations).unwrap_or_default(),
        };
        if super::kept(node.hear_job(id, beat)).await.status() != 200 {
            return error(503, "not stored");
        }
    }
    json_answer(200, &json!({}))
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
    plan.tags = "alertmanager".to_owned();
    node.enter(uuid, plan)
}

fn firing(node: &Node) -> serde_json::Value {
    let (book, detector) = (node.book.borrow(), node.detector.borrow());
    let fires = |id| detector.state(id).is_some_and(|it| it.is_trouble());
    let alerts = book.iter().filter(|it| fires(it.id)).map(|it| {
        json!({
            "labels": {"alertname": it.plan.name},
            "annotations": {},
            "startsAt": detector.since(it.id).map(|at| at.to_string()),
            "fingerprint": crate::book::uuid_text(it.uuid),
            "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
            "receivers": [],
        })
    });
    alerts.collect()
}
