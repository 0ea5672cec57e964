//! Our own API under `/v1`: checks, incidents, silences, channels, availability. Whoever changes
//! something shows the API key.

mod availability;
mod history;
mod windows;

pub(super) use availability::{last, unmeasured};

use super::{Answer, answer as page, error, has_key, input::Query, json_answer, unreadable, view};
use crate::{
    book::Kind as CheckKind,
    channel::webhook_secret,
    core::{
        check::CheckId,
        incident::{Ack, Incident, IncidentId, Kind, Member},
        notice::{Event, Notice},
        silence::Silence,
    },
    node::{Node, now},
    store::{History, Letters, Row, StoreError},
};
use http::Method;
use net::edge::Asked;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{rc::Rc, time::Duration};
use wire::Timestamp;

/// Rows of one list.
const ROWS_MAX: u32 = 1_000;
const ROWS_DEFAULT: u32 = 100;
/// Longest name, note or reason.
pub(super) const WORDS_BYTES_MAX: usize = 1_000;
/// Longest silence and longest window.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(90 * 86_400);
const WINDOW_HOURS_MAX: u64 = 3_660 * 24;
/// Availability that is aimed at, where nobody says otherwise, in millionths.
const TARGET_PPM: u64 = 999_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AckBody {
    by: String,
    #[serde(default)]
    note: String,
    /// Ends by itself after so many seconds.
    #[serde(default)]
    for_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SilenceBody {
    pattern: String,
    by: String,
    reason: String,
    for_s: u64,
}

/// Answers what stands under `/v1`.
pub(super) async fn answer(node: &Rc<Node>, asked: &Asked, query: &Query, rest: &[&str]) -> Answer {
    let method = &asked.parts.method;
    let reads = method == Method::GET || method == Method::HEAD;
    if !reads && has_key(node, &asked.parts.headers) != Some(true) {
        return error(401, "the API key is wanted: Authorization: Bearer KEY");
    }
    match (method, rest) {
        (_, ["overview"]) if reads => json_answer(200, &view::overview(node)),
        (_, ["checks"]) if reads => checks(node),
        (_, ["checks", name]) if reads => one_check(node, name).await,
        (_, ["availability"]) if reads => availability::of(node, query, None).await,
        (_, ["availability", name]) if reads => availability::of(node, query, Some(name)).await,
        (_, ["incidents"]) if reads => incidents(node, query).await,
        (_, ["incidents", id]) if reads => one_incident(node, id).await,
        (&Method::POST, ["incidents", id, "ack"]) => ack(node, &asked.body, id).await,
        (_, ["silences"]) if reads => silences(node),
        (_, ["silences", "preview"]) if reads => {
            json_answer(200, &previewed(node, query.get("pattern").unwrap_or("*")))
        }
        (&Method::POST, ["silences"]) => silence(node, &asked.body),
        (&Method::DELETE, ["silences", id]) => end_silence(node, id),
        (_, ["windows"]) if reads => windows::list(node),
        (&Method::POST, ["windows"]) => windows::make(node, &asked.body),
        (&Method::DELETE, ["windows", id]) => windows::end(node, id),
        (_, ["subscriptions"]) if reads => windows::subscriptions(node),
        (_, ["rules"]) if reads => json_answer(200, &json!({"data": view::rules(node)})),
        (_, ["channels"]) if reads => json_answer(200, &json!({"data": view::channels(node)})),
        (_, ["channels", name]) if reads => one_channel(node, name).await,
        (_, ["webhook-secret"]) if has_key(node, &asked.parts.headers) != Some(true) => {
            error(401, "the API key is wanted: Authorization: Bearer KEY")
        }
        (_, ["webhook-secret"]) => {
            json_answer(200, &json!({"secret": webhook_secret(&node.config().api_key)}))
        }
        (&Method::POST, ["channels", name, "test"]) => test(node, name),
        (_, ["history", name]) if reads => history::of(node, query, name).await,
        (_, ["letters"]) if reads => {
            let limit = limit(query);
            listed(node.history.ask(move |it| it.letters(&Letters::All, limit)).await)
        }
        (_, ["changes"]) if reads => {
            let limit = limit(query);
            listed(node.history.ask(move |it| it.flips(None, limit)).await)
        }
        _ => error(404, "no such call"),
    }
}

fn listed(found: Result<Vec<Value>, StoreError>) -> Answer {
    match found {
        Ok(data) => json_answer(200, &json!({"data": data})),
        Err(err) => unreadable(&err),
    }
}

fn limit(query: &Query) -> u32 {
    let given = query.get("limit").and_then(|it| it.parse().ok());
    given.unwrap_or(ROWS_DEFAULT).min(ROWS_MAX)
}

fn checks(node: &Rc<Node>) -> Answer {
    let book = node.book.borrow();
    let checks = book.iter().filter(|it| it.plan.kind != CheckKind::Channel);
    let checks: Vec<Value> = checks.map(|it| view::check(node, it)).collect();
    json_answer(200, &json!({"data": checks}))
}

async fn one_check(node: &Rc<Node>, name: &str) -> Answer {
    let found = {
        let book = node.book.borrow();
        book.named(name).and_then(|id| book.get(id)).map(|it| (it.id, view::check(node, it)))
    };
    let Some((id, mut out)) = found else { return error(404, "no such check") };
    match node.history.ask(move |it| it.flips(Some(id), ROWS_DEFAULT)).await {
        Ok(flips) => out["changes"] = json!(flips),
        Err(err) => return unreadable(&err),
    }
    json_answer(200, &out)
}

async fn incidents(node: &Rc<Node>, query: &Query) -> Answer {
    let limit = limit(query);
    let found: Result<Vec<Incident>, StoreError> = match query.get("state") {
        Some("open") => Ok(node.desk.borrow().open().cloned().collect()),
        Some(_) | None => node.history.ask(move |it| it.incidents(limit)).await,
    };
    match found {
        Ok(found) => {
            let data: Vec<Value> = found.iter().map(|it| view::incident(node, it)).collect();
            if query.get("format") == Some("csv") {
                return page(200, "text/csv", table(&data));
            }
            json_answer(200, &json!({"data": data}))
        }
        Err(err) => unreadable(&err),
    }
}

/// Incidents as CSV (RFC 4180).
fn table(incidents: &[Value]) -> String {
    const FIELDS: [&str; 7] = ["id", "state", "kind", "name", "opened_at", "resolved_at", "reason"];
    let mut out = FIELDS.join(",") + "\r\n";
    for it in incidents {
        let fields = FIELDS.map(|field| csv_field(it[field].as_str().unwrap_or("")));
        out.push_str(&fields.join(","));
        out.push_str("\r\n");
    }
    out
}

/// Quoted where it has to be; what a spreadsheet would take for a formula is made text.
fn csv_field(text: &str) -> String {
    let text = match text.as_bytes().first() {
        Some(b'=' | b'+' | b'-' | b'@') => format!("'{text}"),
        Some(_) | None => text.to_owned(),
    };
    let is_plain = !text.contains([',', '"', '\r', '\n']);
    if is_plain { text } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

async fn one_incident(node: &Rc<Node>, id: &str) -> Answer {
    let Some(id) = IncidentId::parse(id) else { return error(404, "no such incident") };
    let kept = move |it: &History| {
        Ok((it.incident(id.0)?, it.letters(&Letters::Incident(id.0), ROWS_DEFAULT)?))
    };
    let kept = node.history.ask(kept).await;
    let open = node.desk.borrow().incident(id).cloned();
    match kept.map(|(kept, letters)| (open.or(kept), letters)) {
        Ok((Some(incident), letters)) => {
            let mut out = view::incident(node, &incident);
            out["letters"] = json!(letters);
            json_answer(200, &out)
        }
        Ok((None, _)) => error(404, "no such incident"),
        Err(err) => unreadable(&err),
    }
}

async fn ack(node: &Rc<Node>, body: &[u8], id: &str) -> Answer {
    let body: AckBody = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(err) => return error(400, &format!("want {{\"by\", \"note\"?, \"for_s\"?}}: {err}")),
    };
    if body.by.is_empty() || WORDS_BYTES_MAX < body.by.len() + body.note.len() {
        return error(400, "by: who takes care of it, in a few words");
    }
    let now = now();
    let until = body.for_s.map(|it| later(now.wall, Duration::from_secs(it)));
    let ack = Ack { by: body.by, note: body.note, at: now.wall, until };
    let mut filed = Vec::new();
    let found =
        IncidentId::parse(id).is_some_and(|id| node.desk.borrow_mut().ack(id, ack, &mut filed));
    if !found {
        return error(404, "no open incident of this id");
    }
    let mut rows = Vec::new();
    node.file(filed, &mut rows);
    node.keep(rows);
    one_incident(node, id).await
}

fn later(at: Timestamp, length: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(crate::core::check::micros(length)).min(Timestamp::MAX.0))
}

fn shown(silence: &Silence) -> Value {
    json!({
        "id": silence.id,
        "pattern": silence.pattern,
        "by": silence.by,
        "reason": silence.reason,
        "from": silence.from.to_string(),
        "until": silence.until.to_string(),
    })
}

/// What a silence would keep quiet now.
fn previewed(node: &Node, pattern: &str) -> Value {
    let desk = node.desk.borrow();
    let preview = desk.preview(pattern);
    let incidents = preview.incidents.iter().map(|it| it.id.to_string());
    json!({
        "matches": preview.matches,
        "unwell": preview.unwell,
        "incidents": incidents.collect::<Vec<_>>(),
    })
}

fn silences(node: &Rc<Node>) -> Answer {
    let data: Vec<Value> = node.desk.borrow().silences().iter().map(shown).collect();
    json_answer(200, &json!({"data": data}))
}

fn silence(node: &Rc<Node>, body: &[u8]) -> Answer {
    let body: SilenceBody = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(err) => {
            let want = "{\"pattern\", \"by\", \"reason\", \"for_s\"}";
            return error(400, &format!("want {want}: {err}"));
        }
    };
    let length = Duration::from_secs(body.for_s);
    if length == Duration::ZERO || SILENCE_MAX < length {
        return error(400, "for_s: 1 second to 90 days; a silence always ends");
    }
    let is_short = body.pattern.len() + body.by.len() + body.reason.len() <= WORDS_BYTES_MAX;
    if body.pattern.is_empty() || body.by.is_empty() || body.reason.is_empty() || !is_short {
        return error(400, "pattern, by and reason: a few words each");
    }
    let now = now();
    let mut silence = Silence {
        id: 0,
        pattern: body.pattern,
        by: body.by,
        reason: body.reason,
        from: now.wall,
        until: later(now.wall, length),
        is_ended: false,
    };
    let Some(id) = node.desk.borrow_mut().silence(now, silence.clone()) else {
        return error(409, "there are too many silences");
    };
    silence.id = id;
    let mut out = shown(&silence);
    out["matches"] = previewed(node, &silence.pattern)["matches"].take();
    node.keep(vec![Row::Silence(silence)]);
    json_answer(201, &out)
}

fn end_silence(node: &Rc<Node>, id: &str) -> Answer {
    let id: Option<u64> = id.parse().ok();
    let ended = id.and_then(|id| node.desk.borrow_mut().end_silence(id));
    match ended {
        Some(ended) => {
            let id = ended.id;
            node.keep(vec![Row::Silence(ended)]);
            json_answer(200, &json!({"id": id}))
        }
        None => error(404, "no such silence"),
    }
}

/// A channel with its last letters, and every attempt to deliver them.
async fn one_channel(node: &Rc<Node>, name: &str) -> Answer {
    let Some(mut out) = view::channels(node).into_iter().find(|it| it["name"] == *name) else {
        return error(404, "no such channel");
    };
    let of = Letters::Channel(name.to_owned());
    match node.history.ask(move |it| it.letters(&of, ROWS_DEFAULT)).await {
        Ok(letters) => {
            out["letters"] = json!(letters);
            json_answer(200, &out)
        }
        Err(err) => unreadable(&err),
    }
}

/// Sends a letter about nothing over one channel.
fn test(node: &Rc<Node>, name: &str) -> Answer {
    let at = node.channels.borrow().iter().position(|it| it.config.name == name);
    let Some(at) = at else { return error(404, "no such channel") };
    let now = now();
    let member =
        Member { check: CheckId(0), why: "a test".to_owned(), since: now.wall, is_over: true };
    let about = Incident::new(IncidentId(0), Kind::Down, member, now.wall);
    let notice =
        Notice { incident: about.id, event: Event::Test, at: now.wall, about, to: Vec::new() };
    let mut rows = Vec::new();
    node.post(at, notice, &mut rows);
    node.keep(rows);
    json_answer(202, &json!({"channel": name, "queued": true}))
}
