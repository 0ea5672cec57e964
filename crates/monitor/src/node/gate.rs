//! How a monitor begins while its database is away: it listens, tells everybody why it takes
//! nothing in, and takes up its work as soon as it can read what it knew.

use super::{Node, status::Status};
use crate::{
    config::MonitorConfig,
    http::Front,
    store::{Archive, Loaded, Site, Store, StoreError, Trouble},
};
use http::{Response, request::Parts};
use net::{
    control::{self, Order, View},
    edge::{Asked, Body, BodyMode, Service},
};
use std::{
    cell::{OnceCell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::task::{JoinSet, spawn_blocking};
use wire::Code;

/// Between two looks at a database that was away.
const OPEN_EVERY: Duration = Duration::from_secs(1);

/// A monitor, once it could be opened.
pub(super) struct Gate {
    /// What it is to be opened with.
    config: RefCell<MonitorConfig>,
    url: String,
    status: Arc<Status>,
    node: OnceCell<Rc<Node>>,
}

impl Gate {
    pub(super) fn new(config: MonitorConfig, url: String, status: Arc<Status>) -> Gate {
        Gate { config: RefCell::new(config), url, status, node: OnceCell::new() }
    }

    /// The monitor, if it is open.
    pub(super) fn node(&self) -> Option<&Rc<Node>> {
        self.node.get()
    }

    /// Opens it, or says why not yet.
    ///
    /// # Errors
    /// When it never will: a database may come back, a folder that cannot be used does not.
    pub(super) async fn open(&self) -> io::Result<bool> {
        let site = self.config.borrow().store.clone();
        match opened(site.clone()).await {
            Ok(opened) => {
                let config = self.config.borrow().clone();
                let node = Node::open(config, self.url.clone(), Arc::clone(&self.status), opened);
                drop(self.node.set(node)); // It was asked for only while there was none.
                self.status.set_ready(true);
                Ok(true)
            }
            Err(err) => match site {
                Site::Database { .. } if !err.is_refused => {
                    let words = err.to_string();
                    if self.status.store_trouble().as_ref() != Some(&words) {
                        tracing::error!(%err, "waits for its store, and takes no beats in");
                    }
                    self.status.set_store(Trouble::of(words));
                    Ok(false)
                }
                Site::Database { .. } | Site::Folder(_) => Err(io::Error::other(err)),
            },
        }
    }

    /// Looks after everything that is to be done without being asked, once it is open.
    pub(super) async fn live(self: Rc<Gate>) {
        let node = loop {
            if let Some(node) = self.node() {
                break node;
            }
            tokio::time::sleep(OPEN_EVERY).await;
            if let Err(err) = self.open().await {
                tracing::error!(%err, "cannot open its store");
            }
        };
        let mut tasks = JoinSet::new();
        tasks.spawn_local(Rc::clone(node).tick());
        tasks.spawn_local(Rc::clone(node).roll());
        tasks.spawn_local(Rc::clone(node).listen_to_peers());
        while tasks.join_next().await.is_some() {}
    }
}

/// What is kept there, read on a thread that may wait.
async fn opened(site: Site) -> Result<(Store, Loaded, Archive), StoreError> {
    let open = spawn_blocking(move || {
        let (store, loaded) = Store::open(&site)?;
        Ok((store, loaded, Archive::open(&site)?))
    });
    open.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// The gate as its HTTP side and as who obeys orders knows it.
pub(super) struct Keeper(pub(super) Rc<Gate>);

impl Service for Keeper {
    fn body_mode(&self, _parts: &Parts) -> BodyMode {
        Front::BODY_MODE
    }

    async fn respond(&self, asked: Asked) -> Response<Body> {
        match self.0.node() {
            Some(node) => Front(Rc::clone(node)).answer(&asked).await.map(Body::from),
            None => {
                let why = self.0.status.store_trouble().unwrap_or_default();
                let words = format!("not stored: the monitor waits for its database: {why}\n");
                Front::refusal(503, &words).map(Body::from)
            }
        }
    }

    fn refuse(&self, _parts: &Parts, code: Code, detail: &str) -> Response<bytes::Bytes> {
        Front::refusal(code.status(), detail)
    }
}

impl control::Post<MonitorConfig> for Keeper {
    fn apply(&self, order: &Order<MonitorConfig>) {
        match order {
            Order::Config(config) => {
                self.0.config.replace((**config).clone());
                if let Some(node) = self.0.node() {
                    node.reconfigure(config);
                }
            }
            // It takes beats as long as it lives, and has no endpoints.
            Order::Draining(_) | Order::Endpoint(_) | Order::Look => (),
        }
    }

    fn view(&self) -> View {
        View::default()
    }
}
