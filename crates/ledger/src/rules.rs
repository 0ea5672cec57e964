//! What an account allows: one ladder per action, one line per rung.
//!
//! The order of the rungs is part of the public contract: the first that fails is the answer.
//! Nothing here changes anything.

use crate::entry::Leg;
use wire::{
    AccountState, Amount, Hold, HoldStatus, Kind, Refusal, Status, Timestamp,
    command::Update,
    hold::{EndHold, HoldEnd, PlaceHold},
};

/// An account's figures that no honest ledger leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsound(pub &'static str);

/// Versions that an account may have: what the engines' integers hold.
const VERSION_MAX: u64 = i64::MAX.unsigned_abs();

/// The two figures that a posting leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub posted: i64,
    pub available: i64,
}

/// Open: an id is used once, for ever.
pub(crate) fn check_open(account: Option<&AccountState>) -> Result<(), Refusal> {
    if account.is_some() { Err(Refusal::AccountExists) } else { Ok(()) }
}

/// Update, in this order: it exists, is not closed, is empty if it is to be closed and nothing is
/// on its way that may come back (`is_awaiting`), and its limit neither takes away what is already
/// spent nor leaves the range.
///
/// A lower limit asks for the difference out of what is available, so those are the figures of
/// [`Refusal::InsufficientFunds`].
#[rustfmt::skip] // One rung, one line.
pub(crate) fn check_update(
    account: Option<&AccountState>,
    update: &Update,
    is_awaiting: impl FnOnce() -> bool,
) -> Result<(), Refusal> {
    let Some(account) = account else { return Err(Refusal::NoSuchAccount) };
    let (posted, held, currency) = (account.posted, account.held, account.currency);
    let limit = update.overdraft_limit.unwrap_or(account.overdraft_limit);
    let available = account.available();
    let raise = i128::from(limit).saturating_sub(i128::from(account.overdraft_limit));
    let after = available.saturating_add(raise);
    let closing = update.status == Some(Status::Closed);

    if account.status == Status::Closed { return Err(Refusal::AccountClosed); }
    if closing && (posted != 0 || held != 0) { return Err(Refusal::AccountNotEmpty { posted, held }); }
    if closing && is_awaiting() { return Err(Refusal::TransferPending); }
    if raise < 0 && after < 0 { return Err(insufficient(available, raise.saturating_neg(), currency)); }
    if i64::try_from(after.saturating_add(held.into())).is_err() { return Err(Refusal::BalanceOverflow); }
    Ok(())
}

/// Debit and credit, in this order: the account exists, is not closed, is of that currency, is not
/// frozen (debits only), has the funds (debits only), and stays within 64 bits, also when every hold
/// is let go.
#[rustfmt::skip] // One rung, one line.
pub(crate) fn check_post(account: Option<&AccountState>, leg: Leg) -> Result<Figures, Refusal> {
    let Some(account) = account else { return Err(Refusal::NoSuchAccount) };
    let (amount, debit, currency) = (leg.amount.minor(), leg.kind == Kind::Debit, leg.contra.currency);
    let available = account.available();
    let mismatch = Refusal::CurrencyMismatch { account: account.currency, asked: currency };

    if account.status == Status::Closed { return Err(Refusal::AccountClosed); }
    if account.currency != currency { return Err(mismatch); }
    if debit && account.status == Status::Frozen { return Err(Refusal::AccountFrozen); }
    if debit && available < i128::from(amount) { return Err(insufficient(available, i128::from(amount), currency)); }

    let delta = leg.delta();
    let Some(posted) = account.posted.checked_add(delta) else { return Err(Refusal::BalanceOverflow) };
    let after = available.saturating_add(i128::from(delta));
    let whole = after.saturating_add(account.held.into());
    if i64::try_from(whole).is_err() { return Err(Refusal::BalanceOverflow); }
    let available = i64::try_from(after).expect("what is held comes out of the whole");
    assert!(0 <= available || !debit); // The rung of the funds.
    Ok(Figures { posted, available })
}

/// Hold, in this order: the account exists, is not closed, is of that currency, is not frozen, and
/// has the funds.
#[rustfmt::skip] // One rung, one line.
pub(crate) fn check_hold(account: Option<&AccountState>, hold: &PlaceHold) -> Result<(), Refusal> {
    let Some(account) = account else { return Err(Refusal::NoSuchAccount) };
    let (available, asked, currency) = (account.available(), i128::from(hold.amount.minor()), hold.currency);
    let mismatch = Refusal::CurrencyMismatch { account: account.currency, asked: currency };

    if account.status == Status::Closed { return Err(Refusal::AccountClosed); }
    if account.currency != currency { return Err(mismatch); }
    if account.status == Status::Frozen { return Err(Refusal::AccountFrozen); }
    if available < asked { return Err(insufficient(available, asked, currency)); }
    Ok(())
}

/// The end of a hold, in this order: the account exists, has this hold, is not closed, and the hold
/// is active; a capture finds the account not frozen and asks for no more than is held; what expires
/// is due. Gives what is captured.
#[rustfmt::skip] // One rung, one line.
pub(crate) fn check_end<'a>(
    account: Option<&AccountState>,
    hold: Option<&'a Hold>,
    end: &EndHold,
    time: Timestamp,
) -> Result<(&'a Hold, Option<Amount>), Refusal> {
    let Some(account) = account else { return Err(Refusal::NoSuchAccount) };
    let Some(hold) = hold.filter(|hold| hold.account == end.account) else { return Err(Refusal::NoSuchHold) };
    let (held, status, currency) = (i128::from(hold.amount.minor()), hold.status, hold.currency);

    if account.status == Status::Closed { return Err(Refusal::AccountClosed); }
    if status != HoldStatus::Active { return Err(Refusal::HoldNotActive { status }); }
    let captured = match end.how {
        HoldEnd::Capture(amount) => amount.unwrap_or(hold.amount),
        HoldEnd::Expire if time < hold.expires_at => return Err(Refusal::HoldNotActive { status }),
        HoldEnd::Release | HoldEnd::Expire => return Ok((hold, None)),
    };
    if account.status == Status::Frozen { return Err(Refusal::AccountFrozen); }
    let asked = i128::from(captured.minor());
    if held < asked { return Err(insufficient(held, asked, currency)); }
    Ok((hold, Some(captured)))
}

/// What holds of every account between commands. Whoever reads an account from outside asks this
/// first, so that the ladders may rely on it.
pub(crate) fn sound(account: &AccountState) -> Result<(), Unsound> {
    if account.held < 0 {
        return Err(Unsound("held is negative"));
    }
    if account.overdraft_limit < 0 {
        return Err(Unsound("the overdraft limit is negative"));
    }
    let available = account.available();
    let whole = available.saturating_add(account.held.into());
    if available < 0 || i128::from(i64::MAX) < whole {
        return Err(Unsound("available is negative or, without holds, beyond 64 bits"));
    }
    if account.status == Status::Closed && (account.posted != 0 || account.held != 0) {
        return Err(Unsound("a closed account is not empty"));
    }
    if VERSION_MAX < account.version {
        return Err(Unsound("the version is out of range"));
    }
    Ok(())
}

fn insufficient(available: i128, asked: i128, currency: wire::Currency) -> Refusal {
    let narrow = |figure| i64::try_from(figure).expect("a sound account's figures fit 64 bits");
    Refusal::InsufficientFunds { available: narrow(available), asked: narrow(asked), currency }
}
