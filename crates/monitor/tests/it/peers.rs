//! Two monitors: both hear, one tells, and the other takes over. And one that beats to the outside.

use crate::{
    delivery::{LETTER_MAX, event, webhook},
    wire::Monitor,
};
use monitor::channel::Url;
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::mpsc,
    thread,
};

#[test]
fn one_of_two_monitors_tells_and_the_other_takes_over() {
    let (addr, letters) = webhook(&[]);
    let notify = [format!("http://{addr}/")];
    // The one that stands by; the first is an agent that beats to it.
    let nodes = ["first", "a-1", "a-2", "a-3", "a-4", "a-5", "a-6"];
    let second = Monitor::start_with("second", &nodes, &notify, |config| {
        config.before = vec!["first".to_owned()];
    });
    let first = second.agent("first");
    let _others: Vec<_> = nodes[3..].iter().map(|it| second.agent(it)).collect();
    let (one, two) = (second.agent("a-1"), second.agent("a-2"));
    second.until("all are up", |it| nodes.iter().all(|name| it.state(name) == "up"));
    assert_eq!(second.json("/v1/overview")["tells"], false);
    drop(one); // Dies without a word.
    second.until("a-1 is an incident", |it| {
        it.json("/v1/incidents")["data"][0]["told_at"].is_string()
    });
    assert_eq!(second.json("/v1/letters")["data"].as_array().unwrap().len(), 0, "not its turn");
    // Both die at once: that of the node nobody has told, and what the first may have told is told
    // again when it was its last act.
    drop((first, two));
    let told = |event: &str, name: &str| (200, event.to_owned(), name.to_owned());
    let mut names: Vec<String> = Vec::new();
    while !(names.contains(&"first".to_owned()) && names.contains(&"a-2".to_owned())) {
        let (_, event, name) = event(&letters);
        assert_eq!(event, "opened");
        names.push(name);
    }
    assert_eq!(second.json("/v1/overview")["tells"], true);
    // It tells of the end as well.
    let _two = second.agent("a-2");
    assert_eq!(event(&letters), told("resolved", "a-2"));
}

#[test]
fn a_monitor_beats_to_the_outside() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK").unwrap();
        sender.send(line).unwrap();
    });
    let _monitor = Monitor::start_with("outside", &[], &[], |config| {
        config.beat_to = Some(Url::parse(&format!("http://{addr}/ping/uuid")).unwrap());
    });
    assert_eq!(lines.recv_timeout(LETTER_MAX).unwrap(), "GET /ping/uuid HTTP/1.1\r\n");
}
