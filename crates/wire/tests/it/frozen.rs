//! Bytes that never change: a journal written today is read by every later release.

use wire::{
    AccountId, Amount, Call, Command, Currency, Fingerprint, KeyHash, Kind, Outcome, Refusal,
    Refused, Timestamp,
    command::{Action, KeyOrigin, Post},
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

#[test]
fn a_refusal() {
    let currency = Currency::parse("EUR").unwrap();
    let refusal = Refusal::InsufficientFunds { available: 3_000, asked: 4_500, currency };
    let outcome = Outcome::Refused(Refused { refusal, request_id: "r".into() });
    let mut bytes = Vec::new();
    outcome.encode(&mut wire::Encoder(&mut bytes));
    assert_eq!(hex(&bytes), "0401b80b0000000000009411000000000000455552010072");
}
