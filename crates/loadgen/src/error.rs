//! Why a run did not come to a result.

use std::io;

/// There is no report to look at.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the plan cannot be carried out: {0}")]
    Plan(String),
    #[error("{0}")]
    Refused(String),
    #[error("the generator failed: {0}")]
    Io(#[from] io::Error),
}
