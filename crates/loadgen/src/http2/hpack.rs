//! Heads of requests and answers (HPACK, RFC 7541), without a dynamic table on either side: our
//! settings forbid the peer one, and what we send asks for none.

use super::Flaw;
use wire::huffman;

/// Fields of requests that the static table has whole.
pub(crate) const METHOD_GET: u8 = 0x82;
pub(crate) const METHOD_POST: u8 = 0x83;
pub(crate) const SCHEME_HTTP: u8 = 0x86;
/// Said once, before everything else: our encoder's table has no room.
pub(super) const NO_TABLE: u8 = 0x20;

/// Last entry of the static table.
const STATIC_MAX: usize = 61;
/// Its first entry that is `:status`, and the values of that and of those after it.
const STATUS_FIRST: usize = 8;
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
/// The first entry that is no pseudo-header.
const REGULAR_FIRST: usize = 15;
const KEY: &[u8] = b"idempotency-key";
/// The same by Huffman's code, as most peers send it: compared as it is, it need not be decoded.
const KEY_CODED: [u8; 11] = [0x34, 0x85, 0xa6, 0xb3, 0xa4, 0xb5, 0x13, 0xd2, 0xdd, 0x4b, 0xeb];

/// Names of fields that requests have with values of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Authority,
    Path,
    Authorization,
    ContentLength,
    ContentType,
    IdempotencyKey,
}

/// Writes a field that nobody is to keep in a table; `value` writes what it says.
pub(crate) fn put_field(out: &mut Vec<u8>, name: Name, value: impl FnOnce(&mut Vec<u8>)) {
    match name {
        Name::Authority => out.push(1),
        Name::Path => out.push(4),
        // Nor may anybody further on: it is a secret.
        Name::Authorization => out.extend_from_slice(&[0x1f, 23 - 15]),
        Name::ContentLength => out.extend_from_slice(&[0x0f, 28 - 15]),
        Name::ContentType => out.extend_from_slice(&[0x0f, 31 - 15]),
        Name::IdempotencyKey => {
            out.push(0);
            put_text(out, |out| out.extend_from_slice(KEY));
        }
    }
    put_text(out, value);
}

/// A text with its length before it, which is one byte as long as it is below 127.
fn put_text(out: &mut Vec<u8>, text: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(0);
    text(out);
    let length = out.len() - start - 1;
    match u8::try_from(length) {
        Ok(short) if short < 0x7f => out[start] = short,
        Ok(_) | Err(_) => {
            out[start] = 0x7f;
            let (mut more, mut rest) = (Vec::new(), length - 0x7f);
            while 0x80 <= rest {
                more.push(u8::try_from(rest % 0x80).expect("below 128") | 0x80);
                rest /= 0x80;
            }
            more.push(u8::try_from(rest).expect("below 128"));
            out.splice(start + 1..start + 1, more);
        }
    }
}

/// What matters of the head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// None in trailers.
    pub(super) status: Option<u16>,
    pub(super) has_key: bool,
}

/// Reads a head. What it says is the idempotency key is written to `key`, which is reused.
pub(super) fn read(head: &[u8], key: &mut Vec<u8>) -> Result<Told, Flaw> {
    let mut told = Told { status: None, has_key: false };
    let (mut rest, mut may_resize, mut is_regular) = (head, true, false);
    while let Some(&first) = rest.first() {
        if first & 0xe0 == 0x20 {
            if !may_resize || integer(&mut rest, 0x1f)? != 0 {
                return Err("a table that was not allowed");
            }
            continue;
        }
        may_resize = false;
        let (name, has_value) = match first {
            0x80.. => (integer(&mut rest, 0x7f)?, false),
            // There is no table to keep it in.
            0x40..0x80 => (integer(&mut rest, 0x3f)?, true),
            0..0x40 => (integer(&mut rest, 0x0f)?, true),
        };
        if STATIC_MAX < name || (name == 0 && !has_value) {
            return Err("a field of no table");
        }
        let named = if name == 0 { Some(text(&mut rest)?) } else { None };
        let value = if has_value { Some(text(&mut rest)?) } else { None };
        let known = name.checked_sub(STATUS_FIRST).and_then(|at| STATUSES.get(at));
        if let Some(known) = known
            && !is_regular
            && told.status.is_none()
        {
            told.status = Some(value.map_or(Ok(*known), |value| status(value, key))?);
            continue;
        }
        is_regular = true;
        match named {
            None if name < REGULAR_FIRST => return Err("a field that no answer has"),
            Some(named) if named.is_key() => {
                key.clear();
                value.unwrap_or_default().write(key)?;
                told.has_key = true;
            }
            Some(_) | None => (),
        }
    }
    Ok(told)
}

/// A text as it came.
#[derive(Clone, Copy, Debug, Default)]
struct Text<'a> {
    is_coded: bool,
    bytes: &'a [u8],
}

impl Text<'_> {
    fn is_key(&self) -> bool {
        self.bytes == if self.is_coded { &KEY_CODED } else { KEY }
    }

    /// Appends what it says.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        if self.is_coded {
            return huffman::decode(self.bytes, out).map_err(|_| NO_TEXT);
        }
        out.extend_from_slice(self.bytes);
        Ok(())
    }
}

/// Three digits.
fn status(value: Text<'_>, room: &mut Vec<u8>) -> Result<u16, Flaw> {
    room.clear();
    value.write(room)?;
    let digits = <[u8; 3]>::try_from(room.as_slice()).ok();
    let digits = digits.filter(|it| it.iter().all(u8::is_ascii_digit));
    room.clear();
    let [a, b, c] = digits.ok_or("a status that is no number")?.map(|it| u16::from(it - b'0'));
    Ok(100 * a + 10 * b + c)
}

/// A number whose first byte has other bits above those of `mask` (RFC 7541 §5.1).
fn integer(rest: &mut &[u8], mask: u8) -> Result<usize, Flaw> {
    let mut next = || {
        let (first, more) = rest.split_first().ok_or(SHORT)?;
        *rest = more;
        Ok::<u8, Flaw>(*first)
    };
    let mut number = usize::from(next()? & mask);
    if number < usize::from(mask) {
        return Ok(number);
    }
    // Three bytes more say over two million, and no head is so long.
    for shift in [0, 7, 14] {
        let byte = next()?;
        number += usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err("a number too long for a head")
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<Text<'a>, Flaw> {
    let is_coded = rest.first().is_some_and(|it| 0x80 <= *it);
    let length = integer(rest, 0x7f)?;
    let (bytes, more) = rest.split_at_checked(length).ok_or(SHORT)?;
    *rest = more;
    Ok(Text { is_coded, bytes })
}

const NO_TEXT: Flaw = "what is no text by Huffman's code";
const SHORT: Flaw = "a head that ends too early";

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: Name, value: &str) -> Vec<u8> {
        let mut out = Vec::new();
        put_field(&mut out, name, |out| out.extend_from_slice(value.as_bytes()));
        out
    }

    #[test]
    fn fields_are_written_as_the_rfc_has_them() {
        // RFC 7541 C.2.2.
        assert_eq!(field(Name::Path, "/sample/path"), b"\x04\x0c/sample/path");
        assert_eq!(field(Name::Authority, "tree"), b"\x01\x04tree");
        assert_eq!(field(Name::Authorization, "x"), b"\x1f\x08\x01x");
        assert_eq!(field(Name::ContentLength, "30"), b"\x0f\x0d\x0230");
        assert_eq!(field(Name::ContentType, "a/b"), b"\x0f\x10\x03a/b");
        assert_eq!(field(Name::IdempotencyKey, "k"), b"\x00\x0fidempotency-key\x01k");
    }

    #[test]
    fn long_values_are_read_back() {
        for length in [0, 1, 126, 127, 128, 254, 255, 256, 5_000, 70_000] {
            let value = "x".repeat(length);
            let block = field(Name::IdempotencyKey, &value);
            let mut key = Vec::new();
            assert_eq!(read(&block, &mut key), Ok(Told { status: None, has_key: true }));
            assert_eq!(key, value.as_bytes(), "{length}");
        }
    }

    #[track_caller]
    fn check(block: &[u8], expected: Result<(Option<u16>, Option<&str>), Flaw>) {
        let mut key = b"of before".to_vec();
        let told = read(block, &mut key);
        let key = std::str::from_utf8(&key).unwrap();
        let found = told.map(|it| (it.status, it.has_key.then_some(key)));
        assert_eq!(found, expected, "{block:02x?}");
    }

    #[test]
    fn what_matters_of_a_head_is_read_and_the_rest_is_skipped() {
        check(&[0x88], Ok((Some(200), None)));
        check(&[0x8d], Ok((Some(404), None)));
        check(b"\x48\x82\x10\x03", Ok((Some(201), None))); // by Huffman's code, to be kept
        check(b"\x08\x03503", Ok((Some(503), None)));
        check(b"\x20\x20\x88", Ok((Some(200), None)));
        // content-type by its name, content-length by its number, a name of nobody's
        check(b"\x88\x0f\x10\x01x\x5c\x0230\x00\x01a\x01b", Ok((Some(200), None)));
        check(b"\x88\x10\x0fidempotency-key\x03abc", Ok((Some(200), Some("abc"))));
        let mut coded = vec![0x88, 0x40, 0x80 | 11];
        coded.extend_from_slice(&KEY_CODED);
        coded.extend_from_slice(b"\x82\x10\x03");
        check(&coded, Ok((Some(200), Some("201"))));
        check(b"\x00\x01a\x01b", Ok((None, None)));
    }

    #[test]
    fn the_name_by_huffmans_code_is_the_name() {
        let mut name = Vec::new();
        huffman::decode(&KEY_CODED, &mut name).unwrap();
        assert_eq!(name, KEY);
    }

    #[test]
    fn what_is_no_head_is_a_flaw() {
        check(&[0x80], Err("a field of no table"));
        check(&[0xbe], Err("a field of no table"));
        check(b"\x7f\x00\x01x", Err("a field of no table"));
        check(&[0x21], Err("a table that was not allowed"));
        check(&[0x88, 0x20], Err("a table that was not allowed"));
        check(&[0x82], Err("a field that no answer has"));
        check(&[0x88, 0x88], Err("a field that no answer has"));
        check(b"\x00\x01a\x01b\x88", Err("a field that no answer has"));
        check(b"\x08\x0220", Err("a status that is no number"));
        check(b"\x08\x03 20", Err("a status that is no number"));
        check(b"\x88\x00\x05a", Err("a head that ends too early"));
        check(b"\x88\x00", Err("a head that ends too early"));
        check(b"\x88\x00\x7f\xff\xff\xff\xff\x0f", Err("a number too long for a head"));
        check(b"\x48\x82\x10\xf3", Err("what is no text by Huffman's code"));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 7_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        for _ in 0..20_000 {
            let block: Vec<u8> = (0..random() % 24).map(|_| random()).collect();
            let told = read(&block, &mut Vec::new());
            assert!(told.is_err() || told.is_ok_and(|it| it.status < Some(1_000)));
        }
    }
}
