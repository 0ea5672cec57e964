//! The connections of one worker to one endpoint: kept alive, counted, and never trusted to be
//! still there.

use super::{
    body::Outgoing,
    config::{HttpEndpoint, HttpServiceConfig, Protocol},
    dial::Dialer,
    limits::{
        AGE_MAX, CONNECT_MAX, CONNECTIONS_MAX, H2_CONNECTIONS_MAX, H2_STREAMS_MAX, IDLE_MARGIN,
        IDLE_MAX, IDLE_RISKY_MAX, RESPONSE_HEAD_BYTES_MAX, RESPONSE_HEADERS_MAX, SETTLE_MAX,
        WAIT_MAX, WAITING_MAX,
    },
};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use net::{clock, ids};
use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use stdx::{Moment, Rng};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    task::spawn_local,
    time::timeout,
};

/// Why there is no connection. Nothing was sent.
#[derive(Debug)]
pub(super) enum NoLease {
    /// All are busy, and too many wait or one has waited for too long.
    Full,
    Unreachable(io::Error),
}

/// Which connection a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Any,
    /// Not one that its server may be closing just now.
    Young,
    /// One that carried nothing yet.
    Fresh,
}

pub(super) struct Conns {
    dialer: Dialer,
    protocol: Protocol,
    /// Requests at a time.
    room: Arc<Semaphore>,
    waiting: Cell<usize>,
    /// HTTP/1.1, the one used last at the end.
    idle: RefCell<Vec<Idle>>,
    /// HTTP/2.
    shared: RefCell<Vec<Rc<Multiplexed>>>,
    /// One HTTP/2 connection is opened at a time.
    dialing: Mutex<()>,
    open: Rc<Cell<usize>>,
    rng: RefCell<Rng>,
}

struct Idle {
    sender: http1::SendRequest<Outgoing>,
    since: Moment,
    until: Moment,
    retires_at: Moment,
}

struct Multiplexed {
    sender: http2::SendRequest<Outgoing>,
    retires_at: Moment,
    streams: Cell<usize>,
    used: Cell<bool>,
    idle_since: Cell<Moment>,
}

/// The right to send one request on a connection.
pub(super) struct Lease {
    conns: Rc<Conns>,
    link: Link,
    /// The connection has carried a request before.
    pub(super) reused: bool,
    retires_at: Moment,
    /// How long the server keeps it, as far as it said so.
    keeps: Duration,
    _permit: OwnedSemaphorePermit,
}

enum Link {
    One(http1::SendRequest<Outgoing>),
    Many(Stream),
}

/// One more stream of a connection, for as long as it lives.
struct Stream(Rc<Multiplexed>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.idle_since.set(clock::now());
    }
}

/// Counts something for as long as it lives.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(count: &Rc<Cell<usize>>) -> Counted {
        count.set(count.get() + 1);
        Counted(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Runs hyper's tasks on this thread.
#[derive(Clone, Copy, Debug)]
struct Here;

impl<F: Future<Output: 'static> + 'static> Executor<F> for Here {
    fn execute(&self, future: F) {
        drop(spawn_local(future));
    }
}

impl Conns {
    /// To an endpoint of the service, by this protocol.
    pub(super) fn new(
        endpoint: &HttpEndpoint,
        service: &HttpServiceConfig,
        protocol: Protocol,
    ) -> Conns {
        let room = match protocol {
            Protocol::Http1 => CONNECTIONS_MAX,
            Protocol::Http2 => H2_CONNECTIONS_MAX * H2_STREAMS_MAX,
        };
        Conns {
            dialer: Dialer::new(endpoint, service),
            protocol,
            room: Arc::new(Semaphore::new(room)),
            waiting: Cell::new(0),
            idle: RefCell::default(),
            shared: RefCell::default(),
            dialing: Mutex::new(()),
            open: Rc::default(),
            rng: RefCell::new(Rng::new(ids::seed())),
        }
    }

    /// Connections that are open.
    pub(super) fn open_count(&self) -> usize {
        self.open.get()
    }

    /// A connection to send one request on.
    pub(super) async fn lease(self: &Rc<Conns>, want: Want) -> Result<Lease, NoLease> {
        let permit = self.permit().await?;
        let (link, reused, retires_at) = match self.protocol {
            Protocol::Http1 => match self.take_idle(want) {
                Some(idle) => (Link::One(idle.sender), true, idle.retires_at),
                None => (Link::One(self.connect_1().await?), false, self.retirement()),
            },
            Protocol::Http2 => {
                let conn = self.multiplexed(want).await?;
                conn.streams.set(conn.streams.get() + 1);
                let reused = conn.used.replace(true);
                let retires_at = conn.retires_at;
                (Link::Many(Stream(conn)), reused, retires_at)
            }
        };
        let conns = Rc::clone(self);
        Ok(Lease { conns, link, reused, retires_at, keeps: IDLE_MAX, _permit: permit })
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, NoLease> {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return Ok(permit);
        }
        if WAITING_MAX <= self.waiting.get() {
            return Err(NoLease::Full);
        }
        self.waiting.set(self.waiting.get() + 1);
        let waiting = Waiting(&self.waiting);
        let permit = timeout(WAIT_MAX, Arc::clone(&self.room).acquire_owned()).await;
        drop(waiting);
        permit.ok().and_then(Result::ok).ok_or(NoLease::Full)
    }

    fn retirement(&self) -> Moment {
        let part = u32::try_from(self.rng.borrow_mut().below(1_024)).expect("below 1024");
        clock::now() + AGE_MAX + AGE_MAX / 4 * part / 1_024
    }

    fn take_idle(&self, want: Want) -> Option<Idle> {
        if want == Want::Fresh {
            return None;
        }
        let now = clock::now();
        let mut idle = self.idle.borrow_mut();
        while let Some(last) = idle.pop() {
            if last.sender.is_closed() || last.until <= now || last.retires_at <= now {
                continue;
            }
            if want == Want::Young && IDLE_RISKY_MAX < now.since(last.since) {
                idle.push(last); // It stays for others, and all others here are older.
                return None;
            }
            return Some(last);
        }
        None
    }

    async fn connect_1(&self) -> Result<http1::SendRequest<Outgoing>, NoLease> {
        let stream = self.dialer.dial().await.map_err(NoLease::Unreachable)?;
        let mut builder = http1::Builder::new();
        builder.max_headers(RESPONSE_HEADERS_MAX).max_buf_size(RESPONSE_HEAD_BYTES_MAX);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (sender, conn) =
            handshake.map_err(|err| NoLease::Unreachable(io::Error::other(err)))?;
        let counted = Counted::new(&self.open);
        drop(spawn_local(async move {
            if let Err(err) = conn.with_upgrades().await {
                tracing::debug!(%err, "upstream connection ended");
            }
            drop(counted);
        }));
        Ok(sender)
    }

    async fn multiplexed(&self, want: Want) -> Result<Rc<Multiplexed>, NoLease> {
        if let Some(conn) = self.roomy(want) {
            return Ok(conn);
        }
        let _alone = self.dialing.lock().await;
        // Another may have opened one meanwhile.
        if let Some(conn) = self.roomy(want) {
            return Ok(conn);
        }
        let sender = self.connect_2().await?;
        let conn = Rc::new(Multiplexed {
            sender,
            retires_at: self.retirement(),
            streams: Cell::new(0),
            used: Cell::new(false),
            idle_since: Cell::new(clock::now()),
        });
        self.shared.borrow_mut().push(Rc::clone(&conn));
        Ok(conn)
    }

    /// The connection with the fewest streams, unless it is full and there may be one more.
    fn roomy(&self, want: Want) -> Option<Rc<Multiplexed>> {
        let now = clock::now();
        let mut shared = self.shared.borrow_mut();
        // Whoever has a stream on one that leaves the list still holds it.
        shared.retain(|it| !it.sender.is_closed() && now < it.retires_at);
        let fits = |it: &&Rc<Multiplexed>| want != Want::Fresh || !it.used.get();
        let fewest = shared.iter().filter(fits).min_by_key(|it| it.streams.get())?;
        let full = H2_STREAMS_MAX <= fewest.streams.get();
        (!full || H2_CONNECTIONS_MAX <= shared.len()).then(|| Rc::clone(fewest))
    }

    async fn connect_2(&self) -> Result<http2::SendRequest<Outgoing>, NoLease> {
        let stream = self.dialer.dial().await.map_err(NoLease::Unreachable)?;
        let mut builder = http2::Builder::new(Here);
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(RESPONSE_HEAD_BYTES_MAX).expect("64 KiB"))
            .keep_alive_interval(IDLE_MAX)
            .keep_alive_timeout(CONNECT_MAX);
        let handshake = timeout(CONNECT_MAX, builder.handshake(TokioIo::new(stream))).await;
        let handshake = match handshake {
            Ok(done) => done.map_err(io::Error::other),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let (sender, conn) = handshake.map_err(NoLease::Unreachable)?;
        let counted = Counted::new(&self.open);
        drop(spawn_local(async move {
            if let Err(err) = conn.await {
                tracing::debug!(%err, "upstream connection ended");
            }
            drop(counted);
        }));
        Ok(sender)
    }

    /// Closes what has been idle or open for too long.
    pub(super) fn sweep(&self, now: Moment) {
        let keeps = |it: &Idle| !it.sender.is_closed() && now < it.until && now < it.retires_at;
        self.idle.borrow_mut().retain(keeps);
        self.shared.borrow_mut().retain(|it| {
            let is_idle = it.streams.get() == 0 && IDLE_MAX <= now.since(it.idle_since.get());
            !it.sender.is_closed() && now < it.retires_at && !is_idle
        });
    }

    /// Closes every idle connection.
    pub(super) fn close_idle(&self) {
        self.idle.borrow_mut().clear();
        self.shared.borrow_mut().clear();
    }
}

impl Lease {
    /// Sends a request. An error that still has the request is sure that none of it was sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        match &mut self.link {
            Link::One(sender) => sender.try_send_request(request).await,
            // A handle of its own: hyper wants it mutable.
            Link::Many(stream) => stream.0.sender.clone().try_send_request(request).await,
        }
    }

    /// The server said how long it keeps the connection when it is idle.
    pub(super) fn kept_for(&mut self, granted: Duration) {
        self.keeps = granted.saturating_sub(IDLE_MARGIN).min(IDLE_MAX);
    }

    /// The answer has ended: the connection may be used again once the request has, too.
    pub(super) fn give_back(self) {
        let Lease { conns, link, retires_at, keeps, _permit: permit, .. } = self;
        let Link::One(mut sender) = link else { return };
        if sender.is_ready() {
            drop(permit);
            return conns.keep(sender, retires_at, keeps);
        }
        drop(spawn_local(async move {
            let ready = timeout(SETTLE_MAX, sender.ready()).await;
            drop(permit);
            if matches!(ready, Ok(Ok(()))) {
                conns.keep(sender, retires_at, keeps);
            }
        }));
    }
}

impl Conns {
    fn keep(&self, sender: http1::SendRequest<Outgoing>, retires_at: Moment, keeps: Duration) {
        let now = clock::now();
        if !keeps.is_zero() && now < retires_at && !sender.is_closed() {
            let until = now + keeps;
            self.idle.borrow_mut().push(Idle { sender, since: now, until, retires_at });
        }
    }
}

struct Waiting<'a>(&'a Cell<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
