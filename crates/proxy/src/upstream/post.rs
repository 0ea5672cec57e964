//! Where a worker of a balancer before an HTTP service gets its orders.

use super::node::{Front, HttpBalancerConfig, HttpFront};
use crate::doors::Doors;
use net::control::{self, Order, View};
use std::rc::Rc;

/// Applies orders to one worker.
pub(super) struct Post {
    pub(super) front: Rc<Front>,
    pub(super) doors: Rc<Doors<HttpFront>>,
}

impl control::Post<HttpBalancerConfig> for Post {
    fn apply(&self, order: &Order<HttpBalancerConfig>) {
        let group = &self.front.group;
        // The service is shared: what one worker has changed in it the others find so.
        let service = group.service();
        match order {
            Order::Config(config) => {
                self.doors.set_drain_max(config.node.drain_max);
                self.front.deadline.set(config.deadline);
                service.reload(config.service.clone());
            }
            Order::Draining(on) => self.doors.retire(*on),
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
        View { endpoints: self.front.group.views(), ..self.doors.view() }
    }
}
