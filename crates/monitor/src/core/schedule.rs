//! Cron schedules with a time zone: the five fields of crontab(5).

use jiff::{civil, tz::TimeZone};
use wire::Timestamp;

/// Days that are searched for the next turn: a leap day in a century without one.
const DAYS_MAX: u32 = 9 * 366;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Names for whole schedules.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A checked cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// As it was written.
    pub text: String,
    zone: TimeZone,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Crontab's rule: if day and weekday are both restricted, either of them will do.
    is_either_day: bool,
}

impl Schedule {
    /// Reads five fields, or a nickname such as `@daily`. `Err` says what was wanted.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Schedule, String> {
        let expanded = NICKNAMES.iter().find(|(name, _)| *name == text.trim());
        let fields: Vec<&str> =
            expanded.map_or(text, |(_, fields)| fields).split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err("five fields: minute hour day month weekday".to_owned());
        };
        let mut schedule = Schedule {
            text: text.trim().to_owned(),
            zone,
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: field(weekdays, 0, 7, &DAYS)?,
            is_either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        if schedule.weekdays & 1 << 7 != 0 {
            schedule.weekdays |= 1; // 7 is Sunday, too.
        }
        match schedule.next_after(Timestamp(0)) {
            Some(_) => Ok(schedule),
            None => Err("a date that exists".to_owned()),
        }
    }

    /// The zone's IANA name, where it has one.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The first turn after `last`. A turn that falls into the hour that a change of the clocks
    /// leaves out comes that much later; one in an hour that comes twice, the first time.
    pub fn next_after(&self, last: Timestamp) -> Option<Timestamp> {
        let last = jiff::Timestamp::from_microsecond(last.0).ok()?;
        let local = self.zone.to_datetime(last);
        let mut date = local.date();
        for _ in 0..DAYS_MAX {
            if self.has_day(date) {
                for hour in (0..24_i8).filter(|it| has(self.hours, *it)) {
                    for minute in (0..60_i8).filter(|it| has(self.minutes, *it)) {
                        let turn = date.at(hour, minute, 0, 0);
                        if date == local.date() && turn < local && local.hour() != hour {
                            continue;
                        }
                        let turn = self.zone.to_timestamp(turn).ok()?;
                        if last < turn {
                            return Some(Timestamp(turn.as_microsecond()));
                        }
                    }
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn has_day(&self, date: civil::Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month())
            && if self.is_either_day { day || weekday } else { day && weekday }
    }
}

fn has(bits: u64, at: i8) -> bool {
    bits >> at & 1 == 1
}

/// One field as bits: `*`, `a`, `a-b`, each with `/step`, and lists of them.
fn field(text: &str, min: u32, max: u32, names: &[&str]) -> Result<u64, String> {
    let wanted = || format!("{min} to {max} instead of {text:?}");
    let number = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let named = names.iter().position(|it| *it == lower).and_then(|at| u32::try_from(at).ok());
        let value = match named {
            // Months count from 1, weekdays from 0.
            Some(at) => at + if names.len() == MONTHS.len() { 1 } else { 0 },
            None => text.parse().ok().filter(|_| text.bytes().all(|it| it.is_ascii_digit()))?,
        };
        (min..=max).contains(&value).then_some(value)
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                (range, step.parse().ok().filter(|it| (1..=max).contains(it)).ok_or_else(wanted)?)
            }
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (min, if max == 7 { 6 } else { max }),
            Some((first, last)) => {
                (number(first).ok_or_else(wanted)?, { number(last).ok_or_else(wanted)? })
            }
            None => {
                let first = number(range).ok_or_else(wanted)?;
                (first, if part.contains('/') { max } else { first })
            }
        };
        if last < first {
            return Err(wanted());
        }
        let step = usize::try_from(step).expect("a u32 is a usize here");
        (first..=last).step_by(step).for_each(|at| bits |= 1 << at);
    }
    Ok(bits)
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
