//! What every engine promises of keys.

use crate::support::{Branch, DAY, NOON, P0, P1, Rig, SECOND, command, commit, key, open, post};
use engine::{KeyMark, KeyPlace, ProjectError, Reader};
use std::collections::BTreeMap;
use stdx::Rng;
use wire::{KeyHash, Kind, PartitionId, Seq, Timestamp, command::KeyOrigin};

pub(crate) fn keys_of_clients_are_found(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    let origins = [KeyOrigin::Client, KeyOrigin::Returned(NOON), KeyOrigin::Minted];
    let commands = origins.iter().zip(100..).map(|(origin, number)| {
        command(*origin, number, post("alice", Kind::Debit, 5)) // Refused, and remembered.
    });
    branch.command(commands.collect());
    let asked: Vec<_> = (100..104).map(|number| (P0, key(number))).collect();
    let mut reader = branch.engine.reader().unwrap();
    assert_eq!(reader.keys(&asked).unwrap(), [None; 4]); // Not projected: the owner has them.
    branch.project();
    let place = |index| Some(KeyPlace { seq: Seq(2), index });
    assert_eq!(reader.keys(&asked).unwrap(), [place(0), place(1), None, None]);
}

pub(crate) fn a_key_that_is_there_is_replaced_by_its_last_use(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    branch.command(vec![command(KeyOrigin::Client, 600, post("alice", Kind::Credit, 1))]);
    branch.project();
    let opened = branch.tellers[1].minted(vec![open("bob")]);
    commit(&mut *branch.committer, &[opened]);
    let credits = [601, 600].map(|it| command(KeyOrigin::Client, it, post("bob", Kind::Credit, 1)));
    let used = branch.tellers[1].decide(credits.into());
    commit(&mut *branch.committer, &[used]);
    branch.project();
    let mut reader = branch.engine.reader().unwrap();
    let found = reader.keys(&[(P1, key(600)), (P1, key(601))]).unwrap();
    let place = |index| Some(KeyPlace { seq: Seq(2), index });
    assert_eq!(found, [place(1), place(0)]);
}

pub(crate) fn keys_are_dropped_by_the_day(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    for day in 0..4 {
        let action = post("alice", Kind::Credit, 1);
        branch.command(vec![command(KeyOrigin::Client, 200 + day, action)]);
        branch.project();
        branch.tellers[0].now.0 += DAY;
    }
    let mut reader = branch.engine.reader().unwrap();
    let asked: Vec<_> = (200..204).map(|number| (P0, key(number))).collect();
    let found = reader.keys(&asked).unwrap();
    let found: Vec<_> = found.iter().map(Option::is_some).collect();
    assert_eq!(found, [false, false, true, true]); // Yesterday's and today's.
}

pub(crate) fn a_wrong_clock_costs_no_key(rig: &dyn Rig) {
    // Two partitions of processes whose clocks differ by a week.
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    branch.command(vec![command(KeyOrigin::Client, 500, post("alice", Kind::Credit, 1))]);
    branch.project();
    branch.tellers[1].now.0 += 7 * DAY;
    let other = branch.tellers[1].minted(vec![open("bob")]);
    commit(&mut *branch.committer, &[other]);
    let credit = command(KeyOrigin::Client, 501, post("bob", Kind::Credit, 1));
    let other = branch.tellers[1].decide(vec![credit]);
    commit(&mut *branch.committer, &[other]);
    branch.project();
    branch.command(vec![command(KeyOrigin::Client, 502, post("alice", Kind::Credit, 1))]);
    branch.project();
    let mut reader = branch.engine.reader().unwrap();
    let asked = [(P0, key(500)), (P1, key(501)), (P0, key(502))];
    let found = reader.keys(&asked).unwrap();
    assert!(found.iter().all(Option::is_some), "{found:?}");
}

pub(crate) fn all_keys_are_read_in_parts(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    let other = branch.tellers[1].minted(vec![open("bob")]);
    commit(&mut *branch.committer, &[other]);
    let mut expected = Vec::new();
    for (day, numbers) in [300..303, 310..330].into_iter().enumerate() {
        for number in numbers {
            let mine = command(KeyOrigin::Client, number, post("alice", Kind::Credit, 1));
            branch.command(vec![mine]);
            let other = command(KeyOrigin::Client, number + 100, post("bob", Kind::Credit, 1));
            let other = branch.tellers[1].decide(vec![other]);
            commit(&mut *branch.committer, &[other]);
            expected.extend([(day, P0, key(number)), (day, P1, key(number + 100))]);
            branch.project();
        }
        branch.tellers.iter_mut().for_each(|it| it.now.0 += DAY);
    }
    let mut reader = branch.engine.reader().unwrap();
    expected.sort_unstable();
    for (partitions, wanted) in [(vec![P0, P1], 1), (vec![P1, P0], 7), (vec![P1], 3), (vec![], 9)] {
        let found = scan_all(&mut *reader, &partitions, None, wanted);
        let day = |time: Timestamp| usize::try_from((time.0 - NOON.0).div_euclid(DAY) + 1).unwrap();
        let mut found: Vec<_> = found.into_iter().map(|(of, key, at)| (day(at), of, key)).collect();
        found.sort_unstable();
        let of_these = expected.iter().filter(|it| partitions.contains(&it.1)).copied();
        assert_eq!(found, of_these.collect::<Vec<_>>(), "{partitions:?}, {wanted} at a time");
    }
}

/// The rest of a pass over all keys, so many at a time.
pub(crate) fn scan_all(
    reader: &mut dyn Reader,
    partitions: &[PartitionId],
    mut from: Option<KeyMark>,
    wanted: usize,
) -> Vec<(PartitionId, KeyHash, Timestamp)> {
    let mut found = Vec::new();
    loop {
        let scan = reader.scan_keys(partitions, from, wanted).unwrap();
        found.extend(scan.keys);
        from = scan.next;
        if from.is_none() {
            return found;
        }
    }
}

/// Where the journal of the first partition has the keys of clients.
pub(crate) fn used(branch: &Branch) -> BTreeMap<KeyHash, KeyPlace> {
    let mut used = BTreeMap::new();
    for (record, _) in &branch.tellers[0].records {
        let items = (0..).zip(&record.items).filter(|(_, it)| it.origin == KeyOrigin::Client);
        let seq = record.header.seq;
        used.extend(items.map(|(index, item)| (item.key, KeyPlace { seq, index })));
    }
    used
}

/// Every key is found where the journal has it, and none besides.
#[track_caller]
pub(crate) fn check_all_keys(branch: &Branch) {
    let used = used(branch);
    let mut reader = branch.engine.reader().unwrap();
    let asked: Vec<_> = used.keys().map(|key| (P0, *key)).collect();
    let found = reader.keys(&asked).unwrap();
    assert_eq!(found, used.values().copied().map(Some).collect::<Vec<_>>());
    let others = (0..500).map(|number| (P0, key(5_000_000 + number)));
    let elsewhere = asked.iter().map(|(_, key)| (P1, *key));
    let none: Vec<_> = others.chain(elsewhere).collect();
    assert!(reader.keys(&none).unwrap().iter().all(Option::is_none));
    let mut scanned: Vec<_> = reader.scan_keys(&[P0, P1], None, 1_000_000).unwrap().keys;
    scanned.sort_unstable();
    assert_eq!(scanned.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>(), asked);
}

/// Credits under keys of the client: a batch of any size.
pub(crate) fn credit(branch: &mut Branch, rng: &mut Rng) {
    let first = fresh_number(branch);
    credits(branch, first, 1 + rng.below(20) * rng.below(20));
}

/// That of no command so far.
fn fresh_number(branch: &Branch) -> u64 {
    branch.tellers[0].now.0.unsigned_abs()
}

/// So many credits, the first under the key of this number.
pub(crate) fn credits(branch: &mut Branch, first: u64, count: usize) {
    let credit = |it| command(KeyOrigin::Client, it, post("alice", Kind::Credit, 1));
    branch.command((first..).take(count).map(credit).collect());
}

/// A projection that brings so many keys.
pub(crate) fn project_keys(branch: &mut Branch, count: usize) {
    let first = fresh_number(branch);
    credits(branch, first, count);
    branch.project();
}

pub(crate) fn keys_are_found_however_often_they_were_merged(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    let mut rng = Rng::new(7);
    let mut stale = branch.engine.projector().unwrap();
    for _ in 0..80 {
        credit(&mut branch, &mut rng);
        branch.project();
        // Whoever is late writes nothing, and is told so.
        let late = branch.tellers[0].records.len() - 1;
        let refused = stale.project(branch.tellers[0].from(late));
        assert!(matches!(refused, Err(ProjectError::Deposed(_))), "{refused:?}");
    }
    check_all_keys(&branch);
    let all = stale.project(branch.tellers[0].from(0));
    assert!(matches!(all, Err(ProjectError::Deposed(_))), "{all:?}");
    check_all_keys(&branch);
}

/// Eight runs of 600 keys: they become one in three steps, and each projection does one.
pub(crate) fn eight_runs(rig: &dyn Rig) -> Branch {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    branch.project();
    for _ in 0..8 {
        project_keys(&mut branch, 600);
    }
    branch
}

pub(crate) fn keys_are_found_while_they_are_moved(rig: &dyn Rig) {
    let mut branch = eight_runs(rig);
    let expected: Vec<_> = used(&branch).into_keys().collect();
    // A pass that goes on while they are, too, finds each once.
    let mut reader = branch.engine.reader().unwrap();
    let (mut found, mut from) = (Vec::new(), None);
    for step in 0..4 {
        check_all_keys(&branch);
        for _ in 0..2 {
            let scan = reader.scan_keys(&[P0], from, 300).unwrap();
            found.extend(scan.keys.into_iter().map(|it| it.1));
            from = Some(scan.next.unwrap_or_else(|| panic!("all were read before step {step}")));
        }
        project_keys(&mut branch, 1);
    }
    let rest = scan_all(&mut *reader, &[P0], from, 300);
    found.extend(rest.into_iter().map(|it| it.1));
    found.retain(|key| expected.binary_search(key).is_ok()); // Others came meanwhile.
    found.sort_unstable();
    assert_eq!(found, expected);
}

pub(crate) fn a_minted_key_is_found_around_its_time(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    branch.act(vec![open("alice")]);
    let mut times = Vec::new();
    for number in 0..60 {
        branch.tellers[0].now.0 += 2 * SECOND;
        let action = post("alice", Kind::Credit, 1);
        branch.command(vec![command(KeyOrigin::Minted, 300 + number, action)]);
        times.push(branch.tellers[0].now);
        if number == 30 {
            branch.project();
        }
    }
    let mut reader = branch.engine.reader().unwrap();
    let mut near = |number: u64, at: Timestamp| {
        reader.keys_near(&[(P0, key(300 + number), at)]).unwrap().remove(0)
    };
    for number in [0, 5, 31, 59] {
        let at = times[usize::try_from(number).unwrap()];
        let place = Some(KeyPlace { seq: Seq(number + 2), index: 0 });
        assert_eq!(near(number, at), place);
        assert_eq!(near(number, Timestamp(at.0 - 34 * SECOND)), place);
        assert_eq!(near(number, Timestamp(at.0 + 4 * SECOND)), place);
        assert_eq!(near(number, Timestamp(at.0 - 36 * SECOND)), None);
        assert_eq!(near(number, Timestamp(at.0 + 6 * SECOND)), None);
    }
    assert_eq!(near(1_000, times[30]), None);
    assert_eq!(near(1_000, Timestamp(i64::MIN)), None);
    assert_eq!(near(1_000, Timestamp(i64::MAX)), None);
    // Many at once, of windows that overlap and of others, in the order asked.
    let asked = [59, 0, 1_000, 5, 31, 0].map(|number: u64| {
        let at = times[usize::try_from(number).unwrap() % times.len()];
        (P0, key(300 + number), at)
    });
    let seqs = reader.keys_near(&asked).unwrap().into_iter().map(|it| it.map(|it| it.seq.0));
    let expected = [Some(61), Some(2), None, Some(7), Some(33), Some(2)];
    assert_eq!(seqs.collect::<Vec<_>>(), expected);
    assert_eq!(reader.keys_near(&[(P1, key(300), NOON)]).unwrap(), [None]);
    assert_eq!(reader.keys_near(&[]).unwrap(), []);
}
