//! Requests that are served without hyper, and the way from there to hyper.

use super::{edge, read_until};
use crate::harness::run;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// One connection, on which each request is another reason to leave it to hyper; what comes after
/// is answered there.
#[test]
fn a_connection_goes_over_to_hyper_in_the_middle() {
    let plain = "POST /x HTTP/1.1\r\nhost: a\r\nconnection: Keep-Alive\r\n\
                 content-length: 4\r\n\r\nbody";
    let chunked = "POST /y HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                   2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n";
    let headers: String = (0..40).map(|at| format!("h{at}: v\r\n")).collect();
    for (other, end) in [
        (chunked.to_owned(), "POST /y body"),
        (format!("GET /y HTTP/1.1\r\nhost: a\r\n{headers}\r\n"), "GET /y "),
        ("HEAD /y HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "\r\n\r\n"),
        ("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "\r\n\r\n"),
        ("\r\nGET /y HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "GET /y "),
        // Streamed there and back.
        ("POST /stream HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello".to_owned(), "hello"),
        // An answer that is streamed, to a request that is not.
        ("GET /long HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "long"),
    ] {
        run(async {
            let (_edge, addr, _arrivals) = edge().await;
            let mut stream = TcpStream::connect(addr).await.unwrap();
            for _ in 0..2 {
                stream.write_all(plain.as_bytes()).await.unwrap();
                let said = read_until(&mut stream, "POST /x body").await;
                assert!(said.contains("\r\ncontent-length: 12\r\n"), "{said}");
            }
            stream.write_all(other.as_bytes()).await.unwrap();
            let said = read_until(&mut stream, end).await;
            assert!(said.contains("HTTP/1.1 20"), "{other}: {said}");
            stream.write_all(plain.as_bytes()).await.unwrap();
            read_until(&mut stream, "POST /x body").await;
        });
    }
}

/// An answer longer than all buffers on the way, to a client that is slow to take it, and then
/// another.
#[test]
fn a_long_answer_goes_out_as_the_client_takes_it() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(addr).await.unwrap();
        stream.write_all(b"GET /wide HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut begun = Vec::new();
        let head = loop {
            assert_ne!(stream.read_buf(&mut begun).await.unwrap(), 0);
            if let Some(at) = begun.windows(4).position(|it| it == b"\r\n\r\n") {
                break String::from_utf8(begun.drain(..at + 4).collect()).unwrap();
            }
        };
        let length = head.lines().find_map(|it| it.strip_prefix("content-length: ")).unwrap();
        let mut rest = vec![0; length.parse::<usize>().unwrap() - begun.len()];
        stream.read_exact(&mut rest).await.unwrap();
        assert!(rest.iter().all(|byte| *byte == b'w'));
        stream.write_all(b"GET /z HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        read_until(&mut stream, "GET /z ").await;
    });
}
