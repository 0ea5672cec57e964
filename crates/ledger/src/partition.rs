//! Everything in memory about one partition that we own, and the batch that changes it.
//!
//! A batch is staged on an overlay, journaled by the caller, and merged when that is durable; a
//! batch that fails is dropped, and with it every trace. Knows no disk: what is durable, and what
//! the projector has reached, it is told.

mod batch;
mod own;

pub use own::{opens, weight};

use crate::{
    accounts::Known,
    keys::{KeyEntry, Keys},
    object::{self, Object, ObjectKey},
    overlay::{Books, Mismatch, Overlay},
    record::{Chain, Hash, Header, Item, Place, Record, Verdict},
    rules::{self, Unsound},
    seen::Seen,
};
use batch::Batch;
use std::{fmt, ops::Range, sync::Arc};
use wire::{
    AccountId, AccountState, Action, Command, Contra, Epoch, KeyHash, PartitionId, Refusal,
    Refused, Seq, ServiceTag, Timestamp, Transfer, command::KeyOrigin, limits,
};

/// A partition in its owner's memory: accounts in use, recent keys, external balances, and the
/// end of the chain.
#[derive(Clone, Debug)]
pub struct Partition {
    service: ServiceTag,
    id: PartitionId,
    /// Partitions of the service, if transfers within this one are to be done in one record.
    siblings: Option<u16>,
    epoch: Epoch,
    chain: Chain,
    /// Epoch of the last record replayed: it never decreases along the journal.
    epoch_last: Epoch,
    books: Books,
    keys: Keys,
    /// Keys of clients, in memory and in the views.
    seen: Seen,
    /// The last record that the views have.
    watermark: Seq,
}

/// A batch decided, not yet durable.
#[derive(Debug)]
pub struct Staged {
    /// What is to be journaled; `None` when every command repeats an earlier one.
    pub record: Option<Arc<Record>>,
    /// The record's bytes; empty when there is none.
    pub bytes: Vec<u8>,
    /// The hash of the bytes; of the record before when there is none.
    pub hash: Hash,
    /// One per command, in their order.
    pub answers: Vec<Answer>,
    overlay: Overlay,
}

/// Where the answer to a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// In the batch's own record, at this place.
    Fresh(u16),
    /// The key was used before for the same request: in that record, which may be the batch's own.
    Repeat { seq: Seq, index: u16 },
    /// The key was used before for another request: told, not journaled.
    KeyReused,
}

/// Why a record does not continue a partition's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// It belongs to this partition.
    Partition(PartitionId),
    /// It is not the next one.
    Seq { expected: Seq, found: Seq },
    /// The record before it is another.
    Previous,
    /// It is older than the record before it.
    Time,
    /// Its epoch is lower than that of the record before it, or higher than ours.
    Epoch(Epoch),
    /// It names an account that was not admitted.
    Unknown(AccountId),
    /// An item does not follow from the books before it.
    Item { index: usize, mismatch: Mismatch },
    /// The external balances are not what the items move.
    External,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Partition(id) => write!(f, "it belongs to partition {}", id.0),
            ReplayError::Seq { expected, found } => {
                write!(f, "number {} was expected, it is number {}", expected.0, found.0)
            }
            ReplayError::Previous => f.write_str("it names another record before it"),
            ReplayError::Time => f.write_str("its time is before that of the record before it"),
            ReplayError::Epoch(epoch) => write!(f, "epoch {} is out of order", epoch.0),
            ReplayError::Unknown(id) => write!(f, "account {id} was not admitted before"),
            ReplayError::Item { index, mismatch } => write!(f, "item {index}: {}", mismatch.0),
            ReplayError::External => f.write_str("the external balances are not what it moved"),
        }
    }
}

impl std::error::Error for ReplayError {}

impl Partition {
    /// A partition whose views reach as far as `chain`. `external`: the external balances there.
    pub fn new(
        service: ServiceTag,
        id: PartitionId,
        epoch: Epoch,
        chain: Chain,
        external: Vec<(Contra, i128)>,
    ) -> Partition {
        let books = Books { external: external.into_iter().collect(), ..Books::default() };
        let (keys, epoch_last, watermark) = (Keys::default(), Epoch(0), chain.seq);
        let seen = Seen::new(chain.seq == Seq(0));
        let siblings = None;
        Partition { service, id, siblings, epoch, chain, epoch_last, books, keys, seen, watermark }
    }

    /// Its service has so many partitions: a transfer from one of its accounts to another is done
    /// in one record from now on.
    #[must_use]
    pub fn among(self, partitions: u16) -> Partition {
        Partition { siblings: Some(partitions), ..self }
    }

    /// What memory knows of this account.
    pub fn account(&self, id: &AccountId) -> Known<'_> {
        self.books.accounts.known(id)
    }

    /// Takes in what the views say of an account; `None` says that there is none. Ignored when
    /// memory knows the account: memory is the newer.
    ///
    /// At most one look-up of an account may be under way at a time: the answer to an older one
    /// could arrive after the account was changed, projected and evicted again.
    ///
    /// # Errors
    /// When the figures are such as no ledger leaves: the views are damaged. Nothing is taken in.
    pub fn admit(&mut self, id: AccountId, state: Option<AccountState>) -> Result<(), Unsound> {
        if let Some(state) = &state {
            if state.id != id {
                return Err(Unsound("the state is another account's"));
            }
            rules::sound(state)?;
        }
        self.books.accounts.admit(id, state);
        Ok(())
    }

    /// What memory knows of this object.
    pub fn object(&self, key: ObjectKey) -> Known<'_, Object> {
        self.books.objects.known(key)
    }

    /// Takes in what the views say of an object, as [`Partition::admit`] does of an account. Of
    /// those that are open at the watermark every one is admitted at start, before any record is
    /// replayed.
    ///
    /// # Errors
    /// When it is another one: the views are damaged. Nothing is taken in.
    pub fn admit_object(&mut self, key: ObjectKey, object: Option<Object>) -> Result<(), Unsound> {
        self.books.objects.admit(key, object)
    }

    /// Objects in memory that are open, which are all that are open.
    pub fn open_count(&self) -> usize {
        self.books.objects.open_count()
    }

    /// Every object in memory, in the order of their names.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.books.objects.iter()
    }

    /// Transfers from here that were sent and not settled, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &Transfer> {
        self.books.objects.pending()
    }

    /// Where the newest outcome of this key is, if memory knows the key.
    pub fn key(&self, key: KeyHash) -> Option<KeyEntry> {
        self.keys.get(key)
    }

    /// The last record whose keys memory has forgotten. A key that was looked up and found new is
    /// new still if neither memory knows it nor this has changed since the look-up was asked for:
    /// however long that took, whatever was journaled meanwhile is in memory.
    pub fn forgotten(&self) -> Seq {
        self.keys.forgotten()
    }

    /// Whether this client's key was certainly never used before, as far back as keys are kept:
    /// neither the views nor any record since have it. A key of which this is false has to be
    /// looked up.
    pub fn is_surely_new(&self, key: KeyHash) -> bool {
        self.seen.is_new(key)
    }

    /// Whether every key that the views have is known here; otherwise they are to be brought.
    pub fn has_all_keys(&self) -> bool {
        self.seen.is_whole()
    }

    /// Learns of a client's key that the views have, and when it was used.
    pub fn learn_key(&mut self, key: KeyHash, time: Timestamp) {
        self.seen.add(key, time);
    }

    /// Every key that the views had when the partition was loaded has been brought.
    pub fn learnt_all_keys(&mut self) {
        self.seen.complete();
    }

    /// Continues the chain with a journaled record, at start. Every account and object it names
    /// was admitted before. The record's own figures are taken; they must follow from the books before it.
    ///
    /// # Errors
    /// When it does not continue the chain; then nothing is changed.
    pub fn replay(&mut self, record: &Record, hash: Hash) -> Result<(), ReplayError> {
        self.check_header(&record.header)?;
        let mut overlay = Overlay::with_capacity(record.items.len());
        for (index, item) in record.items.iter().enumerate() {
            let id = item.action.account();
            let slot = self.books.accounts.find(id);
            let slot = slot.ok_or_else(|| ReplayError::Unknown(id.clone()))?;
            let place = u16::try_from(index).expect("a record has fewer items");
            let place = Place::new(self.service, &record.header, place);
            let followed = overlay.follow(&self.books, slot, item, place);
            followed.map_err(|mismatch| ReplayError::Item { index, mismatch })?;
        }
        if overlay.external() != record.external {
            return Err(ReplayError::External);
        }
        self.commit(overlay, &record.header, hash);
        self.learn_keys(record);
        Ok(())
    }

    /// Remembers the keys of an older record that the views have already, at start. Oldest first.
    pub fn remember(&mut self, record: &Record) {
        self.learn_keys(record);
    }

    /// How many commands may be staged now: what the memory of keys has room for. Forgets what is
    /// old enough at `now` first. The caller sheds the rest: nothing was executed.
    pub fn room(&mut self, now: Timestamp) -> usize {
        self.keys.forget(self.time(now), self.watermark);
        self.keys.room().min(limits::BATCH_COMMANDS_MAX)
    }

    /// Decides a batch, in order, on an overlay: nothing here changes.
    ///
    /// # Panics
    /// When an account or object is unknown, or there are more commands (by their [`weight`]) than
    /// a record or [`Partition::room`] allows: the caller looks before it stages.
    pub fn stage(&self, now: Timestamp, commands: Vec<Command>) -> Staged {
        self.stage_with(now, commands, &[])
    }

    /// As [`Partition::stage`]; the commands at the places of each group, two or more, are all
    /// done or all refused. Groups come in order and do not overlap.
    ///
    /// # Panics
    /// As [`Partition::stage`].
    pub fn stage_with(
        &self,
        now: Timestamp,
        commands: Vec<Command>,
        groups: &[Range<usize>],
    ) -> Staged {
        let items_max = commands.iter().map(|it| weight(&it.action)).sum();
        assert!(items_max <= limits::BATCH_COMMANDS_MAX);
        assert!(items_max <= self.keys.room());
        let mut batch = Batch::new(self.next_header(now), items_max);
        // All look-ups first: they wait for memory, and so can wait together.
        let find = |it: &Command| (self.key(it.key), self.books.accounts.find(it.action.account()));
        let found: Vec<_> = commands.iter().map(find).collect();
        let mut answers = Vec::with_capacity(commands.len());
        let mut rest = commands.into_iter().zip(found);
        for group in groups {
            let singles = group.start.checked_sub(answers.len()).expect("groups come in order");
            answers.extend(
                rest.by_ref().take(singles).map(|(it, at)| self.decide(&mut batch, it, at)),
            );
            let together: Vec<_> = rest.by_ref().take(group.len()).collect();
            assert!(together.len() == group.len() && 2 <= together.len());
            self.decide_together(&mut batch, together, &mut answers);
        }
        answers.extend(rest.map(|(command, at)| self.decide(&mut batch, command, at)));
        let Batch { header, items, groups, overlay, .. } = batch;
        overlay.check_sums(&self.books);
        if items.is_empty() {
            let (bytes, hash) = (Vec::new(), self.chain.hash);
            return Staged { record: None, bytes, hash, answers, overlay };
        }
        let external = overlay.external().to_vec();
        let record = Record { header, items, groups, external };
        let mut bytes = Vec::with_capacity(record.bytes_guess());
        record.encode(&mut bytes);
        let hash = Hash::of(&bytes);
        Staged { record: Some(Arc::new(record)), bytes, hash, answers, overlay }
    }

    /// Takes in a batch that has become durable.
    ///
    /// # Panics
    /// When the chain is not where it was when the batch was staged.
    pub fn merge(&mut self, staged: Staged) {
        let Some(record) = staged.record else { return };
        assert_eq!(record.header.seq, self.chain.seq.next());
        assert_eq!(record.header.previous, self.chain.hash);
        assert_eq!(record.header.epoch, self.epoch);
        self.commit(staged.overlay, &record.header, staged.hash);
        self.learn_keys(&record);
    }

    /// The views have every record up to this one.
    pub fn projected(&mut self, watermark: Seq) {
        self.watermark = self.watermark.max(watermark);
    }

    /// Drops accounts not used lately, and objects that have ended, that the views have as they are,
    /// until at most `accounts_max` of each, and [`object::ENDED_MAX`] objects, are left; one call looks at a bounded number. Returns how many are still too
    /// many: then the projector is behind, and no more should be loaded.
    ///
    /// Never to be called while a batch is staged: an account of that batch, dropped, would be
    /// looked up as it was before the batch, and the answer could come after the batch was merged,
    /// projected and dropped again, when nothing tells that it is too old.
    ///
    /// What was known before may be unknown after: look again before staging.
    pub fn evict(&mut self, accounts_max: usize) -> usize {
        let objects_max = accounts_max.min(object::ENDED_MAX);
        let objects = self.books.objects.evict(objects_max, self.watermark);
        self.books.accounts.evict(accounts_max, self.watermark).saturating_add(objects)
    }

    /// The service it belongs to.
    pub fn service(&self) -> ServiceTag {
        self.service
    }

    /// Its number in the service.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// The epoch that its records bear.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The end of its journal.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// The last record that the views have.
    pub fn watermark(&self) -> Seq {
        self.watermark
    }

    /// Balances of the contra accounts, in their order.
    pub fn external(&self) -> impl Iterator<Item = (Contra, i128)> + '_ {
        self.books.external.iter().map(|(&contra, &balance)| (contra, balance))
    }

    /// Every account in memory that exists, in no order that means anything.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountState> {
        self.books.accounts.iter()
    }

    /// Accounts in memory, known-absent ones too.
    pub fn accounts_count(&self) -> usize {
        self.books.accounts.count()
    }

    /// Keys in memory.
    pub fn keys_count(&self) -> usize {
        self.keys.count()
    }

    /// What a record staged now bears: time in the journal never goes back, and stays within what
    /// can be written.
    pub fn time(&self, now: Timestamp) -> Timestamp {
        now.min(Timestamp::MAX).max(self.chain.time)
    }

    fn next_header(&self, now: Timestamp) -> Header {
        Header {
            partition: self.id,
            seq: self.chain.seq.next(),
            epoch: self.epoch,
            time: self.time(now),
            previous: self.chain.hash,
        }
    }

    fn decide(&self, batch: &mut Batch, mut command: Command, (first, slot): Found) -> Answer {
        if let Some(first) = first.or_else(|| batch.key(command.key)) {
            return if first.fingerprint == command.fingerprint {
                Answer::Repeat { seq: first.seq, index: first.index }
            } else {
                Answer::KeyReused
            };
        }
        let slot = slot.expect(IN_MEMORY);
        let object = ObjectKey::wanted_by(&command.action);
        assert!(object.is_none_or(|key| self.object(key) != Known::Unknown), "{IN_MEMORY}");
        let place = batch.place(self.service);
        let verdict = match batch.overlay.execute(&self.books, slot, &command.action, place) {
            Ok(verdict) => verdict,
            Err(refusal) => {
                let request_id = std::mem::take(&mut command.request_id);
                Verdict::Refused(Refused { refusal, request_id })
            }
        };
        let sent = match (&verdict, &command.action) {
            (Verdict::Posted { .. }, Action::Send(send)) if self.has(&send.to) => {
                Some(place.transfer(send))
            }
            (_, _) => None,
        };
        let index = batch.push(Item::new(command, verdict));
        if let Some(transfer) = sent {
            self.deliver(batch, &transfer);
        }
        Answer::Fresh(index)
    }

    /// Decides commands that stand or fall together. They are repeats together, too: whatever of
    /// them was used before was so in one record, with all the others.
    fn decide_together(
        &self,
        batch: &mut Batch,
        mut commands: Vec<(Command, Found)>,
        answers: &mut Vec<Answer>,
    ) {
        let first = |batch: &Batch, it: &(Command, Found)| it.1.0.or_else(|| batch.key(it.0.key));
        let used: Vec<_> = commands.iter().map(|it| first(batch, it)).collect();
        let mut keys: Vec<_> = commands.iter().map(|(command, _)| command.key).collect();
        keys.sort_unstable();
        let twice = keys.windows(2).any(|pair| pair[0] == pair[1]);
        if twice || used.iter().any(Option::is_some) {
            let same = |(used, (command, _)): (&Option<KeyEntry>, &(Command, _))| {
                used.is_some_and(|it| it.fingerprint == command.fingerprint)
            };
            let are_repeats = !twice && used.iter().zip(&commands).all(same);
            answers.extend(used.into_iter().map(|used| match used.filter(|_| are_repeats) {
                Some(KeyEntry { seq, index, .. }) => Answer::Repeat { seq, index },
                None => Answer::KeyReused,
            }));
            return;
        }
        let first = batch.place(self.service);
        batch.overlay.begin_group();
        let mut verdicts = Vec::with_capacity(commands.len());
        let mut refused = None;
        for (index, (command, (_, slot))) in (0_u16..).zip(&commands) {
            let slot = slot.expect(IN_MEMORY);
            let place = Place { index: first.index.saturating_add(index), ..first };
            match batch.overlay.execute(&self.books, slot, &command.action, place) {
                Ok(verdict) => verdicts.push(verdict),
                Err(refusal) => {
                    refused = Some((index, refusal));
                    break;
                }
            }
        }
        batch.overlay.end_group(refused.is_none());
        if let Some((first, refusal)) = refused {
            verdicts = (0_u16..)
                .zip(&mut commands)
                .map(|(index, (command, _))| {
                    let request_id = std::mem::take(&mut command.request_id);
                    Verdict::Refused(Refused { refusal: told(index, first, refusal), request_id })
                })
                .collect();
        }
        batch.begin_group(commands.len());
        for ((command, _), verdict) in commands.into_iter().zip(verdicts) {
            answers.push(Answer::Fresh(batch.push(Item::new(command, verdict))));
        }
    }

    pub(crate) fn check_header(&self, header: &Header) -> Result<(), ReplayError> {
        if header.partition != self.id {
            return Err(ReplayError::Partition(header.partition));
        }
        if header.seq != self.chain.seq.next() {
            let (expected, found) = (self.chain.seq.next(), header.seq);
            return Err(ReplayError::Seq { expected, found });
        }
        if header.previous != self.chain.hash {
            return Err(ReplayError::Previous);
        }
        if header.time < self.chain.time {
            return Err(ReplayError::Time);
        }
        if header.epoch < self.epoch_last || self.epoch < header.epoch {
            return Err(ReplayError::Epoch(header.epoch));
        }
        Ok(())
    }

    pub(crate) fn books(&mut self) -> &mut Books {
        &mut self.books
    }

    /// Cannot fail: everything that can was looked at.
    pub(crate) fn commit(&mut self, overlay: Overlay, header: &Header, hash: Hash) {
        let Header { seq, time, epoch, .. } = *header;
        overlay.merge(&mut self.books, seq);
        self.chain = Chain { seq, hash, time };
        self.epoch_last = epoch;
        assert!(self.epoch_last <= self.epoch);
    }

    fn learn_keys(&mut self, record: &Record) {
        let Header { seq, time, .. } = record.header;
        self.keys.insert(time, seq, key_entries(record));
        for item in record.items.iter().filter(|item| item.origin != KeyOrigin::Minted) {
            self.seen.add(item.key, time);
        }
        self.keys.forget(time, self.watermark);
    }
}

const IN_MEMORY: &str = "what a command names is in memory before it is staged";

/// What the item at `index` of a group is refused with whose item `first` was refused.
pub(crate) fn told(index: u16, first: u16, refusal: Refusal) -> Refusal {
    if index == first { refusal } else { Refusal::Batch { index: first, code: refusal.code() } }
}

fn key_entries(record: &Record) -> impl Iterator<Item = (KeyHash, KeyEntry)> + '_ {
    let seq = record.header.seq;
    (0_u16..).zip(&record.items).map(move |(index, item)| {
        (item.key, KeyEntry { fingerprint: item.fingerprint, seq, index })
    })
}

/// What memory knows of a command's key, and where its account is.
type Found = (Option<KeyEntry>, Option<u32>);
