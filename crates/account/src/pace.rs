//! How soon a node begins its next commit.
//!
//! A commit costs about the same whatever is in it, so commands that come together are cheaper
//! than commands that come one after the other. Under load somebody always waits, and a node that
//! committed as soon as it may would do so for the few who came since: on two processors the
//! commits take the time in which more would have come. So a node waits for company: until as many
//! wait as did when its last commits ended, which is everybody where the same few ask again and
//! again, or as are enough. If they do not come it waits the longer the more they were, and never for long. Who comes
//! alone waits for nobody.
//!
//! Pure: the node's shell brings the time and the commit thread does the waiting.

use std::time::Duration;
use stdx::Moment;

/// What a command's company is worth: some times what a command costs the whole tree.
const PER_COMMAND: Duration = Duration::from_micros(250);
/// The longest time between two commits where a commit is a write of our own to a disk of this
/// machine. With more of it commits grow fewer, and nothing else better.
const NEAR_MAX: Duration = Duration::from_millis(2);
/// The same where the engine is a process of its own, for which a commit costs more.
const FAR_MAX: Duration = Duration::from_millis(4);
/// Of those who do not come any more one in so many is forgotten with each commit. Forgotten sooner,
/// the company shrinks by chance where many ask now one node and now another (on PostgreSQL, with
/// those of the last commit alone: a quarter more commits and nothing gained).
const FORGET: usize = 16;
/// Company enough: what a commit costs is little for each of so many, and to wait for more of them
/// would have everybody wait for the commit at once, and a processor for them.
const ENOUGH: usize = 32;

/// When the last commit began, and whom the next one waits for.
#[derive(Debug)]
pub(crate) struct Pace {
    apart_max: Duration,
    began: Moment,
    company: usize,
}

impl Pace {
    /// `is_far`: the engine is a process of its own, maybe on another machine.
    pub(crate) fn new(is_far: bool) -> Pace {
        let apart_max = if is_far { FAR_MAX } else { NEAR_MAX };
        Pace { apart_max, began: Moment::ZERO, company: 0 }
    }

    /// A commit begins.
    pub(crate) fn began(&mut self, now: Moment) {
        self.began = now;
    }

    /// The commit has ended while so many commands waited, those that it ended among them.
    pub(crate) fn ended(&mut self, waiting: usize) {
        let known = self.company - self.company.div_ceil(FORGET);
        self.company = waiting.max(known).min(ENOUGH);
    }

    /// Whether the next commit need not wait any longer, now that so many commands do.
    pub(crate) fn is_complete(&self, waiting: usize) -> bool {
        self.company <= waiting
    }

    /// How long the next commit is to wait for company, unless it is complete before.
    pub(crate) fn wait(&self, now: Moment, waiting: usize) -> Duration {
        if self.is_complete(waiting) {
            return Duration::ZERO;
        }
        let others = u32::try_from(self.company.saturating_sub(1)).unwrap_or(u32::MAX);
        let apart = PER_COMMAND.saturating_mul(others).min(self.apart_max);
        (self.began + apart).since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_nanos(1_000_000_000);

    fn after(company: usize, is_far: bool) -> Pace {
        let mut pace = Pace::new(is_far);
        pace.began(START);
        pace.ended(company);
        pace
    }

    #[test]
    fn the_more_company_the_longer_the_wait_up_to_a_limit() {
        let cases = [
            // who waited when the last commit ended, microseconds to wait near and far
            (0, 0, 0),
            (1, 0, 0),
            (2, 250, 250),
            (4, 750, 750),
            (9, 2_000, 2_000),
            (10, 2_000, 2_250),
            (17, 2_000, 4_000),
            (usize::MAX, 2_000, 4_000),
        ];
        for (company, near, far) in cases {
            for (is_far, expected) in [(false, near), (true, far)] {
                let wait = after(company, is_far).wait(START, 1);
                assert_eq!(wait, Duration::from_micros(expected), "{company}");
            }
        }
        assert_eq!(Pace::new(false).wait(START, 1), Duration::ZERO, "the first one");
    }

    #[test]
    fn nobody_waits_when_all_are_there() {
        for (company, enough) in [(20, 20), (ENOUGH, ENOUGH), (1_000, ENOUGH)] {
            let pace = after(company, false);
            assert!(!pace.is_complete(enough - 1));
            assert_eq!(pace.wait(START, enough - 1), Duration::from_millis(2));
            assert!(pace.is_complete(enough));
            assert_eq!(pace.wait(START, enough), Duration::ZERO);
            assert_eq!(pace.wait(START, 100 * enough), Duration::ZERO);
        }
    }

    #[test]
    fn who_does_not_come_back_is_forgotten() {
        let mut pace = after(ENOUGH, false);
        let mut commits = 0;
        while !pace.is_complete(1) {
            pace.ended(1);
            commits += 1;
        }
        assert!((8..=ENOUGH).contains(&commits), "{commits}");
        pace.ended(0);
        assert!(pace.is_complete(0));
        pace.ended(20);
        assert!(!pace.is_complete(19), "more are known at once");
    }

    #[test]
    fn what_a_commit_takes_is_part_of_the_wait() {
        let pace = after(5, false);
        assert_eq!(pace.wait(START + Duration::from_micros(900), 1), Duration::from_micros(100));
        assert_eq!(pace.wait(START + Duration::from_millis(5), 1), Duration::ZERO);
    }
}
