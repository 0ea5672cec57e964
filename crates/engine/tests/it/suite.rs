//! What every engine promises.

use crate::support::{
    Branch, P0, P1, Rig, SECOND, SERVICE, Teller, commit, eur, id, open, post, take,
};
pub(crate) use crate::{keys::*, whatever::what_is_open_is_loaded};
use engine::{Claim, Fate, ProjectError, Reader, Write, engine::RECENT_SECONDS};
use lease::Sign;
use ledger::{Chain, Hash, Known};
use stdx::Rng;
use wire::{
    AccountState, Action, Epoch, Kind, PartitionId, Posting, Seq, ServiceTag, Timestamp,
    command::Post,
    query::{Filter, History, Listing},
};

pub(crate) fn a_batch_is_let_in_once(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    let writes: Vec<Write> =
        branch.tellers.iter_mut().map(|it| it.minted(vec![open("alice")])).collect();
    commit(&mut *branch.committer, &writes);
    let next = branch.tellers[1].minted(vec![post("alice", Kind::Credit, 5)]);
    // The first partition repeats itself; its neighbour goes on.
    let fates = branch.committer.commit(&[writes[0].clone(), next]).unwrap();
    assert_eq!(fates, [Fate::Fenced, Fate::Committed]);
    let mut reader = branch.engine.reader().unwrap();
    assert_eq!(reader.record(P0, Seq(1)).unwrap().unwrap(), *branch.tellers[0].records[0].0);
    assert_eq!(reader.record(P0, Seq(2)).unwrap(), None);
    assert_eq!(reader.record(P1, Seq(2)).unwrap().unwrap(), *branch.tellers[1].records[1].0);
    assert_eq!(branch.committer.commit(&[]).unwrap(), []);
}

pub(crate) fn the_fence_compares_epoch_number_and_hash(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    let good = branch.tellers[0].minted(vec![post("alice", Kind::Credit, 5)]);
    let broken = |change: &dyn Fn(&mut Write)| {
        let mut write = good.clone();
        change(&mut write);
        write
    };
    let writes = [
        broken(&|it| it.header.epoch = Epoch(it.header.epoch.0 + 1)),
        broken(&|it| it.header.epoch = Epoch(0)),
        broken(&|it| it.header.seq = Seq(3)),
        broken(&|it| it.header.seq = Seq(1)),
        broken(&|it| it.header.previous = Hash::NONE),
        broken(&|it| it.header.partition = PartitionId(3)),
    ];
    for write in writes {
        assert_eq!(branch.committer.commit(&[write]).unwrap(), [Fate::Fenced]);
    }
    // One that no row can bear is refused before anything is written.
    let absurd = broken(&|it| it.header.seq = Seq(u64::MAX));
    branch.committer.commit(&[absurd]).unwrap_err();
    commit(&mut *branch.committer, &[good]);
}

pub(crate) fn a_new_tenure_fences_the_old(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    let stale = branch.tellers[0].minted(vec![post("alice", Kind::Credit, 5)]);
    let end = branch.tellers[0].records[0].1;
    let again = take(&*branch.engine, &[P0])[0];
    assert_eq!((again.epoch, again.chain.seq, again.chain.hash), (Epoch(2), Seq(1), end));
    assert_eq!(again.chain.time, branch.tellers[0].records[0].0.header.time);
    assert_eq!(branch.committer.commit(&[stale]).unwrap(), [Fate::Fenced]);
    let mut heir = Teller::of(P0, again.epoch, again.chain);
    let next = heir.minted(vec![post("alice", Kind::Credit, 5)]);
    commit(&mut *branch.committer, &[next]);
}

pub(crate) fn a_partition_has_one_owner(rig: &dyn Rig) {
    let first = rig.open("a-1").unwrap();
    take(&*first, &[P0]);
    let second = rig.open("a-2").unwrap();
    // What the living have is left to them; the rest is to be had.
    assert_eq!(take(&*second, &[P1, P0]).iter().map(|it| it.partition).collect::<Vec<_>>(), [P1]);
    drop(first);
    let taken = take(&*second, &[P0, P1]);
    assert_eq!(taken.iter().map(|it| it.epoch.0).collect::<Vec<_>>(), [2, 2]);
    // Who has seen an older row takes nothing.
    let seen = Epoch(1);
    let mut registry = second.registry().unwrap();
    assert_eq!(registry.take(&[Claim { partition: P0, seen }]).unwrap(), []);
    let none = Claim { partition: PartitionId(9), seen };
    assert_eq!(registry.take(&[none]).unwrap_err().kind, engine::Kind::Mismatch);
}

pub(crate) fn what_is_given_is_for_its_successor_alone(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    let (second, third) = (rig.open("a-2").unwrap(), rig.open("a-3").unwrap());
    let mut heir = second.registry().unwrap();
    let mut giver = branch.engine.registry().unwrap();
    assert!(!giver.give(P0, Epoch(7), heir.me()).unwrap(), "another epoch");
    assert!(!heir.give(P0, Epoch(1), heir.me()).unwrap(), "another's");
    assert!(giver.give(P0, Epoch(1), heir.me()).unwrap());
    assert!(!giver.give(P0, Epoch(1), heir.me()).unwrap(), "twice");
    let late = branch.tellers[0].minted(vec![post("alice", Kind::Credit, 5)]);
    assert_eq!(branch.committer.commit(&[late]).unwrap(), [Fate::Fenced]);
    assert_eq!(take(&*third, &[P0]), []);
    let tenure = take(&*second, &[P0])[0];
    assert_eq!((tenure.epoch, tenure.chain.seq), (Epoch(3), Seq(1)));
}

pub(crate) fn a_survey_shows_who_is_there_and_who_has_what(rig: &dyn Rig) {
    let (first, second) = (rig.open("a-1").unwrap(), rig.open("a-2").unwrap());
    take(&*first, &[P0]);
    take(&*second, &[P1]);
    let (mut one, mut two) = (first.registry().unwrap(), second.registry().unwrap());
    let ids = (one.me(), two.me());
    one.set_leaving(true);
    two.pin(P1, Some("a-1")).unwrap();
    let survey = two.survey().unwrap();
    let found = |id| survey.members.iter().find(|it| it.id == id).unwrap();
    assert_eq!((&*found(ids.0).name, found(ids.0).is_leaving), ("a-1", true));
    assert_eq!((&*found(ids.1).name, found(ids.1).is_leaving), ("a-2", false));
    assert!(survey.members.iter().all(|it| it.sign == Sign::Lively));
    let owners: Vec<_> = survey.holdings.iter().map(|it| it.owner).collect();
    assert_eq!(owners, [Some(ids.0), Some(ids.1), None, None]);
    assert_eq!(survey.holdings[1].pinned.as_deref(), Some("a-1"));
    drop((one, first));
    two.pin(P1, None).unwrap();
    let survey = two.survey().unwrap();
    let gone = survey.members.iter().find(|it| it.id == ids.0);
    assert!(gone.is_none_or(|it| it.sign == Sign::Dead), "{survey:?}");
    assert_eq!(survey.holdings[1].pinned, None);
}

/// The engine's rows follow the rule of [`lease::Fence`], whatever is tried on them.
pub(crate) fn the_rows_follow_the_fence(rig: &dyn Rig) {
    let mut rng = Rng::new(5);
    let engines = [rig.open("a-1").unwrap(), rig.open("a-2").unwrap()];
    let mut registries = [engines[0].registry().unwrap(), engines[1].registry().unwrap()];
    let mut committers = [engines[0].committer().unwrap(), engines[1].committer().unwrap()];
    let ids = [registries[0].me(), registries[1].me()];
    let mut teller = Teller::of(P0, Epoch(0), Chain::EMPTY);
    let mut fence = lease::Fence::default();
    for _ in 0..200 {
        let at = rng.below(2);
        let epoch = Epoch(fence.epoch.0.saturating_sub(rng.below(3) as u64 / 2));
        match rng.below(3) {
            0 => {
                // Of the living only their own is to be had: that is the caller's part of the rule.
                let may = fence.owner.is_none_or(|owner| owner == ids[at]);
                let expected = if may { fence.take(ids[at], epoch) } else { None };
                let taken = registries[at].take(&[Claim { partition: P0, seen: epoch }]).unwrap();
                assert_eq!(taken.first().map(|it| it.epoch), expected);
            }
            1 => {
                let to = ids[rng.below(2)];
                let expected = fence.give(ids[at], epoch, to).is_some();
                assert_eq!(registries[at].give(P0, epoch, to).unwrap(), expected);
            }
            _ => {
                let mut next = teller.partition.clone();
                std::mem::swap(&mut next, &mut teller.partition);
                let mut write = teller.minted(vec![open("alice")]);
                write.header.epoch = epoch;
                let is_in = fence.admit(ids[at], epoch, Seq(write.header.seq.0 - 1));
                let fate = if is_in { Fate::Committed } else { Fate::Fenced };
                assert_eq!(committers[at].commit(&[write]).unwrap(), [fate]);
                if !is_in {
                    teller.partition = next;
                }
            }
        }
        let row = registries[0].survey().unwrap().holdings.remove(0);
        assert_eq!((row.owner, row.epoch), (fence.owner, fence.epoch));
    }
    assert!(10 < fence.seq.0 && 20 < fence.epoch.0, "{fence:?}");
}

pub(crate) fn a_name_is_borne_once(rig: &dyn Rig) {
    let first = rig.open("a-1").unwrap();
    let Err(refused) = rig.open("a-1") else { panic!("two of one name") };
    assert_eq!(refused.kind, engine::Kind::NameTaken);
    drop(first);
    rig.open("a-1").unwrap();
}

pub(crate) fn what_was_acknowledged_is_there_again(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.whatever(&mut Rng::new(3), 5);
    branch.project();
    branch.whatever(&mut Rng::new(4), 5);
    let Branch { engine, committer, projector, tellers } = branch;
    drop((engine, committer, projector));

    let engine = rig.open("a-1").unwrap();
    let tenures = take(&*engine, &[P0, P1]);
    let mut reader = engine.reader().unwrap();
    for (teller, tenure) in tellers.iter().zip(tenures) {
        assert_eq!((tenure.epoch, tenure.chain), (Epoch(2), teller.partition.chain()));
        let loaded = reader.load(tenure.partition, Seq(0)).unwrap();
        assert_eq!((loaded.watermark.seq, loaded.watermark.hash), (Seq(5), teller.records[4].1));
        assert_eq!(loaded.tail.len(), 5);
        assert_eq!(loaded.recent.len(), 5);
        // It is all that a new owner needs to be where the old one was.
        let service = ServiceTag::of(SERVICE);
        let (watermark, external) = (loaded.watermark, loaded.external);
        let mut heir =
            ledger::Partition::new(service, tenure.partition, tenure.epoch, watermark, external);
        for (id, state) in loaded.accounts {
            heir.admit(id, state).unwrap();
        }
        let open = loaded.open.into_iter().map(|it| (it.key(), Some(it)));
        for (key, object) in open.chain(loaded.objects) {
            heir.admit_object(key, object).unwrap();
        }
        for (record, hash) in &loaded.tail {
            heir.replay(record, *hash).unwrap();
        }
        assert_eq!(heir.open_count(), teller.partition.open_count());
        for object in heir.objects() {
            assert_eq!(Known::Present(object), teller.partition.object(object.key()));
        }
        assert_eq!(heir.chain(), teller.partition.chain());
        assert!(heir.external().eq(teller.partition.external()));
        for account in heir.accounts() {
            assert_eq!(Known::Present(account), teller.partition.account(&account.id));
        }
    }
}

pub(crate) fn the_recent_past_is_loaded_and_no_more(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    for _ in 0..8 {
        branch.tellers[0].now.0 += 10 * SECOND;
        branch.act(vec![post("alice", Kind::Credit, 1)]);
    }
    let none = branch.engine.reader().unwrap().load(P0, Seq(0)).unwrap();
    assert_eq!((none.watermark, none.tail.len(), none.recent.len()), (Chain::EMPTY, 9, 0));
    branch.project();
    let loaded = branch.engine.reader().unwrap().load(P0, Seq(0)).unwrap();
    assert_eq!((loaded.watermark.seq, loaded.tail.len()), (Seq(9), 0));
    let oldest = branch.tellers[0].now.0 - i64::from(RECENT_SECONDS) * SECOND;
    let records = branch.tellers[0].records.iter().map(|(record, _)| (**record).clone());
    let expected: Vec<_> = records.filter(|it| oldest <= it.header.time.0).collect();
    assert_eq!(loaded.recent, expected);
    // Whoever has read ahead gets the rest.
    let mut reader = branch.engine.reader().unwrap();
    assert_eq!(reader.recent(P0, Seq(0)).unwrap(), expected);
    assert_eq!(reader.recent(P0, Seq(8)).unwrap(), expected[expected.len() - 2..]);
    assert_eq!(reader.recent(P0, Seq(10)).unwrap(), []);
    assert_eq!(reader.recent(P1, Seq(0)).unwrap(), []);
    assert_eq!(reader.load(P0, Seq(9)).unwrap().recent, expected[expected.len() - 1..]);
    assert!((2..9).contains(&expected.len()));
}

pub(crate) fn a_deposed_projector_writes_nothing(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    branch.act(vec![post("alice", Kind::Credit, 7)]);
    let other = branch.tellers[1].minted(vec![open("bob")]);
    commit(&mut *branch.committer, &[other]);
    let mut deposed = branch.engine.projector().unwrap();
    let records = branch.tellers[0].records.clone();
    branch.projector.project(&records[..1]).unwrap();
    // Its first record is in the views already, and so nothing of the call is written.
    let both = [records.clone(), branch.tellers[1].records.clone()].concat();
    let Err(ProjectError::Deposed(partitions)) = deposed.project(&both) else { panic!() };
    assert_eq!(partitions, [P0]);
    assert_eq!(deposed.watermark(P0).unwrap().seq, Seq(1));
    assert_eq!(deposed.watermark(P1).unwrap(), Chain::EMPTY);
    let mut reader = branch.engine.reader().unwrap();
    let found = reader.accounts(&[(P0, id("alice")), (P1, id("bob"))]).unwrap();
    assert_eq!(found.iter().flatten().map(|it| it.version).collect::<Vec<_>>(), [0]);
    assert_eq!(found[1], None);
    // A record with the right number and another hash before it is no continuation either.
    let mut forged = (*records[1].0).clone();
    forged.header.previous = Hash::NONE;
    let forged = [(std::sync::Arc::new(forged), records[1].1)];
    assert!(matches!(deposed.project(&forged), Err(ProjectError::Deposed(_))));
    // Nor is one with a gap before it.
    deposed.project(&[records[1].clone(), records[1].clone()]).unwrap_err();
    deposed.project(&records[1..]).unwrap();
    assert_eq!(deposed.watermark(P0).unwrap(), branch.tellers[0].partition.chain());
    // Nor one whose postings are in the views already: two owners may have it at a move.
    let Err(ProjectError::Deposed(partitions)) = branch.projector.project(&records[1..]) else {
        panic!()
    };
    assert_eq!(partitions, [P0]);
}

/// Any journal, projected in any pieces: every read gives what its owner has in memory, whatever
/// part of it the views have yet.
pub(crate) fn reads_are_what_the_owner_has(rig: &dyn Rig) {
    let mut rng = Rng::new(17);
    let mut branch = Branch::new(rig);
    for round in 0..12 {
        let rounds = 1 + rng.below(9);
        branch.whatever(&mut rng, rounds);
        check_reads(&branch, round);
        if rng.below(3) < 2 {
            branch.project();
            check_views(&branch);
            check_reads(&branch, round);
        }
    }
    assert!(branch.tellers.iter().all(|teller| 0 < teller.partition.open_count()));
}

/// What the views alone have, right after a projection.
fn check_views(branch: &Branch) {
    let mut reader = branch.engine.reader().unwrap();
    for teller in &branch.tellers {
        let partition = teller.partition.id();
        for account in teller.partition.accounts() {
            let found = reader.accounts(&[(partition, account.id.clone())]).unwrap();
            assert_eq!(found[0].as_ref(), Some(account));
        }
        let keys: Vec<_> = teller.partition.objects().map(|it| (partition, it.key())).collect();
        let found = reader.objects(&keys).unwrap();
        assert!(found.iter().map(Option::as_ref).eq(teller.partition.objects().map(Some)));
        let absent = ledger::ObjectKey::reversal(wire::TransactionId::from_bits(7));
        assert_eq!(reader.objects(&[(partition, absent)]).unwrap(), [None]);
        let loaded = reader.load(partition, Seq(0)).unwrap();
        let mut open = loaded.open;
        open.sort_by_key(ledger::Object::key);
        assert!(open.iter().eq(teller.partition.objects().filter(|it| it.is_open())));
        assert_eq!(loaded.external, teller.partition.external().collect::<Vec<_>>());
        assert_eq!(loaded.watermark, teller.partition.chain());
    }
}

fn check_reads(branch: &Branch, round: usize) {
    let mut reader = branch.engine.reader().unwrap();
    for teller in &branch.tellers {
        let partition = teller.partition.id();
        for account in 0..12 {
            let account = format!("acc-{account}");
            let limit = 1 + u32::try_from(round).unwrap();
            let found = pages(&mut *reader, partition, &account, &Filter::default(), limit);
            assert_eq!(found, teller.history(&account), "{account}");
        }
        let listed = listing(&mut *reader, &[partition], 5);
        let mut accounts: Vec<AccountState> = teller.partition.accounts().cloned().collect();
        accounts.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        assert_eq!(listed, accounts);
    }
    let books = reader.books(&[P0, P1]).unwrap();
    for (books, teller) in books.iter().zip(&branch.tellers) {
        assert_eq!(books.partition, teller.partition.id());
        assert_eq!(books.head, teller.partition.chain().seq);
        let posted = teller.partition.accounts().map(|it| i128::from(it.posted));
        let contra = teller.partition.external().map(|(_, balance)| balance);
        let credits: i128 = posted.chain(contra).filter(|it| 0 < *it).sum();
        for it in &books.currencies {
            assert_eq!(it.debits, it.credits, "{books:?}");
            assert_eq!((it.currency, it.credits), (eur(), credits));
        }
    }
}

/// All pages of a history.
fn pages(
    reader: &mut dyn Reader,
    partition: PartitionId,
    account: &str,
    filter: &Filter,
    limit: u32,
) -> Vec<Posting> {
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let history = History { account: id(account), filter: filter.clone(), before, limit };
        let (rows, more) = reader.history(partition, &history).unwrap();
        assert!(rows.len() <= usize::try_from(limit).unwrap());
        before = rows.last().map(|it| it.version);
        found.extend(rows);
        if !more {
            return found;
        }
    }
}

/// All pages of a list.
fn listing(reader: &mut dyn Reader, partitions: &[PartitionId], limit: u32) -> Vec<AccountState> {
    let (mut found, mut before) = (Vec::<AccountState>::new(), None);
    loop {
        let (rows, more) = reader.list(partitions, &Listing { before, limit }).unwrap();
        assert!(rows.len() <= usize::try_from(limit).unwrap());
        before = rows.last().map(|it| (it.created_at, it.id.clone()));
        found.extend(rows);
        if !more {
            return found;
        }
    }
}

pub(crate) fn pages_are_stable_while_entries_arrive(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    for amount in 1..=30 {
        branch.act(vec![post("alice", Kind::Credit, amount), open(&format!("n-{amount}"))]);
        if amount == 20 {
            branch.project();
        }
    }
    let expected = branch.tellers[0].history("alice");
    let mut reader = branch.engine.reader().unwrap();
    let page =
        |before| History { account: id("alice"), filter: Filter::default(), before, limit: 8 };
    let (first, more) = reader.history(P0, &page(None)).unwrap();
    let (listed, _) = reader.list(&[P0], &Listing { before: None, limit: 8 }).unwrap();
    assert!(more);
    branch.act(vec![post("alice", Kind::Credit, 99), open("newcomer")]);
    branch.project();
    let (second, _) = reader.history(P0, &page(Some(first[7].version))).unwrap();
    assert_eq!([first, second].concat(), expected[..16]);
    let before = Some((listed[7].created_at, listed[7].id.clone()));
    let (rest, _) = reader.list(&[P0], &Listing { before, limit: 1_000 }).unwrap();
    assert_eq!(listed.len() + rest.len(), 31);
    assert!(rest.iter().all(|it| it.id.as_str() != "newcomer"));
}

pub(crate) fn filters_choose(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    for number in 0..40_i64 {
        let kind = if number % 3 == 0 { Kind::Debit } else { Kind::Credit };
        let Action::Post(plain) = post("alice", kind, 1 + number) else { unreachable!() };
        let reference = (number % 5 == 0).then(|| format!("order {number}").into());
        branch.tellers[0].now.0 += SECOND;
        branch.act(vec![Action::Post(Post { reference, ..plain })]);
        if number == 25 {
            branch.project();
        }
    }
    let all = branch.tellers[0].history("alice");
    let (from, to) = (all[30].created_at, all[4].created_at);
    let filters = [
        Filter { from: Some(from), ..Filter::default() },
        Filter { to: Some(to), ..Filter::default() },
        Filter { from: Some(from), to: Some(to), kind: Some(Kind::Debit), reference: None },
        Filter { reference: Some("order 10".into()), ..Filter::default() },
        Filter { kind: Some(Kind::Credit), from: Some(to), ..Filter::default() },
        Filter { from: Some(Timestamp::MAX), ..Filter::default() },
    ];
    let mut reader = branch.engine.reader().unwrap();
    for filter in filters {
        let admits = |it: &&Posting| filter.admits(it.created_at, it.kind, it.reference.as_deref());
        let expected: Vec<Posting> = all.iter().filter(admits).cloned().collect();
        for limit in [1, 7, 1_000] {
            assert_eq!(pages(&mut *reader, P0, "alice", &filter, limit), expected, "{filter:?}");
        }
    }
}

pub(crate) fn a_page_ends_at_a_mebibyte(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    let metadata = wire::Text::from(format!(r#"{{"x":"{}"}}"#, "y".repeat(4_000)));
    for number in 0..8 {
        let large = (0..50).map(|amount| {
            let Action::Post(plain) = post("alice", Kind::Credit, 1 + amount) else {
                unreachable!()
            };
            Action::Post(Post { metadata: metadata.clone(), ..plain })
        });
        branch.act(large.collect());
        if number == 4 {
            branch.project();
        }
    }
    let mut reader = branch.engine.reader().unwrap();
    let history =
        History { account: id("alice"), filter: Filter::default(), before: None, limit: 1_000 };
    let (rows, more) = reader.history(P0, &history).unwrap();
    assert!(more && (200..300).contains(&rows.len()), "{}", rows.len());
    let found = pages(&mut *reader, P0, "alice", &Filter::default(), 1_000);
    assert_eq!(found, branch.tellers[0].history("alice"));
}

pub(crate) fn two_nodes_commit_side_by_side(rig: &dyn Rig) {
    let engines = [rig.open("a-1").unwrap(), rig.open("a-2").unwrap()];
    std::thread::scope(|scope| {
        for (engine, partition) in engines.iter().zip([P0, P1]) {
            scope.spawn(move || {
                let mut teller = Teller::new(take(&**engine, &[partition])[0]);
                let mut committer = engine.committer().unwrap();
                let mut projector = engine.projector().unwrap();
                let write = teller.minted(vec![open("alice")]);
                commit(&mut *committer, &[write]);
                for round in 1..40 {
                    let write = teller.minted(vec![post("alice", Kind::Credit, 1)]);
                    commit(&mut *committer, &[write]);
                    if round % 10 == 0 {
                        let mark = projector.watermark(partition).unwrap().seq.0;
                        projector.project(teller.from(usize::try_from(mark).unwrap())).unwrap();
                    }
                }
            });
        }
    });
    let mut reader = engines[0].reader().unwrap();
    for books in reader.books(&[P0, P1]).unwrap() {
        assert_eq!((books.head, books.currencies[0].credits), (Seq(40), 39));
        assert_eq!(books.currencies[0].debits, 39);
    }
}
