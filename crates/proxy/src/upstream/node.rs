//! A balancer whose endpoints are an HTTP service's: HTTP or the trunk in, HTTP out.

use super::{
    body::Payload, config::HttpServiceConfig, door, group::Group, post::Post, service::HttpService,
    status::Board,
};
use crate::{balancer::front, doors::Doors};
use bytes::Bytes;
use http::{Response, request::Parts};
use net::{
    admin::Admin,
    announce, clock,
    control::{Control, Reload},
    edge::{Asked, Body, BodyMode, BodyStream, OnUpgrade, Service},
    node::NodeConfig,
    shutdown::Shutdown,
    trunk::{Handler, Identity, ReplyTo, StreamReader},
    worker::{self, Door, Listening, Worker},
};
use std::{cell::Cell, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};
use tokio::task::spawn_local;
use wire::{
    Code,
    frame::{RequestRef, Target},
};

/// One node of role `balancer` before an HTTP service. At least one of `http` and `trunk` is set.
#[derive(Clone, Debug)]
pub struct HttpBalancerConfig {
    pub node: NodeConfig,
    /// Where HTTP clients are served.
    pub http: Option<SocketAddr>,
    /// Where the tier above connects.
    pub trunk: Option<SocketAddr>,
    pub service: HttpServiceConfig,
    /// Threads that carry requests, at least 1. Each has its own connections.
    pub workers: usize,
    /// How long the head of an answer may take from the arrival of its request.
    pub deadline: Duration,
}

/// Serves until `shutdown`, then drains.
pub fn run(
    config: HttpBalancerConfig,
    shutdown: Shutdown,
    reload: Reload<HttpBalancerConfig>,
) -> io::Result<()> {
    let bound = Bound::reloading(config, reload)?;
    let details = announce::details(&bound.listening, bound.admin_addr())?;
    announce::ready(&bound.config.node.name, &details)?;
    bound.serve(&shutdown)
}

/// A balancer that listens and does not serve yet.
#[derive(Debug)]
pub struct Bound {
    config: HttpBalancerConfig,
    service: Arc<HttpService>,
    listening: Vec<Listening>,
    control: Arc<Control<HttpBalancerConfig>>,
    admin: Admin,
}

impl Bound {
    /// Binds the addresses of a node whose configuration is in no file.
    pub fn new(config: HttpBalancerConfig) -> io::Result<Bound> {
        Bound::reloading(config, Reload::never())
    }

    /// Binds the addresses of the node.
    pub fn reloading(
        config: HttpBalancerConfig,
        reload: Reload<HttpBalancerConfig>,
    ) -> io::Result<Bound> {
        clock::now(); // The clock starts with the node.
        let listening = Listening::bind_doors(config.http, config.trunk)?;
        let service = HttpService::new(config.service.clone(), config.workers);
        let board = Arc::new(Board::new(Arc::clone(&config.node.name), Arc::clone(&service)));
        let control = Arc::new(Control::new(config.workers, reload));
        let (source, controls) = (Arc::clone(&board) as _, Arc::clone(&control) as _);
        let admin = Admin::start(config.node.admin, source, controls)?;
        config.node.watched.set(board, Arc::clone(&control) as _);
        Ok(Bound { config, service, listening, control, admin })
    }

    /// Where it listens for HTTP or the trunk: of use when port 0 was asked for.
    pub fn addr(&self, door: Door) -> Option<SocketAddr> {
        let listening = self.listening.iter().find(|it| it.door == door)?;
        listening.local_addr().ok()
    }

    /// Where the admin server listens.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// What it knows of its endpoints.
    pub fn service(&self) -> &Arc<HttpService> {
        &self.service
    }

    /// Serves until `shutdown`, then drains.
    pub fn serve(self, shutdown: &Shutdown) -> io::Result<()> {
        let Bound { config, service, listening, control, admin } = self;
        let identity = Identity::of(&config.node);
        let served = worker::run(listening, config.workers, shutdown, async |worker| {
            serve(worker, &config, &identity, &service, &control).await;
            Ok(())
        });
        drop(admin); // It answered until now, so that a drain can be watched.
        served
    }
}

/// One worker, from its start to the end of its drain.
async fn serve(
    mut worker: Worker,
    config: &HttpBalancerConfig,
    identity: &Identity,
    service: &Arc<HttpService>,
    control: &Control<HttpBalancerConfig>,
) {
    let front = Rc::new(Front {
        node: Arc::clone(&config.node.name),
        group: Group::open(service, worker.index),
        deadline: Cell::new(config.deadline),
    });
    let (clients, relays) = (HttpFront(Rc::clone(&front)), Rc::new(TrunkFront(Rc::clone(&front))));
    let reporter = Rc::clone(&front);
    let load = Rc::new(move || reporter.group.report());
    let doors = Doors::new(&config.node, identity, clients, relays, load);
    let post = Post { front: Rc::clone(&front), doors: Rc::clone(&doors) };
    drop(spawn_local(control.orders(worker.index).obey(post)));
    while let Some(accepted) = worker.accept().await {
        doors.serve(accepted);
    }
    control.ending();
    doors.drain().await;
    front.group.close();
}

/// One worker of the node, behind both ways in.
pub(super) struct Front {
    node: Arc<str>,
    pub(super) group: Rc<Group>,
    pub(super) deadline: Cell<Duration>,
}

/// Takes requests of clients.
pub(super) struct HttpFront(Rc<Front>);

impl Service for HttpFront {
    fn body_mode(&self, parts: &Parts) -> BodyMode {
        door::body_mode(parts)
    }

    async fn respond(&self, asked: Asked) -> Response<Body> {
        let (asked, body) = door::apart(asked);
        let (Front { group, deadline, .. }, payload) = (&*self.0, Payload::Whole(body));
        door::over_http(group, &asked, payload, None, deadline.get(), || ()).await
    }

    async fn relay(&self, asked: Asked<BodyStream>, upgrade: Option<OnUpgrade>) -> Response<Body> {
        let (asked, body) = door::apart(asked);
        let (Front { group, deadline, .. }, payload) = (&*self.0, door::streamed(body));
        door::over_http(group, &asked, payload, upgrade, deadline.get(), || ()).await
    }

    fn refuse(&self, parts: &Parts, code: Code, detail: &str) -> Response<Bytes> {
        front::refusal(parts, code, detail)
    }
}

/// Takes requests of the tier above.
struct TrunkFront(Rc<Front>);

impl Handler for TrunkFront {
    fn request(&self, request: RequestRef<'_>, reply: ReplyTo) {
        match request.target {
            Target::Http { .. } => {
                door::over_trunk(&self.0.group, &self.0.node, &request, None, reply, |_| ());
            }
            // A call for an account node has gone astray: nobody configured so would send one. The
            // drop answers.
            Target::Ledger { .. } => drop(reply),
        }
    }

    fn stream(self: Rc<Self>, head: RequestRef<'_>, body: StreamReader, reply: ReplyTo) {
        match head.target {
            Target::Http { .. } => {
                door::over_trunk(&self.0.group, &self.0.node, &head, Some(body), reply, |_| ());
            }
            Target::Ledger { .. } => drop(reply),
        }
    }
}
