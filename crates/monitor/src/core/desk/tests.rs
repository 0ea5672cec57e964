//! Incidents and notices on virtual time: two balancers over two gateways over two account nodes.

use super::*;
use crate::core::{
    audience::Subscription,
    hours::Hours,
    rule::{Ruled, Scope},
    window::{Window, WindowSpec},
};

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

    /// The notices since the last call: event, names, and the channels that they go to.
    #[track_caller]
    fn told_to(&mut self, want: &[(&str, &[&str])]) -> &mut World {
        let told: Vec<(String, Vec<String>)> = self
            .out
            .drain(..)
            .filter_map(|it| match it {
                Filed::Notice(it) => {
                    let names: Vec<&str> =
                        it.about.members.iter().map(|it| self.desk.name(it.check)).collect();
                    Some((format!("{} {}", it.event.text(), names.join(" ")), it.to))
                }
                Filed::Incident(_) | Filed::Maintenance { .. } | Filed::MaintenanceEnded { .. } => {
                    None
                }
            })
            .collect();
        let want: Vec<(String, Vec<String>)> = want
            .iter()
            .map(|(what, to)| ((*what).to_owned(), to.iter().map(|it| (*it).to_owned()).collect()))
            .collect();
        assert_eq!(told, want);
        self
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
                Filed::Incident(_) | Filed::Maintenance { .. } | Filed::MaintenanceEnded { .. } => {
                    None
                }
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
        is_ended: false,
    };
    let mut world = World::new();
    world.desk.silence(now(0), silence(0, 60_000)).unwrap();
    assert_eq!(world.desk.preview("a-*").matches, ["a-1", "a-2"]);
    world.down(ACCOUNTS[0]).down(ACCOUNTS[1]).until(30_000).told(&[]);
    world.up(ACCOUNTS[0]).told(&[]); // Nobody knew of it.
    world.until(61_000).told(&["opened a-2"]);
    // Whoever was told of the beginning is told of the end.
    world.desk.silence(now(61_000), silence(61_000, 120_000)).unwrap();
    world.up(ACCOUNTS[1]).told(&["resolved a-2"]);
    assert!(world.desk.end_silence(2).is_some());
    assert!(world.desk.end_silence(2).is_none());
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

fn subscription(channel: &str) -> Subscription {
    Subscription::to_all(channel)
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

const MINUTE: u64 = 60_000;

#[test]
fn an_escalation_tells_further_people_until_somebody_takes_care() {
    let step = |channel: &str, after| Subscription { after, ..subscription(channel) };
    let mut world = World::new();
    let steps =
        vec![step("kim", Duration::ZERO), step("lee", minutes(15)), step("boss", minutes(60))];
    world.desk.set_audience(Audience::new(steps, &[]));
    world.down(ACCOUNTS[0]).until(14 * MINUTE).told_to(&[("opened a-1", &["kim"])]);
    world.until(16 * MINUTE).told_to(&[("escalated a-1", &["lee"])]);
    let id = world.desk.open().next().unwrap().id;
    let at = now(world.ms).wall;
    let ack = Ack { by: "lee".to_owned(), note: String::new(), at, until: None };
    world.desk.ack(id, ack, &mut world.out);
    world.until(120 * MINUTE).told_to(&[]);
    // The end goes to everybody who knows, and to nobody else.
    world.up(ACCOUNTS[0]).told_to(&[("resolved a-1", &["kim", "lee"])]);
    // It ended with the acknowledgement: the next one starts anew.
    world.down(ACCOUNTS[0]).until(200 * MINUTE).told_to(&[
        ("opened a-1", &["kim"]),
        ("escalated a-1", &["lee"]),
        ("escalated a-1", &["boss"]),
    ]);
}

#[test]
fn people_are_told_at_their_hours_and_of_what_they_asked_for() {
    // The tests begin on a Tuesday at 22:13.
    let hours = Hours::parse("22:30-23:00", jiff::tz::TimeZone::UTC).unwrap();
    let late = Subscription { hours: Some(hours), ..subscription("late") };
    let critical = Subscription { severity: Severity::Critical, ..subscription("critical") };
    let scope = Scope { role: Some("account".to_owned()), ..Scope::default() };
    let accounts = Subscription { scope, ..subscription("accounts") };
    let mut world = World::new();
    world.desk.set_audience(Audience::new(vec![late, critical, accounts], &[]));
    let subject = Subject { name: "a-1".into(), role: "account".into(), service: "a".into() };
    world.desk.describe(ACCOUNTS[0], subject);
    world.down(ACCOUNTS[0]).until(MINUTE);
    world.told_to(&[("opened a-1", &["critical", "accounts"])]);
    world.until(20 * MINUTE).told_to(&[("opened a-1", &["late"])]);
    world.up(ACCOUNTS[0]).told_to(&[("resolved a-1", &["critical", "accounts", "late"])]);
    // Nobody asked for it at this hour: nobody hears of its end.
    world.until(60 * MINUTE).becomes(EDGE, State::Sick, Why::Failed("disk".to_owned()));
    world.until(61 * MINUTE).told_to(&[("opened edge", &[])]);
    world.up(EDGE).told_to(&[("resolved edge", &[])]);
}

#[test]
fn what_gets_worse_is_told_even_to_whoever_took_care() {
    let mut world = World::new();
    world.becomes(ACCOUNTS[0], State::Strained, Why::Failed("queue".to_owned()));
    world.until(MINUTE).told(&["opened a-1"]);
    let id = world.desk.open().next().unwrap().id;
    let at = now(world.ms).wall;
    let ack = Ack { by: "kim".to_owned(), note: String::new(), at, until: None };
    world.desk.ack(id, ack, &mut world.out);
    world.down(ACCOUNTS[0]).until(2 * MINUTE).told(&["worse a-1"]);
    let incident = world.desk.incident(id).unwrap();
    assert_eq!((incident.kind, incident.severity), (Kind::Down, Severity::Critical));
    assert_eq!((incident.ack.as_ref(), incident.first().why.as_str()), (None, "no beat"));
    // Better is no news, and over is over.
    world.becomes(ACCOUNTS[0], State::Sick, Why::Failed("queue".to_owned()));
    world.until(3 * MINUTE).told(&[]).up(ACCOUNTS[0]).told(&["resolved a-1"]);
}

#[test]
fn several_under_the_same_nodes_are_one_notice_that_grows() {
    let mut tree = Tree::default();
    (1..=20).for_each(|it| tree.link(CheckId(0), CheckId(it)));
    let mut desk = Desk::new(tree, 1, Vec::new());
    for id in 0..60 {
        desk.add(CheckId(id), &format!("n-{id}"), State::Up, Duration::from_secs(5));
    }
    let mut world = World { desk, ms: 0, out: Vec::new() };
    (1..=4).for_each(|it| _ = world.down(CheckId(it)));
    world.until(5_000).told(&["opened n-1 n-2 n-3 n-4"]);
    let incident = world.desk.open().next().unwrap();
    assert_eq!((incident.kind, incident.under, incident.of), (Kind::Group, Some(CheckId(0)), 20));
    // Further members are waited for.
    world.down(CheckId(5)).until(8_000).down(CheckId(6)).until(14_000).told(&[]);
    world.until(16_000).told(&["grown n-1 n-2 n-3 n-4 n-5 n-6"]);
    assert_eq!(world.desk.open().count(), 1);
    // One that comes back and goes again is still one member.
    world.up(CheckId(6)).until(20_000).down(CheckId(6)).until(40_000).told(&[]);
    // Elsewhere is another case.
    world.down(CheckId(30)).until(60_000).told(&["opened n-30"]);
    (1..=6).for_each(|it| _ = world.up(CheckId(it)));
    world.told(&["resolved n-1 n-2 n-3 n-4 n-5 n-6"]);
}

fn window(from_ms: u64, length_s: u64) -> Window {
    let spec = WindowSpec {
        name: "upgrade".to_owned(),
        node: Some("a-*".to_owned()),
        role: None,
        service: None,
        from: Some(now(from_ms).wall),
        schedule: String::new(),
        tz: String::new(),
        length_s,
        by: "kim".to_owned(),
        reason: "upgrade".to_owned(),
        id: Some(1),
    };
    Window::build(spec, jiff::tz::TimeZone::UTC).unwrap()
}

#[test]
fn within_a_maintenance_window_nobody_is_told_and_after_it_the_truth() {
    let mut world = World::new();
    world.desk.set_windows(vec![window(10_000, 600)]);
    world.until(5_000).down(ACCOUNTS[1]).until(9_000).told(&["opened a-2"]);
    world.until(20_000).down(ACCOUNTS[0]).down(EDGE).until(60_000).told(&["opened edge"]);
    assert_eq!(world.desk.maintenance(ACCOUNTS[0]).unwrap().0, "upgrade");
    assert_eq!(world.desk.maintenance(EDGE), None);
    // Whoever was told of the beginning is told of the end, window or not.
    world.up(ACCOUNTS[1]).told(&["resolved a-2"]);
    world.until(609_000).told(&[]);
    world.until(611_000).told(&["opened a-1"]);
    assert_eq!(world.desk.maintenance(ACCOUNTS[0]), None);
    world.up(ACCOUNTS[0]).told(&["resolved a-1"]);
}

#[test]
fn a_window_is_kept_for_the_record_from_its_beginning_to_its_end() {
    let mut world = World::new();
    world.desk.set_windows(vec![window(1_000, 600)]);
    world.until(2_000);
    world.desk.set_windows(Vec::new());
    world.until(3_000);
    let kept: Vec<&Filed> = world
        .out
        .iter()
        .filter(|it| !matches!(it, Filed::Incident(_) | Filed::Notice(_)))
        .collect();
    let (from, until) = (now(1_000).wall, now(601_000).wall);
    let entered =
        |check| Filed::Maintenance { check, window: "upgrade".to_owned(), span: (from, until) };
    let ended = |check| Filed::MaintenanceEnded { check, at: now(2_100).wall };
    let want = [entered(ACCOUNTS[0]), entered(ACCOUNTS[1]), ended(ACCOUNTS[0]), ended(ACCOUNTS[1])];
    assert_eq!(kept, want.iter().collect::<Vec<_>>());
}

#[test]
fn a_preview_says_what_would_be_quiet_now() {
    let mut world = World::new();
    world.down(ACCOUNTS[0]).down(EDGE).until(1_000);
    let preview = world.desk.preview("a-*");
    assert_eq!((&preview.matches[..], &preview.unwell[..]), (&["a-1", "a-2"][..], &["a-1"][..]));
    assert_eq!(preview.incidents.iter().map(|it| it.id.0).collect::<Vec<_>>(), [1]);
    assert_eq!(world.desk.preview("*").incidents.len(), 2);
    assert!(world.desk.preview("x").matches.is_empty());
}

#[test]
fn what_is_said_to_one_monitor_is_known_to_the_other() {
    let (mut one, mut other) = (World::new(), World::new());
    // The numbers of one are not those of the other.
    other.down(GATEWAYS[0]).until(900).up(GATEWAYS[0]);
    one.until(1_000).down(ACCOUNTS[0]).until(3_000);
    other.until(1_400).down(ACCOUNTS[0]).until(3_000);
    let ours = |world: &World| world.desk.open().next().unwrap().clone();
    let ack = |ms| Ack { by: "kim".to_owned(), note: String::new(), at: now(ms).wall, until: None };
    let tell = |from: &World, to: &mut World, ms: u64| {
        let shared = from.desk.shared(now(ms));
        to.desk.learn(now(ms), &shared, &mut to.out)
    };
    assert!(one.desk.ack(ours(&one).id, ack(3_000), &mut Vec::new()));
    assert_eq!(tell(&one, &mut other, 3_100), []);
    assert_eq!(ours(&other).ack, Some(ack(3_000)));
    // It got worse there, and nobody has taken care of that; what was said before is no news.
    other.desk.open.values_mut().for_each(|it| it.ack = None);
    tell(&one, &mut other, 3_200);
    assert_eq!(ours(&other).ack, None);
    // Of a trouble that began later nobody has taken care.
    other.up(ACCOUNTS[0]).until(9_000).down(ACCOUNTS[0]).until(12_000);
    tell(&one, &mut other, 12_000);
    assert_eq!(ours(&other).ack, None);

    let silence = Silence {
        id: 0,
        pattern: "job-*".to_owned(),
        by: "kim".to_owned(),
        reason: "upgrade".to_owned(),
        from: now(4_000).wall,
        until: now(60_000).wall,
        is_ended: false,
    };
    one.desk.silence(now(4_000), silence).unwrap();
    assert_eq!(tell(&one, &mut other, 4_100).len(), 1);
    assert_eq!(tell(&one, &mut other, 4_200), [], "known already");
    assert_eq!(tell(&other, &mut one, 4_300), [], "known already");
    let id = other.desk.silences()[0].id;
    assert!(other.desk.end_silence(id).is_some());
    // Whoever has it still does not bring it back.
    assert_eq!(tell(&one, &mut other, 4_400), []);
    assert!(tell(&other, &mut one, 4_500)[0].is_ended);
    assert_eq!((one.desk.silences().len(), other.desk.silences().len()), (0, 0));
    assert_eq!(tell(&one, &mut other, 4_600), []);
}
