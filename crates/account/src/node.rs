//! The shell of an account node: one thread that carries calls between trunk and executor, and
//! jobs and reports between the executor and the threads that may block.

use crate::{
    AccountConfig,
    commits::Commit,
    executor::{ACCOUNTS_MAX, Ended, Ending, Executor, Way},
    gathering::Asker,
    intake::Intake,
    load::Taken,
    post::Post,
    status::Status,
    steward::{Seat, Word, Words},
    threads::{self, Jobs, Projection, Report, Threads},
};
use balance::Arrival;
use engine::{Engine, EngineError, Settings};
use net::{
    admin::Admin,
    announce, clock,
    control::{Control, Reload},
    ids,
    shutdown::Shutdown,
    trunk::{Handler, Identity, ReplyTo, Server},
    worker::{Door, Listening, Worker},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use stdx::Moment;
use tokio::{
    sync::{Notify, mpsc},
    task,
};
use wire::{
    Call, Reply, ServiceTag,
    call::Failure,
    frame::{RequestRef, ResponseRef, Target},
};

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
    let service = ServiceTag::of(&config.service);
    let engine = open(config).map_err(io::Error::other)?;
    let (reports, mut inbox) = mpsc::unbounded_channel();
    let (name, roster) = (Arc::clone(&config.node.name), config.roster.clone());
    let seat = Seat { name, roster, status: Arc::clone(status) };
    let started = threads::start(engine.as_ref(), service, seat, &reports);
    let (jobs, threads) = started.map_err(io::Error::other)?;
    drop(reports); // The threads hold the rest: when all have ended, so does the inbox.
    status.set_words(jobs.leases.clone());

    let node = Rc::new(Node::new(config, service, jobs, Arc::clone(status)));
    let server = Server::new(Identity::of(&config.node), Rc::clone(&node) as Rc<dyn Handler>);
    node.settle(&mut inbox, &server).await.map_err(io::Error::other)?;
    let reporter = Rc::clone(&node);
    server.set_load(Rc::new(move || reporter.intake.report()));
    announce::ready(&config.node.name, details)?;
    status.set_ready(true);

    let drain_max = Rc::new(Cell::new(config.node.drain_max));
    let post = Post {
        server: server.clone(),
        drain_max: Rc::clone(&drain_max),
        emptied: Rc::clone(&node.emptied),
        is_leaving: Rc::default(),
        words: node.words(),
    };
    drop(task::spawn_local(control.orders(worker.index).obey(post)));
    let pump = task::spawn_local(Rc::clone(&node).pump(server.clone()));
    let mut shutdown = worker.shutdown.clone();
    let failed = tokio::select! {
        () = shutdown.requested() => None,
        why = node.carry(&mut inbox, &server) => Some(why),
        () = accept(&mut worker, &server) => None,
    };
    if let Some(why) = failed {
        return Err(io::Error::other(why));
    }
    status.set_ready(false);
    control.ending();
    let drained = tokio::select! {
        () = node.leave_and_drain(&server, drain_max.get()) => Ok(()),
        why = node.carry(&mut inbox, &server) => Err(io::Error::other(why)),
    };
    pump.abort();
    drained?;
    finish(&node, threads, inbox).await
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
    while let Some(report) = inbox.recv().await {
        if let Report::Fatal(why) = report {
            return Err(io::Error::other(why));
        }
    }
    threads.join()
}

fn open(config: &AccountConfig) -> Result<Box<dyn Engine>, EngineError> {
    let settings = Settings {
        service: config.service.clone(),
        partitions: config.partitions,
        place: 0,
        node: config.node.name.to_string(),
        trunk: config.trunk,
        node_id: ids::boot_id(),
        incarnation: (u128::from(ids::boot_id()) << 64) | u128::from(ids::boot_id()),
    };
    engine::open(&config.engine, &settings)
}

/// One call's way back.
#[derive(Debug)]
struct Caller {
    reply: ReplyTo,
    arrival: Arrival,
}

struct Node {
    name: Arc<str>,
    service: String,
    intake: Intake,
    executor: RefCell<Executor<Caller>>,
    /// `None` once the node is about to end.
    jobs: RefCell<Option<Jobs>>,
    /// Told when the executor may have something to give.
    stirred: Notify,
    /// The commit thread waits for its turn, or writes.
    commit_busy: Cell<bool>,
    /// Callers of the look-ups that are under way; one set of look-ups runs at a time.
    looking_up: RefCell<Option<Vec<Asker<Caller>>>>,
    /// It leaves, and has nothing left that anybody could take over.
    emptied: Rc<Cell<bool>>,
    /// Told when that changes.
    stirred_empty: Notify,
    asked: RefCell<BTreeMap<u64, Caller>>,
    question_next: Cell<u64>,
    /// Reused for every answer's bytes.
    bytes: RefCell<Vec<u8>>,
    answers: RefCell<Vec<(Caller, Reply)>>,
    status: Arc<Status>,
}

impl Handler for Node {
    fn request(&self, request: RequestRef<'_>, reply: ReplyTo) {
        let now = clock::now();
        let Some(arrival) = self.intake.admit(now) else {
            return self.send(reply, &Reply::Failed(Failure::Overloaded));
        };
        let caller = Caller { reply, arrival };
        let Target::Ledger { service, partition, partitions } = request.target else {
            return self.answer(now, caller, &Reply::Failed(Failure::Malformed));
        };
        let call = match Call::decode(request.body) {
            Ok(call) if service == self.service => call,
            Ok(_) => return self.answer(now, caller, &Reply::Failed(Failure::Malformed)),
            Err(flaw) => {
                tracing::warn!(%flaw, "a call makes no sense");
                return self.answer(now, caller, &Reply::Failed(Failure::Malformed));
            }
        };
        let time_left = Duration::from_millis(request.deadline_ms.into());
        let place = (partition, partitions);
        self.executor.borrow_mut().arrive(caller, now, time_left, place, call);
        self.stirred.notify_one();
    }
}

impl Node {
    fn new(config: &AccountConfig, service: ServiceTag, jobs: Jobs, status: Arc<Status>) -> Node {
        let mut executor = Executor::new(service, config.partitions, ACCOUNTS_MAX);
        executor.only_if(|caller: &Caller| caller.reply.is_wanted());
        if jobs.confirms.is_some() {
            executor.confirm_reads();
        }
        Node {
            name: Arc::clone(&config.node.name),
            service: config.service.clone(),
            intake: Intake::new(),
            executor: RefCell::new(executor),
            jobs: RefCell::new(Some(jobs)),
            stirred: Notify::new(),
            commit_busy: Cell::new(false),
            looking_up: RefCell::default(),
            emptied: Rc::default(),
            stirred_empty: Notify::new(),
            asked: RefCell::default(),
            question_next: Cell::new(0),
            bytes: RefCell::default(),
            answers: RefCell::default(),
            status,
        }
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

    /// Gives all partitions to others, if there are any, then lets the peers go.
    async fn leave_and_drain(&self, server: &Server, drain_max: Duration) {
        let begun = clock::now();
        if let Some(words) = self.words() {
            words.tell(Word::Leaving(true));
            let emptied = async {
                while !self.emptied.get() {
                    self.stirred_empty.notified().await;
                }
            };
            if tokio::time::timeout(drain_max / 2, emptied).await.is_err() {
                tracing::warn!("not all partitions were given: they are taken when this node ends");
            }
        }
        server.drain(drain_max.saturating_sub(clock::now().since(begun))).await;
    }

    /// The way to the lease thread, while there is one.
    fn words(&self) -> Option<Words> {
        self.jobs.borrow().as_ref().map(|jobs| jobs.leases.clone())
    }

    fn own(&self, executor: &mut Executor<Caller>, taken: Taken) {
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
        server.set_owner_map(executor.owned());
        self.status.set_owned(executor.partitions());
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
                if let Some(jobs) = &*self.jobs.borrow() {
                    let writes = executor.stage(clock::now(), clock::wall());
                    drop(jobs.commits.send(Commit::Batch(writes)));
                }
            }
            Report::Ended(endings) => {
                self.commit_busy.set(false);
                self.status.commit_ended();
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
            Report::Answered(number, reply) => {
                executor.question_answered();
                let caller = self.asked.borrow_mut().remove(&number);
                if let Some(caller) = caller {
                    // How long a history takes says nothing of commands.
                    self.intake.answered(clock::now(), caller.arrival, false);
                    self.send(caller.reply, &reply);
                }
            }
            Report::Projected(marks, commands) => {
                executor.projected(&marks, commands);
                self.status.set_owned(executor.partitions());
            }
            Report::Taken(taken) => self.own(&mut executor, taken),
            Report::Close(partition, epoch) => executor.close(partition, epoch),
            Report::Settled => (),
            Report::Emptied(is_empty) => {
                self.emptied.set(is_empty);
                self.stirred_empty.notify_one();
                // Whoever comes with something all the same had better look elsewhere.
                server.turn_away(is_empty);
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
        if !self.commit_busy.get() && executor.has_ready() {
            self.commit_busy.set(true);
            self.status.commit_began(clock::now());
            drop(jobs.commits.send(Commit::Turn));
        }
        if self.looking_up.borrow().is_none()
            && let Some((wanted, callers)) = executor.take_lookups()
        {
            self.looking_up.replace(Some(callers));
            drop(jobs.lookups.send(wanted));
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
        for (caller, deadline, question) in executor.take_questions() {
            let number = self.question_next.get();
            self.question_next.set(number + 1);
            self.asked.borrow_mut().insert(number, caller);
            drop(jobs.questions.send((number, deadline, question)));
        }
        let mut answers = self.answers.borrow_mut();
        executor.take_answers(&mut answers);
        let now = clock::now();
        for (caller, reply) in answers.drain(..) {
            self.answer(now, caller, &reply);
        }
        self.status.update(&executor, self.intake.shed_count());
    }

    fn answer(&self, now: Moment, caller: Caller, reply: &Reply) {
        // How long a batch takes says nothing of single commands.
        let counts = !matches!(reply, Reply::Failed(_) | Reply::Batch(_));
        self.intake.answered(now, caller.arrival, counts);
        self.send(caller.reply, reply);
    }

    fn send(&self, to: ReplyTo, reply: &Reply) {
        let mut bytes = self.bytes.borrow_mut();
        bytes.clear();
        reply.encode(&mut bytes);
        to.send(ResponseRef::new(200, &self.name, &bytes));
    }
}
