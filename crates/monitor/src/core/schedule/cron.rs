//! Cron expressions: the five fields of crontab(5).

use jiff::{civil, tz::TimeZone};

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
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Crontab's rule: if day and weekday are both restricted, either of them will do.
    is_either_day: bool,
}

impl Cron {
    /// Reads five fields, or a nickname such as `@daily`. `Err` says what was wanted.
    pub(super) fn parse(text: &str) -> Result<Cron, String> {
        let expanded = NICKNAMES.iter().find(|(name, _)| *name == text.trim());
        let fields: Vec<&str> =
            expanded.map_or(text, |(_, fields)| fields).split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err("five fields: minute hour day month weekday".to_owned());
        };
        let mut cron = Cron {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: field(weekdays, 0, 7, &DAYS)?,
            is_either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        if cron.weekdays & 1 << 7 != 0 {
            cron.weekdays |= 1; // 7 is Sunday, too.
        }
        match cron.next_after(jiff::Timestamp::UNIX_EPOCH, &TimeZone::UTC) {
            Some(_) => Ok(cron),
            None => Err("a date that exists".to_owned()),
        }
    }

    /// The first turn after `last`. A turn that falls into the hour that a change of the clocks
    /// leaves out comes that much later; one in an hour that comes twice, the first time.
    pub(super) fn next_after(
        &self,
        last: jiff::Timestamp,
        zone: &TimeZone,
    ) -> Option<jiff::Timestamp> {
        let local = zone.to_datetime(last);
        let mut date = local.date();
        for _ in 0..DAYS_MAX {
            if self.has_day(date) {
                for hour in (0..24_i8).filter(|it| has(self.hours, *it)) {
                    for minute in (0..60_i8).filter(|it| has(self.minutes, *it)) {
                        let turn = date.at(hour, minute, 0, 0);
                        if date == local.date() && turn < local && local.hour() != hour {
                            continue;
                        }
                        let turn = zone.to_timestamp(turn).ok()?;
                        if last < turn {
                            return Some(turn);
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
