//! The life of a request in a worker: head, exchange with a target, answer. What happens when a target fails is in
//! `failure`.

use std::sync::Arc;

use crate::answer::{self, Manner};
use crate::body::Framing;
use crate::choose::Tried;
use crate::client::{Answer, Client, Exchange, Phase, Place, Tunnel};
use crate::decide::{self, Verdict};
use crate::failure::{Fault, connect_fault};
use crate::head::{self, Rejected, RequestHead};
use crate::io::{Fill, Key, fill, send};
use crate::metrics::Event as Count;
use crate::relay::{self, Trouble};
use crate::space;
use crate::table::{Cell, Flight, Group};
use crate::worker::{Step, Worker};

/// What a client may still send after its answer, and for how long, before the connection is cut.
const LINGER_SIZE_MAX: usize = 1 << 20;
const LINGER_US: u64 = 2_000_000;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

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
        if client.ready.error || client.stream.flush_some().is_err() {
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
                Fill::Broken if client.stream.is_handshaking() => {
                    client.count(Count::TlsNegotiationError);
                    return self.leave(key);
                }
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
        let Client { inbox, out, head: forwarded, place, peer, stream, .. } = client;
        let from = decide::From { peer: *peer, scheme: if stream.is_tls() { "https" } else { "http" } };
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
        let verdict = decide::decide(&head, place, from, manner, &self.rng, decide::Buffers { out, forwarded });
        if let Verdict::Forward(group, stays_s, cell) = verdict {
            inbox.consume(facts.size, &mut self.pool);
            return self.forward(key, (group, stays_s), cell, &facts);
        }
        inbox.consume(facts.size + body_size.unwrap_or(0), &mut self.pool);
        if let Verdict::Error(status) = verdict {
            return self.error(key, status, manner);
        }
        client.keep_alive = manner.keep_alive;
        client.phase = Phase::Answer;
        Step::Again
    }

    fn forward(
        &mut self,
        key: Key,
        (group, group_stays_s): (Arc<Group>, Option<u32>),
        cell: Arc<Cell>,
        facts: &Facts,
    ) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        client.count(Count::Request);
        cell.counters.count(Count::Request);
        if facts.expects_continue && !facts.framing.is_done() {
            client.out.extend_from_slice(CONTINUE);
        }
        let space = space::number(client.place.space.as_ref());
        client.phase = Phase::Exchange;
        client.keep_alive = false;
        client.exchange = Some(Exchange {
            upstream: None,
            group,
            group_stays_s,
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
        let pooled = self.upstreams.reuse(&cell, space, key);
        self.attempt(key, cell, pooled)
    }

    /// Gives the exchange to `cell`, over a pooled connection or a new one.
    pub fn attempt(&mut self, key: Key, cell: Arc<Cell>, pooled: Option<Key>) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        let made = match pooled {
            Some(upstream) => Ok(upstream),
            None => {
                let way = (&cell, client.place.space.as_ref());
                self.upstreams.connect(self.poll.registry(), way, key, self.now_us)
            }
        };
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
        if exchange.tunnel != Tunnel::No && !client.stream.is_pending() {
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
        if (client.ready.read_closed && client.inbox.is_empty() || !unread) && !client.stream.is_pending() {
            return self.close(key);
        }
        client.stream.end();
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

    /// A request that is not one: the connection cannot be trusted further.
    pub fn reject(&mut self, key: Key, status: u16) -> Step {
        self.error(key, status, Manner { keep_alive: false, head_only: false, now: self.now })
    }

    pub fn error(&mut self, key: Key, status: u16, manner: Manner) -> Step {
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
            if client.stream.is_tls() {
                client.stream.end();
            }
            let upstream = client.exchange.as_ref().and_then(|exchange| exchange.upstream);
            self.drop_upstream(upstream);
            client.release(&mut self.pool);
        }
        Step::Gone
    }

    pub fn drop_upstream(&mut self, upstream: Option<Key>) {
        if let Some(upstream) = upstream {
            self.upstreams.drop(upstream, &mut self.pool);
        }
    }

    /// Closes with a reset, so that half an answer is not taken for a whole one.
    pub fn abort(&mut self, key: Key) -> Step {
        if let Some(client) = self.clients.get_mut(key) {
            crate::io::reset(&client.stream.tcp);
        }
        self.close(key)
    }
}
