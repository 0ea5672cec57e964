//! Mail: submission by SMTP (RFC 5321) to one server, in plain text.

use super::Message;
use crate::core::outbox::Sent;
use data_encoding::BASE64;
use std::io;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Longest reply of a server, all its lines together.
const REPLY_BYTES_MAX: u64 = 16 * 1024;
/// Characters of base64 in a line of a body (RFC 2045) and bytes in a word of a header (RFC 2047).
const LINE_CHARS: usize = 76;
const WORD_BYTES: usize = 36;

/// Why a server did not take it.
enum Refusal {
    /// 4xx, or no sensible answer: another time.
    Later(String),
    /// 5xx.
    Never(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Later(error.to_string())
    }
}

pub(super) async fn send(
    to: &str,
    from: &str,
    (host, port): &(String, u16),
    message: &Message,
) -> Sent {
    match converse(to, from, (host, *port), message).await {
        Ok(()) => Sent::Accepted,
        Err(Refusal::Later(why)) => Sent::Failed(why),
        Err(Refusal::Never(why)) => Sent::Refused(why),
    }
}

async fn converse(
    to: &str,
    from: &str,
    server: (&str, u16),
    message: &Message,
) -> Result<(), Refusal> {
    let mut session = Session { stream: BufReader::new(TcpStream::connect(server).await?) };
    session.expect(220).await?;
    session.say("EHLO localhost", 250).await?;
    session.say(&format!("MAIL FROM:<{from}>"), 250).await?;
    session.say(&format!("RCPT TO:<{to}>"), 250).await?;
    session.say("DATA", 354).await?;
    session.stream.get_mut().write_all(mail(to, from, message).as_bytes()).await?;
    session.say(".", 250).await?;
    // It has been taken: how the farewell goes changes nothing.
    drop(session.say("QUIT", 221).await);
    Ok(())
}

struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    async fn say(&mut self, line: &str, wanted: u16) -> Result<(), Refusal> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
        self.expect(wanted).await
    }

    /// Reads a reply, which may have several lines: all but the last have a dash after the code.
    async fn expect(&mut self, wanted: u16) -> Result<(), Refusal> {
        let mut reply = (&mut self.stream).take(REPLY_BYTES_MAX);
        let mut line = String::new();
        loop {
            line.clear();
            if reply.read_line(&mut line).await? == 0 {
                return Err(Refusal::Later("the server hung up".to_owned()));
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        let line = line.trim_end();
        let code = line.get(..3).and_then(|it| it.parse::<u16>().ok());
        match code {
            Some(code) if code == wanted || (wanted == 250 && code == 251) => Ok(()),
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
