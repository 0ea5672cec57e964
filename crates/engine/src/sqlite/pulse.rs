//! A node's pulse: a thread that stamps the node's lock file, watches the stamps of the others, and
//! ends who has hung for too long.
//!
//! It touches neither database nor turnstile. A process that was stopped within its turn holds up
//! everybody who waits for one, those included who would take its partitions: this thread waits for
//! no turn, and its SIGKILL lets the kernel give the locks back. A node that only waits for a
//! disk goes on stamping, and is let live.

use crate::{
    error::EngineError,
    sqlite::{
        files::{Files, disk},
        member::{has_holder, start_of_process},
    },
};
use lease::{LATE_LOOKS, LOOK_EVERY, Sign, Watch};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};
use stdx::fault::{self, Mutant};

/// Looks after which a commit that does not end counts as stuck, and the node does not say any more
/// that it lives: its siblings then end it and take over. Twice what makes it report itself sick.
const STUCK_LOOKS: u32 = 40;

/// Longest lock file: a node's name has at most a few dozen bytes.
const CARD_BYTES_MAX: usize = 512;

/// The running thread. It ends, and the lock with it, when this is dropped.
#[derive(Debug)]
pub(crate) struct Pulse {
    shared: Arc<Shared>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    files: Files,
    node_id: i64,
    /// Locked as long as it is open.
    lock: File,
    is_leaving: AtomicBool,
    /// Odd while a batch is being written; another number for each.
    writing: AtomicU64,
    /// What the last look at the others said.
    signs: Mutex<BTreeMap<i64, Sign>>,
}

/// How long the commit under way has been seen.
#[derive(Debug, Default)]
struct Commit {
    number: u64,
    looks: u32,
}

impl Commit {
    /// The next look: `number` is odd while a batch is being written, and another one for each.
    fn is_stuck(&mut self, number: u64) -> bool {
        let is_same = number % 2 == 1 && number == self.number;
        self.number = number;
        self.looks = if is_same { self.looks.saturating_add(1) } else { 0 };
        let looks_max = if fault::has(Mutant::ShortCommits) { 2 } else { STUCK_LOOKS };
        looks_max <= self.looks && !fault::has(Mutant::StuckInOffice)
    }
}

/// What stands in a lock file.
///
/// ```text
/// 00000000000000000042 active
/// pid 4711
/// started 123456
/// name a-1
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) stamp: u64,
    pub(crate) is_leaving: bool,
    pub(crate) pid: u32,
    pub(crate) started: i64,
}

impl Card {
    /// Reads a lock file; `None` where it is gone, or not written yet.
    pub(crate) fn read(path: &Path) -> Option<Card> {
        Card::of(&File::open(path).ok()?)
    }

    fn of(file: &File) -> Option<Card> {
        let mut bytes = [0; CARD_BYTES_MAX];
        let count = file.read_at(&mut bytes, 0).ok()?;
        Card::parse(str::from_utf8(bytes.get(..count)?).ok()?)
    }

    fn parse(text: &str) -> Option<Card> {
        let mut lines = text.lines();
        let (stamp, state) = lines.next()?.split_once(' ')?;
        let pid = lines.next()?.strip_prefix("pid ")?.parse().ok()?;
        let started = lines.next()?.strip_prefix("started ")?.parse().ok()?;
        let is_leaving = state.trim_end() == "leaving";
        Some(Card { stamp: stamp.parse().ok()?, is_leaving, pid, started })
    }
}

/// The line that changes: as long each time, so that it is written over the last one.
fn first_line(stamp: u64, is_leaving: bool) -> String {
    format!("{stamp:020} {:7}\n", if is_leaving { "leaving" } else { "active" })
}

impl Pulse {
    /// Begins to stamp `lock`, which is locked, and to watch the others.
    pub(crate) fn start(
        files: &Files,
        node_id: i64,
        lock: File,
        name: &str,
    ) -> Result<Pulse, EngineError> {
        let failed = |error: io::Error| disk(&files.node_lock(node_id), &error);
        let pid = std::process::id();
        let started = start_of_process(pid).unwrap_or(0);
        let card = format!("{}pid {pid}\nstarted {started}\nname {name}\n", first_line(0, false));
        lock.write_all_at(card.as_bytes(), 0).map_err(failed)?;
        let shared = Arc::new(Shared {
            files: files.clone(),
            node_id,
            lock,
            is_leaving: AtomicBool::new(false),
            writing: AtomicU64::new(0),
            signs: Mutex::default(),
        });
        let (stop, stopped) = mpsc::channel();
        let beating = Arc::clone(&shared);
        let thread = thread::Builder::new().name("pulse".to_owned());
        let thread = thread.spawn(move || beating.run(&stopped)).map_err(failed)?;
        Ok(Pulse { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// What the last look said of a node.
    pub(crate) fn sign(&self, node_id: i64) -> Sign {
        self.shared.signs().get(&node_id).copied().unwrap_or(Sign::Lively)
    }

    /// Tells everybody who looks whether this node wants anything.
    pub(crate) fn set_leaving(&self, on: bool) {
        self.shared.is_leaving.store(on, Ordering::Relaxed);
        self.shared.stamp(0);
    }

    /// Says that a batch is being written, or is no more. By the commit thread alone.
    pub(crate) fn set_writing(&self, on: bool) {
        let is_on = self.shared.writing.load(Ordering::Relaxed) % 2 == 1;
        self.shared.writing.fetch_add(u64::from(is_on != on), Ordering::Relaxed);
    }

    /// As [`Pulse::sign`] and [`Pulse::set_leaving`], for another thread.
    pub(crate) fn handle(&self) -> Pulse {
        Pulse { shared: Arc::clone(&self.shared), stop: None, thread: None }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been told already.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn run(&self, stopped: &mpsc::Receiver<()>) {
        let mut watches = BTreeMap::new();
        let mut stamp = 0;
        let mut commit = Commit::default();
        // The wait is what makes a look never sooner than it should be.
        while stopped.recv_timeout(LOOK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
            if commit.is_stuck(self.writing.load(Ordering::Relaxed)) {
                if commit.looks == STUCK_LOOKS {
                    let after = LOOK_EVERY * STUCK_LOOKS;
                    tracing::error!(?after, "a commit does not end: this node leaves its office");
                }
            } else {
                stamp += 1;
                self.stamp(stamp);
            }
            if let Err(error) = self.look(&mut watches) {
                tracing::warn!(%error, "cannot look at the other nodes");
            }
        }
    }

    fn stamp(&self, stamp: u64) {
        let line = first_line(stamp, self.is_leaving.load(Ordering::Relaxed));
        if let Err(error) = self.lock.write_all_at(line.as_bytes(), 0) {
            tracing::error!(%error, "a node's stamp cannot be written: others may take it for late");
        }
    }

    fn signs(&self) -> MutexGuard<'_, BTreeMap<i64, Sign>> {
        // It is replaced entry by entry, and each entry is sound.
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, watches: &mut BTreeMap<i64, Watch>) -> io::Result<()> {
        let mut signs = BTreeMap::new();
        for entry in fs::read_dir(self.files.nodes())? {
            let entry = entry?;
            let name = entry.file_name();
            let node_id = name.to_str().and_then(Files::node_of_lock);
            let Some(node_id) = node_id.filter(|it| *it != self.node_id) else { continue };
            let Ok(file) = File::open(entry.path()) else { continue };
            let Some(card) = Card::of(&file) else { continue };
            let watch = watches.entry(node_id).or_insert_with(|| Watch::new(card.stamp));
            let before = watch.sign();
            let sign = watch.look(card.stamp);
            let is_out = sign == Sign::Quiet && fault::has(Mutant::Impatient);
            let sign = if is_out { Sign::Late } else { sign };
            #[cfg(debug_assertions)]
            let sign = by_the_wall_clock(&file, sign)?;
            if sign == Sign::Late && has_holder(&file)? && !fault::has(Mutant::TakeOnTime) {
                end(&card, before != Sign::Late);
            }
            signs.insert(node_id, sign);
        }
        watches.retain(|node_id, _| signs.contains_key(node_id));
        *self.signs() = signs;
        Ok(())
    }
}

/// A negative control: a node's time runs out when its last stamp is older than it may be by the
/// wall clock here, and that of whoever wrote it.
#[cfg(debug_assertions)]
fn by_the_wall_clock(file: &File, sign: Sign) -> io::Result<Sign> {
    if !fault::has(Mutant::WallClock) {
        return Ok(sign);
    }
    let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
    let offset = std::time::Duration::from_micros(fault::wall_offset().unsigned_abs());
    let is_late = LOOK_EVERY * LATE_LOOKS < age.saturating_add(offset);
    Ok(if is_late { Sign::Late } else { sign })
}

/// Sends SIGKILL to the process of this card, and to no other that has its number by now.
fn end(card: &Card, is_first: bool) {
    let pid = card.pid;
    if pid == std::process::id() {
        return; // Two nodes in one process: a test.
    }
    let after = LOOK_EVERY * LATE_LOOKS;
    match process(pid, card.started).map(|it| pidfd_send_signal(&it, Signal::KILL)) {
        Some(Ok(())) if is_first => {
            tracing::error!(pid, ?after, "a node of this service hangs: it is ended with SIGKILL");
        }
        // A process in a frozen cgroup dies when it is thawed.
        Some(Ok(())) => (),
        Some(Err(error)) if is_first => {
            tracing::error!(pid, %error, "a node of this service hangs, and cannot be ended");
        }
        None if is_first => {
            tracing::error!(pid, "a node of this service hangs, and its process is not to be seen");
        }
        Some(Err(_)) | None => (),
    }
}

/// A handle on the process of this number that was started then; `None` when it is gone.
pub(crate) fn process(pid: u32, started: i64) -> Option<OwnedFd> {
    let raw = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let handle = pidfd_open(raw, PidfdFlags::empty()).ok()?;
    // Asked after it is held: from here on the number cannot become another's unnoticed.
    (start_of_process(pid) == Some(started)).then_some(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_read_as_it_is_written() {
        let text = format!("{}pid 7\nstarted 8\nname a 1\n", first_line(42, true));
        let card = Card { stamp: 42, is_leaving: true, pid: 7, started: 8 };
        assert_eq!(Card::parse(&text), Some(card));
        assert_eq!(first_line(u64::MAX, false).len(), first_line(0, true).len());
        for bad in ["", "1 active\n", "x active\npid 7\nstarted 8\n", "1 active\npid -7\nstarted 8"]
        {
            assert_eq!(Card::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_commit_that_does_not_end_is_stuck_and_many_short_ones_are_not() {
        let mut commit = Commit::default();
        assert!((0..STUCK_LOOKS * 3).all(|_| !commit.is_stuck(2)), "nothing is being written");
        assert!((0..u64::from(STUCK_LOOKS) * 3).all(|it| !commit.is_stuck(it * 2 + 1)));
        let looks = (0..STUCK_LOOKS * 2).filter(|_| commit.is_stuck(7)).count();
        assert_eq!(looks, usize::try_from(STUCK_LOOKS).unwrap());
        assert!(!commit.is_stuck(8) && !commit.is_stuck(9));
    }

    #[test]
    fn a_process_is_told_from_the_next_of_its_number() {
        let pid = std::process::id();
        let started = start_of_process(pid).unwrap();
        assert!(process(pid, started).is_some());
        assert!(process(pid, started + 1).is_none());
        assert!(process(u32::MAX, started).is_none());
    }
}
