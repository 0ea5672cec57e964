//! What is wrong with a topology file: line, key, value, and what was wanted; all of it in one run.

use super::reader::Placed;
use serde::Serialize;
use std::{collections::BTreeSet, fmt};

/// Longest piece of a file that a complaint repeats, in characters.
const VALUE_CHARS_MAX: usize = 60;

/// One mistake. Displays as `12: nodes[edge].http = "here": want ip:port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Complaint {
    /// Line of the file, from 1.
    pub(crate) line: usize,
    /// The key's path; empty when the file as a whole is meant.
    pub(crate) key: String,
    /// What is wrong and what was wanted.
    pub(crate) text: String,
}

/// Collects, so that one run shows everything that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    all: BTreeSet<Complaint>,
    /// Lines that are not TOML: what was read from them is a guess, and not complained of again.
    unreadable: BTreeSet<usize>,
}

impl Complaints {
    /// The line could not be read as TOML at all.
    pub(super) fn syntax(&mut self, line: usize, message: &str) {
        self.unreadable.insert(line);
        let message = message.replace('\n', " ");
        // How the parser takes an address that somebody forgot to quote.
        let is_bare =
            message.starts_with("invalid float") || message.starts_with("invalid integer");
        let hint = if is_bare { " (text stands in quotes)" } else { "" };
        let text = format!("not TOML: {message}{hint}");
        self.all.insert(Complaint { line, key: String::new(), text });
    }

    /// A mistake in words of its own.
    pub(super) fn add(&mut self, line: usize, key: &str, text: impl Into<String>) {
        if !self.unreadable.contains(&line) {
            self.all.insert(Complaint { line, key: key.to_owned(), text: text.into() });
        }
    }

    /// `key` stands there as `raw`, and `want` was wanted.
    pub(super) fn bad_value(&mut self, line: usize, key: &str, raw: &str, want: &str) {
        self.add(line, key, format!("= {}: want {want}", shortened(raw)));
    }

    /// As [`Complaints::bad_value`], for a value that was read and then did not fit the rest.
    pub(super) fn unfit<T>(&mut self, value: &Placed<T>, want: &str) {
        self.bad_value(value.line, &value.key, &value.raw, want);
    }

    /// `key` must be there and is not.
    pub(super) fn missing(&mut self, line: usize, key: &str, want: &str) {
        self.add(line, key, format!("is missing: want {want}"));
    }

    /// True while nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// In the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Complaint> {
        self.all.iter()
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Complaint { line, key, text } = self;
        write!(f, "{line}: ")?;
        if !key.is_empty() {
            write!(f, "{key} ")?;
        }
        f.write_str(text)
    }
}

/// One line of at most [`VALUE_CHARS_MAX`] characters.
fn shortened(raw: &str) -> String {
    let line = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= VALUE_CHARS_MAX {
        return line;
    }
    line.chars().take(VALUE_CHARS_MAX - 1).chain(['…']).collect()
}

/// The known word that `word` was probably meant to be.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|it| (distance(word, it), it))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, it)| it)
}

/// Letters to insert, delete or replace to get from one word to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, other) in to.iter().enumerate() {
            let replace = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replace.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_close() {
        let known = ["endpoints", "trunk", "http", "role"];
        assert_eq!(nearest("endpoint", known), Some("endpoints"));
        assert_eq!(nearest("trnuk", known), None); // Two letters of five are another word.
        assert_eq!(nearest("tunk", known), Some("trunk"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shortened("a\n  b"), "a b");
        assert_eq!(shortened(&"x".repeat(99)).chars().count(), VALUE_CHARS_MAX);
    }
}
