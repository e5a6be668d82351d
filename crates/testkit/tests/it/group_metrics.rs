//! What groups report of themselves: every minute, what is enabled and nothing else.

use std::time::Duration;

use serde_json::json;
use standfast_api::cloudwatch;
use standfast_testkit::run;

use crate::autoscaling::{asg, group, settled};
use crate::site::list;

#[test]
fn enabled_metrics_are_told_every_minute() {
    run(1, |cloud| async move {
        group(&cloud, 2, json!({})).await;
        let wanted = ["GroupDesiredCapacity", "GroupInServiceInstances", "GroupTotalCapacity"];
        let enable = json!({"AutoScalingGroupName": "web", "Granularity": "1Minute", "Metrics": wanted});
        asg(&cloud, "EnableMetricsCollection", enable).await;
        cloud.pass(Duration::from_secs(300)).await;
        let from = cloud.now();
        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 4})).await;
        settled(&cloud, 4).await;
        cloud.pass(Duration::from_secs(300)).await;
        let known = cloud.send(&cloudwatch::MODEL, "ListMetrics", json!({"Namespace": "AWS/AutoScaling"})).await;
        let known = known.expect("it is good");
        let mut names: Vec<&str> =
            list(&known, "Metrics").iter().filter_map(|one| one["MetricName"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, wanted);
        for name in wanted {
            let input = json!({
                "Namespace": "AWS/AutoScaling", "MetricName": name, "Period": 60, "Statistics": ["Maximum", "SampleCount"],
                "Dimensions": [{"Name": "AutoScalingGroupName", "Value": "web"}],
                "StartTime": (from - Duration::from_secs(240)).iso8601(), "EndTime": cloud.now().iso8601(),
            });
            let found = cloud.send(&cloudwatch::MODEL, "GetMetricStatistics", input).await.expect("it is good");
            let points = list(&found, "Datapoints");
            assert!(points.len() >= 7, "{name}: {points:?}");
            assert!(points.iter().all(|point| point["SampleCount"] == 1.0), "{name}: {points:?}");
            let mut values: Vec<f64> = points.iter().filter_map(|point| point["Maximum"].as_f64()).collect();
            values.sort_by(f64::total_cmp);
            assert_eq!((values[0], values[values.len() - 1]), (2.0, 4.0), "{name}");
        }
    });
}
