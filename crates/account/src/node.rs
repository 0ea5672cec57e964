//! The shell of an account node: one thread that carries calls between trunk and executors, and
//! jobs and reports between each executor and the threads that may block on its engine.

use crate::{
    AccountConfig,
    commits::Commit,
    executor::{ACCOUNTS_MAX, Ended, Ending, Executor, Way},
    front::{Common, Front, Party},
    gathering::Asker,
    load::Taken,
    pace::Pace,
    post::Post,
    status::Status,
    steward::{Seat, Word, Words},
    threads::{self, Jobs, Lookup, Projection, Report, Threads},
};
use engine::{Engine, EngineError, EngineUrl, Place, Settings};
use net::{
    admin::Admin,
    announce, clock,
    control::{Control, Reload},
    ids,
    shutdown::Shutdown,
    trunk::{Handler, Identity, Server},
    worker::{Door, Listening, Worker},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    io,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use stdx::{
    Moment,
    fault::{self, Point},
};
use tokio::{
    sync::{Notify, mpsc},
    task,
};
use wire::{Call, PartitionId, Reply};

/// How often a node looks for holds whose time is up: so late they may be let go.
const EXPIRY_PERIOD: Duration = Duration::from_millis(250);

/// Serves until `shutdown`, then drains. An error ends the process with exit code 1: whatever was
/// in flight has an unknown outcome, and the next process reads from disk what became of it.
pub fn run(
    config: AccountConfig,
    shutdown: Shutdown,
    reload: Reload<AccountConfig>,
) -> io::Result<()> {
    let listening = Listening::bind(Door::Trunk, config.trunk)?;
    let config = AccountConfig { trunk: listening.local_addr()?, ..config };
    let listening = vec![listening];
    let status = Arc::new(Status::new(&config));
    let control = Arc::new(Control::new(1, reload));
    let controls = Arc::clone(&control) as _;
    let admin = Admin::start(config.node.admin, Arc::clone(&status) as _, controls)?;
    config.node.watched.set(Arc::clone(&status) as _, Arc::clone(&control) as _);
    let details = announce::details(&listening, admin.addr())?;
    net::worker::run(listening, 1, &shutdown, async |worker| {
        serve(&config, worker, &status, &control, &details).await
    })
}

async fn serve(
    config: &AccountConfig,
    mut worker: Worker,
    status: &Arc<Status>,
    control: &Control<AccountConfig>,
    details: &str,
) -> io::Result<()> {
    let common = Rc::new(Common::new(config, status));
    // They are left when this ends, not before.
    let engines = open(config).map_err(io::Error::other)?;
    let (mut nodes, mut inboxes, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    for (place, engine) in engines.iter().enumerate() {
        let (reports, inbox) = mpsc::unbounded_channel();
        let seat = Seat {
            name: Arc::clone(&config.node.name),
            roster: config.roster.clone(),
            status: Arc::clone(status),
            place: (place, engines.len()),
        };
        let (node, of) = config.place;
        let projector = (node * engines.len() + place, of * engines.len());
        let started = threads::start(engine.as_ref(), common.service, seat, projector, &reports);
        let (jobs, started) = started.map_err(io::Error::other)?;
        // The threads hold the other ends: when all have ended, so does the inbox.
        nodes.push(Rc::new(Node::new(&common, place, jobs)));
        inboxes.push(inbox);
        threads.push(started);
    }
    let words: Vec<Words> = nodes.iter().filter_map(|node| node.words()).collect();
    status.set_words(words.clone());

    let front = Rc::new(Front { nodes: nodes.clone() });
    let server = Server::new(Identity::of(&config.node), front as Rc<dyn Handler>);
    for (node, inbox) in nodes.iter().zip(&mut inboxes) {
        node.settle(inbox, &server).await.map_err(io::Error::other)?;
    }
    let reporter = Rc::clone(&common);
    server.set_load(Rc::new(move || reporter.intake.report()));
    announce::ready(&config.node.name, details)?;
    status.set_ready(true);

    let drain_max = Rc::new(Cell::new(config.node.drain_max));
    let post = Post {
        server: server.clone(),
        drain_max: Rc::clone(&drain_max),
        emptied: Rc::clone(&common.emptied),
        is_leaving: Rc::default(),
        words,
    };
    drop(task::spawn_local(control.orders(worker.index).obey(post)));
    let pumps = nodes.iter().map(|node| task::spawn_local(Rc::clone(node).pump(server.clone())));
    let expirers = nodes.iter().map(|node| task::spawn_local(Rc::clone(node).let_go()));
    let pumps: Vec<_> = pumps.chain(expirers).collect();
    let mut shutdown = worker.shutdown.clone();
    let failed = tokio::select! {
        () = shutdown.requested() => None,
        why = carry_all(&nodes, &mut inboxes, &server) => Some(why),
        () = accept(&mut worker, &server) => None,
    };
    if let Some(why) = failed {
        return Err(io::Error::other(why));
    }
    status.set_ready(false);
    control.ending();
    let drained = tokio::select! {
        () = leave_and_drain(&nodes, &common, &server, drain_max.get()) => Ok(()),
        why = carry_all(&nodes, &mut inboxes, &server) => Err(io::Error::other(why)),
    };
    pumps.iter().for_each(task::JoinHandle::abort);
    drained?;
    for ((node, threads), inbox) in nodes.iter().zip(threads).zip(inboxes) {
        finish(node, threads, inbox).await?;
    }
    Ok(())
}

/// Takes in what all threads report, until one of them cannot go on: then, why.
async fn carry_all(
    nodes: &[Rc<Node>],
    inboxes: &mut [mpsc::UnboundedReceiver<Report>],
    server: &Server,
) -> String {
    let carriers = nodes.iter().zip(inboxes).map(|(node, inbox)| node.carry(inbox, server));
    let mut carriers: Vec<_> = carriers.map(Box::pin).collect();
    poll_fn(|context| {
        let ended = carriers.iter_mut().map(|it| it.as_mut().poll(context));
        ended.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

/// Gives all partitions to others, if there are any, then lets the peers go.
async fn leave_and_drain(
    nodes: &[Rc<Node>],
    common: &Common,
    server: &Server,
    drain_max: Duration,
) {
    let begun = clock::now();
    for words in nodes.iter().filter_map(|node| node.words()) {
        words.tell(Word::Leaving(true));
    }
    let emptied = async {
        while !common.emptied.get() {
            common.stirred_empty.notified().await;
        }
    };
    if tokio::time::timeout(drain_max / 2, emptied).await.is_err() {
        tracing::warn!("not all partitions were given: they are taken when this node ends");
    }
    server.drain(drain_max.saturating_sub(clock::now().since(begun))).await;
}

async fn accept(worker: &mut Worker, server: &Server) {
    while let Some(accepted) = worker.accept().await {
        server.serve(accepted.stream, accepted.permit);
    }
    // No further connection can come: the drain is being asked for.
    std::future::pending::<()>().await;
}

/// Lets the threads finish what they have, the projector above all.
async fn finish(
    node: &Node,
    threads: Threads,
    mut inbox: mpsc::UnboundedReceiver<Report>,
) -> io::Result<()> {
    if let Some(jobs) = node.jobs.take() {
        jobs.leases.tell(Word::End);
    }
    threads.wake();
    while let Some(report) = inbox.recv().await {
        if let Report::Fatal(why) = report {
            return Err(io::Error::other(why));
        }
    }
    threads.join()
}

fn open(config: &AccountConfig) -> Result<Vec<Box<dyn Engine>>, EngineError> {
    let of = config.engines.len();
    let open = |(at, url): (usize, &EngineUrl)| {
        let settings = Settings {
            service: config.service.clone(),
            partitions: config.partitions,
            place: Place::new(at, of),
            node: config.node.name.to_string(),
            trunk: config.trunk,
            node_id: ids::boot_id(),
            incarnation: (u128::from(ids::boot_id()) << 64) | u128::from(ids::boot_id()),
        };
        engine::open(url, &settings)
    };
    config.engines.iter().enumerate().map(open).collect()
}

/// The executor over one engine, and its shell.
pub(crate) struct Node {
    pub(crate) common: Rc<Common>,
    /// The engine's among those of the service.
    place: usize,
    executor: RefCell<Executor<Party>>,
    /// `None` once the node is about to end.
    jobs: RefCell<Option<Jobs>>,
    /// Told when the executor may have something to give.
    stirred: Notify,
    /// The commit thread waits for its turn, or writes.
    commit_busy: Cell<bool>,
    /// It waits for company first.
    is_pausing: Cell<bool>,
    pace: RefCell<Pace>,
    /// Callers of the look-ups that are under way; one set of look-ups runs at a time.
    looking_up: RefCell<Option<Vec<Asker<Party>>>>,
    /// The last look-ups were such as commands wait for.
    has_found: Cell<bool>,
    asked: RefCell<BTreeMap<u64, Party>>,
    question_next: Cell<u64>,
    answers: RefCell<Vec<(Party, Reply)>>,
}

impl Node {
    fn new(common: &Rc<Common>, place: usize, jobs: Jobs) -> Node {
        let mut executor = Executor::new(common.service, common.partitions, ACCOUNTS_MAX);
        executor.only_if(Party::is_wanted);
        // Where reads need confirmation, the engine is a process of its own.
        let is_far = jobs.confirms.is_some();
        if is_far {
            executor.confirm_reads();
        }
        Node {
            common: Rc::clone(common),
            place,
            executor: RefCell::new(executor),
            jobs: RefCell::new(Some(jobs)),
            stirred: Notify::new(),
            commit_busy: Cell::new(false),
            is_pausing: Cell::new(false),
            pace: RefCell::new(Pace::new(is_far)),
            looking_up: RefCell::default(),
            has_found: Cell::default(),
            asked: RefCell::default(),
            question_next: Cell::new(0),
            answers: RefCell::default(),
        }
    }

    pub(crate) fn arrive(
        &self,
        asker: Party,
        now: Moment,
        time_left: Duration,
        place: (PartitionId, u16),
        call: Call,
    ) {
        self.executor.borrow_mut().arrive(asker, now, time_left, place, call);
        self.stirred.notify_one();
    }

    /// Takes in what the lease thread brings first: what is at home here.
    async fn settle(
        &self,
        inbox: &mut mpsc::UnboundedReceiver<Report>,
        server: &Server,
    ) -> Result<(), String> {
        self.tell_owned(server); // Nothing, so far.
        loop {
            let Some(report) = inbox.recv().await else {
                return Err("its threads have ended".to_owned());
            };
            let has_settled = matches!(report, Report::Settled);
            self.take_in(report, server)?;
            self.give_out(server);
            if has_settled {
                return Ok(());
            }
        }
    }

    /// The way to the lease thread, while there is one.
    fn words(&self) -> Option<Words> {
        self.jobs.borrow().as_ref().map(|jobs| jobs.leases.clone())
    }

    fn own(&self, executor: &mut Executor<Party>, taken: Taken) {
        let Taken { partition, unprojected } = taken;
        let commands = unprojected.iter().map(|(record, _)| record.items.len()).sum();
        let (id, epoch, seq) = (partition.id().0, partition.epoch().0, partition.chain().seq.0);
        tracing::info!(partition = id, epoch, seq, replayed = unprojected.len(), "owner");
        if let (false, Some(jobs)) = (unprojected.is_empty(), &*self.jobs.borrow()) {
            // An error means that the projector has ended, and has said why.
            drop(jobs.projections.send(Projection::Records(unprojected)));
        }
        executor.own(partition, commands);
    }

    fn tell_owned(&self, server: &Server) {
        let executor = self.executor.borrow();
        let mut owned = self.common.owned.borrow_mut();
        owned[self.place] = executor.owned();
        server.set_owner_map(owned.concat());
        self.common.status.set_owned(self.place, executor.partitions());
    }

    /// Gives the executor's jobs and answers out whenever there may be some. Everybody who is
    /// ready goes first, so that one batch takes what all of them brought.
    async fn pump(self: Rc<Node>, server: Server) {
        loop {
            self.stirred.notified().await;
            task::yield_now().await;
            self.give_out(&server);
        }
    }

    /// Looks now and then for holds whose time is up.
    async fn let_go(self: Rc<Node>) {
        loop {
            tokio::time::sleep(EXPIRY_PERIOD).await;
            if self.executor.borrow_mut().look_for_due(clock::wall()) {
                self.stirred.notify_one();
            }
        }
    }

    /// Takes in what the threads report, until one of them cannot go on: then, why.
    async fn carry(&self, inbox: &mut mpsc::UnboundedReceiver<Report>, server: &Server) -> String {
        loop {
            let report = tokio::select! {
                report = inbox.recv() => report,
                () = self.lose_patience() => {
                    self.give_out(server);
                    continue;
                }
            };
            let Some(report) = report else { return "its threads have ended".to_owned() };
            if let Err(why) = self.take_in(report, server) {
                return why;
            }
            self.give_out(server);
        }
    }

    /// Waits until the engine has been away for too long, and tells those who wait for it.
    async fn lose_patience(&self) {
        let ends = self.executor.borrow().patience_ends();
        let Some(ends) = ends else { return std::future::pending().await };
        tokio::time::sleep(ends.since(clock::now())).await;
        self.executor.borrow_mut().lose_patience(clock::now());
    }

    fn take_in(&self, report: Report, server: &Server) -> Result<(), String> {
        let mut executor = self.executor.borrow_mut();
        match report {
            Report::Turn => {
                executor.engine_back(Way::Commit);
                self.is_pausing.set(false);
                if let Some(jobs) = &*self.jobs.borrow() {
                    let now = clock::now();
                    self.pace.borrow_mut().began(now);
                    let writes = executor.stage(now, clock::wall());
                    drop(jobs.commits.send(Commit::Batch(writes)));
                }
            }
            Report::Ended(endings) => {
                self.commit_busy.set(false);
                self.pace.borrow_mut().ended(executor.waiting_count());
                self.common.status.commit_ended(self.place);
                let records = executor.ended(&endings);
                if endings.contains(&Ending::Fenced) {
                    tracing::error!("another node owns a partition of ours: it is given up");
                }
                if let (false, Some(jobs)) = (records.is_empty(), &*self.jobs.borrow()) {
                    // If it has ended, it says why.
                    drop(jobs.projections.send(Projection::Records(records)));
                }
            }
            Report::Away(way) => executor.engine_away(way, clock::now()),
            Report::Doubt => executor.doubt(clock::now()),
            Report::Confirmed(ours) => executor.confirmed(ours.as_deref()),
            Report::Found(wanted, found) => {
                let callers = self.looking_up.take().unwrap_or_default();
                let taken = executor.found(wanted, callers, found);
                taken.map_err(|err| format!("the views are damaged: {}", err.0))?;
            }
            Report::Scanned(scan) => {
                self.looking_up.take();
                executor.scanned(scan);
            }
            Report::Answered(number, reply) => {
                executor.question_answered();
                let asker = self.asked.borrow_mut().remove(&number);
                if let Some(asker) = asker {
                    // How long a history takes says nothing of commands.
                    self.answer(clock::now(), asker, reply, false);
                }
            }
            Report::Projected(marks, commands) => {
                executor.projected(&marks, commands);
                self.common.status.set_owned(self.place, executor.partitions());
            }
            Report::Taken(taken) => self.own(&mut executor, taken),
            Report::Close(partition, epoch) => executor.close(partition, epoch),
            Report::Settled => (),
            Report::Emptied(is_empty) => {
                // Whoever comes with something all the same had better look elsewhere.
                server.turn_away(self.common.set_empty(self.place, is_empty));
            }
            Report::Fatal(why) => return Err(why),
        }
        Ok(())
    }

    fn give_out(&self, server: &Server) {
        let mut executor = self.executor.borrow_mut();
        if executor.take_changed() {
            drop(executor);
            self.tell_owned(server);
            executor = self.executor.borrow_mut();
        }
        let jobs = self.jobs.borrow();
        let Some(jobs) = &*jobs else { return };
        // A thread that has ended takes no job, and has said why.
        self.ask_turn(jobs, &executor);
        if self.looking_up.borrow().is_none()
            && let Some((lookup, callers)) = self.next_lookup(&mut executor)
        {
            self.looking_up.replace(Some(callers));
            drop(jobs.lookups.send(lookup));
        }
        if let Some(confirms) = &jobs.confirms
            && let Some(held) = executor.take_confirm(clock::now())
        {
            drop(confirms.send(held));
        }
        for Ended { partition, epoch, was_here } in executor.take_ended() {
            if was_here {
                drop(jobs.projections.send(Projection::Left(partition)));
            }
            jobs.leases.tell(Word::Ended(partition, epoch));
        }
        for (asker, deadline, question) in executor.take_questions() {
            let number = self.question_next.get();
            self.question_next.set(number + 1);
            self.asked.borrow_mut().insert(number, asker);
            drop(jobs.questions.send((number, deadline, question)));
        }
        let mut answers = self.answers.borrow_mut();
        executor.take_answers(&mut answers);
        if !answers.is_empty() {
            fault::passed(Point::BeforeAnswer);
        }
        let now = clock::now();
        for (asker, reply) in answers.drain(..) {
            self.answer(now, asker, reply, true);
        }
        self.common.status.update(self.place, &executor, self.common.intake.shed_count());
    }

    /// Asks for this node's turn to commit when there is something to decide, after a wait for
    /// company that ends when all are here.
    fn ask_turn(&self, jobs: &Jobs, executor: &Executor<Party>) {
        let (pace, waiting) = (self.pace.borrow(), executor.waiting_count());
        if !self.commit_busy.get() && executor.has_ready() {
            let now = clock::now();
            let wait = pace.wait(now, waiting);
            self.commit_busy.set(true);
            self.is_pausing.set(!wait.is_zero());
            self.common.status.commit_began(self.place, now);
            drop(jobs.commits.send(Commit::Turn(wait)));
        } else if self.is_pausing.get() && pace.is_complete(waiting) {
            self.is_pausing.set(false);
            drop(jobs.commits.send(Commit::Hurry));
        }
    }

    /// What the views are asked next: in turn what commands wait for and a part of all keys.
    fn next_lookup(&self, executor: &mut Executor<Party>) -> Option<(Lookup, Vec<Asker<Party>>)> {
        let scan = |part| (Lookup::Scan(part), Vec::new());
        let is_turn_of_scan = self.has_found.take();
        if is_turn_of_scan && let Some(part) = executor.take_scan() {
            return Some(scan(part));
        }
        match executor.take_lookups() {
            Some((wanted, callers)) => {
                self.has_found.set(true);
                Some((Lookup::Find(wanted), callers))
            }
            None => executor.take_scan().map(scan),
        }
    }

    /// `is_short`: how long it took says something of how much fits.
    fn answer(&self, now: Moment, asker: Party, reply: Reply, is_short: bool) {
        let (caller, reply) = match asker {
            Party::One(caller) => (caller, reply),
            Party::Many(round) => match round.add(reply) {
                Some(all) => all,
                None => return,
            },
        };
        // How long a batch takes says nothing of single commands.
        let counts = is_short && !matches!(reply, Reply::Failed(_) | Reply::Batch(_));
        self.common.intake.answered(now, caller.arrival, counts);
        self.common.send(caller.reply, &reply);
    }
}
