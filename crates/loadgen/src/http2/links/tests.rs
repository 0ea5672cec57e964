//! Connections to a peer that does not behave as usual.

use super::*;
use crate::{
    driver,
    http2::frame::{self, END_HEADERS, END_STREAM, HEAD_BYTES, Head, Kind},
    work::{Deed, Op},
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

/// What a peer hears on its connections: the connection's number, kind and stream of each frame.
type Heard = Receiver<(usize, Kind, u32)>;

/// Serves one connection after the other; `answer` says what is to be written for a request on which
/// stream of which connection.
fn peer(answer: impl Fn(usize, u32) -> Vec<u8> + Send + 'static) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, heard) = mpsc::channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let tell = |kind, id| sender.send((number, kind, id)).unwrap_or_default();
            serve(stream, &|id| answer(number, id), &tell).unwrap_or_default();
        }
    });
    (addr, heard)
}

/// To the end of the connection.
fn serve(
    mut stream: TcpStream,
    answer: &dyn Fn(u32) -> Vec<u8>,
    tell: &dyn Fn(Kind, u32),
) -> io::Result<()> {
    stream.read_exact(&mut [0; frame::PREFACE.len()])?;
    let mut settings = Vec::new();
    frame::put_settings(&mut settings, &[]);
    stream.write_all(&settings)?;
    loop {
        let mut head = [0; HEAD_BYTES];
        stream.read_exact(&mut head)?;
        let head = Head::parse(&head).unwrap().unwrap();
        stream.read_exact(&mut vec![0; head.length])?;
        tell(head.kind, head.stream);
        if head.kind == Kind::Headers {
            stream.write_all(&answer(head.stream))?;
        }
    }
}

fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put_head(&mut out, kind, flags, stream, payload.len());
    out.extend_from_slice(payload);
    out
}

fn no_content(stream: u32) -> Vec<u8> {
    frame(Kind::Headers, END_HEADERS | END_STREAM, stream, &[0x89])
}

/// Reads, until so many have been answered and one has ended in another way, if one is to.
struct Reads {
    answers: usize,
    wanted: usize,
    failure_wanted: bool,
    failures: Vec<String>,
    unconnected: Option<&'static str>,
}

impl Job for Reads {
    fn next(&mut self, _lane: usize, _now: Moment, out: &mut Vec<u8>) -> Next {
        let plan = crate::Plan { streams: Some(1), ..crate::tests::plan("127.0.0.1:1") };
        let op = Op { account: 0, deed: Deed::Read, amount: 0, to: None };
        crate::letter::Letters::new(&plan).op(out, op, &crate::letter::Key::None);
        Next::Send
    }

    fn ended(&mut self, _lane: usize, _now: Moment, end: End<'_>) {
        if matches!(&end, End::Answer(it) if it.status == 204) {
            self.answers += 1;
            return;
        }
        if self.failure_wanted {
            self.answers = 0; // After it, all of them once more.
        }
        self.failures.push(format!("{end:?}"));
    }

    fn tick(&mut self, _now: Moment) {}

    fn unconnected(&mut self, why: Option<&'static str>) {
        self.unconnected = why.or(self.unconnected);
    }

    fn is_done(&self, _now: Moment) -> bool {
        let has_failed = !self.failures.is_empty() || !self.failure_wanted;
        self.unconnected.is_some() || (has_failed && self.wanted <= self.answers)
    }
}

/// Twenty reads, two at a time on one connection, that may wait for a second.
fn reads(addr: SocketAddr, failure_wanted: bool) -> Reads {
    let (failures, unconnected) = (Vec::new(), None);
    let mut reads = Reads { answers: 0, wanted: 20, failure_wanted, failures, unconnected };
    let bounds = Bounds {
        addr,
        connections: 1,
        streams: Some(2),
        answer_time_max: Duration::from_secs(1),
        connection_requests: None,
    };
    driver::drive(bounds, &mut reads).unwrap();
    reads
}

#[test]
fn a_request_without_an_answer_is_taken_back_alone() {
    let (addr, heard) = peer(|_, id| if id == 1 { Vec::new() } else { no_content(id) });
    assert_eq!(reads(addr, true).failures, ["TimedOut"]);
    let heard: Vec<_> = heard.try_iter().collect();
    assert!(heard.contains(&(0, Kind::Reset, 1)), "{heard:?}");
    assert!(heard.iter().all(|it| it.0 == 0), "the connection stayed");
}

#[test]
fn a_silent_connection_is_given_up_whole() {
    let (addr, heard) = peer(|number, id| if number == 0 { Vec::new() } else { no_content(id) });
    assert_eq!(reads(addr, true).failures, ["TimedOut", "Lost"]);
    assert!(heard.try_iter().any(|it| it.0 == 1), "another one was opened");
}

#[test]
fn what_a_leaving_peer_does_not_begin_goes_to_the_next_connection() {
    let (addr, heard) = peer(|number, id| match (number, id) {
        (0, 1) => Vec::new(),
        // The second is answered as it goes; the first was not begun, it says.
        (0, 3) => frame(Kind::GoAway, 0, 0, &[0; 8]),
        _ => no_content(id),
    });
    assert_eq!(reads(addr, true).failures, ["Unsent", "Unsent"]);
    assert!(heard.try_iter().any(|it| it.0 == 1), "another one was opened");
}

#[test]
fn a_connection_that_was_used_up_is_followed_by_another() {
    let (addr, heard) = peer(|_, id| match id {
        5 => [frame(Kind::GoAway, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 0]), no_content(5)].concat(),
        _ => no_content(id),
    });
    assert!(reads(addr, false).failures.iter().all(|it| it == "Unsent"), "above the last alone");
    let heard: Vec<_> = heard.try_iter().collect();
    assert!(heard.iter().any(|it| it.0 == 3), "{heard:?}");
    assert!(heard.contains(&(3, Kind::Settings, 0)), "each begins with settings");
}

#[test]
fn a_peer_that_speaks_no_http2_is_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap_or_default();
            stream.read_to_end(&mut Vec::new()).unwrap_or_default();
        }
    });
    let why = reads(addr, false).unconnected;
    assert!(why.is_some_and(|it| it.starts_with("it speaks no HTTP/2")), "{why:?}");
}
