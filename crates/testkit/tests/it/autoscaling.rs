//! Auto Scaling through the API: what clients are answered, and what groups do about what happens to their instances.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{autoscaling, ec2, elbv2};
use standfast_core::Id;
use standfast_host::sim::App;
use standfast_kernel::zones;
use standfast_testkit::TestCloud;

use crate::site::{list, text};

const SOON: Duration = Duration::from_secs(300);
const SECOND: Duration = Duration::from_secs(1);
const ZONES: [&str; 3] = ["eu-west-1a", "eu-west-1b", "eu-west-1c"];

pub async fn asg(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    let asked = input.clone();
    let answer = cloud.send(&autoscaling::MODEL, operation, input).await;
    answer.unwrap_or_else(|error| panic!("{operation} {asked}: {error}"))
}

pub async fn refused(cloud: &TestCloud, operation: &str, input: Json) -> (String, String) {
    let error = cloud.refused(&autoscaling::MODEL, operation, input).await;
    (error.code.into_owned(), error.message)
}

pub async fn image(cloud: &TestCloud) -> String {
    let input = json!({"Filters": [{"Name": "architecture", "Values": ["x86_64"]}]});
    let images = cloud.send(&ec2::MODEL, "DescribeImages", input).await.expect("there are images");
    text(&list(&images, "Images")[0], "ImageId").to_owned()
}

async fn configuration(cloud: &TestCloud) {
    let input = json!({
        "LaunchConfigurationName": "lc", "ImageId": image(cloud).await, "InstanceType": "t3.micro",
    });
    asg(cloud, "CreateLaunchConfiguration", input).await;
}

/// A group named `web` of the launch configuration `lc`, in three zones, that has come up.
pub async fn group(cloud: &TestCloud, desired: u32, more: Json) {
    configuration(cloud).await;
    let mut input = json!({
        "AutoScalingGroupName": "web", "LaunchConfigurationName": "lc", "AvailabilityZones": ZONES,
        "MinSize": 0, "MaxSize": 9, "DesiredCapacity": desired,
    });
    let all = input.as_object_mut().expect("an object");
    all.extend(more.as_object().expect("an object").clone());
    asg(cloud, "CreateAutoScalingGroup", input).await;
    settled(cloud, desired as usize).await;
}

pub async fn described(cloud: &TestCloud) -> Json {
    let answer = asg(cloud, "DescribeAutoScalingGroups", json!({"AutoScalingGroupNames": ["web"]})).await;
    list(&answer, "AutoScalingGroups").first().cloned().unwrap_or_default()
}

/// Waits until the group has exactly so many members, all in service and healthy.
pub async fn settled(cloud: &TestCloud, count: usize) {
    cloud
        .until(&format!("{count} members in service"), SOON, || async {
            let group = described(cloud).await;
            let members = list(&group, "Instances");
            let serves = |m: &Json| text(m, "LifecycleState") == "InService" && text(m, "HealthStatus") == "Healthy";
            (members.len() == count && members.iter().all(serves)).then_some(())
        })
        .await;
}

async fn ids(cloud: &TestCloud) -> Vec<String> {
    let group = described(cloud).await;
    list(&group, "Instances").iter().map(|member| text(member, "InstanceId").to_owned()).collect()
}

async fn state(cloud: &TestCloud, id: &str) -> Option<String> {
    let answer = asg(cloud, "DescribeAutoScalingInstances", json!({"InstanceIds": [id]})).await;
    list(&answer, "AutoScalingInstances").first().map(|member| text(member, "LifecycleState").to_owned())
}

pub async fn causes(cloud: &TestCloud) -> Vec<String> {
    let answer = asg(cloud, "DescribeScalingActivities", json!({"AutoScalingGroupName": "web"})).await;
    list(&answer, "Activities").iter().map(|activity| text(activity, "Cause").to_owned()).collect()
}

async fn spread(cloud: &TestCloud) -> Vec<usize> {
    let group = described(cloud).await;
    let zone = |zone: &&str| list(&group, "Instances").iter().filter(|m| text(m, "AvailabilityZone") == *zone).count();
    let mut spread: Vec<usize> = ZONES.iter().map(zone).collect();
    spread.sort_unstable();
    spread
}

#[test]
fn the_tutorial_group_comes_up_changes_and_goes() {
    standfast_testkit::run(1, |cloud| async move {
        group(&cloud, 5, json!({"Tags": [{"Key": "Name", "Value": "web"}]})).await;
        assert_eq!(spread(&cloud).await, [1, 2, 2]);
        let cause = causes(&cloud).await.pop().expect("activities are kept");
        let (created, started) = cause.split_once("  ").expect("two sentences");
        assert!(
            created.ends_with("created an AutoScalingGroup changing the desired capacity from 0 to 5."),
            "{created}"
        );
        assert!(started.ends_with("increasing the capacity from 0 to 5."), "{started}");
        let tagged = json!({"Filters": [{"Name": "tag:aws:autoscaling:groupName", "Values": ["web"]}]});
        let tagged = cloud.send(&ec2::MODEL, "DescribeInstances", tagged).await.expect("a valid filter");
        assert_eq!(list(&tagged, "Reservations").len(), 5);

        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 2})).await;
        settled(&cloud, 2).await;
        let cause = causes(&cloud).await.swap_remove(0);
        assert!(cause.contains("explicitly set group desired capacity changing the desired capacity from 5 to 2."));
        assert!(cause.contains("shrinking the capacity from"), "{cause}");
        let busy = json!({"AutoScalingGroupName": "web", "DesiredCapacity": 3, "HonorCooldown": true});
        assert_eq!(refused(&cloud, "SetDesiredCapacity", busy.clone()).await.0, "ScalingActivityInProgress");
        cloud.pass(SECOND * 301).await;
        asg(&cloud, "SetDesiredCapacity", busy).await;
        settled(&cloud, 3).await;

        let name = json!({"AutoScalingGroupName": "web"});
        assert_eq!(refused(&cloud, "DeleteAutoScalingGroup", name.clone()).await.0, "ResourceInUse");
        let lc = json!({"LaunchConfigurationName": "lc"});
        assert_eq!(refused(&cloud, "DeleteLaunchConfiguration", lc.clone()).await.0, "ResourceInUse");
        let none = json!({"AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0});
        asg(&cloud, "UpdateAutoScalingGroup", none).await;
        settled(&cloud, 0).await;
        asg(&cloud, "DeleteAutoScalingGroup", name).await;
        assert_eq!(described(&cloud).await, Json::Null);
        asg(&cloud, "DeleteLaunchConfiguration", lc).await;
    });
}

#[test]
fn deletion_by_force_takes_the_instances_along() {
    standfast_testkit::run(2, |cloud| async move {
        group(&cloud, 3, json!({})).await;
        asg(&cloud, "DeleteAutoScalingGroup", json!({"AutoScalingGroupName": "web", "ForceDelete": true})).await;
        assert_eq!(text(&described(&cloud).await, "Status"), "Delete in progress");
        cloud.until("the group to go", SOON, || async { described(&cloud).await.is_null().then_some(()) }).await;
        let states = crate::site::instances(&cloud).await;
        assert!(states.values().all(|state| state == "terminated"), "{states:?}");
    });
}

#[test]
fn users_take_instances_out_and_put_them_back() {
    standfast_testkit::run(3, |cloud| async move {
        group(&cloud, 3, json!({})).await;
        let own = ids(&cloud).await;
        let one = |more: Json| {
            let mut input = json!({"AutoScalingGroupName": "web", "InstanceIds": [own[0]]});
            input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            input
        };
        asg(&cloud, "EnterStandby", one(json!({"ShouldDecrementDesiredCapacity": true}))).await;
        cloud.pass(SECOND * 30).await;
        assert_eq!(state(&cloud, &own[0]).await.as_deref(), Some("Standby"));
        assert_eq!(ids(&cloud).await, own, "nothing in its place");
        asg(&cloud, "ExitStandby", one(json!({}))).await;
        settled(&cloud, 3).await;
        assert_eq!(described(&cloud).await["DesiredCapacity"], 3);

        asg(&cloud, "DetachInstances", one(json!({"ShouldDecrementDesiredCapacity": false}))).await;
        assert_eq!(state(&cloud, &own[0]).await, None);
        settled(&cloud, 3).await;
        asg(&cloud, "AttachInstances", one(json!({}))).await;
        settled(&cloud, 4).await;
        assert_eq!(described(&cloud).await["DesiredCapacity"], 4);

        asg(&cloud, "SetInstanceProtection", one(json!({"ProtectedFromScaleIn": true}))).await;
        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 1})).await;
        settled(&cloud, 1).await;
        assert_eq!(ids(&cloud).await, own[..1]);

        asg(&cloud, "SetInstanceHealth", json!({"InstanceId": own[0], "HealthStatus": "Unhealthy"})).await;
        cloud.until("its replacement", SOON, || async { state(&cloud, &own[0]).await.is_none().then_some(()) }).await;
        settled(&cloud, 1).await;
        assert!(causes(&cloud).await.iter().any(|cause| cause.ends_with("in response to a user health-check.")));

        let last = ids(&cloud).await.remove(0);
        let input = json!({"InstanceId": last, "ShouldDecrementDesiredCapacity": true});
        let answer = asg(&cloud, "TerminateInstanceInAutoScalingGroup", input).await;
        assert!(text(&answer["Activity"], "Cause").ends_with("user request, shrinking the capacity from 1 to 0."));
        settled(&cloud, 0).await;
    });
}

#[test]
fn hooks_hold_instances_until_they_are_completed() {
    standfast_testkit::run(4, |cloud| async move {
        group(&cloud, 0, json!({})).await;
        let hook = json!({
            "AutoScalingGroupName": "web", "LifecycleHookName": "warm",
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        });
        asg(&cloud, "PutLifecycleHook", hook).await;
        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 1})).await;
        let waits = || async {
            let id = ids(&cloud).await.pop()?;
            (state(&cloud, &id).await? == "Pending:Wait").then_some(id)
        };
        let id = cloud.until("the hook to hold it", SOON, waits).await;
        cloud.pass(SECOND * 600).await;
        assert_eq!(state(&cloud, &id).await.as_deref(), Some("Pending:Wait"));
        let done = json!({
            "AutoScalingGroupName": "web", "LifecycleHookName": "warm", "InstanceId": id,
            "LifecycleActionResult": "CONTINUE",
        });
        asg(&cloud, "CompleteLifecycleAction", done.clone()).await;
        settled(&cloud, 1).await;
        assert_eq!(refused(&cloud, "CompleteLifecycleAction", done).await.0, "ValidationError");
    });
}

/// The group behind a load balancer in three zones; the load balancer's name and the target group.
async fn behind_load_balancer(cloud: &TestCloud, desired: u32) -> (String, String) {
    let subnets = cloud.send(&ec2::MODEL, "DescribeSubnets", json!({})).await.expect("the default VPC has subnets");
    let subnets = list(&subnets, "Subnets").to_vec();
    let ids: Vec<&str> = subnets.iter().map(|subnet| text(subnet, "SubnetId")).collect();
    let elb = async |operation: &str, input: Json| cloud.send(&elbv2::MODEL, operation, input).await.expect(operation);
    let balancer = elb("CreateLoadBalancer", json!({"Name": "web", "Subnets": ids})).await;
    let balancer = list(&balancer, "LoadBalancers")[0].clone();
    let input = json!({
        "Name": "web", "Protocol": "HTTP", "Port": 8080, "VpcId": subnets[0]["VpcId"], "HealthCheckPath": "/health",
        "HealthCheckIntervalSeconds": 5, "HealthyThresholdCount": 2, "HealthCheckTimeoutSeconds": 2,
    });
    let target_group = elb("CreateTargetGroup", input).await;
    let arn = text(&list(&target_group, "TargetGroups")[0], "TargetGroupArn").to_owned();
    let delay = json!({"Key": "deregistration_delay.timeout_seconds", "Value": "10"});
    elb("ModifyTargetGroupAttributes", json!({"TargetGroupArn": arn, "Attributes": [delay]})).await;
    let input = json!({
        "LoadBalancerArn": balancer["LoadBalancerArn"], "Protocol": "HTTP", "Port": 80,
        "DefaultActions": [{"Type": "forward", "TargetGroupArn": arn}],
    });
    elb("CreateListener", input).await;
    let more = json!({"TargetGroupARNs": [arn], "HealthCheckType": "ELB", "HealthCheckGracePeriod": 30});
    group(cloud, desired, more).await;
    healthy(cloud, &arn, desired as usize).await;
    (text(&balancer, "DNSName").to_owned(), arn)
}

/// Waits until exactly these targets are registered, all healthy.
async fn healthy(cloud: &TestCloud, arn: &str, count: usize) {
    cloud
        .until("healthy targets", SOON, || async {
            let input = json!({"TargetGroupArn": arn});
            let answer = cloud.send(&elbv2::MODEL, "DescribeTargetHealth", input).await.ok()?;
            let targets = list(&answer, "TargetHealthDescriptions");
            let good = targets.iter().all(|target| text(&target["TargetHealth"], "State") == "healthy");
            (targets.len() == count && good).then_some(())
        })
        .await;
}

/// Requests for a while; how many were not answered with 200, and when the last of them was.
async fn failures(cloud: &TestCloud, dns_name: &str, time: Duration) -> (usize, Duration) {
    let (start, mut failed, mut last) = (cloud.now(), 0, Duration::ZERO);
    while cloud.now() < start + time {
        if cloud.lb.request(dns_name, "/") != 200 {
            (failed, last) = (failed + 1, cloud.now().since(start));
        }
        cloud.pass(Duration::from_millis(20)).await;
    }
    (failed, last)
}

#[test]
fn a_killed_instance_is_replaced_behind_its_load_balancer() {
    standfast_testkit::run(5, |cloud| async move {
        let (dns_name, arn) = behind_load_balancer(&cloud, 5).await;
        let victim = ids(&cloud).await.remove(0);
        cloud.cloud.planes().host.kill(&Id::from_text(&victim)).expect("it runs");
        cloud.pass(Duration::from_millis(50)).await;
        let states = crate::site::instances(&cloud).await;
        assert_eq!(states.len(), 6, "its replacement is launched at once");
        assert_eq!(failures(&cloud, &dns_name, SECOND * 60).await.0, 0);
        settled(&cloud, 5).await;
        healthy(&cloud, &arn, 5).await;
        assert!(!ids(&cloud).await.contains(&victim));
    });
}

#[test]
fn what_the_load_balancer_finds_ill_is_replaced() {
    standfast_testkit::run(6, |cloud| async move {
        let (dns_name, arn) = behind_load_balancer(&cloud, 3).await;
        cloud.pass(SECOND * 60).await;
        let victim = ids(&cloud).await.remove(0);
        cloud.host.set_app(&Id::from_text(&victim), App::Status(500));
        cloud.until("it to go", SOON, || async { state(&cloud, &victim).await.is_none().then_some(()) }).await;
        settled(&cloud, 3).await;
        healthy(&cloud, &arn, 3).await;
        assert!(causes(&cloud).await.iter().any(|cause| cause.ends_with("an ELB system health check failure.")));
        assert_eq!(failures(&cloud, &dns_name, SECOND * 10).await.0, 0);
    });
}

#[test]
fn a_lost_zone_is_made_good_and_balanced_when_it_is_back() {
    standfast_testkit::run(7, |cloud| async move {
        let (dns_name, arn) = behind_load_balancer(&cloud, 5).await;
        zones::set_power(&cloud.cx(), ZONES[0], false).await.expect("a zone");
        let (_, last) = failures(&cloud, &dns_name, SECOND * 60).await;
        assert!(last < SECOND, "requests failed until {last:?}");
        settled(&cloud, 5).await;
        healthy(&cloud, &arn, 5).await;
        assert_eq!(spread(&cloud).await, [0, 2, 3]);
        let activities = asg(&cloud, "DescribeScalingActivities", json!({"AutoScalingGroupName": "web"})).await;
        let failed = list(&activities, "Activities").iter().find(|a| text(a, "StatusCode") == "Failed").cloned();
        let message = failed.expect("a launch was refused");
        assert!(
            text(&message, "StatusMessage").starts_with("We currently do not have sufficient t3.micro capacity")
                && text(&message, "StatusMessage").ends_with("Launching EC2 instance failed."),
            "{message}"
        );

        zones::set_power(&cloud.cx(), ZONES[0], true).await.expect("a zone");
        assert_eq!(failures(&cloud, &dns_name, SECOND * 120).await.0, 0);
        settled(&cloud, 5).await;
        healthy(&cloud, &arn, 5).await;
        assert_eq!(spread(&cloud).await, [1, 2, 2]);
    });
}

#[test]
fn a_group_at_rest_writes_nothing() {
    standfast_testkit::run(8, |cloud| async move {
        behind_load_balancer(&cloud, 3).await;
        cloud.pass(SECOND * 60).await;
        let mut watch =
            cloud.cloud.store().watch(&["autoscaling.groups", "autoscaling.instances", "autoscaling.activities"]);
        tokio::select! {
            _ = watch.changed() => panic!("a group at rest was written"),
            () = cloud.pass(SECOND * 3600) => (),
        }
    });
}

#[test]
fn launch_templates_and_mixed_policies_launch_the_right_count() {
    standfast_testkit::run(9, |cloud| async move {
        let data = json!({"ImageId": image(&cloud).await, "InstanceType": "t3.micro"});
        let input = json!({"LaunchTemplateName": "web", "LaunchTemplateData": data});
        let template = cloud.send(&ec2::MODEL, "CreateLaunchTemplate", input).await.expect("a valid template");
        let id = text(&template["LaunchTemplate"], "LaunchTemplateId").to_owned();
        let input = json!({
            "AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 4, "DesiredCapacity": 2,
            "AvailabilityZones": ZONES, "LaunchTemplate": {"LaunchTemplateName": "web", "Version": "$Latest"},
        });
        asg(&cloud, "CreateAutoScalingGroup", input).await;
        settled(&cloud, 2).await;
        let group = described(&cloud).await;
        assert_eq!(
            group["LaunchTemplate"],
            json!({"LaunchTemplateId": id, "LaunchTemplateName": "web", "Version": "$Latest"})
        );
        let member = &list(&group, "Instances")[0];
        assert_eq!((text(&member["LaunchTemplate"], "Version"), text(member, "InstanceType")), ("1", "t3.micro"));
        let mixed = json!({
            "AutoScalingGroupName": "web", "DesiredCapacity": 4,
            "MixedInstancesPolicy": {"LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateId": id, "Version": "$Latest"},
                "Overrides": [{"InstanceType": "t3.small"}, {"InstanceType": "t3.medium"}],
            }},
        });
        asg(&cloud, "UpdateAutoScalingGroup", mixed).await;
        settled(&cloud, 4).await;
        let group = described(&cloud).await;
        let small = list(&group, "Instances").iter().filter(|m| text(m, "InstanceType") == "t3.small").count();
        assert_eq!(small, 2);
        assert!(group.get("LaunchTemplate").is_none_or(Json::is_null));
    });
}

#[test]
fn mistakes_are_told_in_the_words_of_aws() {
    standfast_testkit::run(10, |cloud| async move {
        configuration(&cloud).await;
        let with = |more: Json| {
            let mut input = json!({
                "AutoScalingGroupName": "web", "LaunchConfigurationName": "lc", "AvailabilityZones": ZONES,
                "MinSize": 1, "MaxSize": 5,
            });
            let all = input.as_object_mut().expect("an object");
            for (key, value) in more.as_object().expect("an object") {
                if value.is_null() {
                    all.remove(key)
                } else {
                    all.insert(key.clone(), value.clone())
                };
            }
            input
        };
        let cases = [
            (json!({"MinSize": 2, "MaxSize": 1}), "Max bound, 1, must be greater than or equal to min bound, 2"),
            (
                json!({"DesiredCapacity": 9}),
                "Desired capacity:9 must be between the specified min size:1 and max size:5",
            ),
            (
                json!({"LaunchConfigurationName": null}),
                "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or \
                 MixedInstancesPolicy parameter.",
            ),
            (
                json!({"LaunchConfigurationName": "other"}),
                "Launch configuration name not found - A launch configuration with the name: other does not exist",
            ),
            (json!({"AvailabilityZones": null}), "At least one Availability Zone or VPC Subnet is required."),
            (json!({"AvailabilityZones": ["us-east-1a"]}), "Invalid Availability Zone: [us-east-1a]"),
        ];
        for (more, message) in cases {
            let found = refused(&cloud, "CreateAutoScalingGroup", with(more)).await;
            assert_eq!(found, ("ValidationError".to_owned(), message.to_owned()));
        }
        let unknown = json!({"VPCZoneIdentifier": "subnet-00000000000000000", "AvailabilityZones": null});
        let (code, message) = refused(&cloud, "CreateAutoScalingGroup", with(unknown)).await;
        assert!(code == "ValidationError" && message.contains("subnet-00000000000000000"), "{message}");
        let classic = refused(&cloud, "CreateAutoScalingGroup", with(json!({"LoadBalancerNames": ["b"]}))).await;
        assert!(classic.0 == "ValidationError" && classic.1.contains("Classic"), "{classic:?}");
        asg(&cloud, "CreateAutoScalingGroup", with(json!({}))).await;
        assert_eq!(refused(&cloud, "CreateAutoScalingGroup", with(json!({}))).await.0, "AlreadyExists");
        let (code, message) =
            refused(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "x", "DesiredCapacity": 1})).await;
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("ValidationError", "AutoScalingGroup name not found - AutoScalingGroup 'x' not found")
        );
        asg(&cloud, "DeleteAutoScalingGroup", json!({"AutoScalingGroupName": "web", "ForceDelete": true})).await;
    });
}
