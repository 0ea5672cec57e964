//! From a dead node to a letter, over sockets: channels that hang, fail and recover.

use crate::wire::{Monitor, certificate};
use net::tls;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

pub(crate) const LETTER_MAX: Duration = Duration::from_secs(60);

/// Takes connections, each on a thread, for as long as the test lives.
fn listen(each: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || each(stream));
        }
    });
    addr
}

/// A webhook receiver: answers each letter with the next of the statuses, 200 when they are over.
pub(crate) fn webhook(statuses: &'static [u16]) -> (SocketAddr, mpsc::Receiver<(u16, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, letters) = mpsc::channel();
    thread::spawn(move || {
        let mut statuses = statuses.iter();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let body = read_request(&stream);
            let status = statuses.next().copied().unwrap_or(200);
            let head =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            // Enough seen.
            drop(sender.send((status, serde_json::from_slice(&body).unwrap())));
        }
    });
    (addr, letters)
}

/// What a server of the edge's tests shows.
pub(crate) fn tls_server() -> Arc<ServerConfig> {
    let certificates = tls::certificates(&certificate("server.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, tls::private_key(&certificate("server.key")).unwrap());
    Arc::new(config.unwrap())
}

/// A webhook receiver within TLS, which tells the bodies of its letters.
fn tls_webhook() -> (SocketAddr, mpsc::Receiver<Value>) {
    let config = tls_server();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, letters) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, stream.unwrap());
            let body = read_request(&mut stream);
            stream.write_all(b"HTTP/1.1 204 X\r\n\r\n").unwrap();
            // Enough seen.
            drop(sender.send(serde_json::from_slice(&body).unwrap()));
        }
    });
    (addr, letters)
}

#[test]
fn letters_go_within_tls_to_whom_can_prove_its_name() {
    let (addr, letters) = tls_webhook();
    let notify = [format!("https://localhost:{}/hook", addr.port())];
    let monitor = Monitor::start("tls", &["a-1"], &notify);
    let first = monitor.agent("a-1");
    monitor.until("it is up", |it| it.state("a-1") == "up");
    drop(first); // Dies without a word.
    let letter = letters.recv_timeout(LETTER_MAX).unwrap();
    assert_eq!((&letter["event"], &letter["node"]), (&"opened".into(), &"a-1".into()));
}

pub(crate) fn read_request(stream: impl Read) -> Vec<u8> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    body
}

/// A mail server that is busy at first.
fn mail_server() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, mails) = mpsc::channel();
    thread::spawn(move || {
        for (turn, stream) in listener.incoming().enumerate() {
            if let Some(mail) = converse(stream.unwrap(), turn == 0) {
                // Enough seen.
                drop(sender.send(mail));
            }
        }
    });
    (addr, mails)
}

fn converse(mut stream: TcpStream, is_busy: bool) -> Option<String> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    stream.write_all(b"220 mail\r\n").unwrap();
    let mut mail = None;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|it| it != 0) {
        let answer = match line.split_ascii_whitespace().next().unwrap_or("") {
            "EHLO" => "250-mail\r\n250 8BITMIME\r\n",
            "RCPT" if is_busy => "451 come back later\r\n",
            "DATA" => {
                stream.write_all(b"354 go\r\n").unwrap();
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    reader.read_line(&mut text).unwrap();
                }
                mail = Some(text);
                "250 taken\r\n"
            }
            "QUIT" => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        stream.write_all(answer.as_bytes()).unwrap();
        line.clear();
    }
    mail
}

pub(crate) fn event(letters: &mpsc::Receiver<(u16, Value)>) -> (u16, String, String) {
    let (status, letter) = letters.recv_timeout(LETTER_MAX).unwrap();
    let text = |key: &str| letter[key].as_str().unwrap().to_owned();
    (status, text("event"), text("node"))
}

#[test]
fn a_channel_that_hangs_holds_up_no_other_and_everything_arrives() {
    let hangs = listen(|stream| {
        thread::sleep(Duration::from_secs(3_600));
        drop(stream);
    });
    let (good, letters) = webhook(&[]);
    let (mail, mails) = mail_server();
    let notify = [
        format!("http://{hangs}/"),
        format!("http://{good}/"),
        format!("mailto:kim@example.com by {mail}"),
    ];
    let monitor = Monitor::start("delivery", &["a-1", "a-2"], &notify);
    let (first, _second) = (monitor.agent("a-1"), monitor.agent("a-2"));
    monitor.until("both are up", |it| it.state("a-1") == "up" && it.state("a-2") == "up");
    drop(first); // Dies without a word.
    let told = |event: &str| (200, event.to_owned(), "a-1".to_owned());
    assert_eq!(event(&letters), told("opened"));
    let text = mails.recv_timeout(LETTER_MAX).unwrap();
    assert!(text.contains("\r\nSubject: [test] a-1 is down\r\n"), "{text}");
    let _again = monitor.agent("a-1");
    assert_eq!(event(&letters), told("resolved"));
    assert!(mails.recv_timeout(LETTER_MAX).unwrap().contains("Subject: [test] Resolved: a-1"));
    // The log tells the truth of every attempt.
    let letters = monitor.json("/v1/letters");
    let of_mail = letters["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["channel"] == "c-2" && it["event"] == "opened");
    let attempts = of_mail.unwrap()["attempts"].as_array().unwrap().clone();
    assert_eq!(attempts[0]["answer"], "failed: 451 come back later");
    assert_eq!(attempts[1]["answer"], "accepted");
}

#[test]
fn what_was_not_delivered_is_delivered_after_a_restart() {
    // Fails at first; the monitor is restarted meanwhile.
    let (addr, letters) = webhook(&[503, 503]);
    let mut monitor = Monitor::start("restart", &["a-1"], &[format!("http://{addr}/")]);
    let agent = monitor.agent("a-1");
    monitor.until("a-1 is up", |it| it.state("a-1") == "up");
    drop(agent);
    assert_eq!(event(&letters), (503, "opened".to_owned(), "a-1".to_owned()));
    monitor.restart();
    assert_eq!(monitor.state("a-1"), "down", "it was kept");
    assert_eq!(event(&letters), (503, "opened".to_owned(), "a-1".to_owned()));
    assert_eq!(event(&letters), (200, "opened".to_owned(), "a-1".to_owned()));
    let _agent = monitor.agent("a-1");
    assert_eq!(event(&letters), (200, "resolved".to_owned(), "a-1".to_owned()));
    let incidents = monitor.json("/v1/incidents");
    assert_eq!(incidents["data"].as_array().unwrap().len(), 1, "{incidents}");
    let availability = monitor.json("/v1/availability/a-1");
    assert_eq!(availability["outages"], 1, "{availability}");
}
