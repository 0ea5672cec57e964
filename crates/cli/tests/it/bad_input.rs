//! Everything a client can get wrong: each its own answer, and nothing changed.

use crate::{
    http::{Answer, Client},
    tree::Tree,
};

/// One bad request: what it is, method, path, headers on top, body, the answer's status, code, and
/// field.
struct Bad {
    what: &'static str,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    field: Option<&'static str>,
}

impl Bad {
    fn new(what: &'static str, path: &str, body: impl AsRef<[u8]>) -> Bad {
        Bad {
            what,
            method: "POST",
            path: path.to_owned(),
            headers: Vec::new(),
            body: body.as_ref().to_vec(),
            status: 400,
            code: "invalid_request",
            field: None,
        }
    }

    fn field(mut self, field: &'static str) -> Bad {
        self.field = Some(field);
        self
    }

    fn answer(mut self, status: u16, code: &'static str) -> Bad {
        (self.status, self.code) = (status, code);
        self
    }

    fn method(mut self, method: &'static str) -> Bad {
        self.method = method;
        self
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Bad {
        self.headers.push((name, value));
        self
    }
}

const DEBIT: &str = "/v1/a/accounts/alice/debit";
const OPEN: &str = "/v1/a/accounts";

fn bodies() -> Vec<Bad> {
    let deep = format!("{}1{}", r#"{"metadata":"#.repeat(5_000), "}".repeat(5_000));
    let huge = format!(r#"{{"amount":1,"currency":"EUR","reference":"{}"}}"#, "x".repeat(2 << 20));
    let amount = |text: &str| format!(r#"{{"amount":{text},"currency":"EUR"}}"#);
    vec![
        Bad::new("broken JSON", DEBIT, r#"{"amount":1,"#),
        Bad::new("not JSON at all", DEBIT, "amount=1"),
        Bad::new("bytes that are not UTF-8", DEBIT, b"{\"amount\":1,\"currency\":\"\xff\"}"),
        Bad::new("an empty body", DEBIT, ""),
        Bad::new("a list", DEBIT, "[]"),
        Bad::new("something after the object", DEBIT, r#"{"amount":1,"currency":"EUR"}x"#),
        Bad::new("deep nesting", DEBIT, deep),
        Bad::new("2 MB", DEBIT, huge).answer(413, "body_too_large"),
        Bad::new("an unknown field", DEBIT, r#"{"amount":1,"currency":"EUR","ammount":1}"#)
            .field("ammount"),
        Bad::new("a field twice", DEBIT, r#"{"amount":1,"amount":2,"currency":"EUR"}"#)
            .field("amount"),
        Bad::new("a negative amount", DEBIT, amount("-1")).field("amount"),
        Bad::new("zero", DEBIT, amount("0")).field("amount"),
        Bad::new("a fraction", DEBIT, amount("1.5")).field("amount"),
        Bad::new("a fraction of nothing", DEBIT, amount("1.0")).field("amount"),
        Bad::new("1e400", DEBIT, amount("1e400")).field("amount"),
        Bad::new("20 digits", DEBIT, amount("99999999999999999999")).field("amount"),
        Bad::new("one more than fits", DEBIT, amount("9223372036854775808")).field("amount"),
        Bad::new("an amount in quotes", DEBIT, amount(r#""1""#)).field("amount"),
        Bad::new("no amount", DEBIT, r#"{"currency":"EUR"}"#).field("amount"),
        Bad::new("null", DEBIT, amount("null")).field("amount"),
        Bad::new("no currency", DEBIT, r#"{"amount":1}"#).field("currency"),
        Bad::new("an unknown currency", DEBIT, r#"{"amount":1,"currency":"ZZZ"}"#)
            .field("currency"),
        Bad::new("a currency in small letters", DEBIT, r#"{"amount":1,"currency":"eur"}"#)
            .field("currency"),
        Bad::new("another currency", DEBIT, r#"{"amount":1,"currency":"USD"}"#)
            .answer(409, "currency_mismatch"),
        Bad::new("an account twice", OPEN, r#"{"id":"alice","currency":"EUR"}"#)
            .answer(409, "account_exists"),
        Bad::new("an id with a slash", OPEN, r#"{"id":"a/b","currency":"EUR"}"#).field("id"),
        Bad::new("an id of dots", OPEN, r#"{"id":"..","currency":"EUR"}"#).field("id"),
        Bad::new("a negative limit", OPEN, r#"{"currency":"EUR","overdraft_limit":-1}"#)
            .field("overdraft_limit"),
        Bad::new("metadata of another type", OPEN, r#"{"currency":"EUR","metadata":[1]}"#)
            .field("metadata"),
    ]
}

fn requests() -> Vec<Bad> {
    let good = r#"{"amount":1,"currency":"EUR"}"#;
    let long = format!("/v1/a/accounts/{}/debit", "x".repeat(5_000));
    vec![
        Bad::new("an unknown account", "/v1/a/accounts/nobody/debit", good)
            .answer(404, "no_such_account"),
        Bad::new("an unknown service", "/v1/zz/accounts/alice/debit", good)
            .answer(404, "no_such_service"),
        Bad::new("an unknown path", "/v2/everything", good).answer(404, "no_such_route"),
        Bad::new("a slash within an id", "/v1/a/accounts/al/ice/debit", good)
            .answer(404, "no_such_route"),
        Bad::new("an encoded slash within an id", "/v1/a/accounts/al%2Fice/debit", good)
            .field("id"),
        Bad::new("an id of 5,000 characters", &long, good).field("id"),
        Bad::new("a wrong method", DEBIT, good).method("DELETE").answer(405, "method_not_allowed"),
        Bad::new("a wrong key", DEBIT, good)
            .header("Authorization", "Bearer nonsense")
            .answer(401, "unauthenticated"),
        Bad::new("another scheme", DEBIT, good)
            .header("Authorization", "Basic YTpi")
            .answer(401, "unauthenticated"),
        Bad::new("another content type", DEBIT, good)
            .header("Content-Type", "text/xml")
            .answer(415, "unsupported_media_type"),
        Bad::new("an answer that is not JSON", DEBIT, good)
            .header("Accept", "text/html")
            .answer(406, "not_acceptable"),
        Bad::new("a key that is not ASCII", DEBIT, good)
            .header("Idempotency-Key", "cl\u{e9}")
            .field("Idempotency-Key"),
        Bad::new("a page of 1,001", "/v1/a/accounts?limit=1001", "").method("GET").field("limit"),
        Bad::new("an unknown parameter", "/v1/a/accounts?order=up", "")
            .method("GET")
            .field("order"),
        Bad::new("a made-up cursor", "/v1/a/accounts?starting_after=abc", "")
            .method("GET")
            .field("starting_after"),
        Bad::new("an unknown transaction", "/v1/a/transactions/tx_00000000000000000000000000", "")
            .method("GET")
            .answer(404, "no_such_transaction"),
    ]
}

const BATCH: &str = "/v1/a/batch";

/// A batch of these transactions.
fn batch_of(items: &str) -> String {
    format!(r#"{{"transactions":[{items}]}}"#)
}

fn batches() -> Vec<Bad> {
    let good = r#"{"account":"alice","kind":"credit","amount":1,"currency":"EUR"}"#;
    let second = |bad: &str| batch_of(&format!("{good},{bad}"));
    let with = |from: &str, to: &str| second(&good.replace(from, to));
    let many = vec![good; 8_193].join(",");
    let huge = format!("{}{}", " ".repeat(5 << 20), batch_of(good));
    let keyed = good.replace('{', r#"{"key":"k","#);
    let two = format!("{good},{}", good.replace("alice", "bob"));
    let atomic = |items: &str| format!(r#"{{"atomic":true,"transactions":[{items}]}}"#);
    vec![
        Bad::new("no transactions", BATCH, "{}").field("transactions"),
        Bad::new("none in the list", BATCH, batch_of("")).field("transactions"),
        Bad::new("an object for a list", BATCH, r#"{"transactions":{}}"#).field("transactions"),
        Bad::new("8,193 of them", BATCH, batch_of(&many)).field("transactions"),
        Bad::new("8,193, the first one wrong", BATCH, batch_of(&many.replacen(":1", ":0", 1)))
            .field("transactions"),
        Bad::new(
            "a wrong amount, then a number",
            BATCH,
            batch_of(&(good.replace(":1", ":0") + ",1")),
        )
        .field("transactions[0].amount"),
        Bad::new("5 MB", BATCH, huge).answer(413, "body_too_large"),
        Bad::new("a number for an item", BATCH, second("1")).field("transactions[1]"),
        Bad::new("an unknown field of an item", BATCH, with("amount", "ammount"))
            .field("transactions[1].ammount"),
        Bad::new("a field of an item twice", BATCH, with("{", r#"{"amount":1,"#))
            .field("transactions[1].amount"),
        Bad::new("an item's amount", BATCH, with(":1", ":0")).field("transactions[1].amount"),
        Bad::new("an item's kind", BATCH, with("credit", "loan")).field("transactions[1].kind"),
        Bad::new("an item without a kind", BATCH, with(r#""kind":"credit","#, ""))
            .field("transactions[1].kind"),
        Bad::new("an item's currency", BATCH, with("EUR", "EURO"))
            .field("transactions[1].currency"),
        Bad::new("an item's account", BATCH, with("alice", "a/b")).field("transactions[1].account"),
        Bad::new("an item's key", BATCH, with("{", r#"{"key":"cl\u00e9","#))
            .field("transactions[1].key"),
        Bad::new("an empty key", BATCH, with("{", r#"{"key":"","#)).field("transactions[1].key"),
        Bad::new("a number for atomic", BATCH, r#"{"atomic":1,"transactions":[]}"#).field("atomic"),
        Bad::new("atomic over two partitions", BATCH, atomic(&two)).field("atomic"),
        Bad::new("a key twice in an atomic batch", BATCH, atomic(&format!("{keyed},{keyed}")))
            .field("transactions[1].key"),
        Bad::new("a batch of no service", "/v1/zz/batch", batch_of(good))
            .answer(404, "no_such_service"),
        Bad::new("reading a batch", BATCH, "").method("GET").answer(405, "method_not_allowed"),
    ]
}

fn moves() -> Vec<Bad> {
    const HOLDS: &str = "/v1/a/accounts/alice/holds";
    const TRANSFERS: &str = "/v1/transfers";
    let hold = |text: &str| format!(r#"{{"amount":1,"currency":"EUR","expires_in":{text}}}"#);
    let good = r#"{"from":{"service":"a","account":"alice"},"to":{"service":"b","account":"bob"},"amount":1,"currency":"EUR"}"#;
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let nowhere = "hold_00000000000000000000000001";
    vec![
        Bad::new("a hold of nothing", HOLDS, r#"{"currency":"EUR"}"#).field("amount"),
        Bad::new("a hold without a unit", HOLDS, hold(r#""7""#)).field("expires_in"),
        Bad::new("a hold for ever", HOLDS, hold(r#""9999d""#)).field("expires_in"),
        Bad::new("a hold's time as a number", HOLDS, hold("7")).field("expires_in"),
        Bad::new("more than there is", HOLDS, r#"{"amount":7501,"currency":"EUR"}"#)
            .answer(409, "insufficient_funds"),
        Bad::new("another currency", HOLDS, r#"{"amount":1,"currency":"USD"}"#)
            .answer(409, "currency_mismatch"),
        Bad::new("no hold's id", &format!("{HOLDS}/17/capture"), "").answer(404, "no_such_hold"),
        Bad::new("nobody's hold", &format!("{HOLDS}/{nowhere}/release"), "")
            .answer(404, "no_such_hold"),
        Bad::new("reading the holds", HOLDS, "").method("GET").answer(405, "method_not_allowed"),
        Bad::new("no transaction's id", "/v1/a/transactions/17/reverse", "")
            .answer(404, "no_such_transaction"),
        Bad::new("a transfer of nothing", TRANSFERS, with(":1,", ":0,")).field("amount"),
        Bad::new(
            "a transfer from a text",
            TRANSFERS,
            with(r#"{"service":"a","account":"alice"}"#, r#""a""#),
        )
        .field("from"),
        Bad::new("a transfer to no account", TRANSFERS, with(r#","account":"bob""#, ""))
            .field("to.account"),
        Bad::new("a transfer to no service", TRANSFERS, with(r#""b""#, r#""zz""#))
            .answer(404, "no_such_service"),
        Bad::new("a transfer from nobody", TRANSFERS, with("alice", "nobody"))
            .answer(404, "no_such_account"),
        Bad::new("a transfer of too much", TRANSFERS, with(":1,", ":7501,"))
            .answer(409, "insufficient_funds"),
        Bad::new("no transfer's id", "/v1/transfers/tr_17", "")
            .method("GET")
            .answer(404, "no_such_transfer"),
        Bad::new("no cursor", "/v1/a/events?after=x", "").method("GET").field("after"),
        Bad::new("no form", "/v1/a/accounts/alice/statement?format=pdf", "")
            .method("GET")
            .field("format"),
    ]
}

#[test]
fn each_mistake_has_its_own_answer_and_changes_nothing() {
    let tree = Tree::up("bad-input");
    let mut client = tree.client();
    let opened = client.post(OPEN, r#"{"id":"alice","currency":"EUR"}"#).unwrap();
    assert_eq!(opened.status, 201, "{opened:?}");
    let credited =
        client.post("/v1/a/accounts/alice/credit", r#"{"amount":7500,"currency":"EUR"}"#);
    assert_eq!(credited.unwrap().status, 201);
    let before = client.get("/v1/a/accounts/alice").unwrap().body;

    let mut wrong = String::new();
    for bad in bodies().into_iter().chain(requests()).chain(batches()).chain(moves()) {
        let mut client = tree.client();
        let answer = client.send(bad.method, &bad.path, &bad.headers, &bad.body).unwrap();
        if let Err(complaint) = check(&bad, &answer) {
            wrong.push_str(&format!("{}: {complaint}\n", bad.what));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert_eq!(client.get("/v1/a/accounts/alice").unwrap().body, before);
    tree.ok(&["verify"]);
}

fn check(bad: &Bad, answer: &Answer) -> Result<(), String> {
    let body = String::from_utf8_lossy(&answer.body);
    if answer.status != bad.status {
        return Err(format!("{} instead of {}: {body}", answer.status, bad.status));
    }
    if answer.code() != bad.code {
        return Err(format!("not {}: {body}", bad.code));
    }
    let problem = answer.json();
    if bad.field.is_some() && problem["field"].as_str() != bad.field {
        return Err(format!("field is not {:?}: {body}", bad.field));
    }
    if problem["detail"].as_str().is_none_or(|detail| detail.len() < 10) {
        return Err(format!("says too little: {body}"));
    }
    if problem["status"] != bad.status || answer.header("x-request-id").is_none() {
        return Err(format!("incomplete: {answer:?}"));
    }
    Ok(())
}

/// What no HTTP client would send: the connection gets a 400 or is closed, the tree stays up.
#[test]
fn bytes_that_are_no_http_harm_nobody() {
    let tree = Tree::up("no-http");
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\r\n\r\nnonsense\r\n\r\n",
    ] {
        let mut client = Client::connect(tree.edge, &tree.key).unwrap();
        client.raw(bytes).unwrap();
        if let Ok(answer) = client.answer(false) {
            assert_eq!(answer.status, 400, "{bytes:?}: {answer:?}");
        }
    }
    let opened = tree.client().post(OPEN, r#"{"id":"alice","currency":"EUR"}"#).unwrap();
    assert_eq!(opened.status, 201, "{opened:?}");
}
