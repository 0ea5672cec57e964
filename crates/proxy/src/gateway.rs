//! The gateway: from the public HTTP API to the owners of partitions, and back.
//!
//! A request comes in at a `front`, is checked by the `request` desk (headers, `route`, `params`,
//! `body`), goes on as a `job` that asks (`ask`, `attempts`, `lists`) the owner that `service` and
//! `owners` name, and comes back as an `answer` that `render` writes. Every worker has its own
//! links and owner maps; requests of different workers never meet.

mod answer;
mod ask;
mod attempts;
mod board;
mod body;
mod cursor;
mod front;
mod headers;
mod job;
mod json;
mod limits;
mod lists;
mod load;
mod mistake;
mod owners;
mod params;
mod render;
mod request;
mod route;
mod service;

use self::{
    board::Board,
    front::{Front, HttpFront, TrunkFront},
    headers::ApiKey,
    request::Desk,
    service::Service,
};
use crate::config::GatewayConfig;
use net::{
    admin::Admin,
    announce, clock,
    edge::Edge,
    shutdown::Shutdown,
    trunk::{Identity, Server},
    worker::{self, Door, Listening, Worker},
};
use std::{io, rc::Rc, sync::Arc};

/// Serves until `shutdown`, then drains.
pub fn run(config: GatewayConfig, shutdown: Shutdown) -> io::Result<()> {
    clock::now(); // The clock starts with the node.
    let listening = Listening::bind_doors(config.http, config.trunk)?;
    let identity = Identity::new(Arc::clone(&config.node.name), config.node.cluster_key.clone());
    let board = Arc::new(Board::new(&config));
    let admin = Admin::start(config.node.admin, Arc::clone(&board) as _)?;
    announce::ready(&config.node.name, &announce::details(&listening, admin.addr())?)?;
    worker::run(listening, config.workers, &shutdown, async |worker| {
        serve(worker, &config, &identity, &board).await;
        Ok(())
    })
}

/// One worker, from its start to the end of its drain.
async fn serve(mut worker: Worker, config: &GatewayConfig, identity: &Identity, board: &Board) {
    let board = board.worker(worker.index);
    let services = config.services.iter().zip(&board.services);
    let services: Vec<_> = services
        .map(|(service, board)| Rc::new(Service::open(service, identity, Arc::clone(board))))
        .collect();
    let front = Rc::new(Front {
        node: Arc::clone(&config.node.name),
        desk: Desk { api_key: ApiKey::new(&config.api_key), services: services.clone() },
        deadline: config.deadline,
        board,
        load: Rc::default(),
    });
    let load = Rc::clone(&front.load);
    let edge = Edge::new(HttpFront(Rc::clone(&front)));
    let trunk = Server::new(identity.clone(), Rc::new(TrunkFront(front)));
    trunk.set_load(Rc::new(move || load.report()));
    while let Some(accepted) = worker.accept().await {
        match accepted.door {
            Door::Http => edge.serve(accepted.stream, accepted.peer, accepted.permit),
            Door::Trunk => trunk.serve(accepted.stream, accepted.permit),
        }
    }
    tokio::join!(edge.drain(config.node.drain_max), trunk.drain(config.node.drain_max));
    services.iter().for_each(|service| service.close());
}

#[cfg(test)]
mod tests;
