//! Commands that stand or fall together, while they wait for look-ups: an atomic batch.
//!
//! A bundle waits for its own accounts and keys and holds up nobody: it stands in no lane. Its
//! order among other commands is that in which it becomes ready.

use super::{Desk, Outbox, Ready, key_reused, lane::KeyState};
use crate::lookup::{KeyLookup, RecordLookup, Stored};
use ledger::Known;
use std::collections::BTreeMap;
use stdx::Moment;
use wire::{Command, KeyHash, Reply, Seq, call::Failure, command::KeyOrigin};

/// Commands of one partition that are all done or all refused.
#[derive(Debug)]
pub(super) struct Bundle<T> {
    pub(super) parts: Vec<Part<T>>,
    pub(super) deadline: Moment,
    /// As of a single command: what memory had forgotten when the keys were asked for.
    pub(super) forgotten: Seq,
    /// Look-ups that have not come back.
    missing: usize,
}

#[derive(Debug)]
pub(super) struct Part<T> {
    pub(super) caller: T,
    pub(super) command: Command,
    key: KeyState,
}

/// The bundles that are parked.
#[derive(Debug)]
pub(super) struct Bundles<T> {
    parked: BTreeMap<u64, Bundle<T>>,
    /// Which bundle and which part of it a look-up of a key is for, by its ticket.
    tickets: BTreeMap<u64, (u64, usize)>,
    number_next: u64,
}

impl<T> Default for Bundles<T> {
    fn default() -> Bundles<T> {
        Bundles { parked: BTreeMap::new(), tickets: BTreeMap::new(), number_next: 0 }
    }
}

impl<T> Bundles<T> {
    /// Takes in what was stored under a key; which bundle asked for it.
    pub(super) fn key_found(&mut self, ticket: u64, stored: Option<Stored>) -> Option<u64> {
        let (number, at) = self.tickets.remove(&ticket)?;
        let part = self.parked.get_mut(&number)?.parts.get_mut(at)?;
        part.key = stored.map_or(KeyState::New, KeyState::Used);
        Some(number)
    }

    /// Gives all of them up.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Bundle<T>> + use<T> {
        self.tickets.clear();
        std::mem::take(&mut self.parked).into_values()
    }
}

impl<T> Bundle<T> {
    /// Who asked, and under which keys.
    pub(super) fn askers(self) -> impl Iterator<Item = (T, KeyHash)> {
        self.parts.into_iter().map(|part| (part.caller, part.command.key))
    }

    pub(super) fn fail(self, failure: Failure, out: &mut Outbox<T>) {
        out.answers.extend(self.askers().map(|(caller, _)| (caller, Reply::Failed(failure))));
    }

    /// The keys were used before, for something else or for something that was not all of this.
    fn reused(self, out: &mut Outbox<T>) {
        let told = |part: Part<T>| (part.caller, key_reused(part.command.request_id));
        out.answers.extend(self.parts.into_iter().map(told));
    }
}

impl<T> Desk<T> {
    /// Takes commands in that stand or fall together.
    pub(crate) fn execute_together(
        &mut self,
        commands: Vec<(T, Command)>,
        deadline: Moment,
        out: &mut Outbox<T>,
    ) {
        let part = |(caller, command)| Part { caller, command, key: KeyState::New };
        let parts: Vec<_> = commands.into_iter().map(part).collect();
        let bundle = Bundle { parts, deadline, forgotten: Seq(0), missing: 0 };
        let used: Vec<_> = bundle.parts.iter().map(|it| self.ledger.key(it.command.key)).collect();
        if used.iter().all(Option::is_none) {
            return self.park_bundle(bundle, false, out);
        }
        let mut pairs = used.iter().zip(&bundle.parts);
        if !pairs
            .all(|(used, part)| used.is_some_and(|it| it.fingerprint == part.command.fingerprint))
        {
            return bundle.reused(out);
        }
        let partition = self.ledger.id();
        let entries = used.into_iter().flatten();
        out.lookups.records.extend(bundle.askers().zip(entries).map(|((caller, _), entry)| {
            RecordLookup { caller, partition, seq: entry.seq, index: entry.index }
        }));
    }

    /// Asks for all that the bundle needs and memory does not have. Without any it is ready.
    /// `after_all`: also for minted keys, which were held up, or clocks differ.
    pub(super) fn park_bundle(
        &mut self,
        mut bundle: Bundle<T>,
        after_all: bool,
        out: &mut Outbox<T>,
    ) {
        bundle.forgotten = self.ledger.forgotten();
        bundle.missing = 0;
        let number = self.bundles.number_next;
        self.bundles.number_next += 1;
        let partition = self.ledger.id();
        for (at, part) in bundle.parts.iter_mut().enumerate() {
            let command = &mut part.command;
            let account = command.action.account().clone();
            if after_all && command.origin == KeyOrigin::Minted {
                command.origin = KeyOrigin::Returned(command.minted_at);
                command.minted_at = wire::Timestamp(0);
            }
            part.key = match command.origin {
                KeyOrigin::Minted => KeyState::New,
                origin @ (KeyOrigin::Client | KeyOrigin::Returned(_)) => {
                    let ticket = self.ticket_next;
                    self.ticket_next += 1;
                    let (key, account) = (command.key, account.clone());
                    out.lookups.keys.push(KeyLookup { partition, account, ticket, key, origin });
                    self.bundles.tickets.insert(ticket, (number, at));
                    bundle.missing += 1;
                    KeyState::Asked
                }
            };
            if matches!(self.ledger.account(&account), Known::Unknown) {
                let lane = self.lane(account, out);
                if lane.bundles.last() != Some(&number) {
                    lane.bundles.push(number);
                    bundle.missing += 1;
                }
            }
        }
        if bundle.missing == 0 {
            self.ready.push(Ready::Together(bundle));
        } else {
            self.bundles.parked.insert(number, bundle);
        }
    }

    /// A look-up for this bundle came back.
    pub(super) fn bundle_learnt(&mut self, number: u64, out: &mut Outbox<T>) {
        let Some(bundle) = self.bundles.parked.get_mut(&number) else { return };
        bundle.missing -= 1;
        if bundle.missing != 0 {
            return;
        }
        let Some(bundle) = self.bundles.parked.remove(&number) else { return };
        if !bundle.parts.iter().any(|part| matches!(part.key, KeyState::Used(_))) {
            return self.ready.push(Ready::Together(bundle));
        }
        let same = |part: &Part<T>| match &part.key {
            KeyState::Used(stored) => stored.fingerprint == part.command.fingerprint,
            KeyState::Asked | KeyState::New => false,
        };
        if !bundle.parts.iter().all(same) {
            return bundle.reused(out);
        }
        out.answers.extend(bundle.parts.into_iter().filter_map(|part| match part.key {
            KeyState::Used(Stored { outcome, .. }) => Some((part.caller, Reply::Outcome(outcome))),
            KeyState::Asked | KeyState::New => None,
        }));
    }
}
