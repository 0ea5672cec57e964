//! A block: postings of one account, oldest first, as the bytes of one row of the views.
//!
//! ```text
//! posting: u64 record, u16 place in it, i64 time, u8 kind, i64 amount, 3 letters of currency,
//!          i64 posted and i64 available after it, u64 version, reference, metadata
//! ```
//!
//! Numbers are little-endian, texts as `wire` has them. A row per transaction costs several times
//! as much to write: its own key, its own place in an index, its own header.

use crate::change::Posted;
use wire::{
    AccountId, Decoder, Encoder, Flaw, PartitionId, Posting, Seq, ServiceTag, Timestamp,
    TransactionId, command, limits,
};

/// Postings of one block: a page of history reads one or two, and a hot account fills one in a
/// batch.
pub(crate) const BLOCK_POSTINGS_MAX: usize = 256;
/// Bytes of a block, metadata included, past which it takes no more: some pages of the database.
pub(crate) const BLOCK_BYTES_MAX: usize = 32 * 1024;
/// What the numbers of a posting take, for a first guess of a block's size.
pub(crate) const POSTING_BYTES: usize = 64;

/// Appends one posting. Nothing is written of an item that no executor writes.
pub(crate) fn encode(posted: &Posted<'_>, out: &mut Vec<u8>) {
    let Some((post, posted_after, available_after)) = posted.post() else { return };
    let mut out = Encoder(out);
    out.u64(posted.seq.0);
    out.u16(posted.index);
    out.i64(posted.time.0);
    out.u8(post.kind as u8);
    out.i64(post.amount.minor());
    out.raw(&post.currency.letters());
    out.i64(posted_after);
    out.i64(available_after);
    out.u64(posted.version);
    command::optional(&mut out, post.reference.as_deref());
    out.short(post.metadata.as_bytes());
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
    Ok(Posting {
        id: TransactionId::new(time, service, partition, seq, index),
        account: account.clone(),
        kind: command::kind(from.u8()?)?,
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
    })
}
