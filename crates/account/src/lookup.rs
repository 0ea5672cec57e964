//! What the desks want looked up, gathered while the last look-ups run, answered all at once.

use engine::{EngineError, KeyPlace, Kind, Reader};
use ledger::{Object, ObjectKey, Record};
use std::collections::BTreeMap;
use wire::{
    AccountId, AccountState, Fingerprint, KeyHash, Outcome, PartitionId, Posting, Seq, ServiceTag,
    TransactionId, command::KeyOrigin,
};

/// Look-ups wanted. `C` is whom to answer in the end.
#[derive(Debug)]
pub struct Lookups<C> {
    pub accounts: Vec<(PartitionId, AccountId)>,
    pub objects: Vec<(PartitionId, ObjectKey)>,
    pub keys: Vec<KeyLookup>,
    pub records: Vec<RecordLookup<C>>,
    /// What is to be reversed.
    pub originals: Vec<TransactionId>,
}

/// Was this key used before? Asked for the parked command of this ticket.
#[derive(Clone, Debug)]
pub struct KeyLookup {
    pub partition: PartitionId,
    pub account: AccountId,
    pub ticket: u64,
    pub key: KeyHash,
    pub origin: KeyOrigin,
}

/// What was decided there? Asked for a repeat.
#[derive(Clone, Debug)]
pub struct RecordLookup<C> {
    pub caller: C,
    pub partition: PartitionId,
    pub seq: Seq,
    pub index: u16,
}

/// The first use of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub fingerprint: Fingerprint,
    pub outcome: Outcome,
}

/// What was found, in the order asked.
#[derive(Debug, Default)]
pub struct Found {
    pub accounts: Vec<Option<AccountState>>,
    pub objects: Vec<Option<Object>>,
    pub keys: Vec<Option<Stored>>,
    pub records: Vec<Option<Outcome>>,
    pub originals: Vec<Option<Posting>>,
}

impl<C> Default for Lookups<C> {
    fn default() -> Lookups<C> {
        Lookups {
            accounts: Vec::new(),
            objects: Vec::new(),
            keys: Vec::new(),
            records: Vec::new(),
            originals: Vec::new(),
        }
    }
}

impl<C> Lookups<C> {
    /// True when nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
            && self.objects.is_empty()
            && self.keys.is_empty()
            && self.records.is_empty()
            && self.originals.is_empty()
    }

    /// Drops what a desk wants that is given up: its successor counts its tickets anew. Whoever
    /// waits for a record gets it all the same.
    pub fn forget(&mut self, partition: PartitionId) {
        self.accounts.retain(|(of, _)| *of != partition);
        self.objects.retain(|(of, _)| *of != partition);
        self.keys.retain(|it| it.partition != partition);
    }

    /// The part that may cross to another thread, and who waits for the records.
    pub fn split(&mut self) -> (Lookups<()>, Vec<C>) {
        let mut wanted = std::mem::take(self);
        let (records, callers) = std::mem::take(&mut wanted.records)
            .into_iter()
            .map(|RecordLookup { caller, partition, seq, index }| {
                (RecordLookup { caller: (), partition, seq, index }, caller)
            })
            .unzip();
        let Lookups { accounts, objects, keys, originals, .. } = wanted;
        (Lookups { accounts, objects, keys, records, originals }, callers)
    }
}

/// Makes the look-ups.
///
/// # Errors
/// When the engine cannot be read, or what it has makes no sense: the node cannot go on without.
pub fn look_up(
    reader: &mut dyn Reader,
    service: ServiceTag,
    wanted: &Lookups<()>,
) -> Result<Found, EngineError> {
    let keys = keys(reader, &wanted.keys)?;
    // Every record that is wanted for a repeat is read once: it may hold thousands of commands.
    let mut places: BTreeMap<(PartitionId, Seq), Vec<Slot>> = BTreeMap::new();
    for (at, (lookup, place)) in wanted.keys.iter().zip(&keys).enumerate() {
        if let Some(KeyPlace { seq, index }) = *place {
            let slot = Slot::Key { at, index, key: lookup.key };
            places.entry((lookup.partition, seq)).or_default().push(slot);
        }
    }
    for (at, RecordLookup { partition, seq, index, .. }) in wanted.records.iter().enumerate() {
        places.entry((*partition, *seq)).or_default().push(Slot::Repeat { at, index: *index });
    }
    for (at, id) in wanted.originals.iter().enumerate() {
        let slot = Slot::Original { at, id: *id };
        places.entry((id.partition(), id.seq())).or_default().push(slot);
    }
    let mut found = Found {
        keys: vec![None; wanted.keys.len()],
        records: vec![None; wanted.records.len()],
        originals: vec![None; wanted.originals.len()],
        ..Found::default()
    };
    for ((partition, seq), slots) in places {
        let record = reader.record(partition, seq)?;
        for slot in slots {
            match slot {
                Slot::Repeat { at, index } => {
                    found.records[at] = record.as_ref().and_then(|it| it.outcome(service, index));
                }
                Slot::Original { at, id } => {
                    let posting = record.as_ref().and_then(|it| it.posting(service, id.index()));
                    // The place alone does not make the id: its time must be the record's, too.
                    found.originals[at] = posting.filter(|posting| posting.id == id);
                }
                Slot::Key { at, index, key } => {
                    let stored = record.as_ref().and_then(|it| stored(it, service, index, key));
                    // Never to be taken for a new key: it would be executed once more.
                    let stored = stored.ok_or_else(|| misplaced(partition, seq, index))?;
                    found.keys[at] = Some(stored);
                }
            }
        }
    }
    found.accounts = reader.accounts(&wanted.accounts)?;
    if !wanted.objects.is_empty() {
        found.objects = reader.objects(&wanted.objects)?;
    }
    Ok(found)
}

/// Who wants something of a record.
enum Slot {
    Repeat { at: usize, index: u16 },
    Original { at: usize, id: TransactionId },
    Key { at: usize, index: u16, key: KeyHash },
}

/// Where the keys were used: what the index does not have is looked for around the time at which
/// it was minted, if it is such a key.
fn keys(
    reader: &mut dyn Reader,
    wanted: &[KeyLookup],
) -> Result<Vec<Option<KeyPlace>>, EngineError> {
    let asked: Vec<_> = wanted.iter().map(|it| (it.partition, it.key)).collect();
    let mut places = reader.keys(&asked)?;
    let mut near = Vec::new();
    let mut ats = Vec::new();
    for (at, (lookup, place)) in wanted.iter().zip(&places).enumerate() {
        if let (KeyOrigin::Returned(minted_at), None) = (lookup.origin, place) {
            near.push((lookup.partition, lookup.key, minted_at));
            ats.push(at);
        }
    }
    if !near.is_empty() {
        for (at, place) in ats.into_iter().zip(reader.keys_near(&near)?) {
            places[at] = place;
        }
    }
    Ok(places)
}

fn stored(record: &Record, service: ServiceTag, index: u16, key: KeyHash) -> Option<Stored> {
    let item = record.items.get(usize::from(index)).filter(|item| item.key == key)?;
    Some(Stored { fingerprint: item.fingerprint, outcome: record.outcome(service, index)? })
}

fn misplaced(partition: PartitionId, seq: Seq, index: u16) -> EngineError {
    EngineError {
        kind: Kind::Corrupt,
        place: format!("partition {}", partition.0),
        what: format!(
            "an index of keys names item {index} of record {}, which has another key",
            seq.0
        ),
    }
}
