//! What a command costs from stage to merge: record, bytes and hash included. Small in a test run;
//! `BENCH=1 cargo test --release -p ledger bench -- --nocapture` measures.

use super::teller::{self, command, open, post};
use crate::Partition;
use std::time::Instant;
use wire::{Command, Kind, Timestamp};

/// Commands of one measurement.
const SLICE: usize = 1 << 12;

struct Sizes {
    commands: usize,
    accounts: usize,
}

#[expect(clippy::disallowed_methods, reason = "a bench is told by its environment and has a clock")]
fn setting() -> (Sizes, fn() -> Instant) {
    let sizes = match std::env::var("BENCH") {
        Ok(_) => Sizes { commands: 1 << 20, accounts: 100_000 },
        Err(_) => Sizes { commands: 1 << 12, accounts: 100 },
    };
    (sizes, Instant::now)
}

fn partition(accounts: usize) -> Partition {
    let mut partition = teller::empty(1);
    let opens: Vec<Command> =
        (0..accounts).map(|n| command(n as u128, open(&name(n), "EUR", 0))).collect();
    for batch in opens.chunks(4_096) {
        for command in batch {
            partition.admit(command.action.account().clone(), None).unwrap();
        }
        let staged = partition.stage(Timestamp(1), batch.to_vec());
        partition.merge(staged);
    }
    partition
}

fn name(n: usize) -> String {
    format!("account-{n:08}")
}

/// The median over slices of the run: other processes on the machine disturb some of them.
fn measure(label: &str, batch: usize, accounts_used: usize) {
    let (sizes, clock) = setting();
    let mut partition = partition(sizes.accounts);
    let mut rng = stdx::Rng::new(7);
    let mut slices = Vec::new();
    let mut micros = 0;
    for _ in 0..sizes.commands.div_ceil(SLICE) {
        // Made just before, as a decoder leaves them; staged and merged under the clock.
        let mut one = |it: usize| {
            let id = name(rng.below(accounts_used.min(sizes.accounts)));
            let kind = if it.is_multiple_of(2) { Kind::Credit } else { Kind::Debit };
            let key = u128::from(rng.next()) << 64 | u128::from(rng.next());
            command(key, post(&id, kind, 5, "EUR"))
        };
        let batches: Vec<Vec<Command>> =
            (0..SLICE / batch).map(|_| (0..batch).map(&mut one).collect()).collect();
        let start = clock();
        for commands in batches {
            micros += 20 * i64::try_from(batch).unwrap(); // 50,000 commands a second.
            let staged = partition.stage(Timestamp(micros), commands);
            partition.merge(staged);
            partition.projected(partition.chain().seq);
        }
        slices.push(start.elapsed().as_nanos() / u128::try_from(SLICE).unwrap());
    }
    slices.sort_unstable();
    let (least, median) = (slices[0], slices[slices.len() / 2]);
    if 1 < slices.len() {
        let keys = partition.keys_count();
        eprintln!("{label} {batch:4} a batch: {median} ns a command (least {least}), {keys} keys");
    }
}

#[test]
fn bench_stage_and_merge() {
    for batch in [1, 16, 256, 4_096] {
        measure("spread", batch, usize::MAX);
        measure("hot   ", batch, 1);
    }
}
