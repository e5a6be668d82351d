//! Warm pools through the API, with instances that are really stopped and started.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_testkit::{TestCloud, run};

use crate::autoscaling::{asg, described, group, refused, settled};
use crate::site::{instances, list, text};

const SOON: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

async fn pool(cloud: &TestCloud) -> Json {
    asg(cloud, "DescribeWarmPool", json!({"AutoScalingGroupName": "web"})).await
}

/// Waits until exactly so many instances are in the pool, all in this state.
async fn warmed(cloud: &TestCloud, count: usize, state: &str) -> Vec<String> {
    cloud
        .until(&format!("{count} in the pool, {state}"), SOON, || async {
            let pool = pool(cloud).await;
            let members = list(&pool, "Instances");
            let good = members.len() == count && members.iter().all(|m| text(m, "LifecycleState") == state);
            good.then(|| members.iter().map(|member| text(member, "InstanceId").to_owned()).collect())
        })
        .await
}

#[test]
fn a_group_takes_stopped_instances_of_its_pool_first_and_fills_it_again() {
    run(1, |cloud| async move {
        group(&cloud, 1, json!({"MaxSize": 4})).await;
        let put = json!({"AutoScalingGroupName": "web", "MinSize": 1, "MaxGroupPreparedCapacity": 3});
        asg(&cloud, "PutWarmPool", put).await;
        let warm = warmed(&cloud, 2, "Warmed:Stopped").await;
        let states = instances(&cloud).await;
        assert!(warm.iter().all(|id| states[id] == "stopped"), "{states:?}");
        let configuration = json!({"MaxGroupPreparedCapacity": 3, "MinSize": 1, "PoolState": "Stopped"});
        let own = described(&cloud).await;
        assert_eq!((&own["WarmPoolConfiguration"], list(&own, "Instances").len()), (&configuration, 1));
        assert_eq!(pool(&cloud).await["WarmPoolConfiguration"], configuration);

        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 3})).await;
        settled(&cloud, 3).await;
        let own = described(&cloud).await;
        let members: Vec<&str> = list(&own, "Instances").iter().map(|member| text(member, "InstanceId")).collect();
        assert!(warm.iter().all(|id| members.contains(&id.as_str())), "{members:?}");
        warmed(&cloud, 1, "Warmed:Stopped").await;
        let answer = asg(&cloud, "DescribeScalingActivities", json!({"AutoScalingGroupName": "web"})).await;
        let told = |start: &str| list(&answer, "Activities").iter().any(|a| text(a, "Description").starts_with(start));
        assert!(told("Launching a new EC2 instance into warm pool: i-"));
        assert!(told("Launching a new EC2 instance from warm pool: i-"));

        asg(&cloud, "DeleteWarmPool", json!({"AutoScalingGroupName": "web"})).await;
        assert_eq!(pool(&cloud).await["WarmPoolConfiguration"]["Status"], "PendingDelete");
        let gone = || async { pool(&cloud).await.get("WarmPoolConfiguration").is_none_or(Json::is_null).then_some(()) };
        cloud.until("the pool to go", SOON, gone).await;
        assert_eq!(list(&described(&cloud).await, "Instances").len(), 3);
    });
}

#[test]
fn what_a_group_lets_go_returns_to_the_pool_where_that_is_wanted() {
    run(2, |cloud| async move {
        group(&cloud, 3, json!({"MaxSize": 3})).await;
        let put = json!({
            "AutoScalingGroupName": "web", "PoolState": "Running", "InstanceReusePolicy": {"ReuseOnScaleIn": true},
        });
        asg(&cloud, "PutWarmPool", put).await;
        let before = instances(&cloud).await.len();
        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 1})).await;
        warmed(&cloud, 2, "Warmed:Running").await;
        settled(&cloud, 1).await;
        assert_eq!(instances(&cloud).await.len(), before, "nothing was launched");
    });
}

#[test]
fn hooks_hold_instances_at_both_transitions() {
    run(3, |cloud| async move {
        group(&cloud, 0, json!({"MaxSize": 1})).await;
        let hook = json!({
            "AutoScalingGroupName": "web", "LifecycleHookName": "prepare", "HeartbeatTimeout": 300,
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING", "DefaultResult": "CONTINUE",
        });
        asg(&cloud, "PutLifecycleHook", hook).await;
        asg(&cloud, "PutWarmPool", json!({"AutoScalingGroupName": "web"})).await;
        let id = warmed(&cloud, 1, "Warmed:Pending:Wait").await.remove(0);
        let done = json!({
            "AutoScalingGroupName": "web", "LifecycleHookName": "prepare", "InstanceId": id,
            "LifecycleActionResult": "CONTINUE",
        });
        asg(&cloud, "CompleteLifecycleAction", done.clone()).await;
        warmed(&cloud, 1, "Warmed:Stopped").await;
        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 1})).await;
        cloud.pass(SECOND * 60).await;
        assert_eq!(text(&list(&described(&cloud).await, "Instances")[0], "LifecycleState"), "Pending:Wait");
        asg(&cloud, "CompleteLifecycleAction", done).await;
        settled(&cloud, 1).await;
    });
}

#[test]
fn mistakes_are_told() {
    run(4, |cloud| async move {
        group(&cloud, 0, json!({"MinSize": 0})).await;
        for (more, word) in [
            (json!({"PoolState": "Frozen"}), "Frozen"),
            (json!({"MinSize": -1}), "inSize"),
            (json!({"MaxGroupPreparedCapacity": -2}), "axGroupPreparedCapacity"),
        ] {
            let mut input = json!({"AutoScalingGroupName": "web"});
            input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            let (code, message) = refused(&cloud, "PutWarmPool", input).await;
            assert!(code.starts_with("Validation") && message.contains(word), "{code} {message}");
        }
        let (code, _) = refused(&cloud, "DeleteWarmPool", json!({"AutoScalingGroupName": "web"})).await;
        assert_eq!(code, "ValidationError");
    });
}
