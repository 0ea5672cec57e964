//! How a node joins those of its service, and leaves.

use crate::{
    engine::Settings,
    error::{EngineError, Kind},
    postgres::{
        failure::Failure,
        limits::{LOCK_DELAY, TTL},
        link::{Link, param},
        schema::Schema,
    },
};
use std::{fs, thread, time::Duration};
use stdx::fault::{self, Mutant};

/// Between two looks at a node of the same name, and how many: until its lease would be over, had
/// it been renewed just before the first.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOKS_MAX: u32 = 20;

const _: () = assert!(
    TTL.as_millis() + LOCK_DELAY.as_millis() < LOOK_EVERY.as_millis() * (LOOKS_MAX as u128)
);

/// The condition that a node's time is over, by the database's clock.
pub(crate) fn is_over() -> &'static str {
    match fault::has(Mutant::Impatient) {
        true => "clock_timestamp() > n.renewed_at + interval '1300 milliseconds'",
        false => "clock_timestamp() > n.renewed_at + n.ttl + interval '500 milliseconds'",
    }
}

/// What came of one look.
enum Look {
    Joined,
    /// A node of our name lives, or did until then.
    Taken(i64),
}

/// Enters this node's row, once there is no other of its name.
///
/// # Errors
/// [`Kind::NameTaken`] when another of its name goes on renewing its lease.
pub(crate) fn join(
    link: &Link,
    schema: &Schema,
    settings: &Settings,
    node_id: i64,
) -> Result<(), EngineError> {
    let mut seen = None;
    for _ in 0..LOOKS_MAX {
        match enter(link, schema, settings, node_id) {
            Ok(Look::Joined) => return Ok(()),
            Ok(Look::Taken(renewed)) if *seen.get_or_insert(renewed) != renewed => {
                let what = format!(
                    "node {:?} is running already, elsewhere: two of one name would contend for \
                     the same partitions",
                    settings.node
                );
                return Err(EngineError::new(Kind::NameTaken, link.place(), what));
            }
            // It may be dead, and its time is not over yet.
            Ok(Look::Taken(_)) => thread::sleep(LOOK_EVERY),
            Err(failure) if failure.is_collision() => (),
            Err(failure) => return Err(link.told(failure)),
        }
    }
    let what = format!("node {:?} can neither join nor see why not", settings.node);
    Err(EngineError::new(Kind::Unavailable, link.place(), what))
}

fn enter(link: &Link, schema: &Schema, settings: &Settings, node_id: i64) -> Result<Look, Failure> {
    let (host, trunk) = (host(), settings.trunk.to_string());
    let open = link.begin("BEGIN")?;
    // An address that we listen at now was left by whoever had it; on a loopback that is true of
    // this machine alone.
    let is_here = !settings.trunk.ip().is_loopback();
    link.execute(
        &schema.sql(&format!(
            "UPDATE @node n SET state = 'gone' WHERE n.state <> 'gone' AND n.name = $1
             AND ({} OR (n.trunk = $2 AND ($4 OR (n.host = $3 AND n.host <> ''))))",
            is_over()
        )),
        &[param(&settings.node), param(&trunk), param(&host), param(&is_here)],
    )?;
    let rows = link.query(
        &schema.sql(
            "SELECT (extract(epoch FROM renewed_at) * 1000000)::bigint FROM @node
             WHERE state <> 'gone' AND name = $1",
        ),
        &[param(&settings.node)],
    )?;
    if let Some(row) = rows.first() {
        return Ok(Look::Taken(link.get(row, 0)?));
    }
    let forget = "DELETE FROM @node n WHERE n.state = 'gone'
                  AND NOT EXISTS (SELECT 1 FROM @part WHERE owner = n.node_id)";
    link.execute(&schema.sql(forget), &[])?;
    let forget = "DELETE FROM @confirm c
                  WHERE NOT EXISTS (SELECT 1 FROM @node n WHERE n.node_id = c.node_id)";
    link.execute(&schema.sql(forget), &[])?;
    let ttl_ms = i64::try_from(TTL.as_millis()).expect("seconds");
    link.execute(
        &schema.sql(
            "INSERT INTO @node (node_id, name, trunk, host, state, is_leaving, renewed_at, ttl,
                commit_ms)
             VALUES ($1, $2, $3, $4, 'active', false, clock_timestamp(),
                $5 * interval '1 millisecond', 0)",
        ),
        &[param(&node_id), param(&settings.node), param(&trunk), param(&host), param(&ttl_ms)],
    )?;
    link.execute(&schema.sql("INSERT INTO @confirm VALUES ($1, 0)"), &[param(&node_id)])?;
    open.commit()?;
    Ok(Look::Joined)
}

/// Which machine this is, from its start to its end; nothing where nobody can tell.
fn host() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
