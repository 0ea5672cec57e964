//! What a node takes, and what it gives away: decided at each look at everybody else.
//!
//! Each node decides for itself and all by the same rule ([`crate::spread`]). Two who want the same
//! partition are told apart by the fence. A lost node's partitions are taken at once by those whose
//! turn it is, and by anybody after a while; what comes back to its home is given, never taken, one
//! partition at a time, and not before the home has stood for some seconds.

use crate::{
    NodeId, Sign,
    office::{Deed, News, Office},
    spread,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use stdx::{Moment, Rng};
use wire::{Epoch, PartitionId};

/// At its start a node leaves others this long to come for what is at home with them.
pub(crate) const START_GRACE: Duration = Duration::from_secs(1);
/// How long whoever's turn it is may take before anybody does it, and as much more by chance.
pub(crate) const BACKSTOP: Duration = Duration::from_millis(500);
/// A node has to live this long before it is given what is at home with it: one that falls over
/// again and again gets nothing.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);
/// The shortest stay of a partition at a node, orders and drains apart; by chance up to half more.
pub(crate) const RESIDENCE: Duration = Duration::from_secs(5);
/// What a node away from home has is dealt anew once nobody has come or gone for this long.
pub(crate) const REDEAL_AFTER: Duration = Duration::from_secs(30);
/// Between the order to give a partition and the giving: its successor, who sees the order too,
/// reads ahead meanwhile what it can.
pub(crate) const READ_AHEAD: Duration = Duration::from_millis(500);
/// The next partition is given when the last one was taken, or after this.
pub(crate) const GIFT_WAIT: Duration = Duration::from_secs(1);

/// Everybody and everything, as it was at one moment.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Every node that may own something, the one that looks included.
    pub members: Vec<Member>,
    /// Every partition.
    pub holdings: Vec<Holding>,
}

/// A node that opened the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: NodeId,
    pub name: Arc<str>,
    pub sign: Sign,
    /// It drains: it wants nothing.
    pub is_leaving: bool,
}

/// A partition and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    pub partition: PartitionId,
    pub owner: Option<NodeId>,
    pub epoch: Epoch,
    /// The node that somebody moved it to by hand.
    pub pinned: Option<Arc<str>>,
}

/// A deed, and which partition it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub partition: PartitionId,
    pub deed: Deed,
}

/// One node's side of the distribution of partitions.
#[derive(Clone, Debug)]
pub struct Heir {
    me: NodeId,
    name: Arc<str>,
    /// The service's nodes in the order of the topology file.
    roster: Vec<Arc<str>>,
    rng: Rng,
    began: Moment,
    is_leaving: bool,
    /// A negative control: nobody has to have stood for a while.
    is_hasty: bool,
    posts: BTreeMap<PartitionId, Post>,
    /// Nodes that were once seen alive: what they leave behind is taken without a grace.
    met: BTreeSet<NodeId>,
    /// Since when each node has been lively.
    lively_since: BTreeMap<NodeId, Moment>,
    /// Who could own something, and since when it has been just these.
    circle: (Vec<NodeId>, Moment),
    /// What others have, and will soon give to this node.
    expected: Vec<PartitionId>,
    /// The last partition given away, until it is taken.
    gift: Option<(PartitionId, Epoch, Moment)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Post {
    office: Office,
    /// While it is nobody's: when anybody may take it.
    anybody_from: Option<Moment>,
    /// While it is ours: when it may leave.
    stay_until: Option<Moment>,
    /// While it is ours and ordered away: since when.
    ordered_since: Option<Moment>,
}

/// What one look has found out about the nodes.
struct Circle<'a> {
    names: Vec<&'a str>,
    ids: BTreeMap<&'a str, NodeId>,
}

impl Heir {
    /// A node that has just started. `seed` only spreads out what several nodes would do at once.
    pub fn new(me: NodeId, name: Arc<str>, roster: Vec<Arc<str>>, seed: u64, now: Moment) -> Heir {
        Heir {
            me,
            name,
            roster,
            rng: Rng::new(seed),
            began: now,
            is_leaving: false,
            is_hasty: false,
            posts: BTreeMap::new(),
            met: BTreeSet::new(),
            lively_since: BTreeMap::new(),
            circle: (Vec::new(), now),
            expected: Vec::new(),
            gift: None,
        }
    }

    /// It drains, and from now on only gives; or it stays after all.
    pub fn set_leaving(&mut self, on: bool) {
        self.is_leaving = on;
    }

    /// Leaves out the rule that a node gets nothing, and gives nothing, before it has stood and a
    /// partition has stayed for a while: for tests, which must notice.
    pub fn set_hasty(&mut self, on: bool) {
        self.is_hasty = on;
    }

    /// Other nodes belong to the service from now on, or in another order.
    pub fn set_roster(&mut self, roster: Vec<Arc<str>>) {
        self.roster = roster;
    }

    /// Whether a node that leaves has nothing more to give, or nobody to give it to.
    pub fn is_free_to_go(&self) -> bool {
        let has_taker = self.circle.0.iter().any(|id| *id != self.me);
        let has_office = self.posts.values().any(|post| post.office != Office::Out);
        self.is_leaving && !(has_taker && has_office)
    }

    /// The partitions that others have now and will give to this node, as of the last look.
    pub fn expected(&self) -> &[PartitionId] {
        &self.expected
    }

    /// What this node is to a partition.
    pub fn office(&self, partition: PartitionId) -> Office {
        self.posts.get(&partition).map(|post| post.office).unwrap_or_default()
    }

    /// Looks round, and says what to do first; each deed is followed by its [`News`].
    pub fn look(&mut self, now: Moment, survey: &Survey) -> Vec<Order> {
        self.meet(now, survey);
        let roster = std::mem::take(&mut self.roster);
        let circle = self.draw_circle(now, &roster, survey);
        if let Some((partition, epoch, since)) = self.gift {
            let of = survey.holdings.iter().find(|it| it.partition == partition);
            if of.is_none_or(|it| epoch < it.epoch) || since + GIFT_WAIT <= now {
                self.gift = None;
            }
        }
        self.expected.clear();
        let mut orders = Vec::new();
        for holding in &survey.holdings {
            let pinned = holding.pinned.as_deref();
            let target = spread::target(&roster, &circle.names, pinned, holding.partition);
            let home = spread::home(&roster, holding.partition);
            let news = self.overdue(holding).or_else(|| match self.office(holding.partition) {
                Office::Out => {
                    let news = self.claim(now, holding, survey, target, home);
                    if news.is_none() && target == Some(&*self.name) && !self.is_leaving {
                        self.expected.push(holding.partition);
                    }
                    news
                }
                Office::Serving { .. } => {
                    let to = target.and_then(|name| Some((name, *circle.ids.get(name)?)));
                    self.release(now, holding, to?, home)
                }
                Office::Taking { .. }
                | Office::Loading { .. }
                | Office::Closing { .. }
                | Office::Giving { .. } => None,
            });
            if let Some(deed) = news.and_then(|news| self.hear(now, holding.partition, news)) {
                orders.push(Order { partition: holding.partition, deed });
            }
        }
        self.roster = roster;
        orders
    }

    /// What follows from the news about a partition.
    pub fn hear(&mut self, now: Moment, partition: PartitionId, news: News) -> Option<Deed> {
        let post = self.posts.entry(partition).or_default();
        let was = post.office;
        let deed = post.office.hear(news);
        match (was, post.office) {
            (Office::Loading { .. }, Office::Serving { .. }) => {
                let nanos = usize::try_from(RESIDENCE.as_nanos() / 2).unwrap_or(usize::MAX);
                let extra = self.rng.below(nanos.max(1)) as u64;
                post.ordered_since = None;
                post.stay_until = Some(now + RESIDENCE + Duration::from_nanos(extra));
                post.anybody_from = None;
            }
            (Office::Giving { epoch, .. }, Office::Out) => {
                let given = Epoch(epoch.0.saturating_add(1));
                self.gift = Some((partition, given, now));
            }
            (_, _) => (),
        }
        deed
    }

    fn meet(&mut self, now: Moment, survey: &Survey) {
        let lively = |it: &&Member| it.sign == Sign::Lively;
        let ids: BTreeSet<NodeId> = survey.members.iter().filter(lively).map(|it| it.id).collect();
        self.lively_since.retain(|id, _| ids.contains(id));
        for id in ids {
            self.lively_since.entry(id).or_insert(now);
        }
        let alive = survey.members.iter().filter(|it| it.sign != Sign::Dead);
        self.met.extend(alive.map(|it| it.id));
        // Forgotten with its row: its number never comes again.
        self.met.retain(|id| survey.members.iter().any(|it| it.id == *id));
    }

    /// Who could own something: in the order of the roster, strangers to it last and by name.
    fn draw_circle<'a>(
        &mut self,
        now: Moment,
        roster: &[Arc<str>],
        survey: &'a Survey,
    ) -> Circle<'a> {
        let is_in = |it: &&Member| match it.id == self.me {
            true => !self.is_leaving,
            false => it.sign == Sign::Lively && !it.is_leaving,
        };
        let mut members: Vec<&Member> = survey.members.iter().filter(is_in).collect();
        let place = |it: &Member| roster.iter().position(|name| *name == it.name);
        members.sort_by_key(|it| (place(it).unwrap_or(usize::MAX), Arc::clone(&it.name)));
        let ids: Vec<NodeId> = members.iter().map(|it| it.id).collect();
        if ids != self.circle.0 {
            self.circle = (ids, now);
        }
        Circle {
            names: members.iter().map(|it| &*it.name).collect(),
            ids: members.iter().map(|it| (&*it.name, it.id)).collect(),
        }
    }

    /// A tenure that somebody has ended, though no batch of ours has run into the fence yet.
    fn overdue(&self, holding: &Holding) -> Option<News> {
        let office = self.office(holding.partition);
        let epoch = office.epoch()?;
        let is_over = epoch < holding.epoch && !matches!(office, Office::Giving { .. });
        is_over.then_some(News::Over { epoch })
    }

    /// Whether to take what this node does not have.
    fn claim(
        &mut self,
        now: Moment,
        holding: &Holding,
        survey: &Survey,
        target: Option<&str>,
        home: Option<&str>,
    ) -> Option<News> {
        let owner = holding.owner.and_then(|id| survey.members.iter().find(|it| it.id == id));
        let is_given = holding.owner == Some(self.me);
        let is_free = owner.is_none_or(|it| it.sign == Sign::Dead);
        let post = self.posts.entry(holding.partition).or_default();
        if !is_free || self.is_leaving {
            post.anybody_from = None;
            let is_mine = is_given && !self.is_leaving;
            return is_mine.then_some(News::Claim { seen: holding.epoch });
        }
        let chance = self.rng.below(1_024);
        let anybody_from = *post.anybody_from.get_or_insert_with(|| {
            now + BACKSTOP + BACKSTOP * u32::try_from(chance).unwrap_or(0) / 1_024
        });
        let is_expected = home == Some(&*self.name)
            || holding.pinned == Some(Arc::clone(&self.name))
            || holding.owner.is_some_and(|id| self.met.contains(&id))
            || self.began + START_GRACE <= now;
        let is_turn = target == Some(&*self.name) && is_expected;
        let is_backstop = anybody_from.max(self.began + START_GRACE) <= now;
        (is_turn || is_backstop).then_some(News::Claim { seen: holding.epoch })
    }

    /// Whether to give away what this node has.
    fn release(
        &mut self,
        now: Moment,
        holding: &Holding,
        (target, to): (&str, NodeId),
        home: Option<&str>,
    ) -> Option<News> {
        let is_order = self.is_leaving || holding.pinned.as_deref() == Some(target);
        let post = self.posts.get_mut(&holding.partition)?;
        if to == self.me || !is_order {
            post.ordered_since = None;
        } else {
            post.ordered_since.get_or_insert(now);
        }
        let post = *post;
        let moves =
            |post: &Post| matches!(post.office, Office::Closing { .. } | Office::Giving { .. });
        if to == self.me || self.gift.is_some() || self.posts.values().any(moves) {
            return None;
        }
        let is_order = post.ordered_since.is_some_and(|since| since + READ_AHEAD <= now);
        let settled = self.lively_since.get(&to).is_some_and(|since| *since + SETTLE <= now);
        let has_stayed = post.stay_until.is_none_or(|until| until <= now);
        let is_quiet = self.circle.1 + REDEAL_AFTER <= now;
        let is_due =
            (self.is_hasty || (settled && has_stayed)) && (home == Some(target) || is_quiet);
        (is_order || is_due).then_some(News::Release { to })
    }
}
