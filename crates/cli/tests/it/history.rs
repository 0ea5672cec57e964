//! Histories as clients see them, and a judge who knows nothing else.
//!
//! Every change of an account bears a version, so the order of what happened is in the answers. A
//! history is linearizable if that order agrees with real time: what began after something had
//! ended comes after it. Nothing acknowledged may be missing from the final statement, nothing may
//! be there twice, and every balance must follow from the one before.

use crate::{
    http::{Answer, Client},
    tree::Tree,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// One request that was decided.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    account: usize,
    /// Ticks of one counter for all clients.
    begun: u64,
    ended: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Posted {
        id: String,
        version: u64,
        amount: i64,
        posted_after: i64,
    },
    /// The request of this reference was refused: it must never be seen.
    Refused {
        reference: String,
    },
    Read {
        version: u64,
        posted: i64,
    },
}

/// An entry of an account's final statement.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    id: String,
    version: u64,
    amount: i64,
    posted_after: i64,
    reference: String,
}

/// Says what is wrong with a history, if anything is.
pub(crate) fn judge(
    history: &[Done],
    statements: &BTreeMap<usize, Vec<Entry>>,
) -> Result<(), String> {
    for (account, entries) in statements {
        let of = |it: &&Done| it.account == *account;
        let done: Vec<&Done> = history.iter().filter(of).collect();
        judge_statement(&done, entries).map_err(|why| format!("account {account}: {why}"))?;
        judge_order(&done).map_err(|why| format!("account {account}: {why}"))?;
    }
    Ok(())
}

fn judge_statement(done: &[&Done], entries: &[Entry]) -> Result<(), String> {
    let mut before = 0;
    for (at, entry) in (1..).zip(entries) {
        if entry.version != at || entry.posted_after != before + entry.amount {
            return Err(format!("{entry:?} does not follow a balance of {before}"));
        }
        before = entry.posted_after;
    }
    let references: BTreeSet<&str> = entries.iter().map(|it| &*it.reference).collect();
    if references.len() != entries.len() {
        return Err("a request was booked twice".to_owned());
    }
    for it in done {
        match &it.what {
            What::Posted { id, version, amount, posted_after } => {
                let entry = usize::try_from(*version - 1).ok().and_then(|at| entries.get(at));
                let told = (id, *amount, *posted_after);
                if entry.map(|entry| (&entry.id, entry.amount, entry.posted_after)) != Some(told) {
                    return Err(format!("{it:?} was acknowledged, and the books have {entry:?}"));
                }
            }
            What::Refused { reference } if references.contains(reference.as_str()) => {
                return Err(format!("{reference} was refused, and happened"));
            }
            What::Refused { .. } => (),
            What::Read { version, posted } => {
                let at = usize::try_from(*version).unwrap();
                let posted_at = |at: usize| entries.get(at).map(|entry| entry.posted_after);
                if at.checked_sub(1).map_or(Some(0), posted_at) != Some(*posted) {
                    return Err(format!("{it:?} shows a balance that never was"));
                }
            }
        }
    }
    Ok(())
}

/// Whatever began after something had ended has the higher version, or for a read no lower one.
fn judge_order(done: &[&Done]) -> Result<(), String> {
    let mut events: Vec<(u64, bool, &Done)> = Vec::new();
    for it in done {
        events.extend([(it.begun, true, *it), (it.ended, false, *it)]);
    }
    events.sort_by_key(|(at, ..)| *at);
    let mut seen = 0;
    let mut seen_at_begin = BTreeMap::new();
    for (_, is_begin, it) in events {
        let (version, is_read) = match &it.what {
            What::Posted { version, .. } => (*version, false),
            What::Read { version, .. } => (*version, true),
            What::Refused { .. } => continue,
        };
        if is_begin {
            seen_at_begin.insert(it.begun, seen);
            continue;
        }
        let before = seen_at_begin[&it.begun];
        if version < before || (version == before && !is_read) {
            return Err(format!("{it:?} is older than version {before}, seen before it began"));
        }
        seen = seen.max(version);
    }
    Ok(())
}

const CLIENTS: usize = 8;
const ACCOUNTS: usize = 16;
/// Times that a client repeats one request at the most.
const ATTEMPTS_MAX: usize = 1_000;
/// A client that is told to come back later does.
const PAUSE: Duration = Duration::from_millis(20);

/// Debits, credits and reads of service `a` while `work` is done, recorded; what is not decided is
/// repeated under its key until it is.
pub(crate) struct Recorder {
    answers: mpsc::Receiver<()>,
}

impl Recorder {
    /// Returns after so many further answers.
    pub(crate) fn answers(&self, count: usize) {
        while self.answers.try_recv().is_ok() {}
        (0..count).for_each(|_| self.answers.recv().expect("clients go on to the end"));
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Records a history while `work` is done, and judges it.
pub(crate) fn judged(tree: &Tree, work: impl FnOnce(&Recorder)) -> usize {
    let mut client = tree.client();
    for account in 0..ACCOUNTS {
        let open = format!(r#"{{"id":"acc-{account}","currency":"EUR","overdraft_limit":500}}"#);
        assert_eq!(client.post("/v1/a/accounts", &open).unwrap().status, 201);
    }
    let (answered, answers) = mpsc::channel();
    let (over, ticks) = (AtomicBool::new(false), AtomicU64::new(1));
    let history: Vec<Done> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (over, ticks, answered) = (&over, &ticks, answered.clone());
                let (edge, key) = (tree.edge, tree.key.as_str());
                scope.spawn(move || record(number, edge, key, (over, ticks), &answered))
            })
            .collect();
        drop(answered);
        let guard = Over(&over);
        work(&Recorder { answers });
        drop(guard);
        clients.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    let statements = (0..ACCOUNTS).map(|it| (it, statement(&mut client, it))).collect();
    judge(&history, &statements).unwrap_or_else(|why| panic!("{why}"));
    check_mutants(&history, &statements);
    history.len()
}

fn record(
    number: usize,
    edge: SocketAddr,
    key: &str,
    (over, ticks): (&AtomicBool, &AtomicU64),
    answered: &mpsc::Sender<()>,
) -> Vec<Done> {
    let mut client = Client::connect(edge, key).unwrap();
    let mut history = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let turn = history.len();
        let account = (number * 5 + turn * 7) % ACCOUNTS;
        let begun = ticks.fetch_add(1, Ordering::SeqCst);
        let what = if turn % 4 == 3 {
            read(&mut client, account)
        } else {
            let amount = if turn.is_multiple_of(2) { 400 } else { -300 };
            post(&mut client, account, amount, &format!("{number}-{turn}"))
        };
        let ended = ticks.fetch_add(1, Ordering::SeqCst);
        history.push(Done { account, begun, ended, what });
        _ = answered.send(()); // Nobody counts any more once the work is done.
    }
    history
}

fn read(client: &mut Client, account: usize) -> What {
    let path = format!("/v1/a/accounts/acc-{account}/balance");
    let answer = repeated(|| client.get(&path).unwrap());
    let balance = answer.json();
    let (version, posted) = (balance["version"].as_u64(), balance["posted"].as_i64());
    What::Read { version: version.unwrap(), posted: posted.unwrap() }
}

fn post(client: &mut Client, account: usize, amount: i64, reference: &str) -> What {
    let verb = if amount < 0 { "debit" } else { "credit" };
    let path = format!("/v1/a/accounts/acc-{account}/{verb}");
    let minor = amount.abs();
    let body = format!(r#"{{"amount":{minor},"currency":"EUR","reference":"{reference}"}}"#);
    let answer = repeated(|| client.post_keyed(&path, reference, &body).unwrap());
    if answer.status == 409 {
        assert_eq!(answer.code(), "insufficient_funds", "{answer:?}");
        return What::Refused { reference: reference.to_owned() };
    }
    let it = answer.json();
    What::Posted {
        id: it["id"].as_str().unwrap().to_owned(),
        version: it["version"].as_u64().unwrap(),
        amount,
        posted_after: it["posted_after"].as_i64().unwrap(),
    }
}

/// Once more while it is not decided, or nobody knows.
fn repeated(mut send: impl FnMut() -> Answer) -> Answer {
    for _ in 0..ATTEMPTS_MAX {
        let answer = send();
        match answer.status {
            200 | 201 | 409 => return answer,
            503 => thread::sleep(PAUSE),
            504 => (),
            _ => panic!("{answer:?}"),
        }
    }
    panic!("never decided");
}

/// The final statement of an account, oldest first.
fn statement(client: &mut Client, account: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/a/accounts/acc-{account}/transactions?limit=1000{after}");
        let page = client.get(&path).unwrap().json();
        for it in page["data"].as_array().unwrap() {
            let amount = it["amount"].as_i64().unwrap();
            entries.push(Entry {
                id: it["id"].as_str().unwrap().to_owned(),
                version: it["version"].as_u64().unwrap(),
                amount: if it["kind"] == "debit" { -amount } else { amount },
                posted_after: it["posted_after"].as_i64().unwrap(),
                reference: it["reference"].as_str().unwrap().to_owned(),
            });
        }
        if page["has_more"] != true {
            break;
        }
        after = format!("&starting_after={}", page["next_cursor"].as_str().unwrap());
    }
    entries.reverse();
    entries
}

/// A judge who lets a damaged history pass is none.
fn check_mutants(history: &[Done], statements: &BTreeMap<usize, Vec<Entry>>) {
    let busiest = statements.iter().max_by_key(|(_, it)| it.len()).unwrap();
    let (account, entries) = (*busiest.0, busiest.1);
    assert!(4 < entries.len());
    let damaged = |damage: &dyn Fn(&mut Vec<Entry>)| {
        let mut changed = statements.clone();
        damage(changed.get_mut(&account).unwrap());
        judge(history, &changed)
    };
    damaged(&|it| drop(it.pop())).expect_err("a transaction that was lost");
    damaged(&|it| drop(it.remove(1))).expect_err("a transaction that was lost");
    damaged(&|it| it.swap(1, 2)).expect_err("two in another order");
    damaged(&|it| {
        let last = it.last().unwrap().clone();
        let (version, posted_after) = (last.version + 1, last.posted_after + last.amount);
        it.push(Entry { version, posted_after, ..last });
    })
    .expect_err("one that happened twice");
    let mut stale = history.to_vec();
    let ended = stale.iter().map(|it| it.ended).max().unwrap();
    let what = What::Read { version: 1, posted: entries[0].posted_after };
    stale.push(Done { account, begun: ended + 1, ended: ended + 2, what });
    judge(&stale, statements).expect_err("a read that is too old");
    let mut told = history.to_vec();
    let what = What::Refused { reference: entries[0].reference.clone() };
    told.push(Done { account, begun: ended + 1, ended: ended + 2, what });
    judge(&told, statements).expect_err("refused, and it happened");
}
