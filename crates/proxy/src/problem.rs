//! Refusals and failures as `application/problem+json` (RFC 9457).

use net::trunk::ReplyTo;
use wire::{
    Code,
    frame::{HeaderList, ResponseRef},
};

/// Media type of the body.
pub const CONTENT_TYPE: &str = "application/problem+json";
const TYPE_BASE: &str = "https://tollgate.dev/errors/";

/// What went wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem<'a> {
    pub code: Code,
    /// One sentence for people; never what only we may know.
    pub detail: &'a str,
    /// The field or header at fault.
    pub field: Option<&'a str>,
    pub request_id: &'a str,
}

impl Problem<'_> {
    /// Appends the JSON body.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\": \"");
        out.extend_from_slice(TYPE_BASE.as_bytes());
        out.extend_from_slice(self.code.text().as_bytes());
        out.extend_from_slice(b"\", \"title\": \"");
        out.extend_from_slice(self.code.title().as_bytes());
        out.extend_from_slice(b"\", \"status\": ");
        out.extend_from_slice(self.code.status().to_string().as_bytes());
        out.extend_from_slice(b", \"code\": \"");
        out.extend_from_slice(self.code.text().as_bytes());
        out.extend_from_slice(b"\", \"detail\": ");
        write_string(out, self.detail);
        out.extend_from_slice(b", \"field\": ");
        match self.field {
            Some(field) => write_string(out, field),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b", \"request_id\": ");
        write_string(out, self.request_id);
        out.push(b'}');
    }

    /// The JSON body.
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.detail.len());
        self.write(&mut out);
        out
    }
}

/// Seconds after which a refusal for lack of room may be repeated, for `Retry-After`.
pub fn retry_after(code: Code) -> Option<&'static str> {
    match code.status() {
        429 | 503 => Some("1"),
        _ => None,
    }
}

/// Answers a request of the trunk with a problem. `decided_by` is the node or service to blame.
pub(crate) fn send(reply: ReplyTo, decided_by: &str, code: Code, detail: &str, request_id: &str) {
    let body = Problem { code, detail, field: None, request_id }.body();
    let mut headers = HeaderList::new();
    let pairs = [("content-type", Some(CONTENT_TYPE)), ("retry-after", retry_after(code))];
    for (name, value) in pairs {
        if let Some(value) = value {
            headers.push(name, value.as_bytes()).expect("two short headers fit");
        }
    }
    let mut response = ResponseRef::new(code.status(), decided_by, &body);
    response.headers = headers.as_ref();
    reply.send(response);
}

/// Whether `body` is a problem of this code.
pub fn is_problem(body: &[u8], code: Code) -> bool {
    let wanted = format!("\"code\": \"{}\"", code.text());
    body.windows(wanted.len()).any(|window| window == wanted.as_bytes())
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is JSON, and a vector takes it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_that_of_the_contract() {
        let problem = Problem {
            code: Code::InsufficientFunds,
            detail: "available 3000 EUR cents, asked 4500",
            field: None,
            request_id: "req_1",
        };
        let body = String::from_utf8(problem.body()).unwrap();
        assert_eq!(
            body,
            r#"{"type": "https://tollgate.dev/errors/insufficient_funds", "title": "Insufficient funds", "status": 409, "code": "insufficient_funds", "detail": "available 3000 EUR cents, asked 4500", "field": null, "request_id": "req_1"}"#
        );
        assert!(is_problem(body.as_bytes(), Code::InsufficientFunds));
        assert!(!is_problem(body.as_bytes(), Code::KeyInUse));
    }

    #[test]
    fn what_a_client_wrote_cannot_leave_its_string() {
        let evil = "a\"b\\c\n\u{1}\u{2028}";
        let problem = Problem {
            code: Code::InvalidRequest,
            detail: evil,
            field: Some(evil),
            request_id: evil,
        };
        let read: serde_json::Value = serde_json::from_slice(&problem.body()).unwrap();
        assert_eq!([&read["detail"], &read["field"], &read["request_id"]], [evil, evil, evil]);
        assert_eq!(read["status"], 400);
    }
}
