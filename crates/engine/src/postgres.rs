//! The engine for many machines: a PostgreSQL database, each service in a schema of its own.
//!
//! Plain SQL: nothing is locked beyond a transaction, nobody is notified, and nothing but
//! time-outs is asked of a session, so that a pooler, or another database that speaks the same
//! language, may stand in between or in its stead. What is promised when machines and connections
//! fail is in docs/leases.md.

pub(crate) mod archive;
mod committer;
mod confirmer;
mod failure;
mod key_reads;
mod key_writes;
mod keys;
mod limits;
mod link;
mod member;
mod projector;
mod pulse;
mod reader;
mod reading;
mod registry;
mod schema;
pub mod session;
mod shared;
mod take;
mod target;
mod tls;

use crate::{
    engine::{Committer, Confirmer, Engine, Projector, Reader, Registry, Settings},
    error::{EngineError, Kind},
    url::PostgresUrl,
};
use committer::PostgresCommitter;
use confirmer::PostgresConfirmer;
use limits::Purpose;
use link::Link;
use net::clock;
use projector::PostgresProjector;
use pulse::Pulse;
use reader::PostgresReader;
use registry::PostgresRegistry;
use schema::Schema;
use shared::Shared;
use std::{sync::Arc, thread};
use take::Taker;
use target::Target;
use wire::{ServiceTag, limits as wire_limits};

/// This process's membership of a service's engine in a database. The node leaves when it is
/// dropped.
#[derive(Debug)]
pub struct Postgres {
    doors: Doors,
    shared: Arc<Shared>,
    _pulse: Pulse,
}

/// How connections are opened.
#[derive(Clone)]
pub(crate) struct Doors {
    target: Arc<Target>,
    pub(crate) schema: Schema,
    pub(crate) service: ServiceTag,
    node_id: i64,
    place: String,
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Doors {
    pub(crate) fn of(url: &PostgresUrl, service: &str, node_id: i64) -> Result<Doors, EngineError> {
        let (target, schema) = (Target::of(url)?, Schema::of(service));
        let (place, service) = (schema.place(&target.shown), ServiceTag::of(service));
        Ok(Doors { target: Arc::new(target), schema, service, node_id, place })
    }

    /// A connection that is opened when it is first used.
    pub(crate) fn link(&self, purpose: Purpose) -> Result<Link, EngineError> {
        Link::new(&self.target, purpose, self.node_id, self.place.clone())
    }
}

impl Postgres {
    /// Opens the engine in the database at `url`, made where it is missing, and joins it. A node
    /// of the same name that may be dead is waited for until its lease is over.
    ///
    /// # Errors
    /// When the schema holds another service or another count of partitions; when a live node has
    /// the same name; when the database cannot be reached, or cannot keep a journal.
    pub fn open(url: &PostgresUrl, settings: &Settings) -> Result<Postgres, EngineError> {
        // Of its own: whoever opens may be driving another runtime on this thread.
        thread::scope(|scope| {
            let opening = scope.spawn(|| Postgres::open_here(url, settings));
            opening.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn open_here(url: &PostgresUrl, settings: &Settings) -> Result<Postgres, EngineError> {
        if !(1..=wire_limits::PARTITIONS_MAX).contains(&settings.partitions) {
            let what = format!("{} partitions: want 1 to 4096", settings.partitions);
            return Err(EngineError::new(Kind::Mismatch, url, what));
        }
        let node_id = (settings.node_id >> 1).cast_signed(); // Not negative.
        let doors = Doors::of(url, &settings.service, node_id)?;
        let link = doors.link(Purpose::Setup)?;
        schema::create_or_check(&link, &doors.schema, settings)?;
        member::join(&link, &doors.schema, settings, doors.node_id)?;
        let shared = Arc::new(Shared::default());
        shared.renewed(clock::now());
        let pulse =
            Pulse::start(doors.link(Purpose::Pulse)?, &doors.schema, doors.node_id, &shared)?;
        Ok(Postgres { doors, shared, _pulse: pulse })
    }
}

impl Engine for Postgres {
    fn registry(&self) -> Result<Box<dyn Registry>, EngineError> {
        let Doors { schema, node_id, .. } = &self.doors;
        let taker = Taker::new(self.doors.link(Purpose::Lease)?, schema, *node_id);
        let link = self.doors.link(Purpose::Lease)?;
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(PostgresRegistry::new(link, taker, schema, *node_id, shared)))
    }

    fn committer(&self) -> Result<Box<dyn Committer>, EngineError> {
        let Doors { schema, node_id, .. } = &self.doors;
        let link = self.doors.link(Purpose::Commit)?;
        Ok(Box::new(PostgresCommitter::new(link, schema, *node_id, Arc::clone(&self.shared))))
    }

    fn reader(&self) -> Result<Box<dyn Reader>, EngineError> {
        Ok(Box::new(PostgresReader::open(&self.doors)?))
    }

    fn projector(&self) -> Result<Box<dyn Projector>, EngineError> {
        Ok(Box::new(PostgresProjector::open(&self.doors)?))
    }

    fn confirmer(&self) -> Result<Option<Box<dyn Confirmer>>, EngineError> {
        let Doors { schema, node_id, .. } = &self.doors;
        let link = self.doors.link(Purpose::Confirm)?;
        Ok(Some(Box::new(PostgresConfirmer::new(link, schema, *node_id))))
    }
}
