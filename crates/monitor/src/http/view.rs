//! Checks and incidents as JSON: the one form that the API, the page and the terminal share.

use crate::{
    book::{Check, Kind, uuid_text},
    core::{
        check::{CheckId, State},
        incident::Incident,
        rule::{Measure, Rule, tracker::Tracker},
        severity::Severity,
    },
    node::{Node, now},
};
use net::agent::beat::Verdict;
use serde_json::{Value, json};

/// One check as it is now.
pub(super) fn check(node: &Node, check: &Check) -> Value {
    let now = now();
    let (detector, desk) = (node.detector.borrow(), node.desk.borrow());
    let state = detector.state(check.id).unwrap_or(State::New);
    let progress = detector.progress(now.moment, check.id);
    let millis = |it: std::time::Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
    let mut out = json!({
        "id": uuid_text(check.uuid),
        "name": check.plan.name,
        "kind": match check.plan.kind {
            Kind::Node => "node",
            Kind::Job => "job",
            Kind::Channel => "channel",
        },
        "state": state.text(),
        "since": detector.since(check.id).map(|it| it.to_string()),
        "last_beat": check.last_at.map(|it| it.to_string()),
        "beats": check.beats,
        "every_ms": check.plan.every_ms,
        "grace_ms": check.plan.grace_ms,
        "age_ms": progress.map(|(age, _)| millis(age)),
        "deadline_ms": progress.map(|(_, deadline)| millis(deadline)),
        "suggested_grace_ms": detector.suggested_grace(check.id).map(millis),
        "maintenance": desk.maintenance(check.id).map(|(name, (_, until))| {
            json!({"window": name, "until": until.to_string()})
        }),
        "because_of": desk.suppressed_by(check.id).map(|it| desk.name(it).to_owned()),
    });
    let referee = node.referee.borrow();
    let rule = |(rule, tracker): (&Rule, &Tracker)| {
        json!({
            "name": rule.name,
            "value": tracker.value(),
            "broken": tracker.verdict().map(Severity::text),
        })
    };
    out["rules"] = json!(referee.of(check.id).map(rule).collect::<Vec<_>>());
    out["broken"] = json!(referee.verdict(check.id).map(|it| it.words));
    match check.plan.kind {
        Kind::Node => node_fields(&mut out, check),
        Kind::Job => {
            out["slug"] = json!(check.plan.slug);
            out["tags"] = json!(check.plan.tags);
            out["schedule"] = json!(check.plan.schedule);
            let numbers = check.numbers.iter().map(|it| (it.name.clone(), json!(it.value)));
            out["metrics"] = numbers.collect::<serde_json::Map<_, _>>().into();
            out["last_duration_ms"] = json!(check.last_duration.map(millis));
        }
        Kind::Channel => {}
    }
    out
}

fn node_fields(out: &mut Value, check: &Check) {
    out["role"] = json!(check.plan.role);
    let Some(said) = &check.said else { return };
    out["boot"] = json!(said.boot);
    out["seq"] = json!(said.seq);
    out["version"] = json!(said.version);
    out["verdict"] = json!(said.verdict);
    out["checks"] = json!(said.checks);
    out["metrics"] = json!(said.metrics);
    let unwell = said.checks.iter().find(|it| it.verdict == Verdict::Fail);
    out["unwell"] = json!(unwell.map(|it| format!("{}: {}", it.name, it.detail)));
}

/// One incident.
pub(super) fn incident(node: &Node, it: &Incident) -> Value {
    let book = node.book.borrow();
    let name = |id| book.get(id).map_or("?", |it| it.plan.name.as_str());
    let members = it.members.iter().map(|it| {
        json!({
            "name": name(it.check),
            "reason": it.why,
            "since": it.since.to_string(),
            "over": it.is_over,
        })
    });
    let state = match (&it.resolved_at, &it.ack) {
        (Some(_), _) => "resolved",
        (None, Some(_)) => "acked",
        (None, None) => "open",
    };
    json!({
        "id": it.id.to_string(),
        "state": state,
        "kind": it.kind.text(),
        "severity": it.severity.text(),
        "name": name(it.first().check),
        "reason": it.first().why,
        "members": members.collect::<Vec<_>>(),
        "opened_at": it.opened_at.to_string(),
        "told_at": it.told_at.map(|it| it.to_string()),
        "resolved_at": it.resolved_at.map(|it| it.to_string()),
        "told": it.told.iter().map(|it| it.channel.as_str()).collect::<Vec<_>>(),
        "unstable": it.is_unstable,
        "ack": it.ack.as_ref().map(|ack| json!({
            "by": ack.by,
            "note": ack.note,
            "at": ack.at.to_string(),
            "until": ack.until.map(|it| it.to_string()),
        })),
    })
}

/// Every rule and what it says now.
pub(super) fn rules(node: &Node) -> Vec<Value> {
    let (referee, book) = (node.referee.borrow(), node.book.borrow());
    let name = |id: &CheckId| book.get(*id).map_or("?", |it| it.plan.name.as_str());
    let rule = |it: &Rule| {
        let (broken, count) = referee.about(it);
        json!({
            "name": it.name,
            "kind": it.measure.kind(),
            "role": it.scope.role,
            "service": it.scope.service,
            "node": it.scope.node,
            "severity": match &it.measure {
                Measure::Burn { .. } | Measure::BurnTime { .. } => "by speed",
                Measure::Value { .. }
                | Measure::Rate { .. }
                | Measure::Share { .. }
                | Measure::Absent { .. } => it.severity.text(),
            },
            "for_s": it.hold.as_secs_f64(),
            "recover_s": it.recover.as_secs_f64(),
            "hits": it.hits,
            "of": it.of,
            "consequence": it.consequence,
            "checks": count,
            "broken": broken.iter().map(name).collect::<Vec<_>>(),
        })
    };
    referee.rules().iter().map(rule).collect()
}

/// Every channel and how it does.
pub(super) fn channels(node: &Node) -> Vec<Value> {
    let channels = node.channels.borrow();
    let channel = |it: &crate::node::Channel| {
        json!({
            "name": it.config.name,
            "kind": it.config.target.kind(),
            "place": it.config.target.place(),
            "fallback": node.config().fallback.as_ref() == Some(&it.config.name),
            "waiting": it.queue.waiting_count(),
            "dead": it.queue.dead().count(),
            "sick": it.queue.is_sick(),
            "last_error": it.queue.last_error(),
        })
    };
    channels.iter().map(channel).collect()
}

/// All that a first look wants to know.
pub(super) fn overview(node: &Node) -> Value {
    let counts = node.count_checks();
    let states = State::ALL.iter().zip(counts).map(|(state, count)| (state.text(), json!(count)));
    let states: serde_json::Map<String, Value> =
        states.map(|(state, count)| (state.to_owned(), count)).collect();
    let book = node.book.borrow();
    let of = |kind: Kind| book.iter().filter(move |it| it.plan.kind == kind);
    let nodes: Vec<Value> = of(Kind::Node).map(|it| check(node, it)).collect();
    let shown = jobs_shown(node);
    let jobs = shown.iter().filter_map(|it| book.get(*it));
    let jobs: Vec<Value> = jobs.map(|it| check(node, it)).collect();
    let desk = node.desk.borrow();
    let open: Vec<Value> = desk.open().map(|it| incident(node, it)).collect();
    json!({
        "tree": node.config().tree,
        "at": now().wall.to_string(),
        "states": states,
        "incidents": open,
        "nodes": nodes,
        "jobs": jobs,
        "channels": channels(node),
        "tells": node.standby.borrow().is_active(),
    })
}

/// The jobs of an overview, those that are unwell first.
pub(super) fn jobs_shown(node: &Node) -> Vec<CheckId> {
    let (book, detector) = (node.book.borrow(), node.detector.borrow());
    let is_unwell = |id: CheckId| detector.state(id).is_some_and(State::is_trouble);
    let jobs = || book.iter().filter(|it| it.plan.kind == Kind::Job).map(|it| it.id);
    let unwell = jobs().filter(|it| is_unwell(*it));
    unwell.chain(jobs().filter(|it| !is_unwell(*it))).take(JOBS_SHOWN_MAX).collect()
}

/// Jobs of an overview; `/v1/checks` has them all.
const JOBS_SHOWN_MAX: usize = 500;
