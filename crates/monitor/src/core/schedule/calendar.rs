//! Calendar events as systemd writes them after `OnCalendar=` (systemd.time(7), "Calendar
//! events"): `Mon..Fri *-*-* 08:30`, `*-*~01 23:00:00`, `*:0/15`, `weekly`, with a time zone at
//! the end if need be.

use jiff::{civil, tz::TimeZone};

/// Days, or years without a day, that are searched for the next turn.
const LOOKS_MAX: u32 = 9 * 366;
const YEAR_MIN: i16 = 1970;
const YEAR_MAX: i16 = 2200;
const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const NICKNAMES: [(&str, &str); 9] = [
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
];

/// A checked calendar event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Its own zone, where it names one.
    zone: Option<TimeZone>,
    /// Bit 0 is Monday.
    weekdays: u64,
    years: Vec<i16>,
    months: u64,
    days: u64,
    /// Days count from the end of the month.
    from_end: bool,
    hours: u64,
    minutes: u64,
    seconds: u64,
}

impl Event {
    /// Reads one line; `zone_of` knows time zones by name. `Err` says what was wanted.
    pub(super) fn parse(
        text: &str,
        zone_of: &dyn Fn(&str) -> Option<TimeZone>,
    ) -> Result<Event, String> {
        let lower = text.trim().to_ascii_lowercase();
        let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
        // A zone is the last word and has neither a colon nor a digit at its beginning.
        let is_name = |it: &str| it.starts_with(|it: char| it.is_ascii_alphabetic());
        let zone = match words.as_slice() {
            [_, .., last] if is_name(last) => {
                Some(zone_of(last).ok_or_else(|| format!("a time zone instead of {last:?}"))?)
            }
            _ => None,
        };
        if zone.is_some() {
            words.pop();
        }
        let nickname = NICKNAMES.iter().find(|(name, _)| words == [*name] || lower == *name);
        if let Some((_, text)) = nickname {
            words = text.split_ascii_whitespace().collect();
        }
        let weekdays = match words.first() {
            Some(first) if is_name(first) => weekdays(words.remove(0).trim_end_matches(','))?,
            Some(_) | None => 0x7f,
        };
        let joined = words.join(" ").replace('T', " ");
        let parts: Vec<&str> = joined.split(' ').filter(|it| !it.is_empty()).collect();
        let is_time = |it: &str| it.contains(':');
        let (date, time) = match parts[..] {
            [] => ("*-*-*", "00:00:00"),
            [time] if is_time(time) => ("*-*-*", time),
            [date] => (date, "00:00:00"),
            [date, time] if is_time(time) && !is_time(date) => (date, time),
            [..] => return Err("[weekdays] [date] [time] [zone]".to_owned()),
        };
        if parts.is_empty() && weekdays == 0x7f && text.trim().is_empty() {
            return Err("a calendar event, as in \"Mon..Fri 08:00\"".to_owned());
        }
        let event = Event::of(zone, weekdays, date, time)?;
        let never = "a date that exists and is to come";
        let start = jiff::Timestamp::UNIX_EPOCH;
        event.next_after(start, &TimeZone::UTC).map(|_| event.clone()).ok_or(never.to_owned())
    }

    fn of(zone: Option<TimeZone>, weekdays: u64, date: &str, time: &str) -> Result<Event, String> {
        let (rest, day, from_end) = match (date.rsplit_once('~'), date.rsplit_once('-')) {
            (Some((rest, day)), _) => (rest, day, true),
            (None, Some((rest, day))) => (rest, day, false),
            (None, None) => return Err(format!("a date instead of {date:?}")),
        };
        let (year, month) = rest.split_once('-').unwrap_or(("*", rest));
        let clock: Vec<&str> = time.split(':').collect();
        let (hour, minute, second) = match clock[..] {
            [hour, minute] => (hour, minute, "00"),
            [hour, minute, second] => (hour, minute, second),
            [..] => return Err(format!("HH:MM or HH:MM:SS instead of {time:?}")),
        };
        Ok(Event {
            zone,
            weekdays,
            years: years(year)?,
            months: bits(month, 1, 12, false)?,
            days: bits(day, 1, 31, from_end)?,
            from_end,
            hours: bits(hour, 0, 23, false)?,
            minutes: bits(minute, 0, 59, false)?,
            seconds: bits(second, 0, 59, false)?,
        })
    }

    /// The first turn after `last`, in its own zone or in `zone`. A turn that falls into the hour
    /// that a change of the clocks leaves out comes that much later; one in an hour that comes
    /// twice, the first time.
    pub(super) fn next_after(
        &self,
        last: jiff::Timestamp,
        zone: &TimeZone,
    ) -> Option<jiff::Timestamp> {
        let zone = self.zone.as_ref().unwrap_or(zone);
        let local = zone.to_datetime(last);
        let mut date = local.date();
        for _ in 0..LOOKS_MAX {
            if self.years.binary_search(&date.year()).is_err() {
                let next = self.years.iter().find(|it| date.year() < **it)?;
                date = civil::Date::new(*next, 1, 1).ok()?;
            }
            if self.has_day(date) {
                let found = self.times().find_map(|(hour, minute, second)| {
                    let turn = date.at(hour, minute, second, 0);
                    if date == local.date() && turn < local && local.hour() != hour {
                        return None;
                    }
                    zone.to_timestamp(turn).ok().filter(|turn| last < *turn)
                });
                if found.is_some() {
                    return found;
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn times(&self) -> impl Iterator<Item = (i8, i8, i8)> {
        let each = |bits: u64, most: i8| (0..most).filter(move |it| has(bits, *it));
        let (minutes, seconds) = (self.minutes, self.seconds);
        each(self.hours, 24).flat_map(move |hour| {
            each(minutes, 60)
                .flat_map(move |minute| each(seconds, 60).map(move |second| (hour, minute, second)))
        })
    }

    fn has_day(&self, date: civil::Date) -> bool {
        let day = if self.from_end { date.days_in_month() - date.day() + 1 } else { date.day() };
        has(self.weekdays, date.weekday().to_monday_zero_offset())
            && has(self.months, date.month())
            && has(self.days, day)
    }
}

fn has(bits: u64, at: i8) -> bool {
    bits >> at & 1 == 1
}

fn weekdays(text: &str) -> Result<u64, String> {
    let day = |it: &str| {
        let it = it.to_ascii_lowercase();
        let found = DAYS.iter().position(|day| *day == it || day[..3] == it);
        found.ok_or_else(|| format!("a weekday instead of {it:?}"))
    };
    let mut out = 0;
    for part in text.split(',') {
        // Older versions wrote a range with one hyphen.
        let range = part.split_once("..").or_else(|| part.split_once('-'));
        let (first, last) = range.unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        (0..=(last + 7 - first) % 7).for_each(|it| out |= 1 << ((first + it) % 7));
    }
    Ok(out)
}

/// Numbers of one part: `*`, `a`, `a..b`, each with `/step`, and lists of them. Counted from the
/// end of a month, a step leads towards it.
fn numbers(text: &str, min: u32, max: u32, from_end: bool) -> Result<Vec<u32>, String> {
    let wanted = || format!("{min} to {max} instead of {text:?}");
    let number = |it: &str| {
        let value = it.parse().ok().filter(|_| it.bytes().all(|it| it.is_ascii_digit()));
        value.filter(|it| (min..=max).contains(it)).ok_or_else(wanted)
    };
    let mut out = Vec::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step = step.parse::<usize>().ok().filter(|it| 0 < *it).ok_or_else(wanted)?;
                (range, Some(step))
            }
            None => (part, None),
        };
        let (first, last) = match range.split_once("..") {
            Some((first, last)) => (number(first)?, number(last)?),
            None if range == "*" => (min, max),
            None => {
                let first = number(range)?;
                match (step, from_end) {
                    (None, _) => (first, first),
                    (Some(_), false) => (first, max),
                    (Some(step), true) => {
                        out.extend((min..=first).rev().step_by(step));
                        continue;
                    }
                }
            }
        };
        if last < first {
            return Err(wanted());
        }
        out.extend((first..=last).step_by(step.unwrap_or(1)));
    }
    Ok(out)
}

fn bits(text: &str, min: u32, max: u32, from_end: bool) -> Result<u64, String> {
    Ok(numbers(text, min, max, from_end)?.into_iter().fold(0, |bits, it| bits | 1 << it))
}

fn years(text: &str) -> Result<Vec<i16>, String> {
    let bound = |it: i16| u32::try_from(it).expect("years of our time");
    let all = numbers(text, bound(YEAR_MIN), bound(YEAR_MAX), false)?;
    let mut all: Vec<i16> = all.into_iter().filter_map(|it| i16::try_from(it).ok()).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone_of(name: &str) -> Option<TimeZone> {
        match name {
            "UTC" => Some(TimeZone::UTC),
            // Central European rules, spelt out so that no database is needed.
            "Europe/Berlin" => TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").ok(),
            _ => None,
        }
    }

    /// The next turns as systemd-analyze calendar --iterations shows them.
    #[track_caller]
    fn check(text: &str, last: &str, want: &[&str]) {
        let event = Event::parse(text, &zone_of).unwrap();
        let mut at: jiff::Timestamp = last.parse().unwrap();
        for want in want {
            at = event.next_after(at, &TimeZone::UTC).unwrap();
            assert_eq!(at.to_string(), *want, "{text}");
        }
    }

    #[test]
    fn events_are_read_as_systemd_does() {
        let now = "2026-11-22T15:00:00Z"; // A Sunday.
        for (text, want) in [
            ("Mon..Fri 08:30", &["2026-11-23T08:30:00Z", "2026-11-24T08:30:00Z"][..]),
            ("Sat,Thu,Mon..Wed,Sat..Sun", &["2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"]),
            ("Mon,Sun 12-*-* 2,1:23", &[]),
            ("*:0/15", &["2026-11-22T15:15:00Z", "2026-11-22T15:30:00Z"]),
            ("*-*-* *:*:0/20", &["2026-11-22T15:00:20Z", "2026-11-22T15:00:40Z"]),
            ("*-*-01 04:00", &["2026-12-01T04:00:00Z", "2027-01-01T04:00:00Z"]),
            ("*-02~01", &["2027-02-28T00:00:00Z", "2028-02-29T00:00:00Z"]),
            ("Mon *-05~07/1", &["2027-05-31T00:00:00Z", "2028-05-29T00:00:00Z"]),
            ("2027-03-05 05:40", &["2027-03-05T05:40:00Z"]),
            ("2027-03-05T05:40", &["2027-03-05T05:40:00Z"]),
            ("12-24", &["2026-12-24T00:00:00Z", "2027-12-24T00:00:00Z"]),
            ("2028..2030/2-01-01", &["2028-01-01T00:00:00Z", "2030-01-01T00:00:00Z"]),
            ("weekly", &["2026-11-23T00:00:00Z"]),
            ("quarterly", &["2027-01-01T00:00:00Z", "2027-04-01T00:00:00Z"]),
            ("Sunday 16:00 Europe/Berlin", &["2026-11-29T15:00:00Z"]),
            ("daily Europe/Berlin", &["2026-11-22T23:00:00Z"]),
            ("*-*-* 02:30 Europe/Berlin", &["2026-11-23T01:30:00Z"]),
            ("Wed, 17:48", &["2026-11-25T17:48:00Z"]),
        ] {
            if want.is_empty() {
                assert!(Event::parse(text, &zone_of).is_err(), "{text}: no month 12-*");
                continue;
            }
            check(text, now, want);
        }
    }

    #[test]
    fn turns_follow_the_clocks() {
        let text = "*-*-* 02:30 Europe/Berlin";
        // 02:30 is left out: 03:30 CEST. And it comes twice: the first.
        check(text, "2026-03-28T12:00:00Z", &["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]);
        check(text, "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for bad in [
            "",
            "Noday",
            "08",
            "25:00",
            "08:60",
            "*-13-01",
            "*-02-30",
            "*-*-* 08:00 Mars/Olympus",
            "08:00 *-*-*",
            "5..1-01",
            "*/0:00",
            "1960-01-01",
            "* * * *",
            "+1-01",
        ] {
            assert!(Event::parse(bad, &zone_of).is_err(), "{bad}");
        }
    }
}
