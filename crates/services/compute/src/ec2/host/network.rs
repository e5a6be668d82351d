//! From records to the networks that a host should make: pure.
//!
//! It reads whole tables at once (`Tables`), so that a run can tell whether any row of them is another than in the run
//! before and build nothing when none is. Invariant: every id that the snapshot refers to is in the snapshot; IPv6 is
//! left out. What people name is resolved here: a route's target is an interface, a prefix list is its blocks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use standfast_core::id::{self, Id};
use standfast_core::network::{
    Acl, AclEntry, Address, GroupRule, Impairment, Interface, NetworkSnapshot, Owner, PacketFault, Peer, Route,
    RouteTarget, SecurityGroup, Subnet, Vpc,
};
use standfast_core::{Cidr, Scope};
use standfast_kernel::faults::{self, Fault};
use standfast_kernel::zones;
use standfast_store::View;

use super::dhcp::{self, Lease};
use super::{names, traffic};
use crate::ec2::model::{
    self, Destination, DhcpOptions, Instance, InternetGateway, ManagedPrefixList, NetworkAcl, NetworkInterface,
    Peering, PeeringState, Purpose, RouteTable, Tagged, Target,
};
use crate::ec2::{convert, defaults, prefix_lists};

/// A record and where it is.
pub type Row<R> = (Scope, Arc<str>, Arc<R>);

/// Everything that networks are made from.
#[derive(Default)]
pub struct Tables {
    vpcs: Vec<Row<model::Vpc>>,
    subnets: Vec<Row<model::Subnet>>,
    gateways: Vec<Row<InternetGateway>>,
    route_tables: Vec<Row<RouteTable>>,
    acls: Vec<Row<NetworkAcl>>,
    groups: Vec<Row<model::SecurityGroup>>,
    interfaces: Vec<Row<NetworkInterface>>,
    pub instances: Vec<Row<Instance>>,
    dhcp_options: Vec<Row<DhcpOptions>>,
    peerings: Vec<Row<Peering>>,
    prefix_lists: Vec<Row<ManagedPrefixList>>,
    /// Names that services gave to their interfaces, by the interface.
    service_names: Vec<(Arc<str>, Arc<Tagged>)>,
    impairments: Vec<Impairment>,
    /// What is wrong with subnets and interfaces, among others.
    faults: Vec<Fault>,
}

/// Whether these are the very same rows: a record that was written again is another one.
pub fn same<R>(old: &[Row<R>], new: &[Row<R>]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| Arc::ptr_eq(&old.2, &new.2))
}

impl Tables {
    /// Everything, or only the instances where hosts have no networks.
    pub fn read(view: &View, networks: bool) -> Self {
        if !networks {
            return Self { instances: view.all(), ..Self::default() };
        }
        let interfaces = view.all::<NetworkInterface>();
        let of_services = interfaces.iter().filter(|(_, _, interface)| interface.requester.is_some());
        let tagged = of_services.filter_map(|(scope, id, _)| Some((id.clone(), view.get::<Tagged>(scope, id)?)));
        Self {
            vpcs: view.all(),
            subnets: view.all(),
            gateways: view.all(),
            route_tables: view.all(),
            acls: view.all(),
            groups: view.all(),
            instances: view.all(),
            dhcp_options: view.all(),
            peerings: view.all(),
            prefix_lists: view.all(),
            impairments: zones::impairments(view),
            faults: faults::all(view),
            service_names: tagged.filter(|(_, tagged)| tagged.tags.contains_key(names::DNS_NAME_TAG)).collect(),
            interfaces,
        }
    }

    /// Whether the same networks come of both.
    pub fn same(&self, new: &Self) -> bool {
        let names = self.service_names.len() == new.service_names.len()
            && self.service_names.iter().zip(&new.service_names).all(|(old, new)| Arc::ptr_eq(&old.1, &new.1));
        names
            && self.impairments == new.impairments
            && self.faults == new.faults
            && same(&self.vpcs, &new.vpcs)
            && same(&self.subnets, &new.subnets)
            && same(&self.gateways, &new.gateways)
            && same(&self.route_tables, &new.route_tables)
            && same(&self.acls, &new.acls)
            && same(&self.groups, &new.groups)
            && same(&self.interfaces, &new.interfaces)
            && same(&self.instances, &new.instances)
            && same(&self.dhcp_options, &new.dhcp_options)
            && same(&self.peerings, &new.peerings)
            && same(&self.prefix_lists, &new.prefix_lists)
    }

    /// Whether instances that are the same themselves, with the same interfaces, are told the same of what is around them.
    pub fn same_around_instances(&self, new: &Self) -> bool {
        // Rules of groups change often and are nothing that instances are told.
        let named = |(one, other): (&Row<model::SecurityGroup>, &Row<model::SecurityGroup>)| {
            Arc::ptr_eq(&one.2, &other.2) || (one.1 == other.1 && one.2.name == other.2.name)
        };
        same(&self.vpcs, &new.vpcs)
            && same(&self.subnets, &new.subnets)
            && same(&self.dhcp_options, &new.dhcp_options)
            && self.groups.len() == new.groups.len()
            && self.groups.iter().zip(&new.groups).all(named)
    }

    /// The instances that are the same as in `old`, with the same interfaces.
    pub fn same_instances<'a>(&'a self, old: &'a Self) -> HashSet<&'a str> {
        let interfaces = unchanged(&old.interfaces, &self.interfaces);
        let whole = |instance: &Instance| instance.interfaces.iter().all(|id| interfaces.contains_key(id.as_str()));
        let instances = unchanged(&old.instances, &self.instances).into_iter();
        instances.filter(|(_, instance)| whole(instance)).map(|(id, _)| id).collect()
    }

    /// The networks that these records ask for.
    pub fn snapshot(&self, index: &Index) -> NetworkSnapshot {
        let mut vpcs: BTreeMap<Id<id::Vpc>, Vpc> =
            self.vpcs.iter().map(|row| (id_of(&row.1), index.vpc(row))).collect();
        self.subnets.iter().for_each(|row| index.add_subnet(&mut vpcs, row));
        self.route_tables.iter().for_each(|row| index.add_route_table(&mut vpcs, row));
        self.acls.iter().for_each(|row| add_acl(&mut vpcs, row));
        super::faults::cut_off(&mut vpcs, &self.faults);
        self.interfaces.iter().for_each(|row| index.add_names(&mut vpcs, row));
        self.service_names.iter().for_each(|(id, tagged)| index.add_service_name(&mut vpcs, id, tagged));
        NetworkSnapshot {
            vpcs,
            security_groups: self.groups.iter().map(|row| (id_of(&row.1), index.group(row))).collect(),
            interfaces: self.interfaces.iter().map(|(_, id, one)| (id_of(id), index.interface(one))).collect(),
            peerings: index.peerings.iter().map(|(id, peering)| (Id::from_text(id), peering.vpcs())).collect(),
            impairments: self.impairments.clone(),
            faults: self.packet_faults(),
        }
    }
}

impl Tables {
    /// What is wrong with the interfaces of instances.
    fn packet_faults(&self) -> Vec<(Id<id::NetworkInterface>, PacketFault)> {
        let of_packets = self.faults.iter().filter_map(|fault| match fault {
            Fault::Packets { instances, faults } => Some((instances, faults)),
            _ => None,
        });
        let each = of_packets.flat_map(|(instances, faults)| {
            let hit = self.interfaces.iter().filter(|(_, _, interface)| {
                interface.attachment.as_ref().is_some_and(|to| instances.contains(to.instance.as_str()))
            });
            hit.flat_map(|(_, id, _)| faults.iter().map(|fault| (id_of(id), fault.clone())))
        });
        each.collect()
    }
}

/// The rows of `new` that are those of `old`.
fn unchanged<'a, R>(old: &'a [Row<R>], new: &'a [Row<R>]) -> HashMap<&'a str, &'a R> {
    let old: HashMap<&str, &Arc<R>> = old.iter().map(|(_, id, record)| (&**id, record)).collect();
    let is_old = |(_, id, record): &&Row<R>| old.get(&**id).is_some_and(|old| Arc::ptr_eq(old, record));
    new.iter().filter(is_old).map(|(_, id, record)| (&**id, &**record)).collect()
}

fn id_of<K>(text: &Arc<str>) -> Id<K> {
    Id::from_shared(text.clone())
}

/// What is looked up while a snapshot is built.
pub struct Index<'a> {
    vpcs: HashMap<&'a str, &'a model::Vpc>,
    subnets: HashMap<&'a str, &'a model::Subnet>,
    gateways: HashMap<&'a str, &'a InternetGateway>,
    groups: HashMap<&'a str, &'a model::SecurityGroup>,
    interfaces: HashMap<&'a str, &'a NetworkInterface>,
    instances: HashMap<&'a str, &'a Instance>,
    dhcp_options: HashMap<&'a str, &'a DhcpOptions>,
    /// Those that are active.
    peerings: HashMap<&'a str, &'a Peering>,
    prefix_lists: HashMap<&'a str, &'a ManagedPrefixList>,
    /// The interfaces of NAT gateways.
    nat_gateways: HashMap<&'a str, Id<id::NetworkInterface>>,
    /// The route tables of subnets that have one of their own, and the main ones of VPCs.
    tables: HashMap<&'a str, Id<id::RouteTable>>,
    acls: HashMap<&'a str, Id<id::NetworkAcl>>,
    /// VPCs to which an internet gateway is attached.
    connected: HashMap<&'a str, &'a str>,
}

fn by_id<R>(rows: &[Row<R>]) -> HashMap<&str, &R> {
    rows.iter().map(|(_, id, record)| (&**id, &**record)).collect()
}

impl<'a> Index<'a> {
    pub fn of(tables: &'a Tables) -> Self {
        let route_tables = tables.route_tables.iter().flat_map(|(_, id, table)| {
            let holder = |subnet: &'a Option<Id<id::Subnet>>| subnet.as_deref().unwrap_or(&table.vpc);
            table.associations.iter().map(move |association| (holder(&association.subnet), id_of(id)))
        });
        let acls = tables
            .acls
            .iter()
            .flat_map(|(_, id, acl)| acl.associations.iter().map(move |(_, subnet)| (subnet.as_str(), id_of(id))));
        let active = |peering: &Peering| peering.state == PeeringState::Active;
        let peerings = tables.peerings.iter().filter(|(.., one)| active(one)).map(|(_, id, one)| (&**id, &**one));
        let nat_gateways = tables.interfaces.iter().filter_map(|(_, id, interface)| match &interface.purpose {
            Purpose::NatGateway(gateway) => Some((gateway.as_str(), id_of(id))),
            _ => None,
        });
        let attached = tables.gateways.iter().filter_map(|(_, id, gateway)| Some((gateway.vpc.as_deref()?, &**id)));
        Self {
            vpcs: by_id(&tables.vpcs),
            subnets: by_id(&tables.subnets),
            gateways: by_id(&tables.gateways),
            groups: by_id(&tables.groups),
            interfaces: by_id(&tables.interfaces),
            instances: by_id(&tables.instances),
            dhcp_options: by_id(&tables.dhcp_options),
            peerings: peerings.collect(),
            prefix_lists: by_id(&tables.prefix_lists),
            nat_gateways: nat_gateways.collect(),
            tables: route_tables.collect(),
            acls: acls.collect(),
            connected: attached.collect(),
        }
    }

    /// A VPC without what is in it.
    fn vpc(&self, (scope, id, vpc): &Row<model::Vpc>) -> Vpc {
        Vpc {
            account: scope.account.to_string(),
            region: scope.region.to_string(),
            cidrs: vpc.cidrs(),
            subnets: BTreeMap::new(),
            route_tables: BTreeMap::new(),
            acls: BTreeMap::new(),
            internet: self.connected.contains_key(&**id),
            dns: vpc.dns_support,
            names: BTreeMap::new(),
            domain: self.domain(scope, vpc),
        }
    }

    /// The domain that the VPC's DHCP options name, or the region's.
    fn domain(&self, scope: &Scope, vpc: &model::Vpc) -> String {
        let named = self.dhcp_options(vpc).into_iter().flat_map(|options| options.words("domain-name")).next();
        named.map_or_else(|| defaults::domain(&scope.region), |name| name.trim_end_matches('.').to_owned())
    }

    fn dhcp_options(&self, vpc: &model::Vpc) -> Option<&'a DhcpOptions> {
        self.dhcp_options.get(vpc.dhcp_options.as_deref()?).copied()
    }

    /// What DHCP tells an instance.
    pub fn lease(&self, instance: &Instance) -> Lease {
        let Some(vpc) = self.vpcs.get(instance.vpc.as_str()) else { return Lease::default() };
        dhcp::lease(vpc.cidr, self.dhcp_options(vpc))
    }

    fn add_subnet(&self, vpcs: &mut BTreeMap<Id<id::Vpc>, Vpc>, (_, id, subnet): &Row<model::Subnet>) {
        let Some(vpc) = vpcs.get_mut(&subnet.vpc) else { return };
        let table = self.tables.get(&**id).or_else(|| self.tables.get(subnet.vpc.as_str()));
        let (Some(route_table), Some(acl)) = (table, self.acls.get(&**id)) else { return };
        let (route_table, acl) = (route_table.clone(), acl.clone());
        vpc.subnets.insert(id_of(id), Subnet { zone: subnet.zone.clone(), cidr: subnet.cidr, route_table, acl });
    }

    fn add_route_table(&self, vpcs: &mut BTreeMap<Id<id::Vpc>, Vpc>, (_, id, table): &Row<RouteTable>) {
        let Some(vpc) = vpcs.get_mut(&table.vpc) else { return };
        let routes = table.routes.iter().flat_map(|route| {
            let target = self.target(&table.vpc, &route.target);
            let to = |destination| Some(Route { destination, target: target.clone()? });
            self.destinations(&route.destination).into_iter().filter_map(to).collect::<Vec<_>>()
        });
        vpc.route_tables.insert(id_of(id), routes.collect());
    }

    /// The blocks that a route is for.
    fn destinations(&self, destination: &Destination) -> Vec<Cidr> {
        match destination {
            Destination::V4(block) => vec![*block],
            Destination::V6(_) => Vec::new(),
            Destination::PrefixList(list) => self.blocks(list),
        }
    }

    /// Where a route leads; `None` for the local ones and for gateway endpoints, whose services are not in the network.
    fn target(&self, vpc: &Id<id::Vpc>, target: &Target) -> Option<RouteTarget> {
        Some(match target {
            Target::Local | Target::Endpoint(_) => return None,
            Target::InternetGateway(id) => match self.gateways.get(id.as_str()) {
                Some(gateway) if gateway.vpc.as_ref() == Some(vpc) => RouteTarget::InternetGateway,
                _ => RouteTarget::Blackhole,
            },
            Target::NetworkInterface(id) => self.through(id),
            Target::NatGateway(id) => match self.nat_gateways.get(id.as_str()) {
                Some(interface) => RouteTarget::Interface(interface.clone()),
                None => RouteTarget::Blackhole,
            },
            Target::Peering(id) if self.peerings.contains_key(id.as_str()) => RouteTarget::Peering(id.clone()),
            // Nothing is behind a virtual private gateway, and egress-only gateways are for IPv6.
            Target::Peering(_) | Target::VpnGateway(_) | Target::EgressOnly(_) => RouteTarget::Blackhole,
        })
    }

    /// A route through an interface: it leads somewhere when whoever has the interface runs.
    fn through(&self, id: &Id<id::NetworkInterface>) -> RouteTarget {
        let runs = |interface: &NetworkInterface| match &interface.attachment {
            Some(attachment) => {
                self.instances.get(attachment.instance.as_str()).is_some_and(|instance| instance.state.has_power())
            }
            None => interface.requester.is_some(),
        };
        match self.interfaces.get(id.as_str()) {
            Some(interface) if runs(interface) => RouteTarget::Interface(id.clone()),
            _ => RouteTarget::Blackhole,
        }
    }

    fn group(&self, (_, _, group): &Row<model::SecurityGroup>) -> SecurityGroup {
        let (egress, ingress): (Vec<_>, Vec<_>) = group.rules.iter().partition(|rule| rule.egress);
        SecurityGroup { ingress: self.rules(&ingress), egress: self.rules(&egress) }
    }

    fn rules(&self, rules: &[&model::Rule]) -> Vec<GroupRule> {
        let each = |rule: &&model::Rule| {
            let traffic = traffic::of_rule(&rule.traffic)?;
            Some(self.peers(&rule.peer).into_iter().map(move |peer| GroupRule { traffic, peer }))
        };
        rules.iter().filter_map(each).flatten().collect()
    }

    fn peers(&self, peer: &model::Peer) -> Vec<Peer> {
        match peer {
            model::Peer::V4(block) => vec![Peer::Cidr(*block)],
            model::Peer::Group(id) if self.groups.contains_key(id.as_str()) => vec![Peer::Group(id.clone())],
            model::Peer::Group(_) | model::Peer::V6(_) => Vec::new(),
            model::Peer::PrefixList(id) => self.blocks(id).into_iter().map(Peer::Cidr).collect(),
        }
    }

    /// The blocks of a prefix list.
    fn blocks(&self, list: &str) -> Vec<Cidr> {
        match self.prefix_lists.get(list) {
            Some(known) => known.entries().iter().filter_map(|entry| entry.cidr.parse().ok()).collect(),
            None => prefix_lists::service_blocks(list),
        }
    }

    fn interface(&self, interface: &NetworkInterface) -> Interface {
        Interface {
            vpc: interface.vpc.clone(),
            subnet: interface.subnet.clone(),
            zone: interface.zone.clone(),
            mac: interface.mac.clone(),
            addresses: self.addresses(interface),
            groups: interface.groups.clone(),
            source_dest_check: interface.source_dest_check,
            owner: match &interface.attachment {
                Some(attachment) => Owner::Instance {
                    id: attachment.instance.clone(),
                    device_index: attachment.device_index.unsigned_abs(),
                },
                None => match &interface.purpose {
                    Purpose::NatGateway(gateway) => Owner::NatGateway(gateway.clone()),
                    _ if interface.requester.is_some() => Owner::Service,
                    _ => Owner::None,
                },
            },
        }
    }

    /// The addresses of an interface, the primary one first.
    pub fn addresses(&self, interface: &NetworkInterface) -> Vec<Address> {
        let each = |address: &model::InterfaceAddress| Address {
            private: address.private,
            public: address.public.as_ref().map(|public| public.address),
        };
        interface.addresses.iter().map(each).collect()
    }

    /// The interfaces of an instance, the primary one first.
    pub fn interfaces_of(&self, instance: &Instance) -> Vec<&'a NetworkInterface> {
        instance.interfaces.iter().filter_map(|id| self.interfaces.get(id.as_str()).copied()).collect()
    }

    pub fn group_names(&self, groups: &[Id<id::SecurityGroup>]) -> Vec<&'a str> {
        groups.iter().filter_map(|id| Some(self.groups.get(id.as_str())?.name.as_str())).collect()
    }

    pub fn subnet_cidr(&self, subnet: &str) -> Option<Cidr> {
        Some(self.subnets.get(subnet)?.cidr)
    }

    pub fn vpc_cidrs(&self, vpc: &str) -> Vec<Cidr> {
        self.vpcs.get(vpc).map(|vpc| vpc.cidrs()).unwrap_or_default()
    }

    /// The name of a public address, in VPCs that give names to them.
    pub fn public_name(&self, vpc: &str, region: &str, public: Ipv4Addr) -> Option<String> {
        let named = self.vpcs.get(vpc).is_some_and(|vpc| vpc.dns_hostnames);
        named.then(|| convert::public_dns(region, public))
    }

    fn instance_of(&self, interface: &'a NetworkInterface) -> Option<(&'a str, &'a Instance)> {
        let id = interface.attachment.as_ref()?.instance.as_str();
        Some((id, self.instances.get(id)?))
    }

    /// Adds the names of an instance's interface to what its VPC's resolver knows.
    fn add_names(&self, vpcs: &mut BTreeMap<Id<id::Vpc>, Vpc>, (scope, _, interface): &Row<NetworkInterface>) {
        let Some((id, instance)) = self.instance_of(interface) else { return };
        let Some(vpc) = vpcs.get_mut(&interface.vpc).filter(|vpc| vpc.dns) else { return };
        let region = &*scope.region;
        let addresses = self.addresses(interface);
        for Address { private, public } in &addresses {
            vpc.names.insert(convert::private_dns(region, *private), vec![*private]);
            if let Some(name) = public.and_then(|public| self.public_name(&interface.vpc, region, public)) {
                vpc.names.insert(name, vec![*private]);
            }
        }
        let primary = interface.attachment.as_ref().is_some_and(|attachment| attachment.device_index == 0);
        if primary && (instance.options.dns_a_record || instance.options.hostname_type == names::RESOURCE_NAME) {
            vpc.names.insert(names::resource(region, id), vec![addresses[0].private]);
        }
    }

    fn add_service_name(&self, vpcs: &mut BTreeMap<Id<id::Vpc>, Vpc>, id: &str, tagged: &Tagged) {
        let (Some(name), Some(interface)) = (tagged.tags.get(names::DNS_NAME_TAG), self.interfaces.get(id)) else {
            return;
        };
        let Some(vpc) = vpcs.get_mut(&interface.vpc).filter(|vpc| vpc.dns) else { return };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        vpc.names.entry(name).or_default().push(interface.private_ip());
    }
}

fn add_acl(vpcs: &mut BTreeMap<Id<id::Vpc>, Vpc>, (_, id, acl): &Row<NetworkAcl>) {
    let Some(vpc) = vpcs.get_mut(&acl.vpc) else { return };
    let entries = |egress: bool| {
        let mut entries: Vec<&model::AclEntry> = acl.entries.iter().filter(|entry| entry.egress == egress).collect();
        entries.sort_by_key(|entry| entry.number);
        let each = |entry: &model::AclEntry| {
            let (traffic, peer) = (traffic::of_entry(entry)?, entry.cidr?);
            Some(AclEntry { allow: entry.action == "allow", traffic, peer })
        };
        entries.into_iter().filter_map(each).collect()
    };
    vpc.acls.insert(id_of(id), Acl { ingress: entries(false), egress: entries(true) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::model::{Attachment, InterfaceAddress, Route as RouteRecord, RouteTableAssociation, Rule, State};
    use crate::ec2::plan::tests::instance;
    use standfast_core::Timestamp;
    use standfast_core::network::Traffic;

    fn row<R>(id: &str, record: R) -> Row<R> {
        (Scope::new("000000000000", "eu-west-1"), id.into(), Arc::new(record))
    }

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("valid")
    }

    fn vpc() -> model::Vpc {
        model::Vpc {
            cidr: cidr("10.0.0.0/16"),
            cidr_association: String::new(),
            is_default: false,
            tenancy: "default".into(),
            dhcp_options: None,
            dns_support: true,
            dns_hostnames: false,
            usage_metrics: false,
            more_cidrs: Vec::new(),
        }
    }

    fn interface(n: u32, instance: Option<&str>) -> NetworkInterface {
        let attachment = |id: &str| Attachment {
            id: Id::from_text("eni-attach-1"),
            instance: Id::from_text(id),
            device_index: 0,
            attached: Timestamp(0),
            delete_on_termination: true,
        };
        NetworkInterface {
            vpc: Id::from_text("vpc-1"),
            subnet: Id::from_text("subnet-1"),
            zone: "eu-west-1a".into(),
            addresses: vec![InterfaceAddress::private(cidr("10.0.0.0/16").nth(n.into()).expect("in the block"))],
            mac: "02:00:00:00:00:01".into(),
            description: String::new(),
            groups: vec![Id::from_text("sg-1")],
            source_dest_check: true,
            attachment: instance.map(attachment),
            requester: None,
            purpose: Purpose::Any,
        }
    }

    fn route(to: &str, target: Target) -> RouteRecord {
        RouteRecord { destination: Destination::V4(cidr(to)), target }
    }

    fn rule(peer: model::Peer) -> Rule {
        let traffic = model::Traffic { protocol: "tcp".into(), from: Some(80), to: Some(80) };
        Rule { id: Id::from_text("sgr-1"), egress: false, traffic, peer, description: None }
    }

    fn tables() -> Tables {
        let through = |id: &str| Target::NetworkInterface(Id::from_text(id));
        let routes = vec![
            route("10.0.0.0/16", Target::Local),
            route("0.0.0.0/0", Target::InternetGateway(Id::from_text("igw-1"))),
            route("192.0.2.0/24", through("eni-1")),
            route("198.51.100.0/24", through("eni-2")),
            route("203.0.113.0/24", through("eni-9")),
        ];
        let main = RouteTableAssociation { id: Id::from_text("rtbassoc-1"), subnet: None };
        let rules = vec![
            rule(model::Peer::V4(cidr("10.0.0.0/8"))),
            rule(model::Peer::V6("::/0".into())),
            rule(model::Peer::Group(Id::from_text("sg-1"))),
            rule(model::Peer::Group(Id::from_text("sg-9"))),
        ];
        let group =
            model::SecurityGroup { vpc: Id::from_text("vpc-1"), name: "g".into(), description: String::new(), rules };
        let associations = vec![(Id::from_text("aclassoc-1"), Id::from_text("subnet-1"))];
        Tables {
            vpcs: vec![row("vpc-1", vpc())],
            subnets: vec![row(
                "subnet-1",
                model::Subnet::of(Id::from_text("vpc-1"), cidr("10.0.0.0/24"), "eu-west-1a".into()),
            )],
            gateways: vec![row("igw-1", InternetGateway { vpc: None })],
            route_tables: vec![row(
                "rtb-1",
                RouteTable { vpc: Id::from_text("vpc-1"), routes, associations: vec![main], propagating: Vec::new() },
            )],
            acls: vec![row(
                "acl-1",
                NetworkAcl { vpc: Id::from_text("vpc-1"), is_default: true, entries: Vec::new(), associations },
            )],
            groups: vec![row("sg-1", group)],
            interfaces: vec![row("eni-1", interface(5, Some("i-1"))), row("eni-2", interface(6, None))],
            instances: vec![row("i-1", instance(State::Running, 1))],
            ..Tables::default()
        }
    }

    #[test]
    fn what_people_name_is_resolved_and_the_rest_is_left_out() {
        let tables = tables();
        let network = tables.snapshot(&Index::of(&tables));
        let vpc = &network.vpcs["vpc-1"];
        assert!(vpc.dns && !vpc.internet, "the gateway is not attached");
        let targets: Vec<_> = vpc.route_tables["rtb-1"].iter().map(|route| route.target.clone()).collect();
        // Detached, running, nobody's, gone.
        let running = RouteTarget::Interface(Id::from_text("eni-1"));
        assert_eq!(targets, [RouteTarget::Blackhole, running, RouteTarget::Blackhole, RouteTarget::Blackhole]);
        assert_eq!(&*vpc.subnets["subnet-1"].route_table, "rtb-1");
        let peers: Vec<_> = network.security_groups["sg-1"].ingress.iter().map(|rule| rule.peer.clone()).collect();
        assert_eq!(peers, [Peer::Cidr(cidr("10.0.0.0/8")), Peer::Group(Id::from_text("sg-1"))]);
        assert_eq!(network.security_groups["sg-1"].ingress[0].traffic, Traffic::Tcp(80, 80));
        assert_eq!(vpc.names.keys().collect::<Vec<_>>(), ["ip-10-0-0-5.eu-west-1.compute.internal"]);
        assert_eq!(network.interfaces["eni-2"].owner, Owner::None);
    }

    #[test]
    fn only_other_rows_make_other_networks() {
        let old = tables();
        let reread = |change: bool| {
            let mut new = Tables { vpcs: old.vpcs.clone(), subnets: old.subnets.clone(), ..tables() };
            new.gateways = old.gateways.clone();
            new.route_tables = old.route_tables.clone();
            new.acls = old.acls.clone();
            new.groups = old.groups.clone();
            new.instances = old.instances.clone();
            if !change {
                new.interfaces = old.interfaces.clone();
            }
            new
        };
        assert!(old.same(&reread(false)) && !old.same(&reread(true)));
    }
}
