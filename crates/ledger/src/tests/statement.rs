//! The rules, as statements of account: a line is a command and what the ledger says to it.
//!
//! Each line is a batch of its own; lines between `batch` and `end` are one. A line may start with
//! `key K`; else its key is new. `!` says what the books hold.

use super::teller::{self, Teller};
use crate::{Answer, Known};
use wire::{
    Action, Amount, Command, Contra, Currency, HoldId, Kind, Status, Timestamp, TransactionId,
    hold::{EndHold, HoldEnd, PlaceHold},
    reversal::Reverse,
};

const MAX: i64 = i64::MAX;

struct Line {
    text: String,
    command: Command,
    expected: String,
}

#[track_caller]
pub(super) fn check(statement: &str) {
    let mut teller = Teller::new();
    let mut now = 1_000_000;
    let mut batch: Vec<Line> = Vec::new();
    let mut in_batch = false;
    for (number, line) in statement.lines().enumerate() {
        let line = line.split("//").next().unwrap().trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => continue,
            ["batch"] => in_batch = true,
            ["end"] => in_batch = false,
            ["admit", id, currency, posted, held, limit] => {
                admit(&mut teller, id, currency, [posted, held, limit]);
            }
            ["!", rest @ ..] => check_books(&teller, rest, line),
            ["wait", seconds] => now += seconds.parse::<i64>().unwrap() * 1_000_000,
            words => batch.push(parse(&teller, now, number, line, words)),
        }
        if !in_batch && !batch.is_empty() {
            now += 1_000_000;
            run(&mut teller, now, std::mem::take(&mut batch));
        }
    }
    assert!(!in_batch, "a batch without end");
}

#[track_caller]
fn run(teller: &mut Teller, now: i64, batch: Vec<Line>) {
    let commands = batch.iter().map(|line| line.command.clone()).collect();
    let answers = teller.run(now, commands);
    assert_eq!(answers.len(), batch.len());
    for (line, answer) in batch.iter().zip(answers) {
        let told = match (teller.outcome(answer), answer) {
            (Some(outcome), Answer::Repeat { seq, index }) => {
                format!("{} of {}.{index}", teller::text(&outcome), seq.0)
            }
            (Some(outcome), Answer::Fresh(_) | Answer::KeyReused) => teller::text(&outcome),
            (None, _) => "key_reused".to_owned(),
        };
        assert_eq!(told, line.expected, "{}", line.text);
    }
}

fn parse(teller: &Teller, now: i64, number: usize, line: &str, words: &[&str]) -> Line {
    let (key, words) = match words {
        ["key", key, rest @ ..] => (key.parse().unwrap(), rest),
        words => (1_000 + number as u128, words),
    };
    let arrow = words.iter().position(|&it| it == "->").expect("a line says what comes of it");
    let (words, expected) = (&words[..arrow], words[arrow + 1..].join(" "));
    let place = |text: &str| place(teller, now, text);
    let action = of_objects(words, &place).unwrap_or_else(|| action(words));
    let command = teller::command(key, action);
    Line { text: line.to_owned(), command, expected }
}

/// The id of what the command at `record.index` made, or is about to make.
fn place(teller: &Teller, now: i64, text: &str) -> TransactionId {
    let (seq, index) = text.split_once('.').expect("a record and a place in it");
    let (seq, index): (usize, u16) = (seq.parse().unwrap(), index.parse().unwrap());
    let row = seq.checked_sub(1).and_then(|at| teller.journal.get(at));
    let time = row.map_or(Timestamp(now + 1_000_000), |row| row.record.header.time);
    let seq = wire::Seq(seq.try_into().unwrap());
    TransactionId::new(time, teller::tag(), teller::PARTITION, seq, index)
}

/// Lines about holds and reversals, which are named by the place of what made them.
fn of_objects(words: &[&str], place: &dyn Fn(&str) -> TransactionId) -> Option<Action> {
    let end = |id: &str, at: &str, how| {
        let (account, hold) = (teller::account(id), HoldId::from_bits(place(at).bits()));
        Action::EndHold(EndHold { account, hold, how })
    };
    let amount = |text: &str| Amount::new(number(text)).unwrap();
    Some(match words {
        ["hold", id, much] => held(id, amount(much), "EUR", 60),
        ["hold", id, much, "for", seconds] => {
            held(id, amount(much), "EUR", seconds.parse().unwrap())
        }
        ["hold", id, much, currency] => held(id, amount(much), currency, 60),
        ["capture", id, at] => end(id, at, HoldEnd::Capture(None)),
        ["capture", id, at, much] => end(id, at, HoldEnd::Capture(Some(amount(much)))),
        ["release", id, at] => end(id, at, HoldEnd::Release),
        ["expire", id, at] => end(id, at, HoldEnd::Expire),
        ["reverse", id, at, kind, much] => Action::Reverse(Reverse {
            transaction: place(at),
            account: teller::account(id),
            kind: if *kind == "debit" { Kind::Debit } else { Kind::Credit },
            amount: amount(much),
            currency: teller::eur(),
        }),
        _ => return None,
    })
}

fn held(id: &str, amount: Amount, currency: &str, seconds: u32) -> Action {
    let (account, currency) = (teller::account(id), Currency::parse(currency).unwrap());
    Action::Hold(PlaceHold { account, amount, currency, seconds })
}

fn number(text: &str) -> i64 {
    match text {
        "MAX" => MAX,
        text => text.parse().unwrap(),
    }
}

fn action(words: &[&str]) -> Action {
    match words {
        ["open", id, currency] => teller::open(id, currency, 0),
        ["open", id, currency, limit] => teller::open(id, currency, number(limit)),
        ["credit", id, amount] => teller::post(id, Kind::Credit, number(amount), "EUR"),
        ["credit", id, amount, it] => teller::post(id, Kind::Credit, number(amount), it),
        ["debit", id, amount] => teller::post(id, Kind::Debit, number(amount), "EUR"),
        ["debit", id, amount, it] => teller::post(id, Kind::Debit, number(amount), it),
        ["freeze", id] => teller::update(id, Some(Status::Frozen), None),
        ["close", id] => teller::update(id, Some(Status::Closed), None),
        ["close", id, limit] => teller::update(id, Some(Status::Closed), Some(number(limit))),
        ["reopen", id] => teller::update(id, Some(Status::Open), None),
        ["limit", id, limit] => teller::update(id, None, Some(number(limit))),
        ["touch", id] => teller::update(id, None, None),
        _ => panic!("no such line: {words:?}"),
    }
}

fn admit(teller: &mut Teller, id: &str, currency: &str, figures: [&str; 3]) {
    let [posted, held, limit] =
        figures.map(|it| if it == "MAX" { MAX } else { it.parse().unwrap() });
    let state = wire::AccountState {
        id: teller::account(id),
        currency: Currency::parse(currency).unwrap(),
        status: Status::Open,
        posted,
        held,
        overdraft_limit: limit,
        version: 7,
        metadata: "{}".into(),
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
    };
    // The other half of what it holds, so that the books balance.
    let external = vec![(Contra::external(state.currency), -i128::from(posted))];
    let (epoch, chain) = (teller.partition.epoch(), teller.partition.chain());
    assert_eq!(chain, crate::Chain::EMPTY, "admit comes first");
    teller.partition =
        crate::Partition::new(teller::tag(), teller::PARTITION, epoch, chain, external);
    teller.partition.admit(state.id.clone(), Some(state)).unwrap();
}

#[track_caller]
fn check_books(teller: &Teller, words: &[&str], line: &str) {
    match words {
        ["external", currency, balance] => {
            let contra = Contra::parse(currency).unwrap();
            let found = teller.partition.external().find(|it| it.0 == contra);
            assert_eq!(found.map_or(0, |it| it.1), balance.parse::<i128>().unwrap(), "{line}");
        }
        ["records", count] => assert_eq!(teller.journal.len(), count.parse().unwrap(), "{line}"),
        ["open", count] => {
            assert_eq!(teller.partition.open_count(), count.parse::<usize>().unwrap(), "{line}");
        }
        ["due", count] => {
            let time = teller.partition.chain().time;
            let due = teller.partition.expiries(time, usize::MAX).count();
            assert_eq!(due, count.parse::<usize>().unwrap(), "{line}");
        }
        [id, "held", held] => {
            let Known::Present(state) = teller.partition.account(&teller::account(id)) else {
                panic!("{line}: not there");
            };
            assert_eq!(state.held, held.parse::<i64>().unwrap(), "{line}");
        }
        [id, "absent"] => {
            assert_eq!(teller.partition.account(&teller::account(id)), Known::Absent, "{line}");
        }
        [id, posted, version] => {
            let Known::Present(state) = teller.partition.account(&teller::account(id)) else {
                panic!("{line}: not there");
            };
            assert_eq!(
                format!("{} v{}", state.posted, state.version),
                format!("{posted} {version}")
            );
        }
        _ => panic!("no such line: {line}"),
    }
}

#[test]
fn three_debits_of_45_on_75_in_three_batches() {
    check(
        "
        open alice EUR      -> v0
        credit alice 7500   -> 7500 v1
        debit alice 4500    -> 3000 v2
        debit alice 4500    -> insufficient_funds available 3000 asked 4500
        debit alice 4500    -> insufficient_funds available 3000 asked 4500
        ! alice 3000 v2
        ! external EUR -3000
        ! records 5
    ",
    );
}

#[test]
fn three_debits_of_45_on_75_in_one_batch() {
    check(
        "
        batch
        open alice EUR      -> v0
        credit alice 7500   -> 7500 v1
        debit alice 4500    -> 3000 v2
        debit alice 4500    -> insufficient_funds available 3000 asked 4500
        debit alice 4500    -> insufficient_funds available 3000 asked 4500
        end
        ! alice 3000 v2
        ! external EUR -3000
        ! records 1
    ",
    );
}

#[test]
fn a_refusal_leaves_no_trace_but_its_record() {
    check(
        "
        open alice EUR      -> v0
        credit alice 100    -> 100 v1
        batch
        debit alice 101     -> insufficient_funds available 100 asked 101
        credit alice 5 USD  -> currency_mismatch EUR USD
        debit bob 1         -> no_such_account
        open alice USD      -> account_exists
        limit bob 5         -> no_such_account
        debit alice 100     -> 0 v2
        end
        ! alice 0 v2
        ! bob absent
        ! external EUR 0
        ! external USD 0
        ! records 3
    ",
    );
}

#[test]
fn an_account_is_opened_once() {
    check(
        "
        debit alice 1       -> no_such_account
        batch
        open alice EUR 50   -> v0
        open alice EUR 50   -> account_exists
        debit alice 50      -> -50 available 0 v1
        end
        open alice EUR      -> account_exists
        close alice         -> account_not_empty posted -50 held 0
        credit alice 50     -> 0 available 50 v2
        close alice 0       -> v3
        open alice EUR      -> account_exists
    ",
    );
}

#[test]
fn frozen_takes_credits_only() {
    check(
        "
        open alice EUR      -> v0
        freeze alice        -> v1
        debit alice 1       -> account_frozen
        debit alice 1 USD   -> currency_mismatch EUR USD
        credit alice 10     -> 10 v2
        debit alice 1       -> account_frozen
        limit alice 10      -> v3
        reopen alice        -> v4
        debit alice 20      -> -10 available 0 v5
        credit alice 10     -> 0 available 10 v6
        freeze alice        -> v7
        close alice         -> v8
    ",
    );
}

#[test]
fn closed_refuses_everything() {
    check(
        "
        open alice EUR      -> v0
        credit alice 1      -> 1 v1
        close alice         -> account_not_empty posted 1 held 0
        debit alice 1       -> 0 v2
        close alice         -> v3
        credit alice 1      -> account_closed
        debit alice 1       -> account_closed
        credit alice 1 USD  -> account_closed
        reopen alice        -> account_closed
        freeze alice        -> account_closed
        close alice         -> account_closed
        touch alice         -> account_closed
        ! alice 0 v3
    ",
    );
}

#[test]
fn held_money_is_neither_spent_nor_closed_away() {
    check(
        "
        admit alice EUR 100 40 10
        debit alice 71      -> insufficient_funds available 70 asked 71
        debit alice 70      -> 30 available 0 v8
        credit alice 5      -> 35 available 5 v9
        debit alice 5       -> 30 available 0 v10
        close alice         -> account_not_empty posted 30 held 40
        limit alice 9       -> insufficient_funds available 0 asked 1
    ",
    );
    check(
        "
        admit alice EUR 0 5 5
        close alice         -> account_not_empty posted 0 held 5
    ",
    );
}

#[test]
fn a_lower_limit_asks_for_the_difference() {
    check(
        "
        open alice EUR 100  -> v0
        debit alice 80      -> -80 available 20 v1
        limit alice 79      -> insufficient_funds available 20 asked 21
        limit alice 80      -> v2
        debit alice 1       -> insufficient_funds available 0 asked 1
        limit alice 81      -> v3
        debit alice 1       -> -81 available 0 v4
        touch alice         -> v5
    ",
    );
}

#[test]
fn balances_stay_within_64_bits() {
    check(
        "
        open alice EUR      -> v0
        credit alice MAX    -> 9223372036854775807 v1
        credit alice 1      -> balance_overflow
        limit alice 1       -> balance_overflow
        debit alice MAX     -> 0 v2
        limit alice MAX     -> v3
        credit alice 1      -> balance_overflow       // Available would leave them.
        debit alice MAX     -> -9223372036854775807 available 0 v4
        debit alice 1       -> insufficient_funds available 0 asked 1
        limit alice 0       -> insufficient_funds available 0 asked 9223372036854775807
        credit alice MAX    -> 0 available 9223372036854775807 v5
        close alice MAX     -> v6
    ",
    );
    // The lowest balance there is: available is 1 with everything overdrawn but one.
    check(
        "
        admit alice EUR -9223372036854775806 0 MAX
        debit alice 2       -> insufficient_funds available 1 asked 2
        debit alice 1       -> -9223372036854775807 available 0 v8
        ! external EUR 9223372036854775807
    ",
    );
    // External balances are wider than any account's.
    check(
        "
        open alice EUR      -> v0
        open bob EUR        -> v0
        credit alice MAX    -> 9223372036854775807 v1
        credit bob MAX      -> 9223372036854775807 v1
        ! external EUR -18446744073709551614
    ",
    );
}

#[test]
fn a_key_is_used_once() {
    check(
        "
        key 1 open alice EUR      -> v0
        key 2 credit alice 100    -> 100 v1
        key 3 debit alice 60      -> 40 v2
        key 3 debit alice 60      -> 40 v2 of 3.0
        key 3 debit alice 61      -> key_reused
        key 4 debit alice 60      -> insufficient_funds available 40 asked 60
        credit alice 60           -> 100 v3
        key 4 debit alice 60      -> insufficient_funds available 40 asked 60 of 4.0
        key 1 open alice EUR      -> v0 of 1.0
        ! alice 100 v3
        ! records 5
    ",
    );
}

#[test]
fn a_key_is_used_once_within_a_batch() {
    check(
        "
        batch
        key 1 open alice EUR      -> v0
        key 2 credit alice 100    -> 100 v1
        key 2 credit alice 100    -> 100 v1 of 1.1
        key 2 credit alice 101    -> key_reused
        key 1 open alice EUR      -> v0 of 1.0
        key 3 debit alice 101     -> insufficient_funds available 100 asked 101
        key 3 debit alice 101     -> insufficient_funds available 100 asked 101 of 1.2
        credit alice 1            -> 101 v2
        end
        batch
        key 1 open alice EUR      -> v0 of 1.0
        key 2 credit alice 7      -> key_reused
        end
        ! alice 101 v2
        ! records 1
    ",
    );
}

#[test]
fn currencies_are_booked_apart() {
    check(
        "
        batch
        open alice EUR          -> v0
        open bob USD            -> v0
        credit bob 5 USD        -> 5 v1
        credit alice 7          -> 7 v1
        debit bob 5 USD         -> 0 v2
        end
        ! external EUR -7
        ! external USD 0
    ",
    );
}
