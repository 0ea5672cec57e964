//! Long messages and cancellations through two layers, seen from both ends in one thread.

use crate::harness::{Balancer, PATIENCE, key};
use bytes::Bytes;
use net::{
    node::Endpoint,
    trunk::{
        CallSlot, Handler, Identity, Link, LinkConfig, LinkEvents, Loss, ReplyTo, Server,
        StreamReader, call, open_stream,
    },
};
use std::rc::Rc;
use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    sync::mpsc,
    task::{spawn_local, yield_now},
};
use wire::frame::{Headers, RequestRef, ResponseRef, Target};

#[derive(Debug)]
enum Came {
    Request(ReplyTo, Vec<u8>),
    Stream(StreamReader, ReplyTo, Vec<u8>),
}

struct Desk(mpsc::UnboundedSender<Came>);

impl Handler for Desk {
    fn request(&self, request: RequestRef<'_>, reply: ReplyTo) {
        drop(self.0.send(Came::Request(reply, request.body.to_vec())));
    }

    fn stream(self: Rc<Self>, head: RequestRef<'_>, body: StreamReader, reply: ReplyTo) {
        drop(self.0.send(Came::Stream(body, reply, head.body.to_vec())));
    }
}

struct Quiet(mpsc::UnboundedSender<()>);

impl LinkEvents for Quiet {
    fn connected(&self, _: usize) {
        // In most tests nobody listens any more.
        _ = self.0.send(());
    }

    fn draining(&self, _: usize) {}

    fn disconnected(&self, _: usize) {}
}

/// A leaf and a link in this thread, and two layers between them.
struct Tree {
    link: Link<CallSlot>,
    server: Server,
    came: mpsc::UnboundedReceiver<Came>,
    layers: [Balancer; 2],
}

impl Tree {
    async fn start() -> Tree {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let leaf = Endpoint { name: "leaf".into(), addr: listener.local_addr().unwrap() };
        let (sender, came) = mpsc::unbounded_channel();
        let server = Server::new(Identity::new("leaf".into(), key()), Rc::new(Desk(sender)));
        let serving = server.clone();
        drop(spawn_local(async move {
            loop {
                serving.serve(listener.accept().await.unwrap().0, ());
            }
        }));
        let lower = Balancer::start("lower", &[leaf], PATIENCE);
        let upper = Balancer::start("upper", &[lower.endpoint()], PATIENCE);
        let (connects, mut connected) = mpsc::unbounded_channel();
        let identity = Identity::new("test".into(), key());
        let config = LinkConfig { identity, endpoint: upper.endpoint(), index: 0 };
        let link = Link::open(config, Rc::new(Quiet(connects)));
        connected.recv().await.unwrap();
        Tree { link, server, came, layers: [upper, lower] }
    }

    async fn request(&mut self) -> (ReplyTo, Vec<u8>) {
        match self.came.recv().await {
            Some(Came::Request(reply, body)) => (reply, body),
            other => panic!("{other:?}"),
        }
    }

    async fn stream(&mut self) -> (StreamReader, ReplyTo, Vec<u8>) {
        match self.came.recv().await {
            Some(Came::Stream(reader, reply, first)) => (reader, reply, first),
            other => panic!("{other:?}"),
        }
    }

    /// Nothing is in flight at either end, nor in the layers.
    async fn settled(&self) {
        while self.link.in_flight() != 0 || self.server.in_flight() != 0 {
            yield_now().await;
        }
    }

    async fn end(self) {
        self.settled().await;
        self.link.close();
        let Tree { server, layers, .. } = self;
        let drained = spawn_local(async move { server.drain(PATIENCE).await });
        let ended = tokio::task::spawn_blocking(move || layers.map(Balancer::drain));
        ended.await.unwrap();
        drained.await.unwrap();
    }
}

fn run(test: impl Future<Output = ()>) {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("in time") });
}

fn request(body: &[u8]) -> RequestRef<'_> {
    let target = Target::Http { method: "POST", path: "/", headers: Headers::NONE };
    RequestRef::new(target, 60_000, body)
}

fn pattern(bytes: u32) -> Vec<u8> {
    (0..bytes / 4).flat_map(u32::to_le_bytes).collect()
}

async fn read_all(mut reader: StreamReader) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = reader.next().await {
        all.extend_from_slice(&chunk.unwrap());
    }
    all
}

#[test]
fn long_messages_pass_two_layers_part_by_part() {
    run(async {
        let mut tree = Tree::start().await;
        let long = pattern(3 << 20);
        // One that is known whole at its sender, and an answer likewise.
        let answer = call(&tree.link, &request(&long));
        let (reader, reply, first) = tree.stream().await;
        let got = [first, read_all(reader).await].concat();
        assert!(got == long);
        reply.send(ResponseRef::new(200, "leaf", &got));
        assert!(answer.await.unwrap().body() == long);

        // A short request with a long answer.
        let answer = call(&tree.link, &request(b"short"));
        tree.request().await.0.send(ResponseRef::new(200, "leaf", &long));
        assert!(answer.await.unwrap().body() == long);
        tree.end().await;
    });
}

#[test]
fn a_tunnel_passes_two_layers_in_both_directions() {
    run(async {
        let mut tree = Tree::start().await;
        let (mut up, exchange) = open_stream(&tree.link, &request(b"")).unwrap();
        let (mut leaf_end, reply, _) = tree.stream().await;
        let mut down = reply.begin(ResponseRef::new(101, "leaf", b"")).unwrap();
        let (_, body) = exchange.answer().await.unwrap();
        let mut client_end = body.unwrap();
        for round in 0..100 {
            let word = Bytes::from(format!("round {round}"));
            up.send(word.clone()).await.unwrap();
            assert_eq!(leaf_end.next().await.unwrap().unwrap(), word);
            down.send(word.clone()).await.unwrap();
            assert_eq!(client_end.next().await.unwrap().unwrap(), word);
        }
        // The client goes away without a word of the protocol in the tunnel.
        drop((up, client_end));
        assert_eq!(leaf_end.next().await.unwrap(), Err(Loss::Reset));
        assert_eq!(down.closed().await, Loss::Reset);
        drop(down);
        tree.end().await;
    });
}

/// A balancer holds a window of what nobody reads, not all of it, and passes the rest by.
#[test]
fn a_slow_reader_behind_two_layers_stalls_nobody_else() {
    run(async {
        let mut tree = Tree::start().await;
        let (up, exchange) = open_stream(&tree.link, &request(b"")).unwrap();
        up.finish();
        let (_, reply, _) = tree.stream().await;
        let mut down = reply.begin(ResponseRef::new(200, "leaf", b"")).unwrap();
        let long = pattern(8 << 20);
        let sent = Bytes::from(long.clone());
        let writing = spawn_local(async move {
            down.send(sent).await.unwrap();
            down.finish();
        });
        let (_, body) = exchange.answer().await.unwrap();
        for _ in 0..50 {
            let answer = call(&tree.link, &request(b"short"));
            tree.request().await.0.send(ResponseRef::new(200, "leaf", b"yes"));
            assert_eq!(answer.await.unwrap().body(), "yes");
        }
        assert!(!writing.is_finished(), "8 MiB do not fit three windows");
        assert!(read_all(body.unwrap()).await == long);
        writing.await.unwrap();
        tree.end().await;
    });
}

#[test]
fn what_nobody_wants_any_more_is_given_up_at_the_leaf() {
    run(async {
        let mut tree = Tree::start().await;
        // A short request, without a task in the layers.
        let short = call(&tree.link, &request(b"short"));
        let (reply, _) = tree.request().await;
        drop(short);
        reply.cancelled().await;
        drop(reply);
        // One past its deadline.
        let mut late = request(b"late");
        late.deadline_ms = 100;
        let answer = call(&tree.link, &late);
        let (reply, _) = tree.request().await;
        // Whichever hop minds the time first says so.
        let answer = answer.await.map(|answer| answer.response().status);
        assert!(matches!(answer, Ok(504) | Err(Loss::DeadlinePassed)), "{answer:?}");
        reply.cancelled().await;
        drop(reply);
        // A long one in the middle of its body.
        let (mut up, exchange) = open_stream(&tree.link, &request(b"")).unwrap();
        up.send(Bytes::from_static(b"part")).await.unwrap();
        let (mut reader, reply, _) = tree.stream().await;
        assert_eq!(reader.next().await.unwrap().unwrap(), "part");
        drop((up, exchange));
        assert_eq!(reader.next().await.unwrap(), Err(Loss::Reset));
        reply.cancelled().await;
        drop(reply);
        tree.end().await;
    });
}

#[test]
fn an_answer_that_breaks_off_below_breaks_off_above() {
    run(async {
        let mut tree = Tree::start().await;
        let (up, exchange) = open_stream(&tree.link, &request(b"")).unwrap();
        up.finish();
        let (_, reply, _) = tree.stream().await;
        let mut down = reply.begin(ResponseRef::new(200, "leaf", b"")).unwrap();
        down.send(Bytes::from_static(b"part")).await.unwrap();
        let (_, body) = exchange.answer().await.unwrap();
        let mut body = body.unwrap();
        assert_eq!(body.next().await.unwrap().unwrap(), "part");
        drop(down);
        assert_eq!(body.next().await.unwrap(), Err(Loss::Reset));
        tree.end().await;
    });
}
