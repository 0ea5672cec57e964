//! The file of API keys beside the first one: of each its hash, its name, and what it may do. The
//! keys themselves are in no file.
//!
//! A key is 256 random bits, so a plain hash of it gives nothing away and costs a request little.

mod watch;

pub use self::watch::Watch;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, num::NonZeroU32};
use wire::{Caller, Timestamp};

/// Keys of one file.
pub const KEYS_MAX: usize = 10_000;
/// Bytes of one file: room for so many keys.
pub const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Bytes of a key's name.
pub const NAME_BYTES_MAX: usize = 64;
/// Requests a second that a key may be limited to; more is no limit.
pub const RATE_MAX: u32 = 1_000_000;

/// What is kept of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// One key of the file bears it. Never shown to callers.
    pub name: String,
    /// BLAKE3 of the key.
    pub hash: [u8; 32],
    pub created: Timestamp,
    /// The only services that it is for; all of them without.
    pub services: Option<Vec<String>>,
    /// It changes nothing.
    pub read_only: bool,
    /// From then on it is not known any more.
    pub expires: Option<Timestamp>,
    /// Requests a second that each gateway takes of it.
    pub rate: Option<NonZeroU32>,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    keys: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    hash: String,
    created: String,
    #[serde(default)]
    services: Option<Vec<String>>,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    expires: Option<String>,
    #[serde(default)]
    rate: Option<u32>,
}

impl Key {
    /// Who presents this key: the same as who presents one without an entry here would be.
    pub fn caller(&self) -> Caller {
        Caller::of_hash(&self.hash)
    }
}

/// The hash of a key, as files hold it.
pub fn hash(key: &[u8]) -> [u8; 32] {
    *blake3::hash(key).as_bytes()
}

/// Whether a key may be called so.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-@".contains(&it))
}

/// Reads a file's text; the error says what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Key>, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if KEYS_MAX < file.keys.len() {
        return Err(format!("{} keys; {KEYS_MAX} at most", file.keys.len()));
    }
    let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
    let mut keys = Vec::with_capacity(file.keys.len());
    for entry in file.keys {
        let key = entry.read()?;
        if !names.insert(key.name.clone()) || !hashes.insert(key.hash) {
            return Err(format!("key {}: it is there twice", key.name));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The text of a file of these keys.
pub fn text(keys: &[Key]) -> String {
    let entry = |key: &Key| Entry {
        name: key.name.clone(),
        hash: HEXLOWER.encode(&key.hash),
        created: key.created.to_string(),
        services: key.services.clone(),
        read_only: key.read_only,
        expires: key.expires.map(|at| at.to_string()),
        rate: key.rate.map(NonZeroU32::get),
    };
    let file = File { keys: keys.iter().map(entry).collect() };
    serde_json::to_string_pretty(&file).expect("our own values have string keys") + "\n"
}

impl Entry {
    fn read(self) -> Result<Key, String> {
        let wrong = |what: &str| format!("key {:?}: {what}", self.name);
        if !is_name(&self.name) {
            let want = format!("a name is 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ - @");
            return Err(wrong(&want));
        }
        let hash = HEXLOWER.decode(self.hash.as_bytes()).ok().and_then(|it| it.try_into().ok());
        let time = |text: &str| Timestamp::parse(text).ok_or_else(|| wrong("no such time"));
        let rate = |rate: u32| {
            let rate = NonZeroU32::new(rate).filter(|it| it.get() <= RATE_MAX);
            rate.ok_or_else(|| wrong(&format!("a rate is 1 to {RATE_MAX} a second")))
        };
        Ok(Key {
            hash: hash.ok_or_else(|| wrong("a hash is 64 hexadecimal digits"))?,
            created: time(&self.created)?,
            expires: self.expires.as_deref().map(time).transpose()?,
            rate: self.rate.map(rate).transpose()?,
            services: self.services,
            read_only: self.read_only,
            name: self.name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            name: name.to_owned(),
            hash: hash(name.as_bytes()),
            created: Timestamp(1_000_000),
            services: Some(vec!["a".to_owned()]),
            read_only: true,
            expires: Some(Timestamp(2_000_000)),
            rate: NonZeroU32::new(5),
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let plain = Key { services: None, read_only: false, expires: None, rate: None, ..key("b") };
        let keys = vec![key("a"), plain];
        assert_eq!(parse(&text(&keys)), Ok(keys.clone()));
        assert_eq!(parse(&text(&[])), Ok(Vec::new()));
        assert!(!text(&keys).contains("secret"));
        let written = r#"{"keys":[{"name":"x","hash":"HASH","created":"2026-11-22T11:00:00Z"}]}"#;
        let written = written.replace("HASH", &"0f".repeat(32));
        let read = parse(&written).unwrap();
        assert_eq!((read[0].hash, &read[0].services, read[0].rate), ([15; 32], &None, None));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let broken = |keys: &[Key], from: &str, to: &str| {
            let changed = text(keys).replace(from, to);
            assert_ne!(changed, text(keys));
            parse(&changed).unwrap_err()
        };
        let one = [key("a")];
        assert!(broken(&one, "\"a\",\n", "\"a b\",\n").contains("a name is"));
        assert!(broken(&one, "\"hash\": \"", "\"hash\": \"zz").contains("64 hexadecimal"));
        assert!(broken(&one, "1970-01-01T00:00:01.000000Z", "now").contains("no such time"));
        assert!(broken(&one, "\"rate\": 5", "\"rate\": 0").contains("a rate is"));
        assert!(broken(&one, "read_only", "readonly").contains("readonly"));
        let both = [key("a"), Key { name: "a2".to_owned(), ..key("a") }];
        assert_eq!(parse(&text(&both)), Err("key a2: it is there twice".to_owned()));
    }

    /// The scope of idempotency keys does not change when a key gets an entry.
    #[test]
    fn a_key_is_the_same_caller_wherever_it_stands() {
        assert_eq!(key("tg_key").caller(), Caller::from_api_key("tg_key"));
    }
}
