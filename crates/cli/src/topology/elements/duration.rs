//! A length of time with its unit in the value, as in `"250ms"`.

use std::{ops::RangeInclusive, time::Duration};

const WANT: &str = "a length of time with its unit (ms, s, m, h, d), as in \"250ms\" or \"10s\"";
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Longer than 0.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits_count = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(digits_count);
    let count = digits.parse::<u64>().ok().filter(|count| *count != 0);
    let millis = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, millis)| millis);
    let length = count.zip(millis).and_then(|(count, millis)| count.checked_mul(*millis));
    length.map(Duration::from_millis).ok_or_else(|| WANT.to_owned())
}

/// One within these bounds, which `want` names.
pub(crate) fn parse_within(
    text: &str,
    range: RangeInclusive<Duration>,
    want: &str,
) -> Result<Duration, String> {
    parse(text).ok().filter(|it| range.contains(it)).ok_or_else(|| want.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_in_the_value() {
        for (text, millis) in [("250ms", 250), ("2s", 2_000), ("15m", 900_000), ("1d", 86_400_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "10", "ms", "1.5s", "-1s", "0s", "1 s", "1w", "99999999999999999999d", "é"]
        {
            assert_eq!(parse(bad), Err(WANT.to_owned()), "{bad}");
        }
        assert!(parse("18446744073709551615d").is_err());
    }
}
