//! Every way in which a body can be wrong, and that right ones say what they say.

use super::*;
use proptest::prelude::*;
use wire::Code;

fn alice() -> AccountId {
    AccountId::parse("alice").unwrap()
}

#[track_caller]
fn told(body: &[u8], result: Result<(), Mistake>, expected: &str) {
    let body = String::from_utf8_lossy(&body[..body.len().min(200)]);
    let got = match result {
        Ok(()) => "fine".to_owned(),
        Err(mistake) => {
            assert_eq!(mistake.code, Code::InvalidRequest, "{body}");
            format!("{}: {}", mistake.field.as_deref().unwrap_or("-"), mistake.detail)
        }
    };
    assert_eq!(got, expected, "{body}");
}

#[track_caller]
fn debit(body: &str, expected: &str) {
    told(body.as_bytes(), post(alice(), Kind::Debit, body.as_bytes()).map(drop), expected);
}

#[track_caller]
fn open(body: &str, expected: &str) {
    told(body.as_bytes(), opening(body.as_bytes()).map(drop), expected);
}

#[track_caller]
fn patch(body: &str, expected: &str) {
    told(body.as_bytes(), update(alice(), body.as_bytes()).map(drop), expected);
}

#[test]
fn a_debit_says_what_it_says() {
    let body = br#" {"reference":"order \"17\" \u00e9","metadata":{"a": [1, 1e400, "x y\" "]},
        "currency":"EUR","amount":9223372036854775807} "#;
    let expected = Post {
        account: alice(),
        kind: Kind::Credit,
        amount: Amount::new(i64::MAX).unwrap(),
        currency: Currency::parse("EUR").unwrap(),
        reference: Some("order \"17\" é".into()),
        metadata: r#"{"a":[1,1e400,"x y\" "]}"#.into(),
    };
    assert_eq!(post(alice(), Kind::Credit, body), Ok(expected));
    let bare = br#"{"amount":1,"currency":"JPY","reference":null,"metadata":null}"#;
    let read = post(alice(), Kind::Debit, bare).unwrap();
    assert_eq!((read.reference, &*read.metadata), (None, "{}"));
}

#[test]
fn an_opening_says_what_it_says() {
    let read = opening(br#"{"id":"bob","currency":"EUR","overdraft_limit":5}"#).unwrap();
    assert_eq!(read.account, AccountId::parse("bob"));
    assert_eq!((read.overdraft_limit, &*read.metadata), (5, "{}"));
    let read = opening(br#"{"currency":"EUR","id":null,"metadata":{"tier":"gold"}}"#).unwrap();
    assert_eq!((read.account, read.overdraft_limit), (None, 0));
    assert_eq!(&*read.metadata, r#"{"tier":"gold"}"#);
}

#[test]
fn an_update_says_what_it_says() {
    let read = update(alice(), br#"{"status":"frozen"}"#).unwrap();
    let only = (Some(Status::Frozen), None, None);
    assert_eq!((read.status, read.overdraft_limit, read.metadata), only);
    let read = update(alice(), br#"{"overdraft_limit":0,"metadata":{}}"#).unwrap();
    assert_eq!((read.status, read.overdraft_limit), (None, Some(0)));
    assert_eq!(read.metadata.as_deref(), Some("{}"));
}

#[test]
fn what_is_no_json_object() {
    debit("", "-: the body is empty; a JSON object is wanted");
    debit(" \r\n\t", "-: the body is empty; a JSON object is wanted");
    debit("[]", "-: the body is an array; a JSON object is wanted");
    debit("\"x\"", "-: the body is the string \"x\"; a JSON object is wanted");
    debit("17", "-: the body is 17; a JSON object is wanted");
    debit("null", "-: the body is null; a JSON object is wanted");
    debit("hello", "-: the body is no sound JSON: expected value at line 1 column 1");
    debit("{", "-: the body is no sound JSON: EOF while parsing an object at line 1 column 1");
    debit(
        "{\"amount\": 1,\n \"currency\"",
        "-: the body is no sound JSON: EOF while parsing an object at line 2 column 11",
    );
    debit("{\"amount\":1,}", "-: the body is no sound JSON: trailing comma at line 1 column 13");
    debit("{\"amount\":01}", "-: the body is no sound JSON: invalid number at line 1 column 12");
    debit("{\"amount\":NaN}", "-: the body is no sound JSON: expected value at line 1 column 11");
    debit("{'amount':1}", "-: the body is no sound JSON: key must be a string at line 1 column 2");
    debit("{} {}", "-: something follows the JSON object, at line 1 column 4");
    debit("{}x", "-: something follows the JSON object, at line 1 column 3");
    let latin = b"{\"reference\":\"caf\xe9\"}";
    let result = post(alice(), Kind::Debit, latin).map(drop);
    told(latin, result, "-: the body is not UTF-8: byte 17 begins no character");
}

#[test]
fn what_is_too_deep_or_too_long() {
    let nested = |levels: usize| {
        let inner = format!("{}{}", "[".repeat(levels - 2), "]".repeat(levels - 2));
        format!(r#"{{"amount":1,"currency":"EUR","metadata":{{"a":{inner}}}}}"#)
    };
    debit(&nested(32), "fine");
    debit(&nested(33), "-: the JSON is nested deeper than 32 levels");
    debit(&"[".repeat(100_000), "-: the JSON is nested deeper than 32 levels");
    debit(&"{\"a\":".repeat(40_000), "-: the JSON is nested deeper than 32 levels");
    let brackets = "[".repeat(99);
    let text = format!(r#"{{"amount":1,"currency":"EUR","reference":"\"{brackets}"}}"#);
    debit(&text, "fine");
    let long = vec![b' '; limits::BODY_BYTES_MAX + 1];
    let mistake = post(alice(), Kind::Debit, &long).unwrap_err();
    assert_eq!(mistake.code, Code::BodyTooLarge);
}

#[test]
fn fields_are_known_and_given_once() {
    let known = "known are amount, currency, reference, metadata";
    debit(
        r#"{"amount":1,"currency":"EUR","ammount":2}"#,
        &format!("ammount: the field is not known here; {known}"),
    );
    debit(
        r#"{"amount":1,"currency":"EUR","Amount":2}"#,
        &format!("Amount: the field is not known here; {known}"),
    );
    debit(
        r#"{"amount":1,"currency":"EUR","amount":1}"#,
        "amount: the field is given more than once",
    );
    debit(
        r#"{"amount":1,"currency":"EUR","\u0061mount":2}"#,
        "amount: the field is given more than once",
    );
    let unknown = format!(r#"{{"{}":1}}"#, "x".repeat(5_000));
    let clipped = format!("{}…", "x".repeat(48));
    debit(&unknown, &format!("{clipped}: the field is not known here; {known}"));
}

#[test]
fn amounts() {
    let wanted = "an integer of minor units from 1 to 9223372036854775807 is wanted";
    debit(r#"{"currency":"EUR"}"#, &format!("amount: missing; {wanted}"));
    for (amount, flaw) in [
        ("0", "0 moves nothing"),
        ("-0", "-0 moves nothing"),
        ("-45", "-45 is negative"),
        ("-9223372036854775809", "-9223372036854775809 is negative and beyond 64 bits"),
        ("9223372036854775808", "9223372036854775808 is beyond 64 bits"),
        ("99999999999999999999", "99999999999999999999 is beyond 64 bits"),
        ("1.5", "1.5 is written with a fraction"),
        ("1.0", "1.0 is written with a fraction"),
        ("1e3", "1e3 is written with an exponent"),
        ("1e400", "1e400 is written with an exponent"),
        ("1.5E+2", "1.5E+2 is written with an exponent"),
        ("\"45\"", "the string \"45\" is no number"),
        ("null", "null is no number"),
        ("true", "true is no number"),
        ("[45]", "an array is no number"),
        ("{}", "an object is no number"),
    ] {
        let body = format!(r#"{{"amount":{amount},"currency":"EUR"}}"#);
        debit(&body, &format!("amount: {flaw}; {wanted}"));
    }
    let digits = "9".repeat(5_000);
    debit(
        &format!(r#"{{"amount":{digits},"currency":"EUR"}}"#),
        &format!("amount: {}… is beyond 64 bits; {wanted}", "9".repeat(48)),
    );
}

#[test]
fn overdraft_limits() {
    let wanted = "an integer of minor units from 0 to 9223372036854775807 is wanted";
    open(r#"{"currency":"EUR","overdraft_limit":0}"#, "fine");
    open(r#"{"currency":"EUR","overdraft_limit":9223372036854775807}"#, "fine");
    open(r#"{"currency":"EUR","overdraft_limit":null}"#, "fine");
    for (limit, flaw) in [
        ("-1", "-1 is negative"),
        ("9223372036854775808", "9223372036854775808 is beyond 64 bits"),
        ("0.0", "0.0 is written with a fraction"),
        ("\"0\"", "the string \"0\" is no number"),
    ] {
        let body = format!(r#"{{"currency":"EUR","overdraft_limit":{limit}}}"#);
        open(&body, &format!("overdraft_limit: {flaw}; {wanted}"));
    }
}

#[test]
fn currencies() {
    let wanted = "three capital letters of ISO 4217, as in EUR, are wanted";
    debit(r#"{"amount":1}"#, &format!("currency: missing; {wanted}"));
    for (currency, flaw) in [
        ("\"ZZZ\"", "\"ZZZ\" is no currency with a minor unit"),
        ("\"eur\"", "\"eur\" is no currency with a minor unit"),
        ("\"XAU\"", "\"XAU\" is no currency with a minor unit"),
        ("\"\"", "\"\" is no currency with a minor unit"),
        ("null", "null is no string"),
        ("978", "978 is no string"),
    ] {
        let body = format!(r#"{{"amount":1,"currency":{currency}}}"#);
        debit(&body, &format!("currency: {flaw}; {wanted}"));
    }
}

#[test]
fn account_ids() {
    let wanted = "1 to 128 of A-Z a-z 0-9 . _ : - are wanted, and not . or .. alone";
    for (id, flaw) in [
        ("a/b", "\"a/b\" has '/' in it"),
        ("é", "\"é\" has 'é' in it"),
        ("", "\"\" is no account id"),
        ("..", "\"..\" is no account id"),
        (&"x".repeat(129), "an account id of 129 bytes"),
    ] {
        let body = format!(r#"{{"currency":"EUR","id":"{id}"}}"#);
        open(&body, &format!("id: {flaw}; {wanted}"));
    }
    open(r#"{"currency":"EUR","id":7}"#, "id: 7 is no string; a string is wanted");
}

#[test]
fn references() {
    let with =
        |reference: &str| format!(r#"{{"amount":1,"currency":"EUR","reference":{reference}}}"#);
    debit(&with(&format!("\"{}\"", "é".repeat(128))), "fine");
    debit(&with(&format!("\"{}\"", "é".repeat(129))), "reference: 258 bytes; 256 at most");
    debit(&with("\"a\\nb\""), "reference: it has a control character in it");
    debit(&with("\"\\u0085\""), "reference: it has a control character in it");
    debit(&with("\"\\ud800\""), "reference: the string holds half of a surrogate pair");
    debit(&with("17"), "reference: 17 is no string; a string is wanted");
}

#[test]
fn metadata() {
    let with = |metadata: &str| format!(r#"{{"amount":1,"currency":"EUR","metadata":{metadata}}}"#);
    debit(&with("[]"), "metadata: an array is no object; an object is wanted");
    debit(&with("\"{}\""), "metadata: the string \"{}\" is no object; an object is wanted");
    let twice = "metadata: an object has the name \"k\" more than once";
    debit(&with(r#"{"k":1,"k":1}"#), twice);
    debit(&with(r#"{"a":[{"b":{"k":1,"\u006b":2}}]}"#), twice);
    debit(&with(r#"{"a":[{"k":1},{"k":2}]}"#), "fine");
    let half = "metadata: a string holds half of a surrogate pair";
    debit(&with(r#"{"a":["\udc00"]}"#), half);
    debit(&with(r#"{"\ud800":1}"#), half);
    debit(&with(r#"{"a":"\ud83d\ude00"}"#), "fine");
    let bytes = |count: usize| format!(r#"{{ "a" : "{}" }}"#, "x".repeat(count - 8));
    debit(&with(&bytes(4_096)), "fine");
    debit(&with(&bytes(4_097)), "metadata: 4097 bytes as compact JSON; 4096 at most");
}

#[test]
fn updates() {
    patch("{}", "-: nothing to change; give status, overdraft_limit or metadata");
    patch(r#"{"status":"open","metadata":{}}"#, "fine");
    patch(
        r#"{"status":"gone"}"#,
        "status: \"gone\" is no status; open, frozen or closed is wanted",
    );
    patch(r#"{"status":1}"#, "status: 1 is no string; open, frozen or closed is wanted");
    patch(r#"{"metadata":null}"#, "metadata: null; leave the field out to keep its value");
    patch(
        r#"{"currency":"EUR"}"#,
        "currency: the field is not known here; known are status, overdraft_limit, metadata",
    );
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,4}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(post(alice(), Kind::Debit, &body));
        drop(opening(&body));
        drop(update(alice(), &body));
    }

    #[test]
    fn nothing_like_json_panics(body in "[\\[\\]{}\",:\\\\ua0-9eE.+ \n-]{0,80}") {
        drop(post(alice(), Kind::Debit, body.as_bytes()));
        drop(opening(format!("{{\"metadata\":{body}}}").as_bytes()));
        drop(update(alice(), format!("{{\"metadata\":{{{body}}}}}").as_bytes()));
    }

    #[test]
    fn every_sound_debit_is_read_as_it_was_meant(
        amount in 1..=i64::MAX,
        reference in prop::option::of("\\PC{0,64}"),
        members in prop::collection::btree_map("\\PC{0,4}", json_value(), 0..4),
        pretty in any::<bool>(),
    ) {
        let metadata = serde_json::Value::Object(members.into_iter().collect());
        let body = serde_json::json!({
            "amount": amount, "currency": "EUR", "reference": reference, "metadata": metadata,
        });
        let text = if pretty {
            serde_json::to_vec_pretty(&body).unwrap()
        } else {
            serde_json::to_vec(&body).unwrap()
        };
        let read = post(alice(), Kind::Debit, &text).unwrap();
        prop_assert_eq!(read.amount.minor(), amount);
        prop_assert_eq!(read.reference.as_deref(), reference.as_deref());
        prop_assert_eq!(&*read.metadata, metadata.to_string());
    }
}
