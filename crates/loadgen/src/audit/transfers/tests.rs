//! Made-up transfers between a few accounts, and every way in which their books can be wrong.

use super::*;
use crate::audit::{Case, Position, audit};
use stdx::Rng;

const ACCOUNTS: u32 = 5;
const OPENING: Position = Position { posted: 1_000_000, version: 1 };

/// What was acknowledged, and what the histories show, oldest first.
#[derive(Clone)]
struct World {
    transfers: Vec<Transfer>,
    legs: Vec<Leg>,
    balances: Vec<Position>,
}

fn index(account: u32) -> usize {
    usize::try_from(account).unwrap()
}

fn at(micros: u64) -> Moment {
    Moment::from_nanos(micros * 1_000)
}

impl World {
    /// A right world; every sixth transfer is returned.
    fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let balances = vec![OPENING; index(ACCOUNTS)];
        let mut world = World { transfers: Vec::new(), legs: Vec::new(), balances };
        for turn in 0..40_u64 {
            let below = |rng: &mut Rng, limit: u32| u32::try_from(rng.below(index(limit))).unwrap();
            let from = below(&mut rng, ACCOUNTS);
            let to = (from + 1 + below(&mut rng, ACCOUNTS - 1)) % ACCOUNTS;
            let amount = 1 + i64::try_from(rng.below(1_000)).unwrap();
            let is_returned = rng.below(6) == 0;
            let (id, debit) = (Identity(1_000 + u128::from(turn)), Identity(2 * u128::from(turn)));
            let credit = Identity(2 * u128::from(turn) + 1);
            world.book(id, from, Deed::Debit, amount, debit);
            world.book(id, if is_returned { from } else { to }, Deed::Credit, amount, credit);
            let credit = (!is_returned).then_some(credit);
            let (sent, answered) = (at(turn * 10), at(turn * 10 + 35));
            world.transfers.push(Transfer { id, from, to, amount, debit, credit, sent, answered });
        }
        world
    }

    fn book(&mut self, transfer: Identity, account: u32, deed: Deed, amount: i64, id: Identity) {
        let last = &mut self.balances[index(account)];
        let signed = if deed == Deed::Debit { -amount } else { amount };
        *last = Position { posted: last.posted + signed, version: last.version + 1 };
        let entry = Entry { id, deed, amount, after: *last };
        self.legs.push(Leg { transfer, account, entry });
    }

    /// Everything that is wrong with any account, with the pairs and with the sum.
    fn faults(&self) -> Vec<String> {
        let mut found = Vec::new();
        for account in 0..ACCOUNTS {
            let legs: Vec<Leg> =
                self.legs.iter().filter(|it| it.account == account).copied().collect();
            let (writes, faults) = writes(account, self.transfers.iter(), &legs);
            let history: Vec<Entry> = legs.iter().rev().map(|it| it.entry).collect();
            let case = Case {
                opening: OPENING,
                writes: &writes,
                unknown: &[],
                reads: &[],
                balance: self.balances[index(account)],
                history: &history,
            };
            found.extend(faults.iter().chain(&audit(&case)).map(ToString::to_string));
        }
        let pairs = audit_pairs(&mut self.legs.clone());
        found.extend(pairs.iter().map(|(_, it)| it.to_string()));
        let sum = self.balances.iter().map(|it| i128::from(it.posted)).sum();
        let opened = i128::from(OPENING.posted) * i128::from(ACCOUNTS);
        found.extend(audit_sum(opened, sum, 0));
        found
    }

    /// Takes an entry out of the books and closes the gap, as if it had never been.
    fn unbook(&mut self, place: usize) {
        let gone = self.legs.remove(place);
        let change =
            if gone.entry.deed == Deed::Debit { gone.entry.amount } else { -gone.entry.amount };
        let later = |it: &&mut Leg| {
            it.account == gone.account && gone.entry.after.version < it.entry.after.version
        };
        for leg in self.legs.iter_mut().filter(later) {
            leg.entry.after.version -= 1;
            leg.entry.after.posted += change;
        }
        let balance = &mut self.balances[index(gone.account)];
        *balance = Position { posted: balance.posted + change, version: balance.version - 1 };
    }
}

#[test]
fn books_that_are_right_are_acquitted() {
    for seed in 0..100 {
        assert_eq!(World::new(seed).faults(), Vec::<String>::new(), "world {seed}");
    }
}

/// Breaks a transfer of every world, at `place`, and demands that it is found out.
#[track_caller]
fn convicts(words: &[&str], break_it: impl Fn(&mut World, usize)) {
    for seed in 0..100 {
        let mut world = World::new(seed);
        let place = Rng::new(seed).below(world.transfers.len());
        break_it(&mut world, place);
        let faults = world.faults().join("\n");
        for word in words {
            assert!(
                faults.contains(word),
                "world {seed}, transfer {place}: no {word:?}:\n{faults}"
            );
        }
    }
}

#[test]
fn a_transfer_that_is_not_there_whole_is_found() {
    // The two entries of a transfer stand side by side.
    let sum = "all accounts together had";
    let (debit, credit) = ("the debit of a transfer", "the credit of a transfer");
    let half = "in 1 entries took";
    convicts(&[credit, half, sum], |world, place| world.unbook(2 * place + 1));
    convicts(&[debit, half, sum], |world, place| world.unbook(2 * place));
    convicts(&[debit, credit], |world, place| {
        world.unbook(2 * place + 1);
        world.unbook(2 * place);
    });
}

#[test]
fn a_transfer_that_is_booked_again_is_found() {
    let again = |world: &mut World, place: usize| {
        let Transfer { id, from, to, amount, .. } = world.transfers[place];
        world.book(id, from, Deed::Debit, amount, Identity(5_000));
        world.book(id, to, Deed::Credit, amount, Identity(5_001));
    };
    convicts(&["nobody may have asked for", "in 4 entries"], again);
    let only_credit = |world: &mut World, place: usize| {
        let Transfer { id, to, amount, .. } = world.transfers[place];
        world.book(id, to, Deed::Credit, amount, Identity(5_001));
    };
    convicts(&["nobody may have asked for", "in 3 entries", "together"], only_credit);
}

#[test]
fn a_transfer_that_was_refused_and_booked_is_found() {
    let booked = |world: &mut World, _: usize| {
        world.book(Identity(9_000), 1, Deed::Debit, 77, Identity(5_000));
        world.book(Identity(9_000), 2, Deed::Credit, 77, Identity(5_001));
    };
    convicts(&["nobody may have asked for"], booked);
}

#[test]
fn an_end_that_was_not_acknowledged_is_found() {
    // Completed, it says, and the source has it back; or the other way round.
    let turned = |world: &mut World, place: usize| {
        let transfer = &mut world.transfers[place];
        transfer.credit = match transfer.credit {
            Some(_) => None,
            None => Some(Identity(5_000)),
        };
    };
    convicts(&["the credit of a transfer", "nobody may have asked for"], turned);
}

#[test]
fn another_amount_than_acknowledged_is_found() {
    convicts(&["altered"], |world, place| world.transfers[place].amount += 1);
    let more = |world: &mut World, place: usize| {
        world.legs[2 * place + 1].entry.amount += 1;
    };
    convicts(&["altered", "in 2 entries took"], more);
}

#[test]
fn transfers_that_change_places_with_time_are_found() {
    let late = |world: &mut World, place: usize| {
        let account = world.transfers[place].from;
        // The first of an account's, asked for after its last had been answered.
        let mut its = world.transfers.iter_mut().filter(|it| it.from == account);
        let first = its.next().unwrap();
        (first.sent, first.answered) = (at(90_000), at(90_001));
        world.book(Identity(9_000), account, Deed::Debit, 5, Identity(5_000));
        let (sent, answered) = (at(80_000), at(80_001));
        let (id, debit, credit) = (Identity(9_000), Identity(5_000), Some(Identity(5_001)));
        let to = (account + 1) % ACCOUNTS;
        world.book(id, to, Deed::Credit, 5, Identity(5_001));
        let transfer = Transfer { id, from: account, to, amount: 5, debit, credit, sent, answered };
        world.transfers.push(transfer);
    };
    convicts(&["had been acknowledged"], late);
}

#[test]
fn what_is_unknown_may_be_under_way_and_nowhere_else() {
    assert_eq!(audit_sum(100, 100, 0), None);
    assert_eq!(audit_sum(100, 93, 7), None);
    for (shown, unknown) in [(99, 0), (101, 0), (92, 7), (101, 7)] {
        assert!(audit_sum(100, shown, unknown).is_some(), "{shown}");
    }
}
