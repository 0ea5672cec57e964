//! Tells the late from the living by their stamps, without a clock.
//!
//! A node changes its stamp again and again; whoever watches looks at about the same pace and
//! counts its own looks since the last change. A watcher that was paused itself has not looked, and
//! so blames nobody for its own absence; nor does anything follow from setting a clock.

use std::time::Duration;

/// How often a node changes its stamp, and looks at those of others. A look is never sooner after
/// the last one; on a busy machine it is later.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks without a change after which a node is given nothing: a second.
pub const QUIET_LOOKS: u32 = 4;
/// Looks without a change after which a node is late and may be ended: three seconds and a half.
pub const LATE_LOOKS: u32 = 14;

const _: () = assert!(QUIET_LOOKS < LATE_LOOKS);

/// What a node's stamp says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sign {
    /// It goes on.
    Lively,
    /// It has been still for a while: perhaps it is only slow.
    Quiet,
    /// It has been still for so long that it hangs.
    Late,
    /// Its process is gone: there is proof.
    Dead,
}

/// One watched node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    stamp: u64,
    still_looks: u32,
}

impl Watch {
    /// Begins with a look.
    pub fn new(stamp: u64) -> Watch {
        Watch { stamp, still_looks: 0 }
    }

    /// The next look, [`LOOK_EVERY`] after the last one.
    pub fn look(&mut self, stamp: u64) -> Sign {
        if stamp == self.stamp {
            self.still_looks = self.still_looks.saturating_add(1);
        } else {
            *self = Watch::new(stamp);
        }
        self.sign()
    }

    /// What the last look said.
    pub fn sign(&self) -> Sign {
        match self.still_looks {
            0..QUIET_LOOKS => Sign::Lively,
            QUIET_LOOKS..LATE_LOOKS => Sign::Quiet,
            LATE_LOOKS.. => Sign::Late,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_still_stamp_makes_quiet_and_late_and_a_change_makes_lively() {
        let mut watch = Watch::new(7);
        let signs: Vec<Sign> = (0..LATE_LOOKS + 1).map(|_| watch.look(7)).collect();
        let count = |sign| signs.iter().filter(|it| **it == sign).count();
        assert_eq!((count(Sign::Lively), count(Sign::Quiet), count(Sign::Late)), (3, 10, 2));
        assert_eq!(watch.look(8), Sign::Lively);
        // A stamp that goes back is a change like any other.
        assert_eq!(watch.look(7), Sign::Lively);
    }

    #[test]
    fn a_pause_shorter_than_the_limit_is_forgiven_again_and_again() {
        let mut watch = Watch::new(0);
        for round in 1..100 {
            assert!((1..LATE_LOOKS).all(|_| watch.look(round - 1) != Sign::Late));
            assert_eq!(watch.look(round), Sign::Lively);
        }
    }
}
