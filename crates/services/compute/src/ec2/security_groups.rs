//! Security groups. In this version they are records: the linux driver is what will enforce them.
//!
//! Invariant: a group's name is unique within its VPC; a group that an interface or another group's rule refers to
//! cannot be deleted.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Arn, Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{NetworkInterface, Peer, Rule, SecurityGroup, Vpc};
use super::security_rules;
use super::{defaults, tags};

const NAME_LENGTH_MAX: usize = 255;

pub async fn create(cx: Cx, input: api::CreateSecurityGroupInput) -> Result<api::CreateSecurityGroupOutput> {
    defaults::ready(&cx).await?;
    check_text("groupName", &input.group_name)?;
    check_text("groupDescription", &input.description)?;
    if input.group_name.starts_with("sg-") {
        let message = "Group names may not be in the format sg-*";
        return Err(errors::invalid(format!("Invalid value '{}' for groupName. {message}", input.group_name)));
    }
    if input.group_name == "default" {
        return Err(errors::invalid("Cannot use reserved security group name: default"));
    }
    let asked = input.vpc_id.as_deref().filter(|text| !text.is_empty()).map(errors::id::<id::Vpc>).transpose()?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "security-group", &[])?;
    let (scope, id) = (cx.scope(), Id::<id::SecurityGroup>::new(cx.rng()));
    let rule = Id::new(cx.rng());
    cx.txn(|tx| {
        let vpc = match &asked {
            Some(vpc) => find::<Vpc>(tx, scope, vpc).map(|_| vpc.clone())?,
            None => default_vpc(tx, scope)?,
        };
        let key = SecurityGroup::name_key(&vpc, &input.group_name);
        if tx.by_unique::<SecurityGroup>(scope, "name", &key).is_some() {
            let message = format!("The security group '{}' already exists for VPC '{vpc}'", input.group_name);
            return Err(Error::client("InvalidGroup.Duplicate", message));
        }
        errors::dry_run(input.dry_run)?;
        let (name, description) = (input.group_name.clone(), input.description.clone());
        let rules = vec![Rule::allow_all_out(rule.clone())];
        tx.put(scope, &id, SecurityGroup { vpc, name, description, rules });
        tags::put(tx, scope, &id, &given);
        Ok(())
    })
    .await?;
    Ok(api::CreateSecurityGroupOutput {
        security_group_arn: Some(arn(scope, &id)),
        group_id: Some(id.into()),
        tags: Some(tags::shape(&given)),
    })
}

fn check_text(parameter: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(errors::missing(parameter));
    }
    if text.chars().count() > NAME_LENGTH_MAX {
        return Err(errors::invalid(format!("{parameter} may have at most {NAME_LENGTH_MAX} characters.")));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    if !text.chars().all(allowed) {
        return Err(errors::invalid(format!(
            "Invalid value '{text}' for {parameter}. Valid characters are a-z, A-Z, 0-9, spaces, and ._-:/()#,@[]+=&;{{}}!$*"
        )));
    }
    Ok(())
}

/// The default VPC, for requests that name none.
pub fn default_vpc(view: &View, scope: &Scope) -> Result<Id<id::Vpc>> {
    let found = view.by_index::<Vpc>(scope, "default", "true");
    let (id, _) = found.first().ok_or_else(|| Error::client("VPCIdNotSpecified", "No default VPC for this user"))?;
    Ok(Id::from_text(id))
}

/// The group that a request names by id, or by name in the default VPC.
pub fn named(view: &View, scope: &Scope, id: Option<&str>, name: Option<&str>) -> Result<Id<id::SecurityGroup>> {
    match (id.filter(|id| !id.is_empty()), name.filter(|name| !name.is_empty())) {
        (Some(text), _) => {
            let id = errors::id::<id::SecurityGroup>(text)?;
            find::<SecurityGroup>(view, scope, &id)?;
            Ok(id)
        }
        (None, Some(name)) => by_name(view, scope, &default_vpc(view, scope)?, name),
        (None, None) => Err(errors::missing("groupId")),
    }
}

/// The group of this name in a VPC.
pub fn by_name(view: &View, scope: &Scope, vpc: &Id<id::Vpc>, name: &str) -> Result<Id<id::SecurityGroup>> {
    let found = view.by_unique::<SecurityGroup>(scope, "name", &SecurityGroup::name_key(vpc, name));
    let (id, _) = found.ok_or_else(|| {
        let message = format!("The security group '{name}' does not exist in VPC '{vpc}'");
        Error::client("InvalidGroup.NotFound", message)
    })?;
    Ok(Id::from_text(&id))
}

/// Whether all these groups exist in the VPC.
pub fn same_vpc(view: &View, scope: &Scope, vpc: &Id<id::Vpc>, groups: &[Id<id::SecurityGroup>]) -> Result<()> {
    for id in groups {
        if find::<SecurityGroup>(view, scope, id)?.vpc != *vpc {
            let message = format!("Security group {id} and the subnet belong to different networks.");
            return Err(Error::client("InvalidParameter", message));
        }
    }
    Ok(())
}

pub async fn delete(cx: Cx, input: api::DeleteSecurityGroupInput) -> Result<api::DeleteSecurityGroupOutput> {
    let scope = cx.scope();
    let id = cx
        .txn(|tx| {
            let id = named(tx, scope, input.group_id.as_deref(), input.group_name.as_deref())?;
            let group = find::<SecurityGroup>(tx, scope, &id)?;
            if group.name == "default" {
                let message = format!("the specified group: \"{id}\" name: \"default\" cannot be deleted by a user");
                return Err(Error::client("CannotDelete", message));
            }
            let peers = tx.by_index::<SecurityGroup>(scope, "peer", &id);
            let referred = peers.iter().any(|(peer, _)| **peer != *id.as_str());
            if referred || !tx.by_index::<NetworkInterface>(scope, "group", &id).is_empty() {
                return Err(errors::dependency(format!("resource {id} has a dependent object")));
            }
            errors::dry_run(input.dry_run)?;
            group.rules.iter().for_each(|rule| tags::forget(tx, scope, &rule.id));
            tx.delete::<SecurityGroup>(scope, &id);
            tags::forget(tx, scope, &id);
            Ok(id)
        })
        .await?;
    Ok(api::DeleteSecurityGroupOutput { r#return: Some(true), group_id: Some(id.into()) })
}

pub async fn describe(cx: Cx, input: api::DescribeSecurityGroupsInput) -> Result<api::DescribeSecurityGroupsOutput> {
    defaults::ready(&cx).await?;
    cx.view(|view| {
        let scope = cx.scope();
        let mut ids = input.group_ids.clone().unwrap_or_default();
        for name in input.group_names.iter().flatten() {
            ids.push(by_name(view, scope, &default_vpc(view, scope)?, name)?.into());
        }
        let rows = errors::select::<SecurityGroup>(view, scope, Some(&ids))?;
        let rows = rows.iter().map(|(id, group)| shape(view, scope, id, group));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (groups, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeSecurityGroupsOutput { security_groups: Some(groups), next_token })
    })
}

pub async fn describe_for_vpc(
    cx: Cx,
    input: api::GetSecurityGroupsForVpcInput,
) -> Result<api::GetSecurityGroupsForVpcOutput> {
    let vpc = errors::id::<id::Vpc>(&input.vpc_id)?;
    cx.view(|view| {
        let scope = cx.scope();
        find::<Vpc>(view, scope, &vpc)?;
        let rows = view.by_index::<SecurityGroup>(scope, "vpc", &vpc);
        let rows = rows.iter().map(|(id, group)| shape(view, scope, id, group));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (groups, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        let groups = groups.into_iter().map(|group| api::SecurityGroupForVpc {
            description: group.description,
            group_name: group.group_name,
            owner_id: group.owner_id,
            group_id: group.group_id,
            tags: group.tags,
            primary_vpc_id: group.vpc_id,
        });
        Ok(api::GetSecurityGroupsForVpcOutput { next_token, security_group_for_vpcs: Some(groups.collect()) })
    })
}

fn arn(scope: &Scope, id: &str) -> String {
    Arn::new("ec2", scope, format!("security-group/{id}")).to_string()
}

fn shape(view: &View, scope: &Scope, id: &str, group: &SecurityGroup) -> api::SecurityGroup {
    api::SecurityGroup {
        group_id: Some(id.to_owned()),
        ip_permissions_egress: Some(permissions(scope, group, true)),
        ip_permissions: Some(permissions(scope, group, false)),
        tags: tags::of(view, scope, id),
        vpc_id: Some((&group.vpc).into()),
        security_group_arn: Some(arn(scope, id)),
        owner_id: Some(scope.account.to_string()),
        group_name: Some(group.name.clone()),
        description: Some(group.description.clone()),
    }
}

/// The rules of one direction, those with the same traffic together.
fn permissions(scope: &Scope, group: &SecurityGroup, egress: bool) -> Vec<api::IpPermission> {
    let mut out: Vec<(&super::model::Traffic, api::IpPermission)> = Vec::new();
    for rule in group.rules.iter().filter(|rule| rule.egress == egress) {
        let at = out.iter().position(|(traffic, _)| **traffic == rule.traffic).unwrap_or_else(|| {
            out.push((&rule.traffic, security_rules::permission(&rule.traffic)));
            out.len() - 1
        });
        add_peer(&mut out[at].1, scope, rule);
    }
    out.into_iter().map(|(_, permission)| permission).collect()
}

fn add_peer(permission: &mut api::IpPermission, scope: &Scope, rule: &Rule) {
    let description = rule.description.clone();
    match &rule.peer {
        Peer::V4(block) => permission
            .ip_ranges
            .get_or_insert_default()
            .push(api::IpRange { description, cidr_ip: Some(block.to_string()) }),
        Peer::V6(block) => permission
            .ipv6_ranges
            .get_or_insert_default()
            .push(api::Ipv6Range { description, cidr_ipv6: Some(block.clone()) }),
        Peer::PrefixList(list) => permission
            .prefix_list_ids
            .get_or_insert_default()
            .push(api::PrefixListId { description, prefix_list_id: Some(list.clone()) }),
        Peer::Group(group) => permission.user_id_group_pairs.get_or_insert_default().push(api::UserIdGroupPair {
            description,
            user_id: Some(scope.account.to_string()),
            group_id: Some(group.into()),
            ..Default::default()
        }),
    }
}

macro_rules! permission_fields {
    ($($prefix:literal $side:ident),*) => {
        &[
            ("description", |group| filters::one(&group.description)),
            ("group-id", |group| filters::one(&group.group_id)),
            ("group-name", |group| filters::one(&group.group_name)),
            ("owner-id", |group| filters::one(&group.owner_id)),
            ("vpc-id", |group| filters::one(&group.vpc_id)),
            $(
                (concat!($prefix, "ip-permission.cidr"), |group| {
                    (group.$side.iter().flatten()).flat_map(|p| filters::each(&p.ip_ranges, |r| &r.cidr_ip)).collect()
                }),
                (concat!($prefix, "ip-permission.ipv6-cidr"), |group| {
                    (group.$side.iter().flatten())
                        .flat_map(|p| filters::each(&p.ipv6_ranges, |r| &r.cidr_ipv6))
                        .collect()
                }),
                (concat!($prefix, "ip-permission.prefix-list-id"), |group| {
                    (group.$side.iter().flatten())
                        .flat_map(|p| filters::each(&p.prefix_list_ids, |l| &l.prefix_list_id))
                        .collect()
                }),
                (concat!($prefix, "ip-permission.group-id"), |group| {
                    (group.$side.iter().flatten())
                        .flat_map(|p| filters::each(&p.user_id_group_pairs, |g| &g.group_id))
                        .collect()
                }),
                (concat!($prefix, "ip-permission.user-id"), |group| {
                    (group.$side.iter().flatten())
                        .flat_map(|p| filters::each(&p.user_id_group_pairs, |g| &g.user_id))
                        .collect()
                }),
                (concat!($prefix, "ip-permission.from-port"), |group| {
                    group.$side.iter().flatten().flat_map(|p| filters::text(p.from_port)).collect()
                }),
                (concat!($prefix, "ip-permission.to-port"), |group| {
                    group.$side.iter().flatten().flat_map(|p| filters::text(p.to_port)).collect()
                }),
                (concat!($prefix, "ip-permission.protocol"), |group| {
                    group.$side.iter().flatten().flat_map(|p| filters::one(&p.ip_protocol)).collect()
                }),
            )*
        ]
    };
}

impl Described for api::SecurityGroup {
    const FIELDS: &'static [Field<Self>] = permission_fields!("" ip_permissions, "egress." ip_permissions_egress);
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.group_id.clone().unwrap_or_default()
    }
}
