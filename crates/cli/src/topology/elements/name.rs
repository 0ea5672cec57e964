//! Names of the tree, its services and its nodes.

use wire::limits::NAME_BYTES_MAX;

/// 1 to 32 of `a–z 0–9 -`.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len());
    let clean = text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
    if fits && clean {
        return Ok(text.to_owned());
    }
    Err(format!("a name of 1 to {NAME_BYTES_MAX} of a-z, 0-9 and -"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet() {
        for good in ["a", "a-1", "layer2-1", &"x".repeat(32)] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a_1", "a.b", "a/b", "é", &"x".repeat(33)] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
