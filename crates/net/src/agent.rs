//! The heartbeat agent, nested in every node: runs the node's self checks at a fixed interval and
//! tells every monitor.
//!
//! On a thread of its own, so that a monitor that hangs holds up nobody, and so that a node whose
//! workers hang still says so. What it says is coupled to real progress: it asks how far the
//! workers are behind and how old the oldest unfinished work is, it does not just beat on.

pub mod beat;
mod vitals;

use self::beat::{
    BEATS_MAX, BEATS_PATH, Beat, Limits, PROOF_HEADER, Phase, SelfCheck, Verdict, proof,
};
use crate::{
    admin::Source,
    clock,
    control::Controls,
    fetch::{Place, fetch},
    ids,
    node::ClusterKey,
    shutdown::{Shutdown, ShutdownTrigger},
    worker,
};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::value::RawValue;
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};
use stdx::Moment;
use tokio::{sync::watch, task::spawn_local};

/// How long a monitor may take to answer a beat; less where the period is shorter.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);
/// Longest answer to a beat that is read.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
/// The wait before a beat that was not taken is sent again; less where the period is shorter.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How often a starting node is looked at until it serves.
const START_LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where the beats of a node go, and how often.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    pub node: Arc<str>,
    pub role: &'static str,
    pub version: &'static str,
    pub monitors: Vec<SocketAddr>,
    pub every: Duration,
    pub key: ClusterKey,
    /// Where the node keeps something, if it does: its disk is watched.
    pub folder: Option<PathBuf>,
    /// By the name of the check: limits that are not to be the usual ones.
    pub limits: BTreeMap<String, Limits>,
}

/// How a node's role reaches its agent. Clones reach the same one.
#[derive(Clone, Default)]
pub struct Watched {
    shared: Arc<Mutex<Option<Role>>>,
}

/// Who knows how the node does, and what it was ordered to do.
type Role = (Arc<dyn Source>, Arc<dyn Controls>);

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl Watched {
    /// Says whose checks are to be run, and who knows whether the node is in rotation. Until then
    /// the node is starting.
    pub fn set(&self, source: Arc<dyn Source>, controls: Arc<dyn Controls>) {
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some((source, controls));
    }

    fn get(&self) -> Option<Role> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The running agent.
#[derive(Debug)]
pub struct Agent {
    thread: JoinHandle<()>,
    stopped: ShutdownTrigger,
    alive: watch::Sender<()>,
}

impl Agent {
    /// Begins to beat. `shutdown` makes it say that the node drains.
    pub fn start(config: AgentConfig, watched: Watched, shutdown: Shutdown) -> io::Result<Agent> {
        let (stopped, stop) = crate::shutdown::shutdown();
        let (alive, life) = watch::channel(());
        let thread = thread::Builder::new().name("agent".to_owned()).spawn(move || {
            let ended = worker::runtime().map(|runtime| {
                runtime.block_on(Beater::new(config, watched).run(stop, life, shutdown));
            });
            if let Err(err) = ended {
                tracing::error!(%err, "the heartbeat agent ended");
            }
        })?;
        Ok(Agent { thread, stopped, alive })
    }

    /// The node ends because somebody wanted it to: says so, and waits until it is said or a
    /// monitor has taken too long. To drop an agent instead is to die without a word.
    pub fn stop(self) {
        self.stopped.trigger();
        // It can only have panicked, and has nothing more to say then.
        drop(self.thread.join());
        drop(self.alive);
    }
}

/// The agent's own thread.
struct Beater {
    config: Rc<AgentConfig>,
    watched: Watched,
    boot: String,
    seq: u64,
    phase: Phase,
    ways: Vec<Rc<Way>>,
}

/// The way to one monitor.
struct Way {
    config: Rc<AgentConfig>,
    addr: SocketAddr,
    /// Not taken yet, oldest first, each with the moment it was made.
    waiting: RefCell<VecDeque<(Moment, Beat)>>,
    is_sending: RefCell<bool>,
    /// What the last attempt failed with, so that it is logged once.
    is_failing: RefCell<bool>,
}

impl Beater {
    fn new(config: AgentConfig, watched: Watched) -> Beater {
        let config = Rc::new(config);
        let way = |addr: &SocketAddr| {
            Rc::new(Way {
                config: Rc::clone(&config),
                addr: *addr,
                waiting: RefCell::default(),
                is_sending: RefCell::new(false),
                is_failing: RefCell::new(false),
            })
        };
        let ways = config.monitors.iter().map(way).collect();
        let boot = format!("{:016x}", ids::boot_id());
        Beater { config, watched, boot, seq: 0, phase: Phase::Starting, ways }
    }

    async fn run(
        mut self,
        mut stop: Shutdown,
        mut life: watch::Receiver<()>,
        mut shutdown: Shutdown,
    ) {
        let every = self.config.every;
        let mut next = tokio::time::Instant::now();
        loop {
            let phase = self.phase_now(&stop, &shutdown);
            let is_due = next <= tokio::time::Instant::now();
            if is_due || phase != self.phase {
                self.phase = phase;
                self.beat();
                next = tokio::time::Instant::now() + every;
            }
            if phase == Phase::Stopped {
                return self.say_last_words().await;
            }
            let look = match phase {
                Phase::Starting => next.min(tokio::time::Instant::now() + START_LOOK_EVERY),
                Phase::Up | Phase::Draining | Phase::Stopped => next,
            };
            let is_draining = shutdown.is_requested();
            tokio::select! {
                () = tokio::time::sleep_until(look) => {}
                () = shutdown.requested(), if !is_draining => {}
                () = stop.requested(), if !stop.is_requested() => {}
                // Dropped without a word: the node died.
                _ = life.changed() => return,
            }
        }
    }

    fn phase_now(&self, stop: &Shutdown, shutdown: &Shutdown) -> Phase {
        if stop.is_requested() {
            return Phase::Stopped;
        }
        let Some((source, controls)) = self.watched.get() else { return Phase::Starting };
        if shutdown.is_requested() || controls.standing().draining {
            Phase::Draining
        } else if self.phase == Phase::Starting && !source.serves() {
            Phase::Starting
        } else {
            Phase::Up
        }
    }

    /// Makes one beat and sends it on every way.
    fn beat(&mut self) {
        let now = clock::now();
        let source = self.watched.get().map(|(source, _)| source);
        let mut checks = vitals::checks(now, self.config.folder.as_deref());
        if let Some(source) = &source
            && self.phase == Phase::Up
        {
            source.checks(now, &mut checks);
        }
        for check in &mut checks {
            if let Some(limits) = self.config.limits.get(&check.name) {
                let limits = limits.or(check.limits);
                *check = check.clone().judged_by(limits);
            }
        }
        let verdict = checks.iter().map(|it| it.verdict).max().unwrap_or(Verdict::Pass);
        let metrics = source.and_then(|it| RawValue::from_string(it.status()).ok());
        let beat = Beat {
            node: self.config.node.to_string(),
            role: self.config.role.to_owned(),
            boot: self.boot.clone(),
            seq: self.seq,
            at: clock::wall_at(now).to_string(),
            ago_ms: 0,
            every_ms: u64::try_from(self.config.every.as_millis()).unwrap_or(u64::MAX),
            phase: self.phase,
            verdict,
            checks,
            version: self.config.version.to_owned(),
            metrics,
        };
        self.seq += 1;
        for way in &self.ways {
            let mut waiting = way.waiting.borrow_mut();
            waiting.push_back((now, beat.clone()));
            while BEATS_MAX < waiting.len() {
                waiting.pop_front();
            }
            drop(waiting);
            way.stir();
        }
    }

    /// Returns when every monitor has taken the last beat, or has taken too long.
    async fn say_last_words(&self) {
        let end = tokio::time::Instant::now() + self.config.answer_time();
        for way in &self.ways {
            // Too late for whoever does not answer.
            drop(tokio::time::timeout_at(end, way.emptied()).await);
        }
    }
}

impl AgentConfig {
    fn answer_time(&self) -> Duration {
        ANSWER_TIME_MAX.min(self.every)
    }
}

impl Way {
    /// Sends what waits, unless that is being done.
    fn stir(self: &Rc<Way>) {
        if !self.is_sending.replace(true) {
            let way = Rc::clone(self);
            drop(spawn_local(async move { way.send_all().await }));
        }
    }

    async fn send_all(&self) {
        loop {
            let last = self.waiting.borrow().back().map(|(_, beat)| beat.seq);
            let Some(last) = last else { break };
            match self.send().await {
                Ok(()) => {
                    self.waiting.borrow_mut().retain(|(_, beat)| last < beat.seq);
                    if self.is_failing.replace(false) {
                        tracing::info!(monitor = %self.addr, "the monitor takes beats again");
                    }
                }
                Err(why) => {
                    if !self.is_failing.replace(true) {
                        tracing::warn!(monitor = %self.addr, %why, "the monitor takes no beats");
                    }
                    tokio::time::sleep(RETRY_EVERY.min(self.config.every)).await;
                }
            }
        }
        self.is_sending.replace(false);
    }

    async fn send(&self) -> Result<(), String> {
        let body = {
            let now = clock::now();
            let mut waiting = self.waiting.borrow_mut();
            let beats = waiting.iter_mut().map(|(made, beat)| {
                beat.ago_ms = u64::try_from(now.since(*made).as_millis()).unwrap_or(u64::MAX);
                &*beat
            });
            let beats: Vec<&Beat> = beats.collect();
            Bytes::from(serde_json::to_vec(&beats).map_err(|err| err.to_string())?)
        };
        let request = Request::post(BEATS_PATH)
            .header("host", self.addr.to_string())
            .header("content-type", "application/json")
            .header(PROOF_HEADER, proof(&self.config.key, &body))
            .body(Full::new(body))
            .expect("the parts are ours");
        let host = self.addr.ip().to_string();
        let place = Place::plain(&host, self.addr.port());
        let answer = fetch(place, request, self.config.answer_time(), ANSWER_BYTES_MAX).await;
        match answer {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => {
                Err(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)))
            }
            Err(err) => Err(err.to_string()),
        }
    }

    async fn emptied(&self) {
        while *self.is_sending.borrow() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A check of a role that is well unless `why` says otherwise.
pub fn verdict(name: &str, why: Result<String, String>) -> SelfCheck {
    let (verdict, detail) = match why {
        Ok(detail) => (Verdict::Pass, detail),
        Err(detail) => (Verdict::Fail, detail),
    };
    SelfCheck::of(name, verdict, detail)
}
