//! Moves the bytes of one exchange, as far as both sockets allow.
//!
//! Bodies are not copied: the bytes at the front of the one side's inbox are written to the other side, together with
//! the head in one system call. Backpressure is that an inbox is filled again only when it is empty.

use crate::body::Framing;
use crate::choose;
use crate::client::{Answer, Client, Exchange, Tunnel};
use crate::head::{self, Return};
use crate::io::{BUFFER_SIZE, Fill, Pool, fill, send};
use crate::pick;
use crate::upstream::Upstream;
use standfast_core::Timestamp;

/// Why an exchange cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    ClientGone,
    /// The target closed before the answer's head was complete.
    TargetClosed,
    /// The target closed within the answer's body.
    Truncated,
    BadAnswer,
    /// The request's body is malformed.
    BadBody,
}

/// What a turn of the loop lends.
pub struct Turn<'a> {
    pub pool: &'a mut Pool,
    pub now_us: u64,
    pub now: Timestamp,
    /// Connections are being closed down.
    pub stopping: bool,
}

/// Moves the request towards the target; whether anything moved.
pub fn request(
    client: &mut Client,
    exchange: &mut Exchange,
    upstream: &mut Upstream,
    turn: &mut Turn<'_>,
) -> Result<bool, Trouble> {
    let mut moved = false;
    if exchange.request_ready == 0 && !exchange.request.is_done() && !exchange.write_broken {
        if client.inbox.is_empty() && matches!(exchange.tunnel, Tunnel::No | Tunnel::Open) {
            match fill(&mut client.stream, &mut client.inbox, &mut client.ready, turn.pool) {
                Fill::Got => moved = true,
                Fill::Nothing => {}
                Fill::Eof if exchange.tunnel == Tunnel::Open => exchange.tunnel = Tunnel::ClientEnded,
                Fill::Eof | Fill::Broken => return Err(Trouble::ClientGone),
            }
        }
        let scanned = exchange.request.scan(client.inbox.bytes(), |_| {});
        exchange.request_ready = scanned.map_err(|_| Trouble::BadBody)?;
    }
    if upstream.connected && !exchange.write_broken {
        moved |= send_request(client, exchange, upstream, turn);
    }
    if exchange.tunnel == Tunnel::ClientEnded && exchange.request_ready == 0 {
        let _ = upstream.stream.shutdown(std::net::Shutdown::Write); // It fails when the target is gone: read tells.
        exchange.tunnel = Tunnel::TargetTold;
    }
    Ok(moved)
}

fn send_request(client: &mut Client, exchange: &mut Exchange, upstream: &mut Upstream, turn: &mut Turn<'_>) -> bool {
    let head = &client.head[exchange.head_sent..];
    let body = &client.inbox.bytes()[..exchange.request_ready];
    let head_size = head.len();
    let Ok(count) = send(&mut upstream.stream, head, body, &mut upstream.ready) else {
        exchange.write_broken = true;
        // There may be an answer, or the end: a read will tell.
        upstream.ready.readable = true;
        return true;
    };
    let of_head = count.min(head_size);
    let of_body = count - of_head;
    exchange.head_sent += of_head;
    if of_head > 0 {
        exchange.sent_us = turn.now_us;
    }
    if of_body > 0 {
        exchange.body_sent = true;
        exchange.request_ready -= of_body;
        client.inbox.consume(of_body, turn.pool);
    }
    count > 0
}

/// Moves the answer towards the client; whether anything moved.
pub fn answer(
    client: &mut Client,
    exchange: &mut Exchange,
    upstream: &mut Upstream,
    turn: &mut Turn<'_>,
) -> Result<bool, Trouble> {
    let mut moved = false;
    if exchange.answer == Answer::Waiting {
        moved |= read_head(client, exchange, upstream, turn)?;
    }
    if let Answer::Body(framing) = exchange.answer {
        moved |= read_body(client, exchange, upstream, turn, framing)?;
    }
    let out = &client.out[client.out_sent..];
    let body = &upstream.inbox.bytes()[..exchange.answer_ready];
    let out_size = out.len();
    let sent = send(&mut client.stream, out, body, &mut client.ready).map_err(|_| Trouble::ClientGone)?;
    if sent > 0 {
        moved = true;
        let of_out = sent.min(out_size);
        client.wrote(of_out);
        exchange.answer_ready -= sent - of_out;
        upstream.inbox.consume(sent - of_out, turn.pool);
    }
    Ok(moved)
}

/// Whether the answer is read and written to its end.
pub fn is_over(client: &Client, exchange: &Exchange) -> bool {
    exchange.answer == Answer::Read && exchange.answer_ready == 0 && client.out.is_empty()
}

fn read_head(
    client: &mut Client,
    exchange: &mut Exchange,
    upstream: &mut Upstream,
    turn: &mut Turn<'_>,
) -> Result<bool, Trouble> {
    match fill(&mut upstream.stream, &mut upstream.inbox, &mut upstream.ready, turn.pool) {
        Fill::Got => exchange.received = true,
        Fill::Nothing if upstream.inbox.is_full() => return Err(Trouble::BadAnswer),
        Fill::Nothing => return Ok(false),
        Fill::Eof | Fill::Broken => return Err(Trouble::TargetClosed),
    }
    while parse_head(client, exchange, upstream, turn)? {}
    Ok(true)
}

/// Reads one head; whether another is to follow at once, because this one was interim.
fn parse_head(
    client: &mut Client,
    exchange: &mut Exchange,
    upstream: &mut Upstream,
    turn: &mut Turn<'_>,
) -> Result<bool, Trouble> {
    let mut slots = head::slots();
    let parsed = head::response(upstream.inbox.bytes(), &mut slots, exchange.head_only);
    let Some(parsed) = parsed.map_err(|_| Trouble::BadAnswer)? else { return Ok(false) };
    let size = parsed.size;
    match parsed.status {
        101 if exchange.upgrade => open_tunnel(exchange),
        101 => return Err(Trouble::BadAnswer),
        // We have answered Expect ourselves; other interim answers are optional.
        100..200 => {
            upstream.inbox.consume(size, turn.pool);
            return Ok(!upstream.inbox.is_empty());
        }
        _ => {
            exchange.answer = Answer::Body(parsed.framing);
            exchange.target_keeps = parsed.keep_alive && parsed.framing != Framing::UntilClose;
            exchange.dechunk = exchange.http10 && matches!(parsed.framing, Framing::Chunked(_));
        }
    }
    let ends_by_close = parsed.framing == Framing::UntilClose || exchange.dechunk;
    // Before the request has ended nobody knows whether the client will keep to its framing.
    client.keep_alive = exchange.keep_alive && !ends_by_close && exchange.request.is_done() && !turn.stopping;
    let cookies = cookies(exchange, turn.now);
    let back = Return {
        keep_alive: client.keep_alive,
        upgrade: exchange.tunnel == Tunnel::Open,
        dechunk: exchange.dechunk,
        cookies: &cookies,
    };
    head::write_response(&mut client.out, &parsed, &back);
    let took_us = turn.now_us.saturating_sub(exchange.sent_us);
    client.place.counters.answered(parsed.status, took_us);
    exchange.flight.cell().counters.answered(parsed.status, took_us);
    upstream.inbox.consume(size, turn.pool);
    Ok(false)
}

fn open_tunnel(exchange: &mut Exchange) {
    exchange.tunnel = Tunnel::Open;
    exchange.request = Framing::UntilClose;
    exchange.answer = Answer::Body(Framing::UntilClose);
    exchange.keep_alive = false;
}

/// The Set-Cookie lines that bind the client to the target and to its group; they are renewed with every answer.
fn cookies(exchange: &Exchange, now: Timestamp) -> String {
    let target = exchange
        .group
        .stickiness_s
        .map(|stays_s| cookie([pick::COOKIE, pick::COOKIE_CORS], exchange.flight.cell().fingerprint, stays_s, now));
    let group = exchange
        .group_stays_s
        .map(|stays_s| cookie([pick::GROUP_COOKIE, pick::GROUP_COOKIE_CORS], exchange.group.fingerprint, stays_s, now));
    target.unwrap_or_default() + &group.unwrap_or_default()
}

fn cookie([name, cors]: [&str; 2], fingerprint: u64, stays_s: u32, now: Timestamp) -> String {
    let expires_s = choose::seconds(now) + u64::from(stays_s);
    let value = pick::cookie_value(fingerprint, expires_s);
    let date = Timestamp(i64::try_from(expires_s).unwrap_or(i64::MAX / 1000) * 1000).http_date();
    format!(
        "Set-Cookie: {name}={value}; Expires={date}; Path=/\r\n\
         Set-Cookie: {cors}={value}; Expires={date}; Path=/; SameSite=None\r\n"
    )
}

fn read_body(
    client: &mut Client,
    exchange: &mut Exchange,
    upstream: &mut Upstream,
    turn: &mut Turn<'_>,
    mut framing: Framing,
) -> Result<bool, Trouble> {
    let mut moved = false;
    if exchange.answer_ready > 0 || exchange.dechunk && client.out.len() > BUFFER_SIZE {
        return Ok(false);
    }
    if upstream.inbox.is_empty() && !framing.is_done() {
        match fill(&mut upstream.stream, &mut upstream.inbox, &mut upstream.ready, turn.pool) {
            Fill::Got => moved = true,
            Fill::Nothing => return Ok(false),
            Fill::Eof if framing == Framing::UntilClose => {
                exchange.answer = Answer::Read;
                return Ok(true);
            }
            Fill::Eof | Fill::Broken => return Err(Trouble::Truncated),
        }
    }
    let bytes = upstream.inbox.bytes();
    if exchange.dechunk {
        let out = &mut client.out;
        let count = framing.scan(bytes, |payload| out.extend_from_slice(payload)).map_err(|_| Trouble::Truncated)?;
        upstream.inbox.consume(count, turn.pool);
    } else {
        exchange.answer_ready = framing.scan(bytes, |_| {}).map_err(|_| Trouble::Truncated)?;
    }
    exchange.answer = if framing.is_done() { Answer::Read } else { Answer::Body(framing) };
    Ok(moved)
}
