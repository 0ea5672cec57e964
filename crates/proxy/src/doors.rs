//! The two ways in that a worker of every role here has, and what it is for both to leave.

use net::{
    control::View,
    edge::{Edge, Service},
    node::NodeConfig,
    trunk::{Handler, Identity, Server},
    worker::{Accepted, Door},
};
use std::{cell::Cell, rc::Rc, time::Duration};
use wire::frame::LoadReport;

/// One worker's HTTP and trunk servers.
pub(crate) struct Doors<S> {
    edge: Edge<S>,
    trunk: Server,
    /// How long the drain at the end may take.
    drain_max: Cell<Duration>,
}

impl<S: Service> Doors<S> {
    /// Servers without connections yet. `load` is what the tier above is told.
    pub(crate) fn new(
        node: &NodeConfig,
        identity: &Identity,
        http: S,
        trunk: Rc<dyn Handler>,
        load: Rc<dyn Fn() -> LoadReport>,
    ) -> Rc<Doors<S>> {
        let edge = Edge::of(node, http);
        let trunk = Server::new(identity.clone(), trunk);
        trunk.set_load(load);
        Rc::new(Doors { edge, trunk, drain_max: Cell::new(node.drain_max) })
    }

    /// The trunk's server.
    pub(crate) fn trunk(&self) -> &Server {
        &self.trunk
    }

    /// Serves a connection.
    pub(crate) fn serve(&self, accepted: Accepted) {
        match accepted.door {
            Door::Http => self.edge.serve(accepted.stream, accepted.peer, accepted.permit),
            Door::Trunk => self.trunk.serve(accepted.stream, accepted.permit),
        }
    }

    /// Sets how long the drain at the end may take.
    pub(crate) fn set_drain_max(&self, drain_max: Duration) {
        self.drain_max.set(drain_max);
    }

    /// Out of rotation, or back.
    pub(crate) fn retire(&self, on: bool) {
        self.edge.retire(on);
        self.trunk.retire(on);
    }

    /// What is in flight here; nothing of endpoints.
    pub(crate) fn view(&self) -> View {
        let relayed = u64::from(self.trunk.in_flight());
        View {
            in_flight: relayed + self.edge.in_flight(),
            unfinished: relayed + u64::try_from(self.edge.retiring()).unwrap_or(u64::MAX),
            relayed: self.trunk.taken(),
            load: self.trunk.load(),
            ..View::default()
        }
    }

    /// Finishes what is in flight on both.
    pub(crate) async fn drain(&self) {
        let drain_max = self.drain_max.get();
        tokio::join!(self.edge.drain(drain_max), self.trunk.drain(drain_max));
    }
}
