//! What answers inside a VPC without being an instance: the metadata service, the resolver, the API's address there, and
//! the servers of the simulated internet, or the relay to the real one.
//!
//! Owns the sockets, per VPC, on 169.254.169.254 (80 and [`API_PORT`]), on 169.254.169.253 and the base of the VPC's
//! first block plus two (53, where `Vpc::dns`), and in the internet's namespace on port 80 of every address. They are
//! bound before the addresses need to be there (`IP_FREEBIND`), so this module and what makes the links need no order.
//!
//! Invariant: a caller is who its source address says, within its VPC, whose links drop packets with another's. Nothing
//! here opens a connection to anything but the API's address, and no name is ever asked of the real world, unless the
//! cloud is open to it ([`Egress::Host`]); then only `egress` and `upstream` do.
//!
//! It is not the network: addresses and routes are made by `standfast-network`.

mod dns;
mod egress;
mod http;
mod internet;
mod metadata;
mod relay;
mod resolver;
mod sockets;
mod tokens;
mod upstream;
mod view;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use standfast_core::host::HostSnapshot;
use standfast_core::id::{Id, Vpc};
use standfast_core::{Clock, network};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use egress::{Dial, Egress, Outside};
use sockets::{Opener, Task};
use tokens::Tokens;
use view::View;

/// Where the metadata service answers, in every VPC.
pub const METADATA_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The resolver's address that is the same in every VPC.
pub const RESOLVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

/// The port of `METADATA_ADDRESS` on which instances reach the cloud's API.
pub const API_PORT: u16 = 4566;

/// The address that names of the simulated internet lead to.
pub const INTERNET_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 80);

/// See the module's documentation. Dropping it closes everything.
pub struct Local {
    opener: Opener,
    tokens: Arc<Tokens>,
    api: SocketAddr,
    egress: Egress,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    vpcs: BTreeMap<Id<Vpc>, Place>,
    /// Its servers, and the relay.
    internet: Option<(Arc<OwnedFd>, Task, Option<Task>)>,
}

/// What is open in one VPC.
struct Place {
    namespace: Arc<OwnedFd>,
    view: watch::Sender<Arc<View>>,
    _metadata: Task,
    _relay: Task,
    /// The resolver and its address in the VPC.
    resolver: Option<(Ipv4Addr, [Task; 2])>,
}

impl Local {
    /// `api` is where the cloud's API listens on the machine.
    pub fn start(runtime: Handle, clock: Clock, api: SocketAddr, egress: Egress) -> std::io::Result<Local> {
        let tokens = Arc::new(Tokens::new()?);
        Ok(Local { opener: Opener { runtime, clock }, tokens, api, egress, open: Mutex::default() })
    }

    /// Makes the sockets and the answers those of `snapshot`. The answers have changed when this returns; sockets of VPCs
    /// that are new open soon after. A VPC without a namespace in `vpcs` is left out until it has one.
    pub fn apply(&self, snapshot: &Arc<HostSnapshot>, vpcs: &BTreeMap<Id<Vpc>, Arc<OwnedFd>>, internet: &Arc<OwnedFd>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.vpcs.retain(|id, place| {
            snapshot.network.vpcs.contains_key(id)
                && vpcs.get(id).is_some_and(|namespace| Arc::ptr_eq(namespace, &place.namespace))
        });
        let mut views = View::of_all(snapshot);
        for (id, namespace) in vpcs {
            let (Some(vpc), Some(view)) = (snapshot.network.vpcs.get(id), views.remove(id)) else { continue };
            let view = Arc::new(view);
            let place = open.vpcs.entry(id.clone()).or_insert_with(|| self.place(namespace, view.clone()));
            place.view.send_replace(view);
            self.resolve(place, vpc);
        }
        if open.internet.as_ref().is_none_or(|(namespace, ..)| !Arc::ptr_eq(namespace, internet)) {
            open.internet = Some(self.internet(internet));
        }
    }

    fn internet(&self, namespace: &Arc<OwnedFd>) -> (Arc<OwnedFd>, Task, Option<Task>) {
        let outside = self.egress.outside().cloned();
        let address = if outside.is_some() { INTERNET_ADDRESS } else { Ipv4Addr::UNSPECIFIED };
        let servers = self.opener.serve(namespace.clone(), move || internet::bind(address), internet::serve);
        let relay = outside.map(|outside| {
            self.opener.serve(namespace.clone(), egress::bind, move |listener| egress::serve(listener, outside))
        });
        (namespace.clone(), servers, relay)
    }

    fn place(&self, namespace: &Arc<OwnedFd>, view: Arc<View>) -> Place {
        let view = watch::Sender::new(view);
        let service =
            metadata::Service { view: view.subscribe(), tokens: self.tokens.clone(), clock: self.opener.clock.clone() };
        let api = self.api;
        Place {
            namespace: namespace.clone(),
            _metadata: self.opener.serve(namespace.clone(), http::bind_metadata, move |listener| {
                http::serve_metadata(listener, service.clone())
            }),
            _relay: self.opener.serve(namespace.clone(), relay::bind, move |listener| relay::serve(listener, api)),
            view,
            resolver: None,
        }
    }

    /// Opens or closes the resolver as the VPC says.
    fn resolve(&self, place: &mut Place, vpc: &network::Vpc) {
        let wanted = vpc.cidrs.first().and_then(|block| block.nth(2)).filter(|_| vpc.dns);
        if place.resolver.as_ref().map(|(address, _)| *address) == wanted {
            return;
        }
        place.resolver = wanted.map(|own| {
            let tasks = [own, RESOLVER_ADDRESS].map(|address| {
                let view = place.view.subscribe();
                let outside = self.egress.outside().cloned();
                let bind = move || resolver::bind(address);
                self.opener.serve(place.namespace.clone(), bind, move |pair| resolver::serve(pair, view, outside))
            });
            (own, tasks)
        });
    }
}
