//! Random batches against a model that is slow and obvious, one at a time, replayed, and audited.

use super::teller::{self, Memory, Teller, audited, command, memory, open, post, replayed, update};
use crate::Answer;
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::collections::{BTreeMap, BTreeSet};
use wire::{Action, Command, Fingerprint, KeyHash, Kind, Outcome, Status};

/// The rules once more, in the plainest words that there are.
#[derive(Clone, Default)]
struct Model {
    accounts: BTreeMap<String, Account>,
    keys: BTreeMap<KeyHash, (Fingerprint, String)>,
}

#[derive(Clone)]
struct Account {
    currency: String,
    status: Status,
    posted: i128,
    limit: i128,
    version: u64,
}

const MAX: i128 = i64::MAX as i128;

impl Model {
    fn execute(&mut self, command: &Command) -> String {
        if let Some((fingerprint, outcome)) = self.keys.get(&command.key) {
            let same = *fingerprint == command.fingerprint;
            return if same { outcome.clone() } else { "key_reused".to_owned() };
        }
        let outcome = self.decide(&command.action);
        self.keys.insert(command.key, (command.fingerprint, outcome.clone()));
        outcome
    }

    /// All or none; a repeat or a reuse as a whole.
    fn execute_together(&mut self, commands: &[Command]) -> Vec<String> {
        let keys: BTreeSet<KeyHash> = commands.iter().map(|it| it.key).collect();
        let known = commands.iter().map(|it| self.keys.get(&it.key)).collect::<Vec<_>>();
        if keys.len() < commands.len() || known.iter().any(Option::is_some) {
            let repeats = keys.len() == commands.len()
                && known.iter().zip(commands).all(|(known, it)| {
                    known.is_some_and(|(fingerprint, _)| *fingerprint == it.fingerprint)
                });
            let told = |known: Option<&(Fingerprint, String)>| match known {
                Some((_, outcome)) if repeats => outcome.clone(),
                _ => "key_reused".to_owned(),
            };
            return known.into_iter().map(told).collect();
        }
        let before = self.clone();
        let mut outcomes = Vec::new();
        for (at, command) in commands.iter().enumerate() {
            let text = self.execute(command);
            let code = text.split(' ').next().unwrap().to_owned();
            if wire::Code::ALL.iter().any(|it| it.text() == code) {
                *self = before;
                outcomes = vec![code; commands.len()];
                outcomes[at] = text;
                break;
            }
            outcomes.push(text);
        }
        for (command, outcome) in commands.iter().zip(&outcomes) {
            self.keys.insert(command.key, (command.fingerprint, outcome.clone()));
        }
        outcomes
    }

    fn decide(&mut self, action: &Action) -> String {
        let id = action.account().to_string();
        let account = self.accounts.get_mut(&id);
        match (action, account) {
            (Action::Open { .. }, Some(_)) => "account_exists".to_owned(),
            (Action::Open { currency, overdraft_limit, .. }, None) => {
                let (currency, limit) = (currency.to_string(), i128::from(*overdraft_limit));
                let status = Status::Open;
                let account = Account { currency, status, posted: 0, limit, version: 0 };
                self.accounts.insert(id, account);
                "v0".to_owned()
            }
            (_, None) => "no_such_account".to_owned(),
            (_, Some(account)) if account.status == Status::Closed => "account_closed".to_owned(),
            (Action::Update(it), Some(account)) => {
                account.update(it.status, it.overdraft_limit.map(i128::from))
            }
            (Action::Post(it), Some(account)) => {
                account.post(it.kind, i128::from(it.amount.minor()), it.currency.code())
            }
            (other, Some(_)) => unreachable!("{other:?}: this model opens, updates and posts"),
        }
    }
}

impl Account {
    fn update(&mut self, status: Option<Status>, limit: Option<i128>) -> String {
        let available = self.posted + self.limit;
        if status == Some(Status::Closed) && self.posted != 0 {
            return format!("account_not_empty posted {} held 0", self.posted);
        }
        if let Some(limit) = limit {
            if self.posted + limit < 0 {
                let asked = self.limit - limit;
                return format!("insufficient_funds available {available} asked {asked}");
            }
            if MAX < self.posted + limit {
                return "balance_overflow".to_owned();
            }
            self.limit = limit;
        }
        self.status = status.unwrap_or(self.status);
        self.version += 1;
        format!("v{}", self.version)
    }

    fn post(&mut self, kind: Kind, amount: i128, currency: &str) -> String {
        let available = self.posted + self.limit;
        if self.currency != currency {
            return format!("currency_mismatch {} {currency}", self.currency);
        }
        if kind == Kind::Debit && self.status == Status::Frozen {
            return "account_frozen".to_owned();
        }
        if kind == Kind::Debit && available < amount {
            return format!("insufficient_funds available {available} asked {amount}");
        }
        let posted = if kind == Kind::Debit { self.posted - amount } else { self.posted + amount };
        if MAX < posted || MAX < posted + self.limit {
            return "balance_overflow".to_owned();
        }
        self.posted = posted;
        self.version += 1;
        match self.limit {
            0 => format!("{posted} v{}", self.version),
            limit => format!("{posted} available {} v{}", posted + limit, self.version),
        }
    }
}

fn amounts() -> impl Strategy<Value = i64> {
    prop_oneof![6 => 1..100_i64, 1 => Just(i64::MAX), 1 => i64::MAX / 2..=i64::MAX]
}

fn actions() -> impl Strategy<Value = Action> {
    let id = || select(vec!["alice", "bob", "carol", "dan"]);
    let currency = || select(vec!["EUR", "EUR", "EUR", "USD"]);
    let kind = select(vec![Kind::Debit, Kind::Credit]);
    let limit = || prop_oneof![Just(0), 0..200_i64, Just(i64::MAX)];
    let statuses = vec![Status::Open, Status::Open, Status::Frozen, Status::Closed];
    let status = option::weighted(0.6, select(statuses));
    prop_oneof![
        2 => (id(), currency(), limit()).prop_map(|(id, it, limit)| open(id, it, limit)),
        2 => (id(), status, option::of(limit())).prop_map(|(id, it, limit)| update(id, it, limit)),
        8 => (id(), kind, amounts(), currency()).prop_map(|(id, kind, n, it)| post(id, kind, n, it)),
    ]
}

/// Keys come from a small pool, so that some are repeated and some reused.
fn commands() -> impl Strategy<Value = Vec<Command>> {
    vec((0..200_u128, actions()).prop_map(|(key, action)| command(key, action)), 0..120)
}

/// What was told about each command, a repeat being told what the first was.
fn told(teller: &Teller, answers: &[Answer]) -> Vec<(Option<Outcome>, String)> {
    let tell = |&answer| match teller.outcome(answer) {
        Some(outcome) => (Some(outcome.clone()), teller::text(&outcome)),
        None => (None, "key_reused".to_owned()),
    };
    answers.iter().map(tell).collect()
}

struct Run {
    teller: Teller,
    outcomes: Vec<Option<Outcome>>,
    texts: Vec<String>,
    /// Memory before each record, and after the last.
    states: Vec<Memory>,
}

/// Runs the commands in batches of these sizes, over and over; so many in a row stand or fall
/// together.
fn run(commands: &[Command], sizes: &[usize], group: usize) -> Run {
    let mut teller = Teller::new();
    let mut states = vec![memory(&teller.partition)];
    let (mut outcomes, mut texts) = (Vec::new(), Vec::new());
    let mut rest = commands;
    for (turn, &size) in sizes.iter().cycle().enumerate() {
        if rest.is_empty() {
            break;
        }
        let (batch, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        let now = 1_000 * i64::try_from(turn).unwrap();
        let places: Vec<_> = (0..batch.len()).collect();
        let groups: Vec<_> = groups(&places, group).map(|it| it[0]..it[0] + it.len()).collect();
        let staged = teller.stage_with(now, batch.to_vec(), &groups);
        let answers = teller.commit(staged);
        for (outcome, text) in told(&teller, &answers) {
            outcomes.push(outcome);
            texts.push(text);
        }
        let after = memory(&teller.partition);
        if states.last() != Some(&after) {
            states.push(after);
        }
    }
    Run { teller, outcomes, texts, states }
}

/// The runs of `group` things in a row; none where that is one.
fn groups<T>(of: &[T], group: usize) -> impl Iterator<Item = &[T]> {
    of.chunks(group).filter(|it| 1 < it.len())
}

/// What does not depend on the batches: everything but ids, times and the chain.
fn figures(memory: &Memory) -> Vec<(String, Status, i64, i64, u64)> {
    let row = |it: &wire::AccountState| {
        (it.id.to_string(), it.status, it.posted, it.overdraft_limit, it.version)
    };
    memory.1.iter().map(row).collect()
}

fn check(commands: &[Command], sizes: &[usize]) {
    let mut model = Model::default();
    let expected: Vec<String> = commands.iter().map(|it| model.execute(it)).collect();
    let batched = run(commands, sizes, 1);
    assert_eq!(batched.texts, expected);
    let single = run(commands, &[1], 1);
    assert_eq!(single.texts, expected);
    let (last, last_single) = (batched.states.last().unwrap(), single.states.last().unwrap());
    assert_eq!(figures(last), figures(last_single));
    assert_eq!(last.2, last_single.2); // External.
    let balances = |it: &Memory| it.1.iter().map(|it| i128::from(it.posted)).collect::<Vec<_>>();
    let modelled: Vec<i128> = model.accounts.values().map(|it| it.posted).collect();
    assert_eq!(balances(last), modelled);
    check_journal(&batched);
}

/// Any prefix of the journal replays to the memory that was, and the auditor finds the same.
fn check_journal(run: &Run) {
    let journal = &run.teller.journal;
    assert_eq!(run.states.len(), journal.len() + 1);
    for (count, state) in run.states.iter().enumerate() {
        assert_eq!(memory(&replayed(&journal[..count], 1)), *state, "after {count} records");
    }
    let heir = replayed(journal, 1);
    for row in journal {
        for item in &row.record.items {
            assert_eq!(heir.key(item.key), run.teller.partition.key(item.key));
        }
    }
    // Every first answer is in the journal, in its order.
    let journaled = journal.iter().flat_map(|row| {
        let count = u16::try_from(row.record.items.len()).unwrap();
        (0..count).map(|index| row.record.outcome(teller::tag(), index).unwrap())
    });
    let mut fresh = run.outcomes.iter().flatten();
    for outcome in journaled {
        assert!(fresh.any(|told| *told == outcome), "not told: {outcome:?}");
    }
    let auditor = audited(journal).unwrap();
    let accounts: Vec<_> = auditor.accounts().into_iter().cloned().collect();
    let external: Vec<_> = auditor.external().collect();
    let objects = auditor.objects().cloned().collect();
    assert_eq!((auditor.chain(), accounts, objects, external), *run.states.last().unwrap());
    assert!(auditor.books().currencies.iter().all(|it| it.debits == it.credits));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn batches_decide_what_single_commands_do(
        commands in commands(),
        sizes in vec(1..24_usize, 1..8),
    ) {
        check(&commands, &sizes);
    }

    #[test]
    fn what_stands_together_is_done_or_refused_together(
        commands in commands(),
        sizes in vec(2..24_usize, 1..8),
        group in 2..5_usize,
    ) {
        let grouped = run(&commands, &sizes, group);
        let mut model = Model::default();
        let mut expected = Vec::new();
        let mut rest = &commands[..];
        for &size in sizes.iter().cycle() {
            let (batch, later) = rest.split_at(size.min(rest.len()));
            for commands in batch.chunks(group) {
                expected.extend(model.execute_together(commands));
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(&grouped.texts, &expected);
        check_journal(&grouped);
    }
}

#[test]
fn one_large_batch() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let many = vec((any::<u128>(), actions()), 4_096..=4_096);
    let commands = many.new_tree(&mut runner).unwrap().current();
    let commands: Vec<_> = commands.into_iter().map(|(key, it)| command(key, it)).collect();
    check(&commands, &[commands.len()]);
}

use proptest::strategy::ValueTree;
