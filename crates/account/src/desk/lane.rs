//! Where commands and reads wait for look-ups, in order per account.

use super::{Desk, Outbox, Ready, Waiting, key_reused};
use crate::lookup::{KeyLookup, Stored};
use ledger::{Known, Object, ObjectKey, Unsound, object::Sort};
use std::collections::VecDeque;
use wire::{AccountId, AccountState, Command, Reply, call::Failure};

/// What waits for look-ups about one account.
#[derive(Debug)]
pub(super) struct Lane<T> {
    /// The account itself was asked for and has not come.
    account_asked: bool,
    pub(super) queue: VecDeque<Parked<T>>,
    pub(super) reads: Vec<T>,
    /// Numbers of bundles that wait for the account itself.
    pub(super) bundles: Vec<u64>,
    /// Who waits for it in another lane: the account of that lane, and a ticket.
    others: Vec<(AccountId, u64)>,
}

impl<T> Lane<T> {
    fn is_empty(&self) -> bool {
        self.queue.is_empty()
            && self.reads.is_empty()
            && self.bundles.is_empty()
            && self.others.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Parked<T> {
    ticket: u64,
    key: KeyState,
    /// Look-ups besides that of its key and the lane's account that have not come back.
    missing: usize,
    pub(super) waiting: Waiting<T>,
}

/// Who waits for an object.
#[derive(Debug)]
pub(super) enum ObjectWait<T> {
    /// The parked command of this ticket, in the lane of this account.
    Parked(AccountId, u64),
    Read(T),
}

impl<T> ObjectWait<T> {
    pub(super) fn read(self) -> Option<T> {
        if let ObjectWait::Read(caller) = self { Some(caller) } else { None }
    }
}

#[derive(Debug)]
pub(super) enum KeyState {
    Asked,
    New,
    Used(Stored),
}

impl<T> Desk<T> {
    /// Answers with the account's committed state, after a look-up if need be.
    pub fn read(&mut self, caller: T, account: AccountId, out: &mut Outbox<T>) {
        match self.ledger.account(&account) {
            Known::Present(state) => out.answers.push((caller, Reply::Account(state.clone()))),
            Known::Absent => {
                out.answers.push((caller, Reply::Failed(Failure::NoSuchAccount)));
            }
            Known::Unknown => {
                self.lane(account, out).reads.push(caller);
            }
        }
    }

    /// Answers with an object's committed state, after a look-up if need be.
    pub fn read_object(&mut self, caller: T, key: ObjectKey, out: &mut Outbox<T>) {
        match self.ledger.object(key) {
            Known::Unknown => self.wait_for(key, ObjectWait::Read(caller), out),
            known @ (Known::Present(_) | Known::Absent) => {
                out.answers.push((caller, object_reply(key, known)));
            }
        }
    }

    pub(super) fn park(&mut self, mut waiting: Waiting<T>, out: &mut Outbox<T>) {
        waiting.forgotten = self.ledger.forgotten();
        let ticket = self.ticket_next;
        self.ticket_next += 1;
        let Command { key, origin, .. } = waiting.command;
        let account = waiting.command.action.account().clone();
        let key = if self.is_known_new(&waiting.command) {
            KeyState::New
        } else {
            let (partition, account) = (self.ledger.id(), account.clone());
            out.lookups.keys.push(KeyLookup { partition, account, ticket, key, origin });
            KeyState::Asked
        };
        self.push_parked(account, Parked { ticket, key, missing: 0, waiting }, out);
    }

    /// Puts a command at the end of its lane, and asks for what memory lacks of what it names.
    fn push_parked(&mut self, account: AccountId, mut parked: Parked<T>, out: &mut Outbox<T>) {
        let (ticket, command) = (parked.ticket, &parked.waiting.command);
        if let Some(other) = self.other_account(command).cloned()
            && matches!(self.ledger.account(&other), Known::Unknown)
        {
            parked.missing += 1;
            self.lane(other, out).others.push((account.clone(), ticket));
        }
        if let Some(key) = ObjectKey::wanted_by(&parked.waiting.command.action)
            && matches!(self.ledger.object(key), Known::Unknown)
        {
            parked.missing += 1;
            self.wait_for(key, ObjectWait::Parked(account.clone(), ticket), out);
        }
        self.lane(account, out).queue.push_back(parked);
    }

    /// At most one look-up of an object is under way.
    fn wait_for(&mut self, key: ObjectKey, wait: ObjectWait<T>, out: &mut Outbox<T>) {
        let waits = self.object_waits.entry(key).or_default();
        if waits.is_empty() {
            out.lookups.objects.push((self.ledger.id(), key));
        }
        waits.push(wait);
    }

    /// An object came from the views, or is not there.
    ///
    /// # Errors
    /// When the views are damaged: the node cannot go on.
    pub fn object_found(
        &mut self,
        key: ObjectKey,
        object: Option<Object>,
        out: &mut Outbox<T>,
    ) -> Result<(), Unsound> {
        self.ledger.admit_object(key, object)?;
        for wait in self.object_waits.remove(&key).unwrap_or_default() {
            match wait {
                ObjectWait::Parked(account, ticket) => self.learnt(&account, ticket, out),
                ObjectWait::Read(caller) => {
                    let reply = object_reply(key, self.ledger.object(key));
                    out.answers.push((caller, reply));
                }
            }
        }
        Ok(())
    }

    /// One of the look-ups that a parked command waits for came back.
    fn learnt(&mut self, account: &AccountId, ticket: u64, out: &mut Outbox<T>) {
        if let Some(lane) = self.lanes.get_mut(account)
            && let Ok(place) = lane.queue.binary_search_by_key(&ticket, |parked| parked.ticket)
        {
            lane.queue[place].missing -= 1;
            self.release(account, out);
        }
    }

    /// The account's lane, made if need be. At most one look-up of the account is under way.
    pub(super) fn lane(&mut self, account: AccountId, out: &mut Outbox<T>) -> &mut Lane<T> {
        let (partition, ledger) = (self.ledger.id(), &self.ledger);
        let missing = matches!(ledger.account(&account), Known::Unknown);
        let lane = self.lanes.entry_ref(&account).or_insert_with(|| Lane {
            account_asked: false,
            queue: VecDeque::new(),
            reads: Vec::new(),
            bundles: Vec::new(),
            others: Vec::new(),
        });
        if missing && !lane.account_asked {
            lane.account_asked = true;
            out.lookups.accounts.push((partition, account));
        }
        lane
    }

    /// An account came from the views, or is not there.
    ///
    /// # Errors
    /// When the views are damaged: the node cannot go on.
    pub fn account_found(
        &mut self,
        account: AccountId,
        state: Option<AccountState>,
        out: &mut Outbox<T>,
    ) -> Result<(), Unsound> {
        self.ledger.admit(account.clone(), state)?;
        if let Some(lane) = self.lanes.get_mut(&account) {
            lane.account_asked = false;
            for caller in std::mem::take(&mut lane.reads) {
                let reply = match self.ledger.account(&account) {
                    Known::Present(state) => Reply::Account(state.clone()),
                    Known::Absent | Known::Unknown => Reply::Failed(Failure::NoSuchAccount),
                };
                out.answers.push((caller, reply));
            }
            let others = std::mem::take(&mut lane.others);
            for number in std::mem::take(&mut lane.bundles) {
                self.bundle_learnt(number, out);
            }
            for (of, ticket) in others {
                self.learnt(&of, ticket, out);
            }
        }
        self.release(&account, out);
        Ok(())
    }

    /// A key was looked up: what was stored under it, or that it is new.
    pub fn key_found(
        &mut self,
        account: &AccountId,
        ticket: u64,
        stored: Option<Stored>,
        out: &mut Outbox<T>,
    ) {
        if let Some(lane) = self.lanes.get_mut(account)
            && let Ok(place) = lane.queue.binary_search_by_key(&ticket, |parked| parked.ticket)
        {
            lane.queue[place].key = stored.map_or(KeyState::New, KeyState::Used);
            return self.release(account, out);
        }
        if let Some(number) = self.bundles.key_found(ticket, stored) {
            self.bundle_learnt(number, out);
        }
    }

    /// Lets go of what no longer waits, from the front of the lane.
    fn release(&mut self, account: &AccountId, out: &mut Outbox<T>) {
        let Some(lane) = self.lanes.get_mut(account) else { return };
        if lane.account_asked {
            return;
        }
        let may_go = |it: &Parked<T>| it.missing == 0 && !matches!(it.key, KeyState::Asked);
        while lane.queue.front().is_some_and(may_go) {
            let parked = lane.queue.pop_front().expect("looked at in the line before");
            match parked.key {
                KeyState::Asked | KeyState::New => self.ready.push(Ready::One(parked.waiting)),
                KeyState::Used(stored) => {
                    let Waiting { caller, command, .. } = parked.waiting;
                    let reply = if stored.fingerprint == command.fingerprint {
                        Reply::Outcome(stored.outcome)
                    } else {
                        key_reused(command.request_id)
                    };
                    out.answers.push((caller, reply));
                }
            }
        }
        if lane.is_empty() {
            self.lanes.remove(account);
        }
    }

    /// Something that it names left memory between the look-up and the batch: ask for it once more. What is
    /// known of the key stays known, and is looked at again when it is staged.
    pub(super) fn park_again(&mut self, waiting: Waiting<T>, out: &mut Outbox<T>) {
        let ticket = self.ticket_next;
        self.ticket_next += 1;
        let account = waiting.command.action.account().clone();
        let parked = Parked { ticket, key: KeyState::New, missing: 0, waiting };
        self.push_parked(account, parked, out);
    }
}

/// What is told of an object that was asked for by its id.
fn object_reply(key: ObjectKey, known: Known<'_, Object>) -> Reply {
    match known {
        Known::Present(Object::Hold(hold)) => Reply::Hold(hold.clone()),
        Known::Present(Object::Transfer(transfer)) => Reply::Transfer(transfer.clone()),
        Known::Present(_) | Known::Absent | Known::Unknown => Reply::Failed(match key.sort {
            Sort::Hold => Failure::NoSuchHold,
            Sort::Transfer | Sort::Delivery => Failure::NoSuchTransfer,
            Sort::Reversal => Failure::NoSuchTransaction,
        }),
    }
}
