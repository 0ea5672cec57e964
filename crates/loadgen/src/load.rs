//! The load itself: operations when they are due, repeats of what was not executed, a memory for
//! the audit.

use crate::{
    answer::Answer,
    audit::{Read, Write},
    body,
    job::{End, Job, Next},
    letter::{Key, Letters},
    limits::{ATTEMPTS_MAX, LATE_MAX, REPEAT_PAUSE, REPEAT_PAUSE_MAX, REPEATS_WAITING_MAX},
    log::{Doubt, Log},
    plan::{Pace, Plan},
    tally::{Label, OpEnd, Window},
    work::{Chooser, Deed, Op},
};
use std::{collections::BTreeMap, sync::mpsc::SyncSender, time::Duration};
use stdx::Moment;
use wire::Code;

/// When things happen in a run; the same for all threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// When the first operation is due.
    pub(crate) start: Moment,
    /// No operation is due from here on.
    pub(crate) end: Moment,
    /// What was due and has not been sent by then never is.
    late: Moment,
    /// What has no answer by then is given up.
    pub(crate) give_up: Moment,
}

impl Times {
    pub(crate) fn of(plan: &Plan, start: Moment) -> Times {
        let end = start + plan.warm_up + plan.duration;
        // Time for one answer, and for what may be repeated meanwhile.
        let late = match plan.pace {
            Pace::Open(_) => end + LATE_MAX,
            Pace::Closed => end,
        };
        Times { start, end, late, give_up: late + plan.answer_time_max + REPEAT_PAUSE_MAX }
    }
}

/// An operation that has been sent and is not at its end.
#[derive(Debug)]
struct Flight {
    op: Op,
    key: Key,
    due: Moment,
    /// First and last sending.
    first: Moment,
    last: Moment,
    attempts: u32,
    /// Some sending of it may have been executed.
    is_unsure: bool,
}

/// What one answer, or its absence, says of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// Executed.
    Done,
    /// Decided against, for good.
    Refused,
    /// Not executed this time.
    NotNow,
    /// It may have been executed.
    Unsure,
}

/// One thread's share of the load.
pub(crate) struct Load<'a> {
    plan: &'a Plan,
    letters: &'a Letters,
    chooser: Chooser,
    thread: usize,
    times: Times,
    /// Operations begun.
    begun: u64,
    in_flight: Vec<Option<Flight>>,
    in_flight_count: usize,
    /// By when they may be sent again, and a number that makes each place its own.
    waiting: BTreeMap<(Moment, u64), Flight>,
    parked: u64,
    window: Window,
    windows: &'a SyncSender<Window>,
    log: Log,
}

impl<'a> Load<'a> {
    /// Thread `thread` of the plan, with so many lanes and this much to remember.
    pub(crate) fn new(
        plan: &'a Plan,
        letters: &'a Letters,
        chooser: Chooser,
        thread: usize,
        times: Times,
        bounds: (usize, usize),
        windows: &'a SyncSender<Window>,
    ) -> Load<'a> {
        let (lanes, logged_max) = bounds;
        Load {
            plan,
            letters,
            chooser,
            thread,
            times,
            begun: 0,
            in_flight: (0..lanes).map(|_| None).collect(),
            in_flight_count: 0,
            waiting: BTreeMap::new(),
            parked: 0,
            window: Window::new(0),
            windows,
            log: Log::new(plan.accounts, logged_max),
        }
    }

    /// When this thread's next operation is due.
    fn due(&self, now: Moment) -> Moment {
        match self.plan.pace {
            Pace::Closed => now.max(self.times.start),
            Pace::Open(rate) => {
                // The threads take turns, so that together they keep the pace evenly.
                let threads = u128::try_from(self.plan.threads).expect("a few threads");
                let thread = u128::try_from(self.thread).expect("a few threads");
                let turn = u128::from(self.begun) * threads + thread;
                let nanos = turn * 1_000_000_000 / u128::from(rate);
                let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
                self.times.start + Duration::from_nanos(nanos)
            }
        }
    }

    fn send(&mut self, lane: usize, now: Moment, mut flight: Flight, out: &mut Vec<u8>) -> Next {
        flight.last = now;
        flight.attempts += 1;
        self.letters.op(out, flight.op, &flight.key);
        self.in_flight[lane] = Some(flight);
        self.in_flight_count += 1;
        Next::Send
    }

    /// What an end says, with the entry or the balance taken down when it is a success.
    fn hear(&mut self, flight: &mut Flight, now: Moment, end: &End<'_>) -> Said {
        let answer = match end {
            End::Answer(answer) => answer,
            End::Lost => return self.silence(Label::Lost, Said::Unsure),
            End::Unsent => return self.silence(Label::Unsent, Said::NotNow),
            End::TimedOut => return self.silence(Label::TimedOut, Said::Unsure),
            End::Garbled(_) => return self.silence(Label::Garbled, Said::Unsure),
        };
        if let (Key::None, Some(key)) = (&flight.key, answer.key)
            && 300 <= answer.status
        {
            flight.key = Key::Told(key.into());
        }
        if answer.status < 300 {
            self.window.attempt(Label::Answered(answer.status, None));
            return match self.take_down(flight, now, answer) {
                Some(()) => Said::Done,
                None => self.silence(Label::Garbled, Said::Unsure),
            };
        }
        let code = body::code(&answer.body);
        self.window.attempt(Label::Answered(answer.status, code));
        judge(answer.status, code)
    }

    fn silence(&mut self, label: Label, said: Said) -> Said {
        self.window.attempt(label);
        said
    }

    /// `None` when the answer is not one to this operation.
    fn take_down(&mut self, flight: &Flight, now: Moment, answer: &Answer<'_>) -> Option<()> {
        let Flight { op, first, last, .. } = flight;
        let account = self.letters.account(op.account);
        match op.deed {
            Deed::Read => {
                let shown = body::balance(&answer.body, &account)?;
                let (account, sent, answered) = (op.account, *last, now);
                self.log.read(Read { account, shown, sent, answered });
            }
            Deed::Debit | Deed::Credit => {
                let entry = body::transaction(&answer.body, &account)?;
                let is_asked = entry.deed == op.deed && entry.amount == i64::from(op.amount);
                if !is_asked {
                    return None;
                }
                let (account, sent, answered) = (op.account, *first, now);
                self.log.wrote(Write { account, entry, sent, answered });
            }
        }
        Some(())
    }

    /// Parks the operation for a repeat if it may be repeated; else it is at its end.
    fn go_on(&mut self, mut flight: Flight, now: Moment, said: Said) {
        flight.is_unsure |= said == Said::Unsure && flight.op.deed != Deed::Read;
        // A key that nobody knows cannot be asked about again.
        let is_repeatable =
            flight.op.deed == Deed::Read || flight.key != Key::None || !flight.is_unsure;
        let may_repeat = self.plan.repeats
            && is_repeatable
            && flight.attempts < ATTEMPTS_MAX
            && now < self.times.give_up
            && self.waiting.len() < REPEATS_WAITING_MAX;
        match said {
            Said::Done => self.at_end(&flight, now, OpEnd::Ok),
            Said::Refused => self.at_end(&flight, now, OpEnd::Refused),
            Said::NotNow | Said::Unsure if may_repeat => {
                let doublings = (flight.attempts - 1).min(16);
                let pause = (REPEAT_PAUSE * 2_u32.pow(doublings)).min(REPEAT_PAUSE_MAX);
                self.parked += 1;
                self.window.counts.repeats += 1;
                self.waiting.insert((now + pause, self.parked), flight);
            }
            Said::NotNow if !flight.is_unsure => self.at_end(&flight, now, OpEnd::Shed),
            Said::NotNow | Said::Unsure => self.lost(flight, now),
        }
    }

    fn lost(&mut self, flight: Flight, now: Moment) {
        let end = if flight.is_unsure { OpEnd::Unknown } else { OpEnd::Failed };
        self.at_end(&flight, now, end);
        if flight.is_unsure {
            self.log.doubt(Doubt { op: flight.op, key: flight.key, sent: flight.first });
        }
    }

    fn at_end(&mut self, flight: &Flight, now: Moment, end: OpEnd) {
        self.window.operation(end, now.since(flight.due), now.since(flight.last));
    }

    /// Hands over the windows that are over.
    fn turn_window(&mut self, now: Moment) {
        loop {
            let length = self.plan.window.as_nanos() * (u128::from(self.window.index) + 1);
            let length = Duration::from_nanos(u64::try_from(length).unwrap_or(u64::MAX));
            if now < self.times.start + length {
                return;
            }
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let next = Window::new(self.window.index + 1);
        let done = std::mem::replace(&mut self.window, next);
        drop(self.windows.send(done)); // Nobody listens any more: the run is being given up.
    }

    /// The end of the run: what is still under way is given up. Returns the log, and how many
    /// operations were due and never begun.
    pub(crate) fn finish(mut self, now: Moment) -> (Log, u64) {
        let left: Vec<Flight> = self.in_flight.iter_mut().filter_map(Option::take).collect();
        for mut flight in left {
            flight.is_unsure |= flight.op.deed != Deed::Read;
            self.lost(flight, now);
        }
        for flight in std::mem::take(&mut self.waiting).into_values() {
            match flight.is_unsure {
                true => self.lost(flight, now),
                false => self.at_end(&flight, now, OpEnd::Shed),
            }
        }
        let mut unsent = 0;
        if matches!(self.plan.pace, Pace::Open(_)) {
            while self.due(now) < self.times.end {
                self.begun += 1;
                unsent += 1;
            }
        }
        self.hand_over();
        (self.log, unsent)
    }
}

/// What a refusal means, by the API's contract.
fn judge(status: u16, code: Option<Code>) -> Said {
    match (status, code) {
        // The first of two is being executed right now.
        (_, Some(Code::KeyInUse)) => Said::Unsure,
        (503 | 429, _) => Said::NotNow,
        (408 | 500.., _) => Said::Unsure,
        _ => Said::Refused,
    }
}

impl Job for Load<'_> {
    fn next(&mut self, lane: usize, now: Moment, out: &mut Vec<u8>) -> Next {
        let parked = self.waiting.first_entry();
        let repeat_at = match parked {
            Some(parked) if parked.key().0 <= now => {
                let flight = parked.remove();
                return self.send(lane, now, flight, out);
            }
            Some(parked) => Some(parked.key().0),
            None => None,
        };
        let due = self.due(now);
        let is_due = due <= now && due < self.times.end;
        // A backlog is not worked off for long: the load is over when its time is.
        if is_due && now < self.times.late {
            let op = self.chooser.next();
            let key = self.letters.key(self.thread, self.begun);
            self.begun += 1;
            let (first, last) = (now, now);
            let flight = Flight { op, key, due, first, last, attempts: 0, is_unsure: false };
            return self.send(lane, now, flight, out);
        }
        let due = Some(due).filter(|it| *it < self.times.end && now < self.times.late);
        match (due, repeat_at) {
            (None, None) => Next::Wait,
            (Some(at), None) | (None, Some(at)) => Next::At(at),
            (Some(due), Some(repeat)) => Next::At(due.min(repeat)),
        }
    }

    fn ended(&mut self, lane: usize, now: Moment, end: End<'_>) {
        let Some(mut flight) = self.in_flight[lane].take() else { return };
        self.in_flight_count -= 1;
        self.turn_window(now);
        let mut said = self.hear(&mut flight, now, &end);
        // Of a write that may have been executed before, only the ledger's own word counts.
        let is_ledgers = matches!(&end, End::Answer(it) if matches!(it.status, 404 | 409 | 422));
        if said == Said::Refused && flight.is_unsure && !is_ledgers {
            said = Said::Unsure;
        }
        self.go_on(flight, now, said);
    }

    fn tick(&mut self, now: Moment) {
        self.turn_window(now);
    }

    fn unconnected(&mut self) {
        self.window.attempt(Label::Unconnected);
    }

    fn is_done(&self, now: Moment) -> bool {
        if now < self.times.end {
            return false;
        }
        let is_begun = self.times.end <= self.due(now) || self.times.late <= now;
        let is_empty = self.in_flight_count == 0 && self.waiting.is_empty();
        (is_begun && is_empty) || self.times.give_up <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::plan;
    use std::{borrow::Cow, sync::mpsc};

    const ACCOUNT: &str = "bench-r-0";

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn at(count: u64) -> Moment {
        Moment::ZERO + ms(count)
    }

    /// Runs `test` on one thread's load: 10 debits a second of one account for a second.
    fn with_load(
        change: impl Fn(&mut Plan),
        test: impl FnOnce(&mut Load<'_>),
    ) -> (Log, u64, Window) {
        let mut plan = plan("127.0.0.1:1");
        plan.pace = Pace::Open(10);
        plan.workload = crate::work::Workload::Hot;
        (plan.duration, plan.warm_up) = (ms(1_000), ms(0));
        change(&mut plan);
        let letters = Letters::new(&plan);
        let (sender, receiver) = mpsc::sync_channel(1_024);
        let times = Times::of(&plan, Moment::ZERO);
        let chooser = Chooser::new(plan.workload, plan.accounts, 1);
        let mut load = Load::new(&plan, &letters, chooser, 0, times, (4, 1_000), &sender);
        test(&mut load);
        let (log, unsent) = load.finish(times.end);
        let mut whole = Window::new(0);
        receiver.try_iter().for_each(|it| whole.add(&it));
        (log, unsent, whole)
    }

    fn answer(status: u16, body: String) -> End<'static> {
        let body = Cow::Owned(body.into_bytes());
        End::Answer(Answer { status, body, key: Some("tgk_1"), closes: false })
    }

    fn refusal(status: u16, code: &str) -> End<'static> {
        answer(status, format!(r#"{{"code":"{code}"}}"#))
    }

    /// The acknowledgement of what was asked for in `out`.
    fn success(out: &[u8], version: u64) -> End<'static> {
        let text = String::from_utf8_lossy(out);
        let amount = text.split("\"amount\":").nth(1).unwrap().split(',').next().unwrap();
        answer(
            201,
            format!(
                r#"{{"id":"tx_{version}","account":"{ACCOUNT}","kind":"debit","amount":{amount},"posted_after":1,"version":{version}}}"#
            ),
        )
    }

    /// The next request of this lane, which must be due.
    fn sent(load: &mut Load<'_>, lane: usize, now: Moment) -> Vec<u8> {
        let mut out = Vec::new();
        assert_eq!(load.next(lane, now, &mut out), Next::Send);
        out
    }

    #[test]
    fn latency_counts_from_when_an_operation_was_due() {
        let (log, unsent, window) = with_load(
            |_| (),
            |load| {
                let mut out = Vec::new();
                let first = sent(load, 0, at(0));
                assert_eq!(load.next(1, at(0), &mut out), Next::At(at(100)), "the next is not due");
                load.ended(0, at(5), success(&first, 2));
                // The tree stalls for half a second: five are late, whoever is to blame.
                for (turn, late) in (1..=5).zip([400, 300, 200, 100, 0]) {
                    let out = sent(load, 0, at(500));
                    load.ended(0, at(500), success(&out, 2 + turn));
                    assert!(load.window.due.max() >= late);
                }
                // The next four were due while the tree stalled to the end of the run: one of them
                // can still go out a little later, the others too late.
                assert!(!load.is_done(at(1_400)));
                let out = sent(load, 0, at(1_400));
                load.ended(0, at(1_400), success(&out, 8));
                assert_eq!(load.next(0, at(1_500), &mut Vec::new()), Next::Wait);
                assert!(load.is_done(at(1_500)));
            },
        );
        assert_eq!((log.writes.len(), unsent), (7, 3), "those of the last 300 ms never went out");
        let due = window.due.quantiles();
        assert!((795_000..805_000).contains(&due.max), "{due:?}");
        assert!(window.sent.max() < 6_000, "none took longer once it was sent");
        assert_eq!(window.counts.ok, 7);
    }

    #[test]
    fn what_was_not_executed_is_repeated_with_the_same_key_and_told_once() {
        let (log, _, window) = with_load(
            |_| (),
            |load| {
                let first = sent(load, 0, at(0));
                load.ended(0, at(1), refusal(503, "overloaded"));
                let mut out = Vec::new();
                assert_eq!(load.next(0, at(1), &mut out), Next::At(at(21)));
                let second = sent(load, 1, at(21));
                assert_eq!(first, second);
                load.ended(1, at(22), End::Lost);
                let third = sent(load, 2, at(70));
                assert_eq!(first, third);
                load.ended(2, at(71), success(&third, 2));
            },
        );
        let counts = window.counts;
        assert_eq!((counts.ok, counts.errors(), counts.repeats), (1, 0, 2));
        assert_eq!(window.labels[&Label::Answered(503, Some(Code::Overloaded))], 1);
        assert_eq!(log.writes.len(), 1);
        assert_eq!((log.writes[0].sent, log.writes[0].answered), (at(0), at(71)));
    }

    #[test]
    fn after_an_unknown_attempt_a_definite_no_proves_nothing() {
        for no in ["overloaded", "unauthenticated"] {
            let status = if no == "overloaded" { 503 } else { 401 };
            let (log, _, window) = with_load(
                |_| (),
                |load| {
                    drop(sent(load, 0, at(0)));
                    load.ended(0, at(1), End::TimedOut);
                    drop(sent(load, 0, at(21)));
                    load.ended(0, at(22), refusal(status, no));
                },
            );
            assert_eq!((window.counts.unknown, log.doubts.len()), (1, 1), "{no}");
        }
        let (log, _, window) = with_load(
            |_| (),
            |load| {
                drop(sent(load, 0, at(0)));
                load.ended(0, at(1), End::Lost);
                drop(sent(load, 0, at(21)));
                load.ended(0, at(22), refusal(409, "insufficient_funds"));
            },
        );
        assert_eq!((window.counts.refused, log.doubts.len()), (1, 0), "the ledger's word counts");
    }

    #[test]
    fn a_minted_key_is_repeated_once_it_was_told_and_never_before() {
        let minted = |plan: &mut Plan| plan.keys = crate::plan::Keys::Minted;
        let (_, _, window) = with_load(minted, |load| {
            let first = sent(load, 0, at(0));
            assert!(!String::from_utf8_lossy(&first).contains("Idempotency-Key"));
            load.ended(0, at(1), refusal(504, "outcome_unknown"));
            let second = sent(load, 0, at(21));
            assert!(String::from_utf8_lossy(&second).contains("Idempotency-Key: tgk_1\r\n"));
            load.ended(0, at(22), success(&second, 2));
        });
        assert_eq!((window.counts.ok, window.counts.repeats), (1, 1));
        let (log, _, window) = with_load(minted, |load| {
            drop(sent(load, 0, at(0)));
            load.ended(0, at(1), End::Lost);
        });
        assert_eq!((window.counts.unknown, window.counts.repeats), (1, 0));
        assert_eq!(log.doubts.len(), 1);
    }

    #[test]
    fn without_repeats_every_answer_is_the_last() {
        let (_, _, window) = with_load(
            |plan| plan.repeats = false,
            |load| {
                drop(sent(load, 0, at(0)));
                load.ended(0, at(1), refusal(503, "overloaded"));
                drop(sent(load, 0, at(100)));
                load.ended(0, at(101), End::Unsent);
                drop(sent(load, 0, at(200)));
                load.ended(0, at(201), refusal(504, "outcome_unknown"));
            },
        );
        let counts = window.counts;
        assert_eq!((counts.shed, counts.unknown, counts.repeats), (2, 1, 0));
    }

    #[test]
    fn an_acknowledgement_of_something_else_is_none() {
        let (log, _, window) = with_load(
            |plan| plan.repeats = false,
            |load| {
                let out = sent(load, 0, at(0));
                let End::Answer(mut right) = success(&out, 2) else { panic!() };
                let text = String::from_utf8_lossy(&right.body).replace("debit", "credit");
                right.body = Cow::Owned(text.into_bytes());
                load.ended(0, at(1), End::Answer(right));
            },
        );
        assert_eq!((window.counts.ok, window.counts.unknown, log.writes.len()), (0, 1, 0));
        assert_eq!(window.labels[&Label::Garbled], 1);
    }

    #[test]
    fn windows_are_handed_over_even_when_nothing_happens() {
        let (sender, receiver) = mpsc::sync_channel(1_024);
        let mut plan = plan("127.0.0.1:1");
        plan.window = ms(100);
        let letters = Letters::new(&plan);
        let times = Times::of(&plan, Moment::ZERO);
        let chooser = Chooser::new(plan.workload, plan.accounts, 1);
        let mut load = Load::new(&plan, &letters, chooser, 0, times, (1, 10), &sender);
        load.tick(at(350));
        let indexes: Vec<u64> = receiver.try_iter().map(|it| it.index).collect();
        assert_eq!(indexes, [0, 1, 2]);
    }

    #[test]
    fn the_codes_of_the_api_mean_what_they_say() {
        for (status, code, said) in [
            (409, Code::InsufficientFunds, Said::Refused),
            (409, Code::KeyInUse, Said::Unsure),
            (404, Code::NoSuchAccount, Said::Refused),
            (503, Code::PartitionMoving, Said::NotNow),
            (429, Code::RateLimited, Said::NotNow),
            (504, Code::OutcomeUnknown, Said::Unsure),
        ] {
            assert_eq!(judge(status, Some(code)), said, "{status}");
        }
        assert_eq!((judge(502, None), judge(400, None)), (Said::Unsure, Said::Refused));
    }
}
