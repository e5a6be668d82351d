//! Links, addresses, routes and rules of one namespace, over rtnetlink.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use standfast_core::Cidr;

use crate::namespace::in_namespace;
use crate::netlink::{Messages, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Socket};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;

const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 0x80;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
const RTNH_F_ONLINK: u32 = 4;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_HOST: u8 = 254;
/// Where a route's kind is in `struct rtmsg`.
const ROUTE_KIND: usize = 7;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_BLACKHOLE: u8 = 6;

const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FR_ACT_TO_TBL: u8 = 1;

/// The kernel's own tables.
pub const TABLE_MAIN: u32 = 254;
pub const TABLE_LOCAL: u32 = 255;
/// `lo`'s index in every namespace.
pub const LOOPBACK: u32 = 1;

/// A MAC address.
pub type Mac = [u8; 6];

/// The address of a link's end in a VPC's namespace: frames that it sends tell its number.
pub fn mac_of(number: u32) -> Mac {
    let [a, b, c, d] = number.to_ne_bytes();
    [0x02, 0x5f, a, b, c, d]
}

/// One end of a veth pair to be made.
pub struct End<'a> {
    pub name: &'a str,
    /// Chosen by whoever makes it; `None` leaves it to the kernel.
    pub index: Option<u32>,
    pub mac: Option<Mac>,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Straight out of a link.
    Link(u32),
    /// To a neighbour behind a link, which need not be in any network of the link.
    Via(Ipv4Addr, u32),
    Blackhole,
    /// Every address of the destination is the namespace's own.
    Local,
}

/// A route as one of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub table: u32,
    pub destination: Cidr,
    pub hop: Hop,
    /// The address that what is sent from here has as its source.
    pub source: Option<Ipv4Addr>,
}

impl Route {
    pub fn new(table: u32, destination: Cidr, hop: Hop) -> Self {
        Self { table, destination, hop, source: None }
    }
}

/// The links of a namespace.
pub struct Links(Socket);

impl Links {
    /// Of the calling thread's namespace.
    pub fn here() -> io::Result<Self> {
        Socket::open(None).map(Self)
    }

    pub fn of(namespace: BorrowedFd) -> io::Result<Self> {
        in_namespace(namespace, Self::here)?
    }

    pub fn execute(&self, messages: Messages) -> io::Result<()> {
        if messages.is_empty() { Ok(()) } else { self.0.execute(messages) }
    }

    /// Whether the kernel would send what is for an address to somebody else; without a route it would not.
    pub fn leads_away(&self, address: Ipv4Addr) -> io::Result<bool> {
        let mut ask = Messages::default();
        // Acknowledged, so that the answer has an end.
        ask.begin(RTM_GETROUTE, NLM_F_ACK, &[AF_INET, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        ask.attribute(RTA_DST, &address.octets());
        let mut kind = None;
        self.0.dump(ask, |route| kind = route.body.get(ROUTE_KIND).copied())?;
        Ok(kind == Some(RTN_UNICAST))
    }

    /// Makes a pair: this end here, the other straight in its namespace (moving a device there later is slow).
    pub fn pair(&self, here: &End, there: &End, namespace: BorrowedFd) -> io::Result<()> {
        let mut messages = Messages::default();
        messages.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link(here.index.unwrap_or(0), 0, 0));
        end(&mut messages, here);
        messages.nested(IFLA_LINKINFO, |info| {
            info.attribute(IFLA_INFO_KIND, b"veth").nested(IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    peer.raw(&link(there.index.unwrap_or(0), 0, 0));
                    end(peer, there);
                    peer.u32(IFLA_NET_NS_FD, namespace.as_fd().as_raw_fd() as u32);
                });
            });
        });
        self.execute(messages)
    }
}

fn end(messages: &mut Messages, end: &End) {
    messages.text(IFLA_IFNAME, end.name);
    if let Some(mac) = end.mac {
        messages.attribute(IFLA_ADDRESS, &mac);
    }
}

/// `struct ifinfomsg`.
fn link(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..16].copy_from_slice(&change.to_ne_bytes());
    fixed
}

/// Brings a link up; without ARP where it leads to one other end only.
pub fn up(messages: &mut Messages, index: u32, arp: bool) {
    let flags = if arp { IFF_UP } else { IFF_UP | IFF_NOARP };
    messages.begin(RTM_NEWLINK, 0, &link(index, flags, IFF_UP | IFF_NOARP));
}

pub fn delete(messages: &mut Messages, index: u32) {
    messages.begin(RTM_DELLINK, 0, &link(index, 0, 0));
}

/// Adds or removes an address; with `quiet` the kernel makes no route to its network.
pub fn address(messages: &mut Messages, add: bool, index: u32, address: Ipv4Addr, prefix: u8, quiet: bool) {
    let scope = if address.is_loopback() && prefix < 32 { RT_SCOPE_HOST } else { RT_SCOPE_UNIVERSE };
    let mut fixed = [AF_INET, prefix, 0, scope, 0, 0, 0, 0];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    let (kind, flags) = if add { (RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE) } else { (RTM_DELADDR, 0) };
    messages
        .begin(kind, flags, &fixed)
        .attribute(IFA_LOCAL, &address.octets())
        .attribute(IFA_ADDRESS, &address.octets());
    if quiet {
        messages.u32(IFA_FLAGS, IFA_F_NOPREFIXROUTE);
    }
}

/// Adds (or replaces) or removes a route.
pub fn route(messages: &mut Messages, add: bool, route: &Route) {
    let (kind, scope, flags) = match route.hop {
        Hop::Link(_) => (RTN_UNICAST, RT_SCOPE_LINK, 0),
        Hop::Via(..) => (RTN_UNICAST, RT_SCOPE_UNIVERSE, RTNH_F_ONLINK),
        Hop::Blackhole => (RTN_BLACKHOLE, RT_SCOPE_UNIVERSE, 0),
        Hop::Local => (RTN_LOCAL, RT_SCOPE_HOST, 0),
    };
    let table = u8::try_from(route.table).unwrap_or(0);
    let mut fixed = [AF_INET, route.destination.prefix(), 0, 0, table, RTPROT_STATIC, scope, kind, 0, 0, 0, 0];
    fixed[8..12].copy_from_slice(&u32::to_ne_bytes(flags));
    let (kind, flags) = if add { (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE) } else { (RTM_DELROUTE, 0) };
    messages.begin(kind, flags, &fixed).u32(RTA_TABLE, route.table);
    messages.attribute(RTA_DST, &route.destination.base().octets());
    match route.hop {
        Hop::Link(index) => {
            messages.u32(RTA_OIF, index);
        }
        Hop::Via(gateway, index) => {
            messages.attribute(RTA_GATEWAY, &gateway.octets()).u32(RTA_OIF, index);
        }
        Hop::Local => {
            messages.u32(RTA_OIF, LOOPBACK);
        }
        Hop::Blackhole => {}
    }
    if let Some(source) = route.source {
        messages.attribute(RTA_PREFSRC, &source.octets());
    }
}

/// Which packets a rule is for.
pub enum Selector {
    All,
    Mark(u32),
    Source(Ipv4Addr),
}

/// Removes the rule that looks the kernel's own addresses up before everything else.
pub fn unrule_local(messages: &mut Messages) {
    let fixed = [AF_INET, 0, 0, 0, TABLE_LOCAL as u8, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
    messages.begin(RTM_DELRULE, 0, &fixed).u32(FRA_PRIORITY, 0).u32(FRA_TABLE, TABLE_LOCAL);
}

/// Adds a rule: packets of the selector are looked up in the table.
pub fn rule(messages: &mut Messages, priority: u32, selector: &Selector, table: u32) {
    let source_prefix = if matches!(selector, Selector::Source(_)) { 32 } else { 0 };
    let fixed = [AF_INET, 0, source_prefix, 0, u8::try_from(table).unwrap_or(0), 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
    messages.begin(RTM_NEWRULE, NLM_F_CREATE, &fixed).u32(FRA_PRIORITY, priority).u32(FRA_TABLE, table);
    match selector {
        Selector::All => {}
        Selector::Mark(mark) => {
            messages.u32(FRA_FWMARK, *mark);
        }
        Selector::Source(address) => {
            messages.attribute(FRA_SRC, &address.octets());
        }
    }
}

/// The index of a link of the calling thread's namespace, by its name.
pub fn index_of(name: &str) -> io::Result<u32> {
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let (family, kind) = (rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM);
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}

/// The names of all links of the calling thread's namespace.
pub fn names() -> io::Result<BTreeSet<String>> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    Ok(table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_written_as_the_kernel_reads_it() {
        let mut messages = Messages::default();
        let destination = "10.0.0.0/24".parse().expect("a block");
        route(&mut messages, true, &Route::new(1000, destination, Hop::Via(Ipv4Addr::new(10, 0, 0, 9), 7)));
        let mut expected = Messages::default();
        expected
            .begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &[2, 24, 0, 0, 0, 4, 0, 1, 4, 0, 0, 0])
            .attribute(15, &1000u32.to_ne_bytes())
            .attribute(1, &[10, 0, 0, 0])
            .attribute(5, &[10, 0, 0, 9])
            .attribute(4, &7u32.to_ne_bytes());
        assert_eq!(messages, expected);
    }
}
