//! Why an engine did not do as asked: a sentence for people, a kind for code.

use wire::PartitionId;

/// An engine's failure. The text names the place (a file, a table) and the cause.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct EngineError {
    pub kind: Kind,
    /// Where it happened: a path, or what else a person would look at.
    pub place: String,
    /// What went wrong, with its cause, as a sentence.
    pub what: String,
}

/// What code may want to know of an [`EngineError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It could not be reached, read or written just now; another try may do better.
    Unavailable,
    /// The disk under it is full: reads go on, writes do not.
    Full,
    /// What is stored makes no sense. Another try does no better; `verify` says more.
    Corrupt,
    /// What is stored was made with other settings: service, partitions, format.
    Mismatch,
    /// The data was copied or moved here: it is not the continuation of what it was.
    Copied,
    /// A live node bears the same name.
    NameTaken,
    /// Others have declared this node gone, and own what it owned, or will: the process must end,
    /// and the next one joins anew.
    Deposed,
    /// This place cannot keep a journal: a network file system, a version of SQLite too old.
    Unsupported,
}

impl EngineError {
    pub(crate) fn new(kind: Kind, place: impl ToString, what: impl ToString) -> EngineError {
        EngineError { kind, place: place.to_string(), what: what.to_string() }
    }

    /// An error unless what was stored at the creation is what is wanted now.
    pub(crate) fn unless_same<T: PartialEq + std::fmt::Debug>(
        place: impl ToString,
        name: &str,
        stored: T,
        wanted: T,
    ) -> Result<(), EngineError> {
        if stored == wanted {
            return Ok(());
        }
        let what = format!("was created with {name} {stored:?}, and is opened with {wanted:?}");
        Err(EngineError::new(Kind::Mismatch, place, what))
    }
}

/// Why [`crate::Committer::commit`] gave no fates.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing of the batch was written, nor ever will be: it was rolled back for certain. A later
    /// batch may fare better.
    #[error("the batch was not executed: {0}")]
    NotExecuted(EngineError),
    /// The batch may or may not be durable: the connection broke while it was under way. Nothing
    /// may be told of it before [`crate::Committer::resolve`] has answered.
    #[error("whether the batch was executed is not known yet: {0}")]
    Unknown(EngineError),
    /// Whether the batch is durable is unknown, or the disk failed under it. The process must end
    /// and another read from disk what became of it: a second sync after a failed one may lie, so
    /// nothing is tried again, and every later call gives this same answer.
    #[error("the journal failed, this process must end: {0}")]
    Fatal(EngineError),
}

/// Why [`crate::Projector::project`] wrote nothing at all.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// These partitions' watermarks are not where the records given would continue: somebody else
    /// projects them. Their owner looks whether it still is the owner and reads the watermark;
    /// whoever is not stops.
    #[error("the views of {0:?} moved under another projector")]
    Deposed(Vec<PartitionId>),
    #[error(transparent)]
    Engine(#[from] EngineError),
}
