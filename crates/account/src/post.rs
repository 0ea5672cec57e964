//! Where the account node gets its orders.

use crate::AccountConfig;
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
}

impl control::Post<AccountConfig> for Post {
    fn apply(&self, order: &Order<AccountConfig>) {
        match order {
            Order::Config(config) => self.drain_max.set(config.node.drain_max),
            Order::Draining(on) => {
                self.server.retire(*on);
                // Gateways go by owner maps and not by load: a farewell is what they heed.
                self.server.turn_away(*on);
            }
            Order::Endpoint(_) | Order::Look => (), // It has no endpoints.
        }
    }

    fn view(&self) -> View {
        let in_flight = u64::from(self.server.in_flight());
        View {
            in_flight,
            unfinished: in_flight,
            relayed: self.server.taken(),
            load: self.server.load(),
            ..View::default()
        }
    }
}
