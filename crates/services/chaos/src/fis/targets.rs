//! What actions act on: the types of resources, and which resources a target means.
//!
//! A resource is asked for by the operation that describes it, as any client would; filters walk through that answer by
//! the names that it has. Invariant: what a target means is decided once, when its experiment begins, and kept as ARNs.

use std::collections::BTreeMap;

use standfast_api::{autoscaling, ec2, elbv2, iam};
use standfast_core::place::Zone;
use standfast_core::{Arn, Result, Rng};
use standfast_kernel::Cx;
use standfast_wire::convert::{Encode, encode};
use standfast_wire::schema::{StructSchema, Type};
use standfast_wire::value::Value;

use super::model::{Selection, Target};

/// Which resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Instances,
    SpotInstances,
    Subnets,
    Groups,
    Volumes,
    Roles,
    TargetGroups,
}

/// What an action acts on.
#[derive(Debug, PartialEq, Eq)]
pub struct TargetType {
    pub kind: Kind,
    /// Under which name actions refer to it.
    pub name: &'static str,
    pub resource_type: &'static str,
    pub description: &'static str,
    /// Names and descriptions.
    pub parameters: &'static [(&'static str, &'static str)],
}

const ZONE: &str = "availabilityZoneIdentifier";
const VPC: &str = "vpc";
const IN_ZONE: (&str, &str) = (ZONE, "The name or id of the zone that they are in.");

pub static INSTANCES: TargetType = TargetType {
    kind: Kind::Instances,
    name: "Instances",
    resource_type: "aws:ec2:instance",
    description: "An EC2 instance.",
    parameters: &[],
};
pub static SPOT_INSTANCES: TargetType = TargetType {
    kind: Kind::SpotInstances,
    name: "SpotInstances",
    resource_type: "aws:ec2:spot-instance",
    description: "An EC2 Spot Instance.",
    parameters: &[],
};
pub static SUBNETS: TargetType = TargetType {
    kind: Kind::Subnets,
    name: "Subnets",
    resource_type: "aws:ec2:subnet",
    description: "A subnet of a VPC.",
    parameters: &[IN_ZONE, (VPC, "The VPC that they are in.")],
};
pub static GROUPS: TargetType = TargetType {
    kind: Kind::Groups,
    name: "AutoScalingGroups",
    resource_type: "aws:ec2:autoscaling-group",
    description: "An Auto Scaling group.",
    parameters: &[],
};
pub static VOLUMES: TargetType = TargetType {
    kind: Kind::Volumes,
    name: "Volumes",
    resource_type: "aws:ec2:ebs-volume",
    description: "An EBS volume.",
    parameters: &[IN_ZONE],
};
pub static ROLES: TargetType = TargetType {
    kind: Kind::Roles,
    name: "Roles",
    resource_type: "aws:iam:role",
    description: "An IAM role.",
    parameters: &[],
};
pub static TARGET_GROUPS: TargetType = TargetType {
    kind: Kind::TargetGroups,
    name: "TargetGroups",
    resource_type: "aws:elasticloadbalancing:targetgroup",
    description: "A target group of a load balancer.",
    parameters: &[],
};

/// All types, in the order of their resource types.
pub static TYPES: &[&TargetType] = &[&GROUPS, &VOLUMES, &INSTANCES, &SPOT_INSTANCES, &SUBNETS, &TARGET_GROUPS, &ROLES];

/// The type of this name.
pub fn target_type(resource_type: &str) -> Option<&'static TargetType> {
    TYPES.iter().copied().find(|target| target.resource_type == resource_type)
}

/// Whether filters of this path can match anything.
pub fn has_path(kind: Kind, path: &str) -> bool {
    let schema: &'static StructSchema = match kind {
        Kind::Instances | Kind::SpotInstances => ec2::Instance::SCHEMA,
        Kind::Subnets => ec2::Subnet::SCHEMA,
        Kind::Groups => autoscaling::AutoScalingGroup::SCHEMA,
        Kind::Volumes => ec2::Volume::SCHEMA,
        Kind::Roles => iam::Role::SCHEMA,
        Kind::TargetGroups => elbv2::TargetGroup::SCHEMA,
    };
    let mut at = schema;
    let mut words = path.split('.').peekable();
    while let Some(word) = words.next() {
        let Some(member) = at.members.iter().find(|member| member.name == word) else { return false };
        match inner(&member.ty) {
            Some(next) if words.peek().is_some() => at = next,
            None if words.peek().is_none() => return true,
            _ => return false,
        }
    }
    false
}

/// The structure of a type, or of a list's items.
fn inner(ty: &Type) -> Option<&'static StructSchema> {
    match ty {
        Type::Struct(schema) => Some(schema),
        Type::List(list) => inner(&list.item),
        _ => None,
    }
}

/// A resource that may be meant.
struct Candidate {
    arn: String,
    tags: BTreeMap<String, String>,
    shown: Value,
}

/// The ARNs that a target means, in a stable order.
pub async fn resolve(cx: &Cx, target: &Target) -> Result<Vec<String>> {
    let Some(kind) = target_type(&target.resource_type).map(|known| known.kind) else { return Ok(Vec::new()) };
    let zone = target.parameters.get(ZONE).map(|text| zone_named(cx, text).unwrap_or_else(|| text.clone()));
    let parameters: Vec<(&str, &String)> = (zone.iter().map(|zone| ("AvailabilityZone", zone)))
        .chain(target.parameters.get(VPC).map(|vpc| ("VpcId", vpc)))
        .collect();
    let mut found: Vec<String> = candidates(cx, kind)
        .await?
        .into_iter()
        .filter(|one| target.resource_arns.is_empty() || target.resource_arns.contains(&one.arn))
        .filter(|one| target.resource_tags.iter().all(|(key, value)| one.tags.get(key) == Some(value)))
        .filter(|one| target.filters.iter().all(|(path, values)| passes(&one.shown, path, values)))
        .filter(|one| parameters.iter().all(|(path, value)| passes(&one.shown, path, std::slice::from_ref(*value))))
        .map(|one| one.arn)
        .collect();
    found.sort();
    found.dedup();
    Ok(select(found, target.selection, cx.rng()))
}

fn select(mut all: Vec<String>, selection: Selection, rng: &Rng) -> Vec<String> {
    let count = match selection {
        Selection::All => return all,
        Selection::Count(count) => count,
        Selection::Percent(percent) => (all.len() * percent / 100).max(1),
    };
    let mut chosen = Vec::new();
    while chosen.len() < count && !all.is_empty() {
        chosen.push(all.swap_remove(rng.below(all.len())));
    }
    chosen.sort();
    chosen
}

fn passes(shown: &Value, path: &str, wanted: &[String]) -> bool {
    let mut found = Vec::new();
    walk(shown, path, &mut found);
    wanted.iter().any(|one| found.contains(one))
}

/// Collects what is at the end of a path of member names; every item of a list is looked into.
fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::List(items) => items.iter().for_each(|item| walk(item, path, found)),
        Value::Struct(inner) => {
            let (word, rest) = path.split_once('.').unwrap_or((path, ""));
            if let Some(member) = inner.get(word) {
                walk(member, rest, found);
            }
        }
        Value::String(text) if path.is_empty() => found.push(text.clone()),
        Value::Bool(is) if path.is_empty() => found.push(is.to_string()),
        Value::Int(number) if path.is_empty() => found.push(number.to_string()),
        _ => (),
    }
}

/// The name of a zone of this region, by its name or id.
pub fn zone_named(cx: &Cx, text: &str) -> Option<String> {
    let region = standfast_core::place::Region::named(cx.region())?;
    let mut zones: Box<dyn Iterator<Item = Zone>> = Box::new(region.zones());
    zones.find(|zone| zone.name == text || zone.id == text).map(|zone| zone.name)
}

fn tags_of<T>(tags: Option<Vec<T>>, pair: impl Fn(T) -> (Option<String>, Option<String>)) -> BTreeMap<String, String> {
    let pairs = tags.unwrap_or_default().into_iter().map(pair);
    pairs.filter_map(|(key, value)| Some((key?, value.unwrap_or_default()))).collect()
}

fn ec2_tags(tags: Option<Vec<ec2::Tag>>) -> BTreeMap<String, String> {
    tags_of(tags, |tag| (tag.key, tag.value))
}

fn ec2_arn(cx: &Cx, kind: &str, id: Option<&String>) -> String {
    Arn::new("ec2", cx.scope(), format!("{kind}/{}", id.map_or("", String::as_str))).to_string()
}

fn shown(value: impl Encode) -> Value {
    Value::Struct(encode(value))
}

async fn candidates(cx: &Cx, kind: Kind) -> Result<Vec<Candidate>> {
    match kind {
        Kind::Instances | Kind::SpotInstances => instances(cx, kind == Kind::SpotInstances).await,
        Kind::Subnets => {
            let all = cx.call(ec2::DescribeSubnets, Default::default()).await?.subnets.unwrap_or_default();
            let each = |one: ec2::Subnet| Candidate {
                arn: ec2_arn(cx, "subnet", one.subnet_id.as_ref()),
                tags: ec2_tags(one.tags.clone()),
                shown: shown(one),
            };
            Ok(all.into_iter().map(each).collect())
        }
        Kind::Volumes => {
            let all = cx.call(ec2::DescribeVolumes, Default::default()).await?.volumes.unwrap_or_default();
            let each = |one: ec2::Volume| Candidate {
                arn: ec2_arn(cx, "volume", one.volume_id.as_ref()),
                tags: ec2_tags(one.tags.clone()),
                shown: shown(one),
            };
            Ok(all.into_iter().map(each).collect())
        }
        Kind::Groups => groups(cx).await,
        Kind::Roles => roles(cx).await,
        Kind::TargetGroups => target_groups(cx).await,
    }
}

/// Those that exist still.
async fn instances(cx: &Cx, spot: bool) -> Result<Vec<Candidate>> {
    let answer = cx.call(ec2::DescribeInstances, Default::default()).await?;
    let all = answer.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
    let wanted = all.filter(|one| {
        let state = one.state.as_ref().and_then(|state| state.name.as_deref());
        let is_spot = one.instance_lifecycle.as_deref() == Some("spot");
        !matches!(state, Some("terminated" | "shutting-down")) && (!spot || is_spot)
    });
    let each = |one: ec2::Instance| Candidate {
        arn: ec2_arn(cx, "instance", one.instance_id.as_ref()),
        tags: ec2_tags(one.tags.clone()),
        shown: shown(one),
    };
    Ok(wanted.map(each).collect())
}

async fn groups(cx: &Cx) -> Result<Vec<Candidate>> {
    let (mut found, mut next_token) = (Vec::new(), None);
    loop {
        let input = autoscaling::DescribeAutoScalingGroupsInput { next_token, ..Default::default() };
        let answer = cx.call(autoscaling::DescribeAutoScalingGroups, input).await?;
        found.extend(answer.auto_scaling_groups.into_iter().map(|one| Candidate {
            arn: one.auto_scaling_group_arn.clone().unwrap_or_default(),
            tags: tags_of(one.tags.clone(), |tag| (tag.key, tag.value)),
            shown: shown(one),
        }));
        next_token = answer.next_token;
        if next_token.is_none() {
            return Ok(found);
        }
    }
}

async fn roles(cx: &Cx) -> Result<Vec<Candidate>> {
    let (mut found, mut marker) = (Vec::new(), None);
    loop {
        let answer = cx.call(iam::ListRoles, iam::ListRolesInput { marker, ..Default::default() }).await?;
        for mut role in answer.roles {
            let input = iam::ListRoleTagsInput { role_name: role.role_name.clone(), ..Default::default() };
            let tags = cx.call(iam::ListRoleTags, input).await?.tags;
            role.tags = Some(tags.clone());
            let tags = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
            found.push(Candidate { arn: role.arn.clone(), tags, shown: shown(role) });
        }
        marker = answer.marker;
        if marker.is_none() {
            return Ok(found);
        }
    }
}

/// So many ARNs DescribeTags takes at once.
const TAGS_AT_ONCE: usize = 20;

async fn target_groups(cx: &Cx) -> Result<Vec<Candidate>> {
    let (mut all, mut marker) = (Vec::new(), None);
    loop {
        let input = elbv2::DescribeTargetGroupsInput { marker, ..Default::default() };
        let answer = cx.call(elbv2::DescribeTargetGroups, input).await?;
        all.extend(answer.target_groups.unwrap_or_default());
        marker = answer.next_marker;
        if marker.is_none() {
            break;
        }
    }
    let arns: Vec<String> = all.iter().filter_map(|one| one.target_group_arn.clone()).collect();
    let mut tags = BTreeMap::new();
    for some in arns.chunks(TAGS_AT_ONCE) {
        let answer = cx.call(elbv2::DescribeTags, elbv2::DescribeTagsInput { resource_arns: some.to_vec() }).await?;
        for one in answer.tag_descriptions.unwrap_or_default() {
            let of_one = one.tags.unwrap_or_default().into_iter();
            let of_one: BTreeMap<_, _> = of_one.map(|tag| (tag.key, tag.value.unwrap_or_default())).collect();
            tags.insert(one.resource_arn.unwrap_or_default(), of_one);
        }
    }
    let each = |one: elbv2::TargetGroup| {
        let arn = one.target_group_arn.clone().unwrap_or_default();
        Candidate { tags: tags.get(&arn).cloned().unwrap_or_default(), shown: shown(one), arn }
    };
    Ok(all.into_iter().map(each).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_walk_through_what_is_described() {
        let place = ec2::Placement { availability_zone: Some("eu-west-1a".into()), ..Default::default() };
        let groups = ["sg-1", "sg-2"].map(|id| ec2::GroupIdentifier { group_id: Some(id.into()), group_name: None });
        let instance = ec2::Instance {
            placement: Some(place),
            security_groups: Some(groups.into()),
            vpc_id: Some("vpc-1".into()),
            ..Default::default()
        };
        let shown = shown(instance);
        for (path, value, wanted) in [
            ("Placement.AvailabilityZone", "eu-west-1a", true),
            ("Placement.AvailabilityZone", "eu-west-1b", false),
            ("SecurityGroups.GroupId", "sg-2", true),
            ("VpcId", "vpc-1", true),
            ("Placement", "eu-west-1a", false),
        ] {
            assert_eq!(passes(&shown, path, &[value.to_owned()]), wanted, "{path} {value}");
        }
        for (path, known) in [
            ("State.Name", true),
            ("SecurityGroups.GroupId", true),
            ("VpcId", true),
            ("VpcId.x", false),
            ("Placement", false),
            ("", false),
            ("Nothing", false),
        ] {
            assert_eq!(has_path(Kind::Instances, path), known, "{path}");
        }
    }

    #[test]
    fn selections_take_as_many_as_they_say() {
        let all: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        for (selection, wanted) in [
            (Selection::All, 7),
            (Selection::Count(3), 3),
            (Selection::Count(9), 7),
            (Selection::Percent(50), 3),
            (Selection::Percent(1), 1),
        ] {
            assert_eq!(select(all.clone(), selection, &Rng::seeded(1)).len(), wanted, "{selection:?}");
        }
        assert!(select(Vec::new(), Selection::Percent(100), &Rng::seeded(1)).is_empty());
    }
}
