//! The server that takes mail, and how it is spoken to.

use std::fmt;

/// Where mail goes, and by which rules.
#[derive(Clone, PartialEq, Eq)]
pub struct MailServer {
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
    pub security: Security,
    pub login: Option<Login>,
    /// The sender's address.
    pub from: String,
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all: for a server on the same machine.
    Plain,
    /// It begins in the open and is TLS before anything is said (RFC 3207). A server that does not
    /// offer that is told nothing.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
}

/// Who sends, as the server knows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    /// Empty as long as nobody has said it.
    pub password: String,
}

/// It may bear a password.
impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({:?})", self.host, self.port, self.security)
    }
}

/// What stands for a sender where none is named.
const FROM: &str = "tollgate@localhost";

impl MailServer {
    /// Reads `HOST:PORT` or `smtp://HOST[:PORT]` (port 25), `starttls://[USER@]HOST[:PORT]` (587),
    /// or `smtps://[USER@]HOST[:PORT]` (465).
    ///
    /// # Errors
    /// What was wanted, for people.
    pub fn parse(text: &str) -> Result<MailServer, String> {
        let want = || {
            "HOST:PORT, starttls://USER@HOST[:587] or smtps://USER@HOST[:465] of a mail server"
                .to_owned()
        };
        let (security, default, rest) = match text.split_once("://") {
            None => (Security::Plain, None, text),
            Some(("smtp", rest)) => (Security::Plain, Some(25), rest),
            Some(("starttls", rest)) => (Security::StartTls, Some(587), rest),
            Some(("smtps", rest)) => (Security::Tls, Some(465), rest),
            Some(_) => return Err(want()),
        };
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        if security == Security::Plain && user.is_some() {
            return Err("a login within TLS only: starttls://USER@… or smtps://USER@…".to_owned());
        }
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            Some(_) | None => (place, default),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_clean = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_graphic());
        let port = port.filter(|it| *it != 0 && is_clean(host)).ok_or_else(want)?;
        let login = match user {
            Some(user) if is_clean(user) => {
                Some(Login { user: user.to_owned(), password: String::new() })
            }
            Some(_) => return Err(want()),
            None => None,
        };
        Ok(MailServer { host: host.to_owned(), port, security, login, from: FROM.to_owned() })
    }
}

/// Whether this is a mail address that can stand in a command and in a header as it is.
pub fn is_address(text: &str) -> bool {
    text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
        && text.bytes().all(|it| it.is_ascii_graphic() && !b"<>,;\"\\".contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let of = |text: &str| {
            let it = MailServer::parse(text).unwrap();
            (it.host, it.port, it.security, it.login.map(|it| it.user))
        };
        let kim = || Some("kim@example.com".to_owned());
        for (text, want) in [
            ("mail:2525", ("mail".to_owned(), 2525, Security::Plain, None)),
            ("smtp://mail", ("mail".to_owned(), 25, Security::Plain, None)),
            ("[::1]:25", ("::1".to_owned(), 25, Security::Plain, None)),
            (
                "starttls://kim@example.com@mail",
                ("mail".to_owned(), 587, Security::StartTls, kim()),
            ),
            ("smtps://kim@example.com@mail:9", ("mail".to_owned(), 9, Security::Tls, kim())),
            ("smtps://[::1]", ("::1".to_owned(), 465, Security::Tls, None)),
        ] {
            assert_eq!(of(text), want, "{text}");
        }
        for bad in ["", "mail", ":25", "mail:0", "mail:x", "http://mail:25", "smtp://kim@mail"] {
            assert!(MailServer::parse(bad).is_err(), "{bad}");
        }
        let mut server = MailServer::parse("smtps://kim@mail").unwrap();
        server.login.as_mut().unwrap().password = "secret".to_owned();
        assert!(!format!("{server:?}").contains("secret"));
    }

    #[test]
    fn addresses_bear_no_commands() {
        assert!(is_address("kim@example.com"));
        for bad in ["kim", "@h", "k@", "k@h>\r\nRCPT TO:<x@y>", "k m@h", "a@b,c@d"] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
