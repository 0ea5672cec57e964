//! Where a worker of the gateway gets its orders.

use super::front::{Front, HttpFront};
use crate::{config::GatewayConfig, doors::Doors, upstream::HttpServices};
use net::control::{self, EndpointView, Order, View};
use std::{rc::Rc, sync::Arc};

/// Applies orders to one worker.
pub(super) struct Post {
    pub(super) front: Rc<Front>,
    pub(super) doors: Rc<Doors<HttpFront>>,
    /// Of the node.
    pub(super) http: Arc<HttpServices>,
    /// Which worker this is.
    pub(super) worker: usize,
}

impl Post {
    /// Takes what of a configuration may change while the gateway runs. Its account services are the
    /// same: whoever sent it has seen to that.
    fn take(&self, config: &GatewayConfig) {
        self.doors.set_drain_max(config.node.drain_max);
        self.front.deadline.set(config.deadline);
        self.front.desk.guests.borrow_mut().set_first(&config.api_key);
        self.front.set_routes(&self.http, config, self.worker);
        for service in &self.front.desk.services {
            if let Some(config) = config.services.iter().find(|it| *it.name == *service.name) {
                service.set_nodes(&config.nodes);
            }
        }
    }

    /// The account nodes. Which of them is asked is no choice of the gateway's: the owner is.
    fn endpoints(&self) -> Vec<EndpointView> {
        self.front.desk.services.iter().flat_map(|service| service.views()).collect()
    }
}

impl control::Post<GatewayConfig> for Post {
    fn apply(&self, order: &Order<GatewayConfig>) {
        match order {
            Order::Config(config) => self.take(config),
            Order::Draining(on) => self.doors.retire(*on),
            // Of HTTP services: for an owner, who cannot be passed over, it was refused before.
            Order::Endpoint(change) => {
                for service in self.http.list() {
                    if let Some(drained) = change.drained {
                        service.set_drained(&change.name, drained);
                    }
                    if let Some(weight) = change.weight {
                        service.set_weight(&change.name, weight);
                    }
                }
                self.front.refresh_routes();
            }
            Order::Look => (),
        }
    }

    fn view(&self) -> View {
        View {
            endpoints: self.endpoints().into_iter().chain(self.front.routed()).collect(),
            fixed: Some("a gateway asks whoever owns the account: nodes cannot be passed over"),
            ..self.doors.view()
        }
    }
}
