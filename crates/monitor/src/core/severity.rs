//! How bad a trouble is: whom it may wake.

use serde::{Deserialize, Serialize};

/// From what can wait to what cannot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// To be looked at soon; it serves.
    #[default]
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// Both of them.
    pub const ALL: [Severity; 2] = [Severity::Warning, Severity::Critical];

    /// The word for it.
    pub const fn text(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }

    /// The severity of this word.
    pub fn parse(text: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|it| it.text() == text)
    }
}
