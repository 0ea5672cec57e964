//! What an operator may change about the choice of one worker, and what there is to see of it.

use super::Router;
use crate::{
    balancer::way::Way,
    config::{BalancerConfig, Reach},
};
use balance::{Report, breaker::Phase};
use net::{
    clock,
    control::{EndpointState, EndpointView, LoadView},
};

impl Router {
    /// Takes what of a configuration does not concern the list of endpoints.
    pub(in crate::balancer) fn take(&self, config: &BalancerConfig) {
        self.deadline.set(config.deadline);
        self.hash.replace(config.hash.clone());
        if self.policy.replace(config.policy) != config.policy {
            self.pool.borrow_mut().set_policy(config.policy);
        }
    }

    /// Every endpoint as it stands.
    pub(in crate::balancer) fn views(&self) -> Vec<EndpointView> {
        let ways = self.ways.borrow();
        let present = ways.iter().enumerate().filter(|(_, way)| !way.gone);
        present.map(|(index, way)| self.view(index, way)).collect()
    }

    fn view(&self, index: usize, way: &Way) -> EndpointView {
        let (now, pool) = (clock::now(), self.pool.borrow());
        let phase = pool.phase(index);
        let load = pool.last_report(now, index).map(|(age, report)| {
            let Report { in_flight, latency, limit_permille, draining: _ } = report;
            LoadView { in_flight, latency, limit_permille, age }
        });
        let draining = way.config.drained || way.said_draining.get();
        let state = match phase {
            _ if !way.connected.get() => EndpointState::Down,
            _ if draining => EndpointState::Draining,
            Phase::Passing => EndpointState::Passing,
            Phase::Probing => EndpointState::Probing,
            Phase::Tripped => EndpointState::Tripped,
        };
        let (addr, kind) = match &way.config.reach {
            Reach::Trunk(addr) => (addr.to_string(), "trunk"),
        };
        EndpointView {
            name: way.name().clone(),
            addr,
            kind,
            state,
            weight: way.config.weight.get(),
            in_flight: pool.in_flight(index),
            load,
            latency: way.latency.borrow().counts(now),
            requests: way.counters.requests.get(),
            errors: way.counters.errors(),
            breaker: Some(match phase {
                Phase::Passing => "passing",
                Phase::Probing => "probing",
                Phase::Tripped => "tripped",
            }),
            changed: way.changed.borrow().clone(),
        }
    }
}
