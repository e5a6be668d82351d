"""The event bus with boto3."""

import json


def test_rules_keep_what_they_are_told(client, refused):
    events, sns = client("events"), client("sns")
    topic = sns.create_topic(Name="of-events")["TopicArn"]
    arn = events.put_rule(Name="r", EventPattern=json.dumps({"source": ["shop"]}))["RuleArn"]
    assert events.describe_rule(Name="r")["State"] == "ENABLED"
    assert events.put_targets(Rule="r", Targets=[{"Id": "t", "Arn": topic}])["FailedEntryCount"] == 0
    assert events.list_targets_by_rule(Rule="r")["Targets"] == [{"Id": "t", "Arn": topic}]
    assert events.list_rule_names_by_target(TargetArn=topic)["RuleNames"] == ["r"]
    events.disable_rule(Name="r")
    assert events.list_rules(NamePrefix="r")["Rules"][0]["State"] == "DISABLED"
    events.enable_rule(Name="r")
    events.tag_resource(ResourceARN=arn, Tags=[{"Key": "a", "Value": "b"}])
    assert events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    events.untag_resource(ResourceARN=arn, TagKeys=["a"])
    with refused("ValidationException", naming="targets"):
        events.delete_rule(Name="r")
    assert events.remove_targets(Rule="r", Ids=["t"])["FailedEntryCount"] == 0
    events.delete_rule(Name="r")
    with refused("ResourceNotFoundException", naming="r"):
        events.describe_rule(Name="r")


def test_buses_and_events(client, refused):
    events = client("events")
    events.create_event_bus(Name="own")
    assert events.describe_event_bus(Name="own")["Arn"].endswith("event-bus/own")
    assert [bus["Name"] for bus in events.list_event_buses()["EventBuses"]] == ["default", "own"]
    entry = {"Source": "shop", "DetailType": "sale", "Detail": "{}", "EventBusName": "own"}
    answer = events.put_events(Entries=[entry, entry | {"Detail": "x"}])
    assert answer["FailedEntryCount"] == 1 and answer["Entries"][1]["ErrorCode"] == "MalformedDetail"
    event = {"id": "1", "account": "1", "source": "shop", "time": "2026-01-01T00:00:00Z", "region": "r", "resources": [], "detail-type": "sale"}
    assert events.test_event_pattern(EventPattern='{"source": ["shop"]}', Event=json.dumps(event))["Result"]
    with refused("InvalidEventPatternException"):
        events.test_event_pattern(EventPattern='{"source": "shop"}', Event=json.dumps(event))
    events.delete_event_bus(Name="own")
