//! The console: what its pages show, what its buttons do, and what it refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::{Value as Json, json};
use standfast_api::{autoscaling, cloudwatch, ec2, elbv2, fis};
use standfast_console::Console;
use standfast_core::host::Abilities;
use standfast_gameday::probe::{Answer, Fate, Named, Pace, SharedLog, Teller, fire};
use standfast_gameday::world::Shot;
use standfast_gameday::{Ended, GameDay, Run, World};
use standfast_testkit::TestCloud;
use standfast_testkit::world::TestWorld;

use crate::site::{Site, TEMPLATE, list, text};

const HOST: &str = "localhost:4566";
/// Hosts on which links between zones can be harmed.
const NETWORKS: Abilities = Abilities { networks: true, volumes: false, metadata: false, loss: true, delay: true };
const ZONE: &str = "eu-west-1a";
/// Every page that is there without a name of something.
const PAGES: [&str; 11] = [
    "",
    "groups",
    "balancers",
    "instances",
    "alarms",
    "experiments",
    "availability",
    "bus",
    "stacks",
    "storage",
    "mails",
];
const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>";

/// A browser on this machine.
struct Browser {
    console: Console,
}

impl Browser {
    fn new(cloud: &TestCloud) -> Self {
        Self { console: standfast::console(&cloud.cloud) }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let request = Request::get(format!("/_standfast/{path}")).header("host", HOST);
        self.ask(request.body(Bytes::new()).expect("a request")).await
    }

    async fn ask(&self, request: Request<Bytes>) -> (u16, String) {
        let answer = self.console.answer(request, false).await;
        for name in ["content-security-policy", "x-frame-options", "x-content-type-options"] {
            assert!(answer.headers().contains_key(name), "{name} is missing");
        }
        (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
    }

    async fn page(&self, path: &str) -> String {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Reads the question, and presses its button as a browser would.
    async fn press(&self, act: &str, field: &str, value: &str) -> (u16, String) {
        let question = self.page(&format!("confirm/{act}?{field}={value}")).await;
        let token = question.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let body = format!("token={}&region=eu-west-1&{field}={value}", token.expect("the form has a token"));
        self.ask(post(act, &[("origin", "http://localhost:4566"), ("sec-fetch-site", "same-origin")], body)).await
    }
}

fn post(act: &str, headers: &[(&str, &str)], body: String) -> Request<Bytes> {
    let mut request = Request::post(format!("/_standfast/act/{act}")).header("host", HOST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).expect("a request")
}

async fn is_dark(cloud: &TestCloud) -> bool {
    let zones = cloud.send(&ec2::MODEL, "DescribeAvailabilityZones", json!({})).await.expect("zones are described");
    let zone = list(&zones, "AvailabilityZones").iter().find(|zone| text(zone, "ZoneName") == ZONE).cloned();
    !list(&zone.unwrap_or(Json::Null), "Messages").is_empty()
}

#[test]
fn an_empty_cloud_says_what_to_do_next() {
    standfast_testkit::run(1, |cloud| async move {
        let browser = Browser::new(&cloud);
        for page in PAGES {
            let shown = browser.page(page).await;
            assert!(shown.contains("<h1>"), "{page} has a heading");
            assert!(shown.contains("<noscript><meta http-equiv=\"refresh\""), "{page} lives without a script");
            assert!(!shown.contains(" style=") && !shown.contains("<style"), "{page} keeps to its own policy");
        }
        assert!(browser.page("").await.contains("standfast up examples/what-is-the-time/template.yaml"));
        for missing in ["groups/none", "instances/i-0", "balancers/none", "alarms/none", "stacks/none", "confirm/none"]
        {
            assert_eq!(browser.get(missing).await.0, 404, "{missing}");
        }
    });
}

#[test]
fn pages_show_the_site() {
    standfast_testkit::run(2, |cloud| async move {
        let browser = Browser::new(&cloud);
        let site = Site::up(&cloud).await;
        site.load(&cloud, 50, Duration::from_secs(10)).await;
        let members = site.members(&cloud).await;
        let map = browser.page("").await;
        assert!(members.iter().all(|(id, ..)| map.contains(id.as_str())), "the map shows every instance");
        assert!(map.contains("50/s") && map.contains("5 of 5"), "rates and health are live: {map}");
        let group = browser.page(&format!("groups/{}", site.group)).await;
        assert!(group.contains("Launching a new EC2 instance"), "{group}");
        let instance = browser.page(&format!("instances/{}", members[0].0)).await;
        assert!(instance.contains("Console output") && instance.contains("<svg class=\"chart\""), "{instance}");
        let name = map.split("/_standfast/balancers/").nth(1).and_then(|rest| rest.split('"').next());
        let balancer = browser.page(&format!("balancers/{}", name.expect("the map links to it"))).await;
        assert!(balancer.contains("forward to") && balancer.contains("Requests to targets by zone"), "{balancer}");
        assert!(!map.contains(" p99"), "the minute is not over");
        cloud.pass(Duration::from_secs(60)).await;
        assert!(browser.page("").await.contains(" p99"), "percentiles of targets' times, as CloudWatch has them");
        assert!(browser.page("stacks/site").await.contains("AWS::AutoScaling::AutoScalingGroup"));
        let availability = browser.page("availability").await;
        assert!(availability.contains("100 %") && availability.contains("none of "), "{availability}");
    });
}

#[test]
fn lines_lead_to_zones_where_a_load_balancer_has_something() {
    standfast_testkit::run(1, |cloud| async move {
        let subnets = cloud.send(&ec2::MODEL, "DescribeSubnets", json!({})).await.expect("subnets are described");
        let ids: Vec<&str> = list(&subnets, "Subnets").iter().map(|subnet| text(subnet, "SubnetId")).collect();
        let input = json!({"Name": "two", "Subnets": ids[..2]});
        cloud.send(&elbv2::MODEL, "CreateLoadBalancer", input).await.expect("it is created");
        let map = Browser::new(&cloud).page("").await;
        assert_eq!((ids.len(), map.matches("<path d=\"M300 0C").count()), (3, 2), "{map}");
    });
}

#[test]
fn a_zone_is_broken_and_healed_through_the_page_as_on_the_command_line() {
    standfast_testkit::run(3, |cloud| async move {
        let browser = Browser::new(&cloud);
        let site = Site::up(&cloud).await;
        let there = site.spread(&cloud).await[ZONE];
        let question = browser.page(&format!("confirm/break-zone?zone={ZONE}")).await;
        let figures = format!("falls from <strong>5</strong> to <strong>{}</strong> instances in service", 5 - there);
        assert!(question.contains(&figures), "{question}");
        assert!(question.contains("falls from <strong>3</strong> to <strong>2</strong> nodes"), "{question}");
        assert!(!is_dark(&cloud).await, "a question breaks nothing");
        assert_eq!(browser.press("break-zone", "zone", ZONE).await.0, 303);
        assert!(is_dark(&cloud).await);
        let map = browser.page("").await;
        assert!(map.contains("Broken on purpose") && map.contains("confirm/heal-zone?zone=eu-west-1a"), "{map}");
        let experiments = cloud.send(&fis::MODEL, "ListExperiments", json!({})).await.expect("experiments are listed");
        let tags = &list(&experiments, "experiments")[0]["tags"];
        assert_eq!(tags["zone"], ZONE, "`standfast heal` finds it");
        let id = text(&list(&experiments, "experiments")[0], "id").to_owned();
        assert!(browser.page(&format!("experiments/{id}")).await.contains("standfast:az:power-interruption"));
        assert_eq!(browser.press("heal-zone", "zone", ZONE).await.0, 303);
        assert!(!is_dark(&cloud).await);
        assert_eq!(browser.get(&format!("confirm/stop-experiment?id={id}")).await.0, 404, "it runs no more");
    });
}

#[test]
fn an_instance_is_killed_and_one_terminated_through_the_page() {
    standfast_testkit::run(4, |cloud| async move {
        let browser = Browser::new(&cloud);
        let site = Site::up(&cloud).await;
        let members = site.members(&cloud).await;
        let (first, second) = (members[0].0.clone(), members[1].0.clone());
        assert_eq!(browser.press("kill-instance", "id", &first).await.0, 303);
        assert_eq!(browser.press("terminate-instance", "id", &second).await.0, 303);
        site.settled(&cloud, 5).await;
        let left = site.members(&cloud).await;
        assert!(left.iter().all(|(id, ..)| *id != first && *id != second), "{left:?}");
    });
}

/// Sends 10 requests a second, of which numbers 100 to 119 fail, and tells the cloud.
async fn probed(cloud: &Arc<TestCloud>, duration: Duration) {
    let world: Arc<dyn World> = TestWorld::new(cloud.clone());
    let sent = AtomicU64::new(0);
    let shot: Shot = Arc::new(move || {
        let fails = (100..120).contains(&sent.fetch_add(1, Ordering::Relaxed));
        let fate = if fails { Fate::TIMED_OUT } else { Fate::status(200) };
        Box::pin(std::future::ready(Answer { fate, who: None }))
    });
    let (pace, start, log) = (Pace { per_second: 10, duration }, world.elapsed(), SharedLog::default());
    let named = Named { probe: "users".into(), stack: None };
    let (began, speed) = (world.now(), 1.0);
    let teller = Teller { world: world.clone(), named, pace, start, began, speed, log: log.clone() };
    let (done, is_done) = tokio::sync::watch::channel(false);
    let (_stopper, stop) = tokio::sync::watch::channel(false);
    let fired = async {
        fire(&world, &shot, pace, start, &log, stop, |_| ()).await;
        done.send_replace(true);
    };
    tokio::join!(fired, teller.tell(is_done));
}

#[test]
fn what_probes_see_is_metrics_like_everyones_and_stands_on_the_pages() {
    standfast_testkit::run(8, |cloud| async move {
        let cloud = Arc::new(cloud);
        let browser = Browser::new(&cloud);
        let began = cloud.now();
        probed(&cloud, Duration::from_secs(60)).await;
        let query = |id: &str, metric: &str, stat: &str| {
            let dimensions = json!([{"Name": "Probe", "Value": "users"}]);
            let metric = json!({"Namespace": "Standfast/Probes", "MetricName": metric, "Dimensions": dimensions});
            json!({"Id": id, "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}})
        };
        let queries = [
            query("requests", "Requests", "Sum"),
            query("failed", "Failed", "Sum"),
            query("share", "SuccessPercent", "Average"),
            query("outage", "Outage", "Maximum"),
            query("latency", "Latency", "p99"),
        ];
        let input = json!({"MetricDataQueries": queries, "StartTime": began.seconds(),
                           "EndTime": (began + Duration::from_secs(60)).seconds()});
        let told = cloud.send(&cloudwatch::MODEL, "GetMetricData", input).await.expect("there are metrics");
        let values: Vec<f64> =
            list(&told, "MetricDataResults").iter().filter_map(|one| one["Values"][0].as_f64()).collect();
        assert_eq!(values[..2], [600.0, 20.0]);
        assert!((values[2] - 100.0 * 580.0 / 600.0).abs() < 1e-9, "weighed by requests: {values:?}");
        assert_eq!(values[3], 2000.0, "from request 100 to request 120");
        assert!(values[4] < 1.0, "{values:?}");
        let map = browser.page("").await;
        assert!(map.contains("What users see") && map.contains("96.67 %"), "{map}");
        let page = browser.page("availability").await;
        let year = "1.47 nines; a year of this is 12 days without service";
        assert!(page.contains("users") && page.contains(year), "{page}");
        assert!(page.contains("✓") && page.contains("2 s"), "it is live: {page}");
        cloud.pass(Duration::from_secs(300)).await;
        assert!(browser.page("availability").await.contains("ended 5 min ago"));
        assert!(!browser.page("").await.contains("What users see"), "the map shows what is live");
    });
}

/// A game day of one instance's death.
const DAY: &str = "
name: One dies
stack: {template: template.yaml}
probes: [{name: users, url: '${URL}', rate: 20}]
steady_state: {for: 5s}
faults: [{at: 1s, name: one dies, action: standfast:ec2:kill-instances, targets: {group: Group, count: 1}}]
watch: 20s
hypothesis: {availability: 90}
";

#[test]
fn a_game_days_probes_tell_what_its_report_says() {
    standfast_testkit::run(10, |cloud| async move {
        let cloud = Arc::new(cloud);
        let began = cloud.now();
        let world: Arc<dyn World> = TestWorld::new(cloud.clone());
        let (_stopper, stop) = tokio::sync::watch::channel(false);
        let (day, template) = (GameDay::read(DAY).expect("a valid day"), Some(TEMPLATE.to_owned()));
        let run = Run { world, day, template, stack: "site".into(), seed: 10, say: Arc::new(|_| ()), stop };
        let Ended::Reported(report, _) = run.run().await.expect("the API answers") else { panic!("it was refused") };
        let dimensions = json!([{"Name": "Probe", "Value": "users"}, {"Name": "Stack", "Value": "site"}]);
        let query = |id: &str, metric: &str| {
            let metric = json!({"Namespace": "Standfast/Probes", "MetricName": metric, "Dimensions": dimensions});
            json!({"Id": id, "MetricStat": {"Metric": metric, "Period": 86_400, "Stat": "Sum"}})
        };
        let input = json!({"MetricDataQueries": [query("requests", "Requests"), query("failed", "Failed")],
                           "StartTime": began.seconds(), "EndTime": (cloud.now() + Duration::from_secs(60)).seconds()});
        let told = cloud.send(&cloudwatch::MODEL, "GetMetricData", input).await.expect("there are metrics");
        let sums = list(&told, "MetricDataResults").iter().map(|one| one["Values"][0].as_f64());
        let seen = &report.probes[0].whole;
        assert_eq!(sums.collect::<Vec<_>>(), [Some(seen.requests as f64), Some(seen.failed as f64)]);
        let page = Browser::new(&cloud).page("availability").await;
        assert!(page.contains("stack <a href=\"/_standfast/stacks/site\">"), "{page}");
    });
}

#[test]
fn a_link_that_loses_packets_is_a_line_on_the_map_while_it_does() {
    standfast_testkit::run_able(9, NETWORKS, |cloud| async move {
        let browser = Browser::new(&cloud);
        assert!(!browser.page("").await.contains("Links between zones"));
        let parameters = json!({"availabilityZoneIdentifier": "eu-west-1c", "otherAvailabilityZoneIdentifier": ZONE,
                                "lossPercent": "20", "delayMilliseconds": "100", "duration": "PT1M"});
        let template = json!({
            "clientToken": "a", "description": "late", "stopConditions": [{"source": "none"}], "targets": {},
            "roleArn": "arn:aws:iam::000000000000:role/x",
            "actions": {"late": {"actionId": "standfast:az:impair-link", "parameters": parameters}},
        });
        let made = cloud.send(&fis::MODEL, "CreateExperimentTemplate", template).await.expect("a template");
        let input = json!({"clientToken": "b", "experimentTemplateId": made["experimentTemplate"]["id"]});
        cloud.send(&fis::MODEL, "StartExperiment", input).await.expect("it starts");
        cloud.pass(Duration::from_secs(5)).await;
        let map = browser.page("").await;
        assert!(map.contains("<li class=\"from-1 to-3 past-2\">"), "over all three zones: {map}");
        assert!(map.contains("<b>eu-west-1a ↔ eu-west-1c</b> 20 % lost, 100 ms late"), "{map}");
        cloud.pass(Duration::from_secs(60)).await;
        assert!(!browser.page("").await.contains("Links between zones"));
    });
}

#[test]
fn posts_of_other_sites_other_names_and_instances_are_refused() {
    standfast_testkit::run(5, |cloud| async move {
        let browser = Browser::new(&cloud);
        let question = browser.page(&format!("confirm/break-zone?zone={ZONE}")).await;
        let token = question.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let body = format!("token={}&zone={ZONE}", token.expect("the form has a token"));
        let own = ("origin", "http://localhost:4566");
        for headers in [vec![], vec![("origin", "http://evil.example")], vec![own, ("sec-fetch-site", "cross-site")]] {
            assert_eq!(browser.ask(post("break-zone", &headers, body.clone())).await.0, 403, "{headers:?}");
        }
        let forged = format!("token=guess&zone={ZONE}");
        assert_eq!(browser.ask(post("break-zone", &[own], forged)).await.0, 403);
        let rebound = Request::get("/_standfast/").header("host", "evil.example:4566").body(Bytes::new());
        assert_eq!(browser.ask(rebound.expect("a request")).await.0, 421);
        let get =
            Request::get(format!("/_standfast/act/break-zone?zone={ZONE}")).header("host", HOST).body(Bytes::new());
        assert_eq!(browser.ask(get.expect("a request")).await.0, 404, "a GET acts on nothing");
        let inside = Request::get("/_standfast/").header("host", HOST).body(Bytes::new()).expect("a request");
        assert_eq!(browser.console.answer(inside, true).await.status(), 403);
        assert!(!is_dark(&cloud).await);
    });
}

#[test]
fn what_others_named_is_escaped_on_every_page() {
    standfast_testkit::run(6, |cloud| async move {
        let browser = Browser::new(&cloud);
        let tags = json!([{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": HOSTILE}]}]);
        let x86 = json!([{"Name": "architecture", "Values": ["x86_64"]}]);
        let images = json!({"Owners": ["amazon"], "Filters": x86});
        let images = cloud.send(&ec2::MODEL, "DescribeImages", images).await.expect("images");
        let image = text(&list(&images, "Images")[0], "ImageId").to_owned();
        let input = json!({"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1,
                           "TagSpecifications": tags});
        let run = cloud.send(&ec2::MODEL, "RunInstances", input).await.expect("it is launched");
        let id = text(&list(&run, "Instances")[0], "InstanceId").to_owned();
        let alarm = json!({
            "AlarmName": HOSTILE, "AlarmDescription": HOSTILE, "Namespace": HOSTILE, "MetricName": HOSTILE,
            "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0, "Statistic": "Average",
            "ComparisonOperator": "GreaterThanThreshold",
        });
        cloud.send(&standfast_api::cloudwatch::MODEL, "PutMetricAlarm", alarm).await.expect("the alarm is made");
        let topic = cloud.send(&standfast_api::sns::MODEL, "CreateTopic", json!({"Name": "t"})).await.expect("a topic");
        let arn = text(&topic, "TopicArn");
        let subscription = json!({"TopicArn": arn, "Protocol": "email", "Endpoint": "a@example.com"});
        cloud.send(&standfast_api::sns::MODEL, "Subscribe", subscription).await.expect("subscribed");
        let template = json!({
            "clientToken": "a", "description": HOSTILE, "stopConditions": [{"source": "none"}], "targets": {},
            "roleArn": "arn:aws:iam::000000000000:role/x",
            "actions": {"wait": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT5M"}}},
        });
        cloud.send(&fis::MODEL, "CreateExperimentTemplate", template).await.expect("a template");
        let groups = cloud.send(&autoscaling::MODEL, "DescribeAutoScalingGroups", json!({})).await.expect("groups");
        assert!(list(&groups, "AutoScalingGroups").is_empty());
        cloud.pass(Duration::from_secs(30)).await;
        let hostile: String = HOSTILE.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let one = [format!("instances/{id}"), format!("alarms/{hostile}"), format!("groups/{hostile}")];
        let asked =
            [format!("confirm/break-zone?zone={hostile}"), format!("confirm/{hostile}"), format!("?region={hostile}")];
        let mut seen = 0;
        for page in PAGES.map(str::to_owned).into_iter().chain(one).chain(asked) {
            let (_, shown) = browser.get(&page).await;
            assert!(!shown.contains("<script>") && !shown.contains("<img"), "{page}: {shown}");
            seen += usize::from(shown.contains("&lt;script&gt;"));
        }
        assert!(seen >= 6, "the hostile names were shown, as text: on {seen} pages");
    });
}
