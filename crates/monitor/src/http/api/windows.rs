//! Maintenance windows, made and ended by hand beside those of the file; and who is told of what.

use super::{Answer, WORDS_BYTES_MAX, error, json_answer};
use crate::{
    book::zone,
    core::{
        check::Now,
        window::{WINDOWS_MAX, Window, WindowSpec},
    },
    node::{Node, now},
    store::Row,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::rc::Rc;
use wire::Timestamp;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowBody {
    name: String,
    by: String,
    reason: String,
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    service: Option<String>,
    /// At once without it and without a schedule.
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    schedule: String,
    #[serde(default)]
    tz: String,
    for_s: u64,
}

fn shown(now: Now, it: &Window) -> Value {
    let spec = &it.spec;
    let active = it.active(now.wall);
    json!({
        "id": spec.id,
        "name": spec.name,
        "node": spec.node,
        "role": spec.role,
        "service": spec.service,
        "from": spec.from.map(|it| it.to_string()),
        "schedule": spec.schedule,
        "tz": spec.tz,
        "for_s": spec.length_s,
        "by": spec.by,
        "reason": spec.reason,
        "open_until": active.map(|(_, until)| until.to_string()),
        "next": it.next(now.wall).map(|it| it.to_string()),
    })
}

pub(super) fn list(node: &Rc<Node>) -> Answer {
    let (now, desk) = (now(), node.desk.borrow());
    let data: Vec<Value> = desk.windows().iter().map(|it| shown(now, it)).collect();
    json_answer(200, &json!({"data": data}))
}

pub(super) fn make(node: &Rc<Node>, body: &[u8]) -> Answer {
    let body: WindowBody = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(err) => {
            let want = "{\"name\", \"by\", \"reason\", \"for_s\", \"node\"?, \"role\"?, \
                        \"service\"?, \"from\"?, \"schedule\"?, \"tz\"?}";
            return error(400, &format!("want {want}: {err}"));
        }
    };
    let words = [&body.name, &body.by, &body.reason];
    let length: usize = words.iter().map(|it| it.len()).sum();
    if words.iter().any(|it| it.is_empty()) || WORDS_BYTES_MAX < length {
        return error(400, "name, by and reason: a few words each");
    }
    let now = now();
    let from = match (&body.from, body.schedule.is_empty()) {
        (Some(text), _) => match Timestamp::parse(text) {
            Some(from) => Some(from),
            None => return error(400, "from: a time, as in 2026-11-22T11:00:00Z"),
        },
        (None, true) => Some(now.wall),
        (None, false) => None,
    };
    let mut windows = node.windows.borrow().clone();
    windows.retain(|it| !it.is_past(now.wall));
    if WINDOWS_MAX <= windows.len() + node.config().windows.len() {
        return error(409, "there are too many windows");
    }
    let id = node.windows.borrow().iter().filter_map(|it| it.spec.id).max().unwrap_or(0) + 1;
    let spec = WindowSpec {
        name: body.name,
        node: body.node,
        role: body.role,
        service: body.service,
        from,
        schedule: body.schedule,
        tz: body.tz,
        length_s: body.for_s,
        by: body.by,
        reason: body.reason,
        id: Some(id),
    };
    let window = zone(&spec.tz).and_then(|zone| Window::build(spec.clone(), zone));
    let window = match window {
        Ok(window) => window,
        Err(want) => return error(400, &format!("want {want}")),
    };
    let out = shown(now, &window);
    windows.push(window);
    node.windows.replace(windows);
    node.set_alerting();
    node.keep(vec![Row::Window(id, Box::new(spec))]);
    json_answer(201, &out)
}

/// Those of the file are struck out there.
pub(super) fn end(node: &Rc<Node>, id: &str) -> Answer {
    let id: Option<u64> = id.parse().ok();
    let mut windows = node.windows.borrow().clone();
    let before = windows.len();
    windows.retain(|it| it.spec.id != id);
    let Some(id) = id.filter(|_| windows.len() != before) else {
        return error(404, "no such window; one of the topology file ends there");
    };
    node.windows.replace(windows);
    node.set_alerting();
    node.keep(vec![Row::WindowEnded(id)]);
    json_answer(200, &json!({"id": id}))
}

pub(super) fn subscriptions(node: &Rc<Node>) -> Answer {
    let desk = node.desk.borrow();
    let one = |it: &crate::core::audience::Subscription| {
        json!({
            "channel": it.channel,
            "node": it.scope.node,
            "role": it.scope.role,
            "service": it.scope.service,
            "severity": it.severity.text(),
            "hours": it.hours.as_ref().map(|it| it.text.clone()),
            "after_s": it.after.as_secs_f64(),
            "remind_s": it.remind.as_secs_f64(),
        })
    };
    let data: Vec<Value> = desk.audience().iter().map(one).collect();
    json_answer(200, &json!({"data": data}))
}
