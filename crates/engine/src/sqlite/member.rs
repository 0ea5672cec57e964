//! Who opened the engine, and who of them is still alive.
//!
//! Each process locks a file of its own for as long as it lives: whoever gets that lock has proof
//! that the process is gone, at once and without a clock. The lock is taken first and the `node`
//! row written second, so there is no row whose process has not been locked yet; candidates open
//! the files without creating them; and a file is removed only after its row.

use crate::{
    engine::Settings,
    error::{EngineError, Kind},
    sqlite::{
        files::{Files, disk, lock_file, sql},
        pulse::Pulse,
    },
};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::Path,
};
use stdx::fault::{self, Mutant};

/// This process's membership: the lock ends with it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) node_id: i64,
    /// Holds the lock, and stamps its file.
    pub(crate) pulse: Pulse,
}

/// A row of the `node` table.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) node_id: i64,
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// When its process was started: see [`start_of_process`].
    pub(crate) started: i64,
    state: String,
}

/// Locks this process's file and enters its row. To be called at the turnstile.
pub(crate) fn join(
    files: &Files,
    connection: &mut Connection,
    settings: &Settings,
) -> Result<Member, EngineError> {
    let node_id = (settings.node_id >> 1).cast_signed(); // Not negative.
    let path = files.node_lock(node_id);
    let lock = lock_file(&path)?;
    match lock.try_lock() {
        Ok(()) => (),
        Err(TryLockError::WouldBlock) => {
            return Err(EngineError::new(Kind::NameTaken, path.display(), "is another process's"));
        }
        Err(TryLockError::Error(error)) => return Err(disk(&path, &error)),
    }
    let pulse = Pulse::start(files, node_id, lock, &settings.node)?;
    let member = Member { node_id, pulse };
    match enter(files, connection, settings, node_id) {
        Ok(forgotten) => {
            for node_id in forgotten {
                remove(&files.node_lock(node_id));
            }
            Ok(member)
        }
        Err(error) => {
            remove(&path); // No row names it.
            Err(error)
        }
    }
}

/// Checks that nobody alive has our name, forgets nodes that are gone and own nothing, and adds
/// our row. Gives the ids of the forgotten.
fn enter(
    files: &Files,
    connection: &mut Connection,
    settings: &Settings,
    node_id: i64,
) -> Result<Vec<i64>, EngineError> {
    let journal = files.journal();
    let failed = |error| sql(&journal, &error);
    let started = start_of_process(std::process::id()).unwrap_or(0);
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let transaction = begun.map_err(failed)?;
    let mut forgotten = Vec::new();
    for node in nodes(&transaction).map_err(failed)? {
        if is_alive(files, &node)? {
            if node.name == settings.node && !fault::has(Mutant::TwoOfAName) {
                let what = format!(
                    "node {:?} is running already, as process {}: two of one name would \
                     contend for the same partitions",
                    node.name, node.pid
                );
                return Err(EngineError::new(Kind::NameTaken, files.folder.display(), what));
            }
            continue;
        }
        let gone = "UPDATE node SET state = 'gone' WHERE node_id = ?";
        transaction.execute(gone, [node.node_id]).map_err(failed)?;
        let unused = "DELETE FROM node WHERE node_id = ?1
                      AND NOT EXISTS (SELECT 1 FROM part WHERE owner = ?1)";
        if 0 < transaction.execute(unused, [node.node_id]).map_err(failed)? {
            forgotten.push(node.node_id);
        }
    }
    let pid = std::process::id();
    let insert = "INSERT INTO node VALUES (?, ?, ?, ?, 'active')";
    let row = params![node_id, settings.node, pid, started];
    transaction.execute(insert, row).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(forgotten)
}

const NODE_COLUMNS: &str = "SELECT node_id, name, pid, started, state FROM node";

/// Every row.
pub(crate) fn nodes(connection: &Connection) -> rusqlite::Result<Vec<Node>> {
    connection.prepare(NODE_COLUMNS)?.query_map([], node)?.collect()
}

fn node(row: &rusqlite::Row<'_>) -> rusqlite::Result<Node> {
    let (node_id, name) = (row.get(0)?, row.get(1)?);
    Ok(Node { node_id, name, pid: row.get(2)?, started: row.get(3)?, state: row.get(4)? })
}

/// Whether the node of this id lives: not if it is gone, or was never there. One found dead is
/// marked so, in the transaction that `connection` is in.
pub(crate) fn alive(
    files: &Files,
    connection: &Connection,
    node_id: i64,
) -> Result<bool, EngineError> {
    let path = files.journal();
    let failed = |error| sql(&path, &error);
    let select = format!("{NODE_COLUMNS} WHERE node_id = ?");
    let found = connection.query_row(&select, [node_id], node).optional().map_err(failed)?;
    let Some(found) = found else { return Ok(false) };
    let is_alive = is_alive(files, &found)?;
    if !is_alive {
        let gone = "UPDATE node SET state = 'gone' WHERE node_id = ?";
        connection.execute(gone, [node_id]).map_err(failed)?;
    }
    Ok(is_alive)
}

/// Whether a node's process holds its lock.
pub(crate) fn is_alive(files: &Files, node: &Node) -> Result<bool, EngineError> {
    if node.state == "gone" {
        return Ok(false);
    }
    let path = files.node_lock(node.node_id);
    // Never created here: a new file of this name could be locked while the process lives on.
    let lock = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(lock) => lock,
        // Somebody removed it. The process may live on with the lock of a file without a name.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(start_of_process(node.pid) == Some(node.started));
        }
        Err(error) => return Err(disk(&path, &error)),
    };
    has_holder(&lock).map_err(|error| disk(&path, &error))
}

/// Whether somebody lives who locked this file. Shared, so that those who look are no holders to
/// each other.
pub(crate) fn has_holder(lock: &File) -> io::Result<bool> {
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// When a process was started, in ticks since boot: with its number it names one process and not
/// the next that gets the number. `None` when there is no such process.
pub(crate) fn start_of_process(pid: u32) -> Option<i64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, which may hold anything; the start is
    // the 22nd field.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(%error, path = %path.display(), "a lock file stays behind");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_start_and_a_missing_one_has_none() {
        assert!(0 < start_of_process(std::process::id()).unwrap());
        assert_eq!(start_of_process(u32::MAX), None);
    }
}
