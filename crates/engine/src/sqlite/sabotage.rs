//! The negative controls of the SQLite engine: what it would be without one of its guards. In debug
//! builds only, and only where a test asks for it ([`stdx::fault::Mutant`]).

use crate::{
    engine::{Fate, Write},
    sqlite::{committer::Row, turnstile::Turn},
};
use rusqlite::{Connection, params};
use stdx::fault::{self, Mutant, Point};

/// A process that is stopped with its turn in hand would hold up whoever wants to take its
/// partitions without ending it: so it writes without.
pub(super) fn give_up(turn: Option<Turn>) -> Option<Turn> {
    turn.filter(|_| !fault::has(Mutant::TakeOnTime))
}

/// The fence as a plain SELECT: what it said may long be untrue when the transaction begins.
pub(super) fn write_unfenced(
    connection: &Connection,
    node_id: i64,
    rows: &[(&Row, &Write)],
) -> rusqlite::Result<Vec<Fate>> {
    let mut fates = Vec::with_capacity(rows.len());
    for (row, write) in rows {
        let header = &write.header;
        let select = "SELECT 1 FROM part WHERE part_id = ?1 AND owner = ?2 AND epoch = ?3 \
                      AND seq = ?4 AND hash = ?5";
        let of = (header.partition.0, node_id, row.epoch, row.seq_before, header.previous.0);
        let is_held = connection.prepare_cached(select)?.exists(of)?;
        fates.push(if is_held { Fate::Committed } else { Fate::Fenced });
    }
    fault::passed(Point::BeforeBegin);
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for ((row, write), fate) in rows.iter().zip(&fates) {
        if *fate == Fate::Fenced {
            continue;
        }
        let (header, update) = (&write.header, "UPDATE part SET seq = ?, hash = ?, time = ?");
        let of = params![row.seq, write.hash.0, header.time.0, header.partition.0];
        connection.execute(&format!("{update} WHERE part_id = ?"), of)?;
        let insert = "INSERT INTO journal (partition, seq, hash, record)
                      VALUES (?, ?, ?, ?)";
        let of = params![header.partition.0, row.seq, write.hash.0, write.record];
        connection.execute(insert, of)?;
    }
    Ok(fates)
}
