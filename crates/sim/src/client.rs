//! Clients who ask, repeat under the same key, and write down what they were told.

use crate::wires::{Event, Place, ToClient, ToGateway, Wires};
use loadgen::{
    audit::Position,
    history::{Asked, History, Op, Reply as Kept, Told},
};
use std::{collections::BTreeSet, time::Duration};
use stdx::Moment;
use wire::{
    AccountId, Action, Amount, Call, Caller, Command, Currency, Done, Fingerprint, KeyHash, Kind,
    Outcome, Refusal, Reply, Text, Timestamp,
    call::Failure,
    command::{KeyOrigin, Post},
    query::Query,
};

/// How long a client waits for an answer, and repeats one operation.
const ANSWER_MAX: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
/// How long whoever only reads waits for an answer.
const GLANCE_MAX: Duration = Duration::from_millis(250);
/// Between two operations, by chance.
const THINK_MICROS: usize = 160_000;
pub(crate) const OVERDRAFT: i64 = 500;

/// What came of a try.
#[derive(Debug)]
pub(crate) enum Heard {
    Reply(Reply),
    Failed(Failure),
    /// Nothing, for a long time.
    Nothing,
}

/// What all clients write into.
pub(crate) struct Diary {
    pub(crate) history: History,
    ticks: u64,
    requests: u64,
    /// Operations that have come to a decision.
    pub(crate) decided: usize,
    /// What nobody should ever be told.
    pub(crate) odd: Vec<String>,
}

impl Diary {
    pub(crate) fn new() -> Diary {
        let history = History::default();
        Diary { history, ticks: 0, requests: 0, decided: 0, odd: Vec::new() }
    }

    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }
}

pub(crate) struct Client {
    index: usize,
    gateways: usize,
    accounts: Vec<AccountId>,
    /// It does nothing but read, and waits for nobody.
    is_reader: bool,
    opened: BTreeSet<usize>,
    current: Option<Current>,
    /// It begins nothing more.
    pub(crate) is_over: bool,
}

/// An operation under way.
struct Current {
    op: u64,
    try_number: u32,
    account: usize,
    /// `None`: the account is opened, which is no part of the history.
    asked: Option<Asked>,
    begun: u64,
    since: Moment,
    is_patient: bool,
    may_be_executed: bool,
}

impl Client {
    pub(crate) fn new(
        index: usize,
        gateways: usize,
        accounts: Vec<AccountId>,
        is_reader: bool,
    ) -> Client {
        let (opened, current, is_over) = (BTreeSet::new(), None, false);
        Client { index, gateways, accounts, is_reader, opened, current, is_over }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    pub(crate) fn hear(&mut self, wires: &mut Wires, diary: &mut Diary, message: ToClient) {
        match message {
            ToClient::Next if self.current.is_none() => self.begin(wires, diary),
            // A pause is over.
            ToClient::Next => self.send(wires),
            ToClient::Heard { op, try_number, heard } => {
                let is_it = |it: &Current| (it.op, it.try_number) == (op, try_number);
                if self.current.as_ref().is_some_and(is_it) {
                    self.heard(wires, diary, *heard);
                }
            }
        }
    }

    fn begin(&mut self, wires: &mut Wires, diary: &mut Diary) {
        if self.is_over {
            return;
        }
        let account = wires.rng.below(self.accounts.len());
        let asked = match (self.opened.contains(&account), wires.rng.below(4)) {
            (_, _) if self.is_reader => Some(Asked::Read),
            (false, _) => None,
            (true, 0) => Some(Asked::Read),
            (true, _) => {
                diary.requests += 1;
                let amount = 1 + i64::try_from(wires.rng.below(300)).unwrap_or(0);
                let change = if wires.rng.below(5) < 2 { amount } else { -amount };
                Some(Asked::Write { request: diary.requests, change })
            }
        };
        self.current = Some(Current {
            op: wires.number(),
            try_number: 0,
            account,
            asked,
            begun: diary.tick(),
            since: wires.now,
            is_patient: !self.is_reader && (asked.is_none() || wires.rng.below(8) != 0),
            may_be_executed: false,
        });
        self.send(wires);
    }

    fn send(&mut self, wires: &mut Wires) {
        let (client, me) = (self.index, Place::Client(self.index));
        let Some(current) = &mut self.current else { return };
        current.try_number += 1;
        let (op, try_number) = (current.op, current.try_number);
        let call = call(&self.accounts[current.account], current.asked);
        let gateway = wires.rng.below(self.gateways);
        let request = ToGateway::Request { client, op, try_number, call };
        wires.send(me, Event::Gateway(gateway, request));
        let heard = Box::new(Heard::Nothing);
        let nothing = ToClient::Heard { op, try_number, heard };
        let answer_max = if self.is_reader { GLANCE_MAX } else { ANSWER_MAX };
        wires.after(answer_max, Event::Client(client, nothing));
    }

    fn heard(&mut self, wires: &mut Wires, diary: &mut Diary, heard: Heard) {
        let Some(current) = &mut self.current else { return };
        match heard {
            Heard::Reply(Reply::Outcome(Outcome::Done(Done::Opened(_)))) => {
                self.opened.insert(current.account);
                return self.end(wires, diary, None);
            }
            Heard::Reply(Reply::Account(state)) => {
                let shown = Position { posted: state.posted, version: state.version };
                return self.end(wires, diary, Some(Told::Shown(shown)));
            }
            Heard::Reply(Reply::Outcome(outcome)) => match told(&outcome) {
                Some(told) => {
                    if let Some(Asked::Write { request, .. }) = current.asked {
                        let body = format!("{outcome:?}").into_bytes().into();
                        diary.history.replies.push(Kept { request, status: 200, body });
                    }
                    return self.end(wires, diary, Some(told));
                }
                None => diary.odd.push(format!("{outcome:?}")),
            },
            Heard::Reply(reply) => diary.odd.push(format!("nobody asked for {reply:?}")),
            Heard::Failed(Failure::OutcomeUnknown | Failure::KeyInUse) | Heard::Nothing => {
                current.may_be_executed = true;
            }
            Heard::Failed(Failure::NotOwner | Failure::Overloaded | Failure::EngineUnavailable) => {
            }
            Heard::Failed(Failure::NoSuchAccount) if self.is_reader => (),
            Heard::Failed(failure) => diary.odd.push(format!("{failure:?}")),
        }
        if current.is_patient && wires.now < current.since + PATIENCE {
            return wires.after(PAUSE, Event::Client(self.index, ToClient::Next));
        }
        let told = if current.may_be_executed { Told::Unknown } else { Told::NotExecuted };
        self.end(wires, diary, Some(told));
    }

    fn end(&mut self, wires: &mut Wires, diary: &mut Diary, told: Option<Told>) {
        let Some(current) = self.current.take() else { return };
        if let (Some(told), Some(asked)) = (told, current.asked) {
            let is_decided = !matches!(told, Told::Unknown | Told::NotExecuted);
            diary.decided += usize::from(is_decided);
            let account = u32::try_from(current.account).unwrap_or(u32::MAX);
            let ended = diary.tick();
            let begun = current.begun;
            diary.history.ops.push(Op { account, asked, told, begun, ended });
        }
        let think = wires.micros(THINK_MICROS);
        wires.after(think, Event::Client(self.index, ToClient::Next));
    }
}

fn told(outcome: &Outcome) -> Option<Told> {
    match outcome {
        Outcome::Done(Done::Posted(it)) => Some(Told::Posted {
            id: it.id.to_string().into(),
            after: Position { posted: it.posted_after, version: it.version },
        }),
        Outcome::Refused(it) if matches!(it.refusal, Refusal::InsufficientFunds { .. }) => {
            Some(Told::Refused)
        }
        Outcome::Refused(_) | Outcome::Done(_) => None,
    }
}

fn call(account: &AccountId, asked: Option<Asked>) -> Call {
    let currency = Currency::parse("EUR").expect("there are euros");
    let metadata = Text::new_static("{}");
    let (key, action) = match asked {
        Some(Asked::Read) => return Call::Query(Query::Account(account.clone())),
        None => {
            let (account, overdraft_limit) = (account.clone(), OVERDRAFT);
            let action = Action::Open { account, currency, overdraft_limit, metadata };
            ("open".to_owned(), action)
        }
        Some(Asked::Write { request, change }) => {
            let kind = if change < 0 { Kind::Debit } else { Kind::Credit };
            let post = Post {
                account: account.clone(),
                kind,
                amount: Amount::new(change.abs()).expect("amounts are above zero"),
                currency,
                reference: Some(request.to_string().into()),
                metadata,
            };
            (format!("key-{request}"), Action::Post(post))
        }
    };
    Call::Execute(Command {
        key: KeyHash::new(Caller(1), account, key.as_bytes()),
        origin: KeyOrigin::Client,
        minted_at: Timestamp(0),
        fingerprint: Fingerprint::new("POST", "/", key.as_bytes()),
        request_id: "req".into(),
        action,
    })
}
