//! `GET /v1/{service}/events`: what was journaled, as server-sent events, for as long as a client
//! listens.
//!
//! The order is that of each partition's journal; partitions are told side by side. After each round
//! over all of them the client gets a cursor, which is where each partition is to go on: what came
//! after the last cursor comes again. Nothing is held anywhere for a client: the owners read a
//! little of their journals whenever this asks them, and whoever takes nothing is asked nothing. Who
//! are at the same place share a question.

use super::{
    ask::Ask, cursor, front::Front, guests::Pass, limits::STEP_TIME_MAX, lists::TrialParts, looks,
    mistake::Mistake, render, service::Service,
};
use bytes::Bytes;
use net::clock;
use std::{rc::Rc, time::Duration};
use tokio::{task::JoinSet, time::sleep};
use wire::{
    Call, Done, PartitionId, Reply,
    call::Failure,
    query::{Event, Mark, Query},
};

/// How often a client hears something at least, so that nobody on the way takes it for gone.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// Partitions of a service that can be listened to: a cursor names a place in each of them, and is to
/// fit a request's line.
pub(super) const PARTITIONS_MAX: u16 = 512;

/// Stands for the first record of every journal, as does no cursor at all.
pub(super) const BEGINNING: &str = "0";

/// Of the answer.
pub(super) const CONTENT_TYPE: &str = "text/event-stream";

/// A client that listens.
pub(super) struct Events {
    service: Rc<Service>,
    /// Where each partition goes on.
    marks: Vec<Mark>,
    /// They are yet to be set to where the journals end.
    is_from_now: bool,
    pass: Pass,
    /// Counts the listeners.
    _listening: Rc<()>,
}

impl Events {
    /// From `after` on, a cursor of this service or `now`; from the beginning without one.
    pub(super) fn new(
        service: &Rc<Service>,
        after: Option<&str>,
        pass: Pass,
        listening: Rc<()>,
    ) -> Result<Events, Mistake> {
        if PARTITIONS_MAX < service.partitions {
            let detail = format!("events are for services of at most {PARTITIONS_MAX} partitions");
            return Err(Mistake::in_body(detail));
        }
        let is_from_now = after == Some("now");
        let marks = match after.filter(|_| !is_from_now) {
            Some(after) => cursor::open_events(&service.name, service.partitions, after)?,
            None => vec![Mark::default(); usize::from(service.partitions)],
        };
        let service = Rc::clone(service);
        Ok(Events { service, marks, is_from_now, pass, _listening: listening })
    }

    /// Knows who lets the listener stay.
    pub(super) fn at(mut self, front: &Rc<Front>) -> Events {
        self.pass.at(front);
        self
    }

    /// Tells what there is and what comes, until `send` fails, the key is no longer good, or the
    /// gateway ends.
    pub(super) async fn run<E>(mut self, mut send: impl AsyncFnMut(Bytes) -> Result<(), E>) {
        // The head goes out with the first bytes.
        let mut text = b": events\n\n".to_vec();
        let mut heard_at = clock::now();
        while self.pass.is_good() {
            if self.is_from_now {
                self.is_from_now = self.skip().await.is_err();
                if !self.is_from_now {
                    self.cursor(&mut text);
                }
            }
            let is_news = !self.is_from_now && self.round(&mut text).await;
            if is_news || HEARTBEAT_EVERY <= clock::now().since(heard_at) {
                self.cursor(&mut text);
            }
            if !text.is_empty() {
                heard_at = clock::now();
                if send(Bytes::from(std::mem::take(&mut text))).await.is_err() {
                    return;
                }
            }
            if !is_news {
                sleep(looks::until_next()).await;
            }
        }
    }

    /// Goes to where the journals end.
    async fn skip(&mut self) -> Result<(), Failure> {
        let deadline = clock::now() + STEP_TIME_MAX;
        let ask = Ask::new(&Call::Query(Query::Trial), deadline, 0, "");
        let parts: TrialParts = ask.everybody(&self.service).await?;
        let trial = parts.sum().ok_or(Failure::Malformed)?;
        for (partition, head) in trial.heads {
            if let Some(mark) = self.marks.get_mut(usize::from(partition.0)) {
                *mark = Mark { seq: head.next(), items: 0 };
            }
        }
        Ok(())
    }

    /// Asks every owner once, unless others just did; whether there was anything new. What an owner
    /// does not answer now is asked again in the next round.
    async fn round(&mut self, text: &mut Vec<u8>) -> bool {
        let mut asking = JoinSet::new();
        let now = clock::now();
        for (partition, from) in (0..).map(PartitionId).zip(self.marks.iter().copied()) {
            if self.service.looks.is_quiet(now, partition, from) {
                continue;
            }
            let service = Rc::clone(&self.service);
            let look = async move { (partition, looks::look(&service, partition, from).await) };
            drop(asking.spawn_local(look));
        }
        let mut is_news = false;
        while let Some(answer) = asking.join_next().await {
            let Ok((partition, look)) = answer else { continue };
            match look.answer().expect("it was waited for") {
                Ok(Reply::Events { rows, next }) => {
                    let mark = &mut self.marks[usize::from(partition.0)];
                    is_news |= *mark < *next;
                    *mark = *next;
                    rows.iter().for_each(|event| self.write(text, event));
                }
                Ok(_) => tracing::error!("a node answers a question about events oddly"),
                Err(Failure::NotOwner | Failure::Overloaded) => (),
                Err(failure) => tracing::debug!(?failure, "no events"),
            }
        }
        is_news
    }

    fn write(&self, text: &mut Vec<u8>, event: &Event) {
        let service = &self.service.name;
        let mut put = |name: &str, write: &dyn Fn(&mut Vec<u8>)| {
            render::text(text, "event: ");
            render::text(text, name);
            render::text(text, "\ndata: ");
            write(text);
            render::text(text, "\n\n");
        };
        match &event.done {
            Done::Opened(state) => {
                put("account.opened", &|out| render::account(out, service, state));
            }
            Done::Updated(state) => {
                put("account.updated", &|out| render::account(out, service, state));
            }
            Done::Posted(posting) => {
                put("transaction", &|out| render::transaction(out, service, posting));
            }
            Done::Held(hold) | Done::HoldEnded(hold) => {
                put("hold", &|out| render::hold(out, service, hold));
            }
            Done::Transferred(transfer) => put("transfer", &|out| render::transfer(out, transfer)),
            // Between the owners of a transfer.
            Done::Delivered(_) => (),
        }
    }

    /// Where to go on. A client that breaks off sends it as `Last-Event-ID`, browsers by themselves.
    fn cursor(&self, text: &mut Vec<u8>) {
        let cursor = cursor::seal_events(&self.service.name, &self.marks);
        render::text(text, &format!("event: cursor\nid: {cursor}\ndata: {{}}\n\n"));
    }
}
