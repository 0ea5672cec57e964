//! Which day's keys a key belongs to, and which days are over.
//!
//! Pure, and the same for every engine.

use crate::{change::Used, runs::Entry};
use ledger::record::SEQ_MAX;
use std::collections::BTreeMap;
use wire::{Flaw, PartitionId, Timestamp};

/// Days of keys kept: today's and yesterday's, so each key for a day at least.
const KEY_DAYS: i64 = 2;
const DAY_MICROS: i64 = 86_400_000_000;

/// Keys by the day and partition that they are kept under.
pub(crate) struct ByDay {
    pub(crate) groups: BTreeMap<(i64, PartitionId), Vec<Entry>>,
    /// Days whose keys are to be dropped.
    pub(crate) over: Vec<i64>,
}

/// Each key goes to its day, or to the newest one when its day is over: the clocks of the processes
/// that write here may differ by days, when somebody has set the clock between their starts, and no
/// key may be missing for that. `days`: those that are there. Keys of days before `from` are left
/// out.
pub(crate) fn by_day(used: &[Used], days: &[i64], from: i64) -> Result<ByDay, Flaw> {
    let mut out = ByDay { groups: BTreeMap::new(), over: Vec::new() };
    let used = || used.iter().filter(|(.., time)| from <= day(*time));
    let Some(newest) = used().map(|(.., time)| day(*time)).max() else { return Ok(out) };
    let newest = days.iter().fold(newest, |newest, day| newest.max(*day));
    let oldest = newest.saturating_sub(KEY_DAYS - 1);
    for (key, partition, seq, index, time) in used() {
        if SEQ_MAX < seq.0 {
            return Err(Flaw("the record of a key is beyond what an id can bear"));
        }
        let day = Some(day(*time)).filter(|day| oldest <= *day).unwrap_or(newest);
        let entry = Entry { key: *key, seq: *seq, index: *index };
        out.groups.entry((day, *partition)).or_default().push(entry);
    }
    let of_groups = out.groups.keys().map(|(day, _)| day);
    let mut days: Vec<i64> = days.iter().chain(of_groups).copied().collect();
    days.sort_unstable_by(|a, b| b.cmp(a));
    days.dedup();
    // As many days stay as are kept, also when those between them are missing: were the clock
    // wrong by days, all keys would be gone at once.
    let beyond = days.into_iter().skip(usize::try_from(KEY_DAYS).expect("two days"));
    out.over = beyond.filter(|day| *day < oldest).collect();
    Ok(out)
}

/// The day of a time, counted from 1970.
pub(crate) fn day(time: Timestamp) -> i64 {
    time.0.div_euclid(DAY_MICROS)
}

/// When a day begins.
pub(crate) fn day_start(day: i64) -> Timestamp {
    Timestamp(day.saturating_mul(DAY_MICROS))
}

/// The first day whose keys still count when it is `end`.
pub(crate) fn first_day(end: Timestamp) -> i64 {
    day(end).saturating_sub(KEY_DAYS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{KeyHash, Seq};

    fn at(day: i64) -> Used {
        (KeyHash(7), PartitionId(3), Seq(9), 1, Timestamp(day_start(day).0 + 5))
    }

    #[test]
    fn a_key_goes_to_its_day_or_to_the_newest_when_that_is_over() {
        for (there, used, kept, over) in [
            (vec![], vec![20, 20], vec![20], vec![]),
            (vec![20], vec![21, 20], vec![20, 21], vec![]),
            (vec![21, 20], vec![22], vec![22], vec![20]),
            (vec![21, 20], vec![22, 20], vec![22], vec![20]),
            (vec![27], vec![20], vec![27], vec![]),
            (vec![20], vec![27], vec![27], vec![]),
            (vec![27, 20], vec![28], vec![28], vec![20]),
            (vec![28, 27, 20], vec![-1], vec![28], vec![20]),
        ] {
            let used: Vec<Used> = used.into_iter().map(at).collect();
            let ByDay { groups, over: dropped } = by_day(&used, &there, i64::MIN).unwrap();
            let days: Vec<i64> = groups.keys().map(|it| it.0).collect();
            assert_eq!((days, dropped), (kept, over), "{there:?}, {used:?}");
            assert_eq!(groups.values().map(Vec::len).sum::<usize>(), used.len());
        }
    }

    #[test]
    fn keys_from_before_and_of_no_record_are_left_out() {
        let used = [at(20), at(22)];
        let ByDay { groups, .. } = by_day(&used, &[], first_day(at(23).4)).unwrap();
        assert_eq!(groups.keys().map(|it| it.0).collect::<Vec<_>>(), [22]);
        let beyond = [(KeyHash(7), PartitionId(3), Seq(SEQ_MAX + 1), 1, Timestamp(0))];
        assert!(by_day(&beyond, &[], 0).is_err());
    }
}
