//! The gateway over real sockets, between a client and account nodes that say what a test wants.

mod line;
mod looks;
mod routed;
mod several;
mod statement;
mod transfers;

use super::{
    board::WorkerBoard,
    front::{Front, HttpFront, TrunkFront},
    *,
};
use crate::config::ServiceConfig;
use balance::LimitSettings;
use bytes::Bytes;
use net::{
    edge::Edge,
    node::{ClusterKey, Endpoint},
    trunk::{CallSlot, Handler, Link, LinkConfig, LinkEvents, ReplyTo, Server, call},
};
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::spawn_local,
};
use wire::{
    AccountId, AccountState, Call, Currency, Epoch, Outcome, PartitionId, Refusal, Refused, Reply,
    Seq, Status, Timestamp,
    call::Failure,
    frame::{HeaderList, RequestRef, ResponseRef, Target},
    query::{Books, CurrencyBooks, Query},
};

const PARTITIONS: u16 = 2;
const DEBIT: &str = r#"{"amount":4500,"currency":"EUR"}"#;

fn run(test: impl Future<Output = ()>) {
    let options = tokio::runtime::LocalOptions::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(options);
    let test = async { tokio::time::timeout(Duration::from_secs(20), test).await };
    runtime.unwrap().block_on(test).expect("the test hangs");
}

fn identity(name: &str) -> Identity {
    Identity::new(name.into(), ClusterKey(Arc::from([7; 32])))
}

type Script = dyn Fn(&Node, Call, u8) -> Option<Reply>;

/// An account node: what it says to the n-th request is up to the test. `None` leaves the request
/// without an answer.
struct Node {
    name: &'static str,
    addr: SocketAddr,
    server: RefCell<Option<Server>>,
    seen: Cell<u32>,
    script: Box<Script>,
    unanswered: RefCell<Vec<ReplyTo>>,
}

impl Node {
    async fn start(
        name: &'static str,
        owned: &[u16],
        script: impl Fn(&Node, Call, u8) -> Option<Reply> + 'static,
    ) -> Rc<Node> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = Rc::new(Node {
            name,
            addr: listener.local_addr().unwrap(),
            server: RefCell::new(None),
            seen: Cell::new(0),
            script: Box::new(script),
            unanswered: RefCell::default(),
        });
        node.serve_anew(owned, 1);
        let accepting = Rc::clone(&node);
        drop(spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.server.borrow().clone();
                server.expect("set at the start").serve(stream, ());
            }
        }));
        node
    }

    fn serve_anew(self: &Rc<Node>, owned: &[u16], epoch: u64) {
        let server = Server::new(identity(self.name), Rc::new(NodeHandler(Rc::clone(self))));
        self.server.replace(Some(server));
        self.own(owned, epoch);
    }

    fn own(&self, owned: &[u16], epoch: u64) {
        let owners = owned.iter().map(|&partition| (PartitionId(partition), Epoch(epoch)));
        self.server.borrow().as_ref().unwrap().set_owner_map(owners.collect());
    }

    /// Cuts off every connection, whatever is in flight.
    fn cut(&self) {
        let server = self.server.borrow().clone().unwrap();
        drop(spawn_local(async move { server.drain(Duration::ZERO).await }));
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { name: self.name.into(), addr: self.addr }
    }
}

struct NodeHandler(Rc<Node>);

impl Handler for NodeHandler {
    fn request(&self, request: RequestRef<'_>, reply: ReplyTo) {
        let node = &self.0;
        let Target::Ledger { service, partitions, .. } = request.target else {
            panic!("{:?}", request.target);
        };
        assert_eq!((service, partitions), ("a", PARTITIONS));
        node.seen.set(node.seen.get() + 1);
        let call = Call::decode(request.body).unwrap();
        match (node.script)(node, call, request.attempt) {
            None => node.unanswered.borrow_mut().push(reply),
            Some(said) => {
                let mut body = Vec::new();
                said.encode(&mut body);
                reply.send(ResponseRef::new(200, node.name, &body));
            }
        }
    }
}

/// The ledger's answer to a command, as good as any.
fn refused(call: Call) -> Option<Reply> {
    let Call::Execute(command) = call else { panic!("{call:?}") };
    let refused = Refused { refusal: Refusal::AccountFrozen, request_id: command.request_id };
    Some(Reply::Outcome(Outcome::Refused(refused)))
}

fn guests(key: &str) -> RefCell<Guests> {
    RefCell::new(Guests::new(key, Watch::fixed(Vec::new()), Meters::default()))
}

fn gateway(nodes: &[&Rc<Node>], deadline: Duration) -> Rc<Front> {
    limited(nodes, deadline, GATEWAY_LIMIT)
}

/// A gateway with room for so many requests at once.
fn limited(nodes: &[&Rc<Node>], deadline: Duration, limit: LimitSettings) -> Rc<Front> {
    let nodes = nodes.iter().map(|node| node.endpoint()).collect();
    let config = ServiceConfig { name: "a".to_owned(), partitions: PARTITIONS, nodes };
    let identity = identity("gateway-1");
    let service = Rc::new(Service::open(&config, &identity, Arc::default()));
    let desk = Desk { guests: guests("secret"), services: vec![service], listening: Rc::default() };
    let (deadline, board) = (Cell::new(deadline), Arc::<WorkerBoard>::default());
    let load = Load::new(limit, Arc::clone(&board.line));
    let routes = RefCell::default();
    Rc::new(Front {
        node: "gateway-1".into(),
        desk,
        routes,
        deadline,
        board,
        load,
        is_ending: Cell::new(false),
    })
}

/// Status and body of the answer.
async fn ask(gateway: &Front, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut headers = HeaderList::new();
    headers.push("authorization", b"Bearer secret").unwrap();
    let step = gateway.desk.take(&request::Request {
        method,
        path,
        headers: headers.as_ref(),
        body: body.as_bytes(),
        key: b"k1",
        minted: false,
        request_id: "req_1",
        attempts: 0,
        left: gateway.deadline.get(),
        trace: "",
    });
    let answer = match step {
        request::Step::Answer(answer) => answer,
        request::Step::Ask(job) => job.answer().await,
        request::Step::Listen(_) => panic!("a stream"),
        request::Step::Work(work) => work.await,
    };
    (answer.status, String::from_utf8(answer.body).unwrap())
}

/// Status and code of what a debit of account `id` comes to.
async fn debit(gateway: &Front, id: &str) -> (u16, String) {
    let (status, body) = ask(gateway, "POST", &format!("/v1/a/accounts/{id}/debit"), DEBIT).await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    (status, body["code"].as_str().unwrap().to_owned())
}

fn told(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// An account of each of the two partitions.
fn accounts() -> [&'static str; 2] {
    let of = |partition| {
        let ids = ["alice", "bob", "carol", "dave", "erin", "frank"];
        let lives_there = |id: &&str| AccountId::parse(id).unwrap().partition(PARTITIONS).0;
        ids.into_iter().find(|id| lives_there(id) == partition).unwrap()
    };
    [of(0), of(1)]
}

const AMPLE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_command_goes_to_the_owner_of_its_partition() {
    run(async {
        let one = Node::start("a-1", &[0], |_, call, _| refused(call)).await;
        let two = Node::start("a-2", &[1], |_, call, _| refused(call)).await;
        let gateway = gateway(&[&one, &two], AMPLE);
        for (count, id) in accounts().into_iter().enumerate() {
            assert_eq!(debit(&gateway, id).await, told(409, "account_frozen"));
            let seen = (one.seen.get(), two.seen.get());
            assert_eq!(seen, [(1, 0), (1, 1)][count]);
        }
    });
}

#[test]
fn a_partition_that_moves_is_followed() {
    run(async {
        let two = Node::start("a-2", &[], |_, call, _| refused(call)).await;
        let heir = Rc::clone(&two);
        let one = Node::start("a-1", &[0, 1], move |_, _, _| {
            heir.own(&[0], 2);
            Some(Reply::Failed(Failure::NotOwner))
        })
        .await;
        let gateway = gateway(&[&one, &two], AMPLE);
        assert_eq!(debit(&gateway, accounts()[0]).await, told(409, "account_frozen"));
        // The old owner is asked again if the heir is not connected yet.
        assert!(1 <= one.seen.get());
        assert_eq!(two.seen.get(), 1);
    });
}

#[test]
fn a_partition_without_an_owner_is_waited_for_until_the_deadline() {
    run(async {
        let node = Node::start("a-1", &[0], |_, call, _| refused(call)).await;
        let gateway = gateway(&[&node], SHORT);
        let [owned, orphaned] = accounts();
        assert_eq!(debit(&gateway, orphaned).await, told(503, "partition_moving"));
        let (status, _) = ask(&gateway, "GET", "/v1/a/trial-balance", "").await;
        assert_eq!((status, node.seen.get()), (503, 0));
        assert_eq!(debit(&gateway, owned).await, told(409, "account_frozen"));
        let (waited, ()) = tokio::join!(debit(&gateway, orphaned), async {
            node.own(&[0, 1], 1);
        });
        assert_eq!(waited, told(409, "account_frozen"));
    });
}

#[test]
fn after_a_lost_connection_the_ledger_has_the_last_word() {
    run(async {
        let node = Node::start("a-1", &[0, 1], |node, call, attempt| {
            if attempt == 0 {
                node.cut();
                return None;
            }
            refused(call)
        })
        .await;
        let gateway = gateway(&[&node], AMPLE);
        let asking = debit(&gateway, accounts()[0]);
        let back = async {
            while node.seen.get() == 0 {
                tokio::task::yield_now().await;
            }
            // The process is back, with what it knew.
            node.serve_anew(&[0, 1], 2);
        };
        let (answer, ()) = tokio::join!(asking, back);
        assert_eq!(answer, told(409, "account_frozen"));
        assert_eq!(node.seen.get(), 2);
    });
}

#[test]
fn what_may_have_been_executed_is_never_called_a_failure() {
    run(async {
        let lost = Node::start("a-1", &[0], |node, _, _| {
            node.cut();
            None
        })
        .await;
        let silent = Node::start("a-2", &[1], |_, _, _| None).await;
        let gateway = gateway(&[&lost, &silent], SHORT);
        for id in accounts() {
            assert_eq!(debit(&gateway, id).await, told(504, "outcome_unknown"));
        }
        assert_eq!((lost.seen.get(), silent.seen.get()), (1, 1));
    });
}

fn account(id: &str, created: i64) -> AccountState {
    AccountState {
        id: AccountId::parse(id).unwrap(),
        currency: Currency::parse("EUR").unwrap(),
        status: Status::Open,
        posted: 0,
        held: 0,
        overdraft_limit: 0,
        version: 0,
        metadata: "{}".into(),
        created_at: Timestamp(created),
        updated_at: Timestamp(created),
    }
}

/// A node that owns `partition` and holds these accounts, newest first.
async fn holder(name: &'static str, partition: u16, held: Vec<AccountState>) -> Rc<Node> {
    Node::start(name, &[partition], move |_, call, _| {
        let Call::Query(query) = call else { panic!("{call:?}") };
        let partition = PartitionId(partition);
        Some(match query {
            Query::Accounts(listing) => {
                let below = |state: &&AccountState| {
                    let place = (state.created_at, state.id.clone());
                    listing.before.as_ref().is_none_or(|before| place < *before)
                };
                let mut rows: Vec<_> = held.iter().filter(below).cloned().collect();
                let limit = usize::try_from(listing.limit).unwrap();
                let more = limit < rows.len();
                rows.truncate(limit);
                Reply::Accounts { partitions: vec![partition], rows, more }
            }
            Query::Trial => {
                let currency = Currency::parse("EUR").unwrap();
                let books = CurrencyBooks { currency, debits: 50, credits: 50 };
                let head = Seq(u64::from(partition.0) + 7);
                Reply::Trial(vec![Books { partition, head, currencies: vec![books] }])
            }
            Query::Account(_)
            | Query::Transaction(_)
            | Query::Transactions(_)
            | Query::Hold(_)
            | Query::Transfer(_)
            | Query::Pending
            | Query::Events { .. } => return None,
        })
    })
    .await
}

#[test]
fn lists_and_books_are_put_together_from_all_nodes() {
    run(async {
        let one = vec![account("e", 5), account("b", 2), account("a", 1)];
        let two = vec![account("d", 5), account("c", 3)];
        let (one, two) = (holder("a-1", 0, one).await, holder("a-2", 1, two).await);
        let gateway = gateway(&[&one, &two], AMPLE);
        let (mut ids, mut path) = (Vec::new(), "/v1/a/accounts?limit=2".to_owned());
        let mut pages = 0;
        loop {
            let (status, body) = ask(&gateway, "GET", &path, "").await;
            assert_eq!(status, 200, "{body}");
            let page: serde_json::Value = serde_json::from_str(&body).unwrap();
            let rows = page["data"].as_array().unwrap();
            ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
            pages += 1;
            let Some(cursor) = page["next_cursor"].as_str() else {
                assert_eq!(page["has_more"], false);
                break;
            };
            path = format!("/v1/a/accounts?limit=2&starting_after={cursor}");
        }
        assert_eq!((ids.concat().as_str(), pages), ("edcba", 3));
        let (status, body) = ask(&gateway, "GET", "/v1/a/trial-balance", "").await;
        assert_eq!(status, 200);
        assert_eq!(
            body,
            r#"{"service":"a","balanced":true,"currencies":[{"currency":"EUR","debits":100,"credits":100,"sum":0}],"heads":{"0":7,"1":8}}"#
        );
    });
}

#[derive(Default)]
struct Connected(Notify);

impl LinkEvents for Connected {
    fn connected(&self, _index: usize) {
        self.0.notify_one();
    }

    fn draining(&self, _index: usize) {}

    fn disconnected(&self, _index: usize) {}
}

/// A way into the trunk front.
async fn linked(gateway: Rc<Front>) -> Link<CallSlot> {
    let server = Server::new(identity("gateway-1"), Rc::new(TrunkFront(gateway)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint { name: "gateway-1".into(), addr: listener.local_addr().unwrap() };
    drop(spawn_local(async move {
        let (stream, _) = listener.accept().await.unwrap();
        server.serve(stream, ());
    }));
    let events = Rc::new(Connected::default());
    let config = LinkConfig { identity: identity("edge"), endpoint, index: 0 };
    let link = Link::open(config, Rc::clone(&events) as _);
    events.0.notified().await;
    link
}

#[test]
fn the_trunk_front_answers_without_the_headers_of_the_first_hop() {
    run(async {
        let node = Node::start("a-1", &[0, 1], |_, call, _| refused(call)).await;
        let gateway = gateway(&[&node], AMPLE);
        let link = linked(gateway).await;
        let mut headers = HeaderList::new();
        headers.push("authorization", b"Bearer secret").unwrap();
        headers.push("x-request-id", b"req_given").unwrap();
        let path = "/v1/a/accounts/alice/debit";
        let target = Target::Http { method: "POST", path, headers: headers.as_ref() };
        let mut request = RequestRef::new(target, 10_000, DEBIT.as_bytes());
        request.key = b"k1";
        let answer = call(&link, &request).await.unwrap();
        let response = answer.response();
        assert_eq!((response.status, response.decided_by), (409, "gateway-1"));
        let names: Vec<_> = response.headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, [b"content-type"]);
        let body: serde_json::Value = serde_json::from_slice(response.body).unwrap();
        assert_eq!(body["request_id"], "req_given");
    });
}

/// Serves the gateway over HTTP.
async fn served(gateway: Rc<Front>) -> SocketAddr {
    let edge = Edge::new(HttpFront(gateway));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(spawn_local(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            edge.serve(stream, peer, ());
        }
    }));
    addr
}

/// Sends a request over HTTP; the answer's head in lower case, and its body.
async fn http(addr: SocketAddr, request: String) -> (String, Bytes) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    (head, Bytes::copy_from_slice(&answer[end + 4..]))
}

#[test]
fn the_http_front_marks_every_answer_once() {
    run(async {
        let node = Node::start("a-1", &[0, 1], |_, call, _| match call {
            Call::Query(_) => Some(Reply::Account(account("alice", 1))),
            call @ (Call::Execute(_) | Call::Batch(_) | Call::Reverse(_)) => refused(call),
        })
        .await;
        let addr = served(gateway(&[&node], AMPLE)).await;
        let request = |method: &str, path: &str, headers: &str, body: &str| {
            let length = body.len();
            format!(
                "{method} /v1/a{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                 content-length: {length}\r\n{headers}\r\n{body}"
            )
        };
        let key = "authorization: Bearer secret\r\n";
        let debit = request("POST", "/accounts/alice/debit", key, DEBIT);
        let (head, body) = http(addr, debit).await;
        assert!(head.starts_with("http/1.1 409"), "{head}");
        assert_eq!(head.matches("x-request-id: req_").count(), 1, "{head}");
        assert_eq!(head.matches("idempotency-key: tgk_").count(), 1, "{head}");
        assert!(String::from_utf8_lossy(&body).contains("account_frozen"));

        let (head, body) = http(addr, request("GET", "/accounts/alice", key, "")).await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(!head.contains("idempotency-key"), "{head}");
        let length = format!("content-length: {}", body.len());
        let (head, body) = http(addr, request("HEAD", "/accounts/alice", key, "")).await;
        assert!(head.starts_with("http/1.1 200") && body.is_empty(), "{head}");
        assert!(head.contains(&length), "{head}");

        let (head, _) = http(addr, request("POST", "/accounts/alice/debit", "", DEBIT)).await;
        assert!(head.starts_with("http/1.1 401"), "{head}");
        assert!(head.contains("www-authenticate: bearer"), "{head}");
        assert_eq!(head.matches("x-request-id: req_").count(), 1, "{head}");
    });
}
