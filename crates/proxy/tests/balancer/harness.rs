//! Endpoints that can be killed, balancers that can be drained, and a plain HTTP client.

use balance::Policy;
use net::{
    node::{ClusterKey, Endpoint, NodeConfig},
    shutdown::{ShutdownTrigger, shutdown},
    trunk::{Handler, Identity, ReplyTo, Server},
    worker::Door,
};
use proxy::{
    balancer::{Bound, Plan},
    config::{BalancerConfig, EndpointConfig, GatewayConfig, HashBy, ServiceConfig},
    gateway,
    problem::Problem,
};
use std::{
    cell::RefCell,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    rc::Rc,
    sync::mpsc,
    thread,
    time::Duration,
};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::oneshot,
};
use wire::{
    Code,
    frame::{RequestRef, ResponseRef, Target},
};

/// Longest that anything awaited here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const SLOW: Duration = Duration::from_millis(200);
pub(crate) const ANY: &str = "127.0.0.1:0";

/// The cluster's key of the test on whose thread this is asked. A port that one test gives up may
/// be another's next: they must not take each other's nodes for their own.
pub(crate) fn key() -> ClusterKey {
    let test = thread::current().name().unwrap_or("unnamed").to_owned();
    ClusterKey(test.into_bytes().into())
}

/// Where an endpoint says that a request has come: its name, and the attempt.
pub(crate) type Arrivals = mpsc::Sender<(&'static str, u8)>;

/// A server of the trunk on a thread of its own, which answers as the test wants.
pub(crate) struct Stub {
    pub(crate) endpoint: Endpoint,
    alive: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Stub {
    /// `handler` and `setup` run on the server's thread.
    pub(crate) fn start<H: Handler>(
        name: &'static str,
        addr: SocketAddr,
        handler: impl FnOnce() -> H + Send + 'static,
        setup: impl FnOnce(&Server) + Send + 'static,
    ) -> Stub {
        let (bound, addr_of) = mpsc::channel();
        let (alive, killed) = oneshot::channel::<()>();
        let key = key();
        let thread = thread::spawn(move || {
            let mut builder = Builder::new_current_thread();
            let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                let server = Server::new(Identity::new(name.into(), key), Rc::new(handler()));
                setup(&server);
                let serving = async {
                    loop {
                        server.serve(listener.accept().await.unwrap().0, ());
                    }
                };
                tokio::select! {
                    () = serving => (),
                    _ = killed => (),
                }
            });
        });
        let endpoint = Endpoint { name: name.into(), addr: addr_of.recv().unwrap() };
        Stub { endpoint, alive, thread }
    }

    /// Ends the server at once; its sockets close with it.
    pub(crate) fn kill(self) {
        drop(self.alive);
        self.thread.join().unwrap();
    }
}

/// An endpoint that tells what it was asked.
pub(crate) struct Leaf {
    pub(crate) endpoint: Endpoint,
    stub: Stub,
}

/// Answers by path: `/hold` never, `/hold-first` at the second attempt, `/hold-then-503` with a
/// refusal at the second attempt, `/slow` after [`SLOW`] with its name, anything else at once with
/// what the request was.
struct Mirror {
    name: &'static str,
    held: RefCell<Vec<ReplyTo>>,
    arrivals: Arrivals,
}

impl Handler for Mirror {
    fn request(&self, request: RequestRef<'_>, reply: ReplyTo) {
        // In some tests nobody listens.
        _ = self.arrivals.send((self.name, request.attempt));
        let Target::Http { method, path, headers } = request.target else { panic!() };
        if path == "/hold" || path.starts_with("/hold") && request.attempt == 0 {
            self.held.borrow_mut().push(reply);
        } else if path == "/slow" {
            let name = self.name;
            drop(tokio::task::spawn_local(async move {
                tokio::time::sleep(SLOW).await;
                reply.send(ResponseRef::new(200, name, name.as_bytes()));
            }));
        } else if path == "/hold-then-503" {
            let (code, request_id) = (Code::Overloaded, "req_x");
            let body = Problem { code, detail: "full", field: None, request_id }.body();
            reply.send(ResponseRef::new(503, self.name, &body));
        } else {
            let key = String::from_utf8_lossy(request.key);
            let mut text = format!(
                "{} {method} {path} attempt={} key={key} minted={} trace={}\n",
                self.name, request.attempt, request.minted, request.trace,
            );
            for (name, value) in headers.iter() {
                let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
                text.push_str(&format!("{name}: {value}\n"));
            }
            text.push_str(&String::from_utf8_lossy(request.body));
            reply.send(ResponseRef::new(200, self.name, text.as_bytes()));
        }
    }
}

impl Leaf {
    pub(crate) fn start(name: &'static str, arrivals: Arrivals) -> Leaf {
        Leaf::start_at(name, ANY.parse().unwrap(), arrivals)
    }

    pub(crate) fn start_at(name: &'static str, addr: SocketAddr, arrivals: Arrivals) -> Leaf {
        let mirror = move || Mirror { name, held: RefCell::default(), arrivals };
        let stub = Stub::start(name, addr, mirror, |_| ());
        Leaf { endpoint: stub.endpoint.clone(), stub }
    }

    /// Ends the endpoint at once; its sockets close with it.
    pub(crate) fn kill(self) {
        self.stub.kill();
    }
}

/// A gateway on threads of its own, over one account service `a` of two partitions.
pub(crate) struct Gateway {
    pub(crate) endpoint: Endpoint,
    trigger: ShutdownTrigger,
    thread: thread::JoinHandle<()>,
}

/// Partitions of service `a` of every [`Gateway`].
pub(crate) const PARTITIONS: u16 = 2;

impl Gateway {
    pub(crate) fn start(name: &'static str, nodes: &[Endpoint]) -> Gateway {
        let bound = gateway::Bound::new(GatewayConfig {
            node: node(name),
            http: None,
            trunk: Some(ANY.parse().unwrap()),
            services: vec![ServiceConfig {
                name: "a".to_owned(),
                partitions: PARTITIONS,
                nodes: nodes.to_vec(),
            }],
            http_services: Vec::new(),
            routes: Vec::new(),
            api_key: "secret".to_owned(),
            api_keys: None,
            workers: 1,
            deadline: PATIENCE,
        });
        let bound = bound.unwrap();
        let endpoint = Endpoint { name: name.into(), addr: bound.addr(Door::Trunk).unwrap() };
        let (trigger, shutdown) = shutdown();
        let thread = thread::spawn(move || bound.serve(&shutdown).unwrap());
        Gateway { endpoint, trigger, thread }
    }

    pub(crate) fn drain(self) {
        self.trigger.trigger();
        self.thread.join().unwrap();
    }
}

fn node(name: &str) -> NodeConfig {
    NodeConfig {
        name: name.into(),
        admin: ANY.parse().unwrap(),
        cluster_key: key(),
        edge: net::edge::EdgeConfig::default(),
        trunk_tls: None,
        trunk_ages: net::trunk::Ages::default(),
        drain_max: PATIENCE,
        watched: net::agent::Watched::default(),
    }
}

/// A balancer on threads of its own.
pub(crate) struct Balancer {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) trunk: Option<SocketAddr>,
    pub(crate) admin: SocketAddr,
    name: &'static str,
    pub(crate) plan: Plan,
    trigger: ShutdownTrigger,
    thread: thread::JoinHandle<()>,
}

impl Balancer {
    /// A balancer with doors for both HTTP and the trunk, and one worker.
    pub(crate) fn start(
        name: &'static str,
        endpoints: &[Endpoint],
        deadline: Duration,
    ) -> Balancer {
        let endpoints = endpoints.iter().map(EndpointConfig::trunk).collect();
        Balancer::with(name, endpoints, Policy::LeastLoad, deadline)
    }

    pub(crate) fn with(
        name: &'static str,
        endpoints: Vec<EndpointConfig>,
        policy: Policy,
        deadline: Duration,
    ) -> Balancer {
        let any = ANY.parse().unwrap();
        let bound = Bound::new(BalancerConfig {
            node: node(name),
            http: Some(any),
            trunk: Some(any),
            endpoints,
            policy,
            hash: HashBy::Account,
            workers: 1,
            deadline,
        });
        let bound = bound.unwrap();
        let (http, trunk) = (bound.addr(Door::Http), bound.addr(Door::Trunk));
        let (admin, plan) = (bound.admin_addr(), bound.plan());
        let (trigger, shutdown) = shutdown();
        let thread = thread::spawn(move || bound.serve(&shutdown).unwrap());
        Balancer { http, trunk, admin, name, plan, trigger, thread }
    }

    /// This balancer as an endpoint of the tier above.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint { name: self.name.into(), addr: self.trunk.unwrap() }
    }

    /// Asks the balancer, on a connection of its own.
    pub(crate) fn ask(&self, request: &str) -> Answer {
        ask(self.http.unwrap(), request)
    }

    /// What its admin address says of an endpoint.
    pub(crate) fn endpoint_status(&self, name: &str) -> serde_json::Value {
        let status: serde_json::Value =
            serde_json::from_str(&ask(self.admin, "GET /admin/status").body).unwrap();
        let endpoints = status["endpoints"].as_array().unwrap();
        endpoints.iter().find(|it| it["name"] == name).unwrap().clone()
    }

    /// Asks until `done` holds of what is known of an endpoint.
    pub(crate) fn ask_until(
        &self,
        request: &str,
        endpoint: &str,
        done: impl Fn(&serde_json::Value) -> bool,
    ) -> Vec<Answer> {
        let mut answers = Vec::new();
        let until = net::clock::now() + PATIENCE;
        while !done(&self.endpoint_status(endpoint)) {
            assert!(net::clock::now() < until, "{}", self.endpoint_status(endpoint));
            answers.push(self.ask(request));
        }
        answers
    }

    /// Asks for the drain and returns when it is done.
    pub(crate) fn drain(self) {
        self.trigger.trigger();
        self.thread.join().unwrap();
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(it, _)| *it == name).map_or("", |(_, value)| value)
    }

    /// The `code` of a problem.
    pub(crate) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// Sends a request, whose head may have further lines after the first, without a body.
pub(crate) fn ask(addr: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (line, more) = request.split_once('\n').unwrap_or((request, ""));
    let more = more.replace('\n', "\r\n");
    let head = format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").expect("an answer");
    let status = head[9..12].parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
