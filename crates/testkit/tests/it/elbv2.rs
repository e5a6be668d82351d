//! Load balancers through the API: what clients are answered, and what requests and targets do.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{cloudwatch, ec2, elbv2};
use standfast_core::lb::LbDriver;
use standfast_core::{Id, Rng};
use standfast_dataplane::{SimAnswer, SimBackend, SimLb};
use standfast_host::sim::{App, SimReply};
use standfast_kernel::{Cloud, Config, Planes, zones};
use standfast_testkit::{REGION, TestCloud};

use crate::cloudformation_crash::World;
use crate::site::{list, text};

/// More commits than a load balancer's coming or going needs, and fewer cuts than it takes.
const COMMITS_MAX: usize = 200;
const CUTS_MIN: usize = 3;
const SOON: Duration = Duration::from_secs(120);

async fn elb(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    let asked = input.clone();
    let answer = cloud.send(&elbv2::MODEL, operation, input).await;
    answer.unwrap_or_else(|error| panic!("{operation} {asked}: {error}"))
}

async fn refused(cloud: &TestCloud, operation: &str, input: Json) -> (String, String) {
    let error = cloud.refused(&elbv2::MODEL, operation, input).await;
    (error.code.into_owned(), error.message)
}

/// The default VPC, a load balancer with a listener in its first two zones, a target group, two instances in it.
struct Web {
    vpc: String,
    subnets: Vec<String>,
    balancer: String,
    dns_name: String,
    listener: String,
    group: String,
    instances: Vec<String>,
}

async fn subnets(cloud: &TestCloud) -> (String, Vec<String>) {
    let answer = cloud.send(&ec2::MODEL, "DescribeSubnets", json!({})).await.expect("the default VPC has subnets");
    let mut subnets = list(&answer, "Subnets").to_vec();
    subnets.sort_by_key(|subnet| text(subnet, "AvailabilityZone").to_owned());
    let ids = subnets.iter().map(|subnet| text(subnet, "SubnetId").to_owned()).collect();
    (text(&subnets[0], "VpcId").to_owned(), ids)
}

async fn launch(cloud: &TestCloud, subnet: &str) -> String {
    let input = json!({"Filters": [{"Name": "architecture", "Values": ["x86_64"]}]});
    let images = cloud.send(&ec2::MODEL, "DescribeImages", input).await.expect("there are images");
    let image = text(&list(&images, "Images")[0], "ImageId");
    let input = json!({"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "SubnetId": subnet});
    let answer = cloud.send(&ec2::MODEL, "RunInstances", input).await.expect("it is launched");
    text(&list(&answer, "Instances")[0], "InstanceId").to_owned()
}

async fn in_state(cloud: &TestCloud, instance: &str, state: &str) {
    cloud
        .until(&format!("{instance} to be {state}"), SOON, || async {
            let input = json!({"InstanceIds": [instance]});
            let answer = cloud.send(&ec2::MODEL, "DescribeInstances", input).await.ok()?;
            let found = &list(&list(&answer, "Reservations")[0], "Instances")[0]["State"];
            (text(found, "Name") == state).then_some(())
        })
        .await;
}

impl Web {
    async fn up(cloud: &TestCloud) -> Self {
        let (vpc, subnets) = subnets(cloud).await;
        let input = json!({"Name": "web", "Subnets": subnets[..2]});
        let balancers = elb(cloud, "CreateLoadBalancer", input).await;
        let balancer = &list(&balancers, "LoadBalancers")[0];
        assert_eq!(text(&balancer["State"], "Code"), "provisioning");
        let input = json!({
            "Name": "web", "Protocol": "HTTP", "Port": 8080, "VpcId": vpc, "HealthCheckPath": "/healthz",
            "HealthCheckIntervalSeconds": 10, "HealthyThresholdCount": 2,
        });
        let groups = elb(cloud, "CreateTargetGroup", input).await;
        let group = text(&list(&groups, "TargetGroups")[0], "TargetGroupArn").to_owned();
        let input = json!({
            "LoadBalancerArn": balancer["LoadBalancerArn"], "Protocol": "HTTP", "Port": 80,
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": group}],
        });
        let listeners = elb(cloud, "CreateListener", input).await;
        let mut web = Self {
            balancer: text(balancer, "LoadBalancerArn").to_owned(),
            dns_name: text(balancer, "DNSName").to_owned(),
            listener: text(&list(&listeners, "Listeners")[0], "ListenerArn").to_owned(),
            vpc,
            subnets,
            group,
            instances: Vec::new(),
        };
        for subnet in 0..2 {
            let instance = launch(cloud, &web.subnets[subnet]).await;
            in_state(cloud, &instance, "running").await;
            web.register(cloud, &instance).await;
            web.instances.push(instance);
        }
        for instance in &web.instances {
            web.wait(cloud, instance, "healthy").await;
        }
        web
    }

    async fn register(&self, cloud: &TestCloud, instance: &str) {
        elb(cloud, "RegisterTargets", json!({"TargetGroupArn": self.group, "Targets": [{"Id": instance}]})).await;
    }

    async fn deregister(&self, cloud: &TestCloud, instance: &str) {
        elb(cloud, "DeregisterTargets", json!({"TargetGroupArn": self.group, "Targets": [{"Id": instance}]})).await;
    }

    /// State and reason of a target.
    async fn health(&self, cloud: &TestCloud, id: &str) -> (String, String) {
        let input = json!({"TargetGroupArn": self.group, "Targets": [{"Id": id}]});
        let answer = elb(cloud, "DescribeTargetHealth", input).await;
        let health = &list(&answer, "TargetHealthDescriptions")[0]["TargetHealth"];
        (text(health, "State").to_owned(), text(health, "Reason").to_owned())
    }

    async fn wait(&self, cloud: &TestCloud, id: &str, state: &str) {
        let what = format!("{id} to be {state}");
        cloud.until(&what, SOON, || async { (self.health(cloud, id).await.0 == state).then_some(()) }).await;
    }

    async fn registered(&self, cloud: &TestCloud) -> usize {
        let answer = elb(cloud, "DescribeTargetHealth", json!({"TargetGroupArn": self.group})).await;
        list(&answer, "TargetHealthDescriptions").len()
    }

    async fn set_delay(&self, cloud: &TestCloud, seconds: u32) {
        let attribute = json!({"Key": "deregistration_delay.timeout_seconds", "Value": seconds.to_string()});
        let input = json!({"TargetGroupArn": self.group, "Attributes": [attribute]});
        elb(cloud, "ModifyTargetGroupAttributes", input).await;
    }
}

#[test]
fn a_new_load_balancer_forwards_to_healthy_instances() {
    standfast_testkit::run(1, |cloud| async move {
        let web = Web::up(&cloud).await;
        let answer = elb(&cloud, "DescribeLoadBalancers", json!({"Names": ["web"]})).await;
        let balancer = &list(&answer, "LoadBalancers")[0];
        assert_eq!(text(&balancer["State"], "Code"), "active");
        assert_eq!(text(balancer, "Scheme"), "internet-facing");
        assert_eq!(list(balancer, "SecurityGroups").len(), 1, "the VPC's default group");
        assert_eq!(list(balancer, "AvailabilityZones").len(), 2);
        assert!(web.dns_name.starts_with("web-") && web.dns_name.ends_with(".eu-west-1.elb.localhost"));
        for _ in 0..10 {
            assert_eq!(cloud.lb.request(&web.dns_name, "/"), 200);
        }
        let input = json!({"LoadBalancerArn": web.balancer});
        let groups = elb(&cloud, "DescribeTargetGroups", input).await;
        let group = &list(&groups, "TargetGroups")[0];
        assert_eq!(group["LoadBalancerArns"], json!([web.balancer]));
        assert_eq!((text(group, "HealthCheckPort"), text(&group["Matcher"], "HttpCode")), ("traffic-port", "200"));
    });
}

#[test]
fn health_is_what_the_application_and_the_instance_show() {
    standfast_testkit::run(2, |cloud| async move {
        let web = Web::up(&cloud).await;
        let (first, second) = (web.instances[0].as_str(), web.instances[1].as_str());
        cloud.host.set_app(&Id::from_text(first), App::Status(500));
        web.wait(&cloud, first, "unhealthy").await;
        assert_eq!(web.health(&cloud, first).await.1, "Target.ResponseCodeMismatch");
        cloud.host.set_app(&Id::from_text(first), App::Healthy);
        web.wait(&cloud, first, "healthy").await;

        cloud.cloud.planes().host.kill(&Id::from_text(second)).expect("it runs");
        web.wait(&cloud, second, "unused").await;
        assert_eq!(web.health(&cloud, second).await.1, "Target.InvalidState");
        for _ in 0..10 {
            assert_eq!(cloud.lb.request(&web.dns_name, "/"), 200, "the dead one gets nothing");
        }
        let unknown = "i-0123456789abcdef0";
        assert_eq!(web.health(&cloud, unknown).await, ("unused".into(), "Target.NotRegistered".into()));
        elb(&cloud, "DeleteListener", json!({"ListenerArn": web.listener})).await;
        assert_eq!(web.health(&cloud, first).await, ("unused".into(), "Target.NotInUse".into()));
    });
}

#[test]
fn a_terminated_instance_is_deregistered() {
    standfast_testkit::run(3, |cloud| async move {
        let web = Web::up(&cloud).await;
        let input = json!({"InstanceIds": [web.instances[0]]});
        cloud.send(&ec2::MODEL, "TerminateInstances", input).await.expect("it runs");
        cloud
            .until("one target to be left", SOON, || async { (web.registered(&cloud).await == 1).then_some(()) })
            .await;
    });
}

#[test]
fn a_deregistered_target_drains_until_its_requests_are_done() {
    standfast_testkit::run(4, |cloud| async move {
        let web = Web::up(&cloud).await;
        let first = web.instances[0].as_str();
        web.deregister(&cloud, first).await;
        assert_eq!(web.health(&cloud, first).await, ("draining".into(), "Target.DeregistrationInProgress".into()));
        assert_eq!(cloud.lb.request(&web.dns_name, "/"), 200);
        web.register(&cloud, first).await;
        web.wait(&cloud, first, "healthy").await;
        web.deregister(&cloud, first).await;
        let begun = cloud.now();
        web.wait(&cloud, first, "unused").await;
        assert!(cloud.now().since(begun) < Duration::from_secs(5), "nothing was under way, so it did not take 300 s");
        assert_eq!(web.registered(&cloud).await, 1);

        web.register(&cloud, first).await;
        web.set_delay(&cloud, 0).await;
        web.deregister(&cloud, first).await;
        assert_eq!(web.registered(&cloud).await, 1, "without a delay it is gone at once");
    });
}

#[test]
fn rules_choose_what_happens_to_a_request() {
    standfast_testkit::run(5, |cloud| async move {
        let web = Web::up(&cloud).await;
        let fixed = |status: &str| json!([{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": status}}]);
        let path = |pattern: &str| json!([{"Field": "path-pattern", "Values": [pattern]}]);
        let rule = |pattern: &str, priority: u32, status: &str| {
            json!({
                "ListenerArn": web.listener, "Priority": priority, "Conditions": path(pattern),
                "Actions": fixed(status),
            })
        };
        let made = elb(&cloud, "CreateRule", rule("/api/*", 20, "418")).await;
        let arn = text(&list(&made, "Rules")[0], "RuleArn").to_owned();
        let redirect = json!([{"Type": "redirect", "RedirectConfig": {"Port": "443", "StatusCode": "HTTP_301"}}]);
        let input = json!({
            "ListenerArn": web.listener, "Priority": 30, "Conditions": path("/old"), "Actions": redirect,
        });
        elb(&cloud, "CreateRule", input).await;
        cloud.pass(Duration::from_millis(1)).await;
        for (path, status) in [("/api/x", 418), ("/api", 200), ("/old", 301), ("/", 200)] {
            assert_eq!(cloud.lb.request(&web.dns_name, path), status, "{path}");
        }
        elb(&cloud, "CreateRule", rule("/api/x*", 40, "503")).await;
        let taken = refused(&cloud, "CreateRule", rule("/b", 20, "200")).await;
        assert_eq!(taken, ("PriorityInUse".into(), "Priority '20' is currently in use".into()));
        let pair = |priority: u32| json!({"RulePriorities": [{"RuleArn": arn, "Priority": priority}]});
        assert_eq!(refused(&cloud, "SetRulePriorities", pair(30)).await.0, "PriorityInUse");
        elb(&cloud, "SetRulePriorities", pair(50)).await;
        cloud.pass(Duration::from_millis(1)).await;
        assert_eq!(cloud.lb.request(&web.dns_name, "/api/x"), 503);

        let rules = elb(&cloud, "DescribeRules", json!({"ListenerArn": web.listener})).await;
        let priorities: Vec<_> = list(&rules, "Rules").iter().map(|rule| text(rule, "Priority")).collect();
        assert_eq!(priorities, ["30", "40", "50", "default"]);
        let default = list(&rules, "Rules")[3]["RuleArn"].clone();
        assert_eq!(refused(&cloud, "DeleteRule", json!({"RuleArn": default})).await.0, "OperationNotPermitted");
        elb(&cloud, "DeleteRule", json!({"RuleArn": arn})).await;
        assert_eq!(refused(&cloud, "DescribeRules", json!({"RuleArns": [arn]})).await.0, "RuleNotFound");
    });
}

#[test]
fn creating_again_gives_the_same_and_other_settings_are_refused() {
    standfast_testkit::run(6, |cloud| async move {
        let web = Web::up(&cloud).await;
        let same = elb(&cloud, "CreateLoadBalancer", json!({"Name": "web", "Subnets": web.subnets[..2]})).await;
        assert_eq!(text(&list(&same, "LoadBalancers")[0], "LoadBalancerArn"), web.balancer);
        let other = json!({"Name": "web", "Subnets": web.subnets[..2], "Scheme": "internal"});
        let (code, message) = refused(&cloud, "CreateLoadBalancer", other).await;
        assert_eq!(code, "DuplicateLoadBalancerName");
        assert_eq!(message, "A load balancer with the same name 'web' exists, but with different settings");
        let other = json!({"Name": "web", "Protocol": "HTTP", "Port": 81, "VpcId": web.vpc});
        assert_eq!(refused(&cloud, "CreateTargetGroup", other).await.0, "DuplicateTargetGroupName");
        let action = json!([{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}]);
        let other = json!({"LoadBalancerArn": web.balancer, "Protocol": "HTTP", "Port": 80, "DefaultActions": action});
        assert_eq!(refused(&cloud, "CreateListener", other).await.0, "DuplicateListener");
    });
}

#[test]
fn what_cannot_be_is_refused_with_the_code_of_aws() {
    standfast_testkit::run(7, |cloud| async move {
        let web = Web::up(&cloud).await;
        let forward = json!([{"Type": "forward", "TargetGroupArn": web.group}]);
        let elsewhere = web.balancer.replace("/web/", "/not/");
        let group = |change: Json| {
            let mut input = json!({"Name": "other", "Protocol": "HTTP", "Port": 80, "VpcId": web.vpc});
            input.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            input
        };
        let cases = [
            ("DescribeLoadBalancers", json!({"Names": ["nope"]}), "LoadBalancerNotFound"),
            ("DescribeLoadBalancers", json!({"LoadBalancerArns": [elsewhere]}), "LoadBalancerNotFound"),
            ("DescribeLoadBalancers", json!({"LoadBalancerArns": ["nope"]}), "ValidationError"),
            ("DescribeTargetGroups", json!({"Names": ["nope"]}), "TargetGroupNotFound"),
            ("DeleteTargetGroup", json!({"TargetGroupArn": web.group}), "ResourceInUse"),
            ("CreateLoadBalancer", json!({"Name": "b", "Subnets": web.subnets[..1]}), "ValidationError"),
            (
                "CreateLoadBalancer",
                json!({"Name": "b", "Subnets": [web.subnets[0], "subnet-0123456789abcdef0"]}),
                "SubnetNotFound",
            ),
            (
                "CreateLoadBalancer",
                json!({"Name": "b", "Subnets": web.subnets[..2], "SecurityGroups": ["sg-0123456789abcdef0"]}),
                "InvalidConfigurationRequest",
            ),
            (
                "CreateLoadBalancer",
                json!({"Name": "b", "Subnets": web.subnets[..2], "Type": "network"}),
                "OperationNotPermitted",
            ),
            (
                "CreateListener",
                json!({
                    "LoadBalancerArn": web.balancer, "Protocol": "HTTPS", "Port": 443, "DefaultActions": forward,
                }),
                "ValidationError",
            ),
            ("CreateTargetGroup", group(json!({"TargetType": "lambda"})), "OperationNotPermitted"),
            ("CreateTargetGroup", group(json!({"Protocol": "TCP"})), "OperationNotPermitted"),
            ("CreateTargetGroup", group(json!({"VpcId": "vpc-0123456789abcdef0"})), "ValidationError"),
            (
                "CreateTargetGroup",
                group(json!({"HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 10})),
                "ValidationError",
            ),
            (
                "RegisterTargets",
                json!({"TargetGroupArn": web.group, "Targets": [{"Id": "i-0123456789abcdef0"}]}),
                "InvalidTarget",
            ),
        ];
        for (operation, input, code) in cases {
            let (found, message) = refused(&cloud, operation, input.clone()).await;
            assert_eq!(found, code, "{operation} {input}: {message}");
        }
        let second = elb(&cloud, "CreateLoadBalancer", json!({"Name": "b", "Subnets": web.subnets[..2]})).await;
        let input = json!({
            "LoadBalancerArn": list(&second, "LoadBalancers")[0]["LoadBalancerArn"], "Protocol": "HTTP",
            "Port": 80, "DefaultActions": forward,
        });
        assert_eq!(refused(&cloud, "CreateListener", input).await.0, "TargetGroupAssociationLimit");
    });
}

/// The interfaces of a load balancer's nodes, as anybody finds them.
async fn nodes(cloud: &TestCloud, balancer: &str) -> Vec<Json> {
    let (_, id) = balancer.split_once("loadbalancer/").expect("an ARN");
    let filters = json!([{"Name": "description", "Values": [format!("ELB {id}")]}]);
    let found = cloud.send(&ec2::MODEL, "DescribeNetworkInterfaces", json!({"Filters": filters})).await;
    list(&found.expect("it is described"), "NetworkInterfaces").to_vec()
}

async fn nodes_in(cloud: &TestCloud, balancer: &str, subnets: &[String]) {
    let wanted: std::collections::BTreeSet<&str> = subnets.iter().map(String::as_str).collect();
    cloud
        .until("an interface in each subnet and no other", SOON, || async {
            let found = nodes(cloud, balancer).await;
            let subnets: std::collections::BTreeSet<&str> = found.iter().map(|node| text(node, "SubnetId")).collect();
            (subnets == wanted && found.len() == wanted.len()).then_some(())
        })
        .await;
}

#[test]
fn nodes_have_interfaces_in_their_subnets_for_as_long_as_the_load_balancer_lives() {
    standfast_testkit::run(16, |cloud| async move {
        let (vpc, subnets) = subnets(&cloud).await;
        let group = |name: &str| json!({"GroupName": name, "Description": name, "VpcId": vpc});
        let first = cloud.send(&ec2::MODEL, "CreateSecurityGroup", group("first")).await.expect("made");
        let second = cloud.send(&ec2::MODEL, "CreateSecurityGroup", group("second")).await.expect("made");
        let input = json!({"Name": "web", "Subnets": subnets[..2], "SecurityGroups": [first["GroupId"]]});
        let made = elb(&cloud, "CreateLoadBalancer", input).await;
        let balancer = &list(&made, "LoadBalancers")[0];
        let arn = text(balancer, "LoadBalancerArn");
        let describe = || async {
            let answer = elb(&cloud, "DescribeLoadBalancers", json!({"LoadBalancerArns": [arn]})).await;
            list(&answer, "LoadBalancers")[0].clone()
        };
        cloud
            .until("it to be active", SOON, || async {
                (text(&describe().await["State"], "Code") == "active").then_some(())
            })
            .await;
        for zone in list(&describe().await, "AvailabilityZones") {
            assert_eq!(zone["LoadBalancerAddresses"], json!([]), "as of every application load balancer");
        }
        nodes_in(&cloud, arn, &subnets[..2]).await;
        for node in nodes(&cloud, arn).await {
            assert_eq!((node["RequesterManaged"].clone(), text(&node, "InterfaceType")), (json!(true), "interface"));
            assert_eq!(list(&node, "Groups")[0]["GroupId"], first["GroupId"]);
            let name = json!({"Key": "aws:standfast:dns-name", "Value": balancer["DNSName"]});
            assert_eq!(node["TagSet"], json!([name]), "its VPC's resolver knows the name");
        }
        let subnet = json!({"SubnetId": subnets[0]});
        let refused = cloud.refused(&ec2::MODEL, "DeleteSubnet", subnet.clone()).await;
        assert_eq!(refused.code, "DependencyViolation");
        let group = json!({"GroupId": first["GroupId"]});
        let refused = cloud.refused(&ec2::MODEL, "DeleteSecurityGroup", group.clone()).await;
        assert_eq!(refused.code, "DependencyViolation");

        let input = json!({"LoadBalancerArn": arn, "SecurityGroups": [second["GroupId"]]});
        elb(&cloud, "SetSecurityGroups", input).await;
        cloud
            .until("the old group to be free", SOON, || async {
                cloud.send(&ec2::MODEL, "DeleteSecurityGroup", group.clone()).await.ok()
            })
            .await;
        elb(&cloud, "SetSubnets", json!({"LoadBalancerArn": arn, "Subnets": subnets[1..3]})).await;
        nodes_in(&cloud, arn, &subnets[1..3]).await;
        cloud.send(&ec2::MODEL, "DeleteSubnet", subnet).await.expect("nothing is left in it");

        elb(&cloud, "DeleteLoadBalancer", json!({"LoadBalancerArn": arn})).await;
        nodes_in(&cloud, arn, &[]).await;
        for id in &subnets[1..3] {
            cloud.send(&ec2::MODEL, "DeleteSubnet", json!({"SubnetId": id})).await.expect("nothing is left in it");
        }
        let group = json!({"GroupId": second["GroupId"]});
        cloud.send(&ec2::MODEL, "DeleteSecurityGroup", group).await.expect("nothing is left in it");
    });
}

#[test]
fn a_load_balancer_that_is_deleted_at_once_leaves_nothing() {
    standfast_testkit::run(14, |cloud| async move {
        let (_, subnets) = subnets(&cloud).await;
        for round in 0..5 {
            let made = elb(&cloud, "CreateLoadBalancer", json!({"Name": "web", "Subnets": subnets[..2]})).await;
            let arn = text(&list(&made, "LoadBalancers")[0], "LoadBalancerArn").to_owned();
            for _ in 0..round {
                tokio::task::yield_now().await; // The controllers get a little further each time.
            }
            elb(&cloud, "DeleteLoadBalancer", json!({"LoadBalancerArn": arn})).await;
        }
        cloud.pass(Duration::from_secs(60)).await;
        let found = cloud.send(&ec2::MODEL, "DescribeNetworkInterfaces", json!({})).await.expect("described");
        assert_eq!(found["NetworkInterfaces"], json!([]));
    });
}

/// The interfaces of all load balancers, once the control plane has had its time.
async fn settled(cloud: &Cloud) -> usize {
    cloud.clock().sleep(Duration::from_secs(60)).await;
    let found = cloud.owner(REGION).call(ec2::DescribeNetworkInterfaces, Default::default()).await;
    found.expect("described").network_interfaces.unwrap_or_default().len()
}

/// A control plane that is asked for a load balancer and, when `deletes`, to delete it again, and dies so many commits
/// later: how many interfaces another one ends with, and whether the first one died.
async fn cut_after(commits: usize, deletes: bool) -> (usize, bool) {
    let world = World::new(64);
    let first = world.control_plane(usize::MAX);
    let cx = first.owner(REGION);
    let subnets = cx.call(ec2::DescribeSubnets, Default::default()).await.expect("described").subnets;
    let subnets: Vec<_> = subnets.unwrap_or_default().into_iter().filter_map(|subnet| subnet.subnet_id).collect();
    let input = elbv2::CreateLoadBalancerInput {
        name: "web".into(),
        subnets: Some(subnets[..2].to_vec()),
        ..Default::default()
    };
    let made = cx.call(elbv2::CreateLoadBalancer, input).await.expect("made").load_balancers.unwrap_or_default();
    if deletes {
        assert_eq!(settled(&first).await, 2);
        let load_balancer_arn = made[0].load_balancer_arn.clone().expect("it has one");
        let input = elbv2::DeleteLoadBalancerInput { load_balancer_arn };
        cx.call(elbv2::DeleteLoadBalancer, input).await.expect("deleted");
    }
    first.supervisor().stop();
    let mortal = world.control_plane(commits);
    mortal.clock().sleep(Duration::from_secs(5)).await;
    let died = mortal.owner(REGION).txn(|_| Ok(())).await.is_err();
    mortal.supervisor().stop();
    (settled(&world.control_plane(usize::MAX)).await, died)
}

#[test]
fn a_control_plane_that_dies_neither_loses_nor_doubles_a_node() {
    for (deletes, left) in [(false, 2), (true, 0)] {
        let cut = |commits: usize| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            let (found, died) = runtime.expect("a runtime can be built").block_on(cut_after(commits, deletes));
            assert_eq!(found, left, "cut after {commits} commits");
            died
        };
        let cuts = (0..COMMITS_MAX).take_while(|commits| cut(*commits)).count();
        assert!(cuts > CUTS_MIN && cuts < COMMITS_MAX, "the story was cut {cuts} times");
    }
}

#[test]
fn a_subnet_without_room_is_refused() {
    standfast_testkit::run(15, |cloud| async move {
        let (vpc, mut subnets) = subnets(&cloud).await;
        let zone = json!({"VpcId": vpc, "CidrBlock": "172.31.200.0/28", "AvailabilityZone": "eu-west-1b"});
        let made = cloud.send(&ec2::MODEL, "CreateSubnet", zone).await.expect("its block is free");
        subnets[1] = text(&made["Subnet"], "SubnetId").to_owned();
        for _ in 0..4 {
            let input = json!({"SubnetId": subnets[1]});
            cloud.send(&ec2::MODEL, "CreateNetworkInterface", input).await.expect("there is room");
        }
        let (code, message) =
            refused(&cloud, "CreateLoadBalancer", json!({"Name": "web", "Subnets": subnets[..2]})).await;
        assert_eq!(code, "InvalidSubnet");
        assert!(message.starts_with(&format!("Not enough IP space available in {}.", subnets[1])), "{message}");
    });
}

#[test]
fn deletion_protection_keeps_a_load_balancer() {
    standfast_testkit::run(8, |cloud| async move {
        let web = Web::up(&cloud).await;
        let protect = |on: &str| {
            let attributes = json!([{"Key": "deletion_protection.enabled", "Value": on}]);
            json!({"LoadBalancerArn": web.balancer, "Attributes": attributes})
        };
        let arn = json!({"LoadBalancerArn": web.balancer});
        elb(&cloud, "ModifyLoadBalancerAttributes", protect("true")).await;
        assert_eq!(refused(&cloud, "DeleteLoadBalancer", arn.clone()).await.0, "OperationNotPermitted");
        elb(&cloud, "ModifyLoadBalancerAttributes", protect("false")).await;
        elb(&cloud, "DeleteLoadBalancer", arn.clone()).await;
        elb(&cloud, "DeleteLoadBalancer", arn).await;
        cloud.pass(Duration::from_millis(1)).await;
        assert_eq!(cloud.lb.request(&web.dns_name, "/"), 0, "its nodes are closed");
        elb(&cloud, "DeleteTargetGroup", json!({"TargetGroupArn": web.group})).await;
        assert_eq!(
            refused(&cloud, "DescribeTags", json!({"ResourceArns": [web.group]})).await.0,
            "TargetGroupNotFound"
        );
    });
}

#[test]
fn addresses_can_be_targets() {
    standfast_testkit::run(9, |cloud| async move {
        let web = Web::up(&cloud).await;
        let input = json!({"InstanceIds": [web.instances[0]]});
        let answer = cloud.send(&ec2::MODEL, "DescribeInstances", input).await.expect("it exists");
        let address = list(&list(&answer, "Reservations")[0], "Instances")[0]["PrivateIpAddress"].clone();
        let input = json!({
            "Name": "ips", "Protocol": "HTTP", "Port": 8080, "VpcId": web.vpc, "TargetType": "ip",
        });
        let groups = elb(&cloud, "CreateTargetGroup", input).await;
        let group = text(&list(&groups, "TargetGroups")[0], "TargetGroupArn").to_owned();
        let targets = json!({"TargetGroupArn": group, "Targets": [{"Id": address}]});
        elb(&cloud, "RegisterTargets", targets.clone()).await;
        let forward = json!([{"Type": "forward", "TargetGroupArn": group}]);
        let modified =
            elb(&cloud, "ModifyListener", json!({"ListenerArn": web.listener, "DefaultActions": forward})).await;
        assert_eq!(list(&list(&modified, "Listeners")[0], "DefaultActions")[0]["TargetGroupArn"], json!(group));
        let ips = Web { group, ..web };
        ips.wait(&cloud, address.as_str().expect("text"), "healthy").await;
        assert_eq!(cloud.lb.request(&ips.dns_name, "/"), 200);
        elb(&cloud, "DeregisterTargets", targets).await;
        ips.wait(&cloud, address.as_str().expect("text"), "unused").await;
        assert_eq!(cloud.lb.request(&ips.dns_name, "/"), 503);
    });
}

#[test]
fn tags_and_attributes_are_given_back_as_they_were_set() {
    standfast_testkit::run(10, |cloud| async move {
        let web = Web::up(&cloud).await;
        let arns = json!([web.balancer, web.group, web.listener]);
        let tags = json!([{"Key": "Project", "Value": "ha"}, {"Key": "Empty", "Value": ""}]);
        elb(&cloud, "AddTags", json!({"ResourceArns": arns, "Tags": tags})).await;
        elb(&cloud, "RemoveTags", json!({"ResourceArns": [web.group], "TagKeys": ["Project"]})).await;
        let described = elb(&cloud, "DescribeTags", json!({"ResourceArns": arns})).await;
        let counts: Vec<_> = list(&described, "TagDescriptions").iter().map(|d| list(d, "Tags").len()).collect();
        assert_eq!(counts, [2, 1, 2]);
        let twice = json!([{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]);
        let (code, _) = refused(&cloud, "AddTags", json!({"ResourceArns": arns, "Tags": twice})).await;
        assert_eq!(code, "DuplicateTagKeys");

        web.set_delay(&cloud, 20).await;
        let answer = elb(&cloud, "DescribeTargetGroupAttributes", json!({"TargetGroupArn": web.group})).await;
        let value = |key: &str| {
            let found = list(&answer, "Attributes").iter().find(|attribute| text(attribute, "Key") == key);
            text(found.expect("it is listed"), "Value").to_owned()
        };
        assert_eq!(value("deregistration_delay.timeout_seconds"), "20");
        assert_eq!(value("load_balancing.algorithm.type"), "round_robin");
    });
}

#[test]
fn a_dark_zone_loses_its_node_and_its_targets() {
    standfast_testkit::run(11, |cloud| async move {
        let web = Web::up(&cloud).await;
        zones::set_power(&cloud.cx(), "eu-west-1a", false).await.expect("a zone");
        web.wait(&cloud, &web.instances[0], "unused").await;
        assert_eq!(web.health(&cloud, &web.instances[1]).await.0, "healthy");
        let nodes = || cloud.lb.observe().listeners.into_keys().map(|(_, zone, _)| zone).collect::<Vec<_>>();
        assert_eq!(nodes(), ["eu-west-1b"]);
        for _ in 0..10 {
            assert_eq!(cloud.lb.request(&web.dns_name, "/"), 200);
        }
        zones::set_power(&cloud.cx(), "eu-west-1a", true).await.expect("a zone");
        cloud.pass(Duration::from_millis(1)).await;
        assert_eq!(nodes(), ["eu-west-1a", "eu-west-1b"]);
        let input = json!({"LoadBalancerArn": web.balancer, "Subnets": web.subnets[1..]});
        elb(&cloud, "SetSubnets", input).await;
        cloud.pass(Duration::from_millis(1)).await;
        assert_eq!(nodes(), ["eu-west-1b", "eu-west-1c"]);
        assert_eq!(web.health(&cloud, &web.instances[0]).await.1, "Target.NotInUse", "its zone is not enabled");
    });
}

#[test]
fn requests_are_counted_in_cloudwatch() {
    standfast_testkit::run(12, |cloud| async move {
        let web = Web::up(&cloud).await;
        let start = cloud.now();
        for _ in 0..7 {
            cloud.lb.request(&web.dns_name, "/");
        }
        cloud.pass(Duration::from_secs(130)).await;
        let dimension = web.balancer.split_once("loadbalancer/").expect("an ARN").1;
        let sum = |metric: &'static str, statistic: &'static str| {
            let input = json!({
                "Namespace": "AWS/ApplicationELB", "MetricName": metric, "Period": 60, "Statistics": [statistic],
                "Dimensions": [{"Name": "LoadBalancer", "Value": dimension}],
                "StartTime": (start - Duration::from_secs(60)).iso8601(), "EndTime": cloud.now().iso8601(),
            });
            let cloud = &cloud;
            async move {
                let answer = cloud.send(&cloudwatch::MODEL, "GetMetricStatistics", input).await.expect("valid");
                list(&answer, "Datapoints").iter().filter_map(|point| point[statistic].as_f64()).sum::<f64>()
            }
        };
        assert_eq!(sum("RequestCount", "Sum").await, 7.0);
        assert_eq!(sum("RequestCount", "SampleCount").await, 7.0);
    });
}

#[test]
fn a_cloud_that_is_started_again_forwards_as_before() {
    standfast_testkit::run(13, |mut cloud| async move {
        let web = Web::up(&cloud).await;
        let (first, second) = (web.instances[0].as_str(), web.instances[1].as_str());
        cloud.cloud.supervisor().stop();
        let hosts = cloud.host.clone();
        let backend: SimBackend = Arc::new(move |address, path| match hosts.answer(address, path) {
            SimReply::Status(status) => SimAnswer::Status(status),
            SimReply::Refused => SimAnswer::Refused,
            SimReply::Timeout => SimAnswer::Timeout,
        });
        let clock = cloud.cloud.clock().clone();
        let lb = Arc::new(SimLb::new(clock.clone(), backend));
        let config = Config {
            clock,
            rng: Rng::seeded(cloud.seed()),
            store: cloud.cloud.store().clone(),
            planes: Planes { host: cloud.host.clone(), lb: lb.clone(), courier: cloud.courier.clone() },
            api_port: cloud.cloud.api_port(),
        };
        (cloud.cloud, cloud.lb) = (Cloud::start(config, standfast::services()), lb);
        web.wait(&cloud, first, "healthy").await;
        web.wait(&cloud, second, "healthy").await;
        for _ in 0..10 {
            assert_eq!(cloud.lb.request(&web.dns_name, "/"), 200);
        }
    });
}
