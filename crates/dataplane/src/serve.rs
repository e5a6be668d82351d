//! The life of a request in a worker: head, choice of a target, exchange, answer, and what happens when a target fails.
//!
//! Retry rule. A request goes to another target when the connection was refused (nothing was sent), or when a *reused*
//! connection ended before a byte of an answer came, the method is idempotent and no body was sent. Then a new
//! connection is used. Everything else is the client's to decide, and it gets a 502.

use std::io::ErrorKind;
use std::sync::Arc;

use mio::event::Event;

use crate::answer::{self, Asked, Manner};
use crate::body::Framing;
use crate::choose::{self, Chosen, Tried};
use crate::client::{Answer, Client, Exchange, Phase, Place, Tunnel};
use crate::head::{self, Rejected, RequestHead};
use crate::io::{Fill, Key, fill, send};
use crate::metrics::Event as Count;
use crate::relay::{self, Trouble};
use crate::route;
use crate::table::{Act, Cell, Flight, Group};
use crate::worker::{Step, Worker};

/// What a client may still send after its answer, and for how long, before the connection is cut.
const LINGER_SIZE_MAX: usize = 1 << 20;
const LINGER_US: u64 = 2_000_000;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Why a target did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nobody listens, or there is no way there.
    Refused,
    /// The connection could not be made for a reason of our own.
    Unconnected,
    ConnectTimeout,
    Closed,
    BadAnswer,
    /// The target was deregistered and its time is over.
    CutOff,
}

/// What becomes of a request after its head.
enum Verdict {
    /// The answer is in the client's buffer.
    Answered,
    Error(u16),
    Forward(Arc<Group>, Arc<Cell>),
}

/// What is kept of a head when its bytes are gone.
struct Facts {
    size: usize,
    framing: Framing,
    keep_alive: bool,
    head_only: bool,
    http10: bool,
    upgrade: bool,
    idempotent: bool,
    expects_continue: bool,
}

impl Facts {
    fn of(head: &RequestHead<'_, '_>) -> Self {
        Self {
            size: head.size,
            framing: head.framing,
            keep_alive: head.keep_alive,
            head_only: head.method == "HEAD",
            http10: head.http10,
            upgrade: head.upgrade,
            idempotent: head.is_idempotent(),
            expects_continue: head.expects_continue,
        }
    }
}

impl Worker {
    /// One step of a client's connection.
    pub fn step(&mut self, key: Key) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        if client.ready.error {
            return self.close(key);
        }
        match client.phase {
            Phase::Head => self.head_step(key),
            Phase::Exchange => self.exchange_step(key),
            Phase::Answer => self.answer_step(key),
            Phase::Linger => self.linger_step(key),
        }
    }

    fn head_step(&mut self, key: Key) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        if !client.fresh {
            match fill(&mut client.stream, &mut client.inbox, &mut client.ready, &mut self.pool) {
                Fill::Got => client.fresh = true,
                Fill::Nothing => return Step::Wait,
                Fill::Eof | Fill::Broken => return self.close(key),
            }
            client.touch(self.now_us);
        }
        if client.place.version != self.table.version {
            match Place::find(&self.table, &client.door) {
                Some(place) => client.place = place,
                None => return self.close(key),
            }
        }
        self.begin(key)
    }

    /// Reads a request's head and decides.
    fn begin(&mut self, key: Key) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        client.fresh = false;
        let Client { inbox, out, head: forwarded, place, peer, .. } = client;
        let mut slots = head::slots();
        let head = match head::request(inbox.bytes(), &mut slots) {
            Ok(Some(head)) => head,
            Ok(None) => return Step::Again,
            Err(Rejected(status)) => return self.reject(key, status),
        };
        let facts = Facts::of(&head);
        // A body that has come as a whole does not stand in the way of the next request after an answer of our own.
        let mut rest = facts.framing;
        let body_size = rest.scan(&inbox.bytes()[facts.size..], |_| {}).ok();
        let body_read = body_size.is_some() && rest.is_done();
        let manner = Manner {
            keep_alive: facts.keep_alive && body_read && self.stop_at_us.is_none(),
            head_only: facts.head_only,
            now: self.now,
        };
        let source = match peer.ip() {
            std::net::IpAddr::V4(address) => address,
            std::net::IpAddr::V6(_) => choose::NO_SOURCE,
        };
        let request = route::Request {
            method: head.method,
            host: head.host.unwrap_or(&place.balancer.dns_name),
            path: head.path,
            query: head.query,
            headers: head.headers,
            source,
        };
        let asked = Asked { host: request.host, path: request.path, query: request.query, port: place.route.port };
        let verdict = match choose::action(&place.route, &request) {
            Some(Act::Fixed { status, content_type, body }) => {
                place.counters.count(Count::FixedResponse);
                answer::fixed(out, *status, content_type, body, manner);
                Verdict::Answered
            }
            Some(Act::Redirect(redirect)) => {
                place.counters.count(Count::Redirect);
                answer::redirect(out, redirect, asked, manner);
                Verdict::Answered
            }
            Some(act) => match choose::group(act) {
                Some(group) => {
                    let cookie = head.cookie.and_then(crate::pick::find_cookie);
                    match choose::target(group, &Tried::default(), cookie, self.now) {
                        Chosen::Target(cell) => {
                            let forward = head::Forward {
                                client: peer.ip(),
                                port: place.route.port,
                                xff: place.balancer.xff,
                                dns_name: &place.balancer.dns_name,
                                now_s: choose::seconds(self.now),
                                chance: (self.rng.u64(), self.rng.u64()),
                            };
                            head::write_request(forwarded, &head, &forward);
                            Verdict::Forward(group.clone(), cell)
                        }
                        Chosen::AllTried | Chosen::NoTargets => Verdict::Error(503),
                    }
                }
                None => Verdict::Error(503),
            },
            None => Verdict::Error(503),
        };
        match verdict {
            Verdict::Forward(group, cell) => {
                inbox.consume(facts.size, &mut self.pool);
                self.forward(key, group, cell, &facts)
            }
            Verdict::Answered => {
                inbox.consume(facts.size + body_size.unwrap_or(0), &mut self.pool);
                client.keep_alive = manner.keep_alive;
                client.phase = Phase::Answer;
                Step::Again
            }
            Verdict::Error(status) => {
                inbox.consume(facts.size + body_size.unwrap_or(0), &mut self.pool);
                self.error(key, status, manner)
            }
        }
    }

    fn forward(&mut self, key: Key, group: Arc<Group>, cell: Arc<Cell>, facts: &Facts) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        client.count(Count::Request);
        cell.counters.count(Count::Request);
        if facts.expects_continue && !facts.framing.is_done() {
            client.out.extend_from_slice(CONTINUE);
        }
        client.phase = Phase::Exchange;
        client.keep_alive = false;
        client.exchange = Some(Exchange {
            upstream: None,
            group,
            flight: Flight::begin(&cell),
            tried: Tried::default(),
            head_sent: 0,
            request: facts.framing,
            request_ready: 0,
            body_sent: false,
            write_broken: false,
            answer: Answer::Waiting,
            answer_ready: 0,
            received: false,
            idempotent: facts.idempotent,
            head_only: facts.head_only,
            http10: facts.http10,
            upgrade: facts.upgrade,
            keep_alive: facts.keep_alive,
            target_keeps: false,
            dechunk: false,
            tunnel: Tunnel::No,
            sent_us: self.now_us,
        });
        let pooled = self.upstreams.reuse(&cell, key);
        self.attempt(key, cell, pooled)
    }

    /// Gives the exchange to `cell`, over a pooled connection or a new one.
    fn attempt(&mut self, key: Key, cell: Arc<Cell>, pooled: Option<Key>) -> Step {
        let made = match pooled {
            Some(upstream) => Ok(upstream),
            None => self.upstreams.connect(self.poll.registry(), &cell, key, self.now_us),
        };
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        let Some(exchange) = client.exchange.as_mut() else { return Step::Gone };
        exchange.flight = Flight::begin(&cell);
        exchange.tried.add(&cell);
        exchange.head_sent = 0;
        exchange.write_broken = false;
        match made {
            Ok(upstream) => {
                exchange.upstream = Some(upstream);
                if pooled.is_none() {
                    self.note(self.now_us + crate::upstream::CONNECT_TIMEOUT_US);
                }
                Step::Again
            }
            Err(error) => {
                exchange.upstream = None;
                self.target_failed(key, connect_fault(&error))
            }
        }
    }

    fn exchange_step(&mut self, key: Key) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        let Some(mut exchange) = client.exchange.take() else { return self.close(key) };
        let Some(upstream) = exchange.upstream.and_then(|key| self.upstreams.get_mut(key)) else {
            client.exchange = Some(exchange);
            return self.target_failed(key, Fault::Closed);
        };
        let stopping = self.stop_at_us.is_some();
        let mut turn = relay::Turn { pool: &mut self.pool, now_us: self.now_us, now: self.now, stopping };
        let moved = relay::request(client, &mut exchange, upstream, &mut turn).and_then(|sent| {
            relay::answer(client, &mut exchange, upstream, &mut turn).map(|answered| sent || answered)
        });
        if moved == Ok(true) {
            client.touch(self.now_us);
        }
        let over = moved.is_ok() && relay::is_over(client, &exchange);
        client.exchange = Some(exchange);
        match moved {
            Ok(_) if over => self.finish(key),
            Ok(true) => Step::Again,
            Ok(false) => Step::Wait,
            Err(Trouble::ClientGone) => self.close(key),
            Err(Trouble::TargetClosed) => self.target_failed(key, Fault::Closed),
            Err(Trouble::BadAnswer) => self.target_failed(key, Fault::BadAnswer),
            // The client must notice that the answer is not whole.
            Err(Trouble::Truncated) => self.abort(key),
            Err(Trouble::BadBody) => self.bad_body(key),
        }
    }

    /// The exchange is over: both connections are ready for the next one, or closed.
    fn finish(&mut self, key: Key) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        let Some(exchange) = client.exchange.take() else { return Step::Gone };
        let request_read = exchange.request.is_done() && exchange.request_ready == 0;
        let keep_alive = client.keep_alive && request_read;
        let head_sent = exchange.head_sent == client.head.len();
        let clean = exchange
            .upstream
            .and_then(|key| self.upstreams.get_mut(key))
            .is_some_and(|upstream| upstream.inbox.is_empty() && !upstream.ready.read_closed && !upstream.ready.error);
        match exchange.upstream {
            Some(key) if exchange.target_keeps && request_read && head_sent && clean && !exchange.write_broken => {
                self.upstreams.park(key, self.now_us, &mut self.pool);
                self.note(self.now_us + crate::upstream::IDLE_US);
            }
            other => self.drop_upstream(other),
        }
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        if keep_alive {
            client.expect_request(self.now_us);
            return Step::Again;
        }
        if exchange.tunnel != Tunnel::No {
            return self.close(key);
        }
        self.leave(key)
    }

    fn answer_step(&mut self, key: Key) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        let out = &client.out[client.out_sent..];
        match send(&mut client.stream, out, &[], &mut client.ready) {
            Err(_) => return self.close(key),
            Ok(0) if !client.out.is_empty() => return Step::Wait,
            Ok(count) => client.wrote(count),
        }
        client.touch(self.now_us);
        if !client.out.is_empty() {
            return Step::Again;
        }
        if client.keep_alive {
            client.expect_request(self.now_us);
            return Step::Again;
        }
        self.leave(key)
    }

    /// Closes a connection whose last answer is out.
    fn leave(&mut self, key: Key) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        let unread = !client.inbox.is_empty() || client.ready.readable || client.phase == Phase::Answer;
        if client.ready.read_closed && client.inbox.is_empty() || !unread {
            return self.close(key);
        }
        // It fails when the client is gone, which the next read tells.
        let _ = client.stream.shutdown(std::net::Shutdown::Write);
        client.phase = Phase::Linger;
        client.deadline_us = self.now_us + LINGER_US;
        Step::Again
    }

    fn linger_step(&mut self, key: Key) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        client.discarded += client.inbox.len();
        client.inbox.release(&mut self.pool);
        if client.discarded > LINGER_SIZE_MAX {
            return self.close(key);
        }
        match fill(&mut client.stream, &mut client.inbox, &mut client.ready, &mut self.pool) {
            Fill::Got => Step::Again,
            Fill::Nothing => Step::Wait,
            Fill::Eof | Fill::Broken => self.close(key),
        }
    }

    /// A target did not answer: another gets the request, or the client an error.
    fn target_failed(&mut self, key: Key, fault: Fault) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        let Some(exchange) = client.exchange.as_mut() else { return Step::Gone };
        let cell = exchange.flight.cell().clone();
        let reused =
            exchange.upstream.and_then(|key| self.upstreams.get_mut(key)).is_some_and(|upstream| upstream.reused);
        if let Some(upstream) = exchange.upstream.take() {
            self.upstreams.drop(upstream, &mut self.pool);
        }
        if exchange.answer != Answer::Waiting {
            return self.abort(key);
        }
        if matches!(fault, Fault::Refused | Fault::ConnectTimeout) {
            client.place.counters.count(Count::ConnectionError);
            cell.counters.count(Count::ConnectionError);
        }
        if fault == Fault::Refused {
            cell.refused();
            self.upstreams.drop_idle(cell.socket);
        }
        let stale =
            fault == Fault::Closed && reused && !exchange.received && exchange.idempotent && !exchange.body_sent;
        let stale = stale && exchange.request.is_done() && exchange.request_ready == 0;
        if (fault == Fault::Refused || stale) && !exchange.tried.is_exhausted() {
            match choose::target(&exchange.group, &exchange.tried, None, self.now) {
                Chosen::Target(other) => return self.attempt(key, other, None),
                // It may just have closed an idle connection: it is asked once more, over a new one.
                Chosen::AllTried if stale => return self.attempt(key, cell, None),
                _ => {}
            }
        }
        self.fail(key, if fault == Fault::ConnectTimeout { 504 } else { 502 })
    }

    /// The exchange ends with an error of our own.
    fn fail(&mut self, key: Key, status: u16) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        let Some(exchange) = client.exchange.take() else { return Step::Gone };
        if let Some(upstream) = exchange.upstream {
            self.upstreams.drop(upstream, &mut self.pool);
        }
        let request_read = exchange.request.is_done();
        // The body's rest that was scanned belongs to this request.
        client.inbox.consume(exchange.request_ready, &mut self.pool);
        let manner = Manner {
            keep_alive: exchange.keep_alive && request_read && self.stop_at_us.is_none(),
            head_only: exchange.head_only,
            now: self.now,
        };
        self.error(key, status, manner)
    }

    fn bad_body(&mut self, key: Key) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        match client.exchange.as_mut() {
            Some(exchange) if exchange.answer == Answer::Waiting => {
                exchange.keep_alive = false;
                self.fail(key, 400)
            }
            _ => self.abort(key),
        }
    }

    /// A request that is not one: the connection cannot be trusted further.
    fn reject(&mut self, key: Key, status: u16) -> Step {
        self.error(key, status, Manner { keep_alive: false, head_only: false, now: self.now })
    }

    fn error(&mut self, key: Key, status: u16, manner: Manner) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        client.place.counters.refused(status);
        answer::error(&mut client.out, status, manner);
        client.keep_alive = manner.keep_alive;
        client.phase = Phase::Answer;
        client.touch(self.now_us);
        Step::Again
    }

    /// Closes a client's connection, and its target's when an exchange is under way.
    pub fn close(&mut self, key: Key) -> Step {
        if let Some(mut client) = self.clients.remove(key) {
            let upstream = client.exchange.as_ref().and_then(|exchange| exchange.upstream);
            self.drop_upstream(upstream);
            client.release(&mut self.pool);
        }
        Step::Gone
    }

    fn drop_upstream(&mut self, upstream: Option<Key>) {
        if let Some(upstream) = upstream {
            self.upstreams.drop(upstream, &mut self.pool);
        }
    }

    /// Closes with a reset, so that half an answer is not taken for a whole one.
    fn abort(&mut self, key: Key) -> Step {
        if let Some(client) = self.clients.get_mut(key) {
            crate::io::reset(&client.stream);
        }
        self.close(key)
    }

    pub fn upstream_event(&mut self, key: Key, event: &Event) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        upstream.ready.merge(event);
        let Some(client) = upstream.client else {
            // An idle connection that ends or speaks is of no use.
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.upstreams.drop(key, &mut self.pool);
            }
            return;
        };
        if !upstream.connected {
            let failure = if upstream.ready.error || event.is_write_closed() {
                let error = upstream.stream.take_error().ok().flatten();
                Some(error.unwrap_or_else(|| ErrorKind::ConnectionAborted.into()))
            } else {
                None
            };
            if let Some(error) = failure {
                if self.target_failed(client, connect_fault(&error)) != Step::Gone {
                    self.drive(client);
                }
                return;
            }
            upstream.connected = upstream.ready.writable;
            upstream.deadline_us = u64::MAX;
        }
        self.drive(client);
    }

    pub fn client_timed_out(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let step = match client.phase {
            Phase::Head if client.inbox.is_empty() => self.close(key),
            Phase::Head => self.reject(key, 408),
            Phase::Answer | Phase::Linger => self.close(key),
            Phase::Exchange => match client.exchange.as_ref().map(|exchange| exchange.answer) {
                Some(Answer::Waiting) => self.fail(key, 504),
                _ => self.abort(key),
            },
        };
        if step != Step::Gone {
            self.drive(key);
        }
    }

    pub fn connect_timed_out(&mut self, client: Key) {
        if self.target_failed(client, Fault::ConnectTimeout) != Step::Gone {
            self.drive(client);
        }
    }

    /// The deregistration delay of a request's target is over.
    pub fn cut_off(&mut self, client: Key) {
        if self.target_failed(client, Fault::CutOff) != Step::Gone {
            self.drive(client);
        }
    }
}

fn connect_fault(error: &std::io::Error) -> Fault {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Fault::Refused,
        ErrorKind::TimedOut => Fault::ConnectTimeout,
        _ => Fault::Unconnected,
    }
}
