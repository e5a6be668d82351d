//! Spot requests, what fulfils them and what interrupts their instances.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{ec2, fis};
use standfast_core::Id;
use standfast_core::host::Abilities;
use standfast_testkit::TestCloud;

const SOON: Duration = Duration::from_secs(60);

fn text<'a>(json: &'a Json, pointer: &str) -> &'a str {
    json.pointer(pointer).and_then(Json::as_str).unwrap_or_else(|| panic!("no text at {pointer} in {json:#}"))
}

async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    match cloud.send(&ec2::MODEL, operation, input.clone()).await {
        Ok(answer) => answer,
        Err(error) => panic!("{operation} {input}: {error}"),
    }
}

async fn code(cloud: &TestCloud, operation: &str, input: Json) -> String {
    cloud.refused(&ec2::MODEL, operation, input).await.code.into_owned()
}

async fn image(cloud: &TestCloud) -> String {
    let filters = json!([{"Name": "name", "Values": ["al2023-ami-2023*-x86_64"]}]);
    text(&call(cloud, "DescribeImages", json!({"Filters": filters})).await, "/Images/0/ImageId").to_owned()
}

/// Asks for a spot instance in zone a and gives the request's id.
async fn request(cloud: &TestCloud, more: Json) -> String {
    let specification = json!({"ImageId": image(cloud).await, "InstanceType": "t3.micro",
        "Placement": {"AvailabilityZone": "eu-west-1a"}});
    let mut input = json!({"LaunchSpecification": specification});
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let answer = call(cloud, "RequestSpotInstances", input).await;
    assert_eq!(text(&answer, "/SpotInstanceRequests/0/State"), "open");
    text(&answer, "/SpotInstanceRequests/0/SpotInstanceRequestId").to_owned()
}

async fn described(cloud: &TestCloud, id: &str) -> Json {
    let answer = call(cloud, "DescribeSpotInstanceRequests", json!({"SpotInstanceRequestIds": [id]})).await;
    answer["SpotInstanceRequests"][0].clone()
}

async fn becomes(cloud: &TestCloud, id: &str, status: &str, limit: Duration) -> Json {
    cloud
        .until(&format!("{id} to be {status}"), limit, || async {
            let request = described(cloud, id).await;
            (text(&request, "/Status/Code") == status).then_some(request)
        })
        .await
}

async fn instance_becomes(cloud: &TestCloud, id: &str, state: &str) -> Json {
    cloud
        .until(&format!("{id} to be {state}"), SOON, || async {
            let answer = call(cloud, "DescribeInstances", json!({"InstanceIds": [id]})).await;
            let instance = answer["Reservations"][0]["Instances"][0].clone();
            (text(&instance, "/State/Name") == state).then_some(instance)
        })
        .await
}

/// Interrupts a spot instance after the duration, by an experiment.
pub async fn interrupt(cloud: &TestCloud, instance: &str, after: &str) {
    let arn = format!("arn:aws:ec2:eu-west-1:000000000000:instance/{instance}");
    let target = json!({"resourceType": "aws:ec2:spot-instance", "resourceArns": [arn], "selectionMode": "ALL"});
    let action = json!({"actionId": "aws:ec2:send-spot-instance-interruptions",
        "parameters": {"durationBeforeInterruption": after}, "targets": {"SpotInstances": "spot"}});
    let template = json!({"clientToken": "one", "description": "spot", "roleArn": "arn:aws:iam::000000000000:role/fis",
        "stopConditions": [{"source": "none"}], "targets": {"spot": target}, "actions": {"interrupt": action}});
    let made = cloud.send(&fis::MODEL, "CreateExperimentTemplate", template).await.expect("a template");
    let id = text(&made, "/experimentTemplate/id");
    let start = json!({"clientToken": "two", "experimentTemplateId": id});
    cloud.send(&fis::MODEL, "StartExperiment", start).await.expect("an experiment");
}

/// What the instance reads at this path of its metadata.
fn metadata(cloud: &TestCloud, instance: &str, path: &str) -> Option<String> {
    cloud.host.snapshot().instances.get(&Id::from_text(instance))?.metadata.tree.get(path).cloned()
}

#[test]
fn a_request_is_fulfilled_and_its_instance_interrupted_with_two_minutes_notice() {
    let abilities = Abilities { metadata: true, ..Abilities::default() };
    standfast_testkit::run_able(1, abilities, |cloud| async move {
        let id = request(&cloud, json!({})).await;
        let fulfilled = becomes(&cloud, &id, "fulfilled", SOON).await;
        assert_eq!(text(&fulfilled, "/State"), "active");
        let instance = text(&fulfilled, "/InstanceId").to_owned();
        let running = instance_becomes(&cloud, &instance, "running").await;
        assert_eq!(text(&running, "/InstanceLifecycle"), "spot");
        assert_eq!(text(&running, "/SpotInstanceRequestId"), id);
        assert_eq!(code(&cloud, "StopInstances", json!({"InstanceIds": [instance]})).await, "UnsupportedOperation");

        interrupt(&cloud, &instance, "PT5M").await;
        cloud.pass(Duration::from_secs(175)).await;
        assert_eq!(text(&described(&cloud, &id).await, "/Status/Code"), "fulfilled");
        becomes(&cloud, &id, "marked-for-termination-by-experiment", Duration::from_secs(10)).await;
        let tags =
            call(&cloud, "DescribeTags", json!({"Filters": [{"Name": "resource-id", "Values": [instance]}]})).await;
        assert!(tags.to_string().contains("spot-instance-action"), "{tags:#}");
        let told = metadata(&cloud, &instance, "meta-data/spot/instance-action").expect("the notice");
        assert!(told.contains("terminate"), "{told}");
        cloud.pass(Duration::from_secs(110)).await;
        instance_becomes(&cloud, &instance, "running").await;
        let ended = becomes(&cloud, &id, "instance-terminated-by-experiment", Duration::from_secs(20)).await;
        assert_eq!(text(&ended, "/State"), "closed");
        let gone = instance_becomes(&cloud, &instance, "terminated").await;
        assert_eq!(text(&gone, "/StateReason/Code"), "Server.SpotInstanceTermination");
    });
}

#[test]
fn a_persistent_request_gets_another_instance_and_a_cancelled_one_does_not() {
    standfast_testkit::run(2, |cloud| async move {
        let id = request(&cloud, json!({"Type": "persistent"})).await;
        let first = text(&becomes(&cloud, &id, "fulfilled", SOON).await, "/InstanceId").to_owned();
        call(&cloud, "TerminateInstances", json!({"InstanceIds": [first]})).await;
        let second = cloud
            .until("another instance", SOON, || async {
                let request = described(&cloud, &id).await;
                let instance = request["InstanceId"].as_str().unwrap_or_default().to_owned();
                (!instance.is_empty() && instance != first).then_some(instance)
            })
            .await;
        instance_becomes(&cloud, &second, "running").await;
        call(&cloud, "CancelSpotInstanceRequests", json!({"SpotInstanceRequestIds": [id]})).await;
        becomes(&cloud, &id, "request-canceled-and-instance-running", SOON).await;
        call(&cloud, "TerminateInstances", json!({"InstanceIds": [second]})).await;
        let ended = becomes(&cloud, &id, "instance-terminated-by-user", SOON).await;
        assert_eq!(text(&ended, "/State"), "cancelled");
        cloud.pass(SOON).await;
        let filters = json!([{"Name": "instance-state-name", "Values": ["pending", "running"]}]);
        let left = call(&cloud, "DescribeInstances", json!({"Filters": filters})).await;
        assert_eq!(left["Reservations"].as_array().map_or(0, Vec::len), 0);
    });
}

#[test]
fn an_instance_whose_request_says_stop_is_stopped_and_comes_back() {
    standfast_testkit::run(3, |cloud| async move {
        let id = request(&cloud, json!({"Type": "persistent", "InstanceInterruptionBehavior": "stop"})).await;
        let instance = text(&becomes(&cloud, &id, "fulfilled", SOON).await, "/InstanceId").to_owned();
        instance_becomes(&cloud, &instance, "running").await;
        interrupt(&cloud, &instance, "PT2M").await;
        becomes(&cloud, &id, "marked-for-stop-by-experiment", SOON).await;
        becomes(&cloud, &id, "instance-stopped-by-experiment", Duration::from_secs(130)).await;
        instance_becomes(&cloud, &instance, "stopped").await;
        becomes(&cloud, &id, "fulfilled", Duration::from_secs(180)).await;
        instance_becomes(&cloud, &instance, "running").await;
    });
}

#[test]
fn a_request_waits_for_its_price_and_its_time() {
    standfast_testkit::run(4, |cloud| async move {
        let cheap = request(&cloud, json!({"SpotPrice": "0.001"})).await;
        becomes(&cloud, &cheap, "price-too-low", SOON).await;
        let history = json!({"InstanceTypes": ["t3.micro"], "AvailabilityZone": "eu-west-1a"});
        let history = call(&cloud, "DescribeSpotPriceHistory", history).await;
        let price = text(&history, "/SpotPriceHistory/0/SpotPrice");
        let enough = request(&cloud, json!({"SpotPrice": price})).await;
        becomes(&cloud, &enough, "fulfilled", SOON).await;
        let until = (cloud.now() + Duration::from_secs(100)).seconds();
        let short = request(&cloud, json!({"SpotPrice": "0.001", "ValidUntil": until})).await;
        let ended = becomes(&cloud, &short, "schedule-expired", Duration::from_secs(150)).await;
        assert_eq!(text(&ended, "/State"), "closed");
        let market = json!({"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.001"}});
        let launch = json!({"MinCount": 1, "MaxCount": 1, "ImageId": image(&cloud).await, "InstanceType": "t3.micro",
            "InstanceMarketOptions": market});
        assert_eq!(code(&cloud, "RunInstances", launch).await, "SpotMaxPriceTooLow");
    });
}

#[test]
fn what_runs_instances_on_the_spot_market_makes_requests() {
    standfast_testkit::run(5, |cloud| async move {
        let tags = json!([{"ResourceType": "spot-instances-request", "Tags": [{"Key": "team", "Value": "web"}]}]);
        let launch = json!({"MinCount": 2, "MaxCount": 2, "ImageId": image(&cloud).await, "InstanceType": "t3.micro",
            "InstanceMarketOptions": {"MarketType": "spot"}, "TagSpecifications": tags});
        let launched = call(&cloud, "RunInstances", launch).await;
        let filters = json!([{"Name": "state", "Values": ["active"]}, {"Name": "tag:team", "Values": ["web"]}]);
        let requests = call(&cloud, "DescribeSpotInstanceRequests", json!({"Filters": filters})).await;
        let ids: Vec<&str> =
            (0..2).map(|n| text(&requests, &format!("/SpotInstanceRequests/{n}/InstanceId"))).collect();
        for n in 0..2 {
            assert!(ids.contains(&text(&launched, &format!("/Instances/{n}/InstanceId"))));
        }
    });
}

#[test]
fn an_instant_fleet_launches_on_both_markets_and_goes_with_its_instances() {
    standfast_testkit::run(6, |cloud| async move {
        let data = json!({"ImageId": image(&cloud).await, "InstanceType": "t3.micro"});
        let template = json!({"LaunchTemplateName": "web", "LaunchTemplateData": data});
        call(&cloud, "CreateLaunchTemplate", template).await;
        let config = json!({"LaunchTemplateSpecification": {"LaunchTemplateName": "web", "Version": "$Latest"},
            "Overrides": [{"InstanceType": "t3.small"}, {"InstanceType": "t3.micro"}]});
        let capacity =
            json!({"TotalTargetCapacity": 3, "OnDemandTargetCapacity": 1, "DefaultTargetCapacityType": "spot"});
        let mut fleet = json!({"Type": "instant", "LaunchTemplateConfigs": [config],
            "TargetCapacitySpecification": capacity});
        let made = call(&cloud, "CreateFleet", fleet.clone()).await;
        let id = text(&made, "/FleetId");
        let launched: Vec<(&str, usize)> = made["Instances"]
            .as_array()
            .expect("instances")
            .iter()
            .map(|one| (text(one, "/Lifecycle"), one["InstanceIds"].as_array().map_or(0, Vec::len)))
            .collect();
        assert_eq!(launched, [("on-demand", 1), ("spot", 2)]);
        let active = call(&cloud, "DescribeFleetInstances", json!({"FleetId": id})).await;
        assert_eq!(active["ActiveInstances"].as_array().map(Vec::len), Some(3));
        let described = call(&cloud, "DescribeFleets", json!({"FleetIds": [id]})).await;
        assert_eq!(text(&described, "/Fleets/0/FleetState"), "active");
        call(&cloud, "DeleteFleets", json!({"FleetIds": [id], "TerminateInstances": true})).await;
        let active = call(&cloud, "DescribeFleetInstances", json!({"FleetId": id})).await;
        assert_eq!(active["ActiveInstances"].as_array().map_or(0, Vec::len), 0);
        fleet["Type"] = "maintain".into();
        assert_eq!(code(&cloud, "CreateFleet", fleet).await, "UnsupportedOperation");
    });
}
