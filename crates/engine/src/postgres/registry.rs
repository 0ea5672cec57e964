//! The lease thread's end of the engine: who is there, who owns what, taking and giving.
//!
//! Nobody is told of anything by the database: whoever waits looks again soon, and sooner where
//! somebody is about to give.

use crate::{
    engine::{Bell, Claim, Registry, Tenure},
    error::{EngineError, Kind},
    postgres::{
        failure::Failure,
        limits::QUIET_AFTER,
        link::{Link, param},
        member::is_over,
        schema::Schema,
        shared::Shared,
        take::Taker,
    },
};
use lease::{Holding, Member, NodeId, Sign, Survey};
use net::clock;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use stdx::fault::{self, Mutant};
use tokio_postgres::Row;
use wire::{Epoch, PartitionId};

/// Between two looks of whoever waits.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The same where a gift is to be expected, or was given and is to be taken: what is given waits for
/// this look.
const LOOK_SOON: Duration = Duration::from_millis(3);
/// Since the last renewal, before a node is to be looked at elsewhere: one was missed.
const SUSPECT_AFTER: Duration = Duration::from_millis(1_500);

pub(crate) struct PostgresRegistry {
    link: Link,
    taker: Taker,
    node_id: i64,
    shared: Arc<Shared>,
    statements: Statements,
    /// Late nodes of the last survey: where they listen, and when they were last renewed.
    suspects: BTreeMap<NodeId, (SocketAddr, i64)>,
    /// The last survey shows that somebody is about to give something.
    is_eager: bool,
}

struct Statements {
    holdings: String,
    members: String,
    gone: String,
    give: String,
    pin: String,
    unpin: String,
    leaving: String,
}

impl Statements {
    fn of(schema: &Schema) -> Statements {
        Statements {
            holdings: schema.sql(
                "SELECT p.part_id, p.owner, p.epoch, pin.node FROM @part p
                 LEFT JOIN @pin pin ON pin.part_id = p.part_id ORDER BY p.part_id",
            ),
            members: schema.sql(&format!(
                "SELECT n.node_id, n.name, n.trunk, n.is_leaving, n.state = 'gone', {},
                    (extract(epoch FROM clock_timestamp() - n.renewed_at) * 1000)::bigint,
                    (extract(epoch FROM n.renewed_at) * 1000000)::bigint
                 FROM @node n",
                is_over()
            )),
            gone: schema.sql(
                "UPDATE @node SET state = 'gone' WHERE node_id = $1 AND state <> 'gone'
                 AND (extract(epoch FROM renewed_at) * 1000000)::bigint = $2 RETURNING 1",
            ),
            give: schema.sql(
                "UPDATE @part SET owner = $1, epoch = epoch + 1, turn = 0
                 WHERE part_id = $2 AND owner = $3 AND epoch = $4 RETURNING 1",
            ),
            pin: schema.sql(
                "INSERT INTO @pin VALUES ($1, $2)
                 ON CONFLICT (part_id) DO UPDATE SET node = excluded.node RETURNING 1",
            ),
            unpin: schema.sql("DELETE FROM @pin WHERE part_id = $1 RETURNING 1"),
            leaving: schema.sql("UPDATE @node SET is_leaving = $2 WHERE node_id = $1 RETURNING 1"),
        }
    }
}

impl PostgresRegistry {
    pub(crate) fn new(
        link: Link,
        taker: Taker,
        schema: &Schema,
        node_id: i64,
        shared: Arc<Shared>,
    ) -> PostgresRegistry {
        PostgresRegistry {
            link,
            taker,
            node_id,
            shared,
            statements: Statements::of(schema),
            suspects: BTreeMap::new(),
            is_eager: false,
        }
    }

    fn deposed(&self) -> EngineError {
        let what = "others have declared this node gone: it was silent for too long";
        EngineError::new(Kind::Deposed, self.link.place(), what)
    }

    fn holdings(&self, rows: &[Row]) -> Result<Vec<Holding>, Failure> {
        let number = |it: i64| {
            let what = || self.link.corrupt("a fence row has a negative number".to_owned());
            u64::try_from(it).map_err(|_| what())
        };
        let read = |row: &Row| {
            let partition = self.link.get::<i32>(row, 0)?;
            let partition = u16::try_from(partition).map_err(|_| {
                self.link.corrupt(format!("has a fence row of partition {partition}"))
            })?;
            let owner: Option<i64> = self.link.get(row, 1)?;
            let pinned: Option<String> = self.link.get(row, 3)?;
            Ok(Holding {
                partition: PartitionId(partition),
                owner: owner.map(number).transpose()?.map(NodeId),
                epoch: Epoch(number(self.link.get(row, 2)?)?),
                pinned: pinned.map(Into::into),
            })
        };
        rows.iter().map(read).collect()
    }

    /// Everybody and everything; `None` where this node is not among those who live.
    fn look(&mut self) -> Result<Option<Survey>, Failure> {
        // Owners first: an owner that joined since would otherwise seem to be nobody.
        let both = [&self.statements.holdings, &self.statements.members];
        let rows = self.link.query_all(&both.map(|sql| (sql.as_str(), &[][..])))?;
        let [holdings, members] = &rows[..] else {
            return Err(self.link.corrupt("two statements have two answers".to_owned()).into());
        };
        let holdings = self.holdings(holdings)?;
        let members = self.members(members)?;
        Ok(members.map(|members| Survey { members, holdings }))
    }

    /// Everybody; `None` where this node is not among those who live.
    fn members(&mut self, rows: &[Row]) -> Result<Option<Vec<Member>>, Failure> {
        let (mut members, mut suspects) = (Vec::with_capacity(rows.len()), BTreeMap::new());
        let is_steady = self.shared.is_steady(clock::now());
        let mut am_there = fault::has(Mutant::TakeOnTime); // Then nobody is to learn otherwise.
        for row in rows {
            let node_id: i64 = self.link.get(row, 0)?;
            let (name, trunk): (String, String) = (self.link.get(row, 1)?, self.link.get(row, 2)?);
            let is_gone: bool = self.link.get(row, 4)?;
            let is_over: bool = self.link.get(row, 5)?;
            let age_ms: i64 = self.link.get(row, 6)?;
            let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
            let (is_me, id) = (node_id == self.node_id, NodeId(node_id.unsigned_abs()));
            am_there |= is_me && !is_gone;
            let sign = match () {
                () if is_gone || (is_over && is_steady && !is_me) => Sign::Dead,
                () if is_me || age < QUIET_AFTER => Sign::Lively,
                () => Sign::Quiet,
            };
            if sign != Sign::Dead
                && !is_me
                && SUSPECT_AFTER <= age
                && let Ok(trunk) = trunk.parse()
            {
                let _none = suspects.insert(id, (trunk, self.link.get(row, 7)?));
            }
            let is_leaving = self.link.get(row, 3)?;
            members.push(Member { id, name: name.into(), sign, is_leaving });
        }
        self.suspects = suspects;
        Ok(am_there.then_some(members))
    }

    /// Whether a partition is about to change hands that this node has or is to have.
    fn is_eager(&self, survey: &Survey) -> bool {
        let me = self.me();
        let lively = |it: &&Member| it.sign == Sign::Lively;
        survey.holdings.iter().any(|holding| {
            let Some(owner) = holding.owner else { return false };
            survey.members.iter().filter(lively).any(|it| {
                let is_ordered = holding.pinned.as_ref() == Some(&it.name) && it.id != owner;
                let is_between_us = it.id == me || owner == me;
                (is_ordered && is_between_us) || (it.id == owner && it.is_leaving)
            })
        })
    }
}

impl Registry for PostgresRegistry {
    fn me(&self) -> NodeId {
        NodeId(self.node_id.unsigned_abs())
    }

    fn survey(&mut self) -> Result<Survey, EngineError> {
        if self.shared.is_deposed() {
            return Err(self.deposed());
        }
        let survey = self.look().map_err(|failure| self.link.told(failure))?;
        let Some(survey) = survey else {
            self.shared.depose();
            return Err(self.deposed());
        };
        self.is_eager = self.is_eager(&survey);
        Ok(survey)
    }

    fn suspects(&mut self) -> Vec<(NodeId, SocketAddr)> {
        self.suspects.iter().map(|(id, (trunk, _))| (*id, *trunk)).collect()
    }

    /// Only while it has not been renewed since it was suspected.
    fn declare_gone(&mut self, node: NodeId) -> Result<bool, EngineError> {
        let Some((_, renewed)) = self.suspects.get(&node) else { return Ok(false) };
        let node_id = node.0.cast_signed();
        let params = [param(&node_id), param(renewed)];
        let rows = self.link.query(&self.statements.gone, &params);
        Ok(!rows.map_err(|failure| self.link.told(failure))?.is_empty())
    }

    fn take(&mut self, claims: &[Claim]) -> Result<Vec<Tenure>, EngineError> {
        if self.shared.is_deposed() {
            return Err(self.deposed());
        }
        self.taker.take(&self.link, claims).map_err(|failure| self.link.told(failure))
    }

    fn give(
        &mut self,
        partition: PartitionId,
        epoch: Epoch,
        to: NodeId,
    ) -> Result<bool, EngineError> {
        let Ok(epoch) = i64::try_from(epoch.0) else { return Ok(false) };
        let (to, partition) = (to.0.cast_signed(), i32::from(partition.0));
        let params = [param(&to), param(&partition), param(&self.node_id), param(&epoch)];
        let rows = self.link.query(&self.statements.give, &params);
        Ok(!rows.map_err(|failure| self.link.told(failure))?.is_empty())
    }

    fn pin(&mut self, partition: PartitionId, node: Option<&str>) -> Result<(), EngineError> {
        let partition = i32::from(partition.0);
        let done = match node {
            Some(node) => self.link.query(&self.statements.pin, &[param(&partition), param(&node)]),
            None => self.link.query(&self.statements.unpin, &[param(&partition)]),
        };
        done.map(drop).map_err(|failure| self.link.told(failure))
    }

    /// What fails here is told by the next renewal of the lease.
    fn set_leaving(&mut self, on: bool) {
        self.shared.set_leaving(on);
        let params = [param(&self.node_id), param(&on)];
        if let Err(failure) = self.link.query(&self.statements.leaving, &params) {
            let error = self.link.told(failure);
            tracing::warn!(%error, "others learn a little later that this node leaves");
        }
    }

    fn wait(&mut self, time_max: Duration) {
        let look = if self.is_eager { LOOK_SOON } else { LOOK_EVERY };
        self.shared.wait(time_max.min(look));
    }

    fn bell(&self) -> Bell {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.ring())
    }
}
