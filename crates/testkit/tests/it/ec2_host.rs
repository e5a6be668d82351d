//! What ec2 tells hosts: networks, metadata, volumes; and what it makes of what they say.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::ec2 as api;
use standfast_api::{iam, sts};
use standfast_core::Id;
use standfast_core::host::{Abilities, HostSnapshot, InstanceSpec};
use standfast_core::network::{Interface, NetworkSnapshot, Owner, Peer, RouteTarget, Traffic};
use standfast_testkit::TestCloud;

use crate::ec2::{becomes, call, code, described, image, items, launch, text};

/// Hosts that can do everything the tests are about.
const ABLE: Abilities = Abilities { networks: true, volumes: false, metadata: true, loss: true, delay: false };

fn run<F, Fut>(seed: u64, test: F)
where
    F: FnOnce(TestCloud) -> Fut,
    Fut: Future<Output = ()>,
{
    standfast_testkit::run_able(seed, ABLE, test);
}

/// What the host was told, once it fits.
async fn told<T>(cloud: &TestCloud, what: &str, find: impl Fn(&HostSnapshot) -> Option<T>) -> T {
    let find = &find;
    cloud.until(what, Duration::from_secs(30), || async move { find(&cloud.host.snapshot()) }).await
}

fn spec(cloud: &TestCloud, id: &str) -> InstanceSpec {
    cloud.host.snapshot().instances.get(id).cloned().unwrap_or_else(|| panic!("the host does not know {id}"))
}

fn leaf(cloud: &TestCloud, id: &str, path: &str) -> Option<String> {
    spec(cloud, id).metadata.tree.get(path).cloned()
}

/// The instance's primary interface as the host knows it.
fn primary(network: &NetworkSnapshot, id: &str) -> Option<Interface> {
    let is_its =
        |one: &&Interface| matches!(&one.owner, Owner::Instance { id: owner, device_index: 0 } if owner.as_str() == id);
    network.interfaces.values().find(is_its).cloned()
}

#[test]
fn hosts_hear_of_networks_and_of_every_change_of_them() {
    run(1, |cloud| async move {
        let id = launch(&cloud, json!({"KeyName": key(&cloud).await})).await;
        let running = becomes(&cloud, &id, "running").await;
        let snapshot = cloud.host.snapshot();
        let network = &snapshot.network;
        let interface = primary(network, &id).expect("it has an interface");
        let vpc = &network.vpcs[&interface.vpc];
        assert_eq!((vpc.cidrs[0].to_string().as_str(), vpc.subnets.len()), ("172.31.0.0/16", 3));
        assert!(vpc.internet && vpc.dns);
        assert_eq!(vpc.domain, "eu-west-1.compute.internal");
        let subnet = &vpc.subnets[&interface.subnet];
        let routes = &vpc.route_tables[&subnet.route_table];
        assert_eq!(routes.len(), 1, "the local route is left out: {routes:?}");
        assert_eq!(
            (routes[0].destination.to_string().as_str(), &routes[0].target),
            ("0.0.0.0/0", &RouteTarget::InternetGateway)
        );
        let acl = &vpc.acls[&subnet.acl];
        assert!(acl.ingress.len() == 1 && acl.ingress[0].allow && acl.ingress[0].traffic == Traffic::All);
        let group = &network.security_groups[&interface.groups[0]];
        assert_eq!(group.ingress[0].peer, Peer::Group(interface.groups[0].clone()));

        let private: Ipv4Addr = text(&running, "/PrivateIpAddress").parse().expect("an address");
        let spec = spec(&cloud, &id);
        assert_eq!((spec.vcpus, spec.memory_mib, spec.private_ip), (2, 1024, private));
        assert_eq!(spec.hostname, text(&running, "/PrivateDnsName"));
        assert_eq!(spec.resolvers, [Ipv4Addr::from([172, 31, 0, 2])]);
        assert_eq!(spec.search, "eu-west-1.compute.internal");
        assert!(spec.ssh_keys[0].starts_with("ssh-"));
        assert_eq!(vpc.names[&spec.hostname], [private]);
        assert_eq!(vpc.names[text(&running, "/PublicDnsName")], [private]);
        let root = spec.root_volume.expect("it has a root volume");
        assert!(snapshot.volumes[&root].root && snapshot.volumes[&root].from.is_none());

        // No instance changes with this.
        let rule = json!([{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 81, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]);
        let group = interface.groups[0].to_string();
        call(&cloud, "AuthorizeSecurityGroupIngress", json!({"GroupId": group, "IpPermissions": rule})).await;
        told(&cloud, "the rule", |snapshot| {
            let rules = &snapshot.network.security_groups[group.as_str()].ingress;
            rules.iter().find(|rule| rule.traffic == Traffic::Tcp(80, 81)).cloned()
        })
        .await;
        assert_eq!(cloud.host.snapshot().instances.len(), 1);
    });
}

async fn key(cloud: &TestCloud) -> &'static str {
    call(cloud, "CreateKeyPair", json!({"KeyName": "k"})).await;
    "k"
}

#[test]
fn a_route_through_a_stopped_instance_is_a_black_hole() {
    run(2, |cloud| async move {
        let id = launch(&cloud, json!({})).await;
        let running = becomes(&cloud, &id, "running").await;
        let vpc = text(&running, "/VpcId");
        let interface = text(&running, "/NetworkInterfaces/0/NetworkInterfaceId").to_owned();
        let table = call(&cloud, "CreateRouteTable", json!({"VpcId": vpc})).await;
        let table = text(&table, "/RouteTable/RouteTableId").to_owned();
        let route = json!({
            "RouteTableId": table, "DestinationCidrBlock": "192.0.2.0/24", "NetworkInterfaceId": interface
        });
        call(&cloud, "CreateRoute", route).await;
        let target = |snapshot: &HostSnapshot| {
            let vpc = snapshot.network.vpcs.values().find(|vpc| vpc.route_tables.contains_key(table.as_str()))?;
            Some(vpc.route_tables[table.as_str()].first()?.target.clone())
        };
        let through = told(&cloud, "the route", target).await;
        assert_eq!(through, RouteTarget::Interface(Id::from_text(&interface)));
        call(&cloud, "StopInstances", json!({"InstanceIds": [id]})).await;
        becomes(&cloud, &id, "stopped").await;
        told(&cloud, "the black hole", |snapshot| target(snapshot).filter(|target| *target == RouteTarget::Blackhole))
            .await;
    });
}

#[test]
fn a_public_address_lasts_from_start_to_stop() {
    run(3, |cloud| async move {
        let id = launch(&cloud, json!({})).await;
        let running = becomes(&cloud, &id, "running").await;
        let first = text(&running, "/PublicIpAddress").to_owned();
        let octets = first.parse::<Ipv4Addr>().expect("an address").octets();
        assert!(octets[0] == 127 && octets[1] >= 128, "{first}");
        let interface = primary(&cloud.host.snapshot().network, &id).expect("it has an interface");
        assert_eq!(interface.addresses[0].public.map(|address| address.to_string()), Some(first.clone()));
        assert_eq!(leaf(&cloud, &id, "meta-data/public-ipv4"), Some(first.clone()));

        call(&cloud, "RebootInstances", json!({"InstanceIds": [id]})).await;
        cloud.pass(Duration::from_secs(10)).await;
        assert_eq!(text(&described(&cloud, &id).await, "/PublicIpAddress"), first);
        call(&cloud, "StopInstances", json!({"InstanceIds": [id]})).await;
        let stopped = becomes(&cloud, &id, "stopped").await;
        assert!(stopped["PublicIpAddress"].is_null());
        assert_eq!(stopped["PrivateIpAddress"], running["PrivateIpAddress"]);
        call(&cloud, "StartInstances", json!({"InstanceIds": [id]})).await;
        let again = becomes(&cloud, &id, "running").await;
        assert_ne!(text(&again, "/PublicIpAddress"), first);
        let mac = |instance: &Json| text(instance, "/NetworkInterfaces/0/MacAddress").to_owned();
        assert_eq!(mac(&again), mac(&running));
    });
}

/// A role that ec2 may assume, in an instance profile.
async fn profile(cloud: &TestCloud, trusted: &str) {
    let trust = json!({"Statement": [{
        "Effect": "Allow", "Principal": {"Service": trusted}, "Action": "sts:AssumeRole"
    }]});
    let role = json!({"RoleName": "web", "AssumeRolePolicyDocument": trust.to_string()});
    cloud.send(&iam::MODEL, "CreateRole", role).await.expect("a role");
    let profile = json!({"InstanceProfileName": "front"});
    cloud.send(&iam::MODEL, "CreateInstanceProfile", profile).await.expect("a profile");
    let both = json!({"InstanceProfileName": "front", "RoleName": "web"});
    cloud.send(&iam::MODEL, "AddRoleToInstanceProfile", both).await.expect("the role is in the profile");
}

#[test]
fn an_instance_reads_of_itself_and_its_role() {
    run(4, |cloud| async move {
        profile(&cloud, "ec2.amazonaws.com").await;
        let tags = json!([{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "front"}]}]);
        let id = launch(
            &cloud,
            json!({
                "IamInstanceProfile": {"Name": "front"}, "TagSpecifications": tags, "KeyName": key(&cloud).await,
                "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
            }),
        )
        .await;
        let running = becomes(&cloud, &id, "running").await;
        let metadata = spec(&cloud, &id).metadata;
        assert!(metadata.enabled && metadata.tokens_required && metadata.hop_limit == 1);
        let read = |path: &str| leaf(&cloud, &id, &format!("meta-data/{path}"));
        let mac = text(&running, "/NetworkInterfaces/0/MacAddress");
        for (path, expected) in [
            ("instance-id", id.as_str()),
            ("ami-id", text(&running, "/ImageId")),
            ("local-ipv4", text(&running, "/PrivateIpAddress")),
            ("placement/region", "eu-west-1"),
            ("placement/availability-zone", text(&running, "/Placement/AvailabilityZone")),
            ("mac", mac),
            (&format!("network/interfaces/macs/{mac}/subnet-id"), text(&running, "/SubnetId")),
            (&format!("network/interfaces/macs/{mac}/vpc-ipv4-cidr-block"), "172.31.0.0/16"),
            ("public-keys/=", "0=k"),
            ("tags/instance/Name", "front"),
            ("security-groups", "default"),
        ] {
            assert_eq!(read(path).as_deref(), Some(expected), "{path}");
        }
        let document = leaf(&cloud, &id, "dynamic/instance-identity/document").expect("a document");
        let document: Json = serde_json::from_str(&document).expect("JSON");
        assert_eq!(text(&document, "/instanceId"), id);

        let session = || {
            let session = read("iam/security-credentials/web")?;
            serde_json::from_str::<Json>(&session).ok()
        };
        let first = cloud.until("credentials", Duration::from_secs(30), || async { session() }).await;
        assert_eq!((text(&first, "/Code"), text(&first, "/Type")), ("Success", "AWS-HMAC"));
        // The form that botocore reads.
        assert_eq!(text(&first, "/Expiration").len(), "2026-11-20T22:41:00Z".len());
        let of = json!({"AccessKeyId": text(&first, "/AccessKeyId")});
        let known = cloud.send(&sts::MODEL, "GetAccessKeyInfo", of).await.expect("a known key");
        assert_eq!(text(&known, "/Account"), "000000000000");

        // New ones come before the old ones end.
        cloud.pass(Duration::from_secs(3000)).await;
        let second = session().expect("credentials");
        assert_ne!(first["AccessKeyId"], second["AccessKeyId"]);

        let associations = call(&cloud, "DescribeIamInstanceProfileAssociations", json!({})).await;
        let association = text(&associations, "/IamInstanceProfileAssociations/0/AssociationId");
        call(&cloud, "DisassociateIamInstanceProfile", json!({"AssociationId": association})).await;
        cloud.until("no credentials", Duration::from_secs(30), || async { session().is_none().then_some(()) }).await;
    });
}

#[test]
fn a_role_that_does_not_trust_ec2_gives_no_credentials() {
    run(5, |cloud| async move {
        profile(&cloud, "lambda.amazonaws.com").await;
        let id = launch(&cloud, json!({"IamInstanceProfile": {"Name": "front"}})).await;
        becomes(&cloud, &id, "running").await;
        cloud.pass(Duration::from_secs(60)).await;
        assert!(!spec(&cloud, &id).metadata.tree.keys().any(|path| path.starts_with("meta-data/iam/")));
    });
}

/// Lets the system below an instance fail, as a service does.
async fn impair(cloud: &TestCloud, id: &str) {
    let tag = api::Tag { key: Some("aws:standfast:impaired".into()), value: Some("system".into()) };
    let input = api::CreateTagsInput { resources: vec![id.to_owned()], tags: vec![tag], dry_run: None };
    cloud.cx().call(api::CreateTags, input).await.expect("a service may give reserved tags");
}

async fn system_status(cloud: &TestCloud, id: &str) -> String {
    let statuses = call(cloud, "DescribeInstanceStatus", json!({"InstanceIds": [id]})).await;
    text(&statuses, "/InstanceStatuses/0/SystemStatus/Status").to_owned()
}

#[test]
fn an_instance_on_failed_hardware_is_recovered_with_what_it_had() {
    run(6, |cloud| async move {
        let id = launch(&cloud, json!({})).await;
        let before = becomes(&cloud, &id, "running").await;
        assert_eq!(system_status(&cloud, &id).await, "ok");
        impair(&cloud, &id).await;
        cloud.pass(Duration::from_secs(30)).await;
        assert_eq!(system_status(&cloud, &id).await, "impaired");
        assert_eq!(text(&described(&cloud, &id).await, "/State/Name"), "running");
        assert!(!spec(&cloud, &id).power);

        cloud.pass(Duration::from_secs(120)).await;
        assert_eq!(system_status(&cloud, &id).await, "ok");
        let after = described(&cloud, &id).await;
        assert_eq!(after["PublicIpAddress"], before["PublicIpAddress"]);
        assert_eq!(after["PrivateIpAddress"], before["PrivateIpAddress"]);
        assert!(items(&after, "Tags").is_empty(), "{after:#}");
        assert_eq!((spec(&cloud, &id).power, spec(&cloud, &id).boot), (true, 2));
        let statuses = call(&cloud, "DescribeInstanceStatus", json!({"InstanceIds": [id]})).await;
        assert_eq!(text(&statuses, "/InstanceStatuses/0/Events/0/Code"), "system-reboot");
    });
}

#[test]
fn without_auto_recovery_it_stays_impaired_until_it_is_moved() {
    run(7, |cloud| async move {
        let id = launch(&cloud, json!({"MaintenanceOptions": {"AutoRecovery": "disabled"}})).await;
        becomes(&cloud, &id, "running").await;
        impair(&cloud, &id).await;
        cloud.pass(Duration::from_secs(600)).await;
        assert_eq!(system_status(&cloud, &id).await, "impaired");
        // A stop and a start bring it to other hardware.
        call(&cloud, "StopInstances", json!({"InstanceIds": [id]})).await;
        becomes(&cloud, &id, "stopped").await;
        call(&cloud, "StartInstances", json!({"InstanceIds": [id]})).await;
        becomes(&cloud, &id, "running").await;
        assert_eq!(system_status(&cloud, &id).await, "ok");
    });
}

#[test]
fn a_full_machine_refuses_with_its_reason() {
    run(8, |cloud| async move {
        cloud.host.fail_next_boots(1, "no capacity: 2 GiB of memory are free");
        let id = launch(&cloud, json!({})).await;
        let gone = becomes(&cloud, &id, "terminated").await;
        assert_eq!(text(&gone, "/StateReason/Code"), "Server.InsufficientInstanceCapacity");
    });
}

#[test]
fn hosts_without_networks_hear_nothing_of_them() {
    standfast_testkit::run(9, |cloud| async move {
        let id = launch(&cloud, json!({})).await;
        let running = becomes(&cloud, &id, "running").await;
        assert!(!text(&running, "/PublicIpAddress").starts_with("127.128."));
        let snapshot: Arc<HostSnapshot> = cloud.host.snapshot();
        assert_eq!(snapshot.network, NetworkSnapshot::default());
        assert!(snapshot.instances[id.as_str()].metadata.tree.is_empty());
    });
}

#[test]
fn interfaces_have_several_addresses_that_move_between_them() {
    run(10, |cloud| async move {
        let id = launch(&cloud, json!({"InstanceType": "t3.small"})).await;
        let running = becomes(&cloud, &id, "running").await;
        let subnet = text(&running, "/SubnetId");
        let create = |count: u32| json!({"SubnetId": subnet, "SecondaryPrivateIpAddressCount": count});
        let made = call(&cloud, "CreateNetworkInterface", create(2)).await;
        let interface = text(&made, "/NetworkInterface/NetworkInterfaceId").to_owned();
        assert_eq!(items(&made["NetworkInterface"], "PrivateIpAddresses").len(), 3);
        let moved = text(&made, "/NetworkInterface/PrivateIpAddresses/1/PrivateIpAddress").to_owned();
        let attach = json!({"NetworkInterfaceId": interface, "InstanceId": id, "DeviceIndex": 1});
        let attachment = call(&cloud, "AttachNetworkInterface", attach.clone()).await;
        let attachment = text(&attachment, "/AttachmentId").to_owned();
        let told_of = told(&cloud, "the attachment", |snapshot| {
            let one = snapshot.network.interfaces.get(interface.as_str())?;
            matches!(one.owner, Owner::Instance { device_index: 1, .. }).then(|| one.clone())
        })
        .await;
        assert_eq!(told_of.addresses.len(), 3);
        let mac = told_of.mac;
        assert_eq!(
            leaf(&cloud, &id, &format!("meta-data/network/interfaces/macs/{mac}/device-number")),
            Some("1".into())
        );

        let primary = text(&running, "/NetworkInterfaces/0/NetworkInterfaceId");
        let assign = |more: Json| {
            let mut input = json!({"NetworkInterfaceId": primary});
            input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            input
        };
        let stolen = assign(json!({"PrivateIpAddresses": [moved]}));
        assert_eq!(code(&cloud, "AssignPrivateIpAddresses", stolen).await, "InvalidIPAddress.InUse");
        let allowed = assign(json!({"PrivateIpAddresses": [moved], "AllowReassignment": true}));
        call(&cloud, "AssignPrivateIpAddresses", allowed).await;
        let addresses = |id: &str| {
            let id = id.to_owned();
            move |snapshot: &HostSnapshot| Some(snapshot.network.interfaces.get(id.as_str())?.addresses.len())
        };
        told(&cloud, "the move", |snapshot| {
            let (from, to) = (addresses(&interface)(snapshot)?, addresses(primary)(snapshot)?);
            (from == 2 && to == 2).then_some(())
        })
        .await;
        // A t3.small has four addresses on an interface.
        let many = assign(json!({"SecondaryPrivateIpAddressCount": 3}));
        assert_eq!(code(&cloud, "AssignPrivateIpAddresses", many).await, "PrivateIpAddressLimitExceeded");
        let unassign = json!({"NetworkInterfaceId": primary, "PrivateIpAddresses": [moved]});
        call(&cloud, "UnassignPrivateIpAddresses", unassign.clone()).await;
        assert_eq!(code(&cloud, "UnassignPrivateIpAddresses", unassign).await, "InvalidParameterValue");

        assert_eq!(code(&cloud, "AttachNetworkInterface", attach).await, "InvalidNetworkInterface.InUse");
        call(&cloud, "DetachNetworkInterface", json!({"AttachmentId": attachment, "Force": true})).await;
        told(&cloud, "the detachment", |snapshot| {
            (snapshot.network.interfaces.get(interface.as_str())?.owner == Owner::None).then_some(())
        })
        .await;
    });
}

#[test]
fn an_instance_has_no_more_interfaces_than_its_type_allows() {
    run(11, |cloud| async move {
        let wanted: Vec<Json> = (0..3).map(|index| json!({"DeviceIndex": index})).collect();
        let refused = json!({
            "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", "ImageId": image(&cloud).await,
            "NetworkInterfaces": wanted
        });
        assert_eq!(code(&cloud, "RunInstances", refused).await, "AttachmentLimitExceeded");
        let two = json!([{"DeviceIndex": 0, "SecondaryPrivateIpAddressCount": 1}, {"DeviceIndex": 1}]);
        let id = launch(&cloud, json!({"NetworkInterfaces": two})).await;
        let running = becomes(&cloud, &id, "running").await;
        assert_eq!(items(&running, "NetworkInterfaces").len(), 2);
        assert_eq!(items(&running["NetworkInterfaces"][0], "PrivateIpAddresses").len(), 2);
    });
}

#[test]
fn an_elastic_address_stands_in_for_the_given_one() {
    run(12, |cloud| async move {
        let id = launch(&cloud, json!({})).await;
        let given = text(&becomes(&cloud, &id, "running").await, "/PublicIpAddress").to_owned();
        let elastic = call(&cloud, "AllocateAddress", json!({"Domain": "vpc"})).await;
        let associate = json!({"AllocationId": text(&elastic, "/AllocationId"), "InstanceId": id});
        let association = call(&cloud, "AssociateAddress", associate).await;
        let elastic = text(&elastic, "/PublicIp");
        let public = |snapshot: &HostSnapshot| Some(primary(&snapshot.network, &id)?.addresses[0].public?.to_string());
        told(&cloud, "the elastic address", |snapshot| public(snapshot).filter(|address| address == elastic)).await;
        assert_eq!(text(&described(&cloud, &id).await, "/PublicIpAddress"), elastic);
        // It stays over a stop.
        call(&cloud, "StopInstances", json!({"InstanceIds": [id]})).await;
        assert_eq!(text(&becomes(&cloud, &id, "stopped").await, "/PublicIpAddress"), elastic);
        call(&cloud, "StartInstances", json!({"InstanceIds": [id]})).await;
        becomes(&cloud, &id, "running").await;
        call(&cloud, "DisassociateAddress", json!({"AssociationId": text(&association, "/AssociationId")})).await;
        let again =
            told(&cloud, "an address of its own", |snapshot| public(snapshot).filter(|address| address != elastic))
                .await;
        assert_ne!(again, given);
    });
}
