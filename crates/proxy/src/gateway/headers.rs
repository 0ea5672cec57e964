//! What a request's headers decide before its body is read: in which form the answer may come, in
//! which form the body came, and the idempotency key.

use super::mistake::{Mistake, clip};
use wire::{Code, Timestamp, command::KeyOrigin, frame::Headers, limits};

/// Refuses a request whose `Accept` leaves no room for what it asks for. An empty one says nothing.
pub(super) fn check_accept(headers: Headers<'_>, served: &str) -> Result<(), Mistake> {
    let says =
        |(name, value): &(&[u8], &[u8])| *name == b"accept" && !value.trim_ascii().is_empty();
    let mut given = headers.iter().filter(says).peekable();
    if given.peek().is_none() {
        return Ok(());
    }
    // The most specific range that covers it decides: (how specific, whether it is wanted).
    let ranges = given.flat_map(|(_, value)| value.split(|byte| *byte == b','));
    let decisive = ranges.filter_map(|range| media_range(range, served)).max();
    match decisive {
        Some((_, true)) => Ok(()),
        Some((_, false)) | None => {
            let detail = format!("Accept leaves out {served}, and nothing else is served");
            Err(Mistake::new(Code::NotAcceptable, detail))
        }
    }
}

/// How specific a range that covers `served` is, and whether its weight is above 0.
fn media_range(range: &[u8], served: &str) -> Option<(u8, bool)> {
    let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let media_type = parts.next()?;
    let group = served.split_once('/').map_or(served, |(group, _)| group).as_bytes();
    let in_group = media_type.strip_suffix(b"/*");
    let specific = match media_type {
        b"*/*" => 0,
        _ if in_group.is_some_and(|it| it.eq_ignore_ascii_case(group)) => 1,
        _ if media_type.eq_ignore_ascii_case(served.as_bytes()) => 2,
        _ => return None,
    };
    let zero = |part: &[u8]| match part.split_at_checked(2) {
        Some((name, weight)) if name.eq_ignore_ascii_case(b"q=") => {
            weight.first() == Some(&b'0') && weight[1..].iter().all(|byte| b".0".contains(byte))
        }
        _ => false,
    };
    Some((specific, !parts.any(zero)))
}

/// Refuses a body that says it is something else than JSON as it stands.
pub(super) fn check_content_type(headers: Headers<'_>) -> Result<(), Mistake> {
    for (name, value) in headers.iter() {
        let (is_wanted, name, wanted) = match name {
            b"content-type" => (is_json(value), "Content-Type", "application/json in UTF-8"),
            b"content-encoding" => {
                (value.eq_ignore_ascii_case(b"identity"), "Content-Encoding", "none")
            }
            _ => continue,
        };
        if !is_wanted {
            let given = clip(&String::from_utf8_lossy(value));
            let detail = format!("{name} is {given:?}; {wanted} is wanted");
            return Err(Mistake::new(Code::UnsupportedMediaType, detail));
        }
    }
    Ok(())
}

/// Whether a `Content-Type` means JSON in UTF-8.
fn is_json(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_json = parts.next().is_some_and(|it| it.eq_ignore_ascii_case(b"application/json"));
    is_json && parts.all(|it| charset(it).is_none_or(|it| it.eq_ignore_ascii_case(b"utf-8")))
}

/// The value of a parameter that names a charset.
fn charset(parameter: &[u8]) -> Option<&[u8]> {
    let (name, value) = parameter.split_at_checked("charset=".len())?;
    let bare = value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).unwrap_or(value);
    name.eq_ignore_ascii_case(b"charset=").then_some(bare)
}

/// Checks an idempotency key, and tells where it comes from. `minted_at` reads the milliseconds
/// out of a key of the form that we mint.
pub(super) fn key_origin(
    key: &[u8],
    minted: bool,
    minted_at: impl FnOnce(&[u8]) -> Option<u64>,
) -> Result<KeyOrigin, Mistake> {
    let max = limits::KEY_BYTES_MAX;
    let printable = key.iter().all(|byte| (b' '..=b'~').contains(byte));
    if !(1..=max).contains(&key.len()) || !printable {
        let detail = format!("1 to {max} printable ASCII characters are wanted");
        return Err(Mistake::in_field("Idempotency-Key", detail));
    }
    if minted {
        return Ok(KeyOrigin::Minted);
    }
    let returned = minted_at(key).and_then(|millis| i64::try_from(millis).ok()?.checked_mul(1_000));
    Ok(returned.map_or(KeyOrigin::Client, |micros| KeyOrigin::Returned(Timestamp(micros))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::frame::HeaderList;

    fn list(headers: &[(&str, &str)]) -> HeaderList {
        let mut list = HeaderList::new();
        for (name, value) in headers {
            list.push(name, value.as_bytes()).unwrap();
        }
        list
    }

    #[test]
    fn json_must_be_acceptable() {
        let check = |values: &[&str]| {
            let headers: Vec<_> = values.iter().map(|value| ("accept", *value)).collect();
            check_accept(list(&headers).as_ref(), "application/json").is_ok()
        };
        assert!(check(&[]));
        for good in [
            "",
            " ",
            "*/*",
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/*;q=0.1",
            "text/html, application/xhtml+xml;q=0.9, */*;q=0.8",
            "application/json;q=0.001",
            "*/*;q=0, application/json",
        ] {
            assert!(check(&[good]), "{good}");
        }
        assert!(check(&["text/html", "application/json"]));
        let csv = |value| check_accept(list(&[("accept", value)]).as_ref(), "text/csv").is_ok();
        assert!(csv("text/*") && csv("Text/CSV;header=present") && !csv("application/*"));
        for bad in [
            ",",
            "text/html",
            "application/xml, text/*",
            "application/problem+json",
            "application/json;q=0",
            "application/json;q=0.000, */*",
        ] {
            assert!(!check(&[bad]), "{bad}");
        }
    }

    #[test]
    fn a_body_is_json_or_unlabelled() {
        let check = |given: &[(&str, &str)]| check_content_type(list(given).as_ref());
        assert_eq!(check(&[]), Ok(()));
        for good in [
            "application/json",
            "application/json; charset=utf-8",
            "application/json;profile=x; Charset=\"UTF-8\"",
            "APPLICATION/JSON;",
        ] {
            assert_eq!(check(&[("content-type", good)]), Ok(()), "{good}");
        }
        assert_eq!(check(&[("content-encoding", "Identity")]), Ok(()));
        for bad in [
            &[("content-type", "")][..],
            &[("content-type", "text/plain")],
            &[("content-type", "application/x-www-form-urlencoded")],
            &[("content-type", "application/jsonp")],
            &[("content-type", "application/json; charset=iso-8859-1")],
            &[("content-type", "application/json"), ("content-type", "text/plain")],
            &[("content-type", "application/json"), ("content-encoding", "gzip")],
        ] {
            assert_eq!(check(bad).unwrap_err().code, Code::UnsupportedMediaType, "{bad:?}");
        }
    }

    #[test]
    fn keys_tell_where_they_come_from() {
        let origin = |key: &[u8], minted| key_origin(key, minted, |_| None);
        assert_eq!(origin(b"k", true), Ok(KeyOrigin::Minted));
        assert_eq!(origin(b"order 17~", false), Ok(KeyOrigin::Client));
        assert_eq!(origin(&[b'x'; 255], false), Ok(KeyOrigin::Client));
        let returned = key_origin(b"tgk", false, |_| Some(7));
        assert_eq!(returned, Ok(KeyOrigin::Returned(Timestamp(7_000))));
        assert_eq!(key_origin(b"tgk", false, |_| Some(u64::MAX)), Ok(KeyOrigin::Client));
        for bad in [&b""[..], &[b'x'; 256], b"a\tb", "é".as_bytes(), b"\x7f"] {
            let mistake = origin(bad, false).unwrap_err();
            assert_eq!(mistake.field.as_deref(), Some("Idempotency-Key"));
        }
    }
}
