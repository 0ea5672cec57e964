//! The lease thread's end of the engine: who is there, who owns what, taking and giving.
//!
//! A death wakes it at once, by the kernel's handle on the process; a bell does, which is a touch
//! of this node's lock file that inotify tells of. Both are hints: what counts is read anew.

use crate::{
    engine::{Bell, Claim, Registry, Tenure},
    error::EngineError,
    sqlite::{
        files::{Files, Mode, corrupt, sql},
        member::{self, Member},
        pulse::{self, Card, Pulse},
        take,
        turnstile::{self, Turnstile},
    },
};
use lease::{Holding, NodeId, Sign, Survey};
use rusqlite::{Connection, params};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{AtFlags, CWD, Timestamps, UTIME_NOW, inotify, utimensat},
    io::Errno,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use wire::{Epoch, PartitionId};

/// How soon to look again at a node that ended and still has its lock: the kernel is not done.
const ENDING_WAIT: Duration = Duration::from_millis(2);

pub(crate) struct SqliteRegistry {
    files: Files,
    path: PathBuf,
    connection: Connection,
    turnstile: Turnstile,
    node_id: i64,
    pulse: Pulse,
    /// `None` where the kernel has none to give: then the longest wait is the usual one.
    bell: Option<OwnedFd>,
    /// The processes of the other nodes that live.
    processes: BTreeMap<i64, OwnedFd>,
    /// A process has ended; whether its lock is free is to be seen.
    is_ending: bool,
}

impl SqliteRegistry {
    pub(crate) fn open(files: &Files, member: &Member) -> Result<SqliteRegistry, EngineError> {
        let bell = hear(&files.node_lock(member.node_id));
        if let Err(error) = &bell {
            tracing::warn!(%error, "no inotify: moves of partitions take a little longer");
        }
        Ok(SqliteRegistry {
            files: files.clone(),
            path: files.journal(),
            connection: files.open_journal(Mode::Write)?,
            turnstile: Turnstile::open(&files.folder, turnstile::JOURNAL)?,
            node_id: member.node_id,
            pulse: member.pulse.handle(),
            bell: bell.ok(),
            processes: BTreeMap::new(),
            is_ending: false,
        })
    }

    fn members(&mut self) -> Result<Vec<lease::Member>, EngineError> {
        let nodes = member::nodes(&self.connection).map_err(|error| sql(&self.path, &error))?;
        let mut members = Vec::with_capacity(nodes.len());
        let mut living = BTreeMap::new();
        for node in nodes {
            let card = Card::read(&self.files.node_lock(node.node_id));
            let is_me = node.node_id == self.node_id;
            let sign = match member::is_alive(&self.files, &node)? {
                false => Sign::Dead,
                true if is_me => Sign::Lively,
                true => self.pulse.sign(node.node_id),
            };
            #[cfg(debug_assertions)]
            let sign = self.believe_the_clock(node.node_id, sign)?;
            if sign != Sign::Dead && !is_me && node.pid != std::process::id() {
                let known = self.processes.remove(&node.node_id);
                if let Some(it) = known.or_else(|| pulse::process(node.pid, node.started)) {
                    living.insert(node.node_id, it);
                }
            }
            members.push(lease::Member {
                id: NodeId(node.node_id.unsigned_abs()),
                name: node.name.into(),
                sign,
                is_leaving: card.is_some_and(|it| it.is_leaving),
            });
        }
        self.processes = living;
        Ok(members)
    }

    /// A negative control: a node whose time has run out is declared gone, whatever its process
    /// does.
    #[cfg(debug_assertions)]
    fn believe_the_clock(&self, node_id: i64, sign: Sign) -> Result<Sign, EngineError> {
        use stdx::fault::{Mutant, has};
        if sign != Sign::Late || !has(Mutant::TakeOnTime) {
            return Ok(sign);
        }
        let gone = "UPDATE node SET state = 'gone' WHERE node_id = ?";
        self.connection.execute(gone, [node_id]).map_err(|error| sql(&self.path, &error))?;
        Ok(Sign::Dead)
    }

    fn holdings(&self) -> Result<Vec<Holding>, EngineError> {
        let select = "SELECT part.part_id, owner, epoch, node FROM part
                      LEFT JOIN pin ON pin.part_id = part.part_id ORDER BY part.part_id";
        let read = || {
            let mut statement = self.connection.prepare_cached(select)?;
            let mut rows = statement.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let owner: Option<i64> = row.get(1)?;
                let epoch: i64 = row.get(2)?;
                let pinned: Option<String> = row.get(3)?;
                found.push((row.get(0)?, owner, epoch, pinned));
            }
            Ok(found)
        };
        let rows: Vec<(u16, _, _, _)> = read().map_err(|error| sql(&self.path, &error))?;
        let holding =
            |(partition, owner, epoch, pinned): (u16, Option<i64>, i64, Option<String>)| {
                let number = |it: i64| {
                    u64::try_from(it)
                        .map_err(|_| corrupt(&self.path, "a fence row has a negative number"))
                };
                Ok(Holding {
                    partition: PartitionId(partition),
                    owner: owner.map(number).transpose()?.map(NodeId),
                    epoch: Epoch(number(epoch)?),
                    pinned: pinned.map(Into::into),
                })
            };
        rows.into_iter().map(holding).collect()
    }

    /// Rings for these nodes.
    fn ring(&self, nodes: impl Iterator<Item = i64>) {
        nodes.for_each(|node_id| ring(&self.files.node_lock(node_id)));
    }
}

impl Registry for SqliteRegistry {
    fn me(&self) -> NodeId {
        NodeId(self.node_id.unsigned_abs())
    }

    fn survey(&mut self) -> Result<Survey, EngineError> {
        // Owners first: an owner that joined since would otherwise seem to be nobody.
        let holdings = self.holdings()?;
        let members = self.members()?;
        self.is_ending = false;
        Ok(Survey { members, holdings })
    }

    /// A free lock is proof of a death, so nobody has to be suspected.
    fn suspects(&mut self) -> Vec<(NodeId, SocketAddr)> {
        Vec::new()
    }

    fn declare_gone(&mut self, _: NodeId) -> Result<bool, EngineError> {
        Ok(false)
    }

    fn take(&mut self, claims: &[Claim]) -> Result<Vec<Tenure>, EngineError> {
        let turn = self.turnstile.enter()?;
        let taken = take::take(&self.files, &mut self.connection, self.node_id, claims);
        drop(turn);
        // Whoever gave goes on with the next.
        self.ring(self.processes.keys().copied());
        taken
    }

    fn give(
        &mut self,
        partition: PartitionId,
        epoch: Epoch,
        to: NodeId,
    ) -> Result<bool, EngineError> {
        let to = to.0.cast_signed();
        let turn = self.turnstile.enter()?;
        let of = (partition, epoch);
        let given = take::give(&self.files, &self.connection, self.node_id, of, to);
        drop(turn);
        self.ring(std::iter::once(to));
        given
    }

    fn pin(&mut self, partition: PartitionId, node: Option<&str>) -> Result<(), EngineError> {
        let turn = self.turnstile.enter()?;
        let done = match node {
            Some(node) => self
                .connection
                .execute("INSERT OR REPLACE INTO pin VALUES (?, ?)", params![partition.0, node]),
            None => self.connection.execute("DELETE FROM pin WHERE part_id = ?", [partition.0]),
        };
        drop(turn);
        done.map_err(|error| sql(&self.path, &error))?;
        self.ring(self.processes.keys().copied().chain([self.node_id]));
        Ok(())
    }

    fn set_leaving(&mut self, on: bool) {
        self.pulse.set_leaving(on);
    }

    fn wait(&mut self, time_max: Duration) {
        let time_max = if self.is_ending { time_max.min(ENDING_WAIT) } else { time_max };
        let seconds = i64::try_from(time_max.as_secs()).unwrap_or(i64::MAX);
        let timeout = Timespec { tv_sec: seconds, tv_nsec: time_max.subsec_nanos().into() };
        let mut fds: Vec<PollFd<'_>> = self
            .bell
            .iter()
            .chain(self.processes.values())
            .map(|it| PollFd::new(it, PollFlags::IN))
            .collect();
        // An error is a signal that came in between: it is no reason to wait on.
        _ = poll(&mut fds, Some(&timeout));
        let ended: Vec<bool> = fds.iter().map(|it| !it.revents().is_empty()).collect();
        let ended = &ended[usize::from(self.bell.is_some())..];
        let before = self.processes.len();
        let mut ended = ended.iter();
        self.processes.retain(|_, _| !ended.next().copied().unwrap_or(false));
        self.is_ending = self.processes.len() < before;
        if let Some(bell) = &self.bell {
            silence(bell);
        }
    }

    fn bell(&self) -> Bell {
        let path = self.files.node_lock(self.node_id);
        Arc::new(move || ring(&path))
    }
}

fn hear(lock: &Path) -> rustix::io::Result<OwnedFd> {
    let bell = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&bell, lock, inotify::WatchFlags::ATTRIB)?;
    Ok(bell)
}

/// Touches the file: its watcher is told, and nobody else is. A stamp is a write, and no touch.
fn ring(lock: &Path) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    // A file that is gone has nobody to wake.
    _ = utimensat(CWD, lock, &times, AtFlags::empty());
}

fn silence(bell: &OwnedFd) {
    let mut bytes = [0; 1_024];
    loop {
        match rustix::io::read(bell, &mut bytes) {
            Ok(1..) | Err(Errno::INTR) => (),
            Ok(_) | Err(_) => return,
        }
    }
}
