//! How a command fails: what happened, and what to do about it.

use std::{fmt, process::ExitCode};

/// Decides the exit code, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Refused or failed.
    Failed,
    /// The command line makes no sense.
    Usage,
}

/// What a person is told. Shows as the message, a blank line, and the hint.
#[derive(Debug)]
pub(crate) struct CliError {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

impl CliError {
    /// Refused or failed: exit code 1.
    pub(crate) fn failed(message: impl Into<String>) -> CliError {
        CliError { kind: Kind::Failed, message: message.into(), hint: None }
    }

    /// Something that was to be done to `what` failed.
    pub(crate) fn io(what: impl fmt::Display, error: &std::io::Error) -> CliError {
        CliError::failed(format!("{what}: {error}"))
    }

    /// A wrong argument: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> CliError {
        CliError { kind: Kind::Usage, message: message.into(), hint: None }
    }

    /// What to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> CliError {
        CliError { hint: Some(hint.into()), ..self }
    }

    /// The message alone.
    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// 1 or 2.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.kind {
            Kind::Failed => ExitCode::FAILURE,
            Kind::Usage => ExitCode::from(2),
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n\nhint: {hint}")?;
        }
        Ok(())
    }
}
