//! Links between zones that experiments impair: what hosts are told, and what is refused because they cannot do it.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::fis;
use standfast_core::Result;
use standfast_core::host::Abilities;
use standfast_core::network::Impairment;
use standfast_testkit::TestCloud;

const SOON: Duration = Duration::from_secs(10);
const ABLE: Abilities = Abilities { networks: true, volumes: false, metadata: false, loss: true, delay: true };

fn text<'a>(value: &'a Json, path: &str) -> &'a str {
    value.pointer(path).and_then(Json::as_str).unwrap_or_default()
}

/// Starts an experiment that impairs the link between two zones; gives its id, or why it was refused.
async fn impair(cloud: &TestCloud, loss: u32, delay: u32) -> Result<String> {
    let action = json!({"actionId": "standfast:az:impair-link", "parameters": {
        "availabilityZoneIdentifier": "eu-west-1a", "otherAvailabilityZoneIdentifier": "eu-west-1b",
        "lossPercent": loss.to_string(), "delayMilliseconds": delay.to_string(),
    }});
    let template = json!({"clientToken": cloud.cloud.rng().uuid(), "description": "a link",
        "roleArn": "arn:aws:iam::000000000000:role/fis", "stopConditions": [{"source": "none"}],
        "actions": {"link": action}});
    let made = cloud.send(&fis::MODEL, "CreateExperimentTemplate", template).await?;
    let start =
        json!({"clientToken": cloud.cloud.rng().uuid(), "experimentTemplateId": made["experimentTemplate"]["id"]});
    let started = cloud.send(&fis::MODEL, "StartExperiment", start).await?;
    Ok(text(&started, "/experiment/id").to_owned())
}

/// The experiment, once it has this state.
async fn becomes(cloud: &TestCloud, id: &str, state: &str) -> Json {
    cloud
        .until(&format!("{id} to be {state}"), SOON, || async {
            let seen = cloud.send(&fis::MODEL, "GetExperiment", json!({"id": id})).await.expect("it is there");
            (text(&seen, "/experiment/state/status") == state).then_some(seen)
        })
        .await
}

#[test]
fn hosts_hear_of_late_packets_until_the_experiment_is_stopped() {
    standfast_testkit::run_able(1, ABLE, |cloud| async move {
        let zones = ("eu-west-1a".to_owned(), "eu-west-1b".to_owned());
        let wanted = vec![Impairment { zones, loss_percent: 5, delay_ms: 50 }];
        let told = |wanted: Vec<Impairment>| {
            let cloud = &cloud;
            async move { (cloud.host.snapshot().network.impairments == wanted).then_some(()) }
        };
        let id = impair(&cloud, 5, 50).await.expect("it starts");
        becomes(&cloud, &id, "running").await;
        cloud.until("the host to hear of it", SOON, || told(wanted.clone())).await;
        cloud.send(&fis::MODEL, "StopExperiment", json!({"id": id})).await.expect("it runs");
        cloud.until("the host to hear of its end", SOON, || told(Vec::new())).await;
    });
}

#[test]
fn what_hosts_cannot_do_is_refused_with_the_reason() {
    let cases = [
        (ABLE, 0, 0, "over 0"),
        (ABLE, 101, 0, "invalid value '101' for 'lossPercent'"),
        (Abilities { delay: false, ..ABLE }, 0, 50, "TUN"),
        (Abilities::default(), 0, 50, "no networks of their own"),
        (Abilities::default(), 100, 0, "no networks of their own"),
    ];
    for (abilities, loss, delay, reason) in cases {
        standfast_testkit::run_able(1, abilities, |cloud| async move {
            let error = impair(&cloud, loss, delay).await.expect_err("it is refused");
            assert!(error.message.contains(reason), "{error}");
            assert!(cloud.host.snapshot().network.impairments.is_empty());
        });
    }
}
