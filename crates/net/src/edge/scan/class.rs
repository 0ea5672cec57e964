//! Which bytes may stand where (RFC 9110 §5.5, §5.6.2; RFC 3986 §2).

/// A set of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    /// A method or a header's name.
    Token = 1,
    /// A request target: the characters of a URI, and those that clients are known to leave bare.
    Target = 2,
    /// A header's value, with the white space in it.
    Value = 4,
}

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte: u8 = 0;
    loop {
        let mut class = 0;
        if byte.is_ascii_alphanumeric() || among(byte, b"!#$%&'*+-.^_`|~") {
            class |= Class::Token as u8;
        }
        // A fragment never travels; the rest of what is missing here some hop would rewrite.
        if byte.is_ascii_graphic() && !among(byte, b"\"#<>\\") {
            class |= Class::Target as u8;
        }
        if byte.is_ascii_graphic() || byte == b' ' || byte == b'\t' || 0x80 <= byte {
            class |= Class::Value as u8;
        }
        classes[byte as usize] = class;
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    classes
};

const fn among(byte: u8, bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// Bytes that are looked at together.
const BLOCK_BYTES: usize = 8;

/// How many bytes at the front belong to a class.
pub(super) fn run(bytes: &[u8], class: Class) -> usize {
    let all_are = |block: &&[u8]| {
        let common = |classes, byte: &u8| classes & CLASSES[usize::from(*byte)];
        block.iter().fold(class as u8, common) != 0
    };
    let whole = BLOCK_BYTES * bytes.chunks_exact(BLOCK_BYTES).take_while(all_are).count();
    let rest = &bytes[whole..];
    whole + rest.iter().position(|byte| !is(*byte, class)).unwrap_or(rest.len())
}

/// Whether a byte belongs to a class.
pub(super) fn is(byte: u8, class: Class) -> bool {
    CLASSES[usize::from(byte)] & class as u8 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_the_first_byte_that_does_not_belong() {
        for class in [Class::Token, Class::Target, Class::Value] {
            assert_eq!(run(b"", class), 0);
            for length in 1..3 * BLOCK_BYTES {
                let mut bytes = vec![b'a'; length];
                assert_eq!(run(&bytes, class), length);
                for at in 0..length {
                    bytes[at] = b'\r';
                    assert_eq!(run(&bytes, class), at);
                    bytes[at] = b'a';
                }
            }
        }
        assert_eq!(run(b"text/html; q=1", Class::Token), 4);
        assert_eq!(run(b"text/html; q=1", Class::Target), 10);
        assert_eq!(run(b"text/html; q=1", Class::Value), 14);
    }
}
