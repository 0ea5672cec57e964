//! What is journaled, told as it happens, and once more from where a client left off.

use crate::tree::Tree;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

/// One who listens.
struct Listener(BufReader<TcpStream>);

impl Listener {
    fn at(tree: &Tree, query: &str, heard: Option<&str>) -> Listener {
        let stream = TcpStream::connect(tree.edge).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let heard = heard.map(|it| format!("Last-Event-ID: {it}\r\n")).unwrap_or_default();
        let request = format!(
            "GET /v1/a/events{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{heard}\r\n",
            tree.key
        );
        let mut listener = Listener(BufReader::new(stream));
        listener.0.get_mut().write_all(request.as_bytes()).unwrap();
        assert_eq!(listener.line(), "HTTP/1.1 200 OK");
        listener
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// The next event of this name: its data, and the id that came with it.
    fn next(&mut self, name: &str) -> (Value, String) {
        let wanted = format!("event: {name}");
        while self.line() != wanted {}
        let mut id = String::new();
        loop {
            let line = self.line();
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.to_owned();
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return (serde_json::from_str(data).unwrap(), id);
            }
        }
    }
}

#[test]
fn events_are_told_as_they_happen_and_again_from_a_cursor() {
    let tree = Tree::up("events");
    let mut client = tree.client();
    let open = json!({"id": "alice", "currency": "EUR"}).to_string();
    assert_eq!(client.post("/v1/a/accounts", &open).unwrap().status, 201);
    let mut all = Listener::at(&tree, "", None);
    assert_eq!(all.next("account.opened").0["id"], "alice");
    let (_, begun) = all.next("cursor");
    let mut late = Listener::at(&tree, "?after=now", None);
    late.next("cursor");

    let money = |amount: i64| json!({"amount": amount, "currency": "EUR"}).to_string();
    let credit = client.post("/v1/a/accounts/alice/credit", &money(100)).unwrap().json();
    for listener in [&mut all, &mut late] {
        assert_eq!(listener.next("transaction").0, credit);
    }
    let hold = client.post("/v1/a/accounts/alice/holds", &money(60)).unwrap().json();
    assert_eq!(all.next("hold").0, hold);
    let (_, after) = all.next("cursor");
    drop(all);

    // From before the credit, and from after the hold.
    let mut again = Listener::at(&tree, "?after=now", Some(&begun));
    assert_eq!(again.next("transaction").0["id"], credit["id"]);
    assert_eq!(again.next("hold").0["id"], hold["id"]);
    let mut on = Listener::at(&tree, "", Some(&after));
    tree.kill("a-1");
    tree.kill("a-2");
    let debit = client.post("/v1/a/accounts/alice/debit", &money(1)).unwrap().json();
    assert_eq!(on.next("transaction").0["id"], debit["id"], "also after its owners died");
    let refused = client.get("/v1/a/events?after=xyz").unwrap();
    assert_eq!(refused.code(), "invalid_request");
}
