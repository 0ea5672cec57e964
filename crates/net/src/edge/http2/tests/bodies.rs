//! Bodies of requests: their windows, their lengths, and those that nobody wants.

use super::*;
use std::collections::BTreeMap;

#[test]
fn a_body_opens_its_windows_as_it_is_read() {
    let mut session = session(&[]);
    told(&mut session, &frame(1, END_HEADERS, 1, HEAD), usize::MAX);
    let part = frame(0, 0, 1, &[0; 16_384]);
    let mut opened = BTreeMap::new();
    for _ in 0..40 {
        told(&mut session, &part, usize::MAX);
        for (kind, _, id, payload) in sent(&mut session) {
            assert_eq!(kind, 8);
            *opened.entry(id).or_insert(0) += u32::from_be_bytes(payload.try_into().unwrap());
        }
    }
    assert_eq!(opened, [(0, 32 * 16_384), (1, 40 * 16_384)].into());
    // Padding counts, and nobody need read it.
    let padded = [&[255][..], &[0; 255]].concat();
    let mut session = super::session(&[]);
    told(&mut session, &frame(1, END_HEADERS, 1, HEAD), usize::MAX);
    told(&mut session, &frame(0, 8, 1, &padded).repeat(4_096), usize::MAX);
    let opened = sent(&mut session).iter().map(|it| it.2).collect::<Vec<_>>();
    assert_eq!(opened.iter().filter(|id| **id == 0).count(), 2);
    assert_eq!(opened.iter().filter(|id| **id == 1).count(), 32);
    // Who does not read holds the client back.
    let mut session = super::session(&[]);
    session.push(&frame(1, END_HEADERS, 1, HEAD));
    (0..5).for_each(|_| session.push(&part));
    let mut last = None;
    while let Some(event) = session.next(0).unwrap() {
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::Reset(_))));
    assert_eq!(sent(&mut session), [(3, 0, 1, vec![0, 0, 0, 3])]);
}

#[test]
fn a_body_that_nobody_wants_is_let_in_or_reset() {
    let mut session = session(&[]);
    told(&mut session, &frame(1, END_HEADERS, 1, HEAD), usize::MAX);
    answer(&mut session, 1, 0);
    sent(&mut session);
    assert!(session.lane(1).is_some(), "the rest may still be wanted");
    session.unwant(1, 0);
    assert_eq!(sent(&mut session), [(3, 0, 1, vec![0; 4])]);
    // What was on its way is no offence.
    assert_eq!(told(&mut session, &frame(0, 1, 1, b"late"), usize::MAX), (Vec::new(), None));
    told(&mut session, &frame(1, END_HEADERS, 3, HEAD), usize::MAX);
    answer(&mut session, 3, 0);
    sent(&mut session);
    told(&mut session, &frame(0, 1, 3, b"all"), usize::MAX);
    assert!(session.lane(3).is_some(), "it is still to be read");
    session.unwant(3, 0);
    assert!(session.lane(3).is_none());
    assert!(sent(&mut session).is_empty());
}

/// Its answer may take long, and the client need not send for that.
#[test]
fn a_body_that_nobody_wants_gets_no_more_room() {
    let mut session = session(&[]);
    told(&mut session, &[frame(1, END_HEADERS, 1, HEAD), frame(0, 0, 1, &[0; 9])].concat(), 99);
    session.unwant(1, 0);
    let part = frame(0, 0, 1, &[0; 16_384]);
    told(&mut session, &part.repeat(3), usize::MAX);
    assert_eq!(sent(&mut session), []);
    assert_eq!(told(&mut session, &part, usize::MAX).0, ["reset"]);
    assert_eq!(sent(&mut session), [(3, 0, 1, vec![0, 0, 0, 3])]);
}

#[test]
fn a_length_that_was_told_is_kept() {
    let post = [HEAD, b"\x0f\x0d\x013"].concat(); // content-length: 3
    for (parts, is_sound) in [
        (vec![frame(0, 1, 1, b"abc")], true),
        (vec![frame(0, 0, 1, b"abc"), frame(0, 1, 1, b"")], true),
        (vec![frame(0, 0, 1, b"abc"), frame(1, GET, 1, b"")], true),
        (vec![frame(0, 1, 1, b"ab")], false),
        (vec![frame(0, 0, 1, b"abcd")], false),
        (vec![frame(0, 0, 1, b"ab"), frame(1, GET, 1, b"")], false),
    ] {
        let mut session = session(&[]);
        let frames = [vec![frame(1, END_HEADERS, 1, &post)], parts].concat().concat();
        let (events, reason) = told(&mut session, &frames, 3);
        assert_eq!(reason, None);
        assert_eq!(events.last().unwrap() == "reset", !is_sound, "{events:?}");
    }
}
