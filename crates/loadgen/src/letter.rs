//! Writes requests into a reused buffer, without a parse or an allocation.

mod envelope;

pub(crate) use self::envelope::split;

use self::envelope::Envelope;
use crate::{
    plan::{Keys, Plan},
    work::{Deed, Op},
};
use std::{fmt::Arguments, io::Write as _};

/// What every request of a run has in common.
#[derive(Clone, Debug)]
pub(crate) struct Letters {
    services: Vec<String>,
    run: String,
    keys: Keys,
    envelope: Envelope,
}

/// Which key a write bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Of ours: thread and number.
    Ours(usize, u64),
    /// Of the tree, as its answer told us.
    Told(Box<str>),
    /// None: the tree is to mint one.
    None,
}

impl Letters {
    pub(crate) fn new(plan: &Plan) -> Letters {
        let (host, key) = (&plan.target.host, &plan.target.api_key);
        Letters {
            services: plan.services.clone(),
            run: plan.run.clone(),
            keys: plan.keys,
            envelope: match plan.streams {
                None => Envelope::http1(host, key),
                Some(_) => Envelope::http2(host, key),
            },
        }
    }

    /// The key of a new write.
    pub(crate) fn key(&self, thread: usize, number: u64) -> Key {
        match self.keys {
            Keys::Client => Key::Ours(thread, number),
            Keys::Minted => Key::None,
        }
    }

    /// The service that has this account.
    pub(crate) fn service(&self, account: u32) -> &str {
        let count = u32::try_from(self.services.len()).expect("a handful of services");
        let place = usize::try_from(account % count).expect("below the count");
        &self.services[place]
    }

    /// The account's id.
    pub(crate) fn account(&self, account: u32) -> String {
        format!("bench-{}-{account}", self.run)
    }

    /// A transfer's source and target: service and account.
    pub(crate) fn parties(&self, op: Op) -> [(&str, String); 2] {
        let party = |account| (self.service(account), self.account(account));
        [party(op.account), party(op.to.unwrap_or(op.account))]
    }

    /// A debit, a credit, a balance or a transfer.
    pub(crate) fn op(&self, out: &mut Vec<u8>, op: Op, key: &Key) {
        if let Some(to) = op.to {
            return self.transfer(out, op, to, key);
        }
        let verb = match op.deed {
            Deed::Debit => "debit",
            Deed::Credit => "credit",
            Deed::Read => "balance",
        };
        let (service, account, run) = (self.service(op.account), op.account, &self.run);
        let path = format_args!("/v1/{service}/accounts/bench-{run}-{account}/{verb}");
        match op.deed {
            Deed::Read => self.envelope.get(out, path),
            Deed::Debit | Deed::Credit => {
                let digits = usize::try_from(op.amount.checked_ilog10().unwrap_or(0));
                let digits = 1 + digits.expect("at most ten");
                self.post(out, path, key, r#"{"amount":,"currency":"EUR"}"#.len() + digits);
                put(out, format_args!("{{\"amount\":{},\"currency\":\"EUR\"}}", op.amount));
            }
        }
    }

    fn transfer(&self, out: &mut Vec<u8>, op: Op, to: u32, key: &Key) {
        let (run, Op { account, amount, .. }) = (&self.run, op);
        let (source, target) = (self.service(account), self.service(to));
        let body = format!(
            "{{\"from\":{{\"service\":\"{source}\",\"account\":\"bench-{run}-{account}\"}},\
             \"to\":{{\"service\":\"{target}\",\"account\":\"bench-{run}-{to}\"}},\
             \"amount\":{amount},\"currency\":\"EUR\"}}"
        );
        self.post(out, format_args!("/v1/transfers"), key, body.len());
        out.extend_from_slice(body.as_bytes());
    }

    /// A transfer by its id.
    pub(crate) fn find_transfer(&self, out: &mut Vec<u8>, id: &str) {
        self.envelope.get(out, format_args!("/v1/transfers/{}", escaped(id)));
    }

    /// Debits and credits of accounts of one service.
    pub(crate) fn batch(&self, out: &mut Vec<u8>, ops: &[Op], key: &Key) {
        let Some(first) = ops.first() else { return };
        let (service, run) = (self.service(first.account), &self.run);
        let mut body = Vec::with_capacity(ops.len() * 96);
        body.extend_from_slice(b"{\"transactions\":[");
        for (at, op) in ops.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let kind = if op.deed == Deed::Credit { "credit" } else { "debit" };
            let Op { account, amount, .. } = op;
            put(
                &mut body,
                format_args!(
                    "{comma}{{\"account\":\"bench-{run}-{account}\",\"kind\":\"{kind}\",\
                     \"amount\":{amount},\"currency\":\"EUR\"}}"
                ),
            );
        }
        body.extend_from_slice(b"]}");
        self.post(out, format_args!("/v1/{service}/batch"), key, body.len());
        out.extend_from_slice(&body);
    }

    /// All of a write but its body, which is so long.
    fn post(&self, out: &mut Vec<u8>, path: Arguments<'_>, key: &Key, length: usize) {
        let post = |out: &mut Vec<u8>, key| self.envelope.post(out, path, key, length);
        match key {
            Key::Ours(thread, number) => {
                post(out, Some(format_args!("{}-{thread}-{number}", self.run)));
            }
            Key::Told(key) => post(out, Some(format_args!("{key}"))),
            Key::None => post(out, None),
        }
    }

    /// Opens an account.
    pub(crate) fn open(&self, out: &mut Vec<u8>, account: u32) {
        let id = self.account(account);
        let path = format!("/v1/{}/accounts", self.service(account));
        let body = format!(r#"{{"id":"{id}","currency":"EUR"}}"#);
        self.errand(out, &path, &format!("{}-open-{account}", self.run), &body);
    }

    /// Puts money on it.
    pub(crate) fn fund(&self, out: &mut Vec<u8>, account: u32, amount: i64) {
        let path =
            format!("/v1/{}/accounts/{}/credit", self.service(account), self.account(account));
        let body = format!(r#"{{"amount":{amount},"currency":"EUR"}}"#);
        self.errand(out, &path, &format!("{}-fund-{account}", self.run), &body);
    }

    fn errand(&self, out: &mut Vec<u8>, path: &str, key: &str, body: &str) {
        let (path, key) = (format_args!("{path}"), format_args!("{key}"));
        self.envelope.post(out, path, Some(key), body.len());
        out.extend_from_slice(body.as_bytes());
    }

    /// A page of an account's history, after the page that ended with `cursor`.
    pub(crate) fn history(&self, out: &mut Vec<u8>, account: u32, rows: usize, cursor: &str) {
        let (service, id) = (self.service(account), self.account(account));
        let after = if cursor.is_empty() { "" } else { "&starting_after=" };
        self.envelope.get(
            out,
            format_args!(
                "/v1/{service}/accounts/{id}/transactions?limit={rows}{after}{}",
                escaped(cursor)
            ),
        );
    }

    /// A service's books.
    pub(crate) fn trial(&self, out: &mut Vec<u8>, service: &str) {
        self.envelope.get(out, format_args!("/v1/{service}/trial-balance"));
    }
}

/// What a URL cannot bear, as percent and two digits.
fn escaped(cursor: &str) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"-_.~".contains(&it);
    let escape = |it: u8| match plain(it) {
        true => char::from(it).to_string(),
        false => format!("%{it:02X}"),
    };
    cursor.bytes().map(escape).collect()
}

fn put(out: &mut Vec<u8>, text: Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::plan;

    fn written(write: impl FnOnce(&Letters, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&Letters::new(&plan("127.0.0.1:1")), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_debit_says_how_long_its_body_is() {
        for (amount, length) in [(1, 29), (10, 30), (99, 30), (1_000, 32)] {
            let op = Op { account: 3, deed: Deed::Debit, amount, to: None };
            assert_eq!(
                written(|letters, out| letters.op(out, op, &Key::Ours(1, 22))),
                format!(
                    "POST /v1/b/accounts/bench-r-3/debit HTTP/1.1\r\nHost: tree\r\n\
                     Authorization: Bearer secret\r\nIdempotency-Key: r-1-22\r\n\
                     Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n\
                     {{\"amount\":{amount},\"currency\":\"EUR\"}}"
                )
            );
        }
    }

    #[test]
    fn a_batch_goes_to_the_service_of_its_accounts() {
        let op = |account| Op { account, deed: Deed::Debit, amount: 5, to: None };
        let text = written(|letters, out| letters.batch(out, &[op(1), op(3)], &Key::Ours(0, 7)));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/b/batch HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nIdempotency-Key: r-0-7\r\n"), "{head}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let second = &body["transactions"][1];
        assert_eq!((&second["account"], &second["amount"]), (&"bench-r-3".into(), &5.into()));
    }

    #[test]
    fn a_transfer_names_both_ends() {
        let op = Op { account: 1, deed: Deed::Debit, amount: 5, to: Some(2) };
        let text = written(|letters, out| letters.op(out, op, &Key::Ours(0, 7)));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/transfers HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nIdempotency-Key: r-0-7\r\n"), "{head}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        assert_eq!(
            body,
            r#"{"from":{"service":"b","account":"bench-r-1"},"to":{"service":"a","account":"bench-r-2"},"amount":5,"currency":"EUR"}"#
        );
    }

    #[test]
    fn reads_have_no_body_and_no_key() {
        let op = Op { account: 0, deed: Deed::Read, amount: 0, to: None };
        assert_eq!(
            written(|letters, out| letters.op(out, op, &Key::None)),
            "GET /v1/a/accounts/bench-r-0/balance HTTP/1.1\r\nHost: tree\r\n\
             Authorization: Bearer secret\r\n\r\n"
        );
        let page = written(|letters, out| letters.history(out, 0, 1_000, "a+/="));
        let path = "/v1/a/accounts/bench-r-0/transactions?limit=1000&starting_after=a%2B%2F%3D ";
        assert!(page.starts_with(&format!("GET {path}")), "{page}");
    }

    #[test]
    fn a_repeat_bears_the_key_that_the_tree_told() {
        let op = Op { account: 0, deed: Deed::Credit, amount: 5, to: None };
        let told = written(|letters, out| letters.op(out, op, &Key::Told("tgk_1".into())));
        assert!(told.contains("\r\nIdempotency-Key: tgk_1\r\n"), "{told}");
        let fresh = written(|letters, out| letters.op(out, op, &Key::None));
        assert!(!fresh.contains("Idempotency-Key"), "{fresh}");
    }
}
