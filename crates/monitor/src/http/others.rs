//! Dialects that other monitors speak: Uptime Kuma's push, Gatus' external endpoints, Cronitor's
//! telemetry. Each is an alias for a beat of the job with that slug.

use super::{Answer, input::Query, json_answer, kept, ping, text};
use crate::{
    book::{Found, slugify},
    core::{
        check::{CheckId, Signal},
        reading::Number,
    },
    node::Node,
};
use http::{Method, header};
use net::edge::Asked;
use serde_json::json;
use std::rc::Rc;

/// Longest message of a failure that is kept as its reason.
const WORDS_CHARS_MAX: usize = 200;

/// Uptime Kuma: `/api/push/TOKEN?status=up|down&msg=&ping=`. The token is the check's id, or the
/// ping key, a colon and a slug.
pub(super) async fn kuma(node: &Rc<Node>, asked: &Asked, query: &Query, token: &str) -> Answer {
    let found = match token.split_once(':') {
        Some((key, slug)) if is_ping_key(node, key) => by_slug(node, slug),
        Some(_) => None,
        None => crate::book::parse_uuid(token).and_then(|it| node.book.borrow().by_uuid(it)),
    };
    let Some(id) = found.filter(|it| node.is_job(*it)) else {
        let words = "Monitor not found or not active.";
        return json_answer(404, &json!({"ok": false, "msg": words}));
    };
    let answer = match query.get("status").unwrap_or("up") {
        "down" => fail(node, asked, query, id, query.get("msg").unwrap_or("reported down")).await,
        _ => hear(node, asked, query, id, Signal::Success, "success").await,
    };
    match answer.status().as_u16() {
        200 => json_answer(200, &json!({"ok": true})),
        status => json_answer(status, &json!({"ok": false, "msg": "not stored"})),
    }
}

/// Gatus: `POST /api/v1/endpoints/GROUP_NAME/external?success=true|false&error=`, the ping key as
/// a Bearer token. The key of the endpoint is the slug.
pub(super) async fn gatus(node: &Rc<Node>, asked: &Asked, query: &Query, key: &str) -> Answer {
    if asked.parts.method != Method::POST {
        return text(405, "only POST");
    }
    let bearer = asked.parts.headers.get(header::AUTHORIZATION).map(|it| it.as_bytes());
    let bearer = bearer.and_then(|it| it.strip_prefix(b"Bearer "));
    let bearer = bearer.and_then(|it| std::str::from_utf8(it).ok());
    if !bearer.is_some_and(|it| is_ping_key(node, it)) {
        return text(401, "invalid token");
    }
    let Some(id) = by_slug(node, &key.to_ascii_lowercase()) else { return text(404, "not found") };
    match query.get("success") {
        Some("true") => hear(node, asked, query, id, Signal::Success, "success").await,
        Some("false") => {
            fail(node, asked, query, id, query.get("error").unwrap_or("reported a failure")).await
        }
        Some(_) | None => text(400, "invalid success value"),
    }
}

/// Cronitor: `/p/KEY/MONITOR?state=run|complete|fail|ok&msg=`, or the state as the last part. A
/// monitor that is not known yet is made, as Cronitor does.
pub(super) async fn cronitor(
    node: &Rc<Node>,
    asked: &Asked,
    query: &Query,
    key: &str,
    monitor: &str,
    state: Option<&str>,
) -> Answer {
    if !is_ping_key(node, key) {
        return text(403, "wrong key");
    }
    let slug = slugify(monitor);
    let found = match node.book.borrow().by_slug(&slug) {
        Found::One(id) => Some(Some(id)),
        Found::None => Some(None),
        Found::Many => None,
    };
    let id = match found {
        Some(Some(id)) => Some(id),
        Some(None) if !slug.is_empty() => ping::create(node, &slug),
        Some(None) | None => None,
    };
    let Some(id) = id else { return text(404, "not found") };
    match state.or_else(|| query.get("state")).unwrap_or("complete") {
        "run" => hear(node, asked, query, id, Signal::Start, "start").await,
        "complete" | "ok" => hear(node, asked, query, id, Signal::Success, "success").await,
        "fail" => {
            fail(node, asked, query, id, query.get("msg").unwrap_or("reported a failure")).await
        }
        _ => text(400, "state is run, complete, fail or ok"),
    }
}

async fn fail(node: &Rc<Node>, asked: &Asked, query: &Query, id: CheckId, words: &str) -> Answer {
    let words = words.chars().take(WORDS_CHARS_MAX).collect();
    hear(node, asked, query, id, Signal::Fail(words), "fail").await
}

async fn hear(
    node: &Rc<Node>,
    asked: &Asked,
    query: &Query,
    id: CheckId,
    signal: Signal,
    kind: &'static str,
) -> Answer {
    let mut beat = ping::job_beat(asked, query, signal, kind);
    // What Uptime Kuma and Gatus tell of a request's time.
    let ping = query.get("ping").and_then(|it| Number::parse("ping", it));
    let took = query.get("duration").and_then(seconds);
    let took = took.map(|value| Number { name: "duration".to_owned(), value });
    beat.metrics.extend(ping.into_iter().chain(took));
    kept(node.hear_job(id, beat)).await
}

/// A length of time as Go writes it, as in `1m30.5s`, in seconds.
fn seconds(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|it: char| it.is_ascii_digit()).unwrap_or(tail.len());
        let factor = match &tail[..unit] {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * factor;
        rest = &tail[unit..];
    }
    (!text.is_empty()).then_some(sum)
}

fn by_slug(node: &Node, slug: &str) -> Option<CheckId> {
    match node.book.borrow().by_slug(slug) {
        Found::One(id) => Some(id),
        Found::None | Found::Many => None,
    }
}

/// Whether this is the key for beats. Hashes compare in constant time.
pub(super) fn is_ping_key(node: &Node, key: &str) -> bool {
    blake3::hash(key.as_bytes()) == blake3::hash(node.config().ping_key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, want) in [
            ("10s", Some(10.0)),
            ("1m30.5s", Some(90.5)),
            ("2h", Some(7_200.0)),
            ("250ms", Some(0.25)),
            ("", None),
            ("10", None),
            ("s", None),
            ("1x", None),
            ("1..2s", None),
        ] {
            assert_eq!(seconds(text), want, "{text}");
        }
    }
}
