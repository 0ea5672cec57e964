//! What is on its way, and when it comes: the one queue of everything that will happen.

use crate::{
    client::Heard,
    database::{Answer, Statement},
};
use lease::NodeId;
use std::{collections::BTreeMap, time::Duration};
use stdx::{Moment, Rng};
use wire::{Call, Epoch, PartitionId, Reply};

/// Between two processes, mostly.
const SOON: Duration = Duration::from_micros(200);
const SOON_SPREAD_MICROS: usize = 2_000;
/// A piece that had to be sent again.
const LATE_SPREAD_MICROS: usize = 400_000;
/// A statement that a broken connection had left on its way.
const VERY_LATE_SPREAD_MICROS: usize = 9_000_000;

/// Somebody who can be told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Database,
    Node(usize),
    Gateway(usize),
    Client(usize),
    /// Whoever makes things go wrong.
    Fate,
}

/// A connection of a node's to the database: one statement is under way on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    Commit,
    Lease,
    Pulse,
    Confirm,
    LookUp,
}

/// What a node does by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    Look,
    Renew,
    /// The statement of this number should have been answered by now.
    TimeOut(Link, u64),
    Patience,
}

/// What happens, and to whom.
#[derive(Debug)]
pub(crate) enum Event {
    Database(Ask),
    Node(usize, ToNode),
    Gateway(usize, ToGateway),
    Client(usize, ToClient),
    /// Something goes wrong.
    Blow,
}

/// A statement of a node's.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) node: usize,
    pub(crate) life: NodeId,
    pub(crate) link: Link,
    pub(crate) number: u64,
    pub(crate) statement: Statement,
}

#[derive(Debug)]
pub(crate) enum ToNode {
    Start,
    Told { life: NodeId, link: Link, number: u64, answer: Answer },
    Tick { life: NodeId, tick: Tick },
    Call { gateway: usize, attempt: u64, partition: PartitionId, left: Duration, call: Call },
}

#[derive(Debug)]
pub(crate) enum ToGateway {
    Request { client: usize, op: u64, try_number: u32, call: Call },
    Replied { attempt: u64, reply: Reply },
    Lost { attempt: u64 },
    Owns { node: usize, life: NodeId, owned: Vec<(PartitionId, Epoch)> },
    Gone { node: usize, life: NodeId },
    Wake { request: u64 },
}

#[derive(Debug)]
pub(crate) enum ToClient {
    Heard { op: u64, try_number: u32, heard: Box<Heard> },
    Next,
}

impl Event {
    fn to(&self) -> Place {
        match self {
            Event::Database(_) => Place::Database,
            Event::Node(it, _) => Place::Node(*it),
            Event::Gateway(it, _) => Place::Gateway(*it),
            Event::Client(it, _) => Place::Client(*it),
            Event::Blow => Place::Fate,
        }
    }
}

/// A way that nothing passes, from one to the other.
#[derive(Debug)]
struct Cut {
    from: Place,
    to: Place,
    until: Moment,
}

pub(crate) struct Wires {
    pub(crate) now: Moment,
    pub(crate) rng: Rng,
    queue: BTreeMap<(Moment, u64), Event>,
    count: u64,
    cuts: Vec<Cut>,
    /// Nothing is cut or late any more.
    pub(crate) is_calm: bool,
    /// When the last piece of a connection comes: none overtakes another.
    last: BTreeMap<(Place, Place), Moment>,
}

impl Wires {
    pub(crate) fn new(seed: u64) -> Wires {
        Wires {
            now: Moment::ZERO + Duration::from_secs(3_600),
            rng: Rng::new(seed),
            queue: BTreeMap::new(),
            count: 0,
            cuts: Vec::new(),
            is_calm: false,
            last: BTreeMap::new(),
        }
    }

    /// What happens next, and the time is then.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let ((at, _), event) = self.queue.pop_first()?;
        self.now = self.now.max(at);
        Some(event)
    }

    /// A number that nobody has had.
    pub(crate) fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Something that no wire carries.
    pub(crate) fn at(&mut self, at: Moment, event: Event) {
        let number = self.number();
        self.queue.insert((at, number), event);
    }

    pub(crate) fn after(&mut self, time: Duration, event: Event) {
        self.at(self.now + time, event);
    }

    /// Sends a message, which may never come.
    pub(crate) fn send(&mut self, from: Place, event: Event) {
        let to = event.to();
        self.cuts.retain(|cut| self.now < cut.until);
        if !self.is_calm && self.cuts.iter().any(|cut| (cut.from, cut.to) == (from, to)) {
            return;
        }
        let mut at = self.now + SOON + self.micros(SOON_SPREAD_MICROS);
        if !self.is_calm && self.rng.below(60) == 0 {
            at = at + self.micros(LATE_SPREAD_MICROS);
        }
        match to {
            // Each statement has a connection of its own, as far as anybody can tell.
            Place::Database if !self.is_calm && self.rng.below(300) == 0 => {
                at = at + self.micros(VERY_LATE_SPREAD_MICROS);
            }
            Place::Database => (),
            Place::Node(_) | Place::Gateway(_) | Place::Client(_) | Place::Fate => {
                let last = self.last.entry((from, to)).or_insert(at);
                at = at.max(*last);
                *last = at;
            }
        }
        self.at(at, event);
    }

    /// Lets nothing pass from the one to the other for a while.
    pub(crate) fn cut(&mut self, from: Place, to: Place, time: Duration) {
        self.cuts.push(Cut { from, to, until: self.now + time });
    }

    /// Some time below this many microseconds.
    pub(crate) fn micros(&mut self, below: usize) -> Duration {
        Duration::from_micros(self.rng.below(below.max(1)) as u64)
    }
}
