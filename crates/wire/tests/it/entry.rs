//! What the fuzzer and the corpus test do with bytes: read them as a peer's, and hold what was read
//! to what it must be. They panic when it is not.

use wire::frame::{
    Frame, FrameBuffer, Headers, Hello, Inflow, RequestRef, ResponseRef, Target, append_data,
    append_going_away, append_load_report, append_owner_map, append_ping, append_pong,
    append_reset, append_window,
    limits::{FRAME_BYTES_MAX, STREAM_WINDOW_BYTES},
};

/// One frame, its length cut off. What can be read can be written, and is then read as the same.
pub(crate) fn frame(bytes: &[u8]) {
    // Longer ones never come out of a `FrameBuffer`.
    let bytes = &bytes[..bytes.len().min(FRAME_BYTES_MAX)];
    let Ok(frame) = Frame::read(bytes) else { return };
    let mut out = Vec::new();
    match &frame {
        Frame::Hello(hello) => hello.append(&mut out),
        Frame::Proof(proof) => proof.append(&mut out),
        Frame::Request(part) => {
            let Ok(request) = RequestRef::read(part.bytes) else { return };
            pull_headers(request.target);
            return same_request(&request, part.total.is_none());
        }
        Frame::Response(part) => {
            let Ok(response) = ResponseRef::read(part.bytes) else { return };
            assert!((100..1_000).contains(&response.status));
            pull(response.headers);
            return same_response(&response, part.total.is_none());
        }
        Frame::Data { id, end, bytes } => append_data(&mut out, *id, *end, bytes),
        Frame::Reset { id, reason } => append_reset(&mut out, *id, *reason),
        Frame::Window { id, credit } => append_window(&mut out, *id, *credit),
        Frame::Ping(number) => append_ping(&mut out, *number),
        Frame::Pong(number) => append_pong(&mut out, *number),
        Frame::OwnerMap(owners) => {
            append_owner_map(&mut out, &owners.iter().collect::<Vec<_>>());
        }
        Frame::GoingAway { why, reason } => append_going_away(&mut out, *why, reason),
        Frame::LoadReport(report) => append_load_report(&mut out, *report),
    }
    assert!(&out[4..] == bytes, "{frame:?}");
}

fn same_request(request: &RequestRef<'_>, open: bool) {
    let mut out = Vec::new();
    let written =
        if open { request.append_open(&mut out) } else { request.append(&mut out).map(drop) };
    // What a frame can bring may still be more than this version would send.
    if written.is_err() {
        return;
    }
    let Ok(Frame::Request(part)) = Frame::read(&out[4..]) else { panic!("{request:?}") };
    let again = RequestRef::read(part.bytes).expect("it was written");
    assert_eq!(part.total.is_none(), open);
    assert_eq!(
        (again.id, again.deadline_ms, again.attempt),
        (request.id, request.deadline_ms, request.attempt)
    );
    assert_eq!(
        (again.minted, again.key, again.trace),
        (request.minted, request.key, request.trace)
    );
    assert_eq!((again.target, again.body), (request.target, request.body));
}

fn same_response(response: &ResponseRef<'_>, open: bool) {
    let mut out = Vec::new();
    let written =
        if open { response.append_open(&mut out) } else { response.append(&mut out).map(drop) };
    if written.is_err() {
        return;
    }
    let Ok(Frame::Response(part)) = Frame::read(&out[4..]) else { panic!("{response:?}") };
    let again = ResponseRef::read(part.bytes).expect("it was written");
    assert_eq!(part.total.is_none(), open);
    assert_eq!(
        (again.id, again.status, again.decided_by),
        (response.id, response.status, response.decided_by)
    );
    assert_eq!((again.headers, again.body), (response.headers, response.body));
}

fn pull_headers(target: Target<'_>) {
    if let Target::Http { headers, .. } = target {
        pull(headers);
    }
}

fn pull(headers: Headers<'_>) {
    assert_eq!(headers.iter().count(), headers.len());
    _ = headers.get("x-request-id");
}

/// What came on a connection, in chunks whose lengths the first bytes say. However it is cut, the
/// frames are the same, and long messages are held to their windows.
pub(crate) fn feed(bytes: &[u8]) {
    let Some((&[at, step], stream)) = bytes.split_first_chunk::<2>() else { return };
    let whole = frames_of(stream, stream.len().max(1), 0);
    let cut = frames_of(stream, usize::from(step) + 1, usize::from(at));
    assert!(whole == cut, "cut at {at} by {step}");
}

/// The debug forms of all frames up to the first flaw, and whether there was one.
fn frames_of(stream: &[u8], step: usize, first: usize) -> (Vec<String>, bool) {
    let (mut buffer, mut seen, mut inflow) = (FrameBuffer::new(), Vec::new(), None);
    let (head, rest) = stream.split_at(first.min(stream.len()));
    for mut piece in std::iter::once(head).chain(rest.chunks(step)) {
        while !piece.is_empty() {
            let space = buffer.space();
            let count = space.len().min(piece.len());
            assert_ne!(count, 0);
            space[..count].copy_from_slice(&piece[..count]);
            buffer.filled(count);
            piece = &piece[count..];
            loop {
                let held = buffer.holds_frame();
                let frame = match buffer.next_frame() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => {
                        assert_eq!(held, Ok(false));
                        break;
                    }
                    Err(_) => return (seen, true),
                };
                assert_eq!(held, Ok(true));
                let flawed = stream_of(&frame, &mut inflow).is_err();
                seen.push(format!("{frame:?}"));
                if flawed {
                    return (seen, true);
                }
            }
        }
    }
    (seen, false)
}

/// Follows one stream, as the side that reads it does.
fn stream_of(frame: &Frame<'_>, inflow: &mut Option<Inflow>) -> Result<(), wire::Flaw> {
    match frame {
        Frame::Request(part) | Frame::Response(part) if part.whole().is_none() => {
            *inflow = Some(Inflow::new(part, STREAM_WINDOW_BYTES));
        }
        Frame::Data { end, bytes, .. } => {
            if let Some(open) = inflow {
                open.take(bytes.len(), *end)?;
                _ = open.consume(bytes.len());
            }
        }
        Frame::Request(_)
        | Frame::Response(_)
        | Frame::Hello(_)
        | Frame::Proof(_)
        | Frame::Reset { .. }
        | Frame::Window { .. }
        | Frame::Ping(_)
        | Frame::Pong(_)
        | Frame::OwnerMap(_)
        | Frame::GoingAway { .. }
        | Frame::LoadReport(_) => (),
    }
    Ok(())
}

/// The body of a hello: of one that can be read everything is within its limits.
pub(crate) fn hello(bytes: &[u8]) {
    let framed = [&[1], bytes].concat();
    frame(&framed);
    if let Ok(Frame::Hello(Hello { node, limits, .. })) = Frame::read(&framed) {
        assert!(!node.is_empty() && node.len() <= wire::limits::NAME_BYTES_MAX);
        assert!(limits.in_flight != 0 && limits.stream_window != 0);
    }
}
