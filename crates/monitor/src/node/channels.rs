//! The channels themselves: which of them hears what, each watched as a check of its own, and who
//! is told when one does not deliver.
//!
//! A channel that fails is an incident like any other, told over the others. What it could not
//! deliver for a while goes to the fallback channel as well, which then also hears how that ends.

use super::{Channel, Node, now};
use crate::{
    book::{Book, Kind, Plan, make_uuid},
    config::MonitorConfig,
    core::{
        check::{Beat, CheckId, Now, Signal, State, between},
        contract::PERIOD_MAX,
        incident::IncidentId,
        notice::{Event, Notice},
    },
    node::random,
    store::Row,
};
use std::{collections::BTreeSet, rc::Rc};

/// How a channel's check is called.
fn check_name(channel: &str) -> String {
    format!("channel {channel}")
}

/// Channels of the file that are new are entered as checks, and those that are not in it any more
/// struck out. The check of each channel, in order; `None` when there are too many.
pub(super) fn enter(
    config: &MonitorConfig,
    book: &mut Book,
    now: Now,
    rows: &mut Vec<Row>,
) -> Vec<Option<CheckId>> {
    let names: Vec<String> = config.channels.iter().map(|it| check_name(&it.name)).collect();
    let gone = book.iter().filter(|it| it.plan.kind == Kind::Channel);
    let gone: Vec<CheckId> =
        gone.filter(|it| !names.contains(&it.plan.name)).map(|it| it.id).collect();
    for id in gone {
        book.remove(id);
        rows.push(Row::Forget(id));
    }
    let check = |name: &String| {
        let is_it =
            |it: &&crate::book::Check| it.plan.kind == Kind::Channel && it.plan.name == *name;
        if let Some(id) = book.iter().find(is_it).map(|it| it.id) {
            return Some(id);
        }
        // Nothing is expected of it at any time: it is heard when there is something to deliver.
        let every_ms = u64::try_from(PERIOD_MAX.as_millis()).unwrap_or(u64::MAX);
        let plan = Plan { kind: Kind::Channel, every_ms, ..Plan::job(name, "", now.wall) };
        book.create(make_uuid(random()), plan).map(|it| it.id)
    };
    names.iter().map(check).collect()
}

impl Node {
    /// Puts a notice into the queue of everybody who is to hear it.
    pub(super) fn spread(&self, notice: Notice, rows: &mut Vec<Row>) {
        // Another monitor may be the one to tell.
        let is_end_of_ours =
            notice.event == Event::Resolved && self.told_here.borrow().contains(&notice.incident);
        if is_end_of_ours {
            // Whoever heard the beginning of this monitor hears the end, whoever tells people now.
            return self.tell_all(&notice, rows);
        }
        let to_tell = self.standby.borrow_mut().take(notice);
        if let Some(notice) = to_tell {
            self.tell_all(&notice, rows);
        }
    }

    /// The same, by this monitor.
    pub(super) fn tell_all(&self, notice: &Notice, rows: &mut Vec<Row>) {
        let fallback = self.fallback();
        let about = self.channel_of(notice);
        let fell = self.fell_back.borrow().contains(&notice.incident);
        let count = self.channels.borrow().len();
        for at in (0..count).filter(|at| about != Some(*at)) {
            let is_meant = notice.to.contains(&self.channels.borrow()[at].config.name);
            // The fallback hears of what others did not deliver, and of those others.
            if is_meant || fallback == Some(at) && (fell || about.is_some()) {
                self.post(at, notice.clone(), rows);
            }
        }
        if notice.event == Event::Resolved {
            self.fell_back.borrow_mut().remove(&notice.incident);
            self.told_here.borrow_mut().remove(&notice.incident);
        } else if notice.event.tells_of_trouble() {
            self.told_here.borrow_mut().insert(notice.incident);
        }
    }

    fn fallback(&self) -> Option<usize> {
        let config = self.config();
        let name = config.fallback.as_ref()?;
        self.channels.borrow().iter().position(|it| it.config.name == *name)
    }

    /// The channel that a notice is about, if it is about nothing else: it is not told itself.
    fn channel_of(&self, notice: &Notice) -> Option<usize> {
        let [member] = &notice.about.members[..] else { return None };
        self.channels.borrow().iter().position(|it| it.check == Some(member.check))
    }

    /// Hands to the fallback channel what has waited too long in another.
    pub(super) fn fall_back(&self, now: Now, rows: &mut Vec<Row>) {
        let config = self.config();
        let Some(at) = self.fallback() else { return };
        let mut late: Vec<Notice> = Vec::new();
        {
            let channels = self.channels.borrow();
            let others = channels.iter().enumerate().filter(|it| it.0 != at).map(|it| it.1);
            let waiting = others.flat_map(|it: &Channel| it.queue.waiting());
            let is_late = |it: &&Notice| config.undelivered_max <= between(it.at, now.wall);
            late.extend(waiting.map(|it| &it.notice).filter(is_late).cloned());
        }
        for notice in late {
            self.fall_back_with(at, notice, rows);
        }
    }

    /// Hands one notice that a channel has given up to the fallback channel.
    pub(super) fn given_up(&self, from: usize, notice: Notice, rows: &mut Vec<Row>) {
        match self.fallback() {
            Some(at) if at != from => self.fall_back_with(at, notice, rows),
            Some(_) | None => {}
        }
    }

    fn fall_back_with(&self, at: usize, notice: Notice, rows: &mut Vec<Row>) {
        let is_new = notice.event.tells_of_trouble()
            && self.channel_of(&notice) != Some(at)
            && self.fell_back.borrow_mut().insert(notice.incident);
        if is_new {
            let incident = notice.incident;
            tracing::warn!(%incident, "not delivered in time: the fallback channel is told");
            self.post(at, notice, rows);
        }
    }

    /// A channel has delivered, or has failed too often: its check hears so.
    pub(super) fn feel(self: &Rc<Node>, at: usize, delivered: bool, rows: &mut Vec<Row>) {
        let (check, signal) = {
            let channels = self.channels.borrow();
            let Channel { queue, check, .. } = &channels[at];
            let words = queue.last_error().unwrap_or("it fails").to_owned();
            let patience = self.config().undelivered_max;
            let is_late =
                queue.failing_since().is_some_and(|it| patience <= now().moment.since(it));
            let signal = match (delivered, queue.is_sick() && is_late) {
                (true, _) => Signal::Success,
                (false, true) => Signal::Sick(words),
                (false, false) => return,
            };
            (*check, signal)
        };
        let Some(check) = check else { return };
        let before = self.detector.borrow().state(check);
        let news = if delivered { before != Some(State::Up) } else { before != Some(State::Sick) };
        if news {
            let (now, mut noticed) = (now(), Vec::new());
            self.detector.borrow_mut().hear(now, check, &Beat::of(signal), &mut noticed);
            self.take_in(now, noticed, rows);
            rows.extend(self.heard_row(now, check));
        }
    }
}

/// The open incidents of which the fallback channel was told before the last process ended.
pub(super) fn fell_back(
    config: &MonitorConfig,
    told: &[(String, IncidentId)],
) -> BTreeSet<IncidentId> {
    let Some(fallback) = &config.fallback else { return BTreeSet::new() };
    let of_it = told.iter().filter(|(channel, _)| channel == fallback);
    of_it.map(|(_, incident)| *incident).collect()
}
