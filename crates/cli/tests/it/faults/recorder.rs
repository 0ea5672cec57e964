//! Records what clients ask and are told, while something goes wrong: one process, one counter of
//! ticks, as `loadgen::history` wants it. Whatever has no definite answer stays open.
//!
//! Accounts are used for a while and then left for new ones, so that no list of theirs grows long.

use crate::http::{Answer, Client};
use loadgen::{
    audit::{self, Position, TrialLine},
    history::{Asked, Book, Booked, History, Op, Reply, Told, mutation::Books},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};
use stdx::{Moment, Rng};

const CLIENTS: u64 = 8;
/// Accounts in use at a time, and operations until they are left: some sixty for each.
const ACCOUNTS: u64 = 8;
const OPERATIONS: u64 = 500;
const OVERDRAFT: i64 = 500;
/// How long a client repeats one operation at the most.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long books are asked for before they count as unreadable.
const BOOKS_MAX: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);
/// Where there are several sites: clients of the first one that do nothing but read, and how long
/// they wait for an answer.
const READERS: u64 = 4;
const GLANCE_MAX: Duration = Duration::from_millis(250);

/// Where clients go, and the key that they show.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) addr: SocketAddr,
    pub(crate) key: String,
}

/// The clients as the one who hurts the tree sees them.
pub(crate) struct Watch {
    answers: mpsc::Receiver<()>,
    undecided: Arc<AtomicUsize>,
}

impl Watch {
    /// Attempts so far that brought no decision.
    pub(crate) fn undecided(&self) -> usize {
        self.undecided.load(Ordering::Relaxed)
    }

    /// Waits for so many further answers; says how long it took, or that they did not come.
    pub(crate) fn answers(&self, count: usize, time_max: Duration) -> Result<Duration, String> {
        while self.answers.try_recv().is_ok() {}
        let begun = net::clock::now();
        for number in 0..count {
            let left = time_max.saturating_sub(net::clock::now().since(begun));
            if self.answers.recv_timeout(left).is_err() {
                return Err(format!("{number} of {count} answers within {time_max:?}"));
            }
        }
        Ok(net::clock::now().since(begun))
    }
}

/// What was recorded, with the final books.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) history: History,
    pub(crate) books: Books,
    /// Attempts that brought no decision.
    pub(crate) undecided: usize,
    /// The longest time without any decision, in milliseconds.
    pub(crate) gap_ms: u128,
    /// What nobody should ever see, in words.
    pub(crate) odd: Vec<String>,
}

/// What all clients share.
struct Crowd {
    /// Accounts that are open by now.
    opened: Mutex<Vec<u32>>,
    over: AtomicBool,
    ticks: AtomicU64,
    operations: AtomicU64,
    answered: mpsc::Sender<()>,
    undecided: Arc<AtomicUsize>,
}

/// One client's part.
struct Part {
    ops: Vec<Op>,
    replies: Vec<Reply>,
    accounts: BTreeSet<u32>,
    decided_at: Vec<Moment>,
    odd: Vec<String>,
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Records while `work` is done; then reads the books and asks for outcomes once more. Clients are
/// dealt to the sites in turn.
pub(crate) fn record<R>(
    sites: &[Site],
    seed: u64,
    work: impl FnOnce(&Watch) -> R,
) -> (Recorded, R) {
    let (answered, answers) = mpsc::channel();
    let undecided = Arc::<AtomicUsize>::default();
    let crowd = Crowd {
        opened: Mutex::default(),
        over: AtomicBool::new(false),
        ticks: AtomicU64::new(1),
        operations: AtomicU64::new(0),
        answered,
        undecided: Arc::clone(&undecided),
    };
    let crowd = &crowd;
    let (parts, done) = thread::scope(|scope| {
        let readers = if sites.len() < 2 { 0 } else { READERS };
        let member = |number: u64| {
            let seed = seed.wrapping_mul(CLIENTS + readers).wrapping_add(number);
            let site = usize::try_from(number).unwrap() % sites.len();
            scope.spawn(move || match number < CLIENTS {
                true => Member::new(crowd, &sites[site], seed).run(),
                false => Member::new(crowd, &sites[0], seed).read_on(),
            })
        };
        let clients: Vec<_> = (0..CLIENTS + readers).map(member).collect();
        let guard = Over(&crowd.over);
        let done = work(&Watch { answers, undecided: Arc::clone(&undecided) });
        drop(guard);
        let parts: Vec<Part> = clients.into_iter().map(|it| it.join().unwrap()).collect();
        (parts, done)
    });
    let undecided = undecided.load(Ordering::Relaxed);
    let mut recorded = Recorded { undecided, ..Recorded::default() };
    let (mut accounts, mut decided_at) = (BTreeSet::new(), Vec::new());
    for part in parts {
        recorded.history.ops.extend(part.ops);
        recorded.history.replies.extend(part.replies);
        recorded.odd.extend(part.odd);
        accounts.extend(part.accounts);
        decided_at.extend(part.decided_at);
    }
    decided_at.sort_unstable();
    let gaps = decided_at.windows(2).map(|it| it[1].since(it[0]).as_millis());
    recorded.gap_ms = gaps.max().unwrap_or(0);
    if let Err(why) = read_books(&sites[0], &accounts, &mut recorded) {
        recorded.odd.push(why);
    }
    (recorded, done)
}

/// One client.
struct Member<'a> {
    crowd: &'a Crowd,
    site: &'a Site,
    /// It waits for no answer for longer.
    glance_max: Option<Duration>,
    rng: Rng,
    client: Option<Client>,
    part: Part,
}

/// What one sending came to.
enum Came {
    Answer(Answer),
    /// It was never sent.
    Unsent,
    /// It was sent, and no whole answer came.
    Lost,
}

impl<'a> Member<'a> {
    fn new(crowd: &'a Crowd, site: &'a Site, seed: u64) -> Member<'a> {
        let part = Part {
            ops: Vec::new(),
            replies: Vec::new(),
            accounts: BTreeSet::new(),
            decided_at: Vec::new(),
            odd: Vec::new(),
        };
        Member { crowd, site, glance_max: None, rng: Rng::new(seed), client: None, part }
    }

    fn is_over(&self) -> bool {
        self.crowd.over.load(Ordering::Relaxed)
    }

    fn run(mut self) -> Part {
        while !self.is_over() {
            let number = self.crowd.operations.fetch_add(1, Ordering::Relaxed) + 1;
            let chosen = u64::try_from(self.rng.below(8)).unwrap() % ACCOUNTS;
            let account = u32::try_from(number / OPERATIONS * ACCOUNTS + chosen).unwrap();
            if !self.part.accounts.contains(&account) && !self.open(account) {
                continue;
            }
            self.operate(account, number);
        }
        self.part
    }

    /// Reads accounts that others have opened, and waits for nobody.
    fn read_on(mut self) -> Part {
        self.glance_max = Some(GLANCE_MAX);
        while !self.is_over() {
            thread::sleep(PAUSE);
            let opened = self.crowd.opened.lock().unwrap();
            let young = opened.len().saturating_sub(usize::try_from(ACCOUNTS).unwrap());
            let young = &opened[young..];
            let account = (!young.is_empty()).then(|| young[self.rng.below(young.len())]);
            drop(opened);
            let Some(account) = account else { continue };
            let begun = self.tick();
            let told = self.settle(account, Asked::Read, false);
            let ended = self.tick();
            self.part.ops.push(Op { account, asked: Asked::Read, told, begun, ended });
        }
        self.part
    }

    fn tick(&self) -> u64 {
        self.crowd.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Everybody opens with the same key: whoever comes first does it.
    fn open(&mut self, account: u32) -> bool {
        let body =
            format!(r#"{{"id":"acc-{account}","currency":"EUR","overdraft_limit":{OVERDRAFT}}}"#);
        let key = format!("open-{account}");
        let begun = net::clock::now();
        while net::clock::now().since(begun) < PATIENCE {
            match self.send("/v1/a/accounts", Some((&key, &body))) {
                Came::Answer(answer) if answer.status == 201 => {
                    self.part.accounts.insert(account);
                    let mut opened = self.crowd.opened.lock().unwrap();
                    if !opened.contains(&account) {
                        opened.push(account);
                    }
                    return true;
                }
                Came::Answer(_) | Came::Unsent | Came::Lost if self.is_over() => return false,
                Came::Answer(_) | Came::Unsent | Came::Lost => thread::sleep(PAUSE),
            }
        }
        false
    }

    fn operate(&mut self, account: u32, number: u64) {
        let amount = 1 + i64::try_from(self.rng.below(300)).unwrap();
        let change = if self.rng.below(5) < 2 { amount } else { -amount };
        let asked = match self.rng.below(4) {
            0 => Asked::Read,
            _ => Asked::Write { request: number, change },
        };
        // Every eighth is not repeated: what it came to stays as it was told.
        let is_patient = self.rng.below(8) != 0;
        let begun = self.tick();
        let told = self.settle(account, asked, is_patient);
        let ended = self.tick();
        if told != Told::Unknown && told != Told::NotExecuted {
            self.part.decided_at.push(net::clock::now());
            _ = self.crowd.answered.send(()); // Nobody counts any more once the work is done.
        }
        self.part.ops.push(Op { account, asked, told, begun, ended });
    }

    /// Sends, and repeats under the same key, until there is a decision or no patience left.
    fn settle(&mut self, account: u32, asked: Asked, is_patient: bool) -> Told {
        let since = net::clock::now();
        let mut may_be_executed = false;
        loop {
            let came = match asked {
                Asked::Read => self.send(&format!("/v1/a/accounts/acc-{account}/balance"), None),
                Asked::Write { request, change } => {
                    let (path, key, body) = debit_or_credit(account, request, change);
                    self.send(&path, Some((&key, &body)))
                }
            };
            match came {
                Came::Answer(answer) => match (answer.status, asked) {
                    (200, Asked::Read) => return Told::Shown(position(&answer.json(), "posted")),
                    (201, Asked::Write { request, .. }) => return self.posted(request, answer),
                    (409, Asked::Write { request, .. }) if is_refusal(&answer) => {
                        self.reply(request, answer);
                        return Told::Refused;
                    }
                    // Definitely not executed, this time.
                    (503 | 429, _) => (),
                    (504, _) => may_be_executed = true,
                    (409, _) if answer.code() == "key_in_use" => may_be_executed = true,
                    (_, _) => {
                        self.part.odd.push(format!("{asked:?} was answered with {answer:?}"));
                        return Told::Unknown;
                    }
                },
                Came::Unsent => (),
                Came::Lost => may_be_executed = true,
            }
            self.crowd.undecided.fetch_add(1, Ordering::Relaxed);
            if !is_patient || self.is_over() || PATIENCE < net::clock::now().since(since) {
                return if may_be_executed { Told::Unknown } else { Told::NotExecuted };
            }
            thread::sleep(PAUSE);
        }
    }

    fn posted(&mut self, request: u64, answer: Answer) -> Told {
        let it = answer.json();
        let id = it["id"].as_str().unwrap().into();
        self.reply(request, answer);
        Told::Posted { id, after: position(&it, "posted_after") }
    }

    fn reply(&mut self, request: u64, answer: Answer) {
        let Answer { status, body, .. } = answer;
        self.part.replies.push(Reply { request, status, body: body.into() });
    }

    fn send(&mut self, path: &str, post: Option<(&str, &str)>) -> Came {
        let site = self.site;
        let mut client = match self.client.take() {
            Some(client) => client,
            None => match Client::connect(site.addr, &site.key) {
                Ok(client) => client,
                Err(_) => return Came::Unsent,
            },
        };
        if let Some(time_max) = self.glance_max {
            client.give_up_after(time_max).unwrap();
        }
        let answer = match post {
            Some((key, body)) => client.post_keyed(path, key, body),
            None => client.get(path),
        };
        match answer {
            Ok(answer) => {
                let is_last = answer.header("connection") == Some("close");
                self.client = (!is_last).then_some(client);
                Came::Answer(answer)
            }
            Err(_) => Came::Lost,
        }
    }
}

fn debit_or_credit(account: u32, request: u64, change: i64) -> (String, String, String) {
    let verb = if change < 0 { "debit" } else { "credit" };
    let path = format!("/v1/a/accounts/acc-{account}/{verb}");
    let amount = change.abs();
    let body = format!(r#"{{"amount":{amount},"currency":"EUR","reference":"r{request}"}}"#);
    (path, format!("key-{request}"), body)
}

fn is_refusal(answer: &Answer) -> bool {
    answer.code() == "insufficient_funds"
}

fn position(it: &Value, posted: &str) -> Position {
    Position { posted: it[posted].as_i64().unwrap(), version: it["version"].as_u64().unwrap() }
}

/// The final books of these accounts, and the outcomes of what was decided, asked for again.
fn read_books(
    site: &Site,
    accounts: &BTreeSet<u32>,
    recorded: &mut Recorded,
) -> Result<(), String> {
    let until = net::clock::now() + BOOKS_MAX;
    let mut reader = Reader { site, client: None, until };
    for account in accounts {
        let path = format!("/v1/a/accounts/acc-{account}");
        let balance = reader.get(&format!("{path}/balance"))?;
        let (mut entries, mut after) = (Vec::new(), String::new());
        loop {
            let page = reader.get(&format!("{path}/transactions?limit=1000{after}"))?;
            entries.extend(page["data"].as_array().unwrap().iter().map(booked));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            after = format!("&starting_after={cursor}");
        }
        entries.reverse();
        let balance = position(&balance, "posted");
        let book = Book { overdraft_limit: OVERDRAFT, entries, balance };
        recorded.books.insert(*account, book);
    }
    let trial = reader.get("/v1/a/trial-balance")?;
    let lines = trial["currencies"].as_array().unwrap().iter().map(|it| TrialLine {
        currency: it["currency"].as_str().unwrap().to_owned(),
        debits: it["debits"].as_i64().unwrap().into(),
        credits: it["credits"].as_i64().unwrap().into(),
        sum: it["sum"].as_i64().unwrap().into(),
    });
    let lines: Vec<TrialLine> = lines.collect();
    recorded.odd.extend(audit::audit_trial(trial["balanced"] == true, &lines));
    // One in four, and the keys say the same again.
    let decided = recorded.history.ops.iter().step_by(4);
    let decided = decided.filter(|op| matches!(op.told, Told::Posted { .. } | Told::Refused));
    for op in decided.take(200) {
        let Asked::Write { request, change } = op.asked else { continue };
        let (path, key, body) = debit_or_credit(op.account, request, change);
        let answer = reader.ask(|client| client.post_keyed(&path, &key, &body))?;
        let (status, body) = (answer.status, answer.body.into());
        recorded.history.replies.push(Reply { request, status, body });
    }
    Ok(())
}

fn booked(row: &Value) -> Booked {
    let amount = row["amount"].as_i64().unwrap();
    let reference = row["reference"].as_str().unwrap_or_default();
    Booked {
        request: reference.strip_prefix('r').and_then(|it| it.parse().ok()),
        id: row["id"].as_str().unwrap().into(),
        change: if row["kind"] == "debit" { -amount } else { amount },
        after: position(row, "posted_after"),
    }
}

/// Asks until there is an answer that says something.
struct Reader<'a> {
    site: &'a Site,
    client: Option<Client>,
    until: Moment,
}

impl Reader<'_> {
    fn get(&mut self, path: &str) -> Result<Value, String> {
        let answer = self.ask(|client| client.get(path))?;
        match answer.status {
            200 => Ok(answer.json()),
            _ => Err(format!("{path} was answered with {answer:?}")),
        }
    }

    fn ask(
        &mut self,
        mut ask: impl FnMut(&mut Client) -> std::io::Result<Answer>,
    ) -> Result<Answer, String> {
        let mut last = String::new();
        while net::clock::now() < self.until {
            let kept = self.client.take().map(Ok);
            let connect = || Client::connect(self.site.addr, &self.site.key);
            match kept.unwrap_or_else(connect).and_then(|mut it| Ok((ask(&mut it)?, it))) {
                Ok((answer, client)) if answer.status < 500 => {
                    self.client = Some(client);
                    return Ok(answer);
                }
                Ok((answer, _)) => last = format!("{answer:?}"),
                Err(err) => last = err.to_string(),
            }
            thread::sleep(PAUSE);
        }
        Err(format!("the books cannot be read: {last}"))
    }
}
