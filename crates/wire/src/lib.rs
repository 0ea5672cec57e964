//! The vocabulary that every tier speaks: ids, money, commands, outcomes, codes, and the frames
//! that carry them on the trunk.
//!
//! Pure: bytes in, values out. Knows no socket, clock or source of randomness.

pub mod call;
pub mod code;
pub mod codec;
pub mod command;
pub mod frame;
pub mod id;
pub mod key;
pub mod limits;
pub mod money;
pub mod outcome;
pub mod pages;
pub mod query;
pub mod time;

pub use crate::{
    call::{Batch, Call, Reply},
    code::Code,
    codec::{Decoder, Encoder, Flaw},
    command::{Action, Command, Kind, Status},
    id::{AccountId, Epoch, PartitionId, Seq, ServiceTag, TransactionId},
    key::{Caller, Fingerprint, KeyHash},
    money::{Amount, Currency},
    outcome::{AccountState, Done, Outcome, Posting, Refusal, Refused},
    time::Timestamp,
};
