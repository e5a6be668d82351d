//! What exists, read by API calls and nothing else: what rules judge.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_core::Result;

use crate::World;
use crate::aim::belongs;
use crate::answers::{instances, items, list, number, tag, text, texts};
use crate::site::{Resource, Site};

/// Everything of a stack that availability depends on.
#[derive(Clone, Debug, Default)]
pub struct Estate {
    pub groups: Vec<Group>,
    pub balancers: Vec<Balancer>,
    pub target_groups: Vec<TargetGroup>,
    pub instances: Vec<Instance>,
    pub volumes: Vec<Volume>,
    pub subnets: Vec<Subnet>,
    pub nat_gateways: Vec<NatGateway>,
    pub addresses: Vec<Address>,
    pub alarms: Vec<Alarm>,
    /// The stack's resources, for names.
    pub resources: Vec<Resource>,
}

#[derive(Clone, Debug, Default)]
pub struct Group {
    pub name: String,
    pub min: u64,
    pub max: u64,
    pub desired: u64,
    pub zones: Vec<String>,
    pub subnets: Vec<String>,
    pub health_check: String,
    pub grace_s: u64,
    pub cooldown_s: u64,
    pub target_groups: Vec<String>,
    pub suspended: Vec<String>,
    pub rebalances_capacity: bool,
    /// Whether all that it launches are Spot Instances.
    pub all_spot: bool,
    pub policies: usize,
    /// Whether a launch template, not a launch configuration, says what it launches.
    pub instance_types: BTreeSet<String>,
    pub max_lifetime_s: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Balancer {
    pub arn: String,
    pub name: String,
    pub kind: String,
    pub zones: Vec<String>,
    pub deletion_protection: bool,
    pub cross_zone: bool,
    pub listeners: usize,
}

#[derive(Clone, Debug, Default)]
pub struct TargetGroup {
    pub arn: String,
    pub name: String,
    pub checks: bool,
    pub interval_s: u64,
    pub timeout_s: u64,
    pub healthy: u64,
    pub unhealthy: u64,
    pub path: String,
    pub deregistration_s: u64,
    pub slow_start_s: u64,
    pub sticky: bool,
    pub balancers: Vec<String>,
    /// Ids of its targets.
    pub members: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Instance {
    pub id: String,
    pub zone: String,
    pub kind: String,
    pub spot: bool,
    pub group: Option<String>,
    /// Whether it has a public address.
    pub public: bool,
    pub recovers: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Volume {
    pub id: String,
    pub zone: String,
    /// The instance's root volume goes and comes with it.
    pub is_root: bool,
    pub attached_to: Option<String>,
    pub snapshots: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Subnet {
    pub id: String,
    pub zone: String,
    /// The NAT gateway that its default route leads to.
    pub nat: Option<String>,
    pub free_addresses: u64,
}

#[derive(Clone, Debug, Default)]
pub struct NatGateway {
    pub id: String,
    pub zone: String,
}

#[derive(Clone, Debug, Default)]
pub struct Address {
    pub ip: String,
    pub allocation: String,
    pub instance: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Alarm {
    pub name: String,
    pub namespace: String,
    pub metric: String,
    /// Values of its dimensions.
    pub about: Vec<String>,
    pub period_s: u64,
    pub datapoints: u64,
    pub actions: usize,
    /// Whether nobody hears of it when there is no data.
    pub silent_when_missing: bool,
}

impl TargetGroup {
    /// How long until a target that fails is out by its health check.
    pub fn ejects_within(&self) -> Duration {
        Duration::from_secs(self.interval_s * self.unhealthy)
    }

    /// How long until a new target that answers is in: one passed check makes a new target healthy.
    pub fn takes_within(&self) -> Duration {
        Duration::from_secs(self.interval_s)
    }
}

impl Estate {
    /// Reads what a stack is made of.
    pub async fn read(world: &dyn World, site: &Site) -> Result<Self> {
        let subnets = subnets(world).await?;
        let mut estate = Self { resources: site.resources.clone(), ..Self::default() };
        estate.instances = (instances(world).await?.iter())
            .filter(|one| {
                belongs(site, one) && matches!(text(&one["State"], "Name"), "running" | "pending" | "stopped")
            })
            .map(instance)
            .collect();
        estate.groups = groups(world, site, &subnets).await?;
        estate.target_groups = target_groups(world, site).await?;
        estate.balancers = balancers(world, site).await?;
        estate.volumes = volumes(world, site, &estate.instances).await?;
        estate.nat_gateways = nat_gateways(world, site, &subnets).await?;
        estate.addresses = addresses(world, site).await?;
        estate.alarms = alarms(world, site).await?;
        let of_stack: BTreeSet<&str> = site.of_type("AWS::EC2::Subnet").collect();
        estate.subnets = subnets.into_iter().filter(|subnet| of_stack.contains(subnet.id.as_str())).collect();
        Ok(estate)
    }

    pub fn target_group(&self, arn: &str) -> Option<&TargetGroup> {
        self.target_groups.iter().find(|group| group.arn == arn)
    }

    /// How people call a resource: by its logical id where it has one.
    pub fn called<'a>(&'a self, physical: &'a str) -> &'a str {
        self.resources.iter().find(|one| one.physical == physical).map_or(physical, |one| one.logical.as_str())
    }

    /// Zones in which instances are.
    pub fn zones(&self) -> BTreeSet<&str> {
        self.instances.iter().map(|instance| instance.zone.as_str()).collect()
    }
}

fn instance(one: &Json) -> Instance {
    let group = tag(one, "aws:autoscaling:groupName");
    Instance {
        id: text(one, "InstanceId").into(),
        zone: text(&one["Placement"], "AvailabilityZone").into(),
        kind: text(one, "InstanceType").into(),
        spot: text(one, "InstanceLifecycle") == "spot",
        group: (!group.is_empty()).then(|| group.to_owned()),
        public: !text(one, "PublicIpAddress").is_empty(),
        recovers: text(&one["MaintenanceOptions"], "AutoRecovery") != "disabled",
    }
}

async fn subnets(world: &dyn World) -> Result<Vec<Subnet>> {
    let tables = list(world, "ec2", "DescribeRouteTables", json!({}), "RouteTables").await?;
    let nat_of = |table: &Json| {
        let default = items(table, "Routes").iter().find(|route| text(route, "DestinationCidrBlock") == "0.0.0.0/0")?;
        Some(text(default, "NatGatewayId").to_owned()).filter(|id| !id.is_empty())
    };
    let nat = |subnet: &str| {
        let own =
            tables.iter().find(|table| items(table, "Associations").iter().any(|a| text(a, "SubnetId") == subnet));
        own.and_then(nat_of)
    };
    let all = list(world, "ec2", "DescribeSubnets", json!({}), "Subnets").await?;
    let subnet = |one: &Json| Subnet {
        id: text(one, "SubnetId").into(),
        zone: text(one, "AvailabilityZone").into(),
        nat: nat(text(one, "SubnetId")),
        free_addresses: number(one, "AvailableIpAddressCount"),
    };
    Ok(all.iter().map(subnet).collect())
}

async fn groups(world: &dyn World, site: &Site, subnets: &[Subnet]) -> Result<Vec<Group>> {
    let names = site.groups();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let input = json!({"AutoScalingGroupNames": names});
    let all = list(world, "autoscaling", "DescribeAutoScalingGroups", input, "AutoScalingGroups").await?;
    let policies = list(world, "autoscaling", "DescribePolicies", json!({}), "ScalingPolicies").await?;
    let group = |one: &Json| {
        let name = text(one, "AutoScalingGroupName");
        let own: Vec<String> = text(one, "VPCZoneIdentifier").split(',').map(|id| id.trim().to_owned()).collect();
        let zones: BTreeSet<String> =
            subnets.iter().filter(|subnet| own.contains(&subnet.id)).map(|subnet| subnet.zone.clone()).collect();
        let zones = if zones.is_empty() { texts(one, "AvailabilityZones") } else { zones.into_iter().collect() };
        let distribution = &one["MixedInstancesPolicy"]["InstancesDistribution"];
        let on_demand = number(distribution, "OnDemandBaseCapacity") > 0
            || distribution["OnDemandPercentageAboveBaseCapacity"].as_u64().unwrap_or(100) > 0;
        let members = items(one, "Instances");
        Group {
            name: name.into(),
            min: number(one, "MinSize"),
            max: number(one, "MaxSize"),
            desired: number(one, "DesiredCapacity"),
            zones,
            subnets: own,
            health_check: text(one, "HealthCheckType").into(),
            grace_s: number(one, "HealthCheckGracePeriod"),
            cooldown_s: number(one, "DefaultCooldown"),
            target_groups: texts(one, "TargetGroupARNs"),
            suspended: items(one, "SuspendedProcesses").iter().map(|p| text(p, "ProcessName").to_owned()).collect(),
            rebalances_capacity: one["CapacityRebalance"].as_bool().unwrap_or_default(),
            all_spot: distribution.is_object() && !on_demand,
            policies: policies.iter().filter(|policy| text(policy, "AutoScalingGroupName") == name).count(),
            instance_types: members.iter().map(|member| text(member, "InstanceType").to_owned()).collect(),
            max_lifetime_s: number(one, "MaxInstanceLifetime"),
        }
    };
    Ok(all.iter().map(group).collect())
}

/// Attributes as Key and Value.
fn attribute<'a>(attributes: &'a [Json], key: &str) -> &'a str {
    attributes.iter().find(|one| text(one, "Key") == key).map_or("", |one| text(one, "Value"))
}

async fn target_groups(world: &dyn World, site: &Site) -> Result<Vec<TargetGroup>> {
    let mut out = Vec::new();
    for arn in site.target_groups() {
        let all = world.call("elbv2", "DescribeTargetGroups", json!({"TargetGroupArns": [arn]})).await?;
        let Some(one) = items(&all, "TargetGroups").first() else { continue };
        let input = json!({"TargetGroupArn": arn});
        let attributes = world.call("elbv2", "DescribeTargetGroupAttributes", input.clone()).await?;
        let attributes = items(&attributes, "Attributes");
        let health = world.call("elbv2", "DescribeTargetHealth", input).await?;
        let seconds = |key: &str| attribute(attributes, key).parse().unwrap_or_default();
        out.push(TargetGroup {
            arn: arn.into(),
            name: text(one, "TargetGroupName").into(),
            checks: one["HealthCheckEnabled"].as_bool().unwrap_or(true),
            interval_s: number(one, "HealthCheckIntervalSeconds"),
            timeout_s: number(one, "HealthCheckTimeoutSeconds"),
            healthy: number(one, "HealthyThresholdCount"),
            unhealthy: number(one, "UnhealthyThresholdCount"),
            path: text(one, "HealthCheckPath").into(),
            deregistration_s: seconds("deregistration_delay.timeout_seconds"),
            slow_start_s: seconds("slow_start.duration_seconds"),
            sticky: attribute(attributes, "stickiness.enabled") == "true",
            balancers: texts(one, "LoadBalancerArns"),
            members: items(&health, "TargetHealthDescriptions")
                .iter()
                .map(|one| text(&one["Target"], "Id").to_owned())
                .collect(),
        });
    }
    Ok(out)
}

async fn balancers(world: &dyn World, site: &Site) -> Result<Vec<Balancer>> {
    let mut out = Vec::new();
    for arn in site.of_type("AWS::ElasticLoadBalancingV2::LoadBalancer") {
        let all = world.call("elbv2", "DescribeLoadBalancers", json!({"LoadBalancerArns": [arn]})).await?;
        let Some(one) = items(&all, "LoadBalancers").first() else { continue };
        let input = json!({"LoadBalancerArn": arn});
        let attributes = world.call("elbv2", "DescribeLoadBalancerAttributes", input.clone()).await?;
        let attributes = items(&attributes, "Attributes");
        let listeners = list(world, "elbv2", "DescribeListeners", input, "Listeners").await?;
        out.push(Balancer {
            arn: arn.into(),
            name: text(one, "LoadBalancerName").into(),
            kind: text(one, "Type").into(),
            zones: items(one, "AvailabilityZones").iter().map(|zone| text(zone, "ZoneName").to_owned()).collect(),
            deletion_protection: attribute(attributes, "deletion_protection.enabled") == "true",
            cross_zone: attribute(attributes, "load_balancing.cross_zone.enabled") != "false",
            listeners: listeners.len(),
        });
    }
    Ok(out)
}

async fn volumes(world: &dyn World, site: &Site, instances: &[Instance]) -> Result<Vec<Volume>> {
    let all = list(world, "ec2", "DescribeVolumes", json!({}), "Volumes").await?;
    let snapshots = list(world, "ec2", "DescribeSnapshots", json!({"OwnerIds": ["self"]}), "Snapshots").await?;
    let own = |volume: &&Json| {
        let id = text(volume, "VolumeId");
        let attached =
            items(volume, "Attachments").iter().any(|a| instances.iter().any(|i| i.id == text(a, "InstanceId")));
        attached || site.resources.iter().any(|resource| resource.physical == id)
    };
    let volume = |one: &Json| {
        let attachment = items(one, "Attachments").first();
        let goes_with_it = |a: &Json| a["DeleteOnTermination"].as_bool().unwrap_or_default();
        Volume {
            id: text(one, "VolumeId").into(),
            zone: text(one, "AvailabilityZone").into(),
            is_root: attachment.is_some_and(goes_with_it),
            attached_to: attachment.map(|a| text(a, "InstanceId").to_owned()),
            snapshots: snapshots.iter().filter(|s| text(s, "VolumeId") == text(one, "VolumeId")).count(),
        }
    };
    Ok(all.iter().filter(own).map(volume).collect())
}

async fn nat_gateways(world: &dyn World, site: &Site, subnets: &[Subnet]) -> Result<Vec<NatGateway>> {
    let own: BTreeSet<&str> = site.of_type("AWS::EC2::NatGateway").collect();
    let all = list(world, "ec2", "DescribeNatGateways", json!({}), "NatGateways").await?;
    let gateway = |one: &Json| NatGateway {
        id: text(one, "NatGatewayId").into(),
        zone: subnets.iter().find(|s| s.id == text(one, "SubnetId")).map_or(String::new(), |s| s.zone.clone()),
    };
    Ok(all.iter().filter(|one| own.contains(text(one, "NatGatewayId"))).map(gateway).collect())
}

async fn addresses(world: &dyn World, site: &Site) -> Result<Vec<Address>> {
    let all = world.call("ec2", "DescribeAddresses", json!({})).await?;
    let own = |one: &&Json| site.of_type("AWS::EC2::EIP").any(|ip| ip == text(one, "PublicIp"));
    let address = |one: &Json| Address {
        ip: text(one, "PublicIp").into(),
        allocation: text(one, "AllocationId").into(),
        instance: Some(text(one, "InstanceId").to_owned()).filter(|id| !id.is_empty()),
    };
    Ok(items(&all, "Addresses").iter().filter(own).map(address).collect())
}

async fn alarms(world: &dyn World, site: &Site) -> Result<Vec<Alarm>> {
    let names = site.alarms();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let all = list(world, "cloudwatch", "DescribeAlarms", json!({"AlarmNames": names}), "MetricAlarms").await?;
    let alarm = |one: &Json| Alarm {
        name: text(one, "AlarmName").into(),
        namespace: text(one, "Namespace").into(),
        metric: text(one, "MetricName").into(),
        about: items(one, "Dimensions").iter().map(|dimension| text(dimension, "Value").to_owned()).collect(),
        period_s: number(one, "Period"),
        datapoints: match number(one, "DatapointsToAlarm") {
            0 => number(one, "EvaluationPeriods"),
            datapoints => datapoints,
        },
        actions: items(one, "AlarmActions").len(),
        silent_when_missing: matches!(text(one, "TreatMissingData"), "" | "missing" | "ignore" | "notBreaching")
            && items(one, "InsufficientDataActions").is_empty(),
    };
    Ok(all.iter().map(alarm).collect())
}
