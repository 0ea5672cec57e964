//! A batch while it is being decided.

use crate::{
    keys::KeyEntry,
    overlay::Overlay,
    record::{Group, Header, Item, Place},
};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use wire::{KeyHash, ServiceTag};

/// What has been decided so far.
pub(super) struct Batch {
    pub(super) header: Header,
    pub(super) items: Vec<Item>,
    pub(super) groups: Vec<Group>,
    pub(super) overlay: Overlay,
    /// Places in `items`, by key: two bytes a command.
    places: HashTable<u16>,
}

impl Batch {
    pub(super) fn new(header: Header, count: usize) -> Batch {
        Batch {
            header,
            items: Vec::with_capacity(count),
            groups: Vec::new(),
            overlay: Overlay::with_capacity(count),
            places: HashTable::with_capacity(count),
        }
    }

    pub(super) fn key(&self, key: KeyHash) -> Option<KeyEntry> {
        let found = self.places.find(hash(key), |&at| self.items[usize::from(at)].key == key);
        found.map(|&index| KeyEntry {
            fingerprint: self.items[usize::from(index)].fingerprint,
            seq: self.header.seq,
            index,
        })
    }

    /// The place of the next item.
    pub(super) fn place(&self, service: ServiceTag) -> Place {
        let index = u16::try_from(self.items.len()).expect("at most BATCH_COMMANDS_MAX");
        Place::new(service, &self.header, index)
    }

    /// The next `count` items are a group.
    pub(super) fn begin_group(&mut self, count: usize) {
        let narrow = |places| u16::try_from(places).expect("at most BATCH_COMMANDS_MAX");
        self.groups.push(Group { first: narrow(self.items.len()), count: narrow(count) });
    }

    pub(super) fn push(&mut self, item: Item) -> u16 {
        let index = u16::try_from(self.items.len()).expect("at most BATCH_COMMANDS_MAX");
        let code = hash(item.key);
        self.items.push(item);
        let items = &self.items;
        self.places.insert_unique(code, index, |&at| hash(items[usize::from(at)].key));
        index
    }
}

fn hash(key: KeyHash) -> u64 {
    FixedState::default().hash_one(key)
}
