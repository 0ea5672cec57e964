//! Who is told, by real monitors: two of them of which one dies, steps of escalation and a
//! maintenance window from the topology file, and receivers that hang or refuse at first.

use crate::{
    alerts::{LETTER_MAX, Receiver},
    cluster::cluster,
    http::Client,
    tree::{Tree, free_addr},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

const NODES: [&str; 5] = ["edge", "gateway-1", "a-1", "a-2", "a-3"];

/// A small tree with these monitors.
fn topology(edge: SocketAddr, monitors: &str) -> String {
    let mut out = format!(
        "name = \"shop\"\n[services.a]\nengine = \"sqlite:a\"\npartitions = 4\n\
         [[nodes]]\nname = \"edge\"\nrole = \"balancer\"\nhttp = \"{edge}\"\n\
         endpoints = [\"gateway-1\"]\n\
         [[nodes]]\nname = \"gateway-1\"\nrole = \"gateway\"\ntrunk = \"{}\"\n",
        free_addr()
    );
    for name in ["a-1", "a-2", "a-3"] {
        let trunk = free_addr();
        out += &format!(
            "[[nodes]]\nname = \"{name}\"\nrole = \"account\"\nservice = \"a\"\ntrunk = \"{trunk}\"\n"
        );
    }
    out + monitors
}

fn monitor(name: &str, addr: SocketAddr, more: &str) -> String {
    format!(
        "[[nodes]]\nname = \"{name}\"\nrole = \"monitor\"\nhttp = \"{addr}\"\nfolder = \"{name}\"\n\
         {more}\n"
    )
}

/// What a monitor says under a path; `Null` of one that is not there.
fn said(addr: SocketAddr, path: &str) -> Value {
    let answer = Client::connect(addr, "none").and_then(|mut it| it.get(path));
    answer.ok().filter(|it| it.status == 200).map_or(Value::Null, |it| it.json())
}

#[track_caller]
fn change(addr: SocketAddr, key: &str, method: &str, path: &str, body: &str) -> Value {
    let mut client = Client::connect(addr, key).unwrap();
    let answer = client.send(method, path, &[], body.as_bytes()).unwrap();
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.status);
    answer.json()
}

fn state(addr: SocketAddr, name: &str) -> String {
    said(addr, &format!("/v1/checks/{name}"))["state"].as_str().unwrap_or_default().to_owned()
}

fn all_up(addr: SocketAddr, names: &[&str]) -> bool {
    names.iter().all(|it| state(addr, it) == "up")
}

/// The open incident about a node.
fn open(addr: SocketAddr, name: &str) -> Option<Value> {
    let open = said(addr, "/v1/incidents?state=open");
    open["data"].as_array()?.iter().find(|it| it["name"] == name).cloned()
}

#[test]
fn the_second_monitor_takes_over_when_the_first_is_killed() {
    let receiver = Receiver::listen();
    let (one, two) = (free_addr(), free_addr());
    let notify = format!("notify = [\"http://{}/\"]", receiver.addr);
    let tree = Tree::of("two-monitors", |edge| {
        topology(edge, &(monitor("m-1", one, &notify) + &monitor("m-2", two, &notify)))
    });
    tree.until("both hear everybody", |_| {
        all_up(one, &NODES) && all_up(two, &NODES) && all_up(one, &["m-2"]) && all_up(two, &["m-1"])
    });
    assert_eq!(
        (&said(one, "/v1/overview")["tells"], &said(two, "/v1/overview")["tells"]),
        (&true.into(), &false.into())
    );
    let told = |event: &str, name: &str| (event.to_owned(), vec![name.to_owned()]);
    tree.ok(&["node", "a-1", "kill"]);
    assert_eq!(receiver.next(&tree), told("opened", "a-1"));

    // What is said to one of them is known to the other.
    tree.until("the second knows of it", |_| open(two, "a-1").is_some());
    let id = open(two, "a-1").unwrap()["id"].as_str().unwrap().to_owned();
    change(two, &tree.key, "POST", &format!("/v1/incidents/{id}/ack"), r#"{"by":"kim"}"#);
    tree.until("the first knows who takes care", |_| {
        open(one, "a-1").is_some_and(|it| it["ack"]["by"] == "kim")
    });
    let silence = r#"{"pattern":"b-*","by":"kim","reason":"test","for_s":600}"#;
    let id = change(one, &tree.key, "POST", "/v1/silences", silence)["id"].to_string();
    let count = |addr| said(addr, "/v1/silences")["data"].as_array().map(Vec::len);
    tree.until("the second keeps quiet, too", |_| count(two) == Some(1));
    change(one, &tree.key, "DELETE", &format!("/v1/silences/{id}"), "");
    tree.until("and not any more", |_| count(two) == Some(0));
    tree.ok(&["node", "a-1", "start"]);
    assert_eq!(receiver.next(&tree), told("resolved", "a-1"));

    // The one that tells dies with what it was about to tell.
    tree.ok(&["node", "a-2", "kill"]);
    tree.ok(&["node", "m-1", "kill"]);
    let mut letters: BTreeMap<(String, Vec<String>), u32> = BTreeMap::new();
    let mut count_until = |events: &[(String, Vec<String>)]| {
        while !events.iter().all(|it| letters.contains_key(it)) {
            *letters.entry(receiver.next(&tree)).or_default() += 1;
        }
    };
    count_until(&[told("opened", "a-2"), told("opened", "m-1")]);
    assert_eq!(said(two, "/v1/overview")["tells"], true);
    tree.ok(&["node", "m-1", "start"]);
    count_until(&[told("resolved", "m-1")]);
    tree.until("the first tells again", |_| {
        said(one, "/v1/overview")["tells"] == true && said(two, "/v1/overview")["tells"] == false
    });
    tree.until("it has found a-2 as well", |_| open(one, "a-2").is_some());
    tree.ok(&["node", "a-2", "start"]);
    count_until(&[told("resolved", "a-2")]);
    // Whatever there was to tell would have come before this.
    tree.until("all are well", |_| all_up(one, &NODES) && all_up(two, &NODES));
    tree.ok(&["node", "a-3", "kill"]);
    count_until(&[told("opened", "a-3")]);
    // What the first told last may be told once more by the second.
    letters.remove(&told("resolved", "a-1"));
    let heard: Vec<String> =
        letters.keys().map(|(event, names)| format!("{event} {}", names.join(" "))).collect();
    let wanted = ["opened a-2", "opened a-3", "opened m-1", "resolved a-2", "resolved m-1"];
    assert_eq!(heard, wanted);
    assert!(letters.values().all(|count| *count <= 2), "one repeat at most: {letters:?}");
}

#[test]
fn steps_and_windows_of_the_file_are_gone_by() {
    let (first, second) = (Receiver::listen(), Receiver::listen());
    let addr = free_addr();
    let more = format!(
        "notify = [\"http://{}/\", \"http://{}/\"]\n\
         [[subscriptions]]\nchannel = \"webhook-1\"\n\
         [[subscriptions]]\nchannel = \"webhook-2\"\nafter = \"4s\"\n\
         [[windows]]\nname = \"upgrade\"\nnode = \"a-2\"\nschedule = \"* * * * *\"\nfor = \"2m\"",
        first.addr, second.addr
    );
    let tree = Tree::of("steps", |edge| topology(edge, &monitor("monitor", addr, &more)));
    tree.until("all are up", |_| all_up(addr, &NODES));
    let told = |event: &str, name: &str| (event.to_owned(), vec![name.to_owned()]);
    // In the window nobody hears of it, and it counts for nothing.
    tree.ok(&["node", "a-2", "kill"]);
    tree.until("a-2 is down", |_| state(addr, "a-2") == "down");
    // The second step hears of what nobody takes care of,
    tree.ok(&["node", "a-1", "kill"]);
    assert_eq!(first.next(&tree), told("opened", "a-1"));
    assert_eq!(second.next(&tree).1, ["a-1"]);
    tree.ok(&["node", "a-1", "start"]);
    assert_eq!(first.next(&tree), told("resolved", "a-1"));
    assert_eq!(second.next(&tree), told("resolved", "a-1"));
    // and not of what somebody does.
    tree.ok(&["node", "a-3", "kill"]);
    assert_eq!(first.next(&tree), told("opened", "a-3"));
    let id = open(addr, "a-3").unwrap()["id"].as_str().unwrap().to_owned();
    change(addr, &tree.key, "POST", &format!("/v1/incidents/{id}/ack"), r#"{"by":"kim"}"#);
    tree.ok(&["node", "a-2", "start"]);
    tree.until("a-2 is up", |_| state(addr, "a-2") == "up");
    tree.ok(&["node", "a-3", "start"]);
    assert_eq!(first.next(&tree), told("resolved", "a-3"));
    assert!(first.letters.try_recv().is_err() && second.letters.try_recv().is_err());
    let report = said(addr, "/v1/availability/a-2?hours=1");
    assert_eq!((&report["down_s"], &report["outages"]), (&0.0.into(), &0.into()), "{report}");
    assert!(report["maintenance_s"].as_f64().unwrap() > 1.0, "{report}");
}

/// A webhook receiver that never answers the first letter, as long as the sender waits; it takes
/// all others.
fn hanging() -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, letters) = mpsc::channel();
    thread::spawn(move || {
        let mut first = listener.accept().unwrap().0;
        thread::spawn(move || drop(first.read_to_end(&mut Vec::new())));
        for stream in listener.incoming() {
            crate::alerts::take(stream.unwrap());
            sender.send(()).unwrap_or(()); // The test may be over.
        }
    });
    (addr, letters)
}

/// A mail server that is not ready for the first mail; the subjects of those that it took.
fn mail_server() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, subjects) = mpsc::channel();
    thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            converse(stream.unwrap(), at == 0, &sender);
        }
    });
    (addr, subjects)
}

fn converse(stream: TcpStream, is_first: bool, subjects: &mpsc::Sender<String>) {
    let mut out = stream.try_clone().unwrap();
    let mut say = |words: &str| out.write_all(format!("{words}\r\n").as_bytes()).unwrap_or(());
    say("220 mail");
    let mut is_text = false;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if is_text {
            if let Some(subject) = line.strip_prefix("Subject: ") {
                drop(subjects.send(subject.to_owned())); // The test may be over.
            }
            if line == "." {
                is_text = false;
                say("250 taken");
            }
            continue;
        }
        match line.get(..4) {
            Some("MAIL") if is_first => say("451 not now"),
            Some("DATA") => {
                is_text = true;
                say("354 go on");
            }
            Some("QUIT") => return say("221 bye"),
            Some(_) | None => say("250 yes"),
        }
    }
}

#[test]
fn who_hangs_or_refuses_delays_nobody_and_gets_everything() {
    let (hanging, late) = hanging();
    let (mail, subjects) = mail_server();
    let well = Receiver::listen();
    let addr = free_addr();
    let more = format!(
        "notify = [\"http://{hanging}/\", \"mailto:kim@example.com\", \"http://{}/\"]\n\
         smtp = \"{mail}\"",
        well.addr
    );
    let tree = Tree::of("hanging-hook", |edge| topology(edge, &monitor("monitor", addr, &more)));
    tree.until("all are up", |_| all_up(addr, &NODES));
    tree.ok(&["node", "a-1", "kill"]);
    assert_eq!(well.next(&tree), ("opened".to_owned(), vec!["a-1".to_owned()]));
    let subject = subjects.recv_timeout(LETTER_MAX).unwrap();
    assert!(subject.contains("a-1 is down"), "{subject}");
    // Both were told while the first attempt at the other still hangs.
    let attempts = |channel: &str| -> Vec<String> {
        let channel = said(addr, &format!("/v1/channels/{channel}"));
        let attempts = channel["letters"][0]["attempts"].as_array().cloned().unwrap_or_default();
        attempts.iter().map(|it| it["answer"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(attempts("webhook-1"), [""; 0]);
    assert!(late.try_recv().is_err());
    late.recv_timeout(LETTER_MAX).unwrap();
    tree.until("the log of attempts is whole", |_| attempts("webhook-1").len() == 2);
    assert_eq!(attempts("webhook-1"), ["failed: no answer within 10s", "accepted"]);
    let of_mail = attempts("mail-2");
    assert!(of_mail.len() == 2 && of_mail[0].starts_with("failed: 451"), "{of_mail:?}");
    assert_eq!(
        (of_mail[1].as_str(), attempts("webhook-3")),
        ("accepted", vec!["accepted".to_owned()])
    );
}

#[test]
fn a_monitor_of_up_keeps_what_it_knows_in_a_database() {
    let Some(cluster) = cluster() else { return };
    let url = cluster.url(&cluster.create("monitor_of_up"));
    let mut tree = Tree::up_with("monitor-store", &["--monitor-store", &url]);
    let count = || {
        cluster.psql(
            "monitor_of_up",
            "SELECT count(*) FROM tollgate_monitor_monitor.checks WHERE state = 'up'",
        )
    };
    tree.until("everybody is up in the database", |_| count() == "9");
    assert!(!tree.data.join("monitor/monitor.db").exists());
    // Without the word it stays where it was.
    assert!(tree.drain(), "{}", tree.logs());
    tree.start();
    tree.until("all are up", |tree| all_up(tree.monitor(), &["edge", "a-1"]));
    assert!(!tree.data.join("monitor/monitor.db").exists());
}
