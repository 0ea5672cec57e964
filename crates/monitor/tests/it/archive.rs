//! The store from outside: what is summed up is what the changes say, through restarts, outages
//! that are found late, and the end of what is kept.

use crate::cluster::{Cluster, cluster};
use engine::{EngineUrl, url::PostgresUrl};
use monitor::{
    book::{Check, Plan},
    config::Retention,
    core::{
        availability::{Mark, Turn, merged, overlay, report},
        check::{Change, CheckId, Kept, Now, State, Why},
        rollup::{Count, Grain, Tally, joined},
    },
    store::{Archive, Bucket, History, Known, Old, Row, Site, Store, StoreError, Tallied},
};
use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};
use stdx::{Moment, Rng};
use wire::Timestamp;

const CHECK: CheckId = CheckId(1);
/// Longer than any of the tests goes.
const LONG: Retention = Retention { minutes: Duration::from_secs(30 * 86_400), ..Retention::USUAL };

/// A site for a test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("archive-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The URL of a database of this name.
pub(crate) fn database(cluster: &Cluster, name: &str) -> PostgresUrl {
    match EngineUrl::parse(&cluster.url(&cluster.create(name))) {
        Ok(EngineUrl::Postgres(url)) => url,
        other => panic!("{other:?}"),
    }
}

/// The same test on every kind of store.
fn on_each(name: &str, test: impl Fn(&Site)) {
    let folder = Folder::new(name);
    test(&Site::Folder(folder.0.clone()));
    if let Some(cluster) = cluster() {
        let url = database(cluster, &format!("archive_{name}"));
        test(&Site::Database { url, monitor: "monitor".to_owned() });
    }
}

/// A store, and whoever reads it.
struct Open {
    store: Store,
    archive: Archive,
}

impl Open {
    fn at(site: &Site) -> Open {
        let (store, _) = Store::open(site).unwrap();
        Open { store, archive: Archive::open(site).unwrap() }
    }

    fn write(&self, rows: Vec<Row>) {
        assert_eq!(self.store.write(rows).blocking_recv(), Ok(true));
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&History) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.archive.ask(question)).unwrap()
    }

    /// Makes every roll-up that is marked, as the monitor does.
    fn roll(&self, at: Timestamp, keep: Retention) {
        let mut last = None;
        loop {
            let rolled = self.ask(move |it| it.roll(now(at), last, &keep));
            let Some(it) = rolled.last() else { return };
            last = Some(it.check);
            self.write(rolled.into_iter().map(|it| Row::Rolled(Box::new(it))).collect());
        }
    }

    fn stored(&self, grain: Grain, to: Timestamp) -> Vec<Bucket> {
        self.ask(move |it| it.stored(CHECK, grain, (Timestamp(0), to)))
    }
}

fn now(wall: Timestamp) -> Now {
    Now { moment: Moment::ZERO, wall }
}

fn second(at: usize) -> Timestamp {
    // A Tuesday of 2026, at midnight.
    Timestamp((1_790_000_000 / 86_400 * 86_400 + i64::try_from(at).unwrap()) * 1_000_000)
}

fn check() -> Row {
    let plan = Plan::job("nightly", "nightly", second(0));
    let check = Check {
        id: CHECK,
        uuid: 7,
        plan,
        last_at: None,
        beats: 0,
        last_duration: None,
        said: None,
        numbers: Vec::new(),
        tokens: (0, second(0)),
        tally: Tally::default(),
        ended: None,
    };
    Row::Check(Box::new(check), Kept::new(second(0)))
}

/// The check after so many beats, the last of them at this second.
fn heard(beats: u64, at: usize) -> Row {
    let (kept, last_at) = (Kept::new(second(0)), Some(second(at)));
    Row::Heard(Box::new(Known { check: CHECK, kept, last_at, beats, duration: None }))
}

fn minute(at: usize, beats: u64, total: u64, mark: Option<Mark>) -> Row {
    let mut count = Count { beats, ..Count::default() };
    (0..beats).for_each(|it| count.see("disk", it));
    let tally = Tally { minute: second(at / 60 * 60), count };
    Row::Tallied(Box::new(Tallied { check: CHECK, tally, total, mark }))
}

fn flip(at: usize, since: usize, from: State, to: State) -> Row {
    Row::Flip(Change {
        check: CHECK,
        from,
        to,
        why: Why::Heard,
        at: second(at),
        since: second(since),
    })
}

/// What somebody who wrote everything down by hand knows.
#[derive(Default)]
struct Oracle {
    turns: Vec<Turn>,
    blind: Vec<(Timestamp, Timestamp)>,
    maintenance: Vec<(Timestamp, Timestamp)>,
    beats: BTreeMap<Timestamp, u64>,
}

impl Oracle {
    /// Two days and a half of a check; each step is written as the monitor would write it.
    fn live(&mut self, seed: u64, open: &mut Open, site: &Site, keep: Retention) -> usize {
        const STATES: [State; 5] =
            [State::Up, State::Down, State::Sick, State::Late, State::Stopped];
        let mut rng = Rng::new(seed);
        let (mut at, mut since, mut state, mut total) = (0, 0, State::New, 0);
        while at < 216_000 {
            at += rng.below(5_000) + 1;
            match rng.below(8) {
                0..4 => {
                    let to = STATES[rng.below(5)];
                    // Found late: it began before it was noticed, and before what was summed up.
                    since = at.saturating_sub(rng.below(9_000)).max(since);
                    open.write(vec![flip(at, since, state, to)]);
                    self.turns.push(Turn { at: second(since), mark: Mark::of(to) });
                    state = to;
                }
                4 | 5 => {
                    let beats = u64::try_from(rng.below(30)).unwrap() + 1;
                    total += beats;
                    let row = minute(at, beats, total, None);
                    // Written twice, it is counted once.
                    open.write(vec![row.clone(), row]);
                    *self.beats.entry(second(at / 60 * 60)).or_default() += beats;
                }
                6 => {
                    let from = second(at.saturating_sub(rng.below(2_000)));
                    open.write(vec![Row::Blind(from, second(at))]);
                    self.blind.push((from, second(at)));
                }
                _ => {
                    let until = second(at + rng.below(4_000));
                    let window = format!("w{at}");
                    open.write(vec![Row::Maintenance(CHECK, window, (second(at), until))]);
                    self.maintenance.push((second(at), until));
                }
            }
            match rng.below(4) {
                0 => open.roll(second(at), keep),
                1 => {
                    drop(std::mem::replace(open, Open::at(site)));
                }
                _ => {}
            }
        }
        at
    }

    fn turns(&self) -> Vec<Turn> {
        overlay(&self.turns, &self.maintenance)
    }
}

fn rollups_are_what_changes_say(site: &Site, seed: u64) {
    let mut open = Open::at(site);
    open.write(vec![check()]);
    let mut oracle = Oracle::default();
    let end = second(oracle.live(seed, &mut open, site, LONG));
    open.write(vec![Row::Unrolled(second(0))]);
    open.roll(end, LONG);
    let turns = oracle.turns();
    oracle.blind = merged(oracle.blind);
    let whole = report(&turns, &oracle.blind, (second(0), end));
    for grain in Grain::ALL {
        let stored = open.stored(grain, end);
        for it in &stored {
            let window = (it.at, grain.next(it.at).min(end));
            let wanted = report(&turns, &oracle.blind, window);
            assert_eq!(it.report, wanted, "seed {seed}: {} {}", grain.text(), it.at);
            let beats: u64 = oracle.beats.range(window.0..window.1).map(|it| it.1).sum();
            let count = it.count.clone().unwrap();
            assert_eq!(count.beats, beats, "seed {seed}: {} {}", grain.text(), it.at);
        }
        let beats: u64 = stored.iter().filter_map(|it| it.count.as_ref()).map(|it| it.beats).sum();
        assert_eq!(beats, oracle.beats.values().sum::<u64>(), "seed {seed}: {}", grain.text());
        let of_page = open.ask(move |it| it.bars(&[CHECK], (second(0), end), grain));
        let sum = joined(of_page[0].iter().map(|it| &it.report));
        assert_eq!(sum, whole, "seed {seed}: {}", grain.text());
    }
    assert_eq!(joined(open.stored(Grain::Day, end).iter().map(|it| &it.report)), whole);
    gone_changes_leave_their_rollups(&open, end, whole);
}

/// Changes of whole days go; what they said stays.
fn gone_changes_leave_their_rollups(
    open: &Open,
    end: Timestamp,
    whole: monitor::core::availability::Report,
) {
    let before = second(86_400);
    assert!(!open.ask(move |it| it.has_unrolled(before)));
    for old in Old::ALL {
        while open.ask(move |it| it.has_older(old, before)) {
            open.write(vec![Row::Prune(old, before)]);
        }
    }
    // A window that begins in a day whose changes are gone grows to all of it.
    let asked = (second(3_600), end);
    let (window, reports) = open.ask(move |it| it.reports(&[CHECK], asked));
    assert_eq!((window, reports), ((second(0), end), vec![whole]));
    // The last change before that day says what it began with.
    let kept = (before, end);
    let (window, reports) = open.ask(move |it| it.reports(&[CHECK], kept));
    assert_eq!(window, kept);
    let days = open.stored(Grain::Day, end);
    assert_eq!(reports, [joined(days[1..].iter().map(|it| &it.report))]);
}

#[test]
fn rollups_are_what_changes_say_over_seeds() {
    for seed in 0..3 {
        on_each(&format!("seed_{seed}"), |site| rollups_are_what_changes_say(site, seed));
    }
}

#[test]
fn an_even_minute_needs_no_second_look() {
    on_each("even", an_even_minute_needs_no_second_look_at);
}

fn an_even_minute_needs_no_second_look_at(site: &Site) {
    let open = Open::at(site);
    open.write(vec![check(), flip(30, 30, State::New, State::Up)]);
    open.roll(second(50), Retention::USUAL);
    open.write(vec![minute(60, 3, 3, Some(Mark::Up))]);
    assert!(!open.ask(|it| it.has_unrolled(second(9_999))));
    let stored = open.stored(Grain::Minute, second(300));
    assert_eq!(stored[0].report.up, Duration::from_secs(60));
    let disk = stored[0].count.clone().unwrap().numbers["disk"];
    assert_eq!((disk.min, disk.mean(), disk.max), (0, 1, 2));
    // An outage that is found later is in it all the same.
    open.write(vec![flip(200, 90, State::Up, State::Down)]);
    open.roll(second(300), Retention::USUAL);
    let stored = open.stored(Grain::Minute, second(300));
    assert_eq!(
        (stored[0].report.up, stored[0].report.down),
        (Duration::from_secs(30), Duration::from_secs(30))
    );
    assert_eq!(stored[0].count.clone().unwrap().beats, 3);
}

#[test]
fn what_is_too_old_goes_and_what_was_made_of_it_stays() {
    on_each("old", what_is_too_old_goes_and_what_was_made_of_it_stays_at);
}

fn what_is_too_old_goes_and_what_was_made_of_it_stays_at(site: &Site) {
    let open = Open::at(site);
    open.write(vec![check(), flip(0, 0, State::New, State::Up)]);
    let day = 86_400;
    for it in 0..5 {
        let total = u64::try_from(it).unwrap() + 1;
        open.write(vec![minute(it * day + 90, 1, total, Some(Mark::Up))]);
    }
    let keep = Retention {
        minutes: Retention::MINUTES_MIN,
        hours: Retention::HOURS_MIN,
        days: Retention::HOURS_MIN * 2,
        ..Retention::USUAL
    };
    open.write(vec![Row::Unrolled(second(0))]);
    let end = second(5 * day);
    open.roll(end, Retention::USUAL);
    open.write(vec![Row::Unrolled(second(5 * day - 1))]);
    open.roll(end, keep);
    let counts = Grain::ALL.map(|grain| open.stored(grain, end).len());
    assert_eq!(counts, [0, 2, 4]);
    // And once more: of hours whose minutes are gone nothing is forgotten.
    open.write(vec![Row::Unrolled(second(0))]);
    open.roll(end, keep);
    let beats = |grain| -> u64 {
        let stored = open.stored(grain, end);
        stored.iter().filter_map(|it| it.count.as_ref()).map(|it| it.beats).sum()
    };
    assert_eq!((beats(Grain::Hour), beats(Grain::Day)), (2, 4));
}

#[test]
fn a_process_that_died_leaves_no_beat_uncounted() {
    on_each("died", a_process_that_died_leaves_no_beat_uncounted_at);
}

fn a_process_that_died_leaves_no_beat_uncounted_at(site: &Site) {
    let open = Open::at(site);
    open.write(vec![check(), minute(0, 4, 4, None)]);
    open.write(vec![heard(7, 130)]);
    drop(open);
    let (_store, loaded) = Store::open(site).unwrap();
    let tally = &loaded.checks[0].0.tally;
    assert_eq!((tally.minute, tally.count.beats), (second(120), 3));
}

#[test]
fn who_opened_it_last_is_the_one_who_writes() {
    let Some(cluster) = cluster() else { return };
    let site = Site::Database { url: database(cluster, "tenure"), monitor: "one".to_owned() };
    let first = Open::at(&site);
    first.write(vec![check()]);
    let second_one = Open::at(&site);
    assert_eq!(first.store.write(vec![Row::Alive(second(1))]).blocking_recv(), Ok(false));
    let words = first.store.trouble().words().unwrap();
    assert!(words.contains("somebody else"), "{words}");
    second_one.write(vec![Row::Alive(second(2))]);
    // Of another name there is another schema.
    let Site::Database { url, .. } = site else { return };
    let other = Site::Database { url, monitor: "two".to_owned() };
    assert_eq!(Store::open(&other).unwrap().1.checks.len(), 0);
}

#[test]
fn what_nobody_sends_again_waits_for_the_database() {
    let Some(cluster) = Cluster::start(&[], &[]) else { return };
    let site = Site::Database { url: database(&cluster, "away"), monitor: "one".to_owned() };
    let open = Open::at(&site);
    open.write(vec![check()]);
    cluster.stop();
    let refused = open.store.write(vec![heard(1, 9), flip(9, 9, State::New, State::Up)]);
    assert_eq!(refused.blocking_recv(), Ok(false), "nobody is told that it is stored");
    assert!(open.store.trouble().words().is_some());
    let refused = open.store.write(vec![heard(2, 9), flip(19, 19, State::Up, State::Down)]);
    assert_eq!(refused.blocking_recv(), Ok(false));
    cluster.restart();
    // Tried again without anybody's doing.
    let is_stored = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let flips = runtime.block_on(open.archive.ask(|it| it.flips(Some(CHECK), 9)));
        flips.is_ok_and(|it| it.len() == 2)
    };
    for _ in 0..1_000 {
        if is_stored() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(is_stored());
    assert_eq!(open.store.trouble().words(), None);
    let (_store, loaded) = Store::open(&site).unwrap();
    assert_eq!(loaded.checks[0].0.beats, 2);
}
