//! What actions break, and that it is whole again: at its time, when it is stopped, and where it cannot be done, before.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{autoscaling, cloudwatch, ec2, elbv2, ssm};
use standfast_core::host::Abilities;
use standfast_core::network::{Harm, Traffic, Way};
use standfast_testkit::TestCloud;

use crate::autoscaling::{asg, described, group, image, settled};
use crate::faults_fis::{SOON, becomes, call, not_started, start, stop, template, wait};
use crate::site::{Site, list, text};

pub const ABLE: Abilities = Abilities { networks: true, volumes: true, metadata: false, loss: true, delay: true };
const MINUTE: Duration = Duration::from_secs(60);

/// An experiment's parts: one action, on one target if it needs one.
fn one(cloud: &TestCloud, id: &str, parameters: Json, target: Option<(&str, Json)>) -> Json {
    let mut action = json!({"actionId": id, "parameters": parameters});
    let mut targets = json!({});
    if let Some((name, target)) = target {
        action["targets"] = json!({name: "it"});
        targets = json!({"it": target});
    }
    template(cloud, json!({"act": action}), targets)
}

fn all(resource_type: &str, arn: &str) -> Json {
    json!({"resourceType": resource_type, "resourceArns": [arn], "selectionMode": "ALL"})
}

fn instance_arn(id: &str) -> String {
    format!("arn:aws:ec2:eu-west-1:000000000000:instance/{id}")
}

async fn ec2_call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    cloud.send(&ec2::MODEL, operation, input).await.unwrap_or_else(|error| panic!("{operation}: {error}"))
}

/// A running instance.
async fn instance(cloud: &TestCloud) -> Json {
    let input = json!({"ImageId": image(cloud).await, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1});
    let made = ec2_call(cloud, "RunInstances", input).await;
    let id = text(&list(&made, "Instances")[0], "InstanceId").to_owned();
    state_becomes(cloud, &id, "running").await
}

async fn state_becomes(cloud: &TestCloud, id: &str, wanted: &str) -> Json {
    cloud
        .until(&format!("{id} to be {wanted}"), MINUTE, || async {
            let seen = ec2_call(cloud, "DescribeInstances", json!({"InstanceIds": [id]})).await;
            let seen = list(&list(&seen, "Reservations")[0], "Instances")[0].clone();
            (text(&seen["State"], "Name") == wanted).then_some(seen)
        })
        .await
}

#[test]
fn instances_that_are_stopped_are_started_again_at_their_time_and_on_stop() {
    standfast_testkit::run(1, |cloud| async move {
        let id = text(&instance(&cloud).await, "InstanceId").to_owned();
        let target = || Some(("Instances", all("aws:ec2:instance", &instance_arn(&id))));
        let parameters = json!({"startInstancesAfterDuration": "PT30S"});
        let experiment = start(&cloud, one(&cloud, "aws:ec2:stop-instances", parameters.clone(), target())).await;
        state_becomes(&cloud, &id, "stopped").await;
        becomes(&cloud, &experiment, "running").await;
        state_becomes(&cloud, &id, "running").await;
        let experiment = start(&cloud, one(&cloud, "aws:ec2:stop-instances", parameters.clone(), target())).await;
        state_becomes(&cloud, &id, "stopped").await;
        stop(&cloud, &experiment).await;
        state_becomes(&cloud, &id, "running").await;

        // One that is gone cannot be started again.
        let experiment = start(&cloud, one(&cloud, "aws:ec2:stop-instances", parameters, target())).await;
        state_becomes(&cloud, &id, "stopped").await;
        ec2_call(&cloud, "TerminateInstances", json!({"InstanceIds": [id]})).await;
        let failed = cloud
            .until("the experiment to fail", MINUTE, || async {
                let seen = call(&cloud, "GetExperiment", json!({"id": experiment})).await["experiment"].clone();
                (text(&seen["state"], "status") == "failed").then_some(seen)
            })
            .await;
        assert!(text(&failed["state"], "reason").contains("terminated meanwhile"), "{failed}");
    });
}

#[test]
fn an_instance_is_rebooted() {
    standfast_testkit::run(1, |cloud| async move {
        let id = text(&instance(&cloud).await, "InstanceId").to_owned();
        let target = Some(("Instances", all("aws:ec2:instance", &instance_arn(&id))));
        let experiment = start(&cloud, one(&cloud, "aws:ec2:reboot-instances", json!({}), target)).await;
        becomes(&cloud, &experiment, "completed").await;
        cloud
            .until("a second boot", MINUTE, || async {
                let snapshot = cloud.host.snapshot();
                snapshot.instances.values().any(|one| one.boot == 2).then_some(())
            })
            .await;
    });
}

#[test]
fn launches_of_a_group_find_no_capacity_in_a_zone_until_it_ends() {
    standfast_testkit::run(3, |cloud| async move {
        group(&cloud, 3, json!({})).await;
        let arn = text(&described(&cloud).await, "AutoScalingGroupARN").to_owned();
        let parameters = json!({"duration": "PT10M", "availabilityZoneIdentifiers": "euw1-az1,eu-west-1b"});
        let target = Some(("AutoScalingGroups", all("aws:ec2:autoscaling-group", &arn)));
        let action = "aws:ec2:asg-insufficient-instance-capacity-error";
        let experiment = start(&cloud, one(&cloud, action, parameters, target)).await;
        becomes(&cloud, &experiment, "running").await;
        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 6})).await;
        settled(&cloud, 6).await;
        let zones = async || {
            let members = described(&cloud).await;
            let mut zones: Vec<_> =
                list(&members, "Instances").iter().map(|m| text(m, "AvailabilityZone").to_owned()).collect();
            zones.sort();
            zones
        };
        assert_eq!(zones().await.iter().filter(|zone| *zone == "eu-west-1c").count(), 4, "all new ones are in c");
        // Somebody else's launch is none of its business.
        let input = json!({"ImageId": image(&cloud).await, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1,
            "Placement": {"AvailabilityZone": "eu-west-1a"}});
        ec2_call(&cloud, "RunInstances", input).await;
        stop(&cloud, &experiment).await;
        cloud
            .until("the group to balance again", Duration::from_secs(3600), || async {
                let zones = zones().await;
                let in_c = zones.iter().filter(|zone| *zone == "eu-west-1c").count();
                (in_c == 2 && zones.len() == 6).then_some(())
            })
            .await;
    });
}

#[test]
fn nobody_launches_in_a_zone_without_capacity() {
    standfast_testkit::run(3, |cloud| async move {
        let parameters = json!({"availabilityZoneIdentifiers": "eu-west-1a"});
        let experiment = start(&cloud, one(&cloud, "standfast:az:insufficient-capacity", parameters, None)).await;
        becomes(&cloud, &experiment, "running").await;
        let input = json!({"ImageId": image(&cloud).await, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1,
            "Placement": {"AvailabilityZone": "eu-west-1a"}});
        let error = cloud.refused(&ec2::MODEL, "RunInstances", input.clone()).await;
        assert!(error.is("InsufficientInstanceCapacity"), "{error}");
        stop(&cloud, &experiment).await;
        ec2_call(&cloud, "RunInstances", input).await;
        let bad = one(&cloud, "standfast:az:insufficient-capacity", json!({"availabilityZoneIdentifiers": "x"}), None);
        assert!(not_started(&cloud, bad).await.message.contains("'x' is not an availability zone"));
    });
}

#[test]
fn requests_are_throttled_fail_and_find_nobody_until_it_ends() {
    standfast_testkit::run(5, |cloud| async move {
        let cases = [
            ("standfast:api:throttle-error", "RequestLimitExceeded"),
            ("standfast:api:internal-error", "InternalError"),
            ("standfast:api:unavailable-error", "Unavailable"),
        ];
        for (action, code) in cases {
            let parameters =
                json!({"service": "ec2", "operations": "DescribeVpcs, DescribeSubnets", "duration": "PT20S"});
            let experiment = start(&cloud, one(&cloud, action, parameters, None)).await;
            becomes(&cloud, &experiment, "running").await;
            for operation in ["DescribeVpcs", "DescribeSubnets"] {
                assert!(cloud.refused(&ec2::MODEL, operation, json!({})).await.is(code), "{action}");
            }
            ec2_call(&cloud, "DescribeInstances", json!({})).await;
            becomes(&cloud, &experiment, "completed").await;
            ec2_call(&cloud, "DescribeVpcs", json!({})).await;
        }
        let half = json!({"service": "autoscaling", "percentage": "50"});
        let experiment = start(&cloud, one(&cloud, "standfast:api:throttle-error", half, None)).await;
        becomes(&cloud, &experiment, "running").await;
        let mut failed = 0;
        for _ in 0..200 {
            let answer = cloud.send(&autoscaling::MODEL, "DescribeAutoScalingGroups", json!({})).await;
            failed += usize::from(answer.is_err_and(|error| error.is("Throttling")));
        }
        assert!((60..140).contains(&failed), "{failed} of 200");
        stop(&cloud, &experiment).await;
        for (parameters, wanted) in [
            (json!({"service": "fis"}), "nobody could stop"),
            (json!({"service": "mars"}), "none of this cloud's"),
            (json!({"service": "ec2", "operations": "Fly"}), "no operation 'Fly'"),
        ] {
            let error = not_started(&cloud, one(&cloud, "standfast:api:internal-error", parameters, None)).await;
            assert!(error.message.contains(wanted), "{error}");
        }
    });
}

#[test]
fn targets_that_fail_are_ejected_and_come_back() {
    standfast_testkit::run(4, |cloud| async move {
        let site = Site::up(&cloud).await;
        // Instances are not to be replaced for it here.
        let input =
            json!({"AutoScalingGroupName": site.group, "ScalingProcesses": ["ReplaceUnhealthy", "HealthCheck"]});
        cloud.send(&autoscaling::MODEL, "SuspendProcesses", input).await.expect("suspended");
        let target = Some(("TargetGroups", all("aws:elasticloadbalancing:targetgroup", &site.target_group)));
        let experiment = start(&cloud, one(&cloud, "standfast:elbv2:fail-targets", json!({}), target)).await;
        let healthy = async |wanted: usize| {
            let reached = || async { (site.healthy(&cloud).await.len() == wanted).then_some(()) };
            cloud.until(&format!("{wanted} healthy targets"), Duration::from_secs(300), reached).await;
        };
        healthy(0).await;
        let input = json!({"TargetGroupArn": site.target_group});
        let seen = cloud.send(&elbv2::MODEL, "DescribeTargetHealth", input).await.expect("described");
        let reason = text(&list(&seen, "TargetHealthDescriptions")[0]["TargetHealth"], "Reason");
        assert_eq!(reason, "Target.ResponseCodeMismatch");
        stop(&cloud, &experiment).await;
        healthy(5).await;
    });
}

#[test]
fn a_subnet_is_cut_off_until_it_ends() {
    standfast_testkit::run_able(1, ABLE, |cloud| async move {
        let subnets = ec2_call(&cloud, "DescribeSubnets", json!({})).await;
        let subnet = list(&subnets, "Subnets").iter().find(|one| text(one, "AvailabilityZone") == "eu-west-1a");
        let (id, arn) = subnet.map(|one| (text(one, "SubnetId"), text(one, "SubnetArn"))).expect("a default subnet");
        let (id, arn) = (id.to_owned(), arn.to_owned());
        let denials = || {
            let network = cloud.host.snapshot().network.clone();
            let vpc = network.vpcs.values().find(|vpc| vpc.subnets.contains_key(id.as_str()))?;
            let acl = &vpc.acls[&vpc.subnets[id.as_str()].acl];
            Some(acl.ingress.iter().take_while(|entry| !entry.allow).count())
        };
        let told = async |wanted: usize| {
            let what = format!("{wanted} denials");
            cloud.until(&what, SOON, || async { (denials() == Some(wanted)).then_some(()) }).await;
        };
        told(0).await;
        for (scope, wanted) in [("all", 1), ("availability-zone", 2)] {
            let parameters = json!({"scope": scope, "duration": "PT20S"});
            let target = Some(("Subnets", all("aws:ec2:subnet", &arn)));
            let experiment = start(&cloud, one(&cloud, "aws:network:disrupt-connectivity", parameters, target)).await;
            told(wanted).await;
            becomes(&cloud, &experiment, "completed").await;
            told(0).await;
        }
        let target = Some(("Subnets", all("aws:ec2:subnet", &arn)));
        let s3 = json!({"scope": "s3", "duration": "PT20S"});
        let error = not_started(&cloud, one(&cloud, "aws:network:disrupt-connectivity", s3, target)).await;
        assert!(error.message.contains("'s3' is not available"), "{error}");
    });
}

#[test]
fn a_data_volume_hangs_and_a_root_volume_is_refused() {
    standfast_testkit::run_able(1, ABLE, |cloud| async move {
        let instance = instance(&cloud).await;
        let id = text(&instance, "InstanceId");
        let zone = text(&instance["Placement"], "AvailabilityZone");
        let made = ec2_call(&cloud, "CreateVolume", json!({"AvailabilityZone": zone, "Size": 1})).await;
        let volume = text(&made, "VolumeId").to_owned();
        cloud
            .until("the volume", SOON, || async {
                let input = json!({"VolumeId": volume, "InstanceId": id, "Device": "/dev/sdf"});
                cloud.send(&ec2::MODEL, "AttachVolume", input).await.ok()
            })
            .await;
        let arn = |id: &str| format!("arn:aws:ec2:eu-west-1:000000000000:volume/{id}");
        let pause = |id: &str| {
            let target = Some(("Volumes", all("aws:ec2:ebs-volume", &arn(id))));
            one(&cloud, "aws:ebs:pause-volume-io", json!({"duration": "PT20S"}), target)
        };
        let paused = || cloud.host.snapshot().volumes.get(volume.as_str()).is_some_and(|volume| volume.paused);
        let experiment = start(&cloud, pause(&volume)).await;
        cloud.until("the host to hear of it", SOON, || async { paused().then_some(()) }).await;
        let status = ec2_call(&cloud, "DescribeVolumeStatus", json!({"VolumeIds": [volume]})).await;
        assert_eq!(text(&list(&status, "VolumeStatuses")[0]["VolumeStatus"], "Status"), "impaired");
        becomes(&cloud, &experiment, "completed").await;
        cloud.until("the host to hear of its end", SOON, || async { (!paused()).then_some(()) }).await;
        let root = text(&list(&instance, "BlockDeviceMappings")[0]["Ebs"], "VolumeId").to_owned();
        let failed = start(&cloud, pause(&root)).await;
        let failed = becomes(&cloud, &failed, "failed").await;
        assert!(text(&failed["state"], "reason").contains("root volume"), "{failed}");
    });
}

/// What hosts hear of an instance's packets.
fn harms(cloud: &TestCloud) -> Vec<(Way, Traffic, Harm)> {
    let snapshot = cloud.host.snapshot();
    snapshot.network.faults.iter().map(|(_, fault)| (fault.way, fault.traffic, fault.harm)).collect()
}

#[test]
fn packets_of_an_instance_are_harmed_until_it_ends() {
    standfast_testkit::run_able(1, ABLE, |cloud| async move {
        let id = text(&instance(&cloud).await, "InstanceId").to_owned();
        let target = || Some(("Instances", all("aws:ec2:instance", &instance_arn(&id))));
        let told = async |wanted: Vec<(Way, Traffic, Harm)>| {
            cloud.until(&format!("{wanted:?}"), SOON, || async { (harms(&cloud) == wanted).then_some(()) }).await;
        };
        let all = Traffic::All;
        let late = Harm::Late { delay_ms: 200, jitter_ms: 20, corrupt_percent: 5 };
        let parameters = json!({"lossPercent": "10", "delayMilliseconds": "200", "jitterMilliseconds": "20",
            "corruptPercent": "5"});
        let experiment = start(&cloud, one(&cloud, "standfast:ec2:impair-network", parameters, target())).await;
        told(vec![(Way::Sent, all, Harm::Loss(10)), (Way::Received, all, late)]).await;
        stop(&cloud, &experiment).await;
        told(Vec::new()).await;
        let documents = [
            (
                "Network-Blackhole-Port",
                json!({"Protocol": "tcp", "Port": "80"}),
                (Way::Received, Traffic::Tcp(80, 80), Harm::Loss(100)),
            ),
            ("Network-Packet-Loss", json!({"LossPercent": "15"}), (Way::Sent, all, Harm::Loss(15))),
            (
                "Network-Latency",
                json!({"DelayMilliseconds": "50"}),
                (Way::Received, all, Harm::Late { delay_ms: 50, jitter_ms: 0, corrupt_percent: 0 }),
            ),
            (
                "Network-Latency-Sources",
                json!({"DelayMilliseconds": "50", "JitterMilliseconds": "20", "Sources": "eu-west-1b"}),
                (Way::Received, all, Harm::Late { delay_ms: 50, jitter_ms: 20, corrupt_percent: 0 }),
            ),
            (
                "Network-Latency-Sources",
                json!({"Sources": "10.1.2.3", "FlowsPercent": "100", "InstallDependencies": "True"}),
                (Way::Received, all, Harm::Late { delay_ms: 200, jitter_ms: 10, corrupt_percent: 0 }),
            ),
            (
                "Network-Packet-Loss-Sources",
                json!({"LossPercent": "15", "Sources": "eu-west-1b", "TrafficType": "egress"}),
                (Way::Sent, all, Harm::Loss(15)),
            ),
        ];
        for (document, mut parameters, wanted) in documents {
            parameters["DurationSeconds"] = json!("20");
            let parameters = json!({
                "documentArn": format!("arn:aws:ssm:eu-west-1::document/AWSFIS-Run-{document}"),
                "documentParameters": parameters.to_string(), "duration": "PT1M",
            });
            let experiment = start(&cloud, one(&cloud, "aws:ssm:send-command", parameters.clone(), target())).await;
            told(vec![wanted]).await;
            // The document's own time is over before the action's.
            told(Vec::new()).await;
            stop(&cloud, &experiment).await;
            let experiment = start(&cloud, one(&cloud, "aws:ssm:send-command", parameters, target())).await;
            told(vec![wanted]).await;
            stop(&cloud, &experiment).await;
            told(Vec::new()).await;
        }
    });
}

#[test]
fn commands_are_sent_once_and_cancelled_on_stop() {
    standfast_testkit::run_able(1, ABLE, |cloud| async move {
        let id = text(&instance(&cloud).await, "InstanceId").to_owned();
        let run = |document: &str, parameters: Json| {
            let parameters = json!({
                "documentArn": format!("arn:aws:ssm:eu-west-1::document/{document}"),
                "documentParameters": parameters.to_string(), "duration": "PT20S",
            });
            let target = Some(("Instances", all("aws:ec2:instance", &instance_arn(&id))));
            one(&cloud, "aws:ssm:send-command", parameters, target)
        };
        let experiment = start(&cloud, run("AWSFIS-Run-CPU-Stress", json!({"DurationSeconds": "20"}))).await;
        becomes(&cloud, &experiment, "running").await;
        becomes(&cloud, &experiment, "completed").await;
        let sent = cloud.send(&ssm::MODEL, "ListCommands", json!({})).await.expect("listed");
        assert_eq!(list(&sent, "Commands").len(), 1);
        for (document, parameters, wanted) in [
            ("AWSFIS-Run-CPU-Stress", json!({}), "DurationSeconds"),
            ("AWSFIS-Run-Kill-Process", json!({}), "ProcessName"),
            ("AWSFIS-Run-Kill-Process", json!({"ProcessName": "a;b"}), "a plain name"),
            ("AWSFIS-Run-Nothing", json!({}), "not available"),
            (
                "AWSFIS-Run-IO-Stress",
                json!({"DurationSeconds": "5", "Workers": "0"}),
                "'0' of 'Workers' is not 1 to 64",
            ),
            ("AWSFIS-Run-Disk-Fill", json!({"DurationSeconds": "5", "Workers": "2"}), "has no parameter 'Workers'"),
            (
                "AWSFIS-Run-Network-Latency-Sources",
                json!({"DurationSeconds": "5", "Sources": "10.0.0.1", "FlowsPercent": "50"}),
                "'50' of 'FlowsPercent'",
            ),
        ] {
            let experiment = start(&cloud, run(document, parameters)).await;
            let failed = becomes(&cloud, &experiment, "failed").await;
            assert!(text(&failed["state"], "reason").contains(wanted), "{failed}");
        }
    });
}

#[test]
fn what_hosts_cannot_do_is_refused_before_anything_breaks() {
    standfast_testkit::run(1, |cloud| async move {
        let id = text(&instance(&cloud).await, "InstanceId").to_owned();
        let on_it = || Some(("Instances", all("aws:ec2:instance", &instance_arn(&id))));
        let document = |name: &str| json!({"documentArn": format!("arn:aws:ssm:eu-west-1::document/AWSFIS-Run-{name}"), "duration": "PT1M"});
        let subnet = all("aws:ec2:subnet", "arn:aws:ec2:eu-west-1:000000000000:subnet/subnet-1");
        let volume = all("aws:ec2:ebs-volume", "arn:aws:ec2:eu-west-1:000000000000:volume/vol-1");
        let cases = [
            ("standfast:ec2:impair-network", json!({"lossPercent": "5"}), on_it()),
            ("standfast:ec2:impair-network", json!({"corruptPercent": "5"}), on_it()),
            ("aws:ssm:send-command", document("CPU-Stress"), on_it()),
            ("aws:ssm:send-command", document("Network-Latency"), on_it()),
            (
                "aws:network:disrupt-connectivity",
                json!({"scope": "all", "duration": "PT1M"}),
                Some(("Subnets", subnet)),
            ),
            ("aws:ebs:pause-volume-io", json!({"duration": "PT1M"}), Some(("Volumes", volume))),
        ];
        for (action, parameters, target) in cases {
            let mut made = one(&cloud, action, parameters, target);
            // What could be broken is not, either.
            made["actions"]["kill"] =
                json!({"actionId": "aws:ec2:terminate-instances", "targets": {"Instances": "us"}});
            made["targets"]["us"] = all("aws:ec2:instance", &instance_arn(&id));
            let error = not_started(&cloud, made).await;
            assert!(
                error.is("ValidationException") && error.message.contains("sim driver cannot"),
                "{action}: {error}"
            );
        }
        state_becomes(&cloud, &id, "running").await;
    });
}

#[test]
fn an_assertion_of_alarms_fails_the_experiment() {
    standfast_testkit::run(1, |cloud| async move {
        let input = json!({
            "AlarmName": "red", "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
        });
        cloud.send(&cloudwatch::MODEL, "PutMetricAlarm", input).await.expect("put");
        let arn = "arn:aws:cloudwatch:eu-west-1:000000000000:alarm:red";
        let check = |states: &str| {
            let parameters = json!({"alarmArns": arn, "alarmStates": states});
            one(&cloud, "aws:cloudwatch:assert-alarm-state", parameters, None)
        };
        let id = start(&cloud, check("OK,INSUFFICIENT_DATA")).await;
        becomes(&cloud, &id, "completed").await;
        let id = start(&cloud, check("ALARM")).await;
        let failed = becomes(&cloud, &id, "failed").await;
        assert!(text(&failed["state"], "reason").contains("not ALARM"), "{failed}");
    });
}

#[test]
fn what_one_action_broke_is_undone_when_another_fails() {
    standfast_testkit::run(1, |cloud| async move {
        let check = json!({"actionId": "aws:cloudwatch:assert-alarm-state", "startAfter": ["w"],
            "parameters": {"alarmArns": "arn:aws:cloudwatch:eu-west-1:000000000000:alarm:no", "alarmStates": "OK"}});
        let dark = json!({"actionId": "standfast:az:power-interruption",
            "parameters": {"availabilityZoneIdentifier": "eu-west-1a"}});
        let actions = json!({"w": wait("PT5S", &[]), "check": check, "dark": dark});
        let id = start(&cloud, template(&cloud, actions, json!({}))).await;
        let failed = becomes(&cloud, &id, "failed").await;
        assert_eq!(text(&failed["actions"]["dark"]["state"], "status"), "stopped");
        let zones = ec2_call(&cloud, "DescribeAvailabilityZones", json!({})).await;
        assert!(list(&zones, "AvailabilityZones").iter().all(|zone| text(zone, "State") == "available"));
    });
}
