//! Who is let in.

use crate::harness::{Event, Node, identity, link, run};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wire::frame::{Frame, FrameBuffer, Hello, HelloLimits, Proof, RequestRef, Side};

async fn unreachable(node: &Node, key: &str) -> String {
    let (link, mut events) = link(node.addr, key);
    let Some(Event::Unreachable(why)) = events.recv().await else { panic!() };
    assert!(!link.is_connected());
    why
}

#[test]
fn another_cluster_key_is_refused() {
    run(async {
        let node = Node::start();
        assert_eq!(unreachable(&node, "another key").await, "it does not know the cluster key");
        node.kill();
    });
}

#[test]
fn another_node_at_the_address_is_refused() {
    run(async {
        let node = Node::start_at("127.0.0.1:0".parse().unwrap(), identity("other", "key"));
        assert_eq!(unreachable(&node, "key").await, "it is node other");
        node.kill();
    });
}

#[test]
fn a_stranger_is_told_so_and_hung_up_on() {
    run(async {
        let node = Node::start();
        let mut stream = TcpStream::connect(node.addr).await.unwrap();
        stream.write_all(b"\x10\0\0\0GET / HTTP/1.1\r\n").await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        let text = String::from_utf8_lossy(&said);
        assert!(text.contains("a frame of an unknown kind"), "{text}");
        node.kill();
    });
}

/// A peer that knows how to greet but not the key gets no request through.
#[test]
fn requests_before_the_proof_are_not_served() {
    run(async {
        let mut node = Node::start();
        let mut stream = TcpStream::connect(node.addr).await.unwrap();
        let hello = Hello { node: "evil", boot: 1, challenge: [1; 32], limits: HelloLimits::OURS };
        let mut out = Vec::new();
        hello.append(&mut out);
        crate::harness::request("/", b"").append(&mut out).unwrap();
        stream.write_all(&out).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        assert!(node.arrived.try_recv().is_err());
        node.kill();
    });
}

/// A proof that was made for the other side does not pass when it is sent back.
#[test]
fn a_reflected_proof_is_refused() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_link, mut events) = link(listener.local_addr().unwrap(), "key");
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = FrameBuffer::new();
        next(&mut stream, &mut buffer).await;
        let Some(Frame::Hello(Hello { challenge, .. })) = buffer.next_frame().unwrap() else {
            panic!("no hello");
        };
        // The same challenge back, so that both hellos differ as little as they can.
        let hello = Hello { node: "echo", boot: 1, challenge, limits: HelloLimits::OURS };
        let mut out = Vec::new();
        hello.append(&mut out);
        stream.write_all(&out).await.unwrap();
        next(&mut stream, &mut buffer).await;
        let Some(Frame::Proof(theirs)) = buffer.next_frame().unwrap() else { panic!() };
        out.clear();
        theirs.append(&mut out);
        stream.write_all(&out).await.unwrap();
        let why = Event::Unreachable("it does not know the cluster key".to_owned());
        assert_eq!(events.recv().await, Some(why));
    });
}

/// Greets like the node `echo`, with the usual key, a link that has connected.
pub(crate) async fn greet_as_server(stream: &mut TcpStream) -> FrameBuffer {
    let mut buffer = FrameBuffer::new();
    next(stream, &mut buffer).await;
    let ours = Hello { node: "echo", boot: 1, challenge: [2; 32], limits: HelloLimits::OURS };
    let mut out = Vec::new();
    ours.append(&mut out);
    let Some(Frame::Hello(theirs)) = buffer.next_frame().unwrap() else { panic!("no hello") };
    Proof::new(b"key", Side::Server, &theirs, &ours).append(&mut out);
    stream.write_all(&out).await.unwrap();
    next(stream, &mut buffer).await;
    assert!(matches!(buffer.next_frame().unwrap(), Some(Frame::Proof(_))));
    buffer
}

/// Greets a node as a link would, with the usual key.
pub(crate) async fn greet_as_client(stream: &mut TcpStream) -> FrameBuffer {
    let ours = Hello { node: "test", boot: 1, challenge: [1; 32], limits: HelloLimits::OURS };
    let mut out = Vec::new();
    ours.append(&mut out);
    stream.write_all(&out).await.unwrap();
    let mut buffer = FrameBuffer::new();
    next(stream, &mut buffer).await;
    let Some(Frame::Hello(theirs)) = buffer.next_frame().unwrap() else { panic!("no hello") };
    out.clear();
    Proof::new(b"key", Side::Client, &ours, &theirs).append(&mut out);
    stream.write_all(&out).await.unwrap();
    next(stream, &mut buffer).await;
    assert!(matches!(buffer.next_frame().unwrap(), Some(Frame::Proof(_))));
    buffer
}

/// Reads until a frame is there.
pub(crate) async fn next(stream: &mut TcpStream, buffer: &mut FrameBuffer) {
    while !buffer.holds_frame().unwrap() {
        let count = stream.read(buffer.space()).await.unwrap();
        assert_ne!(count, 0);
        buffer.filled(count);
    }
}

/// Whoever breaks the protocol after the greeting is cut off.
#[test]
fn an_answer_to_nothing_ends_the_connection() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (link, mut events) = link(listener.local_addr().unwrap(), "key");
        let (mut stream, _) = listener.accept().await.unwrap();
        greet_as_server(&mut stream).await;
        assert_eq!(events.recv().await, Some(Event::Connected));
        assert!(link.is_connected());
        let mut out = Vec::new();
        // A request from the side that answers.
        let request: RequestRef<'_> = crate::harness::request("/", b"");
        request.append(&mut out).unwrap();
        stream.write_all(&out).await.unwrap();
        assert_eq!(events.recv().await, Some(Event::Disconnected));
    });
}
