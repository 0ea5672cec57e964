//! Texts by Huffman's code, as HTTP/2 has it in heads (RFC 7541 §5.2 and Appendix B).

/// The code is canonical: in the order of their length, and of the symbol among equals, each code is
/// the one before plus one. So the symbols in that order are all that need be written down.
const SYMBOLS: [u16; 257] = [
    48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57,
    61, 65, 95, 98, 100, 102, 103, 104, 108, 109, 110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71,
    72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 89, 106, 107, 113, 118, 119,
    120, 121, 122, 38, 42, 44, 59, 88, 90, 33, 34, 40, 41, 63, 39, 43, 124, 35, 62, 0, 36, 64, 91,
    93, 126, 94, 125, 60, 96, 123, 92, 195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161,
    167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156,
    160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1,
    135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174,
    175, 180, 182, 183, 188, 191, 197, 231, 239, 9, 142, 144, 145, 148, 159, 171, 206, 215, 225,
    236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242,
    243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252,
    253, 254, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28,
    29, 30, 31, 127, 220, 249, 10, 13, 22, 256,
];

/// How many symbols have a code of so many bits.
const COUNTS: [(u32, u64); 21] = [
    (5, 10),
    (6, 26),
    (7, 32),
    (8, 6),
    (10, 5),
    (11, 3),
    (12, 2),
    (13, 6),
    (14, 2),
    (15, 3),
    (19, 3),
    (20, 8),
    (21, 13),
    (22, 26),
    (23, 29),
    (24, 12),
    (25, 4),
    (26, 15),
    (27, 19),
    (28, 29),
    (30, 4),
];

/// The symbol that is never sent: nothing but its first bits fills the last byte.
const END: u16 = 256;

/// Codes of one length.
#[derive(Clone, Copy)]
struct Row {
    bits: u32,
    /// The first of them and the first that is longer, from the left of 32 bits.
    first: u64,
    limit: u64,
    /// The first one's place among the symbols.
    place: u64,
}

const ROWS: [Row; COUNTS.len()] = {
    let mut rows = [Row { bits: 0, first: 0, limit: 0, place: 0 }; COUNTS.len()];
    let (mut at, mut first, mut place) = (0, 0, 0);
    while at < COUNTS.len() {
        let (bits, count) = COUNTS[at];
        let limit = first + (count << (32 - bits));
        rows[at] = Row { bits, first, limit, place };
        (at, first, place) = (at + 1, limit, place + count);
    }
    assert!(first == 1 << 32, "every beginning leads to a symbol");
    rows
};

/// By the next eight bits: the symbol that they begin with and its length, which is 0 where that is
/// longer. Nearly all texts have short ones only.
const SHORT: [(u8, u8); 256] = {
    let mut short = [(0, 0); 256];
    let (mut at, mut place) = (0, 0);
    while at < SHORT_LENGTHS {
        let (row, mut count) = (ROWS[at], COUNTS[at].1);
        let mut first = row.first.to_le_bytes()[3] as usize;
        while count != 0 {
            let end = first + (1 << (8 - row.bits));
            while first < end {
                short[first] = (SYMBOLS[place].to_le_bytes()[0], row.bits.to_le_bytes()[0]);
                first += 1;
            }
            (place, count) = (place + 1, count - 1);
        }
        at += 1;
    }
    short
};
/// Lengths up to eight bits.
const SHORT_LENGTHS: usize = 4;

/// The bytes are no text by Huffman's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoText;

/// Appends what the bytes say.
///
/// # Errors
/// When they are no text; `out` then has the part before that.
pub fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), NoText> {
    let mut bytes = bytes.iter();
    // The bits that have not been read, from the right, and how many there are.
    let (mut bits, mut held) = (0_u64, 0_u32);
    loop {
        while held <= 32
            && let Some(byte) = bytes.next()
        {
            (bits, held) = (bits << 8 | u64::from(*byte), held + 8);
        }
        while 8 <= held {
            let (symbol, length) = SHORT[usize::from((bits >> (held - 8)).to_le_bytes()[0])];
            if length == 0 {
                break;
            }
            held -= u32::from(length);
            out.push(symbol);
        }
        bits &= (1 << held) - 1;
        if held <= 32 && bytes.len() != 0 {
            continue;
        }
        let ones = (1 << held) - 1;
        if held < 8 && bits == ones {
            return Ok(());
        }
        let left = if 32 <= held { bits >> (held - 32) } else { bits << (32 - held) };
        let row = ROWS.iter().find(|it| left < it.limit).ok_or(NoText)?;
        held = held.checked_sub(row.bits).ok_or(NoText)?;
        bits &= (1 << held) - 1;
        let place = row.place + ((left - row.first) >> (32 - row.bits));
        let symbol = SYMBOLS[usize::try_from(place).map_err(|_| NoText)?];
        if symbol == END {
            return Err(NoText);
        }
        out.push(u8::try_from(symbol).map_err(|_| NoText)?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length and code of every byte, as Appendix B lists them.
    #[rustfmt::skip]
    const LISTED: [(u32, u64); 256] = [
        (13, 0x1ff8), (23, 0x7fffd8), (28, 0xfffffe2), (28, 0xfffffe3), (28, 0xfffffe4), (28, 0xfffffe5),
        (28, 0xfffffe6), (28, 0xfffffe7), (28, 0xfffffe8), (24, 0xffffea), (30, 0x3ffffffc),
        (28, 0xfffffe9), (28, 0xfffffea), (30, 0x3ffffffd), (28, 0xfffffeb), (28, 0xfffffec),
        (28, 0xfffffed), (28, 0xfffffee), (28, 0xfffffef), (28, 0xffffff0), (28, 0xffffff1),
        (28, 0xffffff2), (30, 0x3ffffffe), (28, 0xffffff3), (28, 0xffffff4), (28, 0xffffff5),
        (28, 0xffffff6), (28, 0xffffff7), (28, 0xffffff8), (28, 0xffffff9), (28, 0xffffffa),
        (28, 0xffffffb), (6, 0x14), (10, 0x3f8), (10, 0x3f9), (12, 0xffa), (13, 0x1ff9), (6, 0x15),
        (8, 0xf8), (11, 0x7fa), (10, 0x3fa), (10, 0x3fb), (8, 0xf9), (11, 0x7fb), (8, 0xfa), (6, 0x16),
        (6, 0x17), (6, 0x18), (5, 0x0), (5, 0x1), (5, 0x2), (6, 0x19), (6, 0x1a), (6, 0x1b), (6, 0x1c),
        (6, 0x1d), (6, 0x1e), (6, 0x1f), (7, 0x5c), (8, 0xfb), (15, 0x7ffc), (6, 0x20), (12, 0xffb),
        (10, 0x3fc), (13, 0x1ffa), (6, 0x21), (7, 0x5d), (7, 0x5e), (7, 0x5f), (7, 0x60), (7, 0x61),
        (7, 0x62), (7, 0x63), (7, 0x64), (7, 0x65), (7, 0x66), (7, 0x67), (7, 0x68), (7, 0x69), (7, 0x6a),
        (7, 0x6b), (7, 0x6c), (7, 0x6d), (7, 0x6e), (7, 0x6f), (7, 0x70), (7, 0x71), (7, 0x72), (8, 0xfc),
        (7, 0x73), (8, 0xfd), (13, 0x1ffb), (19, 0x7fff0), (13, 0x1ffc), (14, 0x3ffc), (6, 0x22),
        (15, 0x7ffd), (5, 0x3), (6, 0x23), (5, 0x4), (6, 0x24), (5, 0x5), (6, 0x25), (6, 0x26), (6, 0x27),
        (5, 0x6), (7, 0x74), (7, 0x75), (6, 0x28), (6, 0x29), (6, 0x2a), (5, 0x7), (6, 0x2b), (7, 0x76),
        (6, 0x2c), (5, 0x8), (5, 0x9), (6, 0x2d), (7, 0x77), (7, 0x78), (7, 0x79), (7, 0x7a), (7, 0x7b),
        (15, 0x7ffe), (11, 0x7fc), (14, 0x3ffd), (13, 0x1ffd), (28, 0xffffffc), (20, 0xfffe6),
        (22, 0x3fffd2), (20, 0xfffe7), (20, 0xfffe8), (22, 0x3fffd3), (22, 0x3fffd4), (22, 0x3fffd5),
        (23, 0x7fffd9), (22, 0x3fffd6), (23, 0x7fffda), (23, 0x7fffdb), (23, 0x7fffdc), (23, 0x7fffdd),
        (23, 0x7fffde), (24, 0xffffeb), (23, 0x7fffdf), (24, 0xffffec), (24, 0xffffed), (22, 0x3fffd7),
        (23, 0x7fffe0), (24, 0xffffee), (23, 0x7fffe1), (23, 0x7fffe2), (23, 0x7fffe3), (23, 0x7fffe4),
        (21, 0x1fffdc), (22, 0x3fffd8), (23, 0x7fffe5), (22, 0x3fffd9), (23, 0x7fffe6), (23, 0x7fffe7),
        (24, 0xffffef), (22, 0x3fffda), (21, 0x1fffdd), (20, 0xfffe9), (22, 0x3fffdb), (22, 0x3fffdc),
        (23, 0x7fffe8), (23, 0x7fffe9), (21, 0x1fffde), (23, 0x7fffea), (22, 0x3fffdd), (22, 0x3fffde),
        (24, 0xfffff0), (21, 0x1fffdf), (22, 0x3fffdf), (23, 0x7fffeb), (23, 0x7fffec), (21, 0x1fffe0),
        (21, 0x1fffe1), (22, 0x3fffe0), (21, 0x1fffe2), (23, 0x7fffed), (22, 0x3fffe1), (23, 0x7fffee),
        (23, 0x7fffef), (20, 0xfffea), (22, 0x3fffe2), (22, 0x3fffe3), (22, 0x3fffe4), (23, 0x7ffff0),
        (22, 0x3fffe5), (22, 0x3fffe6), (23, 0x7ffff1), (26, 0x3ffffe0), (26, 0x3ffffe1), (20, 0xfffeb),
        (19, 0x7fff1), (22, 0x3fffe7), (23, 0x7ffff2), (22, 0x3fffe8), (25, 0x1ffffec), (26, 0x3ffffe2),
        (26, 0x3ffffe3), (26, 0x3ffffe4), (27, 0x7ffffde), (27, 0x7ffffdf), (26, 0x3ffffe5),
        (24, 0xfffff1), (25, 0x1ffffed), (19, 0x7fff2), (21, 0x1fffe3), (26, 0x3ffffe6), (27, 0x7ffffe0),
        (27, 0x7ffffe1), (26, 0x3ffffe7), (27, 0x7ffffe2), (24, 0xfffff2), (21, 0x1fffe4), (21, 0x1fffe5),
        (26, 0x3ffffe8), (26, 0x3ffffe9), (28, 0xffffffd), (27, 0x7ffffe3), (27, 0x7ffffe4),
        (27, 0x7ffffe5), (20, 0xfffec), (24, 0xfffff3), (20, 0xfffed), (21, 0x1fffe6), (22, 0x3fffe9),
        (21, 0x1fffe7), (21, 0x1fffe8), (23, 0x7ffff3), (22, 0x3fffea), (22, 0x3fffeb), (25, 0x1ffffee),
        (25, 0x1ffffef), (24, 0xfffff4), (24, 0xfffff5), (26, 0x3ffffea), (23, 0x7ffff4), (26, 0x3ffffeb),
        (27, 0x7ffffe6), (26, 0x3ffffec), (26, 0x3ffffed), (27, 0x7ffffe7), (27, 0x7ffffe8),
        (27, 0x7ffffe9), (27, 0x7ffffea), (27, 0x7ffffeb), (28, 0xffffffe), (27, 0x7ffffec),
        (27, 0x7ffffed), (27, 0x7ffffee), (27, 0x7ffffef), (27, 0x7fffff0), (26, 0x3ffffee),
    ];

    /// The text as a peer would send it, by the list.
    fn coded(text: &[u8]) -> Vec<u8> {
        let mut digits = String::new();
        for byte in text {
            let (bits, code) = LISTED[usize::from(*byte)];
            let width = usize::try_from(bits).unwrap();
            digits.push_str(&format!("{code:0width$b}"));
        }
        while !digits.len().is_multiple_of(8) {
            digits.push('1');
        }
        let bytes = digits.as_bytes().chunks(8);
        bytes.map(|it| u8::from_str_radix(std::str::from_utf8(it).unwrap(), 2).unwrap()).collect()
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<&[u8], NoText>) {
        let mut out = Vec::new();
        let found = decode(bytes, &mut out).map(|()| out.as_slice());
        assert_eq!(found, expected, "{bytes:02x?}");
    }

    #[test]
    fn every_symbol_is_read_alone_and_among_others() {
        for symbol in 0..=u8::MAX {
            check(&coded(&[symbol]), Ok(&[symbol]));
            let among = [b'a', symbol, symbol, b'~', symbol, 0, symbol];
            check(&coded(&among), Ok(&among));
        }
        let all: Vec<u8> = (0..=u8::MAX).collect();
        check(&coded(&all), Ok(&all));
        check(&[], Ok(&[]));
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let host = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        check(&host, Ok(b"www.example.com"));
        check(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], Ok(b"no-cache"));
        check(&[0x64, 0x02], Ok(b"302"));
    }

    #[test]
    fn a_last_byte_is_filled_with_ones_and_with_few() {
        check(&[0x1f], Ok(b"a"));
        check(&[0x1e], Err(NoText));
        check(&[0x18], Err(NoText));
        check(&[0x1f, 0xff], Err(NoText)); // eleven
        check(&[0xff], Err(NoText));
        check(&[0xff, 0xff, 0xff, 0xff], Err(NoText)); // the symbol that is never sent
        check(&[0xff, 0xff], Err(NoText));
    }
}
