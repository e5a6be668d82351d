//! All networks of a cloud, made as the last snapshot says.
//!
//! Everything here blocks and is called from one thread. Whatever fails, the next call tries again from what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use standfast_core::id::{self, Id};
use standfast_core::network::{Interface, NetworkSnapshot, Owner};

use crate::flows;
use crate::inner::{self, Inside};
use crate::internet::{Internet, RULES, moved, public_addresses};
use crate::links::{self, End, Links, Mac};
use crate::namespace;
use crate::netlink::Messages;
use crate::nft::{Hook, Nft, POSTROUTING, Step, Table};
use crate::vpc::{VpcNet, Wanted};

/// Numbers of links begin here; below are those that the kernel gives.
const LINKS_FROM: u32 = 100;
/// Of links without ARP, as those to the internet.
const PEER_MAC: Mac = [0x02, 0x5f, 0, 0, 0, 2];

/// The networks.
pub struct Net {
    internet: Internet,
    vpcs: BTreeMap<Id<id::Vpc>, VpcNet>,
    /// The namespaces of running instances.
    machines: BTreeMap<Id<id::Instance>, Arc<OwnedFd>>,
    /// The namespaces of interfaces that are no instance's.
    places: BTreeMap<Id<id::NetworkInterface>, Arc<OwnedFd>>,
    snapshot: NetworkSnapshot,
    dark: BTreeSet<String>,
    next: u32,
    /// Whether the last attempt left something undone.
    unfinished: bool,
}

impl Net {
    /// Networks without VPCs; the calling thread's namespace is the host. `cloud` names its one link there.
    pub fn start(cloud: &str) -> io::Result<Self> {
        Ok(Self {
            internet: Internet::start(cloud)?,
            vpcs: BTreeMap::new(),
            machines: BTreeMap::new(),
            places: BTreeMap::new(),
            snapshot: NetworkSnapshot::default(),
            dark: BTreeSet::new(),
            next: LINKS_FROM,
            unfinished: false,
        })
    }

    /// Opens the way to a relay for what is for the real internet (see `egress`).
    pub fn open(&self) -> io::Result<()> {
        self.internet.open()
    }

    /// Makes the networks as the snapshot says; `dark` are the zones whose links are cut.
    pub fn apply(&mut self, snapshot: &NetworkSnapshot, dark: &BTreeSet<String>) -> io::Result<()> {
        if !self.unfinished && *snapshot == self.snapshot && *dark == self.dark {
            return Ok(());
        }
        (self.snapshot, self.dark) = (snapshot.clone(), dark.clone());
        self.converge()
    }

    /// The instance runs in this namespace from now on: its interfaces are made in it.
    pub fn plug(&mut self, instance: &Id<id::Instance>, namespace: OwnedFd) -> io::Result<()> {
        inner::prepare(&namespace, false)?;
        self.machines.insert(instance.clone(), Arc::new(namespace));
        self.converge()
    }

    /// The instance's namespace is ending.
    pub fn unplug(&mut self, instance: &Id<id::Instance>) {
        self.machines.remove(instance);
        // What cannot be taken away goes with the namespace.
        let _ = self.converge();
    }

    /// Where the namespaces of services' interfaces can be opened.
    pub fn namespaces(&self) -> BTreeMap<Id<id::NetworkInterface>, PathBuf> {
        let own = std::process::id();
        let of_services = self.places.iter().filter(|(id, _)| {
            self.snapshot.interfaces.get(*id).is_some_and(|interface| interface.owner == Owner::Service)
        });
        let path = |fd: &OwnedFd| PathBuf::from(format!("/proc/{own}/fd/{}", fd.as_raw_fd()));
        of_services.map(|(id, fd)| (id.clone(), path(fd))).collect()
    }

    pub fn vpc_namespace(&self, vpc: &Id<id::Vpc>) -> Option<Arc<OwnedFd>> {
        self.vpcs.get(vpc).map(|vpc| vpc.namespace.clone())
    }

    pub fn internet_namespace(&self) -> Arc<OwnedFd> {
        self.internet.namespace.clone()
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn converge(&mut self) -> io::Result<()> {
        self.unfinished = true;
        let snapshot = std::mem::take(&mut self.snapshot);
        let result = self.converge_to(&snapshot);
        self.snapshot = snapshot;
        self.unfinished = result.is_err();
        result
    }

    fn converge_to(&mut self, snapshot: &NetworkSnapshot) -> io::Result<()> {
        self.make_places(snapshot)?;
        self.make_vpcs(snapshot)?;
        let mut wanted: BTreeMap<Id<id::Vpc>, Wanted> = BTreeMap::new();
        for (id, interface) in &snapshot.interfaces {
            if let Some(namespace) = self.namespace_of(id, interface)
                && let Some(inside) = inside(snapshot, interface)
            {
                wanted.entry(interface.vpc.clone()).or_default().insert(id.clone(), (namespace, inside));
            }
        }
        // First everything that moves away, from all VPCs: a name in a namespace is free before it is taken again.
        let alive: BTreeSet<_> = self.machines.values().chain(self.places.values()).map(|fd| fd.as_raw_fd()).collect();
        let nothing = Wanted::new();
        for (id, vpc) in &mut self.vpcs {
            vpc.unplug(wanted.get(id).unwrap_or(&nothing), |fd| alive.contains(&fd.as_raw_fd()))?;
        }
        let mut next = self.next;
        for (id, vpc) in &mut self.vpcs {
            let number = || {
                next += 1;
                next
            };
            let done = vpc.converge(snapshot, id, wanted.get(id).unwrap_or(&nothing), &self.dark, number);
            self.next = next;
            done?;
        }
        self.publish(snapshot)
    }

    fn namespace_of(&self, id: &Id<id::NetworkInterface>, interface: &Interface) -> Option<Arc<OwnedFd>> {
        match &interface.owner {
            Owner::None => None,
            Owner::Instance { id, .. } => self.machines.get(id).cloned(),
            Owner::NatGateway(_) | Owner::Service => self.places.get(id).cloned(),
        }
    }

    /// A namespace for each interface that is no instance's.
    fn make_places(&mut self, snapshot: &NetworkSnapshot) -> io::Result<()> {
        let is_own = |id: &Id<id::NetworkInterface>| {
            let owner = snapshot.interfaces.get(id).map(|interface| &interface.owner);
            matches!(owner, Some(Owner::NatGateway(_) | Owner::Service))
        };
        self.places.retain(|id, _| is_own(id));
        for (id, interface) in &snapshot.interfaces {
            if !is_own(id) || self.places.contains_key(id) {
                continue;
            }
            let place = namespace::new()?;
            let gateway = matches!(interface.owner, Owner::NatGateway(_));
            inner::prepare(&place, gateway)?;
            if let Some(address) = interface.addresses.first()
                && gateway
            {
                let mut table = Table::default();
                let hook = Hook { kind: "nat", number: POSTROUTING, priority: 100 };
                table.base("gateway", hook, vec![vec![Step::SourceTo(address.private)]]);
                Nft::of(place.as_fd())?.replace(RULES, &table)?;
            }
            self.places.insert(id.clone(), Arc::new(place));
        }
        Ok(())
    }

    /// A namespace for each VPC, its link to the internet, and its links to peers.
    fn make_vpcs(&mut self, snapshot: &NetworkSnapshot) -> io::Result<()> {
        let gone: Vec<_> = self.vpcs.keys().filter(|id| !snapshot.vpcs.contains_key(*id)).cloned().collect();
        for id in gone {
            if let Some(link) = self.vpcs.remove(&id).and_then(|vpc| vpc.internet) {
                self.cut(link)?;
            }
        }
        for (id, wanted) in &snapshot.vpcs {
            if !self.vpcs.contains_key(id) {
                self.vpcs.insert(id.clone(), VpcNet::new()?);
            }
            let number = self.number();
            let Some(vpc) = self.vpcs.get_mut(id) else { continue };
            match (vpc.internet, wanted.internet) {
                (None, true) => {
                    self.internet.connect(&vpc.namespace, number)?;
                    vpc.internet = Some(number);
                }
                (Some(link), false) => {
                    vpc.internet = None;
                    vpc.links_are_gone(&[link]);
                    self.cut(link)?;
                }
                _ => {}
            }
        }
        self.peer(snapshot)
    }

    /// A link that has gone with its other end is no failure.
    fn cut(&mut self, link: u32) -> io::Result<()> {
        const NO_SUCH_DEVICE: i32 = 19;
        match self.internet.disconnect(link) {
            Err(error) if error.raw_os_error() == Some(NO_SUCH_DEVICE) => Ok(()),
            other => other,
        }
    }

    fn peer(&mut self, snapshot: &NetworkSnapshot) -> io::Result<()> {
        for vpc in self.vpcs.values_mut() {
            let gone: Vec<_> = vpc
                .peers
                .iter()
                .filter(|(id, _)| !snapshot.peerings.contains_key(*id))
                .map(|(_, link)| *link)
                .collect();
            vpc.peers.retain(|id, _| snapshot.peerings.contains_key(id));
            vpc.links_are_gone(&gone);
            let links = Links::of(vpc.namespace.as_fd())?;
            for link in gone {
                let mut messages = Messages::default();
                links::delete(&mut messages, link);
                // The other end's deletion took it along.
                let _ = links.execute(messages);
            }
        }
        for (id, (one, other)) in &snapshot.peerings {
            let (Some(a), Some(b)) = (self.vpcs.get(one), self.vpcs.get(other)) else { continue };
            if a.peers.contains_key(id) && b.peers.contains_key(id) {
                continue;
            }
            let (a, b) = (a.namespace.clone(), b.namespace.clone());
            let number = self.number();
            let name = format!("p{number}");
            let end = End { name: &name, index: Some(number), mac: Some(PEER_MAC) };
            let links = Links::of(a.as_fd())?;
            links.pair(&end, &end, b.as_fd())?;
            let mut messages = Messages::default();
            links::up(&mut messages, number, false);
            links.execute(messages.clone())?;
            Links::of(b.as_fd())?.execute(messages)?;
            for vpc in [one, other] {
                if let Some(vpc) = self.vpcs.get_mut(vpc) {
                    vpc.peers.insert(id.clone(), number);
                }
            }
        }
        Ok(())
    }

    /// The routes to public addresses; flows of those that have moved are forgotten.
    fn publish(&mut self, snapshot: &NetworkSnapshot) -> io::Result<()> {
        let mut routes = BTreeMap::new();
        for (id, vpc) in &mut self.vpcs {
            let Some(link) = vpc.internet else { continue };
            let translated: BTreeMap<_, _> = public_addresses(snapshot, id).collect();
            routes.extend(translated.keys().map(|public| (*public, link)));
            let moved = moved(&vpc.translated, &translated);
            vpc.translated = translated;
            flows::forget(vpc.namespace.as_fd(), &moved)?;
        }
        self.internet.route(routes)
    }
}

/// What an interface is inside its namespace.
fn inside(snapshot: &NetworkSnapshot, interface: &Interface) -> Option<Inside> {
    let subnet = snapshot.vpcs.get(&interface.vpc)?.subnets.get(&interface.subnet)?;
    let index = match interface.owner {
        Owner::Instance { device_index, .. } => device_index,
        _ => 0,
    };
    Some(Inside {
        name: format!("eth{index}"),
        mac: inner::mac(&interface.mac)?,
        addresses: interface.addresses.iter().map(|address| address.private).collect(),
        subnet: subnet.cidr,
        first: index == 0,
    })
}
