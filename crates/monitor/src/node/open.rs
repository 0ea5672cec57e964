//! How a monitor begins: with what was kept, and with the nodes of its topology.

use super::{Channel, Node, channels, now, status::Status};
use crate::{
    book::{Book, Kind, Plan, make_uuid, zone},
    config::MonitorConfig,
    core::{
        audience::Audience,
        check::{Change, CheckId, Kept, Now, State, Why, between},
        desk::Desk,
        detector::Detector,
        outbox::Queue,
        rule::referee::{KeptTracker, Referee},
        standby::Standby,
        tree::Tree,
        window::{Window, WindowSpec},
    },
    store::{Archive, Loaded, Row, Store},
};
use net::ids;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// 128 random bits.
pub(crate) fn random() -> u128 {
    (u128::from(ids::seed()) << 64) | u128::from(ids::seed())
}

impl Node {
    /// Takes up what was kept and enters the nodes of the topology.
    pub(super) fn open(
        config: MonitorConfig,
        url: String,
        status: Arc<Status>,
        (store, loaded, history): (Store, Loaded, Archive),
    ) -> Rc<Node> {
        status.set_store(store.trouble());
        let now = now();
        let mut rows = Vec::new();
        let blind = loaded.alive.map_or(Duration::ZERO, |alive| between(alive, now.wall));
        if let Some(alive) = loaded.alive {
            rows.push(Row::Blind(alive, now.wall));
        }
        let mut book = Book::default();
        let mut kept = BTreeMap::new();
        for (check, mut it) in loaded.checks.clone() {
            if config.is_fresh && check.plan.kind == Kind::Node && !it.state.is_trouble() {
                // The whole tree was away: nobody is missing before it was heard again.
                (it.state, it.heard) = (State::New, None);
                it.runs.clear();
            }
            kept.insert(check.id, it);
            book.put(check);
        }
        enter_nodes(&config, &mut book, now, &mut rows);
        let checks = channels::enter(&config, &mut book, now, &mut rows);
        let tree = tree(&config, &book);
        let desk = Desk::new(tree, loaded.next_incident, loaded.silences.clone());
        let channels = config.channels.iter().zip(checks).map(|(config, check)| Channel {
            check,
            config: config.clone(),
            queue: Queue::new(ids::seed()),
        });
        let by_hand = loaded.windows.iter().cloned().filter_map(window).collect();
        let node = Rc::new(Node {
            url,
            windows: RefCell::new(by_hand),
            channels: RefCell::new(channels.collect()),
            standby: RefCell::new(Standby::new(
                config.before.is_empty(),
                config.every + config.grace,
            )),
            beaten_at: Cell::new(None),
            told_here: RefCell::new(loaded.told.iter().map(|it| it.1).collect()),
            fell_back: RefCell::new(channels::fell_back(&config, &loaded.told)),
            book: RefCell::new(book),
            detector: RefCell::new(Detector::new(now.moment)),
            referee: RefCell::new(Referee::new(config.rules.clone())),
            desk: RefCell::new(desk),
            history,
            past: RefCell::default(),
            progress: super::roll::Progress::default(),
            status,
            began: now,
            store,
            next_letter: Cell::new(loaded.next_letter),
            alive_at: Cell::new(now),
            trackers_kept_at: Cell::new(now),
            config: RefCell::new(Rc::new(config)),
        });
        node.mix_until(now.wall);
        node.set_alerting();
        node.watch_all(now, &kept, blind, &mut rows);
        let trackers = loaded.trackers.clone();
        node.take_up(now, loaded, &kept, &mut rows);
        node.restore_rules(now, &trackers, &mut rows);
        rows.push(Row::Alive(now.wall));
        node.keep(rows);
        node
    }

    /// Goes by a changed file: nodes that are new are watched, and those that are gone are not.
    pub(super) fn reconfigure(self: &Rc<Node>, config: &MonitorConfig) {
        let now = now();
        let before: BTreeSet<CheckId> = self.book.borrow().iter().map(|it| it.id).collect();
        let (mut rows, mut filed) = (Vec::new(), Vec::new());
        enter_nodes(config, &mut self.book.borrow_mut(), now, &mut rows);
        let after: BTreeSet<CheckId> = self.book.borrow().iter().map(|it| it.id).collect();
        for id in before.difference(&after) {
            self.desk.borrow_mut().remove(now, *id, &mut filed);
            self.detector.borrow_mut().remove(*id);
            self.referee.borrow_mut().remove(*id);
        }
        let tree = tree(config, &self.book.borrow());
        self.desk.borrow_mut().set_tree(tree);
        for id in after.difference(&before) {
            self.watch(now, *id, Kept::new(now.wall), Duration::ZERO, &mut rows);
        }
        self.config.replace(Rc::new(config.clone()));
        self.referee.borrow_mut().set_rules(config.rules.clone());
        self.set_alerting();
        for id in after {
            let subject = self.book.borrow().get(id).map(|it| self.subject(&it.plan));
            if let Some(subject) = subject {
                self.desk.borrow_mut().describe(id, subject.clone());
                self.referee.borrow_mut().add(id, subject);
            }
            self.rule_over(now, id, &mut rows);
        }
        self.file(filed, &mut rows);
        self.keep(rows);
    }

    /// Hands on who is told, and when nobody is.
    pub(crate) fn set_alerting(&self) {
        let config = self.config();
        // The fallback is told of what the others did not deliver, not of everything.
        let others = config.channels.iter().filter(|it| config.fallback.as_ref() != Some(&it.name));
        let channels: Vec<String> = others.map(|it| it.name.clone()).collect();
        let mut desk = self.desk.borrow_mut();
        desk.set_audience(Audience::new(config.subscriptions.clone(), &channels));
        let windows = config.windows.iter().chain(&*self.windows.borrow()).cloned().collect();
        desk.set_windows(windows);
    }

    /// Takes the rules up where the last process left them.
    fn restore_rules(
        self: &Rc<Node>,
        now: Now,
        trackers: &[(CheckId, KeptTracker)],
        rows: &mut Vec<Row>,
    ) {
        for (id, kept) in trackers {
            self.referee.borrow_mut().restore(*id, kept.clone());
        }
        for id in trackers.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>() {
            // No change of a state: that is what it was kept as.
            let ruled = self.referee.borrow().verdict(id);
            let mut noticed = Vec::new();
            self.detector.borrow_mut().set_ruled(now, id, ruled, &mut noticed);
            self.take_in(now, noticed, rows);
        }
    }

    /// Hands every check to the detector, and stores it by this process's clock.
    fn watch_all(
        &self,
        now: Now,
        kept: &BTreeMap<CheckId, Kept>,
        blind: Duration,
        rows: &mut Vec<Row>,
    ) {
        let ids: Vec<CheckId> = self.book.borrow().iter().map(|it| it.id).collect();
        for id in ids {
            let kept = kept.get(&id).cloned().unwrap_or_else(|| Kept::new(now.wall));
            self.watch(now, id, kept, blind, rows);
        }
    }

    fn watch(&self, now: Now, id: CheckId, kept: Kept, blind: Duration, rows: &mut Vec<Row>) {
        let book = self.book.borrow();
        let (mut detector, mut desk) = (self.detector.borrow_mut(), self.desk.borrow_mut());
        let Some(check) = book.get(id) else { return };
        let Ok(terms) = check.plan.terms() else {
            tracing::error!(check = %check.plan.name, "its schedule makes no sense any more");
            return;
        };
        let deadline = terms.contract.period(now.wall) + terms.contract.grace;
        desk.add(id, &check.plan.name, kept.state, deadline);
        desk.describe(id, self.subject(&check.plan));
        self.referee.borrow_mut().add(id, self.subject(&check.plan));
        detector.add(now, id, terms, kept, blind);
        if let Some(kept) = detector.kept(now, id) {
            rows.push(Row::Check(Box::new(check.clone()), kept));
        }
    }

    /// Takes up incidents and letters where the last process left them.
    fn take_up(
        &self,
        now: Now,
        loaded: Loaded,
        kept: &BTreeMap<CheckId, Kept>,
        rows: &mut Vec<Row>,
    ) {
        let mut desk = self.desk.borrow_mut();
        let book = self.book.borrow();
        for mut incident in loaded.open {
            incident.members.iter_mut().for_each(|it| it.is_over |= book.get(it.check).is_none());
            if incident.open_count() == 0 {
                // What it was about is not watched any more.
                incident.resolved_at = Some(now.wall);
                rows.push(Row::Incident(Box::new(incident)));
                continue;
            }
            desk.restore(now, incident);
        }
        for (id, it) in
            kept.iter().filter(|(id, it)| it.state.is_trouble() && book.get(**id).is_some())
        {
            let change = Change {
                check: *id,
                from: State::Up,
                to: it.state,
                // Alive, unwell and nobody told: it was taken for a consequence, until it says more.
                why: if it.state == State::Down {
                    Why::Silent
                } else {
                    Why::Cut("not well".to_owned())
                },
                at: now.wall,
                since: it.since,
            };
            desk.restore_trouble(now, &change);
        }
        let mut channels = self.channels.borrow_mut();
        for (name, letter) in loaded.letters {
            let channel = channels.iter_mut().find(|it| it.config.name == name);
            match channel {
                Some(channel) => drop(channel.queue.push(letter)),
                None => rows.push(Row::LetterEnded(letter.id, "channel gone")),
            }
        }
    }
}

/// A window that was kept; none when it makes no sense any more.
fn window(spec: WindowSpec) -> Option<Window> {
    let zone = zone(&spec.tz).ok()?;
    Window::build(spec, zone).ok()
}

/// Nodes of the file that are new are entered, and those that are not in it any more struck out.
fn enter_nodes(config: &MonitorConfig, book: &mut Book, now: Now, rows: &mut Vec<Row>) {
    let is_there = |name: &str| config.nodes.iter().any(|it| it.name == name);
    let gone: Vec<CheckId> = book
        .iter()
        .filter(|it| it.plan.kind == Kind::Node && !is_there(&it.plan.name))
        .map(|it| it.id)
        .collect();
    for id in gone {
        book.remove(id);
        rows.push(Row::Forget(id));
    }
    let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
    for node in &config.nodes {
        let plan = Plan {
            kind: Kind::Node,
            role: node.role.to_owned(),
            every_ms: millis(config.every),
            grace_ms: millis(config.grace),
            ..Plan::job(&node.name, "", now.wall)
        };
        match book.node(&node.name) {
            Some(id) => {
                let check = book.get_mut(id).expect("the book has found it");
                check.plan = Plan { created: check.plan.created, ..plan };
            }
            None => {
                if book.create(make_uuid(random()), plan).is_none() {
                    tracing::error!(node = %node.name, "not watched: there are too many checks");
                }
            }
        }
    }
}

/// Who depends on whom, by the file.
fn tree(config: &MonitorConfig, book: &Book) -> Tree {
    let mut tree = Tree::default();
    let mut services: BTreeMap<&str, Vec<CheckId>> = BTreeMap::new();
    for node in &config.nodes {
        let Some(id) = book.node(&node.name) else { continue };
        for below in node.below.iter().filter_map(|it| book.node(it)) {
            tree.link(id, below);
        }
        if let Some(service) = &node.service {
            services.entry(service).or_default().push(id);
        }
    }
    services.values().for_each(|it| tree.group(it));
    tree
}
