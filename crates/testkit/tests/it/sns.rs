//! Topics and their subscriptions: what is published arrives, on time, at those whom it is for.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{cloudwatch, sns};
use standfast_core::Timestamp;
use standfast_core::courier::Post;
use standfast_testkit::courier::Answer;
use standfast_testkit::{BEGINNING, TestCloud};

const HOOK: &str = "http://127.0.0.1:9999/hook";
const MINUTE: Duration = Duration::from_secs(60);

async fn topic(cloud: &TestCloud, name: &str) -> String {
    let made = cloud.send(&sns::MODEL, "CreateTopic", json!({"Name": name})).await.expect("created");
    made["TopicArn"].as_str().expect("an ARN").to_owned()
}

/// Subscribes an endpoint, confirms it with the token that it is sent, and gives the ARN.
async fn subscribed(cloud: &TestCloud, topic: &str, url: &str, attributes: Json) -> String {
    let input = json!({"TopicArn": topic, "Protocol": "http", "Endpoint": url, "Attributes": attributes});
    let answer = cloud.send(&sns::MODEL, "Subscribe", input).await.expect("subscribed");
    assert_eq!(answer["SubscriptionArn"], "pending confirmation");
    let asked = cloud
        .until("the question", MINUTE, || async {
            let mut posts = cloud.courier.posts().into_iter().map(|(_, post)| post);
            posts.rfind(|post| post.url == url && kind(post) == "SubscriptionConfirmation")
        })
        .await;
    let token = body(&asked)["Token"].clone();
    let input = json!({"TopicArn": topic, "Token": token});
    let answer = cloud.send(&sns::MODEL, "ConfirmSubscription", input).await.expect("confirmed");
    answer["SubscriptionArn"].as_str().expect("an ARN").to_owned()
}

fn header<'a>(post: &'a Post, name: &str) -> &'a str {
    post.headers.iter().find(|(header, _)| header == name).map_or("", |(_, value)| value)
}

fn kind(post: &Post) -> &str {
    header(post, "x-amz-sns-message-type")
}

fn body(post: &Post) -> Json {
    serde_json::from_str(&post.body).expect("JSON")
}

/// The notifications that an endpoint got, with the seconds since the beginning.
fn notifications(cloud: &TestCloud, url: &str) -> Vec<(u64, Post)> {
    let seconds = |at: Timestamp| at.since(BEGINNING).as_secs();
    let all = cloud.courier.posts().into_iter().filter(|(_, post)| post.url == url && kind(post) == "Notification");
    all.map(|(at, post)| (seconds(at), post)).collect()
}

async fn arrived(cloud: &TestCloud, url: &str, count: usize) -> Vec<Post> {
    cloud
        .until("notifications", Duration::from_secs(600), || async {
            let all = notifications(cloud, url);
            (all.len() >= count).then(|| all.into_iter().map(|(_, post)| post).collect())
        })
        .await
}

async fn publish(cloud: &TestCloud, topic: &str, message: &str) -> String {
    let answer = cloud.send(&sns::MODEL, "Publish", json!({"TopicArn": topic, "Message": message})).await;
    answer.expect("published")["MessageId"].as_str().expect("an id").to_owned()
}

#[test]
fn an_endpoint_of_this_machine_at_which_nobody_listens_counts_as_confirmed() {
    standfast_testkit::run(1, |cloud| async move {
        let topic = topic(&cloud, "t").await;
        cloud.courier.answer(|post| if post.url.ends_with("/none") { Answer::Nobody } else { Answer::Refused });
        for (path, pending) in [("none", "false"), ("elsewhere", "true")] {
            let endpoint = format!("http://127.0.0.1:9/{path}");
            let input = json!({
                "TopicArn": topic, "Protocol": "http", "Endpoint": endpoint, "ReturnSubscriptionArn": true,
            });
            let made = cloud.send(&sns::MODEL, "Subscribe", input).await.expect("subscribed");
            cloud.pass(MINUTE).await;
            let input = json!({"SubscriptionArn": made["SubscriptionArn"]});
            let shown = cloud.send(&sns::MODEL, "GetSubscriptionAttributes", input).await.expect("it is there");
            assert_eq!(shown["Attributes"]["PendingConfirmation"], pending, "{path}");
        }
    });
}

#[test]
fn a_message_arrives_at_those_who_confirmed() {
    standfast_testkit::run(1, |cloud| async move {
        let topic = topic(&cloud, "alerts").await;
        let arn = subscribed(&cloud, &topic, HOOK, json!({})).await;
        let other = "http://127.0.0.1:9999/silent";
        let input = json!({"TopicArn": topic, "Protocol": "http", "Endpoint": other, "ReturnSubscriptionArn": true});
        let pending = cloud.send(&sns::MODEL, "Subscribe", input).await.expect("subscribed");
        assert!(pending["SubscriptionArn"].as_str().expect("an ARN").starts_with(&topic));
        let input = json!({
            "TopicArn": topic, "Message": "it burns", "Subject": "Fire",
            "MessageAttributes": {"floor": {"DataType": "Number", "StringValue": "3"}},
        });
        let id = cloud.send(&sns::MODEL, "Publish", input).await.expect("published")["MessageId"].clone();
        let post = arrived(&cloud, HOOK, 1).await.remove(0);
        assert_eq!(header(&post, "x-amz-sns-subscription-arn"), arn);
        let body = body(&post);
        assert_eq!((&body["MessageId"], &body["Subject"]), (&id, &json!("Fire")));
        assert_eq!((&body["Message"], &body["SignatureVersion"]), (&json!("it burns"), &json!("1")));
        assert_eq!(body["MessageAttributes"]["floor"], json!({"Type": "Number", "Value": "3"}));
        assert!(notifications(&cloud, other).is_empty(), "nobody confirmed");
        let attributes =
            cloud.send(&sns::MODEL, "GetTopicAttributes", json!({"TopicArn": topic})).await.expect("shown");
        let attributes = &attributes["Attributes"];
        assert_eq!(
            (&attributes["SubscriptionsConfirmed"], &attributes["SubscriptionsPending"]),
            (&json!("1"), &json!("1"))
        );
        // What is confirmed nowhere is forgotten.
        cloud.pass(Duration::from_secs(49 * 3600)).await;
        let all = cloud.send(&sns::MODEL, "ListSubscriptions", json!({})).await.expect("listed");
        assert_eq!(all["Subscriptions"].as_array().map(Vec::len), Some(1));
        cloud.send(&sns::MODEL, "Unsubscribe", json!({"SubscriptionArn": arn})).await.expect("ended");
        publish(&cloud, &topic, "unheard").await;
        cloud.pass(MINUTE).await;
        assert_eq!(notifications(&cloud, HOOK).len(), 1);
    });
}

#[test]
fn links_confirm_and_unsubscribe_when_opened() {
    standfast_testkit::run(2, |cloud| async move {
        cloud.courier.take_mail();
        let topic = topic(&cloud, "alerts").await;
        let input = json!({"TopicArn": topic, "Protocol": "email", "Endpoint": "ops@example.com"});
        cloud.send(&sns::MODEL, "Subscribe", input).await.expect("subscribed");
        let mails = |count: usize| {
            let cloud = &cloud;
            async move { (cloud.courier.mails().len() == count).then(|| cloud.courier.mails().remove(count - 1)) }
        };
        let asked = cloud.until("the question", MINUTE, || mails(1)).await;
        let open = |mail: standfast_core::courier::Mail| {
            let link = mail.body.lines().find_map(|line| line.strip_prefix("http://127.0.0.1:4566")).expect("a link");
            cloud.raw(http::Request::get(link.to_owned()).body(bytes::Bytes::new()).expect("a request"))
        };
        let (status, answer) = open(asked).await;
        assert!(status == 200 && answer.contains("<SubscriptionArn>arn:aws:sns:"), "{status} {answer}");
        publish(&cloud, &topic, "wake up").await;
        let mail = cloud.until("the mail", MINUTE, || mails(2)).await;
        assert!(mail.body.starts_with("wake up\n\n--\n"), "{}", mail.body);
        assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("ops@example.com", "Standfast Notification Message"));
        let (status, _) = open(mail).await;
        assert_eq!(status, 200);
        let all = cloud.send(&sns::MODEL, "ListSubscriptions", json!({})).await.expect("listed");
        assert_eq!(all["Subscriptions"].as_array().map_or(0, Vec::len), 0);
    });
}

#[test]
fn without_a_mail_server_mail_is_kept() {
    standfast_testkit::run(3, |cloud| async move {
        let topic = topic(&cloud, "alerts").await;
        let input = json!({"TopicArn": topic, "Protocol": "email", "Endpoint": "ops@example.com"});
        cloud.send(&sns::MODEL, "Subscribe", input).await.expect("subscribed");
        let kept = || async {
            let mails = standfast_messaging::sns::mails(&cloud.cloud, standfast_testkit::REGION);
            mails.as_array().and_then(|mails| mails.first().cloned())
        };
        let mail = cloud.until("the mail", MINUTE, kept).await;
        assert_eq!(mail["To"], "ops@example.com");
        assert!(mail["Body"].as_str().is_some_and(|body| body.contains("ConfirmSubscription")), "{mail}");
    });
}

#[test]
fn an_endpoint_that_fails_is_tried_again_on_its_schedule() {
    standfast_testkit::run(4, |cloud| async move {
        let topic = topic(&cloud, "alerts").await;
        let policy = json!({"healthyRetryPolicy": {
            "minDelayTarget": 5, "maxDelayTarget": 35, "numRetries": 6, "numNoDelayRetries": 1, "numMinDelayRetries": 1,
            "numMaxDelayRetries": 1, "backoffFunction": "linear",
        }});
        subscribed(&cloud, &topic, HOOK, json!({"DeliveryPolicy": policy.to_string()})).await;
        let plain = "http://127.0.0.1:9999/plain";
        subscribed(&cloud, &topic, plain, json!({})).await;
        let refusing = "http://127.0.0.1:9999/refusing";
        subscribed(&cloud, &topic, refusing, json!({})).await;
        cloud.courier.answer(|post| match post.url.as_str() {
            HOOK => Answer::Status(503),
            url if url.ends_with("plain") => Answer::Refused,
            _ => Answer::Status(403),
        });
        publish(&cloud, &topic, "hello?").await;
        let start = cloud.now().since(BEGINNING).as_secs();
        cloud.pass(Duration::from_secs(600)).await;
        let times = |url| notifications(&cloud, url).iter().map(|(at, _)| at - start).collect::<Vec<_>>();
        assert_eq!(times(HOOK), [0, 0, 5, 10, 30, 65, 100]);
        assert_eq!(times(plain), [0, 20, 40, 60]);
        assert_eq!(times(refusing), [0], "a refusal is an answer");
        let input = json!({
            "Namespace": "AWS/SNS", "MetricName": "NumberOfNotificationsFailed", "Period": 3600, "Statistics": ["Sum"],
            "Dimensions": [{"Name": "TopicName", "Value": "alerts"}],
            "StartTime": "2026-01-01T00:00:00Z", "EndTime": "2026-01-01T02:00:00Z",
        });
        let found = cloud.send(&cloudwatch::MODEL, "GetMetricStatistics", input).await.expect("statistics");
        assert_eq!(found["Datapoints"][0]["Sum"], 3.0, "{found}");
    });
}

#[test]
fn a_slow_endpoint_holds_up_nobody_else() {
    standfast_testkit::run(5, |cloud| async move {
        let topic = topic(&cloud, "alerts").await;
        let slow = "http://127.0.0.1:9999/slow";
        for url in [HOOK, slow] {
            subscribed(&cloud, &topic, url, json!({})).await;
        }
        let limited = "http://127.0.0.1:9999/limited";
        let policy = json!({"throttlePolicy": {"maxReceivesPerSecond": 1}});
        subscribed(&cloud, &topic, limited, json!({"DeliveryPolicy": policy.to_string()})).await;
        cloud.pass(MINUTE).await;
        cloud.courier.answer(move |post| match post.url == slow {
            true => Answer::Late(Duration::from_secs(10), 200),
            false => Answer::Status(200),
        });
        let start = cloud.now().since(BEGINNING).as_secs();
        for number in 0..20 {
            publish(&cloud, &topic, &format!("message {number}")).await;
        }
        arrived(&cloud, limited, 20).await;
        arrived(&cloud, slow, 20).await;
        let times = |url| notifications(&cloud, url).iter().map(|(at, _)| at - start).collect::<Vec<_>>();
        assert_eq!(times(HOOK), [0; 20]);
        assert!(times(slow).last().is_some_and(|last| (10..=40).contains(last)), "{:?}", times(slow));
        assert_eq!(times(limited), (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn filters_choose_and_raw_is_the_message_alone() {
    standfast_testkit::run(6, |cloud| async move {
        let topic = topic(&cloud, "orders").await;
        let (by_attribute, by_body) = ("http://127.0.0.1:9999/attribute", "http://127.0.0.1:9999/body");
        let attributes = json!({"FilterPolicy": r#"{"kind": ["created"], "price": [{"numeric": [">", 10]}]}"#});
        subscribed(&cloud, &topic, by_attribute, attributes).await;
        let attributes = json!({
            "FilterPolicy": r#"{"order": {"kind": [{"prefix": "cr"}]}}"#, "FilterPolicyScope": "MessageBody",
            "RawMessageDelivery": "true",
        });
        let arn = subscribed(&cloud, &topic, by_body, attributes).await;
        let text = |value: &str| json!({"DataType": "String", "StringValue": value});
        for (message, kind, price) in [
            (r#"{"order": {"kind": "created"}}"#, "created", "11"),
            (r#"{"order": {"kind": "deleted"}}"#, "created", "10"),
            ("not JSON", "updated", "12"),
        ] {
            let price = json!({"DataType": "Number", "StringValue": price});
            let input = json!({
                "TopicArn": topic, "Message": message, "MessageAttributes": {"kind": text(kind), "price": price},
            });
            cloud.send(&sns::MODEL, "Publish", input).await.expect("published");
        }
        cloud.pass(MINUTE).await;
        assert_eq!(notifications(&cloud, by_attribute).len(), 1);
        let raw = arrived(&cloud, by_body, 1).await;
        assert_eq!((raw.len(), raw[0].body.as_str()), (1, r#"{"order": {"kind": "created"}}"#));
        assert_eq!(header(&raw[0], "x-amz-sns-rawdelivery"), "true");
        let set =
            |name: &str, value: &str| json!({"SubscriptionArn": arn, "AttributeName": name, "AttributeValue": value});
        let error = cloud
            .refused(&sns::MODEL, "SetSubscriptionAttributes", set("FilterPolicyScope", "MessageAttributes"))
            .await;
        assert!(error.message.contains("does not support nested"), "{error}");
        cloud.send(&sns::MODEL, "SetSubscriptionAttributes", set("FilterPolicy", "")).await.expect("taken back");
        publish(&cloud, &topic, "everything").await;
        arrived(&cloud, by_body, 2).await;
    });
}

#[test]
fn fifo_topics_number_messages_and_know_them_again() {
    standfast_testkit::run(7, |cloud| async move {
        let attributes = json!({"FifoTopic": "true", "ContentBasedDeduplication": "true"});
        let input = json!({"Name": "orders.fifo", "Attributes": attributes});
        let made = cloud.send(&sns::MODEL, "CreateTopic", input).await.expect("created");
        let publish = async |message: &str| {
            let input = json!({"TopicArn": made["TopicArn"], "Message": message, "MessageGroupId": "a"});
            cloud.send(&sns::MODEL, "Publish", input).await.expect("published")
        };
        let (one, two, again) = (publish("one").await, publish("two").await, publish("one").await);
        assert_eq!(
            (&one["SequenceNumber"], &two["SequenceNumber"]),
            (&json!("00000000000000000001"), &json!("00000000000000000002"))
        );
        assert_eq!(one, again);
        cloud.pass(Duration::from_secs(301)).await;
        assert_eq!(publish("one").await["SequenceNumber"], "00000000000000000003");
        for (input, words) in [
            (json!({"TopicArn": made["TopicArn"], "Message": "x"}), "MessageGroupId parameter is required"),
            (json!({"TopicArn": made["TopicArn"], "Message": "x", "MessageGroupId": "a b"}), "a b"),
        ] {
            let error = cloud.refused(&sns::MODEL, "Publish", input).await;
            assert!(error.is("InvalidParameter") && error.message.contains(words), "{error}");
        }
        let input = json!({"TopicArn": made["TopicArn"], "Protocol": "email", "Endpoint": "a@b"});
        assert!(cloud.refused(&sns::MODEL, "Subscribe", input).await.message.contains("FIFO"));
    });
}

#[test]
fn what_is_wrong_is_said() {
    standfast_testkit::run(8, |cloud| async move {
        let topic = topic(&cloud, "alerts").await;
        let arn = subscribed(&cloud, &topic, HOOK, json!({})).await;
        let publish = |more: Json| {
            let mut input = json!({"TopicArn": topic, "Message": "m"});
            input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            ("Publish", input)
        };
        let subscribe = |protocol: &str, endpoint: &str, attributes: Json| {
            (
                "Subscribe",
                json!({"TopicArn": topic, "Protocol": protocol, "Endpoint": endpoint, "Attributes": attributes}),
            )
        };
        let attribute = |name: &str, value: &str| {
            ("SetTopicAttributes", json!({"TopicArn": topic, "AttributeName": name, "AttributeValue": value}))
        };
        let missing = "arn:aws:sns:eu-west-1:000000000000:missing";
        for ((operation, input), code, words) in [
            (publish(json!({"Message": ""})), "InvalidParameter", "Empty message"),
            (publish(json!({"Message": "m".repeat(256 * 1024 + 1)})), "InvalidParameter", "too long"),
            (publish(json!({"Subject": "two\nlines"})), "InvalidParameter", "Subject"),
            (publish(json!({"MessageStructure": "json"})), "InvalidParameter", "failed to parse"),
            (publish(json!({"MessageStructure": "json", "Message": "{}"})), "InvalidParameter", "No default entry"),
            (publish(json!({"MessageDeduplicationId": "x"})), "InvalidParameter", "not valid for this topic type"),
            (
                publish(json!({"MessageAttributes": {"a": {"DataType": "Float", "StringValue": "1"}}})),
                "ParameterValueInvalid",
                "Float",
            ),
            (
                publish(json!({"MessageAttributes": {"a": {"DataType": "Number", "StringValue": "x"}}})),
                "ParameterValueInvalid",
                "'a'",
            ),
            (publish(json!({"TopicArn": missing})), "NotFound", "Topic does not exist"),
            (publish(json!({"TopicArn": "alerts"})), "InvalidParameter", "alerts"),
            (
                publish(json!({"TopicArn": "arn:aws:sns:us-east-1:000000000000:alerts"})),
                "InvalidParameter",
                "us-east-1",
            ),
            (
                publish(json!({"TopicArn": "arn:aws:sns:eu-west-1:111111111111:alerts"})),
                "AuthorizationError",
                "111111111111",
            ),
            (publish(json!({"PhoneNumber": "+1"})), "InvalidParameter", "PhoneNumber"),
            (subscribe("sqs", "arn:aws:sqs:eu-west-1:000000000000:q", json!({})), "InvalidParameter", "SQS"),
            (subscribe("pigeon", "x", json!({})), "InvalidParameter", "pigeon"),
            (subscribe("http", "https://x", json!({})), "InvalidParameter", "https://x"),
            (subscribe("email", "nobody", json!({})), "InvalidParameter", "nobody"),
            (
                subscribe("http", HOOK, json!({"RawMessageDelivery": "true"})),
                "InvalidParameter",
                "different attributes",
            ),
            (subscribe("email", "a@b", json!({"RawMessageDelivery": "true"})), "InvalidParameter", "email"),
            (
                subscribe("http", "http://a", json!({"RedrivePolicy": r#"{"deadLetterTargetArn": "arn"}"#})),
                "InvalidParameter",
                "SQS",
            ),
            (
                subscribe("http", "http://a", json!({"FilterPolicy": r#"{"a": "b"}"#})),
                "InvalidParameter",
                "FilterPolicy",
            ),
            (attribute("Colour", "red"), "InvalidParameter", "Colour"),
            (attribute("DisplayName", &"x".repeat(101)), "InvalidParameter", "DisplayName"),
            (
                attribute("DeliveryPolicy", r#"{"http": {"defaultHealthyRetryPolicy": {"numRetries": 101}}}"#),
                "InvalidParameter",
                "101",
            ),
            (attribute("ContentBasedDeduplication", "true"), "InvalidParameter", "FIFO"),
            (("CreateTopic", json!({"Name": "a b"})), "InvalidParameter", "a b"),
            (("CreateTopic", json!({"Name": "a", "Attributes": {"FifoTopic": "true"}})), "InvalidParameter", ".fifo"),
            (
                ("CreateTopic", json!({"Name": "alerts", "Attributes": {"DisplayName": "x"}})),
                "InvalidParameter",
                "different attributes",
            ),
            (
                ("CreateTopic", json!({"Name": "alerts", "Tags": [{"Key": "a", "Value": "b"}]})),
                "InvalidParameter",
                "different tags",
            ),
            (("ConfirmSubscription", json!({"TopicArn": topic, "Token": "x"})), "InvalidParameter", "Token"),
            (("GetSubscriptionAttributes", json!({"SubscriptionArn": format!("{arn}0")})), "NotFound", "Subscription"),
            (("ListTagsForResource", json!({"ResourceArn": missing})), "ResourceNotFound", "Resource"),
            (("PublishBatch", json!({"TopicArn": topic, "PublishBatchRequestEntries": []})), "EmptyBatchRequest", ""),
        ] {
            let error = cloud.refused(&sns::MODEL, operation, input.clone()).await;
            assert!(error.is(code) && error.message.contains(words), "{operation} {input}: {error}");
        }
        let entry = |id: &str, message: &str| json!({"Id": id, "Message": message});
        let batch = |entries: Json| json!({"TopicArn": topic, "PublishBatchRequestEntries": entries});
        for (entries, code) in [
            (json!([entry("a", "1"), entry("a", "2")]), "BatchEntryIdsNotDistinct"),
            (json!([entry("a b", "1")]), "InvalidBatchEntryId"),
            (json!([entry("a", &"m".repeat(200_000)), entry("b", &"m".repeat(200_000))]), "BatchRequestTooLong"),
            (Json::Array((0..11).map(|i| entry(&i.to_string(), "m")).collect()), "TooManyEntriesInBatchRequest"),
        ] {
            assert!(cloud.refused(&sns::MODEL, "PublishBatch", batch(entries)).await.is(code), "{code}");
        }
        let some = batch(json!([entry("a", "1"), entry("b", "")]));
        let some = cloud.send(&sns::MODEL, "PublishBatch", some).await.expect("some of it");
        assert_eq!((&some["Successful"][0]["Id"], &some["Failed"][0]["Id"]), (&json!("a"), &json!("b")));
    });
}

#[test]
fn an_alarm_tells_its_topic() {
    standfast_testkit::run(9, |cloud| async move {
        let topic = topic(&cloud, "alerts").await;
        subscribed(&cloud, &topic, HOOK, json!({})).await;
        let input = json!({
            "AlarmName": "cpu", "Namespace": "N", "MetricName": "M", "Statistic": "Average", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 75.0, "ComparisonOperator": "GreaterThanThreshold",
            "AlarmActions": [topic], "Dimensions": [{"Name": "a", "Value": "b"}], "TreatMissingData": "ignore",
        });
        cloud.send(&cloudwatch::MODEL, "PutMetricAlarm", input).await.expect("put");
        let set = json!({"AlarmName": "cpu", "StateValue": "ALARM", "StateReason": "by hand"});
        cloud.send(&cloudwatch::MODEL, "SetAlarmState", set).await.expect("set");
        let post = arrived(&cloud, HOOK, 1).await.remove(0);
        let body = body(&post);
        assert_eq!(body["Subject"], "ALARM: \"cpu\" in EU (Ireland)");
        let notice: Json = serde_json::from_str(body["Message"].as_str().expect("text")).expect("JSON");
        assert_eq!(
            (&notice["OldStateValue"], &notice["NewStateValue"]),
            (&json!("INSUFFICIENT_DATA"), &json!("ALARM"))
        );
        assert_eq!((&notice["NewStateReason"], &notice["Region"]), (&json!("by hand"), &json!("EU (Ireland)")));
        assert_eq!(notice["Trigger"]["Dimensions"], json!([{"value": "b", "name": "a"}]));
        assert_eq!(
            (&notice["Trigger"]["Statistic"], &notice["Trigger"]["Threshold"]),
            (&json!("AVERAGE"), &json!(75.0))
        );
    });
}
