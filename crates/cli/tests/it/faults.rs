//! Real processes, hurt on purpose: what clients saw is judged, and for each fault a build without
//! the guard that it is about must be noticed. docs/faults.md is the table.
//!
//! `./test` runs the short form. `cargo xtask faults` runs all of it, with seeds.

mod apart;
mod case;
mod cases;
mod cuts;
mod database;
mod list;
mod list_postgres;
mod proxy;
mod recorder;
mod scene;
mod standby;

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
};

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
    if let Some(verdict) = database::crashes("crash", "", 1) {
        verdict.holds(1);
    }
}

#[test]
fn nothing_is_lost_when_a_synchronous_standby_is_promoted() {
    if let Some(verdict) = database::fails_over("standby", true, 1) {
        verdict.holds(1);
    }
}

#[test]
fn nothing_is_lost_when_waits_for_a_standby_are_ended() {
    if let Some(verdict) = database::waiters_are_ended("waiters", "", 1) {
        verdict.holds(1);
    }
}

/// The long form: every fault, with as many seeds as `TOLLGATE_FAULTS_SEEDS` says; those alone that
/// `TOLLGATE_FAULTS_ONLY` names, as in `F5` or `F5-pg`; a row for each in `TOLLGATE_FAULTS_TABLE`.
/// One that does not hold keeps nobody from the others.
#[test]
#[ignore = "takes the better part of an hour: cargo xtask faults"]
fn every_fault_and_every_control() {
    #[expect(clippy::disallowed_methods, reason = "a test of the cli crate")]
    let word = |name: &str| env::var(name).unwrap_or_default();
    let seeds: u64 = word("TOLLGATE_FAULTS_SEEDS").parse().unwrap_or(1);
    let (only, table) = (word("TOLLGATE_FAULTS_ONLY"), word("TOLLGATE_FAULTS_TABLE"));
    let is_asked = |id: &str| {
        let rest = id.strip_prefix(only.as_str());
        only.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let mut rows = String::new();
    let mut broken = Vec::new();
    let all = list::on_sqlite().into_iter().chain(list_postgres::on_postgres());
    for case in all.filter(|it| is_asked(it.id)) {
        for seed in 1..=seeds {
            let begun = net::clock::now();
            let ran = catch_unwind(AssertUnwindSafe(|| case.run(seed)));
            let took = net::clock::now().since(begun).as_secs();
            let (judged, control) = match &ran {
                Ok(row) => (row.judged.as_str(), row.control.as_str()),
                Err(_) => {
                    broken.push(format!("{} seed {seed}", case.id));
                    ("**BROKEN**", "")
                }
            };
            let (id, promises, injected) = (case.id, case.promises, case.injected);
            rows.push_str(&format!(
                "{id}\t{promises}\t{injected}\t{seed}\t{judged}\t{control}\t{took} s\n"
            ));
            if !table.is_empty() {
                fs::write(&table, &rows).unwrap();
            }
        }
    }
    assert!(broken.is_empty(), "these did not hold: {}", broken.join(", "));
}
