//! A link: the way from one worker to one endpoint, connected whenever it can be.

use super::{
    conn::{Conn, Loss, Notice, Pending, Refused},
    greeting::{self, GreetingError, Identity, Peer},
    limits::{GOOD_CONNECTION_MIN, GREETING_MAX, RECONNECT_MAX, RECONNECT_MIN},
};
use crate::{clock, ids, node::Endpoint};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};
use stdx::Rng;
use tokio::{net::TcpStream, sync::Notify, task::spawn_local, time::timeout};
use wire::frame::{LoadReport, OwnerMap, Patch, RequestRef, append_forwarded_request};

/// What a link connects, and to what.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    pub identity: Identity,
    pub endpoint: Endpoint,
    /// The caller's number for the endpoint, told with every event.
    pub index: usize,
}

/// What happens to a link. Called on the link's own thread, never from within a send.
pub trait LinkEvents: 'static {
    /// Requests can be sent.
    fn connected(&self, index: usize);

    /// The endpoint drains: nothing can be sent until it is connected again; what is in flight
    /// will be answered.
    fn draining(&self, index: usize);

    /// The connection is gone, and nothing can be sent until it is connected again. What was in
    /// flight is told after this.
    fn disconnected(&self, index: usize);

    /// An attempt to connect failed; the next one follows by itself.
    fn unreachable(&self, index: usize, why: &str) {
        _ = (index, why);
    }

    /// What the endpoint says of its load: many times a second while it answers, a few times a
    /// second while it does not.
    fn load_report(&self, index: usize, report: LoadReport) {
        _ = (index, report);
    }

    /// The endpoint has been silent for so long that a ping of ours must have come back.
    fn missed_check(&self, index: usize) {
        _ = index;
    }

    /// What the endpoint owns now, all of it.
    fn owner_map(&self, index: usize, owners: OwnerMap<'_>) {
        _ = (index, owners);
    }
}

/// A handle on a link; clones share it.
pub struct Link<P: Pending> {
    shared: Rc<Shared<P>>,
}

impl<P: Pending> Clone for Link<P> {
    fn clone(&self) -> Link<P> {
        Link { shared: Rc::clone(&self.shared) }
    }
}

struct Shared<P: Pending> {
    config: LinkConfig,
    events: Rc<dyn LinkEvents>,
    /// Where new requests go.
    current: RefCell<Option<Rc<Conn<P>>>>,
    closed: Cell<bool>,
    /// Told whenever `current` became none, or the link is closed.
    vacant: Notify,
}

impl<P: Pending> Link<P> {
    /// Starts to connect, on this thread's runtime, and keeps at it until closed.
    pub fn open(config: LinkConfig, events: Rc<dyn LinkEvents>) -> Link<P> {
        let shared = Rc::new(Shared {
            config,
            events,
            current: RefCell::new(None),
            closed: Cell::new(false),
            vacant: Notify::new(),
        });
        drop(spawn_local(stay_connected(Rc::clone(&shared))));
        Link { shared }
    }

    /// Whether a request would be sent now.
    pub fn is_connected(&self) -> bool {
        self.shared.current.borrow().is_some()
    }

    /// Requests without an answer on the present connection.
    pub fn in_flight(&self) -> usize {
        self.shared.current.borrow().as_ref().map_or(0, |conn| conn.in_flight())
    }

    /// Sends a request; `pending` hears of the answer. The request's id is set on the way.
    pub fn send(&self, request: &RequestRef<'_>, pending: P) -> Result<(), Refused<P>> {
        self.submit(request.deadline_ms, pending, |_, out, id| {
            let mut numbered = *request;
            numbered.id = id;
            numbered.append(out)
        })
    }

    /// Sends a request that was received, as it was but for the patch. `message` finds its bytes
    /// in the pending, which keeps them in case they are to be sent again.
    ///
    /// # Panics
    /// When they are not from [`RequestRef::message`] of a request that was received.
    pub fn forward(
        &self,
        patch: Patch,
        pending: P,
        message: impl FnOnce(&P) -> &[u8],
    ) -> Result<(), Refused<P>> {
        self.submit(patch.deadline_ms, pending, |pending, out, id| {
            append_forwarded_request(out, id, patch, message(pending));
            Ok(())
        })
    }

    fn submit(
        &self,
        deadline_ms: u32,
        pending: P,
        append: impl FnOnce(&P, &mut Vec<u8>, u32) -> Result<(), wire::Flaw>,
    ) -> Result<(), Refused<P>> {
        match &*self.shared.current.borrow() {
            Some(conn) => conn.submit(deadline_ms, pending, append),
            None => Err(Refused { pending, loss: Loss::NotConnected }),
        }
    }

    /// Sends nothing more and connects no more. What is in flight may still be answered.
    pub fn close(&self) {
        self.shared.closed.set(true);
        if let Some(conn) = self.shared.vacate(None) {
            conn.leave();
        }
        self.shared.vacant.notify_one();
    }
}

impl<P: Pending> Shared<P> {
    /// Takes away where new requests go, if it is `conn` (or whatever it is, for `None`).
    fn vacate(&self, conn: Option<&Rc<Conn<P>>>) -> Option<Rc<Conn<P>>> {
        let mut current = self.current.borrow_mut();
        if let (Some(only), Some(present)) = (conn, &*current)
            && !Rc::ptr_eq(only, present)
        {
            return None;
        }
        let vacated = current.take();
        if vacated.is_some() {
            self.vacant.notify_one();
        }
        vacated
    }

    fn name(&self) -> &str {
        &self.config.endpoint.name
    }
}

/// Connects, again and again.
async fn stay_connected<P: Pending>(shared: Rc<Shared<P>>) {
    let mut rng = Rng::new(ids::seed());
    let mut pause = Duration::ZERO;
    let mut complaint = String::new();
    while !shared.closed.get() {
        match connect(&shared.config).await {
            Ok((stream, peer)) => {
                tracing::info!(endpoint = shared.name(), "connected");
                complaint.clear();
                let since = clock::now();
                settle(&shared, stream, peer);
                while shared.current.borrow().is_some() {
                    shared.vacant.notified().await;
                }
                if GOOD_CONNECTION_MIN <= clock::now().since(since) {
                    pause = Duration::ZERO;
                    continue;
                }
            }
            Err(err) => {
                let why = err.to_string();
                shared.events.unreachable(shared.config.index, &why);
                if why != complaint {
                    // Once per cause: a node that is down would otherwise fill the log.
                    tracing::warn!(endpoint = shared.name(), addr = %shared.config.endpoint.addr,
                        cause = %why, "cannot connect");
                    complaint = why;
                }
            }
        }
        pause = (pause * 2).clamp(RECONNECT_MIN, RECONNECT_MAX);
        // From half of it to all of it, so that links that broke together do not return together.
        let half = u32::try_from(rng.below(1_024)).expect("below 1024");
        let pause = pause / 2 + pause * half / 2_048;
        drop(timeout(pause, shared.vacant.notified()).await);
    }
}

async fn connect(config: &LinkConfig) -> Result<(TcpStream, Peer), GreetingError> {
    let connecting = TcpStream::connect(config.endpoint.addr);
    let mut stream = timeout(GREETING_MAX, connecting).await.map_err(|_| GreetingError::Late)??;
    stream.set_nodelay(true)?;
    let peer = greeting::as_client(&mut stream, &config.identity, &config.endpoint.name).await?;
    Ok((stream, peer))
}

/// Makes a fresh connection the current one and starts its tasks.
fn settle<P: Pending>(shared: &Rc<Shared<P>>, stream: TcpStream, peer: Peer) {
    if shared.closed.get() {
        return;
    }
    let conn = Rc::new(Conn::new(&peer));
    let index = shared.config.index;
    shared.current.replace(Some(Rc::clone(&conn)));
    shared.events.connected(index);
    let (read, write) = stream.into_split();
    let mut writer = spawn_local(Rc::clone(conn.outbox()).write_out(write));
    let (keeper_conn, keeper_shared) = (Rc::clone(&conn), Rc::clone(shared));
    let mut keeper =
        spawn_local(
            async move { keeper_conn.keep(|| keeper_shared.events.missed_check(index)).await },
        );
    let (reader_conn, reader_shared) = (Rc::clone(&conn), Rc::clone(shared));
    let mut reader = spawn_local(async move {
        let notice = |notice: Notice<'_>| match notice {
            Notice::Owners(owners) => reader_shared.events.owner_map(index, owners),
            Notice::Load(report) => reader_shared.events.load_report(index, report),
            Notice::GoingAway(reason) => {
                tracing::info!(endpoint = reader_shared.name(), reason, "endpoint drains");
                if reader_shared.vacate(Some(&reader_conn)).is_some() {
                    reader_shared.events.draining(index);
                }
            }
        };
        reader_conn.read_in(read, peer.buffer, notice).await
    });
    let shared = Rc::clone(shared);
    drop(spawn_local(async move {
        let why = loop {
            tokio::select! {
                why = &mut reader => break why.unwrap_or_else(|err| err.to_string()),
                why = &mut keeper => break why.unwrap_or_else(|err| err.to_string()),
                written = &mut writer, if !writer.is_finished() => match written {
                    // All is answered and our half is closed: the peer closes its own next.
                    Ok(Ok(())) => continue,
                    Ok(Err(err)) => break err.to_string(),
                    Err(err) => break err.to_string(),
                },
            }
        };
        reader.abort();
        keeper.abort();
        writer.abort();
        let in_flight = conn.in_flight();
        if shared.vacate(Some(&conn)).is_some() {
            tracing::warn!(endpoint = shared.name(), in_flight, cause = %why, "disconnected");
            shared.events.disconnected(index);
        }
        conn.lose_all();
    }));
}
