//! Roll-ups: what a minute, an hour or a day of a check was made of.
//!
//! Availability comes of the changes of a check, by [`availability::report`]; how often it beat and
//! what its numbers were is counted by the minute and folded into hours and days. Buckets are of
//! UTC.

use super::{
    availability::{Report, Turn, report},
    check::{between, micros},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use wire::Timestamp;

/// Numbers of one check that are summed up; more are left out.
pub const NUMBERS_MAX: usize = 16;

/// How long a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grain {
    Minute,
    Hour,
    Day,
}

impl Grain {
    /// Every grain, the finest first.
    pub const ALL: [Grain; 3] = [Grain::Minute, Grain::Hour, Grain::Day];

    /// The word for it.
    pub const fn text(self) -> &'static str {
        match self {
            Grain::Minute => "minute",
            Grain::Hour => "hour",
            Grain::Day => "day",
        }
    }

    /// The grain of this word.
    pub fn parse(text: &str) -> Option<Grain> {
        Grain::ALL.into_iter().find(|it| it.text() == text)
    }

    /// The length of a bucket.
    pub const fn length(self) -> Duration {
        Duration::from_secs(self.seconds())
    }

    /// The same as a number, as it is stored.
    pub const fn seconds(self) -> u64 {
        match self {
            Grain::Minute => 60,
            Grain::Hour => 3_600,
            Grain::Day => 86_400,
        }
    }

    /// The beginning of the bucket that holds this moment.
    pub fn floor(self, at: Timestamp) -> Timestamp {
        Timestamp(at.0 - at.0.rem_euclid(micros(self.length())))
    }

    /// The beginning of the bucket after the one that holds this moment.
    pub fn next(self, at: Timestamp) -> Timestamp {
        Timestamp(self.floor(at).0.saturating_add(micros(self.length())))
    }
}

/// What one number was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub count: u64,
    pub min: u64,
    pub max: u64,
    pub sum: u64,
}

impl Range {
    fn of(value: u64) -> Range {
        Range { count: 1, min: value, max: value, sum: value }
    }

    fn add(&mut self, other: Range) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
    }

    /// The mean, rounded down.
    pub fn mean(self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }
}

/// The beats of one bucket, and the numbers that came with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub beats: u64,
    pub numbers: BTreeMap<String, Range>,
}

impl Count {
    /// Counts a number of a beat.
    pub fn see(&mut self, name: &str, value: u64) {
        self.merge(name, Range::of(value));
    }

    /// Adds what another bucket counted.
    pub fn fold(&mut self, other: &Count) {
        self.beats = self.beats.saturating_add(other.beats);
        other.numbers.iter().for_each(|(name, range)| self.merge(name, *range));
    }

    fn merge(&mut self, name: &str, range: Range) {
        let has_room = self.numbers.len() < NUMBERS_MAX;
        match self.numbers.get_mut(name) {
            Some(it) => it.add(range),
            None if has_room => drop(self.numbers.insert(name.to_owned(), range)),
            None => {}
        }
    }
}

/// What is counted of a check in the minute that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// When the minute began.
    pub minute: Timestamp,
    pub count: Count,
}

impl Tally {
    /// Counts a beat. What was counted of an earlier minute comes back.
    pub fn beat(&mut self, at: Timestamp) -> Option<Tally> {
        let ended = self.end(Grain::Minute.floor(at));
        self.minute = Grain::Minute.floor(at);
        self.count.beats += 1;
        ended
    }

    /// What was counted of another minute than this one, if anything was.
    pub fn end(&mut self, minute: Timestamp) -> Option<Tally> {
        (self.minute != minute && self.count.beats != 0).then(|| std::mem::take(self))
    }
}

/// Each bucket between two moments with what it was made of; the first and the last as far as they
/// lie between them. `turns` are as [`report`] takes them.
pub fn buckets(
    turns: &[Turn],
    blind: &[(Timestamp, Timestamp)],
    (from, to): (Timestamp, Timestamp),
    grain: Grain,
) -> Vec<(Timestamp, Report)> {
    let mut out = Vec::new();
    let mut at = from;
    while at < to {
        let until = grain.next(at).min(to);
        // From the last turn before the bucket on.
        let first = turns.partition_point(|it| it.at <= at).saturating_sub(1);
        out.push((grain.floor(at), report(&turns[first..], blind, (at, until))));
        at = until;
    }
    out
}

/// Joins windows that follow one upon the other.
pub fn joined<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Report {
    reports.into_iter().fold(Report::default(), |sum, it| sum.then(it))
}

/// How many buckets lie between two moments.
pub fn buckets_count(from: Timestamp, to: Timestamp, grain: Grain) -> u64 {
    let whole = between(grain.floor(from), to).as_secs();
    whole.div_ceil(grain.seconds())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::availability::{Mark, overlay};
    use stdx::Rng;

    fn at(second: usize) -> Timestamp {
        Timestamp(i64::try_from(second).unwrap() * 1_000_000)
    }

    #[test]
    fn buckets_make_what_the_whole_makes() {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let mut turns = Vec::new();
            let mut second = 0;
            for _ in 0..rng.below(40) {
                second += rng.below(7_000);
                let marks = [Mark::Up, Mark::Down, Mark::Down, Mark::Unknown, Mark::Away];
                turns.push(Turn { at: at(second), mark: marks[rng.below(5)] });
            }
            let (start, length) = (rng.below(90_000), rng.below(9_000));
            let blind = [(at(start), at(start + length))];
            let from = rng.below(90_000);
            let window = (at(from), at(from + rng.below(200_000)));
            let turns = overlay(&turns, &[(at(rng.below(50_000)), at(50_000 + rng.below(9_000)))]);
            let whole = report(&turns, &blind, window);
            for grain in Grain::ALL {
                let parts = buckets(&turns, &blind, window, grain);
                let sum = joined(parts.iter().map(|it| &it.1));
                assert_eq!(sum, whole, "seed {seed}, by {}", grain.text());
                assert!(parts.iter().all(|it| it.0 == grain.floor(it.0)));
                let count = buckets_count(window.0, window.1, grain);
                assert_eq!(u64::try_from(parts.len()).unwrap(), count, "seed {seed}");
            }
        }
    }

    #[test]
    fn joining_goes_in_any_grouping() {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let marks = [Mark::Up, Mark::Down, Mark::Down, Mark::Maintenance];
            let parts: Vec<Report> = (0..3)
                .map(|_| {
                    let length = Duration::from_secs(u64::try_from(rng.below(3)).unwrap());
                    match length.is_zero() {
                        true => Report::default(),
                        false => Report::all(marks[rng.below(4)], length),
                    }
                })
                .collect();
            let left = parts[0].then(&parts[1]).then(&parts[2]);
            assert_eq!(left, parts[0].then(&parts[1].then(&parts[2])), "seed {seed}: {parts:?}");
        }
    }

    #[test]
    fn a_tally_is_of_one_minute() {
        let mut tally = Tally::default();
        assert_eq!(tally.beat(at(61)), None);
        tally.count.see("disk", 7);
        assert_eq!(tally.beat(at(119)), None);
        tally.count.see("disk", 10);
        let ended = tally.beat(at(120)).unwrap();
        assert_eq!((ended.minute, ended.count.beats), (at(60), 2));
        let disk = ended.count.numbers["disk"];
        assert_eq!((disk.count, disk.min, disk.max, disk.mean()), (2, 7, 10, 8));
        assert_eq!(tally.end(at(120)), None);
        assert_eq!(tally.end(at(180)).map(|it| it.count.beats), Some(1));
        assert_eq!(tally.end(at(240)), None, "nothing was counted since");
    }

    #[test]
    fn a_flood_of_numbers_is_cut_off() {
        let mut count = Count::default();
        (0..2 * NUMBERS_MAX).for_each(|it| count.see(&it.to_string(), 1));
        assert_eq!(count.numbers.len(), NUMBERS_MAX);
    }
}
