//! Transfers: within a partition in one record, between two in three steps, with a crash between
//! any two of them.

use super::teller::{
    self, PARTITION, Teller, audited, command, memory, open, post, replayed, update,
};
use crate::{Known, Object, ObjectKey, Partition, object::Sort};
use std::collections::BTreeMap;
use stdx::Rng;
use wire::{
    AccountId, Action, Amount, Code, Contra, Delivery, Done, Kind, Outcome, Status, Transfer,
    transfer::{Party, Send},
};

fn party(service: &str, account: &str) -> Party {
    Party { service: service.into(), account: teller::account(account) }
}

fn send(from: &str, to: Party, amount: i64) -> Action {
    let (from, amount) = (party("a", from), Amount::new(amount).unwrap());
    Action::Send(Box::new(Send { from, to, amount, currency: teller::eur() }))
}

/// An account of the teller's own partition, of four.
fn neighbour(name: &str) -> String {
    let is_here = |id: &String| AccountId::parse(id).unwrap().partition(4) == PARTITION;
    (0..).map(|n| format!("{name}{n}")).find(is_here).unwrap()
}

/// Runs commands one at a time and says what came of the last, and how many items it took.
struct Run {
    teller: Teller,
    key: u128,
    now: i64,
}

impl Run {
    fn new(among: Option<u16>) -> Run {
        let mut teller = Teller::new();
        if let Some(count) = among {
            teller.partition = teller.partition.among(count);
        }
        Run { teller, key: 0, now: 0 }
    }

    fn run(&mut self, action: Action) -> Outcome {
        self.key += 1;
        self.now += 1_000;
        let answers = self.teller.run(self.now, vec![command(self.key, action)]);
        self.teller.outcome(answers[0]).unwrap()
    }

    #[track_caller]
    fn check(&mut self, action: Action, expected: &str) {
        assert_eq!(teller::text(&self.run(action)), expected);
    }

    #[track_caller]
    fn sent(&mut self, action: Action) -> Transfer {
        let outcome = self.run(action);
        let Outcome::Done(Done::Transferred(transfer)) = outcome else { panic!("{outcome:?}") };
        transfer
    }

    #[track_caller]
    fn received(&mut self, transfer: &Transfer) -> Delivery {
        let outcome = self.run(Action::Receive(transfer.receive()));
        let Outcome::Done(Done::Delivered(delivery)) = outcome else { panic!("{outcome:?}") };
        delivery
    }

    fn transit(&self) -> i128 {
        let transit = Contra::transit(teller::eur());
        self.teller.partition.external().find(|it| it.0 == transit).map_or(0, |it| it.1)
    }

    fn posted(&self, id: &str) -> i64 {
        match self.teller.partition.account(&teller::account(id)) {
            Known::Present(state) => state.posted,
            Known::Absent | Known::Unknown => panic!("{id}"),
        }
    }

    /// Everything that every journal must be: an heir has the same memory, an auditor agrees.
    fn check_journal(&self) {
        let epoch = self.teller.partition.epoch().0;
        assert_eq!(memory(&replayed(&self.teller.journal, epoch)), memory(&self.teller.partition));
        audited(&self.teller.journal).unwrap();
    }
}

#[test]
fn within_a_partition_it_is_one_record() {
    let (alice, bob) = (neighbour("alice"), neighbour("bob"));
    let mut run = Run::new(Some(4));
    run.check(open(&alice, "EUR", 0), "v0");
    run.check(open(&bob, "EUR", 0), "v0");
    run.check(post(&alice, Kind::Credit, 100, "EUR"), "100 v1");
    let records = run.teller.journal.len();
    let done = run.sent(send(&alice, party("a", &bob), 60));
    assert_eq!((done.status(), run.teller.journal.len()), ("completed", records + 1));
    assert_eq!((run.posted(&alice), run.posted(&bob), run.transit()), (40, 60, 0));
    let record = &run.teller.journal[records].record;
    assert_eq!(record.items.len(), 3);
    let debit = record.posting(teller::tag(), 0).unwrap();
    let credit = record.posting(teller::tag(), 1).unwrap();
    assert_eq!((debit.id, debit.transfer()), (done.id.debit(), Some(done.id)));
    assert_eq!(credit.transfer(), Some(done.id));
    assert_eq!(done.end, Some((Delivery::Credited(credit.id), done.created_at)));
    // Refused by the target: it comes back in the same record, and is told as it would be of any.
    let back = run.sent(send(&alice, party("a", &neighbour("nobody")), 40));
    assert_eq!(teller::text(&Outcome::Done(Done::Transferred(back))), "returned no_such_account");
    assert_eq!((run.posted(&alice), run.transit()), (40, 0));
    run.check(send(&alice, party("a", &bob), 41), "insufficient_funds available 40 asked 41");
    assert_eq!(run.teller.partition.open_count(), 0);
    run.check_journal();
}

#[test]
fn between_partitions_it_is_three_steps() {
    let (mut source, mut target) = (Run::new(None), Run::new(None));
    source.check(open("alice", "EUR", 0), "v0");
    source.check(post("alice", Kind::Credit, 100, "EUR"), "100 v1");
    target.check(open("bob", "EUR", 0), "v0");
    let sent = source.sent(send("alice", party("b", "bob"), 60));
    assert_eq!((sent.status(), source.posted("alice"), source.transit()), ("pending", 40, 60));
    // While it is on its way nobody can close the account that it may come back to.
    source.check(post("alice", Kind::Debit, 40, "EUR"), "0 v3");
    source.check(update("alice", Some(Status::Closed), None), "account_not_empty");
    let delivery = target.received(&sent);
    assert_eq!((target.posted("bob"), target.transit()), (60, -60));
    assert_eq!(target.received(&sent), delivery, "once, whoever asks how often");
    assert_eq!((target.posted("bob"), target.transit()), (60, -60));
    for _ in 0..2 {
        source.check(Action::Settle(sent.settle(delivery)), "completed");
    }
    source.check(update("alice", Some(Status::Closed), None), "v4");
    assert_eq!((source.transit() + target.transit(), source.teller.partition.open_count()), (0, 0));
    source.check_journal();
    target.check_journal();
}

#[test]
fn only_a_refusal_returns_the_money_and_once() {
    let (mut source, mut target) = (Run::new(None), Run::new(None));
    source.check(open("alice", "EUR", 0), "v0");
    source.check(post("alice", Kind::Credit, 100, "EUR"), "100 v1");
    source.check(update("alice", Some(Status::Frozen), None), "v2");
    source.check(send("alice", party("b", "bob"), 60), "account_frozen");
    source.check(update("alice", Some(Status::Open), None), "v3");
    let sent = source.sent(send("alice", party("b", "bob"), 60));
    let refused = target.received(&sent);
    assert_eq!(refused, Delivery::Refused(Code::NoSuchAccount));
    target.check(open("bob", "EUR", 0), "v0");
    assert_eq!(target.received(&sent), refused, "what was refused is refused for good");
    source.check(update("alice", Some(Status::Frozen), None), "v5");
    for _ in 0..2 {
        source.check(Action::Settle(sent.settle(refused)), "returned no_such_account");
        assert_eq!((source.posted("alice"), source.transit()), (100, 0));
    }
    let record = &source.teller.journal.iter().rev().nth(1).unwrap().record;
    assert_eq!(record.posting(teller::tag(), 0).unwrap().transfer(), Some(sent.id));
    let mut wrong = sent.settle(refused);
    wrong.account = teller::account("bob");
    source.check(Action::Settle(wrong), "no_such_transfer");
    source.check_journal();
    target.check_journal();
}

/// What a test's courier knows: it asks each owner, and forgets everything when it dies.
fn settle(source: &mut Run, target: &mut Run, rng: &mut Rng) {
    let pending: Vec<_> = source.teller.partition.pending().cloned().collect();
    for transfer in pending {
        // It dies between any two steps, or its message is sent twice.
        if rng.below(3) == 0 {
            continue;
        }
        let delivery = target.received(&transfer);
        if rng.below(3) == 0 {
            continue;
        }
        source.run(Action::Settle(transfer.settle(delivery)));
        if rng.below(4) == 0 {
            source.run(Action::Settle(transfer.settle(delivery)));
        }
    }
}

/// The owner dies: a batch that was not committed is gone, another replays the journal.
fn crash(run: &mut Run) {
    let epoch = run.teller.partition.epoch().0 + 1;
    let mut heir: Partition = replayed(&run.teller.journal, epoch);
    let lost = command(1 << 100, post("alice", Kind::Credit, 1, "EUR"));
    drop(run.teller.stage(run.now, vec![lost]));
    std::mem::swap(&mut heir, &mut run.teller.partition);
}

/// Accounts, transit and external accounts of both partitions.
fn sums(source: &Run, target: &Run) -> [i128; 3] {
    let mut sums = [0; 3];
    for run in [source, target] {
        let partition = &run.teller.partition;
        sums[0] += partition.accounts().map(|it| i128::from(it.posted)).sum::<i128>();
        for (contra, balance) in partition.external() {
            sums[if contra.is_transit { 1 } else { 2 }] += balance;
        }
    }
    sums
}

#[test]
fn no_crash_between_two_steps_loses_or_doubles_money() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let (mut source, mut target) = (Run::new(None), Run::new(None));
        source.run(open("alice", "EUR", 0));
        source.run(post("alice", Kind::Credit, 1_000, "EUR"));
        target.run(open("bob", "EUR", 0));
        let mut asked = BTreeMap::new();
        for _ in 0..40 {
            match rng.below(6) {
                0 | 1 => {
                    let to = if rng.below(3) == 0 { "nobody" } else { "bob" };
                    let amount = 1 + i64::try_from(rng.below(90)).unwrap();
                    let sent = source.run(send("alice", party("b", to), amount));
                    if let Outcome::Done(Done::Transferred(sent)) = sent {
                        asked.insert(sent.id, (to, amount));
                    }
                }
                2 | 3 => settle(&mut source, &mut target, &mut rng),
                4 => crash(&mut source),
                _ => crash(&mut target),
            }
            let [accounts, transit, external] = sums(&source, &target);
            assert_eq!(accounts + transit + external, 0, "seed {seed}");
            // Pending ones are what is on its way, but for those that have arrived already.
            assert_eq!(external, -1_000, "seed {seed}");
        }
        while source.teller.partition.pending().next().is_some() {
            settle(&mut source, &mut target, &mut rng);
        }
        let arrived = asked.values().filter(|(to, _)| *to == "bob").map(|(_, amount)| amount);
        assert_eq!(target.posted("bob"), arrived.sum::<i64>(), "seed {seed}");
        assert_eq!(source.posted("alice") + target.posted("bob"), 1_000, "seed {seed}");
        assert_eq!(source.transit() + target.transit(), 0, "seed {seed}");
        for id in asked.keys() {
            let key = ObjectKey { sort: Sort::Transfer, bits: id.bits() };
            let Known::Present(Object::Transfer(it)) = source.teller.partition.object(key) else {
                panic!("seed {seed}: {id}")
            };
            assert_eq!(it.status() == "completed", asked[id].0 == "bob", "seed {seed}");
        }
        source.check_journal();
        target.check_journal();
    }
}
