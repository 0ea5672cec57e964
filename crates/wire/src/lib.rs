//! The vocabulary that every tier speaks: ids, money, commands, outcomes, codes, and the frames
//! that carry them on the trunk.
//!
//! Pure: bytes in, values out. Knows no socket, clock or source of randomness.

pub mod call;
pub mod code;
pub mod codec;
pub mod command;
pub mod frame;
pub mod hold;
pub mod huffman;
pub mod id;
pub mod key;
pub mod limits;
pub mod money;
pub mod outcome;
pub mod pages;
pub mod query;
pub mod reversal;
pub mod time;
pub mod transfer;

pub use crate::{
    call::{Batch, Call, Reply},
    code::Code,
    codec::{Decoder, Encoder, Flaw},
    command::{Action, Command, Kind, Status},
    hold::{Hold, HoldStatus},
    id::{AccountId, Epoch, HoldId, PartitionId, Seq, ServiceTag, TransactionId, TransferId},
    key::{Caller, Fingerprint, KeyHash},
    money::{Amount, Contra, Currency},
    outcome::{AccountState, Done, Link, Outcome, Posting, Refusal, Refused},
    time::Timestamp,
    transfer::{Delivery, Transfer},
};

/// A text of a command or an outcome: most are short. Up to 23 bytes stand in the value itself,
/// longer ones are shared by all clones.
pub use smol_str::SmolStr as Text;
