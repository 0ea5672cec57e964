//! Heads that a client sends, out of HPACK (RFC 7541).

use super::field::{Field, Name, OVERHEAD_BYTES, STATIC_ENTRIES, of_static_table};
use std::collections::VecDeque;
use wire::huffman;

/// Room of the table that a client may fill, as every client takes it to be (RFC 9113 §6.5.2).
const TABLE_BYTES_MAX: usize = 4_096;
/// What is kept of the memory for texts: few are longer.
const SPARE_BYTES_MAX: usize = 1_024;

/// The block is none: whoever cannot read one cannot read any that come after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Follows a client's heads.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The dynamic table, the latest first.
    table: VecDeque<Field>,
    table_bytes: usize,
    table_bytes_max: usize,
    /// Texts that were in Huffman's code.
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    pub(super) fn new() -> Decoder {
        Decoder {
            table: VecDeque::new(),
            table_bytes: 0,
            table_bytes_max: TABLE_BYTES_MAX,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Reads a whole block and gives each of its fields to `take`.
    pub(super) fn read(
        &mut self,
        block: &[u8],
        mut take: impl FnMut(Field),
    ) -> Result<(), Unreadable> {
        let (mut rest, mut may_resize) = (block, true);
        while let Some(&first) = rest.first() {
            if first & 0xe0 == 0x20 {
                let bytes = integer(&mut rest, 0x1f)?;
                if !may_resize || TABLE_BYTES_MAX < bytes {
                    return Err(Unreadable);
                }
                self.table_bytes_max = bytes;
                self.make_room(0);
                continue;
            }
            may_resize = false;
            match first {
                0x80.. => take(self.entry(integer(&mut rest, 0x7f)?)?.clone()),
                0x40..0x80 => {
                    let field = self.literal(&mut rest, 0x3f)?;
                    self.keep(field.clone());
                    take(field);
                }
                0x10..0x40 => take(self.literal(&mut rest, 0x0f)?.never_indexed()),
                0x00..0x10 => take(self.literal(&mut rest, 0x0f)?),
            }
        }
        for text in [&mut self.name, &mut self.value] {
            text.clear();
            text.shrink_to(SPARE_BYTES_MAX);
        }
        Ok(())
    }

    fn entry(&self, index: usize) -> Result<&Field, Unreadable> {
        let dynamic = || self.table.get(index.checked_sub(STATIC_ENTRIES + 1)?);
        of_static_table(index).or_else(dynamic).ok_or(Unreadable)
    }

    fn literal(&mut self, rest: &mut &[u8], mask: u8) -> Result<Field, Unreadable> {
        let (name, name_bytes) = match integer(rest, mask)? {
            0 => {
                let name = text(rest, &mut self.name)?;
                (Name::of(name), name.len())
            }
            index => {
                let entry = self.entry(index)?;
                (entry.name.clone(), entry.name_bytes)
            }
        };
        Ok(Field::new(name, name_bytes, text(rest, &mut self.value)?))
    }

    /// Puts a field into the table, or empties that if there is no room for it (RFC 7541 §4.4).
    fn keep(&mut self, field: Field) {
        self.make_room(field.bytes);
        if field.bytes <= self.table_bytes_max {
            self.table_bytes += field.bytes;
            self.table.push_front(field);
        }
    }

    fn make_room(&mut self, bytes: usize) {
        while self.table_bytes_max < self.table_bytes + bytes
            && let Some(oldest) = self.table.pop_back()
        {
            self.table_bytes -= oldest.bytes;
        }
    }
}

const _: () = assert!(OVERHEAD_BYTES * 128 <= TABLE_BYTES_MAX, "so many entries at most");

/// A number whose first byte has other bits above those of `mask` (RFC 7541 §5.1).
fn integer(rest: &mut &[u8], mask: u8) -> Result<usize, Unreadable> {
    let mut next = || {
        let (first, more) = rest.split_first().ok_or(Unreadable)?;
        *rest = more;
        Ok::<u8, Unreadable>(*first)
    };
    let mut number = usize::from(next()? & mask);
    if number < usize::from(mask) {
        return Ok(number);
    }
    // Four bytes more say over two hundred million, and no block is so long.
    for shift in [0, 7, 14, 21] {
        let byte = next()?;
        number += usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Unreadable)
}

/// A text, which is in `room` if it was in Huffman's code.
fn text<'t, 'b: 't>(rest: &mut &'b [u8], room: &'t mut Vec<u8>) -> Result<&'t [u8], Unreadable> {
    let is_coded = rest.first().is_some_and(|it| 0x80 <= *it);
    let length = integer(rest, 0x7f)?;
    let (bytes, more) = rest.split_at_checked(length).ok_or(Unreadable)?;
    *rest = more;
    if !is_coded {
        return Ok(bytes);
    }
    room.clear();
    huffman::decode(bytes, room).map_err(|_| Unreadable)?;
    Ok(room)
}

#[cfg(test)]
mod tests {
    use super::{super::field::Value, *};

    /// The fields of a block, as text.
    fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Unreadable> {
        let mut fields = Vec::new();
        decoder.read(block, |field| {
            let name = match &field.name {
                Name::Header(name) => name.to_string(),
                Name::Method => "method".to_owned(),
                Name::Scheme => "scheme".to_owned(),
                Name::Authority => "authority".to_owned(),
                Name::Path => "path".to_owned(),
                Name::Flawed => "flawed".to_owned(),
            };
            let value = match &field.value {
                Value::Method(it) => it.to_string(),
                Value::Scheme(it) => it.to_string(),
                Value::Authority(it) => it.to_string(),
                Value::Path(it) => it.to_string(),
                Value::Header(it) => String::from_utf8_lossy(it.as_bytes()).into_owned(),
                Value::Flawed => "flawed".to_owned(),
            };
            fields.push(format!("{name}: {value}"));
        })?;
        Ok(fields)
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|it| !it.is_ascii_whitespace()).collect();
        let pair = |it: &[u8]| u8::from_str_radix(std::str::from_utf8(it).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    /// RFC 7541 C.3 and C.4: three requests, without and with Huffman's code.
    #[test]
    fn the_requests_of_the_rfc_are_read() {
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let coded = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        for blocks in [plain, coded] {
            let mut decoder = Decoder::new();
            let [first, second, third] = blocks.map(|it| read(&mut decoder, &bytes(it)).unwrap());
            let start = ["method: GET", "scheme: http", "path: /", "authority: www.example.com"];
            assert_eq!(first, start);
            assert_eq!(second, [&start[..], &["cache-control: no-cache"]].concat());
            assert_eq!(
                third,
                [
                    "method: GET",
                    "scheme: https",
                    "path: /index.html",
                    "authority: www.example.com",
                    "custom-key: custom-value"
                ]
            );
            assert_eq!((decoder.table.len(), decoder.table_bytes), (3, 164));
        }
    }

    #[test]
    fn the_oldest_entries_make_room() {
        let mut decoder = Decoder::new();
        // A table of 100 bytes; each field takes 34.
        assert_eq!(read(&mut decoder, b"\x3f\x45").unwrap(), [""; 0]);
        for name in [b'a', b'b', b'c'] {
            read(&mut decoder, &[0x40, 1, name, 1, b'x']).unwrap();
        }
        assert_eq!(read(&mut decoder, &[0xbe, 0xbf]).unwrap(), ["c: x", "b: x"]);
        assert_eq!(read(&mut decoder, &[0xc0]), Err(Unreadable));
        // The name of an entry that makes room for the field itself.
        assert_eq!(read(&mut decoder, &[0x7f, 0, 1, b'y']).unwrap(), ["b: y"]);
        assert_eq!(read(&mut decoder, &[0xbe, 0xbf]).unwrap(), ["b: y", "c: x"]);
        // One for which there is no room at all.
        let long = [&[0x40, 1, b'd', 90][..], &[b'z'; 90]].concat();
        assert!(read(&mut decoder, &long).is_ok());
        assert_eq!((decoder.table.len(), decoder.table_bytes), (0, 0));
    }

    #[test]
    fn what_no_request_may_say_is_marked_and_kept() {
        let mut decoder = Decoder::new();
        for (name, value, expected) in [
            ("X", "y", "flawed: flawed"),
            (":status", "200", "flawed: flawed"),
            ("", "y", "flawed: flawed"),
            ("x", "a\nb", "x: flawed"),
            ("x", " a", "x: flawed"),
            ("x", "a\t", "x: flawed"),
            ("x", "a b", "x: a b"),
            ("x", "", "x: "),
            ("te", "gzip", "te: flawed"),
            ("te", "trailers", "te: trailers"),
            ("upgrade", "x", "upgrade: flawed"),
            (":path", "", "path: flawed"),
            (":path", "x", "path: flawed"),
            (":path", "/ x", "path: flawed"),
            (":path", "*", "path: *"),
            (":authority", "", "authority: flawed"),
        ] {
            let length = |it: &str| u8::try_from(it.len()).unwrap();
            let block = [
                &[0x40, length(name)],
                name.as_bytes(),
                &[length(value)],
                value.as_bytes(),
                &[0xbe], // once more, from the table
            ]
            .concat();
            assert_eq!(read(&mut decoder, &block).unwrap(), [expected, expected]);
        }
    }

    #[test]
    fn a_value_that_nobody_may_keep_stays_so() {
        let mut sensitive = Vec::new();
        let block = b"\x10\x01a\x01b\x00\x01a\x01b";
        let note = |field: Field| {
            let Value::Header(value) = field.value else { panic!("{field:?}") };
            sensitive.push(value.is_sensitive());
        };
        Decoder::new().read(block, note).unwrap();
        assert_eq!(sensitive, [true, false]);
    }

    #[test]
    fn long_texts_leave_no_memory_behind() {
        let mut decoder = Decoder::new();
        // 30,000 times 0, and its code.
        let mut block = vec![0x00];
        for _ in 0..2 {
            block.extend_from_slice(b"\xff\xbf\x91\x01");
            block.extend_from_slice(&[0; 18_750]);
        }
        assert_eq!(read(&mut decoder, &block).unwrap().len(), 1);
        assert!(decoder.name.capacity() + decoder.value.capacity() < 10_000);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 7_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        let mut decoder = Decoder::new();
        for _ in 0..20_000 {
            let block: Vec<u8> = (0..random() % 24).map(|_| random()).collect();
            _ = decoder.read(&block, drop);
            assert!(decoder.table_bytes <= TABLE_BYTES_MAX);
            assert_eq!(decoder.table_bytes, decoder.table.iter().map(|it| it.bytes).sum::<usize>());
        }
    }
}
