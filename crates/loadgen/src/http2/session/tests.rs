//! A connection without a socket.

use super::*;
use crate::{
    http2::frame::{ACK, END_HEADERS, END_STREAM, HEAD_BYTES, Head},
    letter::{Key, Letters},
    work::{Deed, Op},
};

const PADDED: u8 = 8;
const PRIORITISED: u8 = 32;

fn letters() -> Letters {
    Letters::new(&crate::Plan { streams: Some(1), ..crate::tests::plan("127.0.0.1:1") })
}

/// A read.
fn read() -> Vec<u8> {
    let (mut out, op) = (Vec::new(), Op { account: 0, deed: Deed::Read, amount: 0, to: None });
    letters().op(&mut out, op, &Key::None);
    out
}

/// A request with a body of so many bytes.
fn write(length: usize) -> Vec<u8> {
    let mut out = read();
    out.resize(out.len() + length, b'x');
    out
}

fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put_head(&mut out, kind, flags, stream, payload.len());
    out.extend_from_slice(payload);
    out
}

fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put_settings(&mut out, settings);
    out
}

fn number(kind: Kind, stream: u32, number: u32) -> Vec<u8> {
    frame(kind, 0, stream, &number.to_be_bytes())
}

/// The head of a 200 and its whole body.
fn answer(stream: u32, body: &[u8]) -> Vec<u8> {
    let mut out = frame(Kind::Headers, END_HEADERS, stream, &[0x88]);
    out.extend(frame(Kind::Data, END_STREAM, stream, body));
    out
}

/// A connection whose peer has said no more than these settings; all is written.
fn open(streams: usize, its: &[(u16, u32)]) -> Session {
    let mut session = Session::new(streams, None);
    session.begin();
    hear(&mut session, &settings(its)).unwrap();
    drop(written(&mut session));
    session
}

/// Writes what there is: kind, flags, stream and payload of each frame.
fn written(session: &mut Session) -> Vec<(Kind, u8, u32, Vec<u8>)> {
    let out = session.unsent().to_vec();
    session.wrote(out.len());
    let mut rest = out.strip_prefix(frame::PREFACE).unwrap_or(&out);
    let mut frames = Vec::new();
    while let Some(Head { kind, flags, stream, length }) = Head::parse(rest).unwrap() {
        let (frame, after) = rest.split_at(HEAD_BYTES + length);
        frames.push((kind, flags, stream, frame[HEAD_BYTES..].to_vec()));
        rest = after;
    }
    assert!(rest.is_empty());
    frames
}

/// Kinds, flags, streams and lengths alone.
fn outline(session: &mut Session) -> Vec<(Kind, u8, u32, usize)> {
    written(session).into_iter().map(|(kind, flags, id, it)| (kind, flags, id, it.len())).collect()
}

/// What the bytes tell: slot and end of each request.
fn hear(session: &mut Session, bytes: &[u8]) -> Result<Vec<String>, Flaw> {
    let mut ends = Vec::new();
    session.feed(bytes, &mut |at, end| ends.push(told(at, &end))).map(|()| ends)
}

fn told(at: usize, end: &End<'_>) -> String {
    let End::Answer(it) = end else { return format!("{at} {end:?}") };
    format!("{at} {} {} {}", it.status, String::from_utf8_lossy(&it.body), it.key.unwrap_or("-"))
}

fn request(session: &mut Session, letter: &[u8]) -> usize {
    let at = session.next_slot();
    session.request(Moment::ZERO, letter);
    at
}

fn requests(session: &mut Session, count: usize, letter: &[u8]) {
    (0..count).for_each(|_| session.request(Moment::ZERO, letter));
}

#[test]
fn a_connection_begins_with_our_settings_and_waits_for_theirs() {
    let mut session = Session::new(2, None);
    session.begin();
    assert!(session.unsent().starts_with(frame::PREFACE));
    let frames = written(&mut session);
    let said: Vec<_> = frame::settings(&frames[0].3).unwrap().collect();
    assert_eq!(said, [(1, 0), (2, 0), (4, 16 << 20)], "no table, no push, room for an answer");
    let more = (Kind::WindowUpdate, 0, 0, (WINDOW_BYTES - 65_535).to_be_bytes().to_vec());
    assert_eq!(frames[1..], [more]);
    assert!(session.capacity() == 0 && !session.is_open());
    hear(&mut session, &settings(&[])).unwrap();
    assert_eq!(session.capacity(), 2);
    assert_eq!(outline(&mut session), [(Kind::Settings, ACK, 0, 0)]);
}

#[test]
fn a_request_is_a_head_and_a_body() {
    let mut session = open(2, &[]);
    assert_eq!(request(&mut session, &read()), 0);
    assert_eq!(request(&mut session, &write(5)), 1);
    assert_eq!(session.capacity(), 0);
    let frames = written(&mut session);
    let letter = read();
    let (head, _) = letter::split(&letter);
    assert_eq!(frames[0].3, [&[hpack::NO_TABLE], head].concat(), "the first head of all");
    assert_eq!(frames[0].1, END_HEADERS | END_STREAM);
    assert_eq!((frames[1].1, frames[1].2, frames[1].3.as_slice()), (END_HEADERS, 3, head));
    assert_eq!(frames[2], (Kind::Data, END_STREAM, 3, b"xxxxx".to_vec()));
    assert_eq!(hear(&mut session, &answer(3, b"ok")).unwrap(), ["1 200 ok -"]);
    assert_eq!(session.capacity(), 1);
}

/// Everything that a peer may say, and what it comes to.
fn conversation() -> (Vec<u8>, Vec<String>) {
    let coded = b"\x48\x82\x10\x03\x00\x0fidempotency-key\x03k-1";
    let bytes = [
        settings(&[(3, 100), (99, 7)]),
        frame(Kind::Settings, ACK, 0, &[]),
        // A usual answer, and one without a body.
        frame(Kind::Headers, END_HEADERS, 3, coded),
        frame(Kind::Data, END_STREAM, 3, b"three"),
        frame(Kind::Headers, END_HEADERS | END_STREAM, 1, &[0x89]),
        // Two at a time, padded, in parts, after an answer in the interim, with trailers.
        frame(Kind::Headers, END_HEADERS, 5, b"\x08\x03100"),
        frame(Kind::Headers, PADDED | PRIORITISED, 5, b"\x02\0\0\0\0\0\x88\0\0"),
        frame(Kind::Continuation, 0, 5, b"\x00\x0fidempot"),
        frame(Kind::Continuation, END_HEADERS, 5, b"ency-key\x01k"),
        frame(Kind::Headers, END_HEADERS, 7, &[0x8c]),
        frame(Kind::Data, PADDED, 5, b"\x03five \0\0\0"),
        frame(Kind::Ping, 0, 0, b"12345678"),
        frame(Kind::Data, 0, 7, b"se"),
        frame(Kind::Data, 0, 5, b""),
        frame(Kind::Data, 0, 5, b"times"),
        frame(Kind::Headers, END_HEADERS | END_STREAM, 5, b"\x00\x01a\x01b"),
        frame(Kind::Priority, 0, 7, &[0; 5]),
        frame(Kind::Unknown, 0, 7, b"whatever"),
        number(Kind::WindowUpdate, 7, 10),
        number(Kind::WindowUpdate, 1, 10),
        frame(Kind::Data, END_STREAM, 7, b"ven"),
        number(Kind::Reset, 9, 7),
        number(Kind::Reset, 11, 2),
    ];
    let ends = [
        "1 201 three k-1",
        "0 204  -",
        "2 200 five times k",
        "3 400 seven -",
        "4 Unsent",
        "5 Lost",
    ];
    (bytes.concat(), ends.map(str::to_owned).to_vec())
}

#[test]
fn answers_may_come_in_any_pieces() {
    let (bytes, ends) = conversation();
    let begin = || {
        let mut session = open(6, &[]);
        requests(&mut session, 6, &read());
        drop(written(&mut session));
        session
    };
    for cut in 0..=bytes.len() {
        let mut session = begin();
        let mut heard = hear(&mut session, &bytes[..cut]).unwrap();
        heard.extend(hear(&mut session, &bytes[cut..]).unwrap());
        assert_eq!(heard, ends, "{cut}");
    }
    let mut session = begin();
    let each = bytes.iter().flat_map(|byte| hear(&mut session, &[*byte]).unwrap());
    assert_eq!(each.collect::<Vec<_>>(), ends);
    let said = outline(&mut session);
    assert_eq!(said, [(Kind::Settings, ACK, 0, 0), (Kind::Ping, ACK, 0, 8)]);
    assert_eq!((session.capacity(), session.answers), (6, 4));
}

#[test]
fn what_no_peer_may_do_ends_the_connection() {
    let headers = |block: &[u8]| frame(Kind::Headers, END_HEADERS, 1, block);
    let cases: Vec<(Vec<u8>, Flaw)> = vec![
        (
            b"HTTP/1.1 400 Bad".to_vec(),
            "it speaks no HTTP/2, or sends longer frames than were allowed",
        ),
        (frame(Kind::Push, 0, 1, &[0; 8]), "a push that was not allowed"),
        (answer(2, b""), "a stream that nobody began"),
        (answer(5, b""), "a stream that nobody began"),
        (frame(Kind::Data, 0, 0, b"x"), "a stream that nobody began"),
        (frame(Kind::Data, 0, 1, b"x"), "a body before its head"),
        (frame(Kind::Data, PADDED, 1, b"\x02x"), "more padding than frame"),
        (frame(Kind::Data, PADDED, 1, b""), "a frame too short for what it is"),
        (frame(Kind::Headers, PRIORITISED, 1, b"1234"), "a frame too short for what it is"),
        (headers(&[0xff]), "a head that ends too early"),
        (headers(b"\x00\x01a\x01b"), "an answer without a status"),
        (
            frame(Kind::Headers, END_HEADERS | END_STREAM, 1, b"\x08\x03100"),
            "an answer in the interim that is the last",
        ),
        ([headers(&[0x88]), headers(&[0x88])].concat(), "two heads of one answer"),
        (frame(Kind::Continuation, END_HEADERS, 1, &[]), "the end of no head"),
        (
            [frame(Kind::Headers, 0, 1, &[0x88]), number(Kind::WindowUpdate, 0, 1)].concat(),
            "a head with another frame in it",
        ),
        (
            [frame(Kind::Headers, 0, 1, &[]), frame(Kind::Continuation, 0, 1, &[])].concat(),
            "a part of a head with nothing in it",
        ),
        (
            [frame(Kind::Headers, 0, 1, &[]), frame(Kind::Continuation, 0, 3, &[0])].concat(),
            "a head with another frame in it",
        ),
        (frame(Kind::Settings, 0, 0, &[0; 5]), "settings of a wrong length"),
        (frame(Kind::Settings, ACK, 0, &[0; 6]), "settings of a wrong length"),
        (frame(Kind::Settings, 0, 1, &[]), "settings of a stream"),
        (settings(&[(2, 1)]), "a setting that is not allowed"),
        (settings(&[(5, 16_383)]), "a setting that is not allowed"),
        (settings(&[(4, 1 << 31)]), "a window larger than any"),
        (frame(Kind::Ping, 0, 0, &[0; 7]), "what is no ping"),
        (frame(Kind::GoAway, 0, 0, &[0; 7]), "a frame too short for what it is"),
        (frame(Kind::Reset, 0, 1, &[0; 3]), "a frame of a wrong length"),
        (number(Kind::WindowUpdate, 0, 0), "a window larger than any, or opened by nothing"),
        (
            number(Kind::WindowUpdate, 1, (1 << 31) - 1),
            "a window larger than any, or opened by nothing",
        ),
    ];
    for (bytes, flaw) in cases {
        let mut session = open(2, &[]);
        request(&mut session, &read());
        request(&mut session, &read());
        assert_eq!(hear(&mut session, &bytes), Err(flaw), "{bytes:?}");
    }
    let mut session = Session::new(1, None);
    session.begin();
    let first = hear(&mut session, &frame(Kind::Ping, 0, 0, &[0; 8]));
    assert_eq!(first, Err("a connection that does not begin with settings"));
}

#[test]
fn what_grows_without_end_ends_the_connection() {
    let endless = |before: &[u8], each: &[u8]| {
        let mut session = open(1, &[]);
        request(&mut session, &read());
        hear(&mut session, before).unwrap();
        (0..5_000).find_map(|_| hear(&mut session, each).err())
    };
    let ping = frame(Kind::Ping, 0, 0, &[0; 8]);
    assert_eq!(endless(&[], &ping), Some("more questions than it reads answers"));
    let part = frame(Kind::Continuation, 0, 1, &[0; 1_000]);
    let begin = frame(Kind::Headers, 0, 1, &[]);
    assert_eq!(endless(&begin, &part), Some("a head longer than any"));
    let head = frame(Kind::Headers, END_HEADERS, 1, &[0x88]);
    let part = frame(Kind::Data, 0, 1, &[b'x'; PAYLOAD_BYTES_MAX]);
    assert_eq!(endless(&head, &part), Some("longer than any answer"));
}

#[test]
fn bodies_wait_for_the_windows_of_the_peer() {
    let mut session = open(3, &[(4, 10)]);
    request(&mut session, &write(25));
    request(&mut session, &write(10));
    let data = |session: &mut Session| {
        let mut said = outline(session);
        said.retain(|it| it.0 == Kind::Data);
        said.into_iter().map(|(_, flags, id, length)| (flags, id, length)).collect::<Vec<_>>()
    };
    assert_eq!(data(&mut session), [(0, 1, 10), (END_STREAM, 3, 10)]);
    hear(&mut session, &number(Kind::WindowUpdate, 1, 4)).unwrap();
    assert_eq!(data(&mut session), [(0, 1, 4)]);
    // A smaller window of all streams is below nothing on this one.
    hear(&mut session, &settings(&[(4, 3)])).unwrap();
    hear(&mut session, &number(Kind::WindowUpdate, 1, 7)).unwrap();
    assert_eq!(data(&mut session), []);
    hear(&mut session, &settings(&[(4, 50)])).unwrap();
    assert_eq!(data(&mut session), [(END_STREAM, 1, 11)]);
    assert!(session.waiting.is_empty());
    // The window of the connection, of which 35 are spent.
    hear(&mut session, &settings(&[(4, 1 << 20)])).unwrap();
    request(&mut session, &write(70_000));
    let sent: usize = data(&mut session).iter().map(|it| it.2).sum();
    assert_eq!(sent, 65_535 - 35);
    hear(&mut session, &number(Kind::WindowUpdate, 0, 100_000)).unwrap();
    assert_eq!(data(&mut session), [(END_STREAM, 5, 70_000 - sent)]);
    assert_eq!(session.window, 100_000 - 4_500);
}

#[test]
fn long_requests_go_in_several_frames() {
    let mut session = open(2, &[(4, 1 << 20)]);
    hear(&mut session, &number(Kind::WindowUpdate, 0, 1 << 20)).unwrap();
    request(&mut session, &write(PAYLOAD_BYTES_MAX + 1));
    let said = outline(&mut session);
    assert_eq!(said[1..], [(Kind::Data, 0, 1, PAYLOAD_BYTES_MAX), (Kind::Data, END_STREAM, 1, 1)]);
    let mut long = Vec::new();
    letters().find_transfer(&mut long, &"x".repeat(2 * PAYLOAD_BYTES_MAX));
    let (head, _) = letter::split(&long);
    request(&mut session, &long);
    let frames = written(&mut session);
    let shapes: Vec<_> = frames.iter().map(|(kind, flags, ..)| (*kind, *flags)).collect();
    let more = Kind::Continuation;
    assert_eq!(shapes, [(Kind::Headers, END_STREAM), (more, 0), (more, END_HEADERS)]);
    assert_eq!(frames.into_iter().flat_map(|it| it.3).collect::<Vec<_>>(), head);
}

#[test]
fn an_answer_before_its_request_was_heard_takes_the_rest_back() {
    let mut session = open(1, &[(4, 10)]);
    request(&mut session, &write(25));
    drop(written(&mut session));
    assert_eq!(hear(&mut session, &answer(1, b"no")).unwrap(), ["0 200 no -"]);
    assert_eq!(written(&mut session), [(Kind::Reset, 0, 1, vec![0, 0, 0, 8])]);
    assert!(session.waiting.is_empty() && session.capacity() == 1);
    hear(&mut session, &number(Kind::WindowUpdate, 1, 100)).unwrap();
    assert_eq!(written(&mut session), []);
}

#[test]
fn what_was_given_up_is_passed_over() {
    let mut session = open(1, &[]);
    let at = request(&mut session, &read());
    drop(written(&mut session));
    session.give_up(at);
    assert_eq!(written(&mut session), [(Kind::Reset, 0, 1, vec![0, 0, 0, 8])]);
    assert_eq!(request(&mut session, &read()), at);
    assert!(hear(&mut session, &answer(1, b"late")).unwrap().is_empty());
    assert!(hear(&mut session, &number(Kind::Reset, 1, 8)).unwrap().is_empty());
    assert_eq!(session.taken, 4, "of the window of all");
    assert_eq!(hear(&mut session, &answer(3, b"new")).unwrap(), ["0 200 new -"]);
}

#[test]
fn the_window_of_the_connection_is_given_back() {
    let mut session = open(1, &[]);
    let (mut given, mut taken) = (0, 0);
    for round in 0..100 {
        request(&mut session, &read());
        let part = frame(Kind::Data, 0, 2 * round + 1, &[b'x'; PAYLOAD_BYTES_MAX]);
        let head = frame(Kind::Headers, END_HEADERS, 2 * round + 1, &[0x88]);
        hear(&mut session, &head).unwrap();
        (0..20).for_each(|_| drop(hear(&mut session, &part).unwrap()));
        hear(&mut session, &frame(Kind::Data, END_STREAM, 2 * round + 1, &[])).unwrap();
        taken += 20 * u32::try_from(PAYLOAD_BYTES_MAX).unwrap();
        let updates = written(&mut session).into_iter().filter(|it| it.0 == Kind::WindowUpdate);
        given += updates.map(|it| frame::number(&it.3).unwrap()).sum::<u32>();
        assert!(taken - given <= WINDOW_BYTES / 2, "the peer never runs dry");
    }
    assert_eq!(given + session.taken, taken);
}

#[test]
fn a_peer_that_goes_finishes_what_it_has_begun() {
    let mut session = open(4, &[]);
    requests(&mut session, 3, &read());
    drop(written(&mut session));
    let first = frame(Kind::GoAway, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    assert!(hear(&mut session, &first).unwrap().is_empty());
    assert!(session.capacity() == 0 && !session.is_spent());
    let last = frame(Kind::GoAway, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0, b'x']);
    assert_eq!(hear(&mut session, &last).unwrap(), ["2 Unsent"]);
    assert_eq!(hear(&mut session, &answer(1, b"")).unwrap(), ["0 200  -"]);
    assert!(!session.is_spent());
    assert_eq!(hear(&mut session, &answer(3, b"")).unwrap(), ["1 200  -"]);
    assert!(session.is_spent() && session.has_answered());
}

#[test]
fn a_connection_that_breaks_leaves_in_doubt_what_was_written_of() {
    let mut session = open(3, &[]);
    let ends = |session: &mut Session, end| {
        let mut ends = Vec::new();
        session.end(&end, &mut |at, end| ends.push(told(at, &end)));
        ends
    };
    request(&mut session, &read());
    let first = session.unsent().len();
    request(&mut session, &write(5));
    request(&mut session, &read());
    session.wrote(first);
    session.wrote(1);
    assert_eq!(ends(&mut session, End::Lost), ["0 Lost", "1 Lost", "2 Unsent"]);
    assert!(session.capacity() == 0 && session.unsent().is_empty());
    session.begin();
    assert!(session.unsent().starts_with(frame::PREFACE));
    hear(&mut session, &settings(&[])).unwrap();
    requests(&mut session, 2, &read());
    session.wrote(session.unsent().len() - 1);
    assert_eq!(ends(&mut session, End::Garbled("x")), [r#"1 Garbled("x")"#, r#"2 Garbled("x")"#]);
}

#[test]
fn the_peer_says_how_many_it_takes_and_a_connection_has_an_end() {
    let mut session = open(8, &[(3, 2)]);
    assert_eq!(session.capacity(), 2);
    hear(&mut session, &settings(&[(3, 5)])).unwrap();
    requests(&mut session, 4, &read());
    assert_eq!(session.capacity(), 1);
    hear(&mut session, &settings(&[(3, 3)])).unwrap();
    assert_eq!(session.capacity(), 0, "more are in flight than it takes now");
    hear(&mut session, &settings(&[(3, 1_000)])).unwrap();
    assert_eq!(session.capacity(), 4, "we have no more");
    hear(&mut session, &settings(&[(3, 0)])).unwrap();
    assert_eq!(session.capacity(), 0);

    let mut session = Session::new(8, Some(3));
    session.begin();
    hear(&mut session, &settings(&[])).unwrap();
    assert_eq!(session.capacity(), 3, "a connection takes three");
    requests(&mut session, 3, &read());
    assert_eq!(session.capacity(), 0);
    for stream in [1, 3, 5] {
        assert!(!session.is_spent());
        hear(&mut session, &answer(stream, b"")).unwrap();
    }
    assert!(session.is_spent());

    let mut session = open(8, &[]);
    session.next = STREAM_LAST;
    request(&mut session, &read());
    assert_eq!(session.capacity(), 0, "the numbers are used up");
    hear(&mut session, &answer(STREAM_LAST, b"")).unwrap();
    assert!(session.is_spent());
}

#[test]
fn no_bytes_make_it_panic() {
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let (bytes, _) = conversation();
    for _ in 0..5_000 {
        let mut session = open(6, &[(4, 20)]);
        requests(&mut session, 6, &write(30));
        let mut broken = bytes.clone();
        for _ in 0..=random() % 4 {
            let at = (usize::from(random()) << 8 | usize::from(random())) % broken.len();
            broken[at] = random();
        }
        let mut ended = Vec::new();
        // Some of it is no flaw.
        session.feed(&broken, &mut |at, _| ended.push(at)).unwrap_or_default();
        session.end(&End::Lost, &mut |at, _| ended.push(at));
        ended.sort_unstable();
        assert_eq!(ended, [0, 1, 2, 3, 4, 5], "every request ends once");
    }
}
