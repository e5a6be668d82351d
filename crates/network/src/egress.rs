//! What of the real internet may be reached, where a cloud is open to it (`--egress host`), and the way to the relay.
//!
//! Packets never leave: connections over TCP to addresses outside are led to a port of the internet's own namespace, and
//! whoever listens there opens others in their place. Invariant: what is in [`NEVER`] is not led there, and neither is
//! anything but TCP. `is_outside` is what a relay asks again before it connects, and `leads_away` what the kernel says of
//! the machine's own addresses.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use standfast_core::Cidr;

use crate::internet::RULES;
use crate::links::Links;
use crate::namespace;
use crate::nft::{Hook, Nft, PREROUTING, Step, Table, Verdict};

/// Where a relay listens in the internet's namespace, on every address.
pub const RELAY_PORT: u16 = 4567;

/// What no instance reaches outside, whatever the machine could: private and special networks, among them those of the
/// machine and of the cloud itself (public addresses are loopback ones, the host and checkip are in a documentation
/// network). From the registry of RFC 6890, and multicast.
const NEVER: [([u8; 4], u8); 17] = [
    ([0, 0, 0, 0], 8),       // "this network"; 0.0.0.0 is the machine itself
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // providers' own networks
    ([127, 0, 0, 0], 8),     // loopback, and the cloud's public addresses
    ([169, 254, 0, 0], 16),  // link-local: the metadata service of a cloud that this machine may be in
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 31, 196, 0], 24), // AS112
    ([192, 52, 193, 0], 24), // AMT relays
    ([192, 88, 99, 0], 24),  // 6to4 relays
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation: the cloud's users and the simulated internet's sites
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved, and 255.255.255.255, which is everybody
];

const TCP: u8 = 6;
/// The kernel's own place for translation of destinations.
const DESTINATION_NAT: i32 = -100;

fn never() -> impl Iterator<Item = Cidr> {
    NEVER.into_iter().map(|(base, prefix)| Cidr::new(base.into(), prefix).expect("prefixes here are at most 32"))
}

/// Whether an address may be reached outside, as far as addresses tell: see [`leads_away`] for the machine's own.
pub fn is_outside(address: Ipv4Addr) -> bool {
    !never().any(|block| block.contains(address))
}

/// Whether what the calling thread's namespace sends to an address goes to another machine: it is not the machine's own,
/// and no broadcast of its networks. Nothing is sent to find out.
pub fn leads_away(address: Ipv4Addr) -> io::Result<bool> {
    Links::here()?.leads_away(address)
}

/// Adds what leads connections to the relay.
pub(crate) fn lead_to_relay(table: &mut Table) {
    let mut rules: Vec<_> = never().map(|block| vec![Step::Destination(block), Step::Is(Verdict::Return)]).collect();
    rules.push(vec![Step::Protocol(TCP), Step::ToPort(RELAY_PORT)]);
    table.base("outside", Hook { kind: "nat", number: PREROUTING, priority: DESTINATION_NAT }, rules);
}

/// Tries what it needs of the kernel.
pub fn probe() -> io::Result<()> {
    let mut table = Table::default();
    lead_to_relay(&mut table);
    Nft::of(namespace::new()?.as_fd())?.replace(RULES, &table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::{self, End, Hop, Route};
    use crate::namespace::in_namespace;
    use crate::netlink::Messages;

    #[test]
    fn private_and_special_networks_are_not_outside() {
        let inside = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.128.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.1",
            "192.168.255.255",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.80",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
        ];
        for address in inside {
            assert!(!is_outside(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn their_neighbours_are() {
        let outside = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "93.184.216.34",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "223.255.255.255",
        ];
        for address in outside {
            assert!(is_outside(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn whole_networks_are_meant() {
        // A base with bits behind its prefix would stand for another network than the one that is written.
        for (block, (base, prefix)) in never().zip(NEVER) {
            assert_eq!((block.base(), block.prefix()), (Ipv4Addr::from(base), prefix));
        }
    }

    #[test]
    fn what_is_the_machines_own_does_not_lead_away() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("NOT TESTED: namespaces need root");
        }
        let (here, there) = (namespace::new().expect("it can be made"), namespace::new().expect("it can be made"));
        let own = Ipv4Addr::new(93, 184, 216, 1);
        let asked = in_namespace(here.as_fd(), || {
            let links = Links::here()?;
            let nowhere = leads_away(own);
            let (a, b) = (End { name: "a", index: Some(5), mac: None }, End { name: "b", index: Some(5), mac: None });
            links.pair(&a, &b, there.as_fd())?;
            let mut messages = Messages::default();
            links::up(&mut messages, 5, true);
            links::address(&mut messages, true, 5, own, 24, false);
            let everywhere = Cidr::new(Ipv4Addr::UNSPECIFIED, 0).expect("0 is a prefix");
            let gateway = Ipv4Addr::new(93, 184, 216, 254);
            links::route(&mut messages, true, &Route::new(links::TABLE_MAIN, everywhere, Hop::Via(gateway, 5)));
            links.execute(messages)?;
            let ask = |address: [u8; 4]| leads_away(address.into());
            let all = [ask([1, 1, 1, 1])?, ask([93, 184, 216, 34])?, ask(own.octets())?, ask([93, 184, 216, 255])?];
            io::Result::Ok((nowhere.is_err(), all))
        });
        let asked = asked.expect("it can be entered").expect("it can be set up");
        assert_eq!(asked, (true, [true, true, false, false]));
    }
}
