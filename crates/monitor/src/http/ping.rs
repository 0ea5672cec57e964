//! The ping API of Healthchecks: `/ping/UUID` and `/ping/KEY/SLUG`, each with `/start`, `/fail`,
//! `/log` or an exit status after it.

use super::{Answer, input::Query, kept, text};
use crate::{
    book::{Found, Plan, make_uuid, parse_uuid},
    core::check::{CheckId, Signal},
    node::{JobBeat, Node, random},
};
use http::{HeaderValue, Method, header};
use net::{clock, edge::Asked};
use std::rc::Rc;

/// Bytes of a body that are kept.
pub(super) const BODY_KEPT_MAX: usize = 10_000;
/// Longest slug, and longest client name that is kept.
const SLUG_CHARS_MAX: usize = 100;
const AGENT_CHARS_MAX: usize = 200;

/// Answers a ping; `rest` are the parts of the path after `/ping`.
pub(super) async fn ping(node: &Rc<Node>, asked: &Asked, query: &Query, rest: &[&str]) -> Answer {
    let mut answer = answer(node, asked, query, rest).await;
    let headers = answer.headers_mut();
    headers.insert("ping-body-limit", HeaderValue::from_static("10000"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    answer
}

async fn answer(node: &Rc<Node>, asked: &Asked, query: &Query, rest: &[&str]) -> Answer {
    let method = &asked.parts.method;
    if ![Method::GET, Method::HEAD, Method::POST].contains(method) {
        return text(405, "only GET, HEAD and POST");
    }
    let (found, action, is_new) = match rest {
        [uuid, action @ ..] if parse_uuid(uuid).is_some() => {
            let uuid = parse_uuid(uuid).unwrap_or_default();
            (node.book.borrow().by_uuid(uuid), action, false)
        }
        [key, slug, action @ ..] => {
            if !is_slug(slug) {
                return text(400, "invalid url format");
            }
            if blake3::hash(key.as_bytes()) != blake3::hash(node.config().ping_key.as_bytes()) {
                return text(404, "not found");
            }
            let found = node.book.borrow().by_slug(slug);
            match found {
                Found::One(id) => (Some(id), action, false),
                Found::Many => return text(409, "ambiguous slug"),
                Found::None if query.get("create") == Some("1") => {
                    (create(node, slug), action, true)
                }
                Found::None => return text(404, "not found"),
            }
        }
        [_] | [] => return text(404, "not found"),
    };
    let (signal, kind) = match action {
        [] => (Signal::Success, "success"),
        [action] => match action_of(action) {
            Ok(it) => it,
            Err((status, words)) => return text(status, words),
        },
        [_, ..] => return text(404, "not found"),
    };
    let run = match query.get("rid").map(parse_uuid) {
        None => None,
        Some(Some(run)) => Some(run),
        Some(None) => return text(400, "invalid uuid format"),
    };
    let Some(id) = found.filter(|it| node.is_job(*it)) else { return text(404, "not found") };
    let mut beat = job_beat(asked, query, signal, kind);
    beat.run = run;
    if *method != Method::POST && node.book.borrow().get(id).is_some_and(|it| it.plan.post_only) {
        beat.kind = "ign";
    }
    let answer = kept(node.hear_job(id, beat)).await;
    if is_new && answer.status() == 200 { text(201, "Created") } else { answer }
}

fn action_of(action: &str) -> Result<(Signal, &'static str), (u16, &'static str)> {
    match action {
        "start" => Ok((Signal::Start, "start")),
        "fail" => Ok((Signal::Fail("reported a failure".to_owned()), "fail")),
        "log" => Ok((Signal::Log, "log")),
        digits if digits.bytes().all(|it| it.is_ascii_digit()) => match digits.parse::<u8>() {
            Ok(0) => Ok((Signal::Success, "success")),
            Ok(status) => Ok((Signal::Fail(format!("exit status {status}")), "fail")),
            Err(_) => Err((400, "invalid url format")),
        },
        _ => Err((404, "not found")),
    }
}

fn is_slug(slug: &str) -> bool {
    let is_char =
        |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-' || it == b'_';
    !slug.is_empty() && slug.len() <= SLUG_CHARS_MAX && slug.bytes().all(is_char)
}

/// A check that nobody had entered: named by its slug.
pub(super) fn create(node: &Node, slug: &str) -> Option<CheckId> {
    node.enter(make_uuid(random()), Plan::job(slug, slug, clock::wall()))
}

/// A beat with what the request tells of its sender.
pub(super) fn job_beat(
    asked: &Asked,
    query: &Query,
    signal: Signal,
    kind: &'static str,
) -> JobBeat {
    let agent = asked.parts.headers.get(header::USER_AGENT);
    let agent =
        agent.map_or(String::new(), |it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    JobBeat {
        signal,
        kind,
        run: None,
        metrics: query.metrics(),
        remote: asked.peer.ip().to_string(),
        method: asked.parts.method.as_str().to_owned(),
        agent: agent.chars().take(AGENT_CHARS_MAX).collect(),
        body: asked.body[..asked.body.len().min(BODY_KEPT_MAX)].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_says_what_happened() {
        let kind = |action: &str| match action_of(action) {
            Ok((_, kind)) => kind.to_owned(),
            Err((status, _)) => status.to_string(),
        };
        for (action, want) in [
            ("start", "start"),
            ("fail", "fail"),
            ("log", "log"),
            ("0", "success"),
            ("1", "fail"),
            ("255", "fail"),
            ("256", "400"),
            ("99999999999", "400"),
            ("stop", "404"),
            ("-1", "404"),
        ] {
            assert_eq!(kind(action), want, "{action}");
        }
    }

    #[test]
    fn slugs_are_lower_case() {
        assert!(is_slug("my-backup_2"));
        for bad in ["", "My", "a b", "é", &"a".repeat(101)] {
            assert!(!is_slug(bad), "{bad}");
        }
    }
}
