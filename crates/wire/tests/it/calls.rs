//! Calls and replies: round trips, and bytes from nowhere.

use crate::generate::{
    account_id, action, amount, currency, delivery, hold_status, key, kind, party, refused,
    request_id, state, text, transaction_id, transfer_id,
};
use proptest::{collection::vec, option, prelude::*};
use std::fmt;
use wire::{
    Batch, Call, Code, Command, Decoder, Done, Encoder, Flaw, Hold, HoldId, HoldStatus, Link,
    Outcome, PartitionId, Posting, Reply, Seq, Timestamp, TransactionId, Transfer,
    call::Failure,
    command::KeyOrigin,
    limits,
    query::{Books, CurrencyBooks, Event, Filter, History, Listing, Mark, Query},
    reversal::Reversal,
};

fn command() -> impl Strategy<Value = Command> {
    (key(), any::<i64>(), request_id(), action()).prop_map(
        |((key, origin, fingerprint), minted_at, request_id, action)| {
            let is_minted = origin == KeyOrigin::Minted;
            let minted_at = Timestamp(if is_minted { minted_at } else { 0 });
            Command { key, origin, minted_at, fingerprint, request_id, action }
        },
    )
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..=Timestamp::MAX.0).prop_map(Timestamp)
}

fn posting() -> BoxedStrategy<Posting> {
    let figures = (amount(), any::<i64>(), any::<i64>(), any::<u64>());
    let texts = (option::of(text(limits::REFERENCE_BYTES_MAX)), text(limits::METADATA_BYTES_MAX));
    let what = (any::<u128>(), account_id(), kind(), currency());
    let link = prop_oneof![
        any::<u128>().prop_map(|bits| Link::Hold(HoldId::from_bits(bits))),
        transfer_id().prop_map(Link::Transfer),
        transaction_id().prop_map(Link::Reverses),
    ];
    let links = (option::of(link), option::of(transaction_id()));
    (what, figures, texts, links, time())
        .prop_map(|(what, figures, texts, links, created_at)| Posting {
            id: TransactionId::from_bits(what.0),
            account: what.1,
            kind: what.2,
            currency: what.3,
            amount: figures.0,
            posted_after: figures.1,
            available_after: figures.2,
            version: figures.3,
            reference: texts.0,
            metadata: texts.1,
            link: links.0,
            reversed_by: links.1,
            created_at,
        })
        .boxed()
}

fn hold() -> impl Strategy<Value = Hold> {
    let what = (any::<u128>(), account_id(), amount(), currency(), hold_status());
    (what, any::<prop::sample::Index>(), any::<u128>(), (time(), time())).prop_map(
        |((id, account, amount, currency, status), part, transaction, times)| {
            let is_captured = status == HoldStatus::Captured;
            let most = usize::try_from(amount.minor()).unwrap();
            let part = i64::try_from(part.index(most)).unwrap() + 1;
            Hold {
                id: HoldId::from_bits(id),
                account,
                amount,
                captured: if is_captured { part } else { 0 },
                currency,
                status,
                transaction: is_captured.then_some(TransactionId::from_bits(transaction)),
                expires_at: times.0,
                created_at: times.1,
            }
        },
    )
}

fn transfer() -> impl Strategy<Value = Transfer> {
    let end = option::of((delivery(), time()));
    let what = (transfer_id(), party(), party(), amount(), currency());
    (what, end, time()).prop_map(|((id, from, to, amount, currency), end, created_at)| Transfer {
        id,
        from,
        to,
        amount,
        currency,
        end,
        created_at,
    })
}

fn outcome() -> BoxedStrategy<Outcome> {
    prop_oneof![
        state().prop_map(|it| Outcome::Done(Done::Opened(it))),
        state().prop_map(|it| Outcome::Done(Done::Updated(it))),
        posting().prop_map(|it| Outcome::Done(Done::Posted(it))),
        hold().prop_map(|it| Outcome::Done(Done::Held(it))),
        hold().prop_map(|it| Outcome::Done(Done::HoldEnded(it))),
        transfer().prop_map(|it| Outcome::Done(Done::Transferred(it))),
        delivery().prop_map(|it| Outcome::Done(Done::Delivered(it))),
        refused().prop_map(Outcome::Refused),
    ]
    .boxed()
}

fn mark() -> impl Strategy<Value = Mark> {
    (any::<u64>(), any::<u16>()).prop_map(|(seq, items)| Mark { seq: Seq(seq), items })
}

fn event() -> impl Strategy<Value = Event> {
    (time(), outcome()).prop_filter_map("a refusal is no event", |(at, outcome)| match outcome {
        Outcome::Done(done) => Some(Event { at, done }),
        Outcome::Refused(_) => None,
    })
}

fn query() -> impl Strategy<Value = Query> {
    let limit = 1..=limits::PAGE_ROWS_MAX;
    let events_limit = limit.clone();
    let reference = option::of(text(limits::REFERENCE_BYTES_MAX));
    let filter = (option::of(time()), option::of(time()), option::of(kind()), reference)
        .prop_map(|(from, to, kind, reference)| Filter { from, to, kind, reference });
    let history = (account_id(), filter, option::of(any::<u64>()), limit.clone()).prop_map(
        |(account, filter, before, limit)| {
            Query::Transactions(History { account, filter, before, limit })
        },
    );
    let listing = (option::of((any::<i64>().prop_map(Timestamp), account_id())), limit)
        .prop_map(|(before, limit)| Query::Accounts(Listing { before, limit }));
    prop_oneof![
        account_id().prop_map(Query::Account),
        any::<u128>().prop_map(|bits| Query::Transaction(TransactionId::from_bits(bits))),
        history,
        listing,
        any::<u128>().prop_map(|bits| Query::Hold(HoldId::from_bits(bits))),
        transfer_id().prop_map(Query::Transfer),
        Just(Query::Trial),
        Just(Query::Pending),
        (any::<u16>(), mark(), events_limit).prop_map(|(partition, from, limit)| Query::Events {
            partition: PartitionId(partition),
            from,
            limit,
        }),
    ]
}

fn books() -> impl Strategy<Value = Books> {
    let row = (currency(), any::<i128>(), any::<i128>())
        .prop_map(|(currency, debits, credits)| CurrencyBooks { currency, debits, credits });
    (any::<u16>(), any::<u64>(), vec(row, 0..4)).prop_map(|(partition, head, currencies)| Books {
        partition: PartitionId(partition),
        head: Seq(head),
        currencies,
    })
}

fn call() -> impl Strategy<Value = Call> {
    let batch = (any::<bool>(), vec(command(), 0..4))
        .prop_map(|(atomic, commands)| Call::Batch(Batch { atomic, commands }));
    let reverse = (transaction_id(), command()).prop_map(|(transaction, command)| {
        let Command { key, origin, minted_at, fingerprint, request_id, action: _ } = command;
        Call::Reverse(Reversal { transaction, key, origin, minted_at, fingerprint, request_id })
    });
    prop_oneof![command().prop_map(Call::Execute), query().prop_map(Call::Query), batch, reverse]
}

fn reply() -> impl Strategy<Value = Reply> {
    let failure = proptest::sample::select(vec![
        Failure::NotOwner,
        Failure::Overloaded,
        Failure::EngineUnavailable,
        Failure::KeyInUse,
        Failure::OutcomeUnknown,
        Failure::NoSuchAccount,
        Failure::NoSuchTransaction,
        Failure::Malformed,
        Failure::NoSuchHold,
        Failure::NoSuchTransfer,
        Failure::NotReversible,
    ]);
    let partitions = vec(any::<u16>().prop_map(PartitionId), 0..4);
    prop_oneof![
        outcome().prop_map(Reply::Outcome),
        state().prop_map(Reply::Account),
        posting().prop_map(Reply::Transaction),
        (vec(posting(), 0..4), any::<bool>())
            .prop_map(|(rows, more)| Reply::Transactions { rows, more }),
        (partitions, vec(state(), 0..4), any::<bool>())
            .prop_map(|(partitions, rows, more)| Reply::Accounts { partitions, rows, more }),
        vec(books(), 0..4).prop_map(Reply::Trial),
        vec(prop_oneof![outcome().prop_map(Ok), failure.clone().prop_map(Err)], 0..4)
            .prop_map(Reply::Batch),
        hold().prop_map(Reply::Hold),
        transfer().prop_map(Reply::Transfer),
        vec(transfer(), 0..4).prop_map(Reply::Pending),
        (vec(event(), 0..4), mark()).prop_map(|(rows, next)| Reply::Events { rows, next }),
        failure.prop_map(Reply::Failed),
    ]
}

/// What is written is read back; cut anywhere, or with a byte too many, it is refused.
#[track_caller]
fn check<T: PartialEq + fmt::Debug>(
    value: &T,
    encode: impl Fn(&T, &mut Vec<u8>),
    decode: impl Fn(&[u8]) -> Result<T, Flaw>,
) {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    assert_eq!(decode(&bytes).as_ref(), Ok(value));
    let step = bytes.len().div_ceil(64);
    for cut in (0..bytes.len()).step_by(step) {
        assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    bytes.push(0);
    assert!(decode(&bytes).is_err(), "a byte too many");
}

/// Whatever is read from bytes is written in the same meaning again.
fn check_bytes(bytes: &[u8]) {
    if let Ok(call) = Call::decode(bytes) {
        check(&call, Call::encode, Call::decode);
    }
    if let Ok(reply) = Reply::decode(bytes) {
        check(&reply, Reply::encode, Reply::decode);
    }
    let mut from = Decoder::new(bytes);
    if let Ok(outcome) = Outcome::decode(&mut from) {
        check(&Reply::Outcome(outcome), Reply::encode, Reply::decode);
    }
}

proptest! {
    #[test]
    fn calls_are_read_back(call in call()) {
        check(&call, Call::encode, Call::decode);
    }

    #[test]
    fn replies_are_read_back(reply in reply()) {
        check(&reply, Reply::encode, Reply::decode);
    }

    #[test]
    fn outcomes_have_one_form(outcome in outcome()) {
        let mut bytes = Vec::new();
        outcome.encode(&mut Encoder(&mut bytes));
        let mut from = Decoder::new(&bytes);
        prop_assert_eq!(&Outcome::decode(&mut from), &Ok(outcome));
        prop_assert_eq!(from.end(), Ok(()));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(tag in 0..12_u8, bytes in vec(any::<u8>(), 0..256)) {
        check_bytes(&bytes);
        check_bytes(&[&[tag], bytes.as_slice()].concat());
    }

    #[test]
    fn no_damage_makes_a_decoder_panic(
        call in call(),
        reply in reply(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        call.encode(&mut asked);
        reply.encode(&mut answered);
        for bytes in [&mut asked, &mut answered] {
            for (place, byte) in &damage {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            check_bytes(bytes);
        }
    }
}

#[test]
fn every_code_that_is_no_refusal_is_refused() {
    for code in Code::ALL {
        let body = [4, code as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let read = Outcome::decode(&mut Decoder::new(&body));
        if let Ok(Outcome::Refused(refused)) = read {
            assert_eq!(refused.refusal.code(), code);
        }
    }
}
