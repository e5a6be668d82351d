//! Target groups: made, changed, described, deleted.

use std::collections::BTreeSet;

use standfast_api::elbv2 as api;
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::Txn;

use super::attributes::TARGET_GROUP;
use super::errors::{self, Resource, check_name, given, too_many, unavailable, validation, within};
use super::health_checks::{self, Asked};
use super::model::{HealthCheck, LoadBalancer, Rule, Target, TargetGroup, TargetType};
use super::{convert, network, tags};

const TARGET_GROUPS_MAX: usize = 3000;
const ID_DIGITS: usize = 16;

pub async fn create(cx: Cx, input: api::CreateTargetGroupInput) -> Result<api::CreateTargetGroupOutput> {
    check_name("Target group", &input.name)?;
    let target_type = target_type(given(&input.target_type))?;
    check_protocol(&input)?;
    let port = input.port.ok_or_else(|| validation("A port must be specified"))?;
    let port = within("port", port, 1, i32::from(u16::MAX))? as u16;
    let vpc = given(&input.vpc_id).ok_or_else(|| validation("A VPC ID must be specified"))?.to_owned();
    let health = health_checks::apply(HealthCheck::default(), &Asked::from(&input))?;
    let tags = tags::parse(&cx, input.tags.as_ref())?;
    network::check_vpc(&cx, &vpc).await?;
    let id = format!("{}/{}", input.name, cx.rng().hex(ID_DIGITS));
    let group = TargetGroup { name: input.name, port, vpc, target_type, health, attributes: Default::default(), tags };
    let shape = cx
        .txn(|tx| {
            let (id, group) = insert(tx, cx.scope(), &id, &group)?;
            Ok(convert::target_group(tx, cx.scope(), &id, &group))
        })
        .await?;
    Ok(api::CreateTargetGroupOutput { target_groups: Some(vec![shape]) })
}

/// Puts a new group, or finds the one that the same request made before.
fn insert(tx: &mut Txn, scope: &Scope, id: &str, new: &TargetGroup) -> Result<(String, TargetGroup)> {
    if let Some((id, old)) = tx.by_unique::<TargetGroup>(scope, "name", &new.name) {
        // Attributes come later and are no part of the request.
        if (TargetGroup { attributes: Default::default(), ..TargetGroup::clone(&old) }) == *new {
            return Ok((id.to_string(), TargetGroup::clone(&old)));
        }
        let message = format!("A target group with the same name '{}' exists, but with different settings", new.name);
        return Err(Error::client("DuplicateTargetGroupName", message));
    }
    if tx.count::<TargetGroup>(scope) >= TARGET_GROUPS_MAX {
        return Err(too_many("TooManyTargetGroups", "target groups", TARGET_GROUPS_MAX));
    }
    tx.put(scope, id, new.clone());
    Ok((id.to_owned(), new.clone()))
}

fn target_type(name: Option<&str>) -> Result<TargetType> {
    match name {
        None | Some("instance") => Ok(TargetType::Instance),
        Some("ip") => Ok(TargetType::Ip),
        Some(kind @ ("lambda" | "alb")) => Err(unavailable(format!("target groups with target type '{kind}'"))),
        Some(other) => Err(validation(format!("Target type '{other}' must be one of 'instance, ip, lambda, alb'"))),
    }
}

fn check_protocol(input: &api::CreateTargetGroupInput) -> Result<()> {
    match given(&input.protocol) {
        Some("HTTP") => {}
        None => return Err(validation("A protocol must be specified")),
        Some(other @ ("HTTPS" | "TCP" | "TLS" | "UDP" | "TCP_UDP" | "GENEVE" | "QUIC" | "TCP_QUIC")) => {
            return Err(unavailable(format!("target groups with protocol '{other}'")));
        }
        Some(other) => return Err(validation(format!("Protocol '{other}' is not valid"))),
    }
    match given(&input.protocol_version) {
        None | Some("HTTP1") => {}
        Some(other @ ("HTTP2" | "GRPC")) => {
            return Err(unavailable(format!("target groups with protocol version '{other}'")));
        }
        Some(other) => {
            return Err(validation(format!("Protocol version '{other}' must be one of 'HTTP1, HTTP2, GRPC'")));
        }
    }
    match given(&input.ip_address_type) {
        None | Some("ipv4") => {}
        Some("ipv6") => return Err(unavailable("target groups with IP address type 'ipv6'")),
        Some(other) => return Err(validation(format!("IP address type '{other}' must be one of 'ipv4, ipv6'"))),
    }
    match input.target_control_port {
        None => Ok(()),
        Some(_) => Err(unavailable("target control ports")),
    }
}

/// Deleting what is not there succeeds.
pub async fn delete(cx: Cx, input: api::DeleteTargetGroupInput) -> Result<api::DeleteTargetGroupOutput> {
    cx.txn(|tx| {
        let scope = cx.scope();
        let (id, _) = match errors::find::<TargetGroup>(tx, scope, &input.target_group_arn) {
            Err(error) if error.is(TargetGroup::NOT_FOUND) => return Ok(()),
            found => found?,
        };
        if !tx.by_index::<Rule>(scope, "target_group", &input.target_group_arn).is_empty() {
            return Err(Error::client(
                "ResourceInUse",
                format!("Target group '{}' is currently in use by a listener or a rule", input.target_group_arn),
            ));
        }
        for (target, _) in tx.by_index::<Target>(scope, "group", &id) {
            tx.delete::<Target>(scope, &target);
        }
        tx.delete::<TargetGroup>(scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteTargetGroupOutput {})
}

pub async fn modify(cx: Cx, input: api::ModifyTargetGroupInput) -> Result<api::ModifyTargetGroupOutput> {
    let shape = cx
        .txn(|tx| {
            let (id, group) = errors::find::<TargetGroup>(tx, cx.scope(), &input.target_group_arn)?;
            let mut group = TargetGroup::clone(&group);
            group.health = health_checks::apply(group.health, &Asked::from(&input))?;
            tx.put(cx.scope(), &id, group.clone());
            Ok(convert::target_group(tx, cx.scope(), &id, &group))
        })
        .await?;
    Ok(api::ModifyTargetGroupOutput { target_groups: Some(vec![shape]) })
}

pub async fn describe(cx: Cx, input: api::DescribeTargetGroupsInput) -> Result<api::DescribeTargetGroupsOutput> {
    let scope = cx.scope();
    let arns = input.target_group_arns.unwrap_or_default();
    let names = input.names.unwrap_or_default();
    let balancer = given(&input.load_balancer_arn);
    if [balancer.is_some(), !arns.is_empty(), !names.is_empty()].iter().filter(|asked| **asked).count() > 1 {
        return Err(validation(
            "Target group names, target group ARNs and a load balancer ARN cannot be specified at the same time",
        ));
    }
    let shapes = cx.view(|view| {
        let mut rows = if arns.is_empty() {
            view.list::<TargetGroup>(scope)
        } else {
            errors::find_all::<TargetGroup>(view, scope, &arns)?
        };
        if let Some(arn) = balancer {
            let (id, _) = errors::find::<LoadBalancer>(view, scope, arn)?;
            let rules = view.by_index::<Rule>(scope, "load_balancer", &id);
            let used: BTreeSet<&str> = rules.iter().flat_map(|(_, rule)| rule.action.target_groups()).collect();
            rows.retain(|(id, _)| used.contains(errors::arn::<TargetGroup>(scope, id).as_str()));
        }
        if !names.is_empty() {
            if names.iter().any(|name| !rows.iter().any(|(_, group)| group.name == *name)) {
                return Err(TargetGroup::not_found());
            }
            rows.retain(|(_, group)| names.contains(&group.name));
        }
        let shape = |(id, group): &(std::sync::Arc<str>, std::sync::Arc<TargetGroup>)| {
            (id.to_string(), convert::target_group(view, scope, id, group))
        };
        Ok(rows.iter().map(shape).collect())
    })?;
    let (items, next_marker) = errors::paged(shapes, input.marker.as_deref(), input.page_size)?;
    Ok(api::DescribeTargetGroupsOutput { target_groups: Some(items), next_marker })
}

fn attribute_shapes(group: &TargetGroup) -> Vec<api::TargetGroupAttribute> {
    let shape = |(key, value): (&str, &str)| api::TargetGroupAttribute {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    TARGET_GROUP.list(&group.attributes).map(shape).collect()
}

pub async fn describe_attributes(
    cx: Cx,
    input: api::DescribeTargetGroupAttributesInput,
) -> Result<api::DescribeTargetGroupAttributesOutput> {
    let (_, group) = cx.view(|view| errors::find::<TargetGroup>(view, cx.scope(), &input.target_group_arn))?;
    Ok(api::DescribeTargetGroupAttributesOutput { attributes: Some(attribute_shapes(&group)) })
}

pub async fn modify_attributes(
    cx: Cx,
    input: api::ModifyTargetGroupAttributesInput,
) -> Result<api::ModifyTargetGroupAttributesOutput> {
    let set = TARGET_GROUP.parse(input.attributes.into_iter().map(|attribute| (attribute.key, attribute.value)))?;
    let group = cx
        .txn(|tx| {
            let (id, group) = errors::find::<TargetGroup>(tx, cx.scope(), &input.target_group_arn)?;
            let mut group = TargetGroup::clone(&group);
            group.attributes.extend(set.clone());
            tx.put(cx.scope(), &id, group.clone());
            Ok(group)
        })
        .await?;
    Ok(api::ModifyTargetGroupAttributesOutput { attributes: Some(attribute_shapes(&group)) })
}
