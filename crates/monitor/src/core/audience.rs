//! Who is told of what, when, and how soon: subscriptions, and the steps of an escalation.
//!
//! A step is a subscription that begins a while after the first notice, if nobody has said that
//! they take care of it by then.

use super::{
    check::between,
    desk::REMIND_EVERY,
    hours::Hours,
    incident::Incident,
    rule::{Scope, Subject},
    severity::Severity,
};
use std::time::Duration;
use wire::Timestamp;

/// Subscriptions of one monitor.
pub const SUBSCRIPTIONS_MAX: usize = 1_000;

/// Somebody wants to be told over one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The channel's name.
    pub channel: String,
    /// Of which checks,
    pub scope: Scope,
    /// how bad at least,
    pub severity: Severity,
    /// at which hours,
    pub hours: Option<Hours>,
    /// and how long after the first notice, unless it is acknowledged.
    pub after: Duration,
    /// How often it is said again while nobody takes care of it.
    pub remind: Duration,
}

impl Subscription {
    /// Everything, at once, at any hour.
    pub fn to_all(channel: &str) -> Subscription {
        Subscription {
            channel: channel.to_owned(),
            scope: Scope::default(),
            severity: Severity::Warning,
            hours: None,
            after: Duration::ZERO,
            remind: REMIND_EVERY,
        }
    }

    /// Whether it is about this incident, whatever the time. `subject` knows the checks.
    fn is_about<'a>(
        &self,
        incident: &Incident,
        subject: impl Fn(super::check::CheckId) -> Option<&'a Subject>,
    ) -> bool {
        let covers = |it: &Subject| self.scope.covers(it);
        let mut open = incident.members.iter().filter(|it| !it.is_over);
        self.severity <= incident.severity && open.any(|it| subject(it.check).is_some_and(covers))
    }
}

/// All subscriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    subscriptions: Vec<Subscription>,
}

/// A channel that is to be told now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub channel: String,
    /// Only because nobody has taken care of it.
    pub is_escalated: bool,
}

impl Audience {
    /// These subscriptions; a channel that none of them names is told everything.
    pub fn new(mut subscriptions: Vec<Subscription>, channels: &[String]) -> Audience {
        for channel in channels {
            if !subscriptions.iter().any(|it| it.channel == *channel) {
                subscriptions.push(Subscription::to_all(channel));
            }
        }
        Audience { subscriptions }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter()
    }

    /// Channels that want to be told of an incident now and have not been. `told_at` is when the
    /// first notice went out, or now.
    pub fn wanted<'a>(
        &self,
        incident: &Incident,
        told_at: Timestamp,
        now: Timestamp,
        subject: impl Fn(super::check::CheckId) -> Option<&'a Subject>,
    ) -> Vec<Wanted> {
        let mut out: Vec<Wanted> = Vec::new();
        for it in &self.subscriptions {
            let is_told = incident.has_told(&it.channel)
                || out.iter().any(|wanted| wanted.channel == it.channel);
            let is_step = it.after != Duration::ZERO;
            let is_due = it.after <= between(told_at, now);
            if is_told || !is_due || (is_step && incident.is_acked(now)) {
                continue;
            }
            let is_hour = it.hours.as_ref().is_none_or(|hours| hours.cover(now));
            if is_hour && it.is_about(incident, &subject) {
                out.push(Wanted { channel: it.channel.clone(), is_escalated: is_step });
            }
        }
        out
    }

    /// How often a channel is reminded: as often as the most anxious of its subscriptions says.
    pub fn remind_every(&self, channel: &str) -> Duration {
        let of_it = self.subscriptions.iter().filter(|it| it.channel == channel);
        of_it.map(|it| it.remind).min().unwrap_or(REMIND_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        check::CheckId,
        incident::{Ack, IncidentId, Kind, Member},
    };
    use jiff::tz::TimeZone;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000); // A Tuesday, 22:13.

    fn incident() -> Incident {
        let member =
            Member { check: CheckId(1), why: "no beat".to_owned(), since: NOW, is_over: false };
        Incident::new(IncidentId(1), Kind::Down, member, NOW)
    }

    fn a1() -> Subject {
        Subject { name: "a-1".into(), role: "account".into(), service: "a".into() }
    }

    fn names(audience: &Audience, incident: &Incident, minutes: i64) -> Vec<String> {
        let now = Timestamp(NOW.0 + minutes * 60_000_000);
        let subject = a1();
        let wanted = audience.wanted(incident, NOW, now, |_| Some(&subject));
        wanted.into_iter().map(|it| it.channel).collect()
    }

    #[test]
    fn subscriptions_ask_for_checks_severity_and_hours() {
        let all = Subscription::to_all("x");
        let scope = |it: Scope| Subscription { scope: it, ..all.clone() };
        let hours = |it: &str| Subscription {
            hours: Some(Hours::parse(it, TimeZone::UTC).unwrap()),
            ..all.clone()
        };
        for (it, want) in [
            (all.clone(), true),
            (scope(Scope { service: Some("a".into()), ..Scope::default() }), true),
            (scope(Scope { service: Some("b".into()), ..Scope::default() }), false),
            (scope(Scope { node: Some("gateway-*".into()), ..Scope::default() }), false),
            (Subscription { severity: Severity::Critical, ..all.clone() }, true),
            (hours("Tue 22:00-23:00"), true),
            (hours("Mon-Fri 08:00-18:00"), false),
        ] {
            let audience = Audience::new(vec![it.clone()], &["x".to_owned()]);
            assert_eq!(!names(&audience, &incident(), 0).is_empty(), want, "{it:?}");
        }
        let warning = Incident { severity: Severity::Warning, ..incident() };
        let critical = Subscription { severity: Severity::Critical, ..all };
        assert!(names(&Audience::new(vec![critical], &[]), &warning, 0).is_empty());
    }

    #[test]
    fn an_escalation_goes_on_until_somebody_takes_care() {
        let step = |channel: &str, minutes: u64| Subscription {
            after: Duration::from_secs(minutes * 60),
            ..Subscription::to_all(channel)
        };
        let audience = Audience::new(
            vec![step("first", 0), step("second", 15), step("boss", 60)],
            &["first".to_owned(), "archive".to_owned()],
        );
        let mut it = incident();
        assert_eq!(names(&audience, &it, 0), ["first", "archive"]);
        it.tell("first", NOW);
        it.tell("archive", NOW);
        assert!(names(&audience, &it, 14).is_empty());
        assert_eq!(names(&audience, &it, 15), ["second"]);
        assert_eq!(names(&audience, &it, 61), ["second", "boss"]);
        let ack = Ack { by: "kim".into(), note: String::new(), at: NOW, until: None };
        let until = Timestamp(NOW.0 + 30 * 60_000_000);
        it.ack = Some(ack.clone());
        assert!(names(&audience, &it, 61).is_empty());
        it.ack = Some(Ack { until: Some(until), ..ack });
        assert!(names(&audience, &it, 29).is_empty());
        assert_eq!(names(&audience, &it, 30), ["second"]);
    }
}
