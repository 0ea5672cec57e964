//! Random worlds with holds, reversals and transfers: whatever the order of look-ups, commits,
//! failures, projections, evictions and deaths, an auditor finds nothing wrong in the journal, the
//! views have what it gives, and no money is lost on its way.
//!
//! `COURIER_SEED=41 cargo test -p account courier` replays one.

use crate::world::{PARTITIONS, World, keyed, service};
use account::executor::Ending;
use ledger::{Auditor, Hash, Object};
use std::{collections::BTreeMap, time::Duration};
use stdx::Rng;
use wire::{
    AccountId, Action, Amount, Call, Command, Currency, Delivery, Done, Fingerprint, Hold, KeyHash,
    Outcome, PartitionId, Posting, Reply, Transfer, TransferId,
    command::KeyOrigin,
    hold::{EndHold, HoldEnd, PlaceHold},
    reversal::Reversal,
    transfer::{Party, Send},
};

const SEEDS: u64 = 48;
const STEPS: usize = 1_000;
const ACCOUNTS: usize = 6;
/// What is in every account at first.
const CREDIT: i64 = 500;

#[test]
fn an_auditor_finds_nothing_wrong_whatever_happens() {
    let one = std::env::vars().find(|(name, _)| name == "COURIER_SEED");
    match one {
        Some((_, seed)) => Run::new(seed.parse().unwrap()).run(),
        None => (0..SEEDS).for_each(|seed| Run::new(seed).run()),
    }
}

struct Run {
    seed: u64,
    rng: Rng,
    world: World,
    caller: u32,
    /// What answers have told of.
    holds: Vec<Hold>,
    postings: Vec<Posting>,
    transfers: BTreeMap<TransferId, Transfer>,
    deliveries: BTreeMap<TransferId, Delivery>,
    /// Of which transfer each `Receive` was.
    asked: BTreeMap<u32, TransferId>,
    /// Callers whose answers have been read.
    read: u32,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut rng = Rng::new(seed);
        let mut world = World::new(rng.below(ACCOUNTS)); // Often fewer than there are.
        for number in 0..ACCOUNTS {
            let caller = 2 * u32::try_from(number).unwrap();
            world.arrive(caller, keyed("open", &format!("open acc-{number}")));
            world.arrive(caller + 1, keyed("credit", &format!("credit acc-{number} {CREDIT}")));
        }
        world.settle();
        let (caller, read) = (1_000, 0);
        let (holds, postings) = (Vec::new(), Vec::new());
        let (transfers, deliveries) = (BTreeMap::new(), BTreeMap::new());
        let asked = BTreeMap::new();
        Run { seed, rng, world, caller, holds, postings, transfers, deliveries, asked, read }
    }

    fn run(mut self) {
        for step in 0..STEPS {
            self.world.now = self.world.now + Duration::from_millis(self.rng.below(300) as u64);
            match self.rng.below(20) {
                0..=5 => self.ask_for_something(),
                6 | 7 => self.carry(),
                8 | 9 => self.world.ask(),
                10 | 11 => self.world.find(),
                12 | 13 => self.world.stage(),
                14 | 15 => {
                    let endings = [Ending::Committed, Ending::Refused, Ending::NotExecuted];
                    let at = if self.rng.below(6) == 0 { 1 + self.rng.below(2) } else { 0 };
                    self.world.end(endings[at]);
                }
                16 => {
                    let wall = self.world.wall();
                    _ = self.world.executor.look_for_due(wall);
                }
                17 => _ = self.world.scan(9),
                18 if self.rng.below(10) == 0 => self.die(),
                _ => self.world.project(),
            }
            if step.is_multiple_of(8) {
                self.listen();
            }
        }
        self.settle();
        self.check();
    }

    /// A command of a new key that we mint.
    fn command(&mut self, action: Action) -> Command {
        self.caller += 1;
        let key = KeyHash(u128::from(self.caller) << 64 | 1);
        let (fingerprint, minted_at) = (Fingerprint(self.caller.into()), self.world.wall());
        let (origin, request_id) = (KeyOrigin::Minted, "req".into());
        Command { key, origin, minted_at, fingerprint, request_id, action }
    }

    fn execute(&mut self, action: Action) -> u32 {
        let command = self.command(action);
        self.world.arrive(self.caller, command);
        self.caller
    }

    fn ask_for_something(&mut self) {
        let (account, currency) = (self.account(), Currency::parse("EUR").unwrap());
        let amount = Amount::new(1 + i64::try_from(self.rng.below(200)).unwrap()).unwrap();
        match self.rng.below(10) {
            0..=2 => {
                let seconds = 1 + u32::try_from(self.rng.below(40)).unwrap();
                self.execute(Action::Hold(PlaceHold { account, amount, currency, seconds }));
            }
            3 | 4 if !self.holds.is_empty() => {
                let Hold { id, account, .. } = self.holds[self.rng.below(self.holds.len())].clone();
                let ends =
                    [HoldEnd::Release, HoldEnd::Capture(None), HoldEnd::Capture(Some(amount))];
                let how = ends[self.rng.below(3)];
                self.execute(Action::EndHold(EndHold { account, hold: id, how }));
            }
            5 | 6 if !self.postings.is_empty() => {
                let transaction = self.postings[self.rng.below(self.postings.len())].id;
                // Any command gives its head.
                let head = self.command(Action::Post(wire::command::Post {
                    account,
                    kind: wire::Kind::Debit,
                    amount,
                    currency,
                    reference: None,
                    metadata: "{}".into(),
                }));
                let Command { key, origin, minted_at, fingerprint, request_id, .. } = head;
                let reversal =
                    Reversal { transaction, key, origin, minted_at, fingerprint, request_id };
                self.world.call(self.caller, transaction.partition(), Call::Reverse(reversal));
            }
            7 | 8 => {
                let to = match self.rng.below(8) {
                    0 => AccountId::parse("nobody").unwrap(),
                    _ => self.account(),
                };
                let party = |account| Party { service: "a".into(), account };
                let (from, to) = (party(account), party(to));
                self.execute(Action::Send(Box::new(Send { from, to, amount, currency })));
            }
            _ => {
                let verb = ["debit", "credit"][self.rng.below(2)];
                let text = format!("{verb} {account} {}", amount.minor());
                let action = keyed("", &text).action;
                self.execute(action);
            }
        }
    }

    fn account(&mut self) -> AccountId {
        AccountId::parse(&format!("acc-{}", self.rng.below(ACCOUNTS))).unwrap()
    }

    /// Somebody carries a transfer on, perhaps not for the first time.
    fn carry(&mut self) {
        let pending: Vec<_> = self.transfers.values().filter(|it| it.end.is_none()).collect();
        let Some(transfer) = pending.get(self.rng.below(pending.len().max(1))) else { return };
        let id = transfer.id;
        let action = match self.deliveries.get(&id) {
            Some(delivery) if self.rng.below(4) != 0 => Action::Settle(transfer.settle(*delivery)),
            Some(_) | None => Action::Receive(transfer.receive()),
        };
        let caller = self.execute(action);
        self.asked.insert(caller, id);
    }

    /// The node dies after its last commit; whoever waits hears nothing, and its heir has the views.
    fn die(&mut self) {
        self.world.end(Ending::Committed);
        self.world.find();
        self.world.project();
        self.world.take_over();
    }

    /// What the answers since the last time have told.
    fn listen(&mut self) {
        let read = self.read;
        let new: Vec<_> =
            self.world.answers.range(read..).map(|(at, it)| (*at, it.clone())).collect();
        for (caller, reply) in new {
            let Reply::Outcome(Outcome::Done(done)) = reply else { continue };
            match done {
                Done::Held(hold) => self.holds.push(hold),
                Done::Posted(posting) => self.postings.push(posting),
                Done::Transferred(transfer) => {
                    let known = self.transfers.get(&transfer.id);
                    if known.is_none_or(|known| known.end.is_none()) {
                        self.transfers.insert(transfer.id, transfer);
                    }
                }
                Done::Delivered(delivery) => {
                    let id = self.asked[&caller];
                    let before = self.deliveries.insert(id, delivery);
                    let same = before.is_none_or(|before| before == delivery);
                    assert!(same, "seed {}: {id} was delivered in two ways", self.seed);
                }
                Done::Opened(_) | Done::Updated(_) | Done::HoldEnded(_) => (),
            }
        }
        // Answers come in any order: those of the last few callers are read again.
        self.read = self.caller.saturating_sub(400);
        self.holds.dedup_by_key(|hold| hold.id);
    }

    /// Everything that is on its way arrives, or comes back.
    fn settle(&mut self) {
        self.world.end(Ending::Committed);
        self.world.settle();
        // Also what nobody has been told of: a resumer asks the owner.
        for _ in 0..2 {
            let pending: Vec<Transfer> = self
                .world
                .executor
                .partitions()
                .flat_map(ledger::Partition::pending)
                .cloned()
                .collect();
            for transfer in pending {
                let caller = self.execute(Action::Receive(transfer.receive()));
                self.asked.insert(caller, transfer.id);
                self.world.settle();
                self.listen();
                let delivery = self.deliveries[&transfer.id];
                self.execute(Action::Settle(transfer.settle(delivery)));
                self.world.settle();
            }
        }
        self.world.project();
    }

    fn check(&self) {
        let seed = self.seed;
        let mut total = 0;
        for id in (0..PARTITIONS).map(PartitionId) {
            let mut auditor = Auditor::new(service(), id);
            for record in self.world.records().filter(|it| it.header.partition == id) {
                let mut bytes = Vec::new();
                record.encode(&mut bytes);
                let audited = auditor.record(record.header.seq, Hash::of(&bytes), &bytes);
                audited.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
            }
            for account in auditor.accounts() {
                let held: i64 = auditor
                    .objects()
                    .filter(|it| it.is_open() && it.account() == &account.id)
                    .map(|it| if let Object::Hold(hold) = it { hold.amount.minor() } else { 0 })
                    .sum();
                assert_eq!(account.held, held, "seed {seed}: {}", account.id);
            }
            assert!(auditor.accounts().into_iter().eq(self.world.projected_accounts(id)));
            assert!(auditor.objects().eq(self.world.projected_objects(id)), "seed {seed}");
            let transit = auditor.external().filter(|(contra, _)| contra.is_transit);
            total += transit.map(|(_, balance)| balance).sum::<i128>();
        }
        assert_eq!(total, 0, "seed {seed}: nothing is on its way any more");
    }
}

#[test]
fn the_random_worlds_are_worth_it() {
    let mut run = Run::new(3);
    for _ in 0..400 {
        run.ask_for_something();
        run.carry();
        run.world.settle();
        run.listen();
    }
    let ended = run.transfers.values().filter(|it| it.end.is_some()).count();
    assert!(5 < run.holds.len() && 5 < run.postings.len() && 5 < ended);
    assert!(run.postings.iter().any(|it| it.reverses().is_some()));
    let refused = |it: &&Delivery| matches!(it, Delivery::Refused(_));
    assert!(run.deliveries.values().any(|it| refused(&it)));
}
