//! Where the account node gets its orders.

use crate::{
    AccountConfig,
    steward::{Word, Words},
};
use net::{
    control::{self, Order, View},
    trunk::Server,
};
use std::{cell::Cell, rc::Rc, time::Duration};

/// Applies orders to the node's one worker.
pub(crate) struct Post {
    pub(crate) server: Server,
    /// How long the drain at the end may take.
    pub(crate) drain_max: Rc<Cell<Duration>>,
    /// The node leaves, and has nothing left that anybody could take over.
    pub(crate) emptied: Rc<Cell<bool>>,
    /// By order.
    pub(crate) is_leaving: Rc<Cell<bool>>,
    /// The ways to the lease threads.
    pub(crate) words: Vec<Words>,
}

impl Post {
    fn tell(&self, word: &Word) {
        self.words.iter().for_each(|words| words.tell(word.clone()));
    }
}

impl control::Post<AccountConfig> for Post {
    fn apply(&self, order: &Order<AccountConfig>) {
        match order {
            Order::Config(config) => {
                self.drain_max.set(config.node.drain_max);
                self.tell(&Word::Roster(config.roster.clone()));
            }
            Order::Draining(on) => {
                self.server.retire(*on);
                self.tell(&Word::Leaving(*on));
                self.is_leaving.set(*on);
            }
            Order::Endpoint(_) | Order::Look => (), // It has no endpoints.
        }
    }

    fn view(&self) -> View {
        let in_flight = u64::from(self.server.in_flight());
        // Out of rotation it is once all its partitions are with others: gateways follow them.
        let gives = self.is_leaving.get() && !self.emptied.get();
        View {
            in_flight,
            unfinished: in_flight + u64::from(gives),
            relayed: self.server.taken(),
            load: self.server.load(),
            ..View::default()
        }
    }
}
