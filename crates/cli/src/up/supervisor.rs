//! Keeps the nodes of a tree alive: starts them from the leaves up, starts again what ends by
//! itself, carries out orders, and drains from the edge down.

use super::{
    child::{self, Announced, Process, Word},
    life::{Life, Phase, Why},
    orders::{self, Given, Pending},
    reload::Reloading,
    rotation::Rotation,
};
use crate::{
    control::NodeReload,
    data::{Data, NodeState, TreeState},
    error::CliError,
    terminal::tell,
    topology::{Node, Topology, elements::role::RoleName},
};
use rustix::process::Signal;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use stdx::Moment;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// A second signal sooner than this is the first one again: a key press reaches the whole process
/// group, and a wrapper may pass it on besides.
const IMPATIENT_AFTER: Duration = Duration::from_millis(500);
/// What a node may take beyond its own drain limit before it is killed.
pub(super) const DRAIN_GRACE: Duration = Duration::from_secs(5);
/// Words of nodes and orders that wait to be looked at; whoever has one more waits.
const QUEUE_MAX: usize = 64;
/// How often a process that was paused or resumed is looked at until it is so.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One node under supervision.
#[derive(Debug)]
pub(super) struct Supervised {
    pub(super) name: String,
    role: RoleName,
    pub(super) drain: Duration,
    pub(super) life: Life,
    pub(super) process: Option<Process>,
    pub(super) is_paused: bool,
    pub(super) rotation: Rotation,
    pub(super) announced: Announced,
    /// No longer of the tree: it is down, and only its place is left.
    pub(super) is_removed: bool,
}

/// The tree of this `up`.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) data: Data,
    program: PathBuf,
    pub(super) config: PathBuf,
    /// What is in force of it.
    pub(super) topology: Topology,
    /// As in `tree.json`, its nodes brought up to date before each write.
    tree: TreeState,
    written: Option<TreeState>,
    pub(super) nodes: Vec<Supervised>,
    /// Places in `nodes`, from the leaves up.
    tiers: Vec<Vec<usize>>,
    words: mpsc::Receiver<(usize, Word)>,
    pub(super) word_sender: mpsc::Sender<(usize, Word)>,
    orders: mpsc::Receiver<Given>,
    stop: Stop,
    pub(super) pending: Vec<Pending>,
    pub(super) reloading: Option<Reloading>,
    /// What nodes made of a reload.
    reports: mpsc::Receiver<Vec<NodeReload>>,
    pub(super) report_sender: mpsc::Sender<Vec<NodeReload>>,
    /// Every tier has been started.
    is_up: bool,
    pub(super) is_draining: bool,
}

/// How the start of a tree went.
pub(super) enum Started {
    Ready,
    /// Somebody wanted it to stop before it was ready.
    Stopped,
}

enum Step {
    Went,
    Stop,
}

impl Supervisor {
    /// Opens the control socket; starts nothing yet.
    pub(super) fn new(
        data: &Data,
        program: PathBuf,
        config: PathBuf,
        tree: &Topology,
    ) -> Result<Supervisor, CliError> {
        let failed = |error: io::Error| CliError::io("cannot supervise", &error);
        let (word_sender, words) = mpsc::channel(QUEUE_MAX);
        let (order_sender, orders) = mpsc::channel(QUEUE_MAX);
        orders::listen(data, order_sender).map_err(failed)?;
        let (report_sender, reports) = mpsc::channel(QUEUE_MAX);
        let nodes: Vec<Supervised> = runnable(tree).map(Supervised::new).collect();
        Ok(Supervisor {
            data: data.clone(),
            program,
            tree: TreeState {
                name: tree.name.clone(),
                pid: std::process::id(),
                config: config.clone(),
                is_own: config == absolute(&data.topology()).map_err(failed)?,
                edge: edge_of(tree),
                api_key: absolute(&tree.api_key).map_err(failed)?,
                nodes: Vec::new(),
            },
            config,
            topology: tree.clone(),
            written: None,
            tiers: places(tree, &nodes),
            nodes,
            words,
            word_sender,
            orders,
            stop: Stop::listen().map_err(failed)?,
            pending: Vec::new(),
            reloading: None,
            reports,
            report_sender,
            is_up: false,
            is_draining: false,
        })
    }

    /// Starts every tier once the one below it is ready.
    pub(super) async fn start_all(&mut self) -> Result<Started, CliError> {
        for tier in self.tiers.clone() {
            for index in &tier {
                self.start(*index);
            }
            while !tier.iter().all(|index| self.nodes[*index].life.is_settled()) {
                if let Some(error) = self.hopeless() {
                    return Err(error);
                }
                if let Step::Stop = self.step(None).await {
                    return Ok(Started::Stopped);
                }
            }
        }
        self.is_up = true;
        self.write_down();
        Ok(Started::Ready)
    }

    /// Keeps the tree alive until somebody wants it to stop.
    pub(super) async fn serve(&mut self) {
        while let Step::Went = self.step(None).await {}
    }

    /// Ends the tiers from the edge down. Returns the nodes that had to be killed.
    pub(super) async fn drain(&mut self) -> Vec<String> {
        self.is_draining = true;
        let impatient_from = net::clock::now() + IMPATIENT_AFTER;
        let mut killed = Vec::new();
        for tier in self.tiers.clone().into_iter().rev() {
            for index in &tier {
                self.order_down(*index, Why::Drained);
            }
            let drain_max = tier.iter().map(|index| self.nodes[*index].drain).max();
            let end = net::clock::now() + drain_max.unwrap_or(Duration::ZERO) + DRAIN_GRACE;
            while tier.iter().any(|index| self.nodes[*index].process.is_some()) {
                let step = self.step(Some(end)).await;
                let now = net::clock::now();
                let is_impatient = matches!(step, Step::Stop) && impatient_from <= now;
                if end <= now || is_impatient {
                    killed.extend(self.kill_rest(&tier));
                    self.wait_for_end(&tier).await;
                }
            }
        }
        self.write_down();
        killed
    }

    fn kill_rest(&self, tier: &[usize]) -> Vec<String> {
        let rest = tier.iter().map(|index| &self.nodes[*index]);
        let rest = rest.filter_map(|node| Some((node, node.process.as_ref()?)));
        rest.map(|(node, process)| {
            process.signal(Signal::KILL);
            node.name.clone()
        })
        .collect()
    }

    /// After SIGKILL: nothing but the kernel has a say in how long this takes.
    async fn wait_for_end(&mut self, tier: &[usize]) {
        while tier.iter().any(|index| self.nodes[*index].process.is_some()) {
            self.step(None).await;
        }
    }

    /// Waits for one thing to happen, at most until `end`, and deals with it.
    async fn step(&mut self, end: Option<Moment>) -> Step {
        self.write_down();
        let now = net::clock::now();
        let due = self.due(now).into_iter().chain(end).min();
        let wait = due.map_or(Duration::MAX, |due| due.since(now));
        tokio::select! {
            Some((index, word)) = self.words.recv() => self.hear(index, word),
            Some(given) = self.orders.recv() => self.take(given),
            Some(results) = self.reports.recv() => self.reported(results),
            () = self.stop.wanted() => return Step::Stop,
            () = tokio::time::sleep(wait) => {}
        }
        self.look_at_time();
        self.settle_orders();
        self.settle_reload();
        Step::Went
    }

    fn due(&self, now: Moment) -> Option<Moment> {
        let lives = self.nodes.iter().filter_map(|node| node.life.due()).min();
        let orders = self.pending.iter().map(|it| it.due(now, LOOK_EVERY)).min();
        let reload = self.reloading.as_ref().map(Reloading::due);
        lives.into_iter().chain(orders).chain(reload).min()
    }

    fn hear(&mut self, index: usize, word: Word) {
        let node = &mut self.nodes[index];
        match word {
            Word::Listens(announced) => {
                node.announced = Announced {
                    http: announced.http.or(node.announced.http),
                    trunk: announced.trunk.or(node.announced.trunk),
                    admin: announced.admin.or(node.announced.admin),
                };
                if node.rotation.is_out() {
                    // It ended by itself: what was ordered of it before still holds.
                    node.ready();
                    self.turn(index, true);
                }
            }
            Word::Ready => node.ready(),
            Word::Turned(turn, result) => self.turned(index, turn, result),
            Word::Ended(how) => {
                node.process = None;
                if node.is_paused && !matches!(node.life.phase(), Phase::Ending(_)) {
                    // A sibling may have ended what hangs. It was to stay away until it is resumed.
                    tell!("{} {how} while it was paused: down until it is resumed", node.name);
                    node.life.ordered_down(Why::Killed);
                } else {
                    node.is_paused = false;
                }
                if let Some(delay) = node.life.ended(net::clock::now()) {
                    tell!("{} {how}: starting it again in {delay:?}", node.name);
                }
            }
        }
    }

    /// Starts what has waited long enough, kills what takes too long to get ready.
    fn look_at_time(&mut self) {
        let now = net::clock::now();
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            if node.life.due().is_none_or(|due| now < due) {
                continue;
            }
            match node.life.phase() {
                Phase::Waiting { .. } => self.start(index),
                // A tree that is being started is given up instead; see `hopeless`.
                Phase::Starting { .. } if !self.is_up => {}
                Phase::Starting { .. } => {
                    tell!("{} takes too long to get ready: killed", node.name);
                    if let Some(process) = &node.process {
                        process.signal(Signal::KILL);
                    }
                    self.nodes[index].life.given_time(now);
                }
                Phase::Down(_) | Phase::Ready { .. } | Phase::Ending(_) => {}
            }
        }
    }

    /// Starts a node's process now.
    pub(super) fn start(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let now = net::clock::now();
        node.is_paused = false;
        node.life.started(now);
        let words = self.word_sender.clone();
        let name = (index, node.name.as_str());
        match child::start(&self.program, &self.config, &self.data, name, !self.is_up, words) {
            Ok(process) => node.process = Some(process),
            Err(error) => {
                let delay = node.life.ended(now).unwrap_or_default();
                tell!("cannot start {}: {error}: trying again in {delay:?}", node.name);
            }
        }
    }

    /// Tells a node's process to drain and end; without a process it is down at once.
    pub(super) fn order_down(&mut self, index: usize, why: Why) {
        let node = &mut self.nodes[index];
        node.life.ordered_down(why);
        node.rotation.reset();
        if let Some(process) = &node.process {
            if why == Why::Killed {
                process.signal(Signal::KILL);
                return;
            }
            process.signal(Signal::TERM);
            // What is stopped cannot drain.
            process.signal(Signal::CONT);
        }
    }

    /// When an order to end has to be reached; after that the node is killed.
    pub(super) fn drain_end(&self, index: usize) -> Moment {
        net::clock::now() + self.drain_max(index)
    }

    /// How long a node may take to finish what it has.
    pub(super) fn drain_max(&self, index: usize) -> Duration {
        self.nodes[index].drain + DRAIN_GRACE
    }

    /// Goes by another topology from now on. Its new nodes have places, and are not started yet.
    pub(super) fn go_by(&mut self, tree: Topology) {
        for node in runnable(&tree) {
            match self.nodes.iter_mut().find(|it| it.name == node.name) {
                Some(known) if !known.is_removed => known.drain = node.drain,
                Some(known) => *known = Supervised::new(node),
                None => self.nodes.push(Supervised::new(node)),
            }
        }
        self.tiers = places(&tree, &self.nodes);
        self.tree.name.clone_from(&tree.name);
        self.tree.edge = edge_of(&tree);
        if let Ok(api_key) = absolute(&tree.api_key) {
            self.tree.api_key = api_key;
        }
        self.topology = tree;
    }

    fn hopeless(&self) -> Option<CliError> {
        let now = net::clock::now();
        let (node, why) =
            self.nodes.iter().find_map(|node| Some((node, node.life.hopeless(now)?)))?;
        let log = self.data.log(&node.name);
        let tail = child::log_tail(&self.data, &node.name);
        let message = format!("{} {why}; the end of {}:\n\n{tail}", node.name, log.display());
        Some(CliError::failed(message))
    }

    /// Brings `tree.json` up to date, where there is anything new.
    fn write_down(&mut self) {
        let present = self.nodes.iter().filter(|node| !node.is_removed);
        self.tree.nodes = present.map(Supervised::state).collect();
        if self.written.as_ref() == Some(&self.tree) {
            return;
        }
        match self.data.write_tree(&self.tree) {
            Ok(()) => self.written = Some(self.tree.clone()),
            Err(error) => tell!("cannot write {}: {error}", self.data.tree().display()),
        }
    }

    /// The tree as it was last written down.
    pub(super) fn state(&self) -> &TreeState {
        &self.tree
    }
}

/// Where clients connect, as a URL.
fn edge_of(tree: &Topology) -> Option<String> {
    tree.entrance().map(|it| format!("http://{it}"))
}

/// The nodes that this version can run.
pub(super) fn runnable(tree: &Topology) -> impl Iterator<Item = &Node> {
    tree.nodes.iter()
}

/// The places of a tree's nodes, by tiers from the leaves up. What is on its way out comes last,
/// and so is the first to be drained.
fn places(tree: &Topology, nodes: &[Supervised]) -> Vec<Vec<usize>> {
    let place = |name: &str| nodes.iter().position(|it| it.name == name && !it.is_removed);
    let tiers = tree.tiers().into_iter();
    let mut tiers: Vec<Vec<usize>> =
        tiers.map(|tier| tier.iter().filter_map(|it| place(&it.name)).collect()).collect();
    let others: Vec<usize> =
        (0..nodes.len()).filter(|index| !tiers.iter().any(|it| it.contains(index))).collect();
    if !others.is_empty() {
        tiers.push(others);
    }
    tiers
}

impl Supervised {
    fn new(node: &Node) -> Supervised {
        Supervised {
            name: node.name.clone(),
            role: node.role.name(),
            drain: node.drain,
            life: Life::new(),
            process: None,
            is_paused: false,
            rotation: Rotation::default(),
            announced: Announced {
                http: node.role.http(),
                trunk: node.role.trunk(),
                admin: node.admin,
            },
            is_removed: false,
        }
    }

    fn ready(&mut self) {
        let was = self.life.phase();
        self.life.ready();
        if self.life.restarts() != 0 && was != self.life.phase() {
            tell!("{} is ready again", self.name);
        }
    }

    fn state(&self) -> NodeState {
        let mut out = NodeState::new(&self.name, self.role);
        self.text().clone_into(&mut out.state);
        out.pid = self.process.as_ref().map(|it| it.pid);
        out.restarts = self.life.restarts();
        out.http = self.announced.http;
        out.trunk = self.announced.trunk;
        out.admin = self.announced.admin;
        out
    }

    /// Its state in one word.
    pub(super) fn text(&self) -> &'static str {
        match self.life.phase() {
            Phase::Ready { .. } if self.is_paused => "paused",
            Phase::Ready { .. } => self.rotation.text().unwrap_or(self.life.text()),
            Phase::Starting { .. } | Phase::Ending(_) if self.is_paused => "paused",
            Phase::Starting { .. } | Phase::Ending(_) | Phase::Down(_) | Phase::Waiting { .. } => {
                self.life.text()
            }
        }
    }
}

/// Ctrl-C, SIGTERM, and the end of the terminal.
#[derive(Debug)]
struct Stop {
    signals: [tokio::signal::unix::Signal; 3],
}

impl Stop {
    fn listen() -> io::Result<Stop> {
        Ok(Stop {
            signals: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }

    async fn wanted(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// From the root, so that a command started elsewhere finds it too.
pub(super) fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(path)
}
