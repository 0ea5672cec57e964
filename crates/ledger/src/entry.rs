//! A debit or credit: what an action asks to be booked, and what an item has booked.

use crate::record::{Item, Verdict};
use wire::{
    AccountId, Action, Amount, Contra, Kind, Link, TransferId, command::Post, reversal::Reverse,
};

/// What is to be booked on an account, and on the contra account the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leg {
    pub kind: Kind,
    pub amount: Amount,
    pub contra: Contra,
}

impl Leg {
    /// What it adds to the account, and takes from the contra account: minor units.
    pub(crate) fn delta(self) -> i64 {
        let amount = self.amount.minor();
        match self.kind {
            Kind::Credit => amount,
            Kind::Debit => amount.checked_neg().expect("an amount is positive"),
        }
    }
}

/// The leg that an action asks for by itself; `None` when it asks for none, or the object that it
/// names says which.
pub(crate) fn leg(action: &Action) -> Option<Leg> {
    Some(match action {
        Action::Post(post) => {
            Leg { kind: post.kind, amount: post.amount, contra: Contra::external(post.currency) }
        }
        Action::Reverse(Reverse { kind, amount, currency, .. }) => Leg {
            kind: match kind {
                Kind::Debit => Kind::Credit,
                Kind::Credit => Kind::Debit,
            },
            amount: *amount,
            contra: Contra::external(*currency),
        },
        Action::Send(send) => {
            Leg { kind: Kind::Debit, amount: send.amount, contra: Contra::transit(send.currency) }
        }
        Action::Receive(receive) => Leg {
            kind: Kind::Credit,
            amount: receive.amount,
            contra: Contra::transit(receive.currency),
        },
        Action::Open { .. }
        | Action::Update(_)
        | Action::Hold(_)
        | Action::EndHold(_)
        | Action::Settle(_) => return None,
    })
}

/// What an item has booked, with the figures that it left. Minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub account: &'a AccountId,
    pub kind: Kind,
    pub amount: Amount,
    pub contra: Contra,
    pub posted_after: i64,
    pub available_after: i64,
    pub version: u64,
    pub reference: Option<&'a str>,
    pub metadata: &'a str,
    pub link: Option<Link>,
}

impl Item {
    /// What it booked, if anything. `sent`: the transfer that is named for the item's place.
    pub fn entry(&self, sent: TransferId) -> Option<Entry<'_>> {
        let account = self.action.account();
        let (leg, (posted_after, available_after, version)) = match &self.verdict {
            Verdict::Posted { posted_after, available_after, version } => {
                (leg(&self.action)?, (*posted_after, *available_after, *version))
            }
            Verdict::HoldEnded { hold, left } => {
                let (kind, contra) = (Kind::Debit, Contra::external(hold.currency));
                let amount = Amount::new(hold.captured)?;
                (Leg { kind, amount, contra }, (left.posted, left.available, left.version))
            }
            Verdict::Settled { transfer, left } => {
                let left = (*left)?;
                let (kind, contra) = (Kind::Credit, Contra::transit(transfer.currency));
                let amount = transfer.amount;
                (Leg { kind, amount, contra }, (left.posted, left.available, left.version))
            }
            Verdict::Opened
            | Verdict::Updated(_)
            | Verdict::Refused(_)
            | Verdict::Held(_)
            | Verdict::Delivered(_) => return None,
        };
        let Leg { kind, amount, contra } = leg;
        let (mut reference, mut metadata) = (None, NO_METADATA);
        if let Action::Post(Post { reference: its, metadata: given, .. }) = &self.action {
            (reference, metadata) = (its.as_deref(), given);
        }
        let link = link(&self.action, sent);
        Some(Entry {
            account,
            kind,
            amount,
            contra,
            posted_after,
            available_after,
            version,
            reference,
            metadata,
            link,
        })
    }
}

/// An empty object, as compact JSON text.
const NO_METADATA: &str = "{}";

fn link(action: &Action, sent: TransferId) -> Option<Link> {
    match action {
        Action::EndHold(end) => Some(Link::Hold(end.hold)),
        Action::Reverse(reverse) => Some(Link::Reverses(reverse.transaction)),
        Action::Send(_) => Some(Link::Transfer(sent)),
        Action::Receive(receive) => Some(Link::Transfer(receive.transfer)),
        Action::Settle(settle) => Some(Link::Transfer(settle.transfer)),
        Action::Open { .. } | Action::Update(_) | Action::Post(_) | Action::Hold(_) => None,
    }
}
