//! W6, W7 and L9: the site stands up, loses an instance, a zone, scales, and goes away.

use std::time::Duration;

use serde_json::json;
use standfast_api::cloudformation;
use standfast_core::Id;

use crate::site::{STACK, Site, TEMPLATE, deploy, instances, list, rest, text};

/// A target group's probe comes every 5 s in the template; two failures eject, so an instance that hangs is out within
/// this, and one that is new is in.
const PROBES: Duration = Duration::from_secs(15);

#[test]
fn the_example_comes_up_spread_over_three_zones() {
    standfast_testkit::run(1, |cloud| async move {
        let site = Site::up(&cloud).await;
        let mut spread: Vec<_> = site.spread(&cloud).await.into_values().collect();
        spread.sort_unstable();
        assert_eq!(spread, [1, 2, 2]);
        assert_eq!(site.load(&cloud, 200, Duration::from_secs(10)).await, []);
    });
}

#[test]
fn a_killed_instance_is_replaced_and_no_request_fails() {
    standfast_testkit::run(2, |cloud| async move {
        let site = Site::up(&cloud).await;
        let victim = site.members(&cloud).await[0].0.clone();
        cloud.cloud.planes().host.kill(&Id::from_text(&victim)).expect("it runs");
        // The refused connection is retried on another target: nothing was in flight at that instant.
        assert_eq!(site.load(&cloud, 200, Duration::from_secs(30)).await, []);
        site.settled(&cloud, 5).await;
        assert!(site.members(&cloud).await.iter().all(|(id, ..)| *id != victim));
        let causes: Vec<_> = site.activities(&cloud).await.iter().map(|a| text(a, "Cause").to_owned()).collect();
        assert!(
            causes.iter().any(|c| c.contains("taken out of service in response to an EC2 health check")),
            "{causes:#?}"
        );
    });
}

#[test]
fn an_application_that_hangs_is_ejected_and_replaced_within_health_check_bounds() {
    standfast_testkit::run(3, |cloud| async move {
        let site = Site::up(&cloud).await;
        cloud.pass(Duration::from_secs(60)).await; // past the grace period
        let victim = site.members(&cloud).await[0].0.clone();
        cloud.host.set_app(&Id::from_text(&victim), standfast_host::sim::App::Status(500));
        cloud.pass(PROBES).await;
        assert!(!site.healthy(&cloud).await.contains(&victim));
        assert_eq!(site.load(&cloud, 200, Duration::from_secs(30)).await, []);
        site.settled(&cloud, 5).await;
        assert!(site.members(&cloud).await.iter().all(|(id, ..)| *id != victim));
    });
}

#[test]
fn losing_a_zone_costs_less_than_a_second_and_the_group_balances_again_after() {
    standfast_testkit::run(4, |cloud| async move {
        let site = Site::up(&cloud).await;
        let zone = "eu-west-1a";
        let experiment = site.break_zone(&cloud, zone).await;
        let failed = site.load(&cloud, 200, Duration::from_secs(60)).await;
        assert!(failed.iter().all(|(at, _)| *at < Duration::from_secs(1)), "{failed:?}");
        site.settled(&cloud, 5).await;
        let spread = site.spread(&cloud).await;
        assert_eq!(spread.get(zone), None);
        assert_eq!(spread.values().sum::<usize>(), 5);
        site.heal(&cloud, &experiment).await;
        let balanced = async {
            cloud
                .until("the group to balance", Duration::from_secs(600), || async {
                    let mut spread: Vec<_> = site.spread(&cloud).await.into_values().collect();
                    spread.sort_unstable();
                    (spread == [1, 2, 2]).then_some(())
                })
                .await
        };
        let load = site.load(&cloud, 100, Duration::from_secs(120));
        let (failed, ()) = both(load, balanced).await;
        assert_eq!(failed, []);
        site.settled(&cloud, 5).await;
    });
}

async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    tokio::join!(a, b)
}

#[test]
fn the_group_scales_out_and_in_without_a_failed_request() {
    standfast_testkit::run(5, |cloud| async move {
        let site = Site::up(&cloud).await;
        site.scale(&cloud, 9).await;
        assert_eq!(site.load(&cloud, 100, Duration::from_secs(30)).await, []);
        site.settled(&cloud, 9).await;
        assert!(site.spread(&cloud).await.values().all(|count| *count == 3));
        site.scale(&cloud, 3).await;
        assert_eq!(site.load(&cloud, 100, Duration::from_secs(60)).await, []);
        site.settled(&cloud, 3).await;
        assert!(site.spread(&cloud).await.values().all(|count| *count == 1));
    });
}

#[test]
fn deleting_the_stack_leaves_no_instance() {
    standfast_testkit::run(6, |cloud| async move {
        Site::up(&cloud).await;
        let stacks = cloud.send(&cloudformation::MODEL, "DescribeStacks", json!({"StackName": STACK})).await;
        let id = text(&list(&stacks.expect("it exists"), "Stacks")[0], "StackId").to_owned();
        cloud.send(&cloudformation::MODEL, "DeleteStack", json!({"StackName": STACK})).await.expect("it can go");
        cloud
            .until("the stack to be deleted", Duration::from_secs(600), || async {
                let stacks =
                    cloud.send(&cloudformation::MODEL, "DescribeStacks", json!({"StackName": id})).await.ok()?;
                (text(&list(&stacks, "Stacks")[0], "StackStatus") == "DELETE_COMPLETE").then_some(())
            })
            .await;
        let left = instances(&cloud).await;
        assert!(left.values().all(|state| state == "terminated"), "{left:?}");
        assert_eq!(standfast_core::host::HostDriver::observe(&*cloud.host).instances.len(), 0);
    });
}

#[test]
fn an_undefined_parameter_is_named_and_the_template_deploys_when_it_is_added() {
    const BROKEN: &str = "
Resources:
  Network:
    Type: AWS::EC2::VPC
    Properties: {CidrBlock: !Ref NetworkCidr}
";
    standfast_testkit::run(7, |cloud| async move {
        let error = cloud.refused(&cloudformation::MODEL, "ValidateTemplate", json!({"TemplateBody": BROKEN})).await;
        assert!(error.is("ValidationError") && error.message.contains("NetworkCidr"), "{error}");
        let input = json!({"StackName": STACK, "TemplateBody": BROKEN});
        let error = cloud.refused(&cloudformation::MODEL, "CreateStack", input).await;
        assert!(error.is("ValidationError") && error.message.contains("NetworkCidr"), "{error}");
        let mended = format!("Parameters:\n  NetworkCidr: {{Type: String, Default: 10.9.0.0/16}}\n{BROKEN}");
        let (status, events) = deploy(&cloud, &mended, json!([])).await;
        assert_eq!(status, "CREATE_COMPLETE", "{events:#?}");
    });
}

#[test]
fn a_stack_that_fails_rolls_back_and_says_why() {
    let broken = TEMPLATE.replace("HealthCheckTimeoutSeconds: 2", "HealthCheckTimeoutSeconds: 7");
    standfast_testkit::run(8, |cloud| async move {
        let (status, events) = deploy(&cloud, &broken, json!([])).await;
        assert_eq!(status, "ROLLBACK_COMPLETE");
        let reason = events.iter().find(|e| text(e, "ResourceStatus") == "CREATE_FAILED").expect("one failed");
        assert_eq!(text(reason, "LogicalResourceId"), "TargetGroup");
        assert!(text(reason, "ResourceStatusReason").contains("must be smaller than the interval"), "{reason}");
        let _ = rest(&cloud).await;
        assert!(instances(&cloud).await.values().all(|state| state == "terminated"));
    });
}
