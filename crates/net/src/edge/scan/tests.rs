//! What passes, what does not and from which byte on, however the bytes are cut.

use super::*;
use proptest::prelude::*;

/// What passes of `bytes` and why no more does, when they come cut at these places.
fn passes(bytes: &[u8], cuts: &[usize]) -> (usize, Option<Flaw>) {
    let mut scanner = Scanner::new();
    let mut passed = 0;
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        let mut part = &bytes[pair[0]..pair[1]];
        loop {
            match scanner.scan(part) {
                Stop::End => {
                    passed += part.len();
                    break;
                }
                Stop::Upgrade(at) => {
                    passed += at;
                    part = &part[at..];
                    scanner.go_on();
                }
                Stop::Flaw(at, flaw) => return (passed + at, Some(flaw)),
            }
        }
    }
    (passed, None)
}

#[track_caller]
fn check(text: &str, expected: Option<Flaw>) {
    let whole = passes(text.as_bytes(), &[]);
    assert_eq!(whole.1, expected, "{text:?}");
    assert!(expected.is_some() || whole.0 == text.len(), "{text:?}");
    // Not one way to cut it changes a thing.
    for cut in 0..text.len() {
        assert_eq!(passes(text.as_bytes(), &[cut]), whole, "{text:?} cut at {cut}");
    }
    let every: Vec<_> = (0..text.len()).collect();
    assert_eq!(passes(text.as_bytes(), &every), whole, "{text:?} byte by byte");
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

#[test]
fn what_is_in_form_passes() {
    for text in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "\r\nGET /a?b=c%20d HTTP/1.1\r\nhoSt:\texample.com\r\nempty:\r\nblank: \r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
        "get / HTTP/1.1\r\nHost: a\r\nx: \u{e9}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nHost: a\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length:\t 000 \r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding:  Chunked \r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1 ;a=\"b\"\r\nx\r\nF;c\r\n0123456789abcde\r\n0\r\nt: v\r\n\r\nG",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        // Not a framing header, however alike.
        "GET / HTTP/1.1\r\ncontent-lengthy: x\r\ntransfer-encoding-x: y\r\n\r\nG",
    ] {
        check(text, None);
    }
}

#[test]
fn heads_that_are_out_of_form_do_not() {
    for (text, flaw) in [
        ("\r\n\r\nGET / HTTP/1.1\r\n", Flaw::EmptyLines),
        ("\nGET / HTTP/1.1\r\n", Flaw::Method),
        (" GET / HTTP/1.1\r\n", Flaw::Method),
        ("G\u{1}T / HTTP/1.1\r\n", Flaw::Method),
        ("G@T / HTTP/1.1\r\n", Flaw::Method),
        ("\u{16}\u{3}\u{1}\u{2}", Flaw::Method),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n", Flaw::Method),
        ("GET  / HTTP/1.1\r\n", Flaw::Target),
        ("GET /\r\n\r\n", Flaw::Target),
        ("GET\t/ HTTP/1.1\r\n", Flaw::Method),
        ("GET /a\u{0}b HTTP/1.1\r\n", Flaw::Target),
        ("GET /a#b HTTP/1.1\r\n", Flaw::Target),
        ("GET /a\\b HTTP/1.1\r\n", Flaw::Target),
        ("GET /\u{e9} HTTP/1.1\r\n", Flaw::Target),
        ("GET /\u{7f} HTTP/1.1\r\n", Flaw::Target),
        ("GET / \r\n\r\n", Flaw::Version),
        ("GET / HTTP/1.2\r\n", Flaw::Version),
        ("GET / HTTP/2.0\r\n", Flaw::Version),
        ("GET / HTTP/9.9\r\n", Flaw::Version),
        ("GET / http/1.1\r\n", Flaw::Version),
        ("GET / HTTP/1.1 \r\n", Flaw::Version),
        ("GET / HTTP/1.10\r\n", Flaw::Version),
        ("GET / HTTP/01.1\r\n", Flaw::Version),
        ("Extra lineGET / HTTP/1.1\r\n", Flaw::Version),
        ("GET / HTTP/1.1\n", Flaw::Version),
        ("GET / HTTP/1.1\rHost: a\r\n", Flaw::LineEnd),
        ("GET / HTTP/1.1\r\n\n", Flaw::LineEnd),
        ("GET / HTTP/1.1\r\n Host: a\r\n", Flaw::Fold),
        ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n", Flaw::Fold),
        ("GET / HTTP/1.1\r\nHost: a\r\n\t\r\n", Flaw::Fold),
        ("GET / HTTP/1.1\r\nHost: a\n", Flaw::LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n", Flaw::LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rSome-Header: Test\r\n\r\n", Flaw::LineEnd),
        ("GET / HTTP/1.1\r\nHost : a\r\n", Flaw::Name),
        ("GET / HTTP/1.1\r\nHost\t: a\r\n", Flaw::Name),
        ("GET / HTTP/1.1\r\nHost\r\n", Flaw::Name),
        ("GET / HTTP/1.1\r\nHost\n", Flaw::LineEnd),
        ("GET / HTTP/1.1\r\n: a\r\n", Flaw::Name),
        ("GET / HTTP/1.1\r\nX-Invalid[]: a\r\n", Flaw::Name),
        ("GET / HTTP/1.1\r\nx\u{0}: a\r\n", Flaw::Name),
        ("GET / HTTP/1.1\r\nx\u{e9}: a\r\n", Flaw::Name),
        ("GET / HTTP/1.1\r\nx: a\u{0}\r\n", Flaw::Value),
        ("GET / HTTP/1.1\r\nx: test\u{7}\r\n", Flaw::Value),
        ("GET / HTTP/1.1\r\nx: \u{7f}\r\n", Flaw::Value),
        ("GET / HTTP/1.1\r\nx: \u{b}\r\n", Flaw::Value),
    ] {
        check(text, Some(flaw));
    }
}

#[test]
fn statements_of_a_length_that_two_hops_could_read_differently_do_not() {
    for (headers, flaw) in [
        ("Content-Length: 5\r\nContent-Length: 5\r\n\r\n", Flaw::Lengths),
        ("Content-Length: 5\r\ncontent-length: 6\r\n\r\n", Flaw::Lengths),
        ("Content-Length: 5, 5\r\n\r\n", Flaw::Length),
        ("Content-Length: +5\r\n\r\n", Flaw::Length),
        ("Content-Length: -1234\r\n\r\n", Flaw::Length),
        ("Content-Length: -123456789123456789123456789\r\n\r\n", Flaw::Length),
        ("Content-Length: abc\r\n\r\n", Flaw::Length),
        ("Content-Length: 0x5\r\n\r\n", Flaw::Length),
        ("Content-Length: 5 6\r\n\r\n", Flaw::Length),
        ("Content-Length: 5;\r\n\r\n", Flaw::Length),
        ("Content-Length: 1234567890123456789\r\n\r\n", Flaw::Length),
        ("Content-Length:\r\n\r\n", Flaw::Length),
        ("Content-Length: \r\n\r\n", Flaw::Length),
        ("Content-Length : 5\r\n\r\n", Flaw::Name),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Flaw::LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", Flaw::LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Flaw::Codings),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", Flaw::Codings),
        ("Transfer-Encoding: chunked, chunked\r\n\r\n", Flaw::Coding),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n", Flaw::Coding),
        ("Transfer-Encoding: identity\r\n\r\n", Flaw::Coding),
        ("Transfer-Encoding: xchunked\r\n\r\n", Flaw::Coding),
        ("Transfer-Encoding: chunkedx\r\n\r\n", Flaw::Coding),
        ("Transfer-Encoding: chunked;a=b\r\n\r\n", Flaw::Coding),
        ("Transfer-Encoding: \"chunked\"\r\n\r\n", Flaw::Coding),
        ("Transfer-Encoding: chun ked\r\n\r\n", Flaw::Coding),
        ("Transfer-Encoding: ,chunked\r\n\r\n", Flaw::Coding),
        ("Transfer-Encoding: chunk\r\n\r\n", Flaw::Coding),
        ("Transfer-Encoding:\r\n\r\n", Flaw::Coding),
        ("Transfer-Encoding: \u{b}chunked\r\n\r\n", Flaw::Value),
        ("Transfer-Encoding: chunked\u{a0}\r\n\r\n", Flaw::Coding),
        ("Transfer-Encoding\r\n : chunked\r\n\r\n", Flaw::Name),
        ("Transfer-Encoding : chunked\r\n\r\n", Flaw::Name),
        ("Transfer-Encoding:\r\n chunked\r\n\r\n", Flaw::Coding),
        ("x: y\nTransfer-Encoding: chunked\r\n\r\n", Flaw::LineEnd),
        ("x: y\rTransfer-Encoding: chunked\r\n\r\n", Flaw::LineEnd),
    ] {
        check(&format!("{POST}{headers}"), Some(flaw));
    }
    let text = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(text, Some(Flaw::CodingIn10));
}

#[test]
fn chunks_that_are_out_of_form_do_not() {
    let head = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
    let extensions = format!("1;{}\r\n", "x".repeat(1_024));
    let trailers = format!("0\r\nx: {}\r\n", "x".repeat(8_192));
    for (body, flaw) in [
        ("\r\n", Flaw::Chunk),
        ("g\r\n", Flaw::Chunk),
        ("0x5\r\n", Flaw::Chunk),
        ("+5\r\n", Flaw::Chunk),
        (" 5\r\n", Flaw::Chunk),
        ("5 \r\n", Flaw::Chunk),
        ("5\n", Flaw::Chunk),
        ("5\rhello", Flaw::LineEnd),
        ("5\r\nhello\n", Flaw::Chunk),
        ("5\r\nhelloX", Flaw::Chunk),
        ("5\r\nhello\r0", Flaw::Chunk),
        ("1000000000000000\r\n", Flaw::Chunk),
        ("0000000000000001\r\n", Flaw::Chunk),
        ("1;a\nb\r\n", Flaw::Chunk),
        ("1;a\u{0}\r\n", Flaw::Chunk),
        ("1;a\rb", Flaw::LineEnd),
        ("0\r\nx\r\n", Flaw::Name),
        ("0\r\nx : y\r\n", Flaw::Name),
        ("0\r\nx: y\n", Flaw::LineEnd),
        ("0\r\nx: y\r\n z\r\n", Flaw::Fold),
        ("0\r\n\n", Flaw::Name),
        ("0\r\n\rG", Flaw::LineEnd),
        (&extensions, Flaw::Extensions),
    ] {
        check(&format!("{head}{body}"), Some(flaw));
    }
    assert_eq!(passes(format!("{head}{trailers}").as_bytes(), &[]).1, Some(Flaw::Trailers));
}

/// The last byte of a head that means two things stays here, so nobody acts on it.
#[test]
fn a_head_with_two_lengths_never_ends() {
    let text = format!("{POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
    let (passed, _) = passes(text.as_bytes(), &[]);
    assert_eq!(&text[..passed], text.strip_suffix("\r\n").unwrap());
}

#[test]
fn what_follows_an_upgrade_waits_until_it_is_clear_what_it_is() {
    let mut scanner = Scanner::new();
    let head = format!("{GET}Upgrade: websocket\r\n\r\n");
    assert_eq!(scanner.scan(head.as_bytes()), Stop::End);
    assert!(scanner.awaits_upgrade() && !scanner.is_mid_head());
    assert_eq!(scanner.scan(b"\0\0"), Stop::Upgrade(0));
    scanner.go_on();
    assert_eq!(scanner.scan(b"\0\0"), Stop::Flaw(0, Flaw::Method));
    let mut scanner = Scanner::new();
    assert_eq!(scanner.scan(format!("{head}xy").as_bytes()), Stop::Upgrade(head.len()));
    assert!(!Scanner::new().is_mid_head());
    let mut scanner = Scanner::new();
    scanner.scan(b"G");
    assert!(scanner.is_mid_head());
}

proptest! {
    /// Requests put together from parts that are nearly right, cut anywhere.
    #[test]
    fn how_bytes_are_cut_changes_nothing(
        parts in prop::collection::vec(prop::sample::select(vec![
            GET, POST, "\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "abc", "3\r\nabc\r\n",
            "0\r\n\r\n", "Upgrade: x\r\n", "\n", "\r", " ", "x: y\r\n", ";", "\0", "GET / HTTP/1.0\r\n",
        ]), 0..12),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let text = parts.concat();
        prop_assert_eq!(passes(text.as_bytes(), &cuts), passes(text.as_bytes(), &[]));
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        passes(&bytes, &[]);
    }
}
