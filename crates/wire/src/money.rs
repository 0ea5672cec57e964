//! Amounts and currencies.

use std::{fmt, num::NonZeroU64, sync::LazyLock};

/// How much a debit or credit moves: minor units, 1 to 2^63−1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(NonZeroU64);

impl Amount {
    /// `None` outside 1 to 2^63−1.
    pub fn new(minor: i64) -> Option<Amount> {
        u64::try_from(minor).ok().and_then(NonZeroU64::new).map(Amount)
    }

    /// Minor units, at least 1.
    pub fn minor(self) -> i64 {
        i64::try_from(self.0.get()).expect("made from an i64")
    }
}

/// An ISO 4217 currency that money can be held in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Reads the three capital letters of a currency in the ISO 4217 table. Codes without a minor
    /// unit (gold, testing, "no currency") are no currency here: there is no way to count them.
    pub fn parse(code: &str) -> Option<Currency> {
        let letters: [u8; 3] = code.as_bytes().try_into().ok()?;
        let (word, bit) = place(letters)?;
        (KNOWN[word] >> bit & 1 == 1).then_some(Currency(letters))
    }

    /// The three letters, as in `EUR`.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three capital letters")
    }

    /// Digits after the decimal point: 2 for EUR, 0 for JPY, 3 for KWD.
    pub fn exponent(&self) -> u16 {
        iso_currency::Currency::from_code(self.code())
            .and_then(|currency| currency.exponent())
            .expect("checked when it was read")
    }

    /// Minor units as people write them: `4500` EUR cents as `45.00`.
    pub fn decimal(self, minor: i128) -> String {
        let digits = usize::from(self.exponent());
        let sign = if minor < 0 { "-" } else { "" };
        let text = format!("{:0>width$}", minor.unsigned_abs(), width = digits + 1);
        let (units, fraction) = text.split_at(text.len() - digits);
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{units}{point}{fraction}")
    }

    /// The letters as bytes, for the codec.
    pub fn letters(self) -> [u8; 3] {
        self.0
    }
}

/// Codes of three capital letters.
const CODES: usize = 26 * 26 * 26;

/// A bit for each code, by [`place`]: set where it is a currency with a minor unit. Every command
/// and every outcome names one at each hop, and the table is searched name by name.
static KNOWN: LazyLock<[u64; CODES.div_ceil(64)]> = LazyLock::new(|| {
    let mut known = [0; CODES.div_ceil(64)];
    // Each has a number of three digits: a thousand looks instead of one for every code.
    let all = (0..1_000).filter_map(iso_currency::Currency::from_numeric);
    for currency in all.filter(|it| it.exponent().is_some()) {
        let letters = currency.code().as_bytes().try_into().expect("a code has three letters");
        let (word, bit) = place(letters).expect("a code is of capital letters");
        known[word] |= 1 << bit;
    }
    known
});

/// Where a code's bit is: word and bit. `None` when it is not of capital letters.
fn place(letters: [u8; 3]) -> Option<(usize, usize)> {
    let index = letters.iter().try_fold(0, |index, letter| {
        letter.is_ascii_uppercase().then(|| index * 26 + usize::from(letter - b'A'))
    })?;
    Some((index / 64, index % 64))
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The other side of a posting: an account of the partition's own, one of each kind per currency,
/// whose balance may be beyond 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contra {
    pub currency: Currency,
    /// Money on its way to or from another account; otherwise from or to the outside.
    pub is_transit: bool,
}

impl Contra {
    /// Where debits go and credits come from.
    pub const fn external(currency: Currency) -> Contra {
        Contra { currency, is_transit: false }
    }

    /// Where transfers are on their way.
    pub const fn transit(currency: Currency) -> Contra {
        Contra { currency, is_transit: true }
    }

    /// Reads what a contra account is written as.
    pub fn parse(text: &str) -> Option<Contra> {
        match text.strip_suffix(TRANSIT) {
            Some(code) => Currency::parse(code).map(Contra::transit),
            None => Currency::parse(text).map(Contra::external),
        }
    }
}

const TRANSIT: &str = " transit";

/// `EUR`, or `EUR transit`.
impl fmt::Display for Contra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.currency.code())?;
        if self.is_transit { f.write_str(TRANSIT) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_positive() {
        assert_eq!(Amount::new(0), None);
        assert_eq!(Amount::new(-1), None);
        assert_eq!(Amount::new(i64::MAX).unwrap().minor(), i64::MAX);
    }

    #[test]
    fn contra_accounts_are_read_as_they_are_written() {
        let currency = Currency::parse("EUR").unwrap();
        for contra in [Contra::external(currency), Contra::transit(currency)] {
            assert_eq!(Contra::parse(&contra.to_string()), Some(contra));
        }
        assert_eq!(Contra::parse("EUR in transit"), None);
    }

    #[test]
    fn currencies_are_those_of_the_table() {
        for (code, exponent) in [("EUR", 2), ("JPY", 0), ("KWD", 3), ("USD", 2)] {
            assert_eq!(Currency::parse(code).unwrap().exponent(), exponent, "{code}");
        }
        for code in ["", "eur", "EU", "EURO", "ZZZ", "XAU", "XXX", "É€", "€"] {
            assert_eq!(Currency::parse(code), None, "{code}");
        }
        let letters = || 'A'..='Z';
        for (a, b) in letters().flat_map(|a| letters().map(move |b| (a, b))) {
            for code in letters().map(|c| format!("{a}{b}{c}")) {
                let listed = iso_currency::Currency::from_code(&code);
                let is_one = listed.is_some_and(|it| it.exponent().is_some());
                assert_eq!(Currency::parse(&code).is_some(), is_one, "{code}");
            }
        }
    }
}
