//! Real processes, hurt on purpose: what clients saw is judged, and for each fault a build without
//! the guard that it is about must be noticed. docs/faults.md is the table.
//!
//! `./test` runs the short form. `cargo xtask faults` runs all of it, with seeds.

mod apart;
mod cases;
mod cuts;
mod database;
mod list;
mod proxy;
mod recorder;
mod scene;
mod standby;

use std::{env, fmt::Write as _, fs};

#[test]
fn nothing_is_lost_when_an_owner_dies_around_commit() {
    list::owner_dies_briefly().run(1);
}

#[test]
fn nothing_happens_twice_when_a_gateway_dies() {
    list::gateway_dies().run(1);
}

#[test]
fn nothing_is_lost_when_everything_dies() {
    list::all_die().run(1);
}

#[test]
fn the_fence_keeps_out_an_owner_that_resumes() {
    list::owner_resumes().run(1);
}

#[test]
fn an_owner_that_stops_within_its_transaction_is_replaced() {
    list::owner_stops_briefly().run(1);
}

#[test]
fn a_clock_that_is_set_moves_nothing() {
    list::a_clock_is_set().run(1);
}

#[test]
fn a_second_node_of_one_name_and_a_copy_are_refused() {
    list::a_second_one().run(1);
}

#[test]
fn nothing_happens_twice_when_replies_are_lost() {
    cuts::replies_are_lost("lost", "", 1).holds(1);
}

#[test]
fn nothing_is_lost_when_the_database_crashes() {
    if let Some(verdict) = database::crashes("crash", 1) {
        verdict.holds(1);
    }
}

#[test]
fn nothing_is_lost_when_a_synchronous_standby_is_promoted() {
    if let Some(verdict) = database::fails_over("standby", true, 1) {
        verdict.holds(1);
    }
}

/// The long form: every fault, with as many seeds as `TOLLGATE_FAULTS_SEEDS` says, those alone whose
/// name `TOLLGATE_FAULTS_ONLY` is the beginning of; a row for each in `TOLLGATE_FAULTS_TABLE`.
#[test]
#[ignore = "takes many minutes: cargo xtask faults"]
fn every_fault_and_every_control() {
    #[expect(clippy::disallowed_methods, reason = "a test of the cli crate")]
    let word = |name: &str| env::var(name).unwrap_or_default();
    let seeds: u64 = word("TOLLGATE_FAULTS_SEEDS").parse().unwrap_or(1);
    let (only, table) = (word("TOLLGATE_FAULTS_ONLY"), word("TOLLGATE_FAULTS_TABLE"));
    let mut rows = String::new();
    for case in list::all().iter().filter(|it| it.id.starts_with(&only)) {
        for seed in 1..=seeds {
            let row = case.run(seed);
            writeln!(
                rows,
                "{}\t{}\t{}\tseed {seed}: held, {}\t{}",
                case.id, case.promises, case.injected, row.judged, row.control
            )
            .unwrap();
            if !table.is_empty() {
                fs::write(&table, &rows).unwrap();
            }
        }
    }
}
