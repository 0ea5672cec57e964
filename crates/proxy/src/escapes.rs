//! Percent-encoding (RFC 3986 §2.1), read by one rule wherever a path is looked at.

use std::borrow::Cow;

/// A path in which every unreserved character stands for itself: written as `%XX` it means the same
/// (RFC 3986 §6.2.2.2). Whoever decides by a path asks for this, at the edge as at the gateway, so
/// that no two hops read one differently; what is passed on stays as it came.
///
/// Other escapes stay, an encoded slash above all, so nothing is decoded twice. A path with a `%` that
/// begins no escape stays as it is.
pub(crate) fn unescaped(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        let Some(byte) = escaped(after.bytes()) else { return Cow::Borrowed(path) };
        let (digits, after) = after.split_at(2);
        plain.push_str(before);
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            plain.push(char::from(byte));
        } else {
            plain.push('%');
            plain.push_str(digits);
        }
        rest = after;
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Undoes percent-encoding; in a query (`plus`) a `+` is a space. `None` when an escape is not two
/// hexadecimal digits or the result is not UTF-8.
pub(crate) fn percent_decode(text: &str, plus: bool) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| byte == b'%' || (plus && byte == b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => escaped(bytes.by_ref())?,
            b'+' if plus => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// The byte that the two digits after a `%` mean.
fn escaped(mut digits: impl Iterator<Item = u8>) -> Option<u8> {
    Some(hex_digit(digits.next()?)? << 4 | hex_digit(digits.next()?)?)
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_unreserved_stands_for_itself() {
        for (path, plain) in [
            ("/v1/a/accounts", "/v1/a/accounts"),
            ("/%761/%61/b%61tch", "/v1/a/batch"),
            ("/%2D%2e%5F%7e%30%5a", "/-._~0Z"),
            // Not decoded, and so never decoded twice.
            ("/a%2Fb%2f%3f%23%00%C3%A9", "/a%2Fb%2f%3f%23%00%C3%A9"),
            ("/%2561", "/%2561"),
            ("/%25%36%31", "/%2561"),
            // An escape that would only come of decoding another, and what is none.
            ("/%%36%31", "/%%36%31"),
            ("/%6%31", "/%6%31"),
            ("/%61%", "/%61%"),
            ("/%61%4", "/%61%4"),
            ("/%61%é", "/%61%é"),
            ("/%+1%61", "/%+1%61"),
        ] {
            assert_eq!(unescaped(path), plain);
            assert_eq!(unescaped(plain), plain, "once is enough");
        }
    }
}
