//! One VPC: a namespace that is its router, and the links to everything in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use standfast_core::Cidr;
use standfast_core::id::{self, Id};
use standfast_core::network::{NetworkSnapshot, RouteTarget};

use crate::delay::Delay;
use crate::inner::{self, Inside};
use crate::internet::RULES;
use crate::links::{self, End, Hop, LOOPBACK, Links, Route, Selector};
use crate::namespace::{self, in_namespace, set};
use crate::netlink::Messages;
use crate::nft::{Nft, Table};
use crate::rules::{self, DETOURS, Detour, Numbers};

/// The table with a route to every address of the VPC, looked up before all others.
const LOCAL_ROUTES: u32 = 100;
const LOCAL_PRIORITY: u32 = 100;
/// A route table has this plus its number as its table, and as its mark.
const TABLES_FROM: u32 = 10_000;
const TABLES_PRIORITY: u32 = 200;
/// What answers in every VPC: the metadata service and the API, and the resolver's second address.
const SERVICES: [Ipv4Addr; 2] = [Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(169, 254, 169, 253)];
/// The resolver's address, counted from the base of the VPC's first block.
const RESOLVER: u64 = 2;
/// A subnet's gateway.
const GATEWAY: u64 = 1;

/// A link to an interface.
struct Plug {
    number: u32,
    /// Where its inner end is.
    namespace: Arc<OwnedFd>,
    links: Links,
    inside: Inside,
}

pub struct VpcNet {
    pub namespace: Arc<OwnedFd>,
    links: Links,
    nft: Nft,
    plugs: BTreeMap<Id<id::NetworkInterface>, Plug>,
    /// The link to the internet.
    pub internet: Option<u32>,
    /// The links to peers.
    pub peers: BTreeMap<Id<id::VpcPeering>, u32>,
    numbers: BTreeMap<Id<id::RouteTable>, u32>,
    next_table: u32,
    addresses: BTreeSet<Ipv4Addr>,
    routes: Vec<Route>,
    rules: Option<Table>,
    /// What delays packets, and the way there and back.
    delays: BTreeMap<Detour, Delay>,
    detours: Option<Table>,
    /// Public to private addresses as they are translated now.
    pub translated: BTreeMap<Ipv4Addr, Ipv4Addr>,
}

/// An interface as it should be: where its inner end belongs, and what it is there.
pub type Wanted = BTreeMap<Id<id::NetworkInterface>, (Arc<OwnedFd>, Inside)>;

impl VpcNet {
    pub fn new() -> io::Result<Self> {
        let namespace = Arc::new(namespace::new()?);
        inner::prepare(&namespace, true)?;
        in_namespace(namespace.as_fd(), || {
            // For links that are made later.
            set("ipv4/conf/default/proxy_arp", "1")?;
            for scope in ["all", "default"] {
                set(&format!("ipv4/conf/{scope}/send_redirects"), "0")?;
            }
            // A flow that was forgotten is not taken up again in its middle.
            set("netfilter/nf_conntrack_tcp_loose", "0")
        })??;
        let links = Links::of(namespace.as_fd())?;
        let nft = Nft::of(namespace.as_fd())?;
        let mut messages = Messages::default();
        links::rule(&mut messages, LOCAL_PRIORITY, &Selector::All, LOCAL_ROUTES);
        links.execute(messages)?;
        Ok(Self {
            namespace,
            links,
            nft,
            plugs: BTreeMap::new(),
            internet: None,
            peers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next_table: 0,
            addresses: BTreeSet::new(),
            routes: Vec::new(),
            rules: None,
            delays: BTreeMap::new(),
            detours: None,
            translated: BTreeMap::new(),
        })
    }

    /// Links that lead elsewhere than they should, or nowhere, are taken away; `alive` tells which namespaces still are.
    pub fn unplug(&mut self, wanted: &Wanted, alive: impl Fn(&Arc<OwnedFd>) -> bool) -> io::Result<()> {
        let stays = |id: &Id<id::NetworkInterface>, plug: &Plug| {
            wanted.get(id).is_some_and(|(namespace, inside)| {
                let same = Inside { addresses: inside.addresses.clone(), ..plug.inside.clone() };
                Arc::ptr_eq(namespace, &plug.namespace) && *inside == same
            })
        };
        let gone: Vec<_> = self.plugs.iter().filter(|(id, plug)| !stays(id, plug)).map(|(id, _)| id.clone()).collect();
        let mut messages = Messages::default();
        for plug in gone.iter().filter_map(|id| self.plugs.remove(id)) {
            // A link into a namespace that is ending ends with it, sooner than it could be deleted.
            if alive(&plug.namespace) {
                links::delete(&mut messages, plug.number);
            }
        }
        match self.links.execute(messages) {
            Err(error) if error.raw_os_error() == Some(NO_SUCH_DEVICE) => Ok(()),
            other => other,
        }
    }

    /// Makes everything as it should be, in an order in which nothing is open before its rules hold.
    pub fn converge(
        &mut self,
        snapshot: &NetworkSnapshot,
        id: &Id<id::Vpc>,
        wanted: &Wanted,
        dark: &BTreeSet<String>,
        mut number: impl FnMut() -> u32,
    ) -> io::Result<()> {
        let Some(vpc) = snapshot.vpcs.get(id) else { return Ok(()) };
        let new: Vec<_> =
            wanted.iter().filter(|(id, _)| !self.plugs.contains_key(*id)).map(|one| (one, number())).collect();
        for table in vpc.route_tables.keys() {
            if !self.numbers.contains_key(table) {
                self.next_table += 1;
                self.add_table(table, TABLES_FROM + self.next_table)?;
            }
        }
        let mut interfaces: BTreeMap<_, _> = self.plugs.iter().map(|(id, plug)| (id.clone(), plug.number)).collect();
        interfaces.extend(new.iter().map(|((id, _), number)| ((*id).clone(), *number)));
        let numbers = Numbers {
            interfaces,
            internet: self.internet,
            peers: self.peers.clone(),
            route_tables: self.numbers.clone(),
        };
        let rules = rules::vpc(snapshot, id, &numbers, dark);
        if self.rules.as_ref() != Some(&rules) {
            match self.rules.take() {
                Some(old) => self.nft.update(RULES, &old, &rules)?,
                None => self.nft.replace(RULES, &rules)?,
            }
            self.rules = Some(rules);
        }
        self.readdress(vpc)?;
        for ((id, (namespace, inside)), number) in new {
            self.plug(id, namespace, inside, number)?;
        }
        for (id, (_, inside)) in wanted {
            if let Some(plug) = self.plugs.get_mut(id)
                && plug.inside != *inside
            {
                inner::readdress(&plug.links, plug.number, &plug.inside, inside)?;
                plug.inside = inside.clone();
            }
        }
        self.reroute(snapshot, id)?;
        self.detour(snapshot, id, dark, number)
    }

    /// Devices for what is late, while something is. What a device still holds when it goes is delivered.
    fn detour(
        &mut self,
        snapshot: &NetworkSnapshot,
        id: &Id<id::Vpc>,
        dark: &BTreeSet<String>,
        mut number: impl FnMut() -> u32,
    ) -> io::Result<()> {
        let late = rules::late(snapshot, id);
        let faults = snapshot.faults.iter().filter(|(interface, _)| self.plugs.contains_key(interface));
        let hit: Vec<_> = faults.filter_map(|(id, fault)| Some((id, rules::detour_of(fault)?))).collect();
        let between = late.values().map(|delay| rules::detour_between_zones(*delay));
        let wanted: BTreeSet<Detour> = between.chain(hit.iter().map(|(_, detour)| *detour)).collect();
        self.delays.retain(|detour, _| wanted.contains(detour));
        if wanted.is_empty() && self.detours.is_none() {
            return Ok(());
        }
        for detour in &wanted {
            if !self.delays.contains_key(detour) {
                let device = Delay::start(self.namespace.as_fd(), &self.links, number(), *detour)?;
                self.delays.insert(*detour, device);
            }
        }
        // The link of an instance that is ending may be gone before its end is told.
        let there = in_namespace(self.namespace.as_fd(), links::names)??;
        let zones: BTreeSet<_> = late.keys().map(|(_, to)| *to).collect();
        let links = self.plugs.iter().filter_map(|(id, plug)| {
            let zone = snapshot.interfaces.get(id)?.zone.as_str();
            let name = link_name(plug.number);
            ((zones.contains(zone) || hit.iter().any(|(hit, _)| *hit == id)) && there.contains(&name))
                .then(|| (plug.number, name, !dark.contains(zone)))
        });
        let devices = self.delays.iter().map(|(delay, device)| (*delay, device.number)).collect();
        let detours = rules::detours(&rules::marks(snapshot, id), &devices, &links.collect::<Vec<_>>());
        if self.detours.as_ref() != Some(&detours) {
            self.nft.replace(DETOURS, &detours)?;
        }
        self.detours = (!wanted.is_empty()).then_some(detours);
        Ok(())
    }

    /// A route table's packets are marked with its number and looked up in the table of that number.
    fn add_table(&mut self, table: &Id<id::RouteTable>, number: u32) -> io::Result<()> {
        let mut messages = Messages::default();
        links::rule(&mut messages, TABLES_PRIORITY, &Selector::Mark(number), number);
        self.links.execute(messages)?;
        self.numbers.insert(table.clone(), number);
        Ok(())
    }

    fn plug(
        &mut self,
        id: &Id<id::NetworkInterface>,
        namespace: &Arc<OwnedFd>,
        inside: &Inside,
        number: u32,
    ) -> io::Result<()> {
        let outer = link_name(number);
        let here = End { name: &outer, index: Some(number), mac: Some(links::mac_of(number)) };
        let there = End { name: &inside.name, index: Some(number), mac: Some(inside.mac) };
        self.links.pair(&here, &there, namespace.as_fd())?;
        // Every neighbour is behind a link of ours: what is asked for one is answered at once.
        in_namespace(self.namespace.as_fd(), || set(&format!("ipv4/neigh/{outer}/proxy_delay"), "0"))??;
        let mut messages = Messages::default();
        links::up(&mut messages, number, true);
        self.links.execute(messages)?;
        let links = Links::of(namespace.as_fd())?;
        inner::configure(&links, number, inside)?;
        let plug = Plug { number, namespace: namespace.clone(), links, inside: inside.clone() };
        self.plugs.insert(id.clone(), plug);
        Ok(())
    }

    /// The namespace's own addresses: gateways, resolver, services.
    fn readdress(&mut self, vpc: &standfast_core::network::Vpc) -> io::Result<()> {
        let gateways = vpc.subnets.values().filter_map(|subnet| subnet.cidr.nth(GATEWAY));
        let resolver = vpc.cidrs.first().and_then(|cidr| cidr.nth(RESOLVER));
        let wanted: BTreeSet<Ipv4Addr> = gateways.chain(resolver).chain(SERVICES).collect();
        let mut messages = Messages::default();
        for gone in self.addresses.difference(&wanted) {
            links::address(&mut messages, false, LOOPBACK, *gone, 32, false);
        }
        for address in wanted.difference(&self.addresses) {
            links::address(&mut messages, true, LOOPBACK, *address, 32, false);
        }
        self.links.execute(messages)?;
        self.addresses = wanted;
        Ok(())
    }

    fn reroute(&mut self, snapshot: &NetworkSnapshot, id: &Id<id::Vpc>) -> io::Result<()> {
        let wanted = self.wanted_routes(snapshot, id);
        // Routes over a link that was deleted went with it: they are not in the kernel, and deleting them is no error.
        let mut messages = Messages::default();
        for gone in self.routes.iter().filter(|route| !wanted.iter().any(|other| same_place(route, other))) {
            links::route(&mut messages, false, gone);
        }
        match self.links.execute(messages) {
            Err(error) if error.raw_os_error() == Some(NO_SUCH_ROUTE) => {}
            other => other?,
        }
        let mut messages = Messages::default();
        for route in wanted.iter().filter(|route| !self.routes.contains(route)) {
            links::route(&mut messages, true, route);
        }
        self.links.execute(messages)?;
        self.routes = wanted;
        Ok(())
    }

    fn wanted_routes(&self, snapshot: &NetworkSnapshot, id: &Id<id::Vpc>) -> Vec<Route> {
        let Some(vpc) = snapshot.vpcs.get(id) else { return Vec::new() };
        // An address of the VPC that nobody has is nowhere; also not on the internet.
        let mut routes: Vec<_> = vpc.cidrs.iter().map(|cidr| Route::new(LOCAL_ROUTES, *cidr, Hop::Blackhole)).collect();
        for plug in self.plugs.values() {
            let own = plug.inside.addresses.iter().filter_map(|address| Cidr::new(*address, 32));
            routes.extend(own.map(|address| Route::new(LOCAL_ROUTES, address, Hop::Link(plug.number))));
        }
        for (table, entries) in &vpc.route_tables {
            let Some(number) = self.numbers.get(table) else { continue };
            routes.extend(entries.iter().map(|entry| Route::new(*number, entry.destination, self.hop(&entry.target))));
        }
        routes
    }

    fn hop(&self, target: &RouteTarget) -> Hop {
        match target {
            RouteTarget::InternetGateway => self.internet.map_or(Hop::Blackhole, Hop::Link),
            RouteTarget::Peering(id) => self.peers.get(id).map_or(Hop::Blackhole, |link| Hop::Link(*link)),
            RouteTarget::Interface(id) => match self.plugs.get(id) {
                Some(plug) => plug.inside.addresses.first().map_or(Hop::Blackhole, |to| Hop::Via(*to, plug.number)),
                None => Hop::Blackhole,
            },
            RouteTarget::Blackhole => Hop::Blackhole,
        }
    }

    /// Forgets routes that a deleted link took with it, so that they are made again when they are wanted again.
    pub fn links_are_gone(&mut self, links: &[u32]) {
        self.routes.retain(|route| !matches!(route.hop, Hop::Link(link) | Hop::Via(_, link) if links.contains(&link)));
    }
}

fn link_name(number: u32) -> String {
    format!("v{number}")
}

/// ESRCH and ENODEV.
const NO_SUCH_ROUTE: i32 = 3;
const NO_SUCH_DEVICE: i32 = 19;

/// Whether adding one replaces the other.
fn same_place(one: &Route, other: &Route) -> bool {
    one.table == other.table && one.destination == other.destination
}
