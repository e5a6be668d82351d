//! Dashboards through the API.

use serde_json::{Value as Json, json};
use standfast_api::cloudwatch::MODEL;
use standfast_testkit::{TestCloud, run};

use crate::site::{list, text};

async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    let asked = input.clone();
    let answer = cloud.send(&MODEL, operation, input).await;
    answer.unwrap_or_else(|error| panic!("{operation} {asked}: {error}"))
}

#[test]
fn a_dashboard_is_kept_as_it_was_given() {
    run(1, |cloud| async move {
        let metric = json!({"region": "eu-west-1", "metrics": [["AWS/EC2", "CPUUtilization", "InstanceId", "i-1"]]});
        let body = json!({"widgets": [{"type": "metric", "x": 0, "y": 0, "properties": metric}]}).to_string();
        let tags = json!([{"Key": "team", "Value": "shop"}]);
        let put = json!({"DashboardName": "shop", "DashboardBody": body, "Tags": tags});
        let answer = call(&cloud, "PutDashboard", put).await;
        assert_eq!(answer["DashboardValidationMessages"], json!([]));
        let odd = json!({"DashboardName": "shop-2", "DashboardBody": "{\"widgets\": [], \"mood\": 1}"});
        let answer = call(&cloud, "PutDashboard", odd).await;
        assert_eq!(text(&list(&answer, "DashboardValidationMessages")[0], "DataPath"), "/mood");
        let found = call(&cloud, "GetDashboard", json!({"DashboardName": "shop"})).await;
        let arn = "arn:aws:cloudwatch::000000000000:dashboard/shop";
        assert_eq!((text(&found, "DashboardBody"), text(&found, "DashboardArn")), (body.as_str(), arn));
        let listed = call(&cloud, "ListDashboards", json!({"DashboardNamePrefix": "shop-"})).await;
        let entries = list(&listed, "DashboardEntries");
        assert_eq!((entries.len(), text(&entries[0], "DashboardName")), (1, "shop-2"));
        let found = call(&cloud, "ListTagsForResource", json!({"ResourceARN": arn})).await;
        assert_eq!(found["Tags"], tags);
        // None is deleted when one is not there.
        let names = json!({"DashboardNames": ["shop", "gone"]});
        let error = cloud.refused(&MODEL, "DeleteDashboards", names).await;
        assert_eq!((&*error.code, &*error.message), ("ResourceNotFound", "Dashboard gone does not exist"));
        call(&cloud, "DeleteDashboards", json!({"DashboardNames": ["shop", "shop-2"]})).await;
        let error = cloud.refused(&MODEL, "GetDashboard", json!({"DashboardName": "shop"})).await;
        assert!(error.is("ResourceNotFound"));
    });
}

#[test]
fn a_bad_dashboard_is_refused_with_everything_that_is_wrong() {
    run(2, |cloud| async move {
        let put = |name: &str, body: &str| json!({"DashboardName": name, "DashboardBody": body});
        let error = cloud.refused(&MODEL, "PutDashboard", put("a", "{\"widgets\": [{}, {\"type\": \"text\"}]}")).await;
        assert!(error.is("InvalidParameterInput"));
        assert!(error.message.starts_with("The dashboard body is invalid, there are 2 validation errors:\n["));
        assert!(error.message.contains("\"dataPath\": \"/widgets/0\""), "{}", error.message);
        let error = cloud.refused(&MODEL, "PutDashboard", put("a b", "{\"widgets\": []}")).await;
        assert!(error.message.contains("DashboardName"), "{}", error.message);
    });
}
