//! What the resolver of a VPC answers. No sockets here.
//!
//! It knows the VPC's names, the names of their addresses, and the few sites of the simulated internet; it is the
//! authority for everything else too, and says that it does not exist. Only where a cloud is open to the real internet is
//! somebody else asked, and never for names that are the VPC's own affair ([`is_foreign`]).

use std::net::Ipv4Addr;

use simple_dns::rdata::{A, OPT, PTR, RData, SOA};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, TYPE};

use standfast_network::egress::is_outside;

use super::INTERNET_ADDRESS;
use super::view::View;

/// The largest message over UDP when the client does not say that it takes more, and when it does.
const UDP_BYTES: usize = 512;
const UDP_BYTES_MAX: u16 = 1232;

/// How long clients may keep answers, as in a VPC of AWS, and the absence of one.
const TTL_SECONDS: u32 = 60;
const NEGATIVE_TTL_SECONDS: u32 = 5;

/// The most addresses in one answer; those after them are left out, as Route 53 does.
const ADDRESSES_MAX: usize = 100;

const HEADER_BYTES: usize = 12;

/// Sites of the simulated internet that people expect to be there.
const INTERNET_NAMES: [&str; 4] = [CHECKIP, "example.com", "example.org", "deb.debian.org"];

/// The site that is the cloud's own also where it is open to the real internet: it says which public address somebody has,
/// and those are the cloud's.
const CHECKIP: &str = "checkip.amazonaws.com";

/// Zones of which nobody outside is asked: every network has its own names in them, or none.
const OWN_ZONES: [&str; 5] = ["internal", "localhost", "local", "invalid", "test"];
const REVERSE_ZONE: &str = "in-addr.arpa";

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// What a name has.
enum Found<'a> {
    Addresses(&'a [Ipv4Addr]),
    /// A public address that the name spells out.
    Public(Ipv4Addr),
    Name(&'a str),
    /// The name exists (names below it do) and has nothing.
    Nothing,
    Missing,
}

/// The answer to a message; `None` when it is none that can be answered.
pub fn answer(view: &View, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let header = message.first_chunk::<HEADER_BYTES>()?;
    let is_query = header[2] & 0x80 == 0;
    if !is_query {
        return None;
    }
    let id = u16::from_be_bytes([header[0], header[1]]);
    let Some(query) = read(header, message) else { return refuse(id, RCODE::FormatError) };
    let mut reply = Packet::new_reply(id);
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    if query.opt().is_some() {
        *reply.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: UDP_BYTES_MAX, version: 0 });
    }
    let room = match (transport, query.opt()) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, Some(opt)) => usize::from(opt.udp_packet_size.min(UDP_BYTES_MAX)).max(UDP_BYTES),
        (Transport::Udp, None) => UDP_BYTES,
    };
    let question = query.questions.first()?;
    if query.opcode() == OPCODE::StandardQuery {
        fill(&mut reply, view, question, id);
    } else {
        *reply.rcode_mut() = RCODE::NotImplemented;
    }
    reply.questions.push(question.clone());
    fit(reply, room)
}

/// Whether a message asks for a name that others may know: it is not the VPC's, nor of a zone that is its own affair.
pub fn is_foreign(view: &View, message: &[u8]) -> bool {
    let query = message.first_chunk::<HEADER_BYTES>().and_then(|header| read(header, message));
    let Some(query) = query.filter(|query| query.opcode() == OPCODE::StandardQuery) else { return false };
    let Some(name) = query.questions.first().map(|question| question.qname.to_string().to_ascii_lowercase()) else {
        return false;
    };
    let is_in = |zone: &str| name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if is_in(REVERSE_ZONE) {
        return reversed(&name).is_some_and(is_outside);
    }
    let own = name == CHECKIP
        || spelled(&name).is_some()
        || view.names().contains_key(&name)
        || !view.domain().is_empty() && is_in(view.domain());
    !own && !OWN_ZONES.into_iter().any(is_in)
}

/// The answer to a message that others should have answered and did not.
pub fn failure(message: &[u8]) -> Option<Vec<u8>> {
    let query = read(message.first_chunk::<HEADER_BYTES>()?, message)?;
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    *reply.rcode_mut() = RCODE::ServerFailure;
    reply.questions.push(query.questions.first()?.clone());
    reply.build_bytes_vec().ok()
}

/// A query, where it is a plausible one.
fn read<'a>(header: &[u8; HEADER_BYTES], message: &'a [u8]) -> Option<Packet<'a>> {
    // The counts are looked at first: the parser makes room for as many records as a message claims to have.
    let counts = [4, 6, 8, 10].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
    let plausible = counts[0] == 1 && counts[1] == 0 && counts[2] == 0 && counts[3] <= 2;
    plausible.then(|| Packet::parse(message).ok()).flatten()
}

fn fill<'a>(reply: &mut Packet<'a>, view: &'a View, question: &Question<'a>, id: u16) {
    let name = question.qname.to_string().to_ascii_lowercase();
    let wants = |kind: TYPE| matches!(question.qtype, QTYPE::ANY) || question.qtype == QTYPE::TYPE(kind);
    let record = |data| ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL_SECONDS, data);
    let found = find(view, &name);
    match &found {
        Found::Addresses(addresses) if wants(TYPE::A) => {
            // Each answer begins with another address, so that clients that take the first one spread.
            let first = usize::from(id) % addresses.len().max(1);
            let rotated = addresses[first..].iter().chain(&addresses[..first]).take(ADDRESSES_MAX);
            reply.answers.extend(rotated.map(|address| record(RData::A(A { address: u32::from(*address) }))));
        }
        Found::Public(address) if wants(TYPE::A) => {
            reply.answers.push(record(RData::A(A { address: u32::from(*address) })));
        }
        Found::Name(name) if wants(TYPE::PTR) => {
            if let Ok(name) = Name::new(name) {
                reply.answers.push(record(RData::PTR(PTR(name))));
            }
        }
        _ => {}
    }
    if matches!(found, Found::Missing) {
        *reply.rcode_mut() = RCODE::NameError;
    }
    if reply.answers.is_empty() {
        reply.name_servers.push(authority(view, &name));
    }
}

fn find<'a>(view: &'a View, name: &str) -> Found<'a> {
    const INTERNET: &[Ipv4Addr] = &[INTERNET_ADDRESS];
    if let Some(addresses) = view.names().get(name) {
        return Found::Addresses(addresses);
    }
    if let Some(name) = reversed(name).and_then(|address| view.name_of(address)) {
        return Found::Name(name);
    }
    if let Some(address) = spelled(name) {
        return Found::Public(address);
    }
    if INTERNET_NAMES.contains(&name) {
        return Found::Addresses(INTERNET);
    }
    let mut known = view.names().keys().map(String::as_str).chain(INTERNET_NAMES);
    let below = |known: &str| known.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    if name.is_empty() || known.any(below) { Found::Nothing } else { Found::Missing }
}

/// The address in `ec2-127-128-0-5.eu-west-1.compute.amazonaws.com`: everybody knows the public names of all networks.
fn spelled(name: &str) -> Option<Ipv4Addr> {
    let (host, zone) = name.strip_prefix("ec2-")?.split_once('.')?;
    let zone = zone.strip_suffix(".amazonaws.com")?;
    let known = zone == "compute-1" || zone.strip_suffix(".compute").is_some_and(|region| !region.contains('.'));
    known.then(|| host.replace('-', ".").parse().ok()).flatten()
}

/// The address that `4.3.2.1.in-addr.arpa` asks about.
fn reversed(name: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = name.strip_suffix(REVERSE_ZONE)?.strip_suffix('.')?.parse().ok()?;
    Some(u32::from(address).swap_bytes().into())
}

/// Who says so when there is no answer.
fn authority<'a>(view: &'a View, name: &str) -> ResourceRecord<'a> {
    let zone = [view.domain(), REVERSE_ZONE].into_iter().find(|zone| !zone.is_empty() && name.ends_with(zone));
    let zone = zone.and_then(|zone| Name::new(zone).ok()).unwrap_or_else(|| Name::new_unchecked(""));
    let soa = SOA {
        mname: Name::new_unchecked("ns0.internal"),
        rname: Name::new_unchecked("hostmaster.internal"),
        serial: 1,
        refresh: 3600,
        retry: 3600,
        expire: 3600,
        minimum: NEGATIVE_TTL_SECONDS,
    };
    ResourceRecord::new(zone, CLASS::IN, NEGATIVE_TTL_SECONDS, RData::SOA(soa))
}

/// The message, without its answers and marked as such when it is larger than there is room for.
fn fit(mut reply: Packet<'_>, room: usize) -> Option<Vec<u8>> {
    let bytes = reply.build_bytes_vec_compressed().ok()?;
    if bytes.len() <= room {
        return Some(bytes);
    }
    reply.answers.clear();
    reply.set_flags(PacketFlag::TRUNCATION);
    reply.build_bytes_vec_compressed().ok()
}

fn refuse(id: u16, code: RCODE) -> Option<Vec<u8>> {
    let mut reply = Packet::new_reply(id);
    *reply.rcode_mut() = code;
    reply.build_bytes_vec().ok()
}

#[cfg(test)]
mod tests;
