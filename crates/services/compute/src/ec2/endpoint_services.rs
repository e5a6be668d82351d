//! The services that VPC endpoints lead to: those of the cloud, and those that users offer behind their load balancers.
//!
//! Invariant: a user's service goes only when no endpoint leads to it; who is neither its owner nor allowed does not see
//! that it exists.

use std::sync::Arc;

use standfast_api::{ec2 as api, elbv2};
use standfast_core::id::Id;
use standfast_core::page::page;
use standfast_core::place::{Region, Zone};
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{Endpoint, EndpointService, EndpointServiceKind, EndpointState};
use super::{endpoints, tags};

type SvcId = Id<EndpointServiceKind>;

/// The services of the cloud that have interface endpoints, as their names end.
const INTERFACE_SERVICES: &[&str] = &[
    "autoscaling",
    "cloudformation",
    "ec2",
    "ec2messages",
    "ecr.api",
    "ecr.dkr",
    "elasticloadbalancing",
    "events",
    "execute-api",
    "fis",
    "kms",
    "lambda",
    "logs",
    "monitoring",
    "s3",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "ssmmessages",
    "sts",
];
const GATEWAY_SERVICES: &[&str] = &["dynamodb", "s3"];

/// What an endpoint leads to.
pub enum Target {
    Cloud,
    Users(Arc<EndpointService>),
}

impl Target {
    pub fn acceptance_required(&self) -> bool {
        matches!(self, Target::Users(service) if service.acceptance_required)
    }
}

pub fn unknown(name: &str) -> Error {
    Error::client("InvalidServiceName", format!("The Vpc Endpoint Service '{name}' does not exist"))
}

fn name_of(region: &str, id: &str) -> String {
    format!("com.amazonaws.vpce.{region}.{id}")
}

/// The service of this name, for an endpoint of this type.
pub fn resolve(view: &View, scope: &Scope, name: &str, kind: &str) -> Result<Target> {
    let wrong_type = |has: &str| {
        let message = format!("The Vpc Endpoint Service '{name}' has service type {has} and not {kind}.");
        Error::client("InvalidParameter", message)
    };
    if let Some(id) = name.strip_prefix(&name_of(&scope.region, "")) {
        let mut all = view.all::<EndpointService>().into_iter();
        let found = all.find(|(at, key, _)| at.region == scope.region && **key == *id);
        let (_, _, service) = found.filter(|(at, _, one)| sees(scope, at, one)).ok_or_else(|| unknown(name))?;
        return if service.kind() == kind { Ok(Target::Users(service)) } else { Err(wrong_type(service.kind())) };
    }
    let service = name.strip_prefix(&format!("com.amazonaws.{}.", scope.region)).ok_or_else(|| unknown(name))?;
    match kind {
        "Gateway" if GATEWAY_SERVICES.contains(&service) => Ok(Target::Cloud),
        "Interface" if INTERFACE_SERVICES.contains(&service) => Ok(Target::Cloud),
        _ if GATEWAY_SERVICES.contains(&service) => Err(wrong_type("Gateway")),
        _ if INTERFACE_SERVICES.contains(&service) => Err(wrong_type("Interface")),
        _ => Err(unknown(name)),
    }
}

/// Whether a service of another account may be connected to from here.
fn sees(scope: &Scope, owner: &Scope, service: &EndpointService) -> bool {
    let ours = format!("arn:aws:iam::{}:", scope.account);
    owner.account == scope.account
        || service.principals.iter().any(|(_, principal)| principal == "*" || principal.starts_with(&ours))
}

impl EndpointService {
    fn kind(&self) -> &'static str {
        if self.gateway_load_balancers.is_empty() { "Interface" } else { "GatewayLoadBalancer" }
    }
}

/// Something of a list that failed.
pub fn unsuccessful(id: &str, error: &Error) -> api::UnsuccessfulItem {
    api::UnsuccessfulItem {
        error: Some(api::UnsuccessfulItemError {
            code: Some(error.code.clone().into_owned()),
            message: Some(error.message.clone()),
        }),
        resource_id: Some(id.to_owned()),
    }
}

pub async fn create(
    cx: Cx,
    input: api::CreateVpcEndpointServiceConfigurationInput,
) -> Result<api::CreateVpcEndpointServiceConfigurationOutput> {
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "vpc-endpoint-service", &[])?;
    let list = |arns: &Option<Vec<String>>| arns.clone().unwrap_or_default();
    let mut service = EndpointService {
        acceptance_required: input.acceptance_required.unwrap_or(true),
        network_load_balancers: list(&input.network_load_balancer_arns),
        gateway_load_balancers: list(&input.gateway_load_balancer_arns),
        private_dns_name: input.private_dns_name.clone(),
        principals: Vec::new(),
        zones: Vec::new(),
    };
    service.zones = zones(&cx, &service).await?;
    let (scope, id) = (cx.scope(), SvcId::new(cx.rng()));
    let shape = cx
        .txn(|tx| {
            errors::dry_run(input.dry_run)?;
            tx.put(scope, &id, service.clone());
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &service))
        })
        .await?;
    Ok(api::CreateVpcEndpointServiceConfigurationOutput {
        service_configuration: Some(shape),
        client_token: input.client_token,
    })
}

/// The zones of a service's load balancers, which must be there and of one type.
///
/// AWS-DIFF: load balancers of any type are taken, as long as there are no network and gateway load balancers here.
async fn zones(cx: &Cx, service: &EndpointService) -> Result<Vec<String>> {
    let arns = match (&service.network_load_balancers[..], &service.gateway_load_balancers[..]) {
        ([], []) => return Err(errors::missing("NetworkLoadBalancerArns")),
        (arns, []) | ([], arns) => arns.to_vec(),
        _ => {
            let message = "Network and Gateway Load Balancers may not be specified on the same service.";
            return Err(errors::combination(message));
        }
    };
    let input = elbv2::DescribeLoadBalancersInput { load_balancer_arns: Some(arns.clone()), ..Default::default() };
    let found = cx.call(elbv2::DescribeLoadBalancers, input).await.map_err(|error| {
        Error::client("InvalidParameter", format!("Invalid load balancer ARN: {} ({})", arns.join(", "), error.message))
    })?;
    let balancers = found.load_balancers.unwrap_or_default();
    let zones = balancers.iter().flat_map(|balancer| balancer.availability_zones.iter().flatten());
    let mut zones: Vec<String> = zones.filter_map(|zone| zone.zone_name.clone()).collect();
    zones.sort();
    zones.dedup();
    Ok(zones)
}

pub async fn modify(
    cx: Cx,
    input: api::ModifyVpcEndpointServiceConfigurationInput,
) -> Result<api::ModifyVpcEndpointServiceConfigurationOutput> {
    let (scope, id) = (cx.scope(), errors::id::<EndpointServiceKind>(&input.service_id)?);
    let mut new = (*cx.view(|view| find::<EndpointService>(view, scope, &id))?).clone();
    let lists = [
        (
            &mut new.network_load_balancers,
            &input.add_network_load_balancer_arns,
            &input.remove_network_load_balancer_arns,
        ),
        (
            &mut new.gateway_load_balancers,
            &input.add_gateway_load_balancer_arns,
            &input.remove_gateway_load_balancer_arns,
        ),
    ];
    for (list, add, remove) in lists {
        list.retain(|arn| !remove.iter().flatten().any(|gone| gone == arn));
        for arn in add.iter().flatten() {
            if !list.contains(arn) {
                list.push(arn.clone());
            }
        }
    }
    new.acceptance_required = input.acceptance_required.unwrap_or(new.acceptance_required);
    if input.remove_private_dns_name == Some(true) {
        new.private_dns_name = None;
    } else if input.private_dns_name.is_some() {
        new.private_dns_name.clone_from(&input.private_dns_name);
    }
    new.zones = zones(&cx, &new).await?;
    cx.txn(|tx| {
        let newest = find::<EndpointService>(tx, scope, &id)?;
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, EndpointService { principals: newest.principals.clone(), ..new.clone() });
        Ok(())
    })
    .await?;
    Ok(api::ModifyVpcEndpointServiceConfigurationOutput { r#return: Some(true) })
}

pub async fn delete(
    cx: Cx,
    input: api::DeleteVpcEndpointServiceConfigurationsInput,
) -> Result<api::DeleteVpcEndpointServiceConfigurationsOutput> {
    let scope = cx.scope();
    let failed = cx
        .txn(|tx| {
            let mut failed = Vec::new();
            for text in &input.service_ids {
                match remove(tx, scope, &errors::id(text)?) {
                    Ok(()) => (),
                    Err(error) => failed.push(unsuccessful(text, &error)),
                }
            }
            errors::dry_run(input.dry_run)?;
            Ok(failed)
        })
        .await?;
    Ok(api::DeleteVpcEndpointServiceConfigurationsOutput { unsuccessful: Some(failed) })
}

fn remove(tx: &mut Txn, scope: &Scope, id: &SvcId) -> Result<()> {
    find::<EndpointService>(tx, scope, id)?;
    if connected(tx, scope, id).iter().any(|(_, _, one)| one.state != EndpointState::Deleting) {
        let message = format!("Service {id} has existing active VPC Endpoint connections!");
        return Err(Error::client("ExistingVpcEndpointConnections", message));
    }
    tx.delete::<EndpointService>(scope, id);
    tags::forget(tx, scope, id);
    Ok(())
}

/// The endpoints, of all accounts, that lead to a service.
fn connected(view: &View, scope: &Scope, id: &str) -> Vec<(Scope, Arc<str>, Arc<Endpoint>)> {
    let name = name_of(&scope.region, id);
    let all = view.all::<Endpoint>().into_iter();
    all.filter(|(at, _, endpoint)| at.region == scope.region && endpoint.service == name).collect()
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeVpcEndpointServiceConfigurationsInput,
) -> Result<api::DescribeVpcEndpointServiceConfigurationsOutput> {
    cx.view(|view| {
        let rows = errors::select::<EndpointService>(view, cx.scope(), input.service_ids.as_ref())?;
        let rows = rows.iter().map(|(id, service)| shape(view, cx.scope(), id, service));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (services, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeVpcEndpointServiceConfigurationsOutput { service_configurations: Some(services), next_token })
    })
}

fn zone_ids(zones: &[String]) -> Vec<String> {
    zones.iter().filter_map(|zone| Zone::named(zone)).map(|zone| zone.id).collect()
}

fn types(kind: &str) -> Option<Vec<api::ServiceTypeDetail>> {
    Some(vec![api::ServiceTypeDetail { service_type: Some(kind.to_owned()) }])
}

fn shape(view: &View, scope: &Scope, id: &str, service: &EndpointService) -> api::ServiceConfiguration {
    let some = |arns: &Vec<String>| (!arns.is_empty()).then(|| arns.clone());
    api::ServiceConfiguration {
        service_type: types(service.kind()),
        service_id: Some(id.to_owned()),
        service_name: Some(name_of(&scope.region, id)),
        service_state: Some("Available".into()),
        availability_zone_ids: Some(zone_ids(&service.zones)),
        availability_zones: Some(service.zones.clone()),
        acceptance_required: Some(service.acceptance_required),
        manages_vpc_endpoints: Some(false),
        network_load_balancer_arns: some(&service.network_load_balancers),
        gateway_load_balancer_arns: some(&service.gateway_load_balancers),
        supported_ip_address_types: Some(vec!["ipv4".into()]),
        base_endpoint_dns_names: Some(vec![format!("{id}.{}.vpce.amazonaws.com", scope.region)]),
        private_dns_name: service.private_dns_name.clone(),
        tags: tags::of(view, scope, id),
        remote_access_enabled: Some(false),
        ..Default::default()
    }
}

impl Described for api::ServiceConfiguration {
    const FIELDS: &'static [Field<Self>] = &[
        ("service-name", |one| filters::one(&one.service_name)),
        ("service-id", |one| filters::one(&one.service_id)),
        ("service-state", |one| filters::one(&one.service_state)),
        ("supported-ip-address-types", |one| one.supported_ip_address_types.clone().unwrap_or_default()),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.service_id.clone().unwrap_or_default()
    }
}

/// Everything that endpoints can be made to from here.
pub async fn describe_services(
    cx: Cx,
    input: api::DescribeVpcEndpointServicesInput,
) -> Result<api::DescribeVpcEndpointServicesOutput> {
    let scope = cx.scope();
    cx.view(|view| {
        let mut rows = services_of_cloud(scope);
        for (at, id, service) in view.all::<EndpointService>() {
            if at.region == scope.region && sees(scope, &at, &service) {
                rows.push(detail_of_users(view, &at, &id, &service));
            }
        }
        if let Some(names) = input.service_names.as_ref().filter(|names| !names.is_empty()) {
            let known = |name: &&String| !rows.iter().any(|row| row.service_name.as_ref() == Some(name));
            if let Some(name) = names.iter().find(known) {
                return Err(unknown(name));
            }
            rows.retain(|row| row.service_name.as_ref().is_some_and(|name| names.contains(name)));
        }
        rows.sort_by_key(Described::key);
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: (1, 1000) };
        let (details, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        let mut names: Vec<String> = details.iter().filter_map(|detail| detail.service_name.clone()).collect();
        names.dedup();
        Ok(api::DescribeVpcEndpointServicesOutput {
            service_names: Some(names),
            service_details: Some(details),
            next_token,
        })
    })
}

fn services_of_cloud(scope: &Scope) -> Vec<api::ServiceDetail> {
    let zones: Vec<String> =
        Region::named(&scope.region).into_iter().flat_map(Region::zones).map(|zone| zone.name).collect();
    let detail = |service: &str, kind: &str| {
        let host = format!("{service}.{}.amazonaws.com", scope.region);
        let private = (kind == "Interface").then(|| host.clone());
        api::ServiceDetail {
            service_name: Some(format!("com.amazonaws.{}.{service}", scope.region)),
            service_type: types(kind),
            service_region: Some(scope.region.to_string()),
            availability_zone_ids: Some(zone_ids(&zones)),
            availability_zones: Some(zones.clone()),
            owner: Some("amazon".into()),
            base_endpoint_dns_names: Some(vec![match kind {
                "Gateway" => host,
                _ => format!("{service}.{}.vpce.amazonaws.com", scope.region),
            }]),
            private_dns_names: private
                .iter()
                .map(|name| vec![api::PrivateDnsDetails { private_dns_name: Some(name.clone()) }])
                .next(),
            private_dns_name: private,
            vpc_endpoint_policy_supported: Some(true),
            acceptance_required: Some(false),
            manages_vpc_endpoints: Some(false),
            supported_ip_address_types: Some(vec!["ipv4".into()]),
            ..Default::default()
        }
    };
    let gateways = GATEWAY_SERVICES.iter().map(|service| detail(service, "Gateway"));
    gateways.chain(INTERFACE_SERVICES.iter().map(|service| detail(service, "Interface"))).collect()
}

fn detail_of_users(view: &View, at: &Scope, id: &str, service: &EndpointService) -> api::ServiceDetail {
    let shape = shape(view, at, id, service);
    api::ServiceDetail {
        service_name: shape.service_name,
        service_id: shape.service_id,
        service_type: shape.service_type,
        service_region: Some(at.region.to_string()),
        availability_zone_ids: shape.availability_zone_ids,
        availability_zones: shape.availability_zones,
        owner: Some(at.account.to_string()),
        base_endpoint_dns_names: shape.base_endpoint_dns_names,
        private_dns_name: shape.private_dns_name,
        vpc_endpoint_policy_supported: Some(false),
        acceptance_required: shape.acceptance_required,
        manages_vpc_endpoints: Some(false),
        tags: shape.tags,
        supported_ip_address_types: shape.supported_ip_address_types,
        ..Default::default()
    }
}

impl Described for api::ServiceDetail {
    const FIELDS: &'static [Field<Self>] = &[
        ("owner", |one| filters::one(&one.owner)),
        ("service-name", |one| filters::one(&one.service_name)),
        ("service-region", |one| filters::one(&one.service_region)),
        ("service-type", |one| filters::each(&one.service_type, |detail| &detail.service_type)),
        ("supported-ip-address-types", |one| one.supported_ip_address_types.clone().unwrap_or_default()),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        let kind = self.service_type.iter().flatten().find_map(|detail| detail.service_type.clone());
        format!("{}/{}", self.service_name.clone().unwrap_or_default(), kind.unwrap_or_default())
    }
}

pub async fn describe_permissions(
    cx: Cx,
    input: api::DescribeVpcEndpointServicePermissionsInput,
) -> Result<api::DescribeVpcEndpointServicePermissionsOutput> {
    let id = errors::id::<EndpointServiceKind>(&input.service_id)?;
    let service = cx.view(|view| find::<EndpointService>(view, cx.scope(), &id))?;
    let allowed = service.principals.iter().map(|(permission, principal)| api::AllowedPrincipal {
        principal_type: Some(principal_type(principal).into()),
        principal: Some(principal.clone()),
        service_permission_id: Some(permission.clone()),
        service_id: Some((&id).into()),
        ..Default::default()
    });
    let mut allowed: Vec<_> = allowed.collect();
    allowed.sort_by(|a, b| a.service_permission_id.cmp(&b.service_permission_id));
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: (1, 1000) };
    let (allowed_principals, next_token) = filters::answer(allowed, input.filters.as_ref(), paging)?;
    Ok(api::DescribeVpcEndpointServicePermissionsOutput { allowed_principals: Some(allowed_principals), next_token })
}

fn principal_type(principal: &str) -> &'static str {
    match principal.rsplit(':').next().unwrap_or_default() {
        "*" => "All",
        "root" => "Account",
        rest if rest.starts_with("role/") => "Role",
        _ => "User",
    }
}

impl Described for api::AllowedPrincipal {
    const FIELDS: &'static [Field<Self>] = &[
        ("principal", |one| filters::one(&one.principal)),
        ("principal-type", |one| filters::one(&one.principal_type)),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        self.service_permission_id.clone().unwrap_or_default()
    }
}

pub async fn modify_permissions(
    cx: Cx,
    input: api::ModifyVpcEndpointServicePermissionsInput,
) -> Result<api::ModifyVpcEndpointServicePermissionsOutput> {
    let (scope, id) = (cx.scope(), errors::id::<EndpointServiceKind>(&input.service_id)?);
    let add: Vec<(String, String)> = (input.add_allowed_principals.iter().flatten())
        .map(|principal| (format!("vpce-svc-perm-{}", cx.rng().hex(17)), principal.clone()))
        .collect();
    if let Some((_, bad)) = add.iter().find(|(_, principal)| principal != "*" && !principal.starts_with("arn:")) {
        return Err(Error::client("InvalidPrincipal", format!("Invalid Principal: '{bad}'")));
    }
    let added = cx
        .txn(|tx| {
            let mut service = (*find::<EndpointService>(tx, scope, &id)?).clone();
            errors::dry_run(input.dry_run)?;
            let gone =
                |principal: &String| input.remove_allowed_principals.iter().flatten().any(|one| one == principal);
            service.principals.retain(|(_, principal)| !gone(principal));
            let mut added = Vec::new();
            for one in &add {
                if !service.principals.iter().any(|(_, known)| *known == one.1) {
                    service.principals.push(one.clone());
                    added.push(one.clone());
                }
            }
            tx.put(scope, &id, service);
            Ok(added)
        })
        .await?;
    let shape = |(permission, principal): (String, String)| api::AddedPrincipal {
        principal_type: Some(principal_type(&principal).into()),
        principal: Some(principal),
        service_permission_id: Some(permission),
        service_id: Some((&id).into()),
    };
    Ok(api::ModifyVpcEndpointServicePermissionsOutput {
        added_principals: Some(added.into_iter().map(shape).collect()),
        return_value: Some(true),
    })
}

pub async fn describe_connections(
    cx: Cx,
    input: api::DescribeVpcEndpointConnectionsInput,
) -> Result<api::DescribeVpcEndpointConnectionsOutput> {
    let scope = cx.scope();
    cx.view(|view| {
        let mut rows = Vec::new();
        for (id, service) in view.list::<EndpointService>(scope) {
            for (at, endpoint_id, endpoint) in connected(view, scope, &id) {
                rows.push(connection(view, &id, &service, (&at, &endpoint_id, &endpoint)));
            }
        }
        let filters = filters::Filters::parse(input.filters.as_ref())?;
        let rows = rows.into_iter().filter(|row| filters.pass(row));
        let limit = input.max_results.map_or(usize::MAX, |max| max.max(1) as usize);
        let page = page(rows, Described::key, input.next_token.as_deref(), limit, "InvalidNextToken")?;
        Ok(api::DescribeVpcEndpointConnectionsOutput {
            vpc_endpoint_connections: Some(page.items),
            next_token: page.next,
        })
    })
}

fn connection(
    view: &View,
    id: &str,
    service: &EndpointService,
    (at, endpoint_id, endpoint): (&Scope, &str, &Endpoint),
) -> api::VpcEndpointConnection {
    let some = |arns: &Vec<String>| (!arns.is_empty()).then(|| arns.clone());
    api::VpcEndpointConnection {
        service_id: Some(id.to_owned()),
        vpc_endpoint_id: Some(endpoint_id.to_owned()),
        vpc_endpoint_owner: Some(at.account.to_string()),
        vpc_endpoint_state: Some(endpoint.state.name().into()),
        creation_timestamp: Some(endpoint.created),
        dns_entries: Some(endpoints::names(view, at, endpoint_id, endpoint)),
        network_load_balancer_arns: some(&service.network_load_balancers),
        gateway_load_balancer_arns: some(&service.gateway_load_balancers),
        ip_address_type: Some("ipv4".into()),
        vpc_endpoint_connection_id: Some(endpoint_id.replacen("vpce-", "vpce-con-", 1)),
        vpc_endpoint_region: Some(at.region.to_string()),
        ..Default::default()
    }
}

impl Described for api::VpcEndpointConnection {
    const FIELDS: &'static [Field<Self>] = &[
        ("ip-address-type", |one| filters::one(&one.ip_address_type)),
        ("service-id", |one| filters::one(&one.service_id)),
        ("vpc-endpoint-owner", |one| filters::one(&one.vpc_endpoint_owner)),
        ("vpc-endpoint-state", |one| filters::one(&one.vpc_endpoint_state)),
        ("vpc-endpoint-id", |one| filters::one(&one.vpc_endpoint_id)),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        format!("{}/{}", self.service_id.as_deref().unwrap_or(""), self.vpc_endpoint_id.as_deref().unwrap_or(""))
    }
}

pub async fn accept(
    cx: Cx,
    input: api::AcceptVpcEndpointConnectionsInput,
) -> Result<api::AcceptVpcEndpointConnectionsOutput> {
    let failed = answer(&cx, &input.service_id, &input.vpc_endpoint_ids, input.dry_run, EndpointState::Pending).await?;
    Ok(api::AcceptVpcEndpointConnectionsOutput { unsuccessful: Some(failed) })
}

pub async fn reject(
    cx: Cx,
    input: api::RejectVpcEndpointConnectionsInput,
) -> Result<api::RejectVpcEndpointConnectionsOutput> {
    let failed =
        answer(&cx, &input.service_id, &input.vpc_endpoint_ids, input.dry_run, EndpointState::Rejected).await?;
    Ok(api::RejectVpcEndpointConnectionsOutput { unsuccessful: Some(failed) })
}

/// Moves endpoints that lead to a service to a state.
async fn answer(
    cx: &Cx,
    service: &str,
    ids: &[String],
    dry_run: Option<bool>,
    state: EndpointState,
) -> Result<Vec<api::UnsuccessfulItem>> {
    let (scope, service) = (cx.scope(), errors::id::<EndpointServiceKind>(service)?);
    cx.txn(|tx| {
        find::<EndpointService>(tx, scope, &service)?;
        errors::dry_run(dry_run)?;
        let all = connected(tx, scope, &service);
        let mut failed = Vec::new();
        for id in ids {
            match all.iter().find(|(_, known, _)| **known == **id) {
                Some((at, _, old)) => settle(tx, at, id, old, state),
                None => {
                    let error = Error::client(
                        "InvalidVpcEndpointId.NotFound",
                        format!("The Vpc Endpoint Id '{id}' does not exist"),
                    );
                    failed.push(unsuccessful(id, &error));
                }
            }
        }
        Ok(failed)
    })
    .await
}

fn settle(tx: &mut Txn, at: &Scope, id: &str, old: &Endpoint, state: EndpointState) {
    let settled = old.state == EndpointState::Available && state == EndpointState::Pending;
    if !settled {
        tx.put(at, id, Endpoint { state, ..old.clone() });
    }
}
