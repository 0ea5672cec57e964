//! The table of faults: what is at stake, what is injected, and which guard is left out to see
//! whether anybody notices.

use super::{
    case::{Case, Control, Play, Work},
    cases, cuts,
    scene::On,
};

const LOST: &[&str] = &["Lost", "verify"];
const TWICE: &[&str] = &["Twice"];

fn case(id: &'static str, promises: &'static str, injected: &'static str, work: Work) -> Case {
    let play = Play::Tree { on: On::Sqlite, orders: "", work };
    Case { id, promises, injected, play, control: None }
}

fn control(
    orders: &'static str,
    work: Work,
    caught_by: &'static [&'static str],
    tries: u64,
) -> Option<Control> {
    Some(Control { orders, play: Play::Tree { on: On::Sqlite, orders, work }, caught_by, tries })
}

pub(super) fn owner_dies() -> Case {
    let injected = "kill -9 of the owner at every place of a commit, of the heir at its takeover, \
                    and at random";
    let work = cases::owner_dies_uncommitted;
    Case {
        control: control("mutant ack-before-commit\n", work, LOST, 3),
        ..case("F1", "P1 P2 P5 P6", injected, cases::owner_dies)
    }
}

pub(super) fn owner_dies_briefly() -> Case {
    let injected = "kill -9 of the owner before and after COMMIT";
    Case {
        injected,
        play: Play::Tree { on: On::Sqlite, orders: "", work: cases::owner_dies_briefly },
        ..owner_dies()
    }
}

pub(super) fn heir_takes_over() -> Case {
    let said: &[&str] = &["did not go up"];
    Case {
        control: control("mutant keep-epoch\n", cases::epochs_go_up, said, 1),
        ..case("F1-epoch", "P4", "kill -9 of the owner, which stays down", cases::epochs_go_up)
    }
}

pub(super) fn gateway_dies() -> Case {
    let injected = "kill -9 of a gateway with an answer in its hands";
    let work = cases::gateway_dies_again;
    Case {
        control: control("mutant retry-without-key\n", work, TWICE, 4),
        ..case("F2", "P2 P6", injected, cases::gateway_dies)
    }
}

pub(super) fn all_die() -> Case {
    let work = cases::all_die_uncommitted;
    Case {
        control: control("mutant ack-before-commit\n", work, LOST, 4),
        ..case("F3", "P1 P5", "kill -9 of every process at once", cases::all_die)
    }
}

pub(super) fn owner_resumes() -> Case {
    let injected = "the owner stops with a batch in flight, is not ended, and resumes under \
                    another owner";
    let (work, alone): (Work, _) = (cases::owner_resumes, "mutant take-on-time\n");
    let said: &[&str] = &["Lost", "Altered", "Broken", "Stale", "verify"];
    Case {
        play: Play::Tree { on: On::Sqlite, orders: alone, work },
        control: control(
            "mutant take-on-time\nmutant plain-fence\n",
            cases::owner_resumes_unfenced,
            said,
            3,
        ),
        ..case("F5-fence", "P4 P3 P1", injected, work)
    }
}

pub(super) fn owner_stops_briefly() -> Case {
    case("F6", "P5", "SIGSTOP with the fence row in hand", cases::owner_stops_briefly)
}

pub(super) fn commit_hangs() -> Case {
    let said: &[&str] = &["stays in office"];
    let injected = "a commit that does not end, while the node's pulse goes on";
    Case {
        control: control("mutant stuck-in-office\n", cases::commit_hangs, said, 1),
        ..case("F9", "P5", injected, cases::commit_hangs)
    }
}

fn owner_is_cut_off() -> Case {
    let orders = "mutant retry-without-key\n";
    let play =
        Play::Other(|name, seed| cuts::replies_are_lost(name, "mutant retry-without-key\n", seed));
    Case {
        id: "F12",
        promises: "P5 P6 P2",
        injected: "gateway and owner cut, both ways and each way; streams cut, late, stalled",
        play: Play::Other(|name, seed| cuts::gateway_and_owner(name, "sqlite:a", seed)),
        control: Some(Control { orders, play, caught_by: TWICE, tries: 3 }),
    }
}

pub(super) fn clocks_are_set() -> Case {
    let injected = "wall clocks an hour ahead and an hour behind, and back";
    Case {
        play: Play::Tree { on: On::Sqlite, orders: "", work: cases::clocks_are_set },
        injected,
        ..a_clock_is_set()
    }
}

pub(super) fn a_clock_is_set() -> Case {
    let said: &[&str] = &["a takeover without a cause"];
    Case {
        control: control("mutant wall-clock\n", cases::a_clock_is_set, said, 2),
        ..case("F17", "P3 P4 P5", "one wall clock an hour ahead", cases::a_clock_is_set)
    }
}

pub(super) fn a_second_one() -> Case {
    let said: &[&str] = &["a second a-1 was let in"];
    let injected = "the same node name twice; a copied data folder";
    Case {
        control: control("mutant two-of-a-name\n", cases::a_second_one, said, 1),
        ..case("F25", "P4", injected, cases::a_second_one)
    }
}

pub(super) fn nodes_roll() -> Case {
    let said: &[&str] = &["attempts were undecided"];
    Case {
        control: control("by kill -9", cases::nodes_roll_by_kill, said, 2),
        ..case("F29", "P1 P5", "every node drained, started, stopped, started", cases::nodes_roll)
    }
}

pub(super) fn owner_pauses() -> Case {
    case("F4", "P3 P5", "SIGSTOP of the owner for a second", cases::owner_pauses)
}

pub(super) fn owner_stops() -> Case {
    case("F5", "P4 P3 P1", "SIGSTOP in and out of the transaction", cases::owner_stops)
}

pub(super) fn owner_freezes() -> Case {
    case("F8", "P4 P5", "the whole process frozen by its cgroup", cases::owner_freezes)
}

pub(super) fn commits_are_slow() -> Case {
    case("F15", "P4 P5", "commits of 4.5 s", cases::commits_are_slow)
}

pub(super) fn owner_stops_again() -> Case {
    case("F16", "P5", "one node stops again and again", cases::owner_stops_again)
}

pub(super) fn a_node_is_lost() -> Case {
    case("F30", "P2 P5", "each node lost, and another started", cases::a_node_is_lost)
}

/// Everything that is done to a tree with its books on SQLite.
pub(super) fn on_sqlite() -> Vec<Case> {
    vec![
        owner_dies(),
        heir_takes_over(),
        gateway_dies(),
        all_die(),
        owner_pauses(),
        owner_stops(),
        owner_resumes(),
        owner_stops_briefly(),
        owner_freezes(),
        commit_hangs(),
        owner_is_cut_off(),
        commits_are_slow(),
        owner_stops_again(),
        clocks_are_set(),
        a_second_one(),
        nodes_roll(),
        a_node_is_lost(),
    ]
}
