//! Where a worker of the balancer gets its orders.

use super::{board::Board, http::HttpFront, plan::Plan, router::Router};
use crate::config::BalancerConfig;
use net::{
    control::{self, Order, View},
    edge::Edge,
    trunk::Server,
};
use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

/// Applies orders to one worker.
pub(super) struct Post {
    /// Shared by all workers: what one of them has changed in it the others find so.
    pub(super) plan: Plan,
    pub(super) board: Arc<Board>,
    pub(super) router: Rc<Router>,
    pub(super) edge: Edge<HttpFront>,
    pub(super) trunk: Server,
    /// How long the drain at the end may take.
    pub(super) drain_max: Rc<Cell<Duration>>,
}

impl control::Post<BalancerConfig> for Post {
    fn apply(&self, order: &Order<BalancerConfig>) {
        match order {
            Order::Config(config) => {
                self.drain_max.set(config.node.drain_max);
                self.board.set_policy(config.policy);
                self.router.take(config);
                self.plan.take(&config.endpoints);
                self.router.set_endpoints(&self.plan.endpoints());
            }
            Order::Draining(on) => {
                self.edge.retire(*on);
                self.trunk.retire(*on);
            }
            Order::Endpoint(change) => {
                if let Some(drained) = change.drained {
                    self.plan.set_drained(&change.name, drained);
                }
                if let Some(weight) = change.weight {
                    self.plan.set_weight(&change.name, weight);
                }
                self.router.set_endpoints(&self.plan.endpoints());
            }
            Order::Look => (),
        }
    }

    fn view(&self) -> View {
        let relayed = u64::from(self.trunk.in_flight());
        View {
            in_flight: relayed + self.edge.in_flight(),
            unfinished: relayed + u64::try_from(self.edge.retiring()).unwrap_or(u64::MAX),
            relayed: self.trunk.taken(),
            load: self.trunk.load(),
            endpoints: self.router.views(),
            fixed: None,
        }
    }
}
