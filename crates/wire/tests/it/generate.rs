//! Values at random: mostly short and plain, now and then at their limits. The ledger's tests use
//! them too.

use proptest::{collection::vec, option, prelude::*, sample::select};
use wire::{
    AccountId, AccountState, Action, Amount, Code, Currency, Delivery, Fingerprint, HoldId,
    HoldStatus, KeyHash, Kind, Refusal, Refused, Status, Timestamp, TransactionId, TransferId,
    command::{KeyOrigin, Post, Update},
    hold::{EndHold, HoldEnd, PlaceHold},
    limits,
    reversal::Reverse,
    transfer::{Party, Receive, Send, Settle},
};

/// A text of at most `max` bytes: often empty or short, sometimes exactly as long as it may be.
pub(crate) fn text(max: usize) -> impl Strategy<Value = wire::Text> {
    let short = vec(any::<char>(), 0..8).prop_map(|it| it.into_iter().collect::<String>());
    prop_oneof![4 => short, 1 => Just("x".repeat(max))].prop_map(wire::Text::from)
}

pub(crate) fn account_id() -> impl Strategy<Value = AccountId> {
    let letters: Vec<char> = "azAZ09._:-".chars().collect();
    vec(select(letters), 1..=limits::ACCOUNT_ID_BYTES_MAX)
        .prop_map(String::from_iter)
        .prop_filter_map("dots alone are no id", |text| AccountId::parse(&text))
}

pub(crate) fn currency() -> impl Strategy<Value = Currency> {
    select(vec!["EUR", "USD", "JPY", "KWD"])
        .prop_map(|code| Currency::parse(code).expect("in the table"))
}

pub(crate) fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![1..10_000_i64, Just(i64::MAX), 1..=i64::MAX]
        .prop_map(|minor| Amount::new(minor).expect("positive"))
}

pub(crate) fn status() -> impl Strategy<Value = Status> {
    select(vec![Status::Open, Status::Frozen, Status::Closed])
}

pub(crate) fn kind() -> impl Strategy<Value = Kind> {
    select(vec![Kind::Debit, Kind::Credit])
}

pub(crate) fn key() -> impl Strategy<Value = (KeyHash, KeyOrigin, Fingerprint)> {
    let origin = prop_oneof![
        Just(KeyOrigin::Minted),
        Just(KeyOrigin::Client),
        any::<i64>().prop_map(|at| KeyOrigin::Returned(Timestamp(at))),
    ];
    (any::<u128>(), origin, any::<u64>())
        .prop_map(|(key, origin, fingerprint)| (KeyHash(key), origin, Fingerprint(fingerprint)))
}

pub(crate) fn action() -> BoxedStrategy<Action> {
    let metadata = || text(limits::METADATA_BYTES_MAX);
    let limit = 0..=i64::MAX;
    let open = (account_id(), currency(), limit.clone(), metadata()).prop_map(
        |(account, currency, overdraft_limit, metadata)| Action::Open {
            account,
            currency,
            overdraft_limit,
            metadata,
        },
    );
    let update = (account_id(), option::of(status()), option::of(limit), option::of(metadata()))
        .prop_map(|(account, status, overdraft_limit, metadata)| {
            Action::Update(Update { account, status, overdraft_limit, metadata })
        });
    let reference = option::of(text(limits::REFERENCE_BYTES_MAX));
    let post = (account_id(), kind(), amount(), currency(), reference, metadata()).prop_map(
        |(account, kind, amount, currency, reference, metadata)| {
            Action::Post(Post { account, kind, amount, currency, reference, metadata })
        },
    );
    prop_oneof![open, update, post, of_hold(), reverse(), of_transfer()].boxed()
}

fn of_hold() -> impl Strategy<Value = Action> {
    let place = (account_id(), amount(), currency(), 1..=limits::HOLD_SECONDS_MAX).prop_map(
        |(account, amount, currency, seconds)| {
            Action::Hold(PlaceHold { account, amount, currency, seconds })
        },
    );
    let how = prop_oneof![
        option::of(amount()).prop_map(HoldEnd::Capture),
        Just(HoldEnd::Release),
        Just(HoldEnd::Expire),
    ];
    let end = (account_id(), any::<u128>(), how).prop_map(|(account, bits, how)| {
        Action::EndHold(EndHold { account, hold: HoldId::from_bits(bits), how })
    });
    prop_oneof![place, end]
}

fn reverse() -> impl Strategy<Value = Action> {
    (transaction_id(), account_id(), kind(), amount(), currency()).prop_map(
        |(transaction, account, kind, amount, currency)| {
            Action::Reverse(Reverse { transaction, account, kind, amount, currency })
        },
    )
}

fn of_transfer() -> impl Strategy<Value = Action> {
    let send = (party(), party(), amount(), currency()).prop_map(|(from, to, amount, currency)| {
        Action::Send(Box::new(Send { from, to, amount, currency }))
    });
    let receive = (transfer_id(), account_id(), amount(), currency()).prop_map(
        |(transfer, account, amount, currency)| {
            Action::Receive(Receive { transfer, account, amount, currency })
        },
    );
    let settle =
        (transfer_id(), account_id(), delivery()).prop_map(|(transfer, account, delivery)| {
            Action::Settle(Settle { transfer, account, delivery })
        });
    prop_oneof![send, receive, settle]
}

pub(crate) fn transaction_id() -> impl Strategy<Value = TransactionId> {
    any::<u128>().prop_map(TransactionId::from_bits)
}

pub(crate) fn transfer_id() -> impl Strategy<Value = TransferId> {
    any::<u128>().prop_map(TransferId::from_bits)
}

pub(crate) fn party() -> impl Strategy<Value = Party> {
    let name = "[a-z][a-z0-9-]{0,31}".prop_map(wire::Text::from);
    (name, account_id()).prop_map(|(service, account)| Party { service, account })
}

pub(crate) fn delivery() -> impl Strategy<Value = Delivery> {
    let codes = select(vec![Code::NoSuchAccount, Code::AccountClosed, Code::BalanceOverflow]);
    prop_oneof![transaction_id().prop_map(Delivery::Credited), codes.prop_map(Delivery::Refused),]
}

pub(crate) fn hold_status() -> impl Strategy<Value = HoldStatus> {
    select(vec![
        HoldStatus::Active,
        HoldStatus::Captured,
        HoldStatus::Released,
        HoldStatus::Expired,
    ])
}

pub(crate) fn state() -> impl Strategy<Value = AccountState> {
    let figures = (any::<i64>(), any::<i64>(), any::<i64>(), any::<u64>());
    let times = (any::<i64>(), any::<i64>());
    (account_id(), currency(), status(), figures, text(limits::METADATA_BYTES_MAX), times).prop_map(
        |(id, currency, status, (posted, held, overdraft_limit, version), metadata, times)| {
            AccountState {
                id,
                currency,
                status,
                posted,
                held,
                overdraft_limit,
                version,
                metadata,
                created_at: Timestamp(times.0),
                updated_at: Timestamp(times.1),
            }
        },
    )
}

pub(crate) fn refused() -> impl Strategy<Value = Refused> {
    let plain = select(vec![
        Refusal::NoSuchAccount,
        Refusal::AccountExists,
        Refusal::AccountFrozen,
        Refusal::AccountClosed,
        Refusal::BalanceOverflow,
        Refusal::KeyReused,
        Refusal::TransferPending,
        Refusal::NoSuchHold,
        Refusal::NoSuchTransfer,
    ]);
    let not_active = hold_status().prop_map(|status| Refusal::HoldNotActive { status });
    let reversed = transaction_id().prop_map(|by| Refusal::AlreadyReversed { by });
    let not_empty =
        any::<(i64, i64)>().prop_map(|(posted, held)| Refusal::AccountNotEmpty { posted, held });
    let mismatch = (currency(), currency())
        .prop_map(|(account, asked)| Refusal::CurrencyMismatch { account, asked });
    let funds = (any::<(i64, i64)>(), currency()).prop_map(|((available, asked), currency)| {
        Refusal::InsufficientFunds { available, asked, currency }
    });
    let batch = (any::<u16>(), select(vec![Code::InsufficientFunds, Code::NoSuchAccount]))
        .prop_map(|(index, code)| Refusal::Batch { index, code });
    let any = prop_oneof![
        3 => plain, 1 => not_empty, 1 => mismatch, 1 => funds, 1 => batch, 1 => not_active,
        1 => reversed,
    ];
    (any, request_id()).prop_map(|(refusal, request_id)| Refused { refusal, request_id })
}

pub(crate) fn request_id() -> impl Strategy<Value = wire::Text> {
    text(limits::REQUEST_ID_BYTES_MAX)
}
