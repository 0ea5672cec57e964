//! Which runs of clients' keys become one, and how much of that a projection does.
//!
//! [`FAN_OUT`] runs of a size become one, and with them the smaller ones beside them. That may be
//! millions of keys, while a projection brings some hundreds, and others wait for it. So a merge goes
//! on over many projections: each moves the keys of one slice of the range of keys from the runs that
//! are its inputs to its target. Meanwhile all of them are runs like others, for who looks for a key
//! looks into all.
//!
//! Of a partition and day the smallest merge goes first. Each level of sizes needs one turn in
//! [`MOVES_PER_KEY`], and at eight runs of a size there are that many levels in more keys than any
//! filter knows (`ledger/src/seen.rs`), so the largest has its turns, too.
//!
//! Pure, and the same for every engine.

use crate::runs::{Entry, KEY_LAST, count, settle, slice_end};
use std::{cmp::Reverse, collections::BTreeMap};
use wire::KeyHash;

/// Runs of a size that become one.
const FAN_OUT: usize = 8;
/// Runs that one merge takes: each has a block in two slices of it.
const INPUTS_MAX: usize = 2 * FAN_OUT;
/// Keys that may be moved for each one that comes.
const MOVES_PER_KEY: u64 = 16;
/// Keys of a slice at the least: with fewer its blocks at both ends would be most of it.
const SLICE_KEYS_MIN: u64 = 1 << 11;
/// Keys of a slice at the most: 3 MB.
const SLICE_KEYS_MAX: u64 = 1 << 17;

/// A run of a partition and a day, as its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Of the last record of the projection that wrote it, and below zero if that began it as the
    /// target of a merge.
    pub(crate) number: i64,
    /// How many keys it has, or had before they began to be moved.
    pub(crate) keys: u64,
    /// The run that its keys are moved to.
    pub(crate) target: Option<i64>,
    /// Of a target: the last key that there may be in it until now.
    pub(crate) merged: Option<KeyHash>,
}

/// What a projection does of a merge: it moves the keys of this slice, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The run that they are moved to. `None`: it begins here (see [`Step::target_number`]).
    pub(crate) target: Option<i64>,
    /// The numbers of the runs that they are in.
    pub(crate) inputs: Vec<i64>,
    pub(crate) first: KeyHash,
    pub(crate) last: KeyHash,
}

impl Step {
    /// The number of the target. `number`: of the run that the same projection writes.
    pub(crate) fn target_number(&self, number: i64) -> i64 {
        self.target.unwrap_or(-number)
    }

    /// Of what the inputs' blocks have, what is moved, as it is written.
    pub(crate) fn settle(&self, entries: &mut Vec<Entry>) {
        entries.retain(|it| (self.first..=self.last).contains(&it.key));
        settle(entries);
    }

    /// Whether nothing is left in the inputs behind it.
    pub(crate) fn is_last(&self) -> bool {
        self.last == KEY_LAST
    }

    /// As its target's row says it afterwards.
    pub(crate) fn merged(&self) -> Option<KeyHash> {
        (!self.is_last()).then_some(self.last)
    }
}

/// How far a target among these runs has got: its inputs may still have what it has.
fn merged(runs: &[Run], target: i64) -> Option<KeyHash> {
    runs.iter().find(|it| it.number == target)?.merged
}

/// Takes from the keys of one of these runs those that its target has, too.
pub(crate) fn drop_moved(runs: &[Run], run: &Run, entries: &mut Vec<Entry>) {
    if let Some(merged) = run.target.and_then(|target| merged(runs, target)) {
        entries.retain(|it| merged < it.key);
    }
}

/// What is done beside the new keys, which become a run of their own: for each partition and day
/// that a projection brings keys to, from the runs that it has, and how many come.
///
/// Who has most runs comes first, so that nobody has to wait for ever.
pub(crate) fn plan(partitions: &[(Vec<Run>, usize)]) -> Vec<Option<Step>> {
    let fresh: usize = partitions.iter().map(|(_, fresh)| fresh).sum();
    let mut left = MOVES_PER_KEY.saturating_mul(count(fresh)).max(SLICE_KEYS_MIN);
    let mut order: Vec<usize> = (0..partitions.len()).collect();
    order.sort_by_key(|at| Reverse(partitions[*at].0.len()));
    let mut steps = vec![None; partitions.len()];
    for at in order {
        let (runs, fresh) = &partitions[at];
        let Some(merge) = smallest(runs) else { continue };
        let wanted = MOVES_PER_KEY.saturating_mul(count(*fresh));
        let wanted = wanted.clamp(SLICE_KEYS_MIN, SLICE_KEYS_MAX);
        let moved = wanted.min(merge.keys);
        if moved <= left {
            left -= moved;
            steps[at] = Some(merge.step(wanted));
        }
    }
    steps
}

/// A merge that goes on, or one that may begin.
struct Merge {
    target: Option<i64>,
    inputs: Vec<i64>,
    /// Of all inputs.
    keys: u64,
    /// The last key that was moved.
    merged: Option<KeyHash>,
}

impl Merge {
    fn of(target: Option<i64>, merged: Option<KeyHash>, inputs: &[Run]) -> Merge {
        let keys = inputs.iter().map(|it| it.keys).sum();
        Merge { target, inputs: inputs.iter().map(|it| it.number).collect(), keys, merged }
    }

    fn step(self, wanted: u64) -> Step {
        let first = self.merged.map_or(KeyHash(0), |key| KeyHash(key.0.saturating_add(1)));
        let last = slice_end(first, self.keys, wanted);
        Step { target: self.target, inputs: self.inputs, first, last }
    }
}

/// The merge of fewest keys of a partition and day, if there is any to be done.
fn smallest(runs: &[Run]) -> Option<Merge> {
    let mut begun = BTreeMap::<i64, Vec<Run>>::new();
    let mut whole = Vec::new();
    for run in runs {
        match (run.target, run.merged) {
            (Some(target), _) => begun.entry(target).or_default().push(*run),
            (None, None) => whole.push(*run),
            (None, Some(_)) => (),
        }
    }
    let begun = begun
        .iter()
        .map(|(target, inputs)| Merge::of(Some(*target), merged(runs, *target), inputs));
    begun.chain(next(whole)).min_by_key(|it| it.keys)
}

/// The merge that may begin: of the smallest size of which there are enough, with what is smaller.
fn next(mut whole: Vec<Run>) -> Option<Merge> {
    whole.sort_unstable_by_key(|it| (it.keys, it.number));
    let mut sizes = whole.chunk_by(|a, b| size(a.keys) == size(b.keys));
    let mut end = 0;
    let _enough = sizes.find(|runs| {
        end += runs.len();
        FAN_OUT <= runs.len()
    })?;
    Some(Merge::of(None, None, &whole[end.saturating_sub(INPUTS_MAX)..end]))
}

/// Runs of one size differ by less than [`FAN_OUT`] times.
fn size(keys: u64) -> u32 {
    keys.max(1).ilog(FAN_OUT as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Rng;

    /// The runs of a partition, and the keys that projections wrote and brought.
    #[derive(Default)]
    struct Partition {
        runs: Vec<Run>,
        written: f64,
        brought: f64,
        /// Keys that are only in the targets of merges.
        moved: BTreeMap<i64, u64>,
    }

    impl Partition {
        /// What an engine does, with keys that are spread as evenly as can be.
        fn project(&mut self, turn: i64, fresh: usize, step: Option<Step>) -> u64 {
            let mut moved = 0;
            if let Some(step) = step {
                moved = self.step(turn, &step);
            }
            let keys = count(fresh);
            self.runs.push(Run { number: turn, keys, target: None, merged: None });
            self.written += (keys + moved) as f64;
            self.brought += keys as f64;
            moved
        }

        fn step(&mut self, turn: i64, step: &Step) -> u64 {
            assert!((2..=INPUTS_MAX).contains(&step.inputs.len()), "{step:?}");
            let target = step.target_number(turn);
            let is_begun = self.runs.iter().any(|it| it.number == target);
            assert_eq!(is_begun, step.target.is_some(), "{step:?}");
            let mut keys = 0;
            for run in self.runs.iter_mut().filter(|it| step.inputs.contains(&it.number)) {
                assert_eq!((run.target, run.merged), (step.target, None), "{step:?}");
                keys += run.keys;
                run.target = Some(target);
            }
            let before = self.moved.remove(&target).unwrap_or(0);
            let merged = (u128::from(keys) * (step.last.0 >> 64)) >> 64;
            let merged = u64::try_from(merged).unwrap();
            let merged = if step.is_last() { keys } else { merged };
            if step.is_last() {
                self.runs.retain(|it| !step.inputs.contains(&it.number));
            } else {
                let _none = self.moved.insert(target, merged);
            }
            self.runs.retain(|it| it.number != target);
            let run = Run { number: target, keys: merged, target: None, merged: step.merged() };
            self.runs.push(run);
            merged - before
        }
    }

    /// Projections that bring so many keys to each of so many partitions: the most runs that a
    /// partition had in their second half, and how often a key was written.
    fn grow(partitions: usize, turns: i64, mut fresh: impl FnMut(i64) -> usize) -> (usize, f64) {
        let mut all: Vec<Partition> = (0..partitions).map(|_| Partition::default()).collect();
        let mut most = 0;
        for turn in 1..=turns {
            let fresh: Vec<usize> = all.iter().map(|_| fresh(turn)).collect();
            let known: Vec<_> =
                all.iter().zip(&fresh).map(|(it, fresh)| (it.runs.clone(), *fresh)).collect();
            let mut moved = 0;
            for ((it, fresh), step) in all.iter_mut().zip(&fresh).zip(plan(&known)) {
                moved += it.project(turn, *fresh, step);
            }
            let allowed = MOVES_PER_KEY * count(fresh.iter().sum());
            assert!(moved <= allowed.max(SLICE_KEYS_MIN) * 11 / 10, "{moved} of {allowed}");
            let runs = all.iter().map(|it| it.runs.len()).max().unwrap_or(0);
            most = most.max(if turn <= turns / 2 { 0 } else { runs });
        }
        for it in &all {
            let kept = it.runs.iter().filter(|run| run.merged.is_none());
            let kept: u64 = kept.map(|run| run.keys).sum();
            assert_eq!(kept as f64, it.brought, "no key is lost");
        }
        let (written, brought) =
            all.iter().fold((0.0, 0.0), |sum, it| (sum.0 + it.written, sum.1 + it.brought));
        (most, written / brought)
    }

    #[test]
    fn runs_stay_few_and_keys_are_written_few_times() {
        // One key at a time, for an hour.
        let (runs, writes) = grow(1, 3_600, |_| 1);
        assert!(runs <= 30 && writes < 4.0, "{runs}, {writes}");
        // 45 million, those of a day of a million a minute over two services.
        let (runs, writes) = grow(1, 20_000, |_| 2_250);
        assert!(runs <= 50 && writes < 5.0, "{runs}, {writes}");
        let (runs, writes) = grow(16, 3_600, |_| 260);
        assert!(runs <= 40 && writes < 4.0, "{runs}, {writes}");
        // More partitions than have their turn soon.
        let (runs, writes) = grow(100, 1_000, |_| 20);
        assert!(runs <= 30 && writes < 4.0, "{runs}, {writes}");
        // Whatever comes.
        let mut rng = Rng::new(5);
        let any = |_| {
            let bound = [8, 64, 512, 4_096][rng.below(4)];
            1 + rng.below(bound)
        };
        let (runs, writes) = grow(8, 3_600, any);
        assert!(runs <= 70 && writes < 4.0, "{runs}, {writes}");
        // More at once than slices move, and then little: it is made good.
        let (runs, writes) = grow(2, 20_000, |turn| if turn < 20 { 600_000 } else { 30 });
        assert!(runs <= 50 && writes < 2.5, "{runs}, {writes}");
    }

    fn run(number: i64, keys: u64) -> Run {
        Run { number, keys, target: None, merged: None }
    }

    #[test]
    fn a_merge_goes_on_from_slice_to_slice() {
        let mut it = Partition {
            runs: (1..=8).map(|number| run(number, 9_000)).collect(),
            ..Partition::default()
        };
        let mut first = KeyHash(0);
        for turn in 20..56 {
            let step = plan(&[(it.runs.clone(), 1)]).remove(0).unwrap();
            assert_eq!((step.first, step.target), (first, (20 < turn).then_some(-20)));
            assert_eq!(step.inputs, (1..=8).collect::<Vec<_>>());
            assert_eq!(step.is_last(), turn == 55, "72,000 keys in slices of 2,048");
            let moved = it.step(turn, &step);
            assert!(moved <= SLICE_KEYS_MIN);
            first = KeyHash(step.last.0.wrapping_add(1));
        }
        assert_eq!(it.runs, [run(-20, 72_000)]);
        assert_eq!(plan(&[(it.runs, 1)]), [None]);
    }

    #[test]
    fn the_smallest_merge_goes_first_and_takes_what_is_smaller_along() {
        let inputs = |runs: &[Run]| {
            let step = plan(&[(runs.to_vec(), 10)]).remove(0);
            step.map(|it| (it.target, it.inputs))
        };
        let of = |from, keys| (from..from + 8).map(move |number| run(number, keys));
        let large: Vec<Run> = of(1, 5_000).collect();
        assert_eq!(inputs(&large[..7]), None);
        assert_eq!(inputs(&large), Some((None, (1..=8).collect())));
        let with_small: Vec<Run> =
            [run(30, 2), run(31, 70)].into_iter().chain(of(1, 5_000)).collect();
        let numbers = [30, 31].into_iter().chain(1..=8).collect();
        assert_eq!(inputs(&with_small), Some((None, numbers)));
        // What is larger stays, and so does what is moved already, and where to.
        let mut begun = large;
        begun.iter_mut().for_each(|it| it.target = Some(-9));
        begun.push(Run { merged: Some(KeyHash(77)), ..run(-9, 100) });
        begun.push(run(10, 1 << 30));
        assert_eq!(inputs(&begun), Some((Some(-9), (1..=8).collect())));
        begun.extend(of(40, 3));
        assert_eq!(inputs(&begun), Some((None, (40..48).collect())));
        // No more at once than a merge may take, the smallest last.
        let many: Vec<Run> = (1..=40).map(|number| run(number, 8)).collect();
        assert_eq!(inputs(&many), Some((None, (25..=40).collect())));
    }

    #[test]
    fn who_has_most_runs_comes_first_when_not_all_may() {
        let with =
            |runs: i64, fresh| ((1..=runs).map(|it| run(it, 400)).collect::<Vec<_>>(), fresh);
        let who =
            |partitions: &[_]| plan(partitions).iter().map(Option::is_some).collect::<Vec<_>>();
        assert_eq!(who(&[with(9, 10), with(12, 10), with(9, 10)]), [false, true, false]);
        assert_eq!(who(&[with(9, 400), with(7, 400), with(9, 400)]), [true, false, true]);
    }
}
