//! Heads of requests and answers: what they say, and how they are passed on.
//!
//! Parsing is httparse's; here is what a proxy must decide: where the body ends, whether the connection stays, which
//! headers are the hop's own. Invariant: a request whose end two servers could see at different places is refused, never
//! passed on.

use std::mem::MaybeUninit;
use std::net::IpAddr;

use httparse::Header;
use standfast_core::lb::XffMode;

use crate::body::Framing;

/// Limits of ELB: a request line or a single header, and the whole head.
pub const LINE_SIZE_MAX: usize = 16 * 1024;
pub const HEAD_SIZE_MAX: usize = 64 * 1024;
/// Headers of one head.
pub const HEADERS_MAX: usize = 128;
/// Of the random part of X-Amzn-Trace-Id.
const TRACE_ID_DIGITS: usize = 24;

pub type Slots<'b> = [MaybeUninit<Header<'b>>; HEADERS_MAX];

/// Room for headers, which costs nothing to make.
pub fn slots<'b>() -> Slots<'b> {
    [const { MaybeUninit::uninit() }; HEADERS_MAX]
}

/// The headers that a proxy treats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Connection,
    ContentLength,
    Cookie,
    Expect,
    ForwardedFor,
    ForwardedPort,
    ForwardedProto,
    Host,
    /// Concerns one connection only.
    Hop,
    TraceId,
    TransferEncoding,
    Upgrade,
    Other,
}

fn name(text: &str) -> Name {
    let known: (&str, Name) = match text.len() {
        2 => ("te", Name::Hop),
        4 => ("host", Name::Host),
        6 if text.as_bytes()[0] | 0x20 == b'c' => ("cookie", Name::Cookie),
        6 => ("expect", Name::Expect),
        7 if text.as_bytes()[0] | 0x20 == b'u' => ("upgrade", Name::Upgrade),
        7 => ("trailer", Name::Hop),
        10 if text.as_bytes()[0] | 0x20 == b'k' => ("keep-alive", Name::Hop),
        10 => ("connection", Name::Connection),
        14 => ("content-length", Name::ContentLength),
        15 => ("x-amzn-trace-id", Name::TraceId),
        // X-Forwarded-For has as many letters as X-Amzn-Trace-Id; see below.
        16 => ("proxy-connection", Name::Hop),
        17 if text.as_bytes()[0] | 0x20 == b't' => ("transfer-encoding", Name::TransferEncoding),
        17 => ("x-forwarded-proto", Name::ForwardedProto),
        19 => ("proxy-authorization", Name::Hop),
        _ => return Name::Other,
    };
    if text.eq_ignore_ascii_case(known.0) {
        return known.1;
    }
    match text.len() {
        15 if text.eq_ignore_ascii_case("x-forwarded-for") => Name::ForwardedFor,
        16 if text.eq_ignore_ascii_case("x-forwarded-port") => Name::ForwardedPort,
        _ => Name::Other,
    }
}

/// A request's head.
#[derive(Debug)]
pub struct RequestHead<'h, 'b> {
    pub method: &'b str,
    pub path: &'b str,
    pub query: &'b str,
    /// The Host header, or the authority of an absolute target.
    pub host: Option<&'b str>,
    pub cookie: Option<&'b str>,
    pub headers: &'h [Header<'b>],
    /// In bytes, the empty line included.
    pub size: usize,
    pub framing: Framing,
    pub http10: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    pub expects_continue: bool,
    /// Some headers are named by the Connection header.
    nominates: bool,
}

impl RequestHead<'_, '_> {
    /// Whether sending it twice does no harm (RFC 9110, 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
    }
}

/// The request is answered with this status, and the connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected(pub u16);

const BAD_REQUEST: Rejected = Rejected(400);

/// Reads a request's head; `None` while it is incomplete.
pub fn request<'h, 'b>(bytes: &'b [u8], slots: &'h mut Slots<'b>) -> Result<Option<RequestHead<'h, 'b>>, Rejected> {
    let mut parsed = httparse::Request::new(&mut []);
    let size = match parsed.parse_with_uninit_headers(bytes, slots) {
        Ok(httparse::Status::Complete(size)) if size <= HEAD_SIZE_MAX => size,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_SIZE_MAX => {
            let line_open = bytes.len() > LINE_SIZE_MAX && !bytes[..LINE_SIZE_MAX].contains(&b'\n');
            return if line_open { Err(Rejected(414)) } else { Ok(None) };
        }
        Ok(_) => return Err(BAD_REQUEST),
        Err(httparse::Error::Version) => return Err(Rejected(505)),
        Err(_) => return Err(BAD_REQUEST),
    };
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else { return Err(BAD_REQUEST) };
    if target.len() > LINE_SIZE_MAX {
        return Err(Rejected(414));
    }
    match method {
        "TRACE" => return Err(Rejected(405)),
        "CONNECT" => return Err(BAD_REQUEST),
        _ => {}
    }
    let http10 = parsed.version == Some(0);
    let (authority, path, query) = split_target(target)?;
    let mut head = RequestHead {
        method,
        path,
        query,
        host: None,
        cookie: None,
        headers: parsed.headers,
        size,
        framing: Framing::NONE,
        http10,
        keep_alive: !http10,
        upgrade: false,
        expects_continue: false,
        nominates: false,
    };
    read_request_headers(&mut head)?;
    if head.host.is_none() && !http10 {
        return Err(BAD_REQUEST);
    }
    head.host = authority.or(head.host);
    Ok(Some(head))
}

fn read_request_headers(head: &mut RequestHead<'_, '_>) -> Result<(), Rejected> {
    let mut lengths = Lengths::default();
    let mut wants_upgrade = (false, false);
    for header in head.headers {
        if header.value.len() > LINE_SIZE_MAX {
            return Err(BAD_REQUEST);
        }
        match name(header.name) {
            Name::Host => {
                let host = text(header.value).ok_or(BAD_REQUEST)?;
                if head.host.replace(host).is_some() {
                    return Err(BAD_REQUEST);
                }
            }
            Name::Cookie if head.cookie.is_none_or(|cookie| crate::pick::find_cookie(cookie).is_none()) => {
                head.cookie = text(header.value);
            }
            Name::Connection => {
                let options = Options::read(header.value);
                head.keep_alive = (head.keep_alive || options.keep_alive) && !options.close;
                head.nominates |= options.others;
                wants_upgrade.0 |= options.upgrade;
            }
            Name::Upgrade => wants_upgrade.1 = true,
            Name::Expect => head.expects_continue = !head.http10,
            Name::ContentLength => lengths.content_length(header.value).ok_or(BAD_REQUEST)?,
            Name::TransferEncoding => lengths.transfer_encoding(header.value).ok_or(Rejected(501))?,
            _ => {}
        }
    }
    head.upgrade = wants_upgrade == (true, true) && !head.http10;
    head.framing = match lengths {
        // One server would go by the length, another by the chunks.
        Lengths { length: Some(_), chunked: true } => return Err(BAD_REQUEST),
        Lengths { chunked: true, .. } if head.http10 => return Err(BAD_REQUEST),
        Lengths { chunked: true, .. } => Framing::CHUNKED,
        Lengths { length, .. } => Framing::Length(length.unwrap_or(0)),
    };
    Ok(())
}

/// The authority, path and query of a request target.
fn split_target(target: &str) -> Result<(Option<&str>, &str, &str), Rejected> {
    let (authority, rest) = if target.starts_with('/') || target == "*" {
        (None, target)
    } else {
        let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).ok_or(BAD_REQUEST)?;
        let rest = &target[scheme.len()..];
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        if end == 0 {
            return Err(BAD_REQUEST);
        }
        (Some(&rest[..end]), &rest[end..])
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Ok((authority, if path.is_empty() { "/" } else { path }, query))
}

#[derive(Default)]
struct Lengths {
    length: Option<u64>,
    chunked: bool,
}

impl Lengths {
    fn content_length(&mut self, value: &[u8]) -> Option<()> {
        let value = trim(value);
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length: u64 = text(value).filter(|_| digits)?.parse().ok()?;
        if self.length.is_some_and(|other| other != length) {
            return None;
        }
        self.length = Some(length);
        Some(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Option<()> {
        let value = trim(value);
        if value.eq_ignore_ascii_case(b"chunked") && !self.chunked {
            self.chunked = true;
            return Some(());
        }
        value.eq_ignore_ascii_case(b"identity").then_some(())
    }
}

/// What a Connection header asks for.
#[derive(Default)]
struct Options {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    others: bool,
}

impl Options {
    fn read(value: &[u8]) -> Self {
        let mut options = Self::default();
        for token in value.split(|byte| *byte == b',').map(trim).filter(|token| !token.is_empty()) {
            if token.eq_ignore_ascii_case(b"close") {
                options.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                options.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                options.upgrade = true;
            } else {
                options.others = true;
            }
        }
        options
    }
}

/// Whether a Connection header names `name`, so that it concerns this hop only.
fn is_nominated(headers: &[Header<'_>], name: &str) -> bool {
    let connections = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection"));
    connections
        .flat_map(|header| header.value.split(|byte| *byte == b','))
        .any(|token| trim(token).eq_ignore_ascii_case(name.as_bytes()))
}

/// What the load balancer adds to a request.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    pub client: IpAddr,
    pub port: u16,
    /// `http` or `https`.
    pub scheme: &'a str,
    pub xff: XffMode,
    /// For requests without a host.
    pub dns_name: &'a str,
    pub now_s: u64,
    /// Two random words for the trace id.
    pub chance: (u64, u64),
}

/// Writes the head that goes to the target.
pub fn write_request(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, forward: &Forward<'_>) {
    out.clear();
    for part in [head.method, " ", head.path] {
        out.extend_from_slice(part.as_bytes());
    }
    if !head.query.is_empty() {
        out.push(b'?');
        out.extend_from_slice(head.query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    put(out, "Host", head.host.unwrap_or(forward.dns_name).as_bytes());
    let mut traced = false;
    for header in head.headers {
        match name(header.name) {
            Name::Host | Name::Connection | Name::Hop | Name::Expect => {}
            Name::ForwardedFor | Name::ForwardedPort | Name::ForwardedProto => {}
            Name::Upgrade if !head.upgrade => {}
            // Framing is the proxy's own; a Connection header cannot take it away.
            Name::ContentLength | Name::TransferEncoding => {}
            Name::Other | Name::Cookie if head.nominates && is_nominated(head.headers, header.name) => {}
            kind => {
                traced |= kind == Name::TraceId;
                put(out, header.name, header.value);
            }
        }
    }
    match head.framing {
        Framing::Length(length) if length > 0 || states_length(head) => put_number(out, "Content-Length", length),
        Framing::Chunked(_) => put(out, "Transfer-Encoding", b"chunked"),
        _ => {}
    }
    if head.upgrade {
        put(out, "Connection", b"Upgrade");
    }
    write_forwarded(out, head, forward);
    if !traced {
        write_trace_id(out, forward);
    }
    out.extend_from_slice(b"\r\n");
}

fn states_length(head: &RequestHead<'_, '_>) -> bool {
    head.headers.iter().any(|header| name(header.name) == Name::ContentLength)
}

fn write_forwarded(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, forward: &Forward<'_>) {
    let earlier = || head.headers.iter().filter(|header| name(header.name) == Name::ForwardedFor);
    match forward.xff {
        XffMode::Remove => {}
        XffMode::Preserve => earlier().for_each(|header| put(out, header.name, header.value)),
        XffMode::Append => {
            out.extend_from_slice(b"X-Forwarded-For: ");
            for header in earlier().filter(|header| !header.value.is_empty()) {
                out.extend_from_slice(header.value);
                out.extend_from_slice(b", ");
            }
            write_address(out, forward.client);
            out.extend_from_slice(b"\r\n");
        }
    }
    put(out, "X-Forwarded-Proto", forward.scheme.as_bytes());
    put_number(out, "X-Forwarded-Port", u64::from(forward.port));
}

fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(address) => out.extend_from_slice(address.to_string().as_bytes()),
    }
}

fn write_trace_id(out: &mut Vec<u8>, forward: &Forward<'_>) {
    out.extend_from_slice(b"X-Amzn-Trace-Id: Root=1-");
    write_hex(out, forward.now_s, 8);
    out.push(b'-');
    write_hex(out, forward.chance.0, 16);
    write_hex(out, forward.chance.1, TRACE_ID_DIGITS - 16);
    out.extend_from_slice(b"\r\n");
}

fn write_hex(out: &mut Vec<u8>, value: u64, digits: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend((0..digits).rev().map(|digit| DIGITS[(value >> (4 * digit)) as usize & 15]));
}

/// An answer's head.
#[derive(Debug)]
pub struct ResponseHead<'h, 'b> {
    pub status: u16,
    reason: &'b str,
    headers: &'h [Header<'b>],
    pub size: usize,
    pub framing: Framing,
    /// The target keeps its connection.
    pub keep_alive: bool,
    nominates: bool,
}

/// The answer is not HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAnswer;

/// Reads an answer's head; `None` while it is incomplete. `bodiless`: it answers a HEAD request.
pub fn response<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut Slots<'b>,
    bodiless: bool,
) -> Result<Option<ResponseHead<'h, 'b>>, BadAnswer> {
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let size = match config.parse_response_with_uninit_headers(&mut parsed, bytes, slots) {
        Ok(httparse::Status::Complete(size)) if size <= HEAD_SIZE_MAX => size,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_SIZE_MAX => return Ok(None),
        _ => return Err(BadAnswer),
    };
    let status = parsed.code.filter(|code| (100..1000).contains(code)).ok_or(BadAnswer)?;
    let mut head = ResponseHead {
        status,
        reason: parsed.reason.unwrap_or(""),
        headers: parsed.headers,
        size,
        framing: Framing::NONE,
        keep_alive: parsed.version == Some(1),
        nominates: false,
    };
    let mut lengths = Lengths::default();
    for header in head.headers {
        match name(header.name) {
            Name::Connection => {
                let options = Options::read(header.value);
                head.keep_alive = (head.keep_alive || options.keep_alive) && !options.close;
                head.nominates |= options.others;
            }
            Name::ContentLength => lengths.content_length(header.value).ok_or(BadAnswer)?,
            Name::TransferEncoding => lengths.transfer_encoding(header.value).ok_or(BadAnswer)?,
            _ => {}
        }
    }
    head.framing = match lengths {
        _ if bodiless || status < 200 || status == 204 || status == 304 => Framing::NONE,
        Lengths { length: Some(_), chunked: true } => return Err(BadAnswer),
        Lengths { chunked: true, .. } => Framing::CHUNKED,
        Lengths { length: Some(length), .. } => Framing::Length(length),
        Lengths { .. } => Framing::UntilClose,
    };
    Ok(Some(head))
}

/// How an answer goes to the client.
#[derive(Clone, Copy, Debug)]
pub struct Return<'a> {
    pub keep_alive: bool,
    /// The connection becomes a tunnel.
    pub upgrade: bool,
    /// The chunk marks are taken out, for a client that does not know them.
    pub dechunk: bool,
    /// Whole Set-Cookie lines to add.
    pub cookies: &'a str,
}

/// Appends the head that goes to the client.
pub fn write_response(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>, back: &Return<'_>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(head.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    let chunked = matches!(head.framing, Framing::Chunked(_));
    for header in head.headers {
        match name(header.name) {
            Name::Connection | Name::Hop => {}
            Name::Upgrade if !back.upgrade => {}
            Name::TransferEncoding if !chunked || back.dechunk => {}
            Name::Other if head.nominates && is_nominated(head.headers, header.name) => {}
            _ => put(out, header.name, header.value),
        }
    }
    out.extend_from_slice(back.cookies.as_bytes());
    let connection: &[u8] = match back {
        Return { upgrade: true, .. } => b"Connection: Upgrade\r\n\r\n",
        Return { keep_alive: true, .. } => b"Connection: keep-alive\r\n\r\n",
        _ => b"Connection: close\r\n\r\n",
    };
    out.extend_from_slice(connection);
}

fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn put_number(out: &mut Vec<u8>, name: &str, value: u64) {
    put(out, name, itoa::Buffer::new().format(value).as_bytes());
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().map(str::trim_ascii)
}

fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

#[cfg(test)]
mod tests;
