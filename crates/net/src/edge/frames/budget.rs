//! How much a client may send that costs it nothing and us something.

use super::{END_STREAM, Head, Kind, Reason};

/// Requests that a client takes back (CVE-2023-44487): at once, and more per sweep.
const RESETS_MAX: u32 = 100;
const RESETS_PER_SWEEP: u32 = 20;
/// Pings, settings, priorities, empty data and what we do not know.
const NUISANCES_MAX: u32 = 500;
const NUISANCES_PER_SWEEP: u32 = 100;
/// Window updates: a client that takes much sends many.
const WINDOW_UPDATES_MAX: u32 = 20_000;
const WINDOW_UPDATES_PER_SWEEP: u32 = 20_000;

/// What is left for each kind of trouble.
#[derive(Debug)]
pub(super) struct Budgets {
    tick: u64,
    resets: u32,
    nuisances: u32,
    window_updates: u32,
}

impl Budgets {
    pub(super) fn new(tick: u64) -> Budgets {
        Budgets {
            tick,
            resets: RESETS_MAX,
            nuisances: NUISANCES_MAX,
            window_updates: WINDOW_UPDATES_MAX,
        }
    }

    /// Takes a frame from its budget.
    pub(super) fn spend(&mut self, kind: Kind, head: &Head, tick: u64) -> Result<(), Reason> {
        if self.tick < tick {
            let sweeps = u32::try_from(tick - self.tick).unwrap_or(u32::MAX);
            let refill = |left: &mut u32, per_sweep: u32, max: u32| {
                *left = left.saturating_add(per_sweep.saturating_mul(sweeps)).min(max);
            };
            refill(&mut self.resets, RESETS_PER_SWEEP, RESETS_MAX);
            refill(&mut self.nuisances, NUISANCES_PER_SWEEP, NUISANCES_MAX);
            refill(&mut self.window_updates, WINDOW_UPDATES_PER_SWEEP, WINDOW_UPDATES_MAX);
            self.tick = tick;
        }
        let budget = match kind {
            Kind::Reset => &mut self.resets,
            Kind::WindowUpdate => &mut self.window_updates,
            Kind::Data if head.length == 0 && !head.has(END_STREAM) => &mut self.nuisances,
            Kind::Ping | Kind::Settings | Kind::Priority | Kind::Unknown => &mut self.nuisances,
            Kind::Data | Kind::Headers | Kind::Push | Kind::GoAway | Kind::Continuation => {
                return Ok(());
            }
        };
        *budget = budget.checked_sub(1).ok_or(Reason::EnhanceYourCalm)?;
        Ok(())
    }
}
