//! The inner end of an interface: what an instance, a NAT gateway or a load balancer's node finds in its own namespace.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use standfast_core::Cidr;

use crate::links::{self, Hop, LOOPBACK, Links, Mac, Route, Selector, TABLE_MAIN};
use crate::namespace::{in_namespace, set};
use crate::netlink::Messages;

/// `lo` has the lower half of 127.0.0.0/8: public addresses are from the upper half and must leave through links.
const LOOPBACK_NETWORK: (Ipv4Addr, u8) = (Ipv4Addr::LOCALHOST, 9);
/// Routes of interfaces other than the first are in tables of their own, chosen by the source address.
const TABLES_FROM: u32 = 1000;
const RULES_FROM: u32 = 1000;

/// What an interface is inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    pub name: String,
    pub mac: Mac,
    pub addresses: Vec<Ipv4Addr>,
    pub subnet: Cidr,
    /// Whether the namespace's way out is through it.
    pub first: bool,
}

impl Inside {
    fn gateway(&self) -> Ipv4Addr {
        self.subnet.nth(1).unwrap_or(self.subnet.base())
    }
}

/// Prepares a namespace that will have interfaces; doing it twice is the same as once.
pub fn prepare(namespace: &OwnedFd, forward: bool) -> io::Result<()> {
    in_namespace(namespace.as_fd(), || {
        for parameter in ["rp_filter", "accept_redirects"] {
            set(&format!("ipv4/conf/all/{parameter}"), "0")?;
            set(&format!("ipv4/conf/default/{parameter}"), "0")?;
        }
        set("ipv4/conf/all/route_localnet", "1")?;
        if forward {
            set("ipv4/ip_forward", "1")?;
        }
        // As on EC2's images: programs of ordinary users may ping.
        set("ipv4/ping_group_range", "0 2147483647").or(Ok::<_, io::Error>(()))?;
        let links = Links::here()?;
        let mut messages = Messages::default();
        links::up(&mut messages, LOOPBACK, true);
        links.execute(messages)?;
        // The kernel has given it all of 127.0.0.0/8.
        let mut messages = Messages::default();
        links::address(&mut messages, false, LOOPBACK, Ipv4Addr::LOCALHOST, 8, false);
        match links.execute(messages) {
            Err(error) if error.raw_os_error() == Some(NO_SUCH_ADDRESS) => {}
            other => other?,
        }
        let mut messages = Messages::default();
        links::address(&mut messages, true, LOOPBACK, LOOPBACK_NETWORK.0, LOOPBACK_NETWORK.1, false);
        links.execute(messages)
    })?
}

/// EADDRNOTAVAIL.
const NO_SUCH_ADDRESS: i32 = 99;

/// Addresses, routes and life for a new interface.
pub fn configure(links: &Links, index: u32, inside: &Inside) -> io::Result<()> {
    let mut messages = Messages::default();
    for address in &inside.addresses {
        links::address(&mut messages, true, index, *address, inside.subnet.prefix(), !inside.first);
    }
    links::up(&mut messages, index, true);
    let table = if inside.first { TABLE_MAIN } else { TABLES_FROM + index };
    let everywhere = Cidr::new(Ipv4Addr::UNSPECIFIED, 0).expect("0 is a prefix");
    if !inside.first {
        let subnet = Route::new(table, inside.subnet, Hop::Link(index));
        links::route(&mut messages, true, &subnet);
        for address in &inside.addresses {
            links::rule(&mut messages, RULES_FROM + index, &Selector::Source(*address), table);
        }
    }
    links::route(&mut messages, true, &Route::new(table, everywhere, Hop::Via(inside.gateway(), index)));
    links.execute(messages)
}

/// Changes the addresses of an interface that stays.
pub fn readdress(links: &Links, index: u32, old: &Inside, new: &Inside) -> io::Result<()> {
    let mut messages = Messages::default();
    for gone in old.addresses.iter().filter(|address| !new.addresses.contains(address)) {
        links::address(&mut messages, false, index, *gone, old.subnet.prefix(), !old.first);
    }
    for address in new.addresses.iter().filter(|address| !old.addresses.contains(address)) {
        links::address(&mut messages, true, index, *address, new.subnet.prefix(), !new.first);
        if !new.first {
            links::rule(&mut messages, RULES_FROM + index, &Selector::Source(*address), TABLES_FROM + index);
        }
    }
    links.execute(messages)
}

/// Reads `02:1b:...`; anything else is no address of ours and the kernel chooses one.
pub fn mac(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}
