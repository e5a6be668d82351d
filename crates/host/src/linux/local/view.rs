//! What the answers inside one VPC are made from.
//!
//! Invariant: it is of one snapshot; it is replaced whole.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use standfast_core::host::{HostSnapshot, InstanceSpec};
use standfast_core::id::{Id, Instance, Vpc};
use standfast_core::network::{self, Owner};

#[derive(Debug)]
pub struct View {
    snapshot: Arc<HostSnapshot>,
    vpc: Id<Vpc>,
    callers: HashMap<Ipv4Addr, Id<Instance>>,
    /// The name that each address of the VPC is known by.
    reverse: HashMap<Ipv4Addr, String>,
}

impl View {
    pub fn of_all(snapshot: &Arc<HostSnapshot>) -> BTreeMap<Id<Vpc>, View> {
        let mut views: BTreeMap<_, _> = snapshot
            .network
            .vpcs
            .iter()
            .map(|(id, vpc)| {
                let reverse = reverse(vpc);
                let view = View { snapshot: snapshot.clone(), vpc: id.clone(), callers: HashMap::new(), reverse };
                (id.clone(), view)
            })
            .collect();
        for interface in snapshot.network.interfaces.values() {
            let Owner::Instance { id, .. } = &interface.owner else { continue };
            let Some(view) = views.get_mut(&interface.vpc) else { continue };
            view.callers.extend(interface.addresses.iter().map(|address| (address.private, id.clone())));
        }
        views
    }

    /// The instance that has the address.
    pub fn caller(&self, address: Ipv4Addr) -> Option<(&Id<Instance>, &InstanceSpec)> {
        self.snapshot.instances.get_key_value(self.callers.get(&address)?)
    }

    /// The VPC's names and their addresses.
    pub fn names(&self) -> &BTreeMap<String, Vec<Ipv4Addr>> {
        &self.vpc().names
    }

    /// The search domain of its instances.
    pub fn domain(&self) -> &str {
        &self.vpc().domain
    }

    /// The name that an address is known by.
    pub fn name_of(&self, address: Ipv4Addr) -> Option<&str> {
        self.reverse.get(&address).map(String::as_str)
    }

    fn vpc(&self) -> &network::Vpc {
        self.snapshot.network.vpcs.get(&self.vpc).expect("views are made from the VPCs of their snapshot")
    }
}

/// Of several names of an address, one in the VPC's own domain is what it is known by.
fn reverse(vpc: &network::Vpc) -> HashMap<Ipv4Addr, String> {
    let own = |name: &str| !vpc.domain.is_empty() && name.ends_with(&vpc.domain);
    let mut reverse: HashMap<Ipv4Addr, String> = HashMap::new();
    for (name, addresses) in &vpc.names {
        for address in addresses {
            let known = reverse.entry(*address).or_insert_with(|| name.clone());
            if own(name) && !own(known) {
                *known = name.clone();
            }
        }
    }
    reverse
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use standfast_core::host::Metadata;

    /// An instance like any other.
    pub fn instance() -> InstanceSpec {
        InstanceSpec {
            account: "000000000000".into(),
            region: "eu-west-1".into(),
            zone: "eu-west-1a".into(),
            instance_type: "t3.micro".into(),
            image_id: "ami-0123456789abcdef0".into(),
            private_ip: [10, 0, 0, 4].into(),
            vcpus: 2,
            memory_mib: 1024,
            hostname: "ip-10-0-0-4.eu-west-1.compute.internal".into(),
            resolvers: vec![[10, 0, 0, 2].into()],
            search: "eu-west-1.compute.internal".into(),
            ssh_keys: Vec::new(),
            root_volume: None,
            metadata: Metadata::default(),
            user_data: Vec::new(),
            power: true,
            boot: 1,
        }
    }

    /// A view of a VPC with these names.
    pub fn with_names(names: &[(&str, &[[u8; 4]])]) -> View {
        let addresses = |list: &[[u8; 4]]| list.iter().map(|address| Ipv4Addr::from(*address)).collect();
        let vpc = network::Vpc {
            account: "000000000000".into(),
            region: "eu-west-1".into(),
            cidrs: vec!["10.0.0.0/16".parse().expect("a block")],
            subnets: BTreeMap::new(),
            route_tables: BTreeMap::new(),
            acls: BTreeMap::new(),
            internet: false,
            dns: true,
            names: names.iter().map(|(name, list)| ((*name).to_owned(), addresses(list))).collect(),
            domain: "eu-west-1.compute.internal".into(),
        };
        let id = Id::from_text("vpc-1");
        let mut snapshot = HostSnapshot::default();
        snapshot.network.vpcs.insert(id.clone(), vpc);
        View::of_all(&Arc::new(snapshot)).remove(&id).expect("it was just put there")
    }
}
