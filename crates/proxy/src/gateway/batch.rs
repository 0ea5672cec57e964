//! The body of a batch, from JSON to the bytes of one command per item.

use super::{
    body::{self, Given, ItemFields},
    headers,
    json::{self, Value},
    mistake::Mistake,
    request::Sender,
    service::Service,
};
use net::ids;
use std::{fmt::Write as _, ops::Range};
use wire::{Action, Encoder, Fingerprint, KeyHash, PartitionId, limits};

/// A batch that makes sense.
#[derive(Debug)]
pub(super) struct Batch {
    /// All of it happens or nothing; then all of it is of one partition.
    pub(super) atomic: bool,
    items: Vec<Item>,
    /// Of all items, one after the other: thousands of items share two allocations.
    keys: String,
    commands: Vec<u8>,
}

/// One transaction of a batch.
#[derive(Debug)]
struct Item {
    partition: PartitionId,
    hash: KeyHash,
    /// Where its key ends in `keys`, and its command in `commands`.
    key_end: usize,
    command_end: usize,
}

const TRANSACTIONS: &str = "transactions";
/// Room for the key and for the command of one item.
const KEY_BYTES_USUAL: usize = 36;
const COMMAND_BYTES_USUAL: usize = 160;

/// Reads the body of `POST /v1/{service}/batch`.
pub(super) fn read(service: &Service, sender: &Sender<'_>, body: &[u8]) -> Result<Batch, Mistake> {
    let max = limits::BATCH_BODY_BYTES_MAX;
    let [atomic, transactions] = json::read_long_object(body, max, &["atomic", TRANSACTIONS])?;
    let atomic = match atomic.filter(|it| !it.is_null()) {
        None => false,
        Some(value) => value.bool().ok_or_else(|| {
            let found = value.found();
            Mistake::in_field("atomic", format!("{found} is neither true nor false"))
        })?,
    };
    let items = list(transactions)?;
    // What an atomic batch does it does as a whole, so its items have the whole body's fingerprint.
    let whole = atomic.then(|| Fingerprint::new(sender.method, sender.path, body));
    let mut reading = Reading {
        service,
        sender,
        whole,
        meaning: Vec::new(),
        batch: Batch {
            atomic,
            items: Vec::with_capacity(items.len()),
            keys: String::with_capacity(items.len().saturating_mul(KEY_BYTES_USUAL)),
            commands: Vec::with_capacity(items.len().saturating_mul(COMMAND_BYTES_USUAL)),
        },
    };
    for (at, fields) in items.into_iter().enumerate() {
        let read = fields.and_then(|fields| reading.item(fields));
        read.map_err(|it| it.within(&format!("{TRANSACTIONS}[{at}]")))?;
    }
    if atomic {
        check_atomic(&reading.batch.items)?;
    }
    Ok(reading.batch)
}

fn list(transactions: Option<Value<'_>>) -> Result<Vec<Result<ItemFields<'_>, Mistake>>, Mistake> {
    let max = limits::BATCH_COMMANDS_MAX;
    let wanted = format!("an array of 1 to {max} transactions is wanted");
    let flaw = match transactions {
        None => "missing".to_owned(),
        Some(value) => match body::items(value, max).filter(|items| !items.is_empty()) {
            Some(items) => return Ok(items),
            None => match value.array() {
                None => format!("{} is no array", value.found()),
                Some(items) if items.is_empty() => "the array is empty".to_owned(),
                Some(items) if max < items.len() => format!("{} items", items.len()),
                Some(items) => return Ok(items.into_iter().map(body::item_fields).collect()),
            },
        },
    };
    Err(Mistake::in_field(TRANSACTIONS, format!("{flaw}; {wanted}")))
}

/// A batch as far as it has been read.
struct Reading<'a> {
    service: &'a Service,
    sender: &'a Sender<'a>,
    /// The fingerprint of every item, if they have it of the body.
    whole: Option<Fingerprint>,
    /// The bytes of one item's action.
    meaning: Vec<u8>,
    batch: Batch,
}

impl Reading<'_> {
    fn item(&mut self, fields: ItemFields<'_>) -> Result<(), Mistake> {
        let Reading { service, sender, whole, meaning, batch } = self;
        let Given { key, post } = body::item(fields)?;
        let start = batch.keys.len();
        let origin = match key {
            Some(key) => {
                batch.keys.push_str(&key);
                headers::key_origin(key.as_bytes(), false, ids::minted_at)
                    .map_err(|mistake| Mistake { field: Some("key".into()), ..mistake })?
            }
            None => {
                // The key of the batch is printable: it was looked at.
                let (key, at) = (String::from_utf8_lossy(sender.key), batch.items.len());
                write!(batch.keys, "{key}/{at}").expect("a string takes everything");
                sender.origin
            }
        };
        let action = Action::Post(post);
        let fingerprint = whole.unwrap_or_else(|| {
            meaning.clear();
            action.encode(&mut Encoder(meaning));
            Fingerprint::new(sender.method, sender.path, meaning)
        });
        let partition = action.account().partition(service.partitions);
        let key = &batch.keys.as_bytes()[start..];
        let command = sender.command(key, origin, fingerprint, action);
        command.encode(&mut Encoder(&mut batch.commands));
        let (key_end, command_end) = (batch.keys.len(), batch.commands.len());
        batch.items.push(Item { partition, hash: command.key, key_end, command_end });
        Ok(())
    }
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The partition of each item.
    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.items.iter().map(|item| item.partition)
    }

    /// The key of each item, as the answer repeats it.
    pub(super) fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|at| &self.keys[self.place(at, |item| item.key_end)])
    }

    /// The bytes of the command at this place.
    pub(super) fn command(&self, at: usize) -> &[u8] {
        &self.commands[self.place(at, |item| item.command_end)]
    }

    fn place(&self, at: usize, end: impl Fn(&Item) -> usize) -> Range<usize> {
        let start = at.checked_sub(1).map_or(0, |before| end(&self.items[before]));
        start..end(&self.items[at])
    }
}

fn check_atomic(items: &[Item]) -> Result<(), Mistake> {
    let first = items.first().map(|item| item.partition);
    if let Some(at) = items.iter().position(|item| Some(item.partition) != first) {
        let detail = format!(
            "transactions[{at}] is about an account of another partition than the first; \
             an atomic batch is of one partition"
        );
        return Err(Mistake::in_field("atomic", detail));
    }
    let mut keys: Vec<(KeyHash, usize)> =
        items.iter().enumerate().map(|(at, item)| (item.hash, at)).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        None => Ok(()),
        Some(pair) => {
            let at = pair[1].1;
            let detail = "another item of the account has this key";
            Err(Mistake::in_field(&format!("{TRANSACTIONS}[{at}].key"), detail))
        }
    }
}
