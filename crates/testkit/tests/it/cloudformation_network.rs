//! Stacks of what connects networks: one of every type comes, changes and goes without a trace.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{cloudformation, ec2};
use standfast_testkit::TestCloud;

use crate::site::{STACK, deploy, list, rest, text};

const TEMPLATE: &str = r#"
Parameters:
  Block: {Type: String, Default: 192.0.2.0/24}
  Size: {Type: Number, Default: 8}
  Image: {Type: String}
Resources:
  Vpc:
    Type: AWS::EC2::VPC
    Properties: {CidrBlock: 10.1.0.0/16}
  Other:
    Type: AWS::EC2::VPC
    Properties: {CidrBlock: 10.2.0.0/16}
  Gateway:
    Type: AWS::EC2::InternetGateway
  Attachment:
    Type: AWS::EC2::VPCGatewayAttachment
    Properties: {VpcId: !Ref Vpc, InternetGatewayId: !Ref Gateway}
  Subnet:
    Type: AWS::EC2::Subnet
    Properties: {VpcId: !Ref Vpc, CidrBlock: 10.1.0.0/24, AvailabilityZone: eu-west-1a}
  Address:
    Type: AWS::EC2::EIP
    DependsOn: Attachment
    Properties: {Domain: vpc}
  Nat:
    Type: AWS::EC2::NatGateway
    Properties: {SubnetId: !Ref Subnet, AllocationId: !GetAtt Address.AllocationId}
  Table:
    Type: AWS::EC2::RouteTable
    Properties: {VpcId: !Ref Vpc}
  Out:
    Type: AWS::EC2::Route
    Properties: {RouteTableId: !Ref Table, DestinationCidrBlock: 0.0.0.0/0, NatGatewayId: !Ref Nat}
  Peering:
    Type: AWS::EC2::VPCPeeringConnection
    Properties: {VpcId: !Ref Vpc, PeerVpcId: !Ref Other}
  Across:
    Type: AWS::EC2::Route
    Properties: {RouteTableId: !Ref Table, DestinationCidrBlock: 10.2.0.0/16, VpcPeeringConnectionId: !Ref Peering}
  Endpoint:
    Type: AWS::EC2::VPCEndpoint
    Properties:
      VpcId: !Ref Vpc
      ServiceName: !Sub 'com.amazonaws.${AWS::Region}.s3'
      RouteTableIds: [!Ref Table]
      PolicyDocument: {Version: '2012-10-17', Statement: [{Effect: Allow, Principal: '*', Action: '*', Resource: '*'}]}
  Private:
    Type: AWS::EC2::VPCEndpoint
    Properties:
      VpcId: !Ref Vpc
      VpcEndpointType: Interface
      ServiceName: !Sub 'com.amazonaws.${AWS::Region}.ssm'
      SubnetIds: [!Ref Subnet]
  Offices:
    Type: AWS::EC2::PrefixList
    Properties:
      PrefixListName: offices
      AddressFamily: IPv4
      MaxEntries: 2
      Entries: [{Cidr: !Ref Block}]
  Apart:
    Type: AWS::EC2::PlacementGroup
    Properties: {Strategy: spread}
  Acl:
    Type: AWS::EC2::NetworkAcl
    Properties: {VpcId: !Ref Vpc}
  Entry:
    Type: AWS::EC2::NetworkAclEntry
    Properties: {NetworkAclId: !Ref Acl, RuleNumber: 100, Protocol: -1, RuleAction: allow, CidrBlock: !Ref Block}
  AclOfSubnet:
    Type: AWS::EC2::SubnetNetworkAclAssociation
    Properties: {NetworkAclId: !Ref Acl, SubnetId: !Ref Subnet}
  Node:
    Type: AWS::EC2::Instance
    Properties: {ImageId: !Ref Image, InstanceType: t3.micro, SubnetId: !Ref Subnet, PlacementGroupName: !Ref Apart}
  Interface:
    Type: AWS::EC2::NetworkInterface
    Properties: {SubnetId: !Ref Subnet, Description: second, SourceDestCheck: false}
  Attached:
    Type: AWS::EC2::NetworkInterfaceAttachment
    Properties: {InstanceId: !Ref Node, NetworkInterfaceId: !Ref Interface, DeviceIndex: 1, DeleteOnTermination: false}
  Floating:
    Type: AWS::EC2::EIP
    DependsOn: Attachment
  FloatingThere:
    Type: AWS::EC2::EIPAssociation
    Properties: {AllocationId: !GetAtt Floating.AllocationId, NetworkInterfaceId: !Ref Interface}
  Disk:
    Type: AWS::EC2::Volume
    Properties: {AvailabilityZone: eu-west-1a, Size: !Ref Size, VolumeType: gp3}
  DiskThere:
    Type: AWS::EC2::VolumeAttachment
    Properties: {InstanceId: !Ref Node, VolumeId: !Ref Disk, Device: /dev/sdf}
Outputs:
  Nat: {Value: !GetAtt Nat.NatGatewayId}
  Public: {Value: !GetAtt Address.PublicIp}
  Version: {Value: !GetAtt Offices.Version}
"#;

async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    let answer = cloud.send(&ec2::MODEL, operation, input.clone()).await;
    answer.unwrap_or_else(|error| panic!("{operation} {input}: {error}"))
}

async fn output(cloud: &TestCloud, key: &str) -> String {
    let input = json!({"StackName": STACK});
    let stacks = cloud.send(&cloudformation::MODEL, "DescribeStacks", input).await.expect("the stack is there");
    let outputs = list(&list(&stacks, "Stacks")[0], "Outputs").to_vec();
    let found = outputs.iter().find(|output| text(output, "OutputKey") == key).expect("an output");
    text(found, "OutputValue").to_owned()
}

#[test]
fn a_stack_of_every_type_comes_changes_and_goes() {
    standfast_testkit::run(60, |cloud| async move {
        let filters = json!([{"Name": "name", "Values": ["amzn2-ami-hvm-*-x86_64-gp2"]}]);
        let images = call(&cloud, "DescribeImages", json!({"Owners": ["amazon"], "Filters": filters})).await;
        let image = text(&list(&images, "Images")[0], "ImageId").to_owned();
        let parameter = |key: &str, value: &str| json!({"ParameterKey": key, "ParameterValue": value});
        let (status, events) = deploy(&cloud, TEMPLATE, json!([parameter("Image", &image)])).await;
        assert_eq!(status, "CREATE_COMPLETE", "{events:#?}");
        let nat = call(&cloud, "DescribeNatGateways", json!({"NatGatewayIds": [output(&cloud, "Nat").await]})).await;
        let addresses = &list(&nat, "NatGateways")[0]["NatGatewayAddresses"][0];
        assert_eq!(text(addresses, "PublicIp"), output(&cloud, "Public").await);
        let peerings = call(&cloud, "DescribeVpcPeeringConnections", json!({})).await;
        assert_eq!(text(&list(&peerings, "VpcPeeringConnections")[0]["Status"], "Code"), "active");
        let before = output(&cloud, "Version").await;

        let changed = [parameter("Image", &image), parameter("Block", "198.51.100.0/24"), parameter("Size", "9")];
        let input = json!({"StackName": STACK, "TemplateBody": TEMPLATE, "Parameters": changed});
        cloud.send(&cloudformation::MODEL, "UpdateStack", input).await.expect("the update is accepted");
        let (status, events) = rest(&cloud).await;
        assert_eq!(status, "UPDATE_COMPLETE", "{events:#?}");
        assert_eq!((before.as_str(), output(&cloud, "Version").await.as_str()), ("1", "2"));

        cloud.send(&cloudformation::MODEL, "DeleteStack", json!({"StackName": STACK})).await.expect("the stack may go");
        cloud
            .until("the stack to go", Duration::from_secs(600), || async {
                let stacks = cloud.send(&cloudformation::MODEL, "DescribeStacks", json!({"StackName": STACK})).await;
                if let Ok(stacks) = &stacks {
                    let status = text(&list(stacks, "Stacks")[0], "StackStatus");
                    assert_eq!(status, "DELETE_IN_PROGRESS", "{:#?}", rest(&cloud).await.1);
                }
                stacks.is_err().then_some(())
            })
            .await;
        let vpcs = json!({"Filters": [{"Name": "is-default", "Values": ["false"]}]});
        assert!(list(&call(&cloud, "DescribeVpcs", vpcs).await, "Vpcs").is_empty());
        for (operation, name) in [
            ("DescribeAddresses", "Addresses"),
            ("DescribeNetworkInterfaces", "NetworkInterfaces"),
            ("DescribePlacementGroups", "PlacementGroups"),
            ("DescribeVolumes", "Volumes"),
            ("DescribeVpcEndpoints", "VpcEndpoints"),
        ] {
            let rest = call(&cloud, operation, json!({})).await;
            assert!(list(&rest, name).is_empty(), "{rest:#}");
        }
    });
}
