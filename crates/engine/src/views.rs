//! One state of an engine's views, as every engine has them.

use crate::error::{EngineError, Kind};
use ledger::{Chain, Object, ObjectKey};
use wire::{AccountId, AccountState, Contra, Currency, PartitionId, Timestamp, command};

/// Which blocks of an account: those that begin before this version and this time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    pub(crate) version: i64,
    pub(crate) time: Timestamp,
}

/// An account's posted balance and what it is to be summed under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Balance<'a> {
    pub(crate) partition: PartitionId,
    pub(crate) id: &'a str,
    pub(crate) currency: Currency,
    pub(crate) posted: i64,
}

/// An account's row, as a database gives it.
pub(crate) struct AccountRow<'a> {
    pub(crate) id: &'a str,
    pub(crate) currency: &'a str,
    pub(crate) status: i64,
    pub(crate) posted: i64,
    pub(crate) held: i64,
    pub(crate) overdraft_limit: i64,
    pub(crate) version: i64,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) metadata: &'a str,
}

impl AccountRow<'_> {
    /// The account; `None` for a row that makes no sense.
    pub(crate) fn state(&self) -> Option<AccountState> {
        let status = u8::try_from(self.status).ok()?;
        Some(AccountState {
            id: AccountId::parse(self.id)?,
            currency: Currency::parse(self.currency)?,
            status: command::status(status).ok()?,
            posted: self.posted,
            held: self.held,
            overdraft_limit: self.overdraft_limit,
            version: u64::try_from(self.version).ok()?,
            metadata: self.metadata.into(),
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
        })
    }
}

/// Reads a contra account's row.
pub(crate) fn contra(name: &str, balance: &str) -> Option<(Contra, i128)> {
    Contra::parse(name).zip(balance.parse().ok())
}

/// Gets the time of a block's last posting, and the block; says whether it wants more.
pub(crate) type BlockVisit<'a> = &'a mut dyn FnMut(Timestamp, &[u8]) -> Result<bool, EngineError>;

/// Reads one state of the views, for as long as it is held: for one call, never longer.
pub(crate) trait Views {
    /// What a complaint about the views names.
    fn place(&self) -> String;

    /// How far the views of a partition are.
    fn mark(&self, partition: PartitionId) -> Result<Chain, EngineError>;

    /// The balances of a partition's contra accounts, in their order.
    fn external(&self, partition: PartitionId) -> Result<Vec<(Contra, i128)>, EngineError>;

    /// Objects, in the order of `keys`; `None` for one that is not there.
    fn objects(
        &self,
        keys: &[(PartitionId, ObjectKey)],
    ) -> Result<Vec<Option<Object>>, EngineError>;

    /// Every object of a partition that is open.
    fn open_objects(&self, partition: PartitionId) -> Result<Vec<Object>, EngineError>;

    /// Accounts, in the order of `ids`; `None` for one that is not there.
    fn accounts(
        &self,
        ids: &[(PartitionId, AccountId)],
    ) -> Result<Vec<Option<AccountState>>, EngineError>;

    /// An account's blocks, newest first, until `each` says that it has enough.
    fn blocks(
        &self,
        account: (PartitionId, &AccountId),
        before: Before,
        each: BlockVisit<'_>,
    ) -> Result<(), EngineError>;

    /// The first `wanted` accounts of these partitions before this creation and id, newest first.
    fn accounts_before(
        &self,
        partitions: &[PartitionId],
        before: (Timestamp, &str),
        wanted: usize,
    ) -> Result<Vec<(PartitionId, AccountState)>, EngineError>;

    /// Every account of these partitions, in whatever order.
    fn each_balance(
        &self,
        partitions: &[PartitionId],
        each: &mut dyn FnMut(Balance<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError>;

    /// What is stored makes no sense.
    fn corrupt(&self, what: String) -> EngineError {
        EngineError::new(Kind::Corrupt, self.place(), what)
    }
}
