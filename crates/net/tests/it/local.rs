//! A server in the test's own thread, for what has to be looked at from both ends.

use crate::harness::{Event, identity, link_with};
use net::trunk::{
    Ages, CallSlot, Handler, Identity, Link, ReplyTo, STATUS_DROPPED, Server, StreamReader,
    StreamWriter, Tag,
};
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
};
use tokio::{net::TcpListener, sync::mpsc, task::spawn_local};
use wire::frame::{RequestRef, ResponseRef, Target};

/// What came in at the server.
#[derive(Debug)]
pub(crate) enum Came {
    Request(ReplyTo, Vec<u8>),
    /// With the first bytes of the body.
    Stream(StreamReader, ReplyTo, Vec<u8>),
}

/// Hands everything to the test, except that long requests to `/whole` are put together first.
#[derive(Debug)]
pub(crate) struct Desk {
    came: mpsc::UnboundedSender<Came>,
    pub(crate) cancelled: RefCell<Vec<Tag>>,
}

impl Handler for Desk {
    fn request(&self, request: RequestRef<'_>, reply: ReplyTo) {
        drop(self.came.send(Came::Request(reply, request.body.to_vec())));
    }

    fn stream(self: Rc<Self>, head: RequestRef<'_>, body: StreamReader, reply: ReplyTo) {
        let whole = matches!(head.target, Target::Http { path: "/whole", .. });
        if !whole {
            drop(self.came.send(Came::Stream(body, reply, head.body.to_vec())));
            return;
        }
        let first = head.message().to_vec();
        drop(spawn_local(async move {
            match body.gather(&first).await {
                Ok(message) => self.request(RequestRef::read(&message).unwrap(), reply),
                Err(_) => reply.send(ResponseRef::new(STATUS_DROPPED, "echo", &[])),
            }
        }));
    }

    fn cancelled(&self, tag: Tag) {
        self.cancelled.borrow_mut().push(tag);
    }
}

/// Both ends of a connection.
pub(crate) struct Pair {
    pub(crate) addr: SocketAddr,
    pub(crate) server: Server,
    pub(crate) desk: Rc<Desk>,
    pub(crate) came: mpsc::UnboundedReceiver<Came>,
    pub(crate) link: Link<CallSlot>,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    /// Connections that came, all in all.
    pub(crate) accepted: Rc<Cell<usize>>,
}

impl Pair {
    pub(crate) async fn start() -> Pair {
        Pair::aging(Ages::default(), Ages::default()).await
    }

    /// With connections that become so old, by what the client holds and what the server holds.
    pub(crate) async fn aging(client: Ages, server: Ages) -> Pair {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, came) = mpsc::unbounded_channel();
        let desk = Rc::new(Desk { came: sender, cancelled: RefCell::default() });
        let server = Server::new(
            Identity { ages: server, ..identity("echo", "key") },
            Rc::clone(&desk) as _,
        );
        let (serving, accepted) = (server.clone(), Rc::new(Cell::new(0)));
        let counter = Rc::clone(&accepted);
        drop(spawn_local(async move {
            loop {
                serving.serve(listener.accept().await.unwrap().0, ());
                counter.set(counter.get() + 1);
            }
        }));
        let identity = Identity { ages: client, ..identity("test", "key") };
        let (link, mut events) = link_with(addr, identity);
        assert_eq!(events.recv().await, Some(Event::Connected));
        Pair { addr, server, desk, came, link, events, accepted }
    }

    pub(crate) async fn request(&mut self) -> (ReplyTo, Vec<u8>) {
        match self.came.recv().await {
            Some(Came::Request(reply, body)) => (reply, body),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn stream(&mut self) -> (StreamReader, ReplyTo, Vec<u8>) {
        match self.came.recv().await {
            Some(Came::Stream(reader, reply, first)) => (reader, reply, first),
            other => panic!("{other:?}"),
        }
    }

    /// Lets everybody who is ready go on until there is nothing in flight.
    pub(crate) async fn settled(&self) {
        while self.link.in_flight() != 0 || self.server.in_flight() != 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(bytes: usize) -> Vec<u8> {
    let words = u32::try_from(bytes / 4 + 1).unwrap();
    let mut out: Vec<u8> = (0..words).flat_map(u32::to_le_bytes).collect();
    out.truncate(bytes);
    out
}

/// Reads a stream to its end.
pub(crate) async fn read_all(mut reader: StreamReader) -> Result<Vec<u8>, net::trunk::Loss> {
    let mut all = Vec::new();
    while let Some(chunk) = reader.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all)
}

/// Writes all bytes, in pieces of this size, and the end.
pub(crate) async fn write_all(
    mut writer: StreamWriter,
    bytes: &[u8],
    piece: usize,
) -> Result<(), net::trunk::Loss> {
    for piece in bytes.chunks(piece) {
        writer.send(bytes::Bytes::copy_from_slice(piece)).await?;
    }
    writer.finish();
    Ok(())
}
