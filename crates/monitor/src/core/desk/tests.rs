//! Incidents and notices on virtual time: two balancers over two gateways over two account nodes.

use super::*;
use crate::core::rule::Ruled;

const EDGE: CheckId = CheckId(0);
const GATEWAYS: [CheckId; 2] = [CheckId(1), CheckId(2)];
const ACCOUNTS: [CheckId; 2] = [CheckId(3), CheckId(4)];
const OTHERS: std::ops::Range<i64> = 5..12;

struct World {
    desk: Desk,
    ms: u64,
    out: Vec<Filed>,
}

fn now(ms: u64) -> Now {
    let wall = Timestamp(1_700_000_000_000_000 + i64::try_from(ms).unwrap() * 1_000);
    Now { moment: Moment::ZERO + Duration::from_millis(ms), wall }
}

impl World {
    fn new() -> World {
        let mut tree = Tree::default();
        for gateway in GATEWAYS {
            tree.link(EDGE, gateway);
            ACCOUNTS.iter().for_each(|it| tree.link(gateway, *it));
        }
        let mut desk = Desk::new(tree, 1, Vec::new());
        let names = ["edge", "gateway-1", "gateway-2", "a-1", "a-2"];
        for (id, name) in (0..).zip(names) {
            desk.add(CheckId(id), name, State::Up, Duration::from_secs(5));
        }
        for id in OTHERS {
            desk.add(CheckId(id), &format!("job-{id}"), State::Up, Duration::from_secs(5));
        }
        World { desk, ms: 0, out: Vec::new() }
    }

    fn until(&mut self, ms: u64) -> &mut World {
        while self.ms < ms {
            self.ms = (self.ms + 100).min(ms);
            self.desk.tick(now(self.ms), &mut self.out);
        }
        self
    }

    fn becomes(&mut self, check: CheckId, to: State, why: Why) -> &mut World {
        let at = now(self.ms).wall;
        let from = self.desk.states[&check];
        let change = Change { check, from, to, why, at, since: at };
        self.desk.change(now(self.ms), &change, &mut self.out);
        self
    }

    fn down(&mut self, check: CheckId) -> &mut World {
        self.becomes(check, State::Down, Why::Silent)
    }

    fn up(&mut self, check: CheckId) -> &mut World {
        self.becomes(check, State::Up, Why::Heard)
    }

    fn cut(&mut self, check: CheckId) -> &mut World {
        self.becomes(check, State::Sick, Why::Cut("no endpoint".to_owned()))
    }

    /// The notices since the last call: event and names.
    #[track_caller]
    fn told(&mut self, want: &[&str]) -> &mut World {
        let told: Vec<String> = self
            .out
            .drain(..)
            .filter_map(|it| match it {
                Filed::Notice(it) => {
                    let members = it.about.members.iter();
                    let names: Vec<&str> = members.map(|it| self.desk.name(it.check)).collect();
                    Some(format!("{} {}", it.event.text(), names.join(" ")))
                }
                Filed::Incident(_) => None,
            })
            .collect();
        assert_eq!(told, want);
        self
    }
}

#[test]
fn one_dead_node_is_one_notice_and_one_end() {
    let mut world = World::new();
    world.down(ACCOUNTS[0]).told(&[]);
    assert_eq!(world.desk.open().count(), 1, "the incident is there at once");
    world.until(600).told(&[]).until(700).told(&["opened a-1"]);
    world.until(60_000).told(&[]);
    world.becomes(ACCOUNTS[0], State::Starting, Why::Announced).told(&[]);
    world.up(ACCOUNTS[0]).told(&["resolved a-1"]);
    world.until(600_000).told(&[]);
    assert_eq!(world.desk.open().count(), 0);
}

#[test]
fn nobody_hears_of_what_was_over_before_anybody_was_told() {
    let mut world = World::new();
    world.down(ACCOUNTS[0]).until(500).up(ACCOUNTS[0]).until(60_000).told(&[]);
    assert_eq!(world.desk.open().count(), 0);
}

#[test]
fn a_stop_on_purpose_ends_it_too() {
    let mut world = World::new();
    world.down(ACCOUNTS[0]).until(1_000).told(&["opened a-1"]);
    world.becomes(ACCOUNTS[0], State::Draining, Why::Announced).told(&["resolved a-1"]);
}

#[test]
fn a_parent_without_a_single_living_child_is_a_consequence() {
    let mut world = World::new();
    // The parents notice before the children's deadline.
    world.cut(GATEWAYS[0]).cut(GATEWAYS[1]).until(4_000).told(&[]);
    world.down(ACCOUNTS[0]).down(ACCOUNTS[1]);
    world.until(60_000).told(&["opened a-1", "opened a-2"]);
    assert_eq!(world.desk.suppressed_by(GATEWAYS[0]), Some(ACCOUNTS[0]));
    world.up(GATEWAYS[0]).up(GATEWAYS[1]).up(ACCOUNTS[0]).up(ACCOUNTS[1]);
    world.told(&["resolved a-1", "resolved a-2"]);
}

#[test]
fn what_stays_unwell_after_its_cause_is_gone_is_a_case_of_its_own() {
    let mut world = World::new();
    world.down(ACCOUNTS[0]).until(1_000).cut(GATEWAYS[0]).until(30_000).told(&["opened a-1"]);
    world.up(ACCOUNTS[0]).told(&["resolved a-1"]);
    world.until(50_000).told(&["opened gateway-1"]);
    world.up(GATEWAYS[0]).told(&["resolved gateway-1"]);
    // Cut off with everybody below it well: its own case, after a while.
    world.cut(GATEWAYS[1]).until(56_900).told(&[]).until(58_000).told(&["opened gateway-2"]);
}

#[test]
fn what_stands_under_dead_nodes_is_not_told() {
    let mut world = World::new();
    world.down(ACCOUNTS[0]).down(GATEWAYS[0]).down(GATEWAYS[1]);
    world.until(60_000).told(&["opened gateway-1", "opened gateway-2"]);
    // The cause ends, the node stays down: now it is told.
    world.up(GATEWAYS[0]).until(62_000).told(&["resolved gateway-1", "opened a-1"]);
    world.up(ACCOUNTS[0]).up(GATEWAYS[1]).told(&["resolved a-1", "resolved gateway-2"]);
}

fn broken(consequence: bool) -> Why {
    Why::Ruled(Ruled {
        severity: Severity::Critical,
        words: "errors: too many".to_owned(),
        rules: vec!["errors".to_owned()],
        consequence,
        looks_back: Duration::from_secs(60),
    })
}

#[test]
fn a_broken_rule_is_one_incident_where_the_cause_is() {
    let mut world = World::new();
    // Errors all the way up, and the account node is the one that is unwell.
    for id in [EDGE, GATEWAYS[0]] {
        world.becomes(id, State::Sick, broken(true));
    }
    world.until(3_000).becomes(ACCOUNTS[0], State::Sick, Why::Failed("disk".to_owned()));
    world.until(60_000).told(&["opened a-1"]);
    assert_eq!(world.desk.suppressed_by(EDGE), Some(GATEWAYS[0]));
    // Its share of errors looks back over a minute: it gets the time to be well again.
    world.up(ACCOUNTS[0]).told(&["resolved a-1"]).until(120_000).told(&[]);
    world.up(EDGE).up(GATEWAYS[0]).until(400_000).told(&[]);
    assert_eq!(world.desk.open().count(), 0);
}

#[test]
fn a_broken_rule_without_a_cause_is_told_of_the_deepest() {
    let mut world = World::new();
    for id in [EDGE, GATEWAYS[0]] {
        world.becomes(id, State::Sick, broken(true));
    }
    world.until(60_000).told(&["opened gateway-1"]);
    let incident = world.desk.open().next().unwrap();
    assert_eq!((incident.kind, incident.severity), (Kind::Sick, Severity::Critical));
    world.up(EDGE).up(GATEWAYS[0]).told(&["resolved gateway-1"]);
    // A disk of its own is nobody's consequence.
    world.becomes(EDGE, State::Strained, broken(false)).down(ACCOUNTS[0]);
    world.until(61_000).told(&["opened edge", "opened a-1"]);
}

#[test]
fn many_at_once_are_one_notice() {
    let mut world = World::new();
    for id in [0, 1, 2, 3, 4] {
        world.becomes(CheckId(id), State::Sick, Why::Failed("disk".to_owned()));
    }
    world.until(1_000).told(&["opened edge gateway-1 gateway-2 a-1 a-2"]);
    let incident = world.desk.open().next().unwrap();
    assert_eq!((incident.kind, incident.open_count()), (Kind::Mass, 5));
    for id in [0, 1, 2, 3] {
        world.up(CheckId(id)).told(&[]);
    }
    world.up(CheckId(4)).told(&["resolved edge gateway-1 gateway-2 a-1 a-2"]);
    assert_eq!(world.desk.open().count(), 0);
}

#[test]
fn flapping_is_told_once_and_ends_in_the_truth() {
    for ends_well in [true, false] {
        let mut world = World::new();
        let id = CheckId(7);
        for turn in 0..2 {
            world.down(id).until(turn * 20_000 + 10_000).told(&["opened job-7"]);
            world.up(id).until(turn * 20_000 + 20_000).told(&["resolved job-7"]);
        }
        world.down(id).until(50_000).told(&["opened job-7"]);
        world.up(id).told(&["unstable job-7"]); // The sixth change.
        for turn in 0..4 {
            world.down(id).until(60_000 + turn * 2_000).told(&[]);
            world.up(id).until(61_000 + turn * 2_000).told(&[]);
        }
        if !ends_well {
            world.down(id).told(&[]);
        }
        world.until(300_000).told(&[]).until(400_000);
        if ends_well {
            world.told(&["resolved job-7"]);
        } else {
            world.told(&["steady job-7"]).up(id).told(&["resolved job-7"]);
        }
        assert_eq!(world.desk.open().count(), 0);
    }
}

#[test]
fn reminders_go_on_until_somebody_takes_care() {
    let mut world = World::new();
    let hours = 3_600_000;
    world.down(ACCOUNTS[0]).until(9 * hours);
    world.told(&["opened a-1", "reminder a-1", "reminder a-1"]);
    let id = world.desk.open().next().unwrap().id;
    let ack = Ack {
        by: "kim".to_owned(),
        note: String::new(),
        at: now(world.ms).wall,
        until: Some(now(20 * hours).wall),
    };
    assert!(world.desk.ack(id, ack.clone(), &mut world.out));
    world.until(19 * hours).told(&[]);
    world.until(21 * hours).told(&["reminder a-1"]);
    world.up(ACCOUNTS[0]).told(&["resolved a-1"]);
    assert!(!world.desk.ack(id, ack, &mut world.out), "it has ended with the incident");
}

#[test]
fn silence_keeps_quiet_and_ends() {
    let silence = |from: u64, until: u64| Silence {
        id: 0,
        pattern: "a-*".to_owned(),
        by: "kim".to_owned(),
        reason: "upgrade".to_owned(),
        from: now(from).wall,
        until: now(until).wall,
    };
    let mut world = World::new();
    world.desk.silence(now(0), silence(0, 60_000)).unwrap();
    assert_eq!(world.desk.preview("a-*"), ["a-1", "a-2"]);
    world.down(ACCOUNTS[0]).down(ACCOUNTS[1]).until(30_000).told(&[]);
    world.up(ACCOUNTS[0]).told(&[]); // Nobody knew of it.
    world.until(61_000).told(&["opened a-2"]);
    // Whoever was told of the beginning is told of the end.
    world.desk.silence(now(61_000), silence(61_000, 120_000)).unwrap();
    world.up(ACCOUNTS[1]).told(&["resolved a-2"]);
    assert!(world.desk.end_silence(2));
    assert!(!world.desk.end_silence(2));
}

#[test]
fn an_incident_outlives_the_process() {
    let mut world = World::new();
    world.down(ACCOUNTS[0]).until(1_000).told(&["opened a-1"]);
    let open: Vec<Incident> = world.desk.open().cloned().collect();
    let mut next = World::new();
    next.desk.states.insert(ACCOUNTS[0], State::Down);
    open.into_iter().for_each(|it| next.desk.restore(now(0), it));
    next.until(60_000).told(&[]).up(ACCOUNTS[0]).told(&["resolved a-1"]);
    // One that nobody was told of yet is told now.
    world.down(ACCOUNTS[1]);
    let held: Vec<Incident> =
        world.desk.open().filter(|it| it.told_at.is_none()).cloned().collect();
    let mut next = World::new();
    next.desk.states.insert(ACCOUNTS[1], State::Down);
    held.into_iter().for_each(|it| next.desk.restore(now(0), it));
    next.until(1_000).told(&["opened a-2"]);
}
