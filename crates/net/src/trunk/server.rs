//! The side that is asked.

use super::{
    ages::Ages,
    conn::{Ending, Loss},
    duties::{Cancelled, Duties, Hook, Tag},
    greeting::{self, Identity, Peer},
    limits::{
        CLIENT_QUIET_MAX, DRAIN_GRACE, FAREWELL_MAX, REPORT_TICK, SERVER_OUT_BYTES_PAUSE,
        STREAMS_LOOK_EVERY,
    },
    rare::RareFrames,
    reply::ReplyTo,
    served::ServerConn,
    stream::{End, StreamReader, Ungathered},
    streams::Streams,
    tls::Carrier,
};
use crate::clock;
use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    sync::Notify,
    task::spawn_local,
    time::{MissedTickBehavior, sleep, timeout},
};
use wire::{
    Epoch, Flaw, PartitionId,
    frame::{
        Farewell, Frame, FrameBuffer, LoadReport, Part, RequestRef, ResponseRef, append_going_away,
        append_owner_map, append_pong,
    },
};

/// Answers requests.
pub trait Handler: 'static {
    /// A request is here; it lives as long as the call, `reply` as long as it takes.
    fn request(&self, request: RequestRef<'_>, reply: ReplyTo);

    /// The first part of a long request is here; it lives as long as the call. Unless it is
    /// implemented the request is put together and then [`Handler::request`]. One that is too long
    /// gets a bodyless 413; one that does not come in time, or finds no room, a bodyless 503.
    fn stream(self: Rc<Self>, head: RequestRef<'_>, body: StreamReader, reply: ReplyTo) {
        put_together(self, head, body, reply);
    }

    /// A request was given up whose [`ReplyTo::on_cancel`] was told this tag: its answer will not
    /// be sent. What may already be executed is not undone.
    fn cancelled(&self, tag: Tag) {
        _ = tag;
    }
}

/// Puts a long request together for the handler, as [`Handler::stream`] does unless it is implemented.
pub fn put_together<H: Handler + ?Sized>(
    handler: Rc<H>,
    head: RequestRef<'_>,
    body: StreamReader,
    reply: ReplyTo,
) {
    let first = head.message().to_vec();
    let began = clock::now();
    drop(spawn_local(async move {
        let node = reply.node();
        let refuse = |reply: ReplyTo, status| reply.send(ResponseRef::new(status, &node, &[]));
        match body.gather(&first).await {
            Ok(message) => match RequestRef::read(&message) {
                Ok(mut request) => {
                    let spent = clock::now().since(began).as_millis();
                    let spent_ms = u32::try_from(spent).unwrap_or(u32::MAX);
                    request.deadline_ms = request.deadline_ms.saturating_sub(spent_ms);
                    handler.request(request, reply);
                }
                Err(_) => refuse(reply, 503),
            },
            Err(Ungathered::TooLong) => refuse(reply, 413),
            Err(Ungathered::Full | Ungathered::Lost(_)) => refuse(reply, 503),
        }
    }));
}

/// Serves the trunk on one thread. Clones share it.
#[derive(Clone)]
pub struct Server {
    shared: Rc<Shared>,
}

struct Shared {
    identity: Identity,
    handler: Rc<dyn Handler>,
    conns: RefCell<Vec<Rc<ServerConn>>>,
    owners: RefCell<Option<Vec<(PartitionId, Epoch)>>>,
    load: RefCell<Option<Rc<LoadSource>>>,
    draining: Cell<bool>,
    /// Requests that came, all in all.
    taken: Cell<u64>,
    /// Out of rotation: load reports say so.
    retired: Cell<bool>,
    /// Every peer, present and to come, is asked to go elsewhere.
    away: Cell<bool>,
    /// After the grace of a drain: new requests get 503.
    refusing: Cell<bool>,
    /// Told when a connection ends.
    ended: Notify,
}

/// What a node says of its load, when asked.
pub(super) type LoadSource = dyn Fn() -> LoadReport;

impl Server {
    /// A server without connections yet.
    pub fn new(identity: Identity, handler: Rc<dyn Handler>) -> Server {
        let shared = Shared {
            identity,
            handler,
            conns: RefCell::default(),
            owners: RefCell::default(),
            load: RefCell::default(),
            draining: Cell::new(false),
            taken: Cell::new(0),
            retired: Cell::new(false),
            away: Cell::new(false),
            refusing: Cell::new(false),
            ended: Notify::new(),
        };
        Server { shared: Rc::new(shared) }
    }

    /// Serves a connection; `held` is dropped when it ends.
    pub fn serve(&self, stream: TcpStream, held: impl Sized + 'static) {
        let shared = Rc::clone(&self.shared);
        drop(spawn_local(async move {
            shared.greet_and_serve(stream).await;
            drop(held);
        }));
    }

    /// Connections that have greeted.
    pub fn connections(&self) -> usize {
        self.shared.conns.borrow().len()
    }

    /// Requests that were received and not answered yet.
    pub fn in_flight(&self) -> u32 {
        self.shared.conns.borrow().iter().map(|conn| conn.duties.len()).sum()
    }

    /// What peers are told of the load of this node; `None` when they are told nothing.
    pub fn load(&self) -> Option<LoadReport> {
        let load = self.shared.load.borrow().clone();
        load.map(|load| load())
    }

    /// Requests that were received since the start.
    pub fn taken(&self) -> u64 {
        self.shared.taken.get()
    }

    /// Tells every peer, present and to come, what this node owns.
    pub fn set_owner_map(&self, owners: Vec<(PartitionId, Epoch)>) {
        for conn in &*self.shared.conns.borrow() {
            conn.outbox.append(|out| append_owner_map(out, &owners));
        }
        self.shared.owners.replace(Some(owners));
    }

    /// From now on tells every peer, present and to come, what `load` says: at once, then with the
    /// answers of a turn, at most once in [`REPORT_TICK`], and when nothing is answered every
    /// [`REPORT_IDLE_TICKS`] of these. A draining server says so whatever `load` says.
    pub fn set_load(&self, load: Rc<dyn Fn() -> LoadReport>) {
        let shared = Rc::downgrade(&self.shared);
        let draining = Weak::clone(&shared);
        let source: Rc<LoadSource> = Rc::new(move || {
            let report = load();
            let leaves = |it: Rc<Shared>| it.draining.get() || it.retired.get();
            let drains = draining.upgrade().is_some_and(leaves);
            LoadReport { draining: report.draining || drains, ..report }
        });
        for conn in &*self.shared.conns.borrow() {
            conn.load.replace(Some(Rc::clone(&source)));
            conn.report();
        }
        let before = self.shared.load.replace(Some(source));
        if before.is_none() {
            drop(spawn_local(remind(shared)));
        }
    }

    /// Tells every peer, in its load reports and the first of them now, to send nothing more, or
    /// to send again. What comes all the same is served.
    pub fn retire(&self, on: bool) {
        self.shared.retired.set(on);
        self.report_load();
    }

    /// Asks every peer, present and to come, to go elsewhere, until it is turned off. For servers
    /// whose peers do not go by load reports.
    pub fn turn_away(&self, on: bool) {
        let was = self.shared.away.replace(on);
        if on && !was {
            for conn in &*self.shared.conns.borrow() {
                conn.outbox
                    .append(|out| append_going_away(out, Farewell::Draining, "out of rotation"));
            }
        }
    }

    /// Tells every peer the load now, since something about it has changed that cannot wait.
    pub fn report_load(&self) {
        self.shared.conns.borrow().iter().for_each(|conn| conn.report());
    }

    /// Sends every peer a going-away, and returns when all have got their answers and left, or
    /// after `max`. New requests are taken for [`DRAIN_GRACE`], then refused with 503.
    pub async fn drain(&self, max: Duration) {
        let shared = &self.shared;
        shared.draining.set(true);
        for conn in &*shared.conns.borrow() {
            conn.outbox.append(|out| append_going_away(out, Farewell::Draining, "draining"));
        }
        if timeout(DRAIN_GRACE.min(max), shared.emptied()).await.is_ok() {
            return;
        }
        shared.refusing.set(true);
        if timeout(max.saturating_sub(DRAIN_GRACE), shared.emptied()).await.is_err() {
            let (connections, in_flight) = (self.connections(), self.in_flight());
            tracing::warn!(connections, in_flight, "drain took too long: the rest is cut off");
        }
        for conn in &*shared.conns.borrow() {
            conn.cut.notify_one();
        }
    }
}

/// Makes reports due, for as long as the server lives.
async fn remind(server: Weak<Shared>) {
    let mut interval = tokio::time::interval(REPORT_TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(shared) = server.upgrade() else { return };
        shared.conns.borrow().iter().for_each(|conn| conn.tick());
    }
}

impl Shared {
    async fn emptied(&self) {
        while !self.conns.borrow().is_empty() {
            self.ended.notified().await;
        }
    }

    async fn greet_and_serve(self: Rc<Shared>, stream: TcpStream) {
        let addr = stream.peer_addr().map(|addr| addr.to_string()).unwrap_or_default();
        let (carrier, peer) = match greeting::as_server(stream, &self.identity).await {
            Ok(greeted) => greeted,
            Err(err) => {
                tracing::warn!(addr, cause = %err, "trunk connection refused");
                return;
            }
        };
        let node = peer.node.clone();
        tracing::info!(addr, node, "trunk connection");
        let why = match carrier {
            Carrier::Plain(stream) => {
                let (read, write) = stream.into_split();
                self.serve_peer(read, write, peer).await
            }
            Carrier::Tls(stream) => {
                let (read, write) = tokio::io::split(*stream);
                self.serve_peer(read, write, peer).await
            }
        };
        tracing::info!(addr, node, cause = %why, "trunk connection ended");
    }

    async fn serve_peer(
        self: &Rc<Shared>,
        read: impl AsyncRead + Unpin + 'static,
        write: impl AsyncWrite + Unpin + 'static,
        peer: Peer,
    ) -> String {
        let conn = Rc::new(ServerConn {
            outbox: Rc::default(),
            node: Arc::clone(&self.identity.node),
            load: RefCell::new(self.load.borrow().clone()),
            report_age: Cell::new(0),
            duties: Duties::default(),
            streams: Streams::new(peer.stream_window),
            rare: RareFrames::new(),
            open: Cell::new(true),
            cut: Notify::new(),
        });
        if let Some(owners) = &*self.owners.borrow() {
            conn.outbox.append(|out| append_owner_map(out, owners));
        }
        conn.report();
        if self.draining.get() || self.away.get() {
            conn.outbox.append(|out| append_going_away(out, Farewell::Draining, "draining"));
        }
        self.conns.borrow_mut().push(Rc::clone(&conn));
        let mut writer = spawn_local(Rc::clone(&conn.outbox).write_out(write));
        let (reader_shared, reader_conn) = (Rc::clone(self), Rc::clone(&conn));
        let mut reader =
            spawn_local(
                async move { reader_shared.read_in(&reader_conn, read, peer.buffer).await },
            );
        let ending: Ending = tokio::select! {
            ending = &mut reader => ending.unwrap_or_else(Ending::from),
            written = &mut writer => match written {
                Ok(Ok(())) => "finished".into(),
                Ok(Err(err)) => err.into(),
                Err(err) => err.into(),
            },
            () = conn.cut.notified() => "cut off".into(),
            () = grow_old(&conn, &self.identity.ages) => "it was told to leave and did not".into(),
        };
        reader.abort();
        self.give_up(&conn);
        if let Some((why, reason)) = ending.farewell
            && !writer.is_finished()
        {
            conn.outbox.append(|out| append_going_away(out, why, &reason));
            conn.outbox.finish();
            // Best effort: who broke the protocol may read nothing either.
            drop(timeout(FAREWELL_MAX, &mut writer).await);
        }
        writer.abort();
        self.conns.borrow_mut().retain(|it| !Rc::ptr_eq(it, &conn));
        self.ended.notify_one();
        ending.why
    }

    /// The peer is gone, and with it everybody who waits for an answer on the connection.
    fn give_up(&self, conn: &ServerConn) {
        conn.open.set(false);
        conn.streams.close_all(Loss::ConnectionLost);
        for hook in conn.duties.cancel_all() {
            self.tell_cancelled(hook);
        }
    }

    fn tell_cancelled(&self, hook: Hook) {
        match hook {
            Hook::Nobody => (),
            Hook::Handler(tag) => self.handler.cancelled(tag),
            Hook::Task(waker) => waker.wake(),
        }
    }

    async fn read_in(
        &self,
        conn: &Rc<ServerConn>,
        mut half: impl AsyncRead + Unpin,
        mut buffer: FrameBuffer,
    ) -> Ending {
        loop {
            loop {
                match buffer.next_frame() {
                    Ok(Some(frame)) => match self.take_frame(conn, frame) {
                        Ok(()) => (),
                        Err(flaw) => return Ending::breach(flaw),
                    },
                    Ok(None) => break,
                    Err(flaw) => return Ending::breach(flaw),
                }
            }
            // Who does not read its answers is asked nothing more until it does.
            conn.outbox.shrunk_to(SERVER_OUT_BYTES_PAUSE).await;
            let count = match timeout(CLIENT_QUIET_MAX, half.read(buffer.space())).await {
                Ok(Ok(0)) => return "it closed the connection".into(),
                Ok(Ok(count)) => count,
                Ok(Err(err)) => return err.into(),
                Err(_) => return Ending::silence(CLIENT_QUIET_MAX),
            };
            buffer.filled(count);
        }
    }

    fn take_frame(&self, conn: &Rc<ServerConn>, frame: Frame<'_>) -> Result<(), Flaw> {
        match frame {
            Frame::Request(part) => match part.whole() {
                Some(message) => self.ask(conn, message)?,
                None => self.begin(conn, part)?,
            },
            Frame::Data { id, end, bytes } => _ = conn.streams.take_data(id, end, bytes)?,
            Frame::Window { id, credit } => {
                if !conn.streams.widen(id, credit)? {
                    conn.rare.count()?;
                }
            }
            Frame::Reset { id, .. } => match conn.duties.cancel(id) {
                Cancelled::Now(hook) => {
                    if !conn.streams.is_empty() {
                        conn.streams.give_up(id, Loss::Reset);
                    }
                    self.tell_cancelled(hook);
                }
                Cancelled::TooLate => (),
                Cancelled::Nothing => conn.rare.count()?,
            },
            Frame::Ping(number) => {
                conn.rare.count()?;
                conn.outbox.append(|out| append_pong(out, number));
            }
            Frame::Pong(_) => conn.rare.count()?,
            // A client that goes away closes the connection once it has its answers.
            Frame::GoingAway { why, reason } => {
                conn.rare.count()?;
                tracing::info!(?why, reason, "a trunk peer says goodbye");
            }
            Frame::Hello(_) | Frame::Proof(_) => return Err(Flaw("a second greeting")),
            Frame::Response(_) => return Err(Flaw("an answer from the side that asks")),
            Frame::OwnerMap(_) => return Err(Flaw("an owner map from the side that asks")),
            Frame::LoadReport(_) => return Err(Flaw("a load report from the side that asks")),
        }
        Ok(())
    }

    fn ask(&self, conn: &Rc<ServerConn>, message: &[u8]) -> Result<(), Flaw> {
        let request = RequestRef::read(message)?;
        conn.duties.begin(request.id)?;
        self.taken.set(self.taken.get() + 1);
        let reply = ReplyTo::new(Rc::clone(conn), request.id);
        if self.refusing.get() {
            reply.send(ResponseRef::new(503, &self.identity.node, &[]));
        } else {
            self.handler.request(request, reply);
        }
        Ok(())
    }

    /// The first part of a long request.
    fn begin(&self, conn: &Rc<ServerConn>, part: Part<'_>) -> Result<(), Flaw> {
        let head = RequestRef::read(part.bytes)?;
        conn.duties.begin(part.id)?;
        self.taken.set(self.taken.get() + 1);
        let inward = conn.streams.open_in(&part)?;
        let end = Rc::clone(conn) as Rc<dyn End>;
        let left = Duration::from_millis(head.deadline_ms.into());
        let body = StreamReader::new(part.id, inward, end, left);
        let reply = ReplyTo::new(Rc::clone(conn), part.id);
        if self.refusing.get() {
            reply.send(ResponseRef::new(503, &self.identity.node, &[]));
        } else {
            Rc::clone(&self.handler).stream(head, body, reply);
        }
        Ok(())
    }
}

/// Asks the client to replace the connection when it is old; returns when it has not left it long
/// after.
async fn grow_old(conn: &ServerConn, ages: &Ages) {
    sleep(ages.served).await;
    conn.outbox.append(|out| append_going_away(out, Farewell::Aged, "the connection is old"));
    let told_at = clock::now();
    sleep(ages.leaving).await;
    while !ages.is_over(clock::now().since(told_at), !conn.streams.is_empty()) {
        sleep(STREAMS_LOOK_EVERY.min(ages.streams)).await;
    }
}
