"""cloudwatch through boto3, and over the query protocol that Terraform and older clients speak."""

import datetime
import json
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloud import REGION
from waiting import eventually

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


def test_a_composite_alarm_follows_its_children(cloudwatch, refused):
    cloudwatch.put_metric_alarm(**alarm(AlarmName="child", TreatMissingData="ignore"))
    cloudwatch.put_composite_alarm(AlarmName="parent", AlarmRule="ALARM(child)", AlarmActions=[])
    cloudwatch.set_alarm_state(AlarmName="child", StateValue="ALARM", StateReason="testing")

    def state():
        (found,) = cloudwatch.describe_alarms(AlarmNames=["parent"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
        return found["StateValue"]

    eventually(lambda: state() == "ALARM", limit_s=10, what="the parent to follow")
    children = cloudwatch.describe_alarms(ChildrenOfAlarmName="parent")
    assert [one["AlarmName"] for one in children["MetricAlarms"]] == ["child"]
    with refused("ValidationError", naming="child"):
        cloudwatch.delete_alarms(AlarmNames=["child"])
    cloudwatch.delete_alarms(AlarmNames=["parent", "child"])


def test_dashboards_are_kept_and_checked(cloudwatch, refused):
    body = json.dumps({"widgets": [{"type": "text", "properties": {"markdown": "# hello"}}]})
    assert cloudwatch.put_dashboard(DashboardName="boto", DashboardBody=body)["DashboardValidationMessages"] == []
    assert cloudwatch.get_dashboard(DashboardName="boto")["DashboardBody"] == body
    (entry,) = cloudwatch.list_dashboards(DashboardNamePrefix="bo")["DashboardEntries"]
    assert (entry["DashboardName"], entry["Size"]) == ("boto", len(body))
    with refused("InvalidParameterInput", naming="widgets"):
        cloudwatch.put_dashboard(DashboardName="boto", DashboardBody="{}")
    cloudwatch.delete_dashboards(DashboardNames=["boto"])
    with refused("ResourceNotFound"):
        cloudwatch.get_dashboard(DashboardName="boto")


def test_a_widget_is_a_picture(cloudwatch, now):
    cloudwatch.put_metric_data(Namespace="Picture", MetricData=[{"MetricName": "Load", "Timestamp": now, "Value": 3}])
    widget = {"metrics": [["Picture", "Load"]], "width": 300, "height": 200, "title": "Load"}
    png = cloudwatch.get_metric_widget_image(MetricWidget=json.dumps(widget))["MetricWidgetImage"]
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")) == (300, 200)


def test_anomaly_detectors_are_kept(cloudwatch, refused):
    single = {"Namespace": "Boto", "MetricName": "Heat", "Stat": "Average"}
    cloudwatch.put_anomaly_detector(SingleMetricAnomalyDetector=single)
    (found,) = cloudwatch.describe_anomaly_detectors(Namespace="Boto")["AnomalyDetectors"]
    assert found["StateValue"] == "TRAINED_INSUFFICIENT_DATA"
    cloudwatch.delete_anomaly_detector(SingleMetricAnomalyDetector=single)
    with refused("ResourceNotFoundException"):
        cloudwatch.delete_anomaly_detector(SingleMetricAnomalyDetector=single)


def test_prometheus_can_scrape_all_of_it(cloud, account, cloudwatch, now):
    dimensions = [{"Name": "ShopName", "Value": "north"}]
    point = {"MetricName": "PageViews", "Dimensions": dimensions, "Timestamp": now, "Value": 5}
    cloudwatch.put_metric_data(Namespace="Scraped", MetricData=[point])
    with urllib.request.urlopen(cloud.endpoint + "/_standfast/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = answer.read().decode().splitlines()
    labels = f'account="{account}",region="{REGION}",shop_name="north"'
    assert f"scraped_page_views_sum{{{labels}}} 5" in lines
    assert "# TYPE scraped_page_views_sum gauge" in lines
