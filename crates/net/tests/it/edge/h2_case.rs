//! A case of HTTP/2: what is sent and what must come of it.

use super::{edge, frames::*};
use crate::harness::run;

/// What must come of what was sent.
#[derive(Debug)]
pub(super) enum Expect {
    /// An answer, whole.
    Answer,
    /// The first data frame has so many bytes.
    Data(usize),
    /// The connection goes on: a ping is answered.
    Alive,
    /// The stream, or all of them, end with one of these codes.
    Stream(&'static [u32]),
    /// The connection ends with one of these codes.
    Connection(&'static [u32]),
}
pub(super) use Expect::{Alive, Answer, Connection, Data, Stream};

pub(super) struct Case {
    name: &'static str,
    sent: Vec<Vec<u8>>,
    /// What is sent once the first answer is there.
    then: Vec<Vec<u8>>,
    expect: Expect,
}

pub(super) fn case(name: &'static str, sent: Vec<Vec<u8>>, expect: Expect) -> Case {
    Case { name, sent, then: Vec::new(), expect }
}

pub(super) fn after(name: &'static str, then: Vec<Vec<u8>>, expect: Expect) -> Case {
    Case { name, sent: vec![get(1)], then, expect }
}

pub(super) const PING_BYTES: &[u8; 8] = b"tollgate";

/// What is wrong with how a case went.
async fn attempt(addr: std::net::SocketAddr, case: &Case) -> Result<(), String> {
    let mut client = Client::greeted(addr).await;
    for bytes in &case.sent {
        client.send(bytes).await;
    }
    if !case.then.is_empty() {
        client.find(Frame::ends_stream).await.ok_or("no answer at first")?;
        for bytes in &case.then {
            client.send(bytes).await;
        }
    }
    if matches!(case.expect, Alive) {
        client.send(&frame(PING, 0, 0, PING_BYTES)).await;
    }
    let mut seen = Vec::new();
    loop {
        let Ok(next) = client.next().await else { return Err(format!("nothing after {seen:?}")) };
        let Some(next) = next else { return Err(format!("closed after {seen:?}")) };
        let code = next.code();
        match &case.expect {
            Answer if next.ends_stream() => return Ok(()),
            Data(bytes) if next.kind == DATA => {
                let is_right = next.payload.len() == *bytes;
                return if is_right {
                    Ok(())
                } else {
                    Err(format!("{} bytes", next.payload.len()))
                };
            }
            Alive if next.kind == PING && next.flags == ACK && next.payload == PING_BYTES => {
                return Ok(());
            }
            Stream(codes) | Connection(codes) if next.kind == GOAWAY => {
                let is_right = code.is_some_and(|code| codes.contains(&code));
                return if is_right { Ok(()) } else { Err(format!("going away with {code:?}")) };
            }
            Stream(codes) if next.kind == RESET => {
                let is_right = code.is_some_and(|code| codes.contains(&code));
                return if is_right { Ok(()) } else { Err(format!("reset with {code:?}")) };
            }
            Answer | Data(_) | Alive if next.kind == GOAWAY || next.kind == RESET => {
                return Err(format!("refused: {next:?}"));
            }
            Answer | Data(_) | Alive | Stream(_) | Connection(_) => {
                seen.push((next.kind, next.stream, code));
            }
        }
    }
}

#[track_caller]
pub(super) fn check(cases: &[Case]) {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let mut failures = Vec::new();
        for case in cases {
            if let Err(failure) = attempt(addr, case).await {
                failures.push(format!("{}: {:?} and not {failure}", case.name, case.expect));
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
}

pub(super) fn post(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &head("POST", "/", &[]))
}

/// A GET with these headers and nothing else.
pub(super) fn bare(headers: &[(&str, &str)]) -> Vec<Vec<u8>> {
    vec![frame(HEADERS, WHOLE, 1, &block(headers))]
}

/// A GET with these headers behind the usual ones.
pub(super) fn with(headers: &[(&'static str, &'static str)]) -> Vec<Vec<u8>> {
    vec![frame(HEADERS, WHOLE, 1, &head("GET", "/", headers))]
}

/// A GET whose head ends with these bytes.
pub(super) fn raw(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut block = head("GET", "/", &[]);
    block.extend_from_slice(bytes);
    vec![frame(HEADERS, WHOLE, 1, &block)]
}

pub(super) fn priority(stream: u32, on: u32, weight: u8) -> Vec<u8> {
    let mut payload = on.to_be_bytes().to_vec();
    payload.push(weight);
    frame(PRIORITY, 0, stream, &payload)
}

pub(super) fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW, 0, stream, &by.to_be_bytes())
}

pub(super) fn settings(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &setting(id, value))
}

pub(super) fn reset(stream: u32) -> Vec<u8> {
    frame(RESET, 0, stream, &8_u32.to_be_bytes())
}
