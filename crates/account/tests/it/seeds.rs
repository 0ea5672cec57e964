//! Random worlds: whatever the order of arrivals, look-ups, commits, failures, projections and
//! evictions, each key happens once and the money adds up.
//!
//! `SEED=41 cargo test -p account seeds` replays one.

use crate::world::{World, keyed};
use account::executor::Ending;
use ledger::Chain;
use std::{collections::BTreeMap, time::Duration};
use stdx::Rng;
use wire::{Command, Done, Outcome, Reply, Seq, Timestamp, call::Failure, command::KeyOrigin};

const SEEDS: u64 = 48;
const STEPS: usize = 1_500;
const ACCOUNTS: usize = 6;
const KEYS: usize = 200;

#[test]
fn each_key_happens_once_and_the_money_adds_up() {
    let one = std::env::vars().find(|(name, _)| name == "SEED");
    match one {
        Some((_, seed)) => run(seed.parse().unwrap()),
        None => (0..SEEDS).for_each(run),
    }
}

fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    // Of half of the worlds all keys are known, of the others only once they have been brought.
    let before = Chain { seq: Seq(1), ..Chain::EMPTY };
    let chain = if rng.below(2) == 0 { Chain::EMPTY } else { before };
    let mut world = World::beginning(rng.below(ACCOUNTS), chain); // Often fewer than there are.
    let mut sent: BTreeMap<u32, (String, String)> = BTreeMap::new();
    for number in 0..ACCOUNTS {
        world.arrive(u32::try_from(number).unwrap(), keyed("open", &format!("open acc-{number}")));
    }
    // By how much the clock of whoever mints is wrong.
    let skew = [0, 0, 3, -3, 20, -20, 3_600, -3_600][rng.below(8)] * 1_000_000;
    let mut minted: Vec<Timestamp> = Vec::new();
    let mut caller = 1_000;
    for _ in 0..STEPS {
        // Minutes pass in all: keys leave memory, and commands their deadline.
        world.now = world.now + Duration::from_millis(rng.below(400) as u64);
        match rng.below(15) {
            0..=4 => {
                // Few keys: many are repeats, some of them for another request.
                let key = rng.below(KEYS);
                let account = key % ACCOUNTS;
                let amount = if rng.below(20) == 0 { 1_000 } else { key % 7 + 1 };
                let verb = if key.is_multiple_of(3) { "debit" } else { "credit" };
                let text = format!("{verb} acc-{account} {amount}");
                world.arrive(caller, keyed(&key.to_string(), &text));
                sent.insert(caller, (key.to_string(), text));
                caller += 1;
            }
            5 | 6 => {
                let command = someone_minted(&mut rng, &world, skew, &mut minted);
                sent.insert(caller, (format!("minted-{}", command.0), command.1));
                world.arrive(caller, command.2);
                caller += 1;
            }
            7 => {
                world.read(caller, &format!("acc-{}", rng.below(ACCOUNTS + 1)));
                caller += 1;
            }
            8 | 9 => world.ask(),
            10 => world.find(),
            11 => world.stage(),
            12 => world.end(if rng.below(8) == 0 { Ending::Refused } else { Ending::Committed }),
            13 => _ = world.scan(rng.below(20) + 1),
            _ => world.project(),
        }
    }
    world.end(Ending::Committed);
    world.settle();
    world.project();
    check(&world, &sent, &format!("replay with SEED={seed}"));
}

/// A command under a key that somebody minted: the first attempt, or a later one, which may have
/// been held up on its way for minutes or come from the client itself. Its number and text, too.
fn someone_minted(
    rng: &mut Rng,
    world: &World,
    skew: i64,
    minted: &mut Vec<Timestamp>,
) -> (usize, String, Command) {
    let number = if minted.is_empty() || rng.below(3) == 0 {
        minted.push(Timestamp(world.wall().0 + skew));
        minted.len() - 1
    } else {
        rng.below(minted.len())
    };
    let text = format!("credit acc-{} {}", number % ACCOUNTS, number % 7 + 1);
    let at = minted[number];
    let (origin, minted_at) = match rng.below(2) {
        0 => (KeyOrigin::Minted, at),
        _ => (KeyOrigin::Returned(at), Timestamp(0)),
    };
    let command = keyed(&format!("minted-{number}"), &text);
    (number, text, Command { origin, minted_at, ..command })
}

fn check(world: &World, sent: &BTreeMap<u32, (String, String)>, replay: &str) {
    let mut first: BTreeMap<(&str, &str), &Outcome> = BTreeMap::new();
    for (caller, (key, text)) in sent {
        let account = text.split(' ').nth(1).unwrap();
        match &world.answers[caller] {
            Reply::Outcome(Outcome::Refused(it)) if it.refusal == wire::Refusal::KeyReused => (),
            Reply::Outcome(outcome) => {
                let known = first.entry((account, key)).or_insert(outcome);
                assert_eq!(*known, outcome, "one key, two answers: {replay}");
            }
            Reply::Failed(Failure::EngineUnavailable | Failure::Overloaded) => (),
            other @ (Reply::Failed(_)
            | Reply::Account(_)
            | Reply::Transaction(_)
            | Reply::Transactions { .. }
            | Reply::Hold(_)
            | Reply::Transfer(_)
            | Reply::Pending(_)
            | Reply::Events { .. }
            | Reply::Accounts { .. }
            | Reply::Trial(_)
            | Reply::Batch(_)) => panic!("{other:?}: {replay}"),
        }
    }
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for ((account, _), outcome) in &first {
        if let Outcome::Done(Done::Posted(posting)) = outcome {
            let sign = if posting.kind == wire::Kind::Debit { -1 } else { 1 };
            *sums.entry(account).or_default() += sign * posting.amount.minor();
        }
    }
    // The journal itself: the last balance of each account is the sum of what was acknowledged.
    let mut posted: BTreeMap<String, i64> = BTreeMap::new();
    for record in world.records() {
        for item in &record.items {
            if let ledger::Verdict::Posted { posted_after, .. } = item.verdict {
                posted.insert(item.action.account().to_string(), posted_after);
            }
        }
    }
    for (account, sum) in sums {
        assert_eq!(posted.get(account), Some(&sum), "{account}: {replay}");
    }
}
