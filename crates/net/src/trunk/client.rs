//! A link: the way from one worker to one endpoint, connected whenever it can be.

use super::{
    conn::{Conn, Ending, Loss, Notice, Pending, Refused},
    greeting::{self, Identity, Peer},
    limits::{FAREWELL_MAX, GOOD_CONNECTION_MIN, LEAVING_CONNS_MAX, RECONNECT_MAX, RECONNECT_MIN},
    stream::StreamWriter,
    tls::Carrier,
};
use crate::{clock, ids, node::Endpoint};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};
use stdx::Rng;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    task::spawn_local,
    time::timeout,
};
use wire::frame::{
    Farewell, LoadReport, OwnerMap, Patch, RequestRef, ResetReason, append_forwarded_request,
    append_going_away, append_request_part,
};

/// What a link connects, and to what.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    pub identity: Identity,
    pub endpoint: Endpoint,
    /// The caller's number for the endpoint, told with every event.
    pub index: usize,
}

/// A request on its way, by which it can be given up. Means nothing to another link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The link's number of the connection.
    pub(super) serial: u32,
    /// The request's number on it.
    pub(super) id: u32,
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
    /// That one and those which are being left, oldest first.
    conns: RefCell<Vec<Rc<Conn<P>>>>,
    serial_next: Cell<u32>,
    closed: Cell<bool>,
    /// The current connection is to be replaced by a fresh one.
    renewing: Cell<bool>,
    /// Told whenever `current` became none, it is to be replaced, or the link is closed.
    stirred: Notify,
}

impl<P: Pending> Link<P> {
    /// Starts to connect, on this thread's runtime, and keeps at it until closed.
    pub fn open(config: LinkConfig, events: Rc<dyn LinkEvents>) -> Link<P> {
        let shared = Rc::new(Shared {
            config,
            events,
            current: RefCell::new(None),
            conns: RefCell::default(),
            serial_next: Cell::new(0),
            closed: Cell::new(false),
            renewing: Cell::new(false),
            stirred: Notify::new(),
        });
        drop(spawn_local(stay_connected(Rc::clone(&shared))));
        Link { shared }
    }

    /// Whether a request would be sent now.
    pub fn is_connected(&self) -> bool {
        self.shared.current.borrow().is_some()
    }

    /// Requests without an answer, also on connections that are being left.
    pub fn in_flight(&self) -> usize {
        self.shared.conns.borrow().iter().map(|conn| conn.in_flight()).sum()
    }

    /// Sends a request; `pending` hears of the answer. The request's id is set on the way. What
    /// does not fit one frame is sent on by itself, as its reader takes it.
    pub fn send(&self, request: &RequestRef<'_>, pending: P) -> Result<(), Refused<P>> {
        let (deadline_ms, body) = (request.deadline_ms, request.body);
        let mut sent = 0;
        let numbered = |_: &P, out: &mut Vec<u8>, id| {
            let mut numbered = *request;
            numbered.id = id;
            sent = numbered.append(out)?;
            Ok(())
        };
        let current = self.shared.current.borrow();
        let Some(conn) = &*current else { return not_connected(pending) };
        let id = conn.submit(deadline_ms, body.len(), pending, numbered)?;
        conn.send_rest(id, &body[sent..]);
        Ok(())
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
        let mut rest = Vec::new();
        let append = |pending: &P, out: &mut Vec<u8>, id| {
            let message = message(pending);
            let sent = append_forwarded_request(out, id, patch, message);
            rest.extend_from_slice(&message[sent..]);
            Ok(())
        };
        let current = self.shared.current.borrow();
        let Some(conn) = &*current else { return not_connected(pending) };
        let id = conn.submit(patch.deadline_ms, 0, pending, append)?;
        conn.send_rest(id, &rest);
        Ok(())
    }

    /// Sends the first part of a request whose end is not known; see [`super::open_stream`].
    pub(super) fn send_open(
        &self,
        request: &RequestRef<'_>,
        pending: P,
    ) -> Result<StreamWriter, Refused<P>> {
        self.open_with(request.deadline_ms, pending, |_, out, id| {
            let mut numbered = *request;
            numbered.id = id;
            numbered.append_open(out)
        })
    }

    /// Sends the first part of a request as it was received; see [`super::forward_stream`].
    pub(super) fn forward_open(
        &self,
        patch: Patch,
        pending: P,
        part: &[u8],
    ) -> Result<StreamWriter, Refused<P>> {
        self.open_with(patch.deadline_ms, pending, |_, out, id| {
            append_request_part(out, id, patch, part);
            Ok(())
        })
    }

    fn open_with(
        &self,
        deadline_ms: u32,
        pending: P,
        append: impl FnOnce(&P, &mut Vec<u8>, u32) -> Result<(), wire::Flaw>,
    ) -> Result<StreamWriter, Refused<P>> {
        let current = self.shared.current.borrow();
        let Some(conn) = &*current else {
            return Err(Refused { pending, loss: Loss::NotConnected });
        };
        let id = conn.submit(deadline_ms, usize::MAX, pending, append)?;
        Ok(conn.writer(id))
    }

    /// Gives a request up: the endpoint is told, and `lost` is what its pending hears, if it has
    /// heard of nothing yet. What may already be executed stays executed.
    pub fn cancel(&self, ticket: Ticket) {
        let conns = self.shared.conns.borrow();
        let conn = conns.iter().find(|conn| conn.serial == ticket.serial).cloned();
        drop(conns);
        if let Some(pending) = conn.and_then(|it| it.give_up(ticket.id, ResetReason::Cancelled)) {
            pending.lost(Loss::Reset);
        }
    }

    /// Replaces the connection by a fresh one: new requests go there once it has greeted, and the
    /// old one is left when it has its answers. Old connections are replaced without being told.
    pub fn renew(&self) {
        self.shared.renew();
    }

    /// Sends nothing more and connects no more. What is in flight may still be answered.
    pub fn close(&self) {
        self.shared.closed.set(true);
        if let Some(conn) = self.shared.vacate(None) {
            conn.leave();
        }
        self.shared.stirred.notify_one();
    }
}

fn not_connected<P>(pending: P) -> Result<(), Refused<P>> {
    Err(Refused { pending, loss: Loss::NotConnected })
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
            self.stirred.notify_one();
        }
        vacated
    }

    fn renew(&self) {
        self.renewing.set(true);
        self.stirred.notify_one();
    }

    fn name(&self) -> &str {
        &self.config.endpoint.name
    }

    /// Returns when there is no current connection, or it has reached `age_max` or is to be
    /// replaced for another reason.
    async fn until_stale(&self, age_max: Duration) {
        let stirred = async {
            while self.current.borrow().is_some() && !self.renewing.get() {
                self.stirred.notified().await;
            }
        };
        if timeout(age_max, stirred).await.is_err() {
            self.renewing.set(true);
        }
    }

    /// Makes a fresh connection the current one; the one before is left.
    fn install(&self, peer: &Peer) -> Rc<Conn<P>> {
        let serial = self.serial_next.get();
        self.serial_next.set(serial.wrapping_add(1));
        let conn = Rc::new(Conn::new(serial, self.config.identity.ages, peer));
        self.renewing.set(false);
        let mut conns = self.conns.borrow_mut();
        conns.push(Rc::clone(&conn));
        if LEAVING_CONNS_MAX < conns.len() - 1 {
            conns[0].cut.notify_one();
        }
        drop(conns);
        match self.current.replace(Some(Rc::clone(&conn))) {
            Some(before) => before.leave(),
            None => self.events.connected(self.config.index),
        }
        conn
    }
}

/// Connects, again and again.
async fn stay_connected<P: Pending>(shared: Rc<Shared<P>>) {
    let mut rng = Rng::new(ids::seed());
    let mut pause = Duration::ZERO;
    let mut complaint = String::new();
    while !shared.closed.get() {
        let LinkConfig { identity, endpoint, .. } = &shared.config;
        match greeting::as_client(endpoint.addr, identity, &endpoint.name).await {
            Ok((carrier, peer)) => {
                tracing::info!(endpoint = shared.name(), "connected");
                complaint.clear();
                let since = clock::now();
                settle(&shared, carrier, peer);
                shared.until_stale(part_of(identity.ages.renewed, 3, &mut rng)).await;
                if GOOD_CONNECTION_MIN <= clock::now().since(since) || shared.renewing.get() {
                    pause = Duration::ZERO;
                    continue;
                }
            }
            Err(err) => {
                let why = err.to_string();
                if shared.current.borrow().is_none() {
                    shared.events.unreachable(shared.config.index, &why);
                }
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
        drop(timeout(part_of(pause, 1, &mut rng), shared.stirred.notified()).await);
    }
}

/// At random from `least` parts of a time to `least + 1` of them, which is all of it.
fn part_of(all: Duration, least: u32, rng: &mut Rng) -> Duration {
    let part = u32::try_from(rng.below(1_024)).expect("below 1024");
    all / (least + 1) * least + all / (least + 1) * part / 1_024
}

/// Makes a fresh connection the current one and starts its tasks.
fn settle<P: Pending>(shared: &Rc<Shared<P>>, carrier: Carrier, peer: Peer) {
    if shared.closed.get() {
        return;
    }
    match carrier {
        Carrier::Plain(stream) => {
            let (read, write) = stream.into_split();
            start(shared, read, write, peer);
        }
        Carrier::Tls(stream) => {
            let (read, write) = tokio::io::split(*stream);
            start(shared, read, write, peer);
        }
    }
}

fn start<P: Pending>(
    shared: &Rc<Shared<P>>,
    read: impl AsyncRead + Unpin + 'static,
    write: impl AsyncWrite + Unpin + 'static,
    peer: Peer,
) {
    let conn = shared.install(&peer);
    let index = shared.config.index;
    let mut writer = spawn_local(Rc::clone(conn.outbox()).write_out(write));
    let (keeper_conn, keeper_shared) = (Rc::clone(&conn), Rc::clone(shared));
    let mut keeper =
        spawn_local(
            async move { keeper_conn.keep(|| keeper_shared.events.missed_check(index)).await },
        );
    let (reader_conn, reader_shared) = (Rc::clone(&conn), Rc::clone(shared));
    let mut reader = spawn_local(Rc::clone(&conn).read_in(read, peer.buffer, move |notice| {
        reader_shared.notice(&reader_conn, notice);
    }));
    let shared = Rc::clone(shared);
    drop(spawn_local(async move {
        let ending: Ending = loop {
            tokio::select! {
                ending = &mut reader => break ending.unwrap_or_else(Ending::from),
                ending = &mut keeper => break ending.unwrap_or_else(Ending::from),
                written = &mut writer, if !writer.is_finished() => match written {
                    // All is answered and our half is closed: the peer closes its own next.
                    Ok(Ok(())) => continue,
                    Ok(Err(err)) => break err.into(),
                    Err(err) => break err.into(),
                },
                () = conn.cut.notified() => break "too many connections were being left".into(),
            }
        };
        reader.abort();
        keeper.abort();
        shared.ended(&conn, &ending.why);
        if let Some((why, reason)) = ending.farewell
            && !writer.is_finished()
        {
            conn.outbox().append(|out| append_going_away(out, why, &reason));
            conn.outbox().finish();
            // Best effort: it may have been silent because it is gone.
            drop(timeout(FAREWELL_MAX, &mut writer).await);
        }
        writer.abort();
    }));
}

impl<P: Pending> Shared<P> {
    fn notice(&self, conn: &Rc<Conn<P>>, notice: Notice<'_>) {
        let (endpoint, index) = (self.name(), self.config.index);
        match notice {
            Notice::Owners(owners) => self.events.owner_map(index, owners),
            Notice::Load(report) => self.events.load_report(index, report),
            Notice::GoingAway(Farewell::Aged, _) => {
                // One that is being left is old, too, and goes when it has nothing to carry.
                let current = self.current.borrow();
                if current.as_ref().is_some_and(|it| Rc::ptr_eq(it, conn)) {
                    self.renew();
                }
            }
            Notice::GoingAway(why, reason) => {
                match why {
                    Farewell::Draining => tracing::info!(endpoint, reason, "endpoint drains"),
                    Farewell::Aged | Farewell::Silent | Farewell::Breach => {
                        tracing::warn!(endpoint, reason, "endpoint hangs up");
                    }
                }
                if self.vacate(Some(conn)).is_some() {
                    self.events.draining(index);
                }
            }
        }
    }

    /// The connection is gone: whoever waits on it is told.
    fn ended(&self, conn: &Rc<Conn<P>>, why: &str) {
        self.conns.borrow_mut().retain(|it| !Rc::ptr_eq(it, conn));
        let in_flight = conn.in_flight();
        if self.vacate(Some(conn)).is_some() {
            tracing::warn!(endpoint = self.name(), in_flight, cause = why, "disconnected");
            self.events.disconnected(self.config.index);
        } else if in_flight != 0 {
            tracing::warn!(endpoint = self.name(), in_flight, cause = why, "cut off while left");
        }
        conn.lose_all();
    }
}
