//! One thing to be written down, as part of a transaction.

use super::{
    log::{Known, Log},
    sql::{Database, StoreError, Value, json, number, values},
};
use crate::{
    book::{Check, uuid_text},
    core::{
        availability::{Mark, Report},
        check::{Change, CheckId, Kept, micros},
        incident::Incident,
        outbox::{Letter, LetterId},
        rollup::{Count, Grain, Tally},
        rule::referee::KeptTracker,
        silence::Silence,
        window::{Span, WindowSpec},
    },
};
use std::time::Duration;
use wire::Timestamp;

/// Rows of one table that are thrown away in one transaction: beats wait no longer than for that.
const PRUNED_MAX: i64 = 500;

/// A beat of a job, for the record.
#[derive(Clone, Debug, Default)]
pub struct Ping {
    pub at: Timestamp,
    /// `success`, `fail`, `start`, `log` or `ign`.
    pub kind: &'static str,
    pub remote: String,
    pub method: String,
    pub agent: String,
    pub run: Option<u128>,
    pub duration: Option<Duration>,
    pub body: Vec<u8>,
}

/// The beats of a minute that has ended.
#[derive(Clone, Debug)]
pub struct Tallied {
    pub check: CheckId,
    pub tally: Tally,
    /// All beats of the check up to the end of that minute.
    pub total: u64,
    /// How all of the minute counts; without it, it is looked at once more.
    pub mark: Option<Mark>,
}

/// One roll-up.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub grain: Grain,
    pub at: Timestamp,
    pub report: Report,
    /// `None` leaves what was counted.
    pub count: Option<Count>,
}

/// The roll-ups of a check, made anew from what was kept.
#[derive(Clone, Debug)]
pub struct Rolled {
    pub check: CheckId,
    /// The turn of the mark that asked for it: a later one is not done yet.
    pub turn: i64,
    pub buckets: Vec<Bucket>,
    /// What is older goes, by its grain.
    pub before: Vec<(Grain, Timestamp)>,
}

/// What is thrown away when it is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    Flips,
    Blind,
    Maintenance,
    Attempts,
    Letters,
    Incidents,
    Silences,
}

impl Old {
    /// Each of them.
    pub const ALL: [Old; 7] = [
        Old::Flips,
        Old::Blind,
        Old::Maintenance,
        Old::Attempts,
        Old::Letters,
        Old::Incidents,
        Old::Silences,
    ];

    /// Its table, the column that names a row, and which rows are older than `?1`.
    pub(super) const fn place(self) -> (&'static str, &'static str, &'static str) {
        match self {
            // The last change of a check says what it is ever since.
            Old::Flips => (
                "flips",
                "id",
                "at < ?1 AND EXISTS (SELECT 1 FROM flips AS later WHERE \
                 later.check_id = flips.check_id AND later.at <= ?1 AND later.id > flips.id)",
            ),
            Old::Blind => ("blind", "from_at", "to_at < ?1"),
            Old::Maintenance => ("maintenance", "from_at", "to_at < ?1"),
            Old::Attempts => ("attempts", "letter", "at < ?1"),
            Old::Letters => ("letters", "id", "at < ?1 AND state <> 'waiting'"),
            Old::Incidents => ("incidents", "id", "resolved_at < ?1"),
            Old::Silences => ("silences", "id", "until < ?1"),
        }
    }
}

/// One thing to be written down.
#[derive(Clone, Debug)]
pub enum Row {
    /// A check as it is now.
    Check(Box<Check>, Kept),
    /// A check is gone, with all that was kept of it.
    Forget(CheckId),
    /// A check has changed without a beat.
    Heard(Box<Known>),
    /// A beat: what is known after it, and of a job what it said.
    Beat(Box<Known>, Option<Box<Ping>>),
    Flip(Change),
    Blind(Timestamp, Timestamp),
    Incident(Box<Incident>),
    /// A letter in the queue of a channel.
    Letter(String, Box<Letter>),
    /// It waits no more.
    LetterEnded(LetterId, &'static str),
    Attempt {
        letter: LetterId,
        at: Timestamp,
        took: Duration,
        answer: String,
    },
    /// What a rule knows of a check.
    Tracker(CheckId, Box<KeptTracker>),
    Silence(Silence),
    /// A check is in a maintenance window.
    Maintenance(CheckId, String, Span),
    /// And not until the end that was planned.
    MaintenanceEnded(CheckId, Timestamp),
    /// A maintenance window made by hand.
    Window(u64, Box<WindowSpec>),
    WindowEnded(u64),
    /// The monitor lived at this time, by its own clock.
    Alive(Timestamp),
    Tallied(Box<Tallied>),
    /// The roll-ups of every check are to be made anew from here on.
    Unrolled(Timestamp),
    Rolled(Box<Rolled>),
    /// Beats of before this are not kept.
    BeatsFrom(Timestamp),
    /// Some of what is older than this is not needed any more.
    Prune(Old, Timestamp),
}

/// Marks a check whose roll-ups are to be made anew.
const UNROLL: &str = "ON CONFLICT (check_id) DO UPDATE SET turn = unrolled.turn + 1, from_at = \
    CASE WHEN excluded.from_at < unrolled.from_at THEN excluded.from_at ELSE unrolled.from_at END";

impl Row {
    /// Writes it. To write it twice is to write it once.
    pub(super) fn write(&self, db: &dyn Database, log: &mut Log) -> Result<(), StoreError> {
        match self {
            Row::Check(it, kept) => {
                check(db, it, kept)?;
                log.settle(db, &Known::of(it, kept.clone()))
            }
            Row::Forget(id) => {
                log.forget(db, *id)?;
                forget(db, *id)
            }
            Row::Heard(it) => log.settle(db, it),
            Row::Beat(it, ping) => log.append(db, it, ping.as_deref()),
            Row::Flip(it) => flip(db, it),
            Row::Blind(from, to) => blind(db, *from, *to),
            Row::Incident(it) => db.put(
                "INSERT INTO incidents VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE \
                 SET resolved_at = excluded.resolved_at, about = excluded.about",
                values![
                    number(it.id.0),
                    it.opened_at.0,
                    it.resolved_at.map(|at| at.0),
                    &json(&**it)?
                ],
            ),
            Row::Letter(channel, it) => letter(db, channel, it),
            Row::LetterEnded(id, state) => {
                db.put("UPDATE letters SET state = ?2 WHERE id = ?1", values![number(id.0), *state])
            }
            Row::Attempt { letter, at, took, answer } => db.put(
                "INSERT INTO attempts SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS \
                 (SELECT 1 FROM attempts WHERE letter = ?1 AND at = ?2)",
                values![number(letter.0), at.0, micros(*took), answer],
            ),
            Row::Tracker(id, it) => db.put(
                "INSERT INTO trackers VALUES (?1, ?2, ?3) ON CONFLICT (check_id, rule) DO UPDATE \
                 SET tracker = excluded.tracker",
                values![id.0, &it.rule, &json(&**it)?],
            ),
            Row::Silence(it) => db.put(
                "INSERT INTO silences VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE \
                 SET until = excluded.until, silence = excluded.silence",
                values![number(it.id), it.until.0, &json(it)?],
            ),
            Row::Maintenance(id, window, span) => maintenance(db, *id, window, *span),
            Row::MaintenanceEnded(id, at) => {
                db.put(
                    "UPDATE maintenance SET to_at = ?2 WHERE check_id = ?1 AND ?2 < to_at",
                    values![id.0, at.0],
                )?;
                unroll(db, *id, *at)
            }
            Row::Window(id, it) => db.put(
                "INSERT INTO windows VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE \
                 SET spec = excluded.spec",
                values![number(*id), &json(&**it)?],
            ),
            Row::WindowEnded(id) => {
                db.put("DELETE FROM windows WHERE id = ?1", values![number(*id)])
            }
            Row::Alive(at) => set(db, "alive", *at),
            Row::Tallied(it) => tallied(db, it),
            Row::Unrolled(from) => unroll_all(db, *from),
            Row::Rolled(it) => rolled(db, it),
            Row::BeatsFrom(at) => set(db, "beats_from", *at),
            Row::Prune(old, before) => prune(db, *old, *before),
        }
    }
}

/// A number of the monitor itself, which only grows.
pub(super) fn set(db: &dyn Database, name: &str, at: Timestamp) -> Result<(), StoreError> {
    db.put(
        "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        values![name, at.0],
    )
}

fn forget(db: &dyn Database, id: CheckId) -> Result<(), StoreError> {
    for table in ["flips", "trackers", "maintenance", "rollups", "unrolled"] {
        db.put(&format!("DELETE FROM {table} WHERE check_id = ?1"), values![id.0])?;
    }
    db.put("DELETE FROM checks WHERE id = ?1", values![id.0])
}

fn blind(db: &dyn Database, from: Timestamp, to: Timestamp) -> Result<(), StoreError> {
    db.put(
        "INSERT INTO blind SELECT ?1, ?2 WHERE NOT EXISTS \
         (SELECT 1 FROM blind WHERE from_at = ?1 AND to_at = ?2)",
        values![from.0, to.0],
    )?;
    unroll_all(db, from)
}

fn maintenance(
    db: &dyn Database,
    id: CheckId,
    window: &str,
    (from, until): Span,
) -> Result<(), StoreError> {
    db.put(
        "INSERT INTO maintenance VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (check_id, \"window\", from_at) DO UPDATE SET to_at = excluded.to_at",
        values![id.0, window, from.0, until.0],
    )?;
    unroll(db, id, from)
}

fn unroll(db: &dyn Database, id: CheckId, from: Timestamp) -> Result<(), StoreError> {
    let sql = format!("INSERT INTO unrolled VALUES (?1, ?2, 1) {UNROLL}");
    db.put(&sql, values![id.0, from.0])
}

fn unroll_all(db: &dyn Database, from: Timestamp) -> Result<(), StoreError> {
    let sql = format!("INSERT INTO unrolled SELECT id, ?1, 1 FROM checks WHERE 1 = 1 {UNROLL}");
    db.put(&sql, values![from.0])
}

fn check(db: &dyn Database, it: &Check, kept: &Kept) -> Result<(), StoreError> {
    db.put(
        "INSERT INTO checks (id, uuid, plan, state, since, beats) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (id) DO UPDATE SET uuid = excluded.uuid, plan = excluded.plan, \
         state = excluded.state, since = excluded.since, beats = excluded.beats",
        values![
            it.id.0,
            &uuid_text(it.uuid),
            &json(&it.plan)?,
            kept.state.text(),
            kept.since.0,
            number(it.beats)
        ],
    )
}

fn flip(db: &dyn Database, it: &Change) -> Result<(), StoreError> {
    db.put(
        "INSERT INTO flips (check_id, at, since, from_state, to_state, why) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM flips \
         WHERE check_id = ?1 AND at = ?2 AND since = ?3 AND from_state = ?4 AND to_state = ?5)",
        values![it.check.0, it.at.0, it.since.0, it.from.text(), it.to.text(), &it.why.text()],
    )?;
    unroll(db, it.check, it.since)
}

fn letter(db: &dyn Database, channel: &str, it: &Letter) -> Result<(), StoreError> {
    db.put(
        "INSERT INTO letters VALUES (?1, ?2, ?3, ?4, ?5, 'waiting', ?6) \
         ON CONFLICT (id) DO UPDATE SET letter = excluded.letter",
        values![
            number(it.id.0),
            channel,
            number(it.notice.incident.0),
            it.notice.event.text(),
            it.notice.at.0,
            &json(it)?
        ],
    )
}

fn tallied(db: &dyn Database, it: &Tallied) -> Result<(), StoreError> {
    let (id, at) = (it.check.0, it.tally.minute.0);
    let report =
        it.mark.map_or_else(Report::default, |mark| Report::all(mark, Grain::Minute.length()));
    // Counted once, however often it is written.
    let sql = format!(
        "INSERT INTO rollups ({COLUMNS}) SELECT {} WHERE EXISTS \
         (SELECT 1 FROM checks WHERE id = ?1 AND tallied < ?15) \
         ON CONFLICT (check_id, grain, at) DO UPDATE \
         SET beats = rollups.beats + excluded.beats, numbers = excluded.numbers",
        NUMBERED
    );
    let bucket = Bucket {
        grain: Grain::Minute,
        at: it.tally.minute,
        report,
        count: Some(it.tally.count.clone()),
    };
    let numbers = json(&it.tally.count.numbers)?;
    let mut given = bucket_values(id, &bucket, it.tally.count.beats, &numbers);
    given.push(number(it.total).into());
    db.put(&sql, &given)?;
    db.put(
        "UPDATE checks SET tallied = ?2 WHERE id = ?1 AND tallied < ?2",
        values![id, number(it.total)],
    )?;
    match it.mark {
        Some(_) => Ok(()),
        None => unroll(db, it.check, Timestamp(at)),
    }
}

const COLUMNS: &str = "check_id, grain, at, beats, numbers, up, down, unknown, away, maintenance, \
                       outages, longest, head, tail";
const NUMBERED: &str = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14";
/// The columns that come of changes alone.
const AVAILABILITY: &str = "up = excluded.up, down = excluded.down, unknown = excluded.unknown, \
    away = excluded.away, maintenance = excluded.maintenance, outages = excluded.outages, \
    longest = excluded.longest, head = excluded.head, tail = excluded.tail";

fn bucket_values<'a>(id: i64, it: &Bucket, beats: u64, numbers: &'a String) -> Vec<Value<'a>> {
    let report = &it.report;
    let lengths =
        [report.up, report.down, report.unknown, report.away, report.maintenance].map(micros);
    let rest = [report.outage_longest, report.head, report.tail].map(micros);
    let mut out: Vec<Value<'a>> =
        vec![id.into(), number(it.grain.seconds()).into(), it.at.0.into()];
    out.extend([number(beats).into(), Value::from(numbers)]);
    out.extend(lengths.map(Value::from));
    out.push(i64::from(report.outages).into());
    out.extend(rest.map(Value::from));
    out
}

fn rolled(db: &dyn Database, it: &Rolled) -> Result<(), StoreError> {
    let id = it.check.0;
    for bucket in &it.buckets {
        let count = bucket.count.clone().unwrap_or_default();
        let counted = match bucket.count {
            Some(_) => ", beats = excluded.beats, numbers = excluded.numbers",
            None => "",
        };
        let sql = format!(
            "INSERT INTO rollups ({COLUMNS}) SELECT {NUMBERED} WHERE EXISTS \
             (SELECT 1 FROM checks WHERE id = ?1) \
             ON CONFLICT (check_id, grain, at) DO UPDATE SET {AVAILABILITY}{counted}"
        );
        let numbers = json(&count.numbers)?;
        db.put(&sql, &bucket_values(id, bucket, count.beats, &numbers))?;
    }
    for (grain, before) in &it.before {
        db.put(
            "DELETE FROM rollups WHERE check_id = ?1 AND grain = ?2 AND at < ?3",
            values![id, number(grain.seconds()), before.0],
        )?;
    }
    db.put("DELETE FROM unrolled WHERE check_id = ?1 AND turn = ?2", values![id, it.turn])
}

fn prune(db: &dyn Database, old: Old, before: Timestamp) -> Result<(), StoreError> {
    let (table, key, is_old) = old.place();
    let sql = format!(
        "DELETE FROM {table} WHERE {key} IN \
         (SELECT {key} FROM {table} WHERE {is_old} LIMIT {PRUNED_MAX}) AND {is_old}"
    );
    db.put(&sql, values![before.0])?;
    match old {
        // From here on availability comes of roll-ups.
        Old::Flips => set(db, "changes_from", before),
        Old::Blind
        | Old::Maintenance
        | Old::Attempts
        | Old::Letters
        | Old::Incidents
        | Old::Silences => Ok(()),
    }
}
