//! Decides one action after another on the overlay, by the rules.

use super::{Books, Effect, Overlay, change};
use crate::{
    entry::{self, Leg},
    object::{Object, ObjectKey, Sort},
    record::{Place, Verdict, opened},
    rules,
};
use wire::{
    Action, Contra, Delivery, Hold, HoldStatus, Kind, Refusal,
    hold::{EndHold, HoldEnd},
    transfer::{Receive, Settle},
};

impl Overlay {
    /// Decides one action on the account in `slot`; `place` is that of its item. A refusal leaves
    /// no trace, but for that of a delivery: that is what was done at the target.
    pub(crate) fn execute(
        &mut self,
        books: &Books,
        slot: u32,
        action: &Action,
        place: Place,
    ) -> Result<Verdict, Refusal> {
        match action {
            // First what nearly everybody asks for.
            Action::Post(_) => {
                let leg = entry::leg(action).expect("a posting has one");
                self.post(books, slot, leg, place)
            }
            Action::Open { overdraft_limit, .. } => {
                assert!(0 <= *overdraft_limit); // The decoder refuses others.
                rules::check_open(self.state(books, slot))?;
                self.insert(slot, opened(action, place.time).expect("it opens"));
                Ok(Verdict::Opened)
            }
            Action::Update(update) => {
                assert!(update.overdraft_limit.is_none_or(|limit| 0 <= limit));
                let is_awaiting = || self.is_awaiting(books, &update.account);
                rules::check_update(self.state(books, slot), update, is_awaiting)?;
                let state = self.touch(books, slot);
                change(state, update, place.time);
                Ok(Verdict::Updated(state.clone()))
            }
            Action::Hold(hold) => {
                rules::check_hold(self.state(books, slot), hold)?;
                let effect = Effect { leg: None, held: hold.amount.minor() };
                let left = self.effect(books, slot, effect, place.time);
                let left = left.ok_or(Refusal::BalanceOverflow)?;
                self.keep(Object::Hold(place.hold(hold)));
                Ok(Verdict::Held(left))
            }
            Action::EndHold(end) => self.end_hold(books, slot, end, place),
            Action::Reverse(_) | Action::Send(_) => {
                let leg = entry::leg(action).expect("these have one");
                if let Some(Object::Reversal { by, .. }) =
                    ObjectKey::wanted_by(action).and_then(|key| self.object(books, key))
                {
                    return Err(Refusal::AlreadyReversed { by: *by });
                }
                let verdict = self.post(books, slot, leg, place)?;
                self.keep_made(action, &verdict, place);
                Ok(verdict)
            }
            Action::Receive(receive) => Ok(self.receive(books, slot, (action, receive), place)),
            Action::Settle(settle) => self.settle(books, slot, settle, place),
        }
    }

    /// A debit or credit.
    fn post(
        &mut self,
        books: &Books,
        slot: u32,
        leg: Leg,
        place: Place,
    ) -> Result<Verdict, Refusal> {
        let after = rules::check_post(self.state(books, slot), leg)?;
        self.book(books, leg.contra, leg.delta()).ok_or(Refusal::BalanceOverflow)?;
        let state = self.touch(books, slot);
        state.posted = after.posted;
        state.updated_at = place.time;
        state.version = super::next(state.version);
        let version = state.version;
        let (posted_after, available_after) = (after.posted, after.available);
        Ok(Verdict::Posted { posted_after, available_after, version })
    }

    fn end_hold(
        &mut self,
        books: &Books,
        slot: u32,
        end: &EndHold,
        place: Place,
    ) -> Result<Verdict, Refusal> {
        let key = ObjectKey { sort: Sort::Hold, bits: end.hold.bits() };
        let hold = match self.object(books, key) {
            Some(Object::Hold(hold)) => Some(hold),
            Some(Object::Transfer(_) | Object::Delivery { .. } | Object::Reversal { .. })
            | None => None,
        };
        let state = self.state(books, slot);
        let (hold, captured) = rules::check_end(state, hold, end, place.time)?;
        let hold = Hold {
            captured: captured.map_or(0, |amount| amount.minor()),
            status: match end.how {
                HoldEnd::Capture(_) => HoldStatus::Captured,
                HoldEnd::Release => HoldStatus::Released,
                HoldEnd::Expire => HoldStatus::Expired,
            },
            transaction: captured.map(|_| place.transaction()),
            ..hold.clone()
        };
        let effect = Effect::of_end(&hold).ok_or(Refusal::BalanceOverflow)?;
        let left = self.effect(books, slot, effect, place.time);
        let left = left.ok_or(Refusal::BalanceOverflow)?;
        self.keep(Object::Hold(hold.clone()));
        Ok(Verdict::HoldEnded { hold: Box::new(hold), left })
    }

    /// Decides once and for ever whether the target takes the money of a transfer.
    fn receive(
        &mut self,
        books: &Books,
        slot: u32,
        (action, receive): (&Action, &Receive),
        place: Place,
    ) -> Verdict {
        let key = ObjectKey { sort: Sort::Delivery, bits: receive.transfer.bits() };
        if let Some(Object::Delivery { delivery, .. }) = self.object(books, key) {
            return Verdict::Delivered(*delivery);
        }
        let leg = entry::leg(action).expect("what is received is a credit");
        let verdict = match self.post(books, slot, leg, place) {
            Ok(verdict) => verdict,
            Err(refusal) => Verdict::Delivered(Delivery::Refused(refusal.code())),
        };
        self.keep_made(action, &verdict, place);
        verdict
    }

    /// The source learns what the target did; what it refused is credited back.
    fn settle(
        &mut self,
        books: &Books,
        slot: u32,
        settle: &Settle,
        place: Place,
    ) -> Result<Verdict, Refusal> {
        let key = ObjectKey { sort: Sort::Transfer, bits: settle.transfer.bits() };
        let Some(Object::Transfer(transfer)) = self.object(books, key) else {
            return Err(Refusal::NoSuchTransfer);
        };
        if transfer.from.account != settle.account {
            return Err(Refusal::NoSuchTransfer);
        }
        let mut transfer = Box::new(transfer.clone());
        if transfer.end.is_some() {
            return Ok(Verdict::Settled { transfer, left: None });
        }
        let left = match settle.delivery {
            Delivery::Credited(_) => None,
            Delivery::Refused(_) => {
                let (kind, amount) = (Kind::Credit, transfer.amount);
                let leg = Leg { kind, amount, contra: Contra::transit(transfer.currency) };
                rules::check_post(self.state(books, slot), leg)?;
                let effect = Effect { leg: Some(leg), held: 0 };
                let left = self.effect(books, slot, effect, place.time);
                Some(left.ok_or(Refusal::BalanceOverflow)?)
            }
        };
        transfer.end = Some((settle.delivery, place.time));
        self.keep(Object::Transfer((*transfer).clone()));
        Ok(Verdict::Settled { transfer, left })
    }

    /// Keeps what a done action made, if it made anything.
    pub(super) fn keep_made(&mut self, action: &Action, verdict: &Verdict, place: Place) {
        if let Some(object) = crate::record::object(action, verdict, place) {
            self.keep(object);
        }
    }

    pub(super) fn keep(&mut self, object: Object) {
        self.objects.insert(object.key(), object);
    }
}

impl Effect {
    /// What the end of a hold does: nothing of it is held any more, and what was captured is
    /// debited.
    pub(super) fn of_end(hold: &Hold) -> Option<Effect> {
        let held = hold.amount.minor().checked_neg()?;
        let contra = Contra::external(hold.currency);
        let amount = wire::Amount::new(hold.captured);
        Some(Effect { leg: amount.map(|amount| Leg { kind: Kind::Debit, amount, contra }), held })
    }
}
