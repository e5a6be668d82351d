//! Load balancers: made, changed, described, deleted.

use standfast_api::elbv2 as api;
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::Txn;

use super::attributes::{DELETION_PROTECTION, LOAD_BALANCER};
use super::errors::{
    self, Resource, check_name, configuration, given, not_permitted, too_many, unavailable, validation,
};
use super::model::{Listener, LoadBalancer, Rule, State};
use super::network::{self, Place};
use super::{convert, tags};

const LOAD_BALANCERS_MAX: usize = 50;
const SECURITY_GROUPS_MAX: usize = 5;
const INTERNAL_PREFIX: &str = "internal-";
/// The digits that make a DNS name unique are below this.
const DNS_NUMBER_END: u64 = 10_000_000_000;
const ID_DIGITS: usize = 16;
/// How often a capacity reservation may be lowered on a day.
const DECREASES_PER_DAY: i32 = 2;

pub async fn create(cx: Cx, input: api::CreateLoadBalancerInput) -> Result<api::CreateLoadBalancerOutput> {
    check_kind(&input)?;
    check_name("Load balancer", &input.name)?;
    if input.name.starts_with(INTERNAL_PREFIX) {
        let message = format!("Load balancer name '{}' cannot begin with '{INTERNAL_PREFIX}'", input.name);
        return Err(validation(message));
    }
    check_ip_address_type(given(&input.ip_address_type))?;
    let internal = match given(&input.scheme) {
        None | Some("internet-facing") => false,
        Some("internal") => true,
        Some(other) => {
            return Err(Error::client("InvalidScheme", format!("Load balancer scheme '{other}' is not valid")));
        }
    };
    let tags = tags::parse(&cx, input.tags.as_ref())?;
    let place = network::place(&cx, &subnets(input.subnets.as_ref(), input.subnet_mappings.as_ref())?, &[]).await?;
    let security_groups = security_groups(&cx, &place.vpc, input.security_groups.as_deref()).await?;
    if !internal {
        network::check_internet_gateway(&cx, &place).await?;
    }
    let id = format!("app/{}/{}", input.name, cx.rng().hex(ID_DIGITS));
    let balancer = LoadBalancer {
        dns_name: dns_name(&input.name, internal, cx.rng().u64() % DNS_NUMBER_END, cx.region()),
        name: input.name,
        internal,
        vpc: place.vpc,
        zones: place.zones,
        security_groups,
        state: State::Provisioning,
        created: cx.now(),
        attributes: Default::default(),
        tags,
    };
    let (id, balancer) = cx.txn(|tx| insert(tx, cx.scope(), &id, &balancer)).await?;
    let shape = convert::load_balancer(cx.scope(), &id, &balancer);
    Ok(api::CreateLoadBalancerOutput { load_balancers: Some(vec![shape]) })
}

fn dns_name(name: &str, internal: bool, number: u64, region: &str) -> String {
    let prefix = if internal { INTERNAL_PREFIX } else { "" };
    format!("{prefix}{name}-{number:010}.{region}.elb.localhost")
}

/// Puts a new load balancer, or finds the one that the same request made before.
fn insert(tx: &mut Txn, scope: &Scope, id: &str, new: &LoadBalancer) -> Result<(String, LoadBalancer)> {
    if let Some((id, old)) = tx.by_unique::<LoadBalancer>(scope, "name", &new.name) {
        if same_settings(&old, new) {
            return Ok((id.to_string(), LoadBalancer::clone(&old)));
        }
        let message = format!("A load balancer with the same name '{}' exists, but with different settings", new.name);
        return Err(Error::client("DuplicateLoadBalancerName", message));
    }
    if tx.count::<LoadBalancer>(scope) >= LOAD_BALANCERS_MAX {
        return Err(too_many("TooManyLoadBalancers", "load balancers", LOAD_BALANCERS_MAX));
    }
    tx.put(scope, id, new.clone());
    Ok((id.to_owned(), new.clone()))
}

fn same_settings(a: &LoadBalancer, b: &LoadBalancer) -> bool {
    let groups =
        |balancer: &LoadBalancer| balancer.security_groups.iter().cloned().collect::<std::collections::BTreeSet<_>>();
    (a.internal, &a.vpc, &a.zones, &a.tags) == (b.internal, &b.vpc, &b.zones, &b.tags) && groups(a) == groups(b)
}

fn check_kind(input: &api::CreateLoadBalancerInput) -> Result<()> {
    match given(&input.r#type) {
        None | Some("application") => {}
        Some(kind @ ("network" | "gateway")) => return Err(unavailable(format!("{kind} load balancers"))),
        Some(other) => {
            return Err(validation(format!(
                "Load balancer type '{other}' must be one of 'application, network, gateway'"
            )));
        }
    }
    if given(&input.customer_owned_ipv4_pool).is_some() || input.ipam_pools.is_some() {
        return Err(unavailable("address pools of load balancers"));
    }
    Ok(())
}

fn check_ip_address_type(ip_address_type: Option<&str>) -> Result<()> {
    match ip_address_type {
        None | Some("ipv4") => Ok(()),
        Some("dualstack" | "dualstack-without-public-ipv4") => {
            Err(Error::client("InvalidSubnet", "You must specify subnets with an associated IPv6 CIDR block"))
        }
        Some(other) => Err(validation(format!("IP address type '{other}' is not valid"))),
    }
}

fn subnets(ids: Option<&Vec<String>>, mappings: Option<&Vec<api::SubnetMapping>>) -> Result<Vec<String>> {
    match (ids.filter(|ids| !ids.is_empty()), mappings.filter(|mappings| !mappings.is_empty())) {
        (Some(_), Some(_)) => Err(validation("You must specify either subnets or subnet mappings, but not both")),
        (Some(ids), None) => Ok(ids.clone()),
        (None, Some(mappings)) => mappings.iter().map(mapped_subnet).collect(),
        (None, None) => Ok(Vec::new()),
    }
}

fn mapped_subnet(mapping: &api::SubnetMapping) -> Result<String> {
    let addressed = [&mapping.allocation_id, &mapping.private_ipv4_address, &mapping.ipv6_address];
    if addressed.iter().any(|address| given(address).is_some()) {
        return Err(configuration(
            "You cannot specify addresses in subnet mappings of load balancers with type 'application'",
        ));
    }
    given(&mapping.subnet_id).map(str::to_owned).ok_or_else(|| validation("A subnet ID must be specified"))
}

async fn security_groups(cx: &Cx, vpc: &str, ids: Option<&[String]>) -> Result<Vec<String>> {
    match ids {
        None | Some([]) => network::default_security_group(cx, vpc).await,
        Some(ids) if ids.len() > SECURITY_GROUPS_MAX => {
            Err(configuration(format!("A load balancer can have at most '{SECURITY_GROUPS_MAX}' security groups")))
        }
        Some(ids) => network::check_security_groups(cx, vpc, ids).await,
    }
}

/// Deleting what is not there succeeds.
pub async fn delete(cx: Cx, input: api::DeleteLoadBalancerInput) -> Result<api::DeleteLoadBalancerOutput> {
    cx.txn(|tx| {
        let scope = cx.scope();
        let (id, balancer) = match errors::find::<LoadBalancer>(tx, scope, &input.load_balancer_arn) {
            Err(error) if error.is(LoadBalancer::NOT_FOUND) => return Ok(()),
            found => found?,
        };
        if LOAD_BALANCER.is_on(&balancer.attributes, DELETION_PROTECTION) {
            return Err(not_permitted(format!(
                "Load balancer '{}' cannot be deleted because deletion protection is enabled",
                input.load_balancer_arn
            )));
        }
        for (rule, _) in tx.by_index::<Rule>(scope, "load_balancer", &id) {
            tx.delete::<Rule>(scope, &rule);
        }
        for (listener, _) in tx.by_index::<Listener>(scope, "load_balancer", &id) {
            tx.delete::<Listener>(scope, &listener);
        }
        tx.delete::<LoadBalancer>(scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteLoadBalancerOutput {})
}

pub async fn describe(cx: Cx, input: api::DescribeLoadBalancersInput) -> Result<api::DescribeLoadBalancersOutput> {
    let scope = cx.scope();
    let arns = input.load_balancer_arns.unwrap_or_default();
    let names = input.names.unwrap_or_default();
    if !arns.is_empty() && !names.is_empty() {
        return Err(validation("Load balancer names and load balancer ARNs cannot be specified at the same time"));
    }
    let rows = cx.view(|view| {
        if !arns.is_empty() {
            return errors::find_all::<LoadBalancer>(view, scope, &arns);
        }
        let all = view.list::<LoadBalancer>(scope);
        if names.is_empty() {
            return Ok(all);
        }
        if names.iter().any(|name| !all.iter().any(|(_, balancer)| balancer.name == *name)) {
            return Err(LoadBalancer::not_found());
        }
        Ok(all.into_iter().filter(|(_, balancer)| names.contains(&balancer.name)).collect())
    })?;
    let shapes = rows.iter().map(|(id, row)| (id.to_string(), convert::load_balancer(scope, id, row))).collect();
    let (items, next_marker) = errors::paged(shapes, input.marker.as_deref(), input.page_size)?;
    Ok(api::DescribeLoadBalancersOutput { load_balancers: Some(items), next_marker })
}

/// Changes a load balancer; gives back what it is then.
async fn change(cx: &Cx, arn: &str, how: impl Fn(&mut LoadBalancer) -> Result<()>) -> Result<LoadBalancer> {
    cx.txn(|tx| {
        let (id, balancer) = errors::find::<LoadBalancer>(tx, cx.scope(), arn)?;
        let mut balancer = LoadBalancer::clone(&balancer);
        how(&mut balancer)?;
        tx.put(cx.scope(), &id, balancer.clone());
        Ok(balancer)
    })
    .await
}

fn attribute_shapes(balancer: &LoadBalancer) -> Vec<api::LoadBalancerAttribute> {
    let shape = |(key, value): (&str, &str)| api::LoadBalancerAttribute {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    LOAD_BALANCER.list(&balancer.attributes).map(shape).collect()
}

pub async fn describe_attributes(
    cx: Cx,
    input: api::DescribeLoadBalancerAttributesInput,
) -> Result<api::DescribeLoadBalancerAttributesOutput> {
    let (_, balancer) = cx.view(|view| errors::find::<LoadBalancer>(view, cx.scope(), &input.load_balancer_arn))?;
    Ok(api::DescribeLoadBalancerAttributesOutput { attributes: Some(attribute_shapes(&balancer)) })
}

pub async fn modify_attributes(
    cx: Cx,
    input: api::ModifyLoadBalancerAttributesInput,
) -> Result<api::ModifyLoadBalancerAttributesOutput> {
    let set = LOAD_BALANCER.parse(input.attributes.into_iter().map(|attribute| (attribute.key, attribute.value)))?;
    let balancer = change(&cx, &input.load_balancer_arn, |balancer| {
        balancer.attributes.extend(set.clone());
        Ok(())
    })
    .await?;
    Ok(api::ModifyLoadBalancerAttributesOutput { attributes: Some(attribute_shapes(&balancer)) })
}

pub async fn set_subnets(cx: Cx, input: api::SetSubnetsInput) -> Result<api::SetSubnetsOutput> {
    check_ip_address_type(given(&input.ip_address_type))?;
    let (_, old) = cx.view(|view| errors::find::<LoadBalancer>(view, cx.scope(), &input.load_balancer_arn))?;
    let ids = subnets(input.subnets.as_ref(), input.subnet_mappings.as_ref())?;
    let Place { vpc, zones } = network::place(&cx, &ids, &old.zones).await?;
    let balancer = change(&cx, &input.load_balancer_arn, |balancer| {
        if balancer.vpc != vpc {
            return Err(configuration(format!("The subnets must belong to the VPC '{}'", balancer.vpc)));
        }
        balancer.zones = zones.clone();
        Ok(())
    })
    .await?;
    Ok(api::SetSubnetsOutput {
        availability_zones: Some(convert::zones(&balancer.zones)),
        ip_address_type: Some("ipv4".into()),
        enable_prefix_for_ipv6_source_nat: None,
    })
}

pub async fn set_security_groups(cx: Cx, input: api::SetSecurityGroupsInput) -> Result<api::SetSecurityGroupsOutput> {
    let (_, balancer) = cx.view(|view| errors::find::<LoadBalancer>(view, cx.scope(), &input.load_balancer_arn))?;
    if input.security_groups.is_empty() {
        return Err(configuration("At least one security group must be specified"));
    }
    let groups = security_groups(&cx, &balancer.vpc, Some(&input.security_groups)).await?;
    let balancer = change(&cx, &input.load_balancer_arn, |balancer| {
        balancer.security_groups = groups.clone();
        Ok(())
    })
    .await?;
    Ok(api::SetSecurityGroupsOutput {
        security_group_ids: Some(balancer.security_groups),
        enforce_security_group_inbound_rules_on_private_link_traffic: None,
    })
}

pub async fn set_ip_address_type(cx: Cx, input: api::SetIpAddressTypeInput) -> Result<api::SetIpAddressTypeOutput> {
    cx.view(|view| errors::find::<LoadBalancer>(view, cx.scope(), &input.load_balancer_arn))?;
    check_ip_address_type(Some(&input.ip_address_type))?;
    Ok(api::SetIpAddressTypeOutput { ip_address_type: Some("ipv4".into()) })
}

/// No load balancer has a reservation: there is nothing to reserve.
pub async fn describe_capacity_reservation(
    cx: Cx,
    input: api::DescribeCapacityReservationInput,
) -> Result<api::DescribeCapacityReservationOutput> {
    cx.view(|view| errors::find::<LoadBalancer>(view, cx.scope(), &input.load_balancer_arn))?;
    Ok(api::DescribeCapacityReservationOutput {
        decrease_requests_remaining: Some(DECREASES_PER_DAY),
        capacity_reservation_state: Some(Vec::new()),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_dns_say_the_region_and_whether_they_are_internal() {
        assert_eq!(dns_name("web", false, 42, "eu-west-1"), "web-0000000042.eu-west-1.elb.localhost");
        assert_eq!(
            dns_name("web", true, 9_999_999_999, "us-east-1"),
            "internal-web-9999999999.us-east-1.elb.localhost"
        );
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        for (kind, message) in [
            ("network", "network load balancers are not available in this version of Standfast"),
            ("gateway", "gateway load balancers are not available in this version of Standfast"),
        ] {
            let input = api::CreateLoadBalancerInput { r#type: Some(kind.into()), ..Default::default() };
            let error = check_kind(&input).expect_err(kind);
            assert_eq!((error.code.as_ref(), error.message.as_str()), ("OperationNotPermitted", message));
        }
    }
}
