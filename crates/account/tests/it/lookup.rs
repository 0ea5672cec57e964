//! Look-ups over a reader that counts, and may be damaged.

use crate::world::{keyed, returned, service};
use account::lookup::{KeyLookup, Lookups, RecordLookup, look_up};
use engine::{EngineError, KeyMark, KeyPlace, KeyScan, Kind, Loaded, Reader};
use ledger::{Chain, Object, ObjectKey, Partition, Record};
use std::sync::Arc;
use wire::{
    AccountId, AccountState, Command, Epoch, KeyHash, PartitionId, Posting, Seq, Timestamp,
    command::KeyOrigin,
    query::{Books, History, Listing},
};

const P0: PartitionId = PartitionId(0);

/// One record, an index that says of every key what the test wants, and a journal that finds every
/// minted key at the same place.
struct Fake {
    record: Arc<Record>,
    indexed: Option<KeyPlace>,
    near: Option<KeyPlace>,
    records_read: usize,
}

impl Reader for Fake {
    fn load(&mut self, _: PartitionId, _: Seq) -> Result<Loaded, EngineError> {
        unreachable!()
    }

    fn recent(&mut self, _: PartitionId, _: Seq) -> Result<Vec<Record>, EngineError> {
        unreachable!()
    }

    fn journaled(&mut self, _: PartitionId, _: Seq) -> Result<Vec<Record>, EngineError> {
        unreachable!()
    }

    fn accounts(
        &mut self,
        ids: &[(PartitionId, AccountId)],
    ) -> Result<Vec<Option<AccountState>>, EngineError> {
        Ok(vec![None; ids.len()])
    }

    fn objects(
        &mut self,
        keys: &[(PartitionId, ObjectKey)],
    ) -> Result<Vec<Option<Object>>, EngineError> {
        Ok(vec![None; keys.len()])
    }

    fn keys(
        &mut self,
        keys: &[(PartitionId, KeyHash)],
    ) -> Result<Vec<Option<KeyPlace>>, EngineError> {
        Ok(vec![self.indexed; keys.len()])
    }

    fn scan_keys(
        &mut self,
        _: &[PartitionId],
        _: Option<KeyMark>,
        _: usize,
    ) -> Result<KeyScan, EngineError> {
        unreachable!()
    }

    fn keys_near(
        &mut self,
        keys: &[(PartitionId, KeyHash, Timestamp)],
    ) -> Result<Vec<Option<KeyPlace>>, EngineError> {
        Ok(vec![self.near; keys.len()])
    }

    fn record(&mut self, _: PartitionId, seq: Seq) -> Result<Option<Record>, EngineError> {
        self.records_read += 1;
        Ok((seq == Seq(1)).then(|| (*self.record).clone()))
    }

    fn history(
        &mut self,
        _: PartitionId,
        _: &History,
    ) -> Result<(Vec<Posting>, bool), EngineError> {
        unreachable!()
    }

    fn list(
        &mut self,
        _: &[PartitionId],
        _: &Listing,
    ) -> Result<(Vec<AccountState>, bool), EngineError> {
        unreachable!()
    }

    fn books(&mut self, _: &[PartitionId]) -> Result<Vec<Books>, EngineError> {
        unreachable!()
    }
}

fn fake(commands: &[Command]) -> Fake {
    let mut partition = Partition::new(service(), P0, Epoch(1), Chain::EMPTY, Vec::new());
    for command in commands {
        partition.admit(command.action.account().clone(), None).unwrap();
    }
    let record = partition.stage(Timestamp(0), commands.to_vec()).record.unwrap();
    Fake { record, indexed: None, near: None, records_read: 0 }
}

fn wanted(commands: &[Command]) -> Lookups<()> {
    let key = |command: &Command| KeyLookup {
        partition: P0,
        account: command.action.account().clone(),
        ticket: 0,
        key: command.key,
        origin: command.origin,
    };
    Lookups { keys: commands.iter().map(key).collect(), ..Lookups::default() }
}

#[test]
fn an_index_that_names_another_key_is_damage_and_no_news() {
    let command = keyed("k", "open alice");
    let mut reader = fake(std::slice::from_ref(&command));
    let place = |seq, index| Some(KeyPlace { seq: Seq(seq), index });
    reader.indexed = place(1, 0);
    let found = look_up(&mut reader, service(), &wanted(std::slice::from_ref(&command))).unwrap();
    assert_eq!(found.keys[0].as_ref().unwrap().fingerprint, command.fingerprint);
    for (indexed, asked) in [
        (place(1, 1), &command),                      // No such item.
        (place(2, 0), &command),                      // No such record.
        (place(1, 0), &keyed("other", "open alice")), // Another's outcome.
    ] {
        reader.indexed = indexed;
        let failed =
            look_up(&mut reader, service(), &wanted(std::slice::from_ref(asked))).unwrap_err();
        assert_eq!(failed.kind, Kind::Corrupt, "{indexed:?}");
    }
}

#[test]
fn only_minted_keys_are_looked_for_around_their_time() {
    let commands = [keyed("k", "open alice"), returned(1, "open bob")];
    let mut reader = fake(&commands);
    reader.near = Some(KeyPlace { seq: Seq(1), index: 1 });
    assert!(matches!(commands[1].origin, KeyOrigin::Returned(_)));
    let found = look_up(&mut reader, service(), &wanted(&commands)).unwrap();
    assert_eq!([found.keys[0].is_some(), found.keys[1].is_some()], [false, true]);
}

#[test]
fn a_record_that_many_want_is_read_once() {
    let commands = [keyed("k", "open alice"), keyed("l", "open bob")];
    let mut reader = fake(&commands);
    let repeat = |at: u16| RecordLookup { caller: (), partition: P0, seq: Seq(1), index: at % 2 };
    let wanted = Lookups { records: (0..1_000).map(repeat).collect(), ..Lookups::default() };
    let found = look_up(&mut reader, service(), &wanted).unwrap();
    assert!(found.records.iter().all(Option::is_some));
    assert_ne!(found.records[0], found.records[1]);
    assert_eq!(reader.records_read, 1);
}
