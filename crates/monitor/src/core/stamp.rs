//! How times are stored: microseconds since 1970.

use serde::{Deserialize, Deserializer, Serializer};
use wire::Timestamp;

/// Writes a time.
pub fn serialize<S: Serializer>(at: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_i64(at.0)
}

/// Reads a time.
pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Timestamp, D::Error> {
    i64::deserialize(input).map(Timestamp)
}

/// A time that may be missing.
pub mod maybe {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    /// Writes a time or nothing.
    pub fn serialize<S: Serializer>(at: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => out.serialize_some(&at.0),
            None => out.serialize_none(),
        }
    }

    /// Reads a time or nothing.
    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Timestamp>, D::Error> {
        Option::<i64>::deserialize(input).map(|it| it.map(Timestamp))
    }
}
