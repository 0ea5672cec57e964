//! Nodes for the tests: a server on a thread of its own, which can be killed, and a link to it.

use net::{
    node::{ClusterKey, Endpoint},
    trunk::{CallSlot, Handler, Identity, Link, LinkConfig, LinkEvents, Pending, ReplyTo, Server},
};
use std::{cell::RefCell, net::SocketAddr, rc::Rc, thread, time::Duration};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
};
use wire::{
    Epoch, PartitionId,
    frame::{Headers, LoadReport, OwnerMap, RequestRef, ResponseRef, Target},
};

/// Longest that anything awaited here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test on a runtime like a worker's.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("in time") })
}

pub(crate) fn identity(node: &str, key: &str) -> Identity {
    Identity::new(node.into(), ClusterKey(key.as_bytes().into()))
}

/// What a node is told to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Answer everything that was held back.
    Release,
    /// Say what it owns.
    Own(Vec<(PartitionId, Epoch)>),
    /// Report this load from now on.
    Load(LoadReport),
    /// Leave the rotation, or come back, and say so in load reports.
    Retire(bool),
    /// Ask peers to go elsewhere, or not any more.
    TurnAway(bool),
    /// Do nothing at all until the sender is dropped.
    Hang(std::sync::mpsc::Receiver<()>),
    /// Drain; the sender is told when it is done.
    Drain(oneshot::Sender<()>),
}

/// A server on a thread of its own.
pub(crate) struct Node {
    pub(crate) addr: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
    /// Says of each request that it arrived.
    pub(crate) arrived: mpsc::UnboundedReceiver<()>,
    thread: thread::JoinHandle<()>,
}

/// Answers with the body it got, at once; what asks for `/hold` when released, and for `/drop`
/// never.
struct Echo {
    held: RefCell<Vec<(ReplyTo, Vec<u8>)>>,
    arrived: mpsc::UnboundedSender<()>,
}

impl Handler for Echo {
    fn request(&self, request: RequestRef<'_>, reply: ReplyTo) {
        let Target::Http { path, headers, .. } = request.target else { panic!() };
        match path {
            "/drop" => drop(reply),
            "/hold" => self.held.borrow_mut().push((reply, request.body.to_vec())),
            _ => {
                let mut response = ResponseRef::new(200, "echo", request.body);
                response.headers = headers;
                reply.send(response);
            }
        }
        // Nobody listens any more in some tests.
        _ = self.arrived.send(());
    }
}

impl Node {
    /// A node `echo` with the usual key.
    pub(crate) fn start() -> Node {
        Node::start_at("127.0.0.1:0".parse().unwrap(), identity("echo", "key"))
    }

    pub(crate) fn start_at(addr: SocketAddr, identity: Identity) -> Node {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (arrives, arrived) = mpsc::unbounded_channel();
        let (bound, addr_of) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            run_node(async {
                let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                serve(listener, identity, inbox, arrives).await;
            });
        });
        Node { addr: addr_of.recv().unwrap(), orders, arrived, thread }
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }

    /// Ends the node at once, whatever it is doing; its sockets close with it.
    pub(crate) fn kill(self) {
        drop(self.orders);
        self.thread.join().unwrap();
    }
}

fn run_node(node: impl Future<Output = ()>) {
    let runtime =
        Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(node);
}

async fn serve(
    listener: tokio::net::TcpListener,
    identity: Identity,
    mut inbox: mpsc::UnboundedReceiver<Order>,
    arrived: mpsc::UnboundedSender<()>,
) {
    let echo = Rc::new(Echo { held: RefCell::default(), arrived });
    let server = Server::new(identity, Rc::clone(&echo) as _);
    let mut listener = Some(listener);
    loop {
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await.unwrap().0,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            stream = accept => {
                stream.set_nodelay(true).unwrap();
                server.serve(stream, ());
            }
            order = inbox.recv() => match order {
                None => return,
                Some(Order::Release) => {
                    for (reply, body) in echo.held.take() {
                        reply.send(ResponseRef::new(200, "echo", &body));
                    }
                }
                Some(Order::Own(owners)) => server.set_owner_map(owners),
                Some(Order::Load(report)) => server.set_load(Rc::new(move || report)),
                Some(Order::Retire(on)) => server.retire(on),
                Some(Order::TurnAway(on)) => server.turn_away(on),
                Some(Order::Hang(until)) => _ = until.recv(),
                Some(Order::Drain(done)) => {
                    listener = None;
                    let server = server.clone();
                    drop(tokio::task::spawn_local(async move {
                        server.drain(PATIENCE).await;
                        _ = done.send(());
                    }));
                }
            },
        }
    }
}

/// What a link told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Connected,
    Draining,
    Disconnected,
    Unreachable(String),
    Owners(Vec<(PartitionId, Epoch)>),
    Load(LoadReport),
    MissedCheck,
}

struct Recorder(mpsc::UnboundedSender<Event>);

impl Recorder {
    fn record(&self, event: Event) {
        // Nobody listens any more at the end of a test.
        drop(self.0.send(event));
    }
}

impl LinkEvents for Recorder {
    fn connected(&self, _: usize) {
        self.record(Event::Connected);
    }

    fn draining(&self, _: usize) {
        self.record(Event::Draining);
    }

    fn disconnected(&self, _: usize) {
        self.record(Event::Disconnected);
    }

    fn unreachable(&self, _: usize, why: &str) {
        self.record(Event::Unreachable(why.to_owned()));
    }

    fn load_report(&self, _: usize, report: LoadReport) {
        self.record(Event::Load(report));
    }

    fn missed_check(&self, _: usize) {
        self.record(Event::MissedCheck);
    }

    fn owner_map(&self, _: usize, owners: OwnerMap<'_>) {
        self.record(Event::Owners(owners.iter().collect()));
    }
}

/// A link to `addr`, and what it tells. It expects the node `echo` there.
pub(crate) fn link(
    addr: SocketAddr,
    key: &str,
) -> (Link<CallSlot>, mpsc::UnboundedReceiver<Event>) {
    link_of(addr, key)
}

/// As [`link`], for any kind of pending.
pub(crate) fn link_of<P: Pending>(
    addr: SocketAddr,
    key: &str,
) -> (Link<P>, mpsc::UnboundedReceiver<Event>) {
    open(addr, identity("test", key))
}

/// As [`link`], for any identity.
pub(crate) fn link_with(
    addr: SocketAddr,
    identity: Identity,
) -> (Link<CallSlot>, mpsc::UnboundedReceiver<Event>) {
    open(addr, identity)
}

fn open<P: Pending>(
    addr: SocketAddr,
    identity: Identity,
) -> (Link<P>, mpsc::UnboundedReceiver<Event>) {
    let (sender, events) = mpsc::unbounded_channel();
    let endpoint = Endpoint { name: "echo".into(), addr };
    let config = LinkConfig { identity, endpoint, index: 0 };
    (Link::open(config, Rc::new(Recorder(sender))), events)
}

/// A link that is connected.
pub(crate) async fn connected(node: &Node) -> (Link<CallSlot>, mpsc::UnboundedReceiver<Event>) {
    let (link, mut events) = link(node.addr, "key");
    assert_eq!(events.recv().await, Some(Event::Connected));
    (link, events)
}

/// A POST to this path.
pub(crate) fn request<'a>(path: &'a str, body: &'a [u8]) -> RequestRef<'a> {
    let target = Target::Http { method: "POST", path, headers: Headers::NONE };
    RequestRef::new(target, 60_000, body)
}
