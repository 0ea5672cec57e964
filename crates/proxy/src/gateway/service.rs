//! An account service as one worker sees it: a link to each of its nodes, and who owns what.

use super::{
    board::ServiceBoard,
    limits::{PARTITION_IN_FLIGHT_MAX, RETRY_FLOOR_PER_SECOND, RETRY_SHARE_PERMILLE},
    looks::Looks,
    owners::{NodeIndex, Owners},
    seen::Seen,
};
use crate::config::ServiceConfig;
use balance::Budget;
use net::{
    clock,
    control::EndpointView,
    node::Endpoint,
    trunk::{CallSlot, Identity, Link, LinkConfig, LinkEvents},
};
use std::{
    cell::{Cell, Ref, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use stdx::Moment;
use tokio::{sync::Notify, time::timeout};
use wire::{
    PartitionId, ServiceTag,
    frame::{LoadReport, OwnerMap},
};

/// A service and the ways to its nodes. Belongs to one worker.
pub(super) struct Service {
    pub(super) name: Box<str>,
    pub(super) tag: ServiceTag,
    pub(super) partitions: u16,
    identity: Identity,
    nodes: RefCell<Vec<Way>>,
    /// Requests for each partition.
    in_flight: Vec<Cell<u32>>,
    budget: RefCell<Budget>,
    /// What those who listen ask.
    pub(super) looks: Looks,
    ownership: Rc<Ownership>,
}

/// The way to one node of the service.
struct Way {
    endpoint: Endpoint,
    link: Link<CallSlot>,
    /// No longer of the service; its place stays taken, so that no late word of it is taken for
    /// another's.
    gone: bool,
}

/// Who owns what, and a bell for those who wait for that to change.
struct Ownership {
    owners: RefCell<Owners>,
    /// Counts the changes.
    version: Cell<u64>,
    changed: Notify,
    board: Arc<ServiceBoard>,
    /// What is seen of each node, by its index.
    seen: RefCell<Vec<Rc<Seen>>>,
}

impl Service {
    /// Begins to connect to the nodes, from this thread.
    pub(super) fn open(
        config: &ServiceConfig,
        identity: &Identity,
        board: Arc<ServiceBoard>,
    ) -> Service {
        let ownership = Rc::new(Ownership {
            owners: RefCell::new(Owners::new(config.partitions)),
            version: Cell::new(0),
            changed: Notify::new(),
            board,
            seen: RefCell::default(),
        });
        let service = Service {
            name: config.name.as_str().into(),
            tag: ServiceTag::of(&config.name),
            partitions: config.partitions,
            identity: identity.clone(),
            nodes: RefCell::default(),
            in_flight: (0..config.partitions).map(|_| Cell::new(0)).collect(),
            budget: RefCell::new(Budget::new(RETRY_SHARE_PERMILLE, RETRY_FLOOR_PER_SECOND)),
            looks: Looks::new(config.partitions),
            ownership,
        };
        service.set_nodes(&config.nodes);
        service
    }

    /// Makes the nodes of the service those of the list: connects to new ones and asks those that
    /// are not in it nothing more. What is in flight to them may still be answered.
    pub(super) fn set_nodes(&self, list: &[Endpoint]) {
        let mut nodes = self.nodes.borrow_mut();
        for (node, way) in nodes.iter_mut().enumerate().filter(|(_, way)| !way.gone) {
            if !list.contains(&way.endpoint) {
                way.gone = true;
                let was_connected = way.link.is_connected();
                way.link.close();
                if was_connected {
                    self.ownership.lost(node);
                }
            }
        }
        for endpoint in list {
            if nodes.iter().any(|way| !way.gone && way.endpoint == *endpoint) {
                continue;
            }
            let config = LinkConfig {
                identity: self.identity.clone(),
                endpoint: endpoint.clone(),
                index: nodes.len(),
            };
            let events: Rc<dyn LinkEvents> = self.ownership.clone();
            self.ownership.seen.borrow_mut().push(Rc::default());
            let link = Link::open(config, events);
            nodes.push(Way { endpoint: endpoint.clone(), link, gone: false });
        }
    }

    /// Whether an id of this tag and partition can be of this service.
    pub(super) fn is_place(&self, tag: ServiceTag, partition: PartitionId) -> bool {
        tag == self.tag && partition.0 < self.partitions
    }

    /// The way to a node.
    pub(super) fn link(&self, node: NodeIndex) -> Link<CallSlot> {
        self.nodes.borrow()[node].link.clone()
    }

    /// What is seen of a node.
    pub(super) fn seen(&self, node: NodeIndex) -> Rc<Seen> {
        Rc::clone(&self.ownership.seen.borrow()[node])
    }

    /// Every node of the service as it stands.
    pub(super) fn views(&self) -> Vec<EndpointView> {
        let (nodes, seen) = (self.nodes.borrow(), self.ownership.seen.borrow());
        let present = nodes.iter().zip(&*seen).filter(|(way, _)| !way.gone);
        let view = |(way, seen): (&Way, &Rc<Seen>)| {
            let in_flight = u64::try_from(way.link.in_flight()).unwrap_or(u64::MAX);
            seen.view(&way.endpoint, way.link.is_connected(), in_flight)
        };
        present.map(view).collect()
    }

    pub(super) fn node_name(&self, node: NodeIndex) -> Arc<str> {
        Arc::clone(&self.nodes.borrow()[node].endpoint.name)
    }

    /// Counts a request for `partition` for as long as what is returned is held; `None` when too
    /// many wait for it already.
    pub(super) fn enter(&self, partition: PartitionId) -> Option<Entered<'_>> {
        let in_flight = self.in_flight.get(usize::from(partition.0))?;
        if PARTITION_IN_FLIGHT_MAX <= in_flight.get() {
            self.ownership.board.crowded.add(1);
            return None;
        }
        in_flight.set(in_flight.get() + 1);
        Some(Entered { in_flight })
    }

    /// Whom to ask about `partition` now.
    pub(super) fn owner(&self, partition: PartitionId) -> Option<NodeIndex> {
        self.ownership.owners.borrow().owner(partition)
    }

    /// Who owns what, now.
    pub(super) fn owners(&self) -> Ref<'_, Owners> {
        self.ownership.owners.borrow()
    }

    /// Changes with every change of an owner; to be had before somebody is asked.
    pub(super) fn owners_version(&self) -> u64 {
        self.ownership.version.get()
    }

    /// Returns when the owners are others than they were at `version`, at `until` at the latest.
    pub(super) async fn owners_changed(&self, version: u64, until: Moment) {
        let changed = async {
            while self.owners_version() == version {
                self.ownership.changed.notified().await;
            }
        };
        let left = until.since(clock::now());
        if !left.is_zero() {
            // A change and the end of the wait are the same to the caller, who looks again.
            drop(timeout(left, changed).await);
        }
    }

    /// Counts a request: it earns repeats.
    pub(super) fn requested(&self, now: Moment) {
        self.budget.borrow_mut().requested(now);
    }

    /// Whether an attempt may follow another.
    pub(super) fn may_repeat(&self) -> bool {
        let granted = self.budget.borrow_mut().try_retry(clock::now());
        let board = &self.ownership.board;
        (if granted { &board.repeats } else { &board.denied }).add(1);
        granted
    }

    /// Sends nothing more.
    pub(super) fn close(&self) {
        self.nodes.borrow().iter().for_each(|way| way.link.close());
    }
}

/// A request that is in flight to a partition.
pub(super) struct Entered<'a> {
    in_flight: &'a Cell<u32>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
    }
}

impl Ownership {
    fn changed(&self) {
        self.version.set(self.version.get() + 1);
        self.board.set_orphans(self.owners.borrow().orphans().collect());
        self.changed.notify_waiters();
    }

    fn note(&self, node: NodeIndex, why: &'static str) {
        self.seen.borrow()[node].note(why);
    }

    fn lost(&self, node: NodeIndex) {
        self.board.connected.sub(1);
        if self.owners.borrow_mut().disconnect(node) {
            self.changed();
        }
    }
}

impl LinkEvents for Ownership {
    fn connected(&self, node: NodeIndex) {
        self.note(node, "connected");
        // What the node owns it says next.
        self.board.connected.add(1);
    }

    fn draining(&self, node: NodeIndex) {
        self.note(node, "it is going away");
        self.lost(node);
    }

    fn disconnected(&self, node: NodeIndex) {
        self.note(node, "its connection was lost");
        self.lost(node);
    }

    fn load_report(&self, node: NodeIndex, report: LoadReport) {
        self.seen.borrow()[node].reported(report);
    }

    fn owner_map(&self, node: NodeIndex, map: OwnerMap<'_>) {
        let changed = self.owners.borrow_mut().announce(node, map.iter());
        if changed {
            self.changed();
        }
    }
}

/// A little before `deadline`, so that what this node says arrives before those in front of it
/// give up.
pub(super) fn before_deadline(now: Moment, left: Duration) -> Moment {
    const MARGIN_MAX: Duration = Duration::from_millis(50);
    now + left.saturating_sub(MARGIN_MAX.min(left / 10))
}
