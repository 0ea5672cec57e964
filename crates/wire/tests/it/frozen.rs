//! Bytes that never change: a journal written today is read by every later release.

use wire::{
    AccountId, Amount, Call, Code, Command, Currency, Delivery, Fingerprint, HoldId, KeyHash, Kind,
    Outcome, Refusal, Refused, Timestamp, TransactionId, TransferId,
    command::{Action, KeyOrigin, Post},
    hold::{EndHold, HoldEnd, PlaceHold},
    reversal::Reverse,
    transfer::{Party, Receive, Send, Settle},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_command() {
    let call = Call::Execute(Command {
        key: KeyHash(0x0102),
        origin: KeyOrigin::Client,
        minted_at: Timestamp(0),
        fingerprint: Fingerprint(0x0304),
        request_id: "r".into(),
        action: Action::Post(Post {
            account: AccountId::parse("alice").unwrap(),
            kind: Kind::Debit,
            amount: Amount::new(4_500).unwrap(),
            currency: Currency::parse("EUR").unwrap(),
            reference: Some("o".into()),
            metadata: "{}".into(),
        }),
    });
    let mut bytes = Vec::new();
    call.encode(&mut bytes);
    let expected = [
        "01",                               // execute
        "02010000000000000000000000000000", // key
        "0403000000000000",                 // fingerprint
        "01",                               // the client's own key
        "010072",                           // request id
        "03",                               // debit
        "0500616c696365",                   // account
        "9411000000000000",                 // amount
        "455552",                           // EUR
        "0101006f",                         // reference
        "02007b7d",                         // metadata
    ];
    assert_eq!(hex(&bytes), expected.concat());
}

#[track_caller]
fn check_action(action: Action, expected: &[&str]) {
    let mut bytes = Vec::new();
    action.encode(&mut wire::Encoder(&mut bytes));
    assert_eq!(hex(&bytes), expected.concat());
}

const ALICE: &str = "0500616c696365";
const ID: &str = "07000000000000000000000000000000";

#[test]
fn what_is_asked_of_holds() {
    let (account, hold) = (AccountId::parse("alice").unwrap(), HoldId::from_bits(7));
    let (amount, currency) = (Amount::new(4_500).unwrap(), Currency::parse("EUR").unwrap());
    let place = PlaceHold { account: account.clone(), amount, currency, seconds: 60 };
    check_action(Action::Hold(place), &["05", ALICE, "9411000000000000", "455552", "3c000000"]);
    for (how, expected) in [
        (HoldEnd::Capture(None), "01"),
        (HoldEnd::Capture(Some(amount)), "029411000000000000"),
        (HoldEnd::Release, "03"),
        (HoldEnd::Expire, "04"),
    ] {
        let end = EndHold { account: account.clone(), hold, how };
        check_action(Action::EndHold(end), &["06", ALICE, ID, expected]);
    }
}

#[test]
fn what_is_asked_of_transactions_and_transfers() {
    let account = AccountId::parse("alice").unwrap();
    let (amount, currency) = (Amount::new(4_500).unwrap(), Currency::parse("EUR").unwrap());
    let (transaction, transfer) = (TransactionId::from_bits(7), TransferId::from_bits(7));
    let (kind, money) = (Kind::Debit, ["9411000000000000", "455552"].concat());
    let reverse = Reverse { transaction, account: account.clone(), kind, amount, currency };
    check_action(Action::Reverse(reverse), &["07", ID, ALICE, "01", &money]);
    let party = |service: &str| Party { service: service.into(), account: account.clone() };
    let send = Send { from: party("a"), to: party("b"), amount, currency };
    let parties = ["010061", ALICE, "010062", ALICE].concat();
    check_action(Action::Send(Box::new(send)), &["08", &parties, &money]);
    let receive = Receive { transfer, account: account.clone(), amount, currency };
    check_action(Action::Receive(receive), &["09", ID, ALICE, &money]);
    for (delivery, expected) in [
        (Delivery::Credited(transaction), ["01", ID].concat()),
        (Delivery::Refused(Code::NoSuchAccount), "020c".to_owned()),
    ] {
        let settle = Settle { transfer, account: account.clone(), delivery };
        check_action(Action::Settle(settle), &["0a", ID, ALICE, &expected]);
    }
}

#[test]
fn a_refusal() {
    let currency = Currency::parse("EUR").unwrap();
    let refusal = Refusal::InsufficientFunds { available: 3_000, asked: 4_500, currency };
    let outcome = Outcome::Refused(Refused { refusal, request_id: "r".into() });
    let mut bytes = Vec::new();
    outcome.encode(&mut wire::Encoder(&mut bytes));
    assert_eq!(hex(&bytes), "0401b80b0000000000009411000000000000455552010072");
}
