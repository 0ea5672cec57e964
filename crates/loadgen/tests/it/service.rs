//! An account service of a few lines, a thread per connection, everything in memory.

mod http2;

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
    /// Transfers are on their way when they are answered, and end when they are looked for.
    EndsTransfersLater,
    /// Of some transfers only the debit is booked, and they are acknowledged as completed.
    TakesWithoutGiving,
    /// Some transfers are credited twice.
    GivesTwice,
    /// Some transfers are acknowledged as completed, and the source has the money back.
    GivesBack,
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
    /// Transfers on their way.
    on_the_way: BTreeMap<String, Value>,
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
    if stream.fill_buf().ok()?.starts_with(b"PRI") {
        return http2::serve(stream, manner, books);
    }
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
        if let Some(id) = request.path.strip_prefix("/v1/transfers/") {
            return Some((200, self.end(id)));
        }
        if request.path == "/v1/transfers" {
            return self.transfer(manner, request);
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
            ("POST", "batch", None, None) => self.batch(manner, request),
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
        let answer = self.book(id, kind, amount, None);
        if let Some(key) = key {
            self.keys.insert(key, answer.clone());
        }
        let hangs_up = matches!(manner, Manner::HangsUpAfterExecuting | Manner::ForgetsKeys);
        if is_some && is_first && hangs_up {
            return None;
        }
        if is_some && manner == Manner::BooksTwice {
            self.book(id, kind, amount, None);
        }
        match is_some && manner == Manner::BooksWhatItRefuses {
            true => Some((409, json!({"code": "insufficient_funds"}))),
            false => Some((201, answer)),
        }
    }

    /// Each item as if it came alone.
    fn batch(&mut self, manner: Manner, request: &Request) -> Option<(u16, Value)> {
        let mut outcomes = Some(Vec::new());
        for (at, item) in request.body["transactions"].as_array()?.iter().enumerate() {
            let key = request.key.as_ref().map(|key| format!("{key}/{at}"));
            let (method, path) = (String::new(), String::new());
            let alone = Request { method, path, key, body: item.clone() };
            let (id, kind) = (item["account"].as_str()?, item["kind"].as_str()?);
            // Whoever hangs up has executed the others all the same.
            let told = self.write(manner, id, kind, &alone);
            outcomes = outcomes.zip(told).map(|(mut outcomes, (status, body))| {
                outcomes.push(match status {
                    201 => json!({"status": status, "transaction": body}),
                    _ => json!({"status": status, "code": body["code"]}),
                });
                outcomes
            });
        }
        Some((200, json!({"outcomes": outcomes?})))
    }

    fn transfer(&mut self, manner: Manner, request: &Request) -> Option<(u16, Value)> {
        let body = &request.body;
        let account = |end: &str| body[end]["account"].as_str().map(str::to_owned);
        let (from, to, amount) = (account("from")?, account("to")?, body["amount"].as_i64()?);
        let key = request.key.as_ref().map(|key| (from.clone(), key.clone()));
        let known = key.as_ref().and_then(|key| self.keys.get(key));
        let is_first = known.is_none();
        if let Some(answer) = known.filter(|_| manner != Manner::ForgetsKeys) {
            return Some((201, answer.clone()));
        }
        self.writes += 1;
        let is_some = self.writes.is_multiple_of(16);
        let lies = |its| is_some && manner == its;
        if lies(Manner::BooksWhatItRefuses) {
            self.move_money(&from, &to, amount);
            return Some((409, json!({"code": "insufficient_funds"})));
        }
        let id = format!("tr_{}", self.writes);
        let (mut debit, mut credit) = (json!("tx_none"), json!("tx_neither"));
        if !lies(Manner::AcknowledgesWithoutBooking) {
            debit = self.book(&from, "debit", amount, Some(&id))["id"].clone();
            let target = if lies(Manner::GivesBack) { &from } else { &to };
            if !lies(Manner::TakesWithoutGiving) {
                credit = self.book(target, "credit", amount, Some(&id))["id"].clone();
            }
            if lies(Manner::GivesTwice) {
                self.book(&to, "credit", amount, Some(&id));
            }
        }
        let mut answer = json!({
            "id": id, "from": body["from"], "to": body["to"], "amount": amount,
            "status": "completed", "reason": null, "debit": debit, "credit": credit,
        });
        if lies(Manner::EndsTransfersLater) {
            self.on_the_way.insert(id, answer.clone());
            (answer["status"], answer["credit"]) = (json!("pending"), Value::Null);
        }
        if let Some(key) = key {
            self.keys.insert(key, answer.clone());
        }
        let hangs_up = matches!(manner, Manner::HangsUpAfterExecuting | Manner::ForgetsKeys);
        (!(hangs_up && is_some && is_first)).then_some((201, answer))
    }

    /// A transfer of which nobody is told.
    fn move_money(&mut self, from: &str, to: &str, amount: i64) {
        let id = format!("tr_{}", self.writes);
        self.book(from, "debit", amount, Some(&id));
        self.book(to, "credit", amount, Some(&id));
    }

    /// The transfer as it ended.
    fn end(&mut self, id: &str) -> Value {
        self.on_the_way.remove(id).unwrap_or_else(|| json!({"code": "no_such_transfer"}))
    }

    fn book(&mut self, id: &str, kind: &str, amount: i64, transfer: Option<&str>) -> Value {
        let number: usize = self.accounts.values().map(|it| it.history.len()).sum();
        let account = self.accounts.get_mut(id).unwrap();
        account.posted += if kind == "debit" { -amount } else { amount };
        account.version += 1;
        let id_of = format!("tx_{number}");
        let mut entry = entry(&id_of, id, kind, amount, account.posted, account.version);
        entry["transfer"] = transfer.into();
        account.history.push(entry.clone());
        entry
    }
}

fn entry(id: &str, account: &str, kind: &str, amount: i64, posted: i64, version: u64) -> Value {
    json!({"id": id, "account": account, "kind": kind, "amount": amount, "posted_after": posted, "version": version})
}
