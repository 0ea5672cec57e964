//! Which requests go to an HTTP service beside the account API.
//!
//! An exact path comes before any pattern, and of the patterns the longest wins. The account API is
//! under `/v1/`, where no route leads.

use crate::escapes::{percent_decode, unescaped};
use std::collections::BTreeMap;

/// Where the account API is.
const OWN: &str = "/v1/";

/// From paths to whatever stands for a service.
#[derive(Clone, Debug)]
pub(super) struct Routes<T> {
    exact: BTreeMap<Box<str>, T>,
    /// What comes before the `*`, the longest first.
    prefixes: Vec<(Box<str>, T)>,
}

/// What the routes say of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    Service(T),
    /// It leads to a service, and has a `.` or `..` in it: the service might understand it as a path
    /// that no route leads to.
    Dotted,
    Nothing,
}

impl<T> Default for Routes<T> {
    fn default() -> Routes<T> {
        Routes { exact: BTreeMap::new(), prefixes: Vec::new() }
    }
}

impl<T: Clone> Found<&T> {
    /// The service itself.
    pub(super) fn cloned(self) -> Found<T> {
        match self {
            Found::Service(service) => Found::Service(service.clone()),
            Found::Dotted => Found::Dotted,
            Found::Nothing => Found::Nothing,
        }
    }
}

impl<T> Routes<T> {
    /// Whatever stands for a service, once for each route.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.prefixes.iter().map(|(_, service)| service))
    }

    /// The paths of the topology file: `/path` or `/path/*`.
    pub(super) fn new(routes: impl IntoIterator<Item = (String, T)>) -> Routes<T> {
        let mut exact: BTreeMap<Box<str>, T> = BTreeMap::new();
        let mut prefixes: Vec<(Box<str>, T)> = Vec::new();
        for (path, service) in routes {
            match path.strip_suffix('*') {
                Some(prefix) => prefixes.push((Box::from(prefix), service)),
                None => drop(exact.insert(path.into_boxed_str(), service)),
            }
        }
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Routes { exact, prefixes }
    }

    /// Where a request for `target`, a path with or without a query, goes.
    pub(super) fn find(&self, target: &str) -> Found<&T> {
        if target.starts_with(OWN) {
            return Found::Nothing;
        }
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let path = &*unescaped(path);
        if path.starts_with(OWN) {
            return Found::Nothing;
        }
        let by_prefix = || self.prefixes.iter().find(|(prefix, _)| path.starts_with(&**prefix));
        let found = self.exact.get(path).or_else(|| by_prefix().map(|(_, service)| service));
        match found {
            Some(_) if has_dots(path) => Found::Dotted,
            Some(service) => Found::Service(service),
            None => Found::Nothing,
        }
    }
}

/// Whether a segment is `.` or `..`, written plainly or not, and also behind a `\` or an encoded
/// slash.
fn has_dots(path: &str) -> bool {
    let is_dotted = |path: &str| path.split(['/', '\\']).any(|it| it == "." || it == "..");
    match percent_decode(path, false) {
        Some(decoded) => is_dotted(&decoded),
        None => is_dotted(path) || path.contains("%2e") || path.contains("%2E"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes<&'static str> {
        let all = [
            ("/rates/*", "rates"),
            ("/rates/eur/*", "euro"),
            ("/rates/eur/now", "now"),
            ("/", "root"),
            ("/rates%2F*", "any"),
        ];
        Routes::new(all.map(|(path, service)| (path.to_owned(), service)))
    }

    #[test]
    fn the_longest_wins_and_an_exact_path_before_it() {
        let routes = routes();
        for (target, service) in [
            ("/rates/usd", "rates"),
            ("/rates/", "rates"),
            ("/rates/usd?a=/rates/eur/x", "rates"),
            ("/rates/eur", "rates"),
            ("/rates/eur/", "euro"),
            ("/rates/eur/now", "now"),
            ("/rates/eur/now?x=1", "now"),
            ("/rates/eur/now/", "euro"),
            ("/", "root"),
            ("/?q", "root"),
            ("/r%61tes/%65ur/x", "euro"),
            ("/rates%2Feur/x", "any"),
        ] {
            assert_eq!(routes.find(target), Found::Service(&service), "{target}");
        }
        for target in
            ["/rates", "/ratesx", "/other", "/v1/rates/", "/v1/a/accounts", "/%761/rates/", "", "*"]
        {
            assert_eq!(routes.find(target), Found::Nothing, "{target}");
        }
    }

    #[test]
    fn nobody_climbs_out_of_a_route() {
        let routes = routes();
        for target in [
            "/rates/../admin",
            "/rates/%2e%2e/admin",
            "/rates/.%2E/admin",
            "/rates/./x",
            "/rates/..%2fadmin",
            "/rates/..\\admin",
            "/rates/..",
            "/rates/%2e%2e/%ff",
        ] {
            assert_eq!(routes.find(target), Found::Dotted, "{target}");
        }
        for target in ["/rates/...", "/rates/a..b", "/rates/x?p=../..", "/rates/.well-known/x"] {
            assert_eq!(routes.find(target), Found::Service(&"rates"), "{target}");
        }
    }
}
