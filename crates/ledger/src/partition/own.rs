//! What a partition's owner does by itself: it lets go holds whose time is up, and delivers transfers
//! that stay within the partition.

use super::{Batch, IN_MEMORY, Partition};
use crate::record::{Item, Verdict};
use wire::{
    Action, Command, Delivery, Fingerprint, KeyHash, Refused, ServiceTag, Text, Timestamp,
    Transfer,
    command::KeyOrigin,
    hold::{EndHold, HoldEnd},
    transfer::Party,
};

impl Partition {
    /// Commands that let go the holds whose time is up at `now`, at most `max`. Their keys follow
    /// from the holds.
    pub fn expiries(&self, now: Timestamp, max: usize) -> impl Iterator<Item = Command> {
        let time = self.time(now);
        self.books.objects.due(time).take(max).map(move |hold| {
            let (account, how) = (hold.account.clone(), HoldEnd::Expire);
            let action = Action::EndHold(EndHold { account, hold: hold.id, how });
            own_command("expire", hold.id.bits(), time, action)
        })
    }

    /// Whether this account is of this partition.
    pub fn has(&self, party: &Party) -> bool {
        ServiceTag::of(&party.service) == self.service
            && self.siblings.is_some_and(|count| party.account.partition(count) == self.id)
    }

    /// Delivers a transfer that was just sent to an account of this very partition, and settles it:
    /// the steps that it would take to any other, in one record.
    pub(super) fn deliver(&self, batch: &mut Batch, transfer: &Transfer) {
        let time = batch.header.time;
        let receive = Action::Receive(transfer.receive());
        let place = batch.place(self.service);
        let verdict = self.execute_own(batch, &receive);
        let delivery = match &verdict {
            Verdict::Delivered(delivery) => *delivery,
            Verdict::Opened
            | Verdict::Updated(_)
            | Verdict::Posted { .. }
            | Verdict::Refused(_)
            | Verdict::Held(_)
            | Verdict::HoldEnded { .. }
            | Verdict::Settled { .. } => Delivery::Credited(place.transaction()),
        };
        let command = own_command("receive", transfer.id.bits(), time, receive);
        _ = batch.push(Item::new(command, verdict));
        let settle = Action::Settle(transfer.settle(delivery));
        let verdict = self.execute_own(batch, &settle);
        let command = own_command("settle", transfer.id.bits(), time, settle);
        _ = batch.push(Item::new(command, verdict));
    }

    fn execute_own(&self, batch: &mut Batch, action: &Action) -> Verdict {
        let slot = self.books.accounts.find(action.account()).expect(IN_MEMORY);
        let place = batch.place(self.service);
        let decided = batch.overlay.execute(&self.books, slot, action, place);
        decided.unwrap_or_else(|refusal| {
            Verdict::Refused(Refused { refusal, request_id: Text::default() })
        })
    }
}

/// Whether an action leaves something open: see [`crate::object::OPEN_MAX`].
pub fn opens(action: &Action) -> bool {
    matches!(action, Action::Hold(_) | Action::Send(_))
}

/// Items that a command may come to: a transfer within the partition is sent, received and settled.
pub fn weight(action: &Action) -> usize {
    if matches!(action, Action::Send(_)) { 3 } else { 1 }
}

/// A command of the partition's owner's own. The same for the same purpose and object, so that it
/// is not done twice however often it is asked for.
fn own_command(purpose: &str, bits: u128, minted_at: Timestamp, action: Action) -> Command {
    let fingerprint = Fingerprint::new(purpose, "", &bits.to_le_bytes());
    Command {
        key: KeyHash::own(purpose, bits),
        origin: KeyOrigin::Minted,
        minted_at,
        fingerprint,
        request_id: Text::default(),
        action,
    }
}
