//! What nobody is told of for a while: silences and maintenance windows.

use super::{Monitor, name, text};
use crate::{
    args::AlertsVerb,
    error::CliError,
    terminal::{say, table},
};
use serde_json::{Value, json};

/// `silence` and `silences`.
pub(super) fn silences(
    monitor: &Monitor,
    verb: &AlertsVerb,
    is_json: bool,
) -> Result<Value, CliError> {
    match verb {
        AlertsVerb::Silence { pattern, dry_run: true, .. } => {
            let path = format!("/v1/silences/preview?pattern={}", encoded(pattern));
            let said = monitor.ask("GET", &path, None)?;
            if !is_json {
                say(&previewed(pattern, &said));
            }
            Ok(said)
        }
        AlertsVerb::Silence { pattern, length, reason, by, dry_run: false } => {
            let by = name(by.as_deref());
            let seconds = length.as_secs().max(1);
            let body = json!({"pattern": pattern, "by": by, "reason": reason, "for_s": seconds});
            let said = monitor.ask("POST", "/v1/silences", Some(&body))?;
            if !is_json {
                let count = said["matches"].as_array().map_or(0, Vec::len);
                let until = text(&said["until"]);
                say(&format!("quiet about {pattern} until {until}; it matches {count} now\n"));
            }
            Ok(said)
        }
        AlertsVerb::Silences { end: Some(id) } => {
            let said = monitor.ask("DELETE", &format!("/v1/silences/{id}"), None)?;
            if !is_json {
                say(&format!("silence {id} has ended\n"));
            }
            Ok(said)
        }
        AlertsVerb::Silences { end: None }
        | AlertsVerb::List { .. }
        | AlertsVerb::Ack { .. }
        | AlertsVerb::Maintenance { .. }
        | AlertsVerb::Windows { .. }
        | AlertsVerb::Rules
        | AlertsVerb::Secret
        | AlertsVerb::Test { .. } => {
            let said = monitor.ask("GET", "/v1/silences", None)?;
            if !is_json {
                let heads = ["NUMBER", "PATTERN", "UNTIL", "BY", "REASON"];
                say(&listed(&heads, &["id", "pattern", "until", "by", "reason"], &said));
            }
            Ok(said)
        }
    }
}

/// `maintenance` and `windows`.
pub(super) fn windows(
    monitor: &Monitor,
    verb: &AlertsVerb,
    is_json: bool,
) -> Result<Value, CliError> {
    match verb {
        AlertsVerb::Maintenance { pattern, length, reason, from, schedule, tz, by } => {
            let mut body = json!({
                "name": reason,
                "node": pattern,
                "by": name(by.as_deref()),
                "reason": reason,
                "for_s": length.as_secs().max(1),
                "schedule": schedule.as_deref().unwrap_or(""),
                "tz": tz.as_deref().unwrap_or(""),
            });
            if let Some(from) = from {
                body["from"] = json!(from);
            }
            let said = monitor.ask("POST", "/v1/windows", Some(&body))?;
            if !is_json {
                let when = match (said["open_until"].as_str(), said["next"].as_str()) {
                    (Some(until), _) => format!("now, until {until}"),
                    (None, Some(next)) => format!("from {next}"),
                    (None, None) => "in the past".to_owned(),
                };
                say(&format!("maintenance of {pattern} {when}; it is window {}\n", said["id"]));
            }
            Ok(said)
        }
        AlertsVerb::Windows { end: Some(id) } => {
            let said = monitor.ask("DELETE", &format!("/v1/windows/{id}"), None)?;
            if !is_json {
                say(&format!("window {id} has ended\n"));
            }
            Ok(said)
        }
        AlertsVerb::Windows { end: None }
        | AlertsVerb::List { .. }
        | AlertsVerb::Ack { .. }
        | AlertsVerb::Silence { .. }
        | AlertsVerb::Silences { .. }
        | AlertsVerb::Rules
        | AlertsVerb::Secret
        | AlertsVerb::Test { .. } => {
            let said = monitor.ask("GET", "/v1/windows", None)?;
            if !is_json {
                let heads = ["NUMBER", "NAME", "NODE", "OPEN UNTIL", "NEXT", "BY"];
                let keys = ["id", "name", "node", "open_until", "next", "by"];
                say(&listed(&heads, &keys, &said));
            }
            Ok(said)
        }
    }
}

fn previewed(pattern: &str, said: &Value) -> String {
    let list =
        |key: &str| -> Vec<&str> { said[key].as_array().into_iter().flatten().map(text).collect() };
    let (matches, unwell, incidents) = (list("matches"), list("unwell"), list("incidents"));
    let or_none = |it: Vec<&str>| if it.is_empty() { "none".to_owned() } else { it.join(", ") };
    format!(
        "{pattern} matches {}: {}\nnot well: {}\nincidents that nobody would hear of: {}\n",
        matches.len(),
        or_none(matches.clone()),
        or_none(unwell),
        or_none(incidents)
    )
}

fn listed(heads: &[&str], keys: &[&str], said: &Value) -> String {
    let mut rows = vec![heads.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()];
    for it in said["data"].as_array().into_iter().flatten() {
        let cell = |key: &&str| match it[*key].as_str() {
            Some(text) => text.to_owned(),
            None if it[*key].is_null() => "-".to_owned(),
            None => it[*key].to_string(),
        };
        rows.push(keys.iter().map(cell).collect());
    }
    if rows.len() == 1 { "none\n".to_owned() } else { table(&rows) }
}

/// Percent-encoded, so that a pattern can stand in an address.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_in_addresses() {
        assert_eq!(encoded("a-*_1.x"), "a-*_1.x");
        assert_eq!(encoded("a b&é"), "a%20b%26%C3%A9");
    }
}
