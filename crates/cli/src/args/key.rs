//! The arguments of `tollgate key`.

use clap::{Args, Subcommand};
use std::{num::NonZeroU32, path::PathBuf, time::Duration};

#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub(crate) verb: KeyVerb,
    /// The topology file of the tree [default: that of the data folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Make a key and print it, this once; the gateways take it within a second
    Create(Create),
    /// List the keys: not the keys themselves, which nobody keeps
    List,
    /// From now on a key is not known any more
    Revoke {
        /// As listed
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Who or what it is for: 1 to 64 of A-Z a-z 0-9 . _ - @
    pub(crate) name: String,
    /// Only for this service (repeatable) [default: all]
    #[arg(long = "service", value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// It may read and change nothing
    #[arg(long)]
    pub(crate) read_only: bool,
    /// It ends after so long, as in 30d or 12h [default: never]
    #[arg(long, value_name = "TIME", value_parser = crate::topology::elements::duration::parse)]
    pub(crate) expires: Option<Duration>,
    /// Requests a second that each gateway takes of it [default: no limit]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<NonZeroU32>,
}

fn rate(text: &str) -> Result<NonZeroU32, String> {
    let max = proxy::keys::RATE_MAX;
    let rate = text.parse().ok().and_then(NonZeroU32::new).filter(|it| it.get() <= max);
    rate.ok_or_else(|| format!("want a number from 1 to {max}"))
}
