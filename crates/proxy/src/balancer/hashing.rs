//! The hash of a request, for a balancer that sends what belongs together to the same endpoint.

use crate::{config::HashBy, escapes::unescaped};
use wire::frame::Target;

/// The hash of an endpoint's name: the same in every process and after a reload.
pub(crate) fn of_name(name: &str) -> u64 {
    Fnv::new().with(name.as_bytes()).0
}

/// The hash of what `by` finds in a request.
pub(crate) fn of_request(by: &HashBy, target: &Target<'_>) -> u64 {
    match target {
        Target::Ledger { service, partition, .. } => {
            Fnv::new().with(service.as_bytes()).with(&partition.0.to_le_bytes()).0
        }
        Target::Http { path, headers, .. } => {
            let value = match by {
                HashBy::Header(name) => headers.get(name),
                HashBy::Account => None,
            };
            let path = unescaped(without_query(path));
            match (value, account(&path)) {
                (Some(value), _) => Fnv::new().with(value).0,
                (None, Some((service, id))) => {
                    Fnv::new().with(service.as_bytes()).with(b"/").with(id.as_bytes()).0
                }
                (None, None) => Fnv::new().with(path.as_bytes()).0,
            }
        }
    }
}

/// Service and account of a path of the account API, which has no query.
fn account(path: &str) -> Option<(&str, &str)> {
    let mut parts = path.strip_prefix("/v1/")?.split('/');
    let (service, accounts, id) = (parts.next()?, parts.next()?, parts.next()?);
    (accounts == "accounts" && !id.is_empty()).then_some((service, id))
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// FNV-1a (Fowler, Noll, Vo 1991). Its bits need not be good: the policy mixes them.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn with(self, bytes: &[u8]) -> Fnv {
        let step =
            |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Fnv(bytes.iter().fold(self.0, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::frame::{HeaderList, Headers};

    fn by_account(path: &str) -> u64 {
        let target = Target::Http { method: "GET", path, headers: Headers::NONE };
        of_request(&HashBy::Account, &target)
    }

    #[test]
    fn everything_about_an_account_is_one_key() {
        let alice = by_account("/v1/a/accounts/alice");
        for path in ["/v1/a/accounts/alice?x=1", "/v1/%61/accounts/al%69ce/debit"] {
            assert_eq!(by_account(path), alice, "{path}");
        }
        for path in ["/v1/b/accounts/alice", "/v1/a/accounts/bob", "/v1/a/accounts"] {
            assert_ne!(by_account(path), alice, "{path}");
        }
        assert_eq!(by_account("/rates/eur?day=1"), by_account("/rates/eur?day=2"));
    }

    #[test]
    fn a_header_decides_where_it_is_there() {
        let by = HashBy::Header("x-user".into());
        let hash = |path, user: Option<&str>| {
            let mut list = HeaderList::new();
            user.into_iter().for_each(|it| list.push("x-user", it.as_bytes()).unwrap());
            of_request(&by, &Target::Http { method: "GET", path, headers: list.as_ref() })
        };
        assert_eq!(hash("/a", Some("u")), hash("/b", Some("u")));
        assert_ne!(hash("/a", Some("u")), hash("/a", Some("v")));
        assert_ne!(hash("/a", None), hash("/b", None));
    }
}
