//! The command line.

pub(crate) mod account;
pub(crate) mod bench;
pub(crate) mod copy;
pub(crate) mod key;

pub(crate) use account::{Account, AccountVerb, Target};
pub(crate) use bench::Bench;

use clap::{Args, Parser, Subcommand, ValueEnum};
use monitor::core::reading::Number;
use std::{net::SocketAddr, path::PathBuf};

/// An account API that is scaled by adding nodes: balancers and gateways in front of accounts.
#[derive(Debug, Parser)]
#[command(
    name = "tollgate",
    version,
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 usage."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Folder of the tree: its data, keys, logs and topology file
    #[arg(long, global = true, value_name = "DIR", default_value = "tollgate-data")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole tree on this machine, nothing to configure; Ctrl-C drains it
    Up(Up),
    /// Run one node of a topology file
    Run(Run),
    /// Check a topology file and draw its tree
    Check(Check),
    /// Show the tree now
    Status(Status),
    /// Show the tree live in the terminal; q ends
    Top,
    /// Drain, stop, start or hurt one node of a running tree
    Node(Node),
    /// Let running nodes take the changed topology file, without dropping a request
    Reload(Reload),
    /// Open accounts, look at them, debit and credit them, move money between them
    Account(Account),
    /// Put load on a tree, measure it, and audit its books from the answers
    Bench(Bench),
    /// Show who owns each partition, or move one
    Partitions(Partitions),
    /// Re-derive the books from the journal; says what is wrong and where
    Verify(Verify),
    /// Copy the journals of a tree, while it runs, into a folder
    Backup(copy::Backup),
    /// Make a backup a tree again, in an empty data folder
    Restore(copy::Restore),
    /// Write every transaction of a service, from its journal
    Export(copy::Export),
    /// Make, list and revoke API keys
    Key(key::Key),
    /// Run a command and report its start, its end and its output as heartbeats
    Beat(Beat),
    /// List incidents, take care of them, keep quiet for a while, test who is told
    Alerts(Alerts),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Where HTTP clients are served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", conflicts_with = "config")]
    pub(crate) edge: SocketAddr,
    /// Where the monitor shows its pages and takes beats
    /// [default: 127.0.0.1:8090, or a free port where that one is in use]
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    pub(crate) monitor: Option<SocketAddr>,
    /// Run the tree of this topology file instead of the default one
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Engine of all services: sqlite:FOLDER or postgres://…
    #[arg(long, value_name = "URL", conflicts_with = "config", value_parser = crate::topology::elements::engine::parse)]
    pub(crate) engine: Option<crate::topology::elements::engine::EngineUrl>,
    /// Database in which the monitor keeps what it knows, instead of files: postgres://…
    #[arg(long, value_name = "URL", conflicts_with = "config", value_parser = crate::topology::elements::engine::parse_database)]
    pub(crate) monitor_store: Option<crate::topology::elements::engine::PostgresUrl>,
    /// Who is told of incidents: http(s)://… gets a webhook, mailto:who@where mail
    #[arg(long, value_name = "URL", conflicts_with = "config", value_parser = crate::topology::elements::notify::parse)]
    pub(crate) notify: Vec<String>,
    /// Mail server for --notify mailto:…: HOST:PORT, starttls://USER@HOST or smtps://USER@HOST
    #[arg(long, value_name = "SERVER", conflicts_with = "config", value_parser = crate::topology::elements::notify::parse_server)]
    pub(crate) smtp: Option<String>,
    /// The file that holds the password of --smtp's user
    #[arg(long, value_name = "FILE", requires = "smtp")]
    pub(crate) smtp_password: Option<PathBuf>,
    /// Sender of mails [default: tollgate@localhost]
    #[arg(long, value_name = "ADDRESS", requires = "smtp", value_parser = crate::topology::elements::notify::parse_sender)]
    pub(crate) mail_from: Option<String>,
    /// Who is told as well of what a --notify has not delivered within a minute
    #[arg(long, value_name = "URL", requires = "notify", value_parser = crate::topology::elements::notify::parse)]
    pub(crate) fallback: Option<String>,
    /// For --notify https://…: trust the authorities of this PEM file instead of the system's
    #[arg(long, value_name = "FILE", requires = "notify")]
    pub(crate) ca: Option<PathBuf>,
    /// Print the tree as JSON, on one line, once it is ready
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Name of the node in the topology file
    pub(crate) node: String,
    /// The topology file [default: tollgate.toml in the data folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Drain when stdin ends: it is a pipe from the process that started this one
    #[arg(long)]
    pub(crate) supervised: bool,
    /// Start with this copy of the file, the last one that was sound, and reload from the file
    /// The whole tree is being started: nobody is missing before it was heard
    #[arg(long, hide = true)]
    pub(crate) fresh: bool,
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) in_force: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The topology file
    pub(crate) file: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print the tree as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Node {
    /// Name of the node
    pub(crate) node: String,
    /// What to do to it
    pub(crate) verb: Verb,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Partitions {
    #[command(subcommand)]
    pub(crate) verb: Option<PartitionsVerb>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PartitionsVerb {
    /// Keep a partition at a node, now and whenever that node is there
    Move {
        /// SERVICE/NUMBER
        partition: String,
        /// Name of the node [default: where it belongs]
        node: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Reload {
    /// Only these nodes [default: all that the change is about]
    #[arg(value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// Ask the nodes of this file at their admin addresses, whoever started them
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verb {
    /// Take it out of rotation, finish what is in flight, stay up
    Drain,
    /// Drain it, let it exit, keep it down
    Stop,
    /// SIGKILL; it stays down
    Kill,
    /// SIGSTOP: it hangs
    Pause,
    /// SIGCONT: it goes on
    Resume,
    /// Start it again
    Start,
}

/// A number as `--metric` takes it.
pub(crate) fn parse_metric(text: &str) -> Result<Number, String> {
    let parts = text.split_once('=');
    parts
        .and_then(|(name, value)| Number::parse(name.trim(), value))
        .ok_or_else(|| "want NAME=NUMBER, the name of letters, digits and . _ -".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct Beat {
    /// Where beats go: http(s)://HOST:PORT/ping/…, or a slug at the monitor of the data folder, where
    /// the check is made if there is none
    pub(crate) url: String,
    /// For https: trust the authorities of this PEM file instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Report a number with the end, for rules; the command may write more of them, NAME=NUMBER a line,
    /// to the file that TOLLGATE_METRICS names
    #[arg(long, value_name = "NAME=NUMBER", value_parser = parse_metric)]
    pub(crate) metric: Vec<Number>,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Alerts {
    #[command(subcommand)]
    pub(crate) verb: AlertsVerb,
    /// Print the answer of the monitor as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertsVerb {
    /// The incidents that are open
    List {
        /// Those that have ended, too
        #[arg(long)]
        all: bool,
    },
    /// Say that you take care of an incident: no reminders until it ends
    Ack {
        /// As listed, i-17
        incident: String,
        /// Who you are [default: your user name]
        #[arg(long)]
        by: Option<String>,
        /// For the others
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Tell nobody of what matches, for a while; it is watched all the same
    Silence {
        /// Names of checks; `*` stands for anything
        pattern: String,
        /// How long, as in 30m or 2h
        #[arg(long = "for", value_name = "TIME", value_parser = crate::topology::elements::duration::parse)]
        length: std::time::Duration,
        /// Why
        #[arg(long)]
        reason: String,
        /// Who you are [default: your user name]
        #[arg(long)]
        by: Option<String>,
        /// Only say what it would keep quiet now
        #[arg(long)]
        dry_run: bool,
    },
    /// The silences
    Silences {
        /// End the one with this number
        #[arg(long, value_name = "NUMBER")]
        end: Option<u64>,
    },
    /// As silence, and the time counts neither as up nor as down
    Maintenance {
        /// Names of checks; `*` stands for anything
        pattern: String,
        /// How long, as in 30m or 2h
        #[arg(long = "for", value_name = "TIME", value_parser = crate::topology::elements::duration::parse)]
        length: std::time::Duration,
        /// Why
        #[arg(long)]
        reason: String,
        /// When it begins, as in 2026-11-22T02:00:00+01:00 [default: now]
        #[arg(long, value_name = "WHEN", conflicts_with = "schedule")]
        from: Option<String>,
        /// Again and again, at the times of a cron expression
        #[arg(long, value_name = "CRON")]
        schedule: Option<String>,
        /// The time zone of the schedule, as in Europe/Berlin [default: UTC]
        #[arg(long, requires = "schedule")]
        tz: Option<String>,
        /// Who you are [default: your user name]
        #[arg(long)]
        by: Option<String>,
    },
    /// The maintenance windows
    Windows {
        /// End the one with this number
        #[arg(long, value_name = "NUMBER")]
        end: Option<u64>,
    },
    /// The rules over the numbers of nodes, and who breaks them
    Rules,
    /// Print the secret by which receivers of webhooks check signatures
    Secret,
    /// Send a test over a channel, or over all of them
    Test {
        /// As listed on the monitor's page, webhook-1
        channel: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Print the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
