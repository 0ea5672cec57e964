//! The management API of Healthchecks, version 3 and as far as its clients use it: checks with
//! their pings and flips, pause and resume, channels, status.

use super::{
    Answer, answer as page, error, has_key, input::Query, json_answer, public, unreadable, view,
};
use crate::{
    book::{Check, Kind, Plan, make_uuid, parse_uuid, slugify, uuid_text},
    core::{
        check::{CheckId, State, Terms},
        contract::{PERIOD_MAX, PERIOD_MIN},
    },
    node::{Node, now, random},
};
use http::Method;
use net::edge::Asked;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{rc::Rc, time::Duration};
use wire::Timestamp;

const NAME_CHARS_MAX: usize = 100;
const TEXT_BYTES_MAX: usize = 4_000;
const PINGS_SHOWN_MAX: u32 = 100;

/// What a client may set; what it leaves out stays.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    name: Option<String>,
    slug: Option<String>,
    tags: Option<String>,
    desc: Option<String>,
    /// Seconds.
    timeout: Option<u64>,
    grace: Option<u64>,
    schedule: Option<String>,
    tz: Option<String>,
    manual_resume: Option<bool>,
    /// Ours: seconds that a run takes at least and at most; 0 leaves it open.
    min_run: Option<u64>,
    max_run: Option<u64>,
    /// `POST`, or empty for all.
    methods: Option<String>,
    /// Fields by which an existing check is found and changed instead.
    unique: Vec<String>,
}

/// Answers what stands under `/api/v1`, `v2` or `v3`.
pub(super) async fn answer(node: &Rc<Node>, asked: &Asked, query: &Query, rest: &[&str]) -> Answer {
    if rest == ["status"] {
        return page(200, "text/plain", "OK".to_owned());
    }
    match has_key(node, &asked.parts.headers) {
        Some(true) => {}
        Some(false) => return error(401, "wrong api key"),
        None => return error(401, "missing api key"),
    }
    let method = &asked.parts.method;
    match (method, rest) {
        (&Method::GET, ["checks"]) => list(node, query),
        (&Method::POST, ["checks"]) => create(node, &asked.body),
        (&Method::GET, ["channels"]) => {
            let channels = node.channels.borrow();
            let channels = channels.iter().map(|it| {
                json!({"id": it.config.name, "name": it.config.name, "kind": it.config.target.kind()})
            });
            json_answer(200, &json!({"channels": channels.collect::<Vec<_>>()}))
        }
        (&Method::GET, ["badges"]) => json_answer(200, &public::badges(node)),
        (_, ["checks", uuid, rest @ ..]) => {
            let found = parse_uuid(uuid).and_then(|it| node.book.borrow().by_uuid(it));
            let Some(id) = found.filter(|it| node.is_job(*it)) else {
                return error(404, "not found");
            };
            one(node, method, asked, id, rest).await
        }
        _ => error(404, "not found"),
    }
}

async fn one(
    node: &Rc<Node>,
    method: &Method,
    asked: &Asked,
    id: CheckId,
    rest: &[&str],
) -> Answer {
    match (method, rest) {
        (&Method::GET, []) => shown(node, id, 200),
        (&Method::POST, []) => match read(&asked.body) {
            Ok(wanted) => update(node, id, &wanted),
            Err(why) => error(400, &why),
        },
        (&Method::DELETE, []) => {
            let answer = shown(node, id, 200);
            node.strike(id);
            answer
        }
        (&Method::POST, ["pause"]) => {
            node.set_paused(id, true);
            shown(node, id, 200)
        }
        (&Method::POST, ["resume"]) => {
            if node.detector.borrow().state(id) != Some(State::Paused) {
                return error(409, "check is not paused");
            }
            node.set_paused(id, false);
            shown(node, id, 200)
        }
        (&Method::GET, ["pings"]) => {
            match node.history.ask(move |it| it.pings(id, PINGS_SHOWN_MAX)).await {
                Ok(pings) => json_answer(200, &json!({"pings": pings})),
                Err(err) => unreadable(&err),
            }
        }
        (&Method::GET, ["pings", n, "body"]) => {
            let Ok(n) = n.parse() else { return error(404, "not found") };
            match node.history.ask(move |it| it.body(id, n)).await {
                Ok(Some(body)) => {
                    page(200, "text/plain", String::from_utf8_lossy(&body).into_owned())
                }
                Ok(None) => error(404, "not found"),
                Err(err) => unreadable(&err),
            }
        }
        (&Method::GET, ["flips"]) => {
            match node.history.ask(move |it| it.flips(Some(id), PINGS_SHOWN_MAX)).await {
                Ok(flips) => {
                    let flip = |it: &Value| {
                        let is_up = it["to"] == "up" || it["to"] == "late";
                        json!({"timestamp": it["at"], "up": i32::from(is_up)})
                    };
                    json_answer(200, &flips.iter().map(flip).collect())
                }
                Err(err) => unreadable(&err),
            }
        }
        _ => error(405, "method not allowed"),
    }
}

fn read(body: &[u8]) -> Result<Wanted, String> {
    if body.is_empty() {
        return Ok(Wanted::default());
    }
    serde_json::from_slice(body).map_err(|err| format!("json validation error: {err}"))
}

fn list(node: &Rc<Node>, query: &Query) -> Answer {
    let book = node.book.borrow();
    let is_wanted = |check: &&Check| {
        let has_tag = |tag: &str| check.plan.tags.split_ascii_whitespace().any(|it| it == tag);
        check.plan.kind == Kind::Job
            && query.get("slug").is_none_or(|slug| check.plan.slug == slug)
            && query.all("tag").all(has_tag)
    };
    let checks: Vec<Value> = book.iter().filter(is_wanted).map(|it| as_json(node, it)).collect();
    json_answer(200, &json!({"checks": checks}))
}

fn create(node: &Rc<Node>, body: &[u8]) -> Answer {
    let wanted = match read(body) {
        Ok(wanted) => wanted,
        Err(why) => return error(400, &why),
    };
    if let Some(id) = existing(node, &wanted) {
        return update(node, id, &wanted);
    }
    let plan = Plan::job("", "", now().wall);
    let plan = match planned(plan, &wanted) {
        Ok((plan, _)) => plan,
        Err(why) => return error(400, &why),
    };
    match node.enter(make_uuid(random()), plan) {
        Some(id) => shown(node, id, 201),
        None => error(403, "there are too many checks"),
    }
}

/// The check that has the same values in all of the fields that are to be unique.
fn existing(node: &Rc<Node>, wanted: &Wanted) -> Option<CheckId> {
    if wanted.unique.is_empty() {
        return None;
    }
    let same = |check: &&Check| {
        let plan = &check.plan;
        let is_same = |field: &String| match field.as_str() {
            "name" => wanted.name.as_ref() == Some(&plan.name),
            "slug" => wanted.slug.as_ref() == Some(&plan.slug),
            "tags" => wanted.tags.as_ref() == Some(&plan.tags),
            "timeout" => wanted.timeout.map(|it| it * 1_000) == Some(plan.every_ms),
            "grace" => wanted.grace.map(|it| it * 1_000) == Some(plan.grace_ms),
            _ => false,
        };
        plan.kind == Kind::Job && wanted.unique.iter().all(is_same)
    };
    node.book.borrow().iter().find(same).map(|it| it.id)
}

fn update(node: &Rc<Node>, id: CheckId, wanted: &Wanted) -> Answer {
    let plan = node.book.borrow().get(id).map(|it| it.plan.clone());
    let Some(plan) = plan else { return error(404, "not found") };
    match planned(plan, wanted) {
        Ok((plan, terms)) => {
            node.replan(id, plan, terms);
            shown(node, id, 200)
        }
        Err(why) => error(400, &why),
    }
}

/// The plan with what is wanted, checked.
fn planned(mut plan: Plan, wanted: &Wanted) -> Result<(Plan, Terms), String> {
    let invalid = |what: &str| format!("json validation error: {what}");
    if let Some(name) = &wanted.name {
        if NAME_CHARS_MAX < name.chars().count() {
            return Err(invalid("name is too long"));
        }
        plan.name.clone_from(name);
        if wanted.slug.is_none() && plan.slug.is_empty() {
            plan.slug = slugify(name);
        }
    }
    if let Some(slug) = &wanted.slug {
        if NAME_CHARS_MAX < slug.len() || *slug != slugify(slug) && !slug.is_empty() {
            return Err(invalid("slug does not match pattern"));
        }
        plan.slug.clone_from(slug);
    }
    for (given, text) in [(&wanted.tags, &mut plan.tags), (&wanted.desc, &mut plan.desc)] {
        if let Some(given) = given {
            if TEXT_BYTES_MAX < given.len() {
                return Err(invalid("text is too long"));
            }
            text.clone_from(given);
        }
    }
    let millis = |name: &str, seconds: u64| {
        let fits = (PERIOD_MIN..=PERIOD_MAX).contains(&Duration::from_secs(seconds));
        if fits { Ok(seconds * 1_000) } else { Err(invalid(&format!("{name} is out of range"))) }
    };
    if let Some(timeout) = wanted.timeout {
        plan.every_ms = millis("timeout", timeout)?;
        plan.schedule.clear();
    }
    if let Some(grace) = wanted.grace {
        plan.grace_ms = millis("grace", grace)?;
    }
    if let Some(tz) = &wanted.tz {
        plan.tz.clone_from(tz);
    }
    if let Some(schedule) = &wanted.schedule {
        plan.schedule.clone_from(schedule);
    }
    for (given, millis, name) in [
        (wanted.min_run, &mut plan.run_min_ms, "min_run"),
        (wanted.max_run, &mut plan.run_max_ms, "max_run"),
    ] {
        if let Some(seconds) = given {
            if PERIOD_MAX < Duration::from_secs(seconds) {
                return Err(invalid(&format!("{name} is out of range")));
            }
            *millis = seconds * 1_000;
        }
    }
    if plan.run_max_ms != 0 && plan.run_max_ms < plan.run_min_ms {
        return Err(invalid("min_run is longer than max_run"));
    }
    plan.manual_resume = wanted.manual_resume.unwrap_or(plan.manual_resume);
    match wanted.methods.as_deref() {
        None => {}
        Some("") => plan.post_only = false,
        Some("POST") => plan.post_only = true,
        Some(_) => return Err(invalid("methods has unexpected value")),
    }
    let terms = plan.terms().map_err(|why| invalid(&format!("schedule or tz: want {why}")))?;
    Ok((plan, terms))
}

fn shown(node: &Rc<Node>, id: CheckId, status: u16) -> Answer {
    let book = node.book.borrow();
    match book.get(id) {
        Some(check) => json_answer(status, &as_json(node, check)),
        None => error(404, "not found"),
    }
}

/// A check in the words of Healthchecks.
fn as_json(node: &Node, check: &Check) -> Value {
    let detector = node.detector.borrow();
    let state = detector.state(check.id).unwrap_or(State::New);
    let status = match state {
        State::New => "new",
        State::Up | State::Strained | State::Starting | State::Draining | State::Stopped => "up",
        State::Late => "grace",
        State::Down | State::Sick => "down",
        State::Paused => "paused",
    };
    let (plan, uuid) = (&check.plan, uuid_text(check.uuid));
    let kept = detector.kept(now(), check.id);
    let is_started = kept.is_some_and(|it| !it.runs.is_empty());
    let next = check.last_at.zip(plan.terms().ok()).filter(|_| status == "up" || status == "grace");
    let next = next.map(|(at, terms)| {
        let length = crate::core::check::micros(terms.contract.expected_in(at));
        Timestamp(at.0.saturating_add(length)).to_string()
    });
    let base = format!("{}/api/v3/checks/{uuid}", node.url);
    let mut out = json!({
        "name": plan.name,
        "slug": plan.slug,
        "tags": plan.tags,
        "desc": plan.desc,
        "grace": plan.grace_ms / 1_000,
        "n_pings": check.beats,
        "status": status,
        "started": is_started,
        "last_ping": check.last_at.map(|it| it.to_string()),
        "next_ping": next,
        "manual_resume": plan.manual_resume,
        "methods": if plan.post_only { "POST" } else { "" },
        "subject": "", "subject_fail": "", "start_kw": "", "success_kw": "", "failure_kw": "",
        "filter_subject": false, "filter_body": false,
        "badge_url": format!("{}/badge/{uuid}", node.url),
        "uuid": uuid,
        "ping_url": format!("{}/ping/{uuid}", node.url),
        "update_url": base,
        "pause_url": format!("{base}/pause"),
        "resume_url": format!("{base}/resume"),
        "channels": view::channels(node).iter().filter_map(|it| it["name"].as_str())
            .collect::<Vec<_>>().join(","),
    });
    if let Some(duration) = check.last_duration {
        out["last_duration"] = json!(duration.as_secs());
    }
    for (key, millis) in [("min_run", plan.run_min_ms), ("max_run", plan.run_max_ms)] {
        if millis != 0 {
            out[key] = json!(millis / 1_000);
        }
    }
    if plan.schedule.is_empty() {
        out["timeout"] = json!(plan.every_ms / 1_000);
    } else {
        (out["schedule"], out["tz"]) = (json!(plan.schedule), json!(plan.tz));
    }
    out
}
