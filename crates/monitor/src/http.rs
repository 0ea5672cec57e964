//! The monitor's HTTP side: beats in several dialects, an API, badges, and pages for people.

mod alertmanager;
mod api;
mod input;
mod manage;
mod openapi;
mod others;
mod page;
mod ping;
mod public;
mod view;

pub(crate) use page::Past;

use crate::{
    node::{Heard, Node, now},
    store::StoreError,
};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, header};
use input::Query;
use net::{
    agent::beat::{self, BEATS_BYTES_MAX, BEATS_MAX, BEATS_PATH, PROOF_HEADER},
    edge::{Asked, BodyMode},
};
use serde_json::{Value, json};
use std::rc::Rc;

/// Longest body of any request here.
const BODY_BYTES_MAX: usize = BEATS_BYTES_MAX;

/// Answers requests with what the node knows.
pub(crate) struct Front(pub(crate) Rc<Node>);

/// An answer, whole.
pub(crate) type Answer = Response<Bytes>;

impl Front {
    /// How bodies are wanted.
    pub(crate) const BODY_MODE: BodyMode = BodyMode::Whole { bytes_max: BODY_BYTES_MAX };

    /// An answer before anything was looked at.
    pub(crate) fn refusal(status: u16, words: &str) -> Answer {
        text(status, words)
    }

    /// The answer to a request.
    pub(crate) async fn answer(&self, asked: &Asked) -> Answer {
        let uri = &asked.parts.uri;
        let path = uri.path();
        let query = Query::parse(uri.query().unwrap_or(""));
        let segments: Vec<String> =
            path.split('/').filter(|it| !it.is_empty()).map(input::decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let node = &self.0;
        match segments[..] {
            [] => page::dashboard(node, asked).await,
            ["page.js"] => page::script(asked),
            ["shared"] => self.shared(),
            ["beats"] if path == BEATS_PATH => self.beats(asked).await,
            ["ping", ref rest @ ..] => ping::ping(node, asked, &query, rest).await,
            ["v1", ref rest @ ..] => api::answer(node, asked, &query, rest).await,
            ["badge", name] => public::badge(node, name),
            ["openapi.json"] => openapi::description(),
            ["status.json"] => public::status(node).await,
            ["api", "push", token] => others::kuma(node, asked, &query, token).await,
            ["api", "v1", "endpoints", key, "external"] => {
                others::gatus(node, asked, &query, key).await
            }
            ["api", "v2", "alerts"] => alertmanager::alerts(node, asked, &query, None).await,
            [key, "api", "v2", "alerts"] => {
                alertmanager::alerts(node, asked, &query, Some(key)).await
            }
            // Healthchecks' addresses end with a slash, Alertmanager's do not.
            ["api", "v2", "status"] if !path.ends_with('/') => alertmanager::status(node),
            ["api", "v2", "receivers"] => json_answer(200, &json!([{"name": "tollgate"}])),
            ["api", "v2", "silences"] => alertmanager::silences(node, asked, &query),
            ["api", "v2", "silence", id] => alertmanager::silence(node, asked, id),
            ["api", "v1" | "v2" | "v3", ref rest @ ..] => {
                manage::answer(node, asked, &query, rest).await
            }
            ["p", key, monitor] => others::cronitor(node, asked, &query, key, monitor, None).await,
            ["p", key, monitor, state] => {
                others::cronitor(node, asked, &query, key, monitor, Some(state)).await
            }
            [uuid, ..] if crate::book::parse_uuid(uuid).is_some() => {
                ping::ping(node, asked, &query, &segments).await
            }
            [..] => page::missing(asked),
        }
    }

    /// What the other monitors are to know of what people said to this one, after a line that proves
    /// that whoever says it knows the cluster's key.
    fn shared(&self) -> Answer {
        let node = &self.0;
        let shared = node.desk.borrow().shared(now());
        let said = json!(shared).to_string();
        let proof = beat::proof(&node.config().node.cluster_key, said.as_bytes());
        text(200, &format!("{proof}\n{said}"))
    }

    /// Beats of a node, which must prove that it knows the cluster's key.
    async fn beats(&self, asked: &Asked) -> Answer {
        if asked.parts.method != Method::POST {
            return text(405, "only POST");
        }
        let proof = asked.parts.headers.get(PROOF_HEADER).map_or(&b""[..], |it| it.as_bytes());
        if !beat::is_proof(&self.0.config().node.cluster_key, &asked.body, proof) {
            return text(401, "a proof of the cluster's key is wanted");
        }
        match serde_json::from_slice::<Vec<beat::Beat>>(&asked.body) {
            Ok(beats) if beats.len() <= BEATS_MAX => kept(self.0.hear_node(beats)).await,
            Ok(_) => text(400, "too many beats at once"),
            Err(err) => text(400, &format!("no beats: {err}")),
        }
    }
}

/// The answer to a beat, once it is on the disk.
async fn kept(heard: Heard) -> Answer {
    match heard {
        Heard::Kept(None) => text(200, "OK"),
        Heard::Kept(Some(done)) => match done.await {
            Ok(true) => text(200, "OK"),
            Ok(false) | Err(_) => text(503, "heard, and not stored: the disk fails"),
        },
        Heard::TooMany => text(429, "rate limit exceeded"),
        Heard::Unknown => text(404, "not found"),
    }
}

/// Whoever changes something shows the API key, as a Bearer token or in `X-Api-Key`.
fn has_key(node: &Node, headers: &HeaderMap) -> Option<bool> {
    let bearer = headers.get(header::AUTHORIZATION).map(|it| it.as_bytes());
    let bearer = bearer.and_then(|it| it.strip_prefix(b"Bearer "));
    let given = bearer.or_else(|| headers.get("x-api-key").map(|it| it.as_bytes()))?;
    // Hashes compare in constant time.
    Some(blake3::hash(given) == blake3::hash(node.config().api_key.as_bytes()))
}

fn text(status: u16, body: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.to_owned())
}

fn json_answer(status: u16, body: &Value) -> Answer {
    answer(status, "application/json", body.to_string())
}

fn error(status: u16, words: &str) -> Answer {
    json_answer(status, &json!({"error": words}))
}

/// The history could not be read.
fn unreadable(err: &StoreError) -> Answer {
    tracing::error!(%err, "cannot read what was kept");
    error(503, "what was kept cannot be read")
}

fn answer(status: u16, content_type: &str, body: String) -> Answer {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CACHE_CONTROL, "no-store")
        .header("x-content-type-options", "nosniff")
        .body(Bytes::from(body))
        .expect("the parts are ours")
}
