//! Mail: submission by SMTP (RFC 5321) to one server, in plain text, within TLS (RFC 3207, RFC 8314)
//! and with a login (RFC 4954) where the server wants that.

use super::{MailServer, Message, Security};
use crate::core::outbox::Sent;
use data_encoding::BASE64;
use net::tls::ClientTls;
use std::{io, net::IpAddr};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Longest reply of a server, all its lines together.
const REPLY_BYTES_MAX: u64 = 16 * 1024;
/// Characters of base64 in a line of a body (RFC 2045) and bytes in a word of a header (RFC 2047).
const LINE_CHARS: usize = 76;
const WORD_BYTES: usize = 36;

/// Why a server did not take it.
enum Refusal {
    /// 4xx, or no sensible answer, or trouble that is not about this mail: another time.
    Later(String),
    /// 5xx.
    Never(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Later(error.to_string())
    }
}

/// The server may refuse us for good today and take us tomorrow, when somebody has corrected the
/// password: such a mail is not lost.
fn not_for_good(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Later(why) | Refusal::Never(why) => Refusal::Later(why),
    }
}

pub(super) async fn send(
    to: &str,
    server: &MailServer,
    tls: Option<&ClientTls>,
    message: &Message,
) -> Sent {
    match converse(to, server, tls, message).await {
        Ok(()) => Sent::Accepted,
        Err(Refusal::Later(why)) => Sent::Failed(why),
        Err(Refusal::Never(why)) => Sent::Refused(why),
    }
}

async fn converse(
    to: &str,
    server: &MailServer,
    tls: Option<&ClientTls>,
    message: &Message,
) -> Result<(), Refusal> {
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
    let me = stream.local_addr()?.ip();
    let tls = || {
        let untrusted = || Refusal::Later("no authorities are trusted".to_owned());
        tls.ok_or_else(untrusted)
    };
    match server.security {
        Security::Plain => {
            let mut session = Session { stream: BufReader::new(stream) };
            session.greeted(me).await?;
            session.mail(to, &server.from, message).await
        }
        Security::StartTls => {
            let mut session = Session { stream: BufReader::new(stream) };
            session.greeted(me).await?;
            // One that does not offer it is told nothing: this is no place to be lenient.
            session.say("STARTTLS", 220).await.map_err(not_for_good)?;
            if !session.stream.buffer().is_empty() {
                return Err(Refusal::Later("it speaks on in the open after STARTTLS".to_owned()));
            }
            let stream = tls()?.connect(&server.host, session.stream.into_inner()).await?;
            let mut session = Session { stream: BufReader::new(stream) };
            let features = session.hello(me).await?;
            session.within_tls(to, server, &features, message).await
        }
        Security::Tls => {
            let stream = tls()?.connect(&server.host, stream).await?;
            let mut session = Session { stream: BufReader::new(stream) };
            let features = session.greeted(me).await?;
            session.within_tls(to, server, &features, message).await
        }
    }
}

struct Session<S> {
    stream: BufReader<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Waits for the server's first word and says who calls; what it offers.
    async fn greeted(&mut self, me: IpAddr) -> Result<Vec<String>, Refusal> {
        self.expect(220).await.map_err(not_for_good)?;
        self.hello(me).await
    }

    /// Who has no name gives the address (RFC 5321, 4.1.3).
    async fn hello(&mut self, me: IpAddr) -> Result<Vec<String>, Refusal> {
        let me = match me {
            IpAddr::V4(it) => format!("[{it}]"),
            IpAddr::V6(it) => format!("[IPv6:{it}]"),
        };
        self.say(&format!("EHLO {me}"), 250).await.map_err(not_for_good)
    }

    async fn within_tls(
        &mut self,
        to: &str,
        server: &MailServer,
        features: &[String],
        message: &Message,
    ) -> Result<(), Refusal> {
        if let Some(login) = &server.login {
            let ways = features.iter().find_map(|it| it.strip_prefix("AUTH "));
            let ways: Vec<&str> = ways.unwrap_or("").split_ascii_whitespace().collect();
            let (user, password) = (login.user.as_bytes(), login.password.as_bytes());
            if ways.contains(&"PLAIN") {
                let both = BASE64.encode(&[b"\0", user, b"\0", password].concat());
                self.say(&format!("AUTH PLAIN {both}"), 235).await.map_err(not_for_good)?;
            } else if ways.contains(&"LOGIN") {
                self.say("AUTH LOGIN", 334).await.map_err(not_for_good)?;
                self.say(&BASE64.encode(user), 334).await.map_err(not_for_good)?;
                self.say(&BASE64.encode(password), 235).await.map_err(not_for_good)?;
            } else {
                let why = "it offers neither AUTH PLAIN nor AUTH LOGIN".to_owned();
                return Err(Refusal::Later(why));
            }
        }
        self.mail(to, &server.from, message).await
    }

    async fn mail(&mut self, to: &str, from: &str, message: &Message) -> Result<(), Refusal> {
        self.say(&format!("MAIL FROM:<{from}>"), 250).await?;
        self.say(&format!("RCPT TO:<{to}>"), 250).await?;
        self.say("DATA", 354).await?;
        self.stream.get_mut().write_all(mail(to, from, message).as_bytes()).await?;
        self.say(".", 250).await?;
        // It has been taken: how the farewell goes changes nothing.
        drop(self.say("QUIT", 221).await);
        Ok(())
    }

    async fn say(&mut self, line: &str, wanted: u16) -> Result<Vec<String>, Refusal> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
        self.stream.get_mut().flush().await?;
        self.expect(wanted).await
    }

    /// Reads a reply, which may have several lines: all but the last have a dash after the code.
    /// Their texts, in capitals.
    async fn expect(&mut self, wanted: u16) -> Result<Vec<String>, Refusal> {
        let mut reply = (&mut self.stream).take(REPLY_BYTES_MAX);
        let (mut line, mut said) = (String::new(), Vec::new());
        loop {
            line.clear();
            if reply.read_line(&mut line).await? == 0 {
                return Err(Refusal::Later("the server hung up".to_owned()));
            }
            said.push(line.get(4..).unwrap_or("").trim_end().to_ascii_uppercase());
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        let line = line.trim_end();
        let code = line.get(..3).and_then(|it| it.parse::<u16>().ok());
        match code {
            Some(code) if code == wanted || (wanted == 250 && code == 251) => Ok(said),
            Some(500..=599) => Err(Refusal::Never(line.to_owned())),
            Some(_) | None => Err(Refusal::Later(line.to_owned())),
        }
    }
}

/// The mail with its headers, without the final point. Its body is base64, so no line of it can
/// begin with a point or be too long.
fn mail(to: &str, from: &str, message: &Message) -> String {
    let at = jiff::Timestamp::from_microsecond(message.at.0).unwrap_or_default();
    let date = at.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let thread = format!("<{}.{}@tollgate>", message.tree, message.incident);
    let body = BASE64.encode(format!("{}\n\n{}\n", message.title(), message.text()).as_bytes());
    let mut out = format!(
        "Date: {date}\r\nFrom: Tollgate <{from}>\r\nTo: <{to}>\r\nSubject: {}\r\n\
         Message-ID: <{}.{}.{}@tollgate>\r\nReferences: {thread}\r\nAuto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n",
        header(&format!("[{}] {}", message.tree, message.title())),
        message.tree,
        message.incident,
        message.id,
    );
    for line in body.as_bytes().chunks(LINE_CHARS) {
        out.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        out.push_str("\r\n");
    }
    out
}

/// A header's text: as it is when it is short and plain, else in encoded words.
fn header(text: &str) -> String {
    let is_plain = |it: u8| it.is_ascii_graphic() || it == b' ';
    if text.len() <= LINE_CHARS && text.bytes().all(is_plain) && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut word = String::new();
    for char in text.chars() {
        if WORD_BYTES < word.len() + char.len_utf8() {
            words.push(std::mem::take(&mut word));
        }
        word.push(char);
    }
    words.push(word);
    let words = words.iter().map(|it| format!("=?utf-8?B?{}?=", BASE64.encode(it.as_bytes())));
    words.collect::<Vec<_>>().join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{channel::message::example, core::notice::Event};

    #[test]
    fn a_mail_is_plain_lines() {
        let mail = mail("kim@example.com", "t@localhost", &example(Event::Opened));
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("Date: Tue, 14 Nov 2023 22:13:30 +0000\r\n"), "{head}");
        assert!(head.contains("\r\nSubject: [shop] a-1 is down\r\n"), "{head}");
        assert!(mail.split("\r\n").all(|it| it.len() <= 78 && !it.contains('\n')), "{mail}");
        let text = BASE64.decode(body.replace("\r\n", "").as_bytes()).unwrap();
        assert!(text.starts_with(b"a-1 is down\n\nNo beat since"));
    }

    #[test]
    fn headers_bear_any_text_and_no_line_breaks() {
        assert_eq!(header("a-1 is down"), "a-1 is down");
        let long = header(&"é\r\nBcc: x".repeat(9));
        assert!(long.split("\r\n ").all(|it| it.starts_with("=?utf-8?B?") && it.len() <= 75));
    }
}
