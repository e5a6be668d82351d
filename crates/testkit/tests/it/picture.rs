//! The reference picture on virtual time, from its own template: load raises CPU, the alarm fires at the period that it
//! should, an e-mail comes, the group grows; the load ends, it shrinks. `tests/test_scaling.py` is the same in real time.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::cloudwatch;
use standfast_core::{Id, Timestamp};
use standfast_testkit::{TestCloud, run};

use crate::site::{Site, deploy, list, text};

const TEMPLATE: &str = include_str!("../../../../examples/reference-picture/template.yaml");
const MINUTE: Duration = Duration::from_secs(60);
/// A group that is asked to change does so within this.
const SOON: Duration = Duration::from_secs(600);

/// Opens the link of the message that asks for a confirmation.
async fn confirm(cloud: &TestCloud) {
    let asks = cloud.until("the question", MINUTE, || async { cloud.courier.mails().pop() }).await;
    let link = asks.body.split_whitespace().find(|word| word.contains("ConfirmSubscription")).expect("a link");
    let request = http::Request::get(link.trim_matches(['<', '>', '.'])).header("host", "127.0.0.1:4566");
    let (status, answer) = cloud.raw(request.body(bytes::Bytes::new()).expect("a request")).await;
    assert_eq!(status, 200, "{answer}");
}

/// Keeps so many processors busy, shared by the group's members, for so long.
async fn busy(cloud: &TestCloud, site: &Site, processors: f64, time: Duration) {
    let end = cloud.now() + time;
    while cloud.now() < end {
        let members = site.members(cloud).await;
        for (id, ..) in &members {
            cloud.host.set_cpu(&Id::from_text(id), processors / members.len() as f64);
        }
        cloud.pass(Duration::from_secs(1)).await;
    }
}

/// When the alarm first fired.
async fn fired(cloud: &TestCloud, alarm: &str) -> Timestamp {
    let input = json!({"AlarmName": alarm, "HistoryItemType": "StateUpdate", "ScanBy": "TimestampAscending"});
    let answer = cloud.send(&cloudwatch::MODEL, "DescribeAlarmHistory", input).await.expect("it exists");
    let to_alarm = |item: &&Json| {
        let data: Json = serde_json::from_str(text(item, "HistoryData")).expect("JSON");
        data["newState"]["stateValue"] == "ALARM"
    };
    let item = list(&answer, "AlarmHistoryItems").iter().find(to_alarm).expect("it has fired");
    text(item, "Timestamp").parse().expect("a time")
}

#[test]
fn load_makes_the_group_grow_and_tells_somebody_and_its_end_makes_it_shrink() {
    run(1, |cloud| async move {
        cloud.courier.take_mail();
        let (status, events) = deploy(&cloud, TEMPLATE, json!([])).await;
        assert_eq!(status, "CREATE_COMPLETE", "{events:#?}");
        let site = Site::of_stack(&cloud).await;
        let alarms = cloud.send(&cloudwatch::MODEL, "DescribeAlarms", json!({})).await.expect("two");
        let named = |part: &str| {
            let names = list(&alarms, "MetricAlarms").iter().map(|alarm| text(alarm, "AlarmName"));
            names.filter(|name| name.contains(part)).collect::<String>()
        };
        let (high, low) = (named("Busy"), named("Quiet"));
        confirm(&cloud).await;
        site.settled(&cloud, 1).await;
        busy(&cloud, &site, 0.3, MINUTE * 5).await;
        assert_eq!(site.members(&cloud).await.len(), 1, "neither busy nor quiet");

        // From the beginning of a period on: the first whole period is over 75 %.
        let begun = cloud.now();
        let boundary = Timestamp(begun.0 - begun.0.rem_euclid(60_000) + 60_000);
        busy(&cloud, &site, 0.3, boundary.since(begun)).await;
        busy(&cloud, &site, 0.9, MINUTE * 2).await;
        let after = fired(&cloud, &high).await.since(boundary);
        // Within the minute that follows the period, at the alarm's own second.
        assert!((MINUTE..MINUTE * 2).contains(&after), "after {after:?}");
        let mails = || async { cloud.courier.mails().into_iter().find(|mail| mail.subject.starts_with("ALARM")) };
        let told = cloud.until("the e-mail", MINUTE, mails).await;
        assert!(told.subject.contains(&high) && told.body.contains("Threshold Crossed"), "{told:?}");
        site.settled(&cloud, 2).await;

        busy(&cloud, &site, 0.9, MINUTE * 10).await;
        assert_eq!(site.members(&cloud).await.len(), 2, "45 % each is neither busy nor quiet");

        let over = cloud.now();
        busy(&cloud, &site, 0.02, MINUTE * 5).await;
        let after = fired(&cloud, &low).await.since(over);
        assert!((MINUTE * 2..MINUTE * 4).contains(&after), "after {after:?}");
        cloud.until("one instance", SOON, || async { (site.members(&cloud).await.len() == 1).then_some(()) }).await;
        let causes = site.activities(&cloud).await;
        let of = |alarm: &str| {
            causes.iter().any(|one| text(one, "Cause").contains(&format!("alarm {alarm} in state ALARM")))
        };
        assert!(of(&high) && of(&low), "{causes:#?}");
    });
}
