"""elbv2 through boto3: load balancers, listeners, rules, target groups, targets, and the traffic that follows them."""

import http.client
import urllib.error
import urllib.request

import pytest

from waiting import eventually

WAIT_S = 60
SERVE = "#!/bin/sh\nPORT=8080 what-is-the-time &\n"


@pytest.fixture(scope="module")
def elbv2(client):
    return client("elbv2")


@pytest.fixture(scope="module")
def ec2(client):
    return client("ec2")


@pytest.fixture(scope="module")
def vpc(ec2):
    return ec2.describe_vpcs()["Vpcs"][0]["VpcId"]


@pytest.fixture(scope="module")
def subnets(ec2):
    return [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]


@pytest.fixture(scope="module")
def balancer(elbv2, subnets):
    """One load balancer for the module, active."""
    made = elbv2.create_load_balancer(Name="shared", Subnets=subnets)["LoadBalancers"][0]
    assert made["State"]["Code"] in ("provisioning", "active")
    arn = made["LoadBalancerArn"]
    elbv2.get_waiter("load_balancer_available").wait(LoadBalancerArns=[arn], WaiterConfig={"Delay": 1})
    yield made
    elbv2.delete_load_balancer(LoadBalancerArn=arn)


@pytest.fixture
def target_group(elbv2, vpc, request):
    """A target group of the test's own, with quick health checks."""
    name = request.node.name.replace("_", "-")[5:37].strip("-")
    made = elbv2.create_target_group(
        Name=name, Protocol="HTTP", Port=8080, VpcId=vpc, HealthCheckPath="/health",
        HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2,
    )  # fmt: skip
    arn = made["TargetGroups"][0]["TargetGroupArn"]
    yield arn
    elbv2.delete_target_group(TargetGroupArn=arn)


@pytest.fixture
def listener(elbv2, balancer):
    """Makes listeners of the shared load balancer, and deletes them after the test."""
    made = []

    def make(port, *actions):
        answer = elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=port, DefaultActions=list(actions)
        )
        made.append(answer["Listeners"][0]["ListenerArn"])
        return made[-1]

    yield make
    for arn in made:
        elbv2.delete_listener(ListenerArn=arn)


def answer(status, text=""):
    """The action that answers by itself."""
    fixed = {"StatusCode": str(status), "ContentType": "text/plain", "MessageBody": text}
    return {"Type": "fixed-response", "FixedResponseConfig": fixed}


def forward(target_group):
    return {"Type": "forward", "TargetGroupArn": target_group}


def get(cloud, balancer, path="/", port=80):
    """Status and text that the load balancer answers with, through the API's port by Host header."""
    host = balancer["DNSName"] if port == 80 else f"{balancer['DNSName']}:{port}"
    request = urllib.request.Request(cloud.endpoint + path, headers={"Host": host, "User-Agent": "curl/8"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_name_that_nothing_answers_for_keeps_no_connection(cloud):
    connection = http.client.HTTPConnection(cloud.endpoint.removeprefix("http://"), timeout=10)
    connection.request("GET", "/", headers={"Host": "nobody-1.eu-west-1.elb.localhost"})
    answer = connection.getresponse()
    connection.close()
    assert (answer.status, answer.will_close) == (503, True), "it may be there a moment later"


def test_a_load_balancer_shows_what_was_asked(elbv2, balancer, subnets, refused, account):
    arn = balancer["LoadBalancerArn"]
    assert f":{account}:loadbalancer/app/shared/" in arn and len(arn.rsplit("/", 1)[1]) == 16
    assert balancer["DNSName"].startswith("shared-") and balancer["DNSName"].endswith(".eu-west-1.elb.localhost")
    (read,) = elbv2.describe_load_balancers(Names=["shared"])["LoadBalancers"]
    assert sorted(zone["SubnetId"] for zone in read["AvailabilityZones"]) == sorted(subnets)
    again = elbv2.create_load_balancer(Name="shared", Subnets=subnets)["LoadBalancers"][0]
    assert again["LoadBalancerArn"] == arn, "the same request again is the same load balancer"
    with refused("DuplicateLoadBalancerName"):
        elbv2.create_load_balancer(Name="shared", Subnets=subnets, Scheme="internal")
    with refused("LoadBalancerNotFound"):
        elbv2.describe_load_balancers(Names=["nobody"])
    with refused("SubnetNotFound", naming="subnet-0123456789abcdef0"):
        elbv2.create_load_balancer(Name="lost", Subnets=["subnet-0123456789abcdef0", subnets[0]])
    with refused("ValidationError"):
        elbv2.create_load_balancer(Name="single", Subnets=subnets[:1])


def test_settings_of_a_load_balancer_change(elbv2, ec2, balancer, subnets, vpc):
    arn = {"LoadBalancerArn": balancer["LoadBalancerArn"]}
    wanted = {"Key": "idle_timeout.timeout_seconds", "Value": "30"}
    elbv2.modify_load_balancer_attributes(**arn, Attributes=[wanted])
    assert wanted in elbv2.describe_load_balancer_attributes(**arn)["Attributes"]
    zones = elbv2.set_subnets(**arn, Subnets=subnets[:2])["AvailabilityZones"]
    assert len(zones) == 2
    assert len(elbv2.set_subnets(**arn, Subnets=subnets)["AvailabilityZones"]) == 3
    group = ec2.create_security_group(GroupName="front", Description="front", VpcId=vpc)["GroupId"]
    assert elbv2.set_security_groups(**arn, SecurityGroups=[group])["SecurityGroupIds"] == [group]
    # The default group, whose members reach each other.
    elbv2.set_security_groups(**arn, SecurityGroups=balancer["SecurityGroups"])
    assert elbv2.set_ip_address_type(**arn, IpAddressType="ipv4")["IpAddressType"] == "ipv4"
    reservation = elbv2.describe_capacity_reservation(**arn)
    assert "MinimumLoadBalancerCapacity" not in reservation


def test_a_listener_answers_by_its_rules(cloud, elbv2, balancer, listener, refused):
    arn = listener(80, answer(200, "default"))
    eventually(lambda: get(cloud, balancer) == (200, "default"), limit_s=WAIT_S, what="the listener's answer")
    with refused("DuplicateListener"):
        listener(80, answer(200, "again"))
    to_path = [{"Field": "path-pattern", "Values": ["/teapot/*"]}]
    (rule,) = elbv2.create_rule(
        ListenerArn=arn, Priority=10, Conditions=to_path, Actions=[answer(418, "short and stout")]
    )["Rules"]
    with refused("PriorityInUse", naming="10"):
        elbv2.create_rule(ListenerArn=arn, Priority=10, Conditions=to_path, Actions=[answer(200)])
    brewed = (418, "short and stout")
    eventually(lambda: get(cloud, balancer, "/teapot/1") == brewed, limit_s=WAIT_S, what="the rule's answer")
    assert get(cloud, balancer) == (200, "default")
    elbv2.modify_rule(RuleArn=rule["RuleArn"], Actions=[answer(410, "gone")])
    elbv2.set_rule_priorities(RulePriorities=[{"RuleArn": rule["RuleArn"], "Priority": 20}])
    shown = elbv2.describe_rules(ListenerArn=arn)["Rules"]
    assert [one["Priority"] for one in shown] == ["20", "default"]
    eventually(lambda: get(cloud, balancer, "/teapot/1")[0] == 410, limit_s=WAIT_S, what="the changed answer")
    elbv2.delete_rule(RuleArn=rule["RuleArn"])
    eventually(lambda: get(cloud, balancer, "/teapot/1")[0] == 200, limit_s=WAIT_S, what="the rule to be gone")
    with refused("RuleNotFound"):
        elbv2.delete_rule(RuleArn=rule["RuleArn"])


def test_a_listener_can_change(cloud, elbv2, balancer, listener, refused):
    arn = listener(80, answer(200, "one"))
    elbv2.modify_listener(ListenerArn=arn, DefaultActions=[answer(200, "two")])
    (read,) = elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    assert read["DefaultActions"][0]["FixedResponseConfig"]["MessageBody"] == "two"
    eventually(lambda: get(cloud, balancer) == (200, "two"), limit_s=WAIT_S, what="the changed answer")
    attributes = elbv2.describe_listener_attributes(ListenerArn=arn)["Attributes"]
    changed = elbv2.modify_listener_attributes(ListenerArn=arn, Attributes=attributes[:1])["Attributes"]
    assert attributes[0] in changed
    assert elbv2.describe_listener_certificates(ListenerArn=arn)["Certificates"] == []
    with refused("ListenerNotFound"):
        elbv2.describe_listeners(ListenerArns=[arn[:-16] + "0" * 16])


def test_requests_go_to_healthy_targets_and_to_no_others(cloud, elbv2, ec2, balancer, target_group, listener):
    listener(80, forward(target_group))
    eventually(lambda: get(cloud, balancer)[0] == 503, limit_s=WAIT_S, what="503, for there is no target")
    instance = serving_instance(ec2)
    here = [{"Id": instance}]
    elbv2.register_targets(TargetGroupArn=target_group, Targets=here)

    def state():
        (one,) = elbv2.describe_target_health(TargetGroupArn=target_group, Targets=here)["TargetHealthDescriptions"]
        return one["TargetHealth"]["State"]

    eventually(lambda: state() == "healthy", limit_s=WAIT_S, what="the target to be healthy")
    status, text = get(cloud, balancer)
    assert status == 200 and instance in text, text
    quickly = [{"Key": "deregistration_delay.timeout_seconds", "Value": "1"}]
    elbv2.modify_target_group_attributes(TargetGroupArn=target_group, Attributes=quickly)
    elbv2.deregister_targets(TargetGroupArn=target_group, Targets=here)
    eventually(lambda: get(cloud, balancer)[0] == 503, limit_s=WAIT_S, what="503 again")
    eventually(lambda: state() == "unused", limit_s=WAIT_S, what="the target to be drained")
    ec2.terminate_instances(InstanceIds=[instance])


def serving_instance(ec2):
    """A running instance with the example's program on port 8080."""
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    image = ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]
    made = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, UserData=SERVE)
    instance = made["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    return instance


def test_target_groups_keep_their_settings(elbv2, target_group, vpc, refused):
    elbv2.modify_target_group(TargetGroupArn=target_group, HealthCheckPath="/ready", HealthyThresholdCount=3)
    (read,) = elbv2.describe_target_groups(TargetGroupArns=[target_group])["TargetGroups"]
    assert (read["HealthCheckPath"], read["HealthyThresholdCount"]) == ("/ready", 3)
    assert (read["UnhealthyThresholdCount"], read["HealthCheckIntervalSeconds"]) == (2, 5)
    attributes = elbv2.describe_target_group_attributes(TargetGroupArn=target_group)["Attributes"]
    assert {"Key": "deregistration_delay.timeout_seconds", "Value": "300"} in attributes
    with refused("DuplicateTargetGroupName"):
        elbv2.create_target_group(Name=read["TargetGroupName"], Protocol="HTTP", Port=9, VpcId=vpc)
    with refused("TargetGroupNotFound"):
        elbv2.describe_target_groups(Names=["nobody"])
    with refused("InvalidTarget", naming="i-0123456789abcdef0"):
        elbv2.register_targets(TargetGroupArn=target_group, Targets=[{"Id": "i-0123456789abcdef0"}])
    with refused("ValidationError"):
        elbv2.modify_target_group(
            TargetGroupArn=target_group, HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=9
        )


def test_a_target_group_in_use_stays(elbv2, listener, vpc, refused):
    made = elbv2.create_target_group(Name="in-use", Protocol="HTTP", Port=80, VpcId=vpc)["TargetGroups"][0]
    arn = listener(8081, forward(made["TargetGroupArn"]))
    with refused("ResourceInUse"):
        elbv2.delete_target_group(TargetGroupArn=made["TargetGroupArn"])
    elbv2.modify_listener(ListenerArn=arn, DefaultActions=[answer(200)])
    elbv2.delete_target_group(TargetGroupArn=made["TargetGroupArn"])


def test_tags_are_set_and_removed(elbv2, target_group):
    elbv2.add_tags(ResourceArns=[target_group], Tags=[{"Key": "part", "Value": "front"}])
    (read,) = elbv2.describe_tags(ResourceArns=[target_group])["TagDescriptions"]
    assert read["Tags"] == [{"Key": "part", "Value": "front"}]
    elbv2.remove_tags(ResourceArns=[target_group], TagKeys=["part"])
    assert elbv2.describe_tags(ResourceArns=[target_group])["TagDescriptions"][0]["Tags"] == []


def test_what_is_not_offered_is_refused_by_name(elbv2, balancer, listener, subnets, refused):
    with refused("OperationNotPermitted", naming="network"):
        elbv2.create_load_balancer(Name="tcp", Subnets=subnets, Type="network")
    assert elbv2.describe_ssl_policies()["SslPolicies"]
    limits = {one["Name"] for one in elbv2.describe_account_limits()["Limits"]}
    assert "application-load-balancers" in limits
