//! Hours of the week in a time zone: when somebody is to be told.

use jiff::tz::TimeZone;
use wire::Timestamp;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_MAX: u16 = 24 * 60;

/// Days of the week, each from one minute to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// As they were written.
    pub text: String,
    zone: TimeZone,
    /// Bit 0 is Monday.
    days: u8,
    from: u16,
    /// Not after `from`: on the next day.
    until: u16,
}

impl Hours {
    /// Reads `Mon-Fri 08:00-18:00`, `Sat,Sun`, or `22:00-06:00`; hours that end on the next day
    /// belong to the day on which they begin. `Err` says what was wanted.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Hours, String> {
        let want = || "days and hours, as in \"Mon-Fri 08:00-18:00\"".to_owned();
        let mut parts = text.split_ascii_whitespace();
        let (first, second) = (parts.next().ok_or_else(want)?, parts.next());
        if parts.next().is_some() {
            return Err(want());
        }
        let (day_text, hour_text) = match (first.contains(':'), second) {
            (true, None) => (None, Some(first)),
            (true, Some(_)) => return Err(want()),
            (false, hours) => (Some(first), hours),
        };
        let days = day_text.map_or(Some(0x7f), days).ok_or_else(want)?;
        let (from, until) = match hour_text {
            None => (0, MINUTES_MAX),
            Some(hours) => {
                let (from, until) = hours.split_once('-').ok_or_else(want)?;
                let from = minutes(from).filter(|it| *it < MINUTES_MAX).ok_or_else(want)?;
                (from, minutes(until).filter(|it| *it != from).ok_or_else(want)?)
            }
        };
        Ok(Hours { text: text.to_owned(), zone, days, from, until })
    }

    /// Whether `at` is within them.
    pub fn cover(&self, at: Timestamp) -> bool {
        let Ok(at) = jiff::Timestamp::from_microsecond(at.0) else { return false };
        let local = self.zone.to_datetime(at);
        let minute = |it: i8| u16::try_from(it).unwrap_or(0);
        let now = minute(local.hour()) * 60 + minute(local.minute());
        let today = local.date().weekday().to_monday_zero_offset();
        let has = |day: i8| self.days >> day.rem_euclid(7) & 1 == 1;
        if self.from < self.until {
            return has(today) && self.from <= now && now < self.until;
        }
        (has(today) && self.from <= now) || (has(today - 1) && now < self.until)
    }
}

fn days(text: &str) -> Option<u8> {
    let day = |it: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(it));
    let mut out = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let length = (last + 7 - first) % 7;
        (0..=length).for_each(|it| out |= 1 << ((first + it) % 7));
    }
    Some(out)
}

/// `HH:MM`, up to 24:00.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |it: &str| {
        let is_two = it.len() == 2 && it.bytes().all(|it| it.is_ascii_digit());
        is_two.then(|| it.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let at = hour * 60 + minute;
    (minute < 60 && at <= MINUTES_MAX).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, zone: TimeZone, at: &str, want: bool) {
        let hours = Hours::parse(text, zone).unwrap();
        assert_eq!(hours.cover(Timestamp::parse(at).unwrap()), want, "{text} at {at}");
    }

    #[test]
    fn hours_are_of_their_day_and_zone() {
        // 2026-11-22 is a Sunday.
        for (text, at, want) in [
            ("Mon-Fri 08:00-18:00", "2026-11-23T08:00:00Z", true),
            ("Mon-Fri 08:00-18:00", "2026-11-23T07:59:59Z", false),
            ("mon-fri 08:00-18:00", "2026-11-23T18:00:00Z", false),
            ("Mon-Fri 08:00-18:00", "2026-11-22T12:00:00Z", false),
            ("Sat,Sun", "2026-11-22T23:59:59Z", true),
            ("Sat,Sun", "2026-11-23T00:00:00Z", false),
            ("Fri-Mon", "2026-11-23T12:00:00Z", true),
            ("Fri-Mon", "2026-11-24T12:00:00Z", false),
            ("22:00-06:00", "2026-11-22T05:59:00Z", true),
            ("22:00-06:00", "2026-11-22T06:00:00Z", false),
            // The night of Sunday ends on Monday, and that of Saturday on Sunday.
            ("Sun 22:00-06:00", "2026-11-23T03:00:00Z", true),
            ("Sun 22:00-06:00", "2026-11-22T03:00:00Z", false),
            ("Sun 22:00-24:00", "2026-11-22T23:59:00Z", true),
        ] {
            check(text, TimeZone::UTC, at, want);
        }
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        check("08:00-09:00", berlin.clone(), "2026-11-23T07:30:00Z", true);
        check("08:00-09:00", berlin, "2026-07-23T06:30:00Z", true);
    }

    #[test]
    fn what_is_no_hours_is_refused() {
        for bad in
            ["", "Mon-", "Mon 8-9", "Mon 08:00", "Mon 25:00-26:00", "Noday", "08:00-08:00", "a b c"]
        {
            assert!(Hours::parse(bad, TimeZone::UTC).is_err(), "{bad}");
        }
    }
}
