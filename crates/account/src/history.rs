//! Answers questions about the past from journal and views.

use crate::executor::Question;
use engine::{EngineError, Reader};
use ledger::{Object, ObjectKey};
use wire::{PartitionId, Posting, Reply, ServiceTag, TransactionId, call::Failure, query::History};

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
    };
    answered.unwrap_or_else(|err| {
        tracing::error!(%err, "the engine did not answer a question");
        Reply::Failed(Failure::EngineUnavailable)
    })
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
