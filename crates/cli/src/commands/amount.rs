//! Amounts as people write them, and as they read them.

use wire::Currency;

/// Reads minor units (`4500`), or with a point exactly the currency's digits (`45.00`).
pub(super) fn parse(text: &str, currency: Currency) -> Result<i64, String> {
    let digits = usize::from(currency.exponent());
    let minor = match text.split_once('.') {
        None => whole(text),
        Some((units, fraction)) if digits != 0 && fraction.len() == digits => {
            let is_written_out = !units.is_empty();
            if is_written_out { whole(&format!("{units}{fraction}")) } else { None }
        }
        Some(_) => None,
    };
    minor.ok_or_else(|| {
        let example = decimal(4_500_i64, currency);
        match digits {
            0 => format!("want a whole number of {currency}, as in 4500"),
            _ => format!(
                "want minor units, as in 4500, or exactly {digits} digits after a point, as in {example}"
            ),
        }
    })
}

/// Digits and nothing else: a sign, a space or an exponent is no amount.
fn whole(digits: &str) -> Option<i64> {
    let clean = digits.bytes().all(|it| it.is_ascii_digit());
    if clean { digits.parse().ok() } else { None }
}

/// `4500` EUR cents as `45.00`.
pub(super) fn decimal(minor: impl Into<i128>, currency: Currency) -> String {
    currency.decimal(minor.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::parse(code).unwrap()
    }

    #[test]
    fn amounts_are_minor_units_or_written_out() {
        for (text, code, minor) in [
            ("4500", "EUR", 4_500),
            ("45.00", "EUR", 4_500),
            ("0.01", "EUR", 1),
            ("45", "JPY", 45),
            ("1.500", "KWD", 1_500),
            ("9223372036854775807", "EUR", i64::MAX),
            ("92233720368547758.07", "EUR", i64::MAX),
        ] {
            assert_eq!(parse(text, currency(code)), Ok(minor), "{text} {code}");
        }
    }

    #[test]
    fn what_might_mean_two_things_is_refused() {
        for (text, code) in [
            ("45.0", "EUR"),
            ("45.000", "EUR"),
            (".50", "EUR"),
            ("45.", "EUR"),
            ("45.0", "JPY"),
            ("45,00", "EUR"),
            ("1.2.3", "EUR"),
            ("-1", "EUR"),
            ("+1", "EUR"),
            ("1e3", "EUR"),
            ("", "EUR"),
            ("9223372036854775808", "EUR"),
            ("٣", "EUR"),
        ] {
            assert!(parse(text, currency(code)).is_err(), "{text} {code}");
        }
        assert_eq!(
            parse("45.0", currency("EUR")).unwrap_err(),
            "want minor units, as in 4500, or exactly 2 digits after a point, as in 45.00"
        );
    }

    #[test]
    fn money_is_shown_in_units() {
        for (minor, code, text) in [
            (4_500_i64, "EUR", "45.00"),
            (-5, "EUR", "-0.05"),
            (0, "EUR", "0.00"),
            (7, "JPY", "7"),
            (1, "KWD", "0.001"),
            (i64::MIN, "EUR", "-92233720368547758.08"),
        ] {
            assert_eq!(decimal(minor, currency(code)), text);
        }
    }
}
