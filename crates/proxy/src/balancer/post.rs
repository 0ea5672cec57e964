//! Where a worker of the balancer gets its orders.

use super::{board::Board, http::HttpFront, plan::Plan, router::Router};
use crate::{config::BalancerConfig, doors::Doors};
use net::control::{self, Order, View};
use std::{rc::Rc, sync::Arc};

/// Applies orders to one worker.
pub(super) struct Post {
    /// Shared by all workers: what one of them has changed in it the others find so.
    pub(super) plan: Plan,
    pub(super) board: Arc<Board>,
    pub(super) router: Rc<Router>,
    pub(super) doors: Rc<Doors<HttpFront>>,
}

impl control::Post<BalancerConfig> for Post {
    fn apply(&self, order: &Order<BalancerConfig>) {
        match order {
            Order::Config(config) => {
                self.doors.set_drain_max(config.node.drain_max);
                self.board.set_policy(config.policy);
                self.router.take(config);
                self.plan.take(&config.endpoints);
                self.router.set_endpoints(&self.plan.endpoints());
            }
            Order::Draining(on) => self.doors.retire(*on),
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
        View { endpoints: self.router.views(), ..self.doors.view() }
    }
}
