//! Whether trailers name a pseudo header, which h2 overlooks (RFC 9113 §8.1, RFC 7541 §6).
//!
//! Read without the dynamic table: what refers to that is let pass. Nothing depends on it but the
//! answer to a client that is wrong, since pseudo headers of trailers are passed on to nobody.

/// The static table begins with this many entries of pseudo headers.
const PSEUDO_ENTRIES: usize = 14;
/// A colon in Huffman code: the first 7 bits of its byte.
const COLON_HUFFMAN: u8 = 0b101_1100;

/// Whether the payload of a HEADERS frame, with its padding and its priority if it has them, names
/// a pseudo header.
pub(super) fn have_pseudo_headers(payload: &[u8], (is_padded, has_priority): (bool, bool)) -> bool {
    block(payload, is_padded, has_priority).and_then(names_pseudo).unwrap_or(false)
}

fn block(payload: &[u8], is_padded: bool, has_priority: bool) -> Option<&[u8]> {
    let mut block = payload;
    if is_padded {
        let (padding, rest) = block.split_first()?;
        block = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
    }
    if has_priority { block.get(5..) } else { Some(block) }
}

/// `None` when the block makes no sense: h2 says so.
fn names_pseudo(mut rest: &[u8]) -> Option<bool> {
    while let Some(first) = rest.first() {
        let prefix_bits = match first {
            0x80.. => 7,
            0x40..0x80 => 6,
            0x20..0x40 => 5,
            0x00..0x20 => 4,
        };
        let is_size_update = prefix_bits == 5;
        let index = integer(&mut rest, prefix_bits)?;
        if is_size_update {
            continue;
        }
        if (1..=PSEUDO_ENTRIES).contains(&index) {
            return Some(true);
        }
        if prefix_bits == 7 {
            continue;
        }
        if index == 0 {
            let is_huffman = 0x80 <= *rest.first()?;
            let name = string(&mut rest)?;
            let first = *name.first()?;
            if first == b':' && !is_huffman || is_huffman && first >> 1 == COLON_HUFFMAN {
                return Some(true);
            }
        }
        string(&mut rest)?;
    }
    Some(false)
}

/// RFC 7541 §5.2.
fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = integer(rest, 7)?;
    let (string, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(string)
}

/// RFC 7541 §5.1. Lengths of more than 3 further bytes are beyond any frame.
fn integer(rest: &mut &[u8], prefix_bits: u32) -> Option<usize> {
    let (first, mut after) = rest.split_first()?;
    let mask = (1_usize << prefix_bits) - 1;
    let mut value = usize::from(*first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (byte, further) = after.split_first()?;
            after = further;
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if *byte < 0x80 {
                break;
            }
            if shift == 21 {
                return None;
            }
        }
    }
    *rest = after;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudo_header_is_seen_in_every_form() {
        for (block, expected) in [
            (&b"\x82"[..], true),                      // :method: GET
            (b"\x42\x03PUT", true),                    // :method, indexed name
            (b"\x00\x05:test\x02ok", true),            // new name
            (b"\x00\x84\xb8\x13\xff\xff\x02ok", true), // new name, Huffman
            (b"\x90", false),                          // accept-encoding
            (b"\x00\x01x\x02ok", false),
            (b"\x00\x01x\x02:k", false),
            (b"\x00\x01x\x02ok\x82", true),
            (b"\x3f\xe1\x1f\x00\x01x\x02ok", false), // a size update before
            (b"\xbe", false),                        // the dynamic table
            (b"", false),
            (b"\x00\x05:t", false), // no sense
            (b"\x00\xff\xff\xff\xff\xff", false),
            (b"\x00\x00\x00", false),
        ] {
            assert_eq!(have_pseudo_headers(block, (false, false)), expected, "{block:?}");
        }
        assert!(have_pseudo_headers(b"\x01\x82\x00", (true, false)));
        assert!(have_pseudo_headers(b"\x01\x00\x00\x00\x01\xff\x82\x00", (true, true)));
        assert!(!have_pseudo_headers(b"\x09\x82", (true, false)));
        assert!(!have_pseudo_headers(b"\x82", (false, true)));
    }
}
