//! A letter as words and as fields, before a channel gives it its form.

use crate::core::{
    check::{CheckId, between},
    incident::Kind,
    notice::Event,
    outbox::Letter,
    severity::Severity,
};
use serde_json::{Value, json};
use std::time::Duration;
use wire::Timestamp;

/// Members that are named in a message; of more only the number is told.
const NAMED_MAX: usize = 20;

/// What one letter says.
#[derive(Clone, Debug)]
pub struct Message {
    /// The same for every attempt to deliver this letter.
    pub id: String,
    /// The same for every letter about one incident.
    pub incident: String,
    pub event: Event,
    pub kind: Kind,
    pub severity: Severity,
    pub tree: String,
    /// The check that the incident is named after.
    pub node: String,
    /// All of them.
    pub nodes: Vec<String>,
    pub role: String,
    /// Of a group: what they stand under, and how many there are.
    pub under: Option<(String, usize)>,
    pub why: String,
    pub at: Timestamp,
    pub since: Timestamp,
    pub resolved_at: Option<Timestamp>,
    /// Nobody was told of the beginning: this tells of both.
    pub is_combined: bool,
    /// Where the incident can be seen.
    pub url: String,
}

impl Message {
    /// Puts a letter into words. `name` and `role` know the checks.
    pub fn of(
        letter: &Letter,
        tree: &str,
        base: &str,
        name: impl Fn(CheckId) -> (String, String),
    ) -> Message {
        let about = &letter.notice.about;
        let first = about.first();
        let (node, role) = name(first.check);
        let nodes = about.members.iter().map(|it| name(it.check).0).collect();
        Message {
            id: format!("n-{}", letter.id.0),
            incident: about.id.to_string(),
            event: letter.notice.event,
            kind: about.kind,
            severity: about.severity,
            tree: tree.to_owned(),
            node,
            nodes,
            role,
            under: about.under.map(|it| (name(it).0, about.of)),
            why: first.why.clone(),
            at: letter.notice.at,
            since: about.members.iter().map(|it| it.since).min().unwrap_or(first.since),
            resolved_at: about.resolved_at,
            is_combined: letter.is_combined,
            url: format!("{base}/#{}", about.id),
        }
    }

    /// Whether it says that something is wrong.
    pub fn is_firing(&self) -> bool {
        self.event.tells_of_trouble()
    }

    /// `a-1`, or `a-1, a-2 and 3 more`.
    fn who(&self) -> String {
        match self.nodes.as_slice() {
            [] => self.node.clone(),
            [one] => one.clone(),
            nodes if nodes.len() <= NAMED_MAX => nodes.join(", "),
            nodes => {
                let more = nodes.len() - NAMED_MAX;
                format!("{} and {more} more", nodes[..NAMED_MAX].join(", "))
            }
        }
    }

    /// What is wrong, in one line.
    fn trouble(&self) -> String {
        let (who, count) = (self.who(), self.nodes.len());
        match (self.kind, self.severity, &self.under) {
            (Kind::Mass, _, _) => format!("{count} nodes down at once: {who}"),
            (Kind::Group, _, Some((under, of))) => {
                format!("{count} of {of} nodes under {under} are not well: {who}")
            }
            (Kind::Group, _, None) => format!("{count} nodes are not well: {who}"),
            (Kind::Down, _, _) => format!("{who} is down"),
            (Kind::Sick, Severity::Critical, _) => format!("{who} is very sick"),
            (Kind::Sick, Severity::Warning, _) => format!("{who} is sick"),
        }
    }

    /// One line.
    pub fn title(&self) -> String {
        let who = self.who();
        match (self.event, self.kind) {
            (Event::Test, _) => format!("Test from {}: this channel works", self.tree),
            (Event::Resolved, _) if self.is_combined => {
                format!("{who} was {} and is well again", self.kind.text())
            }
            (Event::Resolved, _) => format!("Resolved: {who}"),
            (Event::Unstable, _) => format!("{who} is unstable: it keeps changing"),
            (Event::Opened | Event::Steady, _) => self.trouble(),
            (Event::Reminder, _) => format!("Still so: {}", self.trouble()),
            (Event::Escalated, _) => format!("Nobody takes care of it: {}", self.trouble()),
            (Event::Worse, _) => format!("Worse: {}", self.trouble()),
            (Event::Grown, _) => format!("More: {}", self.trouble()),
        }
    }

    /// A few lines more.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        match self.event {
            Event::Test => {
                lines.push("Nothing has happened: somebody tests the channel.".to_owned());
            }
            Event::Resolved => {
                let length = between(self.since, self.resolved_at.unwrap_or(self.at));
                lines.push(format!("It was so for {}: {}.", words(length), self.why));
            }
            Event::Opened
            | Event::Reminder
            | Event::Unstable
            | Event::Escalated
            | Event::Worse
            | Event::Grown
            | Event::Steady => {
                lines.push(format!("{} since {}.", capital(&self.why), self.since));
            }
        }
        if self.kind == Kind::Mass && self.is_firing() {
            lines.push(
                "Many at once: the network, or the monitor itself, may be at fault.".to_owned(),
            );
        }
        lines.push(format!("Incident {} of {}: {}", self.incident, self.tree, self.url));
        lines.join("\n")
    }

    /// For programs: version 4 of Alertmanager's webhook payload, and our own fields beside it.
    pub fn payload(&self, receiver: &str) -> Value {
        let status = if self.is_firing() { "firing" } else { "resolved" };
        let ends_at = self.resolved_at.filter(|_| !self.is_firing());
        let ends_at = ends_at.map_or("0001-01-01T00:00:00Z".to_owned(), |it| it.to_string());
        let severity = self.severity.text();
        let common =
            json!({"alertname": alert_name(self.kind), "tree": self.tree, "severity": severity});
        let alert = |node: &String| {
            let mut labels = common.clone();
            labels["node"] = json!(node);
            json!({
                "status": status,
                "labels": labels,
                "annotations": {"summary": self.title(), "description": self.why},
                "startsAt": self.since.to_string(),
                "endsAt": ends_at,
                "generatorURL": self.url,
                "fingerprint": fingerprint(&self.incident, node),
            })
        };
        json!({
            "version": "4",
            "groupKey": format!("{}:{}", self.tree, self.incident),
            "truncatedAlerts": 0,
            "status": status,
            "receiver": receiver,
            "groupLabels": {"incident": self.incident},
            "commonLabels": common,
            "commonAnnotations": {"summary": self.title()},
            "externalURL": self.url,
            "alerts": self.nodes.iter().map(alert).collect::<Vec<_>>(),
            "id": self.id,
            "incident": self.incident,
            "event": self.event.text(),
            "kind": self.kind.text(),
            "node": self.node,
            "nodes": self.nodes,
            "role": self.role,
            "reason": self.why,
            "since": self.since.to_string(),
            "at": self.at.to_string(),
            "title": self.title(),
            "text": format!("{}\n{}", self.title(), self.text()),
        })
    }
}

/// The name that rules of others know it by.
fn alert_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Down => "NodeDown",
        Kind::Sick => "NodeSick",
        Kind::Mass => "NodesDown",
        Kind::Group => "NodesUnwell",
    }
}

/// 16 hexadecimal digits, the same for every letter about this node in this incident.
fn fingerprint(incident: &str, node: &str) -> String {
    blake3::hash(format!("{incident} {node}").as_bytes()).to_hex()[..16].to_owned()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |it| it.to_uppercase().collect::<String>() + chars.as_str())
}

/// `5.2 s`, `3 min 5 s`, `2 h 3 min`.
pub(crate) fn words(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", length.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
pub(super) fn example(event: Event) -> Message {
    Message {
        id: "n-3".to_owned(),
        incident: "i-17".to_owned(),
        event,
        kind: Kind::Down,
        severity: Severity::Critical,
        tree: "shop".to_owned(),
        node: "a-1".to_owned(),
        nodes: vec!["a-1".to_owned()],
        role: "account".to_owned(),
        under: None,
        why: "no beat".to_owned(),
        at: Timestamp(1_700_000_010_000_000),
        since: Timestamp(1_700_000_000_000_000),
        resolved_at: (event == Event::Resolved).then_some(Timestamp(1_700_000_005_200_000)),
        is_combined: false,
        url: "http://127.0.0.1:8090/#i-17".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_happened() {
        let opened = example(Event::Opened);
        assert_eq!(opened.title(), "a-1 is down");
        assert!(
            opened.text().starts_with("No beat since 2023-11-14T22:13:20"),
            "{}",
            opened.text()
        );
        let resolved = example(Event::Resolved);
        assert_eq!(resolved.title(), "Resolved: a-1");
        assert!(resolved.text().starts_with("It was so for 5.2 s: no beat."));
        let combined = Message { is_combined: true, ..resolved };
        assert_eq!(combined.title(), "a-1 was down and is well again");
        let nodes = (0..25).map(|it| format!("n-{it}")).collect();
        let mass = Message { kind: Kind::Mass, nodes, ..opened };
        assert!(mass.title().starts_with("25 nodes down at once: n-0, n-1"), "{}", mass.title());
        assert!(mass.title().ends_with("n-19 and 5 more"));
    }

    #[test]
    fn the_payload_is_alertmanagers() {
        let payload = example(Event::Opened).payload("webhook-1");
        assert_eq!((&payload["version"], &payload["status"]), (&"4".into(), &"firing".into()));
        assert_eq!(payload["alerts"][0]["labels"]["node"], "a-1");
        assert_eq!(payload["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
        let resolved = example(Event::Resolved).payload("webhook-1");
        assert_eq!(resolved["status"], "resolved");
        assert_eq!(resolved["alerts"][0]["fingerprint"], payload["alerts"][0]["fingerprint"]);
        assert_eq!(resolved["alerts"][0]["endsAt"], "2023-11-14T22:13:25.200000Z");
    }

    #[test]
    fn lengths_are_for_people() {
        for (seconds, text) in [(5, "5.0 s"), (185, "3 min 5 s"), (7_380, "2 h 3 min")] {
            assert_eq!(words(Duration::from_secs(seconds)), text);
        }
    }
}
