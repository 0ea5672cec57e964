//! Books that are right, and every way in which they can be wrong: the auditor must convict.

use super::*;
use stdx::Rng;

const OPENING: Position = Position { posted: 1_000_000, version: 1 };

/// A made-up account: what was answered, and what its books show.
#[derive(Clone)]
struct World {
    writes: Vec<Write>,
    unknown: Vec<Unknown>,
    reads: Vec<Read>,
    balance: Position,
    history: Vec<Entry>,
}

impl World {
    fn faults(&self) -> Vec<Fault> {
        audit(&Case {
            opening: OPENING,
            writes: &self.writes,
            unknown: &self.unknown,
            reads: &self.reads,
            balance: self.balance,
            history: &self.history,
        })
    }

    /// The entry of this version.
    fn entry(&mut self, version: u64) -> &mut Entry {
        self.history.iter_mut().find(|it| it.after.version == version).unwrap()
    }

    fn write(&mut self, version: u64) -> &mut Write {
        self.writes.iter_mut().find(|it| it.entry.after.version == version).unwrap()
    }
}

fn at(micros: u64) -> Moment {
    Moment::from_nanos(micros * 1_000)
}

/// A right world: `count` writes, three at a time under way, a read after each, and one write in
/// eight whose outcome nobody knows, executed or not.
fn world(seed: u64, count: u64) -> World {
    let mut rng = Rng::new(seed);
    let first =
        Entry { id: Identity(0), deed: Deed::Credit, amount: OPENING.posted, after: OPENING };
    let (mut last, mut history) = (OPENING, vec![first]);
    let (mut writes, mut unknown, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..count {
        let deed = if rng.below(3) == 0 { Deed::Credit } else { Deed::Debit };
        let amount = 1 + i64::try_from(rng.below(1_000)).unwrap();
        let is_unknown = rng.below(8) == 0;
        if is_unknown {
            unknown.push(Unknown { account: 0, deed, amount });
            if rng.below(2) == 0 {
                continue;
            }
        }
        let posted = last.posted + signed(deed, amount);
        last = Position { posted, version: last.version + 1 };
        let entry = Entry { id: Identity(u128::from(turn) + 1), deed, amount, after: last };
        history.insert(0, entry);
        let start = turn * 10;
        if !is_unknown {
            let jitter = u64::try_from(rng.below(9)).unwrap();
            let (sent, answered) = (at(start + jitter), at(start + 20 + jitter));
            writes.push(Write { account: 0, entry, sent, answered });
        }
        let (sent, answered) = (at(start + 15), at(start + 45));
        reads.push(Read { account: 0, shown: last, sent, answered });
    }
    World { writes, unknown, reads, balance: last, history }
}

/// Worlds with something to break in them.
fn worlds() -> impl Iterator<Item = World> {
    (0..200).map(|seed| world(seed, 40)).filter(|it| 10 < it.writes.len())
}

#[test]
fn books_that_are_right_are_acquitted() {
    for world in worlds() {
        assert_eq!(world.faults(), []);
    }
    assert_eq!(world(1, 0).faults(), []);
}

/// Breaks every world and demands a conviction of the right kind.
#[track_caller]
fn convicts(break_it: impl Fn(&mut World, u64), is_it: impl Fn(&Fault) -> bool) {
    for (seed, mut world) in worlds().enumerate() {
        let place = Rng::new(u64::try_from(seed).unwrap()).below(world.writes.len() - 2);
        let version = world.writes[place].entry.after.version;
        break_it(&mut world, version);
        let faults = world.faults();
        assert!(faults.iter().any(&is_it), "world {seed}, version {version}: {faults:?}");
    }
}

/// Takes an entry out of the books and closes the gap, as if it had never been.
fn unbook(world: &mut World, version: u64) {
    let gone = *world.entry(version);
    world.history.retain(|it| it.after.version != version);
    let change = signed(gone.deed, gone.amount);
    for entry in world.history.iter_mut().filter(|it| version < it.after.version) {
        entry.after.version -= 1;
        entry.after.posted -= change;
    }
    world.balance = world.history[0].after;
}

#[test]
fn a_lost_write_is_found_even_where_the_books_are_even() {
    convicts(unbook, |it| matches!(it, Fault::Lost { .. }));
}

#[test]
fn a_write_that_is_there_twice_is_found() {
    let break_it = |world: &mut World, version: u64| {
        let entry = *world.entry(version);
        let posted = world.balance.posted + signed(entry.deed, entry.amount);
        let after = Position { posted, version: world.balance.version + 1 };
        world.history.insert(0, Entry { after, ..entry });
        world.balance = after;
    };
    convicts(break_it, |it| matches!(it, Fault::Twice { .. }));
}

#[test]
fn a_write_that_nobody_asked_for_is_found() {
    // A repeat that was booked again under an id of its own, or a refusal that was booked.
    let break_it = |world: &mut World, _: u64| {
        let amount = 77_777;
        let posted = world.balance.posted - amount;
        let after = Position { posted, version: world.balance.version + 1 };
        let entry = Entry { id: Identity(u128::MAX), deed: Deed::Debit, amount, after };
        world.history.insert(0, entry);
        world.balance = after;
    };
    convicts(break_it, |it| matches!(it, Fault::Stranger { .. }));
}

#[test]
fn an_unknown_write_excuses_one_entry_and_no_second() {
    let mut world = world(1, 0);
    world.unknown.push(Unknown { account: 0, deed: Deed::Debit, amount: 5 });
    for number in 1..=2 {
        let after =
            Position { posted: OPENING.posted - 5 * number, version: 1 + number.cast_unsigned() };
        let id = Identity(u128::from(number.cast_unsigned()));
        world.history.insert(0, Entry { id, deed: Deed::Debit, amount: 5, after });
        world.balance = after;
        assert_eq!(world.faults().len(), usize::from(number == 2), "{:?}", world.faults());
    }
}

#[test]
fn another_amount_version_or_deed_than_acknowledged_is_found() {
    let altered = |it: &Fault| matches!(it, Fault::Altered { .. });
    convicts(|world, version| world.entry(version).amount += 1, altered);
    convicts(|world, version| world.write(version).entry.after.posted += 1, altered);
    let flip = |world: &mut World, version: u64| {
        let entry = world.entry(version);
        entry.deed = if entry.deed == Deed::Debit { Deed::Credit } else { Deed::Debit };
    };
    convicts(flip, altered);
    convicts(|world, version| world.write(version).entry.after.version += 1, altered);
}

#[test]
fn two_acknowledgements_of_one_transaction_are_found() {
    let break_it = |world: &mut World, version: u64| {
        let write = *world.write(version);
        world.writes.push(write);
    };
    convicts(break_it, |it| matches!(it, Fault::Shared { .. }));
}

#[test]
fn a_chain_that_does_not_hold_is_found() {
    let broken = |it: &Fault| matches!(it, Fault::Broken { .. });
    convicts(|world, version| world.entry(version).after.posted += 1, broken);
    convicts(|world, version| world.history.retain(|it| it.after.version != version), broken);
    let another_start = |world: &mut World, _: u64| world.entry(1).after.posted += 1;
    convicts(another_start, broken);
}

#[test]
fn a_balance_that_is_not_the_last_entry_is_found() {
    let balance = |it: &Fault| matches!(it, Fault::Balance { .. });
    convicts(|world, _| world.balance.posted += 1, balance);
    convicts(|world, _| world.balance.version += 1, balance);
    convicts(|world, _| world.history = world.history.split_off(1), balance);
}

#[test]
fn writes_that_change_places_with_time_are_found() {
    let break_it = |world: &mut World, version: u64| {
        let last = world.writes.last().unwrap().answered;
        world.write(version).sent = last + std::time::Duration::from_micros(1);
    };
    convicts(break_it, |it| matches!(it, Fault::OutOfOrder { .. }));
}

#[test]
fn reads_that_are_stale_foreseen_or_never_so_are_found() {
    let stale = |world: &mut World, _: u64| {
        world.reads.last_mut().unwrap().shown = OPENING;
    };
    convicts(stale, |it| matches!(it, Fault::Stale { .. }));
    let foreseen = |world: &mut World, _: u64| {
        let last = world.writes.last().unwrap().entry.after;
        let read = &mut world.reads[0];
        (read.shown, read.answered) = (last, read.sent);
    };
    convicts(foreseen, |it| matches!(it, Fault::Foreseen { .. }));
    let never = |world: &mut World, _: u64| world.reads[0].shown.posted += 1;
    convicts(never, |it| matches!(it, Fault::NeverSo { .. }));
}

#[test]
fn a_balance_alone_is_the_opening_with_what_was_acknowledged() {
    let mut total = Total::default();
    total.add(Deed::Debit, 300);
    total.add(Deed::Credit, 100);
    let judged = |posted, version, unknown: &[Unknown]| {
        audit_balance(OPENING, total, unknown, Position { posted, version }).is_none()
    };
    assert!(judged(999_800, 3, &[]));
    assert!(!judged(999_799, 3, &[]) && !judged(999_800, 4, &[]) && !judged(999_800, 2, &[]));
    let unknown = [Unknown { account: 0, deed: Deed::Debit, amount: 50 }];
    assert!(judged(999_800, 3, &unknown) && judged(999_750, 4, &unknown));
    assert!(!judged(999_850, 4, &unknown) && !judged(999_749, 4, &unknown));
}

#[test]
fn a_trial_balance_must_be_even_whatever_it_says() {
    let line =
        |debits, credits, sum| TrialLine { currency: "EUR".to_owned(), debits, credits, sum };
    assert!(audit_trial(true, &[line(5, 5, 0)]).is_empty());
    assert!(audit_trial(true, &[]).is_empty());
    for (says, line) in [
        (false, line(5, 5, 0)),
        (true, line(5, 6, 1)),
        (true, line(5, 6, 0)),
        (true, line(5, 5, 1)),
    ] {
        assert_eq!(audit_trial(says, &[line]).len(), 1);
    }
}
