//! A journal re-derived from nothing: what `tollgate verify` believes.
//!
//! The auditor executes every command again, by the same rules, on books of its own, and compares
//! what it decides with what the journal says. It reads no views and trusts no stored hash. Memory:
//! every account and object of one partition, and keys up to [`AUDIT_KEYS_MAX`] (two tables of 2^21 places of
//! 33 B, so 140 MB at most).

use crate::{
    object::Object,
    overlay::Overlay,
    partition::{self, Partition, ReplayError},
    record::{Chain, Hash, Item, Place, Record, Verdict},
};
use std::{collections::BTreeMap, fmt};
use stdx::Map;
use wire::{
    AccountState, Contra, Currency, Epoch, Flaw, KeyHash, PartitionId, Refusal, Seq, ServiceTag,
    Timestamp, limits,
    query::{Books, CurrencyBooks},
};

/// Keys that the auditor remembers. A key that comes twice within [`limits::KEY_HOURS_MIN`] hours
/// is found out if fewer than half as many others came between; later ones may go unseen.
pub const AUDIT_KEYS_MAX: usize = 7 << 19; // Two tables of 2^21 places, filled to seven eighths.

/// Re-derives one partition's books from its journal, record by record.
#[derive(Debug)]
pub struct Auditor {
    partition: Partition,
    keys: [Map<KeyHash, Timestamp>; 2],
}

/// A record is not what an honest ledger would have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub partition: PartitionId,
    /// The number under which the record is stored.
    pub seq: Seq,
    pub what: What,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The stored hash is not that of the bytes.
    Hash { stored: Hash, found: Hash },
    /// The bytes are no record.
    Flaw(Flaw),
    /// The bytes are not those that we write for what they mean.
    Form,
    /// It is stored under another number than its own.
    Number(Seq),
    /// It decides nothing.
    Empty,
    /// It does not continue the chain.
    Chain(ReplayError),
    /// The rules decide otherwise, or leave other figures.
    Verdict { index: usize, derived: Box<str>, journaled: Box<str> },
    /// The external accounts are left with other balances.
    External { derived: Box<str>, journaled: Box<str> },
    /// The key was decided before, at this time.
    KeyTwice { index: usize, before: Timestamp },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {}, record {}: {}", self.partition.0, self.seq.0, self.what)
    }
}

impl std::error::Error for Wrong {}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Hash { stored, found } => {
                write!(f, "the bytes hash to {found}, stored is {stored}")
            }
            What::Flaw(flaw) => write!(f, "no record: {flaw}"),
            What::Form => f.write_str("written in another form than ours"),
            What::Number(own) => write!(f, "it says that it is number {}", own.0),
            What::Empty => f.write_str("it decides nothing"),
            What::Chain(error) => write!(f, "{error}"),
            What::Verdict { index, derived, journaled } => {
                write!(f, "item {index}: the rules give {derived}, the journal has {journaled}")
            }
            What::External { derived, journaled } => {
                write!(
                    f,
                    "external balances: the items give {derived}, the journal has {journaled}"
                )
            }
            What::KeyTwice { index, before } => {
                write!(f, "item {index}: its key was decided before, at {before}")
            }
        }
    }
}

impl Auditor {
    /// An auditor before the first record of a partition.
    pub fn new(service: ServiceTag, partition: PartitionId) -> Auditor {
        let epoch = Epoch(u64::MAX); // Any may come, as long as none comes after a higher one.
        let partition = Partition::new(service, partition, epoch, Chain::EMPTY, Vec::new());
        Auditor { partition, keys: Default::default() }
    }

    /// Checks the next record and books it. `seq` and `hash` are what is stored beside its bytes.
    ///
    /// # Errors
    /// When it is not what an honest ledger would have written next. Then nothing is booked; what
    /// follows it cannot be checked.
    pub fn record(&mut self, seq: Seq, hash: Hash, bytes: &[u8]) -> Result<(), Wrong> {
        let partition = self.partition.id();
        self.check(seq, hash, bytes).map_err(|what| Wrong { partition, seq, what })
    }

    /// Every account, as the journal leaves it, in the order of their ids.
    pub fn accounts(&self) -> Vec<&AccountState> {
        let mut accounts: Vec<_> = self.partition.accounts().collect();
        accounts.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        accounts
    }

    /// Every object, as the journal leaves it, in the order of their names.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.partition.objects()
    }

    /// The balances of the contra accounts, in their order.
    pub fn external(&self) -> impl Iterator<Item = (Contra, i128)> + '_ {
        self.partition.external()
    }

    /// The end of the journal so far.
    pub fn chain(&self) -> Chain {
        self.partition.chain()
    }

    /// The trial balance: in each currency, debits and credits must be the same.
    pub fn books(&self) -> Books {
        let mut columns: BTreeMap<Currency, (i128, i128)> = BTreeMap::new();
        let accounts = self.partition.accounts().map(|it| (it.currency, i128::from(it.posted)));
        let contra = self.partition.external().map(|(contra, it)| (contra.currency, it));
        for (currency, balance) in accounts.chain(contra) {
            let (debits, credits) = columns.entry(currency).or_default();
            let column = if balance < 0 { debits } else { credits };
            let more = balance.checked_abs().and_then(|it| column.checked_add(it));
            *column = more.expect("fewer than 2^63 accounts of 2^63");
        }
        let currencies = columns.into_iter().map(|(currency, (debits, credits))| CurrencyBooks {
            currency,
            debits,
            credits,
        });
        let (partition, head) = (self.partition.id(), self.chain().seq);
        Books { partition, head, currencies: currencies.collect() }
    }

    fn check(&mut self, seq: Seq, stored: Hash, bytes: &[u8]) -> Result<(), What> {
        let found = Hash::of(bytes);
        if found != stored {
            return Err(What::Hash { stored, found });
        }
        let record = Record::decode(bytes).map_err(What::Flaw)?;
        let mut written = Vec::with_capacity(bytes.len());
        record.encode(&mut written);
        if written != bytes {
            return Err(What::Form);
        }
        if record.header.seq != seq {
            return Err(What::Number(record.header.seq));
        }
        if record.items.is_empty() {
            return Err(What::Empty);
        }
        self.partition.check_header(&record.header).map_err(What::Chain)?;
        self.check_keys(&record)?;
        let overlay = self.execute(&record)?;
        self.remember_keys(&record);
        self.partition.commit(overlay, &record.header, found);
        Ok(())
    }

    fn execute(&mut self, record: &Record) -> Result<Overlay, What> {
        let service = self.partition.service();
        let books = self.partition.books();
        let mut overlay = Overlay::with_capacity(record.items.len());
        let mut execute = |overlay: &mut Overlay, at: usize, item: &Item| {
            let index = u16::try_from(at).expect("a record has fewer items");
            let place = Place::new(service, &record.header, index);
            // An account that no record has opened is absent: there are no views to ask.
            let slot = books.accounts.find_or_absent(item.action.account());
            overlay.execute(books, slot, &item.action, place)
        };
        let mut groups = record.groups.iter();
        let mut group = groups.next().map(|it| it.places());
        let mut at = 0;
        while let Some(item) = record.items.get(at) {
            let places = group.take_if(|places| places.start == at);
            let Some(places) = places else {
                compare(at, &execute(&mut overlay, at, item), &item.verdict)?;
                at = at.saturating_add(1);
                continue;
            };
            group = groups.next().map(|it| it.places());
            at = places.end;
            overlay.begin_group();
            let items = record.items.get(places.clone()).unwrap_or_default();
            let mut ats = places.clone();
            let derived = together(items, |item| {
                let at = ats.next().expect("there is a place for each item");
                execute(&mut overlay, at, item)
            });
            overlay.end_group(derived.iter().all(Result::is_ok));
            for (index, (derived, item)) in places.zip(derived.iter().zip(items)) {
                compare(index, derived, &item.verdict)?;
            }
        }
        if overlay.external() != record.external {
            let (derived, journaled) = (text(&overlay.external()), text(&record.external));
            return Err(What::External { derived, journaled });
        }
        overlay.check_sums(books);
        Ok(overlay)
    }

    fn check_keys(&self, record: &Record) -> Result<(), What> {
        let time = record.header.time;
        let mut own: BTreeMap<KeyHash, ()> = BTreeMap::new();
        for (index, item) in record.items.iter().enumerate() {
            let known = self.keys.iter().find_map(|keys| keys.get(&item.key)).copied();
            let known = known.filter(|before| time.0.saturating_sub(before.0) < KEEP_MICROS);
            let twice = own.insert(item.key, ()).map(|()| time);
            if let Some(before) = known.or(twice) {
                return Err(What::KeyTwice { index, before });
            }
        }
        Ok(())
    }

    fn remember_keys(&mut self, record: &Record) {
        let time = record.header.time;
        let [recent, older] = &mut self.keys;
        if AUDIT_KEYS_MAX / 2 < recent.len().saturating_add(record.items.len()) {
            std::mem::swap(recent, older);
            recent.clear();
        }
        recent.extend(record.items.iter().map(|item| (item.key, time)));
    }
}

/// How long no key is decided twice, in microseconds.
const KEEP_MICROS: i64 = limits::KEY_HOURS_MIN as i64 * 3_600 * 1_000_000;

/// What the rules give for a group: all verdicts, or a refusal for each.
fn together(
    items: &[Item],
    execute: impl FnMut(&Item) -> Result<Verdict, Refusal>,
) -> Vec<Result<Verdict, Refusal>> {
    let decided: Result<Vec<_>, _> = items
        .iter()
        .map(execute)
        .zip(0_u16..)
        .map(|(verdict, index)| verdict.map_err(|refusal| (index, refusal)))
        .collect();
    match decided {
        Ok(verdicts) => verdicts.into_iter().map(Ok).collect(),
        Err((first, refusal)) => {
            let places = (0_u16..).zip(items);
            places.map(|(index, _)| Err(partition::told(index, first, refusal))).collect()
        }
    }
}

fn compare(
    index: usize,
    derived: &Result<Verdict, Refusal>,
    journaled: &Verdict,
) -> Result<(), What> {
    let same = match (derived, journaled) {
        (Err(derived), Verdict::Refused(journaled)) => *derived == journaled.refusal,
        (Ok(derived), journaled) => derived == journaled,
        (Err(_), _) => false,
    };
    if same {
        return Ok(());
    }
    let derived = match derived {
        Ok(verdict) => text(verdict),
        Err(refusal) => text(refusal),
    };
    Err(What::Verdict { index, derived, journaled: text(journaled) })
}

fn text(value: &impl fmt::Debug) -> Box<str> {
    format!("{value:?}").into()
}
