//! The admin address of a node: is it alive, is it ready, what does it count; and orders to it.
//!
//! On a thread of its own, so that a node whose workers hang still says so.

mod endpoints;
mod exposition;
mod guard;
mod pages;

pub use self::{endpoints::WEIGHT_MAX, exposition::Exposition};

use self::pages::Pages;
use crate::{
    agent::beat::SelfCheck,
    control::Controls,
    edge::{Asked, Body, Edge, Service},
    shutdown::{Shutdown, ShutdownTrigger, shutdown},
    worker,
};
use bytes::Bytes;
use http::{Response, request::Parts};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};
use stdx::Moment;
use wire::Code;

/// Connections to the admin address; one more is hung up on.
const CONNECTIONS_MAX: usize = 64;
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What a role tells about itself. Called from the admin thread, at any time.
pub trait Source: Send + Sync + 'static {
    /// `Err` says why the node should be restarted.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    /// `Err` says why the node should get no requests now.
    fn readiness(&self) -> Result<(), String>;

    /// Whether the node has begun to serve: until then its beats say that it is starting.
    fn serves(&self) -> bool {
        self.readiness().is_ok()
    }

    /// Adds the role's own self checks: what its heartbeats tell beside what every process finds
    /// out about itself. Called from the agent's thread.
    fn checks(&self, now: Moment, out: &mut Vec<SelfCheck>) {
        _ = (now, out);
    }

    /// Adds the node's metrics.
    fn metrics(&self, out: &mut Exposition);

    /// What `/admin/status` shows: a JSON object.
    fn status(&self) -> String;

    /// Takes an order that only this role knows, given by POST to this path below `/admin/`.
    /// `None`: there is no such order. It is carried out a little later.
    fn order(&self, path: &str) -> Option<Result<(), String>> {
        _ = path;
        None
    }
}

/// The running admin server; ends when dropped.
#[derive(Debug)]
pub struct Admin {
    addr: SocketAddr,
    stop: ShutdownTrigger,
}

impl Admin {
    /// Listens on `addr`, shows `source` and gives orders by `controls`, also at each SIGHUP.
    pub fn start(
        addr: SocketAddr,
        source: Arc<dyn Source>,
        controls: Arc<dyn Controls>,
    ) -> io::Result<Admin> {
        let listener = worker::listen(addr)?;
        let addr = listener.local_addr()?;
        let (stop, stopped) = shutdown();
        thread::Builder::new().name("admin".to_owned()).spawn(move || {
            if let Err(err) = serve(listener, Pages { source, controls }, stopped) {
                tracing::error!(%err, "the admin server ended");
            }
        })?;
        Ok(Admin { addr, stop })
    }

    /// Where it listens: of use when port 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

fn serve(listener: TcpListener, pages: Pages, mut stopped: Shutdown) -> io::Result<()> {
    worker::runtime()?.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let controls = Arc::clone(&pages.controls);
        let edge = Edge::new(pages);
        let accepting = async {
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) if edge.connections() < CONNECTIONS_MAX => {
                        edge.serve(stream, peer, ());
                    }
                    Ok(_) => (),
                    Err(err) => {
                        tracing::warn!(%err, "cannot accept an admin connection");
                        tokio::time::sleep(ACCEPT_REST).await;
                    }
                }
            }
        };
        let reloading = async {
            let mut hangups = controls.hangups();
            while hangups.next().await {
                // It writes to the log what came of it, and the status page shows it.
                drop(controls.reload().await);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stopped.requested() => Ok(()),
            () = accepting => Ok(()),
            () = reloading => Ok(()),
        }
    })
}

impl Service for Pages {
    async fn respond(&self, asked: Asked) -> Response<Body> {
        self.answer(&asked).await.map(Body::from)
    }

    fn refuse(&self, _parts: &Parts, code: Code, detail: &str) -> Response<Bytes> {
        pages::text(code.status(), format!("{detail}\n"))
    }
}
