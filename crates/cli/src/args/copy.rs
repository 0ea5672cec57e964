//! The arguments of `tollgate backup`, `restore` and `export`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Where it is put: a folder that is empty or does not exist yet
    pub(crate) to: PathBuf,
    /// Leave out the audit of the copy
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A folder that `tollgate backup` made
    pub(crate) from: PathBuf,
    /// Put the journals where this topology file wants them, instead of into the data folder
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Leave out the audit of what was restored
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The service
    #[arg(long, default_value = "a")]
    pub(crate) service: String,
    /// The form of the lines
    #[arg(long, default_value = "jsonl")]
    pub(crate) format: Form,
    /// Only what was booked from then on, as in 2026-11-01T00:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = time)]
    pub(crate) from: Option<wire::Timestamp>,
    /// Only what was booked before, as --from
    #[arg(long, value_name = "WHEN", value_parser = time)]
    pub(crate) to: Option<wire::Timestamp>,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Each transaction as the API shows it, on a line
    Jsonl,
    /// RFC 4180
    Csv,
}

fn time(text: &str) -> Result<wire::Timestamp, String> {
    wire::Timestamp::parse(text).ok_or_else(|| "want a time, as in 2026-11-01T00:00:00Z".to_owned())
}
