//! The table of faults: what is at stake, what is injected, and which guard is left out to see
//! whether anybody notices.

use super::{
    case::{Case, Control, Play, Work},
    cases, cuts,
    scene::On,
};

const LOST: &[&str] = &["Lost", "verify"];
const TWICE: &[&str] = &["Twice"];
/// What judges say of books in which two owners have written.
const DAMAGED: &[&str] = &["Lost", "Altered", "Broken", "Stale", "verify"];
const MOVED: &[&str] = &["a takeover without a cause"];

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
    Case {
        play: Play::Tree { on: On::Sqlite, orders: alone, work },
        control: control(
            "mutant take-on-time\nmutant plain-fence\n",
            cases::owner_resumes_unfenced,
            DAMAGED,
            3,
        ),
        ..case("F5-fence", "P4 P3 P1", injected, work)
    }
}

pub(super) fn owner_stops_briefly() -> Case {
    let work = cases::owner_stops_briefly;
    Case {
        // Its sibling has the partitions, and the one that is stopped has the turn to write.
        control: control("mutant take-on-time\n", work, &["answers within"], 1),
        ..case("F6", "P5", "SIGSTOP with the fence row in hand", work)
    }
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
    Case {
        control: control("mutant wall-clock\n", cases::a_clock_is_set, MOVED, 2),
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
    let work = cases::owner_pauses;
    Case {
        control: control("mutant impatient\n", work, MOVED, 2),
        ..case("F4", "P3 P5", "SIGSTOP of the owner for a second and a half", work)
    }
}

pub(super) fn owner_stops() -> Case {
    case("F5", "P4 P3 P1", "SIGSTOP in and out of the transaction", cases::owner_stops)
}

fn owner_freezes() -> Case {
    let orders = "mutant take-on-time\nmutant plain-fence\n";
    let injected = "the whole process frozen by its cgroup, a batch in its hands";
    Case {
        control: control(orders, cases::owner_freezes_unfenced, DAMAGED, 3),
        ..case("F8", "P4 P5", injected, cases::owner_freezes)
    }
}

/// Nothing, and it is said, where no cgroup can be frozen.
pub(super) fn owner_freezes_if_possible() -> Option<Case> {
    if cases::freezer().is_none() {
        println!("F8: there is no cgroup freezer to write to here");
        return None;
    }
    cases::leave_freezer();
    Some(owner_freezes())
}

pub(super) fn commits_are_slow() -> Case {
    let work = cases::commits_are_slow;
    Case {
        control: control("mutant short-commits\n", work, MOVED, 2),
        ..case("F15", "P4 P5", "commits of 4.5 s", work)
    }
}

pub(super) fn owner_stops_again() -> Case {
    let work = cases::owner_stops_again;
    Case {
        control: control("mutant home-at-once\n", work, &["changes of owner"], 2),
        ..case("F16", "P5", "one node stops again and again", work)
    }
}

pub(super) fn a_node_is_lost() -> Case {
    let work = cases::a_node_is_lost_in_answers;
    Case {
        control: control("mutant retry-without-key\n", work, TWICE, 3),
        ..case("F30", "P2 P5", "each node lost, and another started", cases::a_node_is_lost)
    }
}

/// Everything that is done to a tree with its books on SQLite.
pub(super) fn on_sqlite() -> Vec<Case> {
    let mut all = vec![
        owner_dies(),
        heir_takes_over(),
        gateway_dies(),
        all_die(),
        owner_pauses(),
        owner_stops(),
        owner_resumes(),
        owner_stops_briefly(),
        commit_hangs(),
        owner_is_cut_off(),
        commits_are_slow(),
        owner_stops_again(),
        clocks_are_set(),
        a_second_one(),
        nodes_roll(),
        a_node_is_lost(),
    ];
    all.extend(owner_freezes_if_possible());
    all
}
