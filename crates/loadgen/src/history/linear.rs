//! The search for an order, from the answers alone (Wing and Gong, with Lowe's memory of what has
//! been tried): the state is an account's balance and version, and nothing is known of the books.
//!
//! An operation may come next if no other that is still to be placed had ended before it began.
//! What changes nothing and fits is placed at once: it takes no room from anybody. The rest is
//! tried in turn, and taken back where it leads nowhere.

use super::{Asked, OPENING, Op, Told, Wrong};
use crate::audit::Position;
use std::collections::BTreeSet;

/// Operations tried before the search is given up. Histories of a few hundred operations, most of
/// which say their version, need about one for each.
const STEPS_MAX: usize = 100_000;

/// Judges the operations of one account, sorted by their begin.
pub(super) fn judge(ops: &[&Op], overdraft_limit: i64, wrongs: &mut Vec<Wrong>) {
    let of: Vec<&Op> = ops.iter().filter(|op| is_of_weight(op)).copied().collect();
    let decided = of.iter().filter(|op| op.told != Told::Unknown).count();
    let mut search = Search {
        ops: &of,
        overdraft_limit,
        placed: vec![false; of.len()],
        left: decided,
        state: OPENING,
        trail: Vec::new(),
        tried: BTreeSet::new(),
        most: 0,
    };
    match search.run() {
        Verdict::Linear => (),
        Verdict::NoOrder => wrongs.push(Wrong::NoOrder { placed: search.most, of: decided }),
        Verdict::Undecided => wrongs.push(Wrong::Undecided),
    }
}

/// Whether it could have done anything, or says anything about what was done.
fn is_of_weight(op: &Op) -> bool {
    match (&op.told, op.asked) {
        (Told::NotExecuted, _) | (Told::Unknown, Asked::Read) => false,
        (Told::Shown(_) | Told::Posted { .. } | Told::Refused, _) => true,
        (Told::Unknown, Asked::Write { .. }) => true,
    }
}

enum Verdict {
    Linear,
    NoOrder,
    Undecided,
}

struct Search<'a> {
    ops: &'a [&'a Op],
    overdraft_limit: i64,
    placed: Vec<bool>,
    /// Decided operations that are not placed yet.
    left: usize,
    state: Position,
    trail: Vec<Step>,
    /// What has been placed and where that led, for every attempt so far.
    tried: BTreeSet<(Vec<u64>, i64, u64)>,
    /// Decided operations in the longest order found.
    most: usize,
}

/// One operation placed after a choice, or without one.
struct Step {
    index: usize,
    before: Position,
    is_choice: bool,
}

impl Search<'_> {
    fn run(&mut self) -> Verdict {
        let decided = self.left;
        let mut from = 0;
        for _ in 0..STEPS_MAX {
            self.place_what_changes_nothing();
            self.most = self.most.max(decided - self.left);
            if self.left == 0 {
                return Verdict::Linear;
            }
            match self.choice(from) {
                Some((index, state)) => {
                    self.place(index, state, true);
                    from = 0;
                }
                None => match self.take_back() {
                    Some(index) => from = index + 1,
                    None => return Verdict::NoOrder,
                },
            }
        }
        Verdict::Undecided
    }

    /// Those that may come next, in order of their begin.
    fn next(&self) -> impl Iterator<Item = usize> {
        let is_left = |index: &usize| !self.placed[*index];
        let ends = (0..self.ops.len()).filter(is_left).map(|it| end(self.ops[it]));
        let first_end = ends.min().unwrap_or(u64::MAX);
        let has_begun = move |index: &usize| self.ops[*index].begun <= first_end;
        (0..self.ops.len()).take_while(has_begun).filter(is_left)
    }

    fn place_what_changes_nothing(&mut self) {
        loop {
            let fits = |it: &usize| self.after(self.ops[*it]) == Some(self.state);
            let Some(index) = self.next().find(fits) else { return };
            self.place(index, self.state, false);
        }
    }

    /// The next operation that fits and has not been tried from here.
    fn choice(&mut self, from: usize) -> Option<(usize, Position)> {
        let candidates: Vec<usize> = self.next().filter(|it| from <= *it).collect();
        for index in candidates {
            let Some(state) = self.after(self.ops[index]) else { continue };
            self.placed[index] = true;
            let marks = packed(&self.placed);
            self.placed[index] = false;
            if self.tried.insert((marks, state.posted, state.version)) {
                return Some((index, state));
            }
        }
        None
    }

    fn place(&mut self, index: usize, state: Position, is_choice: bool) {
        self.trail.push(Step { index, before: self.state, is_choice });
        self.placed[index] = true;
        self.left -= usize::from(self.ops[index].told != Told::Unknown);
        self.state = state;
    }

    /// Takes back the last choice and all that followed from it.
    fn take_back(&mut self) -> Option<usize> {
        while let Some(step) = self.trail.pop() {
            self.placed[step.index] = false;
            self.left += usize::from(self.ops[step.index].told != Told::Unknown);
            self.state = step.before;
            if step.is_choice {
                return Some(step.index);
            }
        }
        None
    }

    /// The account after the operation, if its answer is right in this state.
    fn after(&self, op: &Op) -> Option<Position> {
        let Asked::Write { change, .. } = op.asked else {
            return (op.told == Told::Shown(self.state)).then_some(self.state);
        };
        let version = self.state.version.checked_add(1)?;
        let posted = self.state.posted.checked_add(change)?;
        let lowest = self.overdraft_limit.checked_neg()?;
        let is_enough = 0 <= change || lowest <= posted;
        let after = Position { posted, version };
        match &op.told {
            Told::Posted { after: told, .. } => (is_enough && *told == after).then_some(after),
            Told::Refused => (!is_enough).then_some(self.state),
            Told::Unknown => is_enough.then_some(after),
            Told::Shown(_) | Told::NotExecuted => None,
        }
    }
}

/// What is unknown may still happen when everything else is over.
fn end(op: &Op) -> u64 {
    if op.told == Told::Unknown { u64::MAX } else { op.ended }
}

fn packed(placed: &[bool]) -> Vec<u64> {
    let word = |bits: &[bool]| bits.iter().rev().fold(0, |word, bit| word << 1 | u64::from(*bit));
    placed.chunks(64).map(word).collect()
}
