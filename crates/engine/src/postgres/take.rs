//! Taking partitions: the way in which an epoch goes up without the owner's consent.
//!
//! What happens to the row is [`lease::Fence`]'s rule. The row's lock is the drain: a batch of the
//! old owner that is being committed has it, and what is taken comes after that batch. A dead
//! owner's session that keeps its lock is ended.

use crate::{
    engine::{Claim, Tenure},
    error::{EngineError, Kind},
    postgres::{
        failure::Failure,
        link::{Link, application_of, param},
        member::is_over,
        schema::Schema,
    },
};
use ledger::{Chain, Hash};
use std::{sync::mpsc, thread, time::Duration};
use stdx::fault::{self, Mutant, Point};
use tokio_postgres::{Row, error::SqlState};
use wire::{Epoch, PartitionId, Seq, Timestamp};

/// How long a row may be locked before somebody looks by whom, and between two such looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Waits for locked rows, each as long as a lock is waited for at most.
const WAITS_MAX: u32 = 2;

/// Takes for one node.
pub(crate) struct Taker {
    node_id: i64,
    /// For looking at who holds a lock while somebody waits for it.
    side: Link,
    expire: String,
    exist: String,
    at_once: String,
    waiting: String,
    blockers: String,
}

impl Taker {
    pub(crate) fn new(side: Link, schema: &Schema, node_id: i64) -> Taker {
        let step = i32::from(!fault::has(Mutant::KeepEpoch));
        let take = |lock: &str| {
            schema.sql(&format!(
                "WITH want AS (
                    SELECT * FROM unnest($1::int4[], $2::int8[]) AS w(part_id, epoch)
                 ), held AS (
                    SELECT p.part_id, w.epoch FROM @part p JOIN want w USING (part_id)
                    LEFT JOIN @node n ON n.node_id = p.owner
                    WHERE p.epoch = w.epoch AND (p.owner IS NULL OR p.owner = $3
                        OR n.node_id IS NULL OR n.state = 'gone')
                    ORDER BY p.part_id FOR UPDATE OF p{lock}
                 )
                 UPDATE @part p SET owner = $3, epoch = p.epoch + {step}, turn = 0 FROM held h
                 WHERE p.part_id = h.part_id AND p.epoch = h.epoch
                 AND EXISTS (SELECT 1 FROM @node WHERE node_id = $3 AND state <> 'gone')
                 RETURNING p.part_id, p.epoch, p.seq, p.hash, p.time"
            ))
        };
        Taker {
            node_id,
            side,
            expire: schema.sql(&format!(
                "UPDATE @node n SET state = 'gone' WHERE n.state <> 'gone' AND n.node_id <> $2
                 AND {}
                 AND n.node_id IN (SELECT owner FROM @part WHERE part_id = ANY($1)) RETURNING 1",
                is_over()
            )),
            exist: schema.sql("SELECT part_id FROM @part WHERE part_id = ANY($1)"),
            at_once: take(" SKIP LOCKED"),
            waiting: take(""),
            blockers: schema.sql(
                "SELECT n.node_id, pg_terminate_backend(a.pid) FROM pg_stat_activity a
                 JOIN @node n ON n.state = 'gone'
                    AND a.application_name LIKE
                        'tollgate ' || lpad(to_hex(n.node_id), 16, '0') || ' %'
                 WHERE a.pid = ANY(pg_blocking_pids($1))",
            ),
        }
    }

    /// Those of these partitions that were to be had.
    pub(crate) fn take(&mut self, link: &Link, claims: &[Claim]) -> Result<Vec<Tenure>, Failure> {
        let left = |tenures: &[Tenure]| -> Vec<Claim> {
            let is_taken = |it: &&Claim| tenures.iter().all(|had| had.partition != it.partition);
            claims.iter().filter(is_taken).copied().collect()
        };
        // What was given, or is nobody's, is had at once.
        let mut tenures = self.ask(link, &self.at_once, claims)?;
        let mut rest = left(&tenures);
        if rest.is_empty() {
            return Ok(tenures);
        }
        let part_ids: Vec<i32> = rest.iter().map(|it| it.partition.0.into()).collect();
        let ended = link.query(&self.expire, &[param(&part_ids), param(&self.node_id)])?;
        if !ended.is_empty() {
            tenures.extend(self.ask(link, &self.at_once, &rest)?);
            rest = left(&tenures);
        }
        if rest.is_empty() {
            return Ok(tenures);
        }
        let existing = link.query(&self.exist, &[param(&part_ids)])?;
        if existing.len() < part_ids.len() {
            let what = format!("has {} of the partitions {part_ids:?}", existing.len());
            return Err(EngineError::new(Kind::Mismatch, link.place(), what).into());
        }
        // Not to be had, or locked: whoever has the lock is waited for.
        match self.wait(link, &rest) {
            Ok(more) => tenures.extend(more),
            // What was taken is taken; the rest is seen again at the next survey.
            Err(failure) if !tenures.is_empty() => {
                let error = failure.told(link.place());
                tracing::warn!(%error, "not all partitions could be taken");
            }
            Err(failure) => return Err(failure),
        }
        tenures
            .sort_unstable_by_key(|it| claims.iter().position(|at| at.partition == it.partition));
        Ok(tenures)
    }

    fn wait(&mut self, link: &Link, claims: &[Claim]) -> Result<Vec<Tenure>, Failure> {
        let pid: i32 = link.get(&link.query_one("SELECT pg_backend_pid()", &[])?, 0)?;
        let Taker { node_id, side, waiting, blockers, .. } = self;
        let mut waits = 1;
        loop {
            let done = thread::scope(|scope| {
                let (done, is_done) = mpsc::channel::<()>();
                let (side, blockers) = (&mut *side, &*blockers);
                scope.spawn(move || {
                    while is_done.recv_timeout(LOOK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                        end_blockers(side, blockers, pid);
                    }
                });
                let taken = ask(link, waiting, claims, *node_id);
                drop(done);
                taken
            });
            match done {
                Err(failure)
                    if failure.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
                        && waits < WAITS_MAX =>
                {
                    waits += 1;
                }
                done => return done,
            }
        }
    }

    fn ask(&self, link: &Link, sql: &str, claims: &[Claim]) -> Result<Vec<Tenure>, Failure> {
        ask(link, sql, claims, self.node_id)
    }
}

fn ask(link: &Link, sql: &str, claims: &[Claim], node_id: i64) -> Result<Vec<Tenure>, Failure> {
    let part_ids: Vec<i32> = claims.iter().map(|it| it.partition.0.into()).collect();
    // No row has an epoch beyond 63 bits.
    let epoch = |it: &Claim| i64::try_from(it.seen.0).unwrap_or(-1);
    let epochs: Vec<i64> = claims.iter().map(epoch).collect();
    link.forget_warnings();
    fault::passed(Point::BeforeTaken);
    let rows = link.query(sql, &[param(&part_ids), param(&epochs), param(&node_id)])?;
    fault::passed(Point::AfterTaken);
    if link.has_warned() {
        // Taken, and perhaps lost with this machine: it is to be taken anew.
        return Err(Failure::Broken("the database warned of the take".to_owned()));
    }
    let mut tenures: Vec<Tenure> =
        rows.iter().map(|row| tenure(link, row)).collect::<Result<_, _>>()?;
    tenures.sort_unstable_by_key(|it| claims.iter().position(|at| at.partition == it.partition));
    Ok(tenures)
}

fn tenure(link: &Link, row: &Row) -> Result<Tenure, Failure> {
    let partition = link.get::<i32>(row, 0)?;
    let number = |it: i64| u64::try_from(it).ok();
    let (epoch, seq) = (number(link.get(row, 1)?), number(link.get(row, 2)?));
    let hash = <[u8; 32]>::try_from(link.get::<&[u8]>(row, 3)?).ok();
    let time = Timestamp(link.get(row, 4)?);
    match (u16::try_from(partition), epoch, seq, hash) {
        (Ok(id), Some(epoch), Some(seq), Some(hash)) => {
            let chain = Chain { seq: Seq(seq), hash: Hash(hash), time };
            Ok(Tenure { partition: PartitionId(id), epoch: Epoch(epoch), chain })
        }
        _ => Err(link
            .corrupt(format!("the fence row of partition {partition} makes no sense"))
            .into()),
    }
}

/// Ends the sessions of nodes that are gone, if `pid` waits for their locks.
fn end_blockers(side: &mut Link, blockers: &str, pid: i32) {
    match side.query(blockers, &[param(&pid)]) {
        Ok(rows) => {
            for row in &rows {
                let owner = side.get::<i64>(row, 0).map(application_of).unwrap_or_default();
                tracing::warn!(owner, "a session of a node that is gone held a lock: it is ended");
            }
        }
        Err(failure) => {
            let error = failure.told(side.place());
            tracing::warn!(%error, "cannot see who holds a partition's lock");
        }
    }
}
