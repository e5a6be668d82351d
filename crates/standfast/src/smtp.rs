//! A small SMTP client: one mail, one connection, plain text, no TLS. For test servers and relays on one's own machine.

use std::str::FromStr;

use base64::Engine;
use standfast_core::courier::{Mail, Undelivered};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

/// A reply has lines, of so many characters; more is no mail server.
const REPLY_LINES_MAX: usize = 100;
const LINE_BYTES_MAX: usize = 4096;
const DEFAULT_PORT: u16 = 25;

/// A mail server, as `--smtp` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    host: String,
    port: u16,
    /// User and password.
    login: Option<(String, String)>,
}

impl FromStr for Smtp {
    type Err = String;

    /// Reads `smtp://[user:password@]host[:port]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not smtp://HOST[:PORT]");
        let rest = text.strip_prefix("smtp://").ok_or_else(wrong)?.trim_end_matches('/');
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => {
                let (user, password) = login.split_once(':').ok_or_else(wrong)?;
                (Some((user.to_owned(), password.to_owned())), place)
            }
            None => (None, rest),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (place, DEFAULT_PORT),
        };
        if host.is_empty() || host.contains(['/', ' ']) {
            return Err(wrong());
        }
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port, login })
    }
}

impl Smtp {
    pub async fn send(&self, mail: &Mail) -> Result<(), Undelivered> {
        let from = address(&mail.from);
        if [from, &mail.to, &mail.from, &mail.subject].iter().any(|text| text.contains(['\r', '\n'])) {
            return Err(Undelivered::Final("an address or the subject has a line break".into()));
        }
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| self.passing(&error.to_string()))?;
        let mut talk = Talk { server: self, stream: BufStream::new(stream) };
        talk.hear().await?;
        talk.say("EHLO standfast.localhost").await?;
        if let Some((user, password)) = &self.login {
            let plain = base64::prelude::BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
            talk.say(&format!("AUTH PLAIN {plain}")).await?;
        }
        talk.say(&format!("MAIL FROM:<{from}>")).await?;
        talk.say(&format!("RCPT TO:<{}>", mail.to)).await?;
        talk.say("DATA").await?;
        talk.say(&data(mail)).await?;
        // It has been taken: how the goodbye goes does not matter.
        let _ = talk.say("QUIT").await;
        Ok(())
    }

    fn passing(&self, why: &str) -> Undelivered {
        Undelivered::Passing(format!("smtp://{}:{}: {why}", self.host, self.port))
    }
}

struct Talk<'a> {
    server: &'a Smtp,
    stream: BufStream<TcpStream>,
}

impl Talk<'_> {
    async fn say(&mut self, line: &str) -> Result<(), Undelivered> {
        let sent = async {
            self.stream.write_all(line.as_bytes()).await?;
            self.stream.write_all(b"\r\n").await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| self.server.passing(&error.to_string()))?;
        self.hear().await
    }

    /// Reads a reply: 2xx and 3xx go on, 5xx is for good.
    async fn hear(&mut self) -> Result<(), Undelivered> {
        for _ in 0..REPLY_LINES_MAX {
            let line = self.line().await?;
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            return match line.as_bytes().first() {
                Some(b'2' | b'3') => Ok(()),
                Some(b'5') => Err(Undelivered::Final(line)),
                _ => Err(self.server.passing(&line)),
            };
        }
        Err(self.server.passing("its reply does not end"))
    }

    async fn line(&mut self) -> Result<String, Undelivered> {
        let mut line = Vec::new();
        loop {
            let read = self.stream.fill_buf().await.map_err(|error| self.server.passing(&error.to_string()))?;
            let (end, count) = match read.iter().position(|byte| *byte == b'\n') {
                Some(at) => (true, at + 1),
                None => (read.is_empty(), read.len()),
            };
            line.extend_from_slice(&read[..count]);
            self.stream.consume(count);
            if end || line.len() > LINE_BYTES_MAX {
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        }
    }
}

/// The address in `name <address>`.
fn address(text: &str) -> &str {
    text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches('>'))
}

/// The mail as it goes over the line, with the dot that ends it.
fn data(mail: &Mail) -> String {
    let base64 = |text: &str| base64::prelude::BASE64_STANDARD.encode(text);
    let subject = match mail.subject.is_ascii() {
        true => mail.subject.clone(),
        false => format!("=?UTF-8?B?{}?=", base64(&mail.subject)),
    };
    let mut data = format!("From: {}\r\nTo: {}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n", mail.from, mail.to);
    // Lines may have 998 characters, all of ASCII; what does not fit goes as base64.
    let plain = mail.body.is_ascii() && mail.body.lines().all(|line| line.len() < 998);
    data.push_str("Content-Type: text/plain; charset=UTF-8\r\n");
    data.push_str(if plain {
        "Content-Transfer-Encoding: 7bit\r\n\r\n"
    } else {
        "Content-Transfer-Encoding: base64\r\n\r\n"
    });
    if plain {
        for line in mail.body.lines() {
            let dot = if line.starts_with('.') { "." } else { "" };
            data.push_str(&format!("{dot}{line}\r\n"));
        }
    } else {
        for line in base64(&mail.body).as_bytes().chunks(76) {
            data.push_str(&format!("{}\r\n", String::from_utf8_lossy(line)));
        }
    }
    data + "."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_by_urls() {
        let smtp = |host: &str, port, login| Ok(Smtp { host: host.into(), port, login });
        assert_eq!("smtp://localhost".parse(), smtp("localhost", 25, None));
        assert_eq!("smtp://[::1]:2525/".parse(), smtp("::1", 2525, None));
        assert_eq!("smtp://a:b@mx:1".parse(), smtp("mx", 1, Some(("a".into(), "b".into()))));
        for bad in ["localhost:25", "smtp://", "smtp://x:y", "smtp://u@h", "http://localhost"] {
            assert!(bad.parse::<Smtp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn mail_is_written_for_the_line() {
        let mail =
            |body: &str| Mail { from: "n <a@b>".into(), to: "c@d".into(), subject: "s".into(), body: body.into() };
        assert!(data(&mail("one\n.two\n")).ends_with("7bit\r\n\r\none\r\n..two\r\n."));
        assert!(data(&mail("\u{fc}")).ends_with("base64\r\n\r\nw7w=\r\n."));
        assert_eq!((address("n <a@b>"), address("a@b")), ("a@b", "a@b"));
    }
}
