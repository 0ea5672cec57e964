//! What the monitor tells about itself on its admin address.

use super::Node;
use crate::{book::Kind, core::check::State, store::Trouble};
use net::{
    admin::{Exposition, Source},
    agent::beat::{SelfCheck, Verdict},
    counters::Counter,
};
use std::sync::{Mutex, PoisonError};
use stdx::Moment;

/// Written by the monitor's thread, read by the admin thread.
#[derive(Debug, Default)]
pub(crate) struct Status {
    ready: Counter,
    pub(super) beats: Counter,
    pub(super) delivered: Counter,
    checks: Counter,
    troubled: Counter,
    incidents: Counter,
    waiting: Counter,
    sick_channels: Counter,
    store: Mutex<Trouble>,
}

impl Status {
    /// Where to look for what the store says.
    pub(super) fn set_store(&self, trouble: Trouble) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Why nothing can be stored; `None` as long as it can.
    pub(crate) fn store_trouble(&self) -> Option<String> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).words()
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.set(u64::from(ready));
    }
}

impl Node {
    /// Brings the counters up to date.
    pub(super) fn count(&self) {
        let status = &self.status;
        status.incidents.set(self.desk.borrow().open().count() as u64);
        let channels = self.channels.borrow();
        status.waiting.set(channels.iter().map(|it| it.queue.waiting_count() as u64).sum());
        status.sick_channels.set(channels.iter().filter(|it| it.queue.is_sick()).count() as u64);
    }

    /// As [`Node::count`], for what takes a look at every check.
    pub(crate) fn count_checks(&self) -> [u64; State::ALL.len()] {
        let detector = self.detector.borrow();
        let mut counts = [0; State::ALL.len()];
        for check in self.book.borrow().iter().filter(|it| it.plan.kind != Kind::Channel) {
            let state = detector.state(check.id).unwrap_or(State::New);
            let at = State::ALL.iter().position(|it| *it == state).expect("one of all");
            counts[at] += 1;
        }
        let of = |wanted: State| State::ALL.iter().zip(counts).find(|it| *it.0 == wanted);
        let troubled = [State::Down, State::Sick].into_iter().filter_map(of).map(|it| it.1).sum();
        self.status.checks.set(counts.iter().sum());
        self.status.troubled.set(troubled);
        counts
    }
}

impl Source for Status {
    fn readiness(&self) -> Result<(), String> {
        match self.ready.get() {
            1 => Ok(()),
            _ => Err(match self.store_trouble() {
                Some(why) => format!("waits for its store: {why}"),
                None => "it reads what was kept, or drains".to_owned(),
            }),
        }
    }

    fn checks(&self, _now: Moment, out: &mut Vec<SelfCheck>) {
        let trouble = self.store_trouble();
        let verdict = if trouble.is_none() { Verdict::Pass } else { Verdict::Fail };
        let words = trouble.unwrap_or_else(|| "what is heard is stored".to_owned());
        out.push(SelfCheck::of("store", verdict, words));
        let sick = self.sick_channels.get();
        // Worth a look, and nothing that could be told over the very channels.
        let verdict = if sick == 0 { Verdict::Pass } else { Verdict::Warn };
        let detail = format!("{sick} of the channels fail");
        out.push(SelfCheck::of("channels", verdict, detail).with_value(sick));
    }

    fn metrics(&self, out: &mut Exposition) {
        out.counter("monitor_beats_total", "Beats received.", &[(&[], self.beats.get())]);
        let delivered = self.delivered.get();
        out.counter("monitor_letters_delivered_total", "Letters accepted.", &[(&[], delivered)]);
        let failing = u64::from(self.store_trouble().is_some());
        out.gauge("monitor_store_failing", "Nothing can be stored.", &[(&[], failing)]);
        out.gauge("monitor_incidents_open", "Incidents.", &[(&[], self.incidents.get())]);
        out.gauge("monitor_letters_waiting", "Letters to send.", &[(&[], self.waiting.get())]);
        out.gauge(
            "monitor_channels_sick",
            "Channels that fail.",
            &[(&[], self.sick_channels.get())],
        );
    }

    fn status(&self) -> String {
        format!(
            concat!(
                r#"{{"role":"monitor","ready":{},"requests":{},"beats":{},"checks":{},"#,
                r#""troubled":{},"incidents":{},"letters_waiting":{},"letters_delivered":{}}}"#
            ),
            self.ready.get() == 1,
            self.beats.get(),
            self.beats.get(),
            self.checks.get(),
            self.troubled.get(),
            self.incidents.get(),
            self.waiting.get(),
            self.delivered.get(),
        )
    }
}
