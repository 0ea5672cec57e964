//! Schedules with a time zone: a cron expression of five fields, or calendar events as systemd
//! writes them, one a line.

mod calendar;
mod cron;

use calendar::Event;
use cron::Cron;
use jiff::tz::TimeZone;
use wire::Timestamp;

/// Calendar events of one schedule.
const EVENTS_MAX: usize = 16;

/// A checked schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// As it was written.
    pub text: String,
    zone: TimeZone,
    turns: Turns,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Turns {
    Cron(Cron),
    /// Whichever comes first.
    Events(Vec<Event>),
}

impl Schedule {
    /// Reads five fields of cron, or a nickname such as `@daily`; anything else as calendar events
    /// of systemd, one a line. `Err` says what was wanted.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Schedule, String> {
        Schedule::parse_with(text, zone, |name| (name == "UTC").then_some(TimeZone::UTC))
    }

    /// As [`Schedule::parse`], and calendar events may name time zones that `zone_of` knows.
    pub fn parse_with(
        text: &str,
        zone: TimeZone,
        zone_of: impl Fn(&str) -> Option<TimeZone>,
    ) -> Result<Schedule, String> {
        let text = text.trim();
        let is_cron = text.starts_with('@')
            || !text.contains('\n') && text.split_ascii_whitespace().count() == 5;
        let turns = if is_cron {
            Turns::Cron(Cron::parse(text)?)
        } else {
            let lines: Vec<&str> = text.lines().filter(|it| !it.trim().is_empty()).collect();
            if lines.is_empty() || EVENTS_MAX < lines.len() {
                let want = "minute hour day month weekday, or 1 to 16 lines of calendar events";
                return Err(want.to_owned());
            }
            let events = lines.iter().map(|it| Event::parse(it, &zone_of));
            Turns::Events(events.collect::<Result<_, String>>()?)
        };
        Ok(Schedule { text: text.to_owned(), zone, turns })
    }

    /// The zone's IANA name, where it has one.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The first turn after `last`. A turn that falls into the hour that a change of the clocks
    /// leaves out comes that much later; one in an hour that comes twice, the first time.
    pub fn next_after(&self, last: Timestamp) -> Option<Timestamp> {
        let last = jiff::Timestamp::from_microsecond(last.0).ok()?;
        let next = match &self.turns {
            Turns::Cron(it) => it.next_after(last, &self.zone),
            Turns::Events(all) => all.iter().filter_map(|it| it.next_after(last, &self.zone)).min(),
        };
        next.map(|it| Timestamp(it.as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, zone: TimeZone, last: &str) -> String {
        let schedule = Schedule::parse(text, zone).unwrap();
        schedule.next_after(Timestamp::parse(last).unwrap()).unwrap().to_string()[..16].to_owned()
    }

    #[test]
    fn the_next_turn_is_the_first_one_after() {
        for (text, last, want) in [
            ("* * * * *", "2026-11-22T15:00:00Z", "2026-11-22T15:01"),
            ("*/15 * * * *", "2026-11-22T15:50:01Z", "2026-11-22T16:00"),
            ("0 3 * * *", "2026-11-22T03:00:00Z", "2026-11-23T03:00"),
            ("0 3 * * *", "2026-11-22T02:59:59Z", "2026-11-22T03:00"),
            ("30 4 1,15 * 5", "2026-11-22T15:00:00Z", "2026-11-27T04:30"),
            ("0 0 29 2 *", "2026-11-22T15:00:00Z", "2028-02-29T00:00"),
            ("5-10/5 0-6/6 * jan-mar mon", "2026-11-22T15:00:00Z", "2027-01-04T00:05"),
            ("0 12 * * 7", "2026-11-22T15:00:00Z", "2026-11-29T12:00"),
            ("@monthly", "2026-11-22T15:00:00Z", "2026-12-01T00:00"),
        ] {
            assert_eq!(next(text, TimeZone::UTC, last), want, "{text}");
        }
    }

    #[test]
    fn turns_follow_the_clocks_of_their_zone() {
        // Central European rules, spelt out so that no database is needed.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (last, want) in [
            ("2026-03-28T12:00:00Z", "2026-03-29T01:30"), // 02:30 is left out: 03:30 CEST.
            ("2026-03-29T02:00:00Z", "2026-03-30T00:30"),
            ("2026-10-24T12:00:00Z", "2026-10-25T00:30"), // 02:30 comes twice: the first.
            ("2026-10-25T00:30:00Z", "2026-10-26T01:30"),
        ] {
            assert_eq!(next("30 2 * * *", zone.clone(), last), want, "{last}");
        }
    }

    #[test]
    fn lines_that_are_not_cron_are_calendar_events() {
        for (text, want) in [
            ("Mon..Fri 08:30", "2026-11-23T08:30"),
            ("Mon..Fri 08:30\n\nSun 18:00\n", "2026-11-22T18:00"),
            ("daily UTC", "2026-11-23T00:00"),
        ] {
            assert_eq!(next(text, TimeZone::UTC, "2026-11-22T15:00:00Z"), want, "{text}");
        }
        let zone = TimeZone::posix("CET-1").unwrap();
        assert_eq!(next("08:30", zone, "2026-11-22T15:00:00Z"), "2026-11-23T07:30");
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "0 0 30 2 *",
            "+1 * * * *",
        ] {
            assert!(Schedule::parse(bad, TimeZone::UTC).is_err(), "{bad}");
        }
    }
}
