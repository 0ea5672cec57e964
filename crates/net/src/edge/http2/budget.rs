//! How much a client may send that costs it nothing and us something.

use super::frame::{END_STREAM, Head, Kind, Reason};

/// Requests that a client takes back (CVE-2023-44487): at once, and more per sweep.
const RESETS_MAX: u32 = 100;
const RESETS_PER_SWEEP: u32 = 20;
/// Requests that a client makes us reset by breaking the rules (CVE-2025-8671).
const RESETS_OF_OURS_MAX: u32 = 64;
const RESETS_OF_OURS_PER_SWEEP: u32 = 20;
/// Requests beyond what may be in hand at a time: a client may not have read yet how many may be.
const REFUSALS_MAX: u32 = 2_000;
const REFUSALS_PER_SWEEP: u32 = 500;
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
    resets_of_ours: u32,
    refusals: u32,
    nuisances: u32,
    window_updates: u32,
}

impl Budgets {
    pub(super) fn new(tick: u64) -> Budgets {
        Budgets {
            tick,
            resets: RESETS_MAX,
            resets_of_ours: RESETS_OF_OURS_MAX,
            refusals: REFUSALS_MAX,
            nuisances: NUISANCES_MAX,
            window_updates: WINDOW_UPDATES_MAX,
        }
    }

    /// Takes a frame from its budget.
    pub(super) fn spend(&mut self, head: &Head, tick: u64) -> Result<(), Reason> {
        if self.tick < tick {
            let sweeps = u32::try_from(tick - self.tick).unwrap_or(u32::MAX);
            let refill = |left: &mut u32, per_sweep: u32, max: u32| {
                *left = left.saturating_add(per_sweep.saturating_mul(sweeps)).min(max);
            };
            refill(&mut self.resets, RESETS_PER_SWEEP, RESETS_MAX);
            refill(&mut self.resets_of_ours, RESETS_OF_OURS_PER_SWEEP, RESETS_OF_OURS_MAX);
            refill(&mut self.refusals, REFUSALS_PER_SWEEP, REFUSALS_MAX);
            refill(&mut self.nuisances, NUISANCES_PER_SWEEP, NUISANCES_MAX);
            refill(&mut self.window_updates, WINDOW_UPDATES_PER_SWEEP, WINDOW_UPDATES_MAX);
            self.tick = tick;
        }
        let budget = match head.kind {
            Kind::Reset => &mut self.resets,
            Kind::WindowUpdate => &mut self.window_updates,
            Kind::Data if head.length == 0 && !head.has(END_STREAM) => &mut self.nuisances,
            Kind::Ping | Kind::Settings | Kind::Priority | Kind::Unknown => &mut self.nuisances,
            Kind::Data | Kind::Headers | Kind::Push | Kind::GoAway | Kind::Continuation => {
                return Ok(());
            }
        };
        take_one(budget)
    }

    /// Takes a stream from its budget that we reset.
    pub(super) fn reset(&mut self) -> Result<(), Reason> {
        take_one(&mut self.resets_of_ours)
    }

    /// Takes a stream from its budget that we refuse.
    pub(super) fn refuse(&mut self) -> Result<(), Reason> {
        take_one(&mut self.refusals)
    }
}

fn take_one(budget: &mut u32) -> Result<(), Reason> {
    *budget = budget.checked_sub(1).ok_or(Reason::EnhanceYourCalm)?;
    Ok(())
}
