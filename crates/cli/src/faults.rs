//! Lets a test say what is to go wrong in this process: debug builds only.
//!
//! `TOLLGATE_FAULTS` names a folder. The file `all` in it holds for every node, the file of a
//! node's name for that node; both are read at the start and again whenever they change. A line is
//! one of
//!
//! ```text
//! mutant plain-fence            a guard is left out
//! wall 3600                     the wall clock is ahead by so many seconds (below 0: behind)
//! after-commit kill 3           at the third pass of the place: SIGKILL
//! before-begin stop 1           SIGSTOP
//! before-commit delay 1 5000    so many milliseconds go by
//! before-commit fail 1          what is done there fails
//! ```
//!
//! What happens at a place happens once: the node's file gets the suffix `.fired` first, so that
//! the process that is started next does as it should.

use rustix::process::{Signal, getpid, kill_process};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::Duration,
};
use stdx::fault::{self, Mutant, Point};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long it takes at the most until all threads are stopped.
const STOP_REACHES: Duration = Duration::from_millis(50);

/// What happens at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Kill,
    Stop,
    Delay(Duration),
    Fail,
}

/// What the files say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Orders {
    mutants: Vec<Mutant>,
    wall_seconds: i64,
    acts: BTreeMap<Point, (Act, u32)>,
}

struct Armed {
    file: PathBuf,
    acts: Mutex<BTreeMap<Point, (Act, u32)>>,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Follows the orders for this node, if there is anybody who gives them.
pub(crate) fn follow(node: &str) {
    #[expect(clippy::disallowed_methods, reason = "this is the cli crate, in a debug build")]
    let Ok(folder) = std::env::var("TOLLGATE_FAULTS") else { return };
    let folder = PathBuf::from(folder);
    if !folder.is_dir() {
        return;
    }
    let file = folder.join(node);
    let all = folder.join("all");
    drop(ARMED.set(Armed { file: file.clone(), acts: Mutex::default() }));
    fault::on_reached(reached);
    let mut last = read(&all, &file);
    obey(&last);
    let follow = move || loop {
        thread::sleep(LOOK_EVERY);
        let text = read(&all, &file);
        if text != last {
            obey(&text);
            last = text;
        }
    };
    drop(thread::Builder::new().name("faults".to_owned()).spawn(follow));
}

fn read(all: &Path, file: &Path) -> String {
    [all, file].map(|it| fs::read_to_string(it).unwrap_or_default()).concat()
}

fn obey(text: &str) {
    let orders = Orders::parse(text);
    tracing::warn!(?orders, "faults are injected");
    fault::set_mutants(&orders.mutants);
    fault::set_wall_offset(orders.wall_seconds.saturating_mul(1_000_000));
    let Some(armed) = ARMED.get() else { return };
    let mut acts = armed.acts.lock().unwrap_or_else(PoisonError::into_inner);
    for point in Point::ALL {
        let passes = orders.acts.get(&point).map_or(0, |(_, passes)| *passes);
        let before = acts.get(&point).map_or(0, |(_, passes)| *passes);
        if passes != before {
            fault::arm(point, passes);
        }
    }
    *acts = orders.acts;
}

/// On the thread that passes the place.
fn reached(point: Point) -> bool {
    let Some(armed) = ARMED.get() else { return false };
    let acts = armed.acts.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((act, _)) = acts.get(&point).copied() else { return false };
    drop(acts);
    tracing::warn!(point = point.name(), ?act, "reached");
    drop(fs::rename(&armed.file, armed.file.with_extension("fired")));
    match act {
        Act::Kill => signal(Signal::KILL),
        Act::Stop => {
            signal(Signal::STOP);
            // It need not be this thread that the signal reaches first: none goes on from here.
            thread::sleep(STOP_REACHES);
        }
        Act::Delay(time) => thread::sleep(time),
        Act::Fail => return true,
    }
    false
}

/// A process may always send itself a signal.
fn signal(signal: Signal) {
    if let Err(error) = kill_process(getpid(), signal) {
        tracing::error!(%error, "no signal");
    }
}

impl Orders {
    /// What is not understood is left out: a test that misspells a word finds nothing.
    fn parse(text: &str) -> Orders {
        let mut orders = Orders::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["mutant", name] => {
                    orders.mutants.extend(Mutant::ALL.into_iter().find(|it| it.name() == *name));
                }
                ["wall", seconds] => orders.wall_seconds = seconds.parse().unwrap_or(0),
                [place, act, passes, rest @ ..] => {
                    let point = Point::ALL.into_iter().find(|it| it.name() == *place);
                    let passes = passes.parse().ok();
                    if let (Some(point), Some(act), Some(passes)) =
                        (point, self::act(act, rest), passes)
                    {
                        orders.acts.insert(point, (act, passes));
                    }
                }
                [..] => (),
            }
        }
        orders
    }
}

fn act(name: &str, rest: &[&str]) -> Option<Act> {
    match (name, rest) {
        ("kill", []) => Some(Act::Kill),
        ("stop", []) => Some(Act::Stop),
        ("fail", []) => Some(Act::Fail),
        ("delay", [millis]) => Some(Act::Delay(Duration::from_millis(millis.parse().ok()?))),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_line_by_line() {
        let text = "mutant plain-fence\nwall -60\nafter-commit kill 3\nbefore-commit delay 1 50\n\
                    nonsense\nmutant nobody\nafter-commit dance 3\n";
        let acts = [
            (Point::AfterCommit, (Act::Kill, 3)),
            (Point::BeforeCommit, (Act::Delay(Duration::from_millis(50)), 1)),
        ];
        let mutants = vec![Mutant::PlainFence];
        let orders = Orders { mutants, wall_seconds: -60, acts: acts.into() };
        assert_eq!(Orders::parse(text), orders);
    }
}
