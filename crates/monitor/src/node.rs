//! The monitor as a node: one thread that takes beats in, ticks, and sends letters, and one thread
//! that writes to the disk.

mod channels;
mod enter;
mod gate;
mod hear;
mod judge;
mod open;
mod peers;
mod roll;
mod status;
mod tell;

pub(crate) use self::{
    hear::{Heard, JobBeat},
    open::random,
};

use self::{
    gate::{Gate, Keeper},
    status::Status,
};
use crate::{
    book::Book,
    channel::Message,
    config::{ChannelConfig, MonitorConfig},
    core::{
        check::{CheckId, Now},
        desk::{Desk, Filed},
        detector::{Detector, Noticed},
        guard::TICK_EVERY,
        incident::IncidentId,
        notice::Notice,
        outbox::{Letter, LetterId, Queue},
        rule::referee::Referee,
        standby::Standby,
        window::Window,
    },
    http::Past,
    store::{Archive, Known, Row, Store},
};
use net::{
    admin::Admin,
    announce, clock,
    control::{Control, Reload},
    edge::Edge,
    shutdown::Shutdown,
    worker::{self, Door, Listening, Worker},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use stdx::Moment;
use tokio::{sync::oneshot, task::spawn_local, time::MissedTickBehavior};

/// How often the monitor notes that it lives: what it misses after a sudden death.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// How often what rules have summed up is stored, beside every change of a verdict.
const KEEP_TRACKERS_EVERY: Duration = Duration::from_secs(600);

/// One channel and what waits in it.
pub(crate) struct Channel {
    /// What is watched of it.
    pub(crate) check: Option<CheckId>,
    pub(crate) config: ChannelConfig,
    pub(crate) queue: Queue,
}

/// The monitor's one thread.
pub(crate) struct Node {
    config: RefCell<Rc<MonitorConfig>>,
    /// Where its pages are, as people reach them.
    pub(crate) url: String,
    pub(crate) book: RefCell<Book>,
    pub(crate) detector: RefCell<Detector>,
    pub(crate) referee: RefCell<Referee>,
    pub(crate) desk: RefCell<Desk>,
    /// Maintenance windows made by hand.
    pub(crate) windows: RefCell<Vec<Window>>,
    pub(crate) channels: RefCell<Vec<Channel>>,
    /// Whether this monitor or another tells people.
    pub(crate) standby: RefCell<Standby>,
    /// When it last beat to the outside.
    beaten_at: Cell<Option<Moment>>,
    /// Incidents of which the fallback channel was told.
    fell_back: RefCell<BTreeSet<IncidentId>>,
    /// Open incidents that this monitor told people of, while others may tell of others.
    told_here: RefCell<BTreeSet<IncidentId>>,
    pub(crate) history: Archive,
    progress: roll::Progress,
    /// What was last shown of the past.
    pub(crate) past: RefCell<Rc<Past>>,
    pub(crate) status: Arc<Status>,
    /// When this process opened its books.
    pub(crate) began: Now,
    store: Store,
    next_letter: Cell<u64>,
    alive_at: Cell<Now>,
    trackers_kept_at: Cell<Now>,
}

/// This moment, by both clocks.
pub(crate) fn now() -> Now {
    let moment = clock::now();
    Now { moment, wall: clock::wall_at(moment) }
}

/// Serves until `shutdown`.
pub fn run(
    config: MonitorConfig,
    shutdown: Shutdown,
    reload: Reload<MonitorConfig>,
) -> io::Result<()> {
    clock::now(); // The clock starts with the node.
    let listening = vec![Listening::bind(Door::Http, config.http)?];
    let status = Arc::new(Status::default());
    let control = Arc::new(Control::new(1, reload));
    let controls = Arc::clone(&control) as _;
    let admin = Admin::start(config.node.admin, Arc::clone(&status) as _, controls)?;
    config.node.watched.set(Arc::clone(&status) as _, Arc::clone(&control) as _);
    let details = announce::details(&listening, admin.addr())?;
    let http = listening[0].local_addr()?;
    worker::run(listening, 1, &shutdown, async |worker| {
        let (url, status) = (format!("http://{http}"), Arc::clone(&status));
        let gate = Rc::new(Gate::new(config.clone(), url, Arc::clone(&status)));
        gate.open().await?;
        announce::ready(&config.node.name, &details)?;
        let post = Keeper(Rc::clone(&gate));
        drop(spawn_local(control.orders(worker.index).obey(post)));
        serve(&gate, worker, config.node.drain_max).await;
        status.set_ready(false);
        if let Some(node) = gate.node() {
            node.close().await;
        }
        Ok(())
    })
}

async fn serve(gate: &Rc<Gate>, mut worker: Worker, drain_max: Duration) {
    let life = spawn_local(Rc::clone(gate).live());
    let edge = Edge::new(Keeper(Rc::clone(gate)));
    while let Some(accepted) = worker.accept().await {
        edge.serve(accepted.stream, accepted.peer, accepted.permit);
    }
    edge.drain(gate.node().map_or(drain_max, |it| it.config().node.drain_max)).await;
    life.abort();
}

impl Node {
    /// What it goes by now.
    pub(crate) fn config(&self) -> Rc<MonitorConfig> {
        Rc::clone(&self.config.borrow())
    }

    /// Looks at the clock every so often, for as long as the node lives.
    async fn tick(self: Rc<Node>) {
        let mut interval = tokio::time::interval(TICK_EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.look();
        }
    }

    /// Deals with whatever has become due.
    fn look(self: &Rc<Node>) {
        let now = now();
        let (mut noticed, mut rows) = (Vec::new(), Vec::new());
        self.detector.borrow_mut().tick(now, &mut noticed);
        self.take_in(now, noticed, &mut rows);
        self.judge_time(now, &mut rows);
        let mut filed = Vec::new();
        self.desk.borrow_mut().tick(now, &mut filed);
        self.file(filed, &mut rows);
        self.look_for_peers(now, &mut rows);
        self.fall_back(now, &mut rows);
        if ALIVE_EVERY <= now.moment.since(self.alive_at.get().moment) {
            self.alive_at.set(now);
            rows.push(Row::Alive(now.wall));
        }
        if KEEP_TRACKERS_EVERY <= now.moment.since(self.trackers_kept_at.get().moment) {
            self.trackers_kept_at.set(now);
            self.referee.borrow_mut().touch();
        }
        self.tracker_rows(&mut rows);
        self.keep(rows);
        self.send_letters(now.moment);
        self.beat_outside(now);
        self.count();
    }

    /// What the detector has noticed, as rows to be kept and work for the desk.
    pub(crate) fn take_in(self: &Rc<Node>, now: Now, noticed: Vec<Noticed>, rows: &mut Vec<Row>) {
        let mut filed = Vec::new();
        for it in noticed {
            match it {
                Noticed::Changed(change) => {
                    let name = self.name(change.check);
                    let (from, to, why) = (change.from, change.to, change.why.text());
                    tracing::info!(check = %name, %from, %to, %why, "changed");
                    self.desk.borrow_mut().change(now, &change, &mut filed);
                    rows.extend(self.heard_row(now, change.check));
                    rows.push(Row::Flip(change));
                }
                Noticed::Doubted(id) => self.ask(id),
                Noticed::Restarted(id) => {
                    tracing::info!(check = %self.name(id), "another process than before");
                }
                Noticed::Blind { from, to } => {
                    tracing::warn!(%from, %to, "nothing was heard: this monitor stood still");
                    self.mix_until(to);
                    rows.push(Row::Blind(from, to));
                }
            }
        }
        self.file(filed, rows);
    }

    /// What is known of a check now.
    pub(crate) fn known(&self, now: Now, id: CheckId) -> Option<Box<Known>> {
        let kept = self.detector.borrow().kept(now, id)?;
        let book = self.book.borrow();
        Some(Box::new(Known::of(book.get(id)?, kept)))
    }

    /// A check that has changed without a beat, to be kept.
    pub(crate) fn heard_row(&self, now: Now, id: CheckId) -> Option<Row> {
        self.known(now, id).map(Row::Heard)
    }

    /// What the desk has decided, as rows to be kept and letters to be sent.
    pub(crate) fn file(&self, filed: Vec<Filed>, rows: &mut Vec<Row>) {
        for it in filed {
            match it {
                Filed::Incident(it) => rows.push(Row::Incident(it)),
                Filed::Notice(notice) => self.spread(*notice, rows),
                Filed::Maintenance { check, window, span } => {
                    tracing::info!(check = %self.name(check), %window, "in maintenance");
                    self.mix_until(span.1);
                    rows.push(Row::Maintenance(check, window, span));
                }
                Filed::MaintenanceEnded { check, at } => {
                    self.mix_until(at);
                    rows.push(Row::MaintenanceEnded(check, at));
                }
            }
        }
    }

    /// Puts a letter into one channel's queue.
    pub(crate) fn post(&self, at: usize, notice: Notice, rows: &mut Vec<Row>) {
        let id = LetterId(self.next_letter.get());
        self.next_letter.set(id.0 + 1);
        let letter = Letter { id, notice, attempts: 0, is_combined: false };
        let mut channels = self.channels.borrow_mut();
        let Channel { config, queue, .. } = &mut channels[at];
        rows.push(Row::Letter(config.name.clone(), Box::new(letter.clone())));
        let obsolete = queue.push(letter);
        rows.extend(obsolete.into_iter().map(|it| Row::LetterEnded(it, "obsolete")));
    }

    /// Writes rows down; what comes back is told when they are on the disk.
    pub(crate) fn keep(&self, rows: Vec<Row>) -> Option<oneshot::Receiver<bool>> {
        (!rows.is_empty()).then(|| self.store.write(rows))
    }

    /// The name of a check.
    pub(crate) fn name(&self, id: CheckId) -> String {
        self.book.borrow().get(id).map_or("?".to_owned(), |it| it.plan.name.clone())
    }

    /// A letter in words.
    pub(crate) fn message(&self, letter: &Letter) -> Message {
        let book = self.book.borrow();
        Message::of(letter, &self.config().tree, &self.url, |id| {
            let plan = book.get(id).map(|it| &it.plan);
            plan.map_or(("monitor".to_owned(), String::new()), |it| {
                (it.name.clone(), it.role.clone())
            })
        })
    }

    /// The last words: that it lived until now.
    async fn close(&self) {
        let mut rows = vec![Row::Alive(now().wall)];
        self.referee.borrow_mut().touch();
        self.tracker_rows(&mut rows);
        if let Some(kept) = self.keep(rows) {
            // What could not be stored was logged.
            drop(kept.await);
        }
    }
}
