//! A gateway without doors: the owner map and the rule of attempts that ship.

use crate::{
    client::Heard,
    rule::Rule,
    wires::{Event, Place, ToClient, ToGateway, ToNode, Wires},
};
use lease::NodeId;
use net::trunk::Loss;
use proxy::gateway::{
    attempts::{Asking, Attempt, Attempts, Next},
    owners::Owners,
};
use std::{collections::BTreeMap, time::Duration};
use stdx::Moment;
use wire::{Call, PartitionId, Reply, call::Failure};

const DEADLINE: Duration = Duration::from_secs(5);
/// A connection on which nothing has come for this long is lost.
const PING_MAX: Duration = Duration::from_millis(1_500);

pub(crate) struct Gateway {
    index: usize,
    partitions: u16,
    left_out: Option<Rule>,
    owners: Owners,
    /// The processes that are connected.
    lives: BTreeMap<usize, NodeId>,
    requests: BTreeMap<u64, Request>,
    /// The request and the node of each attempt under way.
    attempts: BTreeMap<u64, (u64, usize)>,
}

struct Request {
    client: usize,
    op: u64,
    try_number: u32,
    call: Call,
    partition: PartitionId,
    deadline: Moment,
    attempts: Attempts,
    is_under_way: bool,
}

impl Gateway {
    pub(crate) fn new(index: usize, partitions: u16, left_out: Option<Rule>) -> Gateway {
        Gateway {
            index,
            partitions,
            left_out,
            owners: Owners::new(partitions),
            lives: BTreeMap::new(),
            requests: BTreeMap::new(),
            attempts: BTreeMap::new(),
        }
    }

    /// Its process ends, and another begins at once: it knows nothing.
    pub(crate) fn restart(&mut self) {
        *self = Gateway::new(self.index, self.partitions, self.left_out);
    }

    fn me(&self) -> Place {
        Place::Gateway(self.index)
    }

    pub(crate) fn hear(&mut self, wires: &mut Wires, message: ToGateway) {
        match message {
            ToGateway::Request { client, op, try_number, call } => {
                self.take_in(wires, client, (op, try_number), call);
            }
            ToGateway::Replied { attempt, reply } => {
                self.came(wires, attempt, Attempt::Replied(reply));
            }
            ToGateway::Lost { attempt } => self.lost(wires, attempt),
            ToGateway::Owns { node, life, owned } => {
                let is_new = self.lives.get(&node).is_none_or(|known| *known <= life);
                if is_new {
                    self.lives.insert(node, life);
                }
                if is_new && self.owners.announce(node, owned.into_iter()) {
                    self.retry_all(wires);
                }
            }
            ToGateway::Gone { node, life } if self.lives.get(&node) == Some(&life) => {
                self.owners.disconnect(node);
                let of = self.attempts.iter().filter(|(_, (_, at))| *at == node);
                let lost: Vec<u64> = of.map(|(attempt, _)| *attempt).collect();
                lost.into_iter().for_each(|attempt| self.lost(wires, attempt));
            }
            // Another process is connected by now.
            ToGateway::Gone { .. } => (),
            ToGateway::Wake { request } => self.go_on(wires, request),
        }
    }

    fn lost(&mut self, wires: &mut Wires, attempt: u64) {
        self.came(wires, attempt, Attempt::Lost(Loss::ConnectionLost));
    }

    fn wake(&self, request: u64) -> Event {
        Event::Gateway(self.index, ToGateway::Wake { request })
    }

    fn take_in(&mut self, wires: &mut Wires, client: usize, of: (u64, u32), call: Call) {
        let (asking, account) = match &call {
            Call::Query(wire::query::Query::Account(account)) => (Asking::Query, account),
            Call::Execute(command) => (Asking::Command, command.action.account()),
            Call::Query(_) | Call::Batch(_) | Call::Reverse(_) => return,
        };
        let partition = account.partition(self.partitions);
        let (op, try_number) = of;
        let (deadline, attempts) = (wires.now + DEADLINE, Attempts::new(asking, 0));
        let request = Request {
            client,
            op,
            try_number,
            call,
            partition,
            deadline,
            attempts,
            is_under_way: false,
        };
        let number = wires.number();
        self.requests.insert(number, request);
        wires.at(deadline, self.wake(number));
        self.go_on(wires, number);
    }

    fn retry_all(&mut self, wires: &mut Wires) {
        let numbers: Vec<u64> = self.requests.keys().copied().collect();
        for number in numbers {
            self.go_on(wires, number);
        }
    }

    /// Asks the owner, if there is one and nobody is being asked.
    fn go_on(&mut self, wires: &mut Wires, number: u64) {
        let me = self.me();
        let Some(request) = self.requests.get_mut(&number) else { return };
        if request.deadline <= wires.now {
            let failure = match request.is_under_way {
                true => Failure::OutcomeUnknown,
                false => request.attempts.give_up(),
            };
            return self.report(wires, number, Err(failure));
        }
        if request.is_under_way {
            return;
        }
        let Some(node) = self.owners.owner(request.partition) else { return };
        request.is_under_way = true;
        let attempt = wires.number();
        let mut call = request.call.clone();
        if let Call::Execute(command) = &mut call
            && self.left_out == Some(Rule::SameKey)
        {
            command.key.0 ^= u128::from(request.attempts.count()) << 64;
        }
        self.attempts.insert(attempt, (number, node));
        let left = request.deadline.since(wires.now);
        let partition = request.partition;
        let call = ToNode::Call { gateway: self.index, attempt, partition, left, call };
        wires.send(me, Event::Node(node, call));
        wires.after(PING_MAX, Event::Gateway(self.index, ToGateway::Lost { attempt }));
    }

    fn came(&mut self, wires: &mut Wires, attempt: u64, came: Attempt) {
        let Some((number, _)) = self.attempts.remove(&attempt) else { return };
        let Some(request) = self.requests.get_mut(&number) else { return };
        request.is_under_way = false;
        match request.attempts.judge(came) {
            Next::Report(result) => self.report(wires, number, result),
            Next::Again { pause, .. } => {
                wires.after(pause, self.wake(number));
            }
        }
    }

    fn report(&mut self, wires: &mut Wires, number: u64, result: Result<Reply, Failure>) {
        let Some(request) = self.requests.remove(&number) else { return };
        let Request { client, op, try_number, .. } = request;
        let heard = match result {
            Ok(reply) => Heard::Reply(reply),
            Err(failure) => Heard::Failed(failure),
        };
        let heard = ToClient::Heard { op, try_number, heard: Box::new(heard) };
        wires.send(self.me(), Event::Client(client, heard));
    }
}
