//! The description of the API for programs: `/openapi.json`, OpenAPI 3.1.
//!
//! One table of calls; a test makes each of them against a running monitor.

use super::{Answer, json_answer};
use net::openapi::{Api, Body, Call, document};
use serde_json::json;

const fn read(path: &'static str, summary: &'static str, query: &'static [&'static str]) -> Call {
    Call::read(path, summary, query)
}

/// Whoever makes it shows the API key.
const fn change(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    body: &'static [&'static str],
) -> Call {
    let body = if body.is_empty() { Body::None } else { Body::Fields(body) };
    Call { method, schemes: &["bearer", "key"], body, ..Call::read(path, summary, &[]) }
}

const CALLS: [Call; 50] = [
    read("/v1/overview", "States, open incidents, nodes, jobs, channels", &[]),
    read("/v1/checks", "Every check", &[]),
    read("/v1/checks/{check}", "A check with its changes", &[]),
    read(
        "/v1/availability",
        "The same of every check",
        &["hours", "from", "to", "target_ppm", "format"],
    ),
    read(
        "/v1/availability/{check}",
        "Up, down, unknown and away over time",
        &["hours", "from", "to", "target_ppm", "format"],
    ),
    read(
        "/v1/history/{check}",
        "What minutes, hours or days of a check were made of",
        &["by", "hours", "from", "to"],
    ),
    read("/v1/incidents", "Incidents, newest first", &["state", "limit", "format"]),
    read("/v1/incidents/{incident}", "An incident with its letters", &[]),
    change("post", "/v1/incidents/{incident}/ack", "Take care of it", &["by", "note?", "for_s?"]),
    read("/v1/silences", "Silences in force", &[]),
    read("/v1/silences/preview", "What a pattern matches now", &["pattern"]),
    change("post", "/v1/silences", "Keep quiet", &["pattern", "by", "reason", "for_s"]),
    change("delete", "/v1/silences/{silence}", "End a silence", &[]),
    read("/v1/windows", "Maintenance windows", &[]),
    change(
        "post",
        "/v1/windows",
        "Enter a maintenance window",
        &[
            "name",
            "by",
            "reason",
            "for_s",
            "node?",
            "role?",
            "service?",
            "from?",
            "schedule?",
            "tz?",
        ],
    ),
    change("delete", "/v1/windows/{window}", "End a maintenance window", &[]),
    read("/v1/subscriptions", "Who is told of what", &[]),
    read("/v1/rules", "The rules over the numbers of nodes", &[]),
    read("/v1/channels", "Channels and how they do", &[]),
    read("/v1/channels/{channel}", "A channel with its letters and every attempt", &[]),
    change("post", "/v1/channels/{channel}/test", "Send a test", &[]),
    change("get", "/v1/webhook-secret", "What webhooks are signed with", &[]),
    read("/v1/letters", "What was sent", &["limit"]),
    read("/v1/changes", "What changed", &["limit"]),
    read("/badge/{check}", "A badge (SVG)", &[]),
    read("/status.json", "The state of everything, for everybody", &[]),
    read("/ping/{uuid}", "A beat of a job, as Healthchecks takes it", &["rid", "metric"]),
    read("/ping/{key}/{slug}", "A beat of a job by its slug", &["create", "rid", "metric"]),
    read(
        "/ping/{uuid}/{action}",
        "The same: start, fail, log or an exit status",
        &["rid", "metric"],
    ),
    read("/ping/{key}/{slug}/{action}", "The same by its slug", &["create", "rid", "metric"]),
    read(
        "/api/push/{token}",
        "A beat as Uptime Kuma takes it",
        &["status", "msg", "ping", "metric"],
    ),
    Call {
        method: "post",
        schemes: &["bearer"],
        ..Call::read(
            "/api/v1/endpoints/{slug}/external",
            "A beat as Gatus takes it, with the ping key",
            &["success", "error", "duration", "metric"],
        )
    },
    read("/p/{key}/{slug}", "A beat as Cronitor takes it", &["state", "msg", "metric"]),
    read("/p/{key}/{slug}/{state}", "The same", &["msg", "metric"]),
    Call {
        method: "post",
        body: Body::Schema("alerts"),
        schemes: &["bearer"],
        ..Call::read("/api/v2/alerts", "Alerts of Prometheus, with the ping key", &[])
    },
    read("/api/v2/alerts", "What is wrong, as Alertmanager lists it", &["filter"]),
    read("/api/v2/silences", "Silences, as Alertmanager lists them", &["filter"]),
    read("/api/v2/status", "That somebody is there, as Alertmanager says it", &[]),
    change("get", "/api/v3/checks/", "Jobs, as Healthchecks lists them", &[]),
    change(
        "post",
        "/api/v3/checks/",
        "Enter a job, or change it",
        &["name?", "slug?", "tags?", "timeout?", "grace?", "schedule?", "tz?", "unique?"],
    ),
    change("get", "/api/v3/checks/{uuid}", "A job", &[]),
    change("get", "/api/v3/checks/{uuid}/pings/", "Its last beats", &[]),
    change("get", "/api/v3/checks/{uuid}/pings/{n}/body", "What one of them said", &[]),
    change("get", "/api/v3/checks/{uuid}/flips/", "Its changes", &[]),
    change(
        "post",
        "/api/v3/checks/{uuid}",
        "Change a job",
        &["name?", "slug?", "tags?", "timeout?", "grace?", "schedule?", "tz?"],
    ),
    change("delete", "/api/v3/checks/{uuid}", "Strike a job out", &[]),
    change("post", "/api/v3/checks/{uuid}/pause", "Do not watch it", &[]),
    change("post", "/api/v3/checks/{uuid}/resume", "Watch it again", &[]),
    change("get", "/api/v3/channels/", "The channels", &[]),
    change("get", "/api/v3/badges/", "The badges of every tag", &[]),
];

/// `GET /openapi.json`.
pub(super) fn description() -> Answer {
    let schemes = json!({
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    });
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let alert = json!({"type": "object", "required": ["labels"], "properties": {
        "labels": texts, "annotations": texts, "endsAt": {"type": "string", "format": "date-time"},
    }});
    let alerts = json!({"type": "array", "items": alert});
    let api = Api {
        title: "Tollgate monitor",
        version: env!("CARGO_PKG_VERSION"),
        about: "Heartbeats in, incidents and letters out.",
        calls: &CALLS,
        components: json!({"securitySchemes": schemes, "schemas": {"alerts": alerts}}),
    };
    json_answer(200, &document(&api))
}
