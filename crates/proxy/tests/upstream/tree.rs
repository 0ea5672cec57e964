//! A whole tree before a service: an edge, a layer, and a gateway with a route.

use crate::harness::{Client, PATIENCE, key, rates, until};
use balance::Policy;
use net::{
    edge::EdgeConfig,
    node::{Endpoint, NodeConfig},
    shutdown::{Shutdown, ShutdownTrigger, shutdown},
    worker::Door,
};
use proxy::{
    balancer,
    config::{BalancerConfig, EndpointConfig, GatewayConfig, HashBy, RouteConfig},
    gateway,
};
use std::{net::SocketAddr, thread, time::Duration};

/// `/rates/*` leads to the service at an address; each node has one worker.
pub(crate) struct Tree {
    pub(crate) edge: SocketAddr,
    /// Admin addresses of the edge and of the gateway.
    pub(crate) admins: [SocketAddr; 2],
    /// From the edge down.
    nodes: Vec<(ShutdownTrigger, thread::JoinHandle<()>)>,
}

impl Tree {
    pub(crate) fn before(service: SocketAddr) -> Tree {
        Tree::with(service, PATIENCE)
    }

    pub(crate) fn with(service: SocketAddr, deadline: Duration) -> Tree {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let bound = gateway::Bound::new(GatewayConfig {
            node: node("gateway"),
            http: None,
            trunk: Some(any),
            services: Vec::new(),
            http_services: vec![rates(&[service])],
            routes: vec![RouteConfig { path: "/rates/*".to_owned(), service: "rates".to_owned() }],
            api_key: "secret".to_owned(),
            api_keys: None,
            workers: 1,
            deadline,
        });
        let bound = bound.unwrap();
        let gateway = bound.admin_addr();
        let mut admin = gateway;
        let mut below = Endpoint { name: "gateway".into(), addr: bound.addr(Door::Trunk).unwrap() };
        let mut nodes = vec![started(move |shutdown| bound.serve(shutdown).unwrap())];
        let mut edge = any;
        for name in ["layer", "edge"] {
            let bound = balancer::Bound::new(BalancerConfig {
                node: node(name),
                http: Some(any),
                trunk: Some(any),
                endpoints: vec![EndpointConfig::trunk(&below)],
                policy: Policy::LeastLoad,
                hash: HashBy::Account,
                workers: 1,
                deadline,
            });
            let bound = bound.unwrap();
            (edge, admin) = (bound.addr(Door::Http).unwrap(), bound.admin_addr());
            below = Endpoint { name: name.into(), addr: bound.addr(Door::Trunk).unwrap() };
            nodes.insert(0, started(move |shutdown| bound.serve(shutdown).unwrap()));
        }
        let tree = Tree { edge, admins: [admin, gateway], nodes };
        // The gateway's own answer: every hop is connected.
        until("the tree stands", || tree.client().ask("GET", "/none", &[], "").status() == 401);
        tree
    }

    /// A connection to the edge.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.edge)
    }

    /// Asks every node for its drain, the edge first, and returns when it is done.
    pub(crate) fn drain(self) {
        for (trigger, thread) in self.nodes {
            trigger.trigger();
            thread.join().unwrap();
        }
    }
}

fn started(
    serve: impl FnOnce(&Shutdown) + Send + 'static,
) -> (ShutdownTrigger, thread::JoinHandle<()>) {
    let (trigger, shutdown) = shutdown();
    (trigger, thread::spawn(move || serve(&shutdown)))
}

fn node(name: &str) -> NodeConfig {
    NodeConfig {
        name: name.into(),
        admin: "127.0.0.1:0".parse().unwrap(),
        cluster_key: key(),
        edge: EdgeConfig::default(),
        trunk_tls: None,
        trunk_ages: net::trunk::Ages::default(),
        drain_max: PATIENCE,
        watched: net::agent::Watched::default(),
    }
}
