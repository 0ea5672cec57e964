//! What is watched, and the states it can be in.

use super::{contract::Contract, rule::Ruled, severity::Severity};
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};
use stdx::Moment;
use wire::Timestamp;

/// The two readings of one moment: deadlines go by the first, display by the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub moment: Moment,
    pub wall: Timestamp,
}

impl Now {
    /// Wall time `ago` before now.
    pub fn wall_before(self, ago: Duration) -> Timestamp {
        Timestamp(self.wall.0.saturating_sub(micros(ago)))
    }
}

/// Whole microseconds, as wall time counts them.
pub fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

/// From the earlier to the later; zero when they are the other way round.
pub fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    let micros = later.0.saturating_sub(earlier.0);
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// One watched thing. Numbered in the order of creation and never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckId(pub i64);

/// What is known of a check now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Never heard of, so nothing is missing.
    New,
    /// A node that loads and does not serve yet.
    Starting,
    Up,
    /// The next beat is overdue and its deadline has not passed: a doubt.
    Late,
    /// The deadline has passed, or the check itself reported its failure.
    Down,
    /// Alive, and says that it is not well, or breaks a rule that makes it so.
    Sick,
    /// It serves, and breaks a rule that people want to know of.
    Strained,
    /// A node that finishes what it has and takes nothing new.
    Draining,
    /// A node that ended because it was told to.
    Stopped,
    /// Not watched because somebody said so.
    Paused,
}

impl State {
    /// Every state.
    pub const ALL: [State; 10] = [
        State::New,
        State::Starting,
        State::Up,
        State::Late,
        State::Down,
        State::Sick,
        State::Strained,
        State::Draining,
        State::Stopped,
        State::Paused,
    ];

    /// The word for it, everywhere.
    pub const fn text(self) -> &'static str {
        match self {
            State::New => "new",
            State::Starting => "starting",
            State::Up => "up",
            State::Late => "late",
            State::Down => "down",
            State::Sick => "sick",
            State::Strained => "strained",
            State::Draining => "draining",
            State::Stopped => "stopped",
            State::Paused => "paused",
        }
    }

    /// The state of this word.
    pub fn parse(text: &str) -> Option<State> {
        State::ALL.into_iter().find(|it| it.text() == text)
    }

    /// People are to be told.
    pub const fn is_trouble(self) -> bool {
        match self {
            State::Down | State::Sick | State::Strained => true,
            State::New
            | State::Starting
            | State::Up
            | State::Late
            | State::Draining
            | State::Stopped
            | State::Paused => false,
        }
    }

    /// Ends an incident: healthy, or away because somebody wanted it.
    pub const fn ends_trouble(self) -> bool {
        match self {
            State::Up | State::Stopped | State::Draining | State::Paused => true,
            State::New
            | State::Starting
            | State::Late
            | State::Down
            | State::Sick
            | State::Strained => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

impl Ruled {
    /// The state of a check that is well but for the rules that it breaks.
    pub const fn state(&self) -> State {
        match self.severity {
            Severity::Warning => State::Strained,
            Severity::Critical => State::Sick,
        }
    }
}

/// Why a check got into its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was heard, and is well.
    Heard,
    /// Beats resumed from another process: it was started again.
    Restarted,
    /// No beat within period and grace.
    Silent,
    /// No beat within period and grace, though the node answers when it is asked.
    Mute,
    /// It began a run and did not end it in time.
    Overrun,
    /// It reported its failure, in its own words.
    Failed(String),
    /// None of the nodes below it can be reached, or its engine gives it no turn: most likely the
    /// fault of another node.
    Cut(String),
    /// It breaks rules.
    Ruled(Ruled),
    /// It announced this.
    Announced,
    /// Somebody ordered it.
    Ordered,
}

impl Why {
    /// A few words for people.
    pub fn text(&self) -> String {
        match self {
            Why::Heard => "heard".to_owned(),
            Why::Restarted => "started again".to_owned(),
            Why::Silent => "no beat".to_owned(),
            Why::Mute => "no beat, though it answers when asked".to_owned(),
            Why::Overrun => "began and did not end in time".to_owned(),
            Why::Failed(words) | Why::Cut(words) => words.clone(),
            Why::Ruled(it) => it.words.clone(),
            Why::Announced => "announced".to_owned(),
            Why::Ordered => "ordered".to_owned(),
        }
    }

    /// Whether it is of the same kind: other words for the same thing are no news.
    pub fn is_like(&self, other: &Why) -> bool {
        match (self, other) {
            (Why::Ruled(it), Why::Ruled(other)) => it.rules == other.rules,
            (Why::Ruled(_) | Why::Cut(_), _) => {
                std::mem::discriminant(self) == std::mem::discriminant(other)
            }
            (_, other) => !matches!(other, Why::Ruled(_) | Why::Cut(_)),
        }
    }
}

/// A check got from one state into another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub check: CheckId,
    pub from: State,
    pub to: State,
    pub why: Why,
    /// When it was noticed.
    pub at: Timestamp,
    /// When it became so: for a silent check the moment its beat was expected.
    pub since: Timestamp,
}

/// What one heartbeat says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    pub signal: Signal,
    /// Which run of a job it speaks of.
    pub run: Option<u128>,
    /// Which process of a node sent it, and its place in that process's beats.
    pub origin: Option<Origin>,
}

/// Tells lost, reordered and restarted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub boot: u64,
    pub seq: u64,
}

/// The verdict of a beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Well; the run, if any, has ended.
    Success,
    /// Not well, or the run failed: why.
    Fail(String),
    /// A run begins.
    Start,
    /// To be kept, and changes nothing.
    Log,
    /// The node loads.
    Starting,
    /// The node is not well: the reasons of its own checks.
    Sick(String),
    /// The node reaches nothing below it, or its commits hang.
    Cut(String),
    Draining,
    Stopped,
}

impl Beat {
    /// A beat with nothing but its verdict.
    pub fn of(signal: Signal) -> Beat {
        Beat { signal, run: None, origin: None }
    }
}

/// What the node itself answered when it was asked because it was late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    Alive,
    Dead,
}

/// What is kept of a check beyond its contract, and outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub state: State,
    pub since: Timestamp,
    /// When it was last heard. `None` when never.
    pub heard: Option<Timestamp>,
    /// The runs that have begun and not ended, oldest first, with their ids.
    pub runs: Vec<(Timestamp, Option<u128>)>,
    pub origin: Option<Origin>,
}

impl Kept {
    /// A check that was never heard of.
    pub fn new(since: Timestamp) -> Kept {
        Kept { state: State::New, since, heard: None, runs: Vec::new(), origin: None }
    }
}

/// How a check is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub contract: Contract,
    /// Failing beats in a row before it is sick or down: 1 for jobs, 2 for nodes.
    pub fails_min: u32,
    /// Lateness is judged by how regular it was so far; without it, by the contract alone.
    pub is_statistical: bool,
    /// It may be asked directly when it is late.
    pub is_probed: bool,
    /// A run that takes less has failed, whatever it says.
    pub run_min: Duration,
    /// How long after its beginning a run has to end; the grace where this is open.
    pub run_max: Option<Duration>,
}

/// Runs of one check at once; of more the oldest is forgotten.
pub const RUNS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_their_states() {
        for state in State::ALL {
            assert_eq!(State::parse(state.text()), Some(state));
            assert!(!(state.is_trouble() && state.ends_trouble()));
        }
        assert_eq!(State::parse("fine"), None);
    }
}
