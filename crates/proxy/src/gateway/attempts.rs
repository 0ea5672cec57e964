//! What follows from each attempt to ask the owner of a partition, as a pure state machine.
//!
//! After one attempt whose outcome is unknown, nothing but an outcome that the ledger gives under
//! the same key may be reported as success or refusal; anything else is `outcome_unknown`.

use net::trunk::Loss;
use std::time::Duration;
use wire::{Reply, call::Failure};

/// Attempts of one request at this gateway.
pub const ATTEMPTS_MAX: u8 = 16;
/// Times that a request is repeated because a node had no room for it. Not at all where a tier in
/// front has repeated it already: hops must not multiply.
const OVERLOADED_REPEATS_MAX: u8 = 2;
/// Pause after the first attempt that a node turned away while its claim to own the partition
/// stood; a change of owners ends it early. Each further pause is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// A change: it must not happen twice, and bears a key.
    Command,
    /// A read: it may be repeated at will.
    Query,
}

/// What one attempt came to.
#[derive(Debug)]
pub enum Attempt {
    Replied(Reply),
    /// The node refuses all requests, unread: it drains.
    TurnedAway,
    /// The node answered, and not with a reply.
    Garbled,
    Lost(Loss),
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Report(Result<Reply, Failure>),
    /// Ask the owner again, once there is another or after this pause; report `denied` if the
    /// retry budget does not pay for that.
    Again {
        pause: Duration,
        denied: Failure,
    },
}

/// The attempts of one request so far.
#[derive(Debug)]
pub struct Attempts {
    asking: Asking,
    count: u8,
    overloaded_left: u8,
    /// An attempt may have been executed.
    unknown: bool,
}

impl Attempts {
    /// None yet at this gateway, so many at the tiers in front.
    pub fn new(asking: Asking, attempts_before: u8) -> Attempts {
        let overloaded_left = if attempts_before == 0 { OVERLOADED_REPEATS_MAX } else { 0 };
        Attempts { asking, count: 0, overloaded_left, unknown: false }
    }

    /// How many were judged.
    pub fn count(&self) -> u8 {
        self.count
    }

    /// What to report when there is no time or no attempt left.
    pub fn give_up(&self) -> Failure {
        self.failed(Failure::NotOwner)
    }

    /// What follows from the attempt that just ended.
    pub fn judge(&mut self, attempt: Attempt) -> Next {
        self.count += 1;
        match self.asking {
            Asking::Command => self.judge_command(attempt),
            Asking::Query => self.judge_query(attempt),
        }
    }

    fn judge_command(&mut self, attempt: Attempt) -> Next {
        match attempt {
            // It bears our key, whichever attempt brought it about.
            Attempt::Replied(reply @ Reply::Outcome(_)) => Next::Report(Ok(reply)),
            Attempt::Replied(Reply::Failed(failure)) => match failure {
                Failure::NotOwner => self.again(),
                Failure::OutcomeUnknown => self.again_unknown(),
                Failure::Overloaded => self.again_overloaded(),
                Failure::EngineUnavailable
                | Failure::KeyInUse
                | Failure::Malformed
                | Failure::NoSuchTransaction
                | Failure::NotReversible => self.fail(failure),
                Failure::NoSuchAccount | Failure::NoSuchHold | Failure::NoSuchTransfer => {
                    self.fail_unknown()
                }
            },
            // An answer to another question: what became of ours nobody can say.
            Attempt::Replied(
                Reply::Account(_)
                | Reply::Transaction(_)
                | Reply::Transactions { .. }
                | Reply::Accounts { .. }
                | Reply::Trial(_)
                | Reply::Hold(_)
                | Reply::Transfer(_)
                | Reply::Pending(_)
                | Reply::Events { .. }
                | Reply::Batch(_),
            )
            | Attempt::Garbled
            | Attempt::Lost(Loss::DeadlinePassed | Loss::Reset) => self.fail_unknown(),
            Attempt::TurnedAway | Attempt::Lost(Loss::NotConnected) => self.again(),
            Attempt::Lost(Loss::Full) => self.fail(Failure::Overloaded),
            Attempt::Lost(Loss::TooLong) => self.fail(Failure::Malformed),
            Attempt::Lost(Loss::ConnectionLost) => self.again_unknown(),
        }
    }

    fn judge_query(&mut self, attempt: Attempt) -> Next {
        match attempt {
            Attempt::Replied(Reply::Failed(Failure::NotOwner | Failure::OutcomeUnknown))
            | Attempt::TurnedAway
            | Attempt::Lost(Loss::NotConnected | Loss::ConnectionLost) => self.again(),
            Attempt::Replied(Reply::Failed(Failure::Overloaded)) => self.again_overloaded(),
            Attempt::Replied(Reply::Failed(failure)) => self.fail(failure),
            Attempt::Replied(reply) => Next::Report(Ok(reply)),
            Attempt::Garbled | Attempt::Lost(Loss::TooLong) => self.fail(Failure::Malformed),
            Attempt::Lost(Loss::Full) => self.fail(Failure::Overloaded),
            Attempt::Lost(Loss::DeadlinePassed | Loss::Reset) => {
                self.fail(Failure::EngineUnavailable)
            }
        }
    }

    fn again(&self) -> Next {
        self.again_or(Failure::NotOwner)
    }

    fn again_overloaded(&mut self) -> Next {
        match self.overloaded_left.checked_sub(1) {
            Some(left) => self.overloaded_left = left,
            None => return self.fail(Failure::Overloaded),
        }
        self.again_or(Failure::Overloaded)
    }

    fn again_or(&self, failure: Failure) -> Next {
        if ATTEMPTS_MAX <= self.count {
            return self.fail(failure);
        }
        let doublings = u32::from(self.count.saturating_sub(1)).min(8);
        let pause = (PAUSE_MIN * (1 << doublings)).min(PAUSE_MAX);
        Next::Again { pause, denied: self.failed(failure) }
    }

    fn again_unknown(&mut self) -> Next {
        self.unknown = true;
        self.again()
    }

    fn fail(&self, failure: Failure) -> Next {
        Next::Report(Err(self.failed(failure)))
    }

    fn fail_unknown(&mut self) -> Next {
        self.unknown = true;
        self.fail(Failure::OutcomeUnknown)
    }

    /// What to say of a failure of the last attempt, after all those before it.
    pub fn failed(&self, failure: Failure) -> Failure {
        if self.unknown { Failure::OutcomeUnknown } else { failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{Outcome, Refusal, Refused};

    fn failed(failure: Failure) -> Attempt {
        Attempt::Replied(Reply::Failed(failure))
    }

    fn outcome() -> Reply {
        let refused = Refused { refusal: Refusal::NoSuchAccount, request_id: "req".into() };
        Reply::Outcome(Outcome::Refused(refused))
    }

    /// What each of these attempts leads to, in a row, and what giving up then says.
    #[track_caller]
    fn check(asking: Asking, attempts: Vec<Attempt>, expected: &[&str], given_up: Failure) {
        let mut state = Attempts::new(asking, 0);
        let got: Vec<String> = attempts
            .into_iter()
            .map(|attempt| match state.judge(attempt) {
                Next::Again { .. } => "again".to_owned(),
                Next::Report(Ok(_)) => "reply".to_owned(),
                Next::Report(Err(failure)) => format!("{failure:?}"),
            })
            .collect();
        assert_eq!(got, expected);
        assert_eq!(state.give_up(), given_up);
    }

    #[test]
    fn what_was_not_executed_is_said_so() {
        use Failure::*;
        for failure in [EngineUnavailable, KeyInUse, Malformed] {
            let name = format!("{failure:?}");
            check(Asking::Command, vec![failed(failure)], &[&name], NotOwner);
        }
        for (attempt, expected) in [
            (failed(NotOwner), "again"),
            (Attempt::TurnedAway, "again"),
            (Attempt::Lost(Loss::NotConnected), "again"),
            (Attempt::Lost(Loss::Full), "Overloaded"),
            (Attempt::Lost(Loss::TooLong), "Malformed"),
            (Attempt::Replied(outcome()), "reply"),
        ] {
            check(Asking::Command, vec![attempt], &[expected], NotOwner);
        }
    }

    #[test]
    fn what_may_have_been_executed_is_unknown_until_the_ledger_says() {
        use Failure::*;
        let unknown = || {
            [
                (failed(OutcomeUnknown), "again"),
                (Attempt::Lost(Loss::ConnectionLost), "again"),
                (Attempt::Lost(Loss::DeadlinePassed), "OutcomeUnknown"),
                (Attempt::Garbled, "OutcomeUnknown"),
                (failed(NoSuchAccount), "OutcomeUnknown"),
                (Attempt::Replied(Reply::Trial(Vec::new())), "OutcomeUnknown"),
            ]
        };
        for (first, expected) in unknown() {
            check(Asking::Command, vec![first], &[expected], OutcomeUnknown);
        }
        for failure in [EngineUnavailable, KeyInUse, Malformed] {
            for (first, expected) in unknown() {
                let attempts = vec![first, failed(failure)];
                check(Asking::Command, attempts, &[expected, "OutcomeUnknown"], OutcomeUnknown);
            }
        }
        for (first, expected) in unknown() {
            let attempts = vec![first, failed(NotOwner), Attempt::Replied(outcome())];
            check(Asking::Command, attempts, &[expected, "again", "reply"], OutcomeUnknown);
        }
    }

    #[test]
    fn a_read_is_simply_repeated() {
        use Failure::*;
        for (attempt, expected) in [
            (failed(NotOwner), "again"),
            (failed(OutcomeUnknown), "again"),
            (Attempt::Lost(Loss::ConnectionLost), "again"),
            (Attempt::Lost(Loss::NotConnected), "again"),
            (Attempt::TurnedAway, "again"),
            (Attempt::Lost(Loss::DeadlinePassed), "EngineUnavailable"),
            (Attempt::Lost(Loss::Full), "Overloaded"),
            (Attempt::Garbled, "Malformed"),
            (failed(NoSuchAccount), "NoSuchAccount"),
            (failed(NoSuchTransaction), "NoSuchTransaction"),
            (Attempt::Replied(Reply::Trial(Vec::new())), "reply"),
        ] {
            check(Asking::Query, vec![attempt], &[expected], NotOwner);
        }
    }

    #[test]
    fn a_node_without_room_is_asked_again_only_if_no_tier_in_front_has_done_so() {
        use Failure::*;
        for asking in [Asking::Command, Asking::Query] {
            let attempts = vec![failed(Overloaded), failed(Overloaded), failed(Overloaded)];
            check(asking, attempts, &["again", "again", "Overloaded"], NotOwner);
            let mut repeated = Attempts::new(asking, 1);
            let next = repeated.judge(failed(Overloaded));
            assert_eq!(next, Next::Report(Err(Overloaded)));
        }
        let mut unknown = Attempts::new(Asking::Command, 0);
        unknown.judge(Attempt::Lost(Loss::ConnectionLost));
        let Next::Again { denied, .. } = unknown.judge(failed(Overloaded)) else { panic!() };
        assert_eq!(denied, OutcomeUnknown, "the budget's no does not undo the first attempt");
    }

    #[test]
    fn attempts_and_pauses_are_bounded() {
        let mut state = Attempts::new(Asking::Command, 0);
        for _ in 1..ATTEMPTS_MAX {
            let Next::Again { pause, .. } = state.judge(failed(Failure::NotOwner)) else {
                panic!("one more is allowed: {state:?}");
            };
            assert!((PAUSE_MIN..=PAUSE_MAX).contains(&pause), "{pause:?}");
        }
        let last = state.judge(failed(Failure::NotOwner));
        assert_eq!(last, Next::Report(Err(Failure::NotOwner)));
        assert_eq!(state.count(), ATTEMPTS_MAX);
    }
}
