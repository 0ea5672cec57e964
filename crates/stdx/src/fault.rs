//! Named places at which a debug build can be made to fail, and guards that it can be made to
//! leave out.
//!
//! The tests of faults kill, stop and delay a real process at a place of their choosing, and take
//! one guard away to see whether anybody notices. A release build has neither: there every
//! question below is answered "no" by a constant, and nothing can be armed.
//!
//! What happens at a place that was armed is for the one who armed it: this crate knows no
//! processes and no clocks.

/// A place that is passed again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// A batch is decided, and its transaction has not begun.
    BeforeBegin,
    /// The transaction has begun.
    BeforeFence,
    /// The fence rows are changed and the records written.
    BeforeCommit,
    /// The batch is durable, and nobody has been told.
    AfterCommit,
    /// An account node is about to answer.
    BeforeAnswer,
    /// A partition is being taken, and the transaction has not been committed.
    BeforeTaken,
    /// A partition is taken, and nothing of it is loaded.
    AfterTaken,
    /// A gateway has a reply, and has not passed it on.
    AfterReply,
}

impl Point {
    /// All places.
    pub const ALL: [Point; 8] = [
        Point::BeforeBegin,
        Point::BeforeFence,
        Point::BeforeCommit,
        Point::AfterCommit,
        Point::BeforeAnswer,
        Point::BeforeTaken,
        Point::AfterTaken,
        Point::AfterReply,
    ];

    /// Its name in a control file.
    #[cfg(debug_assertions)]
    pub const fn name(self) -> &'static str {
        match self {
            Point::BeforeBegin => "before-begin",
            Point::BeforeFence => "before-fence",
            Point::BeforeCommit => "before-commit",
            Point::AfterCommit => "after-commit",
            Point::BeforeAnswer => "before-answer",
            Point::BeforeTaken => "before-taken",
            Point::AfterTaken => "after-taken",
            Point::AfterReply => "after-reply",
        }
    }
}

/// A guard left out: a negative control, which the tests must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// Writers are told before COMMIT.
    AckBeforeCommit,
    /// The fence is looked at before the transaction, and what is written then is written whatever
    /// stands there.
    PlainFence,
    /// A silent node is taken for dead when its time has run out, though its process lives on; and
    /// when it goes on nobody tells it.
    TakeOnTime,
    /// Taking a partition leaves its epoch as it was.
    KeepEpoch,
    /// A repeated attempt does not bear the key of the first.
    RetryWithoutKey,
    /// A node's time runs out by the wall clocks.
    WallClock,
    /// A node with a commit that does not end goes on saying that it is well.
    StuckInOffice,
    /// A batch whose outcome is unknown counts as one that was not executed.
    FailUnknown,
    /// Reads are answered from memory without asking whether another is the owner by now.
    UnconfirmedReads,
    /// What is seen in the database is told of, though its standby may not have it.
    TellOnSight,
    /// A database's COMMIT does not wait for its disk.
    LazyCommit,
    /// Nobody looks whether a node of that name is there.
    TwoOfAName,
    /// A node that has been silent for a little more than a second is taken for dead.
    Impatient,
    /// A commit that has been under way for half a second counts as one that does not end.
    ShortCommits,
    /// A node that has only just come is given what is at home with it.
    HomeAtOnce,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 15] = [
        Mutant::AckBeforeCommit,
        Mutant::PlainFence,
        Mutant::TakeOnTime,
        Mutant::KeepEpoch,
        Mutant::RetryWithoutKey,
        Mutant::WallClock,
        Mutant::StuckInOffice,
        Mutant::FailUnknown,
        Mutant::UnconfirmedReads,
        Mutant::TellOnSight,
        Mutant::LazyCommit,
        Mutant::TwoOfAName,
        Mutant::Impatient,
        Mutant::ShortCommits,
        Mutant::HomeAtOnce,
    ];

    /// Its name in a control file.
    #[cfg(debug_assertions)]
    pub const fn name(self) -> &'static str {
        match self {
            Mutant::AckBeforeCommit => "ack-before-commit",
            Mutant::PlainFence => "plain-fence",
            Mutant::TakeOnTime => "take-on-time",
            Mutant::KeepEpoch => "keep-epoch",
            Mutant::RetryWithoutKey => "retry-without-key",
            Mutant::WallClock => "wall-clock",
            Mutant::StuckInOffice => "stuck-in-office",
            Mutant::FailUnknown => "fail-unknown",
            Mutant::UnconfirmedReads => "unconfirmed-reads",
            Mutant::TellOnSight => "tell-on-sight",
            Mutant::LazyCommit => "lazy-commit",
            Mutant::TwoOfAName => "two-of-a-name",
            Mutant::Impatient => "impatient",
            Mutant::ShortCommits => "short-commits",
            Mutant::HomeAtOnce => "home-at-once",
        }
    }
}

#[cfg(debug_assertions)]
pub use armed::{arm, has, on_reached, passed, set_mutants, set_wall_offset, wall_offset};

#[cfg(debug_assertions)]
mod armed {
    use super::{Mutant, Point};
    use std::sync::{
        OnceLock,
        atomic::{AtomicI64, AtomicU32, Ordering::Relaxed},
    };

    /// Passes that are left until something happens; 0: nothing will.
    static PASSES: [AtomicU32; Point::ALL.len()] = [const { AtomicU32::new(0) }; Point::ALL.len()];
    static MUTANTS: AtomicU32 = AtomicU32::new(0);
    static WALL_OFFSET: AtomicI64 = AtomicI64::new(0);
    static REACHED: OnceLock<fn(Point) -> bool> = OnceLock::new();

    /// What is to happen where an armed place is reached; true makes that place fail. Only the
    /// first call counts.
    pub fn on_reached(act: fn(Point) -> bool) {
        // A process arms itself in one place.
        _ = REACHED.set(act);
    }

    /// Something happens at the pass of this number from now on, once; 0: never.
    pub fn arm(point: Point, passes: u32) {
        PASSES[point as usize].store(passes, Relaxed);
    }

    /// To be called where the place is. True when what is done there is to fail.
    pub fn passed(point: Point) -> bool {
        let passes = &PASSES[point as usize];
        let next = |left: u32| left.checked_sub(1);
        passes.fetch_update(Relaxed, Relaxed, next) == Ok(1)
            && REACHED.get().is_some_and(|act| act(point))
    }

    /// The guards that are left out from now on.
    pub fn set_mutants(mutants: &[Mutant]) {
        let bits = mutants.iter().fold(0, |bits, it| bits | bit(*it));
        MUTANTS.store(bits, Relaxed);
    }

    /// Whether this guard is left out.
    pub fn has(mutant: Mutant) -> bool {
        MUTANTS.load(Relaxed) & bit(mutant) != 0
    }

    fn bit(mutant: Mutant) -> u32 {
        1 << (mutant as u32)
    }

    /// What a wall clock that somebody set is ahead, in microseconds.
    pub fn set_wall_offset(micros: i64) {
        WALL_OFFSET.store(micros, Relaxed);
    }

    /// As [`set_wall_offset`] was told last.
    pub fn wall_offset() -> i64 {
        WALL_OFFSET.load(Relaxed)
    }
}

/// Never in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn passed(_: Point) -> bool {
    false
}

/// Never in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn has(_: Mutant) -> bool {
    false
}

/// Never anything in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn wall_offset() -> i64 {
    0
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_reached_once_at_the_pass_it_was_armed_for() {
        on_reached(|point| point == Point::BeforeTaken);
        assert!((0..10).all(|_| !passed(Point::BeforeTaken)), "nobody armed it");
        arm(Point::BeforeTaken, 3);
        let hits: Vec<bool> = (0..6).map(|_| passed(Point::BeforeTaken)).collect();
        assert_eq!(hits, [false, false, true, false, false, false]);
        arm(Point::AfterTaken, 1);
        assert!(!passed(Point::AfterTaken), "what happened there was no failure");
    }

    #[test]
    fn a_guard_is_left_out_while_it_is_told_so() {
        assert!(Mutant::ALL.iter().all(|it| !has(*it)));
        set_mutants(&[Mutant::KeepEpoch, Mutant::WallClock]);
        let out = Mutant::ALL.into_iter().filter(|it| has(*it));
        assert_eq!(out.collect::<Vec<_>>(), [Mutant::KeepEpoch, Mutant::WallClock]);
        set_mutants(&[]);
        assert!(Mutant::ALL.iter().all(|it| !has(*it)));
    }

    #[test]
    fn names_are_all_different() {
        let points = Point::ALL.map(Point::name);
        let mutants = Mutant::ALL.map(Mutant::name);
        let names: std::collections::BTreeSet<_> = points.iter().chain(&mutants).collect();
        assert_eq!(names.len(), points.len() + mutants.len());
    }
}
