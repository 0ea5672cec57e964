//! What is written is read, what is cut or wrong is refused, and nothing panics.

use super::{limits::*, *};
use crate::{Epoch, PartitionId, limits::PARTITIONS_MAX};
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeMap;

/// Long messages that are not whole yet.
type Partial = BTreeMap<u32, Vec<u8>>;

/// Appends what a first frame left of a message.
fn append_rest(out: &mut Vec<u8>, id: u32, rest: &[u8]) {
    let count = rest.chunks(DATA_BYTES_MAX).count();
    for (index, piece) in rest.chunks(DATA_BYTES_MAX).enumerate() {
        append_data(out, id, index + 1 == count, piece);
    }
}

fn append_request(out: &mut Vec<u8>, request: &RequestRef<'_>) {
    let sent = request.append(out).unwrap();
    append_rest(out, request.id, &request.body[sent..]);
}

fn append_response(out: &mut Vec<u8>, response: &ResponseRef<'_>) {
    let sent = response.append(out).unwrap();
    append_rest(out, response.id, &response.body[sent..]);
}

/// Reads all frames of `bytes`, fed to the buffer `step` bytes at a time; returns their debug
/// forms, and messages put together.
fn read_all(bytes: &[u8], step: usize) -> Result<Vec<String>, Flaw> {
    let (mut buffer, mut partial) = (FrameBuffer::new(), Partial::new());
    let mut seen = Vec::new();
    for piece in bytes.chunks(step) {
        let mut piece = piece;
        while !piece.is_empty() {
            feed(&mut buffer, &mut piece);
            while let Some(frame) = buffer.next_frame()? {
                seen.extend(show(frame, &mut partial)?);
            }
        }
    }
    Ok(seen)
}

/// Puts as much of `piece` into the buffer as there is space, which is some.
fn feed(buffer: &mut FrameBuffer, piece: &mut &[u8]) {
    let space = buffer.space();
    let count = space.len().min(piece.len());
    assert_ne!(count, 0);
    space[..count].copy_from_slice(&piece[..count]);
    buffer.filled(count);
    *piece = &piece[count..];
}

fn show(frame: Frame<'_>, partial: &mut Partial) -> Result<Option<String>, Flaw> {
    let whole = |kind: &str, message: &[u8]| -> Result<_, Flaw> {
        Ok(Some(match kind {
            "request" => show_request(&RequestRef::read(message)?),
            _ => show_response(&ResponseRef::read(message)?),
        }))
    };
    match frame {
        Frame::Request(part) | Frame::Response(part) if part.whole().is_none() => {
            partial.insert(part.id, part.bytes.to_vec());
            Ok(None)
        }
        Frame::Request(part) => whole("request", part.bytes),
        Frame::Response(part) => whole("response", part.bytes),
        Frame::Data { id, end, bytes } => {
            let message = partial.get_mut(&id).ok_or(Flaw("data for no message"))?;
            message.extend_from_slice(bytes);
            // The tests tell the direction by the id.
            let kind = if id % 2 == 0 { "request" } else { "response" };
            if end { whole(kind, message) } else { Ok(None) }
        }
        Frame::Hello(_)
        | Frame::Proof(_)
        | Frame::Ping(_)
        | Frame::Pong(_)
        | Frame::OwnerMap(_)
        | Frame::GoingAway { .. }
        | Frame::Reset { .. }
        | Frame::Window { .. }
        | Frame::LoadReport(_) => Ok(Some(format!("{frame:?}"))),
    }
}

fn show_request(request: &RequestRef<'_>) -> String {
    let RequestRef { id, deadline_ms, attempt, minted, key, trace, target, body, .. } = request;
    format!("{id} {deadline_ms} {attempt} {minted} {key:?} {trace} {target:?} {body:?}")
}

fn show_response(response: &ResponseRef<'_>) -> String {
    let ResponseRef { id, status, decided_by, headers, body, .. } = response;
    format!("{id} {status} {decided_by} {headers:?} {body:?}")
}

fn headers() -> impl Strategy<Value = HeaderList> {
    vec(("[a-z-]{1,20}", vec(any::<u8>(), 0..100)), 0..20).prop_map(|pairs| {
        let mut list = HeaderList::new();
        for (name, value) in pairs {
            list.push(&name, &value).unwrap();
        }
        list
    })
}

/// Bodies mostly short, some over several frames.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![8 => 0..2_000_usize, 1 => 60_000..70_000_usize, 1 => 0..300_000_usize];
    (length, any::<u8>()).prop_map(|(length, fill)| vec![fill; length])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_read_as_written(
        id in any::<u32>(), deadline_ms in any::<u32>(), attempt in any::<u8>(), minted in any::<bool>(),
        key in vec(any::<u8>(), 0..255), trace in "[ -~]{0,128}", http in any::<bool>(),
        method in "[A-Z]{1,32}", path in "/[a-z/?=]{0,300}", headers in headers(), body in body(),
        step in 1_usize..5_000,
    ) {
        let ledger = Target::Ledger { service: "a", partition: PartitionId(3), partitions: 16 };
        let target = Target::Http { method: &method, path: &path, headers: headers.as_ref() };
        let mut request = RequestRef::new(if http { target } else { ledger }, deadline_ms, &body);
        (request.id, request.attempt, request.minted) = (id & !1, attempt, minted);
        (request.key, request.trace) = (&key, &trace);
        let mut out = Vec::new();
        append_request(&mut out, &request);
        prop_assert_eq!(read_all(&out, step).unwrap(), [show_request(&request)]);
    }

    #[test]
    fn responses_are_read_as_written(
        id in any::<u32>(), status in 100_u16..1_000, node in "[a-z]{0,32}", headers in headers(),
        body in body(), step in 1_usize..5_000,
    ) {
        let mut response = ResponseRef::new(status, &node, &body);
        (response.id, response.headers) = (id | 1, headers.as_ref());
        let mut out = Vec::new();
        append_response(&mut out, &response);
        prop_assert_eq!(read_all(&out, step).unwrap(), [show_response(&response)]);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), kind in 0_u8..14) {
        drop(read_all(&bytes, 64));
        // Behind a plausible length and kind the bytes get further.
        let mut framed = u32::try_from(bytes.len() + 1).unwrap().to_le_bytes().to_vec();
        framed.push(kind);
        framed.extend_from_slice(&bytes);
        drop(read_all(&framed, 64));
        _ = (RequestRef::read(&bytes).is_ok(), ResponseRef::read(&bytes).is_ok());
    }

    #[test]
    fn a_damaged_request_never_panics(at in 0_usize..120, to in any::<u8>(), cut in 0_usize..120) {
        let mut out = Vec::new();
        example().append(&mut out).unwrap();
        let at = at % out.len();
        out[at] = to;
        drop(read_all(&out, 1_000));
        let message = &out[5..];
        _ = RequestRef::read(&message[..cut.min(message.len())]).is_ok();
    }
}

fn example() -> RequestRef<'static> {
    let target = Target::Http { method: "POST", path: "/v1/a/accounts", headers: Headers::NONE };
    let mut request = RequestRef::new(target, 1_000, b"{\"currency\":\"EUR\"}");
    (request.key, request.trace) = (b"key-1", "00-1-2-01");
    request
}

#[test]
fn every_cut_of_a_head_is_a_flaw_and_of_a_frame_a_wait() {
    let mut out = Vec::new();
    let mut request = example();
    request.body = &[];
    request.append(&mut out).unwrap();
    for length in 0..out.len() {
        assert_eq!(read_all(&out[..length], 7).unwrap(), [""; 0], "cut at {length}");
        if 5 <= length {
            assert!(RequestRef::read(&out[5..length]).is_err(), "cut at {length}");
        }
    }
}

#[test]
fn a_forwarded_message_differs_in_the_patch_only() {
    for body_bytes in [10, 200_000] {
        let body = vec![7; body_bytes];
        let mut request = example();
        (request.id, request.body) = (2, &body);
        let mut out = Vec::new();
        append_request(&mut out, &request);
        let message = gather(&out);
        let patch = Patch { deadline_ms: 5, attempt: 3 };
        let mut forwarded = Vec::new();
        let sent = append_forwarded_request(&mut forwarded, 44, patch, &message);
        append_rest(&mut forwarded, 44, &message[sent..]);
        (request.id, request.deadline_ms, request.attempt) = (44, 5, 3);
        assert_eq!(read_all(&forwarded, 999).unwrap(), [show_request(&request)]);

        let mut response = ResponseRef::new(201, "a-1", &body);
        response.id = 1;
        out.clear();
        append_response(&mut out, &response);
        let message = gather(&out);
        forwarded.clear();
        let sent = append_forwarded_response(&mut forwarded, 45, &message);
        append_rest(&mut forwarded, 45, &message[sent..]);
        response.id = 45;
        assert_eq!(read_all(&forwarded, 999).unwrap(), [show_response(&response)]);
    }
}

/// The one message in `bytes`.
fn gather(bytes: &[u8]) -> Vec<u8> {
    let (mut buffer, mut message) = (FrameBuffer::new(), Vec::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        feed(&mut buffer, &mut rest);
        while let Some(frame) = buffer.next_frame().unwrap() {
            if let Frame::Request(part) | Frame::Response(part) = frame {
                message = part.bytes.to_vec();
            } else if let Frame::Data { bytes, .. } = frame {
                message.extend_from_slice(bytes);
            } else {
                panic!("{frame:?}");
            }
        }
    }
    message
}

#[test]
fn a_stream_says_that_its_end_is_not_known() {
    let mut request = example();
    request.id = 2;
    let mut out = Vec::new();
    request.append_open(&mut out).unwrap();
    let Frame::Request(part) = Frame::read(&out[4..]).unwrap() else { panic!() };
    assert_eq!((part.id, part.total, part.whole()), (2, None, None));
    let head = RequestRef::read(part.bytes).unwrap();
    assert_eq!(show_request(&head), show_request(&request));

    // Passed on part by part it stays open, and once it was gathered it is like any other.
    let patch = Patch { deadline_ms: 5, attempt: 3 };
    let mut forwarded = Vec::new();
    append_request_part(&mut forwarded, 4, patch, part.bytes);
    let Frame::Request(passed) = Frame::read(&forwarded[4..]).unwrap() else { panic!() };
    assert_eq!((passed.id, passed.total), (4, None));
    let message = [part.bytes, b"and more"].concat();
    forwarded.clear();
    assert_eq!(append_forwarded_request(&mut forwarded, 4, patch, &message), message.len());
    let Frame::Request(whole) = Frame::read(&forwarded[4..]).unwrap() else { panic!() };
    assert_eq!(whole.whole().map(<[u8]>::len), Some(message.len()));

    let body = [0; FRAME_BYTES_MAX];
    request.body = &body;
    out.clear();
    assert!(request.append_open(&mut out).is_err() && out.is_empty());
    let mut response = ResponseRef::new(200, "a-1", b"first");
    response.id = 1;
    response.append_open(&mut out).unwrap();
    let Frame::Response(part) = Frame::read(&out[4..]).unwrap() else { panic!() };
    forwarded.clear();
    append_response_part(&mut forwarded, 9, part.bytes);
    let Frame::Response(passed) = Frame::read(&forwarded[4..]).unwrap() else { panic!() };
    assert_eq!((passed.id, passed.total, passed.bytes.len()), (9, None, part.bytes.len()));
}

#[test]
fn control_frames_are_read_as_written() {
    let mut out = Vec::new();
    let owners: Vec<_> =
        (0..PARTITIONS_MAX).map(|at| (PartitionId(at), Epoch(u64::from(at) << 40))).collect();
    append_owner_map(&mut out, &owners);
    let mut buffer = FrameBuffer::new();
    buffer.space()[..out.len()].copy_from_slice(&out);
    buffer.filled(out.len());
    let Some(Frame::OwnerMap(read)) = buffer.next_frame().unwrap() else { panic!() };
    assert!(read.iter().eq(owners));

    out.clear();
    append_ping(&mut out, 7);
    append_pong(&mut out, 8);
    append_going_away(&mut out, Farewell::Aged, &"é".repeat(200));
    let report =
        LoadReport { in_flight: 9, latency_us: u32::MAX, limit_permille: 1_001, draining: true };
    append_load_report(&mut out, report);
    let seen = read_all(&out, 3).unwrap();
    assert_eq!(seen[0], "Ping(7)");
    assert_eq!(seen[1], "Pong(8)");
    assert_eq!(seen[2], format!("GoingAway {{ why: Aged, reason: {:?} }}", "é".repeat(127)));
    assert_eq!(seen[3], format!("LoadReport({report:?})"));

    out.clear();
    append_reset(&mut out, 77, ResetReason::Late);
    append_window(&mut out, 78, u32::MAX);
    append_data(&mut out, 79, true, b"");
    let seen = read_all(&out[..out.len() - 10], 3).unwrap();
    assert_eq!(seen, ["Reset { id: 77, reason: Late }", "Window { id: 78, credit: 4294967295 }"]);
    let Frame::Data { id: 79, end: true, bytes: b"" } = Frame::read(&out[out.len() - 6..]).unwrap()
    else {
        panic!();
    };
}

#[test]
fn limits_are_kept_on_both_sides() {
    let long = "x".repeat(PATH_BYTES_MAX + 1);
    let mut request = example();
    request.target = Target::Http { method: "GET", path: &long, headers: Headers::NONE };
    assert!(request.append(&mut Vec::new()).is_err());
    let body = vec![0; MESSAGE_BYTES_MAX];
    let mut request = example();
    request.body = &body;
    let mut out = vec![1];
    assert!(request.append(&mut out).is_err());
    assert_eq!(out, [1]);

    let refused = |bytes: &[u8], flaw: &str| assert_eq!(read_all(bytes, 999), Err(flaw_of(flaw)));
    refused(&u32::MAX.to_le_bytes(), "a frame is too long");
    refused(&[0, 0, 0, 0], "an empty frame");
    refused(&[1, 0, 0, 0, 99], "a frame of an unknown kind");
    refused(&[6, 0, 0, 0, 5, 1, 0, 0, 0, 0], "data without bytes");
    refused(&[7, 0, 0, 0, 5, 1, 0, 0, 0, 2, 0], "a flag is neither 0 nor 1");
    refused(&[6, 0, 0, 0, 11, 1, 0, 0, 0, 9], "a reset for an unknown cause");
    refused(&[4, 0, 0, 0, 9, 0, 0, 0], "a farewell for an unknown cause");
    // A message of 9 MiB in all.
    refused(&[9, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0x90, 0], "a message is too long");
    // One that holds more than it says.
    refused(&[10, 0, 0, 0, 3, 1, 0, 0, 0, 8, 0, 0, 0, 0], "a message is longer than it says");

    let mut list = HeaderList::new();
    (0..HEADERS_MAX).for_each(|_| list.push("a", b"b").unwrap());
    assert!(list.push("a", b"b").is_err());
    assert_eq!((list.as_ref().len(), list.as_ref().get("a")), (HEADERS_MAX, Some(&b"b"[..])));
    assert!(HeaderList::new().push("a", &vec![0; HEADERS_BYTES_MAX]).is_err());
}

fn flaw_of(text: &str) -> Flaw {
    Flaw(Box::leak(text.to_owned().into_boxed_str()))
}

#[test]
fn a_proof_is_bound_to_key_side_and_both_hellos() {
    let hello = |node, challenge| Hello {
        node,
        boot: 1,
        challenge: [challenge; 32],
        limits: HelloLimits::OURS,
    };
    let (client, server) = (hello("edge", 1), hello("layer", 2));
    let proof = Proof::new(b"key", Side::Client, &client, &server);
    assert!(proof.matches(&Proof::new(b"key", Side::Client, &client, &server)));
    for other in [
        Proof::new(b"kez", Side::Client, &client, &server),
        Proof::new(b"key", Side::Server, &client, &server),
        Proof::new(b"key", Side::Client, &server, &client),
        Proof::new(b"key", Side::Client, &hello("edge", 3), &server),
        Proof::new(b"key", Side::Client, &client, &hello("layex", 2)),
    ] {
        assert!(!proof.matches(&other));
    }
    let mut out = Vec::new();
    client.append(&mut out);
    assert_eq!(read_all(&out, 9).unwrap(), [format!("Hello({client:?})")]);
    out[5] = b'T';
    assert_eq!(read_all(&out, 9), Err(Flaw("not a tollgate node")));
}
