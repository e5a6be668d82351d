//! VPC endpoints: gateways to a service's prefix list, and interfaces in subnets.
//!
//! Invariant: a gateway endpoint's tables have exactly one route each to its service's prefix list; an interface endpoint
//! has one interface in each of its subnets, one subnet a zone. AWS-DIFF: nothing answers at the interfaces.

use std::collections::BTreeSet;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Rng, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::endpoint_services::{self, Target as Service};
use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{
    Destination, Endpoint, EndpointInterface, EndpointKind, EndpointState, InterfaceAddress, NetworkInterface, Purpose,
    Route, RouteTable, SecurityGroup, Subnet, Target, Vpc,
};
use super::network_interfaces::{groups, new_mac};
use super::{defaults, prefix_lists, security_groups, subnets, tags};

/// Who owns the interfaces of endpoints.
const REQUESTER: &str = "vpce";
const POLICY: &str =
    r#"{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}"#;
/// The hosted zone of endpoints' names.
const HOSTED_ZONE: &str = "Z38GZ743OKFT7T";

/// A change under way: where, and the source of ids that are the same when the transaction runs again.
struct Change<'a> {
    scope: &'a Scope,
    id: &'a Id<id::VpcEndpoint>,
    vpc: &'a Id<id::Vpc>,
    rng: Rng,
}

fn ids<K: errors::Resource>(texts: Option<&Vec<String>>) -> Result<Vec<Id<K>>> {
    let unique: BTreeSet<&String> = texts.into_iter().flatten().collect();
    unique.into_iter().map(|text| errors::id(text)).collect()
}

pub async fn create(cx: Cx, input: api::CreateVpcEndpointInput) -> Result<api::CreateVpcEndpointOutput> {
    defaults::ready(&cx).await?;
    let vpc_id = errors::id::<id::Vpc>(&input.vpc_id)?;
    let service = errors::required(input.service_name.clone(), "ServiceName")?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "vpc-endpoint", &[])?;
    let (scope, id, seed, now) = (cx.scope(), Id::<id::VpcEndpoint>::new(cx.rng()), cx.rng().u64(), cx.now());
    let token = input.client_token.clone().filter(|token| !token.is_empty());
    let endpoint = cx
        .txn(|tx| {
            let made = token.iter().flat_map(|token| tx.by_index::<Endpoint>(scope, "token", token)).next();
            if let Some((id, endpoint)) = made {
                return Ok(shape(tx, scope, &id, &endpoint));
            }
            find::<Vpc>(tx, scope, &vpc_id)?;
            errors::dry_run(input.dry_run)?;
            let change = Change { scope, id: &id, vpc: &vpc_id, rng: Rng::seeded(seed) };
            let endpoint = change.made(tx, &service, &input, now)?;
            tx.put(scope, &id, endpoint.clone());
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &endpoint))
        })
        .await?;
    Ok(api::CreateVpcEndpointOutput { vpc_endpoint: Some(endpoint), client_token: input.client_token })
}

impl Change<'_> {
    fn made(
        &self,
        tx: &mut Txn,
        service: &str,
        input: &api::CreateVpcEndpointInput,
        now: Timestamp,
    ) -> Result<Endpoint> {
        let kind = input.vpc_endpoint_type.as_deref().unwrap_or("Gateway");
        let target = endpoint_services::resolve(tx, self.scope, service, kind)?;
        let kind = match kind {
            "Gateway" => {
                let mut tables = Vec::new();
                for table in ids(input.route_table_ids.as_ref())? {
                    self.add_table(tx, service, &table)?;
                    tables.push(table);
                }
                EndpointKind::Gateway { tables }
            }
            "Interface" => {
                let groups = self.groups(tx, groups(input.security_group_ids.as_ref())?)?;
                let private_dns = self.private_dns(tx, input.private_dns_enabled, &target)?;
                let purpose = Purpose::Endpoint(self.id.clone());
                let interfaces = self.interfaces(tx, &[], &ids(input.subnet_ids.as_ref())?, &groups, &purpose)?;
                EndpointKind::Interface { interfaces, groups, private_dns }
            }
            "GatewayLoadBalancer" => {
                let subnets = ids(input.subnet_ids.as_ref())?;
                if subnets.len() != 1 {
                    return Err(errors::invalid("A Gateway Load Balancer endpoint has exactly one subnet."));
                }
                let purpose = Purpose::GatewayLoadBalancerEndpoint(self.id.clone());
                EndpointKind::GatewayLoadBalancer { interfaces: self.interfaces(tx, &[], &subnets, &[], &purpose)? }
            }
            other => return Err(errors::invalid_value("VpcEndpointType", other)),
        };
        let policy = input.policy_document.clone().filter(|text| !text.is_empty());
        let accepted = !target.acceptance_required();
        Ok(Endpoint {
            vpc: self.vpc.clone(),
            policy: match kind {
                EndpointKind::GatewayLoadBalancer { .. } => None,
                _ => Some(policy.unwrap_or_else(|| POLICY.into())),
            },
            kind,
            service: service.to_owned(),
            state: if accepted { EndpointState::Pending } else { EndpointState::PendingAcceptance },
            created: now,
            token: input.client_token.clone().filter(|token| !token.is_empty()),
        })
    }

    /// The groups that are given, or the VPC's default one.
    fn groups(&self, view: &View, given: Vec<Id<id::SecurityGroup>>) -> Result<Vec<Id<id::SecurityGroup>>> {
        if given.is_empty() {
            return Ok(vec![security_groups::by_name(view, self.scope, self.vpc, "default")?]);
        }
        security_groups::same_vpc(view, self.scope, self.vpc, &given)?;
        Ok(given)
    }

    fn private_dns(&self, view: &View, asked: Option<bool>, target: &Service) -> Result<bool> {
        let vpc = find::<Vpc>(view, self.scope, self.vpc)?;
        let possible = vpc.dns_support && vpc.dns_hostnames;
        match asked {
            Some(true) if !possible => Err(Error::client(
                "InvalidParameter",
                format!(
                    "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for {}",
                    self.vpc
                ),
            )),
            Some(asked) => Ok(asked),
            None => Ok(possible && matches!(target, Service::Cloud)),
        }
    }

    fn list(&self, service: &str) -> Result<Id<id::PrefixList>> {
        let list = prefix_lists::of_service(&self.scope.region, service);
        list.map(|list| list.id).ok_or_else(|| endpoint_services::unknown(service))
    }

    fn table(&self, view: &View, id: &Id<id::RouteTable>) -> Result<RouteTable> {
        let table = find::<RouteTable>(view, self.scope, id)?;
        if table.vpc != *self.vpc {
            let message = format!("Route table {id} and network {} belong to different networks", self.vpc);
            return Err(errors::invalid(message));
        }
        Ok((*table).clone())
    }

    /// Gives a table the route to the service.
    fn add_table(&self, tx: &mut Txn, service: &str, id: &Id<id::RouteTable>) -> Result<()> {
        let (mut table, destination) = (self.table(tx, id)?, Destination::PrefixList(self.list(service)?));
        if table.routes.iter().any(|route| route.destination == destination) {
            let message = format!("route table {id} already has a route with destination-prefix-list-id {destination}");
            return Err(Error::client("RouteAlreadyExists", message));
        }
        table.routes.push(Route { destination, target: Target::Endpoint(self.id.clone()) });
        tx.put(self.scope, id, table);
        Ok(())
    }

    fn remove_table(&self, tx: &mut Txn, id: &Id<id::RouteTable>) {
        let Some(table) = tx.get::<RouteTable>(self.scope, id) else { return };
        let mut table = (*table).clone();
        table.routes.retain(|route| route.target != Target::Endpoint(self.id.clone()));
        tx.put(self.scope, id, table);
    }

    /// An interface in each of the subnets, besides those that there are.
    fn interfaces(
        &self,
        tx: &mut Txn,
        old: &[EndpointInterface],
        wanted: &[Id<id::Subnet>],
        groups: &[Id<id::SecurityGroup>],
        purpose: &Purpose,
    ) -> Result<Vec<EndpointInterface>> {
        let mut out = old.to_vec();
        for subnet_id in wanted {
            if out.iter().any(|known| known.subnet == *subnet_id) {
                continue;
            }
            let subnet = find::<Subnet>(tx, self.scope, subnet_id)?;
            if subnet.vpc != *self.vpc {
                let message = format!("The subnet {subnet_id} is not in the network {}", self.vpc);
                return Err(errors::invalid(message));
            }
            let zone_of = |one: &EndpointInterface| Some(tx.get::<Subnet>(self.scope, &one.subnet)?.zone.clone());
            if out.iter().any(|other| zone_of(other).as_ref() == Some(&subnet.zone)) {
                let message = format!("Found another VPC endpoint subnet in the availability zone of {subnet_id}.");
                return Err(Error::client("DuplicateSubnetsInSameZone", message));
            }
            let private = subnets::take_address(tx, self.scope, subnet_id, &subnet, None)?;
            let interface = Id::<id::NetworkInterface>::new(&self.rng);
            let record = NetworkInterface {
                vpc: self.vpc.clone(),
                subnet: subnet_id.clone(),
                zone: subnet.zone.clone(),
                addresses: vec![InterfaceAddress::private(private)],
                mac: new_mac(&self.rng),
                description: format!("VPC Endpoint Interface {}", self.id),
                groups: groups.to_vec(),
                source_dest_check: true,
                attachment: None,
                requester: Some(REQUESTER.into()),
                purpose: purpose.clone(),
            };
            tx.put(self.scope, &interface, record);
            out.push(EndpointInterface { subnet: subnet_id.clone(), interface });
        }
        Ok(out)
    }

    /// The interfaces without those of some subnets, which go.
    fn without(&self, tx: &mut Txn, old: &[EndpointInterface], gone: &[Id<id::Subnet>]) -> Vec<EndpointInterface> {
        let (gone, stay): (Vec<_>, Vec<_>) = old.iter().cloned().partition(|one| gone.contains(&one.subnet));
        for one in gone {
            remove_interface(tx, self.scope, &one.interface);
        }
        stay
    }
}

fn remove_interface(tx: &mut Txn, scope: &Scope, id: &Id<id::NetworkInterface>) {
    if let Some(interface) = tx.get::<NetworkInterface>(scope, id) {
        subnets::release_addresses(tx, scope, &interface);
        tx.delete::<NetworkInterface>(scope, id);
        tags::forget(tx, scope, id);
    }
}

pub async fn modify(cx: Cx, input: api::ModifyVpcEndpointInput) -> Result<api::ModifyVpcEndpointOutput> {
    let (scope, id, seed) = (cx.scope(), errors::id::<id::VpcEndpoint>(&input.vpc_endpoint_id)?, cx.rng().u64());
    cx.txn(|tx| {
        let mut endpoint = (*find::<Endpoint>(tx, scope, &id)?).clone();
        errors::dry_run(input.dry_run)?;
        let vpc = endpoint.vpc.clone();
        let change = Change { scope, id: &id, vpc: &vpc, rng: Rng::seeded(seed) };
        if input.reset_policy == Some(true) {
            endpoint.policy = Some(POLICY.into());
        } else if let Some(policy) = input.policy_document.clone().filter(|text| !text.is_empty()) {
            endpoint.policy = Some(policy);
        }
        change.apply(tx, &mut endpoint, &input)?;
        tx.put(scope, &id, endpoint);
        Ok(())
    })
    .await?;
    Ok(api::ModifyVpcEndpointOutput { r#return: Some(true) })
}

impl Change<'_> {
    fn apply(&self, tx: &mut Txn, endpoint: &mut Endpoint, input: &api::ModifyVpcEndpointInput) -> Result<()> {
        let service = endpoint.service.clone();
        match &mut endpoint.kind {
            EndpointKind::Gateway { tables } => {
                for table in ids(input.remove_route_table_ids.as_ref())? {
                    self.remove_table(tx, &table);
                    tables.retain(|known| *known != table);
                }
                for table in ids(input.add_route_table_ids.as_ref())? {
                    if !tables.contains(&table) {
                        self.add_table(tx, &service, &table)?;
                        tables.push(table);
                    }
                }
            }
            EndpointKind::Interface { interfaces, groups: of_endpoint, private_dns } => {
                let remove = groups(input.remove_security_group_ids.as_ref())?;
                let mut wanted: Vec<_> = of_endpoint.iter().filter(|group| !remove.contains(group)).cloned().collect();
                for group in groups(input.add_security_group_ids.as_ref())? {
                    if !wanted.contains(&group) {
                        wanted.push(group);
                    }
                }
                *of_endpoint = self.groups(tx, wanted)?;
                let stay = self.without(tx, interfaces, &ids(input.remove_subnet_ids.as_ref())?);
                for one in &stay {
                    let interface = find::<NetworkInterface>(tx, self.scope, &one.interface)?;
                    if interface.groups != *of_endpoint {
                        let groups = of_endpoint.clone();
                        tx.put(self.scope, &one.interface, NetworkInterface { groups, ..(*interface).clone() });
                    }
                }
                let purpose = Purpose::Endpoint(self.id.clone());
                let add = ids(input.add_subnet_ids.as_ref())?;
                *interfaces = self.interfaces(tx, &stay, &add, of_endpoint, &purpose)?;
                if input.private_dns_enabled.is_some() {
                    *private_dns = self.private_dns(tx, input.private_dns_enabled, &Service::Cloud)?;
                }
            }
            EndpointKind::GatewayLoadBalancer { .. } => (),
        }
        Ok(())
    }
}

pub async fn delete(cx: Cx, input: api::DeleteVpcEndpointsInput) -> Result<api::DeleteVpcEndpointsOutput> {
    let scope = cx.scope();
    let unsuccessful = cx
        .txn(|tx| {
            let mut failed = Vec::new();
            for text in &input.vpc_endpoint_ids {
                let id = errors::id::<id::VpcEndpoint>(text)?;
                match find::<Endpoint>(tx, scope, &id) {
                    Ok(endpoint) => remove(tx, scope, &id, &endpoint),
                    Err(error) => failed.push(endpoint_services::unsuccessful(text, &error)),
                }
            }
            errors::dry_run(input.dry_run)?;
            Ok(failed)
        })
        .await?;
    Ok(api::DeleteVpcEndpointsOutput { unsuccessful: Some(unsuccessful) })
}

/// Takes away what an endpoint has put into its VPC; its record goes by the controller.
fn remove(tx: &mut Txn, scope: &Scope, id: &Id<id::VpcEndpoint>, endpoint: &Endpoint) {
    let change = Change { scope, id, vpc: &endpoint.vpc, rng: Rng::seeded(0) };
    let mut rest = endpoint.clone();
    match &mut rest.kind {
        EndpointKind::Gateway { tables } => tables.iter().for_each(|table| change.remove_table(tx, table)),
        EndpointKind::Interface { interfaces, .. } | EndpointKind::GatewayLoadBalancer { interfaces } => {
            interfaces.drain(..).for_each(|one| remove_interface(tx, scope, &one.interface));
        }
    }
    tx.put(scope, id, Endpoint { state: EndpointState::Deleting, token: None, ..rest });
}

pub async fn describe(cx: Cx, input: api::DescribeVpcEndpointsInput) -> Result<api::DescribeVpcEndpointsOutput> {
    cx.view(|view| {
        let rows = errors::select::<Endpoint>(view, cx.scope(), input.vpc_endpoint_ids.as_ref())?;
        let rows = rows.iter().map(|(id, endpoint)| shape(view, cx.scope(), id, endpoint));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (endpoints, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeVpcEndpointsOutput { vpc_endpoints: Some(endpoints), next_token })
    })
}

/// The names of an interface endpoint: one for all its zones, and one in each.
pub fn names(view: &View, scope: &Scope, id: &str, endpoint: &Endpoint) -> Vec<api::DnsEntry> {
    let EndpointKind::Interface { interfaces, .. } = &endpoint.kind else { return Vec::new() };
    let digits = id.trim_start_matches("vpce-");
    let label = endpoint.service.rsplit('.').next().unwrap_or_default();
    let domain = format!("{label}.{}.vpce.amazonaws.com", scope.region);
    let first = format!("{id}-{}", &digits[..digits.len().min(8)]);
    let zone = |one: &EndpointInterface| Some(view.get::<Subnet>(scope, &one.subnet)?.zone.clone());
    let zones = interfaces.iter().filter_map(zone).map(|zone| format!("{first}-{zone}.{domain}"));
    let entry = |name| api::DnsEntry { dns_name: Some(name), hosted_zone_id: Some(HOSTED_ZONE.into()) };
    [format!("{first}.{domain}")].into_iter().chain(zones).map(entry).collect()
}

fn shape(view: &View, scope: &Scope, id: &str, endpoint: &Endpoint) -> api::VpcEndpoint {
    let (tables, groups, private_dns) = match &endpoint.kind {
        EndpointKind::Gateway { tables } => (&tables[..], &[][..], false),
        EndpointKind::Interface { groups, private_dns, .. } => (&[][..], &groups[..], *private_dns),
        EndpointKind::GatewayLoadBalancer { .. } => (&[][..], &[][..], false),
    };
    let group = |id: &Id<id::SecurityGroup>| api::SecurityGroupIdentifier {
        group_id: Some(id.into()),
        group_name: view.get::<SecurityGroup>(scope, id).map(|group| group.name.clone()),
    };
    let record_type = match &endpoint.kind {
        EndpointKind::Gateway { .. } => Some("service-defined"),
        EndpointKind::Interface { .. } => Some("ipv4"),
        EndpointKind::GatewayLoadBalancer { .. } => None,
    };
    api::VpcEndpoint {
        vpc_endpoint_id: Some(id.to_owned()),
        vpc_endpoint_type: Some(endpoint.kind.name().into()),
        vpc_id: Some((&endpoint.vpc).into()),
        service_name: Some(endpoint.service.clone()),
        state: Some(endpoint.state.name().into()),
        policy_document: endpoint.policy.clone(),
        route_table_ids: Some(tables.iter().map(String::from).collect()),
        subnet_ids: Some(endpoint.kind.interfaces().iter().map(|one| (&one.subnet).into()).collect()),
        groups: Some(groups.iter().map(group).collect()),
        ip_address_type: Some("ipv4".into()),
        dns_options: record_type
            .map(|kind| api::DnsOptions { dns_record_ip_type: Some(kind.into()), ..Default::default() }),
        private_dns_enabled: Some(private_dns),
        requester_managed: Some(false),
        network_interface_ids: Some(endpoint.kind.interfaces().iter().map(|one| (&one.interface).into()).collect()),
        dns_entries: Some(names(view, scope, id, endpoint)),
        creation_timestamp: Some(endpoint.created),
        tags: tags::of(view, scope, id),
        owner_id: Some(scope.account.to_string()),
        service_region: Some(scope.region.to_string()),
        ..Default::default()
    }
}

impl Described for api::VpcEndpoint {
    const FIELDS: &'static [Field<Self>] = &[
        ("ip-address-type", |one| filters::one(&one.ip_address_type)),
        ("service-name", |one| filters::one(&one.service_name)),
        ("service-region", |one| filters::one(&one.service_region)),
        ("vpc-id", |one| filters::one(&one.vpc_id)),
        ("vpc-endpoint-id", |one| filters::one(&one.vpc_endpoint_id)),
        ("vpc-endpoint-state", |one| filters::one(&one.state)),
        ("vpc-endpoint-type", |one| filters::one(&one.vpc_endpoint_type)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.vpc_endpoint_id.clone().unwrap_or_default()
    }
}
