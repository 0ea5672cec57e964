//! Silences in the words of Alertmanager, as `amtool silence` adds, lists and expires them.
//!
//! A silence of ours is a pattern of names; one of theirs a list of matchers on labels. So one
//! matcher is taken, on `node` (a check's name) or `alertname`, for equality, or with a regular
//! expression of nothing but letters and `.*`. What cannot be taken as it is meant is refused.

use super::{Answer, error, json_answer};
use crate::{
    book::{parse_uuid, uuid_text},
    core::{check::between, silence::Silence},
    http::{api, has_key, input::Query},
    node::{Node, now},
    store::Row,
};
use http::Method;
use net::edge::Asked;
use serde::Deserialize;
use serde_json::{Value, json};
use std::rc::Rc;
use wire::Timestamp;

/// What a regular expression may consist of, beside `.*`, to mean the same as a pattern.
const REGEX_MARKS: &str = "\\[](){}+?^$|.*";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    #[serde(default)]
    id: Option<String>,
    matchers: Vec<Matcher>,
    starts_at: String,
    ends_at: String,
    created_by: String,
    comment: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Matcher {
    name: String,
    value: String,
    #[serde(default)]
    is_regex: bool,
    #[serde(default = "yes")]
    is_equal: bool,
}

fn yes() -> bool {
    true
}

/// `GET` and `POST /api/v2/silences`.
pub(in crate::http) fn silences(node: &Rc<Node>, asked: &Asked, query: &Query) -> Answer {
    match asked.parts.method {
        Method::GET | Method::HEAD => {
            let desk = node.desk.borrow();
            let wanted: Vec<&str> = query.all("filter").collect();
            let all = desk.silences().iter().filter(|it| is_wanted(it, &wanted)).map(shown);
            json_answer(200, &all.collect())
        }
        Method::POST if has_key(node, &asked.parts.headers) != Some(true) => unauthorized(),
        Method::POST => match serde_json::from_slice::<Wanted>(&asked.body) {
            Ok(wanted) => add(node, wanted),
            Err(err) => error(400, &format!("no silence: {err}")),
        },
        _ => error(405, "only GET and POST"),
    }
}

/// `GET` and `DELETE /api/v2/silence/ID`.
pub(in crate::http) fn silence(node: &Rc<Node>, asked: &Asked, id: &str) -> Answer {
    let id = parse_uuid(id).and_then(|it| u64::try_from(it).ok()).unwrap_or_default();
    let found = node.desk.borrow().silences().iter().find(|it| it.id == id).map(shown);
    let Some(found) = found else { return error(404, "no such silence") };
    match asked.parts.method {
        Method::GET | Method::HEAD => json_answer(200, &found),
        Method::DELETE if has_key(node, &asked.parts.headers) != Some(true) => unauthorized(),
        Method::DELETE => {
            let ended = node.desk.borrow_mut().end_silence(id);
            node.keep(ended.into_iter().map(Row::Silence).collect());
            json_answer(200, &json!({}))
        }
        _ => error(405, "only GET and DELETE"),
    }
}

fn unauthorized() -> Answer {
    error(401, "the API key is wanted: Authorization: Bearer KEY")
}

fn add(node: &Rc<Node>, wanted: Wanted) -> Answer {
    let pattern = match &wanted.matchers[..] {
        [one] => pattern(one, |name| node.book.borrow().named(name).is_some()),
        [] | [_, _, ..] => Err("one matcher, on node or alertname"),
    };
    let pattern = match pattern {
        Ok(pattern) => pattern,
        Err(want) => return error(400, &format!("matchers: want {want}")),
    };
    let (Some(from), Some(until)) =
        (Timestamp::parse(&wanted.starts_at), Timestamp::parse(&wanted.ends_at))
    else {
        return error(400, "startsAt and endsAt: want times as of RFC 3339");
    };
    let now = now();
    if until <= now.wall || api::SILENCE_MAX < between(now.wall.max(from), until) {
        return error(400, "endsAt: want a time to come; a silence lasts 90 days at most");
    }
    let words = [&pattern, &wanted.created_by, &wanted.comment];
    let length: usize = words.iter().map(|it| it.len()).sum();
    if words.iter().any(|it| it.is_empty()) || api::WORDS_BYTES_MAX < length {
        return error(400, "createdBy and comment: want a few words each");
    }
    let (by, reason) = (wanted.created_by, wanted.comment);
    let silence = Silence { id: 0, pattern, by, reason, from, until, is_ended: false };
    if let Some(before) = wanted.id.as_deref().filter(|it| !it.is_empty()) {
        let before = parse_uuid(before).and_then(|it| u64::try_from(it).ok());
        let ended = before.and_then(|id| node.desk.borrow_mut().end_silence(id));
        match ended {
            Some(ended) => drop(node.keep(vec![Row::Silence(ended)])),
            None => return error(404, "no such silence"),
        }
    }
    let Some(id) = node.desk.borrow_mut().silence(now, silence.clone()) else {
        return error(409, "there are too many silences");
    };
    node.keep(vec![Row::Silence(Silence { id, ..silence })]);
    json_answer(200, &json!({"silenceID": uuid_text(u128::from(id))}))
}

/// The pattern of names that means the same.
fn pattern(matcher: &Matcher, is_name: impl Fn(&str) -> bool) -> Result<String, &'static str> {
    if !matcher.is_equal {
        return Err("a matcher for equality");
    }
    let value = if matcher.is_regex {
        let parts: Vec<&str> = matcher.value.split(".*").collect();
        if parts.iter().any(|it| it.contains(|it| REGEX_MARKS.contains(it))) {
            return Err("an expression of nothing but letters and .*");
        }
        parts.join("*")
    } else if matcher.value.contains('*') {
        return Err("a value without a star, or a regular expression");
    } else {
        matcher.value.clone()
    };
    match matcher.name.as_str() {
        "node" => Ok(value),
        // An alert's name is followed by its labels, if it has any.
        "alertname" if matcher.is_regex || is_name(&value) => Ok(value),
        "alertname" => Ok(format!("{value} *")),
        _ => Err("a matcher on node or alertname"),
    }
}

fn is_wanted(silence: &Silence, filters: &[&str]) -> bool {
    let is_of = |filter: &&str| match filter.split_once('=') {
        Some((_, value)) => value.trim_matches(['"', '~']) == silence.pattern,
        None => false,
    };
    filters.iter().all(is_of)
}

fn shown(it: &Silence) -> Value {
    let is_regex = it.pattern.contains('*');
    let value = if is_regex { it.pattern.replace('*', ".*") } else { it.pattern.clone() };
    let matcher = json!({"name": "node", "value": value, "isRegex": is_regex, "isEqual": true});
    json!({
        "id": uuid_text(u128::from(it.id)),
        "matchers": [matcher],
        "startsAt": it.from.to_string(),
        "endsAt": it.until.to_string(),
        "updatedAt": it.from.to_string(),
        "createdBy": it.by,
        "comment": it.reason,
        "status": {"state": if now().wall < it.from { "pending" } else { "active" }},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matcher_is_a_pattern_or_refused() {
        let of = |name: &str, value: &str, is_regex, is_equal| {
            let matcher = Matcher { name: name.into(), value: value.into(), is_regex, is_equal };
            pattern(&matcher, |it| it == "Bare").ok()
        };
        for (name, value, is_regex, want) in [
            ("node", "a-1", false, Some("a-1")),
            ("node", "a-.*", true, Some("a-*")),
            ("node", "a-[12]", true, None),
            ("node", "a-*", false, None),
            ("node", "a.1", true, None),
            ("alertname", "Full", false, Some("Full *")),
            ("alertname", "Bare", false, Some("Bare")),
            ("instance", "x", false, None),
        ] {
            assert_eq!(of(name, value, is_regex, true).as_deref(), want, "{name} {value}");
        }
        assert_eq!(of("node", "a-1", false, false), None);
    }
}
