//! A thousand nodes on virtual time: jittered beats, nodes that die and come back, a monitor that
//! is stopped for seconds, killed and started again, and clocks that are set.
//!
//! What must hold: never down before period and grace have passed unheard, found soon after that,
//! no false alarm, no alert lost, at most one repeated for each death of the monitor.
//!
//! Meanwhile nodes break a rule for a while, further people are told of what lasts, and some nodes
//! are in maintenance. A rule is broken only after it was seen broken for long enough, and then
//! with that beat; nobody is escalated to too soon, told of the end who does not know of the
//! beginning, or told of what is in maintenance.

use monitor::core::{
    audience::{Audience, Subscription},
    check::{Beat, CheckId, Kept, Now, Origin, Signal, State, Terms},
    contract::Contract,
    desk::{Desk, Filed},
    detector::{Detector, Noticed},
    incident::Incident,
    notice::{Event, Notice},
    reading::Reading,
    rule::{
        Bound, Measure, Rule, Scope, Side, Subject,
        referee::{KeptTracker, Referee},
    },
    severity::Severity,
    tree::Tree,
    window::{Window, WindowSpec},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use stdx::{Moment, Rng};
use wire::Timestamp;

const NODES: usize = 1_000;
const PERIOD_MS: u64 = 2_000;
const GRACE_MS: u64 = 3_000;
const STEP_MS: u64 = 50;
/// Nodes die up to here, and what was flapping has become steady by the end.
const DEATHS_END_MS: u64 = 160_000;
const RUN_MS: u64 = 540_000;
/// A beat is sent this much before or after its time, and is this long on its way.
const JITTER_MS: usize = 400;
const WAY_MS: usize = 150;
/// What the monitor wrote down last, before it was killed.
const MARK_EVERY_MS: u64 = 1_000;

/// A rule is broken when a queue is this full for so long.
const HOLD_MS: u64 = 6_000;
/// People of the second step are told after so long.
const STEP_AFTER: Duration = Duration::from_secs(60);
/// Who is in maintenance, from when, by the first process's clock, and for how long.
const AWAY: &str = "n-9";
const AWAY_FROM: i64 = 60_000_000;
const AWAY_S: u64 = 60;
const WALL_START: i64 = 1_700_000_000_000_000;

struct Node {
    boot: u64,
    seq: u64,
    next_beat: u64,
    /// Dead from here to there.
    dead: Option<(u64, u64)>,
    /// Its queue is full from here to there.
    full: Option<(u64, u64)>,
    /// When the monitor last received a beat.
    received: Option<u64>,
    /// Since when every beat that it received told of a full queue.
    full_since: Option<u64>,
    /// Told as down, and not yet as resolved.
    is_told: bool,
}

#[derive(Default)]
struct Tally {
    delays_ms: Vec<u64>,
    deaths: usize,
    repeats: usize,
    kills: usize,
    blind_ms: u64,
    strained: usize,
    escalated: usize,
    quiet: usize,
}

/// What a store would give back.
#[derive(Clone, Default)]
struct Store {
    kept: BTreeMap<CheckId, Kept>,
    open: BTreeMap<u64, Incident>,
    trackers: BTreeMap<CheckId, KeptTracker>,
    alive: Timestamp,
    next: u64,
}

struct World {
    rng: Rng,
    nodes: Vec<Node>,
    mail: BTreeMap<(u64, u64), (usize, Origin, bool)>,
    detector: Detector,
    desk: Desk,
    referee: Referee,
    /// Who was told of which incident.
    told: BTreeMap<u64, BTreeSet<String>>,
    store: Store,
    /// When this process of the monitor began, and what it takes the wall clock for then.
    boot_ms: u64,
    wall_start: i64,
    /// Stopped until then.
    stopped_until: u64,
    /// Stretches in which it heard nothing.
    blind: Vec<(u64, u64)>,
    tally: Tally,
    letters: u64,
}

fn terms() -> Terms {
    Terms {
        contract: Contract::every(
            Duration::from_millis(PERIOD_MS),
            Duration::from_millis(GRACE_MS),
        ),
        fails_min: 2,
        is_statistical: true,
        is_probed: false,
        run_min: Duration::ZERO,
        run_max: None,
    }
}

fn rules() -> Vec<Rule> {
    let bound = Bound { side: Side::Above, enter: 70.0, leave: 50.0 };
    vec![Rule {
        name: "queue".to_owned(),
        scope: Scope::default(),
        measure: Measure::Value { metric: vec!["queue".to_owned()], bound },
        severity: Severity::Warning,
        hold: Duration::from_millis(HOLD_MS),
        recover: Duration::from_millis(HOLD_MS),
        hits: 1,
        of: 1,
        consequence: false,
    }]
}

fn audience() -> Audience {
    let second = Subscription { after: STEP_AFTER, ..Subscription::to_all("second") };
    Audience::new(vec![second], &["first".to_owned()])
}

fn window() -> Window {
    let spec = WindowSpec {
        name: "upgrade".to_owned(),
        node: Some(format!("{AWAY}*")),
        role: None,
        service: None,
        from: Some(Timestamp(WALL_START + AWAY_FROM)),
        schedule: String::new(),
        tz: String::new(),
        length_s: AWAY_S,
        by: "the test".to_owned(),
        reason: "upgrade".to_owned(),
        id: None,
    };
    Window::build(spec, jiff::tz::TimeZone::UTC).unwrap()
}

fn is_away(node: usize, wall: Timestamp) -> bool {
    let since = wall.0 - WALL_START - AWAY_FROM;
    let length = i64::try_from(AWAY_S).unwrap() * 1_000_000;
    format!("n-{node}").starts_with(AWAY) && (0..length).contains(&since)
}

fn id(node: usize) -> CheckId {
    CheckId(i64::try_from(node).unwrap())
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let node = |rng: &mut Rng| Node {
            boot: rng.next(),
            seq: 0,
            next_beat: rng.below(2_000) as u64,
            dead: None,
            full: None,
            received: None,
            full_since: None,
            is_told: false,
        };
        let nodes = (0..NODES).map(|_| node(&mut rng)).collect();
        let mut world = World {
            rng,
            nodes,
            mail: BTreeMap::new(),
            detector: Detector::new(Moment::ZERO),
            desk: Desk::default(),
            referee: Referee::default(),
            told: BTreeMap::new(),
            store: Store { next: 1, ..Store::default() },
            boot_ms: 0,
            wall_start: WALL_START,
            stopped_until: 0,
            blind: Vec::new(),
            tally: Tally::default(),
            letters: 0,
        };
        world.start(0);
        world
    }

    /// This process's clocks.
    fn now(&self, ms: u64) -> Now {
        let since = ms - self.boot_ms;
        Now {
            moment: Moment::ZERO + Duration::from_millis(since),
            wall: Timestamp(self.wall_start + i64::try_from(since).unwrap() * 1_000),
        }
    }

    /// A new process of the monitor, from what the last one has stored.
    fn start(&mut self, ms: u64) {
        self.boot_ms = ms;
        let now = self.now(ms);
        let alive = self.store.alive;
        let blind = Duration::from_micros(u64::try_from(now.wall.0 - alive.0).unwrap_or(0));
        let is_first = self.store.kept.is_empty();
        self.detector = Detector::new(now.moment);
        self.desk = Desk::new(Tree::default(), self.store.next, Vec::new());
        self.desk.set_audience(audience());
        self.desk.set_windows(vec![window()]);
        self.referee = Referee::new(rules());
        for node in 0..NODES {
            let kept = self.store.kept.get(&id(node)).cloned();
            let kept = kept.unwrap_or_else(|| Kept::new(now.wall));
            let blind = if is_first { Duration::ZERO } else { blind };
            self.desk.add(id(node), &format!("n-{node}"), kept.state, Duration::from_secs(5));
            self.detector.add(now, id(node), terms(), kept, blind);
            let name = format!("n-{node}");
            self.referee
                .add(id(node), Subject { name, role: "account".to_owned(), ..Subject::default() });
        }
        for incident in self.store.open.clone().into_values() {
            self.desk.restore(now, incident);
        }
        for (check, kept) in self.store.trackers.clone() {
            self.referee.restore(check, kept);
            let verdict = self.referee.verdict(check);
            let mut noticed = Vec::new();
            self.detector.set_ruled(now, check, verdict, &mut noticed);
            let mut filed = Vec::new();
            self.take(noticed.into_iter(), ms, &mut filed);
            filed.into_iter().for_each(|it| self.file(it, ms));
        }
        // From here on what is stored is relative to this process's clock.
        for node in 0..NODES {
            self.keep(node, now);
        }
        self.store.alive = now.wall;
    }

    fn keep(&mut self, node: usize, now: Now) {
        let kept = self.detector.kept(now, id(node)).unwrap();
        self.store.kept.insert(id(node), kept);
    }

    fn run(&mut self) {
        let mut ms = 0;
        while ms < RUN_MS {
            ms += STEP_MS;
            self.nodes_act(ms);
            self.monitor_suffers(ms);
            if ms < self.stopped_until {
                continue;
            }
            self.monitor_acts(ms);
        }
    }

    fn nodes_act(&mut self, ms: u64) {
        for at in 0..NODES {
            let dies = self.rng.below(6_000) == 0 && 10_000 < ms && ms < DEATHS_END_MS;
            let length = 500 + self.rng.below(30_000) as u64;
            let (jitter, way) = (self.rng.below(JITTER_MS), self.rng.below(WAY_MS));
            let boot = self.rng.next();
            let fills = self.rng.below(12_000) == 0 && 10_000 < ms && ms < DEATHS_END_MS;
            let full_for = 1_000 + self.rng.below(90_000) as u64;
            let node = &mut self.nodes[at];
            match node.dead {
                None if dies => node.dead = Some((ms, ms + length)),
                Some((_, until)) if until <= ms => {
                    (node.boot, node.seq, node.next_beat, node.dead) = (boot, 0, ms, None);
                }
                None | Some(_) => {}
            }
            match node.full {
                None if fills => node.full = Some((ms, ms + full_for)),
                Some((_, until)) if until <= ms => node.full = None,
                None | Some(_) => {}
            }
            if node.dead.is_none() && node.next_beat <= ms {
                let origin = Origin { boot: node.boot, seq: node.seq };
                node.seq += 1;
                node.next_beat = ms + PERIOD_MS + jitter as u64 - JITTER_MS as u64 / 2;
                self.letters += 1;
                let is_full = node.full.is_some();
                self.mail.insert((ms + way as u64, self.letters), (at, origin, is_full));
            }
        }
    }

    fn monitor_suffers(&mut self, ms: u64) {
        if ms < self.stopped_until {
            return;
        }
        if self.rng.below(1_000) == 0 && 20_000 < ms && ms < DEATHS_END_MS + 60_000 {
            // SIGSTOP: what comes in waits in the kernel.
            self.stopped_until = ms + 5_000;
            self.blind.push((ms, ms + 5_000));
            self.tally.blind_ms += 5_000;
        } else if self.rng.below(1_500) == 0 && 20_000 < ms && ms < DEATHS_END_MS + 60_000 {
            // kill -9: what comes in is lost, and the clock may be set meanwhile.
            let away = 200 + self.rng.below(4_000) as u64;
            let step = [0, 3_600_000_000, -3_600_000_000][self.rng.below(3)];
            self.tally.kills += 1;
            self.tally.blind_ms += away;
            self.blind.push((ms, ms + away));
            self.mail.retain(|(due, _), _| ms + away <= *due);
            self.wall_start = self.now(ms + away).wall.0 + step;
            self.stopped_until = ms + away;
            self.start(ms + away);
        }
    }

    fn monitor_acts(&mut self, ms: u64) {
        let now = self.now(ms);
        let (mut noticed, mut filed) = (Vec::new(), Vec::new());
        // The clock is looked at first, as the shell does.
        self.detector.tick(now, &mut noticed);
        self.take(noticed.drain(..), ms, &mut filed);
        while let Some(entry) = self.mail.first_entry()
            && entry.key().0 <= ms
        {
            let (node, origin, is_full) = entry.remove();
            self.judge(node, origin, is_full, ms, &mut noticed);
            let beat = Beat { signal: Signal::Success, run: None, origin: Some(origin) };
            if self.detector.hear(now, id(node), &beat, &mut noticed) {
                self.nodes[node].received = Some(ms);
            }
            self.keep(node, now);
        }
        self.take(noticed.drain(..), ms, &mut filed);
        self.desk.tick(now, &mut filed);
        filed.into_iter().for_each(|it| self.file(it, ms));
        if ms.is_multiple_of(MARK_EVERY_MS) {
            self.store.alive = now.wall;
        }
    }

    /// What the beat says of the queue, before the beat itself is heard.
    fn judge(
        &mut self,
        node: usize,
        origin: Origin,
        is_full: bool,
        ms: u64,
        noticed: &mut Vec<Noticed>,
    ) {
        let now = self.now(ms);
        let mut reading = Reading::new(origin.boot);
        reading.set("queue", if is_full { 90.0 } else { 10.0 });
        let gap_max = Duration::from_millis(PERIOD_MS + GRACE_MS);
        let has_changed = self.referee.observe(now.moment, id(node), gap_max, &reading);
        for (check, kept) in self.referee.take_dirty() {
            self.store.trackers.insert(check, kept);
        }
        let verdict = self.referee.verdict(id(node));
        let it = &mut self.nodes[node];
        it.full_since = if is_full { it.full_since.or(Some(ms)) } else { None };
        match it.full_since {
            // Neither without a cause, nor later than the first beat that may say so.
            None => assert!(!has_changed || verdict.is_none(), "node {node} has no full queue"),
            Some(since) => {
                let is_disturbed = self.blind.iter().any(|(_, to)| since < *to)
                    || it.received.is_some_and(|it| it + PERIOD_MS + GRACE_MS < ms);
                let lasts = since + HOLD_MS <= ms;
                assert!(lasts || !has_changed, "node {node} full since {since}, told at {ms}");
                let is_told = verdict.is_some();
                assert!(is_told || !lasts || is_disturbed, "node {node} full since {since}");
            }
        }
        self.tally.strained += usize::from(has_changed && verdict.is_some());
        if has_changed {
            self.detector.set_ruled(now, id(node), verdict, noticed);
        }
    }

    fn take(&mut self, noticed: impl Iterator<Item = Noticed>, ms: u64, filed: &mut Vec<Filed>) {
        let now = self.now(ms);
        for it in noticed {
            if let Noticed::Changed(change) = it {
                let node = usize::try_from(change.check.0).unwrap();
                if change.to == State::Down {
                    self.found_down(node, ms);
                }
                self.desk.change(now, &change, filed);
                self.keep(node, now);
            }
        }
    }

    fn found_down(&mut self, node: usize, ms: u64) {
        let it = &self.nodes[node];
        let received = it.received.expect("what was never heard of is not missing");
        let due = received + PERIOD_MS + GRACE_MS;
        assert!(due <= ms, "node {node} down {} ms before its deadline", due - ms);
        // It must have been dead; it may be back, its beat still on its way.
        let on_its_way = self.mail.values().any(|(at, _, _)| *at == node);
        assert!(it.dead.is_some() || on_its_way || it.seq <= 1, "node {node} lives, at {ms}");
        let is_disturbed = self.blind.iter().any(|(from, to)| received < *to && *from < ms);
        if !is_disturbed {
            self.tally.delays_ms.push(ms - due);
        }
    }

    fn file(&mut self, filed: Filed, ms: u64) {
        match filed {
            Filed::Incident(it) => {
                self.store.next = self.store.next.max(it.id.0 + 1);
                if it.resolved_at.is_some() {
                    self.store.open.remove(&it.id.0);
                } else {
                    self.store.open.insert(it.id.0, *it);
                }
            }
            Filed::Maintenance { .. } => self.tally.quiet += 1,
            Filed::MaintenanceEnded { .. } => {}
            Filed::Notice(it) => {
                self.check_recipients(&it, ms);
                let members = it.about.members.iter().map(|it| it.check.0);
                for node in members.map(|it| usize::try_from(it).unwrap()) {
                    let node = &mut self.nodes[node];
                    match it.event {
                        Event::Opened => {
                            self.tally.deaths += 1;
                            self.tally.repeats += usize::from(node.is_told);
                            node.is_told = true;
                        }
                        Event::Resolved => {
                            assert!(node.is_told, "an end without a beginning, at {ms}");
                            node.is_told = false;
                        }
                        Event::Unstable | Event::Steady => node.is_told = true,
                        Event::Reminder
                        | Event::Escalated
                        | Event::Worse
                        | Event::Grown
                        | Event::Test => {}
                    }
                }
            }
        }
    }
}

impl World {
    /// Whoever is told of an incident may be, and knows what it is about.
    fn check_recipients(&mut self, notice: &Notice, ms: u64) {
        let wall = self.now(ms).wall;
        let to: BTreeSet<String> = notice.to.iter().cloned().collect();
        let told = self.told.entry(notice.incident.0).or_default();
        let open = notice.about.members.iter().filter(|it| !it.is_over);
        let mut nodes = open.map(|it| usize::try_from(it.check.0).unwrap());
        match notice.event {
            Event::Resolved => {
                assert_eq!(to, *told, "at {ms}: the end goes to whoever knows");
                self.told.remove(&notice.incident.0);
                return;
            }
            Event::Escalated => {
                let told_at = notice.about.told_at.unwrap();
                let waited = Duration::from_micros(u64::try_from(wall.0 - told_at.0).unwrap());
                assert!(STEP_AFTER <= waited, "at {ms}: {waited:?}");
                assert_eq!(notice.to, ["second"]);
                self.tally.escalated += 1;
            }
            Event::Opened => {
                // Nodes are seen to be away with the next tick.
                let is_quiet = nodes.all(|it| is_away(it, wall));
                assert!(!is_quiet, "at {ms}: told of maintenance: {notice:?}");
                assert_eq!(notice.to, ["first"], "at {ms}");
            }
            Event::Reminder
            | Event::Unstable
            | Event::Worse
            | Event::Grown
            | Event::Steady
            | Event::Test => {}
        }
        told.extend(to);
    }
}

#[test]
fn a_thousand_nodes_and_a_monitor_that_suffers() {
    for seed in 1..=3 {
        let mut world = World::new(seed);
        world.run();
        let tally = &mut world.tally;
        // Everybody is back and heard: nothing is open any more, and everybody who was told of a
        // beginning was told of an end.
        assert!(world.nodes.iter().all(|it| it.dead.is_none() && !it.is_told), "seed {seed}");
        let open: Vec<&Incident> = world.desk.open().collect();
        assert!(open.is_empty(), "seed {seed}: {open:?}");
        assert!(world.store.open.is_empty());
        assert!(tally.repeats <= tally.kills, "seed {seed}: {} repeats", tally.repeats);
        tally.delays_ms.sort_unstable();
        println!(
            "seed {seed}: {} told, {} kills, {} repeats, {} undisturbed, {} by a rule, {} escalated",
            tally.deaths,
            tally.kills,
            tally.repeats,
            tally.delays_ms.len(),
            tally.strained,
            tally.escalated
        );
        assert!(50 < tally.strained && 0 < tally.escalated && 0 < tally.quiet, "seed {seed}");
        assert!(100 < tally.delays_ms.len() && 0 < tally.kills, "the seed shows something");
        let p99 = tally.delays_ms[tally.delays_ms.len() * 99 / 100];
        assert!(p99 <= 250, "seed {seed}: p99 {p99} ms");
        assert!(*tally.delays_ms.last().unwrap() <= 250, "seed {seed}");
    }
}

/// Every node that was dead for longer than the monitor can have been deaf is told of.
#[test]
fn no_death_is_missed() {
    let mut world = World::new(99);
    let mut ms = 0;
    let mut pending: BTreeMap<usize, u64> = BTreeMap::new();
    while ms < DEATHS_END_MS {
        ms += STEP_MS;
        world.nodes_act(ms);
        world.monitor_suffers(ms);
        if ms < world.stopped_until {
            continue;
        }
        world.monitor_acts(ms);
        for node in 0..NODES {
            if world.nodes[node].dead.is_none() {
                pending.remove(&node);
                continue;
            }
            let since = *pending.entry(node).or_insert(ms);
            let deaf: u64 = world
                .blind
                .iter()
                .map(|(from, to)| to.min(&ms).saturating_sub(*from.max(&since)))
                .sum();
            // Excused once more after each deaf stretch, at most by a period and a grace.
            let stretches = world.blind.iter().filter(|(from, to)| since < *to && *from < ms);
            let excuse = stretches.count() as u64 * (PERIOD_MS + GRACE_MS);
            let limit = PERIOD_MS + GRACE_MS + 400 + deaf + excuse + 1_000;
            if since + limit < ms {
                let state = world.detector.state(id(node));
                assert_eq!(state, Some(State::Down), "node {node} dead since {since}, now {ms}");
                let is_quiet = world.desk.maintenance(id(node)).is_some();
                let is_unstable = || world.desk.open().any(|it| it.is_unstable);
                assert!(
                    world.nodes[node].is_told || is_quiet || is_unstable(),
                    "node {node} dead since {since}, now {ms}"
                );
            }
        }
    }
}
