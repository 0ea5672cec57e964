//! What RFC 9113 §8 and RFC 7541 ask of a server, case by case: the cases that h2spec has, and some.

use super::{frames::*, h2_case::*};

#[test]
fn what_keeps_the_rules_is_served() {
    let pad = |bytes: &[u8]| [&[3][..], bytes, &[0; 3]].concat();
    let get_head = head("GET", "/", &[]);
    let prioritised = [&[0, 0, 0, 0, 255][..], &get_head].concat();
    let (first, second) = get_head.split_at(5);
    check(&[
        case("2/1 PRIORITY on an idle stream", vec![priority(1, 0, 1), get(1)], Answer),
        case(
            "2/2 WINDOW_UPDATE on a half-closed stream",
            vec![settings(4, 0), get(1), window(1, 1)],
            Data(1),
        ),
        case("2/3 PRIORITY on a half-closed stream", vec![get(1), priority(1, 0, 255)], Answer),
        case("2/4 RST_STREAM on a half-closed stream", vec![get(1), reset(1)], Alive),
        after("2/5 PRIORITY on a closed stream", vec![priority(1, 0, 1)], Alive),
        case("3.1/1 DATA", vec![post(1, 0), frame(DATA, END_STREAM, 1, b"test")], Answer),
        case(
            "3.1/2 several DATA",
            vec![post(1, 0), frame(DATA, 0, 1, b"te"), frame(DATA, END_STREAM, 1, b"st")],
            Answer,
        ),
        case(
            "3.1/3 DATA with padding",
            vec![post(1, 0), frame(DATA, END_STREAM | PADDED, 1, &pad(b"test"))],
            Answer,
        ),
        case("3.2/1 HEADERS", vec![get(1)], Answer),
        case(
            "3.2/2 HEADERS with padding",
            vec![frame(HEADERS, WHOLE | PADDED, 1, &pad(&get_head))],
            Answer,
        ),
        case(
            "3.2/3 HEADERS with priority",
            vec![frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &prioritised)],
            Answer,
        ),
        case("3.3 PRIORITY with weight 1", vec![priority(1, 0, 0), get(1)], Answer),
        case("3.3 PRIORITY with weight 256", vec![priority(1, 0, 255), get(1)], Answer),
        case("3.3 PRIORITY on another stream", vec![priority(3, 1, 9), get(1)], Answer),
        case("3.3 PRIORITY, exclusive", vec![priority(5, 0x8000_0003, 9), get(1)], Answer),
        case("3.4 RST_STREAM", vec![post(1, 0), reset(1), get(3)], Answer),
        case("3.5 SETTINGS", vec![settings(3, 100)], Alive),
        case("3.7 PING", vec![frame(PING, 0, 0, b"h2spec00")], Alive),
        case("3.8 GOAWAY", vec![frame(GOAWAY, 0, 0, &[0; 8])], Connection(&[0])),
        case("3.9 WINDOW_UPDATE of the connection", vec![window(0, 1), get(1)], Answer),
        case("3.9 WINDOW_UPDATE of a stream", vec![post(1, 0), window(1, 1)], Alive),
        case(
            "3.10 CONTINUATION",
            vec![frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, second)],
            Answer,
        ),
        case(
            "3.10 several CONTINUATION",
            vec![
                frame(HEADERS, END_STREAM, 1, first),
                frame(CONTINUATION, 0, 1, &second[..3]),
                frame(CONTINUATION, END_HEADERS, 1, &second[3..]),
            ],
            Answer,
        ),
        case("4/2 HEAD", vec![frame(HEADERS, WHOLE, 1, &head("HEAD", "/", &[]))], Answer),
        case(
            "4/4 POST with trailers",
            vec![
                post(1, 0),
                frame(DATA, 0, 1, b"test"),
                frame(HEADERS, WHOLE, 1, &block(&[("x-test", "ok")])),
            ],
            Answer,
        ),
    ]);
}

/// RFC 7541 §6: all the ways to write a header.
#[test]
fn headers_in_every_form_are_read() {
    // "custom" and "value", plain and in Huffman code; 0x0f2b is index 58, user-agent.
    let huffman = |bytes: &[u8]| {
        let mut out = vec![0x80 | u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    };
    let value = [&[5][..], b"value"].concat();
    let name = [&[6][..], b"custom"].concat();
    let value_short = huffman(&[0xee, 0x3a, 0x2d, 0x2f]);
    let name_short = huffman(&[0x25, 0xa8, 0x49, 0xe9, 0x4f]);
    let forms: [(&'static str, Vec<u8>); 15] = [
        ("indexed, static table", vec![0x80 | 16]),
        ("indexed, dynamic table", [&[0x40], &name[..], &value, &[0x80 | 62]].concat()),
        ("with indexing, indexed name", [&[0x40 | 58], &value[..]].concat()),
        ("with indexing, indexed name, Huffman", [&[0x40 | 58], &value_short[..]].concat()),
        ("with indexing, new name", [&[0x40], &name[..], &value].concat()),
        ("with indexing, new name, Huffman", [&[0x40], &name_short[..], &value_short].concat()),
        ("without indexing, indexed name", [&[0x0f, 0x2b], &value[..]].concat()),
        ("without indexing, indexed name, Huffman", [&[0x0f, 0x2b], &value_short[..]].concat()),
        ("without indexing, new name", [&[0x00], &name[..], &value].concat()),
        ("without indexing, new name, Huffman", [&[0], &name_short[..], &value_short].concat()),
        ("never indexed, indexed name", [&[0x1f, 0x2b], &value[..]].concat()),
        ("never indexed, indexed name, Huffman", [&[0x1f, 0x2b], &value_short[..]].concat()),
        ("never indexed, new name", [&[0x10], &name[..], &value].concat()),
        ("never indexed, new name, Huffman", [&[0x10], &name_short[..], &value_short].concat()),
        ("indexed twice", vec![0x80 | 16, 0x80 | 17]),
    ];
    let mut cases: Vec<_> =
        forms.iter().map(|(name, bytes)| case(name, raw(bytes), Answer)).collect();
    let updates = |bytes: &[u8]| {
        let block = [bytes, &head("GET", "/", &[])].concat();
        vec![frame(HEADERS, WHOLE, 1, &block)]
    };
    cases.push(case("table size update", updates(&[0x3f, 0x01]), Answer));
    cases.push(case("several table size updates", updates(&[0x20, 0x3f, 0xe1, 0x1f]), Answer));
    check(&cases);
}

#[test]
fn headers_that_cannot_be_read_end_the_connection() {
    let errors: &[u32] = &[COMPRESSION_ERROR];
    check(&[
        case("2.3.3/1 index 0", raw(&[0x80]), Connection(errors)),
        case("2.3.3/1 indexed, beyond both tables", raw(&[0x80 | 70]), Connection(errors)),
        case("2.3.3/2 name beyond both tables", raw(&[0x40 | 62, 1, b'x']), Connection(errors)),
        case("4.2/1 size update at the end of a block", raw(&[0x21]), Connection(errors)),
        case(
            "5.2/1 Huffman padding of more than 7 bits",
            raw(&[0, 0x81, 0x1f, 0x82, 0x1f, 0xff]),
            Connection(errors),
        ),
        case("5.2/2 Huffman padding of zeros", raw(&[0, 0x81, 0x18, 1, b'x']), Connection(errors)),
        case(
            "5.2/3 Huffman with EOS",
            raw(&[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]),
            Connection(errors),
        ),
        case(
            "6.3/1 size update beyond the setting",
            vec![frame(
                HEADERS,
                WHOLE,
                1,
                &[&[0x3f, 0xff, 0xff, 0x03][..], &head("GET", "/", &[])].concat(),
            )],
            Connection(errors),
        ),
        case("a string longer than its block", raw(&[0, 1, b'x', 50, b'y']), Connection(errors)),
        case(
            "an integer without end",
            raw(&[0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Connection(errors),
        ),
        case(
            "4.3/1 a block that is none",
            vec![frame(HEADERS, WHOLE, 1, b"\xff\xff\xff\xff\xff\xff")],
            Connection(errors),
        ),
    ]);
}

#[test]
fn requests_out_of_form_are_reset() {
    let protocol: &[u32] = &[PROTOCOL_ERROR];
    let (m, s, p, a) =
        ((":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"));
    let length = |value: &'static str| {
        frame(HEADERS, END_HEADERS, 1, &head("POST", "/", &[("content-length", value)]))
    };
    check(&[
        case("8.1.2/1 an upper-case name", with(&[("X-TEST", "ok")]), Stream(protocol)),
        case("8.1.2.1/1 an unknown pseudo header", with(&[(":test", "ok")]), Stream(protocol)),
        case("8.1.2.1/2 a pseudo header of answers", with(&[(":status", "200")]), Stream(protocol)),
        case(
            "8.1.2.1/3 a pseudo header as a trailer",
            vec![
                post(1, 0),
                frame(DATA, 0, 1, b"x"),
                frame(HEADERS, WHOLE, 1, &block(&[(":method", "GET")])),
            ],
            Stream(protocol),
        ),
        case(
            "8.1.2.1/4 a pseudo header behind others",
            bare(&[m, s, a, ("x-test", "ok"), p]),
            Stream(protocol),
        ),
        case("8.1.2.2/1 connection", with(&[("connection", "keep-alive")]), Stream(protocol)),
        case("8.1.2.2/2 te", with(&[("te", "trailers, deflate")]), Stream(protocol)),
        case("transfer-encoding", with(&[("transfer-encoding", "chunked")]), Stream(protocol)),
        case("upgrade", with(&[("upgrade", "x")]), Stream(protocol)),
        case("keep-alive", with(&[("keep-alive", "1")]), Stream(protocol)),
        case("proxy-connection", with(&[("proxy-connection", "close")]), Stream(protocol)),
        case("te: trailers", with(&[("te", "trailers")]), Answer),
        case("8.1.2.3/1 an empty path", bare(&[m, s, a, (":path", "")]), Stream(protocol)),
        case("8.1.2.3/2 no method", bare(&[s, p, a]), Stream(protocol)),
        case("8.1.2.3/3 no scheme", bare(&[m, p, a]), Stream(protocol)),
        case("8.1.2.3/4 no path", bare(&[m, s, a]), Stream(protocol)),
        case("8.1.2.3/5 two methods", bare(&[m, m, s, p, a]), Stream(protocol)),
        case("8.1.2.3/6 two schemes", bare(&[m, s, s, p, a]), Stream(protocol)),
        case("8.1.2.3/7 two paths", bare(&[m, s, p, p, a]), Stream(protocol)),
        case("two authorities", bare(&[m, s, p, a, a]), Stream(protocol)),
        case(
            "8.1.2.6/1 a length that is not the body's",
            vec![length("1"), frame(DATA, END_STREAM, 1, b"test")],
            Stream(protocol),
        ),
        case(
            "8.1.2.6/2 the sum of two",
            vec![length("1"), frame(DATA, 0, 1, b"te"), frame(DATA, END_STREAM, 1, b"st")],
            Stream(protocol),
        ),
        case(
            "a body shorter than its length",
            vec![length("9"), frame(DATA, END_STREAM, 1, b"test")],
            Stream(protocol),
        ),
        case(
            "a length that is no number",
            vec![length("x"), frame(DATA, END_STREAM, 1, b"test")],
            Stream(protocol),
        ),
        case("a line end in a value", with(&[("x", "a\r\nb: c")]), Stream(protocol)),
        case("a NUL in a value", with(&[("x", "a\0b")]), Stream(protocol)),
        case("a space in a name", with(&[("x y", "a")]), Stream(protocol)),
        case("a colon in a name", with(&[("x:y", "a")]), Stream(protocol)),
        case("a space in a path", bare(&[m, s, (":path", "/ x"), a]), Stream(protocol)),
    ]);
}
