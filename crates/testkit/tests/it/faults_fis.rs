//! FIS as an API: what it refuses, how experiments go, what stops them, and who hears of it.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{cloudwatch, ec2, events, fis, sns};
use standfast_testkit::TestCloud;

use crate::autoscaling::group;
use crate::site::{list, text};

pub const SOON: Duration = Duration::from_secs(30);
const ROLE: &str = "arn:aws:iam::000000000000:role/fis";

pub async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    cloud.send(&fis::MODEL, operation, input).await.unwrap_or_else(|error| panic!("{operation}: {error}"))
}

/// What CreateExperimentTemplate wants for these actions and targets.
pub fn template(cloud: &TestCloud, actions: Json, targets: Json) -> Json {
    json!({
        "clientToken": cloud.cloud.rng().uuid(), "description": "a test", "roleArn": ROLE,
        "stopConditions": [{"source": "none"}], "actions": actions, "targets": targets,
    })
}

pub fn wait(time: &str, after: &[&str]) -> Json {
    json!({"actionId": "aws:fis:wait", "parameters": {"duration": time}, "startAfter": after})
}

pub async fn create(cloud: &TestCloud, template: Json) -> String {
    text(&call(cloud, "CreateExperimentTemplate", template).await["experimentTemplate"], "id").to_owned()
}

/// Starts an experiment of this template; gives its id.
pub async fn start(cloud: &TestCloud, template: Json) -> String {
    let id = create(cloud, template).await;
    start_of(cloud, &id, json!({})).await
}

async fn start_of(cloud: &TestCloud, template: &str, more: Json) -> String {
    let mut input = json!({"clientToken": cloud.cloud.rng().uuid(), "experimentTemplateId": template});
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    text(&call(cloud, "StartExperiment", input).await["experiment"], "id").to_owned()
}

/// The error of starting this template.
pub async fn not_started(cloud: &TestCloud, template: Json) -> standfast_core::Error {
    let id = create(cloud, template).await;
    let input = json!({"clientToken": cloud.cloud.rng().uuid(), "experimentTemplateId": id});
    cloud.refused(&fis::MODEL, "StartExperiment", input).await
}

pub async fn stop(cloud: &TestCloud, id: &str) {
    call(cloud, "StopExperiment", json!({"id": id})).await;
    becomes(cloud, id, "stopped").await;
}

/// The experiment, once it has this status.
pub async fn becomes(cloud: &TestCloud, id: &str, status: &str) -> Json {
    cloud
        .until(&format!("{id} to be {status}"), SOON, || async {
            let seen = call(cloud, "GetExperiment", json!({"id": id})).await["experiment"].clone();
            (text(&seen["state"], "status") == status).then_some(seen)
        })
        .await
}

fn action_status<'a>(experiment: &'a Json, name: &str) -> &'a str {
    text(&experiment["actions"][name]["state"], "status")
}

#[test]
fn mistakes_in_templates_are_named() {
    standfast_testkit::run(1, |cloud| async move {
        let act = |id: &str, more: Json| {
            let mut action = json!({"actionId": id});
            action.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            json!({"a": action})
        };
        let target = |more: Json| {
            let mut target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL"});
            target.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            json!({"it": target})
        };
        let kill = act("aws:ec2:terminate-instances", json!({"targets": {"Instances": "it"}}));
        let tagged = target(json!({"resourceTags": {"a": "b"}}));
        let none = json!({});
        let cases = [
            (json!({}), none.clone(), "no actions"),
            (act("aws:no:action", json!({})), none.clone(), "unknown actionId 'aws:no:action'"),
            (act("aws:ssm:start-automation-execution", json!({})), none.clone(), "not available"),
            (act("aws:rds:failover-db-cluster", json!({})), none.clone(), "not available"),
            (act("aws:fis:wait", json!({})), none.clone(), "needs the parameter 'duration'"),
            (act("aws:fis:wait", json!({"parameters": {"duration": "5 m"}})), none.clone(), "'5 m' for 'duration'"),
            (act("aws:fis:wait", json!({"parameters": {"duration": "PT1M", "x": "y"}})), none.clone(), "parameter 'x'"),
            (
                act("aws:fis:wait", json!({"parameters": {"duration": "PT12H1S"}})),
                none.clone(),
                "'PT12H1S' for 'duration'",
            ),
            (
                act("aws:ssm:send-command", json!({"parameters": {"documentArn": "x", "documentVersion": "7"}})),
                none.clone(),
                "'7' for 'documentVersion'",
            ),
            (act("aws:ec2:terminate-instances", json!({})), none.clone(), "needs the target 'Instances'"),
            (kill.clone(), none.clone(), "unknown target 'Instances': 'it'"),
            (kill.clone(), target(json!({})), "needs resourceArns"),
            (kill.clone(), target(json!({"resourceArns": ["i-000000000000000000"]})), "invalid resource ARN 'i-"),
            (
                kill.clone(),
                target(json!({"selectionMode": "SOME", "resourceTags": {"a": "b"}})),
                "selectionMode 'SOME'",
            ),
            (kill.clone(), target(json!({"filters": [{"path": "No.Such", "values": ["x"]}]})), "filter path 'No.Such'"),
            (kill.clone(), target(json!({"resourceType": "aws:ec2:subnet", "resourceTags": {"a": "b"}})), "of type"),
            (json!({"a": wait("PT1M", &["b"]), "b": wait("PT1M", &["a"])}), none.clone(), "after itself"),
            (json!({"a": wait("PT1M", &["z"])}), none.clone(), "unknown action 'z'"),
            (
                act(
                    "aws:ec2:send-spot-instance-interruptions",
                    json!({"parameters": {"durationBeforeInterruption": "PT1M"}}),
                ),
                none.clone(),
                "'PT1M' for 'durationBeforeInterruption'",
            ),
        ];
        for (actions, targets, wanted) in cases {
            let error =
                cloud.refused(&fis::MODEL, "CreateExperimentTemplate", template(&cloud, actions, targets)).await;
            assert!(error.is("ValidationException") && error.message.contains(wanted), "{wanted}: {error}");
        }
        let many: serde_json::Map<_, _> = (0..21).map(|n| (format!("a{n}"), wait("PT1M", &[]))).collect();
        let error = cloud.refused(&fis::MODEL, "CreateExperimentTemplate", template(&cloud, many.into(), none)).await;
        assert!(error.is("ServiceQuotaExceededException"), "{error}");
        let mut logged = template(&cloud, kill, tagged);
        logged["logConfiguration"] = json!({"logSchemaVersion": 2});
        let error = cloud.refused(&fis::MODEL, "CreateExperimentTemplate", logged).await;
        assert!(error.message.contains("logConfiguration"), "{error}");
    });
}

#[test]
fn templates_are_changed_in_part_and_tagged() {
    standfast_testkit::run(1, |cloud| async move {
        let id = create(&cloud, template(&cloud, json!({"a": wait("PT1M", &[])}), json!({}))).await;
        let input = json!({"id": id, "description": "another", "actions": {"b": wait("PT2M", &[])}});
        let updated = call(&cloud, "UpdateExperimentTemplate", input).await["experimentTemplate"].clone();
        assert_eq!((text(&updated, "description"), text(&updated, "roleArn")), ("another", ROLE));
        assert_eq!(updated["actions"].as_object().map(|all| all.keys().cloned().collect()), Some(vec!["b".to_owned()]));
        let bad = json!({"id": id, "actions": {"b": {"actionId": "aws:fis:wait"}}});
        assert!(cloud.refused(&fis::MODEL, "UpdateExperimentTemplate", bad).await.is("ValidationException"));
        let arn = text(&updated, "arn").to_owned();
        call(&cloud, "TagResource", json!({"resourceArn": arn, "tags": {"a": "1", "b": "2"}})).await;
        call(&cloud, "UntagResource", json!({"resourceArn": arn, "tagKeys": ["a"]})).await;
        let tags = call(&cloud, "ListTagsForResource", json!({"resourceArn": arn})).await;
        assert_eq!(tags["tags"], json!({"b": "2"}));
        let strange = json!({"resourceArn": "arn:aws:fis:eu-west-1:000000000000:experiment-template/EXT0"});
        assert!(cloud.refused(&fis::MODEL, "ListTagsForResource", strange).await.is("ResourceNotFoundException"));
        call(&cloud, "DeleteExperimentTemplate", json!({"id": id})).await;
        let gone = cloud.refused(&fis::MODEL, "GetExperimentTemplate", json!({"id": id})).await;
        assert!(gone.is("ResourceNotFoundException"));
    });
}

#[test]
fn target_accounts_are_kept_with_their_template() {
    standfast_testkit::run(1, |cloud| async move {
        let mut multi = template(&cloud, json!({"a": wait("PT1M", &[])}), json!({}));
        multi["experimentOptions"] = json!({"accountTargeting": "multi-account"});
        let id = create(&cloud, multi).await;
        let of = |account: &str| json!({"experimentTemplateId": id, "accountId": account});
        let with = |account: &str, role: &str| {
            let mut input = of(account);
            input["roleArn"] = json!(role);
            input
        };
        call(&cloud, "CreateTargetAccountConfiguration", with("111111111111", ROLE)).await;
        let again = with("111111111111", "arn:aws:iam::111111111111:role/other");
        assert!(
            cloud.refused(&fis::MODEL, "CreateTargetAccountConfiguration", again.clone()).await.is("ConflictException")
        );
        assert!(
            cloud
                .refused(&fis::MODEL, "CreateTargetAccountConfiguration", with("1234567890ab", ROLE))
                .await
                .is("ValidationException")
        );
        call(&cloud, "UpdateTargetAccountConfiguration", again).await;
        let seen = call(&cloud, "GetTargetAccountConfiguration", of("111111111111")).await;
        assert!(text(&seen["targetAccountConfiguration"], "roleArn").ends_with("role/other"));
        let experiment = start_of(&cloud, &id, json!({})).await;
        let listed =
            call(&cloud, "ListExperimentTargetAccountConfigurations", json!({"experimentId": experiment})).await;
        assert_eq!(list(&listed, "targetAccountConfigurations").len(), 1);
        call(&cloud, "DeleteTargetAccountConfiguration", of("111111111111")).await;
        let left = call(&cloud, "ListTargetAccountConfigurations", json!({"experimentTemplateId": id})).await;
        assert!(list(&left, "targetAccountConfigurations").is_empty());
        let gone = cloud.refused(&fis::MODEL, "GetTargetAccountConfiguration", of("111111111111")).await;
        assert!(gone.is("ResourceNotFoundException"));
    });
}

#[test]
fn actions_run_beside_and_after_each_other() {
    standfast_testkit::run(1, |cloud| async move {
        let actions = json!({
            "a": wait("PT10S", &[]), "b": wait("PT20S", &[]), "c": wait("PT5S", &["a", "b"]), "d": wait("PT5S", &["c"]),
        });
        let began = cloud.now();
        let id = start(&cloud, template(&cloud, actions, json!({}))).await;
        cloud.pass(Duration::from_secs(12)).await;
        let seen = becomes(&cloud, &id, "running").await;
        let now: Vec<_> = ["a", "b", "c", "d"].map(|name| action_status(&seen, name)).into();
        assert_eq!(now, ["completed", "running", "pending", "pending"]);
        becomes(&cloud, &id, "completed").await;
        let took = cloud.now().since(began);
        assert!((Duration::from_secs(30)..Duration::from_secs(31)).contains(&took), "{took:?}");
        let again = cloud.refused(&fis::MODEL, "StopExperiment", json!({"id": id})).await;
        assert!(again.is("ValidationException"), "{again}");
    });
}

async fn alarm(cloud: &TestCloud, state: &str) -> String {
    let input = json!({
        "AlarmName": "red", "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
        "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
    });
    cloud.send(&cloudwatch::MODEL, "PutMetricAlarm", input).await.expect("put");
    set_alarm(cloud, state).await;
    "arn:aws:cloudwatch:eu-west-1:000000000000:alarm:red".to_owned()
}

async fn set_alarm(cloud: &TestCloud, state: &str) {
    let input = json!({"AlarmName": "red", "StateValue": state, "StateReason": "test"});
    cloud.send(&cloudwatch::MODEL, "SetAlarmState", input).await.expect("set");
}

#[test]
fn an_alarm_stops_an_experiment_and_keeps_it_from_starting() {
    standfast_testkit::run(1, |cloud| async move {
        let arn = alarm(&cloud, "OK").await;
        let guarded = |arn: &str| {
            let actions = json!({"dark": {"actionId": "standfast:az:power-interruption",
                "parameters": {"availabilityZoneIdentifier": "eu-west-1a"}}});
            let mut made = template(&cloud, actions, json!({}));
            made["stopConditions"] = json!([{"source": "aws:cloudwatch:alarm", "value": arn}]);
            made
        };
        let id = start(&cloud, guarded(&arn)).await;
        becomes(&cloud, &id, "running").await;
        set_alarm(&cloud, "ALARM").await;
        let stopped = becomes(&cloud, &id, "stopped").await;
        assert_eq!(text(&stopped["state"], "reason"), "Experiment halted by stop condition.");
        let zones = cloud.send(&ec2::MODEL, "DescribeAvailabilityZones", json!({})).await.expect("listed");
        assert!(list(&zones, "AvailabilityZones").iter().all(|zone| text(zone, "State") == "available"));
        let error = not_started(&cloud, guarded(&arn)).await;
        assert!(error.is("ConflictException") && error.message.contains("red"), "{error}");
        let error = not_started(&cloud, guarded("arn:aws:cloudwatch:eu-west-1:000000000000:alarm:no")).await;
        assert!(error.is("ValidationException") && error.message.contains("does not exist"), "{error}");
        for (source, value) in [("aws:cloudwatch:alarm", Json::Null), ("none", json!(arn)), ("x", Json::Null)] {
            let mut bad = template(&cloud, json!({"a": wait("PT1M", &[])}), json!({}));
            bad["stopConditions"] = json!([{"source": source, "value": value}]);
            assert!(cloud.refused(&fis::MODEL, "CreateExperimentTemplate", bad).await.is("ValidationException"));
        }
    });
}

#[test]
fn five_experiments_may_be_active_and_no_sixth() {
    standfast_testkit::run(1, |cloud| async move {
        let id = create(&cloud, template(&cloud, json!({"w": wait("PT1M", &[])}), json!({}))).await;
        let mut active = Vec::new();
        for _ in 0..5 {
            active.push(start_of(&cloud, &id, json!({})).await);
        }
        let input = json!({"clientToken": cloud.cloud.rng().uuid(), "experimentTemplateId": id});
        let error = cloud.refused(&fis::MODEL, "StartExperiment", input).await;
        assert!(error.is("ServiceQuotaExceededException") && error.message.contains("quota of 5"), "{error}");
        stop(&cloud, &active[0]).await;
        start_of(&cloud, &id, json!({})).await;
    });
}

#[test]
fn the_safety_lever_stops_what_runs_and_lets_nothing_start() {
    standfast_testkit::run(1, |cloud| async move {
        let lever = |status: &str| json!({"id": "default", "state": {"status": status, "reason": "enough"}});
        let state = async || {
            let seen = call(&cloud, "GetSafetyLever", json!({"id": "default"})).await;
            text(&seen["safetyLever"]["state"], "status").to_owned()
        };
        assert_eq!(state().await, "disengaged");
        let id = start(&cloud, template(&cloud, json!({"a": wait("PT1H", &[])}), json!({}))).await;
        becomes(&cloud, &id, "running").await;
        call(&cloud, "UpdateSafetyLeverState", lever("engaged")).await;
        let stopped = becomes(&cloud, &id, "stopped").await;
        assert!(text(&stopped["state"], "reason").contains("safety lever"), "{stopped}");
        assert_eq!(state().await, "engaged");
        let error = not_started(&cloud, template(&cloud, json!({"a": wait("PT1H", &[])}), json!({}))).await;
        assert!(error.is("ConflictException") && error.message.contains("enough"), "{error}");
        call(&cloud, "UpdateSafetyLeverState", lever("disengaged")).await;
        let again = start(&cloud, template(&cloud, json!({"a": wait("PT1H", &[])}), json!({}))).await;
        becomes(&cloud, &again, "running").await;
        assert!(cloud.refused(&fis::MODEL, "GetSafetyLever", json!({"id": "x"})).await.is("ResourceNotFoundException"));
    });
}

#[test]
fn a_preview_resolves_targets_and_breaks_nothing() {
    standfast_testkit::run(7, |cloud| async move {
        group(&cloud, 6, json!({})).await;
        let kill = |selection: &str, zone: &str| {
            let target = json!({
                "resourceType": "aws:ec2:instance", "selectionMode": selection,
                "resourceTags": {"aws:autoscaling:groupName": "web"},
                "filters": [{"path": "Placement.AvailabilityZone", "values": [zone]}, {"path": "State.Name", "values": ["running"]}],
            });
            let actions = json!({"kill": {"actionId": "aws:ec2:terminate-instances", "targets": {"Instances": "it"}}});
            template(&cloud, actions, json!({"it": target}))
        };
        let preview = json!({"experimentOptions": {"actionsMode": "skip-all"}});
        for (selection, wanted) in [("ALL", 2), ("COUNT(1)", 1), ("PERCENT(50)", 1), ("COUNT(5)", 2)] {
            let made = create(&cloud, kill(selection, "eu-west-1a")).await;
            let id = start_of(&cloud, &made, preview.clone()).await;
            let seen = becomes(&cloud, &id, "completed").await;
            assert_eq!(action_status(&seen, "kill"), "skipped");
            let found = call(&cloud, "ListExperimentResolvedTargets", json!({"experimentId": id})).await;
            let found = list(&found, "resolvedTargets");
            assert_eq!(found.len(), wanted, "{selection}");
            assert!(found.iter().all(|one| text(&one["targetInformation"], "arn").contains(":instance/i-")));
        }
        let states = crate::site::instances(&cloud).await;
        assert!(states.values().all(|state| state == "running"), "{states:?}");

        // Nothing there: a failure, or nothing to do.
        let id = start(&cloud, kill("ALL", "eu-west-1z")).await;
        let failed = becomes(&cloud, &id, "failed").await;
        assert!(text(&failed["state"], "reason").contains("empty set for 'it'"), "{failed}");
        let mut lenient = kill("ALL", "eu-west-1z");
        lenient["experimentOptions"] = json!({"emptyTargetResolutionMode": "skip"});
        let id = start(&cloud, lenient).await;
        let seen = becomes(&cloud, &id, "completed").await;
        assert_eq!(action_status(&seen, "kill"), "skipped");
    });
}

#[test]
fn the_event_bus_hears_of_experiments() {
    standfast_testkit::run(1, |cloud| async move {
        let made = cloud.send(&sns::MODEL, "CreateTopic", json!({"Name": "t"})).await.expect("created");
        let attributes = json!({"RawMessageDelivery": "true"});
        let hook = "http://127.0.0.1:9/x";
        let input =
            json!({"TopicArn": made["TopicArn"], "Protocol": "http", "Endpoint": hook, "Attributes": attributes});
        cloud.send(&sns::MODEL, "Subscribe", input).await.expect("subscribed");
        let token = cloud
            .until("the question", SOON, || async {
                let body: Json = serde_json::from_str(&cloud.courier.posts().first()?.1.body).expect("JSON");
                Some(body["Token"].clone())
            })
            .await;
        let input = json!({"TopicArn": made["TopicArn"], "Token": token});
        cloud.send(&sns::MODEL, "ConfirmSubscription", input).await.expect("confirmed");
        let pattern = json!({"source": ["aws.fis"], "detail-type": ["FIS Experiment State Change"]}).to_string();
        cloud.send(&events::MODEL, "PutRule", json!({"Name": "r", "EventPattern": pattern})).await.expect("put");
        let targets = json!({"Rule": "r", "Targets": [{"Id": "t", "Arn": made["TopicArn"]}]});
        cloud.send(&events::MODEL, "PutTargets", targets).await.expect("put");
        let id = start(&cloud, template(&cloud, json!({"a": wait("PT5S", &[])}), json!({}))).await;
        becomes(&cloud, &id, "completed").await;
        let heard = cloud
            .until("three events", SOON, || async {
                let posts = cloud.courier.posts();
                let heard: Vec<Json> =
                    posts.iter().skip(1).filter_map(|(_, post)| serde_json::from_str(&post.body).ok()).collect();
                (heard.len() >= 3).then_some(heard)
            })
            .await;
        let mut states: Vec<_> =
            heard.iter().map(|event| text(&event["detail"]["new-state"], "status").to_owned()).collect();
        states.sort();
        assert_eq!(states, ["completed", "initiating", "running"]);
        assert!(heard.iter().all(|event| text(&event["detail"], "experiment-id") == id));
    });
}

const STACK: &str = r#"
Parameters:
  Words: {Type: String, Default: one}
Resources:
  Kill:
    Type: AWS::FIS::ExperimentTemplate
    Properties:
      Description: !Ref Words
      RoleArn: arn:aws:iam::000000000000:role/fis
      StopConditions: [{Source: none}]
      Targets:
        Web: {ResourceType: "aws:ec2:instance", SelectionMode: ALL, ResourceTags: {Chaos: Ready}}
      Actions:
        Kill: {ActionId: "aws:ec2:terminate-instances", Targets: {Instances: Web}}
      Tags: {Name: kill}
Outputs:
  Id: {Value: !GetAtt Kill.Id}
"#;

#[test]
fn a_stack_makes_changes_and_deletes_a_template() {
    standfast_testkit::run(1, |cloud| async move {
        let templates = async || {
            let all = call(&cloud, "ListExperimentTemplates", json!({})).await;
            list(&all, "experimentTemplates").to_vec()
        };
        let (status, events) = crate::site::deploy(&cloud, STACK, json!([])).await;
        assert_eq!(status, "CREATE_COMPLETE", "{events:#?}");
        let made = templates().await;
        assert_eq!((made.len(), text(&made[0], "description"), text(&made[0]["tags"], "Name")), (1, "one", "kill"));
        let seen = call(&cloud, "GetExperimentTemplate", json!({"id": made[0]["id"]})).await;
        assert_eq!(seen["experimentTemplate"]["targets"]["Web"]["resourceTags"], json!({"Chaos": "Ready"}));
        let parameters = json!([{"ParameterKey": "Words", "ParameterValue": "two"}]);
        let input = json!({"StackName": crate::site::STACK, "TemplateBody": STACK, "Parameters": parameters});
        cloud.send(&standfast_api::cloudformation::MODEL, "UpdateStack", input).await.expect("it can be updated");
        let (status, events) = crate::site::rest(&cloud).await;
        assert_eq!(status, "UPDATE_COMPLETE", "{events:#?}");
        let changed = templates().await;
        assert_eq!((&changed[0]["id"], text(&changed[0], "description")), (&made[0]["id"], "two"));
        let input = json!({"StackName": crate::site::STACK});
        cloud.send(&standfast_api::cloudformation::MODEL, "DeleteStack", input).await.expect("it can be deleted");
        cloud.until("the template to go", SOON, || async { templates().await.is_empty().then_some(()) }).await;
    });
}
