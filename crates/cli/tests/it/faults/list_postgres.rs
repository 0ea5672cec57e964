//! The table of faults, where the books are in PostgreSQL: what is done to a tree on SQLite, and what
//! only a database can suffer.

use super::{
    case::{Case, Control, Play},
    database, list,
    scene::Verdict,
};

const LOST: &[&str] = &["Lost", "verify"];

/// A case of SQLite's under another name.
fn same(id: &'static str, case: Case) -> Case {
    let Case { promises, injected, play, control, .. } = case;
    let on_postgres = |it: Control| Control { play: it.play.on_postgres(), ..it };
    Case { id, promises, injected, play: play.on_postgres(), control: control.map(on_postgres) }
}

fn case(
    id: &'static str,
    promises: &'static str,
    injected: &'static str,
    play: fn(&str, u64) -> Verdict,
) -> Case {
    Case { id, promises, injected, play: Play::Other(play), control: None }
}

fn control(
    orders: &'static str,
    play: fn(&str, u64) -> Verdict,
    caught_by: &'static [&'static str],
) -> Option<Control> {
    Some(Control { orders, play: Play::Other(play), caught_by, tries: 3 })
}

fn there(verdict: Option<Verdict>) -> Verdict {
    verdict.expect("PostgreSQL is installed")
}

/// Processes and machines: what is hurt on SQLite as well.
fn as_on_sqlite() -> Vec<Case> {
    let mut all = vec![
        same("F1-pg", list::owner_dies()),
        same("F1-pg-epoch", list::heir_takes_over()),
        same("F2-pg", list::gateway_dies()),
        same("F3-pg", list::all_die()),
        same("F4-pg", list::owner_pauses()),
        same("F5-pg", list::owner_stops()),
        same("F5-pg-fence", list::owner_resumes()),
        same("F9-pg", list::commit_hangs()),
        same("F15-pg", list::commits_are_slow()),
        same("F16-pg", list::owner_stops_again()),
        // A unique index keeps out who does not look.
        Case { control: None, ..same("F25-pg", list::a_second_one()) },
        same("F29-pg", list::nodes_roll()),
        same("F30-pg", list::a_node_is_lost()),
    ];
    all.extend(list::owner_freezes_if_possible().map(|it| same("F8-pg", it)));
    all
}

fn unconfirmed(name: &str, seed: u64) -> Verdict {
    there(database::each_sees_one(name, "mutant unconfirmed-reads\n", seed))
}

/// Networks between a node and its database.
fn networks() -> Vec<Case> {
    vec![
        Case {
            control: control("mutant unconfirmed-reads", unconfirmed, &["Stale"]),
            ..case(
                "F10-pg",
                "P3 P4 P6",
                "owner and database cut off from each other",
                |name, seed| there(database::owner_is_cut_off(name, "", seed)),
            )
        },
        Case {
            control: control(
                "mutant fail-unknown",
                |name, seed| there(database::answers_are_lost(name, "mutant fail-unknown\n", seed)),
                &["Denied", "Twice", "TwoResults", "Lost", "verify"],
            ),
            ..case(
                "F11-pg",
                "P1 P2 P6",
                "what the database answers is lost, of COMMIT too",
                |name, seed| there(database::answers_are_lost(name, "", seed)),
            )
        },
        case(
            "F12-pg",
            "P5 P6 P2",
            "gateway and owner cut, both ways and each way; streams cut, late, stalled",
            |name, seed| there(database::gateway_and_owner(name, seed)),
        ),
        Case {
            control: control("mutant unconfirmed-reads", unconfirmed, &["Stale"]),
            ..case(
                "F13-pg",
                "P3 P4",
                "owner and database cut off, and each gateway sees one account node",
                |name, seed| there(database::each_sees_one(name, "", seed)),
            )
        },
        Case {
            control: control(
                "mutant retry-without-key",
                |name, seed| {
                    there(database::networks_are_bad(name, "mutant retry-without-key\n", seed))
                },
                &["Twice"],
            ),
            ..case(
                "F14-pg",
                "P2 P5",
                "30 % of what gateway, owner and database send comes 200 ms late, connections break",
                |name, seed| there(database::networks_are_bad(name, "", seed)),
            )
        },
    ]
}

/// Databases that crash and fail over.
fn databases() -> Vec<Case> {
    vec![
        case(
            "F6-pg",
            "P5",
            "SIGSTOP while the commit waits for the standby, the fence rows in hand",
            |name, seed| there(database::owner_stops_in_commit(name, seed)),
        ),
        Case {
            control: control(
                "mutant lazy-commit",
                |name, seed| there(database::crashes(name, "mutant lazy-commit\n", seed)),
                LOST,
            ),
            ..case("F26-pg", "P1 P6", "the database crashes, twice", |name, seed| {
                there(database::crashes(name, "", seed))
            })
        },
        Case {
            control: control(
                "an asynchronous standby that lags",
                |name, seed| there(database::fails_over(name, false, seed)),
                LOST,
            ),
            ..case(
                "F27-pg",
                "P1 P3",
                "the primary killed, its synchronous standby promoted",
                |name, seed| there(database::fails_over(name, true, seed)),
            )
        },
        Case {
            control: control(
                "mutant tell-on-sight",
                |name, seed| {
                    there(database::waiters_are_ended(name, "mutant tell-on-sight\n", seed))
                },
                LOST,
            ),
            ..case(
                "F28-pg",
                "P1 P3",
                "commits that wait for the standby ended by hand; then it is promoted",
                |name, seed| there(database::waiters_are_ended(name, "", seed)),
            )
        },
    ]
}

/// All of them; none where PostgreSQL is not installed.
pub(super) fn on_postgres() -> Vec<Case> {
    if crate::cluster::cluster().is_none() {
        return Vec::new();
    }
    [as_on_sqlite(), networks(), databases()].into_iter().flatten().collect()
}
