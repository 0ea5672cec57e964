//! Holds what is heard against the rules.

use super::{JobBeat, Node};
use crate::{
    book::Plan,
    core::{
        availability::Mark,
        check::{CheckId, Now, Signal, State},
        reading::{METRICS_MAX, Number, Reading},
        rule::Subject,
    },
    store::Row,
};
use net::agent::beat::{Beat, Phase};
use std::{rc::Rc, time::Duration};

/// How the length of a run is called among a job's numbers; in seconds.
const TOOK: &str = "run.seconds";

impl Node {
    /// The numbers of a node's beat, before the beat itself is heard.
    pub(super) fn judge_beat(
        self: &Rc<Node>,
        now: Now,
        id: CheckId,
        boot: u64,
        said: &Beat,
        rows: &mut Vec<Row>,
    ) {
        if said.phase != Phase::Up {
            return; // What begins or ends says little of how it does.
        }
        let config = self.config();
        let changed = self.referee.borrow_mut().observe(
            now.moment,
            id,
            config.every + config.grace,
            &reading(boot, said),
        );
        if changed {
            self.rule_over(now, id, rows);
        }
    }

    /// The numbers of a job's beat, before the beat itself is heard: what it tells, and how long its run
    /// took. A beat that neither ends anything nor tells something is not looked at.
    pub(super) fn judge_job(
        self: &Rc<Node>,
        now: Now,
        id: CheckId,
        it: &JobBeat,
        took: Option<Duration>,
        rows: &mut Vec<Row>,
    ) {
        let ends = matches!(it.signal, Signal::Success | Signal::Fail(_));
        if !ends && it.metrics.is_empty() {
            return;
        }
        let mut reading = Reading::new(0);
        let gap_max = {
            let mut book = self.book.borrow_mut();
            let Some(check) = book.get_mut(id) else { return };
            check.numbers = it.metrics.iter().take(METRICS_MAX).cloned().collect();
            if let Some(took) = took {
                let (name, value) = (TOOK.to_owned(), took.as_secs_f64());
                check.numbers.push(Number { name, value });
            }
            check.numbers.iter().for_each(|it| reading.set(&it.name, it.value));
            Duration::from_millis(check.plan.every_ms) + check.plan.grace()
        };
        if self.referee.borrow_mut().observe(now.moment, id, gap_max, &reading) {
            self.rule_over(now, id, rows);
        }
    }

    /// Time has passed: for rules that are over time.
    pub(super) fn judge_time(self: &Rc<Node>, now: Now, rows: &mut Vec<Row>) {
        let changed = {
            let detector = self.detector.borrow();
            let mark = |id| Mark::of(detector.state(id).unwrap_or(State::New));
            self.referee.borrow_mut().pass(now, mark)
        };
        changed.into_iter().for_each(|id| self.rule_over(now, id, rows));
    }

    /// Makes what the rules say of a check count.
    pub(super) fn rule_over(self: &Rc<Node>, now: Now, id: CheckId, rows: &mut Vec<Row>) {
        let ruled = self.referee.borrow().verdict(id);
        let mut noticed = Vec::new();
        self.detector.borrow_mut().set_ruled(now, id, ruled, &mut noticed);
        self.take_in(now, noticed, rows);
    }

    /// What rules know and is not stored yet.
    pub(super) fn tracker_rows(&self, rows: &mut Vec<Row>) {
        let dirty = self.referee.borrow_mut().take_dirty();
        rows.extend(dirty.into_iter().map(|(id, it)| Row::Tracker(id, Box::new(it))));
    }

    /// What rules ask of a check.
    pub(super) fn subject(&self, plan: &Plan) -> Subject {
        let config = self.config();
        let node = config.nodes.iter().find(|it| it.name == plan.name);
        Subject {
            name: plan.name.clone(),
            role: plan.role.clone(),
            service: node.and_then(|it| it.service.clone()).unwrap_or_default(),
        }
    }
}

/// The numbers of a beat.
fn reading(boot: u64, said: &Beat) -> Reading {
    let mut reading = Reading::new(boot);
    let page = said.metrics.as_ref().and_then(|it| serde_json::from_str(it.get()).ok());
    if let Some(page) = page {
        reading.page(&page);
    }
    for check in &said.checks {
        if let Some(value) = check.value {
            reading.check(&check.name, value);
        }
    }
    reading
}
