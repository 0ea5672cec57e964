//! Numbers as people read them.

/// A count with its thousands apart: `16,667`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place != 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (count, text) in [(0, "0"), (999, "999"), (16_667, "16,667"), (1_000_000, "1,000,000")]
        {
            assert_eq!(grouped(count), text);
        }
    }
}
