//! An engine to test, and somebody who writes honest journals into it.

use engine::{
    Claim, Committer, Engine, EngineError, Fate, Place, Projector, Settings, Tenure, Write,
    sqlite::Sqlite,
};
use ledger::{Chain, Hash, Known, Object, ObjectKey, Partition, Record};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use stdx::Rng;
use wire::{
    AccountId, Action, Amount, Command, Currency, Epoch, Fingerprint, KeyHash, Kind, PartitionId,
    Posting, ServiceTag, Status, Timestamp,
    command::{KeyOrigin, Post, Update},
};

pub(crate) const SERVICE: &str = "a";
pub(crate) const P0: PartitionId = PartitionId(0);
pub(crate) const P1: PartitionId = PartitionId(1);
/// 2026-11-22, noon.
pub(crate) const NOON: Timestamp = Timestamp(1_795_348_800_000_000);
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// An engine that can be opened again and again, by nodes of any name.
pub(crate) trait Rig {
    fn open(&self, node: &str) -> Result<Box<dyn Engine>, EngineError>;
}

/// SQLite in a folder of its own, removed with it.
pub(crate) struct SqliteRig {
    pub(crate) folder: PathBuf,
    pub(crate) partitions: u16,
}

static COUNTER: AtomicU64 = AtomicU64::new(1);

/// A number that no other call of this process gets.
pub(crate) fn fresh() -> u64 {
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

impl SqliteRig {
    pub(crate) fn new() -> SqliteRig {
        let name = format!("tollgate-engine-{}-{}", std::process::id(), fresh());
        SqliteRig::at(&std::env::temp_dir().join(name))
    }

    pub(crate) fn at(folder: &Path) -> SqliteRig {
        SqliteRig { folder: folder.to_path_buf(), partitions: 4 }
    }

    pub(crate) fn settings(&self, node: &str) -> Settings {
        // Distinct in their upper bits too: the lowest is not used.
        let random = Rng::new(fresh() + (u64::from(std::process::id()) << 32)).next();
        Settings {
            service: SERVICE.to_string(),
            partitions: self.partitions,
            place: Place::ALONE,
            node: node.to_string(),
            trunk: ([127, 0, 0, 1], 7301).into(),
            node_id: random,
            incarnation: u128::from(random),
        }
    }

    pub(crate) fn journal(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.join("journal.db")).unwrap()
    }

    pub(crate) fn views(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.join("views.db")).unwrap()
    }
}

impl Rig for SqliteRig {
    fn open(&self, node: &str) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(Sqlite::open(&self.folder, &self.settings(node))?))
    }
}

impl Drop for SqliteRig {
    fn drop(&mut self) {
        // What is left over in the folder for temporary files does no harm.
        fs::remove_dir_all(&self.folder).unwrap_or(());
    }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(crate) fn id(text: &str) -> AccountId {
    AccountId::parse(text).unwrap()
}

pub(crate) fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

pub(crate) fn key(number: u64) -> KeyHash {
    // Spread over the range, as hashes are.
    let mut rng = Rng::new(number);
    KeyHash((u128::from(rng.next()) << 64) | u128::from(rng.next()))
}

pub(crate) fn command(origin: KeyOrigin, number: u64, action: Action) -> Command {
    let (key, fingerprint, minted_at) = (key(number), Fingerprint(number), Timestamp(0));
    let request_id = format!("req_{number}").into();
    Command { key, origin, minted_at, fingerprint, request_id, action }
}

pub(crate) fn open(account: &str) -> Action {
    Action::Open {
        account: id(account),
        currency: eur(),
        overdraft_limit: 0,
        metadata: "{}".into(),
    }
}

pub(crate) fn post(account: &str, kind: Kind, amount: i64) -> Action {
    Action::Post(Post {
        account: id(account),
        kind,
        amount: Amount::new(amount).unwrap(),
        currency: eur(),
        reference: None,
        metadata: "{}".into(),
    })
}

/// The owner of one partition, without a node around it.
pub(crate) struct Teller {
    pub(crate) partition: Partition,
    pub(crate) now: Timestamp,
    pub(crate) records: Vec<(Arc<Record>, Hash)>,
    pub(crate) postings: Vec<Posting>,
    numbers: u64,
}

impl Teller {
    /// Begins a journal.
    pub(crate) fn new(tenure: Tenure) -> Teller {
        Teller::of(tenure.partition, tenure.epoch, tenure.chain)
    }

    pub(crate) fn of(partition: PartitionId, epoch: Epoch, chain: Chain) -> Teller {
        let service = ServiceTag::of(SERVICE);
        Teller {
            partition: Partition::new(service, partition, epoch, chain, Vec::new()),
            now: NOON,
            records: Vec::new(),
            postings: Vec::new(),
            numbers: u64::from(partition.0) << 32,
        }
    }

    /// Commands under keys that we minted.
    pub(crate) fn minted(&mut self, actions: Vec<Action>) -> Write {
        let commands = actions
            .into_iter()
            .map(|action| {
                self.numbers += 1;
                command(KeyOrigin::Minted, self.numbers, action)
            })
            .collect();
        self.decide(commands)
    }

    /// Decides a batch, a millisecond after the one before, as if it were committed.
    pub(crate) fn decide(&mut self, commands: Vec<Command>) -> Write {
        self.now.0 += 1_000;
        for command in &commands {
            self.partition.admit(command.action.account().clone(), None).unwrap();
            if let Some(key) = ObjectKey::wanted_by(&command.action) {
                self.partition.admit_object(key, None).unwrap();
            }
        }
        let _room = self.partition.room(self.now);
        let staged = self.partition.stage(self.now, commands);
        let record = staged.record.clone().expect("something is decided");
        let write =
            Write { header: record.header, hash: staged.hash, record: staged.bytes.clone() };
        self.partition.merge(staged);
        for index in 0..u16::try_from(record.items.len()).unwrap() {
            self.postings.extend(record.posting(ServiceTag::of(SERVICE), index));
        }
        self.records.push((record, write.hash));
        self.partition.projected(write.header.seq);
        write
    }

    /// A batch of whatever comes: openings, debits, credits, changes, holds, reversals, transfers;
    /// some of it refused.
    pub(crate) fn whatever(&mut self, rng: &mut Rng, accounts_count: usize) -> Write {
        let count = 1 + rng.below(6);
        let mut commands = Vec::new();
        for _ in 0..count {
            let account = format!("acc-{}", rng.below(accounts_count));
            let amount = 1 + i64::try_from(rng.below(1_000)).unwrap();
            let action = match rng.below(20) {
                12.. => self.of_objects(rng, &account, amount),
                0 | 1 => open(&account),
                2 => Action::Update(Update {
                    account: id(&account),
                    status: Some([Status::Open, Status::Frozen][rng.below(2)]),
                    overdraft_limit: Some(i64::try_from(rng.below(500)).unwrap()),
                    metadata: Some(format!(r#"{{"n":{amount}}}"#).into()),
                }),
                3..7 => post(&account, Kind::Debit, amount),
                _ => post(&account, Kind::Credit, amount),
            };
            self.numbers += 1;
            let origin = [KeyOrigin::Minted, KeyOrigin::Client][rng.below(2)];
            commands.push(command(origin, self.numbers, action));
        }
        self.decide(commands)
    }

    /// Postings of one account, newest first.
    pub(crate) fn history(&self, account: &str) -> Vec<Posting> {
        let its = self.postings.iter().rev().filter(|it| it.account.as_str() == account);
        let reversed_by = |it: &Posting| match self.partition.object(ObjectKey::reversal(it.id)) {
            Known::Present(Object::Reversal { by, .. }) => Some(*by),
            Known::Present(_) | Known::Absent | Known::Unknown => None,
        };
        its.map(|it| Posting { reversed_by: reversed_by(it), ..it.clone() }).collect()
    }

    /// The records from this place on.
    pub(crate) fn from(&self, start: usize) -> &[(Arc<Record>, Hash)] {
        &self.records[start..]
    }
}

/// Takes what can be had of these.
pub(crate) fn take(engine: &dyn Engine, partitions: &[PartitionId]) -> Vec<Tenure> {
    let mut registry = engine.registry().unwrap();
    let holdings = registry.survey().unwrap().holdings;
    let claim = |partition: &PartitionId| {
        let seen = holdings.iter().find(|it| it.partition == *partition).unwrap().epoch;
        Claim { partition: *partition, seen }
    };
    let claims: Vec<Claim> = partitions.iter().map(claim).collect();
    registry.take(&claims).unwrap()
}

#[track_caller]
pub(crate) fn commit(committer: &mut dyn Committer, writes: &[Write]) {
    let fates = committer.commit(writes).unwrap();
    assert!(fates.iter().all(|fate| *fate == Fate::Committed), "{fates:?}");
}

/// A node with tellers for partitions 0 and 1.
pub(crate) struct Branch {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) committer: Box<dyn Committer>,
    pub(crate) projector: Box<dyn Projector>,
    pub(crate) tellers: [Teller; 2],
}

impl Branch {
    pub(crate) fn new(rig: &dyn Rig) -> Branch {
        let engine = rig.open("a-1").unwrap();
        let tenures = take(&*engine, &[P0, P1]);
        let tellers = [Teller::new(tenures[0]), Teller::new(tenures[1])];
        let (committer, projector) = (engine.committer().unwrap(), engine.projector().unwrap());
        Branch { engine, committer, projector, tellers }
    }

    /// Actions in partition 0, committed.
    pub(crate) fn act(&mut self, actions: Vec<Action>) {
        let write = self.tellers[0].minted(actions);
        commit(&mut *self.committer, &[write]);
    }

    /// Commands in partition 0, committed.
    pub(crate) fn command(&mut self, commands: Vec<Command>) {
        let write = self.tellers[0].decide(commands);
        commit(&mut *self.committer, &[write]);
    }

    /// Whatever comes in both partitions, committed.
    pub(crate) fn whatever(&mut self, rng: &mut Rng, rounds: usize) {
        for _ in 0..rounds {
            let writes: Vec<Write> =
                self.tellers.iter_mut().map(|it| it.whatever(rng, 12)).collect();
            commit(&mut *self.committer, &writes);
        }
    }

    /// Projects everything that is not in the views yet.
    pub(crate) fn project(&mut self) {
        let mut records = Vec::new();
        for teller in &self.tellers {
            let mark = self.projector.watermark(teller.partition.id()).unwrap();
            records.extend_from_slice(teller.from(usize::try_from(mark.seq.0).unwrap()));
        }
        self.projector.project(&records).unwrap();
    }
}
