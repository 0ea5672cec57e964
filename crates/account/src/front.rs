//! What the executors of a node have in common, and the door through which requests come to them.

use crate::{AccountConfig, intake::Intake, node::Node, round::Round, status::Status};
use balance::Arrival;
use net::{
    clock,
    trunk::{Handler, ReplyTo},
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use stdx::Moment;
use tokio::sync::Notify;
use wire::{
    Call, Epoch, PartitionId, Reply, ServiceTag,
    call::Failure,
    frame::{RequestRef, ResponseRef, Target},
};

/// One call's way back.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) reply: ReplyTo,
    pub(crate) arrival: Arrival,
}

/// Whom an executor answers.
#[derive(Debug)]
pub(crate) enum Party {
    One(Caller),
    /// A caller whom all executors of the node have to answer.
    Many(Rc<Round<Caller>>),
}

impl Party {
    pub(crate) fn is_wanted(&self) -> bool {
        match self {
            Party::One(caller) => caller.reply.is_wanted(),
            Party::Many(_) => true,
        }
    }
}

/// What the executors of a node have in common: there is one for each engine.
pub(crate) struct Common {
    pub(crate) name: Arc<str>,
    /// Name of the service.
    pub(crate) shown: String,
    pub(crate) service: ServiceTag,
    pub(crate) partitions: u16,
    pub(crate) intake: Intake,
    pub(crate) status: Arc<Status>,
    /// What is owned in each engine.
    pub(crate) owned: RefCell<Vec<Vec<(PartitionId, Epoch)>>>,
    /// In which of the engines this node, which leaves, has nothing left.
    empty: RefCell<Vec<bool>>,
    /// It leaves, and has nothing left that anybody could take over.
    pub(crate) emptied: Rc<Cell<bool>>,
    /// Told when that changes.
    pub(crate) stirred_empty: Notify,
    /// Reused for every answer's bytes.
    bytes: RefCell<Vec<u8>>,
}

/// Takes requests in, each for the executor of its partition.
pub(crate) struct Front {
    /// One for each engine.
    pub(crate) nodes: Vec<Rc<Node>>,
}

impl Handler for Front {
    fn request(&self, request: RequestRef<'_>, reply: ReplyTo) {
        let now = clock::now();
        let common = &self.nodes[0].common;
        let Some(arrival) = common.intake.admit(now) else {
            return common.send(reply, &Reply::Failed(Failure::Overloaded));
        };
        let caller = Caller { reply, arrival };
        let Target::Ledger { service, partition, partitions } = request.target else {
            return common.answer(now, caller, &Reply::Failed(Failure::Malformed));
        };
        let call = match Call::decode(request.body) {
            Ok(call) if service == common.shown => call,
            Ok(_) => return common.answer(now, caller, &Reply::Failed(Failure::Malformed)),
            Err(flaw) => {
                tracing::warn!(%flaw, "a call makes no sense");
                return common.answer(now, caller, &Reply::Failed(Failure::Malformed));
            }
        };
        let time_left = Duration::from_millis(request.deadline_ms.into());
        let place = (partition, partitions);
        match &*self.nodes {
            [node] => node.arrive(Party::One(caller), now, time_left, place, call),
            nodes => match Round::of(&call, caller, nodes.len()) {
                Ok(round) => {
                    let round = Rc::new(round);
                    for node in nodes {
                        let asker = Party::Many(Rc::clone(&round));
                        node.arrive(asker, now, time_left, place, call.clone());
                    }
                }
                Err(caller) => {
                    let node = &nodes[usize::from(partition.0) % nodes.len()];
                    node.arrive(Party::One(caller), now, time_left, place, call);
                }
            },
        }
    }
}

impl Common {
    pub(crate) fn new(config: &AccountConfig, status: &Arc<Status>) -> Common {
        let count = config.engines.len();
        Common {
            name: Arc::clone(&config.node.name),
            shown: config.service.clone(),
            service: ServiceTag::of(&config.service),
            partitions: config.partitions,
            intake: Intake::new(),
            status: Arc::clone(status),
            owned: RefCell::new(vec![Vec::new(); count]),
            empty: RefCell::new(vec![false; count]),
            emptied: Rc::default(),
            stirred_empty: Notify::new(),
            bytes: RefCell::default(),
        }
    }

    pub(crate) fn answer(&self, now: Moment, caller: Caller, reply: &Reply) {
        let counts = !matches!(reply, Reply::Failed(_));
        self.intake.answered(now, caller.arrival, counts);
        self.send(caller.reply, reply);
    }

    pub(crate) fn send(&self, to: ReplyTo, reply: &Reply) {
        let mut bytes = self.bytes.borrow_mut();
        bytes.clear();
        reply.encode(&mut bytes);
        to.send(ResponseRef::new(200, &self.name, &bytes));
    }

    /// This node leaves, and whether it has nothing left in the engine at this place.
    pub(crate) fn set_empty(&self, place: usize, is_empty: bool) -> bool {
        let mut empty = self.empty.borrow_mut();
        empty[place] = is_empty;
        self.emptied.set(empty.iter().all(|it| *it));
        self.stirred_empty.notify_one();
        self.emptied.get()
    }
}
