//! A monitor of its own on a thread: real sockets, a real disk, the real clock.

use http_body_util::Full;
use hyper::{Request, body::Bytes};
use monitor::{
    channel::{MailServer, Target},
    config::{ChannelConfig, MonitorConfig, Retention, WatchedNode},
    store::Site,
};
use net::{
    agent::{Agent, AgentConfig, Watched},
    control::Reload,
    fetch::{Place, fetch},
    node::{ClusterKey, NodeConfig},
    shutdown::{ShutdownTrigger, shutdown},
    tls::{ClientTls, Spoken},
};
use serde_json::Value;
use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

pub(crate) const API_KEY: &str = "tg_admin_test";
pub(crate) const PING_KEY: &str = "tg_ping_test";
/// A busy machine is given this long before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running monitor; it ends when dropped, and its folder goes with the last one.
pub(crate) struct Monitor {
    pub(crate) addr: SocketAddr,
    pub(crate) folder: PathBuf,
    config: MonitorConfig,
    running: Option<(ShutdownTrigger, JoinHandle<io::Result<()>>)>,
}

/// A file of the certificates that the edge is tested with.
pub(crate) fn certificate(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../net/tests/it/edge/certs", name].iter().collect()
}

fn key() -> ClusterKey {
    ClusterKey(Arc::from(&b"cluster"[..]))
}

impl Monitor {
    /// Watches these nodes, and tells these places.
    pub(crate) fn start(name: &str, nodes: &[&str], notify: &[String]) -> Monitor {
        Monitor::start_with(name, nodes, notify, |_| ())
    }

    /// The same, by a configuration that is changed first.
    pub(crate) fn start_with(
        name: &str,
        nodes: &[&str],
        notify: &[String],
        change: impl FnOnce(&mut MonitorConfig),
    ) -> Monitor {
        let folder = std::env::temp_dir().join(format!("monitor-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let watched = nodes.iter().map(|name| WatchedNode {
            name: (*name).to_owned(),
            role: "account",
            below: Vec::new(),
            service: None,
            admin: None,
        });
        let channel = |(at, text): (usize, &String)| {
            let target = Target::parse(text, None).or_else(|_| {
                let (mail, server) = text.split_once(" by ").expect("mailto:… by …");
                let server = MailServer::parse(server).unwrap();
                Target::parse(mail, Some(&server))
            });
            ChannelConfig { name: format!("c-{at}"), target: target.unwrap() }
        };
        // Whom `https://` is believed by: the authority of the edge's tests.
        let ca = certificate("ca.pem");
        let tls = notify.iter().any(|it| it.starts_with("https:"));
        let tls = tls.then(|| ClientTls::load(Some(&ca), Spoken::Http1).unwrap());
        let mut config = MonitorConfig {
            tls,
            mail_tls: None,
            fallback: None,
            before: Vec::new(),
            peers: Vec::new(),
            beat_to: None,
            undelivered_max: Duration::from_millis(500),
            node: NodeConfig {
                name: "monitor".into(),
                admin: "127.0.0.1:0".parse().unwrap(),
                cluster_key: key(),
                edge: net::edge::EdgeConfig::default(),
                trunk_tls: None,
                trunk_ages: net::trunk::Ages::default(),
                drain_max: Duration::from_secs(1),
                watched: Watched::default(),
            },
            http: addr,
            store: Site::Folder(folder.clone()),
            retention: Retention::USUAL,
            tree: "test".to_owned(),
            every: Duration::from_millis(200),
            grace: Duration::from_millis(500),
            nodes: watched.collect(),
            rules: Vec::new(),
            windows: Vec::new(),
            subscriptions: Vec::new(),
            channels: notify.iter().enumerate().map(channel).collect(),
            api_key: API_KEY.to_owned(),
            ping_key: PING_KEY.to_owned(),
            is_fresh: false,
        };
        change(&mut config);
        let mut monitor = Monitor { addr, folder, config, running: None };
        monitor.begin();
        monitor
    }

    fn begin(&mut self) {
        let (trigger, shutdown) = shutdown();
        let config = self.config.clone();
        let thread = thread::spawn(move || monitor::run(config, shutdown, Reload::never()));
        self.running = Some((trigger, thread));
        self.until("it answers", |it| it.try_call("GET", "/v1/overview", &[], "").is_some());
    }

    fn end(&mut self) {
        if let Some((trigger, thread)) = self.running.take() {
            trigger.trigger();
            thread.join().unwrap().unwrap();
        }
    }

    /// Ends, and starts again on the same folder.
    pub(crate) fn restart(&mut self) {
        self.end();
        self.begin();
    }

    /// An agent of a node that says it is well as long as it is held.
    pub(crate) fn agent(&self, node: &str) -> Agent {
        let config = AgentConfig {
            node: node.into(),
            role: "account",
            version: "1",
            monitors: vec![self.addr],
            every: Duration::from_millis(200),
            key: key(),
            folder: None,
            limits: std::collections::BTreeMap::new(),
        };
        let (trigger, shutdown) = shutdown();
        std::mem::forget(trigger); // Nobody drains it.
        let watched = Watched::default();
        watched.set(Arc::new(Well), Arc::new(net::control::Control::<()>::new(0, Reload::never())));
        Agent::start(config, watched, shutdown).unwrap()
    }

    pub(crate) fn try_call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<(u16, String)> {
        let mut request = Request::builder().method(method).uri(path).header("host", "monitor");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = self.addr.ip().to_string();
        let place = Place::plain(&host, self.addr.port());
        let fetched = runtime.block_on(fetch(place, request, PATIENCE, 1 << 20)).ok()?;
        Some((fetched.status, String::from_utf8_lossy(&fetched.body).into_owned()))
    }

    /// Status and text of an answer.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.try_call(method, path, &[("x-api-key", API_KEY)], body).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, text) = self.call("GET", path, "");
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn state(&self, name: &str) -> String {
        self.json(&format!("/v1/checks/{name}"))["state"].as_str().unwrap().to_owned()
    }

    /// Looks until something is so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut(&Monitor) -> bool) {
        for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
            if is_so(self) {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
        panic!("never: {what}");
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if let Some((trigger, thread)) = self.running.take() {
            trigger.trigger();
            drop(thread.join());
        }
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// A role without a worry.
struct Well;

impl net::admin::Source for Well {
    fn readiness(&self) -> Result<(), String> {
        Ok(())
    }

    fn metrics(&self, _: &mut net::admin::Exposition) {}

    fn status(&self) -> String {
        "{}".to_owned()
    }
}
