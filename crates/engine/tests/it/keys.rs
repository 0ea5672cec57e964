//! What every engine promises of keys.

use crate::support::{Branch, DAY, NOON, P0, P1, Rig, SECOND, command, commit, key, open, post};
use engine::KeyPlace;
use wire::{Kind, Seq, Timestamp, command::KeyOrigin};

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
