//! Maintenance windows: stretches of time in which nobody is told and nothing counts, once or
//! again and again. Everything is still watched.

use super::{
    check::{between, micros},
    rule::{Scope, Subject},
    schedule::Schedule,
};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use wire::Timestamp;

/// Windows of one monitor, of the file and by hand together.
pub const WINDOWS_MAX: usize = 200;
/// Longest window.
pub const LENGTH_MAX: Duration = Duration::from_secs(90 * 86_400);

/// A window as it is written and stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSpec {
    pub name: String,
    #[serde(default)]
    pub node: Option<String>,
    #[serde(default)]
    pub role: Option<String>,
    #[serde(default)]
    pub service: Option<String>,
    /// When it begins: a moment, or
    #[serde(default, with = "super::stamp::maybe")]
    pub from: Option<Timestamp>,
    /// the times of a schedule.
    #[serde(default)]
    pub schedule: String,
    #[serde(default)]
    pub tz: String,
    pub length_s: u64,
    #[serde(default)]
    pub by: String,
    #[serde(default)]
    pub reason: String,
    /// Of one that was made by hand: its number.
    #[serde(default)]
    pub id: Option<u64>,
}

/// A checked window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub spec: WindowSpec,
    scope: Scope,
    schedule: Option<Box<Schedule>>,
    length: Duration,
}

/// From when to when.
pub type Span = (Timestamp, Timestamp);

impl Window {
    /// Checks what was written. `Err` says what was wanted.
    pub fn build(spec: WindowSpec, zone: TimeZone) -> Result<Window, String> {
        let length = Duration::from_secs(spec.length_s);
        if length == Duration::ZERO || LENGTH_MAX < length {
            return Err("a length of 1 second to 90 days".to_owned());
        }
        let schedule = match (spec.from, spec.schedule.as_str()) {
            (Some(_), "") => None,
            (None, text) if !text.is_empty() => Some(Box::new(Schedule::parse(text, zone)?)),
            (Some(_), _) | (None, _) => {
                return Err("a moment at which it begins, or a schedule".to_owned());
            }
        };
        let scope = Scope {
            role: spec.role.clone(),
            service: spec.service.clone(),
            node: spec.node.clone(),
        };
        Ok(Window { spec, scope, schedule, length })
    }

    /// Whether it is about this check.
    pub fn covers(&self, it: &Subject) -> bool {
        self.scope.covers(it)
    }

    /// The stretch that `now` is within, if it is.
    pub fn active(&self, now: Timestamp) -> Option<Span> {
        let from = match &self.schedule {
            None => self.spec.from?,
            Some(schedule) => schedule.next_after(Timestamp(now.0 - micros(self.length)))?,
        };
        let until = Timestamp(from.0 + micros(self.length));
        (from <= now && now < until).then_some((from, until))
    }

    /// When it begins next.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.schedule {
            None => self.spec.from.filter(|from| now < *from),
            Some(schedule) => schedule.next_after(now),
        }
    }

    /// It is over and will never begin again.
    pub fn is_past(&self, now: Timestamp) -> bool {
        self.schedule.is_none()
            && self.spec.from.is_none_or(|from| self.length <= between(from, now))
    }
}

/// All windows, and which of them it is now.
#[derive(Clone, Debug, Default)]
pub struct Calendar {
    windows: Vec<Window>,
    /// By place, with the stretch.
    active: Vec<(usize, Span)>,
    /// Nothing changes between these two.
    looked_at: Timestamp,
    next: Timestamp,
}

impl Calendar {
    /// Goes by these windows.
    pub fn set(&mut self, windows: Vec<Window>) {
        self.windows = windows;
        (self.active, self.next) = (Vec::new(), Timestamp(0));
    }

    /// All of them.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Looks at the clock. True when other windows are open than before.
    pub fn look(&mut self, now: Timestamp) -> bool {
        if self.looked_at <= now && now < self.next {
            return false;
        }
        let active = |(at, it): (usize, &Window)| it.active(now).map(|span| (at, span));
        let active: Vec<_> = self.windows.iter().enumerate().filter_map(active).collect();
        let ends = active.iter().map(|(_, (_, until))| *until);
        let begins = self.windows.iter().filter_map(|it| it.next(now));
        self.next = ends.chain(begins).min().unwrap_or(Timestamp::MAX);
        self.looked_at = now;
        let has_changed = active != self.active;
        self.active = active;
        has_changed
    }

    /// The window that a check is in, and until when.
    pub fn over(&self, subject: &Subject) -> Option<(&Window, Span)> {
        let open = self.active.iter().map(|(at, span)| (&self.windows[*at], *span));
        open.filter(|(it, _)| it.covers(subject)).max_by_key(|(_, (_, until))| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn spec(schedule: &str, from: Option<&str>, hours: u64) -> WindowSpec {
        WindowSpec {
            name: "upgrade".to_owned(),
            node: Some("a-*".to_owned()),
            role: None,
            service: None,
            from: from.map(at),
            schedule: schedule.to_owned(),
            tz: String::new(),
            length_s: hours * 3_600,
            by: "kim".to_owned(),
            reason: "upgrade".to_owned(),
            id: None,
        }
    }

    #[test]
    fn a_recurring_window_follows_its_zone() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let window = Window::build(spec("0 3 * * sun", None, 2), zone).unwrap();
        for (now, want) in [
            ("2026-11-22T01:59:59Z", false),
            ("2026-11-22T02:00:00Z", true), // 03:00 CET.
            ("2026-11-22T03:59:59Z", true),
            ("2026-11-22T04:00:00Z", false),
            ("2026-07-19T01:00:00Z", true), // 03:00 CEST.
            ("2026-07-20T01:30:00Z", false),
        ] {
            assert_eq!(window.active(at(now)).is_some(), want, "{now}");
        }
        let span = window.active(at("2026-11-22T03:00:00Z")).unwrap();
        assert_eq!(span, (at("2026-11-22T02:00:00Z"), at("2026-11-22T04:00:00Z")));
        assert_eq!(window.next(at("2026-11-22T03:00:00Z")), Some(at("2026-11-29T02:00:00Z")));
        assert!(!window.is_past(at("2030-01-01T00:00:00Z")));
    }

    #[test]
    fn one_that_is_once_ends() {
        let once = spec("", Some("2026-11-22T10:00:00Z"), 1);
        let window = Window::build(once, TimeZone::UTC).unwrap();
        assert!(window.active(at("2026-11-22T09:59:59Z")).is_none());
        assert!(window.active(at("2026-11-22T10:59:59Z")).is_some());
        assert!(!window.is_past(at("2026-11-22T10:59:59Z")));
        assert!(window.is_past(at("2026-11-22T11:00:00Z")));
    }

    #[test]
    fn a_calendar_says_when_something_begins_or_ends() {
        let window = Window::build(spec("0 * * * *", None, 0), TimeZone::UTC);
        assert!(window.is_err(), "no length");
        let mut window = spec("0 * * * *", None, 1);
        window.length_s = 600;
        let mut calendar = Calendar::default();
        calendar.set(vec![Window::build(window, TimeZone::UTC).unwrap()]);
        let a1 = Subject { name: "a-1".into(), ..Subject::default() };
        let b1 = Subject { name: "b-1".into(), ..Subject::default() };
        let mut changes = Vec::new();
        for minute in 0..180_i64 {
            let now = Timestamp(at("2026-11-22T10:30:00Z").0 + minute * 60_000_000);
            if calendar.look(now) {
                changes.push((minute, calendar.over(&a1).is_some()));
            }
            assert!(calendar.over(&b1).is_none());
        }
        let want = [(30, true), (40, false), (90, true), (100, false), (150, true), (160, false)];
        assert_eq!(changes, want);
        // The clock is set back into a window.
        assert!(calendar.look(at("2026-11-22T11:05:00Z")));
        assert!(calendar.over(&a1).is_some());
    }

    #[test]
    fn what_is_no_window_is_refused() {
        let both = WindowSpec { from: Some(Timestamp(1)), ..spec("0 3 * * *", None, 1) };
        for bad in [both, spec("", None, 1), spec("no", None, 1), spec("@daily", None, 90 * 24 + 1)]
        {
            assert!(Window::build(bad.clone(), TimeZone::UTC).is_err(), "{bad:?}");
        }
    }
}
