//! Wall time as the journal knows it.

use std::fmt;

/// Microseconds since 1970-01-01T00:00:00Z. Made by the shell, carried as an argument; orders
/// nothing but display: order is a record's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The latest time that RFC 3339 can write (year 9999).
    pub const MAX: Timestamp = Timestamp(253_402_207_200_000_000 - 1);

    /// Whole milliseconds since 1970, at least 0: what a time-ordered id bears.
    pub fn millis(self) -> u64 {
        u64::try_from(self.0 / 1_000).unwrap_or(0)
    }

    /// Reads RFC 3339 with an offset or `Z`; finer than microseconds is cut off.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let at: jiff::Timestamp = text.parse().ok()?;
        let micros = at.as_microsecond();
        (0..=Timestamp::MAX.0).contains(&micros).then_some(Timestamp(micros))
    }
}

/// RFC 3339 in UTC with microseconds, as in `2026-11-22T11:00:00.000000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.clamp(0, Timestamp::MAX.0);
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil_from_days(days);
        // By hand: every transaction that is shown has one, and a width costs as much as a number.
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], of_day / 3_600);
        digits(&mut text[14..16], of_day / 60 % 60);
        digits(&mut text[17..19], of_day % 60);
        digits(&mut text[20..26], fraction);
        f.write_str(std::str::from_utf8(&text).expect("digits are ASCII"))
    }
}

/// Writes a number that is not negative and has no more digits than there is room.
fn digits(out: &mut [u8], number: i64) {
    let mut rest = number.unsigned_abs();
    for digit in out.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
    }
}

/// Days since 1970 to year, month, day in the proleptic Gregorian calendar (Howard Hinnant,
/// "chrono-compatible low-level date algorithms", `civil_from_days`), for days from 1970 on.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_reads() {
        for text in [
            "1970-01-01T00:00:00.000000Z",
            "2026-11-22T11:00:00.000001Z",
            "2024-02-29T23:59:59.999999Z",
            "9999-12-30T21:59:59.999999Z",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn agrees_with_the_library_on_every_day() {
        for day in 0..60_000 {
            let micros = day * 86_400_000_000 + 45_296_000_007;
            let theirs = jiff::Timestamp::from_microsecond(micros).unwrap();
            assert_eq!(Timestamp(micros).to_string(), format!("{theirs:.6}"), "day {day}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in ["", "yesterday", "2026-13-01T00:00:00Z", "1969-12-31T23:59:59Z"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
