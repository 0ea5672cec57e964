//! Holds and reversals, as statements of account; see `statement`. A hold or a transaction is named
//! for the place of the command that made it, as in `2.0`.

use super::{
    statement::check,
    teller::{self, Teller, audited, command, memory, open, post, replayed},
};
use crate::{Answer, Hash, Known, Object, ObjectKey, Record, Verdict, What, object::Sort};
use wire::{
    Action, Amount, HoldId, Kind, Timestamp,
    hold::{EndHold, HoldEnd, PlaceHold},
};

#[test]
fn a_hold_is_captured_in_part_and_the_rest_let_go() {
    check(
        "
        open alice EUR          -> v0
        credit alice 100        -> 100 v1
        hold alice 60           -> 60 active
        ! alice 100 v2
        ! alice held 60
        debit alice 41          -> insufficient_funds available 40 asked 41
        hold alice 41           -> insufficient_funds available 40 asked 41
        capture alice 3.0 61    -> insufficient_funds available 60 asked 61
        capture alice 3.0 45    -> 45 of 60 captured
        ! alice 55 v3
        ! alice held 0
        ! external EUR -55
        ! open 0
        capture alice 3.0       -> hold_not_active captured
        release alice 3.0       -> hold_not_active captured
        expire alice 3.0        -> hold_not_active captured
        debit alice 55          -> 0 v4
    ",
    );
}

#[test]
fn a_hold_is_released_once() {
    check(
        "
        open alice EUR 10       -> v0
        hold alice 10           -> 10 active
        debit alice 1           -> insufficient_funds available 0 asked 1
        release alice 2.0       -> 10 released
        release alice 2.0       -> hold_not_active released
        capture alice 2.0 1     -> hold_not_active released
        debit alice 10          -> -10 available 0 v3
    ",
    );
}

#[test]
fn a_hold_expires_when_it_is_due_and_by_a_record() {
    check(
        "
        open alice EUR          -> v0
        credit alice 5          -> 5 v1
        hold alice 3 for 10     -> 3 active
        hold alice 2 for 100    -> 2 active
        expire alice 3.0        -> hold_not_active active
        ! due 0
        wait 7
        touch alice             -> v4
        ! due 1
        ! alice held 5
        expire alice 3.0        -> 3 expired
        ! due 0
        ! alice held 2
        ! open 1
        release alice 4.0       -> 2 released
        debit alice 5           -> 0 v7
    ",
    );
}

#[test]
fn what_is_due_can_be_captured_until_its_end_is_journaled() {
    check(
        "
        open alice EUR          -> v0
        credit alice 5          -> 5 v1
        hold alice 3 for 1      -> 3 active
        wait 50
        batch
        capture alice 3.0       -> 3 of 3 captured
        expire alice 3.0        -> hold_not_active captured
        end
        ! alice 2 v3
    ",
    );
}

#[test]
fn a_frozen_account_holds_nothing_more_and_lets_go() {
    check(
        "
        open alice EUR          -> v0
        credit alice 50         -> 50 v1
        hold alice 20           -> 20 active
        freeze alice            -> v3
        hold alice 1            -> account_frozen
        capture alice 3.0       -> account_frozen
        release alice 3.0       -> 20 released
        reopen alice            -> v5
        debit alice 50          -> 0 v6
        close alice             -> v7
        hold alice 1            -> account_closed
        release alice 3.0       -> account_closed
        capture alice 3.0       -> account_closed
    ",
    );
}

#[test]
fn a_hold_is_of_its_account_and_currency() {
    check(
        "
        open alice EUR          -> v0
        open bob EUR            -> v0
        hold carol 1            -> no_such_account
        credit alice 50         -> 50 v1
        hold alice 20 USD       -> currency_mismatch EUR USD
        batch
        hold alice 20           -> 20 active
        hold alice 30           -> 30 active
        hold alice 1            -> insufficient_funds available 0 asked 1
        capture alice 6.1 29    -> 29 of 30 captured
        end
        ! alice held 20
        release bob 6.0         -> no_such_hold
        release alice 4.0       -> no_such_hold
        release carol 6.0       -> no_such_account
        close alice             -> account_not_empty posted 21 held 20
    ",
    );
}

#[test]
fn what_is_held_never_takes_a_balance_out_of_its_range() {
    check(
        "
        open alice EUR          -> v0
        credit alice MAX        -> 9223372036854775807 v1
        hold alice MAX          -> 9223372036854775807 active
        credit alice 1          -> balance_overflow
        limit alice 1           -> balance_overflow
        release alice 3.0       -> 9223372036854775807 released
        ! alice held 0
    ",
    );
}

#[test]
fn a_transaction_is_reversed_once() {
    check(
        "
        open alice EUR                  -> v0
        credit alice 100                -> 100 v1
        debit alice 30                  -> 70 v2
        key 1 reverse alice 3.0 debit 30   -> 100 v3
        reverse alice 3.0 debit 30      -> already_reversed
        key 1 reverse alice 3.0 debit 30   -> 100 v3 of 4.0
        reverse bob 3.0 debit 30        -> already_reversed
        debit alice 1                   -> 99 v4
        reverse alice 2.0 credit 100    -> insufficient_funds available 99 asked 100
        credit alice 1                  -> 100 v5
        reverse alice 2.0 credit 100    -> 0 v6
        ! external EUR 0
        close alice                     -> v7
        reverse alice 7.0 debit 1       -> account_closed
    ",
    );
}

#[test]
fn a_frozen_account_takes_back_what_it_paid_and_gives_nothing() {
    check(
        "
        open alice EUR                  -> v0
        credit alice 100                -> 100 v1
        debit alice 30                  -> 70 v2
        freeze alice                    -> v3
        reverse alice 2.0 credit 100    -> account_frozen
        reverse alice 3.0 debit 30      -> 100 v4
    ",
    );
}

fn hold(id: &str, amount: i64, seconds: u32) -> Action {
    let (account, amount) = (teller::account(id), Amount::new(amount).unwrap());
    Action::Hold(PlaceHold { account, amount, currency: teller::eur(), seconds })
}

/// Three holds of 10, of which the second is captured; a debit that is reversed.
fn journal() -> Teller {
    let mut teller = Teller::new();
    let mut key = 0;
    let mut run = |teller: &mut Teller, actions: Vec<Action>| {
        let numbered = actions.into_iter().map(|action| {
            key += 1;
            command(key, action)
        });
        let (now, commands) = (1_000_000 * (1 + teller.journal.len()), numbered.collect());
        teller.run(i64::try_from(now).unwrap(), commands);
    };
    run(&mut teller, vec![open("alice", "EUR", 0), post("alice", Kind::Credit, 100, "EUR")]);
    run(&mut teller, vec![hold("alice", 10, 5), hold("alice", 10, 60), hold("alice", 10, 1)]);
    let Object::Hold(second) = object(&teller.journal[1].record, 1) else { panic!() };
    let how = HoldEnd::Capture(Amount::new(7));
    let end = EndHold { account: second.account, hold: second.id, how };
    run(&mut teller, vec![Action::EndHold(end), post("alice", Kind::Debit, 5, "EUR")]);
    let debit = teller.journal[2].record.posting(teller::tag(), 1).unwrap();
    let reverse = wire::reversal::Reverse {
        transaction: debit.id,
        account: debit.account,
        kind: debit.kind,
        amount: debit.amount,
        currency: debit.currency,
    };
    run(&mut teller, vec![Action::Reverse(reverse)]);
    teller
}

fn object(record: &Record, index: u16) -> Object {
    record.object(teller::tag(), index).unwrap()
}

#[test]
fn an_heir_replays_what_is_held_and_lets_go_what_is_due() {
    let teller = journal();
    let mut heir = replayed(&teller.journal, 2);
    let (chain, mine, heirs) = (teller.partition.chain(), memory(&teller.partition), memory(&heir));
    assert_eq!(heirs, mine);
    assert_eq!(heir.open_count(), 2);
    let mut due: Vec<_> = heir.expiries(Timestamp(7_000_000), 9).collect();
    assert_eq!(due.len(), 2);
    assert_eq!(heir.expiries(Timestamp(7_000_000), 1).count(), 1);
    due.extend(heir.expiries(Timestamp(7_000_000), 9)); // Asked twice: once is done, once repeated.
    let staged = heir.stage(Timestamp(7_000_000), due);
    let fresh = |answer: &&Answer| matches!(answer, Answer::Fresh(_));
    assert_eq!(staged.answers.iter().filter(fresh).count(), 2);
    heir.merge(staged);
    assert_eq!((heir.open_count(), heir.chain().seq), (0, chain.seq.next()));
    let Known::Present(alice) = heir.account(&teller::account("alice")) else { panic!() };
    assert_eq!((alice.posted, alice.held), (93, 0));
    audited(&teller.journal).unwrap();
}

#[test]
fn what_has_ended_leaves_memory_and_what_is_open_stays() {
    let mut teller = journal();
    let key = |bits| ObjectKey { sort: Sort::Hold, bits };
    for bits in 0..2 * u128::try_from(crate::object::ENDED_MAX).unwrap() {
        teller.partition.admit_object(key(bits), None).unwrap();
    }
    let ended = object(&teller.journal[2].record, 0).key();
    let knows = |teller: &Teller, key| teller.partition.object(key) != Known::Unknown;
    let end = teller.partition.chain().seq;
    for _ in 0..100 {
        teller.partition.evict(10);
    }
    assert!(knows(&teller, ended), "the views do not have it yet");
    assert!(!knows(&teller, key(0)) && knows(&teller, key(u128::from(u16::MAX >> 1))));
    teller.partition.projected(end);
    for bits in 0..2 * u128::try_from(crate::object::ENDED_MAX).unwrap() {
        teller.partition.admit_object(key(bits), None).unwrap();
    }
    for _ in 0..100 {
        teller.partition.evict(10);
    }
    assert!(!knows(&teller, ended));
    assert_eq!(teller.partition.open_count(), 2);
    let other = object(&teller.journal[1].record, 0);
    assert!(teller.partition.admit_object(key(1 << 100), Some(other)).is_err());
}

/// Forges a record, and its hash and those after it; the auditor and an heir both find it out.
#[track_caller]
fn check_forged(at: usize, forge: impl FnOnce(&mut Record)) {
    let mut rows = journal().journal;
    let mut forged = Record::clone(&rows[at].record);
    forge(&mut forged);
    let row = &mut rows[at];
    row.bytes.clear();
    forged.encode(&mut row.bytes);
    row.hash = Hash::of(&row.bytes);
    let wrong = audited(&rows[..=at]).unwrap_err();
    assert!(matches!(wrong.what, What::Verdict { .. }), "{wrong}");
    let mut heir = replayed(&rows[..at], 2);
    for item in &forged.items {
        if let Some(key) = ObjectKey::wanted_by(&item.action) {
            heir.admit_object(key, None).unwrap();
        }
    }
    let refused = heir.replay(&forged, Hash::NONE).unwrap_err();
    assert!(matches!(refused, crate::ReplayError::Item { .. }), "{refused}");
}

#[test]
fn forged_holds_and_reversals_are_found() {
    check_forged(1, |it| {
        let Verdict::Held(left) = &mut it.items[0].verdict else { panic!() };
        left.held = 9;
    });
    check_forged(2, |it| {
        let Verdict::HoldEnded { hold, .. } = &mut it.items[0].verdict else { panic!() };
        hold.captured = 8;
    });
    check_forged(2, |it| {
        let Verdict::HoldEnded { hold, left } = &mut it.items[0].verdict else { panic!() };
        hold.amount = Amount::new(11).unwrap();
        left.available = 81;
    });
    check_forged(2, |it| {
        let Action::EndHold(end) = &mut it.items[0].action else { panic!() };
        let other = HoldId::from_bits(end.hold.bits() ^ 1 << 20);
        end.hold = other;
        let Verdict::HoldEnded { hold, .. } = &mut it.items[0].verdict else { panic!() };
        hold.id = other;
    });
    check_forged(3, |it| {
        let mut again = it.items[0].clone();
        again.key = wire::KeyHash(999);
        it.items.push(again);
    });
}
