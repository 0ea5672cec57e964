//! What is wrong with a request: found before the ledger is asked, so nothing was executed.

use wire::Code;

/// One mistake of a client, in the words that the client reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) code: Code,
    /// The field, parameter or part of the path that is wrong.
    pub(super) field: Option<Box<str>>,
    /// What was found and what was wanted.
    pub(super) detail: Box<str>,
}

/// Characters of a client's text that a detail repeats.
const QUOTE_CHARS_MAX: usize = 48;

impl Mistake {
    /// A mistake of the request as a whole.
    pub(super) fn new(code: Code, detail: impl Into<Box<str>>) -> Mistake {
        Mistake { code, field: None, detail: detail.into() }
    }

    /// 400 `invalid_request` that names a field.
    pub(super) fn in_field(field: &str, detail: impl Into<Box<str>>) -> Mistake {
        Mistake {
            code: Code::InvalidRequest,
            field: Some(clip(field).into()),
            detail: detail.into(),
        }
    }

    /// The same mistake, its field a part of this one.
    pub(super) fn within(self, place: &str) -> Mistake {
        let field = match &self.field {
            None => place.into(),
            Some(field) => format!("{place}.{field}").into(),
        };
        Mistake { field: Some(field), ..self }
    }

    /// 400 `invalid_request` of a whole body.
    pub(super) fn in_body(detail: impl Into<Box<str>>) -> Mistake {
        Mistake::new(Code::InvalidRequest, detail)
    }
}

/// The beginning of a client's text, short enough to be repeated to it.
pub(super) fn clip(text: &str) -> String {
    let mut rest = text.chars();
    let mut clipped: String = rest.by_ref().take(QUOTE_CHARS_MAX).collect();
    if rest.next().is_some() {
        clipped.push('…');
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_clipped_between_characters() {
        assert_eq!(clip("short"), "short");
        let long = clip(&"é".repeat(5_000));
        assert_eq!(long, format!("{}…", "é".repeat(QUOTE_CHARS_MAX)));
    }
}
