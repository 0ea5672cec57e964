//! One batch over the books in memory: it sees them with its own changes on top, and changes
//! nothing until it is merged.
//!
//! Knows no keys and no chain.

mod decide;
mod follow;

use crate::{
    accounts::Accounts,
    entry::Leg,
    object::{Object, ObjectKey, Objects, Sort},
    record::Left,
    rules,
};
use std::collections::BTreeMap;
use stdx::Map;
use wire::{AccountId, AccountState, Contra, Seq, Timestamp, command::Update};

/// What one partition's memory knows of its books.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    pub accounts: Accounts,
    pub objects: Objects,
    /// Balance of each contra account that was ever moved.
    pub external: BTreeMap<Contra, i128>,
}

/// The changes of one batch.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    touched: Vec<Touched>,
    /// Slot of an account to its place in `touched`.
    places: Map<u32, usize>,
    /// In the order of the letters: the record's bytes follow from what was moved, nothing else.
    external: Vec<(Contra, i128)>,
    /// Objects that it made or changed.
    objects: BTreeMap<ObjectKey, Object>,
    /// What to go back to if a command of the group under way is refused.
    before_group: Option<Before>,
}

/// An overlay as it was when a group began.
#[derive(Debug)]
struct Before {
    touched_count: usize,
    /// States that were touched before and once more since, with their places, oldest first.
    states: Vec<(usize, AccountState)>,
    external: Vec<(Contra, i128)>,
    objects: BTreeMap<ObjectKey, Object>,
}

#[derive(Debug)]
struct Touched {
    slot: u32,
    state: AccountState,
    posted_before: i64,
}

/// Why a record does not follow from the books before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch(pub &'static str);

impl Overlay {
    /// An overlay with room for this many commands.
    pub(crate) fn with_capacity(count: usize) -> Overlay {
        Overlay {
            touched: Vec::with_capacity(count),
            places: Map::with_capacity_and_hasher(count, Default::default()),
            external: Vec::new(),
            objects: BTreeMap::new(),
            before_group: None,
        }
    }

    /// What follows happens together: [`Overlay::end_group`] keeps all of it or none.
    pub(crate) fn begin_group(&mut self) {
        assert!(self.before_group.is_none());
        let (touched_count, external) = (self.touched.len(), self.external.clone());
        let (states, objects) = (Vec::new(), self.objects.clone());
        self.before_group = Some(Before { touched_count, states, external, objects });
    }

    /// Ends the group: without `keep`, everything is as it was when it began.
    pub(crate) fn end_group(&mut self, keep: bool) {
        let before = self.before_group.take().expect("a group was begun");
        if keep {
            return;
        }
        for Touched { slot, .. } in self.touched.drain(before.touched_count..) {
            self.places.remove(&slot);
        }
        // The oldest last: it is the one that counts.
        for (place, state) in before.states.into_iter().rev() {
            self.touched[place].state = state;
        }
        self.external = before.external;
        self.objects = before.objects;
    }

    /// The balances after the batch of every contra account that it moved.
    pub(crate) fn external(&self) -> &[(Contra, i128)] {
        &self.external
    }

    /// Double entry: what the accounts gained, the contra accounts lost.
    ///
    /// # Panics
    /// When the books do not balance: money would be made or lost.
    pub(crate) fn check_sums(&self, books: &Books) {
        let before = |contra: &Contra| books.external.get(contra).copied().unwrap_or(0);
        let book = |(contra, after): &(Contra, i128)| difference(*after, before(contra));
        let mut sums: Vec<i128> = self.external.iter().map(book).collect();
        // Those of one currency lie side by side: the first stands for both.
        let first = |currency| self.external.partition_point(|(it, _)| it.currency < currency);
        let sum = |a: i128, b: i128| a.checked_add(b).expect("a batch moves far below 2^127");
        for at in 1..sums.len() {
            let before = at.saturating_sub(1);
            if self.external[before].0.currency == self.external[at].0.currency {
                sums[before] = sum(sums[before], std::mem::take(&mut sums[at]));
            }
        }
        for Touched { state, posted_before, .. } in &self.touched {
            let moved = difference(i128::from(state.posted), i128::from(*posted_before));
            if moved != 0 {
                let at = first(state.currency);
                sums[at] = sum(sums[at], moved);
            }
        }
        assert!(sums.iter().all(|&sum| sum == 0), "the books do not balance: {sums:?}");
    }

    /// Makes the changes the books' own.
    pub(crate) fn merge(self, books: &mut Books, seq: Seq) {
        for Touched { slot, state, .. } in self.touched {
            books.accounts.put(slot, state, seq);
        }
        books.external.extend(self.external);
        for object in self.objects.into_values() {
            books.objects.put(object, seq);
        }
    }

    /// An object; `None` when it is absent.
    fn object<'a>(&'a self, books: &'a Books, key: ObjectKey) -> Option<&'a Object> {
        self.objects.get(&key).or_else(|| books.objects.get(key))
    }

    /// Whether money of the account is on its way that may come back.
    fn is_awaiting(&self, books: &Books, account: &AccountId) -> bool {
        let here = self.objects.values().filter_map(|object| match object {
            Object::Transfer(transfer) => Some(transfer),
            Object::Hold(_) | Object::Delivery { .. } | Object::Reversal { .. } => None,
        });
        let before = books.objects.pending().filter(|transfer| {
            let key = ObjectKey { sort: Sort::Transfer, bits: transfer.id.bits() };
            !self.objects.contains_key(&key)
        });
        here.chain(before).any(|it| it.end.is_none() && it.from.account == *account)
    }

    /// Changes an account's figures, and books the other half; the figures that are left. `None`,
    /// and nothing is changed, when there is no such account or they would not be sound.
    fn effect(
        &mut self,
        books: &Books,
        slot: u32,
        effect: Effect,
        time: Timestamp,
    ) -> Option<Left> {
        let mut after = self.state(books, slot)?.clone();
        after.posted = after.posted.checked_add(effect.leg.map_or(0, Leg::delta))?;
        after.held = after.held.checked_add(effect.held)?;
        after.version = next(after.version);
        after.updated_at = time;
        rules::sound(&after).ok()?;
        if let Some(leg) = effect.leg {
            if leg.contra.currency != after.currency {
                return None;
            }
            self.book(books, leg.contra, leg.delta())?;
        }
        let left = Left {
            posted: after.posted,
            held: after.held,
            available: i64::try_from(after.available()).ok()?,
            version: after.version,
        };
        *self.touch(books, slot) = after;
        Some(left)
    }

    fn state<'a>(&'a self, books: &'a Books, slot: u32) -> Option<&'a AccountState> {
        match self.places.get(&slot) {
            Some(&place) => Some(&self.touched[place].state),
            None => books.accounts.get(slot),
        }
    }

    fn touch(&mut self, books: &Books, slot: u32) -> &mut AccountState {
        let place = match self.places.get(&slot) {
            Some(&place) => {
                if let Some(before) = &mut self.before_group
                    && place < before.touched_count
                {
                    before.states.push((place, self.touched[place].state.clone()));
                }
                place
            }
            None => {
                let state = books.accounts.get(slot).expect("the ladder found it").clone();
                let posted_before = state.posted;
                self.push(Touched { slot, state, posted_before })
            }
        };
        &mut self.touched[place].state
    }

    fn insert(&mut self, slot: u32, state: AccountState) {
        assert!(state.posted == 0 && state.held == 0);
        self.push(Touched { slot, state, posted_before: 0 });
    }

    fn push(&mut self, touched: Touched) -> usize {
        let place = self.touched.len();
        let twice = self.places.insert(touched.slot, place);
        assert!(twice.is_none());
        self.touched.push(touched);
        place
    }

    /// Books the other half of a posting. `None`, and nothing is changed, beyond 128 bits.
    fn book(&mut self, books: &Books, contra: Contra, delta: i64) -> Option<()> {
        let place = self.place(contra);
        let before = match place {
            Ok(place) => self.external[place].1,
            Err(_) => books.external.get(&contra).copied().unwrap_or(0),
        };
        let after = before.checked_sub(i128::from(delta))?;
        match place {
            Ok(place) => self.external[place].1 = after,
            Err(place) => self.external.insert(place, (contra, after)),
        }
        Some(())
    }

    fn place(&self, contra: Contra) -> Result<usize, usize> {
        self.external.binary_search_by_key(&contra, |&(it, _)| it)
    }
}

/// What a command does to an account.
#[derive(Clone, Copy, Debug, Default)]
struct Effect {
    /// What it books.
    leg: Option<Leg>,
    /// What it adds to what is held, in minor units.
    held: i64,
}

fn change(state: &mut AccountState, update: &Update, time: Timestamp) {
    state.status = update.status.unwrap_or(state.status);
    state.overdraft_limit = update.overdraft_limit.unwrap_or(state.overdraft_limit);
    if let Some(metadata) = &update.metadata {
        state.metadata.clone_from(metadata);
    }
    state.updated_at = time;
    state.version = next(state.version);
}

fn next(version: u64) -> u64 {
    version.checked_add(1).expect("a sound version is far from 2^64")
}

fn difference(after: i128, before: i128) -> i128 {
    after.checked_sub(before).expect("a batch moves far below 2^127")
}
