//! One batch over the books in memory: it sees them with its own changes on top, and changes
//! nothing until it is merged.
//!
//! Knows no keys and no chain.

use crate::{
    accounts::Accounts,
    record::{Item, Verdict, opened},
    rules,
};
use std::collections::BTreeMap;
use stdx::Map;
use wire::{
    AccountState, Action, Currency, Refusal, Seq, Timestamp,
    command::{Post, Update},
};

/// What one partition's memory knows of its books.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    pub accounts: Accounts,
    /// Balance of the external account in each currency ever moved.
    pub external: BTreeMap<Currency, i128>,
}

/// The changes of one batch.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    touched: Vec<Touched>,
    /// Slot of an account to its place in `touched`.
    places: Map<u32, usize>,
    /// In the order of the letters: the record's bytes follow from what was moved, nothing else.
    external: Vec<(Currency, i128)>,
    /// What to go back to if a command of the group under way is refused.
    before_group: Option<Before>,
}

/// An overlay as it was when a group began.
#[derive(Debug)]
struct Before {
    touched_count: usize,
    /// States that were touched before and once more since, with their places, oldest first.
    states: Vec<(usize, AccountState)>,
    external: Vec<(Currency, i128)>,
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
            before_group: None,
        }
    }

    /// What follows happens together: [`Overlay::end_group`] keeps all of it or none.
    pub(crate) fn begin_group(&mut self) {
        assert!(self.before_group.is_none());
        let (touched_count, external) = (self.touched.len(), self.external.clone());
        self.before_group = Some(Before { touched_count, states: Vec::new(), external });
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
    }

    /// The external balances after the batch, in every currency it moved.
    pub(crate) fn external(&self) -> &[(Currency, i128)] {
        &self.external
    }

    /// Decides one action on the account in `slot`. A refusal leaves no trace.
    pub(crate) fn execute(
        &mut self,
        books: &Books,
        slot: u32,
        action: &Action,
        time: Timestamp,
    ) -> Result<Verdict, Refusal> {
        let account = self.state(books, slot);
        match action {
            Action::Open { overdraft_limit, .. } => {
                assert!(0 <= *overdraft_limit); // The decoder refuses others.
                rules::check_open(account)?;
                self.insert(slot, opened(action, time).expect("it opens"));
                Ok(Verdict::Opened)
            }
            Action::Update(update) => {
                assert!(update.overdraft_limit.is_none_or(|limit| 0 <= limit));
                rules::check_update(account, update)?;
                let state = self.touch(books, slot);
                change(state, update, time);
                Ok(Verdict::Updated(state.clone()))
            }
            Action::Post(post) => {
                let after = rules::check_post(account, post)?;
                let delta = rules::delta(post);
                self.book(books, post.currency, delta).ok_or(Refusal::BalanceOverflow)?;
                let state = self.touch(books, slot);
                state.posted = after.posted;
                state.updated_at = time;
                state.version = next(state.version);
                let version = state.version;
                let (posted_after, available_after) = (after.posted, after.available);
                Ok(Verdict::Posted { posted_after, available_after, version })
            }
            Action::Hold(_)
            | Action::EndHold(_)
            | Action::Reverse(_)
            | Action::Send(_)
            | Action::Receive(_)
            | Action::Settle(_) => Err(Refusal::NoSuchAccount),
        }
    }

    /// Follows a decision of a record: takes its absolute figures, after a look whether they can
    /// follow from the books at all. Asks no rule, so that a journal written under older rules
    /// still replays.
    pub(crate) fn follow(
        &mut self,
        books: &Books,
        slot: u32,
        item: &Item,
        time: Timestamp,
    ) -> Result<(), Mismatch> {
        let account = self.state(books, slot);
        match (&item.verdict, &item.action) {
            (Verdict::Refused(_), _) => Ok(()),
            (Verdict::Opened, Action::Open { .. }) => {
                if account.is_some() {
                    return Err(Mismatch("opens an account that exists"));
                }
                let state = opened(&item.action, time).expect("it opens");
                rules::sound(&state).map_err(|unsound| Mismatch(unsound.0))?;
                self.insert(slot, state);
                Ok(())
            }
            (Verdict::Updated(after), Action::Update(update)) => {
                let account = account.ok_or(NO_ACCOUNT)?;
                let mut expected = account.clone();
                change(&mut expected, update, time);
                if expected != *after {
                    return Err(Mismatch("an update leaves another state than it asked for"));
                }
                rules::sound(after).map_err(|unsound| Mismatch(unsound.0))?;
                self.touch(books, slot).clone_from(after);
                Ok(())
            }
            (Verdict::Posted { posted_after, available_after, version }, Action::Post(post)) => {
                let account = account.ok_or(NO_ACCOUNT)?;
                let after = posted(account, post, time).ok_or(OUT_OF_RANGE)?;
                let figures = (after.posted, after.available(), after.version);
                if figures != (*posted_after, i128::from(*available_after), *version) {
                    return Err(Mismatch("a posting leaves other figures than its amount makes"));
                }
                rules::sound(&after).map_err(|unsound| Mismatch(unsound.0))?;
                self.book(books, post.currency, rules::delta(post)).ok_or(OUT_OF_RANGE)?;
                *self.touch(books, slot) = after;
                Ok(())
            }
            (Verdict::Opened | Verdict::Updated(_) | Verdict::Posted { .. }, _) => {
                Err(Mismatch("a verdict of another action"))
            }
        }
    }

    /// Double entry: what the accounts gained, the external ones lost.
    ///
    /// # Panics
    /// When the books do not balance: money would be made or lost.
    pub(crate) fn check_sums(&self, books: &Books) {
        let before = |currency: &Currency| books.external.get(currency).copied().unwrap_or(0);
        let book = |(currency, after): &(Currency, i128)| difference(*after, before(currency));
        let mut sums: Vec<i128> = self.external.iter().map(book).collect();
        for Touched { state, posted_before, .. } in &self.touched {
            let moved = difference(i128::from(state.posted), i128::from(*posted_before));
            if moved != 0 {
                let at = self.place(state.currency).expect("what moved was booked");
                sums[at] = sums[at].checked_add(moved).expect("a batch moves far below 2^127");
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
    fn book(&mut self, books: &Books, currency: Currency, delta: i64) -> Option<()> {
        let place = self.place(currency);
        let before = match place {
            Ok(place) => self.external[place].1,
            Err(_) => books.external.get(&currency).copied().unwrap_or(0),
        };
        let after = before.checked_sub(i128::from(delta))?;
        match place {
            Ok(place) => self.external[place].1 = after,
            Err(place) => self.external.insert(place, (currency, after)),
        }
        Some(())
    }

    fn place(&self, currency: Currency) -> Result<usize, usize> {
        self.external.binary_search_by_key(&currency, |&(it, _)| it)
    }
}

const NO_ACCOUNT: Mismatch = Mismatch("changes an account that does not exist");
const OUT_OF_RANGE: Mismatch = Mismatch("a balance leaves its range");

fn change(state: &mut AccountState, update: &Update, time: Timestamp) {
    state.status = update.status.unwrap_or(state.status);
    state.overdraft_limit = update.overdraft_limit.unwrap_or(state.overdraft_limit);
    if let Some(metadata) = &update.metadata {
        state.metadata.clone_from(metadata);
    }
    state.updated_at = time;
    state.version = next(state.version);
}

fn posted(account: &AccountState, post: &Post, time: Timestamp) -> Option<AccountState> {
    if account.currency != post.currency {
        return None;
    }
    let posted = account.posted.checked_add(rules::delta(post))?;
    let version = next(account.version);
    Some(AccountState { posted, version, updated_at: time, ..account.clone() })
}

fn next(version: u64) -> u64 {
    version.checked_add(1).expect("a sound version is far from 2^64")
}

fn difference(after: i128, before: i128) -> i128 {
    after.checked_sub(before).expect("a batch moves far below 2^127")
}
