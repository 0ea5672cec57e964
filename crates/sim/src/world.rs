//! A world of one seed: what goes wrong in it, and what its clients saw.

use crate::{
    client::{Client, Diary, OVERDRAFT},
    database::Database,
    gateway::Gateway,
    node::{Node, Seat, service},
    rule::Rule,
    wires::{Ask, Event, Place, ToClient, ToNode, Wires},
};
use lease::NodeId;
use loadgen::{
    audit::Position,
    history::{Book, Booked, judge},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use stdx::Moment;
use wire::{AccountId, Done, Kind, Outcome};

const PARTITIONS: u16 = 4;
const ACCOUNTS: usize = 6;
const CLIENTS: usize = 6;
const READERS: usize = 2;
const GATEWAYS: usize = 2;
/// How long things go wrong, and how long clients begin something after that.
const TROUBLE: Duration = Duration::from_secs(16);
const CALM: Duration = Duration::from_secs(12);
/// What has not ended by then never will.
const END: Duration = Duration::from_secs(90);
/// Between two blows, by chance.
const BLOW_MICROS: usize = 1_200_000;

/// What a world came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lived {
    /// Operations that were decided.
    pub decided: usize,
    /// Changes of owner.
    pub takes: u64,
    /// What is wrong, in words.
    pub wrong: Vec<String>,
}

struct World {
    wires: Wires,
    database: Database,
    nodes: Vec<Node>,
    gateways: Vec<Gateway>,
    clients: Vec<Client>,
    diary: Diary,
    accounts: Vec<AccountId>,
    began: Moment,
    decided_in_trouble: usize,
}

/// Lives through the world of this seed; one rule may be left out.
pub fn run(seed: u64, left_out: Option<Rule>) -> Lived {
    let mut world = World::new(seed, left_out);
    let mut wrong: Vec<String> = world.live().err().into_iter().collect();
    wrong.extend(world.database.check().err());
    wrong.append(&mut world.diary.odd);
    let books = world.books();
    let findings = judge(&world.diary.history, &books);
    wrong.extend(findings.iter().map(ToString::to_string));
    let epochs = world.database.journal.values().map(|it| it.record.header.epoch.0);
    Lived { decided: world.diary.decided, takes: epochs.max().unwrap_or(0), wrong }
}

impl World {
    fn new(seed: u64, left_out: Option<Rule>) -> World {
        let mut wires = Wires::new(seed);
        let named = |number: usize| AccountId::parse(&format!("acc-{number}"));
        let accounts: Vec<AccountId> = (0..ACCOUNTS).filter_map(named).collect();
        let count = 2 + wires.rng.below(2);
        let roster: Vec<Arc<str>> = (1..=count).map(|it| format!("a-{it}").into()).collect();
        let mut nodes = Vec::new();
        for (index, name) in roster.iter().enumerate() {
            let rate = 850_000 + wires.rng.below(300_000) as u64;
            let seat = Seat {
                index,
                name: Arc::clone(name),
                roster: roster.clone(),
                gateways: GATEWAYS,
                partitions: PARTITIONS,
                accounts: accounts.clone(),
                rate,
                left_out,
            };
            nodes.push(Node::new(seat, NodeId(0), wires.now));
            wires.after(Duration::ZERO, Event::Node(index, ToNode::Start));
        }
        let gateways = (0..GATEWAYS).map(|it| Gateway::new(it, PARTITIONS, left_out)).collect();
        let client = |it| Client::new(it, GATEWAYS, accounts.clone(), CLIENTS <= it);
        let clients: Vec<Client> = (0..CLIENTS + READERS).map(client).collect();
        for it in 0..clients.len() {
            wires.after(Duration::from_millis(50), Event::Client(it, ToClient::Next));
        }
        wires.after(Duration::from_secs(2), Event::Blow);
        World {
            began: wires.now,
            database: Database::new(PARTITIONS, left_out),
            wires,
            nodes,
            gateways,
            clients,
            diary: Diary::new(),
            accounts,
            decided_in_trouble: 0,
        }
    }

    /// Until every client has heard what it waited for, and begins nothing more.
    fn live(&mut self) -> Result<(), String> {
        while let Some(event) = self.wires.next() {
            let age = self.wires.now.since(self.began);
            if TROUBLE < age && !self.wires.is_calm {
                self.heal();
            }
            if TROUBLE + CALM < age {
                self.clients.iter_mut().for_each(|it| it.is_over = true);
                if self.clients.iter().all(Client::is_idle) {
                    break;
                }
            }
            if END < age {
                return Err("somebody waits though all is well".to_owned());
            }
            self.deliver(event)?;
        }
        match self.decided_in_trouble + CLIENTS < self.diary.decided {
            true => Ok(()),
            false => Err("nothing was decided when all was well again".to_owned()),
        }
    }

    fn deliver(&mut self, event: Event) -> Result<(), String> {
        let wires = &mut self.wires;
        match event {
            Event::Database(Ask { node, life, link, number, statement }) => {
                let answer = self.database.execute(wires.now, life, statement);
                let told = ToNode::Told { life, link, number, answer };
                wires.send(Place::Database, Event::Node(node, told));
            }
            Event::Node(index, message) => {
                let node = &mut self.nodes[index];
                let is_start = matches!(message, ToNode::Start);
                if node.is_alive && wires.now < node.paused_until {
                    // Who stands still hears it when he goes on.
                    wires.at(node.paused_until, Event::Node(index, message));
                } else if node.is_alive != is_start {
                    node.hear(wires, message)?;
                }
            }
            Event::Gateway(index, message) => self.gateways[index].hear(wires, message),
            Event::Client(index, message) => {
                self.clients[index].hear(wires, &mut self.diary, message);
            }
            Event::Blow => self.blow(),
        }
        Ok(())
    }

    /// Something goes wrong.
    fn blow(&mut self) {
        if self.wires.is_calm {
            return;
        }
        let wires = &mut self.wires;
        let node = wires.rng.below(self.nodes.len());
        let gateway = wires.rng.below(self.gateways.len());
        let (at, door) = (Place::Node(node), Place::Gateway(gateway));
        let time = wires.micros(5_000_000);
        match wires.rng.below(12) {
            0 | 1 => self.nodes[node].die(wires),
            2 | 3 => self.nodes[node].paused_until = wires.now + time + wires.micros(2_000_000),
            4 => {
                wires.cut(at, Place::Database, time);
                wires.cut(Place::Database, at, time);
            }
            5 => wires.cut(Place::Database, at, time),
            6 => {
                wires.cut(at, door, time);
                if wires.rng.below(2) == 0 {
                    wires.cut(door, at, time);
                }
            }
            7 => self.gateways[gateway].restart(),
            // An answer or two.
            8 | 9 => {
                let moment = wires.micros(60_000);
                wires.cut(Place::Database, at, moment);
            }
            // One gateway sees only the node that does not see the database.
            10 => {
                let time = Duration::from_secs(4) + time / 2;
                wires.cut(at, Place::Database, time);
                wires.cut(Place::Database, at, time);
                for other in (0..self.nodes.len()).filter(|it| *it != node) {
                    wires.cut(Place::Node(other), door, time);
                }
            }
            _ => self.database.ahead = wires.micros(20_000_000),
        }
        let next = self.wires.micros(BLOW_MICROS);
        self.wires.after(next, Event::Blow);
    }

    fn heal(&mut self) {
        self.wires.is_calm = true;
        self.decided_in_trouble = self.diary.decided;
        self.nodes.iter_mut().for_each(|it| it.paused_until = Moment::ZERO);
    }

    /// What the journal says in the end.
    fn books(&self) -> BTreeMap<u32, Book> {
        let opening = Position { posted: 0, version: 0 };
        let empty = || Book { overdraft_limit: OVERDRAFT, entries: Vec::new(), balance: opening };
        let mut books: BTreeMap<u32, Book> =
            (0..).zip(&self.accounts).map(|(it, _)| (it, empty())).collect();
        for entry in self.database.journal.values() {
            for index in (0..).take(entry.record.items.len()) {
                let outcome = entry.record.outcome(service(), index);
                let Some(Outcome::Done(Done::Posted(it))) = outcome else { continue };
                let place = self.accounts.iter().position(|account| *account == it.account);
                let place = place.and_then(|place| u32::try_from(place).ok());
                let Some(book) = place.and_then(|place| books.get_mut(&place)) else { continue };
                let change = match it.kind {
                    Kind::Debit => -it.amount.minor(),
                    Kind::Credit => it.amount.minor(),
                };
                book.balance = Position { posted: it.posted_after, version: it.version };
                book.entries.push(Booked {
                    request: it.reference.as_deref().and_then(|it| it.parse().ok()),
                    id: it.id.to_string().into(),
                    change,
                    after: book.balance,
                });
            }
        }
        books
    }
}
