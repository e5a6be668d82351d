//! What becomes of a request, once its head is known.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use standfast_core::Rng;

use crate::answer::{self, Asked, Manner};
use crate::choose::{self, Chosen, Tried};
use crate::client::Place;
use crate::head::{self, RequestHead};
use crate::metrics::Event;
use crate::pick;
use crate::route::Request;
use crate::table::{Act, Cell, Group};

/// What becomes of a request after its head.
pub enum Verdict {
    /// The answer is in the client's buffer.
    Answered,
    Error(u16),
    /// The group, how long the client stays with it if it does, and the target.
    Forward(Arc<Group>, Option<u32>, Arc<Cell>),
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub struct From {
    pub peer: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
}

/// Where the outcome is written.
pub struct Buffers<'a> {
    /// Goes to the client.
    pub out: &'a mut Vec<u8>,
    /// Goes to the target.
    pub forwarded: &'a mut Vec<u8>,
}

/// Finds the rule that holds and does what can be done without a target.
pub fn decide(
    head: &RequestHead<'_, '_>,
    place: &Place,
    from: From,
    manner: Manner,
    rng: &Rng,
    buffers: Buffers<'_>,
) -> Verdict {
    let source = match from.peer.ip() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => choose::NO_SOURCE,
    };
    let host = head.host.unwrap_or(&place.balancer.dns_name);
    let (method, path, query, headers) = (head.method, head.path, head.query, head.headers);
    let request = Request { method, host, path, query, headers, source };
    match choose::action(&place.route, &request) {
        Some(Act::Fixed { status, content_type, body }) => {
            place.counters.count(Event::FixedResponse);
            answer::fixed(buffers.out, *status, content_type, body, manner);
            Verdict::Answered
        }
        Some(Act::Redirect(redirect)) => {
            place.counters.count(Event::Redirect);
            let asked = Asked { host, path, query, port: place.route.port, scheme: from.scheme };
            answer::redirect(buffers.out, redirect, asked, manner);
            Verdict::Answered
        }
        Some(act) => {
            let kept = head.cookie.and_then(pick::find_group_cookie);
            let Some(group) = choose::group(act, kept, manner.now) else { return Verdict::Error(503) };
            let cookie = head.cookie.and_then(pick::find_cookie);
            let chosen = choose::target(group, &Tried::default(), cookie, manner.now);
            let Chosen::Target(cell) = chosen else { return Verdict::Error(503) };
            let forward = head::Forward {
                client: from.peer.ip(),
                scheme: from.scheme,
                port: place.route.port,
                xff: place.balancer.xff,
                dns_name: &place.balancer.dns_name,
                now_s: choose::seconds(manner.now),
                chance: (rng.u64(), rng.u64()),
            };
            head::write_request(buffers.forwarded, head, &forward);
            let stays_s = if let Act::Forward { stickiness_s, .. } = act { *stickiness_s } else { None };
            Verdict::Forward(group.clone(), stays_s, cell)
        }
        None => Verdict::Error(503),
    }
}
