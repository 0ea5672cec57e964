//! Sequences of frames and where they stop, however they are cut.

use super::*;
use proptest::prelude::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream[..], payload].concat()
}

fn settings() -> Vec<u8> {
    frame(4, 0, 0, &[])
}

/// Where and why the frames stop, when they come in pieces of this size.
fn stop(frames: &[Vec<u8>], piece: usize) -> Option<(usize, Reason)> {
    let mut guard = Guard::new(2, 0);
    let bytes = [b"xx".to_vec(), frames.concat()].concat();
    let mut passed = 0;
    for part in bytes.chunks(piece) {
        match guard.scan(part, 0) {
            Ok(()) => passed += part.len(),
            Err((at, reason)) => return Some((passed + at, reason)),
        }
    }
    None
}

#[track_caller]
fn check(frames: &[Vec<u8>], expected: Option<Reason>) {
    for piece in [1, 2, 7, 10, 100_000] {
        let stopped = stop(frames, piece).map(|(_, reason)| reason);
        assert_eq!(stopped, expected, "in pieces of {piece}");
    }
}

const GET: u8 = END_STREAM | END_HEADERS;

#[test]
fn streams_end_once() {
    let (data, headers) = (0, 1);
    for (frames, expected) in [
        (vec![frame(headers, GET, 1, b"\x82"), frame(headers, GET, 3, b"\x82")], None),
        (
            vec![frame(headers, GET, 1, b"\x82"), frame(data, 0, 1, b"x")],
            Some(Reason::StreamClosed),
        ),
        (
            vec![frame(headers, GET, 1, b"\x82"), frame(headers, GET, 1, b"\x82")],
            Some(Reason::StreamClosed),
        ),
        (
            vec![frame(headers, GET, 5, b"\x82"), frame(headers, GET, 3, b"\x82")],
            Some(Reason::StreamClosed),
        ),
        (
            vec![frame(headers, 4, 1, b"\x82"), frame(data, 0, 1, b"x"), frame(data, 1, 1, b"x")],
            None,
        ),
        (
            vec![frame(headers, 4, 1, b"\x82"), frame(data, 1, 1, b""), frame(data, 1, 1, b"x")],
            Some(Reason::StreamClosed),
        ),
        (
            vec![frame(headers, 4, 1, b"\x82"), frame(3, 0, 1, &[0; 4]), frame(data, 0, 1, b"x")],
            Some(Reason::StreamClosed),
        ),
        (vec![frame(headers, 4, 1, b"\x82"), frame(headers, GET, 1, b"\x00\x01x\x01y")], None),
        (
            vec![frame(headers, 4, 1, b"\x82"), frame(headers, GET, 1, b"\x82")],
            Some(Reason::ProtocolError),
        ),
        // What was never begun is for h2 to judge, and so is an update after the end.
        (vec![frame(data, 0, 1, b"x")], None),
        (vec![frame(headers, GET, 1, b"\x82"), frame(8, 0, 1, &[0, 0, 0, 1])], None),
    ] {
        check(&[vec![settings()], frames].concat(), expected);
    }
}

#[test]
fn the_oldest_of_many_unended_streams_are_forgotten() {
    let mut frames = vec![settings()];
    let stream = |at: usize| u32::try_from(2 * at + 1).unwrap();
    frames.extend((0..=OPEN_MAX).map(|at| frame(1, 4, stream(at), b"\x82")));
    frames.push(frame(0, 1, 1, b"x"));
    frames.push(frame(0, 1, 1, b"x"));
    check(&frames, None);
    frames.extend([frame(0, 1, 3, b"x"), frame(0, 1, 3, b"x")]);
    check(&frames, Some(Reason::StreamClosed));
}

#[test]
fn lengths_and_settings_are_checked() {
    for (bad, reason) in [
        (frame(2, 0, 1, &[0; 4]), Reason::FrameSizeError),
        (frame(3, 0, 1, &[0; 3]), Reason::FrameSizeError),
        (frame(4, 0, 0, &[0; 5]), Reason::FrameSizeError),
        (frame(4, ACK, 0, &[0; 6]), Reason::FrameSizeError),
        (frame(6, 0, 0, &[0; 7]), Reason::FrameSizeError),
        (frame(7, 0, 0, &[0; 7]), Reason::FrameSizeError),
        (frame(8, 0, 0, &[0; 5]), Reason::FrameSizeError),
        (
            frame(4, 0, 0, &[0, 3, 0xff, 0xff, 0xff, 0xff, 0, 4, 0x80, 0, 0, 0]),
            Reason::FlowControlError,
        ),
    ] {
        check(&[settings(), bad], Some(reason));
    }
    check(&[frame(6, 0, 0, &[0; 8])], Some(Reason::ProtocolError));
    check(&[settings(), frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff])], None);
    assert_eq!(
        stop(&[settings(), frame(6, 0, 0, &[0; 7])], 1_000),
        Some((11, Reason::FrameSizeError))
    );
}

#[test]
fn floods_are_stopped_and_time_forgives() {
    let flood = |bytes: &[u8], count: usize| {
        let mut guard = Guard::new(0, 0);
        guard.scan(&settings(), 0).unwrap();
        for stream in 0..2_000 {
            guard.scan(&frame(1, 4, 2 * stream + 1, b"\x82"), 0).unwrap();
        }
        for _ in 0..count {
            guard.scan(bytes, 0)?;
        }
        let calm = guard.scan(bytes, 1_000);
        assert_eq!(calm, Ok(()));
        Ok(())
    };
    let calm = Err((0, Reason::EnhanceYourCalm));
    for (bytes, max) in [
        (frame(3, 0, 3_999, &[0; 4]), 100),
        (frame(6, 0, 0, &[0; 8]), 499),
        (frame(4, 0, 0, &[]), 499),
        (frame(2, 0, 1, &[0; 5]), 499),
        (frame(0, 0, 3_999, &[]), 499),
        (frame(99, 0, 0, &[]), 499),
        (frame(8, 0, 0, &[0, 0, 0, 1]), 20_000),
    ] {
        assert_eq!(flood(&bytes, max), Ok(()));
        assert_eq!(flood(&bytes, max + 1), calm);
    }
    let mut guard = Guard::new(0, 0);
    guard.scan(&settings(), 0).unwrap();
    guard.scan(&frame(1, 1, 1, b"\x82"), 0).unwrap();
    let mut other = Guard::new(0, 0);
    other.scan(&[settings(), frame(1, 1, 1, b"\x82")].concat(), 0).unwrap();
    assert_eq!(other.scan(&frame(6, 0, 0, &[0; 8]), 0), Err((0, Reason::ProtocolError)));
    let pieces = (0..9).map(|_| guard.scan(&frame(9, 0, 1, b"\x82"), 0)).collect::<Vec<_>>();
    assert!(pieces[..8].iter().all(Result::is_ok));
    assert_eq!(pieces[8], calm);
}

#[test]
fn the_last_frame_says_why() {
    assert_eq!(going_away(7, Reason::StreamClosed), frame(7, 0, 0, &[0, 0, 0, 7, 0, 0, 0, 5]));
}

proptest! {
    #[test]
    fn how_bytes_are_cut_changes_nothing(
        kinds in prop::collection::vec((0_u8..11, 0_u8..64, 0_u32..8, 0_usize..12), 0..20),
        piece in 1_usize..40,
    ) {
        let mut frames = vec![settings()];
        frames.extend(kinds.iter().map(|(kind, flags, stream, length)| {
            frame(*kind, *flags, *stream, &vec![0x82; *length])
        }));
        let reason = |piece| stop(&frames, piece).map(|(_, reason)| reason);
        prop_assert_eq!(reason(piece), reason(usize::MAX));
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        _ = Guard::new(0, 0).scan(&bytes, 0);
        _ = trailers::have_pseudo_headers(&bytes, (bytes.len() % 2 == 0, bytes.len() % 3 == 0));
    }
}
