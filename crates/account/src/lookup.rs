//! What the desks want looked up, gathered while the last look-ups run, answered all at once.

use engine::{EngineError, Reader};
use ledger::Record;
use wire::{
    AccountId, AccountState, Fingerprint, KeyHash, Outcome, PartitionId, Seq, ServiceTag,
    command::KeyOrigin,
};

/// Look-ups wanted. `C` is whom to answer in the end.
#[derive(Debug)]
pub struct Lookups<C> {
    pub accounts: Vec<(PartitionId, AccountId)>,
    pub keys: Vec<KeyLookup>,
    pub records: Vec<RecordLookup<C>>,
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
    pub keys: Vec<Option<Stored>>,
    pub records: Vec<Option<Outcome>>,
}

impl<C> Default for Lookups<C> {
    fn default() -> Lookups<C> {
        Lookups { accounts: Vec::new(), keys: Vec::new(), records: Vec::new() }
    }
}

impl<C> Lookups<C> {
    /// True when nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.keys.is_empty() && self.records.is_empty()
    }

    /// The part that may cross to another thread, and who waits for the records.
    pub fn split(&mut self) -> (Lookups<()>, Vec<C>) {
        let wanted = std::mem::take(self);
        let (records, callers) = wanted
            .records
            .into_iter()
            .map(|RecordLookup { caller, partition, seq, index }| {
                (RecordLookup { caller: (), partition, seq, index }, caller)
            })
            .unzip();
        (Lookups { accounts: wanted.accounts, keys: wanted.keys, records }, callers)
    }
}

/// Makes the look-ups, keys before accounts.
///
/// # Errors
/// When the engine cannot be read: the node cannot go on without.
pub fn look_up(
    reader: &mut dyn Reader,
    service: ServiceTag,
    wanted: &Lookups<()>,
) -> Result<Found, EngineError> {
    Ok(Found {
        keys: keys(reader, service, &wanted.keys)?,
        accounts: reader.accounts(&wanted.accounts)?,
        records: wanted
            .records
            .iter()
            .map(|it| {
                Ok(reader
                    .record(it.partition, it.seq)?
                    .and_then(|record| record.outcome(service, it.index)))
            })
            .collect::<Result<_, EngineError>>()?,
    })
}

fn keys(
    reader: &mut dyn Reader,
    service: ServiceTag,
    wanted: &[KeyLookup],
) -> Result<Vec<Option<Stored>>, EngineError> {
    let asked: Vec<_> = wanted.iter().map(|it| (it.partition, it.key)).collect();
    let mut places = reader.keys(&asked)?;
    for (lookup, place) in wanted.iter().zip(&mut places) {
        if let (KeyOrigin::Returned(at), None) = (lookup.origin, &place) {
            *place = reader.key_near(lookup.partition, lookup.key, at)?;
        }
    }
    wanted
        .iter()
        .zip(places)
        .map(|(lookup, place)| match place {
            None => Ok(None),
            Some(place) => {
                let record = reader.record(lookup.partition, place.seq)?;
                Ok(record.and_then(|record| stored(&record, service, place.index)))
            }
        })
        .collect()
}

fn stored(record: &Record, service: ServiceTag, index: u16) -> Option<Stored> {
    let fingerprint = record.items.get(usize::from(index))?.fingerprint;
    Some(Stored { fingerprint, outcome: record.outcome(service, index)? })
}
