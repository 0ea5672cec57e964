//! Takes beats in: those of nodes, from their agents, and those of jobs, in any dialect.

use super::{Node, now};
use crate::{
    book::Kind,
    core::{
        check::{Beat, CheckId, Now, Origin, Signal, State, between},
        reading::Number,
    },
    store::{Ping, Row},
};
use net::agent::beat::{self, Phase, SelfCheck, Verdict};
use std::{rc::Rc, time::Duration};
use tokio::sync::oneshot;
use wire::Timestamp;

/// Beats a minute that one job may send, and how many of them at once.
const RATE_PER_MINUTE: u32 = 60;
const BURST: u32 = 20;
/// Checks whose failing is most likely the fault of another node.
const CONSEQUENCES: [&str; 2] = ["endpoints", "commit"];

/// A beat of a job, in whatever dialect it came.
pub(crate) struct JobBeat {
    pub(crate) signal: Signal,
    /// The word for it in the record.
    pub(crate) kind: &'static str,
    pub(crate) run: Option<u128>,
    /// What it tells of its work.
    pub(crate) metrics: Vec<Number>,
    pub(crate) remote: String,
    pub(crate) method: String,
    pub(crate) agent: String,
    pub(crate) body: Vec<u8>,
}

/// What became of a beat.
pub(crate) enum Heard {
    /// To be answered once it is on the disk.
    Kept(Option<oneshot::Receiver<bool>>),
    /// Too many too fast.
    TooMany,
    Unknown,
}

impl Node {
    /// The beats of one node, oldest first.
    pub(crate) fn hear_node(self: &Rc<Node>, beats: Vec<beat::Beat>) -> Heard {
        let now = now();
        let mut rows = Vec::new();
        // What came late is of the past: only the newest says how the node is.
        let Some(said) = beats.into_iter().max_by_key(|it| it.seq) else {
            return Heard::Kept(None);
        };
        let Some(id) = self.book.borrow().node(&said.node) else { return Heard::Unknown };
        let Ok(boot) = u64::from_str_radix(&said.boot, 16) else { return Heard::Unknown };
        let origin = Origin { boot, seq: said.seq };
        let beat = Beat { signal: signal(&said), run: None, origin: Some(origin) };
        let mut noticed = Vec::new();
        self.judge_beat(now, id, boot, &said, &mut rows);
        let is_news = self.detector.borrow_mut().hear(now, id, &beat, &mut noticed);
        if is_news && let Some(check) = self.book.borrow_mut().get_mut(id) {
            check.last_at = Some(now.wall);
            rows.extend(check.count(now.wall).map(|it| self.tallied(now, it)));
            for it in &said.checks {
                if let Some(value) = it.value {
                    check.tally.count.see(&it.name, value);
                }
            }
            check.said = Some(said);
        }
        self.take_in(now, noticed, &mut rows);
        if is_news {
            rows.extend(self.known(now, id).map(|it| Row::Beat(it, None)));
        }
        self.status.beats.add(1);
        Heard::Kept(self.keep(rows))
    }

    /// One beat of a job.
    pub(crate) fn hear_job(self: &Rc<Node>, id: CheckId, it: JobBeat) -> Heard {
        let now = now();
        let is_paused = self.detector.borrow().state(id) == Some(State::Paused);
        let waits = self.book.borrow().get(id).is_some_and(|it| it.plan.manual_resume);
        if is_paused && !waits && it.kind != "ign" {
            self.set_paused(id, false);
        }
        let runs = self.detector.borrow().kept(now, id).map_or(Vec::new(), |it| it.runs);
        let (mut noticed, mut rows) = (Vec::new(), Vec::new());
        let Some(duration) = self.count_job(now, id, &it, &runs, &mut rows) else {
            return Heard::TooMany;
        };
        if it.kind != "ign" {
            self.judge_job(now, id, &it, duration, &mut rows);
        }
        let beat = Beat { signal: it.signal, run: it.run, origin: None };
        if it.kind != "ign" {
            self.detector.borrow_mut().hear(now, id, &beat, &mut noticed);
        }
        self.take_in(now, noticed, &mut rows);
        let ping = Ping {
            at: now.wall,
            kind: it.kind,
            remote: it.remote,
            method: it.method,
            agent: it.agent,
            run: it.run,
            duration,
            body: it.body,
        };
        rows.extend(self.known(now, id).map(|known| Row::Beat(known, Some(Box::new(ping)))));
        self.status.beats.add(1);
        Heard::Kept(self.keep(rows))
    }

    /// Counts a beat and times its run; `None` when there were too many.
    fn count_job(
        &self,
        now: Now,
        id: CheckId,
        it: &JobBeat,
        runs: &[(Timestamp, Option<u128>)],
        rows: &mut Vec<Row>,
    ) -> Option<Option<Duration>> {
        let mut book = self.book.borrow_mut();
        let check = book.get_mut(id)?;
        let (left, filled) = check.tokens;
        let fresh = between(filled, now.wall).as_millis() * u128::from(RATE_PER_MINUTE) / 60_000;
        let fresh = u32::try_from(fresh).unwrap_or(u32::MAX);
        let filled = if fresh == 0 { filled } else { now.wall };
        check.tokens = (left.saturating_add(fresh).min(BURST), filled);
        check.tokens.0 = check.tokens.0.checked_sub(1)?;
        rows.extend(check.count(now.wall).map(|it| self.tallied(now, it)));
        let ends = matches!(it.signal, Signal::Success | Signal::Fail(_));
        let of_run = |run: Option<u128>| it.run.is_none() || it.run == run;
        let run = runs.iter().rev().find(|(_, run)| ends && of_run(*run));
        let duration = run.map(|(at, _)| between(*at, now.wall));
        if ends {
            check.last_at = Some(now.wall);
            check.last_duration = duration.or(check.last_duration);
        }
        Some(duration)
    }
}

/// What a node's beat comes to.
fn signal(said: &beat::Beat) -> Signal {
    match said.phase {
        Phase::Starting => return Signal::Starting,
        Phase::Draining => return Signal::Draining,
        Phase::Stopped => return Signal::Stopped,
        Phase::Up => {}
    }
    let failing = |it: &&SelfCheck| it.verdict == Verdict::Fail;
    let failing: Vec<&SelfCheck> = said.checks.iter().filter(failing).collect();
    let words: Vec<String> =
        failing.iter().map(|it| format!("{}: {}", it.name, it.detail)).collect();
    let words = words.join("; ");
    match failing.iter().all(|it| CONSEQUENCES.contains(&it.name.as_str())) {
        _ if failing.is_empty() => Signal::Success,
        true => Signal::Cut(words),
        false => Signal::Sick(words),
    }
}

impl Node {
    /// Whether this is a job, and not a node of the tree.
    pub(crate) fn is_job(&self, id: CheckId) -> bool {
        self.book.borrow().get(id).is_some_and(|it| it.plan.kind == Kind::Job)
    }
}
