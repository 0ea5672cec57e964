//! From a request to what is asked of the ledger, or to what is wrong with it.

use super::{
    answer::Answer,
    ask::Ask,
    batch, body, cursor, describe,
    events::{self, Events},
    guests::{Guest, Guests, Pass},
    headers,
    job::{Job, Question},
    limits::LISTENERS_MAX,
    mistake::{Mistake, clip},
    params::{Allowed, Params},
    route::{Asked, Between, Change, NotAsked, OfService, Read, Route, Transfers},
    service::{self, Service},
    several::Several,
    statement::{Format, Statement, Wanted},
    transfers::Transferring,
};
use crate::escapes::unescaped;
use net::{clock, ids};
use std::{cell::RefCell, pin::Pin, rc::Rc, time::Duration};
use stdx::Moment;
use wire::{
    AccountId, Action, Call, Caller, Code, Command, Fingerprint, HoldId, KeyHash, PartitionId,
    Text, Timestamp, TransactionId,
    command::KeyOrigin,
    frame::Headers,
    hold::{EndHold, HoldEnd},
    id::base32,
    query::{Filter, History, Listing, Query},
    reversal::Reversal,
};

/// A request to the public API, whichever way it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// With the query.
    pub(super) path: &'a str,
    pub(super) headers: Headers<'a>,
    pub(super) body: &'a [u8],
    /// Idempotency key; of use for commands only.
    pub(super) key: &'a [u8],
    pub(super) minted: bool,
    pub(super) request_id: &'a str,
    /// Attempts of the tiers in front.
    pub(super) attempts: u8,
    /// Time until nobody wants the answer.
    pub(super) left: Duration,
    pub(super) trace: &'a str,
}

/// What to do about a request.
pub(super) enum Step {
    Answer(Answer),
    Ask(Job),
    /// An answer that goes on for as long as somebody listens.
    Listen(Events),
    /// Several questions, one answer.
    Work(Pin<Box<dyn Future<Output = Answer>>>),
}

/// What a request is checked against.
pub(super) struct Desk {
    /// Others after a reload, and when somebody made or revoked a key.
    pub(super) guests: RefCell<Guests>,
    pub(super) services: Vec<Rc<Service>>,
    /// Held by everybody who listens to events.
    pub(super) listening: Rc<()>,
}

impl Desk {
    /// Takes a request. What is wrong with it is told without a wait.
    pub(super) fn take(&self, request: &Request<'_>) -> Step {
        match self.check(request) {
            Ok(step) => step,
            Err(NotAsked::Method(allow)) if request.method == "OPTIONS" => {
                Step::Answer(Answer::options(allow))
            }
            Err(NotAsked::Method(allow)) => {
                Step::Answer(Answer::method_not_allowed(allow, request.request_id))
            }
            Err(NotAsked::Mistake(mistake)) => {
                Step::Answer(Answer::mistake(&mistake, request.request_id))
            }
        }
    }

    /// The order of the rungs is part of the contract: the first that fails is the answer.
    fn check(&self, request: &Request<'_>) -> Result<Step, NotAsked> {
        let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
        let path = &*unescaped(path);
        if let Some(page) = describe::answer(request.method, path) {
            return page.map(Step::Answer);
        }
        let guests = self.guests.borrow();
        let guest = guests.admit(request.headers)?;
        let route = Route::of(path).ok_or_else(|| {
            let detail = format!("there is nothing at {:?}; /docs lists what there is", clip(path));
            Mistake::new(Code::NoSuchRoute, detail)
        })?;
        match route {
            Route::OfService(of) => self.of_service(of, guest, request, (path, query)),
            Route::Transfers(of) => self.of_transfers(of, guest, request, (path, query)),
        }
    }

    fn of_service(
        &self,
        of: OfService<'_>,
        guest: &Guest,
        request: &Request<'_>,
        (path, query): (&str, &str),
    ) -> Result<Step, NotAsked> {
        guest.enter(of.service)?;
        let service = self.service(of.service)?;
        let asked = of.asked(request.method)?;
        match &asked {
            Asked::Change(_) | Asked::Batch => guest.may_change()?,
            Asked::Read(_) | Asked::Statement(_) | Asked::Events => (),
        }
        // Only of a statement the query has a say in what is served.
        let accepts = |format: Format| headers::check_accept(request.headers, format.media_type());
        let is_json = !matches!(asked, Asked::Statement(_) | Asked::Events);
        is_json.then(|| accepts(Format::Json)).transpose()?;
        let params = Params::read(query, allowed_in(&asked))?;
        let format = params.format.unwrap_or_default();
        if let Asked::Statement(_) = asked {
            accepts(format)?;
        }
        let (question, call) = match asked {
            Asked::Batch => {
                let sender = Sender::of(request, guest.caller, path)?;
                let batch = batch::read(service, &sender, request.body)?;
                let several = Several::new(service, batch, deadline(request), request);
                return Ok(Step::Work(Box::pin(async move { several.answer().await })));
            }
            Asked::Statement(account) => {
                let Filter { from, to, .. } = params.filter;
                let wanted = Wanted { account, from, to, format };
                let statement = Statement::new(service, wanted, deadline(request), request)?;
                return Ok(Step::Work(Box::pin(statement.answer())));
            }
            Asked::Change(change) => {
                let sender = Sender::of(request, guest.caller, path)?;
                let (partition, call) = changing(service, &sender, change, request.body)?;
                (Question::Command(partition), call)
            }
            Asked::Events => return Ok(self.events(service, guest, request, params)?),
            Asked::Read(read) => {
                let (question, query) = question(service, read, params)?;
                (question, Call::Query(query))
            }
        };
        Ok(ask(service, question, &call, request))
    }

    fn events(
        &self,
        service: &Rc<Service>,
        guest: &Guest,
        request: &Request<'_>,
        params: Params,
    ) -> Result<Step, Mistake> {
        headers::check_accept(request.headers, events::CONTENT_TYPE)?;
        if LISTENERS_MAX < Rc::strong_count(&self.listening) {
            return Ok(Step::Answer(Answer::overloaded(request.request_id)));
        }
        // What a client that was cut off heard last goes before what it asked for at first.
        let heard = request.headers.get("last-event-id").map(|it| std::str::from_utf8(it));
        let heard = heard.and_then(Result::ok).filter(|it| !it.is_empty());
        let after = heard.or(params.after.as_deref()).filter(|it| *it != events::BEGINNING);
        let pass = Pass::of(guest);
        let events = Events::new(service, after, pass, Rc::clone(&self.listening))?;
        Ok(if request.method == "HEAD" {
            Step::Answer(Answer::stream())
        } else {
            Step::Listen(events)
        })
    }

    fn of_transfers(
        &self,
        of: Transfers<'_>,
        guest: &Guest,
        request: &Request<'_>,
        (path, query): (&str, &str),
    ) -> Result<Step, NotAsked> {
        let asked = of.asked(request.method)?;
        if asked == Between::Transfer {
            guest.may_change()?;
        }
        headers::check_accept(request.headers, Format::Json.media_type())?;
        Params::read(query, Allowed::None)?;
        match asked {
            Between::Transfer => {
                let sender = Sender::of(request, guest.caller, path)?;
                let send = body::send(request.body)?;
                for party in [&send.from, &send.to] {
                    guest.enter(&party.service)?;
                    self.service(&party.service)?;
                }
                let send = sender.whole(request.body, Action::Send(Box::new(send)));
                let services = self.services.clone();
                let transfer = Transferring::new(services, send, deadline(request), request);
                Ok(Step::Work(Box::pin(transfer.answer())))
            }
            Between::Show(id) => {
                let is_its = |it: &&Rc<Service>| it.is_place(id.service(), id.partition());
                let service = self.services.iter().find(is_its).ok_or_else(|| {
                    Mistake::new(Code::NoSuchTransfer, "there is no transfer of this id")
                })?;
                guest.enter(&service.name)?;
                let call = Call::Query(Query::Transfer(id));
                Ok(ask(service, Question::Transfer(id.partition()), &call, request))
            }
        }
    }

    fn service(&self, name: &str) -> Result<&Rc<Service>, Mistake> {
        self.services.iter().find(|service| *service.name == *name).ok_or_else(|| {
            let detail = format!("there is no account service {:?}", clip(name));
            Mistake::new(Code::NoSuchService, detail)
        })
    }
}

fn deadline(request: &Request<'_>) -> Moment {
    service::before_deadline(clock::now(), request.left)
}

/// One question to one service.
fn ask(service: &Rc<Service>, question: Question, call: &Call, request: &Request<'_>) -> Step {
    Step::Ask(Job {
        service: Rc::clone(service),
        question,
        ask: Ask::new(call, deadline(request), request.attempts, request.trace),
        request_id: request.request_id.into(),
    })
}

/// Who decides a change, and what is asked of him.
fn changing(
    service: &Service,
    sender: &Sender<'_>,
    change: Change,
    body: &[u8],
) -> Result<(PartitionId, Call), Mistake> {
    let of_hold = |account: AccountId, hold: HoldId, how| {
        check_hold(service, &account, hold)?;
        Ok(Action::EndHold(EndHold { account, hold, how }))
    };
    let action = match change {
        Change::Open => {
            let opening = body::opening(body)?;
            let derived = || derived_id(sender.caller, &service.name, sender.key);
            Action::Open {
                account: opening.account.unwrap_or_else(derived),
                currency: opening.currency,
                overdraft_limit: opening.overdraft_limit,
                metadata: opening.metadata,
            }
        }
        Change::Update(account) => Action::Update(body::update(account, body)?),
        Change::Post(kind, account) => Action::Post(body::post(account, kind, body)?),
        Change::Hold(account) => Action::Hold(body::hold(account, body)?),
        Change::Capture(account, hold) => {
            let amount = body::capture(body)?;
            of_hold(account, hold, HoldEnd::Capture(amount))?
        }
        Change::Release(account, hold) => {
            body::nothing(body)?;
            of_hold(account, hold, HoldEnd::Release)?
        }
        Change::Reverse(transaction) => {
            body::nothing(body)?;
            let partition = place_of(service, transaction)?;
            return Ok((partition, Call::Reverse(sender.reversal(transaction, body))));
        }
    };
    let partition = action.account().partition(service.partitions);
    Ok((partition, Call::Execute(sender.whole(body, action))))
}

/// A hold is where its account is.
fn check_hold(service: &Service, account: &AccountId, hold: HoldId) -> Result<(), Mistake> {
    let partition = account.partition(service.partitions);
    if (hold.service(), hold.partition()) == (service.tag, partition) {
        return Ok(());
    }
    Err(Mistake::new(Code::NoSuchHold, "the account has no hold of this id"))
}

/// The partition that has a transaction.
fn place_of(service: &Service, id: TransactionId) -> Result<PartitionId, Mistake> {
    if service.is_place(id.service(), id.partition()) {
        return Ok(id.partition());
    }
    let detail = "there is no transaction of this id in this service";
    Err(Mistake::new(Code::NoSuchTransaction, detail))
}

/// Who sends a change, and under which key: what all commands that it leads to have of it.
#[derive(Clone, Debug)]
pub(super) struct Sender<'a> {
    pub(super) method: &'a str,
    /// Without the query.
    pub(super) path: &'a str,
    pub(super) caller: Caller,
    pub(super) key: &'a [u8],
    pub(super) origin: KeyOrigin,
    request_id: Text,
}

impl<'a> Sender<'a> {
    /// Looks at the key and the type of the body.
    fn of(request: &Request<'a>, caller: Caller, path: &'a str) -> Result<Sender<'a>, Mistake> {
        let Request { method, key, request_id, .. } = *request;
        let origin = headers::key_origin(key, request.minted, ids::minted_at)?;
        if !request.body.is_empty() {
            headers::check_content_type(request.headers)?;
        }
        Ok(Sender { method, path, caller, key, origin, request_id: request_id.into() })
    }

    /// The command that a request with this body is as a whole.
    fn whole(&self, body: &[u8], action: Action) -> Command {
        let fingerprint = Fingerprint::new(self.method, self.path, body);
        self.command(self.key, self.origin, fingerprint, action)
    }

    /// The reversal that a request with this body is.
    fn reversal(&self, transaction: TransactionId, body: &[u8]) -> Reversal {
        let scope = AccountId::parse(&transaction.to_string());
        let scope = scope.expect("made of letters, digits and a low line");
        Reversal {
            transaction,
            key: KeyHash::new(self.caller, &scope, self.key),
            origin: self.origin,
            minted_at: minted_at(self.origin, self.key),
            fingerprint: Fingerprint::new(self.method, self.path, body),
            request_id: self.request_id.clone(),
        }
    }

    /// The command to do this under this key.
    pub(super) fn command(
        &self,
        key: &[u8],
        origin: KeyOrigin,
        fingerprint: Fingerprint,
        action: Action,
    ) -> Command {
        Command {
            key: KeyHash::new(self.caller, action.account(), key),
            origin,
            // That of the request: what we add to a minted key for an item is no part of it.
            minted_at: minted_at(origin, self.key),
            fingerprint,
            request_id: self.request_id.clone(),
            action,
        }
    }
}

/// What the first of our nodes wrote into the key; 0 for a key that nobody minted for this request.
fn minted_at(origin: KeyOrigin, key: &[u8]) -> Timestamp {
    let millis = ids::minted_at(key).filter(|_| origin == KeyOrigin::Minted).unwrap_or(0);
    Timestamp(i64::try_from(millis).unwrap_or(0).saturating_mul(1_000))
}

/// The id of an account that was opened without one: the same again for a repeat.
fn derived_id(caller: Caller, service: &str, key: &[u8]) -> AccountId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&caller.0.to_le_bytes());
    hasher.update(service.as_bytes());
    // No service has a slash in its name.
    hasher.update(b"/");
    hasher.update(key);
    let hash = hasher.finalize();
    let bits = u128::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"));
    let mut digits = [0; 26];
    let id = format!("acc_{}", base32(bits, &mut digits));
    AccountId::parse(&id).expect("made of letters, digits and a low line")
}

fn question(service: &Service, read: Read, params: Params) -> Result<(Question, Query), Mistake> {
    Ok(match read {
        Read::Account(account) => {
            let partition = account.partition(service.partitions);
            (Question::Account(partition), Query::Account(account))
        }
        Read::Balance(account) => {
            let partition = account.partition(service.partitions);
            (Question::Balance(partition), Query::Account(account))
        }
        Read::Transaction(id) => {
            (Question::Transaction(place_of(service, id)?), Query::Transaction(id))
        }
        Read::Hold(account, hold) => {
            check_hold(service, &account, hold)?;
            (Question::Hold(hold.partition(), account), Query::Hold(hold))
        }
        Read::Transactions(account) => {
            let history = history(service, account, params)?;
            let (account, filter) = (history.account.clone(), history.filter.clone());
            (Question::Transactions { account, filter }, Query::Transactions(history))
        }
        Read::Accounts => {
            let limit = params.limit();
            let before = match params.starting_after {
                None => None,
                Some(cursor) => Some(cursor::open_accounts(&service.name, &cursor)?),
            };
            (Question::Accounts { limit }, Query::Accounts(Listing { before, limit }))
        }
        Read::Trial => (Question::Trial, Query::Trial),
    })
}

/// The parameters that may stand in the query of what is asked.
pub(super) fn allowed_in(asked: &Asked) -> Allowed {
    match asked {
        Asked::Read(read) => allowed(read),
        Asked::Statement(_) => Allowed::Statement,
        Asked::Events => Allowed::Events,
        Asked::Change(_) | Asked::Batch => Allowed::None,
    }
}

fn allowed(read: &Read) -> Allowed {
    match read {
        Read::Accounts => Allowed::Page,
        Read::Transactions(_) => Allowed::Transactions,
        Read::Account(_)
        | Read::Balance(_)
        | Read::Transaction(_)
        | Read::Hold(..)
        | Read::Trial => Allowed::None,
    }
}

fn history(service: &Service, account: AccountId, params: Params) -> Result<History, Mistake> {
    let limit = params.limit();
    let (filter, before) = match &params.starting_after {
        None => (params.filter, None),
        Some(cursor) => {
            let (filter, before) = cursor::open_transactions(&service.name, &account, cursor)?;
            (cursor::same_filter(filter, &params.filter)?, Some(before))
        }
    };
    Ok(History { account, filter, before, limit })
}

#[cfg(test)]
mod tests;
