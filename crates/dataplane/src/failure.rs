//! Targets that fail, and time that runs out.
//!
//! Retry rule. A request goes to another target when the connection was refused (nothing was sent), or when a *reused*
//! connection ended before a byte of an answer came, the method is idempotent and no body was sent. Then a new
//! connection is used. Everything else is the client's to decide, and it gets a 502.

use std::io::ErrorKind;

use mio::event::Event;

use crate::answer::Manner;
use crate::choose::{self, Chosen};
use crate::client::{Answer, Phase};
use crate::io::Key;
use crate::metrics::Event as Count;
use crate::space;
use crate::worker::{Step, Worker};

/// Why a target did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
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

impl Worker {
    /// A target did not answer: another gets the request, or the client an error.
    pub fn target_failed(&mut self, key: Key, fault: Fault) -> Step {
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
            self.upstreams.drop_idle(cell.socket, space::number(client.place.space.as_ref()));
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

    pub fn bad_body(&mut self, key: Key) -> Step {
        let Some(client) = self.clients.get_mut(key) else { return Step::Gone };
        match client.exchange.as_mut() {
            Some(exchange) if exchange.answer == Answer::Waiting => {
                exchange.keep_alive = false;
                self.fail(key, 400)
            }
            _ => self.abort(key),
        }
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

/// What a failure to connect means.
pub fn connect_fault(error: &std::io::Error) -> Fault {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Fault::Refused,
        ErrorKind::TimedOut => Fault::ConnectTimeout,
        _ => Fault::Unconnected,
    }
}
