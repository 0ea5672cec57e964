//! Records for tests of what is projected.

use ledger::{Chain, Hash, Partition, Record};
use std::sync::Arc;
use wire::{
    AccountId, Action, Command, Currency, Epoch, Fingerprint, KeyHash, PartitionId, ServiceTag,
    Timestamp, command::KeyOrigin,
};

/// The first record of the partition of this number.
pub(crate) fn record(number: u8) -> (Arc<Record>, Hash) {
    chain(PartitionId(number.into()), 1).0.remove(0)
}

/// Records 1 to 3 of partition 7, and where its chain is before the first and after each.
pub(crate) fn three() -> (Vec<(Arc<Record>, Hash)>, Vec<Chain>) {
    chain(PartitionId(7), 3)
}

fn chain(id: PartitionId, length: u8) -> (Vec<(Arc<Record>, Hash)>, Vec<Chain>) {
    let account = AccountId::parse("alice").unwrap();
    let mut partition = Partition::new(ServiceTag::of("a"), id, Epoch(1), Chain::EMPTY, Vec::new());
    partition.admit(account.clone(), None).unwrap();
    let (mut records, mut chains) = (Vec::new(), vec![Chain::EMPTY]);
    for number in 1..=length {
        let command = Command {
            key: KeyHash(number.into()),
            origin: KeyOrigin::Client,
            minted_at: Timestamp(0),
            fingerprint: Fingerprint(0),
            request_id: "r".into(),
            action: Action::Open {
                account: account.clone(),
                currency: Currency::parse("EUR").unwrap(),
                overdraft_limit: 0,
                metadata: "{}".into(),
            },
        };
        let staged = partition.stage(Timestamp(0), vec![command]);
        records.push((staged.record.clone().unwrap(), staged.hash));
        partition.merge(staged);
        chains.push(partition.chain());
    }
    (records, chains)
}
