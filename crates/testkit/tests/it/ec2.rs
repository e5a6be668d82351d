//! ec2 as a client sees it: a network, launches, states, and what refuses what.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::ec2::MODEL;
use standfast_core::Id;
use standfast_testkit::TestCloud;

pub const SOON: Duration = Duration::from_secs(60);

pub fn text<'a>(json: &'a Json, pointer: &str) -> &'a str {
    json.pointer(pointer).and_then(Json::as_str).unwrap_or_else(|| panic!("no text at {pointer} in {json:#}"))
}

pub fn items<'a>(json: &'a Json, name: &str) -> &'a [Json] {
    json[name].as_array().map_or(&[], Vec::as_slice)
}

pub async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    match cloud.send(&MODEL, operation, input.clone()).await {
        Ok(answer) => answer,
        Err(error) => panic!("{operation} {input}: {error}"),
    }
}

pub async fn code(cloud: &TestCloud, operation: &str, input: Json) -> String {
    cloud.refused(&MODEL, operation, input).await.code.into_owned()
}

pub async fn image(cloud: &TestCloud) -> String {
    let filters = json!([{"Name": "name", "Values": ["amzn2-ami-hvm-*-x86_64-gp2"]}]);
    let images = call(cloud, "DescribeImages", json!({"Owners": ["amazon"], "Filters": filters})).await;
    text(&images, "/Images/0/ImageId").to_owned()
}

/// Launches one instance in the default VPC and gives its id.
pub async fn launch(cloud: &TestCloud, more: Json) -> String {
    let mut input = json!({"MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", "ImageId": image(cloud).await});
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let answer = call(cloud, "RunInstances", input).await;
    assert_eq!(text(&answer, "/Instances/0/State/Name"), "pending");
    text(&answer, "/Instances/0/InstanceId").to_owned()
}

pub async fn described(cloud: &TestCloud, id: &str) -> Json {
    let answer = call(cloud, "DescribeInstances", json!({"InstanceIds": [id]})).await;
    answer["Reservations"][0]["Instances"][0].clone()
}

pub async fn becomes(cloud: &TestCloud, id: &str, state: &str) -> Json {
    cloud
        .until(&format!("{id} to be {state}"), SOON, || async {
            let instance = described(cloud, id).await;
            (text(&instance, "/State/Name") == state).then_some(instance)
        })
        .await
}

#[test]
fn the_default_vpc_is_there_when_it_is_looked_for() {
    standfast_testkit::run(1, |cloud| async move {
        let vpcs = call(&cloud, "DescribeVpcs", json!({"Filters": [{"Name": "is-default", "Values": ["true"]}]})).await;
        let vpc = text(&vpcs, "/Vpcs/0/VpcId").to_owned();
        assert_eq!(text(&vpcs, "/Vpcs/0/CidrBlock"), "172.31.0.0/16");
        let of_vpc = json!({"Filters": [{"Name": "vpc-id", "Values": [vpc]}]});
        let subnets = call(&cloud, "DescribeSubnets", of_vpc.clone()).await;
        assert_eq!(items(&subnets, "Subnets").len(), 3);
        assert!(items(&subnets, "Subnets").iter().all(|subnet| subnet["AvailableIpAddressCount"] == 4091));
        let main = json!({"Filters": [{"Name": "association.main", "Values": ["true"]}]});
        let tables = call(&cloud, "DescribeRouteTables", main).await;
        assert_eq!(items(&tables["RouteTables"][0], "Routes").len(), 2);
        let acls = call(&cloud, "DescribeNetworkAcls", of_vpc.clone()).await;
        assert_eq!(items(&acls["NetworkAcls"][0], "Associations").len(), 3);
        let groups = call(&cloud, "DescribeSecurityGroups", of_vpc).await;
        assert_eq!(text(&groups, "/SecurityGroups/0/GroupName"), "default");
        let again = call(&cloud, "DescribeVpcs", json!({})).await;
        assert_eq!(items(&again, "Vpcs").len(), 1);
    });
}

#[test]
fn an_instance_goes_through_its_states() {
    standfast_testkit::run(2, |cloud| async move {
        let user_data = "IyEvYmluL3NoCmVjaG8gaGkK";
        let id = launch(&cloud, json!({"UserData": user_data})).await;
        let running = becomes(&cloud, &id, "running").await;
        assert!(running["PublicIpAddress"].is_string(), "{running:#}");
        assert_eq!(text(&running, "/NetworkInterfaces/0/Attachment/Status"), "attached");
        let status = call(&cloud, "DescribeInstanceStatus", json!({"InstanceIds": [id]})).await;
        assert_eq!(text(&status, "/InstanceStatuses/0/InstanceStatus/Status"), "ok");

        let cannot = json!({"InstanceId": id, "InstanceType": {"Value": "t3.large"}});
        assert_eq!(code(&cloud, "ModifyInstanceAttribute", cannot.clone()).await, "IncorrectInstanceState");
        call(&cloud, "StopInstances", json!({"InstanceIds": [id]})).await;
        let stopped = becomes(&cloud, &id, "stopped").await;
        assert_eq!(text(&stopped, "/StateReason/Code"), "Client.UserInitiatedShutdown");
        assert!(text(&stopped, "/StateTransitionReason").starts_with("User initiated ("));
        assert!(stopped["PublicIpAddress"].is_null());
        call(&cloud, "ModifyInstanceAttribute", cannot).await;
        call(&cloud, "StartInstances", json!({"InstanceIds": [id]})).await;
        let started = becomes(&cloud, &id, "running").await;
        assert_eq!(text(&started, "/InstanceType"), "t3.large");
        assert_eq!(started["PrivateIpAddress"], running["PrivateIpAddress"]);

        call(&cloud, "RebootInstances", json!({"InstanceIds": [id]})).await;
        cloud.pass(Duration::from_secs(10)).await;
        becomes(&cloud, &id, "running").await;

        let protect = json!({"InstanceId": id, "DisableApiTermination": {"Value": true}});
        call(&cloud, "ModifyInstanceAttribute", protect).await;
        assert_eq!(code(&cloud, "TerminateInstances", json!({"InstanceIds": [id]})).await, "OperationNotPermitted");
        let open = json!({"InstanceId": id, "DisableApiTermination": {"Value": false}});
        call(&cloud, "ModifyInstanceAttribute", open).await;
        call(&cloud, "TerminateInstances", json!({"InstanceIds": [id]})).await;
        let gone = becomes(&cloud, &id, "terminated").await;
        assert!(gone["SubnetId"].is_null() && items(&gone, "NetworkInterfaces").is_empty());
        assert!(items(&call(&cloud, "DescribeVolumes", json!({})).await, "Volumes").is_empty());
        assert!(items(&call(&cloud, "DescribeNetworkInterfaces", json!({})).await, "NetworkInterfaces").is_empty());
        let subnets = call(&cloud, "DescribeSubnets", json!({})).await;
        assert!(items(&subnets, "Subnets").iter().all(|subnet| subnet["AvailableIpAddressCount"] == 4091));
        cloud.pass(Duration::from_secs(3601)).await;
        assert_eq!(code(&cloud, "DescribeInstances", json!({"InstanceIds": [id]})).await, "InvalidInstanceID.NotFound");
    });
}

#[test]
fn a_network_of_one_s_own_is_built_and_taken_down() {
    standfast_testkit::run(3, |cloud| async move {
        let vpc = call(&cloud, "CreateVpc", json!({"CidrBlock": "10.20.0.0/16"})).await;
        let vpc = text(&vpc, "/Vpc/VpcId").to_owned();
        let subnet = |cidr: &str, zone: &str| json!({"VpcId": vpc, "CidrBlock": cidr, "AvailabilityZone": zone});
        let a = call(&cloud, "CreateSubnet", subnet("10.20.0.0/24", "eu-west-1a")).await;
        let a = text(&a, "/Subnet/SubnetId").to_owned();
        for (cidr, zone, expected) in [
            ("10.20.0.128/25", "eu-west-1a", "InvalidSubnet.Conflict"),
            ("10.21.0.0/24", "eu-west-1a", "InvalidSubnet.Range"),
            ("10.20.0.0/29", "eu-west-1a", "InvalidSubnet.Range"),
            ("nonsense", "eu-west-1a", "InvalidParameterValue"),
            ("10.20.1.0/24", "eu-west-9z", "InvalidParameterValue"),
        ] {
            assert_eq!(code(&cloud, "CreateSubnet", subnet(cidr, zone)).await, expected, "{cidr} {zone}");
        }
        let gateway = call(&cloud, "CreateInternetGateway", json!({})).await;
        let gateway = text(&gateway, "/InternetGateway/InternetGatewayId").to_owned();
        call(&cloud, "AttachInternetGateway", json!({"InternetGatewayId": gateway, "VpcId": vpc})).await;
        let table = call(&cloud, "CreateRouteTable", json!({"VpcId": vpc})).await;
        let table = text(&table, "/RouteTable/RouteTableId").to_owned();
        let route = json!({"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway});
        call(&cloud, "CreateRoute", route.clone()).await;
        assert_eq!(code(&cloud, "CreateRoute", route).await, "RouteAlreadyExists");
        let associate = json!({"RouteTableId": table, "SubnetId": a});
        let association = call(&cloud, "AssociateRouteTable", associate).await;
        let association = text(&association, "/AssociationId").to_owned();
        let group = json!({"GroupName": "web", "Description": "web", "VpcId": vpc});
        let made = call(&cloud, "CreateSecurityGroup", group.clone()).await;
        assert_eq!(code(&cloud, "CreateSecurityGroup", group).await, "InvalidGroup.Duplicate");
        let group = text(&made, "/GroupId").to_owned();

        let id =
            launch(&cloud, json!({"SubnetId": a, "SecurityGroupIds": [group], "PrivateIpAddress": "10.20.0.9"})).await;
        let running = becomes(&cloud, &id, "running").await;
        assert_eq!(text(&running, "/PrivateIpAddress"), "10.20.0.9");
        assert_eq!(text(&running, "/SecurityGroups/0/GroupName"), "web");
        assert!(running["PublicIpAddress"].is_null());
        let taken = json!({"MinCount": 1, "MaxCount": 1, "ImageId": image(&cloud).await, "InstanceType": "t3.micro", "SubnetId": a,
            "PrivateIpAddress": "10.20.0.9"});
        assert_eq!(code(&cloud, "RunInstances", taken).await, "InvalidIPAddress.InUse");
        for (operation, input) in [
            ("DeleteSecurityGroup", json!({"GroupId": group})),
            ("DeleteSubnet", json!({"SubnetId": a})),
            ("DeleteRouteTable", json!({"RouteTableId": table})),
            ("DeleteInternetGateway", json!({"InternetGatewayId": gateway})),
            ("DeleteVpc", json!({"VpcId": vpc})),
        ] {
            assert_eq!(code(&cloud, operation, input).await, "DependencyViolation", "{operation}");
        }
        call(&cloud, "TerminateInstances", json!({"InstanceIds": [id]})).await;
        becomes(&cloud, &id, "terminated").await;
        call(&cloud, "DeleteSecurityGroup", json!({"GroupId": group})).await;
        call(&cloud, "DisassociateRouteTable", json!({"AssociationId": association})).await;
        call(&cloud, "DeleteRouteTable", json!({"RouteTableId": table})).await;
        call(&cloud, "DeleteSubnet", json!({"SubnetId": a})).await;
        call(&cloud, "DetachInternetGateway", json!({"InternetGatewayId": gateway, "VpcId": vpc})).await;
        call(&cloud, "DeleteInternetGateway", json!({"InternetGatewayId": gateway})).await;
        call(&cloud, "DeleteVpc", json!({"VpcId": vpc})).await;
        assert_eq!(code(&cloud, "DescribeVpcs", json!({"VpcIds": [vpc]})).await, "InvalidVpcID.NotFound");
        let left = json!({"Filters": [{"Name": "vpc-id", "Values": [vpc]}]});
        assert!(items(&call(&cloud, "DescribeSecurityGroups", left.clone()).await, "SecurityGroups").is_empty());
        assert!(items(&call(&cloud, "DescribeNetworkAcls", left).await, "NetworkAcls").is_empty());
    });
}

#[test]
fn rules_are_added_found_changed_and_revoked() {
    standfast_testkit::run(4, |cloud| async move {
        let made = call(&cloud, "CreateSecurityGroup", json!({"GroupName": "web", "Description": "web"})).await;
        let group = text(&made, "/GroupId").to_owned();
        let http = json!([{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80,
            "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "http"}], "UserIdGroupPairs": [{"GroupId": group}]}]);
        let add = json!({"GroupId": group, "IpPermissions": http});
        let added = call(&cloud, "AuthorizeSecurityGroupIngress", add.clone()).await;
        assert_eq!(items(&added, "SecurityGroupRules").len(), 2);
        assert_eq!(code(&cloud, "AuthorizeSecurityGroupIngress", add.clone()).await, "InvalidPermission.Duplicate");
        let described = call(&cloud, "DescribeSecurityGroups", json!({"GroupIds": [group]})).await;
        let group_now = &described["SecurityGroups"][0];
        assert_eq!(items(group_now, "IpPermissions").len(), 1);
        assert_eq!(text(group_now, "/IpPermissions/0/IpRanges/0/Description"), "http");
        assert_eq!(text(group_now, "/IpPermissionsEgress/0/IpProtocol"), "-1");
        let rule = text(&added, "/SecurityGroupRules/0/SecurityGroupRuleId").to_owned();
        let to = json!({"IpProtocol": "tcp", "FromPort": 81, "ToPort": 81, "CidrIpv4": "10.0.0.0/8"});
        let change =
            json!({"GroupId": group, "SecurityGroupRules": [{"SecurityGroupRuleId": rule, "SecurityGroupRule": to}]});
        call(&cloud, "ModifySecurityGroupRules", change).await;
        let rules = call(&cloud, "DescribeSecurityGroupRules", json!({"SecurityGroupRuleIds": [rule]})).await;
        assert_eq!(rules["SecurityGroupRules"][0]["FromPort"], 81);
        let own = json!({"GroupId": group, "SecurityGroupRuleIds": [rule]});
        call(&cloud, "RevokeSecurityGroupIngress", own).await;
        let vpc = call(&cloud, "CreateVpc", json!({"CidrBlock": "10.0.0.0/16"})).await;
        let other = json!({"GroupName": "db", "Description": "db", "VpcId": text(&vpc, "/Vpc/VpcId")});
        let other = call(&cloud, "CreateSecurityGroup", other).await;
        let v6 = json!([{"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]);
        let revoke = json!({"GroupId": text(&other, "/GroupId"), "IpPermissions": v6});
        assert_eq!(code(&cloud, "RevokeSecurityGroupEgress", revoke).await, "InvalidPermission.NotFound");
        for (id, expected) in [("sg-1", "InvalidGroupId.Malformed"), ("sg-0123456789abcdef0", "InvalidGroup.NotFound")]
        {
            assert_eq!(code(&cloud, "DescribeSecurityGroups", json!({"GroupIds": [id]})).await, expected);
        }
    });
}

#[test]
fn a_zone_without_power_refuses_launches_and_starts_again_what_it_had() {
    standfast_testkit::run(5, |cloud| async move {
        let zone = "eu-west-1b";
        let id = launch(&cloud, json!({"Placement": {"AvailabilityZone": zone}})).await;
        let stays = launch(&cloud, json!({"Placement": {"AvailabilityZone": "eu-west-1c"}})).await;
        becomes(&cloud, &id, "running").await;
        standfast_kernel::zones::set_power(&cloud.cx(), zone, false).await.expect("a zone");
        let lost = becomes(&cloud, &id, "stopped").await;
        assert_eq!(text(&lost, "/StateReason/Code"), "Server.InternalError");
        becomes(&cloud, &stays, "running").await;
        let input = json!({"MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", "ImageId": image(&cloud).await,
            "Placement": {"AvailabilityZone": zone}});
        let refused = cloud.refused(&MODEL, "RunInstances", input).await;
        assert_eq!(refused.code, "InsufficientInstanceCapacity");
        assert!(refused.message.contains("choosing eu-west-1a, eu-west-1c."), "{}", refused.message);
        assert_eq!(code(&cloud, "StartInstances", json!({"InstanceIds": [id]})).await, "InsufficientInstanceCapacity");
        standfast_kernel::zones::set_power(&cloud.cx(), zone, true).await.expect("a zone");
        becomes(&cloud, &id, "running").await;
        standfast_core::host::HostDriver::kill(&*cloud.host, &Id::from_text(&id)).expect("it runs");
        let killed = becomes(&cloud, &id, "stopped").await;
        assert_eq!(text(&killed, "/StateReason/Code"), "Server.InternalError");
        cloud.pass(SOON).await;
        assert_eq!(text(&described(&cloud, &id).await, "/State/Name"), "stopped");
    });
}

#[test]
fn a_boot_that_fails_terminates_the_instance() {
    standfast_testkit::run(6, |cloud| async move {
        cloud.host.fail_next_boots(1, "no such interpreter");
        let id = launch(&cloud, json!({})).await;
        let failed = becomes(&cloud, &id, "terminated").await;
        assert_eq!(text(&failed, "/StateReason/Code"), "Server.InternalError");
    });
}

#[test]
fn a_template_s_versions_are_launched_and_echoed() {
    standfast_testkit::run(7, |cloud| async move {
        let data = json!({"ImageId": image(&cloud).await, "InstanceType": "t3.micro", "Monitoring": {"Enabled": true},
            "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
            "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 10, "VolumeType": "gp3", "Encrypted": true, "DeleteOnTermination": true}}],
            "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web"}]}]});
        let create = json!({"LaunchTemplateName": "web", "LaunchTemplateData": data,
            "TagSpecifications": [{"ResourceType": "launch-template", "Tags": [{"Key": "own", "Value": "tag"}]}]});
        let made = call(&cloud, "CreateLaunchTemplate", create.clone()).await;
        let template = text(&made, "/LaunchTemplate/LaunchTemplateId").to_owned();
        assert_eq!(
            code(&cloud, "CreateLaunchTemplate", create).await,
            "InvalidLaunchTemplateName.AlreadyExistsException"
        );
        let versions = json!({"LaunchTemplateId": template, "Versions": ["$Latest"]});
        let echoed = call(&cloud, "DescribeLaunchTemplateVersions", versions.clone()).await;
        assert_eq!(echoed["LaunchTemplateVersions"][0]["LaunchTemplateData"], data);
        let second = json!({"LaunchTemplateName": "web", "SourceVersion": "1", "LaunchTemplateData": {"InstanceType": "t3.small"}});
        call(&cloud, "CreateLaunchTemplateVersion", second).await;
        let latest = call(&cloud, "DescribeLaunchTemplateVersions", versions).await;
        assert_eq!(latest["LaunchTemplateVersions"][0]["VersionNumber"], 2);
        assert_eq!(text(&latest, "/LaunchTemplateVersions/0/LaunchTemplateData/InstanceType"), "t3.small");
        let all = call(&cloud, "DescribeLaunchTemplateVersions", json!({"LaunchTemplateId": template})).await;
        let numbers: Vec<_> =
            items(&all, "LaunchTemplateVersions").iter().map(|v| v["VersionNumber"].clone()).collect();
        assert_eq!(numbers, [json!(2), json!(1)]);

        let run = json!({"MinCount": 1, "MaxCount": 2, "LaunchTemplate": {"LaunchTemplateId": template, "Version": "$Latest"}});
        let made = call(&cloud, "RunInstances", run).await;
        assert_eq!(items(&made, "Instances").len(), 2);
        let id = text(&made, "/Instances/0/InstanceId").to_owned();
        let instance = becomes(&cloud, &id, "running").await;
        assert_eq!(text(&instance, "/InstanceType"), "t3.small");
        assert_eq!(text(&instance, "/MetadataOptions/HttpTokens"), "required");
        let tag =
            |key: &str| items(&instance, "Tags").iter().find(|tag| tag["Key"] == key).map(|tag| tag["Value"].clone());
        assert_eq!(tag("Name"), Some(json!("web")));
        assert_eq!(tag("aws:ec2launchtemplate:version"), Some(json!("2")));
        let volume = text(&instance, "/BlockDeviceMappings/0/Ebs/VolumeId").to_owned();
        let volume = call(&cloud, "DescribeVolumes", json!({"VolumeIds": [volume]})).await;
        assert_eq!((&volume["Volumes"][0]["Size"], &volume["Volumes"][0]["Encrypted"]), (&json!(10), &json!(true)));

        call(&cloud, "ModifyLaunchTemplate", json!({"LaunchTemplateId": template, "DefaultVersion": "2"})).await;
        let gone = json!({"LaunchTemplateId": template, "Versions": ["1", "2"]});
        let gone = call(&cloud, "DeleteLaunchTemplateVersions", gone).await;
        assert_eq!(items(&gone, "SuccessfullyDeletedLaunchTemplateVersions").len(), 1);
        assert_eq!(items(&gone, "UnsuccessfullyDeletedLaunchTemplateVersions").len(), 1);
        call(&cloud, "DeleteLaunchTemplate", json!({"LaunchTemplateName": "web"})).await;
        let unknown = json!({"LaunchTemplateNames": ["web"]});
        assert_eq!(
            code(&cloud, "DescribeLaunchTemplates", unknown).await,
            "InvalidLaunchTemplateName.NotFoundException"
        );
    });
}

#[test]
fn a_client_token_launches_once() {
    standfast_testkit::run(8, |cloud| async move {
        let once = |count: i32, image: &str| json!({"MinCount": count, "MaxCount": count, "InstanceType": "t3.micro", "ImageId": image, "ClientToken": "once"});
        let image = image(&cloud).await;
        let first = call(&cloud, "RunInstances", once(2, &image)).await;
        let second = call(&cloud, "RunInstances", once(2, &image)).await;
        assert_eq!(first["ReservationId"], second["ReservationId"]);
        assert_eq!(code(&cloud, "RunInstances", once(1, &image)).await, "IdempotentParameterMismatch");
        let all = call(&cloud, "DescribeInstances", json!({})).await;
        assert_eq!(items(&all["Reservations"][0], "Instances").len(), 2);
    });
}

#[test]
fn launches_that_cannot_be_are_refused() {
    standfast_testkit::run(9, |cloud| async move {
        let image = image(&cloud).await;
        let arm = json!([{"Name": "name", "Values": ["al2023-ami-2023*-arm64"]}]);
        let arm = call(&cloud, "DescribeImages", json!({"Filters": arm})).await;
        let base = json!({"MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", "ImageId": image});
        for (member, value, expected) in [
            ("ImageId", json!("ami-0123456789abcdef0"), "InvalidAMIID.NotFound"),
            ("ImageId", json!("nonsense"), "InvalidAMIID.Malformed"),
            ("ImageId", json!(text(&arm, "/Images/0/ImageId")), "InvalidParameterValue"),
            ("MinCount", json!(2), "InvalidParameterValue"),
            ("KeyName", json!("nobody"), "InvalidKeyPair.NotFound"),
            ("SubnetId", json!("subnet-0123456789abcdef0"), "InvalidSubnetID.NotFound"),
            ("SecurityGroupIds", json!(["sg-0123456789abcdef0"]), "InvalidGroup.NotFound"),
            ("UserData", json!("no base64!"), "InvalidUserData.Malformed"),
            ("LaunchTemplate", json!({"LaunchTemplateName": "none"}), "InvalidLaunchTemplateName.NotFoundException"),
            ("DryRun", json!(true), "DryRunOperation"),
            (
                "TagSpecifications",
                json!([{"ResourceType": "instance", "Tags": [{"Key": "aws:x", "Value": "y"}]}]),
                "InvalidParameterValue",
            ),
        ] {
            let mut input = base.clone();
            input[member] = value.clone();
            assert_eq!(code(&cloud, "RunInstances", input).await, expected, "{member} {value}");
        }
        assert!(items(&call(&cloud, "DescribeInstances", json!({})).await, "Reservations").is_empty());
    });
}

#[test]
fn instances_are_filtered_and_paged() {
    standfast_testkit::run(10, |cloud| async move {
        let image = image(&cloud).await;
        let spec = json!([{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web-1"}]}]);
        let run = json!({"MinCount": 12, "MaxCount": 12, "InstanceType": "t3.micro", "ImageId": image, "TagSpecifications": spec});
        call(&cloud, "RunInstances", run).await;
        let (mut seen, mut token) = (Vec::new(), Json::Null);
        loop {
            let page = call(&cloud, "DescribeInstances", json!({"MaxResults": 5, "NextToken": token})).await;
            for reservation in items(&page, "Reservations") {
                seen.extend(items(reservation, "Instances").iter().map(|i| text(i, "/InstanceId").to_owned()));
            }
            token = page["NextToken"].clone();
            if token.is_null() {
                break;
            }
        }
        seen.dedup();
        assert_eq!(seen.len(), 12);
        let count = async |name: &str, value: &str| {
            let found =
                call(&cloud, "DescribeInstances", json!({"Filters": [{"Name": name, "Values": [value]}]})).await;
            items(&found, "Reservations").iter().map(|r| items(r, "Instances").len()).sum::<usize>()
        };
        assert_eq!(count("tag:Name", "web-*").await, 12);
        assert_eq!(count("tag:Name", "db-*").await, 0);
        assert_eq!(count("instance-state-name", "pending").await, 12);
        assert_eq!(
            code(&cloud, "DescribeInstances", json!({"Filters": [{"Name": "foo", "Values": ["x"]}]})).await,
            "InvalidParameterValue"
        );
        assert_eq!(code(&cloud, "DescribeInstances", json!({"MaxResults": 4})).await, "InvalidParameterValue");
        let both = json!({"MaxResults": 5, "InstanceIds": [seen[0]]});
        assert_eq!(code(&cloud, "DescribeInstances", both).await, "InvalidParameterCombination");
        call(&cloud, "CreateTags", json!({"Resources": [seen[0]], "Tags": [{"Key": "Name", "Value": "db-1"}]})).await;
        assert_eq!(count("tag:Name", "web-*").await, 11);
        call(&cloud, "DeleteTags", json!({"Resources": [seen[0]], "Tags": [{"Key": "Name"}]})).await;
        assert_eq!(count("tag-key", "Name").await, 11);
        let tags =
            call(&cloud, "DescribeTags", json!({"Filters": [{"Name": "resource-type", "Values": ["instance"]}]})).await;
        assert_eq!(items(&tags, "Tags").len(), 11);
    });
}
