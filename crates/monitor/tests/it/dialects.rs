//! What existing clients send, and what they are answered.

use crate::wire::{API_KEY, Monitor, PING_KEY};
use data_encoding::BASE64;
use monitor::core::{
    rule::{Bound, Measure, Rule, Scope, Side, defaults::defaults},
    severity::Severity,
};
use serde_json::Value;
use std::time::Duration;

#[test]
fn pings_are_answered_as_healthchecks_answers_them() {
    let monitor = Monitor::start("pings", &[], &[]);
    let slug = format!("/ping/{PING_KEY}/backup");
    for (method, path, want) in [
        ("GET", slug.clone(), (404, "not found")),
        ("GET", format!("{slug}?create=1"), (201, "Created")),
        ("GET", format!("{slug}?create=1"), (200, "OK")),
        ("POST", format!("{slug}/start?rid=5c1a8a5e-0a4f-4a6e-9f5e-0123456789ab"), (200, "OK")),
        ("POST", format!("{slug}/0?rid=5c1a8a5e-0a4f-4a6e-9f5e-0123456789ab"), (200, "OK")),
        ("POST", format!("{slug}/log"), (200, "OK")),
        ("GET", format!("{slug}/256"), (400, "invalid url format")),
        ("GET", format!("/ping/{PING_KEY}/Backup"), (400, "invalid url format")),
        ("GET", format!("{slug}?rid=7"), (400, "invalid uuid format")),
        ("GET", "/ping/other-key/backup".to_owned(), (404, "not found")),
        ("GET", "/ping/5c1a8a5e-0a4f-4a6e-9f5e-0123456789ab".to_owned(), (404, "not found")),
        ("DELETE", slug.clone(), (405, "only GET, HEAD and POST")),
        ("GET", format!("{slug}/7"), (200, "OK")),
    ] {
        let (status, text) = monitor.call(method, &path, "out\n");
        assert_eq!((status, text.as_str()), want, "{method} {path}");
    }
    assert_eq!(monitor.state("backup"), "down");
    let incidents = monitor.json("/v1/incidents?state=open");
    assert_eq!(incidents["data"][0]["reason"], "exit status 7", "{incidents}");
    assert_eq!(monitor.call("HEAD", &slug, "").0, 200);
    assert_eq!(monitor.state("backup"), "up");
    // A second check of the same slug makes it ambiguous.
    let twin = monitor.call("POST", "/api/v3/checks/", r#"{"name":"twin","slug":"backup"}"#);
    assert_eq!(twin.0, 201, "{}", twin.1);
    assert_eq!(monitor.call("GET", &slug, ""), (409, "ambiguous slug".to_owned()));
}

#[test]
fn too_many_pings_are_refused() {
    let monitor = Monitor::start("rate", &[], &[]);
    let path = format!("/ping/{PING_KEY}/eager?create=1");
    let refused = (0..40).filter(|_| monitor.call("GET", &path, "").0 == 429).count();
    assert!((1..40).contains(&refused), "{refused}");
}

#[test]
fn checks_are_managed_as_in_healthchecks() {
    let monitor = Monitor::start("manage", &[], &[]);
    let call = |method, path: &str, body: &str| -> (u16, Value) {
        let (status, text) = monitor.call(method, path, body);
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    };
    let path = "/api/v3/checks/";
    for (headers, want) in
        [(vec![], "missing api key"), (vec![("x-api-key", "no")], "wrong api key")]
    {
        let (status, text) = monitor.try_call("GET", path, &headers, "").unwrap();
        assert_eq!((status, text.contains(want)), (401, true), "{text}");
    }
    let body = r#"{"name":"Nightly Job","tags":"a b","timeout":600,"grace":60,"unique":["name"]}"#;
    let (status, made) = call("POST", path, body);
    assert_eq!(
        (status, &made["slug"], &made["status"]),
        (201, &"nightly-job".into(), &"new".into())
    );
    assert_eq!(call("POST", path, body).0, 200, "found by its name");
    let uuid = made["uuid"].as_str().unwrap().to_owned();
    let one = format!("{path}{uuid}");
    let cron = r#"{"schedule":"*/5 * * * *","tz":"UTC"}"#;
    assert_eq!(call("POST", &one, cron).1["schedule"], "*/5 * * * *");
    assert_eq!(call("POST", &one, r#"{"schedule":"99 * * * *"}"#).0, 400);
    assert_eq!(call("POST", &one, r#"{"timeout":0}"#).0, 400);
    let ping = format!("/ping/{uuid}");
    assert_eq!(monitor.call("POST", &ping, "all fine").0, 200);
    assert_eq!(call("GET", &one, "").1["status"], "up");
    assert_eq!(call("GET", &format!("{one}/pings/"), "").1["pings"][0]["n"], 1);
    assert_eq!(call("GET", &format!("{one}/pings/1/body"), "").1, "all fine");
    assert_eq!(call("GET", &format!("{one}/flips/"), "").1[0]["up"], 1);
    assert_eq!(call("POST", &format!("{one}/pause"), "").1["status"], "paused");
    monitor.call("GET", &ping, "");
    assert_eq!(call("GET", &one, "").1["status"], "up", "a ping resumes it");
    assert_eq!(call("POST", &format!("{one}/resume"), "").0, 409);
    assert_eq!(
        call("GET", &format!("{path}?tag=a&tag=b"), "").1["checks"][0]["name"],
        "Nightly Job"
    );
    assert_eq!(call("GET", &format!("{path}?tag=c"), "").1["checks"], Value::Array(Vec::new()));
    assert_eq!(call("DELETE", &one, "").0, 200);
    assert_eq!(monitor.call("GET", &ping, "").0, 404);
}

#[test]
fn other_dialects_are_beats_too() {
    let monitor = Monitor::start("dialects", &[], &[]);
    let call = |method, path: &str| monitor.call(method, path, "");
    assert_eq!(call("GET", "/p/no/sync").0, 403);
    assert_eq!(call("GET", &format!("/p/{PING_KEY}/sync?state=run")).0, 200);
    assert_eq!(call("GET", &format!("/p/{PING_KEY}/sync/fail")).0, 200);
    assert_eq!(monitor.state("sync"), "down");
    let push = format!("/api/push/{PING_KEY}:sync");
    assert_eq!(call("GET", &push), (200, r#"{"ok":true}"#.to_owned()));
    assert_eq!(monitor.state("sync"), "up");
    assert_eq!(call("GET", &format!("{push}?status=down&msg=no+disk")).0, 200);
    assert_eq!(monitor.state("sync"), "down");
    assert_eq!(call("GET", "/api/push/nothing").0, 404);
    let bearer = format!("Bearer {PING_KEY}");
    let gatus = |path: &str, token: &str| {
        monitor.try_call("POST", path, &[("authorization", token)], "").unwrap().0
    };
    let path = "/api/v1/endpoints/sync/external";
    assert_eq!(gatus(&format!("{path}?success=true"), &bearer), 200);
    assert_eq!(gatus(&format!("{path}?success=maybe"), &bearer), 400);
    assert_eq!(gatus(&format!("{path}?success=true"), "Bearer no"), 401);
    assert_eq!(monitor.state("sync"), "up");
    // Prometheus sends again while it fires, and the end for a while.
    let alert = r#"[{"labels":{"alertname":"Full","host":"x"},"annotations":{"summary":"full"}"#;
    let send = |rest: &str| monitor.call("POST", "/api/v2/alerts", &format!("{alert}{rest}}}]")).0;
    assert_eq!((send(""), send("")), (200, 200));
    let name = "Full host=x";
    let open = monitor.json("/v1/incidents?state=open");
    assert_eq!(open["data"].as_array().unwrap().len(), 1, "{open}");
    assert_eq!(
        (&open["data"][0]["name"], &open["data"][0]["reason"]),
        (&name.into(), &"full".into())
    );
    // Whoever has no key opens nothing, and ends nothing.
    let other = r#"[{"labels":{"alertname":"Other"}}]"#;
    let with = |path: &str, header: Option<&str>| {
        let headers: Vec<_> = header.map(|it| ("authorization", it)).into_iter().collect();
        monitor.try_call("POST", path, &headers, other).unwrap().0
    };
    let keyed = format!("/{PING_KEY}/api/v2/alerts");
    assert_eq!(with("/api/v2/alerts", None), 401);
    assert_eq!(with("/api/v2/alerts", Some("Bearer no")), 401);
    assert_eq!(with("/no/api/v2/alerts", None), 401);
    assert_eq!(monitor.json("/v1/incidents?state=open")["data"].as_array().unwrap().len(), 1);
    assert_eq!(with(&keyed, None), 200);
    assert_eq!(with("/api/v2/alerts", Some(&bearer)), 200);
    let login = BASE64.encode(format!("prometheus:{PING_KEY}").as_bytes());
    assert_eq!(with("/api/v2/alerts", Some(&format!("Basic {login}"))), 200);
    let others = r#"[{"labels":{"alertname":"Other"},"endsAt":"2024-01-01T00:00:00Z"}]"#;
    assert_eq!(monitor.call("POST", "/api/v2/alerts", others).0, 200);
    let over = r#","endsAt":"2024-01-01T00:00:00Z""#;
    assert_eq!((send(over), send(over)), (200, 200));
    let open = monitor.json("/v1/incidents?state=open");
    assert_eq!(open["data"].as_array().unwrap().len(), 0, "{open}");
}

#[test]
fn beats_of_nodes_must_prove_whose_they_are() {
    let monitor = Monitor::start("proof", &["a-1"], &[]);
    let body = r#"[{"node":"a-1","role":"account","boot":"1","seq":0,"at":"","every_ms":1,
        "phase":"up","verdict":"pass"}]"#;
    assert_eq!(monitor.call("POST", "/beats", body).0, 401);
    assert_eq!(monitor.state("a-1"), "new");
    // A node cannot be beaten for by slug or id either.
    let id = monitor.json("/v1/checks/a-1")["id"].as_str().unwrap().to_owned();
    assert_eq!(monitor.call("GET", &format!("/ping/{id}"), "").0, 404);
    let agent = monitor.agent("a-1");
    monitor.until("a-1 is up", |it| it.state("a-1") == "up");
    agent.stop();
    assert_eq!(monitor.state("a-1"), "stopped");
}

#[test]
fn only_who_has_the_key_changes_anything() {
    let monitor = Monitor::start("keys", &["a-1"], &[]);
    let silence = r#"{"pattern":"a-*","by":"kim","reason":"upgrade","for_s":60}"#;
    let send = |headers: &[(&str, &str)]| {
        monitor.try_call("POST", "/v1/silences", headers, silence).unwrap()
    };
    assert_eq!(send(&[]).0, 401);
    assert_eq!(send(&[("authorization", "Bearer no")]).0, 401);
    let bearer = format!("Bearer {API_KEY}");
    let (status, text) = send(&[("authorization", &bearer)]);
    assert_eq!((status, text.contains(r#""matches":["a-1"]"#)), (201, true), "{text}");
    assert_eq!(monitor.call("DELETE", "/v1/silences/1", "").0, 200);
    assert_eq!(monitor.call("DELETE", "/v1/silences/1", "").0, 404);
    let page = monitor.call("GET", "/", "").1;
    // The node has never beaten: the page does not say that all is well.
    assert!(page.contains("a-1") && page.contains("<title>Nothing is up"), "{page}");
}

#[test]
fn the_description_is_of_calls_that_there_are() {
    let monitor = Monitor::start("openapi", &["a-1"], &["command:/bin/true".to_owned()]);
    let ping = format!("/ping/{PING_KEY}/backup");
    assert_eq!(monitor.call("GET", &format!("{ping}/7?create=1"), "").0, 201);
    monitor.until("it is an incident", |it| {
        !it.json("/v1/incidents?state=open")["data"].as_array().unwrap().is_empty()
    });
    let silence = r#"{"pattern":"x","by":"kim","reason":"test","for_s":60}"#;
    let silence = monitor.call("POST", "/v1/silences", silence).1;
    let silence: Value = serde_json::from_str(&silence).unwrap();
    let window = r#"{"name":"w","by":"kim","reason":"test","for_s":60,"node":"x"}"#;
    let window: Value =
        serde_json::from_str(&monitor.call("POST", "/v1/windows", window).1).unwrap();
    // Another job is beaten for, so that the incident stays.
    let other = format!("/ping/{PING_KEY}/other?create=1");
    assert_eq!(monitor.call("POST", &other, "said").0, 201);
    let uuid_of =
        |name: &str| monitor.json(&format!("/v1/checks/{name}"))["id"].as_str().unwrap().to_owned();
    let uuid = uuid_of("other");
    let doomed = monitor.call("POST", "/api/v3/checks/", r#"{"name":"doomed"}"#);
    assert_eq!(doomed.0, 201);
    let doomed = uuid_of("doomed");
    let filled = |path: &str| {
        path.replace("{check}", "backup")
            .replace("{incident}", "i-1")
            .replace("{silence}", &silence["id"].to_string())
            .replace("{channel}", "c-0")
            .replace("{uuid}", &uuid)
            .replace("{key}", PING_KEY)
            .replace("{slug}", "other")
            .replace("{action}", "log")
            .replace("{state}", "complete")
            .replace("{token}", &uuid)
            .replace("{window}", &window["id"].to_string())
            .replace("{n}", "1")
    };
    let description = monitor.json("/openapi.json");
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let body = match (method.as_str(), path.as_str()) {
                ("post", "/v1/incidents/{incident}/ack") => r#"{"by":"kim"}"#,
                ("post", "/v1/silences") => {
                    r#"{"pattern":"y","by":"kim","reason":"test","for_s":60}"#
                }
                ("post", "/v1/windows") => {
                    r#"{"name":"v","by":"kim","reason":"test","for_s":60,"node":"y"}"#
                }
                ("post", "/api/v2/alerts") => "[]",
                ("post", "/api/v3/checks/{uuid}") => "{}",
                _ => "",
            };
            let method = method.to_ascii_uppercase();
            let there = match method.as_str() {
                "DELETE" => filled(&path.replace("{uuid}", &doomed)),
                _ => filled(path),
            };
            if operation["security"].is_array() {
                let status = monitor.try_call(&method, &there, &[], body).unwrap().0;
                assert_eq!(status, 401, "{method} {there} without a key");
            }
            // Gatus has the ping key, and says how it went.
            let bearer = format!("Bearer {PING_KEY}");
            let (status, text) = match path.ends_with("/external") {
                true => {
                    let there = format!("{there}?success=true");
                    let headers = [("authorization", bearer.as_str())];
                    monitor.try_call(&method, &there, &headers, body).unwrap()
                }
                false => monitor.call(&method, &there, body),
            };
            assert!((200..300).contains(&status), "{method} {there}: {status} {text}");
        }
    }
    let csv = monitor.call("GET", "/v1/incidents?format=csv", "").1;
    assert!(csv.lines().nth(1).is_some_and(|it| it.starts_with("i-1,")), "{csv}");
}

#[test]
fn what_a_job_tells_is_held_against_rules() {
    let rule = |name: &str, metric: &str, side, enter, severity| Rule {
        name: name.to_owned(),
        scope: Scope { node: Some("night*".to_owned()), ..Scope::default() },
        measure: Measure::Value {
            metric: vec![metric.to_owned()],
            bound: Bound { side, enter, leave: enter },
        },
        severity,
        hold: Duration::ZERO,
        recover: Duration::ZERO,
        ..defaults().remove(0)
    };
    let monitor = Monitor::start_with("metrics", &[], &[], |config| {
        config.rules = vec![
            rule("few", "rows", Side::Below, 1_000.0, Severity::Critical),
            rule("slow", "ping", Side::Above, 500.0, Severity::Warning),
        ];
    });
    let base = format!("/ping/{PING_KEY}/nightly");
    let cronitor = format!("/p/{PING_KEY}/nightly");
    let kuma = format!("/api/push/{PING_KEY}:nightly");
    let gatus = "/api/v1/endpoints/nightly/external";
    for (method, path, state) in [
        ("GET", format!("{base}?create=1&metric=rows:1200"), "up"),
        ("POST", format!("{base}?metric=rows:12"), "sick"),
        ("POST", format!("{base}/log?metric=files:3"), "sick"),
        ("GET", format!("{cronitor}?state=complete&metric=rows:1300&metric=error_count:0"), "up"),
        ("GET", format!("{kuma}?status=up&ping=900"), "strained"),
        ("GET", format!("{kuma}?status=up&ping=90"), "up"),
        ("POST", format!("{gatus}?success=true&duration=1m2s&metric=rows:1"), "sick"),
        // A job that tells nothing leaves the rule as it is.
        ("GET", base.clone(), "sick"),
        ("GET", format!("{base}?metric=rows:5000&metric=rows"), "up"),
    ] {
        let bearer = format!("Bearer {PING_KEY}");
        let headers = [("authorization", bearer.as_str())];
        let (status, text) = monitor.try_call(method, &path, &headers, "").unwrap();
        assert!(status < 300, "{path}: {status} {text}");
        assert_eq!(monitor.state("nightly"), state, "{path}");
        if path.contains("duration") {
            let told = &monitor.json("/v1/checks/nightly")["metrics"];
            assert_eq!((&told["duration"], &told["rows"]), (&62.0.into(), &1.0.into()));
        }
    }
    let rules = monitor.json("/v1/rules");
    assert_eq!(
        (&rules["data"][0]["node"], &rules["data"][0]["checks"]),
        (&"night*".into(), &1.into())
    );
    // How long a run takes is one of its numbers.
    monitor.call("GET", &format!("{base}/start"), "");
    monitor.call("GET", &base, "");
    assert!(monitor.json("/v1/checks/nightly")["metrics"]["run.seconds"].is_number());
}
