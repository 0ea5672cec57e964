//! What a record says of each of its commands: the answer, the posting, and what is kept under an id.

use super::{Item, Place, Record, Verdict};
use crate::object::Object;
use wire::{
    AccountState, Action, Delivery, Done, Outcome, Posting, ServiceTag, Text, Timestamp, Transfer,
    TransferId,
};

impl Record {
    /// The answer to the `index`-th command, the same whenever and wherever it is made again.
    /// `None` when the record has no such item.
    pub fn outcome(&self, service: ServiceTag, index: u16) -> Option<Outcome> {
        let Item { action, verdict, .. } = self.items.get(usize::from(index))?;
        let place = Place::new(service, &self.header, index);
        let done = match (verdict, action) {
            (Verdict::Refused(refused), _) => return Some(Outcome::Refused(refused.clone())),
            (Verdict::Updated(state), _) => Done::Updated(state.clone()),
            (Verdict::Opened, _) => Done::Opened(opened(action, place.time)?),
            (Verdict::Posted { .. }, Action::Send(send)) => {
                Done::Transferred(self.settled_here(index).unwrap_or_else(|| place.transfer(send)))
            }
            (Verdict::Posted { .. }, Action::Receive(_)) => {
                Done::Delivered(Delivery::Credited(place.transaction()))
            }
            (Verdict::Posted { .. }, _) => Done::Posted(self.posting(service, index)?),
            (Verdict::Held(_), Action::Hold(hold)) => Done::Held(place.hold(hold)),
            // A verdict of another action's kind: no executor writes such a record.
            (Verdict::Held(_), _) => return None,
            (Verdict::HoldEnded { hold, .. }, _) => Done::HoldEnded((**hold).clone()),
            (Verdict::Delivered(delivery), _) => Done::Delivered(*delivery),
            (Verdict::Settled { transfer, .. }, _) => Done::Transferred((**transfer).clone()),
        };
        Some(Outcome::Done(done))
    }

    /// A transfer that was sent by the `index`-th command, as it was settled in this very record.
    fn settled_here(&self, index: u16) -> Option<Transfer> {
        let item = self.items.get(usize::from(index).checked_add(2)?)?;
        let Verdict::Settled { transfer, .. } = &item.verdict else { return None };
        let (seq, partition) = (transfer.id.seq(), transfer.id.partition());
        let is_its = (partition, seq, transfer.id.index())
            == (self.header.partition, self.header.seq, index);
        is_its.then(|| (**transfer).clone())
    }

    /// What the `index`-th command booked; `None` when it booked nothing.
    pub fn posting(&self, service: ServiceTag, index: u16) -> Option<Posting> {
        let place = Place::new(service, &self.header, index);
        let id = place.transaction();
        let sent = TransferId::from_bits(id.bits());
        let entry = self.items.get(usize::from(index))?.entry(sent)?;
        Some(Posting {
            id,
            account: entry.account.clone(),
            kind: entry.kind,
            amount: entry.amount,
            currency: entry.contra.currency,
            posted_after: entry.posted_after,
            available_after: entry.available_after,
            version: entry.version,
            reference: entry.reference.map(Text::from),
            metadata: entry.metadata.into(),
            link: entry.link,
            reversed_by: None,
            created_at: place.time,
        })
    }

    /// What the `index`-th command left under an id beside accounts; `None` when nothing.
    pub fn object(&self, service: ServiceTag, index: u16) -> Option<Object> {
        let Item { action, verdict, .. } = self.items.get(usize::from(index))?;
        object(action, verdict, Place::new(service, &self.header, index))
    }
}

/// What a decided action leaves under an id, in an item at this place.
pub(crate) fn object(action: &Action, verdict: &Verdict, place: Place) -> Option<Object> {
    match (verdict, action) {
        (Verdict::Held(_), Action::Hold(hold)) => Some(Object::Hold(place.hold(hold))),
        (Verdict::HoldEnded { hold, .. }, _) => Some(Object::Hold((**hold).clone())),
        (Verdict::Posted { .. }, Action::Reverse(reverse)) => Some(Object::Reversal {
            transaction: reverse.transaction,
            account: reverse.account.clone(),
            by: place.transaction(),
        }),
        (Verdict::Posted { .. }, Action::Send(send)) => {
            Some(Object::Transfer(place.transfer(send)))
        }
        (Verdict::Posted { .. }, Action::Receive(receive)) => Some(Object::Delivery {
            transfer: receive.transfer,
            account: receive.account.clone(),
            delivery: Delivery::Credited(place.transaction()),
        }),
        (Verdict::Delivered(delivery), Action::Receive(receive)) => Some(Object::Delivery {
            transfer: receive.transfer,
            account: receive.account.clone(),
            delivery: *delivery,
        }),
        (Verdict::Settled { transfer, .. }, _) => Some(Object::Transfer((**transfer).clone())),
        (
            Verdict::Opened
            | Verdict::Updated(_)
            | Verdict::Posted { .. }
            | Verdict::Refused(_)
            | Verdict::Held(_)
            | Verdict::Delivered(_),
            _,
        ) => None,
    }
}

/// The account that an action opens; `None` when it is another action.
pub(crate) fn opened(action: &Action, time: Timestamp) -> Option<AccountState> {
    let Action::Open { account, currency, overdraft_limit, metadata } = action else { return None };
    Some(AccountState {
        id: account.clone(),
        currency: *currency,
        status: wire::Status::Open,
        posted: 0,
        held: 0,
        overdraft_limit: *overdraft_limit,
        version: 0,
        metadata: metadata.clone(),
        created_at: time,
        updated_at: time,
    })
}
