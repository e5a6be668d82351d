//! Target groups of a group, under both of their names: target groups and traffic sources.
//!
//! A group's list is what should be; registering members is the controller's.

use std::collections::BTreeMap;

use standfast_api::autoscaling::{
    AttachLoadBalancerTargetGroupsInput, AttachLoadBalancerTargetGroupsOutput, AttachLoadBalancersInput,
    AttachLoadBalancersOutput, AttachTrafficSourcesInput, AttachTrafficSourcesOutput,
    DescribeLoadBalancerTargetGroupsInput, DescribeLoadBalancerTargetGroupsOutput, DescribeLoadBalancersInput,
    DescribeLoadBalancersOutput, DescribeTrafficSourcesInput, DescribeTrafficSourcesOutput,
    DetachLoadBalancerTargetGroupsInput, DetachLoadBalancerTargetGroupsOutput, DetachLoadBalancersInput,
    DetachLoadBalancersOutput, DetachTrafficSourcesInput, DetachTrafficSourcesOutput, LoadBalancerTargetGroupState,
    TrafficSourceState,
};
use standfast_core::Result;
use standfast_core::page::page;
use standfast_kernel::Cx;

use super::errors::{self, validation};
use super::groups::{find, live};
use super::model::{Lifecycle, Member, Registration};
use super::settings;

/// Target groups of a group.
const TARGET_GROUPS_MAX: usize = 50;
const PAGE_MAX: usize = 100;

async fn attach(cx: &Cx, name: &str, arns: &[String]) -> Result<()> {
    find(cx, name)?;
    settings::check_target_groups(cx, arns).await?;
    cx.txn(|tx| {
        let mut group = live(tx, cx, name)?;
        for arn in arns {
            if !group.target_groups.contains(arn) {
                group.target_groups.push(arn.clone());
            }
        }
        if group.target_groups.len() > TARGET_GROUPS_MAX {
            return Err(errors::limit(format!("A group can have at most {TARGET_GROUPS_MAX} target groups.")));
        }
        tx.put(cx.scope(), name, group);
        Ok(())
    })
    .await
}

async fn detach(cx: &Cx, name: &str, arns: &[String]) -> Result<()> {
    cx.txn(|tx| {
        let mut group = live(tx, cx, name)?;
        if arns.iter().any(|arn| !group.target_groups.contains(arn)) {
            return Err(validation(format!(
                "Trying to remove Target Groups that are not part of the group: [{}]",
                arns.join(", ")
            )));
        }
        group.target_groups.retain(|arn| !arns.contains(arn));
        tx.put(cx.scope(), name, group);
        Ok(())
    })
    .await
}

/// Each target group with its state: `Adding` until all members are registered, then `Added`, `InService` once one
/// serves; `Removing` while members drain.
fn states(cx: &Cx, name: &str) -> Result<Vec<(String, &'static str)>> {
    let group = find(cx, name)?;
    let members = cx.view(|view| view.by_index::<Member>(cx.scope(), "group", name));
    let serving: Vec<&Member> =
        members.iter().map(|(_, member)| &**member).filter(|member| member.state == Lifecycle::InService).collect();
    let has = |member: &&&Member, arn: &String| member.targets.get(arn) == Some(&Registration::Registered);
    let mut states = BTreeMap::new();
    for arn in members.iter().flat_map(|(_, member)| member.targets.keys()) {
        states.insert(arn.clone(), "Removing");
    }
    for arn in &group.target_groups {
        let registered = serving.iter().filter(|member| has(member, arn)).count();
        let state = match registered {
            0 if serving.is_empty() => "Added",
            n if n < serving.len() => "Adding",
            _ => "InService",
        };
        states.insert(arn.clone(), state);
    }
    Ok(states.into_iter().collect())
}

pub async fn attach_target_groups(
    cx: Cx,
    input: AttachLoadBalancerTargetGroupsInput,
) -> Result<AttachLoadBalancerTargetGroupsOutput> {
    attach(&cx, &input.auto_scaling_group_name, &input.target_group_arns).await?;
    Ok(AttachLoadBalancerTargetGroupsOutput {})
}

pub async fn detach_target_groups(
    cx: Cx,
    input: DetachLoadBalancerTargetGroupsInput,
) -> Result<DetachLoadBalancerTargetGroupsOutput> {
    detach(&cx, &input.auto_scaling_group_name, &input.target_group_arns).await?;
    Ok(DetachLoadBalancerTargetGroupsOutput {})
}

pub async fn describe_target_groups(
    cx: Cx,
    input: DescribeLoadBalancerTargetGroupsInput,
) -> Result<DescribeLoadBalancerTargetGroupsOutput> {
    let all = states(&cx, &input.auto_scaling_group_name)?;
    let limit = input.max_records.map_or(PAGE_MAX, |max| (max.max(1) as usize).min(PAGE_MAX));
    let page = page(all, |(arn, _)| arn.clone(), input.next_token.as_deref(), limit, "InvalidNextToken")?;
    let shape = |(arn, state): (String, &str)| LoadBalancerTargetGroupState {
        load_balancer_target_group_arn: Some(arn),
        state: Some(state.to_owned()),
    };
    Ok(DescribeLoadBalancerTargetGroupsOutput {
        load_balancer_target_groups: Some(page.items.into_iter().map(shape).collect()),
        next_token: page.next,
    })
}

pub async fn attach_traffic_sources(cx: Cx, input: AttachTrafficSourcesInput) -> Result<AttachTrafficSourcesOutput> {
    let arns = settings::traffic_sources(input.traffic_sources)?;
    attach(&cx, &input.auto_scaling_group_name, &arns).await?;
    Ok(AttachTrafficSourcesOutput {})
}

pub async fn detach_traffic_sources(cx: Cx, input: DetachTrafficSourcesInput) -> Result<DetachTrafficSourcesOutput> {
    let arns = settings::traffic_sources(input.traffic_sources)?;
    detach(&cx, &input.auto_scaling_group_name, &arns).await?;
    Ok(DetachTrafficSourcesOutput {})
}

pub async fn describe_traffic_sources(
    cx: Cx,
    input: DescribeTrafficSourcesInput,
) -> Result<DescribeTrafficSourcesOutput> {
    let mut all = states(&cx, &input.auto_scaling_group_name)?;
    if input.traffic_source_type.as_deref().is_some_and(|kind| kind != "elbv2") {
        all.clear();
    }
    let limit = input.max_records.map_or(PAGE_MAX, |max| (max.max(1) as usize).min(PAGE_MAX));
    let page = page(all, |(arn, _)| arn.clone(), input.next_token.as_deref(), limit, "InvalidNextToken")?;
    let shape = |(arn, state): (String, &str)| TrafficSourceState {
        traffic_source: Some(arn.clone()),
        state: Some(state.to_owned()),
        identifier: Some(arn),
        r#type: Some("elbv2".into()),
    };
    Ok(DescribeTrafficSourcesOutput {
        traffic_sources: Some(page.items.into_iter().map(shape).collect()),
        next_token: page.next,
    })
}

pub async fn attach_load_balancers(_: Cx, _: AttachLoadBalancersInput) -> Result<AttachLoadBalancersOutput> {
    Err(errors::no_classic())
}

pub async fn detach_load_balancers(_: Cx, _: DetachLoadBalancersInput) -> Result<DetachLoadBalancersOutput> {
    Err(errors::no_classic())
}

pub async fn describe_load_balancers(cx: Cx, input: DescribeLoadBalancersInput) -> Result<DescribeLoadBalancersOutput> {
    find(&cx, &input.auto_scaling_group_name)?;
    Ok(DescribeLoadBalancersOutput { load_balancers: Some(Vec::new()), next_token: None })
}
