//! Who is told of incidents, and by which mail server.

use monitor::channel::{MailServer, Target, is_address};

/// A place that a monitor can send to: `http://…`, `mailto:who@where`, and what else
/// [`Target::parse`] knows.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    // Whether there is a mail server is looked at where both are known.
    let server = MailServer::parse("localhost:25").ok();
    Target::parse(text, server.as_ref()).map(|_| text.to_owned())
}

/// A mail server, as [`MailServer::parse`] reads it.
pub(crate) fn parse_server(text: &str) -> Result<String, String> {
    MailServer::parse(text).map(|_| text.to_owned())
}

/// Whether a mail server, sound by itself, wants a password.
pub(crate) fn wants_password(server: &str) -> bool {
    MailServer::parse(server).is_ok_and(|it| it.login.is_some())
}

/// The sender of mails.
pub(crate) fn parse_sender(text: &str) -> Result<String, String> {
    let want = || "a mail address, as in \"tollgate@example.com\"".to_owned();
    if is_address(text) { Ok(text.to_owned()) } else { Err(want()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_checked_where_they_are_written() {
        for good in ["http://127.0.0.1:9/hook", "mailto:kim@example.com", "slack+http://h/k"] {
            assert_eq!(parse(good), Ok(good.to_owned()));
        }
        assert!(parse("kim@example.com").is_err());
        assert!(parse_server("mail.example.com:25").is_ok());
        assert!(wants_password("smtps://kim@mail") && !wants_password("mail:25"));
        assert!(parse_server("mail").is_err());
        assert!(parse_sender("a@b").is_ok() && parse_sender("a").is_err());
    }
}
