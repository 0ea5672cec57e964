//! The same service over HTTP/2: as much of it as the generator speaks.

use super::{Books, Manner, Request};
use serde_json::Value;
use std::{
    io::{BufReader, Read, Write},
    net::TcpStream,
    sync::Mutex,
};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// So many it takes on a connection: fewer than are wanted.
const STREAMS_MAX: u32 = 3;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

pub(super) fn serve(
    mut stream: BufReader<TcpStream>,
    manner: Manner,
    books: &Mutex<Books>,
) -> Option<()> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).ok()?;
    let settings = [&[0, 3][..], &STREAMS_MAX.to_be_bytes()].concat();
    write(&mut stream, SETTINGS, 0, 0, &settings)?;
    write(&mut stream, PING, 0, 0, b"are you?")?;
    let mut open: Vec<(u32, Request, Vec<u8>)> = Vec::new();
    loop {
        let (kind, flags, id, payload) = read(&mut stream)?;
        match kind {
            HEADERS => open.push((id, request(&payload), Vec::new())),
            DATA => {
                let of = open.iter_mut().find(|it| it.0 == id).unwrap();
                of.2.extend_from_slice(&payload);
                let taken = u32::try_from(payload.len()).unwrap().to_be_bytes();
                write(&mut stream, WINDOW_UPDATE, 0, 0, &taken)?;
                if flags & END_STREAM == 0 {
                    write(&mut stream, WINDOW_UPDATE, 0, id, &taken)?;
                }
            }
            SETTINGS if flags & ACK == 0 => write(&mut stream, SETTINGS, ACK, 0, &[])?,
            _ => continue,
        }
        assert!(open.len() <= usize::try_from(STREAMS_MAX).unwrap(), "more than it takes");
        if !matches!(kind, HEADERS | DATA) || flags & END_STREAM == 0 {
            continue;
        }
        let at = open.iter().position(|it| it.0 == id).unwrap();
        let (_, mut request, body) = open.remove(at);
        if !body.is_empty() {
            request.body = serde_json::from_slice(&body).unwrap();
        }
        let answer = books.lock().unwrap().answer(manner, &request);
        match answer {
            Some((status, body)) => write_answer(&mut stream, id, status, &body)?,
            // One in two takes the others on the connection with it.
            None if id % 4 == 1 => write(&mut stream, RESET, 0, id, &[0, 0, 0, 2])?,
            None => return None,
        }
    }
}

/// In pieces, for answers need not come in one.
fn write_answer(
    stream: &mut BufReader<TcpStream>,
    id: u32,
    status: u16,
    body: &Value,
) -> Option<()> {
    let head = [b"\x08\x03", status.to_string().as_bytes()].concat();
    let body = body.to_string();
    let (first, second) = body.as_bytes().split_at(body.len() / 2);
    write(stream, HEADERS, END_HEADERS, id, &head)?;
    for part in first.chunks(16_384) {
        write(stream, DATA, 0, id, part)?;
    }
    for part in second.chunks(16_384) {
        write(stream, DATA, 0, id, part)?;
    }
    write(stream, DATA, END_STREAM, id, &[])
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
    stream.read_exact(&mut payload).ok()?;
    Some((kind, flags, u32::from_be_bytes(id), payload))
}

fn write(
    stream: &mut BufReader<TcpStream>,
    kind: u8,
    flags: u8,
    id: u32,
    payload: &[u8],
) -> Option<()> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let [d, e, f, g] = id.to_be_bytes();
    let frame = [&[a, b, c, kind, flags, d, e, f, g], payload].concat();
    stream.get_mut().write_all(&frame).ok()
}

/// A head whose fields are numbers of the static table, or texts of less than 127 bytes.
fn request(mut block: &[u8]) -> Request {
    let mut request =
        Request { method: String::new(), path: String::new(), key: None, body: Value::Null };
    while let Some((&first, rest)) = block.split_first() {
        block = rest;
        match first {
            0x20 | 0x86 => (),
            0x82 => request.method = "GET".to_owned(),
            0x83 => request.method = "POST".to_owned(),
            0x00 => {
                assert_eq!(text(&mut block), "idempotency-key");
                request.key = Some(text(&mut block));
            }
            0x04 => request.path = text(&mut block),
            0x01 => drop(text(&mut block)),
            0x0f | 0x1f => {
                block = &block[1..];
                drop(text(&mut block));
            }
            other => panic!("a field that it does not know: {other:#x}"),
        }
    }
    request
}

fn text(block: &mut &[u8]) -> String {
    let (length, rest) = block.split_first().unwrap();
    assert!(*length < 0x7f);
    let (text, rest) = rest.split_at(usize::from(*length));
    *block = rest;
    String::from_utf8(text.to_vec()).unwrap()
}
