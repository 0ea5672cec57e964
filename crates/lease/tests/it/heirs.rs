//! Some heirs on one store, in virtual time: nodes die, hang, return and leave; afterwards every
//! partition is served where it belongs, nobody served what another had, and little moved.

use lease::{
    Deed, Fence, Heir, Holding, LATE_LOOKS, Member, News, NodeId, Office, Order, Sign, Survey,
};
use std::{sync::Arc, time::Duration};
use stdx::{Moment, Rng};
use wire::{Epoch, PartitionId};

const PARTITIONS: u16 = 16;
/// One round of looks.
const ROUND: Duration = Duration::from_millis(100);

struct Node {
    id: NodeId,
    heir: Heir,
    is_alive: bool,
    /// Rounds that it hangs for.
    paused: u32,
    still: u32,
    is_leaving: bool,
}

struct Shop {
    now: Moment,
    roster: Vec<Arc<str>>,
    nodes: Vec<Node>,
    fences: Vec<Fence>,
    pins: Vec<Option<Arc<str>>>,
    starts: u64,
    takes: usize,
}

impl Shop {
    fn new(count: usize) -> Shop {
        let roster: Vec<Arc<str>> = (1..=count).map(|it| format!("a-{it}").into()).collect();
        let partitions = usize::from(PARTITIONS);
        let mut shop = Shop {
            now: Moment::ZERO,
            roster,
            nodes: Vec::new(),
            fences: vec![Fence::default(); partitions],
            pins: vec![None; partitions],
            starts: 0,
            takes: 0,
        };
        for at in 0..count {
            let node = shop.process(at);
            shop.nodes.push(node);
        }
        shop
    }

    /// A fresh process of the node of this place.
    fn process(&mut self, at: usize) -> Node {
        self.starts += 1;
        let id = NodeId(self.starts);
        let (name, roster) = (Arc::clone(&self.roster[at]), self.roster.clone());
        let heir = Heir::new(id, name, roster, self.starts, self.now);
        Node { id, heir, is_alive: true, paused: 0, still: 0, is_leaving: false }
    }

    fn survey(&self) -> Survey {
        let member = |(at, node): (usize, &Node)| Member {
            id: node.id,
            name: Arc::clone(&self.roster[at]),
            sign: match (node.is_alive, node.still) {
                (false, _) => Sign::Dead,
                (true, 0..10) => Sign::Lively,
                (true, 10..35) => Sign::Quiet,
                (true, 35..) => Sign::Late,
            },
            is_leaving: node.is_leaving,
        };
        let holding = |(at, fence): (usize, &Fence)| Holding {
            partition: PartitionId(u16::try_from(at).unwrap()),
            owner: fence.owner,
            epoch: fence.epoch,
            pinned: self.pins[at].clone(),
        };
        Survey {
            members: self.nodes.iter().enumerate().map(member).collect(),
            holdings: self.fences.iter().enumerate().map(holding).collect(),
        }
    }

    /// Every node that goes on looks once, in an order of chance; who hangs too long is ended.
    fn round(&mut self, rng: &mut Rng) {
        self.now = self.now + ROUND;
        for node in &mut self.nodes {
            let hangs = 0 < node.paused;
            node.paused = node.paused.saturating_sub(1);
            node.still = if hangs { node.still + 1 } else { 0 };
        }
        let first = rng.below(self.nodes.len());
        for turn in 0..self.nodes.len() {
            let at = (first + turn) % self.nodes.len();
            if !self.nodes[at].is_alive || 0 < self.nodes[at].still {
                continue;
            }
            let survey = self.survey();
            for (member, sign) in survey.members.iter().map(|it| it.sign).enumerate() {
                if sign == Sign::Late {
                    self.nodes[member].is_alive = false;
                }
            }
            let orders = self.nodes[at].heir.look(self.now, &survey);
            for Order { partition, deed } in orders {
                self.perform(at, partition, deed);
            }
        }
        self.check();
    }

    fn perform(&mut self, at: usize, partition: PartitionId, deed: Deed) {
        let mut next = Some(deed);
        while let Some(deed) = next.take() {
            let id = self.nodes[at].id;
            let fence = &mut self.fences[usize::from(partition.0)];
            let news = match deed {
                Deed::Take { seen } => {
                    let owner = fence.owner;
                    let lives = |it: NodeId| self.nodes.iter().any(|n| n.id == it && n.is_alive);
                    let may = owner.is_none_or(|owner| owner == id || !lives(owner));
                    let epoch = if may { fence.take(id, seen) } else { None };
                    self.takes += usize::from(epoch.is_some());
                    News::Took { seen, epoch }
                }
                Deed::Load { epoch } => News::Loaded { epoch },
                Deed::Serve { .. } => return,
                Deed::Close { epoch } => News::Closed { epoch },
                Deed::Give { epoch, to } => {
                    fence.give(id, epoch, to);
                    News::Gave { epoch }
                }
            };
            next = self.nodes[at].heir.hear(self.now, partition, news);
        }
    }

    /// Nobody alive serves what another has.
    fn check(&self) {
        for (at, fence) in self.fences.iter().enumerate() {
            let partition = PartitionId(u16::try_from(at).unwrap());
            for node in self.nodes.iter().filter(|it| it.is_alive) {
                if let Office::Serving { epoch } = node.heir.office(partition) {
                    assert_eq!((fence.owner, fence.epoch), (Some(node.id), epoch), "{partition:?}");
                }
            }
        }
    }

    fn unserved(&self) -> usize {
        let serves = |at: usize, epoch: Epoch| {
            let partition = PartitionId(u16::try_from(at).unwrap());
            let office = Office::Serving { epoch };
            self.nodes.iter().any(|it| it.is_alive && it.heir.office(partition) == office)
        };
        self.fences.iter().enumerate().filter(|(at, it)| !serves(*at, it.epoch)).count()
    }

    fn owners(&self) -> Vec<usize> {
        let place = |fence: &Fence| {
            self.nodes.iter().position(|node| Some(node.id) == fence.owner).unwrap()
        };
        self.fences.iter().map(place).collect()
    }

    fn rounds(&mut self, rng: &mut Rng, count: u32) {
        (0..count).for_each(|_| self.round(rng));
    }
}

#[test]
fn a_lost_node_is_replaced_in_a_look_and_gets_its_share_back() {
    let mut rng = Rng::new(1);
    let mut shop = Shop::new(2);
    shop.rounds(&mut rng, 3);
    let homes: Vec<usize> = (0..16).map(|it| it % 2).collect();
    assert_eq!((shop.owners(), shop.takes), (homes.clone(), 16), "dealt in turn, nothing twice");
    shop.nodes[0].is_alive = false;
    shop.round(&mut rng);
    assert_eq!((shop.unserved(), shop.takes), (0, 24));
    shop.nodes[0] = shop.process(0);
    shop.rounds(&mut rng, 40);
    assert_eq!(shop.takes, 24, "it might fall over again");
    shop.rounds(&mut rng, 200);
    assert_eq!((shop.owners(), shop.takes), (homes, 32));
}

#[test]
fn a_node_that_hangs_is_ended_and_one_that_hangs_shortly_is_not() {
    let mut rng = Rng::new(2);
    let mut shop = Shop::new(3);
    shop.rounds(&mut rng, 20);
    shop.nodes[1].paused = 20;
    shop.rounds(&mut rng, 100);
    assert_eq!((shop.unserved(), shop.takes), (0, 16), "nothing moved");
    shop.nodes[1].paused = 10_000;
    shop.rounds(&mut rng, LATE_LOOKS * 3);
    assert_eq!((shop.unserved(), shop.takes), (0, 21));
}

#[test]
fn a_node_that_is_new_gets_its_share() {
    let mut rng = Rng::new(4);
    let mut shop = Shop::new(2);
    shop.rounds(&mut rng, 20);
    shop.roster.push("a-3".into());
    let third = shop.process(2);
    shop.nodes.push(third);
    let roster = shop.roster.clone();
    for node in &mut shop.nodes {
        node.heir.set_roster(roster.clone());
    }
    shop.rounds(&mut rng, 300);
    let dealt: Vec<usize> = (0..16).map(|it| it % 3).collect();
    assert_eq!((shop.unserved(), shop.owners()), (0, dealt));
}

#[test]
fn a_node_that_falls_over_again_and_again_moves_nothing() {
    let mut rng = Rng::new(3);
    let mut shop = Shop::new(3);
    shop.rounds(&mut rng, 20);
    for _ in 0..50 {
        shop.nodes[2].is_alive = false;
        shop.rounds(&mut rng, 5);
        shop.nodes[2] = shop.process(2);
        shop.rounds(&mut rng, 40);
        assert_eq!(shop.unserved(), 0);
    }
    // Its five partitions were taken from it once.
    assert_eq!(shop.takes, 16 + 5);
}

#[test]
fn whatever_happens_in_the_end_all_is_served_where_it_belongs() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let count = 2 + rng.below(3);
        let mut shop = Shop::new(count);
        for _ in 0..300 {
            let at = rng.below(count);
            match rng.below(24) {
                0 => shop.nodes[at].is_alive = false,
                1 => shop.nodes[at].paused = 1 + u32::try_from(rng.below(60)).unwrap(),
                2 if shop.nodes[at].is_alive => {
                    shop.nodes[at].is_leaving = true;
                    shop.nodes[at].heir.set_leaving(true);
                }
                3..6 if !shop.nodes[at].is_alive => shop.nodes[at] = shop.process(at),
                6 => {
                    let partition = rng.below(usize::from(PARTITIONS));
                    shop.pins[partition] = Some(Arc::clone(&shop.roster[at]));
                }
                _ => (),
            }
            shop.round(&mut rng);
        }
        for at in 0..count {
            if !shop.nodes[at].is_alive || shop.nodes[at].is_leaving {
                shop.nodes[at] = shop.process(at);
            }
            shop.nodes[at].paused = 0;
        }
        let takes = shop.takes;
        shop.rounds(&mut rng, 300);
        let belongs: Vec<usize> = (0..usize::from(PARTITIONS))
            .map(|at| match &shop.pins[at] {
                Some(name) => shop.roster.iter().position(|it| it == name).unwrap(),
                None => at % count,
            })
            .collect();
        assert_eq!((shop.unserved(), shop.owners()), (0, belongs), "seed {seed}");
        assert!(shop.takes - takes <= 2 * usize::from(PARTITIONS), "seed {seed}");
        let settled = shop.takes;
        shop.rounds(&mut rng, 600);
        assert_eq!(shop.takes, settled, "seed {seed}: it does not come to rest");
    }
}
