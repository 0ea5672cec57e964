//! One page of accounts out of several, each from somebody who knows a part of them.

use crate::{id::AccountId, outcome::AccountState, time::Timestamp};

/// Pages that are put together.
#[derive(Debug, Default)]
pub struct AccountPages {
    rows: Vec<AccountState>,
    /// Where the first of the pages ended that leave something out: of what is older, rows may be
    /// missing.
    end: Option<(Timestamp, AccountId)>,
}

impl AccountPages {
    /// Adds a page, newest first. `more`: it leaves out what is older.
    pub fn add(&mut self, rows: Vec<AccountState>, more: bool) {
        if let Some(last) = rows.last().filter(|_| more) {
            let end = (last.created_at, last.id.clone());
            self.end = self.end.take().max(Some(end));
        }
        self.rows.extend(rows);
    }

    /// The newest `limit` of all, newest first and of equal age the higher id first; fewer where a
    /// page ended earlier. And whether there are more.
    pub fn page(mut self, limit: u32) -> (Vec<AccountState>, bool) {
        let count = self.rows.len();
        if let Some((at, id)) = &self.end {
            self.rows.retain(|row| (*at, id) <= place(row));
        }
        self.rows.sort_unstable_by(|a, b| place(b).cmp(&place(a)));
        self.rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let more = self.end.is_some() || self.rows.len() < count;
        (self.rows, more)
    }
}

fn place(state: &AccountState) -> (Timestamp, &AccountId) {
    (state.created_at, &state.id)
}
