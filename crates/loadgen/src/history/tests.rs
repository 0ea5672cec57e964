//! Histories of a service that keeps its promises are acquitted; damaged ones never are.

use super::{
    mutation::{Books, Mutation},
    *,
};
use stdx::Rng;

const ACCOUNTS: usize = 3;
const CLIENTS: usize = 6;
const LIMIT: i64 = 500;

/// What a client waits for.
struct Pending {
    op: Op,
    is_done: bool,
}

/// A made-up service that does one thing at a time, and clients who do not know when: one event a
/// tick, which begins an operation, executes it, or ends it.
fn world(seed: u64, ticks: u64) -> (History, Books) {
    let mut rng = Rng::new(seed);
    let account = || Book { overdraft_limit: LIMIT, entries: Vec::new(), balance: OPENING };
    let accounts = u32::try_from(ACCOUNTS).unwrap();
    let mut books: Books = (0..accounts).map(|it| (it, account())).collect();
    let mut history = History::default();
    let mut pending: Vec<Option<Pending>> = (0..CLIENTS).map(|_| None).collect();
    for tick in 1..=ticks {
        let client = rng.below(CLIENTS);
        match &mut pending[client] {
            None => pending[client] = Some(Pending { op: begin(tick, &mut rng), is_done: false }),
            Some(it) if !it.is_done => {
                execute(it, tick, books.get_mut(&it.op.account).unwrap(), &mut rng);
            }
            Some(it) => {
                it.op.ended = tick;
                tell(&mut history, &it.op);
                pending[client] = None;
            }
        }
    }
    // What nobody has heard of.
    for it in pending.into_iter().flatten() {
        history.ops.push(Op { told: Told::Unknown, ..it.op });
    }
    (history, books)
}

fn begin(tick: u64, rng: &mut Rng) -> Op {
    let amount = 1 + i64::try_from(rng.below(400)).unwrap();
    let asked = match rng.below(4) {
        0 => Asked::Read,
        1 => Asked::Write { request: tick, change: amount },
        _ => Asked::Write { request: tick, change: -amount },
    };
    let account = u32::try_from(rng.below(ACCOUNTS)).unwrap();
    Op { account, asked, told: Told::Unknown, begun: tick, ended: 0 }
}

fn execute(it: &mut Pending, tick: u64, book: &mut Book, rng: &mut Rng) {
    it.is_done = true;
    let (fate, now) = (rng.below(12), book.balance);
    it.op.told = match it.op.asked {
        Asked::Read => Told::Shown(now),
        // Not executed, and so told; or not told at all.
        Asked::Write { .. } if fate == 0 => Told::NotExecuted,
        Asked::Write { .. } if fate == 1 => Told::Unknown,
        Asked::Write { change, .. } if change < 0 && now.posted + change < -LIMIT => Told::Refused,
        Asked::Write { request, change } => {
            let after = Position { posted: now.posted + change, version: now.version + 1 };
            let id: Box<str> = format!("tx-{tick}").into();
            let entry = Booked { request: Some(request), id: id.clone(), change, after };
            book.entries.push(entry);
            book.balance = after;
            if fate == 2 { Told::Unknown } else { Told::Posted { id, after } }
        }
    };
}

fn tell(history: &mut History, op: &Op) {
    if let (Asked::Write { request, .. }, Told::Posted { .. } | Told::Refused) =
        (op.asked, &op.told)
    {
        let body = format!("{:?}", op.told).into_bytes().into();
        let reply = Reply { request, status: 201, body };
        // The first answer, and one repeat.
        history.replies.extend([reply.clone(), reply]);
    }
    history.ops.push(op.clone());
}

#[test]
fn a_service_that_keeps_its_promises_is_acquitted() {
    for seed in 0..150 {
        let (history, books) = world(seed, 400);
        assert_eq!(judge(&history, &books), [], "seed {seed}");
    }
    assert_eq!(judge(&History::default(), &Books::new()), []);
}

#[test]
fn every_damage_is_found_in_every_history() {
    for kind in Mutation::ALL {
        let mut damaged = 0;
        for seed in 0..100 {
            let (history, books) = world(seed, 300);
            let Some((history, books)) = kind.of(&history, &books, &mut Rng::new(seed)) else {
                continue;
            };
            damaged += 1;
            assert_ne!(judge(&history, &books), [], "{kind:?}, seed {seed}");
        }
        assert!(75 < damaged, "{kind:?} found a place in {damaged} histories only");
    }
}

/// What kinds of findings a damage leads to.
#[track_caller]
fn finds(kind: Mutation, is_it: impl Fn(&Wrong) -> bool) {
    let found = (0..50).filter(|seed| {
        let (history, books) = world(*seed, 300);
        let damaged = kind.of(&history, &books, &mut Rng::new(*seed));
        damaged.is_some_and(|(history, books)| {
            judge(&history, &books).iter().any(|it| is_it(&it.wrong))
        })
    });
    let found = found.count();
    assert!(40 <= found, "{kind:?}: as such in {found} of 50");
}

#[test]
fn each_damage_is_called_by_its_name() {
    finds(Mutation::Lose, |it| matches!(it, Wrong::Lost { .. }));
    finds(Mutation::Repeat, |it| matches!(it, Wrong::Twice { .. }));
    finds(Mutation::BookDenied, |it| matches!(it, Wrong::Denied { .. }));
    finds(Mutation::BookStranger, |it| matches!(it, Wrong::Stranger { .. }));
    finds(Mutation::Reorder, |it| matches!(it, Wrong::Stale { .. }));
    finds(Mutation::SwapReads, |it| matches!(it, Wrong::Stale { .. }));
    finds(Mutation::StaleRead, |it| matches!(it, Wrong::Stale { .. }));
    finds(Mutation::ForeseenRead, |it| matches!(it, Wrong::Stale { .. }));
    finds(Mutation::WrongRead, |it| matches!(it, Wrong::NeverSo { .. }));
    finds(Mutation::WrongAck, |it| matches!(it, Wrong::Altered { .. }));
    finds(Mutation::SwapAcks, |it| matches!(it, Wrong::Altered { .. }));
    finds(Mutation::RefuseForNothing, |it| matches!(it, Wrong::Causeless { .. }));
    finds(Mutation::Overdraw, |it| matches!(it, Wrong::BelowLimit { .. }));
    finds(Mutation::AnswerAnew, |it| matches!(it, Wrong::TwoResults { .. }));
    finds(Mutation::WrongBalance, |it| matches!(it, Wrong::Balance { .. }));
}

/// The search, which does not know the books, finds by itself what is wrong among the answers.
#[test]
fn the_search_needs_no_books() {
    let is_stuck = |it: &Wrong| matches!(it, Wrong::NoOrder { .. });
    for kind in [
        Mutation::SwapReads,
        Mutation::StaleRead,
        Mutation::ForeseenRead,
        Mutation::WrongRead,
        Mutation::WrongAck,
        Mutation::RefuseForNothing,
    ] {
        finds(kind, is_stuck);
    }
}

fn op(asked: Asked, told: Told, begun: u64, ended: u64) -> Op {
    Op { account: 0, asked, told, begun, ended }
}

fn posted(request: u64, change: i64, posted: i64, version: u64, times: (u64, u64)) -> Op {
    let told = Told::Posted { id: "tx".into(), after: Position { posted, version } };
    op(Asked::Write { request, change }, told, times.0, times.1)
}

fn shown(posted: i64, version: u64, times: (u64, u64)) -> Op {
    op(Asked::Read, Told::Shown(Position { posted, version }), times.0, times.1)
}

#[track_caller]
fn check_search(ops: &[Op], is_linear: bool) {
    let mut wrongs = Vec::new();
    linear::judge(&ops.iter().collect::<Vec<_>>(), 0, &mut wrongs);
    assert_eq!(wrongs.is_empty(), is_linear, "{ops:?}: {wrongs:?}");
}

#[test]
fn an_unknown_write_may_have_been_executed_at_any_time_or_never() {
    let unknown = op(Asked::Write { request: 1, change: 5 }, Told::Unknown, 1, 2);
    check_search(&[unknown.clone(), shown(0, 0, (3, 4))], true);
    check_search(&[unknown.clone(), shown(5, 1, (3, 4))], true);
    check_search(&[unknown.clone(), shown(0, 0, (3, 4)), shown(5, 1, (5, 6))], true);
    check_search(&[unknown.clone(), shown(5, 1, (3, 4)), shown(0, 0, (5, 6))], false);
    check_search(&[shown(5, 1, (1, 2)), Op { begun: 3, ..unknown }], false);
}

#[test]
fn what_overlaps_may_have_happened_either_way() {
    let write = posted(1, 5, 5, 1, (1, 4));
    check_search(&[write.clone(), shown(0, 0, (2, 3))], true);
    check_search(&[write.clone(), shown(5, 1, (2, 3))], true);
    check_search(&[write.clone(), shown(5, 1, (2, 3)), shown(0, 0, (5, 6))], false);
    let refused = op(Asked::Write { request: 2, change: -3 }, Told::Refused, 2, 3);
    check_search(&[write.clone(), refused.clone()], true);
    check_search(&[write, Op { begun: 5, ended: 6, ..refused }], false);
}

#[test]
fn a_search_that_would_take_for_ever_says_so() {
    // Nobody knows which of forty credits were executed, and no sum of them makes this balance.
    let credit = |it| op(Asked::Write { request: it, change: 2 << it }, Told::Unknown, it + 1, 0);
    let mut ops: Vec<Op> = (0..40).map(credit).collect();
    ops.push(shown(1 << 50, 20, (100, 101)));
    let mut wrongs = Vec::new();
    linear::judge(&ops.iter().collect::<Vec<_>>(), 0, &mut wrongs);
    assert_eq!(wrongs, [Wrong::Undecided]);
}
