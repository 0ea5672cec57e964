//! The only way into the journal: one statement for all partitions of a batch.
//!
//! Each partition's fence row decides about its own record, and the rows that came back are what
//! was written. A row that stays locked is passed over: whoever holds it may be taking the
//! partition, and the others are not to wait for that. What did not come back is looked at again,
//! under a lock, and so is everything after a connection that broke (docs/leases.md).

use crate::{
    engine::{Committer, Fate, Write},
    error::{CommitError, EngineError, Kind},
    postgres::{
        failure::Failure,
        link::{Link, Param, param},
        schema::Schema,
        shared::Shared,
    },
};
use net::clock;
use std::{collections::BTreeMap, sync::Arc};
use stdx::fault::{self, Mutant, Point};
use tokio_postgres::{Row, error::SqlState};
use wire::{Epoch, PartitionId};

/// Times that a batch is tried whose rows were only locked by somebody.
const TRIES_MAX: u32 = 3;

/// A negative control's way into the journal: it asks nobody.
const UNFENCED: &str = "
    WITH want AS (
        SELECT * FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::bytea[], $5::bytea[],
                             $6::int8[], $7::bytea[], $8::int8[])
            AS w(part_id, epoch, seq, previous, hash, time, record, turn)
     ), moved AS (
        UPDATE @part p SET seq = w.seq, hash = w.hash, time = w.time
        FROM want w WHERE p.part_id = w.part_id AND $9::int8 IS NOT NULL RETURNING p.part_id
     )
     INSERT INTO @journal (partition, seq, epoch, time, hash, record)
     SELECT w.part_id, w.seq, w.epoch, w.time, w.hash, w.record
     FROM moved m JOIN want w USING (part_id)
     ON CONFLICT (partition, seq) DO UPDATE SET
        epoch = excluded.epoch, time = excluded.time, hash = excluded.hash,
        record = excluded.record
     RETURNING partition";

/// The commit thread's end of the engine.
pub(crate) struct PostgresCommitter {
    link: Link,
    node_id: i64,
    shared: Arc<Shared>,
    /// The row's `turn`, where it is not 0: see [`PostgresCommitter::resolve`].
    turns: BTreeMap<PartitionId, (Epoch, i64)>,
    write: String,
    write_around: String,
    look: String,
    found: String,
    shut: String,
}

/// A fence row, as a look under its lock finds it.
struct FenceRow {
    owner: Option<i64>,
    epoch: i64,
    seq: i64,
    hash: Vec<u8>,
    turn: i64,
}

impl PostgresCommitter {
    pub(crate) fn new(
        link: Link,
        schema: &Schema,
        node_id: i64,
        shared: Arc<Shared>,
    ) -> PostgresCommitter {
        // One look at each fence row, and no second one at what is written: most of what a commit
        // costs the database is this statement.
        let write = schema.sql(
            "WITH moved AS (
                UPDATE @part p SET seq = w.seq, hash = w.hash, time = w.time
                FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::bytea[], $5::bytea[],
                            $6::int8[], $7::bytea[], $8::int8[])
                    AS w(part_id, epoch, seq, previous, hash, time, record, turn)
                WHERE p.part_id = w.part_id AND p.owner = $9 AND p.epoch = w.epoch
                  AND p.seq = w.seq - 1 AND p.hash = w.previous AND p.turn = w.turn
                RETURNING w.part_id, w.seq, w.epoch, w.time, w.hash, w.record
             )
             INSERT INTO @journal (partition, seq, epoch, time, hash, record)
             SELECT part_id, seq, epoch, time, hash, record FROM moved
             RETURNING partition",
        );
        let write_around = schema.sql(
            "WITH want AS (
                SELECT * FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::bytea[], $5::bytea[],
                                     $6::int8[], $7::bytea[], $8::int8[])
                    AS w(part_id, epoch, seq, previous, hash, time, record, turn)
             ), held AS (
                SELECT p.part_id FROM @part p JOIN want w USING (part_id)
                WHERE p.owner = $9 AND p.epoch = w.epoch AND p.seq = w.seq - 1
                  AND p.hash = w.previous AND p.turn = w.turn
                ORDER BY p.part_id FOR UPDATE OF p SKIP LOCKED
             ), moved AS (
                UPDATE @part p SET seq = w.seq, hash = w.hash, time = w.time
                FROM held h JOIN want w USING (part_id)
                WHERE p.part_id = h.part_id AND p.owner = $9 AND p.epoch = w.epoch
                  AND p.seq = w.seq - 1 AND p.turn = w.turn
                RETURNING p.part_id
             )
             INSERT INTO @journal (partition, seq, epoch, time, hash, record)
             SELECT w.part_id, w.seq, w.epoch, w.time, w.hash, w.record
             FROM moved m JOIN want w USING (part_id)
             RETURNING partition",
        );
        let write = match fault::has(Mutant::PlainFence) {
            true => schema.sql(UNFENCED),
            false => write,
        };
        let look = schema.sql(
            "SELECT part_id, owner, epoch, seq, hash, turn FROM @part
             WHERE part_id = ANY($1) ORDER BY part_id FOR UPDATE",
        );
        let found = schema.sql(
            "SELECT j.partition FROM @journal j
             JOIN unnest($1::int4[], $2::int8[], $3::bytea[]) AS w(partition, seq, hash)
             ON j.partition = w.partition AND j.seq = w.seq AND j.hash = w.hash",
        );
        let shut = schema.sql("UPDATE @part SET turn = turn + 1 WHERE part_id = ANY($1)");
        let turns = BTreeMap::new();
        PostgresCommitter { link, node_id, shared, turns, write, write_around, look, found, shut }
    }

    /// The partitions whose records were let in. Where a row stays locked, the others are written
    /// without it.
    fn write(&self, rows: &[&Bearable<'_>]) -> Result<Vec<i32>, Failure> {
        match self.write_by(rows, |params| self.link.query_prepared(&self.write, params)) {
            // Nothing of it was done.
            Err(failure) if is_locked_out(&failure) => {
                self.write_by(rows, |params| self.link.query(&self.write_around, params))
            }
            done => done,
        }
    }

    fn write_by(
        &self,
        rows: &[&Bearable<'_>],
        ask: impl FnOnce(&[Param<'_>]) -> Result<Vec<Row>, Failure>,
    ) -> Result<Vec<i32>, Failure> {
        let part_ids: Vec<i32> = rows.iter().map(|it| it.part_id).collect();
        let epochs: Vec<i64> = rows.iter().map(|it| it.epoch).collect();
        let seqs: Vec<i64> = rows.iter().map(|it| it.seq).collect();
        let before: Vec<&[u8]> = rows.iter().map(|it| &it.write.header.previous.0[..]).collect();
        let hashes: Vec<&[u8]> = rows.iter().map(|it| &it.write.hash.0[..]).collect();
        let times: Vec<i64> = rows.iter().map(|it| it.write.header.time.0).collect();
        let records: Vec<&[u8]> = rows.iter().map(|it| &it.write.record[..]).collect();
        let turns: Vec<i64> = rows.iter().map(|it| self.turn(it.write)).collect();
        let params = [
            param(&part_ids),
            param(&epochs),
            param(&seqs),
            param(&before),
            param(&hashes),
            param(&times),
            param(&records),
            param(&turns),
            param(&self.node_id),
        ];
        self.link.forget_warnings();
        let rows = ask(&params)?;
        if self.link.has_warned() && !fault::has(Mutant::TellOnSight) {
            // As when somebody cancels the wait for a standby: it is committed, and may be lost.
            return Err(Failure::Broken("the database warned of the commit".to_owned()));
        }
        rows.iter().map(|row| self.link.get(row, 0)).collect()
    }

    fn turn(&self, write: &Write) -> i64 {
        let header = &write.header;
        let turn = self.turns.get(&header.partition).filter(|(epoch, _)| *epoch == header.epoch);
        turn.map_or(0, |(_, turn)| *turn)
    }

    /// Fence rows, under their locks.
    fn look(&self, part_ids: &Vec<i32>) -> Result<BTreeMap<i32, FenceRow>, Failure> {
        let rows = self.link.query(&self.look, &[param(part_ids)])?;
        let read = |row: &Row| {
            let at = |at| self.link.get(row, at);
            let (owner, hash) = (self.link.get(row, 1)?, self.link.get(row, 4)?);
            let fence = FenceRow { owner, epoch: at(2)?, seq: at(3)?, hash, turn: at(5)? };
            Ok((self.link.get(row, 0)?, fence))
        };
        rows.iter().map(read).collect()
    }

    /// Which of the records that were not let in may be tried again: their rows are as they should
    /// be, and were only locked.
    fn is_merely_locked(&self, rows: &[&Bearable<'_>]) -> Result<Vec<bool>, Failure> {
        let part_ids = rows.iter().map(|it| it.part_id).collect();
        let open = self.link.begin("BEGIN")?;
        let fences = self.look(&part_ids)?;
        open.commit()?;
        let is_as_before = |it: &&Bearable<'_>| {
            let turn = self.turn(it.write);
            fences
                .get(&it.part_id)
                .is_some_and(|fence| it.is_next(fence, self.node_id) && fence.turn == turn)
        };
        Ok(rows.iter().map(is_as_before).collect())
    }

    fn commit_all(&self, writes: &[Bearable<'_>]) -> Result<Vec<Fate>, CommitError> {
        let mut fates = vec![Fate::NotExecuted; writes.len()];
        let mut rest: Vec<usize> = (0..writes.len()).collect();
        for _ in 0..TRIES_MAX {
            let rows: Vec<&Bearable<'_>> = rest.iter().map(|at| &writes[*at]).collect();
            let is_first = rest.len() == writes.len();
            let done = match self.write(&rows) {
                Ok(done) => done,
                Err(failure @ Failure::Broken(_)) => {
                    return Err(CommitError::Unknown(self.link.told(failure)));
                }
                // What came in with an earlier try is in.
                Err(_) if !is_first => return Ok(fates),
                Err(failure) => return Err(CommitError::NotExecuted(self.link.told(failure))),
            };
            let mut left = Vec::new();
            for at in rest {
                match done.contains(&writes[at].part_id) {
                    true => fates[at] = Fate::Committed,
                    false => left.push(at),
                }
            }
            if left.is_empty() {
                return Ok(fates);
            }
            let rows: Vec<&Bearable<'_>> = left.iter().map(|at| &writes[*at]).collect();
            // Without an answer they stay what they certainly are: not executed.
            let Ok(locked) = self.is_merely_locked(&rows) else { return Ok(fates) };
            rest = Vec::new();
            for (at, is_locked) in left.into_iter().zip(locked) {
                match is_locked {
                    true => rest.push(at),
                    false => fates[at] = Fate::Fenced,
                }
            }
            if rest.is_empty() {
                return Ok(fates);
            }
        }
        Ok(fates)
    }

    /// A negative control: the fence is looked at, and what is written then is written whatever
    /// stands there by that time.
    fn commit_unfenced(&self, writes: &[Bearable<'_>]) -> Result<Vec<Fate>, CommitError> {
        let rows: Vec<&Bearable<'_>> = writes.iter().collect();
        let is_held = self.is_merely_locked(&rows).is_ok_and(|held| held.iter().all(|it| *it));
        fault::passed(Point::BeforeBegin);
        match is_held {
            true => self.commit_all(writes),
            false => Ok(vec![Fate::Fenced; writes.len()]),
        }
    }

    fn resolve_all(&mut self, writes: &[Bearable<'_>]) -> Result<Vec<Fate>, Failure> {
        // The old connection may have a statement on its way: nobody waits for its answer.
        self.link.forget();
        let part_ids = writes.iter().map(|it| it.part_id).collect();
        let seqs: Vec<i64> = writes.iter().map(|it| it.seq).collect();
        let hashes: Vec<&[u8]> = writes.iter().map(|it| &it.write.hash.0[..]).collect();
        let open = self.link.begin("BEGIN")?;
        let fences = self.look(&part_ids)?;
        let params = [param(&part_ids), param(&seqs), param(&hashes)];
        let rows = self.link.query(&self.found, &params)?;
        let found: Result<Vec<i32>, Failure> =
            rows.iter().map(|row| self.link.get(row, 0)).collect();
        let found = found?;
        let fate = |it: &Bearable<'_>| match fences.get(&it.part_id) {
            _ if found.contains(&it.part_id) => Fate::Committed,
            Some(fence) if it.is_next(fence, self.node_id) => Fate::NotExecuted,
            Some(_) | None => Fate::Fenced,
        };
        let fates: Vec<Fate> = writes.iter().map(fate).collect();
        let is_shut = |(_, fate): &(&Bearable<'_>, &Fate)| **fate == Fate::NotExecuted;
        let shut = writes.iter().zip(&fates).filter(is_shut).map(|(it, _)| it);
        let shut: Vec<&Bearable<'_>> = shut.collect();
        let shut_ids: Vec<i32> = shut.iter().map(|it| it.part_id).collect();
        if !shut_ids.is_empty() {
            self.link.execute(&self.shut, &[param(&shut_ids)])?;
        }
        if fault::has(Mutant::TellOnSight) && shut_ids.is_empty() {
            return Ok(fates);
        }
        self.link.forget_warnings();
        open.commit()?;
        if self.link.has_warned() {
            return Err(Failure::Broken("the database warned of a commit".to_owned()));
        }
        for it in shut {
            if let Some(fence) = fences.get(&it.part_id) {
                let header = &it.write.header;
                let turn = (header.epoch, fence.turn + 1);
                let _before = self.turns.insert(header.partition, turn);
            }
        }
        Ok(fates)
    }

    fn bearable<'a>(&self, writes: &'a [Write]) -> Result<Vec<Bearable<'a>>, EngineError> {
        let of = |write: &'a Write| {
            Bearable::of(write).ok_or_else(|| {
                let what = format!("{:?} is beyond what a row can bear", write.header);
                EngineError::new(Kind::Corrupt, self.link.place(), what)
            })
        };
        writes.iter().map(of).collect()
    }
}

impl Committer for PostgresCommitter {
    /// Nobody takes turns here: it only sees to it that there is a database.
    fn wait_turn(&mut self) -> Result<(), EngineError> {
        self.link.connect().map_err(|failure| self.link.told(failure))
    }

    fn commit(&mut self, writes: &[Write]) -> Result<Vec<Fate>, CommitError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.bearable(writes).map_err(CommitError::NotExecuted)?;
        self.shared.commit_began(clock::now());
        let done = match fault::has(Mutant::PlainFence) {
            true => self.commit_unfenced(&rows),
            false => {
                fault::passed(Point::BeforeBegin);
                self.commit_all(&rows)
            }
        };
        fault::passed(Point::AfterCommit);
        match &done {
            // It is under way until somebody knows what became of it.
            Err(CommitError::Unknown(_)) => (),
            Ok(_) | Err(CommitError::NotExecuted(_) | CommitError::Fatal(_)) => {
                self.shared.commit_ended();
            }
        }
        done
    }

    /// Waits for the locks of the old connection's transaction, if it has any. A record that is not
    /// there then could still come, for its statement may yet be on its way: so the row's `turn`
    /// goes up, which that statement does not know. What is told is told after the COMMIT of this
    /// very look: what it saw is as durable then as anything.
    fn resolve(&mut self, writes: &[Write]) -> Result<Vec<Fate>, EngineError> {
        let rows = self.bearable(writes)?;
        let fates = self.resolve_all(&rows).map_err(|failure| self.link.told(failure))?;
        self.shared.commit_ended();
        Ok(fates)
    }
}

/// Somebody has a row for longer than a batch waits, or waits for one of ours meanwhile.
fn is_locked_out(failure: &Failure) -> bool {
    let locked = [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED];
    failure.code().is_some_and(|code| locked.contains(code))
}

/// A write, its numbers as the database has numbers.
struct Bearable<'a> {
    part_id: i32,
    epoch: i64,
    seq: i64,
    write: &'a Write,
}

impl<'a> Bearable<'a> {
    fn of(write: &'a Write) -> Option<Bearable<'a>> {
        let header = &write.header;
        // A transaction's id must bear it.
        let is_in_range = 0 < header.seq.0 && header.seq <= crate::records::SEQ_MAX;
        let seq = i64::try_from(header.seq.0).ok().filter(|_| is_in_range)?;
        let epoch = i64::try_from(header.epoch.0).ok()?;
        Some(Bearable { part_id: header.partition.0.into(), epoch, seq, write })
    }

    /// Whether it is what this row waits for.
    fn is_next(&self, fence: &FenceRow, node_id: i64) -> bool {
        fence.owner == Some(node_id)
            && fence.epoch == self.epoch
            && fence.seq == self.seq - 1
            && fence.hash == self.write.header.previous.0
    }
}
