//! The gateway: from the public HTTP API to the owners of partitions, and back.
//!
//! A request comes in at a `front`, is checked by the `request` desk (headers, `route`, `params`,
//! `body`), goes on as a `job` that asks (`ask`, `attempts`, `lists`) the owner that `service` and
//! `owners` name, and comes back as an `answer` that `render` writes. Every worker has its own
//! links and owner maps; requests of different workers never meet.

mod answer;
mod ask;
pub mod attempts;
mod batch;
mod board;
mod body;
mod cursor;
mod describe;
mod events;
mod front;
mod guests;
mod headers;
mod job;
mod json;
mod limits;
mod lists;
mod load;
mod looks;
mod mistake;
pub mod owners;
mod params;
mod post;
mod render;
mod request;
mod route;
mod routes;
mod seen;
mod service;
mod several;
mod statement;
mod transfers;
mod written;

pub(crate) use self::route::body_bytes_max;
pub use self::written::{CSV_HEAD, csv_line, json_line};
use self::{
    board::Board,
    front::{Front, HttpFront, TrunkFront},
    guests::{Guests, Meters},
    limits::GATEWAY_LIMIT,
    load::Load,
    post::Post,
    request::Desk,
    service::Service,
};
use crate::{config::GatewayConfig, doors::Doors, keys::Watch, upstream::HttpServices};
use net::{
    admin::Admin,
    announce, clock,
    control::{Control, Reload},
    shutdown::Shutdown,
    trunk::Identity,
    worker::{self, Door, Listening, Worker},
};
use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};
use tokio::task::spawn_local;

/// Serves until `shutdown`, then drains.
pub fn run(
    config: GatewayConfig,
    shutdown: Shutdown,
    reload: Reload<GatewayConfig>,
) -> io::Result<()> {
    let bound = Bound::reloading(config, reload)?;
    let details = announce::details(&bound.listening, bound.admin.addr())?;
    announce::ready(&bound.config.node.name, &details)?;
    bound.serve(&shutdown)
}

/// A gateway that listens and does not serve yet.
#[derive(Debug)]
pub struct Bound {
    config: GatewayConfig,
    listening: Vec<Listening>,
    board: Arc<Board>,
    /// Those that routes lead to.
    http: Arc<HttpServices>,
    control: Arc<Control<GatewayConfig>>,
    admin: Admin,
    keys: Watch,
    meters: Meters,
}

impl Bound {
    /// Binds the addresses of a node whose configuration is in no file.
    pub fn new(config: GatewayConfig) -> io::Result<Bound> {
        Bound::reloading(config, Reload::never())
    }

    /// Binds the addresses of the node.
    pub fn reloading(config: GatewayConfig, reload: Reload<GatewayConfig>) -> io::Result<Bound> {
        clock::now(); // The clock starts with the node.
        let keys = match &config.api_keys {
            Some(file) => Watch::start(file.clone())?,
            None => Watch::fixed(Vec::new()),
        };
        let listening = Listening::bind_doors(config.http, config.trunk)?;
        let http = Arc::new(HttpServices::new(config.workers));
        let board = Arc::new(Board::new(&config, Arc::clone(&http)));
        let control = Arc::new(Control::new(config.workers, reload));
        let (source, controls) = (Arc::clone(&board) as _, Arc::clone(&control) as _);
        let admin = Admin::start(config.node.admin, source, controls)?;
        config.node.watched.set(Arc::clone(&board) as _, Arc::clone(&control) as _);
        let meters = Meters::default();
        Ok(Bound { config, listening, board, http, control, admin, keys, meters })
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

    /// Serves until `shutdown`, then drains.
    pub fn serve(self, shutdown: &Shutdown) -> io::Result<()> {
        let Bound { config, listening, board, http, control, admin, keys, meters } = self;
        let node = &config.node;
        let identity = Identity::of(node);
        let served = worker::run(listening, config.workers, shutdown, async |worker| {
            let guests = Guests::new(&config.api_key, keys.clone(), meters.clone());
            serve(worker, &config, &identity, &board, &control, &http, guests).await;
            Ok(())
        });
        drop(admin); // It answered until now, so that a drain can be watched.
        served
    }
}

/// One worker, from its start to the end of its drain.
async fn serve(
    mut worker: Worker,
    config: &GatewayConfig,
    identity: &Identity,
    board: &Board,
    control: &Control<GatewayConfig>,
    http: &Arc<HttpServices>,
    guests: Guests,
) {
    let board = board.worker(worker.index);
    let services = config.services.iter().zip(&board.services);
    let services: Vec<_> = services
        .map(|(service, board)| Rc::new(Service::open(service, identity, Arc::clone(board))))
        .collect();
    let front = Rc::new(Front {
        node: Arc::clone(&config.node.name),
        desk: Desk {
            guests: RefCell::new(guests),
            services: services.clone(),
            listening: Rc::default(),
        },
        is_ending: Cell::new(false),
        routes: RefCell::default(),
        deadline: Cell::new(config.deadline),
        load: Load::new(GATEWAY_LIMIT, Arc::clone(&board.line)),
        board,
    });
    front.set_routes(http, config, worker.index);
    drop(spawn_local(guests::keep_fresh(Rc::downgrade(&front))));
    // One worker of a gateway is enough.
    let resuming = (worker.index == 0).then(|| spawn_local(transfers::resume(services.clone())));
    let load = Rc::clone(&front.load);
    let (clients, relays) = (HttpFront(Rc::clone(&front)), Rc::new(TrunkFront(Rc::clone(&front))));
    let doors = Doors::new(&config.node, identity, clients, relays, Rc::new(move || load.report()));
    let post = Post {
        front: Rc::clone(&front),
        doors: Rc::clone(&doors),
        http: Arc::clone(http),
        worker: worker.index,
    };
    drop(spawn_local(control.orders(worker.index).obey(post)));
    while let Some(accepted) = worker.accept().await {
        doors.serve(accepted);
    }
    control.ending();
    front.is_ending.set(true);
    doors.drain().await;
    resuming.inspect(|it| it.abort());
    services.iter().for_each(|service| service.close());
    front.close_routes();
}

#[cfg(test)]
mod tests;
