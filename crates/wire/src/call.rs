//! What a gateway says to an account node in the body of a request, and what comes back.

use crate::{
    codec::{Decoder, Encoder, Flaw},
    command::Command,
    hold::Hold,
    id::PartitionId,
    limits,
    outcome::{AccountState, Outcome, Posting},
    query::{Books, Event, Mark, Query},
    reversal::Reversal,
    transfer::Transfer,
};

/// The body of a request to an account node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Execute(Command),
    Query(Query),
    /// Several commands of one partition, answered together by [`Reply::Batch`].
    Batch(Batch),
    /// Answered as a command is: the owner of the transaction's partition makes one of it.
    Reverse(Reversal),
}

/// Commands of one partition: 1 to [`limits::BATCH_COMMANDS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// All happen in one record, or none does.
    pub atomic: bool,
    pub commands: Vec<Command>,
}

/// The body of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Outcome(Outcome),
    Account(AccountState),
    Transaction(Posting),
    /// Newest first; `more` when older ones remain.
    Transactions {
        rows: Vec<Posting>,
        more: bool,
    },
    /// Of these partitions, newest first; `more` when older ones remain.
    Accounts {
        partitions: Vec<PartitionId>,
        rows: Vec<AccountState>,
        more: bool,
    },
    Trial(Vec<Books>),
    Hold(Hold),
    Transfer(Transfer),
    /// In no order.
    Pending(Vec<Transfer>),
    /// Of one partition, and from where to ask on.
    Events {
        rows: Vec<Event>,
        next: Mark,
    },
    /// What became of each command of a batch, in their order.
    Batch(Vec<Result<Outcome, Failure>>),
    Failed(Failure),
}

/// Why an account node has no outcome to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Failure {
    /// This node does not own the partition; nothing was executed. Another does, or soon will.
    NotOwner = 1,
    /// A queue is full or the projection too far behind; nothing was executed.
    Overloaded = 2,
    /// The engine did not take the batch, and never will; nothing was executed.
    EngineUnavailable = 3,
    /// The first use of this key is still being executed.
    KeyInUse = 4,
    /// It may have been executed, or may still be: only a repeat with the key can tell.
    OutcomeUnknown = 5,
    /// A read of an account that is not there.
    NoSuchAccount = 6,
    /// A read of a transaction that is not there.
    NoSuchTransaction = 7,
    /// The call's bytes make no sense to this node; nothing was executed.
    Malformed = 8,
    /// A read of a hold that is not there.
    NoSuchHold = 9,
    /// A read of a transfer that is not there.
    NoSuchTransfer = 10,
    /// The transaction is a leg of a transfer or a reversal itself, for ever: nothing was executed.
    NotReversible = 11,
}

impl Failure {
    const ALL: [Failure; 11] = [
        Failure::NotOwner,
        Failure::Overloaded,
        Failure::EngineUnavailable,
        Failure::KeyInUse,
        Failure::OutcomeUnknown,
        Failure::NoSuchAccount,
        Failure::NoSuchTransaction,
        Failure::Malformed,
        Failure::NoSuchHold,
        Failure::NoSuchTransfer,
        Failure::NotReversible,
    ];

    fn from_number(number: u8) -> Result<Failure, Flaw> {
        let failure = Failure::ALL.into_iter().find(|it| *it as u8 == number);
        failure.ok_or(Flaw("no such failure"))
    }
}

impl Call {
    /// Appends the call's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Encoder(out);
        match self {
            Call::Execute(command) => {
                out.u8(1);
                command.encode(&mut out);
            }
            Call::Query(query) => {
                out.u8(2);
                query.encode(&mut out);
            }
            Call::Batch(Batch { atomic, commands }) => {
                Call::encode_batch_head(*atomic, commands.len(), out.0);
                commands.iter().for_each(|command| command.encode(&mut out));
            }
            Call::Reverse(reversal) => {
                out.u8(4);
                reversal.encode(&mut out);
            }
        }
    }

    /// Appends what a batch of `count` commands begins with; after it come theirs, as
    /// [`Command::encode`] writes them.
    ///
    /// # Panics
    /// When there are more than [`limits::BATCH_COMMANDS_MAX`].
    pub fn encode_batch_head(atomic: bool, count: usize, out: &mut Vec<u8>) {
        let mut out = Encoder(out);
        assert!(count <= limits::BATCH_COMMANDS_MAX);
        out.u8(3);
        out.bool(atomic);
        out.u16(u16::try_from(count).expect("at most BATCH_COMMANDS_MAX"));
    }

    /// Reads a whole body.
    pub fn decode(bytes: &[u8]) -> Result<Call, Flaw> {
        let mut from = Decoder::new(bytes);
        let call = match from.u8()? {
            1 => Call::Execute(Command::decode(&mut from)?),
            2 => Call::Query(Query::decode(&mut from)?),
            3 => Call::Batch(Batch {
                atomic: from.bool()?,
                commands: read_list(&mut from, Command::decode)?,
            }),
            4 => Call::Reverse(Reversal::decode(&mut from)?),
            _ => return Err(Flaw("no such call")),
        };
        from.end()?;
        Ok(call)
    }
}

impl Reply {
    /// Appends the reply's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Encoder(out);
        match self {
            Reply::Outcome(outcome) => {
                out.u8(1);
                outcome.encode(&mut out);
            }
            Reply::Account(account) => {
                out.u8(2);
                account.encode(&mut out);
            }
            Reply::Transaction(posting) => {
                out.u8(3);
                posting.encode(&mut out);
            }
            Reply::Transactions { rows, more } => {
                out.u8(4);
                out.bool(*more);
                list(&mut out, rows, Posting::encode);
            }
            Reply::Accounts { partitions, rows, more } => {
                out.u8(5);
                out.bool(*more);
                list(&mut out, partitions, |partition, out| out.u16(partition.0));
                list(&mut out, rows, AccountState::encode);
            }
            Reply::Trial(books) => {
                out.u8(6);
                list(&mut out, books, Books::encode);
            }
            Reply::Failed(failure) => {
                out.u8(7);
                out.u8(*failure as u8);
            }
            Reply::Hold(hold) => {
                out.u8(9);
                hold.encode(&mut out);
            }
            Reply::Transfer(transfer) => {
                out.u8(10);
                transfer.encode(&mut out);
            }
            Reply::Events { rows, next } => {
                out.u8(12);
                next.encode(&mut out);
                list(&mut out, rows, Event::encode);
            }
            Reply::Pending(rows) => {
                out.u8(11);
                list(&mut out, rows, Transfer::encode);
            }
            Reply::Batch(items) => {
                out.u8(8);
                list(&mut out, items, |item, out| match item {
                    Ok(outcome) => {
                        out.u8(0);
                        outcome.encode(out);
                    }
                    Err(failure) => out.u8(*failure as u8),
                });
            }
        }
    }

    /// Reads a whole body.
    pub fn decode(bytes: &[u8]) -> Result<Reply, Flaw> {
        let mut from = Decoder::new(bytes);
        let reply = match from.u8()? {
            1 => Reply::Outcome(Outcome::decode(&mut from)?),
            2 => Reply::Account(AccountState::decode(&mut from)?),
            3 => Reply::Transaction(Posting::decode(&mut from)?),
            4 => {
                let more = from.bool()?;
                Reply::Transactions { rows: read_list(&mut from, Posting::decode)?, more }
            }
            5 => {
                let more = from.bool()?;
                let partitions = read_list(&mut from, |from| from.u16().map(PartitionId))?;
                let rows = read_list(&mut from, AccountState::decode)?;
                Reply::Accounts { partitions, rows, more }
            }
            6 => Reply::Trial(read_list(&mut from, Books::decode)?),
            7 => Reply::Failed(Failure::from_number(from.u8()?)?),
            8 => Reply::Batch(read_list(&mut from, |from| match from.u8()? {
                0 => Outcome::decode(from).map(Ok),
                number => Failure::from_number(number).map(Err),
            })?),
            9 => Reply::Hold(Hold::decode(&mut from)?),
            10 => Reply::Transfer(Transfer::decode(&mut from)?),
            11 => Reply::Pending(read_list(&mut from, Transfer::decode)?),
            12 => {
                let next = Mark::decode(&mut from)?;
                Reply::Events { rows: read_list(&mut from, Event::decode)?, next }
            }
            _ => return Err(Flaw("no such reply")),
        };
        from.end()?;
        Ok(reply)
    }
}

/// Items of one list: the commands of a batch are the most there can be.
const LIST_ITEMS_MAX: usize = limits::BATCH_COMMANDS_MAX;

const _: () = assert!(limits::PARTITIONS_MAX as usize <= LIST_ITEMS_MAX);

fn list<T>(out: &mut Encoder<'_>, items: &[T], encode: impl Fn(&T, &mut Encoder<'_>)) {
    assert!(items.len() <= LIST_ITEMS_MAX);
    out.u16(u16::try_from(items.len()).expect("at most LIST_ITEMS_MAX"));
    for item in items {
        encode(item, out);
    }
}

fn read_list<'a, T>(
    from: &mut Decoder<'a>,
    decode: impl Fn(&mut Decoder<'a>) -> Result<T, Flaw>,
) -> Result<Vec<T>, Flaw> {
    let count = usize::from(from.u16()?);
    if LIST_ITEMS_MAX < count {
        return Err(Flaw("too many items"));
    }
    // No item is shorter than a byte, so a peer gets no more room than it sent bytes for.
    let mut items = Vec::with_capacity(count.min(from.rest().len()));
    for _ in 0..count {
        items.push(decode(from)?);
    }
    Ok(items)
}
