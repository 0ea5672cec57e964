//! The engine for one machine: two SQLite files in a folder, shared by the service's processes.
//!
//! ```text
//! journal.db               the truth: synced with every commit
//! views.db                 derived from it; may be deleted while nobody runs, and is made again
//! journal.queue/.busy      the turnstile of those who write journal.db; views.* likewise
//! nodes/<id>.lock          held by the process of that id while it lives, and stamped by it
//! ```

pub(crate) mod archive;
pub mod backup;
mod committer;
mod files;
mod journal;
mod keys;
mod member;
mod meta;
mod projector;
mod pulse;
mod reader;
mod registry;
#[cfg(debug_assertions)]
mod sabotage;
mod snapshot;
mod take;
mod turnstile;
mod views;
mod views_copy;
mod wal;

use crate::{
    engine::{Committer, Confirmer, Engine, Projector, Reader, Registry, Settings},
    error::{EngineError, Kind},
};
use committer::SqliteCommitter;
use files::{Files, Mode};
use member::Member;
use projector::SqliteProjector;
use reader::SqliteReader;
use registry::SqliteRegistry;
use std::path::Path;
use turnstile::Turnstile;
use wire::{ServiceTag, limits};

/// This process's membership of a service's engine in a folder.
#[derive(Debug)]
pub struct Sqlite {
    files: Files,
    service: ServiceTag,
    member: Member,
}

impl Sqlite {
    /// Opens the engine in `folder`, made where it is missing, and joins it.
    ///
    /// # Errors
    /// When the folder holds another service, another count of partitions, or a copy; when a live
    /// node has the same name; when the place cannot keep a journal.
    pub fn open(folder: &Path, settings: &Settings) -> Result<Sqlite, EngineError> {
        if !(1..=limits::PARTITIONS_MAX).contains(&settings.partitions) {
            let what = format!("{} partitions: want 1 to 4096", settings.partitions);
            return Err(EngineError::new(Kind::Mismatch, folder.display(), what));
        }
        let files = Files::create(folder)?;
        let turnstile = Turnstile::open(folder, turnstile::JOURNAL)?;
        let turn = turnstile.enter()?;
        let mut journal = files.open_journal(Mode::Write)?;
        let meta = meta::create_or_check(&files, &mut journal, settings)?;
        let member = member::join(&files, &mut journal, settings)?;
        drop(journal);
        drop(turn);
        let turnstile = Turnstile::open(folder, turnstile::VIEWS)?;
        let turn = turnstile.enter()?;
        let mut views = files.open_views(Mode::Write)?;
        views::create_or_check(&files, &mut views, &meta.incarnation)?;
        drop(views);
        drop(turn);
        Ok(Sqlite { files, service: ServiceTag::of(&settings.service), member })
    }
}

impl Engine for Sqlite {
    fn registry(&self) -> Result<Box<dyn Registry>, EngineError> {
        Ok(Box::new(SqliteRegistry::open(&self.files, &self.member)?))
    }

    fn committer(&self) -> Result<Box<dyn Committer>, EngineError> {
        Ok(Box::new(SqliteCommitter::open(&self.files, &self.member)?))
    }

    fn reader(&self) -> Result<Box<dyn Reader>, EngineError> {
        Ok(Box::new(SqliteReader::open(&self.files, self.service)?))
    }

    fn projector(&self) -> Result<Box<dyn Projector>, EngineError> {
        Ok(Box::new(SqliteProjector::open(&self.files, self.service)?))
    }

    /// A partition is taken only from a process that is gone, or by gift.
    fn confirmer(&self) -> Result<Option<Box<dyn Confirmer>>, EngineError> {
        Ok(None)
    }
}
