//! As much of HTTP/1.1 as this application needs: requests with bodies that are skipped, answers with a length,
//! connections that are kept, and pipelining.

use std::io::{self, Read, Write};

/// A longer request head is answered with 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// A longer request body is answered with 413.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The answer to a connection too many.
pub const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// The value of `Accept`, and that of `User-Agent`; empty when absent.
    pub accept: String,
    pub agent: String,
    keep: bool,
    body_bytes: usize,
}

pub struct Answer {
    pub status: &'static str,
    pub content_type: &'static str,
    pub body: String,
}

/// Answers requests until the client or an error ends the connection.
pub fn converse(stream: &mut (impl Read + Write), mut answer: impl FnMut(&Request) -> Answer) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(1024);
    loop {
        let Some(end) = fill_head(stream, &mut buffer)? else { return Ok(()) };
        let parsed =
            if end > HEAD_BYTES_MAX { Err("431 Request Header Fields Too Large") } else { parse(&buffer[..end]) };
        buffer.drain(..end);
        let request = match parsed {
            Ok(request) => request,
            Err(status) => return send(stream, false, &plain(status), false),
        };
        skip(stream, &mut buffer, request.body_bytes)?;
        send(stream, request.keep, &answer(&request), request.method == "HEAD")?;
        if !request.keep {
            return Ok(());
        }
    }
}

pub fn plain(status: &'static str) -> Answer {
    Answer { status, content_type: "text/plain; charset=utf-8", body: format!("{status}\n") }
}

/// Reads until a whole head is there, and says where it ends; `None` at the end of the connection. A head that is too
/// long ends where the reading stopped.
fn fill_head(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut seen = 0_usize;
    loop {
        let from = seen.saturating_sub(3);
        if let Some(at) = buffer[from..].windows(4).position(|w| w == b"\r\n\r\n") {
            return Ok(Some(from + at + 4));
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Ok(Some(buffer.len()));
        }
        seen = buffer.len();
        if read_more(stream, buffer)? == 0 {
            return Ok(None);
        }
    }
}

fn read_more(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 4096];
    let n = stream.read(&mut chunk)?;
    buffer.extend_from_slice(&chunk[..n]);
    Ok(n)
}

/// Passes over a request's body.
fn skip(stream: &mut impl Read, buffer: &mut Vec<u8>, mut bytes: usize) -> io::Result<()> {
    loop {
        let here = bytes.min(buffer.len());
        buffer.drain(..here);
        bytes -= here;
        if bytes == 0 {
            return Ok(());
        }
        if read_more(stream, buffer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads a head; the error is the status to answer with before the connection is closed.
fn parse(head: &[u8]) -> Result<Request, &'static str> {
    const BAD: &str = "400 Bad Request";
    let head = std::str::from_utf8(head).map_err(|_| BAD)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BAD);
    };
    if method.is_empty() || !target.starts_with('/') || !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err(BAD);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        accept: String::new(),
        agent: String::new(),
        keep: version == "HTTP/1.1",
        body_bytes: 0,
    };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(BAD)?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "accept" => request.accept = value.into(),
            "user-agent" => request.agent = value.into(),
            "connection" if value.eq_ignore_ascii_case("close") => request.keep = false,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => request.keep = true,
            "content-length" => request.body_bytes = value.parse().map_err(|_| BAD)?,
            "transfer-encoding" => return Err("411 Length Required"),
            _ => {}
        }
    }
    if request.body_bytes > BODY_BYTES_MAX {
        return Err("413 Content Too Large");
    }
    Ok(request)
}

/// Writes an answer in one piece, so that it goes out in one packet where it fits.
fn send(stream: &mut impl Write, keep: bool, answer: &Answer, without_body: bool) -> io::Result<()> {
    let mut bytes = format!(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: {}\r\n\r\n",
        answer.status,
        answer.content_type,
        answer.body.len(),
        if keep { "keep-alive" } else { "close" },
    )
    .into_bytes();
    if !without_body {
        bytes.extend_from_slice(answer.body.as_bytes());
    }
    stream.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_strictly() {
        let request = parse(b"GET /burn?ms=5 HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n").expect("valid");
        assert_eq!((&*request.path, &*request.query, &*request.accept), ("/burn", "ms=5", "text/plain"));
        assert!(request.keep);
        assert!(!parse(b"GET / HTTP/1.0\r\n\r\n").expect("valid").keep);
        assert!(!parse(b"GET / HTTP/1.1\r\nconnection: Close\r\n\r\n").expect("valid").keep);
        for bad in ["", "GET /\r\n", "GET / HTTP/2\r\n", "GET x HTTP/1.1\r\n", "GET / HTTP/1.1\r\nno colon\r\n"] {
            assert_eq!(parse(bad.as_bytes()), Err("400 Bad Request"), "{bad:?}");
        }
    }
}
