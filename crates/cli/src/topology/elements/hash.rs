//! What a balancer of policy `hash` goes by.

use proxy::config::HashBy;

/// Longest name of a header that is to decide.
const HEADER_BYTES_MAX: usize = 64;

/// `account`, or `header:` and the name of one.
pub(crate) fn parse(text: &str) -> Result<HashBy, String> {
    if text == "account" {
        return Ok(HashBy::Account);
    }
    let name = text.strip_prefix("header:").unwrap_or_default();
    let fits = (1..=HEADER_BYTES_MAX).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        return Ok(HashBy::Header(name.to_ascii_lowercase().into()));
    }
    Err("\"account\" or \"header:NAME\", as in \"header:x-user\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_or_a_header() {
        assert_eq!(parse("account"), Ok(HashBy::Account));
        assert_eq!(parse("header:X-User"), Ok(HashBy::Header("x-user".into())));
        for text in ["", "header:", "header:a b", "cookie", "header:\u{e9}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
