//! Rolling updates: a group's instances replaced in batches after its launch template changed.
//!
//! Invariant: the next batch waits until the group is whole again, and at no time does the update itself take the group
//! below `MinInstancesInService`. What to do follows from what is there, so nothing is lost when the control plane stops.

use serde_json::Value;

use crate::cloudformation::template::text;

/// What a rolling update does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Roll {
    Done,
    Wait,
    Terminate(Vec<String>),
    /// Why it cannot go on.
    Stuck(String),
}

/// The next move for a described group, by the policy and the group's properties.
// AWS-DIFF: PauseTime is not waited for, and the group is never made larger for the time of the update.
pub fn next(group: &Value, policy: &Value, launch_template: Option<&Value>, configuration: Option<&str>) -> Roll {
    let number =
        |name: &str, default: u64| policy.get(name).and_then(text).and_then(|n| n.parse().ok()).unwrap_or(default);
    let instances: Vec<&Value> = group["Instances"].as_array().into_iter().flatten().collect();
    let in_service = instances.iter().filter(|instance| instance["LifecycleState"] == "InService").count() as u64;
    let desired = group["DesiredCapacity"].as_u64().unwrap_or_default();
    let mut outdated =
        instances.iter().filter(|instance| is_outdated(instance, launch_template, configuration)).peekable();
    let weight = |instance: &&Value| instance["WeightedCapacity"].as_str().and_then(|n| n.parse().ok()).unwrap_or(1);
    if instances.iter().map(weight).sum::<u64>() < desired || in_service != instances.len() as u64 {
        return Roll::Wait;
    }
    if outdated.peek().is_none() {
        return Roll::Done;
    }
    let spare = in_service.saturating_sub(number("MinInstancesInService", 0));
    let batch = number("MaxBatchSize", 1).min(spare);
    if batch == 0 {
        return Roll::Stuck(format!(
            "The rolling update cannot begin: all {in_service} instances are needed by MinInstancesInService."
        ));
    }
    let ids = outdated.filter_map(|instance| instance["InstanceId"].as_str().map(str::to_owned));
    Roll::Terminate(ids.take(usize::try_from(batch).unwrap_or(usize::MAX)).collect())
}

fn is_outdated(instance: &Value, launch_template: Option<&Value>, configuration: Option<&str>) -> bool {
    match (launch_template, configuration) {
        (Some(wanted), _) => {
            let of = &instance["LaunchTemplate"];
            // A version by name ($Latest) is the same text before and after, and no reason to replace anything.
            let version = wanted.get("Version").and_then(text).filter(|version| !version.starts_with('$'));
            let other =
                |member: &str| wanted.get(member).and_then(text).is_some_and(|id| text(&of[member]) != Some(id));
            other("LaunchTemplateId")
                || other("LaunchTemplateName")
                || version.is_some_and(|version| text(&of["Version"]) != Some(version))
        }
        (None, Some(name)) => instance["LaunchConfigurationName"] != name,
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn group(versions: &[(&str, &str)]) -> Value {
        let instance = |(n, (version, state)): (usize, &(&str, &str))| {
            json!({"InstanceId": format!("i-{n}"), "LifecycleState": state,
                   "LaunchTemplate": {"LaunchTemplateId": "lt-1", "Version": version}})
        };
        json!({"DesiredCapacity": 3, "Instances": versions.iter().enumerate().map(instance).collect::<Vec<_>>()})
    }

    fn roll(versions: &[(&str, &str)], policy: Value) -> Roll {
        next(&group(versions), &policy, Some(&json!({"LaunchTemplateId": "lt-1", "Version": "2"})), None)
    }

    #[test]
    fn batches_follow_each_other_and_keep_the_minimum() {
        let (old, new) = (("1", "InService"), ("2", "InService"));
        let ids = |ids: &[&str]| Roll::Terminate(ids.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(roll(&[old, old, old], json!({})), ids(&["i-0"]));
        assert_eq!(roll(&[old, old, old], json!({"MaxBatchSize": "2"})), ids(&["i-0", "i-1"]));
        assert_eq!(
            roll(&[old, old, old], json!({"MaxBatchSize": 5, "MinInstancesInService": 1})),
            ids(&["i-0", "i-1"])
        );
        assert_eq!(roll(&[new, old, ("2", "Pending")], json!({})), Roll::Wait);
        assert_eq!(roll(&[old, old], json!({})), Roll::Wait);
        assert_eq!(roll(&[new, new, new], json!({})), Roll::Done);
        assert!(matches!(roll(&[old, old, old], json!({"MinInstancesInService": 3})), Roll::Stuck(_)));
    }
}
