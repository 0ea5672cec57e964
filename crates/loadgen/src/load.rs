//! The load itself: operations when they are due, repeats of what was not executed, a memory for
//! the audit.

use crate::{
    answer::Answer,
    audit::{Read, Write},
    batch::Judged,
    body::{self, TransferEnd},
    job::{End, Job, Next},
    letter::{Key, Letters},
    limits::{ATTEMPTS_MAX, LATE_MAX, REPEAT_PAUSE, REPEAT_PAUSE_MAX, REPEATS_WAITING_MAX},
    log::{Doubt, Log},
    plan::{Pace, Plan},
    tally::{Label, OpEnd, Window},
    work::{Chooser, Deed, Op, Workload},
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
    /// The whole of a batch, `op` its first; empty of any other operation.
    batch: Box<[Op]>,
    /// What the last answer to a batch said of each item.
    told: Vec<Judged>,
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

    /// The next operation, and the whole of it where it is a batch.
    fn choose(&mut self) -> (Op, Box<[Op]>) {
        let services = self.plan.services.len();
        match self.plan.workload {
            Workload::Batch => {
                let batch = self.chooser.batch(self.plan.batch, services);
                (batch[0], batch)
            }
            Workload::Transfers => (self.chooser.transfer(services), Box::default()),
            Workload::Debits
            | Workload::Credits
            | Workload::Hot
            | Workload::Reads
            | Workload::Mixed
            | Workload::Zipf => (self.chooser.next(), Box::default()),
        }
    }

    fn send(&mut self, lane: usize, now: Moment, mut flight: Flight, out: &mut Vec<u8>) -> Next {
        flight.last = now;
        flight.attempts += 1;
        flight.told.clear();
        match &*flight.batch {
            [] => self.letters.op(out, flight.op, &flight.key),
            ops => self.letters.batch(out, ops, &flight.key),
        }
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
            && (300 <= answer.status || !flight.batch.is_empty())
        {
            flight.key = Key::Told(key.into());
        }
        if answer.status < 300 {
            self.window.attempt(Label::Answered(answer.status, None));
            if !flight.batch.is_empty() {
                return self.hear_batch(flight, answer);
            }
            let said = self.take_down(flight, now, answer);
            return said.unwrap_or_else(|| self.silence(Label::Garbled, Said::Unsure));
        }
        let code = body::code(&answer.body);
        self.window.attempt(Label::Answered(answer.status, code));
        match judge(answer.status, code) {
            Judged::Done(_) => Said::Done,
            Judged::Refused => Said::Refused,
            Judged::NotNow => Said::NotNow,
            Judged::Unsure => Said::Unsure,
        }
    }

    /// What a batch's answer says of it: the least that it says of any item.
    fn hear_batch(&mut self, flight: &mut Flight, answer: &Answer<'_>) -> Said {
        let ids = flight.batch.iter().map(|op| self.letters.account(op.account));
        let Some(outcomes) = body::outcomes(&answer.body, ids) else {
            return self.silence(Label::Garbled, Said::Unsure);
        };
        for it in outcomes.iter().filter(|it| 300 <= it.status) {
            self.window.attempt(Label::Answered(it.status, it.code));
        }
        let items = flight.batch.iter().zip(&outcomes);
        flight.told = items.map(|(op, it)| Judged::of(op, it)).collect();
        if flight.told.contains(&Judged::Unsure) {
            Said::Unsure
        } else if flight.told.contains(&Judged::NotNow) {
            Said::NotNow
        } else {
            Said::Done
        }
    }

    fn silence(&mut self, label: Label, said: Said) -> Said {
        self.window.attempt(label);
        said
    }

    /// `None` when the answer is not one to this operation.
    fn take_down(&mut self, flight: &Flight, now: Moment, answer: &Answer<'_>) -> Option<Said> {
        let Flight { op, first, last, .. } = flight;
        if op.to.is_some() {
            let told = body::transfer(&answer.body, self.letters.parties(*op), op.amount)?;
            self.log.transferred(*op, &told, *first, now);
            let is_returned = told.end == Some(TransferEnd::Returned);
            return Some(if is_returned { Said::Refused } else { Said::Done });
        }
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
        Some(Said::Done)
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
            let Flight { op, batch, key, first: sent, .. } = flight;
            self.log.doubt(Doubt { op, batch, key, sent });
        }
    }

    fn at_end(&mut self, flight: &Flight, now: Moment, end: OpEnd) {
        let (since_due, since_sent) = (now.since(flight.due), now.since(flight.last));
        if flight.batch.is_empty() {
            return self.window.operation(end, since_due, since_sent);
        }
        // A batch of which anything is unknown is asked about as a whole once more.
        let is_known = end != OpEnd::Unknown;
        for (at, op) in flight.batch.iter().enumerate() {
            let end = match flight.told.get(at) {
                None => end,
                Some(Judged::Done(entry)) => {
                    if is_known {
                        let (account, sent, answered) = (op.account, flight.first, now);
                        self.log.wrote(Write { account, entry: *entry, sent, answered });
                    }
                    OpEnd::Ok
                }
                Some(Judged::Refused) => OpEnd::Refused,
                Some(Judged::NotNow) if !flight.is_unsure => OpEnd::Shed,
                Some(Judged::NotNow | Judged::Unsure) => OpEnd::Unknown,
            };
            self.window.operation(end, since_due, since_sent);
        }
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
pub(crate) fn judge(status: u16, code: Option<Code>) -> Judged {
    match (status, code) {
        // The first of two is being executed right now.
        (_, Some(Code::KeyInUse)) => Judged::Unsure,
        (503 | 429, _) => Judged::NotNow,
        (408 | 500.., _) => Judged::Unsure,
        _ => Judged::Refused,
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
            let (op, batch) = self.choose();
            let key = self.letters.key(self.thread, self.begun);
            self.begun += 1;
            let (first, last) = (now, now);
            let (told, attempts, is_unsure) = (Vec::new(), 0, false);
            let flight = Flight { op, batch, told, key, due, first, last, attempts, is_unsure };
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
        let is_ledgers =
            matches!(&end, End::Answer(it) if matches!(it.status, ..300 | 404 | 409 | 422));
        if said == Said::Refused && flight.is_unsure && !is_ledgers {
            said = Said::Unsure;
        }
        self.go_on(flight, now, said);
    }

    fn tick(&mut self, now: Moment) {
        self.turn_window(now);
    }

    fn unconnected(&mut self, _why: Option<&'static str>) {
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
mod tests;
