//! `tollgate alerts`: what the monitor knows of incidents, and what people say to it.

mod quiet;

use super::Outcome;
use crate::{
    args::{self, AlertsVerb},
    data::{Data, read_key},
    error::CliError,
    http::{self, Failure},
    terminal::{say, say_json, table},
    topology::elements::{role::RoleName, url::HttpUrl},
};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};
use std::{path::Path, process::ExitCode, time::Duration};

/// How long the monitor may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Asks the monitor of the data folder.
pub(super) fn alerts(args: &args::Alerts, data: &Path) -> Outcome {
    let monitor = Monitor::of(&Data::at(data))?;
    let said = match &args.verb {
        AlertsVerb::List { all } => {
            let state = if *all { "all" } else { "open" };
            let said = monitor.ask("GET", &format!("/v1/incidents?state={state}"), None)?;
            if !args.json {
                say(&listed(&said["data"]));
            }
            said
        }
        AlertsVerb::Ack { incident, by, note } => {
            let body = json!({"by": name(by.as_deref()), "note": note});
            let said =
                monitor.ask("POST", &format!("/v1/incidents/{incident}/ack"), Some(&body))?;
            if !args.json {
                say(&format!("{incident} is taken care of by {}\n", text(&said["ack"]["by"])));
            }
            said
        }
        AlertsVerb::Silence { .. } | AlertsVerb::Silences { .. } => {
            quiet::silences(&monitor, &args.verb, args.json)?
        }
        AlertsVerb::Maintenance { .. } | AlertsVerb::Windows { .. } => {
            quiet::windows(&monitor, &args.verb, args.json)?
        }
        AlertsVerb::Rules => {
            let said = monitor.ask("GET", "/v1/rules", None)?;
            if !args.json {
                say(&ruled(&said["data"]));
            }
            said
        }
        AlertsVerb::Secret => {
            let said = monitor.ask("GET", "/v1/webhook-secret", None)?;
            if !args.json {
                say(&format!("{}\n", text(&said["secret"])));
            }
            said
        }
        AlertsVerb::Test { channel } => test(&monitor, channel.as_deref(), args.json)?,
    };
    if args.json {
        say_json(&said);
    }
    Ok(ExitCode::SUCCESS)
}

fn test(monitor: &Monitor, channel: Option<&str>, is_json: bool) -> Result<Value, CliError> {
    let names: Vec<String> = match channel {
        Some(name) => vec![name.to_owned()],
        None => {
            let said = monitor.ask("GET", "/v1/channels", None)?;
            let channels = said["data"].as_array().into_iter().flatten();
            channels.map(|it| text(&it["name"]).to_owned()).collect()
        }
    };
    if names.is_empty() {
        return Err(CliError::failed("nobody is told of anything")
            .hint("name somebody when the tree starts: tollgate up --notify URL"));
    }
    for name in &names {
        monitor.ask("POST", &format!("/v1/channels/{name}/test"), None)?;
        if !is_json {
            say(&format!("a test is on its way over {name}\n"));
        }
    }
    Ok(json!({"tested": names}))
}

fn listed(incidents: &Value) -> String {
    let heads = ["INCIDENT", "STATE", "KIND", "SINCE", "WHO", "WHY"].map(str::to_owned);
    let mut rows = vec![heads.to_vec()];
    for it in incidents.as_array().into_iter().flatten() {
        let members = it["members"].as_array().into_iter().flatten();
        let names: Vec<&str> = members.map(|it| text(&it["name"])).collect();
        rows.push(vec![
            text(&it["id"]).to_owned(),
            text(&it["state"]).to_owned(),
            text(&it["kind"]).to_owned(),
            text(&it["opened_at"]).to_owned(),
            names.join(", "),
            text(&it["reason"]).to_owned(),
        ]);
    }
    if rows.len() == 1 { "no incident\n".to_owned() } else { table(&rows) }
}

fn ruled(rules: &Value) -> String {
    let mut rows =
        vec![["RULE", "KIND", "SEVERITY", "WATCHES", "BROKEN BY"].map(str::to_owned).to_vec()];
    for it in rules.as_array().into_iter().flatten() {
        let broken: Vec<&str> = it["broken"].as_array().into_iter().flatten().map(text).collect();
        rows.push(vec![
            text(&it["name"]).to_owned(),
            text(&it["kind"]).to_owned(),
            text(&it["severity"]).to_owned(),
            it["checks"].to_string(),
            broken.join(", "),
        ]);
    }
    if rows.len() == 1 { "no rule\n".to_owned() } else { table(&rows) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// Who is at the keyboard.
fn name(given: Option<&str>) -> String {
    #[expect(clippy::disallowed_methods, reason = "this crate reads the environment")]
    let user = std::env::var("USER");
    given.map_or_else(|| user.unwrap_or_else(|_| "somebody".to_owned()), str::to_owned)
}

/// The monitor of a running tree.
struct Monitor {
    url: HttpUrl,
    key: String,
}

impl Monitor {
    fn of(data: &Data) -> Result<Monitor, CliError> {
        let tree = data.require_up()?;
        let node = tree.nodes.iter().find(|it| it.role == RoleName::Monitor.text());
        let addr = node.and_then(|it| it.http);
        let addr = addr.ok_or_else(|| CliError::failed("this tree has no monitor"))?;
        let url = HttpUrl::plain(addr.ip().to_string(), addr.port());
        Ok(Monitor { url, key: read_key(&data.api_key_in_force()?)? })
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, CliError> {
        let body = body.map_or_else(Bytes::new, |it| Bytes::from(it.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("{}:{}", self.url.host, self.url.port))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| CliError::usage(format!("{path}: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CliError::io("cannot ask the monitor", &error))?;
        let reply = runtime.block_on(http::call(&self.url, None, request, ANSWER_TIME_MAX));
        let reply = reply.map_err(|failure| {
            let (Failure::Unsent(why) | Failure::Unanswered(why)) = failure;
            CliError::failed(format!("the monitor does not answer: {why}"))
        })?;
        let value: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        match reply.status {
            200..300 => Ok(value),
            status => {
                let why = value["error"].as_str().unwrap_or("it gives no reason");
                Err(CliError::failed(format!("the monitor refuses ({status}): {why}")))
            }
        }
    }
}
