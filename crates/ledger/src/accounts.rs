//! The accounts in memory: a slab with a table of ids over it, and a hand that evicts.
//!
//! Knows that an account may be absent; knows no rule and no record.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use wire::{AccountId, AccountState, Seq};

/// What memory knows of an account, or of whatever else is kept under an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'a, T = AccountState> {
    Present(&'a T),
    /// There is none, for certain.
    Absent,
    /// Not in memory: it must be looked up and admitted before a command about it is staged.
    Unknown,
}

/// Slots that one round of eviction looks at: twice the accounts that a full batch can touch, so
/// that a round keeps up with a batch, and none takes longer than some 200 µs.
const EVICT_SLOTS_MAX: usize = 16_384;

/// Accounts by id. Memory per account: the state (about 110 B), its id and metadata (two
/// allocations), and 5 to 9 B of table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    table: HashTable<u32>,
    slots: Vec<Slot>,
    vacant: Vec<u32>,
    /// Where the next round of eviction starts.
    hand: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    content: Content,
    /// The record that changed it last; 0 when what memory has came from the views.
    changed: Seq,
    /// Used since the hand passed last.
    used: bool,
}

#[derive(Clone, Debug)]
enum Content {
    Vacant,
    Absent(AccountId),
    Present(AccountState),
}

impl Content {
    fn id(&self) -> Option<&AccountId> {
        match self {
            Content::Vacant => None,
            Content::Absent(id) => Some(id),
            Content::Present(state) => Some(&state.id),
        }
    }
}

impl Accounts {
    /// Accounts in memory, known-absent ones too.
    pub(crate) fn count(&self) -> usize {
        self.table.len()
    }

    /// Where the account is, if memory knows it.
    pub(crate) fn find(&self, id: &AccountId) -> Option<u32> {
        self.table.find(hash(id), |&at| self.id(at) == Some(id)).copied()
    }

    /// What is in this slot; `None` for an account known to be absent.
    pub(crate) fn get(&self, at: u32) -> Option<&AccountState> {
        match &self.slots[index(at)].content {
            Content::Present(state) => Some(state),
            Content::Absent(_) | Content::Vacant => None,
        }
    }

    /// What memory knows of this account.
    pub(crate) fn known(&self, id: &AccountId) -> Known<'_> {
        match self.find(id) {
            None => Known::Unknown,
            Some(at) => self.get(at).map_or(Known::Absent, Known::Present),
        }
    }

    /// Takes in what the views say, unless memory knows already: then memory is the newer.
    pub(crate) fn admit(&mut self, id: AccountId, state: Option<AccountState>) {
        match self.find(&id) {
            Some(at) => self.slots[index(at)].used = true,
            None => {
                let content = state.map_or(Content::Absent(id), Content::Present);
                self.insert(Slot { content, changed: Seq(0), used: true });
            }
        }
    }

    /// Where the account is; one that memory does not know is taken for absent.
    pub(crate) fn find_or_absent(&mut self, id: &AccountId) -> u32 {
        match self.find(id) {
            Some(at) => at,
            None => {
                let content = Content::Absent(id.clone());
                self.insert(Slot { content, changed: Seq(0), used: true })
            }
        }
    }

    /// Puts the state that record `changed` left. `hint` is where the account was when the batch
    /// was staged; it may have been evicted since.
    pub(crate) fn put(&mut self, hint: u32, state: AccountState, changed: Seq) {
        let at = if self.id(hint) == Some(&state.id) { Some(hint) } else { self.find(&state.id) };
        let slot = Slot { content: Content::Present(state), changed, used: true };
        match at {
            Some(at) => self.slots[index(at)] = slot,
            None => {
                self.insert(slot);
            }
        }
    }

    /// Drops accounts that were not used lately and that the views have as they are, until at
    /// most `accounts_max` are left or the round is over. Returns how many are still too many.
    ///
    /// Second chance: the hand goes round the slots, spares what was used since it passed last,
    /// and takes the rest. It costs no order to be kept on every use.
    pub(crate) fn evict(&mut self, accounts_max: usize, watermark: Seq) -> usize {
        for _ in 0..EVICT_SLOTS_MAX {
            if self.count() <= accounts_max || self.slots.is_empty() {
                break;
            }
            if self.slots.len() <= self.hand {
                self.hand = 0;
            }
            let at = self.hand;
            self.hand = at.saturating_add(1);
            let slot = &mut self.slots[at];
            if slot.used {
                slot.used = false;
            } else if slot.changed <= watermark {
                self.vacate(at);
            }
        }
        self.count().saturating_sub(accounts_max)
    }

    /// Every account that exists, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &AccountState> {
        self.slots.iter().filter_map(|slot| match &slot.content {
            Content::Present(state) => Some(state),
            Content::Absent(_) | Content::Vacant => None,
        })
    }

    fn id(&self, at: u32) -> Option<&AccountId> {
        self.slots.get(index(at)).and_then(|slot| slot.content.id())
    }

    fn insert(&mut self, slot: Slot) -> u32 {
        let code = hash(slot.content.id().expect("only accounts are inserted"));
        let at = match self.vacant.pop() {
            Some(at) => {
                self.slots[index(at)] = slot;
                at
            }
            None => {
                let at = u32::try_from(self.slots.len()).expect("memory ends before 2^32 accounts");
                self.slots.push(slot);
                at
            }
        };
        let slots = &self.slots;
        self.table.insert_unique(code, at, |&at| {
            hash(slots[index(at)].content.id().expect("the table names no vacant slot"))
        });
        at
    }

    fn vacate(&mut self, at: usize) {
        let Some(id) = self.slots[at].content.id() else { return };
        let entry = self.table.find_entry(hash(id), |&it| index(it) == at);
        let (at_u32, _) = entry.expect("the table has every account").remove();
        self.slots[at].content = Content::Vacant;
        self.vacant.push(at_u32);
    }
}

fn hash(id: &AccountId) -> u64 {
    FixedState::default().hash_one(id)
}

fn index(at: u32) -> usize {
    usize::try_from(at).expect("32 bits fit a usize")
}
