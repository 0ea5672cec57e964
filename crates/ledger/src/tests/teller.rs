//! A partition as its owner runs it, with a journal that is a list.

use crate::{Answer, Auditor, Chain, Hash, Known, Object, ObjectKey, Partition, Record, Staged};
use std::{collections::BTreeMap, ops::Range, sync::Arc};
use wire::{
    AccountId, AccountState, Action, Amount, Command, Contra, Currency, Delivery, Done, Epoch,
    Fingerprint, KeyHash, Kind, Outcome, PartitionId, Refusal, Seq, ServiceTag, Status, Timestamp,
    command::{KeyOrigin, Post, Update},
};

pub(super) const PARTITION: PartitionId = PartitionId(3);

/// One journaled record as the engine stores it, and what is read from its bytes.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub seq: Seq,
    pub hash: Hash,
    pub bytes: Vec<u8>,
    pub record: Arc<Record>,
}

#[derive(Clone, Debug)]
pub(super) struct Teller {
    pub partition: Partition,
    pub journal: Vec<Row>,
}

pub(super) fn tag() -> ServiceTag {
    ServiceTag::of("a")
}

pub(super) fn empty(epoch: u64) -> Partition {
    Partition::new(tag(), PARTITION, Epoch(epoch), Chain::EMPTY, Vec::new())
}

impl Teller {
    pub(super) fn new() -> Teller {
        Teller { partition: empty(1), journal: Vec::new() }
    }

    /// Stages a batch: accounts that nobody opened are absent.
    pub(super) fn stage(&mut self, now: i64, commands: Vec<Command>) -> Staged {
        self.stage_with(now, commands, &[])
    }

    /// As [`Teller::stage`], with commands at these places that stand or fall together.
    pub(super) fn stage_with(
        &mut self,
        now: i64,
        commands: Vec<Command>,
        groups: &[Range<usize>],
    ) -> Staged {
        for command in &commands {
            let id = command.action.account();
            if self.partition.account(id) == Known::Unknown {
                self.partition.admit(id.clone(), None).unwrap();
            }
            if let Action::Send(send) = &command.action
                && self.partition.has(&send.to)
            {
                self.partition.admit(send.to.account.clone(), None).unwrap();
            }
            if let Some(key) = ObjectKey::wanted_by(&command.action) {
                self.partition.admit_object(key, None).unwrap();
            }
        }
        assert!(commands.len() <= self.partition.room(Timestamp(now)));
        self.partition.stage_with(Timestamp(now), commands, groups)
    }

    /// Journals a batch and takes it in.
    pub(super) fn commit(&mut self, staged: Staged) -> Vec<Answer> {
        if let Some(staged_record) = &staged.record {
            let (hash, bytes) = (staged.hash, staged.bytes.clone());
            let record = Arc::new(Record::decode(&bytes).unwrap());
            assert_eq!(record, *staged_record);
            assert_eq!(Hash::of(&bytes), hash);
            self.journal.push(Row { seq: record.header.seq, hash, bytes, record });
        }
        let answers = staged.answers.clone();
        self.partition.merge(staged);
        self.check_sums();
        answers
    }

    pub(super) fn run(&mut self, now: i64, commands: Vec<Command>) -> Vec<Answer> {
        let staged = self.stage(now, commands);
        self.commit(staged)
    }

    /// What the caller is told, from the journal's bytes as a repeat would have it.
    pub(super) fn outcome(&self, answer: Answer) -> Option<Outcome> {
        let (seq, index) = match answer {
            Answer::Fresh(index) => (self.journal.last().unwrap().seq, index),
            Answer::Repeat { seq, index } => (seq, index),
            Answer::KeyReused => return None,
        };
        let row = self.journal.iter().find(|row| row.seq == seq).unwrap();
        Some(row.record.outcome(tag(), index).unwrap())
    }

    /// Accounts and external balances sum to zero in every currency.
    fn check_sums(&self) {
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        for (contra, balance) in self.partition.external() {
            *sums.entry(contra.currency).or_default() += balance;
        }
        for account in self.partition.accounts() {
            *sums.entry(account.currency).or_default() += i128::from(account.posted);
        }
        assert!(sums.values().all(|&sum| sum == 0), "{sums:?}");
    }
}

/// All that a partition's memory holds, in an order: two memories are the same when these are.
pub(super) type Memory = (Chain, Vec<AccountState>, Vec<Object>, Vec<(Contra, i128)>);

pub(super) fn memory(partition: &Partition) -> Memory {
    let mut accounts: Vec<_> = partition.accounts().cloned().collect();
    accounts.sort_by(|a, b| a.id.cmp(&b.id));
    let objects = partition.objects().cloned().collect();
    (partition.chain(), accounts, objects, partition.external().collect())
}

/// A new owner that has nothing but the journal.
pub(super) fn replayed(journal: &[Row], epoch: u64) -> Partition {
    let mut partition = empty(epoch);
    for row in journal {
        for item in &row.record.items {
            partition.admit(item.action.account().clone(), None).unwrap();
            if let Some(key) = ObjectKey::wanted_by(&item.action) {
                partition.admit_object(key, None).unwrap();
            }
        }
        partition.replay(&row.record, row.hash).unwrap();
    }
    partition
}

pub(super) fn audited(journal: &[Row]) -> Result<Auditor, crate::Wrong> {
    let mut auditor = Auditor::new(tag(), PARTITION);
    for row in journal {
        auditor.record(row.seq, row.hash, &row.bytes)?;
    }
    Ok(auditor)
}

pub(super) fn account(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

pub(super) fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

pub(super) fn command(key: u128, action: Action) -> Command {
    // The fingerprint of a request is that of what it asks for.
    let fingerprint = Fingerprint::new("POST", "/", format!("{action:?}").as_bytes());
    let (key, origin, minted_at) = (KeyHash(key), KeyOrigin::Client, Timestamp(0));
    Command {
        key,
        origin,
        minted_at,
        fingerprint,
        request_id: format!("req_{}", key.0).into(),
        action,
    }
}

pub(super) fn open(id: &str, currency: &str, overdraft_limit: i64) -> Action {
    Action::Open {
        account: account(id),
        currency: Currency::parse(currency).unwrap(),
        overdraft_limit,
        metadata: "{}".into(),
    }
}

pub(super) fn post(id: &str, kind: Kind, amount: i64, currency: &str) -> Action {
    Action::Post(Post {
        account: account(id),
        kind,
        amount: Amount::new(amount).unwrap(),
        currency: Currency::parse(currency).unwrap(),
        reference: None,
        metadata: "{}".into(),
    })
}

pub(super) fn update(id: &str, status: Option<Status>, limit: Option<i64>) -> Action {
    let account = account(id);
    Action::Update(Update { account, status, overdraft_limit: limit, metadata: None })
}

/// An outcome as a statement of account shows it.
pub(super) fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(Done::Opened(state) | Done::Updated(state)) => format!("v{}", state.version),
        Outcome::Done(Done::Posted(posting)) if posting.available_after == posting.posted_after => {
            format!("{} v{}", posting.posted_after, posting.version)
        }
        Outcome::Done(Done::Posted(posting)) => format!(
            "{} available {} v{}",
            posting.posted_after, posting.available_after, posting.version
        ),
        Outcome::Done(Done::Held(hold) | Done::HoldEnded(hold)) => match hold.captured {
            0 => format!("{} {}", hold.amount.minor(), hold.status.text()),
            captured => format!("{captured} of {} {}", hold.amount.minor(), hold.status.text()),
        },
        Outcome::Done(Done::Transferred(transfer)) => match transfer.end {
            Some((Delivery::Refused(code), _)) => {
                format!("{} {}", transfer.status(), code.text())
            }
            Some((Delivery::Credited(_), _)) | None => transfer.status().to_owned(),
        },
        Outcome::Done(Done::Delivered(Delivery::Credited(_))) => "credited".to_owned(),
        Outcome::Done(Done::Delivered(Delivery::Refused(code))) => code.text().to_owned(),
        Outcome::Refused(refused) => {
            let code = refused.refusal.code().text();
            #[expect(clippy::wildcard_enum_match_arm, reason = "the rest have no figures")]
            match refused.refusal {
                Refusal::AccountNotEmpty { posted, held } => {
                    format!("{code} posted {posted} held {held}")
                }
                Refusal::CurrencyMismatch { account, asked } => format!("{code} {account} {asked}"),
                Refusal::InsufficientFunds { available, asked, .. } => {
                    format!("{code} available {available} asked {asked}")
                }
                Refusal::HoldNotActive { status } => format!("{code} {}", status.text()),
                _ => code.to_owned(),
            }
        }
    }
}
