//! Who is told of incidents, and by which mail server.

use monitor::channel::Target;

/// A place that a monitor can send to: `http://…`, `mailto:who@where`, and what else
/// [`Target::parse`] knows.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    // Whether there is a mail server is looked at where both are known.
    Target::parse(text, Some("localhost:25")).map(|_| text.to_owned())
}

/// `HOST:PORT` of a mail server.
pub(crate) fn parse_server(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|it| it != 0) => {
            Ok(text.to_owned())
        }
        Some(_) | None => Err("HOST:PORT, as in \"mail.example.com:25\"".to_owned()),
    }
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
        for bad in ["", "mail", ":25", "mail:0", "mail:x"] {
            assert!(parse_server(bad).is_err(), "{bad}");
        }
    }
}
