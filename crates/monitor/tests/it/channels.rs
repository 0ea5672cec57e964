//! Mail within TLS and with a login, and channels that are themselves watched.

use crate::{
    delivery::{LETTER_MAX, event, tls_server, webhook},
    wire::{Monitor, certificate},
};
use monitor::channel::{MailServer, Target};
use net::tls::{ClientTls, Spoken};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
};
use tokio_rustls::rustls::{ServerConnection, StreamOwned};

/// How a mail server of a test begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    StartTls,
    Tls,
    /// It does not know TLS.
    Open,
}

/// Tells what clients say to it, line by line; it wants a login within TLS.
fn mail_server(way: Way) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, lines) = mpsc::channel();
    let config = tls_server();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if way != Way::Tls {
                stream.write_all(b"220 mail\r\n").unwrap();
                if !talk(BufReader::new(stream.try_clone().unwrap()), &mut stream, way, &sender) {
                    continue;
                }
            }
            let session = ServerConnection::new(config.clone()).unwrap();
            let mut tls = StreamOwned::new(session, stream);
            if way == Way::Tls {
                tls.write_all(b"220 mail\r\n").unwrap();
            }
            within_tls(&mut tls, &sender);
        }
    });
    (addr, lines)
}

/// Until STARTTLS, which is answered; false when the client goes before that.
fn talk(
    mut reader: impl BufRead,
    writer: &mut impl Write,
    way: Way,
    lines: &mpsc::Sender<String>,
) -> bool {
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|it| it != 0) {
        // The test may be over.
        drop(lines.send(format!("open: {}", line.trim_end())));
        let is_start = line.starts_with("STARTTLS") && way == Way::StartTls;
        let answer = match &line[..4] {
            "EHLO" => "250-mail\r\n250 8BITMIME\r\n",
            _ if is_start => "220 go\r\n",
            _ => "502 not known\r\n",
        };
        writer.write_all(answer.as_bytes()).unwrap();
        if is_start {
            return true;
        }
        line.clear();
    }
    false
}

fn within_tls(stream: &mut (impl Read + Write), lines: &mpsc::Sender<String>) {
    let (mut line, mut byte, mut is_mail) = (Vec::new(), [0], false);
    while stream.read(&mut byte).is_ok_and(|it| it == 1) {
        line.push(byte[0]);
        if byte != *b"\n" {
            continue;
        }
        let text = String::from_utf8(std::mem::take(&mut line)).unwrap();
        // The test may be over.
        drop(lines.send(text.trim_end().to_owned()));
        let answer = match text.get(..4).unwrap_or("") {
            _ if is_mail && text != ".\r\n" => continue,
            "EHLO" => "250-mail\r\n250 AUTH LOGIN PLAIN\r\n",
            "AUTH" => "235 welcome\r\n",
            "DATA" => "354 go\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        is_mail = text == "DATA\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

/// A monitor that mails by this server, and whose only node has died.
fn mourning(name: &str, scheme: &str, addr: SocketAddr) -> Monitor {
    let server = format!("{scheme}://kim@localhost:{}", addr.port());
    let notify = [format!("mailto:kim@example.com by {server}")];
    let monitor = Monitor::start_with(name, &["a-1"], &notify, |config| {
        let tls = ClientTls::load(Some(&certificate("ca.pem")), Spoken::Smtp);
        config.mail_tls = Some(tls.unwrap());
        let mut server = MailServer::parse(&server).unwrap();
        server.login.as_mut().unwrap().password = "pass".to_owned();
        config.channels[0].target = Target::parse("mailto:kim@example.com", Some(&server)).unwrap();
    });
    let agent = monitor.agent("a-1");
    monitor.until("it is up", |it| it.state("a-1") == "up");
    drop(agent); // Dies without a word.
    monitor
}

fn until(lines: &mpsc::Receiver<String>, want: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|it: &String| it != want) {
        seen.push(lines.recv_timeout(LETTER_MAX).unwrap_or_else(|_| panic!("{seen:?}")));
    }
    seen
}

#[test]
fn mail_goes_within_tls_and_with_a_login() {
    for (way, name, scheme) in
        [(Way::StartTls, "starttls", "starttls"), (Way::Tls, "smtps", "smtps")]
    {
        let (addr, lines) = mail_server(way);
        let _monitor = mourning(name, scheme, addr);
        let said = until(&lines, "QUIT");
        let in_the_open = said.iter().filter(|it| it.starts_with("open: ")).count();
        assert_eq!(in_the_open, if way == Way::Tls { 0 } else { 2 }, "{said:?}");
        // "\\0kim\\0pass"
        assert!(said.contains(&"AUTH PLAIN AGtpbQBwYXNz".to_owned()), "{said:?}");
        assert!(said.contains(&"Subject: [test] a-1 is down".to_owned()), "{said:?}");
    }
}

#[test]
fn a_server_without_tls_learns_nothing() {
    let (addr, lines) = mail_server(Way::Open);
    let monitor = mourning("downgrade", "starttls", addr);
    monitor.until("it was tried", |it| it.json("/v1/channels/c-0")["last_error"].is_string());
    let answer =
        |it: &Monitor| it.json("/v1/channels/c-0")["letters"][0]["attempts"][0]["answer"].clone();
    monitor.until("the attempt is stored", |it| answer(it).is_string());
    assert_eq!(answer(&monitor), "failed: 502 not known");
    let said = until(&lines, "open: STARTTLS");
    assert!(said.iter().all(|it| it.contains("EHLO") || it.contains("STARTTLS")), "{said:?}");
}

#[test]
fn a_sick_channel_is_told_of_over_the_others_and_the_fallback_takes_its_letters() {
    // Fails five times, then works.
    let (sick, sick_letters) = webhook(&[503; 5]);
    let (good, letters) = webhook(&[]);
    let (last, fallback) = webhook(&[]);
    let notify = [sick, good, last].map(|it| format!("http://{it}/"));
    let mut monitor = Monitor::start_with("sick-channel", &["a-1"], &notify, |config| {
        config.fallback = Some("c-2".to_owned());
    });
    let agent = monitor.agent("a-1");
    monitor.until("it is up", |it| it.state("a-1") == "up");
    drop(agent); // Dies without a word.
    let told = |event: &str, name: &str| (200, event.to_owned(), name.to_owned());
    assert_eq!(event(&letters), told("opened", "a-1"));
    assert_eq!(event(&fallback), told("opened", "a-1"));
    assert_eq!(event(&letters), told("opened", "channel c-0"));
    assert_eq!(event(&fallback), told("opened", "channel c-0"));
    assert_eq!(monitor.state("channel%20c-0"), "sick");
    // Its own sickness is nothing that it is told; it is told what it missed.
    while event(&sick_letters).0 != 200 {}
    assert_eq!(event(&letters), told("resolved", "channel c-0"));
    assert_eq!(event(&fallback), told("resolved", "channel c-0"));
    // Another process knows whom the fallback was told of.
    monitor.restart();
    let _agent = monitor.agent("a-1");
    assert_eq!(event(&letters), told("resolved", "a-1"));
    assert_eq!(event(&sick_letters), told("resolved", "a-1"));
    assert_eq!(event(&fallback), told("resolved", "a-1"));
    let states = monitor.json("/v1/overview")["states"].clone();
    let count: u64 = states.as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(count, 1, "channels are no nodes: {states}");
}
