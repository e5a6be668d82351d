//! The internet of a cloud: a namespace in which every address answers, and the host's way to public addresses.
//!
//! Nothing in it leads to the machine's real interfaces; what is for the real internet, where a cloud is open to it, ends
//! at a relay's port (`egress`). The host is a user of the cloud: what it sends from 127.254.0.N
//! comes from 198.51.100.N. When the process ends the namespace goes, with it the link, and with that the host's routes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use standfast_core::Cidr;
use standfast_core::id::{self, Id};

use crate::egress;
use crate::inner;
use crate::links::{self, End, Hop, Links, Mac, Route, Selector, TABLE_LOCAL};
use crate::namespace::{self, in_namespace, set};
use crate::netlink::Messages;
use crate::nft::{FORWARD, Hook, Nft, POSTROUTING, Step, Table, Verdict};

/// The host as it is seen by routes: the source of what it sends to public addresses.
const HOST: Ipv4Addr = Ipv4Addr::new(127, 254, 0, 1);
const HOST_NETWORK: (Ipv4Addr, u8) = (Ipv4Addr::new(127, 254, 0, 0), 24);
/// The host as instances see it: a documentation network, which is nobody's.
const USERS: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 51, 100, 0), 24);
/// Both ends of a link without ARP have one address, so that each takes what the other sends.
const LINK_MAC: Mac = [0x02, 0x5f, 0, 0, 0, 1];
const HOST_LINK: u32 = 2;
/// Behind the kernel's rules for the main and the default table.
const LOCAL_PRIORITY: u32 = 40_000;
/// The name of the rules in every namespace.
pub const RULES: &str = "standfast";

pub struct Internet {
    pub namespace: Arc<OwnedFd>,
    links: Links,
    host: Links,
    host_link: u32,
    /// Which link leads to the VPC that has a public address.
    routed: BTreeMap<Ipv4Addr, u32>,
}

impl Internet {
    /// A new internet, and a link `sf-...` to it in the calling thread's namespace.
    pub fn start(cloud: &str) -> io::Result<Self> {
        let namespace = Arc::new(namespace::new()?);
        inner::prepare(&namespace, true)?;
        let links = Links::of(namespace.as_fd())?;
        let host = Links::here()?;
        let name = link_name(cloud);
        let here = End { name: &name, index: None, mac: Some(LINK_MAC) };
        let there = End { name: "host", index: Some(HOST_LINK), mac: Some(LINK_MAC) };
        host.pair(&here, &there, namespace.as_fd())?;
        let host_link = links::index_of(&name)?;
        set(&format!("ipv4/conf/{name}/route_localnet"), "1")?;
        set(&format!("ipv4/conf/{name}/rp_filter"), "0")?;
        let mut messages = Messages::default();
        links::up(&mut messages, host_link, false);
        host.execute(messages)?;

        let mut messages = Messages::default();
        links::up(&mut messages, HOST_LINK, false);
        let back = Route::new(links::TABLE_MAIN, block(HOST_NETWORK), Hop::Link(HOST_LINK));
        links::route(&mut messages, true, &back);
        // What has no route is an address of the internet's own. That must stand in the local table, or nothing could be
        // sent from there; and so the local table must come after the routes.
        links::route(&mut messages, true, &Route::new(TABLE_LOCAL, block((Ipv4Addr::UNSPECIFIED, 0)), Hop::Local));
        links::rule(&mut messages, LOCAL_PRIORITY, &Selector::All, TABLE_LOCAL);
        links::unrule_local(&mut messages);
        links.execute(messages)?;
        Nft::of(namespace.as_fd())?.replace(RULES, &rules())?;
        Ok(Self { namespace, links, host, host_link, routed: BTreeMap::new() })
    }

    /// From now on connections to addresses outside are led to `egress::RELAY_PORT`.
    pub fn open(&self) -> io::Result<()> {
        // Whether anybody is there who answers a ping is not known here.
        in_namespace(self.namespace.as_fd(), || set("ipv4/icmp_echo_ignore_all", "1"))??;
        let mut table = rules();
        egress::lead_to_relay(&mut table);
        Nft::of(self.namespace.as_fd())?.replace(RULES, &table)
    }

    /// A link between the internet and a VPC's namespace, under this number in both.
    pub fn connect(&self, vpc: &OwnedFd, number: u32) -> io::Result<()> {
        let (here, there) = (format!("vpc{number}"), "internet".to_owned());
        let here = End { name: &here, index: Some(number), mac: Some(LINK_MAC) };
        let there = End { name: &there, index: Some(number), mac: Some(LINK_MAC) };
        self.links.pair(&here, &there, vpc.as_fd())?;
        let mut messages = Messages::default();
        links::up(&mut messages, number, false);
        self.links.execute(messages.clone())?;
        Links::of(vpc.as_fd())?.execute(messages)
    }

    /// Cuts a VPC off.
    pub fn disconnect(&mut self, number: u32) -> io::Result<()> {
        // The routes over it go with the link.
        let mut messages = Messages::default();
        links::delete(&mut messages, number);
        let cut = self.links.execute(messages);
        self.routed.retain(|_, link| *link != number);
        cut
    }

    /// Makes the host and all VPCs reach these public addresses over these links, and no others.
    pub fn route(&mut self, wanted: BTreeMap<Ipv4Addr, u32>) -> io::Result<()> {
        if wanted == self.routed {
            return Ok(());
        }
        let (mut there, mut here) = (Messages::default(), Messages::default());
        let host_route = |address: &Ipv4Addr| Route {
            source: Some(HOST),
            ..Route::new(TABLE_LOCAL, block((*address, 32)), Hop::Link(self.host_link))
        };
        for (address, link) in &self.routed {
            if !wanted.contains_key(address) {
                links::route(
                    &mut there,
                    false,
                    &Route::new(links::TABLE_MAIN, block((*address, 32)), Hop::Link(*link)),
                );
                links::route(&mut here, false, &host_route(address));
            }
        }
        for (address, link) in &wanted {
            if self.routed.get(address) != Some(link) {
                links::route(&mut there, true, &Route::new(links::TABLE_MAIN, block((*address, 32)), Hop::Link(*link)));
            }
            if !self.routed.contains_key(address) {
                links::route(&mut here, true, &host_route(address));
            }
        }
        // Routes of a link that has gone are gone already.
        let forgiving = |result: io::Result<()>| match result {
            Err(error) if error.raw_os_error() == Some(NO_SUCH_ROUTE) => Ok(()),
            other => other,
        };
        self.routed = wanted;
        forgiving(self.links.execute(there)).and(forgiving(self.host.execute(here)))
    }
}

/// ESRCH.
const NO_SUCH_ROUTE: i32 = 3;

fn rules() -> Table {
    let mut table = Table::default();
    // Users come from the host; nothing goes to it but answers.
    let closed = vec![vec![Step::Out(HOST_LINK), Step::New, Step::Is(Verdict::Drop)]];
    table.base("closed", Hook { kind: "filter", number: FORWARD, priority: 0 }, closed);
    let users = vec![vec![Step::In(HOST_LINK), Step::SourceNetwork(block(USERS))]];
    table.base("users", Hook { kind: "nat", number: POSTROUTING, priority: 100 }, users);
    table
}

fn block((address, prefix): (Ipv4Addr, u8)) -> Cidr {
    Cidr::new(address, prefix).expect("prefixes here are at most 32")
}

/// `sf-` and as much of the cloud's name as a link's name can have.
fn link_name(cloud: &str) -> String {
    const NAME_MAX: usize = 15;
    let rest: String = cloud.chars().filter(char::is_ascii_alphanumeric).collect();
    let start = rest.len().saturating_sub(NAME_MAX - 3);
    format!("sf-{}", &rest[start..])
}

/// What one VPC contributes to the routes of the internet.
pub fn public_addresses<'a>(
    snapshot: &'a standfast_core::network::NetworkSnapshot,
    vpc: &'a Id<id::Vpc>,
) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr)> + 'a {
    let interfaces = snapshot.interfaces.values().filter(move |one| one.vpc == *vpc);
    interfaces.flat_map(|one| &one.addresses).filter_map(|address| Some((address.public?, address.private)))
}

/// The addresses whose translation is another one now.
pub fn moved(old: &BTreeMap<Ipv4Addr, Ipv4Addr>, new: &BTreeMap<Ipv4Addr, Ipv4Addr>) -> BTreeSet<Ipv4Addr> {
    old.iter().filter(|(public, private)| new.get(public) != Some(private)).map(|(public, _)| *public).collect()
}

/// Tries what networks need: a namespace, a link, and rules with translation.
pub fn probe() -> io::Result<()> {
    let (one, other) = (namespace::new()?, namespace::new()?);
    inner::prepare(&one, true)?;
    let pair = in_namespace(one.as_fd(), || {
        let links = Links::here()?;
        let (here, there) =
            (End { name: "a", index: Some(5), mac: None }, End { name: "b", index: Some(5), mac: None });
        links.pair(&here, &there, other.as_fd())
    })?;
    pair?;
    let nft = Nft::of(one.as_fd())?;
    let outcome = nft.replace(RULES, &rules());
    // The kernel lets go of rules some ten milliseconds later, for which nobody has to wait.
    std::thread::spawn(move || drop((nft, one, other)));
    outcome
}
