//! Channels that are one HTTP request, or one program.

use super::{ATTEMPT_TIME_MAX, Message, Url};
use crate::core::{notice::Event, outbox::Sent};
use bytes::Bytes;
use http::{Request, request::Builder};
use http_body_util::Full;
use net::{
    fetch::{Place, fetch},
    tls::ClientTls,
};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

/// Longest answer of a receiver that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How much of it is kept for people.
const ANSWER_SHOWN_MAX: usize = 200;

/// Where a request goes, and whom we believe that it got there.
type To<'a> = (&'a Url, Option<&'a ClientTls>);

/// Signed: `Tollgate-Signature: t=…,v1=…` is the keyed BLAKE3 hash of the time, a point and the
/// body, with the time in seconds, so that an old request cannot be played again.
pub(super) async fn webhook(to: To<'_>, message: &Message, secret: &[u8]) -> Sent {
    let body = message.payload("webhook").to_string();
    let at = net::clock::wall().0 / 1_000_000;
    let request = Request::post(&to.0.path)
        .header("content-type", "application/json")
        .header("idempotency-key", &message.id)
        .header("tollgate-signature", format!("t={at},v1={}", signature(secret, at, &body)));
    send(to, request, body).await
}

/// What a receiver computes to know that a request is ours.
fn signature(secret: &[u8], at: i64, body: &str) -> String {
    let key = blake3::derive_key("tollgate 2026-11 webhook signature", secret);
    blake3::keyed_hash(&key, format!("{at}.{body}").as_bytes()).to_hex().to_string()
}

pub(super) async fn slack(to: To<'_>, message: &Message) -> Sent {
    let text = format!("*{}*\n{}", message.title(), message.text());
    // Discord reads `content`, all others `text`.
    json_to(to, &json!({"text": text, "content": text})).await
}

pub(super) async fn ntfy(to: To<'_>, message: &Message) -> Sent {
    let (priority, tag) = if message.is_firing() { ("5", "rotating_light") } else { ("3", "ok") };
    let request = Request::post(&to.0.path)
        .header("title", ascii(&message.title()))
        .header("priority", priority)
        .header("tags", tag);
    send(to, request, message.text()).await
}

pub(super) async fn pagerduty(to: To<'_>, key: &str, message: &Message) -> Sent {
    let action = match message.event {
        Event::Opened | Event::Reminder | Event::Unstable | Event::Steady => "trigger",
        Event::Resolved => "resolve",
        Event::Test => "trigger",
    };
    let severity = if message.event == Event::Test { "info" } else { "critical" };
    json_to(
        to,
        &json!({
            "routing_key": key,
            "event_action": action,
            "dedup_key": format!("{}/{}", message.tree, message.incident),
            "payload": {
                "summary": message.title(),
                "severity": severity,
                "source": message.node,
                "timestamp": message.since.to_string(),
                "custom_details": {"nodes": message.nodes, "reason": message.why},
            },
            "links": [{"href": message.url, "text": message.incident}],
        }),
    )
    .await
}

async fn json_to(to: To<'_>, body: &Value) -> Sent {
    let request = Request::post(&to.0.path).header("content-type", "application/json");
    send(to, request, body.to_string()).await
}

async fn send((url, tls): To<'_>, request: Builder, body: String) -> Sent {
    let request = request
        .header("host", url.authority())
        .header("user-agent", "tollgate-monitor")
        .body(Full::new(Bytes::from(body)));
    let request = match request {
        Ok(request) => request,
        Err(err) => return Sent::Refused(format!("cannot be sent: {err}")),
    };
    if url.tls && tls.is_none() {
        return Sent::Refused("cannot be sent: no authorities are trusted".to_owned());
    }
    let place = Place { host: &url.host, port: url.port, tls: tls.filter(|_| url.tls) };
    match fetch(place, request, ATTEMPT_TIME_MAX, ANSWER_BYTES_MAX).await {
        Ok(answer) => judge(answer.status, &answer.body),
        Err(err) => Sent::Failed(err.to_string()),
    }
}

/// A 4xx is a refusal for good, but for those that speak of time, of a limit, or of a receiver
/// that is not there yet.
fn judge(status: u16, body: &[u8]) -> Sent {
    let text = String::from_utf8_lossy(body);
    let answer = format!("{status} {}", text.chars().take(ANSWER_SHOWN_MAX).collect::<String>());
    match status {
        200..300 => Sent::Accepted,
        404 | 408 | 409 | 421 | 425 | 429 => Sent::Failed(answer),
        400..500 => Sent::Refused(answer),
        _ => Sent::Failed(answer),
    }
}

/// Headers are ASCII: anything else becomes a question mark.
fn ascii(text: &str) -> String {
    text.chars().map(|it| if it.is_ascii_graphic() || it == ' ' { it } else { '?' }).collect()
}

/// Runs a program with the text on its standard input. Exit code 0 has taken it.
pub(super) async fn command(program: &str, message: &Message) -> Sent {
    let child = tokio::process::Command::new(program)
        .env("TOLLGATE_EVENT", message.event.text())
        .env("TOLLGATE_INCIDENT", &message.incident)
        .env("TOLLGATE_NODE", &message.node)
        .env("TOLLGATE_TITLE", message.title())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(err) => return Sent::Failed(format!("{program}: {err}")),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not care for its input has read none of it.
        drop(stdin.write_all(message.text().as_bytes()).await);
    }
    match child.wait().await {
        Ok(status) if status.success() => Sent::Accepted,
        Ok(status) => Sent::Failed(format!("{program}: {status}")),
        Err(err) => Sent::Failed(format!("{program}: {err}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_work_another_time_is_tried_again() {
        assert_eq!(judge(204, b""), Sent::Accepted);
        for status in [301, 404, 429, 500, 503] {
            assert!(matches!(judge(status, b"x"), Sent::Failed(_)), "{status}");
        }
        for status in [400, 401, 410, 422] {
            assert_eq!(judge(status, b"no"), Sent::Refused(format!("{status} no")));
        }
    }

    #[test]
    fn a_signature_is_for_one_time_and_one_body() {
        let first = signature(b"key", 1, "{}");
        assert_eq!(first.len(), 64);
        assert_ne!(first, signature(b"key", 2, "{}"));
        assert_ne!(first, signature(b"key", 1, "[]"));
        assert_ne!(first, signature(b"kez", 1, "{}"));
    }
}
