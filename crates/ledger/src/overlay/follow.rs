//! Follows the decisions of a record: takes their absolute figures, after a look whether they can
//! follow from the books at all. Asks no rule, so that a journal written under older rules still
//! replays.

use super::{Books, Effect, Mismatch, Overlay, change};
use crate::{
    entry::{self, Leg},
    object::{Object, ObjectKey},
    record::{Item, Left, Place, Verdict, opened},
    rules,
};
use wire::{AccountState, Action, Contra, Delivery, Hold, HoldStatus, Kind, Timestamp, Transfer};

const NO_ACCOUNT: Mismatch = Mismatch("changes an account that does not exist");
const OUT_OF_RANGE: Mismatch = Mismatch("a balance leaves its range");
const OTHER_FIGURES: Mismatch = Mismatch("leaves other figures than what it asked for makes");

impl Overlay {
    /// Follows the decision of the item at this place.
    pub(crate) fn follow(
        &mut self,
        books: &Books,
        slot: u32,
        item: &Item,
        place: Place,
    ) -> Result<(), Mismatch> {
        let account = self.state(books, slot);
        let time = place.time;
        match (&item.verdict, &item.action) {
            (Verdict::Refused(_), _) => Ok(()),
            (Verdict::Opened, Action::Open { .. }) => {
                if account.is_some() {
                    return Err(Mismatch("opens an account that exists"));
                }
                let state = opened(&item.action, time).expect("it opens");
                rules::sound(&state).map_err(|unsound| Mismatch(unsound.0))?;
                self.insert(slot, state);
                Ok(())
            }
            (Verdict::Updated(after), Action::Update(update)) => {
                let account = account.ok_or(NO_ACCOUNT)?;
                let mut expected = account.clone();
                change(&mut expected, update, time);
                if expected != *after {
                    return Err(Mismatch("an update leaves another state than it asked for"));
                }
                rules::sound(after).map_err(|unsound| Mismatch(unsound.0))?;
                self.touch(books, slot).clone_from(after);
                Ok(())
            }
            (Verdict::Posted { posted_after, available_after, version }, action) => {
                let figures = (*posted_after, i128::from(*available_after), *version);
                self.follow_posted(books, slot, (action, figures), time)?;
                self.keep_made(action, &item.verdict, place);
                Ok(())
            }
            (Verdict::Held(left), Action::Hold(hold)) => {
                let effect = Effect { leg: None, held: hold.amount.minor() };
                self.follow_effect(books, slot, (effect, *left), time)?;
                self.keep_made(&item.action, &item.verdict, place);
                Ok(())
            }
            (Verdict::HoldEnded { hold, left }, Action::EndHold(_)) => {
                self.follow_end(books, slot, (hold, *left), place)
            }
            (Verdict::Delivered(delivery), action @ Action::Receive(_)) => {
                self.follow_delivery(books, (action, *delivery), place)
            }
            (Verdict::Settled { transfer, left }, Action::Settle(_)) => {
                self.follow_settled(books, slot, (transfer, *left), time)
            }
            (
                Verdict::Opened
                | Verdict::Updated(_)
                | Verdict::Held(_)
                | Verdict::HoldEnded { .. }
                | Verdict::Delivered(_)
                | Verdict::Settled { .. },
                _,
            ) => Err(Mismatch("a verdict of another action")),
        }
    }

    fn follow_posted(
        &mut self,
        books: &Books,
        slot: u32,
        (action, figures): (&Action, (i64, i128, u64)),
        time: Timestamp,
    ) -> Result<(), Mismatch> {
        let leg = entry::leg(action).ok_or(Mismatch("a verdict of another action"))?;
        let account = self.state(books, slot).ok_or(NO_ACCOUNT)?;
        let after = posted(account, leg, time).ok_or(OUT_OF_RANGE)?;
        if (after.posted, after.available(), after.version) != figures {
            return Err(Mismatch("a posting leaves other figures than its amount makes"));
        }
        rules::sound(&after).map_err(|unsound| Mismatch(unsound.0))?;
        // What it makes must not be there yet.
        if ObjectKey::wanted_by(action).is_some_and(|key| self.object(books, key).is_some()) {
            return Err(Mismatch("does once more what was done before"));
        }
        self.book(books, leg.contra, leg.delta()).ok_or(OUT_OF_RANGE)?;
        *self.touch(books, slot) = after;
        Ok(())
    }

    fn follow_effect(
        &mut self,
        books: &Books,
        slot: u32,
        (effect, left): (Effect, Left),
        time: Timestamp,
    ) -> Result<(), Mismatch> {
        if self.state(books, slot).is_none() {
            return Err(NO_ACCOUNT);
        }
        let made = self.effect(books, slot, effect, time).ok_or(OUT_OF_RANGE)?;
        if made == left { Ok(()) } else { Err(OTHER_FIGURES) }
    }

    fn follow_end(
        &mut self,
        books: &Books,
        slot: u32,
        (hold, left): (&Hold, Left),
        place: Place,
    ) -> Result<(), Mismatch> {
        let object = Object::Hold(hold.clone());
        let active =
            Hold { captured: 0, status: HoldStatus::Active, transaction: None, ..hold.clone() };
        let debit = (hold.captured != 0).then(|| place.transaction());
        if self.object(books, object.key()) != Some(&Object::Hold(active))
            || hold.transaction != debit
        {
            return Err(Mismatch("ends a hold that is not active, or another one"));
        }
        let effect = Effect::of_end(hold).ok_or(OUT_OF_RANGE)?;
        self.follow_effect(books, slot, (effect, left), place.time)?;
        self.keep(object);
        Ok(())
    }

    fn follow_delivery(
        &mut self,
        books: &Books,
        (action, delivery): (&Action, Delivery),
        place: Place,
    ) -> Result<(), Mismatch> {
        let known = ObjectKey::wanted_by(action).and_then(|key| self.object(books, key));
        match (known, delivery) {
            (Some(Object::Delivery { delivery: known, .. }), _) if *known == delivery => Ok(()),
            (None, Delivery::Refused(_)) => {
                self.keep_made(action, &Verdict::Delivered(delivery), place);
                Ok(())
            }
            (Some(_), _) | (None, Delivery::Credited(_)) => {
                Err(Mismatch("a delivery is told otherwise than it was done"))
            }
        }
    }

    fn follow_settled(
        &mut self,
        books: &Books,
        slot: u32,
        (transfer, left): (&Transfer, Option<Left>),
        time: Timestamp,
    ) -> Result<(), Mismatch> {
        const OTHER: Mismatch = Mismatch("settles another transfer than was sent");
        let object = Object::Transfer(transfer.clone());
        let sent = Transfer { end: None, ..transfer.clone() };
        match self.object(books, object.key()) {
            Some(known) if *known == object && left.is_none() => return Ok(()),
            Some(known) if *known == Object::Transfer(sent) => (),
            Some(_) | None => return Err(OTHER),
        }
        match (transfer.end, left) {
            (Some((Delivery::Credited(_), at)), None) if at == time => (),
            (Some((Delivery::Refused(_), at)), Some(left)) if at == time => {
                let contra = Contra::transit(transfer.currency);
                let leg = Leg { kind: Kind::Credit, amount: transfer.amount, contra };
                let effect = Effect { leg: Some(leg), held: 0 };
                self.follow_effect(books, slot, (effect, left), time)?;
            }
            (Some(_) | None, _) => return Err(OTHER),
        }
        self.keep(object);
        Ok(())
    }
}

fn posted(account: &AccountState, leg: Leg, time: Timestamp) -> Option<AccountState> {
    if account.currency != leg.contra.currency {
        return None;
    }
    let posted = account.posted.checked_add(leg.delta())?;
    let version = super::next(account.version);
    Some(AccountState { posted, version, updated_at: time, ..account.clone() })
}
