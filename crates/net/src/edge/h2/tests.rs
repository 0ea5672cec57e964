//! What a connection's clock makes of how its client takes what is sent.

use super::*;
use crate::edge::{
    limits::SEND_BYTES_MAX,
    patience::{Patience, Sweeps},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use std::cell::Cell;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket},
    runtime::{Builder, LocalOptions},
};

/// So that sockets hold little of what is sent.
const SOCKET_BYTES: u32 = 4_096;

/// Sockets joined with each other, ours and the client's.
async fn sockets() -> (Stream, tokio::net::TcpStream) {
    let small = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(SOCKET_BYTES).unwrap();
        socket.set_recv_buffer_size(SOCKET_BYTES).unwrap();
        socket
    };
    let listening = small();
    listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener: TcpListener = listening.listen(1).unwrap();
    let client = small().connect(listener.local_addr().unwrap()).await.unwrap();
    (Stream::plain(listener.accept().await.unwrap().0), client)
}

/// A connection with an answer in hand that is longer than all that is held, and its bytes.
fn answering(tick: &Rc<Cell<u64>>) -> (Link, InHand, Bytes) {
    let sweeps = Rc::new(Sweeps::of(&Patience::default()));
    let state = Rc::new(ConnState::new(Rc::clone(tick), sweeps));
    let mut session = Session::new(0);
    session.push(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    session.push(b"\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff"); // any window of a stream,
    session.push(b"\0\0\x04\x08\0\0\0\0\0\x70\0\0\0"); // and of all of them
    session.push(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x01\x01a");
    while session.next(0).unwrap().is_some() {}
    let date = HeaderValue::from_static("now");
    session.answer(1, (StatusCode::OK, &HeaderMap::new()), &date, None, false);
    let mut bytes = Bytes::from(vec![0; 2 * SEND_BYTES_MAX]);
    assert!(!session.send(1, &mut bytes, true));
    let mut in_hand = InHand::new(Rc::clone(&state));
    in_hand.answer_goes_on();
    (Link { session: RefCell::new(session), state }, in_hand, bytes)
}

#[test]
fn a_client_that_takes_its_answer_slowly_is_waited_for() {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        let tick = Rc::new(Cell::new(0));
        let (link, _in_hand, _rest) = answering(&tick);
        let (mut stream, mut client) = sockets().await;
        let mut taken = vec![0; SEND_BYTES_MAX / 4];
        for now in [100, 200] {
            let write = poll_fn(|cx| Poll::Ready(link.write(&mut stream, cx)));
            assert!(write.await.is_pending());
            tick.set(now);
            assert!(link.state.is_overdue(), "it takes nothing");
            tokio::select! {
                biased;
                _ = poll_fn(|cx| link.write(&mut stream, cx)) => unreachable!("there is more"),
                read = client.read_exact(&mut taken) => read.unwrap(),
            };
            assert!(!link.state.is_overdue());
        }
    });
}
