//! An account service of a few lines, a thread per connection, everything in memory.

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// How it treats the truth. What is done to some writes is done to every 16th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// The answer to some writes is lost, once each.
    HangsUpAfterExecuting,
    AcknowledgesWithoutBooking,
    /// The second time under an id of its own, and in no answer.
    BooksTwice,
    BooksWhatItRefuses,
    /// As the second, and a repeat is executed again.
    ForgetsKeys,
    ShowsAnotherBalance,
    TrialIsOdd,
    KnowsNobody,
}

#[derive(Default)]
struct Account {
    posted: i64,
    version: u64,
    /// Oldest first.
    history: Vec<Value>,
}

#[derive(Default)]
struct Books {
    accounts: BTreeMap<String, Account>,
    /// Answers by account and key.
    keys: BTreeMap<(String, String), Value>,
    writes: u64,
}

pub(crate) struct Service {
    pub(crate) addr: SocketAddr,
}

impl Service {
    /// Serves until the process ends.
    pub(crate) fn start(manner: Manner) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let books: Arc<Mutex<Books>> = Arc::default();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let books = Arc::clone(&books);
                thread::spawn(move || serve(stream, manner, &books));
            }
        });
        Service { addr }
    }
}

struct Request {
    method: String,
    path: String,
    key: Option<String>,
    body: Value,
}

fn serve(stream: TcpStream, manner: Manner, books: &Mutex<Books>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let request = read(&mut stream)?;
        let (status, body) = books.lock().unwrap().answer(manner, &request)?;
        let text = body.to_string();
        // In two pieces, for answers need not come in one.
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", text.len());
        stream.get_mut().write_all(head.as_bytes()).ok()?;
        stream.get_mut().write_all(text.as_bytes()).ok()?;
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut words = lines.first()?.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let header = |name: &str| {
        let value = |line: &String| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned());
        lines.iter().find_map(value)
    };
    let length = header("Content-Length").map_or(0, |it| it.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    Some(Request { method, path, key: header("Idempotency-Key"), body })
}

impl Books {
    /// `None` hangs up.
    fn answer(&mut self, manner: Manner, request: &Request) -> Option<(u16, Value)> {
        if manner == Manner::KnowsNobody {
            return Some((401, json!({"code": "unauthenticated"})));
        }
        let path = request.path.split('?').next()?;
        let mut parts = path.trim_start_matches("/v1/").split('/');
        let (_service, what, id, verb) = (parts.next()?, parts.next()?, parts.next(), parts.next());
        match (request.method.as_str(), what, id, verb) {
            ("POST", "accounts", None, None) => {
                let id = request.body["id"].as_str()?.to_owned();
                self.accounts.entry(id).or_default();
                Some((201, json!({})))
            }
            ("GET", "trial-balance", None, None) => {
                let odd = i64::from(manner == Manner::TrialIsOdd);
                let line = json!({"currency": "EUR", "debits": 5, "credits": 5 + odd, "sum": odd});
                Some((200, json!({"balanced": true, "currencies": [line]})))
            }
            ("GET", "accounts", Some(id), Some("balance")) => {
                let account = &self.accounts[id];
                let lie = i64::from(manner == Manner::ShowsAnotherBalance);
                let posted = account.posted + lie;
                Some((200, json!({"account": id, "posted": posted, "version": account.version})))
            }
            ("GET", "accounts", Some(id), Some("transactions")) => {
                Some((200, self.page(id, &request.path)))
            }
            ("POST", "accounts", Some(id), Some(kind)) => self.write(manner, id, kind, request),
            _ => Some((404, json!({"code": "no_such_route"}))),
        }
    }

    /// Seven to a page, whatever was asked for.
    fn page(&self, id: &str, path: &str) -> Value {
        let after = path.split("starting_after=").nth(1).map_or(0, |it| it.parse().unwrap());
        let history = &self.accounts[id].history;
        let rows: Vec<&Value> = history.iter().rev().skip(after).take(7).collect();
        let end = after + rows.len();
        let more = end < history.len();
        let cursor = if more { json!(end.to_string()) } else { Value::Null };
        json!({"data": rows, "has_more": more, "next_cursor": cursor})
    }

    fn write(
        &mut self,
        manner: Manner,
        id: &str,
        kind: &str,
        request: &Request,
    ) -> Option<(u16, Value)> {
        let key = request.key.as_ref().map(|key| (id.to_owned(), key.clone()));
        if let Some(answer) = key.as_ref().and_then(|key| self.keys.get(key))
            && manner != Manner::ForgetsKeys
        {
            return Some((201, answer.clone()));
        }
        let is_first = key.as_ref().is_none_or(|key| !self.keys.contains_key(key));
        self.writes += 1;
        // The set-up's writes are the first: five of them.
        let is_some = 5 < self.writes && self.writes.is_multiple_of(16);
        let amount = request.body["amount"].as_i64().unwrap();
        if is_some && manner == Manner::AcknowledgesWithoutBooking {
            let account = &self.accounts[id];
            return Some((
                201,
                entry("tx_none", id, kind, amount, account.posted, account.version),
            ));
        }
        let answer = self.book(id, kind, amount);
        if let Some(key) = key {
            self.keys.insert(key, answer.clone());
        }
        let hangs_up = matches!(manner, Manner::HangsUpAfterExecuting | Manner::ForgetsKeys);
        if is_some && is_first && hangs_up {
            return None;
        }
        if is_some && manner == Manner::BooksTwice {
            self.book(id, kind, amount);
        }
        match is_some && manner == Manner::BooksWhatItRefuses {
            true => Some((409, json!({"code": "insufficient_funds"}))),
            false => Some((201, answer)),
        }
    }

    fn book(&mut self, id: &str, kind: &str, amount: i64) -> Value {
        let number: usize = self.accounts.values().map(|it| it.history.len()).sum();
        let account = self.accounts.get_mut(id).unwrap();
        account.posted += if kind == "debit" { -amount } else { amount };
        account.version += 1;
        let id_of = format!("tx_{number}");
        let entry = entry(&id_of, id, kind, amount, account.posted, account.version);
        account.history.push(entry.clone());
        entry
    }
}

fn entry(id: &str, account: &str, kind: &str, amount: i64, posted: i64, version: u64) -> Value {
    json!({"id": id, "account": account, "kind": kind, "amount": amount, "posted_after": posted, "version": version})
}
