//! Orders to a running node: from its admin address and from SIGHUP to every one of its workers.
//!
//! Workers share nothing, so an order goes to each over a small channel of its own, is applied
//! between requests, and is answered with what the worker sees then. It counts as carried out when
//! every worker has answered: "ready" is said only after "applied".

mod reload;
mod view;

pub use self::{
    reload::{HangupSender, Hangups, LastReload, Loaded, Loader, Reload, hangups},
    view::{EndpointState, EndpointView, Errors, LoadView, View, load, merge},
};
use crate::clock;
use std::{
    fmt,
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};

/// How long all workers together may take to apply an order.
pub const APPLY_TIME_MAX: Duration = Duration::from_secs(5);
/// How long they may take to say what they see.
pub const LOOK_TIME_MAX: Duration = Duration::from_secs(1);
/// Orders that wait for one worker; a worker that has so many left does not work.
const ORDERS_MAX: usize = 16;

/// What a worker is told to do.
#[derive(Debug)]
pub enum Order<C> {
    /// Go by this configuration from now on.
    Config(Arc<C>),
    /// Leave the rotation, or come back. Sent also when it is so already.
    Draining(bool),
    /// Change how one endpoint is used.
    Endpoint(EndpointChange),
    /// Nothing: the answer is what is wanted.
    Look,
}

impl<C> Clone for Order<C> {
    fn clone(&self) -> Order<C> {
        match self {
            Order::Config(config) => Order::Config(Arc::clone(config)),
            Order::Draining(on) => Order::Draining(*on),
            Order::Endpoint(change) => Order::Endpoint(change.clone()),
            Order::Look => Order::Look,
        }
    }
}

/// What is to change about an endpoint; `None` leaves it as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointChange {
    pub name: Arc<str>,
    /// True takes it out of rotation here, whatever it says of itself.
    pub drained: Option<bool>,
    pub weight: Option<NonZeroU32>,
}

/// An order at its worker.
#[derive(Debug)]
pub struct Given<C> {
    pub order: Order<C>,
    worker: usize,
    reply: mpsc::UnboundedSender<(usize, View)>,
}

impl<C> Given<C> {
    /// The order is applied, and this is how things stand now.
    pub fn done(self, view: View) {
        // Whoever asked may have given up.
        drop(self.reply.send((self.worker, view)));
    }
}

/// The orders of one worker.
#[derive(Debug)]
pub struct Orders<C> {
    given: mpsc::Receiver<Given<C>>,
}

impl<C> Orders<C> {
    /// The next order; `None` when the node is about to end.
    pub async fn next(&mut self) -> Option<Given<C>> {
        self.given.recv().await
    }

    /// Applies orders for as long as there may be any.
    pub async fn obey(mut self, post: impl Post<C>) {
        while let Some(given) = self.next().await {
            post.apply(&given.order);
            given.done(post.view());
        }
    }
}

/// Who applies a worker's orders, on its own thread.
pub trait Post<C>: 'static {
    /// Applies an order; it holds when this returns.
    fn apply(&self, order: &Order<C>);

    /// How things stand now.
    fn view(&self) -> View;
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing.
    Unknown(String),
    /// It cannot be done, whatever was asked for: nothing has changed.
    Refused(Vec<String>),
    /// Not every worker has applied it in time; those that live will yet.
    Late(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unknown(what) | Refusal::Late(what) => f.write_str(what),
            Refusal::Refused(complaints) => f.write_str(&complaints.join("; ")),
        }
    }
}

/// What the node's operator has made of it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Out of rotation, by order or because the node is about to end.
    pub draining: bool,
    /// 1 at the start, one more with each configuration that was taken.
    pub generation: u64,
    pub last_reload: Option<LastReload>,
}

/// A future that stays on the admin thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The orders that an admin server can give, whatever the role's configuration is.
pub trait Controls: Send + Sync + 'static {
    /// How things stand.
    fn standing(&self) -> Standing;

    /// What every worker that answers in time sees; the others are missing.
    fn look(&self) -> LocalFuture<'_, Looked>;

    /// Takes the node out of rotation or back in.
    fn set_draining(&self, on: bool) -> LocalFuture<'_, Result<(), Refusal>>;

    /// Changes how an endpoint is used; returns what the workers then see.
    fn change_endpoint(
        &self,
        change: EndpointChange,
    ) -> LocalFuture<'_, Result<Vec<View>, Refusal>>;

    /// Reads the configuration again and applies it; returns what has changed.
    fn reload(&self) -> LocalFuture<'_, Result<Vec<String>, Refusal>>;

    /// SIGHUPs that ask for a reload.
    fn hangups(&self) -> Hangups;
}

/// What came of a look at all workers.
#[derive(Debug, Default)]
pub struct Looked {
    pub views: Vec<View>,
    /// Workers that take orders and did not answer.
    pub silent: Vec<usize>,
}

/// The ordering side of a node with configurations of type `C`.
pub struct Control<C> {
    workers: Vec<mpsc::Sender<Given<C>>>,
    /// For workers that have not begun yet.
    unclaimed: Mutex<Vec<Option<Orders<C>>>>,
    reload: Reload<C>,
    /// One order at a time, so that all workers get them in one order.
    turn: tokio::sync::Mutex<()>,
    standing: Mutex<Standing>,
    /// The node has begun to end.
    ending: AtomicBool,
}

impl<C> fmt::Debug for Control<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

impl<C: Send + Sync + 'static> Control<C> {
    /// Orders for so many workers.
    pub fn new(workers: usize, reload: Reload<C>) -> Control<C> {
        let (workers, orders) = (0..workers)
            .map(|_| {
                let (sender, given) = mpsc::channel(ORDERS_MAX);
                (sender, Some(Orders { given }))
            })
            .unzip();
        let standing = Standing { draining: false, generation: 1, last_reload: None };
        Control {
            workers,
            unclaimed: Mutex::new(orders),
            reload,
            turn: tokio::sync::Mutex::default(),
            standing: Mutex::new(standing),
            ending: AtomicBool::new(false),
        }
    }

    /// The orders of a worker, which takes them from now on.
    ///
    /// # Panics
    /// When they were taken before, or there is no such worker.
    pub fn orders(&self, worker: usize) -> Orders<C> {
        self.unclaimed()[worker].take().expect("each worker takes its orders once")
    }

    /// The node has begun to end: from now on it is never ready again.
    pub fn ending(&self) {
        self.ending.store(true, Relaxed);
    }

    fn unclaimed(&self) -> MutexGuard<'_, Vec<Option<Orders<C>>>> {
        // What is taken out whole is sound whoever panicked.
        self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing_mut(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an order to every worker that takes orders yet, or to all.
    async fn give(&self, order: &Order<C>, to_all: bool, time_max: Duration) -> Looked {
        let (reply, mut replies) = mpsc::unbounded_channel();
        let mut silent: Vec<usize> = Vec::new();
        let asleep: Vec<bool> = self.unclaimed().iter().map(Option::is_some).collect();
        for (worker, sender) in self.workers.iter().enumerate() {
            if asleep[worker] && !to_all {
                continue;
            }
            silent.push(worker);
            // One that takes no more stays among the silent.
            drop(sender.try_send(Given { order: order.clone(), worker, reply: reply.clone() }));
        }
        drop(reply);
        let mut views = Vec::new();
        let gather = async {
            while let Some((worker, view)) = replies.recv().await {
                silent.retain(|it| *it != worker);
                views.push(view);
            }
        };
        // Without the rest, what has come is still of use.
        drop(timeout(time_max, gather).await);
        Looked { views, silent }
    }

    /// Gives an order and waits until every worker has applied it.
    async fn apply(&self, order: Order<C>) -> Result<Vec<View>, Refusal> {
        let looked = self.give(&order, true, APPLY_TIME_MAX).await;
        match looked.silent.as_slice() {
            [] => Ok(looked.views),
            silent => {
                let text = format!("workers {silent:?} have not applied it in {APPLY_TIME_MAX:?}");
                Err(Refusal::Late(text))
            }
        }
    }

    async fn load_and_apply(&self) -> Result<Vec<String>, Refusal> {
        let Loaded { config, changes } = (self.reload.load)().map_err(Refusal::Refused)?;
        if let Some(config) = config {
            self.apply(Order::Config(Arc::new(config))).await?;
        }
        Ok(changes)
    }
}

impl<C: Send + Sync + 'static> Controls for Control<C> {
    fn standing(&self) -> Standing {
        let standing = self.standing_mut().clone();
        Standing { draining: standing.draining || self.ending.load(Relaxed), ..standing }
    }

    fn look(&self) -> LocalFuture<'_, Looked> {
        Box::pin(async { self.give(&Order::Look, false, LOOK_TIME_MAX).await })
    }

    fn set_draining(&self, on: bool) -> LocalFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            let _turn = self.turn.lock().await;
            let was = std::mem::replace(&mut self.standing_mut().draining, on);
            if was != on {
                let what = if on { "out of rotation" } else { "back in rotation" };
                tracing::info!("{what}, by order");
            }
            self.apply(Order::Draining(on)).await.map(drop)
        })
    }

    fn change_endpoint(
        &self,
        change: EndpointChange,
    ) -> LocalFuture<'_, Result<Vec<View>, Refusal>> {
        Box::pin(async move {
            let _turn = self.turn.lock().await;
            let seen = self.give(&Order::Look, true, APPLY_TIME_MAX).await;
            let has = |view: &View| view.endpoints.iter().any(|it| it.name == change.name);
            if !seen.views.iter().any(has) {
                return Err(Refusal::Unknown(format!("no endpoint is called {:?}", change.name)));
            }
            // Only what is reached over the trunk can be fixed: no HTTP service owns anything.
            let is_node = |view: &&View| {
                view.endpoints.iter().any(|it| it.name == change.name && it.kind == "trunk")
            };
            let fixed = seen.views.iter().filter(is_node).find_map(|view| view.fixed);
            if let Some(why) = fixed {
                return Err(Refusal::Refused(vec![why.to_owned()]));
            }
            let (name, drained, weight) = (&change.name, change.drained, change.weight);
            tracing::info!(endpoint = %name, ?drained, ?weight, "changed by order");
            self.apply(Order::Endpoint(change)).await
        })
    }

    fn reload(&self) -> LocalFuture<'_, Result<Vec<String>, Refusal>> {
        Box::pin(async {
            let _turn = self.turn.lock().await;
            let result = self.load_and_apply().await;
            let at = clock::wall();
            match &result {
                Ok(changes) => tracing::info!(?changes, "reloaded"),
                Err(refusal) => tracing::warn!(cause = %refusal, "reload refused"),
            }
            let mut standing = self.standing_mut();
            if result.as_ref().is_ok_and(|changes| !changes.is_empty()) {
                standing.generation += 1;
            }
            standing.last_reload = Some(LastReload { at, result: result.clone() });
            result
        })
    }

    fn hangups(&self) -> Hangups {
        self.reload.hangups.clone()
    }
}
