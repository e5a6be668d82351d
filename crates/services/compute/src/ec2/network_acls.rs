//! Network ACLs. In this version they are records, like security groups.
//!
//! Invariant: each subnet is associated with exactly one ACL of its VPC; the closing deny-all entries are always there
//! and are not kept.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{AclEntry, NetworkAcl, Vpc};
use super::vpcs::cidr;
use super::{defaults, tags};

/// The highest number that an entry may have; the closing entries have the one after it.
const NUMBER_MAX: i32 = 32_766;
const CLOSING_NUMBER: i32 = 32_767;
/// How many entries of a direction an ACL may have.
const ENTRIES_MAX: usize = 40;

pub async fn create(cx: Cx, input: api::CreateNetworkAclInput) -> Result<api::CreateNetworkAclOutput> {
    defaults::ready(&cx).await?;
    let vpc = errors::id::<id::Vpc>(&input.vpc_id)?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "network-acl", &[])?;
    let (scope, id) = (cx.scope(), Id::<id::NetworkAcl>::new(cx.rng()));
    let acl = cx
        .txn(|tx| {
            find::<Vpc>(tx, scope, &vpc)?;
            errors::dry_run(input.dry_run)?;
            let acl = NetworkAcl { vpc: vpc.clone(), is_default: false, entries: Vec::new(), associations: Vec::new() };
            tx.put(scope, &id, acl.clone());
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &acl))
        })
        .await?;
    Ok(api::CreateNetworkAclOutput { network_acl: Some(acl), ..Default::default() })
}

pub async fn delete(cx: Cx, input: api::DeleteNetworkAclInput) -> Result<api::DeleteNetworkAclOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::NetworkAcl>(&input.network_acl_id)?);
    cx.txn(|tx| {
        let acl = find::<NetworkAcl>(tx, scope, &id)?;
        if acl.is_default {
            return Err(errors::invalid(format!("cannot delete default network ACL {id}")));
        }
        if !acl.associations.is_empty() {
            let message = format!("The networkAcl '{id}' has dependencies and cannot be deleted.");
            return Err(errors::dependency(message));
        }
        errors::dry_run(input.dry_run)?;
        tx.delete::<NetworkAcl>(scope, &id);
        tags::forget(tx, scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteNetworkAclOutput {})
}

/// An entry as a request gives it, and whether it stands in the place of another.
struct Asked<'a> {
    acl: &'a str,
    egress: bool,
    number: i32,
    protocol: &'a str,
    action: &'a str,
    cidr: Option<&'a str>,
    cidr_v6: Option<&'a str>,
    ports: Option<&'a api::PortRange>,
    icmp: Option<&'a api::IcmpTypeCode>,
    replaces: bool,
}

impl Asked<'_> {
    fn entry(&self) -> Result<AclEntry> {
        if !(1..=NUMBER_MAX).contains(&self.number) {
            return Err(errors::invalid_value("ruleNumber", &self.number.to_string()));
        }
        let protocol = match self.protocol {
            "all" | "-1" => "-1".to_owned(),
            "icmp" => "1".to_owned(),
            "tcp" => "6".to_owned(),
            "udp" => "17".to_owned(),
            number if number.parse::<u8>().is_ok() => number.to_owned(),
            other => return Err(errors::invalid(format!("Invalid value '{other}' for protocol."))),
        };
        if self.cidr.is_none() == self.cidr_v6.is_none() {
            return Err(errors::missing("cidrBlock"));
        }
        let pair = |from: Option<i32>, to: Option<i32>| Some((from?, to?));
        let ports = self.ports.and_then(|ports| pair(ports.from, ports.to));
        if matches!(protocol.as_str(), "6" | "17") && ports.is_none() {
            return Err(errors::missing("portRange"));
        }
        Ok(AclEntry {
            egress: self.egress,
            number: self.number,
            ports: matches!(protocol.as_str(), "6" | "17").then_some(ports).flatten(),
            icmp: (protocol == "1").then(|| self.icmp.and_then(|icmp| pair(icmp.r#type, icmp.code))).flatten(),
            protocol,
            action: self.action.to_owned(),
            cidr: self.cidr.map(|text| cidr(text, "cidrBlock")).transpose()?,
            cidr_v6: self.cidr_v6.map(str::to_owned),
        })
    }
}

async fn put_entry(cx: &Cx, asked: Asked<'_>, dry_run: Option<bool>) -> Result<()> {
    let (scope, id, entry) = (cx.scope(), errors::id::<id::NetworkAcl>(asked.acl)?, asked.entry()?);
    cx.txn(|tx| {
        let mut acl = (*find::<NetworkAcl>(tx, scope, &id)?).clone();
        let place = (entry.egress, entry.number);
        let at = acl.entries.iter().position(|old| (old.egress, old.number) == place);
        match (at, asked.replaces) {
            (Some(_), false) => {
                let message = format!("The network acl entry identified by {} already exists.", entry.number);
                return Err(Error::client("NetworkAclEntryAlreadyExists", message));
            }
            (None, true) => return Err(unknown_entry(entry.egress, entry.number, &id)),
            (Some(at), true) => acl.entries[at] = entry.clone(),
            (None, false) => acl.entries.push(entry.clone()),
        }
        if acl.entries.iter().filter(|other| other.egress == entry.egress).count() > ENTRIES_MAX {
            let message = format!("A network ACL has at most {ENTRIES_MAX} entries of a direction.");
            return Err(Error::client("NetworkAclEntryLimitExceeded", message));
        }
        errors::dry_run(dry_run)?;
        acl.entries.sort_by_key(|entry| (entry.egress, entry.number));
        tx.put(scope, &id, acl);
        Ok(())
    })
    .await
}

fn unknown_entry(egress: bool, number: i32, id: &Id<id::NetworkAcl>) -> Error {
    let direction = if egress { "egress" } else { "ingress" };
    let message = format!("The {direction} entry {number} does not exist in the network acl {id}");
    Error::client("InvalidNetworkAclEntry.NotFound", message)
}

pub async fn create_entry(cx: Cx, input: api::CreateNetworkAclEntryInput) -> Result<api::CreateNetworkAclEntryOutput> {
    let asked = Asked {
        acl: &input.network_acl_id,
        egress: input.egress,
        number: input.rule_number,
        protocol: &input.protocol,
        action: &input.rule_action,
        cidr: input.cidr_block.as_deref(),
        cidr_v6: input.ipv6_cidr_block.as_deref(),
        ports: input.port_range.as_ref(),
        icmp: input.icmp_type_code.as_ref(),
        replaces: false,
    };
    put_entry(&cx, asked, input.dry_run).await?;
    Ok(api::CreateNetworkAclEntryOutput {})
}

pub async fn replace_entry(
    cx: Cx,
    input: api::ReplaceNetworkAclEntryInput,
) -> Result<api::ReplaceNetworkAclEntryOutput> {
    let asked = Asked {
        acl: &input.network_acl_id,
        egress: input.egress,
        number: input.rule_number,
        protocol: &input.protocol,
        action: &input.rule_action,
        cidr: input.cidr_block.as_deref(),
        cidr_v6: input.ipv6_cidr_block.as_deref(),
        ports: input.port_range.as_ref(),
        icmp: input.icmp_type_code.as_ref(),
        replaces: true,
    };
    put_entry(&cx, asked, input.dry_run).await?;
    Ok(api::ReplaceNetworkAclEntryOutput {})
}

pub async fn delete_entry(cx: Cx, input: api::DeleteNetworkAclEntryInput) -> Result<api::DeleteNetworkAclEntryOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::NetworkAcl>(&input.network_acl_id)?);
    let place = (input.egress, input.rule_number);
    cx.txn(|tx| {
        let mut acl = (*find::<NetworkAcl>(tx, scope, &id)?).clone();
        let at = acl.entries.iter().position(|entry| (entry.egress, entry.number) == place);
        let at = at.ok_or_else(|| unknown_entry(input.egress, input.rule_number, &id))?;
        errors::dry_run(input.dry_run)?;
        acl.entries.remove(at);
        tx.put(scope, &id, acl);
        Ok(())
    })
    .await?;
    Ok(api::DeleteNetworkAclEntryOutput {})
}

pub async fn replace_association(
    cx: Cx,
    input: api::ReplaceNetworkAclAssociationInput,
) -> Result<api::ReplaceNetworkAclAssociationOutput> {
    let old = errors::id::<id::NetworkAclAssociation>(&input.association_id)?;
    let to = errors::id::<id::NetworkAcl>(&input.network_acl_id)?;
    let (scope, new) = (cx.scope(), Id::<id::NetworkAclAssociation>::new(cx.rng()));
    cx.txn(|tx| {
        let found = tx.by_index::<NetworkAcl>(scope, "association", &old);
        let (from_id, from) = found.first().ok_or_else(|| errors::not_found::<id::NetworkAclAssociation>(&old))?;
        if find::<NetworkAcl>(tx, scope, &to)?.vpc != from.vpc {
            return Err(errors::invalid(format!("Network ACLs {from_id} and {to} belong to different networks")));
        }
        errors::dry_run(input.dry_run)?;
        let mut from = (**from).clone();
        let at = from.associations.iter().position(|(id, _)| *id == old).expect("indexed by it");
        let (_, subnet) = from.associations.remove(at);
        tx.put(scope, from_id, from);
        let mut acl = (*find::<NetworkAcl>(tx, scope, &to)?).clone();
        acl.associations.push((new.clone(), subnet));
        tx.put(scope, &to, acl);
        Ok(())
    })
    .await?;
    Ok(api::ReplaceNetworkAclAssociationOutput { new_association_id: Some(new.into()) })
}

pub async fn describe(cx: Cx, input: api::DescribeNetworkAclsInput) -> Result<api::DescribeNetworkAclsOutput> {
    defaults::ready(&cx).await?;
    cx.view(|view| {
        let rows = errors::select::<NetworkAcl>(view, cx.scope(), input.network_acl_ids.as_ref())?;
        let rows = rows.iter().map(|(id, acl)| shape(view, cx.scope(), id, acl));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (acls, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeNetworkAclsOutput { network_acls: Some(acls), next_token })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, acl: &NetworkAcl) -> api::NetworkAcl {
    let association =
        |(association, subnet): &(Id<id::NetworkAclAssociation>, Id<id::Subnet>)| api::NetworkAclAssociation {
            network_acl_association_id: Some(association.into()),
            network_acl_id: Some(id.to_owned()),
            subnet_id: Some(subnet.into()),
        };
    let mut entries: Vec<api::NetworkAclEntry> = acl.entries.iter().map(entry).collect();
    entries.extend([true, false].map(closing));
    api::NetworkAcl {
        associations: Some(acl.associations.iter().map(association).collect()),
        entries: Some(entries),
        is_default: Some(acl.is_default),
        network_acl_id: Some(id.to_owned()),
        tags: tags::of(view, scope, id),
        vpc_id: Some((&acl.vpc).into()),
        owner_id: Some(scope.account.to_string()),
    }
}

fn entry(entry: &AclEntry) -> api::NetworkAclEntry {
    api::NetworkAclEntry {
        cidr_block: entry.cidr.map(|block| block.to_string()),
        egress: Some(entry.egress),
        icmp_type_code: entry.icmp.map(|(r#type, code)| api::IcmpTypeCode { code: Some(code), r#type: Some(r#type) }),
        ipv6_cidr_block: entry.cidr_v6.clone(),
        port_range: entry.ports.map(|(from, to)| api::PortRange { from: Some(from), to: Some(to) }),
        protocol: Some(entry.protocol.clone()),
        rule_action: Some(entry.action.clone()),
        rule_number: Some(entry.number),
    }
}

/// The entry that refuses what no other has let through.
fn closing(egress: bool) -> api::NetworkAclEntry {
    api::NetworkAclEntry {
        cidr_block: Some("0.0.0.0/0".into()),
        egress: Some(egress),
        protocol: Some("-1".into()),
        rule_action: Some("deny".into()),
        rule_number: Some(CLOSING_NUMBER),
        ..Default::default()
    }
}

fn entries(acl: &api::NetworkAcl) -> impl Iterator<Item = &api::NetworkAclEntry> {
    acl.entries.iter().flatten()
}

impl Described for api::NetworkAcl {
    const FIELDS: &'static [Field<Self>] = &[
        ("association.association-id", |acl| filters::each(&acl.associations, |a| &a.network_acl_association_id)),
        ("association.network-acl-id", |acl| filters::each(&acl.associations, |a| &a.network_acl_id)),
        ("association.subnet-id", |acl| filters::each(&acl.associations, |a| &a.subnet_id)),
        ("default", |acl| filters::text(acl.is_default)),
        ("entry.cidr", |acl| filters::each(&acl.entries, |entry| &entry.cidr_block)),
        ("entry.egress", |acl| entries(acl).flat_map(|entry| filters::text(entry.egress)).collect()),
        ("entry.icmp.code", |acl| {
            entries(acl).filter_map(|e| e.icmp_type_code.as_ref()).flat_map(|icmp| filters::text(icmp.code)).collect()
        }),
        ("entry.icmp.type", |acl| {
            entries(acl).filter_map(|e| e.icmp_type_code.as_ref()).flat_map(|icmp| filters::text(icmp.r#type)).collect()
        }),
        ("entry.ipv6-cidr", |acl| filters::each(&acl.entries, |entry| &entry.ipv6_cidr_block)),
        ("entry.port-range.from", |acl| {
            entries(acl).filter_map(|e| e.port_range.as_ref()).flat_map(|ports| filters::text(ports.from)).collect()
        }),
        ("entry.port-range.to", |acl| {
            entries(acl).filter_map(|e| e.port_range.as_ref()).flat_map(|ports| filters::text(ports.to)).collect()
        }),
        ("entry.protocol", |acl| filters::each(&acl.entries, |entry| &entry.protocol)),
        ("entry.rule-action", |acl| filters::each(&acl.entries, |entry| &entry.rule_action)),
        ("entry.rule-number", |acl| entries(acl).flat_map(|entry| filters::text(entry.rule_number)).collect()),
        ("network-acl-id", |acl| filters::one(&acl.network_acl_id)),
        ("owner-id", |acl| filters::one(&acl.owner_id)),
        ("vpc-id", |acl| filters::one(&acl.vpc_id)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.network_acl_id.clone().unwrap_or_default()
    }
}
