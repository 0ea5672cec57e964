//! Where a worker of a balancer before an HTTP service gets its orders.

use super::node::{Front, HttpBalancerConfig, HttpFront};
use net::{
    control::{self, Order, View},
    edge::Edge,
    trunk::Server,
};
use std::{cell::Cell, rc::Rc, time::Duration};

/// Applies orders to one worker.
pub(super) struct Post {
    pub(super) front: Rc<Front>,
    pub(super) edge: Edge<HttpFront>,
    pub(super) trunk: Server,
    /// How long the drain at the end may take.
    pub(super) drain_max: Rc<Cell<Duration>>,
}

impl control::Post<HttpBalancerConfig> for Post {
    fn apply(&self, order: &Order<HttpBalancerConfig>) {
        let group = &self.front.group;
        // The service is shared: what one worker has changed in it the others find so.
        let service = group.service();
        match order {
            Order::Config(config) => {
                self.drain_max.set(config.node.drain_max);
                self.front.deadline.set(config.deadline);
                service.reload(config.service.clone());
            }
            Order::Draining(on) => {
                self.edge.retire(*on);
                self.trunk.retire(*on);
            }
            Order::Endpoint(change) => {
                if let Some(drained) = change.drained {
                    service.set_drained(&change.name, drained);
                }
                if let Some(weight) = change.weight {
                    service.set_weight(&change.name, weight);
                }
            }
            Order::Look => (),
        }
        group.refresh();
    }

    fn view(&self) -> View {
        let relayed = u64::from(self.trunk.in_flight());
        View {
            in_flight: relayed + self.edge.in_flight(),
            unfinished: relayed + u64::try_from(self.edge.retiring()).unwrap_or(u64::MAX),
            relayed: self.trunk.taken(),
            load: self.trunk.load(),
            endpoints: self.front.group.views(),
            fixed: None,
        }
    }
}
