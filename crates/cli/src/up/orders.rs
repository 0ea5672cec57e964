//! Carries out what `tollgate node` asks for, and answers once the effect is reached.

use super::{
    child::log_tail,
    life::{Phase, Why},
    rotation::Place,
    supervisor::{DRAIN_GRACE, Supervisor},
};
use crate::{
    control::{Answer, Deed, LINE_BYTES_MAX, Order, SocketPath},
    data::Data,
    proc,
    terminal::tell,
};
use rustix::process::Signal;
use std::{fs, io, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};
use stdx::Moment;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
};

/// Commands that are connected at once; more wait in the socket's queue.
const CONNECTIONS_MAX: usize = 16;
/// A connected command says what it wants within this.
const ASK_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a node takes at most to hear that it is to leave the rotation or to come back.
const TURN_TIME_MAX: Duration = Duration::from_secs(12);
/// How long a process takes at most to stop or go on.
const PAUSE_TIME_MAX: Duration = Duration::from_secs(5);

/// An order, and where its answer goes.
#[derive(Debug)]
pub(super) struct Given {
    order: Order,
    reply: oneshot::Sender<Answer>,
}

/// What has to hold before an order is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Down,
    Ready,
    /// Out of rotation, with nothing left to finish.
    Drained,
    /// Back in rotation.
    Returned,
    Paused,
    Running,
}

/// An order that is under way.
#[derive(Debug)]
pub(super) struct Pending {
    index: usize,
    goal: Goal,
    end: Moment,
    /// An order to end that has lasted too long has been made a SIGKILL.
    is_forced: bool,
    reply: Option<oneshot::Sender<Answer>>,
}

impl Pending {
    /// When to look again: a pause is not announced by anybody, so it is looked at often.
    pub(super) fn due(&self, now: Moment, look_every: Duration) -> Moment {
        match self.goal {
            // Their effects are announced.
            Goal::Down | Goal::Ready | Goal::Drained | Goal::Returned => self.end,
            Goal::Paused | Goal::Running => now + look_every,
        }
    }
}

/// What an order comes to at first.
enum Start {
    /// It held already.
    Held,
    Pending(Goal, Moment),
    Refused(String, Option<String>),
}

/// Serves the control socket of a folder that is ours alone.
pub(super) fn listen(data: &Data, orders: mpsc::Sender<Given>) -> io::Result<()> {
    let socket = SocketPath::of(data)?;
    match fs::remove_file(&socket.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&socket.path)?;
    fs::set_permissions(&socket.path, fs::Permissions::from_mode(0o600))?;
    tokio::spawn(accept(listener, orders));
    Ok(())
}

async fn accept(listener: UnixListener, orders: mpsc::Sender<Given>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: the next one may have better luck.
                tell!("control socket: {error}");
                tokio::time::sleep(ASK_TIME_MAX).await;
                continue;
            }
        };
        let orders = orders.clone();
        tokio::spawn(async move {
            // A command that has gone away needs no answer.
            drop(converse(stream, orders).await);
            drop(place);
        });
    }
}

async fn converse(mut stream: UnixStream, orders: mpsc::Sender<Given>) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(LINE_BYTES_MAX as u64));
    tokio::time::timeout(ASK_TIME_MAX, reader.read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(order) => {
            let (reply, answer) = oneshot::channel();
            drop(orders.send(Given { order, reply }).await);
            answer.await.unwrap_or_else(|_| Answer::refused("the tree has ended", None))
        }
        Err(error) => Answer::refused(format!("no order: {error}"), None),
    };
    let answer = serde_json::to_string(&answer).map_err(io::Error::other)?;
    writer.write_all((answer + "\n").as_bytes()).await
}

impl Supervisor {
    /// Begins an order.
    pub(super) fn take(&mut self, given: Given) {
        let Given { order, reply } = given;
        if self.is_draining {
            let hint = "start the tree again with `tollgate up`".to_owned();
            return answer(reply, Answer::refused("the tree is being drained", Some(hint)));
        }
        let order = match order {
            Order::Node(order) => order,
            Order::Reload(order) => return self.begin_reload(&order, reply),
        };
        let Some(index) = self.place(&order.node) else {
            return answer(reply, self.unknown(&order.node));
        };
        let start = match order.verb {
            Deed::Kill => self.begin_down(index, Why::Killed),
            Deed::Stop => self.begin_down(index, Why::Stopped),
            Deed::Start => self.begin_start(index),
            Deed::Drain => self.begin_drain(index),
            Deed::Pause => self.begin_pause(index),
            Deed::Resume => self.begin_resume(index),
        };
        match start {
            Start::Held => answer(reply, self.done(index, false)),
            Start::Refused(message, hint) => answer(reply, Answer::refused(message, hint)),
            Start::Pending(goal, end) => {
                self.pending.push(Pending {
                    index,
                    goal,
                    end,
                    is_forced: false,
                    reply: Some(reply),
                });
            }
        }
    }

    fn begin_down(&mut self, index: usize, why: Why) -> Start {
        let is_down = matches!(self.nodes[index].life.phase(), Phase::Down(_));
        self.order_down(index, why);
        if is_down { Start::Held } else { Start::Pending(Goal::Down, self.drain_end(index)) }
    }

    fn begin_start(&mut self, index: usize) -> Start {
        let node = &self.nodes[index];
        let end = net::clock::now() + super::life::READY_MAX;
        if node.is_paused && node.process.is_some() {
            let hint = format!("let it go on with `tollgate node {} resume`", node.name);
            return Start::Refused(format!("{} is paused", node.name), Some(hint));
        }
        match node.life.phase() {
            Phase::Ready { .. } => return self.begin_return(index),
            Phase::Starting { .. } => {}
            Phase::Ending(_) => {
                let hint = "try again when it is down".to_owned();
                return Start::Refused(format!("{} is still draining", node.name), Some(hint));
            }
            Phase::Down(_) | Phase::Waiting { .. } => self.start(index),
        }
        Start::Pending(Goal::Ready, end)
    }

    fn begin_return(&mut self, index: usize) -> Start {
        if self.nodes[index].rotation.place == Place::In {
            return Start::Held;
        }
        self.turn(index, false);
        Start::Pending(Goal::Returned, net::clock::now() + TURN_TIME_MAX)
    }

    fn begin_drain(&mut self, index: usize) -> Start {
        let node = &self.nodes[index];
        if node.is_paused {
            let hint = format!("let it go on with `tollgate node {} resume`", node.name);
            return Start::Refused(format!("{} is paused", node.name), Some(hint));
        }
        match node.life.phase() {
            Phase::Ready { .. } => {}
            Phase::Starting { .. } | Phase::Waiting { .. } => {
                let hint = "try again when it is ready".to_owned();
                return Start::Refused(format!("{} is still starting", node.name), Some(hint));
            }
            Phase::Down(_) | Phase::Ending(_) => return not_running(&node.name),
        }
        match node.rotation.place {
            Place::Out => return Start::Held,
            Place::Leaving => {}
            Place::In | Place::Returning | Place::Stuck(_) => self.turn(index, true),
        }
        Start::Pending(Goal::Drained, self.drain_end(index) + TURN_TIME_MAX)
    }

    fn begin_pause(&mut self, index: usize) -> Start {
        let node = &mut self.nodes[index];
        let Some(process) = &node.process else { return not_running(&node.name) };
        if node.is_paused {
            return Start::Held;
        }
        process.signal(Signal::STOP);
        node.is_paused = true;
        Start::Pending(Goal::Paused, net::clock::now() + PAUSE_TIME_MAX)
    }

    fn begin_resume(&mut self, index: usize) -> Start {
        let node = &mut self.nodes[index];
        let Some(process) = &node.process else {
            if node.is_paused {
                // Its process was ended meanwhile.
                self.start(index);
                return Start::Pending(Goal::Ready, net::clock::now() + super::life::READY_MAX);
            }
            return not_running(&node.name);
        };
        if !node.is_paused {
            return Start::Held;
        }
        process.signal(Signal::CONT);
        node.is_paused = false;
        Start::Pending(Goal::Running, net::clock::now() + PAUSE_TIME_MAX)
    }

    /// Answers every order whose effect is reached, or cannot be reached any more.
    pub(super) fn settle_orders(&mut self) {
        let now = net::clock::now();
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain_mut(|it| match self.look_at(it, now) {
            Some(text) => {
                if let Some(reply) = it.reply.take() {
                    answer(reply, text);
                }
                false
            }
            None => true,
        });
        self.pending = pending;
    }

    fn look_at(&self, it: &mut Pending, now: Moment) -> Option<Answer> {
        let node = &self.nodes[it.index];
        let stops = |wanted: bool| {
            let pid = node.process.as_ref().map(|process| process.pid);
            pid.is_none_or(|pid| proc::is_stopped(pid) == wanted)
        };
        let is_reached = match it.goal {
            Goal::Down => node.process.is_none(),
            Goal::Ready => matches!(node.life.phase(), Phase::Ready { .. }),
            Goal::Drained => node.rotation.place == Place::Out,
            Goal::Returned => node.rotation.place == Place::In,
            Goal::Paused => stops(true),
            Goal::Running => stops(false),
        };
        if is_reached {
            return Some(self.done(it.index, true));
        }
        if let (Goal::Drained | Goal::Returned, Place::Stuck(why)) = (it.goal, &node.rotation.place)
        {
            return Some(Answer::refused(format!("{}: {why}", node.name), None));
        }
        if it.goal == Goal::Drained && !node.rotation.is_out() {
            let message = format!("{} was put back in rotation, or ended", node.name);
            return Some(Answer::refused(message, None));
        }
        let phase = node.life.phase();
        let is_failed = it.goal == Goal::Ready && !matches!(phase, Phase::Starting { .. });
        if is_failed {
            let message = format!("{} did not get ready: it is {}", node.name, node.text());
            let hint = format!(
                "the end of {}:\n{}",
                self.data.log(&node.name).display(),
                log_tail(&self.data, &node.name)
            );
            return Some(Answer::refused(message, Some(hint)));
        }
        if now < it.end {
            return None;
        }
        if it.goal == Goal::Down && !it.is_forced {
            tell!("{} does not drain in time: killed", node.name);
            if let Some(process) = &node.process {
                process.signal(Signal::KILL);
            }
            it.is_forced = true;
            it.end = now + DRAIN_GRACE;
            return None;
        }
        Some(Answer::refused(format!("{} is still {}", node.name, node.text()), None))
    }

    fn done(&self, index: usize, changed: bool) -> Answer {
        let node = &self.nodes[index];
        Answer::Done {
            node: node.name.clone(),
            state: node.text().to_owned(),
            pid: node.process.as_ref().map(|it| it.pid),
            changed,
        }
    }
}

impl Supervisor {
    /// The place of a node that is of the tree.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|it| it.name == name && !it.is_removed)
    }

    /// The refusal of an order for a node that there is not.
    pub(super) fn unknown(&self, name: &str) -> Answer {
        let present = self.nodes.iter().filter(|it| !it.is_removed);
        let names: Vec<&str> = present.map(|it| it.name.as_str()).collect();
        let hint = format!("the nodes are {}", names.join(", "));
        Answer::refused(format!("no node is called {name:?}"), Some(hint))
    }
}

fn not_running(name: &str) -> Start {
    let hint = format!("start it with `tollgate node {name} start`");
    Start::Refused(format!("{name} is not running"), Some(hint))
}

pub(super) fn answer(reply: oneshot::Sender<Answer>, answer: Answer) {
    // A command that was interrupted does not wait for it.
    drop(reply.send(answer));
}
