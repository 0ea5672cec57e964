//! Heads of answers, in HPACK (RFC 7541).
//!
//! What comes again is put into a small table and is a byte from then on; texts are written as they
//! are: Huffman's code would spare a client a quarter of them and cost us more than it is worth.

use super::field::{OVERHEAD_BYTES, STATIC_ENTRIES, STATUS, STATUSES, static_index};
use http::{HeaderName, HeaderValue, StatusCode, header};
use std::collections::VecDeque;

/// Room of the table. Some fifteen fields come again, and what is looked through for each field
/// should not be more.
const TABLE_BYTES_MAX: usize = 1_024;

/// Writes the heads of one connection's answers.
#[derive(Debug)]
pub(super) struct Encoder {
    /// The table, the latest first. `None` is a header `:status`.
    table: VecDeque<(Option<HeaderName>, HeaderValue)>,
    table_bytes: usize,
    table_bytes_max: usize,
    /// The smallest and the last size that the client was not told of yet.
    untold: Option<(usize, usize)>,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        let size = TABLE_BYTES_MAX;
        Encoder {
            table: VecDeque::new(),
            table_bytes: 0,
            table_bytes_max: size,
            untold: Some((size, size)),
        }
    }

    /// Keeps to a client's limit for the table.
    pub(super) fn limit(&mut self, bytes_max: u32) {
        let size = TABLE_BYTES_MAX.min(usize::try_from(bytes_max).unwrap_or(usize::MAX));
        self.table_bytes_max = size;
        let least = self.untold.map_or(size, |(least, _)| least.min(size));
        self.untold = Some((least, size));
        self.make_room(0);
    }

    /// Begins a block.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        let Some((least, last)) = self.untold.take() else { return };
        put_integer(out, 0x20, 0x1f, least);
        if least != last {
            put_integer(out, 0x20, 0x1f, last);
        }
    }

    pub(super) fn status(&mut self, out: &mut Vec<u8>, status: StatusCode) {
        if let Some(known) = (STATUS..).zip(STATUSES).find(|(_, it)| *it == status.as_u16()) {
            return out.push(0x80 | known.0);
        }
        let value = HeaderValue::from_str(status.as_str()).expect("three digits");
        self.indexed(out, None, &value);
    }

    /// Writes a header of an answer.
    pub(super) fn header(&mut self, out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
        if value.is_sensitive() {
            put_literal(out, (0x10, 0x0f), static_index(name), name.as_str(), value.as_bytes());
        } else if is_of_one_answer(name) {
            self.once(out, name, value.as_bytes());
        } else {
            self.indexed(out, Some(name), value);
        }
    }

    /// Writes a header that does not come again.
    pub(super) fn once(&self, out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
        put_literal(out, (0x00, 0x0f), static_index(name), name.as_str(), value);
    }

    /// Writes a field from the table, and puts it there if it is new.
    fn indexed(&mut self, out: &mut Vec<u8>, name: Option<&HeaderName>, value: &HeaderValue) {
        let is_it =
            |(of, said): &(Option<HeaderName>, HeaderValue)| of.as_ref() == name && said == value;
        if let Some(at) = self.table.iter().position(is_it) {
            return put_integer(out, 0x80, 0x7f, STATIC_ENTRIES + 1 + at);
        }
        let known = name.map_or(Some(STATUS), static_index);
        let name_text = name.map_or(":status", HeaderName::as_str);
        let bytes = name_text.len() + value.len() + OVERHEAD_BYTES;
        put_literal(out, (0x40, 0x3f), known, name_text, value.as_bytes());
        self.make_room(bytes);
        if bytes <= self.table_bytes_max {
            self.table_bytes += bytes;
            self.table.push_front((name.cloned(), value.clone()));
        }
    }

    fn make_room(&mut self, bytes: usize) {
        while self.table_bytes_max < self.table_bytes + bytes
            && let Some((name, value)) = self.table.pop_back()
        {
            let name = name.as_ref().map_or(":status", HeaderName::as_str);
            self.table_bytes -= name.len() + value.len() + OVERHEAD_BYTES;
        }
    }
}

/// Whether a header says something else in each answer.
fn is_of_one_answer(name: &HeaderName) -> bool {
    *name == header::CONTENT_LENGTH
        || *name == header::LOCATION
        || *name == header::ETAG
        || *name == header::LAST_MODIFIED
        || *name == header::SET_COOKIE
}

fn put_literal(
    out: &mut Vec<u8>,
    (marks, mask): (u8, u8),
    known: Option<u8>,
    name: &str,
    value: &[u8],
) {
    put_integer(out, marks, mask, known.map_or(0, usize::from));
    if known.is_none() {
        put_text(out, name.as_bytes());
    }
    put_text(out, value);
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_integer(out, 0, 0x7f, text.len());
    out.extend_from_slice(text);
}

/// RFC 7541 §5.1.
fn put_integer(out: &mut Vec<u8>, marks: u8, mask: u8, number: usize) {
    if let Some(small) = u8::try_from(number).ok().filter(|it| *it < mask) {
        return out.push(marks | small);
    }
    out.push(marks | mask);
    let mut rest = number - usize::from(mask);
    while 0x80 <= rest {
        out.push(0x80 | u8::try_from(rest % 0x80).expect("below 128"));
        rest /= 0x80;
    }
    out.push(u8::try_from(rest).expect("below 128"));
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            decoder::Decoder,
            field::{Name, Value},
        },
        *,
    };

    /// What a client makes of a block, `:status` aside.
    fn read(client: &mut Decoder, block: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let note = |field: super::super::field::Field| {
            if let (Name::Header(name), Value::Header(value)) = (field.name, field.value) {
                fields.push((name.to_string(), value.to_str().unwrap().to_owned()));
            }
        };
        client.read(block, note).unwrap();
        fields
    }

    fn name(text: &str) -> HeaderName {
        text.parse().unwrap()
    }

    #[test]
    fn what_comes_again_is_a_byte() {
        let mut encoder = Encoder::new();
        let mut block = |status: u16, headers: &[(&str, &str)]| {
            let mut out = Vec::new();
            encoder.begin(&mut out);
            encoder.status(&mut out, StatusCode::from_u16(status).unwrap());
            for (of, value) in headers {
                encoder.header(&mut out, &name(of), &HeaderValue::from_str(value).unwrap());
            }
            out
        };
        let same = [("content-type", "text/plain"), ("x-y", "z"), ("content-length", "7")];
        let mut client = Decoder::new();
        let first = block(201, &same);
        assert!(first.starts_with(&[0x3f, 0xe1, 0x07])); // a table of 1,024
        let second = block(201, &same);
        assert_eq!(second, [&[0xc0, 0xbf, 0xbe, 0x0f, 0x0d], &b"\x017"[..]].concat());
        for out in [first, second, block(404, &same), block(200, &same[1..])] {
            let fields = read(&mut client, &out);
            let from = same.len() - fields.len();
            let found: Vec<_> = fields.iter().map(|(of, it)| (of.as_str(), it.as_str())).collect();
            assert_eq!(found, same[from..]);
        }
    }

    #[test]
    fn secrets_are_never_kept() {
        let mut encoder = Encoder::new();
        let mut value = HeaderValue::from_static("s");
        value.set_sensitive(true);
        for _ in 0..2 {
            let mut out = Vec::new();
            encoder.header(&mut out, &name("x-y"), &value);
            assert_eq!(out, b"\x10\x03x-y\x01s");
        }
        let mut out = Vec::new();
        encoder.header(&mut out, &header::SET_COOKIE, &value);
        assert_eq!(out, b"\x1f\x28\x01s");
    }

    /// However many fields go by and whatever limits the client sets, both sides have one table.
    #[test]
    fn the_client_follows_for_ever() {
        let (mut encoder, mut client, mut state) = (Encoder::new(), Decoder::new(), 1_u32);
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        for _ in 0..5_000 {
            if random(20) == 0 {
                encoder.limit([0, 40, 200, 600, 4_096][usize::try_from(random(5)).unwrap()]);
            }
            let (mut out, mut said) = (Vec::new(), Vec::new());
            encoder.begin(&mut out);
            encoder.status(
                &mut out,
                StatusCode::from_u16(200 + u16::try_from(random(9)).unwrap()).unwrap(),
            );
            for _ in 0..random(6) {
                let of = ["date", "x-a", "x-b", "content-type", "location"]
                    [usize::try_from(random(5)).unwrap()];
                let value = "v".repeat(usize::try_from(random(40) * random(40)).unwrap());
                encoder.header(&mut out, &name(of), &HeaderValue::from_str(&value).unwrap());
                said.push((of.to_owned(), value));
            }
            assert_eq!(read(&mut client, &out), said);
        }
    }
}
