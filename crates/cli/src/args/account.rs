//! The arguments of `tollgate account`.

use clap::{Args, Subcommand};
use serde_json::value::RawValue;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Account {
    #[command(subcommand)]
    pub(crate) verb: AccountVerb,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Which tree, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Address of the tree [default: that of the data folder]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// File with the API key alone on one line [default: admin.key of the data folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// The service of an ACCOUNT that names none
    #[arg(long, global = true, default_value = "a")]
    pub(crate) service: String,
    /// Print the body of the API's answer
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountVerb {
    /// Open an account
    Open(Open),
    /// Show an account
    Show {
        /// SERVICE/ID, or ID
        account: String,
    },
    /// Take money from an account
    Debit(Posting),
    /// Put money into an account
    Credit(Posting),
    /// Set money of an account aside
    Hold(PlaceHold),
    /// Debit what a hold has set aside, or a part of it, and let the rest go
    Capture(Capture),
    /// Let what a hold has set aside go
    Release {
        /// SERVICE/ID, or ID
        account: String,
        /// As it was answered, hold_…
        hold: String,
        /// Idempotency key [default: a new one]
        #[arg(long)]
        key: Option<String>,
    },
    /// Book the opposite of a transaction, once
    Reverse {
        /// As it was answered, tx_…, of the service that --service names
        transaction: String,
        /// Idempotency key [default: a new one]
        #[arg(long)]
        key: Option<String>,
    },
    /// Move money from an account to another, of any services
    Transfer(Transfer),
    /// Show what an id names: tx_… of --service, tr_…, or hold_… of --account
    Find {
        /// As it was answered
        id: String,
        /// SERVICE/ID, or ID: the account of a hold
        #[arg(long)]
        account: Option<String>,
    },
    /// Show what was booked in a period, between two balances
    Statement {
        /// SERVICE/ID, or ID
        account: String,
        /// When it begins, as in 2026-11-01T00:00:00Z [default: with the account]
        #[arg(long, value_name = "WHEN")]
        from: Option<String>,
        /// When it ends, as --from [default: now]
        #[arg(long, value_name = "WHEN")]
        to: Option<String>,
        /// As a file of this form: json, csv or camt.053 [default: a table]
        #[arg(long, value_parser = ["json", "csv", "camt.053"])]
        format: Option<String>,
    },
    /// List the accounts of the service
    List {
        /// Rows, 1 to 1000
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: Option<u32>,
        /// Go on after the page that ended with this cursor
        #[arg(long, value_name = "CURSOR")]
        starting_after: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Open {
    /// SERVICE/ID, or ID
    pub(crate) account: String,
    /// ISO 4217 code
    #[arg(long, value_name = "CODE", default_value = "EUR", value_parser = currency)]
    pub(crate) currency: wire::Currency,
    /// How far it may go below zero, written as an AMOUNT
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) overdraft: Option<String>,
    /// A JSON object kept with the account
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub(crate) metadata: Option<Box<RawValue>>,
    /// Idempotency key: the same key never opens twice [default: a new one]
    #[arg(long)]
    pub(crate) key: Option<String>,
}

/// An amount of money.
#[derive(Debug, Args)]
pub(crate) struct Money {
    /// Minor units (4500), or with a point and all of the currency's digits (45.00)
    pub(crate) amount: String,
    /// ISO 4217 code [default: the account's]
    #[arg(value_parser = currency)]
    currency: Option<wire::Currency>,
    /// The same, as `account open` has it
    #[arg(long = "currency", value_name = "CODE", value_parser = currency, hide = true,
        conflicts_with = "currency")]
    named_currency: Option<wire::Currency>,
}

impl Money {
    /// `None` stands for the account's.
    pub(crate) fn currency(&self) -> Option<wire::Currency> {
        self.currency.or(self.named_currency)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Posting {
    /// SERVICE/ID, or ID
    pub(crate) account: String,
    #[command(flatten)]
    pub(crate) money: Money,
    /// A text kept with the transaction
    #[arg(long)]
    pub(crate) reference: Option<String>,
    /// Idempotency key: the same key never books twice [default: a new one]
    #[arg(long)]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlaceHold {
    /// SERVICE/ID, or ID
    pub(crate) account: String,
    #[command(flatten)]
    pub(crate) money: Money,
    /// How long at the most, as in 15m or 7d [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub(crate) expires_in: Option<String>,
    /// Idempotency key: the same key never sets aside twice [default: a new one]
    #[arg(long)]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Capture {
    /// SERVICE/ID, or ID
    pub(crate) account: String,
    /// As it was answered, hold_…
    pub(crate) hold: String,
    /// How much [default: all of it]
    pub(crate) amount: Option<String>,
    /// ISO 4217 code [default: the account's]
    #[arg(value_parser = currency)]
    pub(crate) currency: Option<wire::Currency>,
    /// Idempotency key: the same key never books twice [default: a new one]
    #[arg(long)]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Transfer {
    /// SERVICE/ID, or ID
    pub(crate) from: String,
    /// SERVICE/ID, or ID
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) money: Money,
    /// Idempotency key: the same key never moves it twice [default: a new one]
    #[arg(long)]
    pub(crate) key: Option<String>,
}

fn currency(text: &str) -> Result<wire::Currency, String> {
    wire::Currency::parse(text).ok_or_else(|| "want an ISO 4217 code, as in EUR".to_owned())
}

/// An object, kept as it is written: no number is rounded, no name moved.
fn json_object(text: &str) -> Result<Box<RawValue>, String> {
    match serde_json::from_str::<Box<RawValue>>(text) {
        Ok(value) if value.get().starts_with('{') => Ok(value),
        Ok(_) => Err("want a JSON object, as in '{\"tier\":\"gold\"}'".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
