//! Ways to tell people: each takes one letter and says truly what became of it.

mod mail;
mod message;
mod post;
mod server;

pub use self::{
    message::Message,
    post::webhook_secret,
    server::{Login, MailServer, Security, is_address},
};

use crate::{config::MonitorConfig, core::outbox::Sent};
use std::{fmt, time::Duration};

/// How long one attempt may take.
pub const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(10);

/// Where a channel leads.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// JSON for programs: the payload of Alertmanager's webhooks, with ours beside it.
    Webhook(Url),
    /// What Slack takes, and Mattermost.
    Slack(Url),
    Discord(Url),
    /// Workflows of Microsoft Teams: an adaptive card.
    Teams(Url),
    /// ntfy.sh and its like: plain text, with a title and a priority.
    Ntfy(Url),
    /// Events API v2, with the routing key of a service.
    PagerDuty {
        url: Url,
        key: String,
    },
    /// A gateway for short messages: a form to be sent, `{text}` in it or in the address standing
    /// for the message, and `USER:PASSWORD` for who wants that.
    Sms {
        url: Url,
        login: Option<String>,
        form: Option<String>,
    },
    /// SMTP, by this server.
    Mail {
        to: String,
        server: Box<MailServer>,
    },
    /// A program, with the message on its standard input and in its environment.
    Command(String),
}

/// It may bear a secret.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// `http://host:port/path` or `https://…`, in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub tls: bool,
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl Url {
    /// Reads an `http://` or `https://` URL.
    pub fn parse(text: &str) -> Result<Url, String> {
        let want = || "http(s)://HOST[:PORT]/PATH".to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(want)?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(want()),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            Some(_) | None => (authority, Some(port_of(tls))),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let is_clean = |text: &str| text.bytes().all(|it| it.is_ascii_graphic());
        match port.filter(|it| *it != 0) {
            Some(port) if !host.is_empty() && is_clean(host) && is_clean(&path) => {
                Ok(Url { tls, host: host.to_owned(), port, path })
            }
            Some(_) | None => Err(want()),
        }
    }

    /// Host and port as a request names them: without the port that the scheme stands for.
    pub(crate) fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        if self.port == port_of(self.tls) { host } else { format!("{host}:{}", self.port) }
    }
}

fn port_of(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// What a [`Target`] may look like.
const FORMS: &str = "http(s)://HOST[:PORT]/PATH (a webhook), mailto:who@where, command:/PATH/OF/PROGRAM, or \
                     slack+, mattermost+, discord+, teams+, ntfy+, pagerduty+ or sms+ before \
                     http(s)://…; as in \"https://hooks.example.com/tollgate\" or \
                     \"mailto:kim@example.com\"";

impl Target {
    /// Reads `http://…`, `slack+http://…`, `mattermost+`, `discord+`, `teams+`, `ntfy+`,
    /// `pagerduty+http://…#KEY`, `sms+http://[USER:PASSWORD@]…[#FORM]`, each of them with `https` as
    /// well, `mailto:who@where` or `command:PROGRAM`. Mail needs a server.
    pub fn parse(text: &str, smtp: Option<&MailServer>) -> Result<Target, String> {
        if let Some(to) = text.strip_prefix("mailto:") {
            if !is_address(to) {
                return Err("mailto:who@where, as in \"mailto:kim@example.com\"".to_owned());
            }
            let server = smtp.ok_or("a mail server for it: --smtp, or smtp = \"HOST:PORT\"")?;
            return Ok(Target::Mail { to: to.to_owned(), server: Box::new(server.clone()) });
        }
        if let Some(program) = text.strip_prefix("command:") {
            let is_path = program.starts_with('/');
            return match is_path {
                true => Ok(Target::Command(program.to_owned())),
                false => Err("command:/PATH/OF/PROGRAM".to_owned()),
            };
        }
        let service = |url: &str| {
            let kind = text.strip_suffix(url).unwrap_or_default();
            Url::parse(url).map_err(|want| format!("{kind}{want}"))
        };
        match text.split_once('+') {
            Some(("slack" | "mattermost", url)) => service(url).map(Target::Slack),
            Some(("discord", url)) => service(url).map(Target::Discord),
            Some(("teams", url)) => service(url).map(Target::Teams),
            Some(("ntfy", url)) => service(url).map(Target::Ntfy),
            Some(("pagerduty", url)) => {
                let (url, key) =
                    url.split_once('#').ok_or("pagerduty+http(s)://HOST/v2/enqueue#KEY")?;
                Ok(Target::PagerDuty { url: Url::parse(url)?, key: key.to_owned() })
            }
            Some(("sms", url)) => Target::sms(url),
            Some(_) | None => Url::parse(text).map(Target::Webhook).map_err(|_| FORMS.to_owned()),
        }
    }

    fn sms(text: &str) -> Result<Target, String> {
        let (url, form) = match text.split_once('#') {
            Some((url, form)) => (url, Some(form.to_owned())),
            None => (text, None),
        };
        let place = url.split_once("://").map(|(scheme, rest)| {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            (scheme, &rest[..end], &rest[end..])
        });
        let (login, url) = match place {
            Some((scheme, authority, path)) => match authority.rsplit_once('@') {
                Some((login, host)) => {
                    (Some(login.to_owned()), Url::parse(&format!("{scheme}://{host}{path}"))?)
                }
                None => (None, Url::parse(url)?),
            },
            None => (None, Url::parse(url)?),
        };
        let is_form = form.as_ref().is_none_or(|it| it.bytes().all(|it| it.is_ascii_graphic()));
        let has_text = form.as_ref().unwrap_or(&url.path).contains("{text}");
        if !is_form || !has_text {
            return Err("sms+http(s)://[USER:PASSWORD@]HOST/PATH?to=49…&text={text}, or the form \
                        after a #"
                .to_owned());
        }
        Ok(Target::Sms { url, login, form })
    }

    /// Where a request goes; `None` when it goes by mail or to a program.
    fn url(&self) -> Option<&Url> {
        match self {
            Target::Webhook(url)
            | Target::Slack(url)
            | Target::Discord(url)
            | Target::Teams(url)
            | Target::Ntfy(url)
            | Target::PagerDuty { url, .. }
            | Target::Sms { url, .. } => Some(url),
            Target::Mail { .. } | Target::Command(_) => None,
        }
    }

    /// Whether a request by it takes TLS to get there.
    pub fn is_tls(&self) -> bool {
        self.url().is_some_and(|it| it.tls)
    }

    /// Whether it is mail that takes TLS.
    pub fn is_mail_tls(&self) -> bool {
        match self {
            Target::Mail { server, .. } => server.security != Security::Plain,
            Target::Webhook(_)
            | Target::Slack(_)
            | Target::Discord(_)
            | Target::Teams(_)
            | Target::Ntfy(_)
            | Target::PagerDuty { .. }
            | Target::Sms { .. }
            | Target::Command(_) => false,
        }
    }

    /// The word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Target::Webhook(_) => "webhook",
            Target::Slack(_) => "slack",
            Target::Discord(_) => "discord",
            Target::Teams(_) => "teams",
            Target::Sms { .. } => "sms",
            Target::Ntfy(_) => "ntfy",
            Target::PagerDuty { .. } => "pagerduty",
            Target::Mail { .. } => "mail",
            Target::Command(_) => "command",
        }
    }

    /// Where it leads, without what is secret about it.
    pub fn place(&self) -> String {
        match (self, self.url()) {
            (Target::Mail { to, .. }, _) => to.clone(),
            (Target::Command(program), _) => program.clone(),
            (_, Some(url)) => format!("{}:{}", url.host, url.port),
            (_, None) => String::new(),
        }
    }
}

/// Delivers one message. The API key signs it where the form has room for that.
pub async fn deliver(target: &Target, message: &Message, config: &MonitorConfig) -> Sent {
    let tls = config.tls.as_ref();
    let secret = webhook_secret(&config.api_key);
    let attempt = async {
        match target {
            Target::Webhook(url) => post::webhook((url, tls), message, &secret).await,
            Target::Slack(url) => post::slack((url, tls), message).await,
            Target::Discord(url) => post::discord((url, tls), message).await,
            Target::Teams(url) => post::teams((url, tls), message).await,
            Target::Sms { url, login, form } => {
                post::sms((url, tls), login.as_deref(), form.as_deref(), message).await
            }
            Target::Ntfy(url) => post::ntfy((url, tls), message).await,
            Target::PagerDuty { url, key } => post::pagerduty((url, tls), key, message).await,
            Target::Mail { to, server } => {
                mail::send(to, server, config.mail_tls.as_ref(), message).await
            }
            Target::Command(program) => post::command(program, message).await,
        }
    };
    let late = |_| Sent::Failed(format!("no answer within {ATTEMPT_TIME_MAX:?}"));
    tokio::time::timeout(ATTEMPT_TIME_MAX, attempt).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_their_secrets_not_shown() {
        let url = |host: &str, port, path: &str| Url {
            tls: port == 443,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        };
        let server = MailServer::parse("mail.example.com:25").unwrap();
        let parse = |text| Target::parse(text, Some(&server));
        assert_eq!(parse("http://h/x?y=1"), Ok(Target::Webhook(url("h", 80, "/x?y=1"))));
        assert_eq!(parse("http://[::1]:9?y"), Ok(Target::Webhook(url("::1", 9, "/?y"))));
        assert_eq!(parse("slack+http://h:1/k"), Ok(Target::Slack(url("h", 1, "/k"))));
        assert_eq!(parse("https://h/x"), Ok(Target::Webhook(url("h", 443, "/x"))));
        assert_eq!(parse("slack+https://h/x"), Ok(Target::Slack(url("h", 443, "/x"))));
        let authority = |text| Url::parse(text).unwrap().authority();
        assert_eq!(authority("https://h/"), "h");
        assert_eq!(authority("https://h:80/"), "h:80");
        assert_eq!(authority("http://[::1]:443/"), "[::1]:443");
        assert_eq!(parse("mattermost+http://h:1/k"), Ok(Target::Slack(url("h", 1, "/k"))));
        let sms = parse("sms+https://id:TOKEN@h/send#To=49&Body={text}").unwrap();
        let form = Some("To=49&Body={text}".to_owned());
        let login = Some("id:TOKEN".to_owned());
        assert!(!format!("{sms:?}{}", sms.place()).contains("TOKEN"));
        assert_eq!(sms, Target::Sms { url: url("h", 443, "/send"), login, form });
        let pager = parse("pagerduty+http://h:1/v2/enqueue#KEY").unwrap();
        assert!(!format!("{pager:?}{}", pager.place()).contains("KEY"));
        assert_eq!(parse("mailto:kim@example.com").unwrap().place(), "kim@example.com");
        assert!(Target::parse("mailto:kim@example.com", None).is_err(), "it needs a server");
        // Whoever does not know the forms is shown them.
        let wanted = |text| parse(text).unwrap_err();
        for unknown in ["nonsense", "kim@example.com", "irc+http://h/"] {
            assert!(wanted(unknown).contains("mailto:kim@example.com"), "{unknown}");
        }
        assert_eq!(wanted("slack+nonsense"), "slack+http(s)://HOST[:PORT]/PATH");
        for bad in [
            "",
            "http://",
            "http://:1/",
            "https://",
            "ftp://h/",
            "https://h:0/",
            "mailto:kim",
            "command:x",
            "ftp://h",
            "http://h:0/",
            "http://h/ x",
            "mailto:a@b>c",
            "pagerduty+http://h/",
            "sms+http://h/?to=1",
            "sms+http://h/#to=1&text={text} ",
            "fax+http://h/",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
