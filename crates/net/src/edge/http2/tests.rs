//! What a session makes of a client's bytes, however they are cut.

mod bodies;
mod model;

use super::{
    frame::{self, ACK, END_HEADERS, END_STREAM, PREFACE, Reason},
    session::{Event, Session},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;

const GET: u8 = END_STREAM | END_HEADERS;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream[..], payload].concat()
}

/// GET, or the head of a POST, with no more than it needs.
const HEAD: &[u8] = b"\x82\x86\x84\x01\x01a";

fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A session that was greeted, with these settings.
fn session(settings: &[u8]) -> Session<u8> {
    let mut session = Session::new(0);
    session.push(&[&PREFACE[..], &frame(4, 0, 0, settings)].concat());
    while let Some(event) = session.next(0).unwrap() {
        assert!(matches!(event, Event::Room(None)));
    }
    let unsent = session.unsent().len();
    session.has_sent(unsent);
    session
}

/// What comes of bytes in pieces of this size: events, and why it stops.
fn told(session: &mut Session<u8>, bytes: &[u8], piece: usize) -> (Vec<String>, Option<Reason>) {
    let mut events = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        session.push(part);
        loop {
            match session.next(0) {
                Ok(None) => break,
                Ok(Some(Event::Data { id, bytes, is_last })) => {
                    session.read(id, bytes.len());
                    let end = if is_last { ", the last" } else { "" };
                    events.push(format!("data {id}: {}{end}", bytes.len()));
                }
                Ok(Some(Event::Asked { id, head, ends })) => {
                    let end = if ends { ", whole" } else { "" };
                    events.push(format!("asked {id}: {}{end}", head.request.uri()));
                }
                Ok(Some(Event::Reset(_))) => events.push("reset".to_owned()),
                Ok(Some(Event::Room(Some(id)))) => events.push(format!("room {id}")),
                Ok(Some(Event::Room(None))) => (),
                Err(reason) => return (events, Some(reason)),
            }
        }
    }
    (events, None)
}

/// The frames that are to be sent, which they then are: kind, flags, stream and payload.
fn sent(session: &mut Session<u8>) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let bytes = session.unsent().to_vec();
    session.has_sent(bytes.len());
    let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((head, more)) = rest.split_first_chunk::<9>() {
        let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        frames.push((head[3], head[4], stream, more[..length].to_vec()));
        rest = &more[length..];
    }
    assert!(rest.is_empty());
    frames
}

#[track_caller]
fn check(frames: &[Vec<u8>], events: &[&str], reason: Option<Reason>) {
    for piece in [1, 2, 7, 10, 100_000] {
        let found = told(&mut session(&[]), &frames.concat(), piece);
        assert_eq!(
            (&found.0[..], found.1),
            (&events.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()[..], reason),
            "in pieces of {piece}"
        );
    }
}

#[test]
fn requests_are_told_with_their_bodies() {
    let post = |stream| frame(1, END_HEADERS, stream, HEAD);
    check(
        &[frame(1, GET, 1, HEAD), frame(1, GET, 3, HEAD)],
        &["asked 1: http://a/, whole", "asked 3: http://a/, whole"],
        None,
    );
    check(
        &[post(1), frame(0, 0, 1, b"xy"), frame(0, 8, 1, b"\x02z??"), frame(0, 1, 1, b"")],
        &["asked 1: http://a/", "data 1: 2", "data 1: 1", "data 1: 0, the last"],
        None,
    );
    check(
        &[post(1), frame(1, GET, 1, b"\x00\x01x\x01y")],
        &["asked 1: http://a/", "data 1: 0, the last"],
        None,
    );
    check(
        &[
            frame(1, END_STREAM, 1, &HEAD[..2]),
            frame(9, 0, 1, &HEAD[2..4]),
            frame(9, END_HEADERS, 1, &HEAD[4..]),
        ],
        &["asked 1: http://a/, whole"],
        None,
    );
    check(&[post(1), frame(3, 0, 1, &[0; 4])], &["asked 1: http://a/", "reset"], None);
    // A wider window is told of the stream that has it.
    check(
        &[post(1), post(3), frame(8, 0, 0, &[0, 0, 0, 1]), frame(8, 0, 1, &[0, 0, 0, 1])],
        &["asked 1: http://a/", "asked 3: http://a/", "room 1"],
        None,
    );
}

#[test]
fn what_breaks_the_rules_ends_a_connection_with_its_reason() {
    let get = || frame(1, GET, 1, HEAD);
    for (bad, reason) in [
        (vec![get(), frame(0, 0, 1, b"x")], Reason::StreamClosed),
        (vec![get(), get()], Reason::StreamClosed),
        (vec![frame(0, 0, 1, b"x")], Reason::ProtocolError),
        (vec![frame(1, GET, 2, HEAD)], Reason::ProtocolError),
        (vec![frame(1, GET, 1, b"\xbe")], Reason::CompressionError),
        (vec![frame(1, 0, 1, HEAD), frame(6, 0, 0, &[0; 8])], Reason::ProtocolError),
        (vec![frame(4, 0, 0, &setting(4, 1 << 31))], Reason::FlowControlError),
        (vec![frame(4, 0, 0, &setting(2, 2))], Reason::ProtocolError),
        (vec![frame(4, 0, 0, &setting(5, 1))], Reason::ProtocolError),
        (vec![frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])], Reason::FlowControlError),
        (vec![frame(8, 0, 7, &[0, 0, 0, 1])], Reason::ProtocolError),
        (vec![frame(3, 0, 1, &[0; 4])], Reason::ProtocolError),
    ] {
        for piece in [1, 9, 100_000] {
            let found = told(&mut session(&[]), &bad.concat(), piece);
            assert_eq!(found.1, Some(reason), "{bad:02x?}");
        }
    }
    let mut unasked = Session::<u8>::new(0);
    unasked.push(&[&PREFACE[..], &frame(6, 0, 0, &[0; 8])].concat());
    assert_eq!(unasked.next(0).unwrap_err(), Reason::ProtocolError);
    let mut stranger = Session::<u8>::new(0);
    stranger.push(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert_eq!(stranger.next(0).unwrap_err(), Reason::ProtocolError);
}

#[test]
fn floods_are_stopped_and_time_forgives() {
    let flood = |bytes: &[u8], count: usize| -> Option<Reason> {
        let mut session = session(&[]);
        session.push(&frame(1, END_HEADERS, 1, HEAD));
        for _ in 0..count {
            session.push(bytes);
        }
        loop {
            match session.next(0) {
                Ok(Some(_)) => (),
                Err(reason) => return Some(reason),
                Ok(None) => break,
            }
        }
        session.push(bytes);
        while session.next(1_000).expect("time forgives").is_some() {}
        None
    };
    for (bytes, max) in [
        (frame(3, 0, 1, &[0; 4]), 100),
        (frame(6, 0, 0, &[0; 8]), 499),
        (frame(4, 0, 0, &[]), 499),
        (frame(2, 0, 1, &[0; 5]), 500),
        (frame(0, 0, 1, &[]), 500),
        (frame(99, 0, 0, &[]), 500),
        (frame(8, 0, 1, &[0, 0, 0, 1]), 20_000),
    ] {
        assert_eq!(flood(&bytes, max - 1), None, "{bytes:?}");
        assert_eq!(flood(&bytes, max + 1), Some(Reason::EnhanceYourCalm), "{bytes:?}");
    }
    // Requests that are none, and more of them than may be in hand.
    let heads = |head: &[u8], count: u32| {
        let frames: Vec<_> = (0..count).map(|at| frame(1, GET, 2 * at + 1, head)).collect();
        told(&mut session(&[]), &frames.concat(), usize::MAX).1
    };
    assert_eq!(heads(b"\x82", 64), None);
    assert_eq!(heads(b"\x82", 65), Some(Reason::EnhanceYourCalm));
    assert_eq!(heads(HEAD, 2_100), None);
    assert_eq!(heads(HEAD, 2_101), Some(Reason::EnhanceYourCalm));
    // A head in endless pieces.
    let pieces = [vec![frame(1, 1, 1, b"")], vec![frame(9, 0, 1, b""); 9]].concat();
    assert_eq!(told(&mut session(&[]), &pieces[..9].concat(), usize::MAX).1, None);
    let found = told(&mut session(&[]), &pieces.concat(), usize::MAX).1;
    assert_eq!(found, Some(Reason::EnhanceYourCalm));
}

fn answer(session: &mut Session<u8>, id: u32, length: usize) -> Bytes {
    let date = HeaderValue::from_static("now");
    let length_told = u64::try_from(length).unwrap();
    let head = (StatusCode::OK, &HeaderMap::new());
    session.answer(id, head, &date, Some(length_told), length == 0);
    Bytes::from(vec![b'x'; length])
}

#[test]
fn an_answer_is_cut_to_what_there_is_room_for() {
    let mut session = session(&setting(4, 20_000));
    told(&mut session, &[frame(1, GET, 1, HEAD), frame(1, GET, 3, HEAD)].concat(), usize::MAX);
    let mut bytes = answer(&mut session, 1, 50_000);
    assert!(!session.send(1, &mut bytes, true));
    let lengths = |session: &mut Session<u8>| -> Vec<(u32, usize, u8)> {
        let data = sent(session).into_iter().filter(|(kind, ..)| *kind == 0);
        data.map(|(_, flags, id, payload)| (id, payload.len(), flags)).collect()
    };
    assert_eq!(lengths(&mut session), [(1, 16_384, 0), (1, 3_616, 0)]);
    // The window of the stream grows, then that of all streams.
    told(&mut session, &frame(8, 0, 1, &60_000_u32.to_be_bytes()), usize::MAX);
    assert!(session.send(1, &mut bytes, true));
    assert_eq!(lengths(&mut session), [(1, 16_384, 0), (1, 13_616, 1)]);
    assert!(session.lane(1).is_none());
    let mut bytes = answer(&mut session, 3, 20_000);
    assert!(!session.send(3, &mut bytes, true)); // 65,535 for all
    assert_eq!(lengths(&mut session), [(3, 15_535, 0)]);
    told(&mut session, &frame(8, 0, 0, &10_u32.to_be_bytes()), usize::MAX);
    assert!(!session.send(3, &mut bytes, true));
    assert_eq!(lengths(&mut session), [(3, 10, 0)]);
    // A stream that is gone takes nothing.
    told(&mut session, &frame(3, 0, 3, &[0; 4]), usize::MAX);
    assert!(session.send(3, &mut bytes, true));
    assert!(sent(&mut session).is_empty());
}

/// Two answers that are longer than there is room for, and one that is short: a frame each in turn.
#[test]
fn answers_take_turns_when_room_is_short() {
    let mut session = session(&setting(4, 1_000_000));
    for id in [1, 3, 5] {
        told(&mut session, &frame(1, GET, id, HEAD), usize::MAX);
    }
    let mut answers = [(1, 200_000), (3, 200_000), (5, 10)]
        .map(|(id, length)| (id, answer(&mut session, id, length)));
    sent(&mut session);
    let mut order = Vec::new();
    for round in 0..40 {
        for (id, bytes) in &mut answers {
            if session.lane(*id).is_some() {
                session.send(*id, bytes, true);
            }
        }
        let data = sent(&mut session).into_iter().filter(|(kind, ..)| *kind == 0);
        order.extend(data.map(|(.., id, payload)| (id, payload.len())));
        if round == 0 {
            assert_eq!(order.iter().map(|(_, length)| length).sum::<usize>(), 65_535);
            order.clear();
        }
        told(&mut session, &frame(8, 0, 0, &16_384_u32.to_be_bytes()), usize::MAX);
    }
    let ids: Vec<_> = order.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids[..6], [1, 3, 5, 1, 3, 1], "{order:?}");
    assert!(answers.iter().all(|(_, bytes)| bytes.is_empty()), "{order:?}");
}

/// Answers that take turns stop for the socket, too, and whoever is next is told when it goes on.
#[test]
fn turns_go_on_when_all_was_sent() {
    let mut session = session(&setting(4, 1_000_000));
    told(&mut session, &[frame(1, GET, 1, HEAD), frame(1, GET, 3, HEAD)].concat(), usize::MAX);
    let mut answers = [1, 3].map(|id| (id, answer(&mut session, id, 400_000)));
    for (id, bytes) in &mut answers {
        assert!(!session.send(*id, bytes, true));
    }
    sent(&mut session);
    told(&mut session, &frame(8, 0, 0, &1_000_000_u32.to_be_bytes()), usize::MAX);
    // Whose turn it is sends a frame, until so much waits that nobody is told.
    while session.first_in_line().is_some() {
        for (id, bytes) in &mut answers {
            assert!(!session.send(*id, bytes, true));
        }
    }
    let unsent = session.unsent().len();
    assert!(session.is_choked() && session.has_sent(unsent), "somebody waits");
}

#[test]
fn what_waits_to_be_sent_is_bounded() {
    let far = setting(4, (1 << 31) - 1);
    let mut session = session(&far);
    let more = frame(8, 0, 0, &(1_u32 << 30).to_be_bytes());
    told(&mut session, &[frame(1, GET, 1, HEAD), more].concat(), usize::MAX);
    let mut bytes = answer(&mut session, 1, 1_000_000);
    assert!(!session.send(1, &mut bytes, true));
    assert!(session.is_choked() && session.unsent().len() < 300_000);
    let unsent = session.unsent().len();
    assert!(!session.has_sent(unsent - 1));
    assert!(session.has_sent(1), "somebody waits");
    while !session.send(1, &mut bytes, true) {
        sent(&mut session);
    }
}

#[test]
fn a_connection_ends_when_its_client_has_heard_so() {
    let mut session = session(&[]);
    told(&mut session, &frame(1, GET, 1, HEAD), usize::MAX);
    session.go_away();
    session.go_away();
    let farewell = sent(&mut session);
    assert_eq!(farewell[0], (7, 0, 0, [&[0x7f, 0xff, 0xff, 0xff][..], &[0; 4]].concat()));
    assert_eq!((farewell.len(), farewell[1].0), (2, 6));
    // What it began before it heard of it is answered.
    told(&mut session, &frame(1, GET, 3, HEAD), usize::MAX);
    assert!(!session.is_over());
    told(&mut session, &frame(6, ACK, 0, &farewell[1].3), usize::MAX);
    assert_eq!(sent(&mut session), [(7, 0, 0, vec![0, 0, 0, 3, 0, 0, 0, 0])]);
    assert_eq!(told(&mut session, &frame(1, GET, 5, HEAD), usize::MAX), (Vec::new(), None));
    answer(&mut session, 1, 0);
    assert!(!session.is_over());
    answer(&mut session, 3, 0);
    assert!(session.is_over());
    sent(&mut session);
    // It was told that 5 was not looked at, and is never told otherwise (RFC 9113 §6.8).
    let mut going_away = Vec::new();
    frame::put_going_away(&mut going_away, 3, Reason::ProtocolError);
    assert_eq!(session.last_words(Reason::ProtocolError), going_away);
}

#[test]
fn an_answers_head_may_be_long() {
    let mut session = session(&[]);
    told(&mut session, &frame(1, GET, 1, HEAD), usize::MAX);
    let mut headers = HeaderMap::new();
    for at in 0..5 {
        let value = HeaderValue::from_bytes(&vec![b'a' + at; 9_000]).unwrap();
        headers.append("x-long", value);
    }
    let date = HeaderValue::from_static("now");
    session.answer(1, (StatusCode::OK, &headers), &date, None, true);
    let frames = sent(&mut session);
    let kinds: Vec<_> = frames.iter().map(|(kind, flags, ..)| (*kind, *flags)).collect();
    assert_eq!(kinds, [(1, END_STREAM), (9, 0), (9, END_HEADERS)]);
    let block = frames.into_iter().flat_map(|(.., payload)| payload).collect::<Vec<_>>();
    let mut count = 0;
    super::decoder::Decoder::new().read(&block, |_| count += 1).unwrap();
    assert_eq!(count, 7);
}

#[test]
fn the_last_words_are_what_is_unsent_and_why() {
    let mut session = session(&[]);
    told(&mut session, &frame(6, 0, 0, b"12345678"), usize::MAX);
    let words = session.last_words(Reason::StreamClosed);
    let mut going_away = Vec::new();
    frame::put_going_away(&mut going_away, 0, Reason::StreamClosed);
    assert_eq!(words, [frame(6, ACK, 0, b"12345678"), going_away].concat());
}

proptest! {
    #[test]
    fn how_bytes_are_cut_changes_nothing(
        kinds in prop::collection::vec((0_u8..11, 0_u8..64, 0_u32..8, 0_usize..12), 0..20),
        piece in 1_usize..40,
    ) {
        let mut frames = Vec::new();
        for (kind, flags, stream, length) in kinds {
            let payload = if kind == 1 { HEAD.to_vec() } else { vec![0x82; length] };
            frames.extend(frame(kind, flags, stream, &payload));
        }
        let whole = told(&mut session(&[]), &frames, usize::MAX);
        prop_assert_eq!(told(&mut session(&[]), &frames, piece), whole);
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        told(&mut session(&[]), &bytes, usize::MAX);
        let mut stranger = Session::<u8>::new(0);
        stranger.push(&bytes);
        while let Ok(Some(_)) = stranger.next(0) {}
    }
}
