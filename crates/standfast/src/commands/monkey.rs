//! `monkey`: terminates instances of Auto Scaling groups at random, on a schedule.
//!
//! It hits groups that are named, or that have opted in by a tag. Every hit is an experiment of the fis API, so it stands in
//! the history, and the safety lever holds it too.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value as Json, json};
use standfast_api::autoscaling;
use standfast_core::{Clock, Rng, Timestamp};

use super::experiments::{self, Plan, ec2_arn, resource};
use super::{items, text};
use crate::api_client::ApiClient;
use crate::cli::Monkey;
use crate::output;

/// How a group says that it may be hit.
const TAG: &str = "standfast:monkey";
/// Chances are drawn out of so many.
const CHANCES: usize = 1_000_000;
/// Hours of the day, and days of the week, of work, in UTC.
const HOURS: std::ops::Range<i64> = 9..17;
const WORKDAYS: i64 = 5;
const MS_PER_HOUR: i64 = 3_600_000;

pub async fn run(options: &Monkey, client: &ApiClient) -> Result<ExitCode> {
    let clock = Clock::system(1.0);
    let rng = options.seed.map_or_else(Rng::from_entropy, Rng::seeded);
    let end = options.time.map(|time| clock.now() + time);
    let mut next = clock.now();
    let mut hits = 0;
    announce(options, client).await?;
    loop {
        if end.is_some_and(|end| next >= end) {
            clock.sleep_until(end.unwrap_or(next)).await;
            let instances = if hits == 1 { "instance" } else { "instances" };
            output::line(format_args!("The monkey has gone: {hits} {instances} terminated."));
            return Ok(ExitCode::SUCCESS);
        }
        clock.sleep_until(next).await;
        if !options.business_hours || is_at_work(clock.now()) {
            hits += round(options, client, &rng, clock.now()).await?;
        }
        next = next + options.every.max(Duration::from_secs(1));
    }
}

/// Says who may be hit; an error when a group that is named is not there.
async fn announce(options: &Monkey, client: &ApiClient) -> Result<()> {
    let all = client.list(&autoscaling::MODEL, "DescribeAutoScalingGroups", json!({}), "AutoScalingGroups").await?;
    let names = |wanted: &dyn Fn(&Json) -> bool| {
        let each = all.iter().filter(|group| wanted(group)).map(|group| text(group, "AutoScalingGroupName"));
        each.collect::<Vec<_>>().join(", ")
    };
    let is_there = |name: &&String| all.iter().any(|group| text(group, "AutoScalingGroupName") == *name);
    if let Some(missing) = options.groups.iter().find(|name| !is_there(name)) {
        bail!("there is no Auto Scaling group '{missing}' in {}; there are: {}", client.region(), names(&|_| true));
    }
    let hit = names(&|group| may_hit(options, group));
    if hit.is_empty() {
        output::line(format_args!(
            "No group has the tag {TAG}=on yet, so none is hit; --group NAME hits one without it."
        ));
    } else {
        output::line(format_args!("The monkey looks at {hit}; Ctrl-C ends it, and groups replace what it terminates."));
    }
    Ok(())
}

/// Looks at every group once; gives how many instances were hit.
async fn round(options: &Monkey, client: &ApiClient, rng: &Rng, now: Timestamp) -> Result<usize> {
    let mut hits = 0;
    let all = client.list(&autoscaling::MODEL, "DescribeAutoScalingGroups", json!({}), "AutoScalingGroups").await?;
    for group in all.iter().filter(|group| may_hit(options, group)) {
        // Drawn for every group, so that a seed gives the same choices whatever a group has at the time.
        let (chance, which) = (rng.below(CHANCES), rng.below(CHANCES));
        let mut members: Vec<&str> = items(group, "Instances")
            .iter()
            .filter(|member| text(member, "LifecycleState") == "InService")
            .map(|member| text(member, "InstanceId"))
            .collect();
        members.sort_unstable();
        if chance as f64 >= options.probability * CHANCES as f64 || members.is_empty() {
            continue;
        }
        let (name, victim) = (text(group, "AutoScalingGroupName"), members[which % members.len()]);
        let target = resource("aws:ec2:instance", ec2_arn(client, &format!("instance/{victim}")).await?);
        let description = format!("the monkey terminates {victim} of {name}");
        let plan = Plan::of(description, "aws:ec2:terminate-instances", json!({}), Some(("Instances", target)));
        let done = match options.dry_run {
            true => "would be terminated".to_owned(),
            false => format!("terminated (experiment {})", experiments::start(client, &plan, None).await?),
        };
        output::line(format_args!("{} {name}: {victim} {done}", now.iso8601()));
        hits += usize::from(!options.dry_run);
    }
    Ok(hits)
}

/// Named groups, or without names those that have the tag.
fn may_hit(options: &Monkey, group: &Json) -> bool {
    if !options.groups.is_empty() {
        return options.groups.iter().any(|name| name == text(group, "AutoScalingGroupName"));
    }
    items(group, "Tags").iter().any(|tag| text(tag, "Key") == TAG && text(tag, "Value") == "on")
}

/// Monday to Friday, nine to five, in UTC.
fn is_at_work(now: Timestamp) -> bool {
    let hours = now.0.div_euclid(MS_PER_HOUR);
    // The first of January 1970 was a Thursday.
    let weekday = (hours.div_euclid(24) + 3).rem_euclid(7);
    weekday < WORKDAYS && HOURS.contains(&hours.rem_euclid(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_from_nine_to_five_on_weekdays() {
        let at = |day: i64, hour: i64| is_at_work(Timestamp((day * 24 + hour) * MS_PER_HOUR));
        // Thursday, Friday, Saturday, Sunday, Monday.
        let days: Vec<_> = (0..5).map(|day| at(day, 12)).collect();
        assert_eq!(days, [true, true, false, false, true]);
        assert!(!at(0, 8) && at(0, 9) && at(0, 16) && !at(0, 17));
    }
}
