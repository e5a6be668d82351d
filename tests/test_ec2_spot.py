"""ec2 through boto3: spot requests, prices and fleets."""

import pytest

from waiting import eventually

WAIT = {"Delay": 1, "MaxAttempts": 60}


@pytest.fixture(scope="module")
def ec2(client):
    return client("ec2")


@pytest.fixture(scope="module")
def image(ec2):
    named = [{"Name": "name", "Values": ["al2023-ami-2023*-x86_64"]}]
    return ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]


def test_a_spot_request_is_fulfilled_and_cancelled(ec2, image):
    launch = {"ImageId": image, "InstanceType": "t3.micro"}
    (request,) = ec2.request_spot_instances(LaunchSpecification=launch)["SpotInstanceRequests"]
    assert request["State"] == "open" and request["Type"] == "one-time"
    name = request["SpotInstanceRequestId"]
    ec2.get_waiter("spot_instance_request_fulfilled").wait(SpotInstanceRequestIds=[name], WaiterConfig=WAIT)
    (request,) = ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[name])["SpotInstanceRequests"]
    assert request["LaunchSpecification"]["ImageId"] == image
    ec2.get_waiter("instance_running").wait(InstanceIds=[request["InstanceId"]], WaiterConfig=WAIT)
    (gone,) = ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[name])["CancelledSpotInstanceRequests"]
    assert gone["State"] == "cancelled"
    ec2.terminate_instances(InstanceIds=[request["InstanceId"]])


def test_a_launch_under_the_price_is_refused(ec2, image, refused):
    (price, *_) = ec2.describe_spot_price_history(InstanceTypes=["m5.large"])["SpotPriceHistory"]
    assert 0.01 < float(price["SpotPrice"]) < 0.1
    market = {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.001"}}
    with refused("SpotMaxPriceTooLow"):
        ec2.run_instances(
            ImageId=image, MinCount=1, MaxCount=1, InstanceType="m5.large", InstanceMarketOptions=market
        )


def test_an_instant_fleet_launches_instances_and_ends_with_them(ec2, image):
    data = {"ImageId": image, "InstanceType": "t3.micro"}
    ec2.create_launch_template(LaunchTemplateName="fleet", LaunchTemplateData=data)
    template = {"LaunchTemplateName": "fleet", "Version": "$Latest"}
    fleet = ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": template}],
        TargetCapacitySpecification={"TotalTargetCapacity": 2, "DefaultTargetCapacityType": "spot"},
    )
    assert fleet["Errors"] == [] and fleet["Instances"][0]["Lifecycle"] == "spot"
    name = fleet["FleetId"]
    (shown,) = ec2.describe_fleets(FleetIds=[name])["Fleets"]
    assert shown["FulfilledCapacity"] == 2
    active = ec2.describe_fleet_instances(FleetId=name)["ActiveInstances"]
    assert {one["InstanceId"] for one in active} == set(fleet["Instances"][0]["InstanceIds"])
    ec2.delete_fleets(FleetIds=[name], TerminateInstances=True)
    eventually(
        lambda: not ec2.describe_fleet_instances(FleetId=name)["ActiveInstances"], limit_s=30, what="the fleet to end"
    )
