//! Balancers that can be drained, and a plain HTTP client.

use balance::Policy;
use net::{
    edge::EdgeConfig,
    node::{ClusterKey, Endpoint, NodeConfig},
    shutdown::{ShutdownTrigger, shutdown},
    worker::Door,
};
use proxy::config::HashBy;
use proxy::upstream::{
    HttpService,
    config::{CheckConfig, HttpEndpoint, HttpServiceConfig, Protocol},
    node::{Bound, HttpBalancerConfig},
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    num::NonZeroU32,
    sync::Arc,
    thread,
    time::Duration,
};

/// Longest that anything awaited here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The cluster's key of the test on whose thread this is asked. A port that one test gives up may
/// be another's next: they must not take each other's nodes for their own.
pub(crate) fn key() -> ClusterKey {
    let test = thread::current().name().unwrap_or("unnamed").to_owned();
    ClusterKey(test.into_bytes().into())
}

/// A service called `rates` at these addresses, over HTTP/1.1, checked by connecting.
pub(crate) fn rates(addrs: &[SocketAddr]) -> HttpServiceConfig {
    let endpoint = |addr: &SocketAddr| HttpEndpoint {
        host: addr.ip().to_string(),
        port: addr.port(),
        weight: NonZeroU32::MIN,
        drained: false,
    };
    HttpServiceConfig {
        name: "rates".to_owned(),
        endpoints: addrs.iter().map(endpoint).collect(),
        protocol: Protocol::Http1,
        tls: None,
        host: None,
        policy: Policy::RoundRobin,
        hash: HashBy::Account,
        check: CheckConfig::default(),
    }
}

/// An address at which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A balancer before a service, on threads of its own, with one worker.
pub(crate) struct Balancer {
    pub(crate) http: SocketAddr,
    pub(crate) trunk: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) service: Arc<HttpService>,
    trigger: ShutdownTrigger,
    thread: thread::JoinHandle<()>,
}

impl Balancer {
    pub(crate) fn before(addrs: &[SocketAddr]) -> Balancer {
        Balancer::start(rates(addrs), PATIENCE, PATIENCE)
    }

    pub(crate) fn start(
        service: HttpServiceConfig,
        deadline: Duration,
        drain_max: Duration,
    ) -> Balancer {
        let any = "127.0.0.1:0".parse().unwrap();
        let (name, admin, cluster_key) = ("balancer".into(), any, key());
        let bound = Bound::new(HttpBalancerConfig {
            node: NodeConfig {
                name,
                admin,
                cluster_key,
                edge: EdgeConfig::default(),
                trunk_tls: None,
                trunk_ages: net::trunk::Ages::default(),
                drain_max,
                watched: net::agent::Watched::default(),
            },
            http: Some(any),
            trunk: Some(any),
            service,
            workers: 1,
            deadline,
        });
        let bound = bound.unwrap();
        let [http, trunk] = [Door::Http, Door::Trunk].map(|door| bound.addr(door).unwrap());
        let (admin, service) = (bound.admin_addr(), Arc::clone(bound.service()));
        let (trigger, shutdown) = shutdown();
        let thread = thread::spawn(move || bound.serve(&shutdown).unwrap());
        Balancer { http, trunk, admin, service, trigger, thread }
    }

    /// Its door for the tier above.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint { name: "balancer".into(), addr: self.trunk }
    }

    /// Asks on a connection of its own, without a body.
    pub(crate) fn get(&self, path: &str) -> Message {
        Client::connect(self.http).ask("GET", path, &[], "")
    }

    /// As [`Balancer::get`], for a change.
    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)]) -> Message {
        Client::connect(self.http).ask("POST", path, headers, "body")
    }

    pub(crate) fn begin_drain(&self) {
        self.trigger.trigger();
    }

    /// Asks for the drain and returns when it is done.
    pub(crate) fn drain(self) {
        self.trigger.trigger();
        self.thread.join().unwrap();
    }
}

/// Waits, within reason, until something holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let tick = Duration::from_millis(5);
    for _ in 0..PATIENCE.as_millis() / tick.as_millis() {
        if holds() {
            return;
        }
        thread::sleep(tick);
    }
    panic!("never: {what}");
}

/// One connection of a client.
pub(crate) struct Client {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Message {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if headers.iter().all(|(name, _)| *name != "host") {
            text.push_str("host: shop.example\r\n");
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.say(text.as_bytes());
        self.answer(method == "HEAD").expect("an answer")
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// The next answer; `None` when the connection ends before or within it.
    pub(crate) fn answer(&mut self, bodiless: bool) -> Option<Message> {
        self.answer_head()?.with_body(&mut self.stream, bodiless)
    }

    /// The head of the next answer.
    pub(crate) fn answer_head(&mut self) -> Option<Message> {
        Message::head(&mut self.stream)
    }

    pub(crate) fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }
}

/// A request or an answer.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn head(from: &mut impl BufRead) -> Option<Message> {
        let mut message = Message { line: read_line(from)?, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = read_line(from)?;
            if line.is_empty() {
                return Some(message);
            }
            let (name, value) = line.split_once(':').expect("a header has a colon");
            message.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    pub(crate) fn with_body(mut self, from: &mut impl BufRead, bodiless: bool) -> Option<Message> {
        let is_answer = self.line.starts_with("HTTP");
        if bodiless || is_answer && matches!(self.status(), 101 | 204 | 304) {
            return Some(self);
        }
        if self.header("transfer-encoding") == "chunked" {
            self.body = read_chunks(from)?;
        } else if let Ok(length) = self.header("content-length").parse() {
            self.body.resize(length, 0);
            from.read_exact(&mut self.body).ok()?;
        } else if is_answer {
            from.read_to_end(&mut self.body).ok()?;
        }
        Some(self)
    }

    pub(crate) fn status(&self) -> u16 {
        self.line[9..12].parse().unwrap()
    }

    /// The value of a header; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(it, _)| it == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The `code` of a problem.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body)
            .unwrap_or_else(|err| panic!("{err}: {} {}", self.line, self.text()));
        problem["code"].as_str().unwrap().to_owned()
    }
}

fn read_line(from: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    match from.read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim_end().to_owned()),
    }
}

pub(crate) fn read_chunk(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let length = usize::from_str_radix(&read_line(from)?, 16).unwrap();
    let mut chunk = vec![0; length + 2];
    from.read_exact(&mut chunk).ok()?;
    chunk.truncate(length);
    Some(chunk)
}

fn read_chunks(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let chunk = read_chunk(from)?;
        if chunk.is_empty() {
            return Some(all);
        }
        all.extend_from_slice(&chunk);
    }
}
