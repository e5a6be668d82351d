"""cloudwatch through boto3, and over the query protocol that Terraform and older clients speak."""

import datetime
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloud import REGION

MINUTE = datetime.timedelta(minutes=1)
QUERY = "{http://monitoring.amazonaws.com/doc/2010-08-01/}"


@pytest.fixture(scope="module")
def cloudwatch(client):
    return client("cloudwatch")


@pytest.fixture
def now():
    """The beginning of this minute."""
    return datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0)


def test_what_was_put_is_listed_and_averaged(cloudwatch, now):
    dimensions = [{"Name": "Shop", "Value": "north"}]
    for value in (1, 2, 6):
        point = {"MetricName": "Visits", "Dimensions": dimensions, "Timestamp": now, "Value": value, "Unit": "Count"}
        cloudwatch.put_metric_data(Namespace="Boto", MetricData=[point])
    (listed,) = cloudwatch.list_metrics(Namespace="Boto")["Metrics"]
    assert (listed["MetricName"], listed["Dimensions"]) == ("Visits", dimensions)
    (point,) = cloudwatch.get_metric_statistics(
        Namespace="Boto", MetricName="Visits", Dimensions=dimensions, Period=60,
        StartTime=now - MINUTE, EndTime=now + MINUTE, Statistics=["Average", "Sum", "Maximum", "SampleCount"],
    )["Datapoints"]  # fmt: skip
    assert (point["Average"], point["Sum"], point["Maximum"], point["SampleCount"]) == (3, 9, 6, 3)
    assert (point["Timestamp"], point["Unit"]) == (now, "Count")


def test_metrics_are_computed_with(cloudwatch, now):
    points = [{"MetricName": name, "Timestamp": now, "Value": value} for name, value in (("Good", 8), ("Bad", 2))]
    cloudwatch.put_metric_data(Namespace="Math", MetricData=points)

    def query(name):
        metric = {"Namespace": "Math", "MetricName": name}
        return {"Id": name.lower(), "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}

    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[query("Good"), query("Bad")], StartTime=now - MINUTE, EndTime=now + MINUTE
    )
    assert {one["Id"]: one["Values"] for one in answer["MetricDataResults"]} == {"good": [8.0], "bad": [2.0]}


def test_mistakes_are_named(cloudwatch, now, refused):
    with refused("InvalidParameterCombination"):
        cloudwatch.put_metric_data(
            Namespace="Boto", MetricData=[{"MetricName": "x", "Value": 1, "Values": [1.0], "Counts": [1.0]}]
        )
    with refused("InvalidParameterValue"):
        cloudwatch.put_metric_data(Namespace="AWS/EC2", MetricData=[{"MetricName": "x", "Value": 1}])
    with refused("InvalidParameterValue"):
        cloudwatch.get_metric_statistics(
            Namespace="Boto", MetricName="x", Period=60, StartTime=now, EndTime=now - MINUTE, Statistics=["Sum"]
        )


def query(cloud, account, **form):
    """A signed request of the query protocol; gives the status and the parsed answer."""
    body = urllib.parse.urlencode({"Version": "2010-08-01"} | form)
    request = AWSRequest("POST", cloud.endpoint + "/", data=body)
    request.headers["Content-Type"] = "application/x-www-form-urlencoded"
    SigV4Auth(Credentials(account, "test"), "monitoring", REGION).add_auth(request)
    plain = urllib.request.Request(request.url, data=body.encode(), headers=dict(request.headers), method="POST")
    try:
        with urllib.request.urlopen(plain, timeout=10) as answer:
            return answer.status, ElementTree.fromstring(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, ElementTree.fromstring(error.read())


def test_the_query_protocol_tells_the_same(cloud, account, now):
    form = {"MetricData.member.1.MetricName": "Old", "MetricData.member.1.Value": "4"}
    form["MetricData.member.1.Timestamp"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    status, answer = query(cloud, account, Action="PutMetricData", Namespace="Query", **form)
    assert status == 200 and answer.tag == f"{QUERY}PutMetricDataResponse"
    assert answer.find(f"{QUERY}ResponseMetadata/{QUERY}RequestId") is not None
    status, answer = query(cloud, account, Action="ListMetrics", Namespace="Query")
    assert [name.text for name in answer.iter(f"{QUERY}MetricName")] == ["Old"]
    status, answer = query(
        cloud, account, Action="GetMetricStatistics", Namespace="Query", MetricName="Old", Period="60",
        StartTime=(now - MINUTE).isoformat(), EndTime=(now + MINUTE).isoformat(), **{"Statistics.member.1": "Sum"},
    )  # fmt: skip
    assert [float(one.text) for one in answer.iter(f"{QUERY}Sum")] == [4]


def test_errors_of_the_query_protocol_come_in_its_envelope(cloud, account):
    status, answer = query(cloud, account, Action="PutMetricData")
    assert 400 <= status < 500 and answer.tag == f"{QUERY}ErrorResponse"
    assert answer.find(f"{QUERY}Error/{QUERY}Type").text == "Sender"
    assert "namespace" in answer.find(f"{QUERY}Error/{QUERY}Message").text.lower()
    status, answer = query(cloud, account, Action="PutDashboard", DashboardName="x", DashboardBody="{}")
    assert 400 <= status < 500 and answer.tag == f"{QUERY}ErrorResponse"




def alarm(**more):
    """One period of a minute over 5."""
    return {
        "AlarmName": "boto-hot", "Namespace": "Boto", "MetricName": "Heat", "Statistic": "Average", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 5.0, "ComparisonOperator": "GreaterThanThreshold",
    } | more  # fmt: skip


def test_alarms_are_made_set_and_told_of(cloudwatch, refused):
    cloudwatch.put_metric_alarm(**alarm(TreatMissingData="ignore", Tags=[{"Key": "team", "Value": "a"}]))
    (made,) = cloudwatch.describe_alarms(AlarmNamePrefix="boto-")["MetricAlarms"]
    assert made["AlarmArn"].endswith(":alarm:boto-hot") and made["StateValue"] == "INSUFFICIENT_DATA"
    assert (made["Threshold"], made["TreatMissingData"], made["ActionsEnabled"]) == (5.0, "ignore", True)
    (found,) = cloudwatch.describe_alarms_for_metric(Namespace="Boto", MetricName="Heat")["MetricAlarms"]
    assert found["AlarmArn"] == made["AlarmArn"]
    cloudwatch.set_alarm_state(AlarmName="boto-hot", StateValue="ALARM", StateReason="testing")
    waiter = cloudwatch.get_waiter("alarm_exists")
    waiter.wait(AlarmNames=["boto-hot"], WaiterConfig={"Delay": 1, "MaxAttempts": 5})
    told = cloudwatch.describe_alarm_history(AlarmName="boto-hot")["AlarmHistoryItems"]
    assert [item["HistoryItemType"] for item in told] == ["StateUpdate", "ConfigurationUpdate"]
    assert told[0]["HistorySummary"] == "Alarm updated from INSUFFICIENT_DATA to ALARM"
    cloudwatch.disable_alarm_actions(AlarmNames=["boto-hot"])
    (now,) = cloudwatch.describe_alarms(StateValue="ALARM")["MetricAlarms"]
    assert (now["ActionsEnabled"], now["StateReason"]) == (False, "testing")
    cloudwatch.enable_alarm_actions(AlarmNames=["boto-hot"])
    cloudwatch.tag_resource(ResourceARN=made["AlarmArn"], Tags=[{"Key": "level", "Value": "1"}])
    cloudwatch.untag_resource(ResourceARN=made["AlarmArn"], TagKeys=["team"])
    assert cloudwatch.list_tags_for_resource(ResourceARN=made["AlarmArn"])["Tags"] == [{"Key": "level", "Value": "1"}]
    cloudwatch.delete_alarms(AlarmNames=["boto-hot"])
    assert cloudwatch.describe_alarms()["MetricAlarms"] == []
    with refused("ResourceNotFound", naming="boto-hot"):
        cloudwatch.set_alarm_state(AlarmName="boto-hot", StateValue="OK", StateReason="?")
