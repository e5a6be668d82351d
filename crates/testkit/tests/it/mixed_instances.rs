//! Mixed instances policies through the API, and what groups do about spot instances that EC2 takes back.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::ec2;
use standfast_testkit::{TestCloud, run};

use crate::autoscaling::{asg, causes, described, image, refused, settled};
use crate::ec2_spot::interrupt;
use crate::site::{list, text};

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(900);

async fn template(cloud: &TestCloud) -> String {
    let data = json!({"ImageId": image(cloud).await, "InstanceType": "t3.micro"});
    let input = json!({"LaunchTemplateName": "web", "LaunchTemplateData": data});
    let template = cloud.send(&ec2::MODEL, "CreateLaunchTemplate", input).await.expect("a valid template");
    text(&template["LaunchTemplate"], "LaunchTemplateId").to_owned()
}

fn policy(template: &str, overrides: Json, distribution: Json) -> Json {
    let specification = json!({"LaunchTemplateId": template, "Version": "1"});
    let launch = json!({"LaunchTemplateSpecification": specification, "Overrides": overrides});
    json!({"LaunchTemplate": launch, "InstancesDistribution": distribution})
}

async fn group(cloud: &TestCloud, desired: u32, policy: Json, more: Json) {
    let mut input = json!({
        "AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 20, "DesiredCapacity": desired,
        "AvailabilityZones": ["eu-west-1a", "eu-west-1b"], "MixedInstancesPolicy": policy,
    });
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    asg(cloud, "CreateAutoScalingGroup", input).await;
}

/// How many of the group's instances are on spot, by EC2.
async fn spot(cloud: &TestCloud) -> usize {
    let filters = json!([
        {"Name": "tag:aws:autoscaling:groupName", "Values": ["web"]}, {"Name": "instance-lifecycle", "Values": ["spot"]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]);
    let answer =
        cloud.send(&ec2::MODEL, "DescribeInstances", json!({"Filters": filters})).await.expect("valid filters");
    list(&answer, "Reservations").iter().map(|reservation| list(reservation, "Instances").len()).sum()
}

#[test]
fn weights_and_shares_are_counted() {
    run(1, |cloud| async move {
        let id = template(&cloud).await;
        let overrides = json!([
            {"InstanceType": "m5.large", "WeightedCapacity": "2"}, {"InstanceType": "m5.xlarge", "WeightedCapacity": "4"},
        ]);
        let distribution = json!({
            "OnDemandBaseCapacity": 2, "OnDemandPercentageAboveBaseCapacity": 25,
            "SpotAllocationStrategy": "capacity-optimized-prioritized",
        });
        group(&cloud, 10, policy(&id, overrides.clone(), distribution), json!({})).await;
        settled(&cloud, 5).await;
        assert_eq!(spot(&cloud).await, 3, "of ten units two and a quarter of eight are on demand");
        let own = described(&cloud).await;
        assert_eq!(own["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"], overrides);
        let answer = asg(&cloud, "DescribeAutoScalingInstances", json!({})).await;
        let members = list(&answer, "AutoScalingInstances");
        assert!(members.iter().all(|member| text(member, "WeightedCapacity") == "2"), "{members:#?}");
        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 5})).await;
        settled(&cloud, 3).await;
    });
}

#[test]
fn requirements_choose_the_types() {
    run(2, |cloud| async move {
        let id = template(&cloud).await;
        let requirements = json!({"VCpuCount": {"Min": 2, "Max": 2}, "MemoryMiB": {"Min": 8192, "Max": 8192}});
        let overrides = json!([{"InstanceRequirements": requirements}]);
        let distribution = json!({"OnDemandAllocationStrategy": "lowest-price"});
        group(&cloud, 2, policy(&id, overrides.clone(), distribution), json!({})).await;
        settled(&cloud, 2).await;
        let own = described(&cloud).await;
        assert_eq!(own["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"], overrides);
        let kind = text(&list(&own, "Instances")[0], "InstanceType");
        assert!(kind.ends_with(".large") && !kind.starts_with('t'), "{kind}");
    });
}

#[test]
fn an_interrupted_instance_is_replaced_and_with_rebalancing_before_it_goes() {
    for rebalances in [false, true] {
        run(3, move |cloud| async move {
            let id = template(&cloud).await;
            let overrides = json!([{"InstanceType": "t3.micro"}]);
            let distribution = json!({"OnDemandPercentageAboveBaseCapacity": 0});
            let more = json!({"CapacityRebalance": rebalances});
            group(&cloud, 2, policy(&id, overrides, distribution), more).await;
            settled(&cloud, 2).await;
            let own = described(&cloud).await;
            let victim = text(&list(&own, "Instances")[0], "InstanceId").to_owned();
            interrupt(&cloud, &victim, "PT10M").await;
            cloud.pass(SECOND * 240).await;
            let own = described(&cloud).await;
            let there = list(&own, "Instances").iter().any(|member| text(member, "InstanceId") == victim);
            assert_eq!(there, !rebalances, "{own:#}");
            let gone = || async {
                let own = described(&cloud).await;
                let members = list(&own, "Instances");
                (members.iter().all(|member| text(member, "InstanceId") != victim)).then_some(())
            };
            cloud.until("the victim to go", SOON, gone).await;
            settled(&cloud, 2).await;
            let advised = causes(&cloud).await.iter().any(|cause| cause.contains("rebalance recommendation"));
            assert_eq!(advised, rebalances);
        });
    }
}

#[test]
fn mistakes_are_told() {
    run(4, |cloud| async move {
        let id = template(&cloud).await;
        let refuse = async |overrides: Json, distribution: Json| {
            let input = json!({
                "AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 1, "AvailabilityZones": ["eu-west-1a"],
                "MixedInstancesPolicy": policy(&id, overrides, distribution),
            });
            let (code, message) = refused(&cloud, "CreateAutoScalingGroup", input).await;
            assert_eq!(code, "ValidationError", "{message}");
            message
        };
        let one = json!([{"InstanceType": "t3.micro"}]);
        let message = refuse(one.clone(), json!({"SpotAllocationStrategy": "cheapest"})).await;
        assert!(message.contains("'cheapest'"), "{message}");
        let message = refuse(one.clone(), json!({"OnDemandPercentageAboveBaseCapacity": 101})).await;
        assert!(message.contains("101"), "{message}");
        assert!(refuse(one, json!({"SpotInstancePools": 21})).await.contains("21"));
        let mixed = json!([{"InstanceType": "t3.micro", "WeightedCapacity": "2"}, {"InstanceType": "t3.small"}]);
        assert!(refuse(mixed, json!({})).await.contains("WeightedCapacity"));
        let message = refuse(json!([{"InstanceType": "t3.micro", "WeightedCapacity": "0"}]), json!({})).await;
        assert!(message.contains("between 1 and 999"), "{message}");
        let twice = json!([{"InstanceType": "t3.micro"}, {"InstanceType": "t3.micro"}]);
        assert!(refuse(twice, json!({})).await.contains("Duplicate"));
    });
}
