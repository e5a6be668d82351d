//! nftables over netlink: a table as a value, written as one transaction that replaces what was there.
//!
//! A `Table` is built with its chains, sets and rules; `replace` writes the batch that puts it in the place of an older one of
//! the same name, at once or not at all. Numbers are big endian, data in registers is as packets have it, but interface
//! indexes and marks, which are native. Source: linux/netfilter/nf_tables.h.

mod update;

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use rustix::net::netlink::NETFILTER;
use standfast_core::Cidr;

use crate::namespace::in_namespace;
use crate::netlink::{Messages, NLM_F_APPEND, NLM_F_CREATE, Socket};

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENTS: u16 = SUBSYSTEM | 12;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const FAMILY_IPV4: u8 = 2;
const FAMILY_DEVICES: u8 = 5;
/// A chain has at most so many devices.
pub const DEVICES_MAX: usize = 256;
/// A netlink attribute is at most 64 KiB: a list of more elements is written as several.
const ELEMENTS_AT_ONCE: usize = 500;

const SET_ANONYMOUS_KEY_TYPE: u32 = 0;
const SET_MAP: u32 = 8;
const DATA_VERDICT: u32 = 0xffff_ff00;

/// The register that a verdict goes to.
const VERDICT: u32 = 0;
/// The first of the 16-byte registers.
const REG: u32 = 1;
/// The same register as 4-byte ones, which lie one after the other.
const REG32: u32 = 8;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
}

/// A chain's place in the path of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    pub kind: &'static str,
    pub number: u32,
    pub priority: i32,
}

pub const PREROUTING: u32 = 0;
pub const FORWARD: u32 = 2;
pub const POSTROUTING: u32 = 4;
/// Of devices: whole frames, as they come in and as they leave.
pub const INGRESS: u32 = 0;
pub const EGRESS: u32 = 1;

/// One step of a rule; a step that does not match ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The link by which it came, or leaves, is this one.
    In(u32),
    Out(u32),
    /// The link is in a set of links; `false` for: is not.
    InAmong(String, bool),
    OutAmong(String, bool),
    /// The link's verdict, from a map of links.
    InVerdict(String),
    OutVerdict(String),
    /// The link by which it came and its source address are, as a pair, in the set; `false` for: are not.
    InSourceAmong(String, bool),
    OutDestinationAmong(String, bool),
    Source(Cidr),
    Destination(Cidr),
    SourceAmong(String, bool),
    DestinationAmong(String),
    Protocol(u8),
    /// TCP or UDP destination ports, both ends included.
    DestinationPorts(u16, u16),
    IcmpType(u8),
    IcmpCode(u8),
    /// Of a flow that was let through and answered, and is no error message about it.
    Established,
    /// About a flow that was let through, as error messages are.
    Related,
    /// From the one to whom the flow was begun; `false` for: from the one who began it.
    Answer(bool),
    /// The flow's mark has this bit; `false` for: has not.
    FlowMarked(u32, bool),
    /// Sets this bit in the flow's mark.
    MarkFlow(u32),
    /// Of no flow that tracking knows.
    Invalid,
    /// The first packet of a flow.
    New,
    /// True for so many packets of a hundred, by chance.
    Percent(u8),
    /// The mark that a map has for the link by which it came.
    MarkByIn(String),
    /// Gives the packet this mark.
    Mark(u32),
    /// Sends the frame out of the device that a map has for its mark.
    ForwardByMark(String),
    /// Sends the frame out of the link whose number is its sender's address (see `links::mac_of`), when it is in the set.
    ForwardBySender(String),
    /// Translates the destination (or source) to what a map has for it.
    DestinationFrom(String),
    SourceFrom(String),
    /// Translates the source to this address.
    SourceTo(Ipv4Addr),
    /// Translates the destination's port to this one; after a step that says the protocol.
    ToPort(u16),
    /// Translates the source's network to this one of the same size; hosts keep their numbers.
    SourceNetwork(Cidr),
    Is(Verdict),
}

/// What a set holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elements {
    Links(Vec<u32>),
    Addresses(Vec<Ipv4Addr>),
    LinkAddresses(Vec<(u32, Ipv4Addr)>),
    LinkMarks(Vec<(u32, u32)>),
    LinkVerdicts(Vec<(u32, Verdict)>),
    MarkLinks(Vec<(u32, u32)>),
    AddressMap(Vec<(Ipv4Addr, Ipv4Addr)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    name: String,
    hook: Option<Hook>,
    /// What a chain of frames is attached to; empty for chains of packets.
    devices: Vec<String>,
    rules: Vec<Vec<Step>>,
}

/// A table of rules: for IPv4 packets, or for devices' frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    of_devices: bool,
    chains: Vec<Chain>,
    sets: Vec<(String, Elements)>,
}

impl Table {
    /// For devices' frames.
    pub fn of_devices() -> Self {
        Self { of_devices: true, ..Self::default() }
    }

    /// A chain that frames of these devices, of which there are at most `DEVICES_MAX`, go through.
    pub fn on(&mut self, name: impl Into<String>, number: u32, devices: Vec<String>, rules: Vec<Vec<Step>>) {
        let hook = Some(Hook { kind: "filter", number, priority: 0 });
        self.chains.push(Chain { name: name.into(), hook, devices, rules });
    }

    /// A chain that packets go through at a hook; it lets through what no rule decides.
    pub fn base(&mut self, name: &str, hook: Hook, rules: Vec<Vec<Step>>) {
        self.chains.push(Chain { name: name.into(), hook: Some(hook), devices: Vec::new(), rules });
    }

    /// A chain that is jumped to.
    pub fn chain(&mut self, name: impl Into<String>, rules: Vec<Vec<Step>>) {
        self.chains.push(Chain { name: name.into(), hook: None, devices: Vec::new(), rules });
    }

    pub fn set(&mut self, name: impl Into<String>, elements: Elements) {
        self.sets.push((name.into(), elements));
    }

    /// The transaction that makes this the table of that name.
    fn replace(&self, name: &str) -> Messages {
        let mut batch = Batch::of(name, self);
        batch.messages.begin(BATCH_BEGIN, 0, &general(0, 10));
        // Adding it first makes deleting it always possible.
        batch.message(NEW_TABLE, NLM_F_CREATE);
        batch.message(DELETE_TABLE, 0);
        batch.message(NEW_TABLE, NLM_F_CREATE);
        self.chains.iter().for_each(|chain| write_chain(&mut batch, chain));
        for (number, (set, elements)) in self.sets.iter().enumerate() {
            write_set(&mut batch, set, elements, number as u32 + 1);
        }
        self.chains.iter().for_each(|chain| write_rules(&mut batch, chain));
        batch.messages.begin(BATCH_END, 0, &general(0, 10));
        batch.messages
    }
}

/// The nftables of a namespace.
pub struct Nft(Socket);

impl Nft {
    pub fn of(namespace: BorrowedFd) -> io::Result<Self> {
        in_namespace(namespace, || Socket::open(Some(NETFILTER)))?.map(Self)
    }

    /// Puts a table in the place of the one of this name, in one transaction.
    pub fn replace(&self, name: &str, table: &Table) -> io::Result<()> {
        self.0.execute_batch(table.replace(name))
    }

    /// The same where the one of this name is known to be `old`. After a failure it is not known any more what it is.
    pub fn update(&self, name: &str, old: &Table, table: &Table) -> io::Result<()> {
        self.0.execute_batch(update::update(name, old, table).unwrap_or_else(|| table.replace(name)))
    }
}

/// `struct nfgenmsg`.
fn general(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// Messages about one table.
struct Batch<'a> {
    messages: Messages,
    family: u8,
    table: &'a str,
}

impl<'a> Batch<'a> {
    fn of(name: &'a str, table: &Table) -> Self {
        let family = if table.of_devices { FAMILY_DEVICES } else { FAMILY_IPV4 };
        Self { messages: Messages::default(), family, table: name }
    }

    /// Begins one; all have the table's name first.
    fn message(&mut self, kind: u16, flags: u16) -> &mut Messages {
        self.messages.begin(kind, flags, &general(self.family, 0)).text(1, self.table)
    }
}

fn write_chain(batch: &mut Batch, chain: &Chain) {
    let message = batch.message(NEW_CHAIN, NLM_F_CREATE).text(3, &chain.name);
    if let Some(hook) = chain.hook {
        message.nested(4, |nested| {
            nested.u32_be(1, hook.number).u32_be(2, hook.priority as u32);
            if !chain.devices.is_empty() {
                nested.nested(4, |list| {
                    for device in &chain.devices {
                        list.text(1, device);
                    }
                });
            }
        });
        message.u32_be(5, 1).text(7, hook.kind);
    }
}

fn write_rules(batch: &mut Batch, chain: &Chain) {
    for rule in &chain.rules {
        batch.message(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND).text(2, &chain.name).nested(4, |list| {
            rule.iter().for_each(|step| write_step(list, step));
        });
    }
}

fn key_length(elements: &Elements) -> u32 {
    if matches!(elements, Elements::LinkAddresses(_)) { 8 } else { 4 }
}

/// The kind and length of what a map's keys lead to.
fn data_of(elements: &Elements) -> Option<(u32, u32)> {
    match elements {
        Elements::Links(_) | Elements::Addresses(_) | Elements::LinkAddresses(_) => None,
        Elements::LinkMarks(_) | Elements::MarkLinks(_) | Elements::AddressMap(_) => Some((SET_ANONYMOUS_KEY_TYPE, 4)),
        Elements::LinkVerdicts(_) => Some((DATA_VERDICT, 0)),
    }
}

fn write_set(batch: &mut Batch, name: &str, elements: &Elements, id: u32) {
    let data = data_of(elements);
    let flags = if data.is_some() { SET_MAP } else { 0 };
    let message = batch.message(NEW_SET, NLM_F_CREATE).text(2, name).u32_be(3, flags);
    message.u32_be(4, SET_ANONYMOUS_KEY_TYPE).u32_be(5, key_length(elements));
    if let Some((kind, length)) = data {
        message.u32_be(6, kind);
        if length > 0 {
            message.u32_be(7, length);
        }
    }
    message.u32_be(10, id);
    for some in pairs(elements).chunks(ELEMENTS_AT_ONCE) {
        write_elements(batch, name, Some(id), some);
    }
}

/// Keys, and what they lead to in maps.
fn pairs(elements: &Elements) -> Vec<(Vec<u8>, Option<Data<'_>>)> {
    match elements {
        Elements::Links(links) => links.iter().map(|link| (link.to_ne_bytes().to_vec(), None)).collect(),
        Elements::Addresses(all) => all.iter().map(|address| (address.octets().to_vec(), None)).collect(),
        Elements::LinkAddresses(all) => {
            all.iter().map(|(link, address)| ([link.to_ne_bytes(), address.octets()].concat(), None)).collect()
        }
        Elements::LinkMarks(all) | Elements::MarkLinks(all) => {
            all.iter().map(|(key, data)| (key.to_ne_bytes().to_vec(), Some(value(&data.to_ne_bytes())))).collect()
        }
        Elements::LinkVerdicts(all) => {
            all.iter().map(|(link, verdict)| (link.to_ne_bytes().to_vec(), Some(Data::Verdict(verdict)))).collect()
        }
        Elements::AddressMap(all) => {
            all.iter().map(|(from, to)| (from.octets().to_vec(), Some(value(&to.octets())))).collect()
        }
    }
}

/// What an element maps to, or a register is set to.
#[derive(PartialEq)]
enum Data<'a> {
    Value(Vec<u8>),
    Verdict(&'a Verdict),
}

fn value(bytes: &[u8]) -> Data<'static> {
    Data::Value(bytes.to_vec())
}

fn write_data(messages: &mut Messages, kind: u16, data: &Data) {
    messages.nested(kind, |nested| match data {
        Data::Value(bytes) => {
            nested.attribute(1, bytes);
        }
        Data::Verdict(verdict) => {
            nested.nested(2, |inner| {
                let code: i32 = match verdict {
                    Verdict::Drop => 0,
                    Verdict::Accept => 1,
                    Verdict::Jump(_) => -3,
                    Verdict::Return => -5,
                };
                inner.u32_be(1, code as u32);
                if let Verdict::Jump(chain) = verdict {
                    inner.text(2, chain);
                }
            });
        }
    });
}

/// A set that is made in the same transaction is known by its id.
fn write_elements(batch: &mut Batch, set: &str, id: Option<u32>, elements: &[(Vec<u8>, Option<Data>)]) {
    let message = batch.message(NEW_ELEMENTS, NLM_F_CREATE).text(2, set);
    if let Some(id) = id {
        message.u32_be(4, id);
    }
    message.nested(3, |list| {
        for (key, data) in elements {
            list.nested(1, |element| {
                write_data(element, 1, &value(key));
                if let Some(data) = data {
                    write_data(element, 2, data);
                }
            });
        }
    });
}

/// An expression in a rule's list.
fn expression(list: &mut Messages, name: &str, content: impl FnOnce(&mut Messages)) {
    list.nested(1, |element| {
        element.text(1, name).nested(2, content);
    });
}

fn meta(list: &mut Messages, key: u32, register: u32) {
    expression(list, "meta", |e| {
        e.u32_be(2, key).u32_be(1, register);
    });
}

/// Marks the packet with what the register has.
fn set_mark(list: &mut Messages) {
    expression(list, "meta", |e| {
        e.u32_be(2, META_MARK).u32_be(3, REG);
    });
}

/// Sends the frame out of the link that the register has.
fn forward(list: &mut Messages) {
    expression(list, "fwd", |e| {
        e.u32_be(1, REG);
    });
}

const META_MARK: u32 = 3;
const META_IN: u32 = 4;
const META_OUT: u32 = 5;
const META_PROTOCOL: u32 = 16;

const FRAME: u32 = 0;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
/// Where a frame has the last four bytes of its sender's address.
const SENDER_OFFSET: u32 = 8;
const SOURCE_OFFSET: u32 = 12;
const DESTINATION_OFFSET: u32 = 16;

fn payload(list: &mut Messages, base: u32, offset: u32, length: u32, register: u32) {
    expression(list, "payload", |e| {
        e.u32_be(1, register).u32_be(2, base).u32_be(3, offset).u32_be(4, length);
    });
}

fn compare(list: &mut Messages, operator: u32, bytes: &[u8]) {
    expression(list, "cmp", |e| write_data(e.u32_be(1, REG).u32_be(2, operator), 3, &value(bytes)));
}

const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const LESS: u32 = 2;

fn mask(list: &mut Messages, mask: &[u8]) {
    change(list, mask, &vec![0; mask.len()]);
}

/// Keeps the bits of `keep` and then turns those of `turn` round.
fn change(list: &mut Messages, keep: &[u8], turn: &[u8]) {
    expression(list, "bitwise", |e| {
        e.u32_be(1, REG).u32_be(2, REG).u32_be(3, keep.len() as u32);
        write_data(e, 4, &value(keep));
        write_data(e, 5, &value(turn));
    });
}

/// Looks a key up; `data` is the register that a map's value goes to.
fn lookup(list: &mut Messages, set: &str, register: u32, data: Option<u32>, is_in: bool) {
    expression(list, "lookup", |e| {
        e.text(1, set).u32_be(2, register);
        if let Some(data) = data {
            e.u32_be(3, data);
        }
        if !is_in {
            e.u32_be(5, 1);
        }
    });
}

fn network(list: &mut Messages, offset: u32, cidr: &Cidr) {
    if cidr.prefix() == 0 {
        return;
    }
    payload(list, NETWORK, offset, 4, REG);
    if cidr.prefix() < 32 {
        mask(list, &(u32::MAX << (32 - cidr.prefix())).to_be_bytes());
    }
    compare(list, EQUAL, &cidr.base().octets());
}

/// Something that connection tracking knows of the packet's flow.
fn flow(list: &mut Messages, key: u32) {
    expression(list, "ct", |e| {
        e.u32_be(2, key).u32_be(1, REG);
    });
}

const FLOW_DIRECTION: u32 = 1;
const FLOW_MARK: u32 = 3;

/// The states of connection tracking, as bits.
fn tracked(list: &mut Messages, bits: u32) {
    const STATE: u32 = 0;
    flow(list, STATE);
    mask(list, &bits.to_ne_bytes());
    compare(list, NOT_EQUAL, &0u32.to_ne_bytes());
}

const STATE_INVALID: u32 = 1;
const STATE_ESTABLISHED: u32 = 2;
const STATE_RELATED: u32 = 4;
const STATE_NEW: u32 = 8;

fn immediate(list: &mut Messages, register: u32, data: &Data) {
    expression(list, "immediate", |e| write_data(e.u32_be(1, register), 2, data));
}

const SNAT: u32 = 0;
const DNAT: u32 = 1;
const NETMAP: u32 = 1 << 6;

fn translate(list: &mut Messages, kind: u32, last: Option<u32>, flags: u32) {
    expression(list, "nat", |e| {
        e.u32_be(1, kind).u32_be(2, u32::from(FAMILY_IPV4)).u32_be(3, REG);
        if let Some(last) = last {
            e.u32_be(4, last);
        }
        if flags != 0 {
            e.u32_be(7, flags);
        }
    });
}

fn write_step(list: &mut Messages, step: &Step) {
    match step {
        Step::In(link) => {
            meta(list, META_IN, REG);
            compare(list, EQUAL, &link.to_ne_bytes());
        }
        Step::Out(link) => {
            meta(list, META_OUT, REG);
            compare(list, EQUAL, &link.to_ne_bytes());
        }
        Step::InAmong(set, is_in) => {
            meta(list, META_IN, REG);
            lookup(list, set, REG, None, *is_in);
        }
        Step::OutAmong(set, is_in) => {
            meta(list, META_OUT, REG);
            lookup(list, set, REG, None, *is_in);
        }
        Step::InVerdict(map) => {
            meta(list, META_IN, REG);
            lookup(list, map, REG, Some(VERDICT), true);
        }
        Step::OutVerdict(map) => {
            meta(list, META_OUT, REG);
            lookup(list, map, REG, Some(VERDICT), true);
        }
        Step::InSourceAmong(set, is_in) => {
            meta(list, META_IN, REG32);
            payload(list, NETWORK, SOURCE_OFFSET, 4, REG32 + 1);
            lookup(list, set, REG32, None, *is_in);
        }
        Step::OutDestinationAmong(set, is_in) => {
            meta(list, META_OUT, REG32);
            payload(list, NETWORK, DESTINATION_OFFSET, 4, REG32 + 1);
            lookup(list, set, REG32, None, *is_in);
        }
        Step::Source(cidr) => network(list, SOURCE_OFFSET, cidr),
        Step::Destination(cidr) => network(list, DESTINATION_OFFSET, cidr),
        Step::SourceAmong(set, is_in) => {
            payload(list, NETWORK, SOURCE_OFFSET, 4, REG);
            lookup(list, set, REG, None, *is_in);
        }
        Step::DestinationAmong(set) => {
            payload(list, NETWORK, DESTINATION_OFFSET, 4, REG);
            lookup(list, set, REG, None, true);
        }
        _ => write_more(list, step),
    }
}

fn write_more(list: &mut Messages, step: &Step) {
    match step {
        Step::Protocol(number) => {
            meta(list, META_PROTOCOL, REG);
            compare(list, EQUAL, &[*number]);
        }
        Step::DestinationPorts(0, u16::MAX) => {}
        Step::DestinationPorts(from, to) => {
            payload(list, TRANSPORT, 2, 2, REG);
            expression(list, "range", |e| {
                e.u32_be(1, REG).u32_be(2, EQUAL);
                write_data(e, 3, &value(&from.to_be_bytes()));
                write_data(e, 4, &value(&to.to_be_bytes()));
            });
        }
        Step::IcmpType(kind) => {
            payload(list, TRANSPORT, 0, 1, REG);
            compare(list, EQUAL, &[*kind]);
        }
        Step::IcmpCode(code) => {
            payload(list, TRANSPORT, 1, 1, REG);
            compare(list, EQUAL, &[*code]);
        }
        Step::Established => tracked(list, STATE_ESTABLISHED),
        Step::Related => tracked(list, STATE_RELATED),
        Step::Answer(is_answer) => {
            flow(list, FLOW_DIRECTION);
            compare(list, EQUAL, &[u8::from(*is_answer)]);
        }
        Step::FlowMarked(bit, is_set) => {
            flow(list, FLOW_MARK);
            mask(list, &bit.to_ne_bytes());
            compare(list, if *is_set { NOT_EQUAL } else { EQUAL }, &0u32.to_ne_bytes());
        }
        Step::MarkFlow(bit) => {
            flow(list, FLOW_MARK);
            change(list, &(!bit).to_ne_bytes(), &bit.to_ne_bytes());
            expression(list, "ct", |e| {
                e.u32_be(2, FLOW_MARK).u32_be(4, REG);
            });
        }
        Step::Invalid => tracked(list, STATE_INVALID),
        Step::New => tracked(list, STATE_NEW),
        Step::Percent(percent) => {
            const RANDOM: u32 = 1;
            expression(list, "numgen", |e| {
                e.u32_be(1, REG).u32_be(2, 100).u32_be(3, RANDOM);
            });
            // Compared as bytes, so the number must be big endian first.
            expression(list, "byteorder", |e| {
                const TO_BIG_ENDIAN: u32 = 1;
                e.u32_be(1, REG).u32_be(2, REG).u32_be(3, TO_BIG_ENDIAN).u32_be(4, 4).u32_be(5, 4);
            });
            compare(list, LESS, &u32::from(*percent).to_be_bytes());
        }
        Step::MarkByIn(map) => {
            meta(list, META_IN, REG);
            lookup(list, map, REG, Some(REG), true);
            set_mark(list);
        }
        Step::Mark(mark) => {
            immediate(list, REG, &value(&mark.to_ne_bytes()));
            set_mark(list);
        }
        Step::ForwardByMark(map) => {
            meta(list, META_MARK, REG);
            lookup(list, map, REG, Some(REG), true);
            forward(list);
        }
        Step::ForwardBySender(set) => {
            payload(list, FRAME, SENDER_OFFSET, 4, REG);
            lookup(list, set, REG, None, true);
            forward(list);
        }
        Step::DestinationFrom(map) => {
            payload(list, NETWORK, DESTINATION_OFFSET, 4, REG);
            lookup(list, map, REG, Some(REG), true);
            translate(list, DNAT, None, 0);
        }
        Step::SourceFrom(map) => {
            payload(list, NETWORK, SOURCE_OFFSET, 4, REG);
            lookup(list, map, REG, Some(REG), true);
            translate(list, SNAT, None, 0);
        }
        Step::SourceTo(address) => {
            immediate(list, REG, &value(&address.octets()));
            translate(list, SNAT, None, 0);
        }
        Step::ToPort(port) => {
            immediate(list, REG, &value(&port.to_be_bytes()));
            expression(list, "nat", |e| {
                e.u32_be(1, DNAT).u32_be(2, u32::from(FAMILY_IPV4)).u32_be(5, REG);
            });
        }
        Step::SourceNetwork(cidr) => {
            let last = cidr.nth(cidr.size() - 1).unwrap_or(cidr.base());
            immediate(list, REG, &value(&cidr.base().octets()));
            immediate(list, REG + 1, &value(&last.octets()));
            translate(list, SNAT, Some(REG + 1), NETMAP);
        }
        Step::Is(verdict) => immediate(list, VERDICT, &Data::Verdict(verdict)),
        // The others are written by `write_step`.
        _ => {}
    }
}
