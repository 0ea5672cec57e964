//! Walks a parsed TOML table and remembers where everything stood.

use super::complaint::{Complaints, nearest};
use std::ops::Range;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A value with its place in the file, so that a later check can still point at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) line: usize,
    pub(super) key: String,
    /// As it was written.
    pub(super) raw: String,
}

/// What a key held. A bad value has been complained of already; a missing one may be fine.
#[derive(Clone, Debug)]
pub(super) enum Field<T> {
    Missing,
    Bad,
    Good(Placed<T>),
}

impl<T> Field<T> {
    /// The value, where one could be read.
    pub(super) fn good(&self) -> Option<&Placed<T>> {
        match self {
            Field::Missing | Field::Bad => None,
            Field::Good(placed) => Some(placed),
        }
    }

    /// A copy of the value, or `default` where there is none.
    pub(super) fn value_or(&self, default: T) -> T
    where
        T: Clone,
    {
        self.good().map_or(default, |placed| placed.value.clone())
    }

    /// True when the key is not in the file.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Field::Missing)
    }
}

/// Reads one value from its text, or says what was wanted.
pub(super) type Element<T> = fn(&str) -> Result<T, String>;

/// Reads one value from a table; `None` when it has complained.
pub(super) type FromTable<'a, T> = fn(&mut Walk<'a>, &Section<'a>) -> Option<T>;

/// The file's text and what was found wrong with it so far.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) text: &'a str,
    pub(super) complaints: Complaints,
}

impl Walk<'_> {
    /// The line, from 1, on which a span starts.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn raw(&self, span: Range<usize>) -> String {
        self.text.get(span).unwrap_or_default().to_owned()
    }
}

/// One table of the file. Its unknown keys were complained of when it was opened.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// Path of the table; empty for the file itself.
    pub(super) path: String,
    pub(super) line: usize,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// The file itself.
    pub(super) fn root(walk: &mut Walk<'a>, table: &'a DeTable<'a>, known: &[&str]) -> Section<'a> {
        let section = Section { path: String::new(), line: 1, table };
        section.refuse_unknown(walk, known);
        section
    }

    /// The table `value`, which stands at `path`.
    pub(super) fn open(
        walk: &mut Walk<'a>,
        path: String,
        value: &'a Spanned<DeValue<'a>>,
        known: &[&str],
    ) -> Option<Section<'a>> {
        let line = walk.line(&value.span());
        let Some(table) = value.get_ref().as_table() else {
            let raw = walk.raw(value.span());
            walk.complaints.bad_value(line, &path, &raw, "a table");
            return None;
        };
        let section = Section { path, line, table };
        section.refuse_unknown(walk, known);
        Some(section)
    }

    fn refuse_unknown(&self, walk: &mut Walk<'a>, known: &[&str]) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let text = match nearest(name, known.iter().copied()) {
                Some(meant) => format!("is no key of this table: did you mean {meant:?}?"),
                None => format!("is no key of this table: want one of {}", known.join(", ")),
            };
            let line = walk.line(&key.span());
            walk.complaints.add(line, &self.key(name), text);
        }
    }

    /// The path of `key` in this table.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The keys of the table under `key`.
    pub(super) fn table_keys(&self, key: &str) -> Vec<&'a str> {
        let table = self.table.get(key).and_then(|value| value.get_ref().as_table());
        table.into_iter().flat_map(|it| it.keys()).map(|it| it.get_ref().as_ref()).collect()
    }

    /// The line of a key that is in the table.
    pub(super) fn line_of(&self, walk: &Walk<'a>, key: &str) -> Option<usize> {
        self.entry(walk, key).map(|(line, _)| line)
    }

    fn entry(&self, walk: &Walk<'a>, key: &str) -> Option<(usize, &'a Spanned<DeValue<'a>>)> {
        let (name, value) = self.table.get_key_value(key)?;
        Some((walk.line(&name.span()), value))
    }

    /// Every entry of the table with its name.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Spanned<DeValue<'a>>)> {
        self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), value))
    }

    /// A string that `element` can read.
    pub(super) fn string<T>(
        &self,
        walk: &mut Walk<'a>,
        key: &str,
        element: Element<T>,
    ) -> Field<T> {
        let Some((line, value)) = self.entry(walk, key) else { return Field::Missing };
        self.one(walk, key, line, value, element)
    }

    /// A list of strings, or a single string, that `element` can read.
    pub(super) fn strings<T>(
        &self,
        walk: &mut Walk<'a>,
        key: &str,
        element: Element<T>,
    ) -> Field<Vec<Placed<T>>> {
        self.items(walk, key, element, None)
    }

    /// As [`Section::strings`], and a member may be a table of the `known` keys that `table` can
    /// read, or has complained of.
    pub(super) fn strings_or_tables<T>(
        &self,
        walk: &mut Walk<'a>,
        key: &str,
        element: Element<T>,
        known: &[&str],
        table: FromTable<'a, T>,
    ) -> Field<Vec<Placed<T>>> {
        self.items(walk, key, element, Some((known, table)))
    }

    fn items<T>(
        &self,
        walk: &mut Walk<'a>,
        key: &str,
        element: Element<T>,
        table: Option<(&[&str], FromTable<'a, T>)>,
    ) -> Field<Vec<Placed<T>>> {
        let Some((line, value)) = self.entry(walk, key) else { return Field::Missing };
        let path = self.key(key);
        let raw = walk.raw(value.span());
        let Some(items) = value.get_ref().as_array() else {
            return match self.one(walk, key, line, value, element) {
                Field::Missing | Field::Bad => Field::Bad,
                Field::Good(one) => Field::Good(Placed { value: vec![one], line, key: path, raw }),
            };
        };
        let mut value = Vec::new();
        let mut bad = false;
        for item in items.iter() {
            let line = walk.line(&item.span());
            if let (Some((known, read)), Some(_)) = (table, item.get_ref().as_table()) {
                let section = Section::open(walk, path.clone(), item, known);
                let (key, raw) = (path.clone(), walk.raw(item.span()));
                match section.and_then(|it| read(walk, &it)) {
                    Some(one) => value.push(Placed { value: one, line, key, raw }),
                    None => bad = true,
                }
                continue;
            }
            match self.one(walk, key, line, item, element) {
                Field::Missing | Field::Bad => bad = true,
                Field::Good(one) => value.push(one),
            }
        }
        if bad { Field::Bad } else { Field::Good(Placed { value, line, key: path, raw }) }
    }

    fn one<T>(
        &self,
        walk: &mut Walk<'a>,
        key: &str,
        line: usize,
        value: &Spanned<DeValue<'_>>,
        element: Element<T>,
    ) -> Field<T> {
        let key = self.key(key);
        let raw = walk.raw(value.span());
        let read = match value.get_ref().as_str() {
            Some(text) => element(text),
            // What is wanted stays the same; only the quotes may be missing.
            None => element("").and_then(|_| Err("text".to_owned())).map_err(in_quotes),
        };
        match read {
            Ok(value) => Field::Good(Placed { value, line, key, raw }),
            Err(want) => {
                walk.complaints.bad_value(line, &key, &raw, &want);
                Field::Bad
            }
        }
    }

    /// A whole number within `range`.
    pub(super) fn integer<T: TryFrom<i64>>(
        &self,
        walk: &mut Walk<'a>,
        key: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Field<T> {
        let Some((line, value)) = self.entry(walk, key) else { return Field::Missing };
        let (key, raw) = (self.key(key), walk.raw(value.span()));
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|it| i64::from_str_radix(it.as_str(), it.radix()).ok())
            .filter(|it| range.contains(it))
            .and_then(|it| T::try_from(it).ok());
        match number {
            Some(value) => Field::Good(Placed { value, line, key, raw }),
            None => {
                let want = format!("a whole number from {} to {}", range.start(), range.end());
                walk.complaints.bad_value(line, &key, &raw, &want);
                Field::Bad
            }
        }
    }

    /// A number within `range`, whole or not.
    pub(super) fn number(
        &self,
        walk: &mut Walk<'a>,
        key: &str,
        range: std::ops::RangeInclusive<f64>,
    ) -> Field<f64> {
        let Some((line, value)) = self.entry(walk, key) else { return Field::Missing };
        let (key, raw) = (self.key(key), walk.raw(value.span()));
        let is_number = value.get_ref().is_float() || value.get_ref().is_integer();
        let number = raw.replace('_', "").parse().ok();
        match number.filter(|it| is_number && range.contains(it)) {
            Some(value) => Field::Good(Placed { value, line, key, raw }),
            None => {
                let want = format!("a number from {} to {}", range.start(), range.end());
                walk.complaints.bad_value(line, &key, &raw, &want);
                Field::Bad
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, walk: &mut Walk<'a>, key: &str) -> Field<bool> {
        let Some((line, value)) = self.entry(walk, key) else { return Field::Missing };
        let (key, raw) = (self.key(key), walk.raw(value.span()));
        match value.get_ref().as_bool() {
            Some(value) => Field::Good(Placed { value, line, key, raw }),
            None => {
                walk.complaints.bad_value(line, &key, &raw, "true or false");
                Field::Bad
            }
        }
    }

    /// The table under `key`.
    pub(super) fn table(
        &self,
        walk: &mut Walk<'a>,
        key: &str,
        known: &[&str],
    ) -> Option<Section<'a>> {
        let value = self.table.get(key)?;
        Section::open(walk, self.key(key), value, known)
    }

    /// The values of the list under `key`; none when it is missing or no list.
    pub(super) fn list(&self, walk: &mut Walk<'a>, key: &str) -> &'a [Spanned<DeValue<'a>>] {
        let Some((line, value)) = self.entry(walk, key) else { return &[] };
        match value.get_ref().as_array() {
            Some(items) => items,
            None => {
                let (key, raw) = (self.key(key), walk.raw(value.span()));
                let want = format!("a list of tables, each under [[{key}]]");
                walk.complaints.bad_value(line, &key, &raw, &want);
                &[]
            }
        }
    }
}

fn in_quotes(want: String) -> String {
    format!("{want} (in quotes)")
}
