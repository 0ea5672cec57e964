//! Prequal's hot/cold rule (Wydrowski and others, NSDI 2024) over load reports and our own view.
//!
//! In flight says at once that an endpoint is in trouble, latency says which of the others is the
//! fastest. So an endpoint with more in flight than most is hot and left alone while any is cold, and
//! of the cold the lowest latency wins.

use super::View;
use crate::endpoint::Load;
use stdx::Rng;

/// At most so many are looked at, the size of Prequal's pool of probes, and at least two.
const SAMPLE_MAX: usize = 16;
const SAMPLE_MIN: usize = 2;
/// Of the candidates, one in so many. Who looks at all of them sends where all the other balancers
/// send that have the same reports: in the simulation of `docs/balancing.md`, to look at all of five
/// subtrees and at 16 of 20 servers makes p99.9 below 80 % of capacity 577 ms instead of 211, and
/// errors over the ramp 17.7 % instead of 13.5 %.
const SAMPLE_DIVISOR: usize = 3;
/// What has more in flight than this share of the pool is hot (Q_RIF, Prequal's default).
const HOT_QUANTILE: f64 = 0.84;

/// The number in flight, per weight, above which an endpoint is hot: a quantile of the whole pool,
/// not of the sample.
#[derive(Clone, Debug, Default)]
pub(crate) struct Threshold {
    depth: f64,
    /// Choices until it is computed anew: with many endpoints it does not change with one request.
    fresh_for: usize,
    scratch: Vec<f64>,
}

pub(super) fn choose(view: &mut View<'_>, rng: &mut Rng, threshold: &mut Threshold) -> usize {
    let hot_above = threshold.depth(view);
    let count = view.candidates.len();
    let mut best: Option<(Rank, usize)> = None;
    let sample = count.div_ceil(SAMPLE_DIVISOR).clamp(SAMPLE_MIN, SAMPLE_MAX).min(count);
    for at in 0..sample {
        // A draw without replacement, in random order, so that the first of equals is a random one.
        let drawn = at + rng.below(count - at);
        view.candidates.swap(at, drawn);
        let index = view.candidates[at];
        let load = view.endpoints[index].load(view.now, view.usual);
        let rank = Rank::new(load, hot_above);
        if best.as_ref().is_none_or(|(least, _)| rank.is_better(least)) {
            best = Some((rank, index));
        }
    }
    best.map(|(_, index)| index).expect("there is a candidate")
}

/// Compares in this order, first hot or not.
struct Rank {
    hot: bool,
    first: f64,
    second: f64,
}

impl Rank {
    fn new(load: Load, hot_above: f64) -> Rank {
        let hot = load.full || hot_above < load.depth;
        let (first, second) =
            if hot { (load.depth, load.latency) } else { (load.latency, load.depth) };
        Rank { hot, first, second }
    }

    fn is_better(&self, other: &Rank) -> bool {
        let first = self.first.total_cmp(&other.first);
        let second = self.second.total_cmp(&other.second);
        self.hot.cmp(&other.hot).then(first).then(second).is_lt()
    }
}

impl Threshold {
    /// The quantile, between the two nearest numbers in proportion: of two endpoints, the busier
    /// one is hot.
    fn depth(&mut self, view: &View<'_>) -> f64 {
        if self.fresh_for != 0 {
            self.fresh_for -= 1;
            return self.depth;
        }
        self.fresh_for = view.up.len() / SAMPLE_MAX;
        self.scratch.clear();
        let depths = view.up.iter().map(|&it| view.endpoints[it].load(view.now, view.usual).depth);
        self.scratch.extend(depths);
        self.depth = quantile(&mut self.scratch);
        self.depth
    }

    /// The pool changed: what was computed is of another one.
    pub(crate) fn forget(&mut self) {
        self.fresh_for = 0;
    }
}

fn quantile(depths: &mut [f64]) -> f64 {
    let Some(last) = depths.len().checked_sub(1) else { return 0.0 };
    let place = HOT_QUANTILE * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ≤ place ≤ last")]
    let below = place as usize;
    let (_, &mut low, above) = depths.select_nth_unstable_by(below, f64::total_cmp);
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    low + (place - below as f64) * (high - low)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[track_caller]
    fn check(depths: &[f64], hot: &[f64]) {
        let above = quantile(&mut depths.to_vec());
        let found: Vec<f64> = depths.iter().copied().filter(|&depth| above < depth).collect();
        assert_eq!(found, hot, "{depths:?} above {above}");
    }

    #[test]
    fn the_few_with_the_most_in_flight_are_hot() {
        check(&[], &[]);
        check(&[5.0], &[]);
        check(&[5.0, 5.0], &[]);
        check(&[5.0, 6.0], &[6.0]);
        check(&[9.0, 1.0, 5.0], &[9.0]);
        check(&[9.0, 9.0, 1.0], &[]);
        let sixteen: Vec<f64> = (0..16).map(f64::from).collect();
        check(&sixteen, &[13.0, 14.0, 15.0]);
    }
}
