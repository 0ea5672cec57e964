//! Whether this node still owns what it is about to answer reads of.
//!
//! One statement. Where a standby has to have its say before a COMMIT returns, the statement
//! writes a row too: an owner on an old primary that is cut off from its standby could otherwise
//! read its old fence rows there for ever. The database itself knows at that moment whether there
//! is such a standby.

use crate::{
    engine::Confirmer,
    error::EngineError,
    postgres::{
        failure::Failure,
        link::{Link, param},
        schema::Schema,
    },
};
use wire::{Epoch, PartitionId};

/// The end of the engine of whoever answers reads.
pub(crate) struct PostgresConfirmer {
    link: Link,
    node_id: i64,
    confirm: String,
}

impl PostgresConfirmer {
    pub(crate) fn new(link: Link, schema: &Schema, node_id: i64) -> PostgresConfirmer {
        let confirm = schema.sql(
            "WITH said AS (
                UPDATE @confirm SET count = count + 1 WHERE node_id = $1
                AND current_setting('synchronous_standby_names') <> '' RETURNING 1
             )
             SELECT p.part_id, p.epoch FROM @part p
             JOIN unnest($2::int4[], $3::int8[]) AS w(part_id, epoch)
             ON p.part_id = w.part_id AND p.epoch = w.epoch WHERE p.owner = $1",
        );
        PostgresConfirmer { link, node_id, confirm }
    }

    fn ask(&self, held: &[(PartitionId, Epoch)]) -> Result<Vec<bool>, Failure> {
        let part_ids: Vec<i32> = held.iter().map(|(it, _)| i32::from(it.0)).collect();
        // No row has an epoch beyond 63 bits.
        let epoch = |epoch: Epoch| i64::try_from(epoch.0).unwrap_or(-1);
        let epochs: Vec<i64> = held.iter().map(|(_, it)| epoch(*it)).collect();
        let params = [param(&self.node_id), param(&part_ids), param(&epochs)];
        self.link.forget_warnings();
        let rows = self.link.query_prepared(&self.confirm, &params)?;
        if self.link.has_warned() {
            return Err(Failure::Broken("the database warned of the confirmation".to_owned()));
        }
        let mut owned = Vec::with_capacity(rows.len());
        for row in &rows {
            owned.push((self.link.get::<i32>(row, 0)?, self.link.get::<i64>(row, 1)?));
        }
        let asked = part_ids.into_iter().zip(epochs);
        Ok(asked.map(|it| owned.contains(&it)).collect())
    }
}

impl Confirmer for PostgresConfirmer {
    fn confirm(&mut self, held: &[(PartitionId, Epoch)]) -> Result<Vec<bool>, EngineError> {
        self.ask(held).map_err(|failure| self.link.told(failure))
    }
}
