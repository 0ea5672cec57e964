//! Lengths and times as people say them.

use wire::Timestamp;

/// `0.6 s`, `12 s`, `3 min`, `2 h 5 min`, `4 d 3 h`.
pub(super) fn length(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0..10 => format!("{seconds}.{} s", millis % 1_000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => two((seconds / 3_600, "h"), (seconds / 60 % 60, "min")),
        86_400.. => two((seconds / 86_400, "d"), (seconds / 3_600 % 24, "h")),
    }
}

fn two((count, unit): (u64, &str), (rest, smaller): (u64, &str)) -> String {
    if rest == 0 { format!("{count} {unit}") } else { format!("{count} {unit} {rest} {smaller}") }
}

/// From the earlier to the later, in milliseconds; `None` where one is no time.
pub(super) fn millis_between(earlier: &str, later: &str) -> Option<u64> {
    let (earlier, later) = (Timestamp::parse(earlier)?, Timestamp::parse(later)?);
    Some(u64::try_from(later.0.saturating_sub(earlier.0) / 1_000).unwrap_or(0))
}

/// A time for people, the exact one in the markup: with its day where that is not today's.
pub(super) fn time(at: &str, now: &str) -> String {
    if Timestamp::parse(at).is_none() {
        return "–".to_owned();
    }
    let (day, rest) = at.split_once('T').unwrap_or((at, ""));
    let clock = rest.get(..8).unwrap_or(rest);
    let day = if now.starts_with(day) { String::new() } else { format!("{day} ") };
    format!("<time datetime=\"{at}\">{day}{clock} UTC</time>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_one_or_two_units() {
        for (millis, text) in [
            (0, "0.0 s"),
            (640, "0.6 s"),
            (9_999, "9.9 s"),
            (12_900, "12 s"),
            (60_000, "1 min"),
            (7_500_000, "2 h 5 min"),
            (356_400_000, "4 d 3 h"),
            (86_400_000, "1 d"),
        ] {
            assert_eq!(length(millis), text);
        }
    }

    #[test]
    fn a_time_names_its_day_unless_that_is_today() {
        let now = "2026-11-22T17:19:36.000000Z";
        let at = "2026-11-22T09:05:01.250000Z";
        assert_eq!(time(at, now), format!("<time datetime=\"{at}\">09:05:01 UTC</time>"));
        assert!(time("2026-11-21T09:05:01.250000Z", now).contains(">2026-11-21 09:05:01 UTC<"));
        assert_eq!(time("<b>", now), "–");
        assert_eq!(millis_between(at, "2026-11-22T09:05:03.500000Z"), Some(2_250));
        assert_eq!(millis_between(now, at), Some(0));
    }
}
