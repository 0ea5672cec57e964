//! The numbers that a node sends with a beat, by name.
//!
//! What its admin page tells is flattened: `requests`; of a table within it `services.requests`;
//! a list of tables counts as the sum over its members, a list of anything else as its length.
//! The numbers of its self checks are `check.disk`, `check.commit` and so on. What a job tells with a
//! beat bears the name that it gives it.

use serde_json::Value;
use std::collections::BTreeMap;

/// Numbers of one beat that are looked at; more are left out.
const NUMBERS_MAX: usize = 512;
/// How deep tables may lie within each other.
const DEPTH_MAX: usize = 4;

/// Numbers of one beat of a job; more are left out.
pub const METRICS_MAX: usize = 32;
/// Longest name of one.
const NAME_BYTES_MAX: usize = 64;

/// A number that a job tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    pub name: String,
    pub value: f64,
}

impl Number {
    /// Reads a name of letters, digits and `._-`, and a finite number.
    pub fn parse(name: &str, value: &str) -> Option<Number> {
        let is_char = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
        let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_char);
        let value: f64 = value.trim().parse().ok()?;
        (is_name && value.is_finite()).then(|| Number { name: name.to_owned(), value })
    }
}

/// The numbers of one beat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    numbers: BTreeMap<String, f64>,
    /// Of the process that counted: after a restart counters begin at 0.
    pub boot: u64,
}

impl Reading {
    /// No numbers, of this process.
    pub fn new(boot: u64) -> Reading {
        Reading { numbers: BTreeMap::new(), boot }
    }

    /// Adds what an admin page tells.
    pub fn page(&mut self, page: &Value) {
        self.add("", page, 0);
    }

    /// Adds the number of a self check.
    pub fn check(&mut self, name: &str, value: u64) {
        // Through text, as it came: no cast that may round without a word.
        self.put(format!("check.{name}"), value.to_string().parse().unwrap_or(f64::MAX));
    }

    /// Sets one number.
    pub fn set(&mut self, name: &str, value: f64) {
        self.put(name.to_owned(), value);
    }

    /// The sum of the numbers of these names; `None` when there is none of them.
    pub fn sum(&self, names: &[String]) -> Option<f64> {
        let found = names.iter().filter_map(|it| self.numbers.get(it));
        found.fold(None, |sum: Option<f64>, it| Some(sum.unwrap_or(0.0) + it))
    }

    /// Every number by its name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.numbers.iter().map(|(name, value)| (name.as_str(), *value))
    }

    fn add(&mut self, path: &str, value: &Value, depth: usize) {
        match value {
            Value::Number(it) => {
                let number = it.as_f64().filter(|it| it.is_finite());
                number.into_iter().for_each(|it| self.put(path.to_owned(), it));
            }
            Value::Bool(it) => self.put(path.to_owned(), f64::from(u8::from(*it))),
            Value::Object(table) if depth < DEPTH_MAX => {
                for (key, value) in table {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    self.add(&path, value, depth + 1);
                }
            }
            Value::Array(list) if depth < DEPTH_MAX => {
                if !list.iter().any(Value::is_object) {
                    let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
                    self.put(path.to_owned(), f64::from(length));
                }
                list.iter().filter(|it| it.is_object()).for_each(|it| self.add(path, it, depth));
            }
            Value::Null | Value::String(_) | Value::Object(_) | Value::Array(_) => {}
        }
    }

    /// Of two numbers under one name the sum.
    fn put(&mut self, name: String, value: f64) {
        if self.numbers.len() < NUMBERS_MAX || self.numbers.contains_key(&name) {
            *self.numbers.entry(name).or_insert(0.0) += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pages_are_flattened() {
        let mut reading = Reading::new(1);
        reading.page(&json!({
            "role": "gateway", "ready": true, "requests": 7, "none": null,
            "services": [
                {"name": "a", "connected": 2, "without_owner": [1, 2, 3]},
                {"name": "b", "connected": 3, "without_owner": []}
            ],
            "deep": {"er": {"x": 1.5}},
        }));
        reading.check("disk", 93);
        let all: Vec<(&str, f64)> = reading.iter().collect();
        assert_eq!(
            all,
            [
                ("check.disk", 93.0),
                ("deep.er.x", 1.5),
                ("ready", 1.0),
                ("requests", 7.0),
                ("services.connected", 5.0),
                ("services.without_owner", 3.0),
            ]
        );
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(reading.sum(&names(&["requests", "ready", "other"])), Some(8.0));
        assert_eq!(reading.sum(&names(&["other"])), None);
    }

    #[test]
    fn a_number_has_a_plain_name_and_an_end() {
        let value = |name: &str, value: &str| Number::parse(name, value).map(|it| it.value);
        assert_eq!(value("rows.total", "-1.5e3"), Some(-1500.0));
        for (name, text) in
            [("", "1"), ("a b", "1"), ("a", ""), ("a", "inf"), ("a", "NaN"), ("a", "1s")]
        {
            assert_eq!(value(name, text), None, "{name}={text}");
        }
        assert_eq!(value(&"n".repeat(65), "1"), None);
    }

    #[test]
    fn a_flood_of_numbers_is_cut_off() {
        let mut reading = Reading::default();
        for at in 0..2 * NUMBERS_MAX {
            reading.set(&format!("n{at}"), 1.0);
        }
        assert_eq!(reading.iter().count(), NUMBERS_MAX);
    }
}
