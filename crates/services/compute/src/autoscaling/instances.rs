//! Members as users handle them: attached, detached, on standby, protected, declared ill.

use std::sync::Arc;
use std::time::Duration;

use standfast_api::autoscaling::{
    AttachInstancesInput, AttachInstancesOutput, AutoScalingInstancesType, DescribeAutoScalingInstancesType,
    DetachInstancesAnswer, DetachInstancesQuery, EnterStandbyAnswer, EnterStandbyQuery, ExitStandbyAnswer,
    ExitStandbyQuery, SetInstanceHealthOutput, SetInstanceHealthQuery, SetInstanceProtectionAnswer,
    SetInstanceProtectionQuery,
};
use standfast_api::{ec2, elbv2};
use standfast_core::page::page;
use standfast_core::{Fault, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::activities::{self, Draft};
use super::capacity::{decrement, member_of, pass};
use super::errors::{self, validation};
use super::groups::{find, live};
use super::launch::GROUP_TAG;
use super::model::{Activity, Group, Lifecycle, Member, Process, Source, Status, Unhealthy};
use super::{causes, convert};

const PAGE_MAX: usize = 50;

pub async fn describe(cx: Cx, input: DescribeAutoScalingInstancesType) -> Result<AutoScalingInstancesType> {
    let ids = input.instance_ids.unwrap_or_default();
    let mut rows = cx.view(|view| view.list::<Member>(cx.scope()));
    let named = |member: &Member| member.instance.as_ref().is_some_and(|id| ids.is_empty() || ids.contains(id));
    rows.retain(|(_, member)| named(member));
    rows.sort_by(|(_, a), (_, b)| a.instance.cmp(&b.instance));
    let limit = input.max_records.map_or(PAGE_MAX, |max| (max.max(1) as usize).min(PAGE_MAX));
    let key = |(_, member): &(Arc<str>, Arc<Member>)| member.instance.clone().unwrap_or_default();
    let page = page(rows, key, input.next_token.as_deref(), limit, "InvalidNextToken")?;
    let instances = page.items.iter().map(|(_, member)| convert::instance_details(member)).collect();
    Ok(AutoScalingInstancesType { auto_scaling_instances: Some(instances), next_token: page.next })
}

pub async fn attach(cx: Cx, input: AttachInstancesInput) -> Result<AttachInstancesOutput> {
    let name = &input.auto_scaling_group_name;
    let group = find(&cx, name)?;
    let ids = input.instance_ids.unwrap_or_default();
    let mut members = Vec::new();
    for id in &ids {
        members.push((cx.rng().uuid(), candidate(&cx, name, &group, id).await?));
    }
    let seed = cx.rng().u64();
    cx.txn(|tx| {
        let mut group = live(tx, &cx, name)?;
        let pass = pass(&cx, name, seed);
        for (token, member) in &members {
            let instance = member.instance.as_deref().unwrap_or_default();
            if let Ok((_, other)) = member_of(tx, &cx, instance) {
                return Err(validation(format!(
                    "The instance {instance} is already part of AutoScalingGroup {}",
                    other.group
                )));
            }
            let (from, to) = (group.desired, group.desired + member.units());
            if to > group.max {
                return Err(validation(format!(
                    "AutoScalingGroup {name} has min-size={}, max-size={}, and desired-size={from}. To attach {} more \
                     instance, please update the AutoScalingGroup sizes appropriately.",
                    group.min,
                    group.max,
                    members.len()
                )));
            }
            group.desired = to;
            let mut member = member.clone();
            let cause = causes::user(pass.now, instance, "attached", Some((from, to)));
            let description = format!("Attaching an existing EC2 instance: {instance}");
            member.activity = Some(begin(tx, cx.scope(), &pass, &group, &member, description, cause));
            tx.put(cx.scope(), token, member);
        }
        tx.put(cx.scope(), name, group);
        Ok(())
    })
    .await?;
    if !ids.is_empty() {
        let tag = ec2::Tag { key: Some(GROUP_TAG.into()), value: Some(name.clone()) };
        let input = ec2::CreateTagsInput { resources: ids, tags: vec![tag], ..Default::default() };
        cx.call(ec2::CreateTags, input).await?;
    }
    Ok(AttachInstancesOutput {})
}

/// A running instance as it would be as a member.
async fn candidate(cx: &Cx, name: &str, group: &Group, id: &str) -> Result<Member> {
    let input = ec2::DescribeInstancesInput { instance_ids: Some(vec![id.to_owned()]), ..Default::default() };
    let answer = match cx.call(ec2::DescribeInstances, input).await {
        Err(error) if error.fault == Fault::Client => {
            return Err(validation(format!("Invalid Instance ID(s): [{id}] specified. Please ensure they exist.")));
        }
        other => other?,
    };
    let mut all = answer.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
    let instance = all.next().ok_or_else(|| errors::no_such_instance(id))?;
    if instance.state.and_then(|state| state.name).as_deref() != Some("running") {
        let message = format!("Invalid Instance ID(s): [{id}] specified. The instance is not in the running state.");
        return Err(validation(message));
    }
    let zone = instance.placement.and_then(|placement| placement.availability_zone).unwrap_or_default();
    if !group.zones.contains(&zone) {
        let message = format!("The availability zone {zone} of instance {id} is not one of the group's.");
        return Err(validation(message));
    }
    Ok(Member {
        group: name.to_owned(),
        instance: Some(id.to_owned()),
        zone,
        subnet: instance.subnet_id.unwrap_or_default(),
        source: Source::None,
        instance_type: instance.instance_type.unwrap_or_default(),
        image: instance.image_id,
        weight: None,
        state: Lifecycle::Pending,
        unhealthy: None,
        protected: group.protect_new,
        joined: cx.now(),
        in_service: None,
        spare: false,
        unattached: group.is_suspended(Process::AddToLoadBalancer),
        targets: Default::default(),
        waits: Vec::new(),
        activity: None,
        generation: group.generation,
        spot: instance.instance_lifecycle.as_deref() == Some("spot"),
        moves: None,
    })
}

fn begin(
    tx: &mut Txn,
    scope: &Scope,
    pass: &super::apply::Pass,
    group: &Group,
    member: &Member,
    description: String,
    cause: String,
) -> String {
    let draft = Draft {
        group: pass.name,
        group_arn: &group.arn,
        description,
        cause,
        status: Status::InProgress,
        progress: 50,
        member,
    };
    activities::begin(tx, scope, &pass.rng, pass.now, draft)
}

/// The member of this group that has the instance.
fn member_in(view: &View, cx: &Cx, instance: &str, group: &str) -> Result<(Arc<str>, Member)> {
    let found = member_of(view, cx, instance).map_err(|_| errors::not_a_member(instance, group))?;
    if found.1.group != group {
        return Err(errors::not_a_member(instance, group));
    }
    Ok(found)
}

fn in_state(member: &Member, states: &[Lifecycle]) -> Result<()> {
    if states.contains(&member.state) {
        return Ok(());
    }
    let (id, state) = (member.instance.as_deref().unwrap_or_default(), member.state.name());
    let wanted: Vec<&str> = states.iter().map(|state| state.name()).collect();
    Err(validation(format!("The instance {id} is in state {state}, not in {}.", wanted.join(" or "))))
}

pub async fn detach(cx: Cx, input: DetachInstancesQuery) -> Result<DetachInstancesAnswer> {
    let (name, seed) = (&input.auto_scaling_group_name, cx.rng().u64());
    let ids = input.instance_ids.clone().unwrap_or_default();
    let (activities, members) = cx
        .txn(|tx| {
            let mut group = live(tx, &cx, name)?;
            let pass = pass(&cx, name, seed);
            let (mut activities, mut members) = (Vec::new(), Vec::new());
            for instance in &ids {
                let (id, member) = member_in(tx, &cx, instance, name)?;
                in_state(&member, &[Lifecycle::InService, Lifecycle::Standby])?;
                let shrinks = input.should_decrement_desired_capacity && member.counts();
                let shrunk = if shrinks { Some(decrement(&mut group, member.units())?) } else { None };
                let cause = causes::user(pass.now, instance, "detached", shrunk);
                let description = format!("Detaching EC2 instance: {instance}");
                let key = begin(tx, cx.scope(), &pass, &group, &member, description, cause);
                activities.push(tx.get::<Activity>(cx.scope(), &key).expect("written in this transaction"));
                activities::finish(tx, cx.scope(), Some(&key), pass.now, Status::Successful, None);
                tx.delete::<Member>(cx.scope(), &id);
                members.push(member);
            }
            tx.put(cx.scope(), name, group);
            Ok((activities, members))
        })
        .await?;
    for member in &members {
        release(&cx, member).await?;
    }
    let activities = activities.iter().map(|activity| activities::shape(activity, false)).collect();
    Ok(DetachInstancesAnswer { activities: Some(activities) })
}

/// Takes a detached instance out of the target groups and its tag off.
async fn release(cx: &Cx, member: &Member) -> Result<()> {
    let id = member.instance.clone().unwrap_or_default();
    for arn in member.targets.keys() {
        let targets = vec![elbv2::TargetDescription { id: id.clone(), ..Default::default() }];
        let input = elbv2::DeregisterTargetsInput { target_group_arn: arn.clone(), targets };
        match cx.call(elbv2::DeregisterTargets, input).await {
            Err(error) if error.fault == Fault::Server => return Err(error),
            _ => (),
        }
    }
    let tag = ec2::Tag { key: Some(GROUP_TAG.into()), value: None };
    let input = ec2::DeleteTagsInput { resources: vec![id], tags: Some(vec![tag]), ..Default::default() };
    cx.call(ec2::DeleteTags, input).await.map(drop)
}

pub async fn enter_standby(cx: Cx, input: EnterStandbyQuery) -> Result<EnterStandbyAnswer> {
    let (name, seed) = (&input.auto_scaling_group_name, cx.rng().u64());
    let ids = input.instance_ids.clone().unwrap_or_default();
    let activities = cx
        .txn(|tx| {
            let mut group = live(tx, &cx, name)?;
            let pass = pass(&cx, name, seed);
            let mut activities = Vec::new();
            for instance in &ids {
                let (id, mut member) = member_in(tx, &cx, instance, name)?;
                in_state(&member, &[Lifecycle::InService])?;
                let shrinks = input.should_decrement_desired_capacity;
                let shrunk = if shrinks { Some(decrement(&mut group, member.units())?) } else { None };
                let cause = causes::user(pass.now, instance, "moved to standby", shrunk);
                let description = format!("Moving EC2 instance to Standby: {instance}");
                let key = begin(tx, cx.scope(), &pass, &group, &member, description, cause);
                activities.push(tx.get::<Activity>(cx.scope(), &key).expect("written in this transaction"));
                activities::finish(tx, cx.scope(), Some(&key), pass.now, Status::Successful, None);
                member.state = Lifecycle::Standby;
                tx.put(cx.scope(), &id, member);
            }
            tx.put(cx.scope(), name, group);
            Ok(activities)
        })
        .await?;
    let activities = activities.iter().map(|activity| activities::shape(activity, false)).collect();
    Ok(EnterStandbyAnswer { activities: Some(activities) })
}

pub async fn exit_standby(cx: Cx, input: ExitStandbyQuery) -> Result<ExitStandbyAnswer> {
    let (name, seed) = (&input.auto_scaling_group_name, cx.rng().u64());
    let ids = input.instance_ids.clone().unwrap_or_default();
    let activities = cx
        .txn(|tx| {
            let mut group = live(tx, &cx, name)?;
            let pass = pass(&cx, name, seed);
            let mut activities = Vec::new();
            for instance in &ids {
                let (id, mut member) = member_in(tx, &cx, instance, name)?;
                in_state(&member, &[Lifecycle::Standby])?;
                let (from, to) = (group.desired, group.desired + member.units());
                if to > group.max {
                    return Err(validation(format!(
                        "AutoScalingGroup {name} has max-size={} and desired-size={from}: the instance {instance} \
                         cannot come back from standby.",
                        group.max
                    )));
                }
                group.desired = to;
                let cause = causes::user(pass.now, instance, "moved out of standby", Some((from, to)));
                let description = format!("Moving EC2 instance out of Standby: {instance}");
                let key = begin(tx, cx.scope(), &pass, &group, &member, description, cause);
                activities.push(tx.get::<Activity>(cx.scope(), &key).expect("written in this transaction"));
                // It has been launched before: no launch hooks, but target groups want it again.
                member.state = Lifecycle::PendingProceed;
                member.activity = Some(key);
                tx.put(cx.scope(), &id, member);
            }
            tx.put(cx.scope(), name, group);
            Ok(activities)
        })
        .await?;
    let activities = activities.iter().map(|activity| activities::shape(activity, false)).collect();
    Ok(ExitStandbyAnswer { activities: Some(activities) })
}

pub async fn set_health(cx: Cx, input: SetInstanceHealthQuery) -> Result<SetInstanceHealthOutput> {
    let unhealthy = match input.health_status.as_str() {
        "Healthy" => None,
        "Unhealthy" => Some(Unhealthy::User),
        other => {
            let message = format!("The health status '{other}' is not valid. Valid values are: Healthy, Unhealthy.");
            return Err(validation(message));
        }
    };
    cx.txn(|tx| {
        let (id, mut member) = member_of(tx, &cx, &input.instance_id)?;
        let group = live(tx, &cx, &member.group)?;
        let grace = Duration::from_secs(u64::try_from(group.grace_s).unwrap_or_default());
        let in_grace = member.in_service.is_none_or(|since| cx.now() < since + grace);
        let respected = input.should_respect_grace_period != Some(false) && group.grace_s > 0 && in_grace;
        if (unhealthy.is_some() && respected) || member.state.is_terminating() {
            return Ok(());
        }
        member.unhealthy = unhealthy;
        tx.put(cx.scope(), &id, member);
        Ok(())
    })
    .await?;
    Ok(SetInstanceHealthOutput {})
}

pub async fn set_protection(cx: Cx, input: SetInstanceProtectionQuery) -> Result<SetInstanceProtectionAnswer> {
    let name = &input.auto_scaling_group_name;
    cx.txn(|tx| {
        live(tx, &cx, name)?;
        for instance in &input.instance_ids {
            let (id, mut member) = member_in(tx, &cx, instance, name)?;
            member.protected = input.protected_from_scale_in;
            tx.put(cx.scope(), &id, member);
        }
        Ok(())
    })
    .await?;
    Ok(SetInstanceProtectionAnswer {})
}
