//! The example's site in a test cloud: deployed from its own template, looked at through the API.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{autoscaling, cloudformation, ec2, elbv2, fis};
use standfast_testkit::TestCloud;

pub const TEMPLATE: &str = include_str!("../../../../examples/what-is-the-time/template.yaml");
pub const STACK: &str = "site";
/// Any change of the site settles within this.
pub const SETTLED: Duration = Duration::from_secs(600);

/// The deployed site.
pub struct Site {
    pub group: String,
    pub dns_name: String,
    pub target_group: String,
}

pub fn list<'a>(json: &'a Json, name: &str) -> &'a [Json] {
    json[name].as_array().map_or(&[], Vec::as_slice)
}

pub fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_default()
}

/// Creates a stack and waits until it has come to rest; gives its status and its events, oldest first.
pub async fn deploy(cloud: &TestCloud, body: &str, parameters: Json) -> (String, Vec<Json>) {
    let input = json!({"StackName": STACK, "TemplateBody": body, "Parameters": parameters});
    cloud.send(&cloudformation::MODEL, "CreateStack", input).await.expect("the stack is accepted");
    rest(cloud).await
}

/// Waits until the stack has come to rest.
pub async fn rest(cloud: &TestCloud) -> (String, Vec<Json>) {
    let status = cloud
        .until("the stack to come to rest", SETTLED, || async {
            let stacks =
                cloud.send(&cloudformation::MODEL, "DescribeStacks", json!({"StackName": STACK})).await.ok()?;
            let status = text(&list(&stacks, "Stacks")[0], "StackStatus").to_owned();
            (!status.ends_with("_IN_PROGRESS")).then_some(status)
        })
        .await;
    let events = cloud.send(&cloudformation::MODEL, "DescribeStackEvents", json!({"StackName": STACK})).await;
    let mut events = list(&events.expect("the stack has events"), "StackEvents").to_vec();
    events.reverse();
    (status, events)
}

impl Site {
    /// Deploys the example and waits until all five targets are healthy.
    pub async fn up(cloud: &TestCloud) -> Self {
        let (status, events) = deploy(cloud, TEMPLATE, json!([])).await;
        assert_eq!(status, "CREATE_COMPLETE", "{events:#?}");
        let site = Self::of_stack(cloud).await;
        site.settled(cloud, 5).await;
        site
    }

    /// What the deployed stack has under the names that the examples give it.
    pub async fn of_stack(cloud: &TestCloud) -> Self {
        let resources = cloud.send(&cloudformation::MODEL, "DescribeStackResources", json!({"StackName": STACK}));
        let resources = resources.await.expect("the stack has resources");
        let physical = |logical: &str| {
            let resource = list(&resources, "StackResources").iter().find(|r| text(r, "LogicalResourceId") == logical);
            text(resource.expect("in the template"), "PhysicalResourceId").to_owned()
        };
        let balancers = cloud.send(&elbv2::MODEL, "DescribeLoadBalancers", json!({})).await.expect("there is one");
        Self {
            group: physical("Group"),
            dns_name: text(&list(&balancers, "LoadBalancers")[0], "DNSName").to_owned(),
            target_group: physical("TargetGroup"),
        }
    }

    /// The group's members: instance id, zone, lifecycle state, health.
    pub async fn members(&self, cloud: &TestCloud) -> Vec<(String, String, String, String)> {
        let input = json!({"AutoScalingGroupNames": [self.group]});
        let groups = cloud.send(&autoscaling::MODEL, "DescribeAutoScalingGroups", input).await.expect("it exists");
        list(&list(&groups, "AutoScalingGroups")[0], "Instances")
            .iter()
            .map(|m| {
                let member = |name: &str| text(m, name).to_owned();
                (member("InstanceId"), member("AvailabilityZone"), member("LifecycleState"), member("HealthStatus"))
            })
            .collect()
    }

    /// Ids of healthy targets.
    pub async fn healthy(&self, cloud: &TestCloud) -> Vec<String> {
        let input = json!({"TargetGroupArn": self.target_group});
        let health = cloud.send(&elbv2::MODEL, "DescribeTargetHealth", input).await.expect("it exists");
        (list(&health, "TargetHealthDescriptions").iter())
            .filter(|target| text(&target["TargetHealth"], "State") == "healthy")
            .map(|target| text(&target["Target"], "Id").to_owned())
            .collect()
    }

    /// How many instances are in service in each zone.
    pub async fn spread(&self, cloud: &TestCloud) -> BTreeMap<String, usize> {
        let mut spread = BTreeMap::new();
        for (_, zone, state, _) in self.members(cloud).await {
            if state == "InService" {
                *spread.entry(zone).or_default() += 1;
            }
        }
        spread
    }

    /// Waits until exactly `count` members exist, all in service and all healthy targets; nothing else is registered.
    pub async fn settled(&self, cloud: &TestCloud, count: usize) {
        let what = format!("{count} members in service and healthy");
        cloud
            .until(&what, SETTLED, || async {
                let members = self.members(cloud).await;
                let mut ids: Vec<_> = members.iter().map(|(id, ..)| id.clone()).collect();
                let mut healthy = self.healthy(cloud).await;
                ids.sort();
                healthy.sort();
                let in_service =
                    members.iter().all(|(_, _, state, health)| state == "InService" && health == "Healthy");
                (members.len() == count && in_service && ids == healthy).then_some(())
            })
            .await;
    }

    /// Sends `rate` requests a second for `time`; gives the statuses that were not 200, with the time of each.
    pub async fn load(&self, cloud: &TestCloud, rate: u32, time: Duration) -> Vec<(Duration, u16)> {
        let (start, mut failed) = (cloud.now(), Vec::new());
        let gap = Duration::from_secs(1) / rate;
        for _ in 0..(time.as_secs_f64() * f64::from(rate)) as u64 {
            let status = cloud.lb.request(&self.dns_name, "/");
            if status != 200 {
                failed.push((cloud.now().since(start), status));
            }
            cloud.pass(gap).await;
        }
        failed
    }

    /// Cuts a zone's power through the fis API; gives the experiment's id.
    pub async fn break_zone(&self, cloud: &TestCloud, zone: &str) -> String {
        let template = json!({
            "clientToken": cloud.cloud.rng().uuid(), "description": "power", "roleArn": "arn:aws:iam::000000000000:role/r",
            "stopConditions": [{"source": "none"}],
            "actions": {"power": {
                "actionId": "standfast:az:power-interruption", "parameters": {"availabilityZoneIdentifier": zone},
            }},
        });
        let template = cloud.send(&fis::MODEL, "CreateExperimentTemplate", template).await.expect("a valid template");
        let id = text(&template["experimentTemplate"], "id");
        let input = json!({"clientToken": cloud.cloud.rng().uuid(), "experimentTemplateId": id});
        let started = cloud.send(&fis::MODEL, "StartExperiment", input).await.expect("it can start");
        text(&started["experiment"], "id").to_owned()
    }

    pub async fn heal(&self, cloud: &TestCloud, experiment: &str) {
        cloud.send(&fis::MODEL, "StopExperiment", json!({"id": experiment})).await.expect("it runs");
    }

    /// Sets the desired capacity.
    pub async fn scale(&self, cloud: &TestCloud, desired: u32) {
        let input = json!({"AutoScalingGroupName": self.group, "DesiredCapacity": desired});
        cloud.send(&autoscaling::MODEL, "SetDesiredCapacity", input).await.expect("within bounds");
    }

    /// The activities' descriptions, newest first.
    pub async fn activities(&self, cloud: &TestCloud) -> Vec<Json> {
        let input = json!({"AutoScalingGroupName": self.group});
        let answer = cloud.send(&autoscaling::MODEL, "DescribeScalingActivities", input).await.expect("it exists");
        list(&answer, "Activities").to_vec()
    }
}

/// The states of all instances by id.
pub async fn instances(cloud: &TestCloud) -> BTreeMap<String, String> {
    let answer = cloud.send(&ec2::MODEL, "DescribeInstances", json!({})).await.expect("it lists");
    let all = list(&answer, "Reservations").iter().flat_map(|r| list(r, "Instances"));
    all.map(|i| (text(i, "InstanceId").to_owned(), text(&i["State"], "Name").to_owned())).collect()
}
