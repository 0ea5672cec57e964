//! An executor and a store in memory: the test says when a commit ends, a look-up comes back, the
//! projector catches up.

use account::{
    executor::{Ending, Executor, PATIENCE},
    gathering::Asker,
    lookup::{Found, KeyLookup, Lookups, Stored},
    scan::Part,
};
use engine::{KeyMark, KeyScan, Write};
use ledger::{Chain, Hash, Header, Left, Object, ObjectKey, Partition, Record, Verdict};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use stdx::Moment;
use wire::{
    AccountId, AccountState, Action, Amount, Batch, Call, Caller, Command, Contra, Currency, Done,
    Epoch, Fingerprint, KeyHash, Kind, Outcome, PartitionId, Reply, Seq, ServiceTag, Timestamp,
    call::Failure,
    command::{KeyOrigin, Post},
    query::{Filter, History, Query},
};

pub(crate) const PARTITIONS: u16 = 2;

pub(crate) struct World {
    pub(crate) executor: Executor<u32>,
    pub(crate) now: Moment,
    /// The batch in the engine's hands.
    committing: Vec<Write>,
    /// Look-ups under way, and what they saw when they were made.
    looking_up: Option<(Lookups<()>, Vec<Asker<u32>>, Found)>,
    journal: BTreeMap<(PartitionId, Seq), Record>,
    unprojected: Vec<Arc<Record>>,
    accounts: BTreeMap<AccountId, AccountState>,
    objects: BTreeMap<(PartitionId, ObjectKey), Object>,
    external: BTreeMap<(PartitionId, Contra), i128>,
    keys: BTreeMap<KeyHash, (PartitionId, Seq, u16)>,
    /// Every answer given, by caller.
    pub(crate) answers: BTreeMap<u32, Reply>,
}

impl World {
    pub(crate) fn new(accounts_max: usize) -> World {
        World::beginning(accounts_max, Chain::EMPTY)
    }

    /// A world that begins after this record, of which nothing is left but its number.
    pub(crate) fn beginning(accounts_max: usize, chain: Chain) -> World {
        let service = service();
        let mut executor = Executor::new(service, PARTITIONS, accounts_max);
        for id in (0..PARTITIONS).map(PartitionId) {
            executor.own(Partition::new(service, id, Epoch(1), chain, Vec::new()), 0);
        }
        World {
            executor,
            now: Moment::ZERO,
            committing: Vec::new(),
            looking_up: None,
            journal: BTreeMap::new(),
            unprojected: Vec::new(),
            accounts: BTreeMap::new(),
            objects: BTreeMap::new(),
            external: BTreeMap::new(),
            keys: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    /// A command arrives; nothing is done about it yet.
    pub(crate) fn arrive(&mut self, caller: u32, command: Command) {
        let partition = command.action.account().partition(PARTITIONS);
        self.call(caller, partition, Call::Execute(command));
    }

    /// Commands arrive in one call, all about accounts of one partition.
    pub(crate) fn arrive_batch(&mut self, caller: u32, atomic: bool, commands: Vec<Command>) {
        let partition = commands[0].action.account().partition(PARTITIONS);
        self.call(caller, partition, Call::Batch(Batch { atomic, commands }));
    }

    pub(crate) fn read(&mut self, caller: u32, account: &str) {
        let id = AccountId::parse(account).unwrap();
        let partition = id.partition(PARTITIONS);
        self.call(caller, partition, Call::Query(Query::Account(id)));
    }

    pub(crate) fn history(&mut self, caller: u32, account: &str) {
        let account = AccountId::parse(account).unwrap();
        let partition = account.partition(PARTITIONS);
        let all = History { account, filter: Filter::default(), before: None, limit: 50 };
        self.call(caller, partition, Call::Query(Query::Transactions(all)));
    }

    pub(crate) fn call(&mut self, caller: u32, partition: PartitionId, call: Call) {
        let time_left = Duration::from_secs(10);
        self.executor.arrive(caller, self.now, time_left, (partition, PARTITIONS), call);
        self.collect();
    }

    /// Makes the look-ups that are wanted, if none is under way. What they see is as of now: much
    /// may happen before they come back.
    pub(crate) fn ask(&mut self) {
        if self.looking_up.is_none()
            && let Some((wanted, callers)) = self.executor.take_lookups()
        {
            let found = self.look_up(&wanted);
            self.looking_up = Some((wanted, callers, found));
        }
    }

    /// The look-ups come back.
    pub(crate) fn find(&mut self) {
        let Some((wanted, callers, found)) = self.looking_up.take() else { return };
        self.executor.found(wanted, callers, found).unwrap();
        self.collect();
    }

    fn look_up(&self, wanted: &Lookups<()>) -> Found {
        let place = |(partition, seq, index): (PartitionId, Seq, u16)| {
            let record = &self.journal[&(partition, seq)];
            let outcome = record.outcome(service(), index).unwrap();
            Stored { fingerprint: record.items[usize::from(index)].fingerprint, outcome }
        };
        Found {
            accounts: wanted
                .accounts
                .iter()
                .map(|(_, id)| self.accounts.get(id).cloned())
                .collect(),
            keys: wanted.keys.iter().map(|it| self.key(it).map(place)).collect(),
            records: wanted
                .records
                .iter()
                .map(|it| Some(place((it.partition, it.seq, it.index)).outcome))
                .collect(),
            objects: wanted.objects.iter().map(|key| self.objects.get(key).cloned()).collect(),
            originals: wanted
                .originals
                .iter()
                .map(|id| {
                    let record = self.journal.get(&(id.partition(), id.seq()))?;
                    record.posting(service(), id.index()).filter(|it| it.id == *id)
                })
                .collect(),
        }
    }

    /// Where a key was used: in the index, or around the time at which it was minted.
    fn key(&self, wanted: &KeyLookup) -> Option<(PartitionId, Seq, u16)> {
        let near = |at| {
            let (from, to) = engine::mint_window(at);
            let records = self.journal.iter().filter(|((partition, _), record)| {
                *partition == wanted.partition && (from..=to).contains(&record.header.time)
            });
            records.into_iter().find_map(|(&(partition, seq), record)| {
                let mut items = (0_u16..).zip(&record.items);
                let (index, _) = items.find(|(_, item)| item.key == wanted.key)?;
                Some((partition, seq, index))
            })
        };
        self.keys.get(&wanted.key).copied().or_else(|| match wanted.origin {
            KeyOrigin::Returned(at) => near(at),
            KeyOrigin::Client | KeyOrigin::Minted => None,
        })
    }

    /// The wall clock of the account node.
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp(i64::try_from(self.now.as_nanos() / 1_000).unwrap())
    }

    /// Stages a batch, if none is in the engine's hands.
    pub(crate) fn stage(&mut self) {
        if self.committing.is_empty() {
            self.committing = self.executor.stage(self.now, self.wall());
            self.collect();
        }
    }

    /// The batch ends this way, every partition of it.
    pub(crate) fn end(&mut self, ending: Ending) {
        let writes = std::mem::take(&mut self.committing);
        if writes.is_empty() {
            return;
        }
        if ending == Ending::Committed {
            for write in &writes {
                assert_eq!(Hash::of(&write.record), write.hash);
                let record = Record::decode(&write.record).unwrap();
                self.journal.insert((write.header.partition, write.header.seq), record);
            }
        }
        let projectable = self.executor.ended(&vec![ending; writes.len()]);
        self.unprojected.extend(projectable.into_iter().map(|(record, _)| record));
        self.collect();
    }

    /// The projector catches up, and memory forgets what it may.
    pub(crate) fn project(&mut self) {
        let records = std::mem::take(&mut self.unprojected);
        let mut commands = 0;
        for record in &records {
            commands += record.items.len();
            self.project_record(record);
        }
        let marks: Vec<_> = records.iter().map(|it| (it.header.partition, it.header.seq)).collect();
        self.executor.projected(&marks, commands);
    }

    fn project_record(&mut self, record: &Record) {
        for (contra, balance) in &record.external {
            self.external.insert((record.header.partition, *contra), *balance);
        }
        for (index, item) in (0_u16..).zip(&record.items) {
            if item.origin != KeyOrigin::Minted {
                let place = (record.header.partition, record.header.seq, index);
                assert_eq!(self.keys.insert(item.key, place), None, "a key was journaled twice");
            }
            if let Some(object) = record.object(service(), index) {
                self.objects.insert((record.header.partition, object.key()), object);
            }
            let account = self.accounts.get_mut(item.action.account());
            match (record.outcome(service(), index), &item.verdict) {
                (Some(Outcome::Done(Done::Opened(state) | Done::Updated(state))), _) => {
                    self.accounts.insert(state.id.clone(), state);
                }
                (_, Verdict::Posted { posted_after, version, .. }) => {
                    let account = account.unwrap();
                    (account.posted, account.version) = (*posted_after, *version);
                    account.updated_at = record.header.time;
                }
                (
                    _,
                    Verdict::Held(left)
                    | Verdict::HoldEnded { left, .. }
                    | Verdict::Settled { left: Some(left), .. },
                ) => {
                    let (account, Left { posted, held, version, .. }) = (account.unwrap(), *left);
                    (account.posted, account.held, account.version) = (posted, held, version);
                    account.updated_at = record.header.time;
                }
                (_, _) => (),
            }
        }
    }

    /// Brings the next keys of the views, if any are wanted.
    pub(crate) fn scan(&mut self, count: usize) -> bool {
        let Some(Part { partitions, from }) = self.executor.take_scan() else { return false };
        let wanted = |place: &PartitionId| partitions.contains(place);
        let rest = self.keys.iter().filter(|(_, place)| wanted(&place.0));
        let rest = rest.filter(|(key, _)| from.is_none_or(|it| it.key < **key));
        let part = rest.take(count).map(|(key, place)| (place.0, *key, Timestamp(0)));
        let keys: Vec<_> = part.collect();
        let last = keys.last().filter(|_| keys.len() == count);
        let next = last.map(|(_, key, _)| KeyMark { day: 0, partition: PartitionId(0), key: *key });
        self.executor.scanned(KeyScan { keys, next });
        true
    }

    /// Runs until nothing waits any more.
    pub(crate) fn settle(&mut self) {
        while 0 < self.executor.waiting_count() {
            self.ask();
            self.find();
            self.stage();
            self.end(Ending::Committed);
        }
    }

    /// Runs until no command waits any more; reads may.
    pub(crate) fn settle_commands(&mut self) {
        for _ in 0..4 {
            self.ask();
            self.find();
            self.stage();
            self.end(Ending::Committed);
        }
    }

    /// Makes look-ups until everything that waits for one is ready.
    pub(crate) fn settle_look_ups(&mut self) {
        for _ in 0..3 {
            self.ask();
            self.find();
        }
    }

    /// The node dies, and its successor's clock is an hour behind. Nothing waits, and the views
    /// have nothing yet.
    pub(crate) fn restart_an_hour_earlier(&mut self) {
        self.now = Moment::from_nanos(self.now.as_nanos() - 3_600_000_000_000);
        self.executor = Executor::new(service(), PARTITIONS, 1_000);
        for id in (0..PARTITIONS).map(PartitionId) {
            let mut partition = Partition::new(service(), id, Epoch(2), Chain::EMPTY, Vec::new());
            for ((_, _), record) in self.journal.iter().filter(|((it, _), _)| *it == id) {
                for item in &record.items {
                    partition.admit(item.action.account().clone(), None).unwrap();
                    if let Some(key) = ObjectKey::wanted_by(&item.action) {
                        partition.admit_object(key, None).unwrap();
                    }
                }
                let mut bytes = Vec::new();
                record.encode(&mut bytes);
                partition.replay(record, Hash::of(&bytes)).unwrap();
            }
            self.executor.own(partition, 0);
        }
    }

    /// Gets what another owner has left of the partitions that are not owned here: its journal, its
    /// views, and the office from this epoch on.
    pub(crate) fn adopt(&mut self, other: &World, epoch: Epoch) {
        let owned: Vec<PartitionId> = self.executor.owned().iter().map(|it| it.0).collect();
        self.accounts.extend(other.accounts.clone());
        self.keys.extend(other.keys.clone());
        self.objects.extend(other.objects.clone());
        self.external.extend(other.external.clone());
        for (place, record) in &other.journal {
            self.journal.insert(*place, record.clone());
        }
        for id in (0..PARTITIONS).map(PartitionId).filter(|id| !owned.contains(id)) {
            self.take_office(id, epoch);
        }
    }

    /// The node dies, and its successor is in its place. Nothing waits, and the views have all.
    pub(crate) fn take_over(&mut self) {
        self.executor = Executor::new(service(), PARTITIONS, 1_000);
        (0..PARTITIONS).for_each(|id| self.take_office(PartitionId(id), Epoch(2)));
    }

    fn take_office(&mut self, id: PartitionId, epoch: Epoch) {
        let last = self.journal.iter().rfind(|((of, _), _)| *of == id);
        let chain = last.map_or(Chain::EMPTY, |(_, record)| {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            let Header { seq, time, .. } = record.header;
            Chain { seq, hash: Hash::of(&bytes), time }
        });
        let its = self.external.iter().filter(|((of, _), _)| *of == id);
        let external = its.map(|((_, contra), balance)| (*contra, *balance)).collect();
        let mut partition = Partition::new(service(), id, epoch, chain, external);
        let open = self.objects.iter().filter(|((of, _), object)| *of == id && object.is_open());
        for ((_, key), object) in open {
            partition.admit_object(*key, Some(object.clone())).unwrap();
        }
        self.executor.own(partition, 0);
    }

    /// What the views have of a partition, in order.
    pub(crate) fn projected_accounts(
        &self,
        id: PartitionId,
    ) -> impl Iterator<Item = &AccountState> {
        self.accounts.values().filter(move |it| it.id.partition(PARTITIONS) == id)
    }

    /// The same of its objects.
    pub(crate) fn projected_objects(&self, id: PartitionId) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |((of, _), _)| *of == id).map(|(_, object)| object)
    }

    /// Every record of the journal, in order.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.journal.values()
    }

    /// The engine's answer to the batch has not come, and the time of patience passes.
    pub(crate) fn doubt(&mut self) {
        assert!(!self.committing.is_empty());
        self.executor.doubt(self.now);
        self.pass(PATIENCE);
    }

    /// Time passes, and those who wait for the engine hear of it.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        if self.executor.patience_ends().is_some_and(|ends| ends <= self.now) {
            self.executor.lose_patience(self.now);
        }
        self.collect();
    }

    /// A confirmation begins: what of.
    pub(crate) fn confirm(&mut self) -> Option<Vec<(PartitionId, Epoch)>> {
        let held = self.executor.take_confirm(self.now);
        self.collect();
        held
    }

    /// It ends.
    pub(crate) fn confirmed(&mut self, ours: Option<&[bool]>) {
        self.executor.confirmed(ours);
        self.collect();
    }

    fn collect(&mut self) {
        let mut answers = Vec::new();
        self.executor.take_answers(&mut answers);
        for (caller, reply) in answers {
            assert_eq!(self.answers.insert(caller, reply), None, "caller {caller} answered twice");
        }
    }

    /// The answer in one word: what was posted, the refusal's code, or the failure.
    pub(crate) fn answer(&self, caller: u32) -> String {
        match self.answers.get(&caller) {
            None => "-".to_owned(),
            Some(Reply::Outcome(Outcome::Done(Done::Posted(it)))) => it.posted_after.to_string(),
            Some(Reply::Outcome(Outcome::Done(Done::Opened(_)))) => "opened".to_owned(),
            Some(Reply::Outcome(Outcome::Refused(it))) => it.refusal.code().text().to_owned(),
            Some(
                Reply::Outcome(Outcome::Done(Done::Held(it) | Done::HoldEnded(it)))
                | Reply::Hold(it),
            ) => it.status.text().to_owned(),
            Some(Reply::Outcome(Outcome::Done(Done::Transferred(it))) | Reply::Transfer(it)) => {
                it.status().to_owned()
            }
            Some(Reply::Account(it)) => format!("posted {}", it.posted),
            Some(Reply::Failed(failure)) => format!("{failure:?}"),
            Some(Reply::Batch(items)) => {
                let told = items.iter().map(|item| match item {
                    Ok(Outcome::Done(Done::Posted(it))) => it.posted_after.to_string(),
                    Ok(Outcome::Refused(it)) => it.refusal.code().text().to_owned(),
                    other => format!("{other:?}"),
                });
                told.collect::<Vec<_>>().join(" ")
            }
            Some(other) => panic!("{other:?}"),
        }
    }
}

pub(crate) fn service() -> ServiceTag {
    ServiceTag::of("a")
}

/// A command with a key of the client's.
pub(crate) fn keyed(key: &str, text: &str) -> Command {
    let mut words = text.split(' ');
    let verb = words.next().unwrap();
    let account = AccountId::parse(words.next().unwrap()).unwrap();
    let currency = Currency::parse("EUR").unwrap();
    let action = match verb {
        "open" => Action::Open {
            account: account.clone(),
            currency,
            overdraft_limit: 0,
            metadata: "{}".into(),
        },
        "debit" | "credit" => Action::Post(Post {
            account: account.clone(),
            kind: if verb == "debit" { Kind::Debit } else { Kind::Credit },
            amount: Amount::new(words.next().unwrap().parse().unwrap()).unwrap(),
            currency,
            reference: None,
            metadata: "{}".into(),
        }),
        _ => panic!("{text}"),
    };
    Command {
        key: KeyHash::new(Caller(1), &account, key.as_bytes()),
        origin: KeyOrigin::Client,
        minted_at: Timestamp(0),
        fingerprint: Fingerprint::new("POST", "/", text.as_bytes()),
        request_id: "req_1".into(),
        action,
    }
}

/// A command with a key that we minted at the beginning of the world.
pub(crate) fn minted(number: u32, text: &str) -> Command {
    Command { origin: KeyOrigin::Minted, ..keyed(&format!("minted-{number}"), text) }
}

/// The same, sent by the client in the form that we mint.
pub(crate) fn returned(number: u32, text: &str) -> Command {
    Command { origin: KeyOrigin::Returned(Timestamp(0)), ..minted(number, text) }
}

/// What a node that is not the owner says.
pub(crate) const NOT_OWNER: Reply = Reply::Failed(Failure::NotOwner);
