//! Fields of a head, read once: what a table of HPACK holds is never looked at again.

use http::{
    HeaderName, HeaderValue, Method,
    uri::{Authority, PathAndQuery, Scheme},
};
use std::sync::LazyLock;

/// What a field takes in a table and counts in a head, beside its name and value (RFC 7541 §4.1).
pub(super) const OVERHEAD_BYTES: usize = 32;

/// What a field is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Method,
    Scheme,
    Authority,
    Path,
    Header(HeaderName),
    /// Nothing that a request may say.
    Flawed,
}

/// What a field says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Method(Method),
    Scheme(Scheme),
    Authority(Authority),
    Path(PathAndQuery),
    Header(HeaderValue),
    /// Nothing that a field of its name may say.
    Flawed,
}

/// One field, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Name,
    pub(super) value: Value,
    pub(super) name_bytes: usize,
    pub(super) bytes: usize,
}

impl Field {
    /// A field as it was sent.
    pub(super) fn new(name: Name, name_bytes: usize, value: &[u8]) -> Field {
        let bytes = name_bytes + value.len() + OVERHEAD_BYTES;
        let value = Value::of(&name, value);
        Field { name, value, name_bytes, bytes }
    }

    /// Sees to it that nobody keeps its value in a table (RFC 7541 §7.1.3).
    pub(super) fn never_indexed(mut self) -> Field {
        if let Value::Header(value) = &mut self.value {
            value.set_sensitive(true);
        }
        self
    }
}

impl Name {
    pub(super) fn of(name: &[u8]) -> Name {
        match name {
            b":method" => Name::Method,
            b":scheme" => Name::Scheme,
            b":authority" => Name::Authority,
            b":path" => Name::Path,
            // Lower case, or it is flawed (RFC 9113 §8.2.1).
            name => HeaderName::from_lowercase(name).map_or(Name::Flawed, Name::Header),
        }
    }
}

impl Value {
    fn of(name: &Name, value: &[u8]) -> Value {
        match name {
            Name::Method => Method::from_bytes(value).map_or(Value::Flawed, Value::Method),
            Name::Scheme => Scheme::try_from(value).map_or(Value::Flawed, Value::Scheme),
            Name::Authority => Authority::try_from(value).map_or(Value::Flawed, Value::Authority),
            Name::Path if value.starts_with(b"/") || value == b"*" => {
                PathAndQuery::try_from(value).map_or(Value::Flawed, Value::Path)
            }
            Name::Header(name) if may_say(name, value) => {
                HeaderValue::from_bytes(value).map_or(Value::Flawed, Value::Header)
            }
            Name::Path | Name::Header(_) | Name::Flawed => Value::Flawed,
        }
    }
}

/// What is said of an HTTP/1 connection has no place in HTTP/2 (RFC 9113 §8.2.2), nor has white
/// space around a value, which HTTP/1 would not take for a part of it (§8.2.1).
fn may_say(name: &HeaderName, value: &[u8]) -> bool {
    if value.trim_ascii().len() != value.len() {
        return false;
    }
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => false,
        "te" => value == b"trailers",
        _ => true,
    }
}

/// An entry of the static table, by its index from 1.
pub(super) fn of_static_table(index: usize) -> Option<&'static Field> {
    static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
        let field = |(name, value): &(&str, &str)| {
            Field::new(Name::of(name.as_bytes()), name.len(), value.as_bytes())
        };
        STATIC_TABLE.iter().map(field).collect()
    });
    FIELDS.get(index.checked_sub(1)?)
}

/// The number under which the static table has a header's name.
pub(super) fn static_index(name: &HeaderName) -> Option<u8> {
    /// The names by their length: of each there are few.
    static INDICES: LazyLock<Vec<Vec<(&str, u8)>>> = LazyLock::new(|| {
        let longest = STATIC_TABLE.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut indices = vec![Vec::new(); longest + 1];
        for ((name, _), at) in STATIC_TABLE.iter().zip(1..) {
            indices[name.len()].push((*name, at));
        }
        indices
    });
    let name = name.as_str();
    INDICES.get(name.len())?.iter().find(|(it, _)| *it == name).map(|(_, at)| *at)
}

/// The first entry of the static table that is `:status`.
pub(super) const STATUS: u8 = 8;
/// The values of that and of those after it.
pub(super) const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
/// Entries of the static table.
pub(super) const STATIC_ENTRIES: usize = STATIC_TABLE.len();

/// RFC 7541, Appendix A.
const STATIC_TABLE: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
