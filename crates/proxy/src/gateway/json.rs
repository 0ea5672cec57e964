//! Reads a JSON body strictly: one object of known fields, each at most once.
//!
//! Numbers stay text until somebody says which numbers are wanted, so nothing is rounded.

use super::mistake::{Mistake, clip};
use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};
use wire::{Code, Text, limits};

/// A field's value as it was written, and the field's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) field: &'static str,
    /// Sound JSON without space around it.
    text: &'a str,
}

/// What a number that should have been an integer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Integer(i64),
    /// Digits only, but beyond 64 bits.
    TooLarge,
    TooSmall,
    Fraction,
    Exponent,
}

/// Reads `body` as an object that may have the fields `names`, in their order.
pub(super) fn read_object<'a, const N: usize>(
    body: &'a [u8],
    names: &[&'static str; N],
) -> Result<[Option<Value<'a>>; N], Mistake> {
    read_long_object(body, limits::BODY_BYTES_MAX, names)
}

/// As [`read_object`], of at most `max` bytes.
pub(super) fn read_long_object<'a, const N: usize>(
    body: &'a [u8],
    max: usize,
    names: &[&'static str; N],
) -> Result<[Option<Value<'a>>; N], Mistake> {
    if max < body.len() {
        let detail = format!("the body is longer than {max} bytes");
        return Err(Mistake::new(Code::BodyTooLarge, detail));
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        Mistake::in_body(format!("the body is not UTF-8: byte {at} begins no character"))
    })?;
    check_depth(text)?;
    match text.bytes().find(|byte| !is_space(*byte)) {
        None => return Err(Mistake::in_body("the body is empty; a JSON object is wanted")),
        Some(b'{') => (),
        Some(_) => return Err(no_object(text)),
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let object = reader.deserialize_map(ObjectVisitor { names }).map_err(broken)?;
    if let Err(error) = reader.end() {
        return Err(Mistake::in_body(format!(
            "something follows the JSON object, at line {} column {}",
            error.line(),
            error.column()
        )));
    }
    object.sound(names)
}

/// Refuses what is nested too deep, before anything recurses into it.
fn check_depth(text: &str) -> Result<(), Mistake> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_text {
            (in_text, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => (),
        }
        if limits::JSON_DEPTH_MAX < depth {
            let max = limits::JSON_DEPTH_MAX;
            return Err(Mistake::in_body(format!("the JSON is nested deeper than {max} levels")));
        }
    }
    Ok(())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// A body that does not begin with a brace: broken, or JSON of another kind.
fn no_object(text: &str) -> Mistake {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => Mistake::in_body(format!(
            "the body is {}; a JSON object is wanted",
            Value { field: "", text: raw.get() }.found()
        )),
        Err(error) => broken(error),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn broken(error: serde_json::Error) -> Mistake {
    Mistake::in_body(format!("the body is no sound JSON: {error}"))
}

/// An object as it was read: what is wrong with its fields is told once all of it is sound JSON.
struct Object<'a, const N: usize> {
    values: [Option<&'a RawValue>; N],
    unknown: Option<String>,
    repeated: Option<&'static str>,
}

impl<'a, const N: usize> Object<'a, N> {
    fn sound(self, names: &[&'static str; N]) -> Result<[Option<Value<'a>>; N], Mistake> {
        if let Some(field) = self.unknown {
            let detail = match names.as_slice() {
                [] => "the field is not known here; this call takes none".to_owned(),
                _ => format!("the field is not known here; known are {}", names.join(", ")),
            };
            return Err(Mistake::in_field(&field, detail));
        }
        if let Some(field) = self.repeated {
            return Err(Mistake::in_field(field, "the field is given more than once"));
        }
        let mut values = [None; N];
        for ((value, raw), field) in values.iter_mut().zip(self.values).zip(names) {
            *value = raw.map(|raw| Value { field, text: raw.get() });
        }
        Ok(values)
    }
}

struct ObjectVisitor<'n, const N: usize> {
    names: &'n [&'static str; N],
}

impl<'de, const N: usize> Visitor<'de> for ObjectVisitor<'_, N> {
    type Value = Object<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de, N>, A::Error> {
        let mut object = Object { values: [None; N], unknown: None, repeated: None };
        while let Some(name) = map.next_key_seed(Name)? {
            let value: &RawValue = map.next_value()?;
            match self.names.iter().position(|it| *it == name) {
                None if object.unknown.is_none() => object.unknown = Some(name.into_owned()),
                None => (),
                Some(at) if object.values[at].is_some() => object.repeated = Some(self.names[at]),
                Some(at) => object.values[at] = Some(value),
            }
        }
        Ok(object)
    }
}

impl<'de, const N: usize> DeserializeSeed<'de> for &ObjectVisitor<'_, N> {
    type Value = Object<'de, N>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Object<'de, N>, D::Error> {
        from.deserialize_map(ObjectVisitor { names: self.names })
    }
}

/// An array of so many objects at most, that all may have the same fields.
struct ObjectsVisitor<'n, const N: usize> {
    names: &'n [&'static str; N],
    max: usize,
}

impl<'de, const N: usize> Visitor<'de> for ObjectsVisitor<'_, N> {
    type Value = Vec<Result<[Option<Value<'de>>; N], Mistake>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (seed, mut objects) = (ObjectVisitor { names: self.names }, Vec::new());
        while let Some(object) = items.next_element_seed(&seed)? {
            if self.max <= objects.len() {
                return Err(serde::de::Error::custom("too many"));
            }
            objects.push(object.sound(self.names));
        }
        Ok(objects)
    }
}

/// A member's name: borrowed unless it has escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Cow<'de, str>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl<'a> Value<'a> {
    /// What stands there, for a detail: `the string "45"`, `null`, `an array`.
    pub(super) fn found(self) -> String {
        match self.text.as_bytes().first() {
            Some(b'"') => format!("the string {}", clip(self.text)),
            Some(b'{') => "an object".to_owned(),
            Some(b'[') => "an array".to_owned(),
            _ => clip(self.text),
        }
    }

    /// Whether the value is `null`.
    pub(super) fn is_null(self) -> bool {
        self.text == "null"
    }

    /// The text of a string; `None` when the value is none.
    pub(super) fn string(self) -> Option<Result<Cow<'a, str>, Mistake>> {
        let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
        if !inner.contains('\\') {
            return Some(Ok(Cow::Borrowed(inner)));
        }
        let text = serde_json::from_str(self.text).map(Cow::Owned);
        Some(text.map_err(|_| {
            Mistake::in_field(self.field, "the string holds half of a surrogate pair")
        }))
    }

    /// Whether it is `true`; `None` when it is neither that nor `false`.
    pub(super) fn bool(self) -> Option<bool> {
        match self.text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The items of an array; `None` when the value is none.
    pub(super) fn array(self) -> Option<Vec<Value<'a>>> {
        let items: Vec<&RawValue> = serde_json::from_str(self.text).ok()?;
        let value = |raw: &'a RawValue| Value { field: self.field, text: raw.get() };
        Some(items.into_iter().map(value).collect())
    }

    /// The fields of each object of an array, in one pass; `None` when the value is none, an item
    /// is no object, or there are more than `max`.
    pub(super) fn objects<const N: usize>(
        self,
        names: &[&'static str; N],
        max: usize,
    ) -> Option<Vec<Result<[Option<Value<'a>>; N], Mistake>>> {
        let mut reader = serde_json::Deserializer::from_str(self.text);
        reader.deserialize_seq(ObjectsVisitor { names, max }).ok()
    }

    /// The fields of an object, as of a body; `None` when the value is none.
    pub(super) fn fields<const N: usize>(
        self,
        names: &[&'static str; N],
    ) -> Option<Result<[Option<Value<'a>>; N], Mistake>> {
        if !self.text.starts_with('{') {
            return None;
        }
        let mut reader = serde_json::Deserializer::from_str(self.text);
        let object = reader.deserialize_map(ObjectVisitor { names }).map_err(broken);
        Some(object.and_then(|object| object.sound(names)))
    }

    /// What kind of number it is; `None` when it is none.
    pub(super) fn number(self) -> Option<Number> {
        let first = *self.text.as_bytes().first()?;
        if first != b'-' && !first.is_ascii_digit() {
            return None;
        }
        Some(if self.text.contains(['e', 'E']) {
            Number::Exponent
        } else if self.text.contains('.') {
            Number::Fraction
        } else {
            match self.text.parse() {
                Ok(integer) => Number::Integer(integer),
                Err(_) if first == b'-' => Number::TooSmall,
                Err(_) => Number::TooLarge,
            }
        })
    }

    /// The compact text of an object, everything in it as it was written; `None` when the value is
    /// none. No object in it may have a name twice, and all strings must be sound.
    pub(super) fn object(self, bytes_max: usize) -> Option<Result<Text, Mistake>> {
        if !self.text.starts_with('{') {
            return None;
        }
        let compact = compact(self.text);
        if bytes_max < compact.len() {
            let bytes = compact.len();
            let detail = format!("{bytes} bytes as compact JSON; {bytes_max} at most");
            return Some(Err(Mistake::in_field(self.field, detail)));
        }
        // Only now, on a short text: each level is read once more for the level above it.
        Some(match check_members(self.field, &compact) {
            Ok(()) => Ok(compact.into()),
            Err(mistake) => Err(mistake),
        })
    }
}

/// Sound JSON without the space between its tokens.
fn compact(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(is_space) {
        return Cow::Borrowed(text);
    }
    let (mut in_text, mut escaped) = (false, false);
    let kept = text.chars().filter(|&char| {
        if in_text {
            (in_text, escaped) = (escaped || char != '"', !escaped && char == '\\');
            return true;
        }
        in_text = char == '"';
        !matches!(char, ' ' | '\t' | '\n' | '\r')
    });
    Cow::Owned(kept.collect())
}

/// Looks for repeated names and broken strings in a value of at most
/// [`limits::JSON_DEPTH_MAX`] levels.
fn check_members(field: &'static str, text: &str) -> Result<(), Mistake> {
    let unsound = |_| Mistake::in_field(field, "a string holds half of a surrogate pair");
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Cow<'_, str>>(text).map(drop).map_err(unsound),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(unsound)?;
            items.into_iter().try_for_each(|item| check_members(field, item.get()))
        }
        Some(b'{') => {
            let mut reader = serde_json::Deserializer::from_str(text);
            let mut members = reader.deserialize_map(MembersVisitor).map_err(unsound)?;
            members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            if let Some(pair) = members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                let name = clip(&pair[0].0);
                let detail = format!("an object has the name {name:?} more than once");
                return Err(Mistake::in_field(field, detail));
            }
            members.into_iter().try_for_each(|(_, value)| check_members(field, value.get()))
        }
        _ => Ok(()),
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}
