//! What stands in addresses and bodies, read.

use crate::core::reading::Number;
use std::borrow::Cow;

/// Parameters that are read; more are ignored.
const PARAMS_MAX: usize = 64;

/// The query of an address.
#[derive(Debug, Default)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads `a=1&b=2`, each part percent-decoded.
    pub(super) fn parse(text: &str) -> Query {
        let parts = text.split('&').filter(|it| !it.is_empty()).take(PARAMS_MAX);
        let pair = |it: &str| {
            let (name, value) = it.split_once('=').unwrap_or((it, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        };
        Query { pairs: parts.map(pair).collect() }
    }

    /// The first value of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// The numbers of a beat: `metric=NAME:NUMBER`, as often as there are some. A beat is not lost for
    /// one that cannot be read; that one is.
    pub(super) fn metrics(&self) -> Vec<Number> {
        let metric = |it: &str| it.rsplit_once(':').and_then(|it| Number::parse(it.0, it.1));
        self.all("metric").filter_map(metric).collect()
    }

    /// Every value of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

/// Percent-decoded; what is no UTF-8 shows as such.
pub(super) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let hex = hex.filter(|it| it.iter().all(u8::is_ascii_hexdigit));
        let value = hex.and_then(|it| std::str::from_utf8(it).ok());
        match value.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Text for HTML.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(char),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_decoded() {
        let query = Query::parse("a=1&b=x+y%2Bz&a=2&c&=d&e=%zz%");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), Some("x y+z"));
        assert_eq!(
            (query.get("c"), query.get("e"), query.get("f")),
            (Some(""), Some("%zz%"), None)
        );
        assert_eq!(decoded("%ff%C3%A9"), "\u{fffd}é");
    }

    #[test]
    fn metrics_are_named_numbers() {
        let query = Query::parse("metric=rows:1200&metric=took:0.5&metric=bad&metric=x:&metric=:1");
        let metrics: Vec<(String, f64)> =
            query.metrics().into_iter().map(|it| (it.name, it.value)).collect();
        assert_eq!(metrics, [("rows".to_owned(), 1200.0), ("took".to_owned(), 0.5)]);
    }

    #[test]
    fn html_is_escaped() {
        assert_eq!(escaped("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }
}
