//! How regularly the beats of one check come in: only ever a doubt, never a verdict.

use std::time::Duration;

/// Share of a new gap in the mean, and of its distance in the deviation: 1/8 and 1/4, as TCP
/// estimates round trips (RFC 6298).
const MEAN_SHIFT: u32 = 3;
const DEVIATION_SHIFT: u32 = 2;
/// Deviations beyond the mean at which a beat is late.
const DEVIATIONS: u32 = 4;
/// Gaps that have to be known before statistics say anything.
const GAPS_MIN: u32 = 8;

/// Mean and deviation of the gaps between beats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    mean: Duration,
    deviation: Duration,
    gaps: u32,
}

impl Arrival {
    /// Learns from a gap. One longer than `longest` was an outage, and teaches nothing.
    pub fn learn(&mut self, gap: Duration, longest: Duration) {
        if longest < gap {
            return;
        }
        if self.gaps == 0 {
            (self.mean, self.deviation) = (gap, gap / 2);
        } else {
            let off = self.mean.abs_diff(gap);
            self.deviation = blend(self.deviation, off, DEVIATION_SHIFT);
            self.mean = blend(self.mean, gap, MEAN_SHIFT);
        }
        self.gaps = self.gaps.saturating_add(1);
    }

    /// How long after a beat the next one is late: between a quarter of the period and half of the
    /// grace beyond the period.
    pub fn late_after(&self, period: Duration, grace: Duration) -> Duration {
        let least = period + (period / 4).min(grace / 2);
        let most = period + grace / 2;
        if self.gaps < GAPS_MIN {
            return most;
        }
        (self.mean + self.deviation * DEVIATIONS).clamp(least, most)
    }

    /// A grace that would have let every usual beat in time, for people who choose one.
    pub fn suggested_grace(&self, period: Duration) -> Option<Duration> {
        let usual = self.mean + self.deviation * DEVIATIONS * 2;
        (GAPS_MIN <= self.gaps).then(|| usual.saturating_sub(period).max(period / 4))
    }
}

fn blend(old: Duration, new: Duration, shift: u32) -> Duration {
    let part = 1_u32 << shift;
    (old * (part - 1) + new) / part
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(2);
    const GRACE: Duration = Duration::from_secs(3);

    fn regular(jitter_ms: u64) -> Arrival {
        let mut arrival = Arrival::default();
        for turn in 0..100_u64 {
            let gap = 2_000 + if turn.is_multiple_of(2) { jitter_ms } else { 0 };
            arrival.learn(Duration::from_millis(gap), PERIOD + GRACE);
        }
        arrival
    }

    #[test]
    fn a_regular_sender_is_late_sooner() {
        assert_eq!(Arrival::default().late_after(PERIOD, GRACE), Duration::from_millis(3_500));
        assert_eq!(regular(0).late_after(PERIOD, GRACE), Duration::from_millis(2_500));
        let loose = regular(400).late_after(PERIOD, GRACE);
        assert!(Duration::from_millis(2_800) < loose, "{loose:?}");
        assert!(loose <= Duration::from_millis(3_500), "{loose:?}");
    }

    #[test]
    fn an_outage_teaches_nothing() {
        let mut arrival = regular(0);
        let before = arrival;
        arrival.learn(Duration::from_secs(3_600), PERIOD + GRACE);
        assert_eq!(arrival, before);
        assert_eq!(arrival.suggested_grace(PERIOD), Some(Duration::from_millis(500)));
    }
}
