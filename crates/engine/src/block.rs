//! A block: postings of one account, oldest first, as the bytes of one row of the views.
//!
//! ```text
//! posting: u64 record, u16 place in it, i64 time, u8 kind + 16 × link, i64 amount, 3 letters of
//!          currency, i64 posted and i64 available after it, u64 version, reference, metadata,
//!          u128 id that it is linked to
//! link:    0 none, 1 a hold, 2 a transfer, 3 the transaction that it reverses, 4 the transfer that
//!          it sends, which has its own place; only 1 to 3 are followed by an id
//! ```
//!
//! Numbers are little-endian, texts as `wire` has them. A row per transaction costs several times
//! as much to write: its own key, its own place in an index, its own header.

use crate::change::{Posted, SENT_HERE};
use wire::{
    AccountId, Decoder, Encoder, Flaw, HoldId, Link, PartitionId, Posting, Seq, ServiceTag,
    Timestamp, TransactionId, TransferId, command, limits,
};

/// Postings of one block: a page of history reads one or two, and a hot account fills one in a
/// batch.
pub(crate) const BLOCK_POSTINGS_MAX: usize = 256;
/// Bytes of a block, metadata included, past which it takes no more: some pages of the database.
pub(crate) const BLOCK_BYTES_MAX: usize = 32 * 1024;
/// What the numbers of a posting take, for a first guess of a block's size.
pub(crate) const POSTING_BYTES: usize = 64;

/// Where the link of a posting is in the byte of its kind.
const LINK_SHIFT: u32 = 4;

/// Appends one posting. Nothing is written of an item that no executor writes.
pub(crate) fn encode(posted: &Posted<'_>, out: &mut Vec<u8>) {
    let Some(entry) = posted.entry() else { return };
    let (link, id) = match entry.link {
        None => (0, None),
        Some(Link::Hold(id)) => (1, Some(id.bits())),
        Some(Link::Transfer(id)) if id == SENT_HERE => (4, None),
        Some(Link::Transfer(id)) => (2, Some(id.bits())),
        Some(Link::Reverses(id)) => (3, Some(id.bits())),
    };
    let mut out = Encoder(out);
    out.u64(posted.seq.0);
    out.u16(posted.index);
    out.i64(posted.time.0);
    out.u8(entry.kind as u8 | link << LINK_SHIFT);
    out.i64(entry.amount.minor());
    out.raw(&entry.contra.currency.letters());
    out.i64(entry.posted_after);
    out.i64(entry.available_after);
    out.u64(entry.version);
    command::optional(&mut out, entry.reference);
    out.short(entry.metadata.as_bytes());
    if let Some(id) = id {
        out.u128(id);
    }
}

/// Reads a block, oldest first.
pub(crate) fn decode(
    data: &[u8],
    service: ServiceTag,
    partition: PartitionId,
    account: &AccountId,
) -> Result<Vec<Posting>, Flaw> {
    let mut postings = Vec::with_capacity(data.len() / POSTING_BYTES + 1);
    each(data, service, partition, account, |posting, _| postings.push(posting))?;
    Ok(postings)
}

/// Reads a block, oldest first: each posting with its bytes.
pub(crate) fn each(
    data: &[u8],
    service: ServiceTag,
    partition: PartitionId,
    account: &AccountId,
    mut each: impl FnMut(Posting, &[u8]),
) -> Result<(), Flaw> {
    let mut from = Decoder::new(data);
    while !from.rest().is_empty() {
        let before = from.rest();
        let posting = posting(&mut from, service, partition, account)?;
        each(posting, &before[..before.len() - from.rest().len()]);
    }
    Ok(())
}

fn posting(
    from: &mut Decoder<'_>,
    service: ServiceTag,
    partition: PartitionId,
    account: &AccountId,
) -> Result<Posting, Flaw> {
    let (seq, index, time) = (Seq(from.u64()?), from.u16()?, Timestamp(from.i64()?));
    if limits::PARTITIONS_MAX <= partition.0 || ledger::record::SEQ_MAX < seq.0 {
        return Err(Flaw("a posting's record is beyond what an id can bear"));
    }
    let id = TransactionId::new(time, service, partition, seq, index);
    let kind_and_link = from.u8()?;
    let mut posting = Posting {
        id,
        account: account.clone(),
        kind: command::kind(kind_and_link & 0xf)?,
        amount: command::amount(from)?,
        currency: command::currency(from)?,
        posted_after: from.i64()?,
        available_after: from.i64()?,
        version: from.u64()?,
        reference: command::optional_text(from, limits::REFERENCE_BYTES_MAX)?,
        metadata: command::bounded(from, limits::METADATA_BYTES_MAX)?,
        link: None,
        reversed_by: None,
        created_at: time,
    };
    posting.link = match kind_and_link >> LINK_SHIFT {
        0 => None,
        1 => Some(Link::Hold(HoldId::from_bits(from.u128()?))),
        2 => Some(Link::Transfer(TransferId::from_bits(from.u128()?))),
        3 => Some(Link::Reverses(TransactionId::from_bits(from.u128()?))),
        4 => Some(Link::Transfer(TransferId::from_bits(id.bits()))),
        _ => return Err(Flaw("no such link of a posting")),
    };
    Ok(posting)
}
