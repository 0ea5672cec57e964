//! A sound request on its way: asks the ledger and puts the answer into words.

use super::{
    answer::{Answer, Told},
    ask::{Ask, Blame},
    cursor,
    lists::{AccountParts, TrialParts},
    render::Page,
    service::Service,
};
use std::{borrow::Cow, rc::Rc};
use wire::{AccountId, PartitionId, Posting, Reply, call::Failure, query::Filter};

/// One request to the ledger.
pub(super) struct Job {
    pub(super) service: Rc<Service>,
    pub(super) question: Question,
    pub(super) ask: Ask,
    pub(super) request_id: Box<str>,
}

/// Whom to ask, and what the client wants to see of the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Command(PartitionId),
    Account(PartitionId),
    Balance(PartitionId),
    Transaction(PartitionId),
    /// A hold of this account.
    Hold(PartitionId, AccountId),
    Transfer(PartitionId),
    Transactions {
        account: AccountId,
        filter: Filter,
    },
    Accounts {
        limit: u32,
    },
    Trial,
}

impl Job {
    /// Asks, and asks again if need be; answers by the deadline.
    pub(super) async fn answer(&self) -> Answer {
        let told = self.told().await;
        if let Err(failure) = &told {
            tracing::debug!(request_id = &*self.request_id, ?failure, "no outcome");
        }
        Answer::of(&self.service.name, told, &self.request_id)
    }

    /// Who behind this gateway is to blame for an answer of this status, if anybody is.
    pub(super) fn blamed(&self, status: u16) -> Option<Cow<'_, str>> {
        match self.ask.blamed() {
            Blame::Here => None,
            Blame::Service | Blame::Node(_) if status < 500 => None,
            Blame::Service => Some(Cow::Borrowed(&self.service.name)),
            Blame::Node(node) => Some(Cow::Owned(self.service.node_name(node).as_ref().to_owned())),
        }
    }

    async fn told(&self) -> Result<Told, Failure> {
        let service = &*self.service;
        match &self.question {
            Question::Accounts { limit } => {
                let parts: AccountParts = self.ask.everybody(service).await?;
                Ok(Told::Accounts(parts.page(&service.name, *limit)))
            }
            Question::Trial => {
                let parts: TrialParts = self.ask.everybody(service).await?;
                parts.sum().map(Told::Trial).ok_or(Failure::Malformed)
            }
            Question::Command(partition)
            | Question::Account(partition)
            | Question::Balance(partition)
            | Question::Transaction(partition)
            | Question::Hold(partition, _)
            | Question::Transfer(partition) => {
                self.shown(self.ask.owner(service, *partition).await?)
            }
            Question::Transactions { account, .. } => {
                let partition = account.partition(service.partitions);
                self.shown(self.ask.owner(service, partition).await?)
            }
        }
    }

    /// The reply in the form that was asked for. A reply to another question tells nothing; for a
    /// command it does not come this far.
    fn shown(&self, reply: Reply) -> Result<Told, Failure> {
        match (&self.question, reply) {
            (Question::Command(_), Reply::Outcome(outcome)) => Ok(Told::Outcome(outcome)),
            (Question::Account(_), Reply::Account(state)) => Ok(Told::Account(state)),
            (Question::Balance(_), Reply::Account(state)) => Ok(Told::Balance(state)),
            (Question::Transaction(_), Reply::Transaction(it)) => Ok(Told::Transaction(it)),
            (Question::Hold(_, account), Reply::Hold(hold)) if hold.account == *account => {
                Ok(Told::Hold(hold))
            }
            (Question::Hold(..), Reply::Hold(_)) => Err(Failure::NoSuchHold),
            (Question::Transfer(_), Reply::Transfer(transfer)) => Ok(Told::Transfer(transfer)),
            (Question::Transactions { account, filter }, Reply::Transactions { rows, more }) => {
                Ok(Told::Transactions(self.page(account, filter, rows, more)))
            }
            _ => Err(Failure::Malformed),
        }
    }

    fn page(
        &self,
        account: &AccountId,
        filter: &Filter,
        rows: Vec<Posting>,
        more: bool,
    ) -> Page<Posting> {
        let last = rows.last().filter(|_| more);
        let next_cursor = last.map(|last| {
            cursor::seal_transactions(&self.service.name, account, filter, last.version)
        });
        Page { rows, next_cursor }
    }
}
