//! Auto Scaling groups.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use standfast_api::autoscaling as api;
use standfast_core::Result;

use super::alarms;
use crate::Page;
use crate::estate::{Estate, groups};
use crate::html::{self as ui, Live};

/// How many activities a group's page shows.
const ACTIVITIES_MAX: i32 = 40;

pub async fn list(page: &Page<'_>) -> Result<Response<Bytes>> {
    let groups = groups(&page.cx).await?;
    let row = |group: &api::AutoScalingGroup| {
        let members = group.instances.as_deref().unwrap_or_default();
        html! {
            td { (ui::link("groups", &group.auto_scaling_group_name)) }
            td { (in_service(group)) " of " (group.desired_capacity) }
            td { (group.min_size) " to " (group.max_size) }
            td { (spread(group)) }
            td { (members.len()) }
            td { (group.health_check_type) }
        }
    };
    let heads = ["Group", "In service", "Size", "In service by zone", "Instances", "Health check"];
    let content = html! {
        h1 { "Auto Scaling groups" }
        @if groups.is_empty() { (ui::empty("There is no group in this region.", &ui::BEGIN)) }
        @else { (ui::table("Auto Scaling groups", &heads, groups.iter().map(row))) }
    };
    Ok(ui::shell(page, Live::Yes, "Auto Scaling groups", content))
}

fn in_service(group: &api::AutoScalingGroup) -> usize {
    group.instances.iter().flatten().filter(|member| member.lifecycle_state == "InService").count()
}

fn spread(group: &api::AutoScalingGroup) -> String {
    let zones: Vec<String> =
        by_zone(group).into_iter().map(|(zone, (serving, _))| format!("{zone} {serving}")).collect();
    zones.join(", ")
}

/// For each of the group's zones, how many instances are in service there and how many there are.
fn by_zone(group: &api::AutoScalingGroup) -> BTreeMap<&str, (usize, usize)> {
    let mut zones: BTreeMap<&str, (usize, usize)> =
        group.availability_zones.iter().map(|zone| (zone.as_str(), (0, 0))).collect();
    for member in group.instances.iter().flatten() {
        let zone = zones.entry(&member.availability_zone).or_default();
        zone.0 += usize::from(member.lifecycle_state == "InService");
        zone.1 += 1;
    }
    zones
}

pub async fn one(page: &Page<'_>, name: &str) -> Result<Response<Bytes>> {
    let estate = Estate::read(&page.cx).await?;
    let Some(group) = estate.groups.iter().find(|group| group.auto_scaling_group_name == name) else {
        return Ok(ui::missing(page, "group", name));
    };
    let input = api::DescribeScalingActivitiesInput {
        auto_scaling_group_name: Some(name.into()),
        max_records: Some(ACTIVITIES_MAX),
        ..Default::default()
    };
    let activities = page.cx.call(api::DescribeScalingActivities, input).await?.activities;
    let input = api::DescribePoliciesInput { auto_scaling_group_name: Some(name.into()), ..Default::default() };
    let policies = page.cx.call(api::DescribePolicies, input).await?.scaling_policies.unwrap_or_default();
    let content = html! {
        h1 { (name) }
        (summary(group))
        (super::map::troubles(&estate))
        h2 { "Capacity by zone" }
        (ui::table("Capacity by zone", &["Zone", "In service", "Instances", "Power"], by_zone(group).into_iter().map(|(zone, (serving, all))| html! {
            td { (zone) } td { (serving) } td { (all) }
            td { @if estate.is_dark(zone) { (ui::mood(ui::Mood::Bad, "no power")) } @else { (ui::mood(ui::Mood::Good, "power")) } }
        })))
        h2 { "Instances" }
        (members(&estate, group))
        h2 { "Activity history" }
        @if activities.is_empty() { p.soft { "Nothing was done yet." } }
        @else { (ui::history("Activity history", &["Status", "What", "Why", "From", "To"], activities.iter().map(activity))) }
        h2 { "Scaling policies" }
        @if policies.is_empty() { p.soft { "None: its size changes only when someone sets it." } }
        @else { (ui::table("Scaling policies", &["Policy", "Kind", "What it does", "Alarms"], policies.iter().map(policy))) }
        (alarms::of(page, "AutoScalingGroupName", name).await?)
    };
    Ok(ui::shell(page, Live::Yes, name, content))
}

fn summary(group: &api::AutoScalingGroup) -> Markup {
    let suspended: Vec<&str> =
        group.suspended_processes.iter().flatten().filter_map(|process| process.process_name.as_deref()).collect();
    let targets: Vec<&str> =
        group.target_group_arns.iter().flatten().map(|arn| arn.split('/').nth(1).unwrap_or(arn)).collect();
    ui::facts(&[
        ("In service", html! { span.number { (in_service(group)) } " of " (group.desired_capacity) " desired" }),
        ("Least and most", html! { (group.min_size) " to " (group.max_size) }),
        (
            "Health check",
            html! { (group.health_check_type) ", " (group.health_check_grace_period.unwrap_or_default()) " s of grace" },
        ),
        ("Target groups", html! { (if targets.is_empty() { "none".into() } else { targets.join(", ") }) }),
        ("Suspended", html! { (if suspended.is_empty() { "nothing".into() } else { suspended.join(", ") }) }),
    ])
}

fn members(estate: &Estate, group: &api::AutoScalingGroup) -> Markup {
    let mut members: Vec<&api::Instance> = group.instances.iter().flatten().collect();
    members.sort_by(|a, b| (&a.availability_zone, &a.instance_id).cmp(&(&b.availability_zone, &b.instance_id)));
    let row = |member: &&api::Instance| {
        let machine = estate.machine(&member.instance_id);
        html! {
            td.mono { (ui::link("instances", &member.instance_id)) }
            td { (member.availability_zone) }
            td { (ui::state(&member.lifecycle_state)) }
            td { (ui::state(&member.health_status)) }
            td { @if let Some(machine) = machine { (ui::state(&machine.state)) } }
            td {
                @for (group, target) in estate.health(&member.instance_id) {
                    div { (ui::state(&target.state)) " " span.soft { (target.reason.as_deref().unwrap_or(&group.name)) } }
                }
            }
        }
    };
    let heads = ["Instance", "Zone", "Lifecycle", "Health", "State", "Target health"];
    html! {
        @if members.is_empty() { p.soft { "None yet." } }
        @else { (ui::table("Instances", &heads, members.iter().map(row))) }
    }
}

/// What was done. AWS repeats the message in it, which is shown below.
fn what(activity: &api::Activity) -> &str {
    let said = activity.description.as_deref().unwrap_or_default();
    match &activity.status_message {
        Some(_) => said.split_once(" Status Reason:").map_or(said, |(what, _)| what),
        None => said,
    }
}

fn activity(activity: &api::Activity) -> Markup {
    html! {
        td { (ui::state(&activity.status_code)) }
        td.wide {
            (what(activity))
            @if let Some(message) = &activity.status_message { div.soft { (message) } }
        }
        td.wide.soft { (activity.cause) }
        td { (ui::time(activity.start_time)) }
        td { @if let Some(end) = activity.end_time { (ui::time(end)) } @else { "–" } }
    }
}

fn policy(policy: &api::ScalingPolicy) -> Markup {
    let tracked = policy.target_tracking_configuration.as_ref();
    let metric = tracked.and_then(|tracked| tracked.predefined_metric_specification.as_ref());
    html! {
        td { (policy.policy_name.as_deref().unwrap_or_default()) }
        td { (policy.policy_type.as_deref().unwrap_or_default()) }
        td {
            @if let Some(tracked) = tracked {
                "keeps " (metric.map_or("its metric", |metric| &metric.predefined_metric_type)) " at " (tracked.target_value)
            } @else if let Some(steps) = &policy.step_adjustments {
                (steps.len()) " steps of " (policy.adjustment_type.as_deref().unwrap_or_default())
            } @else if let Some(by) = policy.scaling_adjustment {
                (policy.adjustment_type.as_deref().unwrap_or_default()) " " (by)
            }
        }
        td { @for alarm in policy.alarms.iter().flatten() { div { (ui::link("alarms", alarm.alarm_name.as_deref().unwrap_or_default())) } } }
    }
}
