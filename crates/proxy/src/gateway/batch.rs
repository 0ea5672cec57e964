//! The body of a batch, from JSON to one command per item.

use super::{
    body::{self, Given},
    headers,
    json::{self, Value},
    mistake::Mistake,
    request::Sender,
    service::Service,
};
use net::ids;
use wire::{Action, Command, Encoder, Fingerprint, KeyHash, PartitionId, limits};

/// A batch that makes sense.
#[derive(Debug)]
pub(super) struct Batch {
    /// All of it happens or nothing; then all of it is of one partition.
    pub(super) atomic: bool,
    pub(super) items: Vec<Item>,
}

/// One transaction of a batch.
#[derive(Debug)]
pub(super) struct Item {
    /// As the answer repeats it.
    pub(super) key: Box<str>,
    pub(super) partition: PartitionId,
    pub(super) command: Command,
}

const TRANSACTIONS: &str = "transactions";

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
    let mut read = Vec::with_capacity(items.len());
    for (at, value) in items.into_iter().enumerate() {
        let item = item(service, sender, at, value, whole);
        read.push(item.map_err(|it| it.within(&format!("{TRANSACTIONS}[{at}]")))?);
    }
    if atomic {
        check_atomic(&read)?;
    }
    Ok(Batch { atomic, items: read })
}

fn list(transactions: Option<Value<'_>>) -> Result<Vec<Value<'_>>, Mistake> {
    let max = limits::BATCH_COMMANDS_MAX;
    let wanted = format!("an array of 1 to {max} transactions is wanted");
    let flaw = match transactions {
        None => "missing".to_owned(),
        Some(value) => match value.array() {
            None => format!("{} is no array", value.found()),
            Some(items) if items.is_empty() => "the array is empty".to_owned(),
            Some(items) if max < items.len() => format!("{} items", items.len()),
            Some(items) => return Ok(items),
        },
    };
    Err(Mistake::in_field(TRANSACTIONS, format!("{flaw}; {wanted}")))
}

fn item(
    service: &Service,
    sender: &Sender<'_>,
    at: usize,
    value: Value<'_>,
    whole: Option<Fingerprint>,
) -> Result<Item, Mistake> {
    let Given { key, post } = body::item(value)?;
    let (key, origin): (Box<str>, _) = match key {
        Some(key) => {
            let origin = headers::key_origin(key.as_bytes(), false, ids::minted_at)
                .map_err(|mistake| Mistake { field: Some("key".into()), ..mistake })?;
            (key, origin)
        }
        // The key of the batch is printable: it was looked at.
        None => (format!("{}/{at}", String::from_utf8_lossy(sender.key)).into(), sender.origin),
    };
    let action = Action::Post(post);
    let fingerprint = whole.unwrap_or_else(|| {
        let mut meaning = Vec::with_capacity(128);
        action.encode(&mut Encoder(&mut meaning));
        Fingerprint::new(sender.method, sender.path, &meaning)
    });
    let partition = action.account().partition(service.partitions);
    let command = sender.command(key.as_bytes(), origin, fingerprint, action);
    Ok(Item { key, partition, command })
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
        items.iter().enumerate().map(|(at, item)| (item.command.key, at)).collect();
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
