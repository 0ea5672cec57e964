//! The balancer: takes requests over HTTP or the trunk and passes each to one of its endpoints.
//!
//! Every worker has its own links, pool and counters; requests of different workers never meet.

mod blame;
mod board;
pub(crate) mod front;
pub(crate) mod hashing;
mod hop;
mod http;
mod http_stream;
pub mod limits;
mod plan;
mod post;
mod relay;
mod relay_stream;
mod router;
mod verdict;
mod way;

pub use self::plan::Plan;

use self::{board::Board, http::HttpFront, post::Post, relay::TrunkFront, router::Router};
use crate::{config::BalancerConfig, doors::Doors};
use net::{
    admin::Admin,
    announce, clock,
    control::{Control, Reload},
    shutdown::Shutdown,
    trunk::Identity,
    worker::{self, Door, Listening, Worker},
};
use std::{io, net::SocketAddr, rc::Rc, sync::Arc};
use tokio::task::spawn_local;

/// Serves until `shutdown`, then drains.
pub fn run(
    config: BalancerConfig,
    shutdown: Shutdown,
    reload: Reload<BalancerConfig>,
) -> io::Result<()> {
    let bound = Bound::reloading(config, reload)?;
    let details = announce::details(&bound.listening, bound.admin_addr())?;
    announce::ready(&bound.config.node.name, &details)?;
    bound.serve(&shutdown)
}

/// A balancer that listens and does not serve yet.
#[derive(Debug)]
pub struct Bound {
    config: BalancerConfig,
    listening: Vec<Listening>,
    plan: Plan,
    board: Arc<Board>,
    control: Arc<Control<BalancerConfig>>,
    admin: Admin,
}

impl Bound {
    /// Binds the addresses of a node whose configuration is in no file.
    pub fn new(config: BalancerConfig) -> io::Result<Bound> {
        Bound::reloading(config, Reload::never())
    }

    /// Binds the addresses of the node.
    pub fn reloading(config: BalancerConfig, reload: Reload<BalancerConfig>) -> io::Result<Bound> {
        clock::now(); // The clock starts with the node.
        let listening = Listening::bind_doors(config.http, config.trunk)?;
        let plan = Plan::new(config.endpoints.clone());
        let board = Arc::new(Board::new(&config, plan.clone()));
        let control = Arc::new(Control::new(config.workers, reload));
        let (source, controls) = (Arc::clone(&board) as _, Arc::clone(&control) as _);
        let admin = Admin::start(config.node.admin, source, controls)?;
        config.node.watched.set(Arc::clone(&board) as _, Arc::clone(&control) as _);
        Ok(Bound { config, listening, plan, board, control, admin })
    }

    /// Where it listens for HTTP or the trunk: of use when port 0 was asked for.
    pub fn addr(&self, door: Door) -> Option<SocketAddr> {
        let listening = self.listening.iter().find(|it| it.door == door)?;
        listening.local_addr().ok()
    }

    /// The list of endpoints, to be changed while it serves.
    pub fn plan(&self) -> Plan {
        self.plan.clone()
    }

    /// Where the admin server listens.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// Serves until `shutdown`, then drains.
    pub fn serve(self, shutdown: &Shutdown) -> io::Result<()> {
        let Bound { config, listening, plan, board, control, admin } = self;
        let node = &config.node;
        let identity = Identity::of(node);
        let served = worker::run(listening, config.workers, shutdown, async |worker| {
            serve(worker, &config, &identity, &board, &plan, &control).await;
            Ok(())
        });
        drop(admin); // It answered until now, so that a drain can be watched.
        served
    }
}

/// One worker, from its start to the end of its drain.
async fn serve(
    mut worker: Worker,
    config: &BalancerConfig,
    identity: &Identity,
    board: &Arc<Board>,
    plan: &Plan,
    control: &Control<BalancerConfig>,
) {
    let mut list = plan.subscribe();
    let router = Router::open(config, identity, board.worker(worker.index));
    let clients = HttpFront::new(Rc::clone(&router));
    let relays = Rc::new(TrunkFront::new(Rc::clone(&router)));
    let reporter = Rc::clone(&router);
    let load = Rc::new(move || reporter.report());
    let doors = Doors::new(&config.node, identity, clients, relays, load);
    let teller = doors.trunk().clone();
    router.on_turn(Rc::new(move || teller.report_load()));
    let post = Post {
        plan: plan.clone(),
        board: Arc::clone(board),
        router: Rc::clone(&router),
        doors: Rc::clone(&doors),
    };
    drop(spawn_local(control.orders(worker.index).obey(post)));
    // Also what was changed before this worker began to listen for changes.
    list.mark_changed();
    loop {
        tokio::select! {
            accepted = worker.accept() => {
                let Some(accepted) = accepted else { break };
                doors.serve(accepted);
            }
            changed = list.changed() => {
                changed.expect("the plan is held here");
                let endpoints = Arc::clone(&list.borrow_and_update());
                router.set_endpoints(&endpoints);
            }
        }
    }
    control.ending();
    doors.drain().await;
    router.close();
}
