//! People are told: once when a node is gone, once when it is back, and of nothing else.

use crate::{http::Client, load::under_load, tree::Tree};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

/// A webhook receiver that takes everything.
pub(crate) struct Receiver {
    pub(crate) addr: SocketAddr,
    pub(crate) letters: mpsc::Receiver<Value>,
}

/// Longer than a busy machine takes for any letter.
pub(crate) const LETTER_MAX: Duration = Duration::from_secs(60);

impl Receiver {
    pub(crate) fn listen() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, letters) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // The test may be over.
                drop(sender.send(take(stream.unwrap())));
            }
        });
        Receiver { addr, letters }
    }

    /// The next letter: event and names.
    #[track_caller]
    pub(crate) fn next(&self, tree: &Tree) -> (String, Vec<String>) {
        let letter = self.letters.recv_timeout(LETTER_MAX);
        let letter = letter.unwrap_or_else(|_| panic!("no letter: {}", tree.logs()));
        let names = letter["nodes"].as_array().unwrap().iter();
        let names = names.map(|it| it.as_str().unwrap().to_owned()).collect();
        (letter["event"].as_str().unwrap().to_owned(), names)
    }
}

pub(crate) fn take(mut stream: TcpStream) -> Value {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
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
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(answer.as_bytes()).unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// What the monitor knows of a node.
fn watched(tree: &Tree, name: &str) -> String {
    let mut monitor = Client::connect(tree.monitor(), "none").unwrap();
    let checks = monitor.get(&format!("/v1/checks/{name}")).unwrap().json();
    checks["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_dead_node_is_told_of_once_and_its_return_once() {
    let receiver = Receiver::listen();
    let notify = format!("http://{}/hook", receiver.addr);
    let mut tree = Tree::up_with("alerts", &["--notify", &notify]);
    tree.until("everybody beats", |tree| {
        ["edge", "gateway-1", "a-1", "b-2"].iter().all(|it| watched(tree, it) == "up")
    });
    let told = |event: &str, name: &str| (event.to_owned(), vec![name.to_owned()]);

    tree.ok(&["node", "a-1", "kill"]);
    assert_eq!(receiver.next(&tree), told("opened", "a-1"));
    tree.ok(&["node", "a-1", "start"]);
    assert_eq!(receiver.next(&tree), told("resolved", "a-1"));

    // A paused account node is ended by its siblings, and stays away all the same.
    for name in ["gateway-1", "a-2"] {
        tree.ok(&["node", name, "pause"]);
        assert_eq!(receiver.next(&tree), told("opened", name));
        tree.ok(&["node", name, "resume"]);
        assert_eq!(receiver.next(&tree), told("resolved", name));
    }

    // What is stopped, drained or restarted on purpose, or dies and is started again at once, is
    // nobody's night.
    tree.ok(&["node", "b-1", "stop"]);
    tree.until("b-1 has said so", |tree| watched(tree, "b-1") == "stopped");
    tree.ok(&["node", "layer2-1", "drain"]);
    tree.until("layer2-1 has said so", |tree| watched(tree, "layer2-1") == "draining");
    tree.kill("gateway-2");
    tree.ok(&["node", "layer2-1", "start"]);
    tree.ok(&["node", "b-1", "start"]);
    tree.until("all are well", |tree| {
        ["b-1", "layer2-1", "gateway-2"].iter().all(|it| watched(tree, it) == "up")
    });
    // The monitor itself may die: it goes on where it was.
    tree.kill("monitor");
    tree.until("the monitor is back", |tree| {
        Client::connect(tree.monitor(), "none").is_ok() && watched(tree, "a-2") == "up"
    });
    assert!(tree.drain(), "{}", tree.logs());
    tree.start_with(&["--notify", &notify]);
    tree.until("everybody beats again", |tree| watched(tree, "edge") == "up");

    // Whatever there was to tell would have come before this.
    tree.ok(&["node", "b-2", "kill"]);
    assert_eq!(receiver.next(&tree), told("opened", "b-2"));
    assert!(receiver.letters.try_recv().is_err(), "one notice for one node");
}

#[test]
fn a_node_whose_commits_hang_says_so_though_it_lives() {
    let receiver = Receiver::listen();
    let notify = format!("http://{}/hook", receiver.addr);
    let tree = Tree::up_with("hanging-commit", &["--notify", &notify]);
    let mut client = tree.client();
    let account = client.post("/v1/a/accounts", r#"{"id":"x","currency":"EUR"}"#).unwrap();
    assert_eq!(account.status, 201);
    tree.until("everybody beats", |tree| {
        ["a-1", "a-2", "b-1"].iter().all(|it| watched(tree, it) == "up")
    });
    let pids = tree.pids();
    // Whoever writes the journal waits in this queue: nobody gets a turn while it is held.
    let queue = fs::File::open(tree.data.join("a/journal.queue")).unwrap();
    queue.lock().unwrap();
    let credit = thread::spawn(move || {
        client.post("/v1/a/accounts/x/credit", r#"{"amount":5,"currency":"EUR"}"#)
    });
    let (event, names) = receiver.next(&tree);
    assert_eq!(event, "opened");
    assert!(names.len() == 1 && names[0].starts_with("a-"), "{names:?}");
    assert_eq!(watched(&tree, &names[0]), "sick");
    assert_eq!(tree.pids(), pids, "it lives");
    drop(queue);
    assert_eq!(receiver.next(&tree), ("resolved".to_owned(), names));
    // It was not executed before the deadline, or after it: the client was told that it is not known.
    let answer = credit.join().unwrap().unwrap();
    assert!([201, 504].contains(&answer.status), "{}", answer.status);
}

/// More than one request a second over the last four at the edge.
const RULE: &str = "
[[rules]]
name = \"busy\"
node = \"edge\"
kind = \"rate\"
metric = \"requests\"
over = \"4s\"
above = 1
for = \"0s\"
recover = \"0s\"
consequence = false

[[rules]]
name = \"few\"
node = \"nightly\"
metric = \"rows\"
below = 10
for = \"0s\"
recover = \"0s\"
";

/// A job under `tollgate beat`, and what a rule makes of the numbers that it tells.
fn a_job_tells_numbers(tree: &Tree, receiver: &Receiver) {
    // What the harness adds comes after `--` here, and is the command's.
    let data = tree.data.to_str().expect("a path of ours");
    let run = |script: &str| {
        let script = format!("{script}; echo done");
        let numbers = ["--metric", "files=3", "--", "sh", "-c", &script];
        tree.ok(&[&["beat", "nightly", "--data", data][..], &numbers].concat())
    };
    assert_eq!(run("echo rows=12 > $TOLLGATE_METRICS"), "done\n");
    assert_eq!(watched(tree, "nightly"), "up");
    run("echo rows=7 > $TOLLGATE_METRICS");
    let told = |event: &str| (event.to_owned(), vec!["nightly".to_owned()]);
    assert_eq!(receiver.next(tree), told("opened"));
    assert_eq!(watched(tree, "nightly"), "strained");
    run("echo rows=70 > $TOLLGATE_METRICS");
    assert_eq!(receiver.next(tree), told("resolved"));
    let bad = tree.run(&["beat", "nightly", "--metric", "files", "--", "true"]);
    assert_eq!(bad.status.code(), Some(2));
}

/// What `tollgate beat` says where nobody knows the check, and that its advice is good.
fn a_check_that_is_not_there_is_named(tree: &Tree) {
    let key = fs::read_to_string(tree.data.join("ping.key")).unwrap();
    let (at, key) = (format!("http://{}", tree.monitor()), key.trim());
    let beat = |path: &str| {
        let ran = tree.run(&["beat", &format!("{at}{path}"), "--", "true"]);
        assert_eq!(ran.status.code(), Some(0), "{ran:?}");
        String::from_utf8(ran.stderr).unwrap()
    };
    let path = format!("/ping/{key}/weekly");
    let told = beat(&path);
    let not_taken = "the beat was not taken: ";
    let what = format!("{not_taken}the monitor at {at} has no check weekly, or ");
    assert!(told.starts_with(&what) && told.matches(not_taken).count() == 1, "{told}");
    let advice = format!("curl -X POST '{at}/ping/KEY/weekly?create=1'");
    assert!(told.contains(&advice) && !told.contains(key), "{told}");
    let mut monitor = Client::connect(tree.monitor(), "").unwrap();
    assert_eq!(monitor.post(&format!("{path}?create=1"), "").unwrap().status, 201);
    assert_eq!(beat(&path), "");
    let uuid = "7f0d2b1c-6f0e-4d38-9a6b-0f6f5b3a1d55";
    let told = beat(&format!("/ping/{uuid}"));
    assert!(told.contains(&format!("has no check {uuid} (404)")), "{told}");
    assert!(beat("/elsewhere").contains("/ping/KEY/SLUG"));
}

#[test]
fn a_broken_rule_is_told_of_and_so_is_its_end() {
    let receiver = Receiver::listen();
    let notify = format!("http://{}/hook", receiver.addr);
    let tree = Tree::up_with("rules", &["--notify", &notify]);
    let file = tree.data.join("tollgate.toml");
    let text = fs::read_to_string(&file).unwrap() + RULE;
    fs::write(&file, text).unwrap();
    let told = tree.ok(&["reload"]);
    assert!(told.contains("rules: with Rule { name: \"busy\""), "{told}");
    let told = |event: &str| (event.to_owned(), vec!["edge".to_owned()]);
    under_load(&tree, |_| {
        assert_eq!(receiver.next(&tree), told("opened"));
        assert_eq!(watched(&tree, "edge"), "strained");
        let rules = tree.ok(&["alerts", "rules"]);
        assert!(rules.lines().any(|it| it.starts_with("busy") && it.ends_with("edge")), "{rules}");
    });
    assert_eq!(receiver.next(&tree), told("resolved"));
    tree.until("it is up", |tree| watched(tree, "edge") == "up");
    a_job_tells_numbers(&tree, &receiver);
    a_check_that_is_not_there_is_named(&tree);
    assert!(receiver.letters.try_recv().is_err(), "one notice of each");
}
