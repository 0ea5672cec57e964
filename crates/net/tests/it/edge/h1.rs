//! HTTP/1.1 as RFC 9112 has it: what h1spec checks, and requests that another hop would cut
//! differently.

use super::{edge, read_until, send};
use crate::harness::run;
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// The status of the first answer.
fn status(said: &str) -> &str {
    said.get(9..12).unwrap_or("none")
}

/// Whatever is still to come is waited for: an answer before it would be one to half a request.
#[test]
fn half_a_request_is_waited_for() {
    let whole = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let mut halves = Vec::new();
        for cut in 1..whole.len() {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.set_nodelay(true).unwrap();
            stream.write_all(&whole.as_bytes()[..cut]).await.unwrap();
            halves.push((stream, cut));
        }
        for (mut stream, cut) in halves {
            stream.write_all(&whole.as_bytes()[cut..]).await.unwrap();
            let said = read_until(&mut stream, "GET /hello ").await;
            assert!(said.starts_with("HTTP/1.1 200 "), "cut at {cut}: {said}");
        }
    });
}

#[test]
fn every_request_gets_its_status() {
    let host = "Host: a\r\nConnection: close\r\n";
    let cases = [
        ("GET / \r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\n{host}\r\n"), "200"),
        (
            "GET / HTTP/1.1\r\nhoSt:\texample.com\r\nempty:\r\nConnection: close\r\n\r\n"
                .to_owned(),
            "200",
        ),
        (format!("GET / HTTP/1.1\r\n{host}X-Empty-Header: \r\n\r\n"), "200"),
        (format!("GET / HTTP/1.1\r\n{host}X-Invalid[]: test\r\n\r\n"), "400"),
        ("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\n{host}Host: b\r\n\r\n"), "400"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), "400"),
        (
            format!("GET / HTTP/1.1\r\n{host}Content-Length: -123456789123456789123456789\r\n\r\n"),
            "400",
        ),
        (format!("GET / HTTP/1.1\r\n{host}Content-Length: -1234\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{host}Content-Length: abc\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{host}X-Bad-Control-Char: test\x07\r\n\r\n"), "400"),
        (format!("GET / HTTP/9.9\r\n{host}\r\n"), "400"),
        (format!("Extra lineGET / HTTP/1.1\r\n{host}\r\n"), "400"),
        ("GET / HTTP/1.1\r\nHost: example.com\r\n\rSome-Header: Test\r\n\r\n".to_owned(), "400"),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nhello"), "200"),
        (
            format!(
                "GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
            ),
            "400",
        ),
        (format!("GET / HTTP/1.1\r\n{host}Expect: 200-ok\r\n\r\n"), "417"),
        (format!("CONNECT a:443 HTTP/1.1\r\n{host}\r\n"), "405"),
        (format!("TRACE / HTTP/1.1\r\n{host}\r\n"), "405"),
        (format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), "204"),
        (format!("GET * HTTP/1.1\r\n{host}\r\n"), "400"),
        (format!("GET http://b/x HTTP/1.1\r\n{host}\r\n"), "200"),
        (format!("GET ftp://b/x HTTP/1.1\r\n{host}\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{host}Via: 1.1 somebody\r\n\r\n"), "200"),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), "200"),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), "400"),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX"), "400"),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "400"),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\nx : y\r\n\r\n"
            ),
            "400",
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\nx: y\r\n\r\n"
            ),
            "200",
        ),
    ];
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        for (request, expected) in &cases {
            let said = send(addr, request.as_bytes()).await;
            assert_eq!(status(&said), *expected, "{request:?} got {said:?}");
            assert!(said.contains("\r\nserver: tollgate\r\n"), "{said}");
            assert_eq!(said.matches("\r\ndate: ").count(), 1, "{request:?} got {said:?}");
        }
    });
}

#[test]
fn a_body_is_asked_for_and_a_head_has_none() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let head =
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let said = read_until(&mut stream, "\r\n\r\n").await;
        assert!(said.starts_with("HTTP/1.1 100 "), "{said}");
        stream.write_all(b"body").await.unwrap();
        read_until(&mut stream, "POST / body").await;
        stream
            .write_all(b"HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let said = read_until(&mut stream, "\r\n\r\n").await;
        assert!(said.contains("content-length: 8\r\n"), "{said}");
        let said =
            send(addr, b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n");
        let said = said.await;
        assert!(said.contains("GET /1 ") && said.ends_with("GET /2 "), "{said}");
    });
}

/// Heads that hide a second request in their body, for whoever reads the length otherwise.
#[test]
fn nothing_can_be_smuggled() {
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: a\r\nX: ";
    let length = hidden.len();
    let codings = [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding:chunked",
        "transfer-encoding:\tChUnKeD",
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{0}",
        "Transfer\u{0}-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "Foo\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: ",
        "Content-Encoding: chunked",
        "TE: chunked",
    ];
    let lengths = [
        format!("Content-Length: {length}"),
        format!("Content-Length: {length}\r\nContent-Length: 0"),
        format!("Content-Length: 0\r\nContent-Length: {length}"),
        format!("Content-Length: 0, {length}"),
        format!("Content-Length: {length}, {length}"),
        format!("Content-Length: +{length}"),
        format!("Content-Length: 0{length}"),
        format!("Content-Length: {length} 0"),
        format!("Content-Length : {length}"),
        format!("Content-Length:\r\n {length}"),
        format!("Content_Length: {length}"),
        format!("Content-Length: {length}\u{b}"),
        "Content-Length: 0".to_owned(),
        String::new(),
    ];
    let bodies = [hidden.to_owned(), format!("0\r\n\r\n{hidden}"), format!("0\n\n{hidden}")];
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let (mut refused, mut served) = (0, 0);
        for coding in codings.iter().copied().chain([""]) {
            for length in &lengths {
                for body in &bodies {
                    let lines = [coding, length].map(|it| match it {
                        "" => String::new(),
                        it => format!("{it}\r\n"),
                    });
                    let [coding, length] = lines;
                    for headers in [format!("{coding}{length}"), format!("{length}{coding}")] {
                        // Two lengths may be sound and cut the body short: then what follows is a
                        // request for us as for anybody, and its method is not one.
                        let request = format!(
                            "POST /first HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}\r\n\r\n"
                        );
                        let request = request.replace("GET /smuggled", "\u{1}ET /smuggled");
                        let said = send(addr, request.as_bytes()).await;
                        let answers = said.matches("HTTP/1.1 ").count();
                        assert!((1..=2).contains(&answers), "{request:?} got {said:?}");
                        assert!(!said.contains("/smuggled HTTP/1.1\r\n\r\n"), "{said}");
                        match status(&said) {
                            "200" => served += 1,
                            "400" => refused += 1,
                            other => panic!("{request:?} got {other}"),
                        }
                        // Whoever states both, or one of them twice, is never served.
                        let lower = headers.to_ascii_lowercase();
                        let both = lower.contains("\ntransfer-encoding:")
                            || lower.starts_with("transfer-encoding:");
                        let is_two = both && lower.contains("content-length:");
                        assert!(!is_two || status(&said) == "400", "{request:?} got {said:?}");
                    }
                }
            }
        }
        assert!(refused > 1_000 && served > 100, "{refused} {served}");
    });
}
