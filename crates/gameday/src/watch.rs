//! What the cloud says happened: changes of what it shows, seen by looking often, and what it wrote down itself.
//!
//! Invariant: an entry of the timeline is something that the API said; nothing is inferred here. A change that was seen by
//! looking is late by one look at most (`EVERY`); what the cloud dated itself is as late as its own clock's digits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value as Json, json};
use standfast_core::{Result, Timestamp};

use crate::World;
use crate::aim::belongs;
use crate::answers::{instances, items, list, text};
use crate::site::Site;
use crate::spec::Layer;

/// How often it is looked.
pub const EVERY: Duration = Duration::from_millis(250);
/// The timeline keeps this many entries; a game day has hundreds.
pub const ENTRIES_MAX: usize = 20_000;

/// What an entry is about, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// A fault begins, or ends.
    Broken,
    Healed,
    /// Requests fail from here, or succeed again.
    OutageBegins,
    OutageEnds,
    /// A target, member or instance serves no more, or serves.
    Out,
    In,
    /// Something else that belongs to the story.
    Note,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Since the first probe's first request.
    pub at_ms: i64,
    #[serde(serialize_with = "by_name")]
    pub layer: Layer,
    pub sign: Sign,
    /// Which instance, alarm, fault or probe.
    pub resource: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    pub what: String,
}

fn by_name<S: serde::Serializer>(layer: &Layer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(layer.name())
}

/// How much of something serves: healthy targets of a target group, members in service of a group, running instances.
pub type Levels = BTreeMap<(Layer, String), usize>;

/// Everything that is looked at, and what it showed last.
#[derive(Debug, Default)]
pub struct Watch {
    pub entries: Vec<Entry>,
    /// Levels whenever one has changed.
    pub levels: Vec<(i64, Levels)>,
    /// What was shown last, by layer and resource.
    seen: BTreeMap<(Layer, String), Shown>,
    zones: BTreeMap<String, String>,
    begun: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    state: String,
    serves: bool,
}

/// What one look shows.
#[derive(Debug, Default)]
struct Look {
    shown: BTreeMap<(Layer, String), Shown>,
    levels: Levels,
}

impl Look {
    fn add(&mut self, layer: Layer, id: &str, state: String, serves: bool) {
        // A target that drains while it is registered anew is shown twice; the better one counts.
        let new = Shown { state, serves };
        let known = self.shown.entry((layer, id.to_owned())).or_insert_with(|| new.clone());
        if serves && !known.serves {
            *known = new;
        }
    }
}

impl Watch {
    /// Looks once and notes what has changed since. The first look notes nothing.
    pub async fn look(&mut self, world: &dyn World, site: &Site, at_ms: i64) -> Result<()> {
        let mut look = Look::default();
        self.look_at_instances(world, site, &mut look).await?;
        for group in site.target_groups() {
            look_at_targets(world, group, &mut look).await?;
        }
        look_at_groups(world, site, &mut look).await?;
        look_at_alarms(world, site, &mut look).await?;
        if self.begun {
            self.compare(&look, at_ms);
        }
        if self.levels.last().is_none_or(|(_, levels)| *levels != look.levels) {
            self.levels.push((at_ms, look.levels));
        }
        (self.seen, self.begun) = (look.shown, true);
        Ok(())
    }

    pub fn zone_of(&self, resource: &str) -> Option<String> {
        self.zones.get(resource).cloned()
    }

    /// Adds an entry.
    pub fn note(&mut self, at_ms: i64, layer: Layer, sign: Sign, resource: &str, what: String) {
        if self.entries.len() < ENTRIES_MAX {
            let zone = self.zone_of(resource);
            self.entries.push(Entry { at_ms, layer, sign, resource: resource.into(), zone, what });
        }
    }

    fn compare(&mut self, look: &Look, at_ms: i64) {
        let gone: Vec<_> = self
            .seen
            .iter()
            .filter(|(key, _)| !look.shown.contains_key(*key))
            .map(|(key, shown)| (key.clone(), shown.clone()))
            .collect();
        for ((layer, id), before) in gone {
            let sign = if before.serves { Sign::Out } else { Sign::Note };
            let what = match layer {
                Layer::LoadBalancer => "is no target any more",
                Layer::Group => "has left its group",
                _ => "is gone",
            };
            self.note(at_ms, layer, sign, &id, what.into());
        }
        let changed: Vec<_> = (look.shown.iter())
            .filter(|(key, shown)| self.seen.get(*key) != Some(*shown))
            .map(|(key, shown)| (key.clone(), shown.clone(), self.seen.get(key).is_some_and(|before| before.serves)))
            .collect();
        for ((layer, id), shown, served) in changed {
            let sign = match (served, shown.serves) {
                (true, false) => Sign::Out,
                (false, true) => Sign::In,
                _ => Sign::Note,
            };
            self.note(at_ms, layer, sign, &id, shown.state);
        }
    }

    async fn look_at_instances(&mut self, world: &dyn World, site: &Site, look: &mut Look) -> Result<()> {
        let mut running = 0;
        let statuses = list(world, "ec2", "DescribeInstanceStatus", json!({}), "InstanceStatuses").await?;
        let is_impaired = |one: &&Json| {
            ["SystemStatus", "InstanceStatus"].iter().any(|check| text(&one[*check], "Status") == "impaired")
        };
        let impaired: BTreeSet<&str> = statuses.iter().filter(is_impaired).map(|one| text(one, "InstanceId")).collect();
        for instance in instances(world).await?.iter().filter(|instance| belongs(site, instance)) {
            let (id, state) = (text(instance, "InstanceId"), text(&instance["State"], "Name"));
            self.zones.insert(id.into(), text(&instance["Placement"], "AvailabilityZone").into());
            let why = match text(&instance["StateReason"], "Message") {
                "" => String::new(),
                why => format!(" ({why})"),
            };
            let is_well = state == "running" && !impaired.contains(id);
            let checks = if impaired.contains(id) { ", and fails its status checks" } else { "" };
            running += usize::from(is_well);
            look.add(Layer::Instance, id, format!("is {state}{checks}{why}"), is_well);
        }
        look.levels.insert((Layer::Instance, site.name.clone()), running);
        Ok(())
    }

    /// Adds what the cloud has written down: activities of groups, and changes of alarms, since the beginning.
    pub async fn read_back(&mut self, world: &dyn World, site: &Site, beginning: Timestamp) -> Result<()> {
        let after = |text: &str| text.parse::<Timestamp>().ok().map(|at| at.0 - beginning.0).filter(|ms| *ms >= 0);
        for group in site.groups() {
            let input = json!({"AutoScalingGroupName": group});
            let activities = list(world, "autoscaling", "DescribeScalingActivities", input, "Activities").await?;
            for activity in &activities {
                if let Some(at_ms) = after(text(activity, "StartTime")) {
                    let why = text(activity, "Cause").replace(group, site.called(group));
                    let what = format!("{} — {why}", text(activity, "Description"));
                    self.note(at_ms, Layer::Group, Sign::Note, site.called(group), what);
                }
            }
        }
        for alarm in site.alarms() {
            let input = json!({"AlarmName": alarm, "HistoryItemType": "StateUpdate"});
            let items = list(world, "cloudwatch", "DescribeAlarmHistory", input, "AlarmHistoryItems").await?;
            for item in &items {
                if let Some(at_ms) = after(text(item, "Timestamp")) {
                    self.note(at_ms, Layer::Alarm, Sign::Note, site.called(alarm), text(item, "HistorySummary").into());
                }
            }
        }
        Ok(())
    }
}

async fn look_at_targets(world: &dyn World, group: &str, look: &mut Look) -> Result<()> {
    let answer = world.call("elbv2", "DescribeTargetHealth", json!({"TargetGroupArn": group})).await?;
    let mut healthy = 0;
    for target in items(&answer, "TargetHealthDescriptions") {
        let health = &target["TargetHealth"];
        let state = text(health, "State");
        let why = match text(health, "Reason") {
            "" => String::new(),
            why => format!(" ({why})"),
        };
        healthy += usize::from(state == "healthy");
        look.add(Layer::LoadBalancer, text(&target["Target"], "Id"), format!("is {state}{why}"), state == "healthy");
    }
    look.levels.insert((Layer::LoadBalancer, group.to_owned()), healthy);
    Ok(())
}

async fn look_at_groups(world: &dyn World, site: &Site, look: &mut Look) -> Result<()> {
    let names = site.groups();
    if names.is_empty() {
        return Ok(());
    }
    let input = json!({"AutoScalingGroupNames": names});
    let groups = list(world, "autoscaling", "DescribeAutoScalingGroups", input, "AutoScalingGroups").await?;
    for group in &groups {
        let mut serving = 0;
        for member in items(group, "Instances") {
            let (state, health) = (text(member, "LifecycleState"), text(member, "HealthStatus"));
            let serves = state == "InService" && health == "Healthy";
            serving += usize::from(serves);
            look.add(Layer::Group, text(member, "InstanceId"), format!("is {state}, {health}"), serves);
        }
        look.levels.insert((Layer::Group, text(group, "AutoScalingGroupName").to_owned()), serving);
    }
    Ok(())
}

async fn look_at_alarms(world: &dyn World, site: &Site, look: &mut Look) -> Result<()> {
    let names = site.alarms();
    if names.is_empty() {
        return Ok(());
    }
    let alarms = list(world, "cloudwatch", "DescribeAlarms", json!({"AlarmNames": names}), "MetricAlarms").await?;
    for alarm in &alarms {
        let state: &Json = &alarm["StateValue"];
        let state = state.as_str().unwrap_or_default();
        look.add(Layer::Alarm, site.called(text(alarm, "AlarmName")), format!("is {state}"), state != "ALARM");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_noted_with_what_they_mean() {
        let shown = |list: &[(&str, &str, bool)]| {
            let mut look = Look::default();
            for (id, state, serves) in list {
                look.add(Layer::LoadBalancer, id, (*state).into(), *serves);
            }
            look
        };
        let before = shown(&[("a", "is healthy", true), ("b", "is initial", false), ("c", "is healthy", true)]);
        let mut watch = Watch { seen: before.shown, begun: true, ..Watch::default() };
        watch.compare(
            &shown(&[("a", "is unhealthy", false), ("b", "is healthy", true), ("d", "is initial", false)]),
            700,
        );
        let mut signs: Vec<_> = watch.entries.iter().map(|e| (e.resource.as_str(), e.sign, e.what.as_str())).collect();
        signs.sort();
        assert_eq!(
            signs,
            [
                ("a", Sign::Out, "is unhealthy"),
                ("b", Sign::In, "is healthy"),
                ("c", Sign::Out, "is no target any more"),
                ("d", Sign::Note, "is initial"),
            ]
        );
    }

    #[test]
    fn a_target_that_is_shown_twice_counts_where_it_serves() {
        let mut look = Look::default();
        look.add(Layer::LoadBalancer, "a", "is draining".into(), false);
        look.add(Layer::LoadBalancer, "a", "is healthy".into(), true);
        assert!(look.shown[&(Layer::LoadBalancer, "a".to_owned())].serves);
    }
}
