//! Channels that are one HTTP request, or one program.

use super::{ATTEMPT_TIME_MAX, Message, Url};
use crate::core::{notice::Event, outbox::Sent};
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use http::{Request, request::Builder};
use http_body_util::Full;
use net::{
    fetch::{Place, fetch},
    tls::ClientTls,
};
use ring::hmac;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

/// Longest answer of a receiver that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How much of it is kept for people.
const ANSWER_SHOWN_MAX: usize = 200;

/// Longest message that Discord takes.
const DISCORD_CHARS_MAX: usize = 2_000;
/// Two short messages' worth.
const SMS_CHARS_MAX: usize = 300;

/// Where a request goes, and whom we believe that it got there.
type To<'a> = (&'a Url, Option<&'a ClientTls>);

/// Signed: `Tollgate-Signature: t=SECONDS,v1=HEX` is the HMAC-SHA256 of the time, a point and the
/// body, so that an old request cannot be played again.
pub(super) async fn webhook(to: To<'_>, message: &Message, secret: &str) -> Sent {
    let body = message.payload("webhook").to_string();
    let at = net::clock::wall().0 / 1_000_000;
    let request = Request::post(&to.0.path)
        .header("content-type", "application/json")
        .header("idempotency-key", &message.id)
        .header("tollgate-signature", format!("t={at},v1={}", signature(secret, at, &body)));
    send(to, request, body).await
}

/// What receivers are given to check signatures by: it comes of the API key and does not tell it.
pub fn webhook_secret(api_key: &str) -> String {
    let key = blake3::derive_key("tollgate 2026-11 webhook signature", api_key.as_bytes());
    format!("whsec_{}", HEXLOWER.encode(&key))
}

/// What a receiver computes to know that a request is ours.
fn signature(secret: &str, at: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    HEXLOWER.encode(hmac::sign(&key, format!("{at}.{body}").as_bytes()).as_ref())
}

pub(super) async fn slack(to: To<'_>, message: &Message) -> Sent {
    let text = format!("*{}*\n{}", message.title(), message.text());
    // Discord's address for Slack's form reads `content`, all others `text`.
    json_to(to, &json!({"text": text, "content": cut(&text, DISCORD_CHARS_MAX)})).await
}

pub(super) async fn discord(to: To<'_>, message: &Message) -> Sent {
    let text = format!("**{}**\n{}", message.title(), message.text());
    // Names of nodes and reasons are nobody's to call people with.
    let mentions = json!({"parse": []});
    let content = cut(&text, DISCORD_CHARS_MAX);
    json_to(to, &json!({"content": content, "allowed_mentions": mentions})).await
}

pub(super) async fn teams(to: To<'_>, message: &Message) -> Sent {
    json_to(to, &teams_card(message)).await
}

fn teams_card(message: &Message) -> Value {
    let colour = if message.is_firing() { "Attention" } else { "Good" };
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "text": message.title(), "weight": "Bolder", "color": colour, "wrap": true},
            {"type": "TextBlock", "text": message.text(), "wrap": true},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": "The incident", "url": message.url}],
    });
    let kind = "application/vnd.microsoft.card.adaptive";
    json!({"type": "message", "attachments": [{"contentType": kind, "content": card}]})
}

/// A form by POST, or what stands in the address by GET.
pub(super) async fn sms(
    (url, tls): To<'_>,
    login: Option<&str>,
    form: Option<&str>,
    message: &Message,
) -> Sent {
    let text = format!("[{}] {} ({})", message.tree, message.title(), message.incident);
    let text = encoded(&cut(&text, SMS_CHARS_MAX));
    let url = Url { path: url.path.replace("{text}", &text), ..url.clone() };
    let mut request = match form {
        Some(_) => {
            Request::post(&url.path).header("content-type", "application/x-www-form-urlencoded")
        }
        None => Request::get(&url.path),
    };
    if let Some(login) = login {
        let login = BASE64.encode(login.as_bytes());
        request = request.header("authorization", format!("Basic {login}"));
    }
    request = request.header("idempotency-key", &message.id);
    let body = form.map_or(String::new(), |it| it.replace("{text}", &text));
    send((&url, tls), request, body).await
}

/// Percent-encoded for a form or a query: nothing of it can end a field or begin another.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&HEXUPPER.encode(&[byte]));
        }
    }
    out
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
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
    let action = if message.event == Event::Resolved { "resolve" } else { "trigger" };
    let severity = if message.event == Event::Test { "info" } else { "critical" };
    json_to(
        to,
        &json!({
            "routing_key": key,
            "event_action": action,
            // Not the incident's number, which is another one with another monitor.
            "dedup_key": format!("{}/{}", message.tree, message.node),
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
        // As Python's `hmac` has it.
        let want = "1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224";
        let first = signature("key", 1, "{}");
        assert_eq!(first, want);
        assert_ne!(first, signature("key", 2, "{}"));
        assert_ne!(first, signature("key", 1, "[]"));
        assert_ne!(first, signature("kez", 1, "{}"));
        assert!(webhook_secret("key").starts_with("whsec_"));
        assert_ne!(webhook_secret("key"), webhook_secret("kez"));
    }

    #[test]
    fn forms_cannot_be_broken_out_of() {
        assert_eq!(encoded("a-1 is down & é"), "a-1%20is%20down%20%26%20%C3%A9");
    }

    #[test]
    fn a_card_bears_the_words_and_the_way() {
        let card = teams_card(&crate::channel::message::example(Event::Opened));
        let content = &card["attachments"][0]["content"];
        assert_eq!(content["body"][0]["text"], "a-1 is down");
        assert_eq!(content["actions"][0]["url"], "http://127.0.0.1:8090/#i-17");
    }
}
