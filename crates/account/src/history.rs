//! Answers questions about the past from journal and views.

use crate::executor::Question;
use engine::{EngineError, Reader};
use ledger::{Object, ObjectKey};
use wire::{
    Done, Encoder, Outcome, PartitionId, Posting, Reply, Seq, ServiceTag, TransactionId,
    call::Failure,
    query::{Event, History, Mark},
};

/// The answer; a question the engine cannot answer is `engine_unavailable`.
pub(crate) fn answer(reader: &mut dyn Reader, service: ServiceTag, question: Question) -> Reply {
    let answered = match question {
        Question::Transaction { id, reversed_by } => transaction(reader, service, id, reversed_by)
            .map(|posting| {
                posting.map_or(Reply::Failed(Failure::NoSuchTransaction), Reply::Transaction)
            }),
        Question::Transactions { partition, history, known } => {
            transactions(reader, partition, &history, known)
        }
        Question::Accounts(partitions, listing) => reader
            .list(&partitions, &listing)
            .map(|(rows, more)| Reply::Accounts { partitions, rows, more }),
        Question::Trial(partitions) => reader.books(&partitions).map(Reply::Trial),
        Question::Events { partition, from, limit } => {
            events(reader, service, partition, (from, limit))
        }
    };
    answered.unwrap_or_else(|err| {
        tracing::error!(%err, "the engine did not answer a question");
        Reply::Failed(Failure::EngineUnavailable)
    })
}

/// Bytes of events past which an answer ends.
const EVENTS_BYTES_MAX: usize = 1024 * 1024;

/// What was journaled from `from` on, oldest first, and from where to ask on.
fn events(
    reader: &mut dyn Reader,
    service: ServiceTag,
    partition: PartitionId,
    (from, limit): (Mark, u32),
) -> Result<Reply, EngineError> {
    let mut next = Mark { seq: from.seq.max(Seq(1)), items: from.items };
    let (mut rows, mut bytes, mut scratch) = (Vec::new(), 0, Vec::new());
    for record in reader.journaled(partition, next.seq)? {
        if record.header.seq != next.seq {
            break; // A gap is for `verify` to complain of.
        }
        for index in next.items..u16::try_from(record.items.len()).unwrap_or(u16::MAX) {
            let is_full = usize::try_from(limit).unwrap_or(usize::MAX) <= rows.len();
            if is_full || EVENTS_BYTES_MAX <= bytes {
                return Ok(Reply::Events { rows, next });
            }
            let posted = record.posting(service, index).map(Done::Posted);
            // A posting is told as one; a delivery is between the owners of a transfer.
            let done = match record.outcome(service, index) {
                Some(Outcome::Done(done)) => Some(done),
                Some(Outcome::Refused(_)) | None => None,
            };
            let done = done.filter(|it| !matches!(it, Done::Posted(_) | Done::Delivered(_)));
            for done in posted.into_iter().chain(done) {
                let event = Event { at: record.header.time, done };
                scratch.clear();
                event.encode(&mut Encoder(&mut scratch));
                bytes += scratch.len();
                rows.push(event);
            }
            next.items = index + 1;
        }
        next = Mark { seq: next.seq.next(), items: 0 };
    }
    Ok(Reply::Events { rows, next })
}

fn transaction(
    reader: &mut dyn Reader,
    service: ServiceTag,
    id: TransactionId,
    reversed_by: Option<Option<TransactionId>>,
) -> Result<Option<Posting>, EngineError> {
    let record = reader.record(id.partition(), id.seq())?;
    let posting = record.and_then(|record| record.posting(service, id.index()));
    // The place alone does not make the id: its time must be the record's, too.
    let Some(mut posting) = posting.filter(|posting| posting.id == id) else { return Ok(None) };
    posting.reversed_by = match reversed_by {
        Some(known) => known,
        // What memory does not have is in the views or nowhere.
        None => match reader.objects(&[(id.partition(), ObjectKey::reversal(id))])?.pop() {
            Some(Some(Object::Reversal { by, .. })) => Some(by),
            Some(Some(_) | None) | None => None,
        },
    };
    Ok(Some(posting))
}

fn transactions(
    reader: &mut dyn Reader,
    partition: PartitionId,
    history: &History,
    known: bool,
) -> Result<Reply, EngineError> {
    // An account that memory does not have is in the views or nowhere.
    let exists = known || reader.accounts(&[(partition, history.account.clone())])?[0].is_some();
    if !exists {
        return Ok(Reply::Failed(Failure::NoSuchAccount));
    }
    let (rows, more) = reader.history(partition, history)?;
    Ok(Reply::Transactions { rows, more })
}
