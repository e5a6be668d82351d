//! Prefix lists: those that users manage, and those of the services that have gateway endpoints.
//!
//! Invariant: a list has at most as many entries as its maximum, and is not deleted while a rule or a route refers to it.

use std::sync::Arc;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::page::page;
use standfast_core::{Arn, Cidr, Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging};
use super::model::{Destination, ManagedPrefixList, Peer, PrefixListEntry, RouteTable, SecurityGroup};
use super::tags;

const BOUNDS: (i32, i32) = (1, 100);
/// How many entries a list may have, and a request may add.
const ENTRIES_MAX: i32 = 1000;
const CHANGES_MAX: usize = 100;

/// The services with gateway endpoints, and blocks of their addresses.
const GATEWAY_SERVICES: &[(&str, &[&str])] =
    &[("s3", &["52.92.0.0/17", "52.218.0.0/17"]), ("dynamodb", &["52.94.5.0/24", "52.94.24.0/23"])];

/// A list of a service of the cloud itself.
#[derive(Clone, Debug)]
pub struct ServiceList {
    pub id: Id<id::PrefixList>,
    pub name: String,
    pub cidrs: &'static [&'static str],
}

/// The services' lists of a region.
pub fn of_services(region: &str) -> Vec<ServiceList> {
    let list = |(service, cidrs): &(&str, &'static [&'static str])| {
        let name = format!("com.amazonaws.{region}.{service}");
        // An id that is the same in each run: FNV-1a of the name.
        let digest =
            name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        ServiceList { id: Id::from_text(&format!("pl-{digest:08x}")), name, cidrs }
    };
    GATEWAY_SERVICES.iter().map(list).collect()
}

/// The list of a service that gateway endpoints lead to.
pub fn of_service(region: &str, service: &str) -> Option<ServiceList> {
    of_services(region).into_iter().find(|list| list.name == service)
}

/// Any list.
pub enum Found {
    Service(ServiceList),
    Managed(Arc<ManagedPrefixList>),
}

pub fn find_any(view: &View, scope: &Scope, id: &Id<id::PrefixList>) -> Result<Found> {
    match of_services(&scope.region).into_iter().find(|list| list.id == *id) {
        Some(list) => Ok(Found::Service(list)),
        None => find::<ManagedPrefixList>(view, scope, id).map(Found::Managed),
    }
}

fn all(view: &View, scope: &Scope, ids: Option<&Vec<String>>) -> Result<Vec<(Id<id::PrefixList>, Found)>> {
    if let Some(ids) = ids.filter(|ids| !ids.is_empty()) {
        return ids
            .iter()
            .map(|text| errors::id(text).and_then(|id| Ok((id.clone(), find_any(view, scope, &id)?))))
            .collect();
    }
    let managed = view.list::<ManagedPrefixList>(scope).into_iter();
    let managed = managed.map(|(id, list)| (Id::from_shared(id), Found::Managed(list)));
    let services = of_services(&scope.region).into_iter().map(|list| (list.id.clone(), Found::Service(list)));
    let mut out: Vec<_> = managed.chain(services).collect();
    out.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(out)
}

fn entries(given: Option<&Vec<api::AddPrefixListEntry>>, family: &str) -> Result<Vec<PrefixListEntry>> {
    let given = given.map_or(&[][..], Vec::as_slice);
    if given.len() > CHANGES_MAX {
        return Err(errors::invalid(format!("A request may add at most {CHANGES_MAX} entries.")));
    }
    let mut out: Vec<PrefixListEntry> = Vec::new();
    for entry in given {
        let cidr = block(&entry.cidr, family)?;
        if out.iter().any(|other| other.cidr == cidr) {
            return Err(errors::invalid(format!("The CIDR {cidr} is given twice.")));
        }
        out.push(PrefixListEntry { cidr, description: entry.description.clone().filter(|text| !text.is_empty()) });
    }
    Ok(out)
}

fn block(text: &str, family: &str) -> Result<String> {
    let wrong = || errors::invalid(format!("The CIDR {text} is not a valid {family} CIDR block."));
    match family {
        "IPv4" => text.parse::<Cidr>().map(|cidr| cidr.to_string()).map_err(|_| wrong()),
        _ => {
            let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
            let valid = address.parse::<std::net::Ipv6Addr>().is_ok() && prefix.parse::<u8>().is_ok_and(|p| p <= 128);
            valid.then(|| text.to_owned()).ok_or_else(wrong)
        }
    }
}

fn entries_max(asked: i32, entries: usize) -> Result<i32> {
    if !(1..=ENTRIES_MAX).contains(&asked) {
        return Err(errors::invalid_value("MaxEntries", &asked.to_string()));
    }
    if entries > asked as usize {
        let message = format!("You can't have more than {asked} entries in the prefix list.");
        return Err(Error::client("PrefixListMaxEntriesExceeded", message));
    }
    Ok(asked)
}

fn name(text: &str) -> Result<String> {
    if text.is_empty() || text.len() > 255 || text.starts_with("com.amazonaws") {
        return Err(errors::invalid_value("PrefixListName", text));
    }
    Ok(text.to_owned())
}

pub async fn create(cx: Cx, input: api::CreateManagedPrefixListInput) -> Result<api::CreateManagedPrefixListOutput> {
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "prefix-list", &[])?;
    let family = input.address_family.as_str();
    if !matches!(family, "IPv4" | "IPv6") {
        return Err(errors::invalid_value("AddressFamily", family));
    }
    let entries = entries(input.entries.as_ref(), family)?;
    let list = ManagedPrefixList {
        name: name(&input.prefix_list_name)?,
        family: family.to_owned(),
        entries_max: entries_max(input.max_entries, entries.len())?,
        versions: vec![entries],
        last_change: "create".into(),
    };
    let (scope, id) = (cx.scope(), Id::<id::PrefixList>::new(cx.rng()));
    let shape = cx
        .txn(|tx| {
            errors::dry_run(input.dry_run)?;
            tx.put(scope, &id, list.clone());
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &Found::Managed(Arc::new(list.clone()))))
        })
        .await?;
    let shape = api::ManagedPrefixList { state: Some("create-in-progress".into()), ..shape };
    Ok(api::CreateManagedPrefixListOutput { prefix_list: Some(shape) })
}

pub async fn modify(cx: Cx, input: api::ModifyManagedPrefixListInput) -> Result<api::ModifyManagedPrefixListOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::PrefixList>(&input.prefix_list_id)?);
    let shape = cx
        .txn(|tx| {
            let mut list = (*managed(tx, scope, &id)?).clone();
            changed(&mut list, &input)?;
            errors::dry_run(input.dry_run)?;
            tx.put(scope, &id, list.clone());
            Ok(shape(tx, scope, &id, &Found::Managed(Arc::new(list))))
        })
        .await?;
    let shape = api::ManagedPrefixList { state: Some("modify-in-progress".into()), ..shape };
    Ok(api::ModifyManagedPrefixListOutput { prefix_list: Some(shape) })
}

/// A list of the user's own.
fn managed(view: &View, scope: &Scope, id: &Id<id::PrefixList>) -> Result<Arc<ManagedPrefixList>> {
    match find_any(view, scope, id)? {
        Found::Managed(list) => Ok(list),
        Found::Service(_) => {
            let message = format!("You can't modify or delete the AWS-managed prefix list {id}.");
            Err(Error::client("UnauthorizedOperation", message).with_status(403))
        }
    }
}

fn changed(list: &mut ManagedPrefixList, input: &api::ModifyManagedPrefixListInput) -> Result<()> {
    let add = entries(input.add_entries.as_ref(), &list.family)?;
    let remove = input.remove_entries.as_deref().unwrap_or_default();
    if let Some(text) = &input.prefix_list_name {
        list.name = name(text)?;
    }
    let mut new = list.entries().to_vec();
    for entry in remove {
        let cidr = block(&entry.cidr, &list.family)?;
        let at = new.iter().position(|known| known.cidr == cidr);
        new.remove(at.ok_or_else(|| errors::invalid(format!("The CIDR {cidr} is not in the prefix list.")))?);
    }
    for entry in &add {
        match new.iter_mut().find(|known| known.cidr == entry.cidr) {
            Some(known) => known.description.clone_from(&entry.description),
            None => new.push(entry.clone()),
        }
    }
    list.entries_max = entries_max(input.max_entries.unwrap_or(list.entries_max), new.len())?;
    if add.is_empty() && remove.is_empty() {
        list.last_change = "modify".into();
        return Ok(());
    }
    let current = list.versions.len() as i64;
    if input.current_version.is_some_and(|version| version != current) {
        let message = "The prefix list has the incorrect version number.";
        return Err(Error::client("PrefixListVersionMismatch", message));
    }
    list.versions.push(new);
    list.last_change = "modify".into();
    Ok(())
}

pub async fn delete(cx: Cx, input: api::DeleteManagedPrefixListInput) -> Result<api::DeleteManagedPrefixListOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::PrefixList>(&input.prefix_list_id)?);
    let shape = cx
        .txn(|tx| {
            let list = managed(tx, scope, &id)?;
            if let Some(holder) = holder(tx, scope, &id) {
                let message = format!("The prefix list '{id}' is referenced by {holder} and cannot be deleted.");
                return Err(errors::dependency(message));
            }
            errors::dry_run(input.dry_run)?;
            let shape = shape(tx, scope, &id, &Found::Managed(list));
            tx.delete::<ManagedPrefixList>(scope, &id);
            tags::forget(tx, scope, &id);
            Ok(shape)
        })
        .await?;
    let shape = api::ManagedPrefixList { state: Some("delete-in-progress".into()), ..shape };
    Ok(api::DeleteManagedPrefixListOutput { prefix_list: Some(shape) })
}

/// What refers to a list: a security group or a route table.
fn holder(view: &View, scope: &Scope, id: &Id<id::PrefixList>) -> Option<Arc<str>> {
    let by_rule = |group: &SecurityGroup| {
        group.rules.iter().any(|rule| matches!(&rule.peer, Peer::PrefixList(list) if list.as_str() == id.as_str()))
    };
    let by_route =
        |table: &RouteTable| table.routes.iter().any(|route| route.destination == Destination::PrefixList(id.clone()));
    let groups = view.list::<SecurityGroup>(scope).into_iter().filter(|(_, group)| by_rule(group)).map(|(id, _)| id);
    let tables = view.list::<RouteTable>(scope).into_iter().filter(|(_, table)| by_route(table)).map(|(id, _)| id);
    groups.chain(tables).next()
}

pub async fn describe_managed(
    cx: Cx,
    input: api::DescribeManagedPrefixListsInput,
) -> Result<api::DescribeManagedPrefixListsOutput> {
    cx.view(|view| {
        let rows = all(view, cx.scope(), input.prefix_list_ids.as_ref())?;
        let rows = rows.iter().map(|(id, list)| shape(view, cx.scope(), id, list));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
        let (prefix_lists, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeManagedPrefixListsOutput { prefix_lists: Some(prefix_lists), next_token })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, list: &Found) -> api::ManagedPrefixList {
    let resource = format!("prefix-list/{id}");
    match list {
        Found::Service(list) => api::ManagedPrefixList {
            prefix_list_id: Some(id.to_owned()),
            address_family: Some("IPv4".into()),
            prefix_list_arn: Some(format!("arn:aws:ec2:{}:aws:{resource}", scope.region)),
            prefix_list_name: Some(list.name.clone()),
            state: Some("create-complete".into()),
            owner_id: Some("AWS".into()),
            ..Default::default()
        },
        Found::Managed(list) => api::ManagedPrefixList {
            prefix_list_id: Some(id.to_owned()),
            address_family: Some(list.family.clone()),
            state: Some(format!("{}-complete", list.last_change)),
            prefix_list_arn: Some(Arn::new("ec2", scope, resource).to_string()),
            prefix_list_name: Some(list.name.clone()),
            max_entries: Some(list.entries_max),
            version: Some(list.versions.len() as i64),
            tags: tags::of(view, scope, id),
            owner_id: Some(scope.account.to_string()),
            ..Default::default()
        },
    }
}

impl Described for api::ManagedPrefixList {
    const FIELDS: &'static [Field<Self>] = &[
        ("owner-id", |list| filters::one(&list.owner_id)),
        ("prefix-list-id", |list| filters::one(&list.prefix_list_id)),
        ("prefix-list-name", |list| filters::one(&list.prefix_list_name)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.prefix_list_id.clone().unwrap_or_default()
    }
}

pub async fn get_entries(
    cx: Cx,
    input: api::GetManagedPrefixListEntriesInput,
) -> Result<api::GetManagedPrefixListEntriesOutput> {
    let id = errors::id::<id::PrefixList>(&input.prefix_list_id)?;
    let entries = cx.view(|view| match find_any(view, cx.scope(), &id)? {
        Found::Service(list) => {
            let entry = |cidr: &&str| api::PrefixListEntry { cidr: Some((*cidr).to_owned()), description: None };
            Ok(list.cidrs.iter().map(entry).collect::<Vec<_>>())
        }
        Found::Managed(list) => {
            let version = input.target_version.unwrap_or(list.versions.len() as i64);
            let at = usize::try_from(version - 1).ok();
            let entries = at.and_then(|at| list.versions.get(at));
            let entries = entries.ok_or_else(|| errors::invalid_value("TargetVersion", &version.to_string()))?;
            let entry = |entry: &PrefixListEntry| api::PrefixListEntry {
                cidr: Some(entry.cidr.clone()),
                description: entry.description.clone(),
            };
            Ok(entries.iter().map(entry).collect())
        }
    })?;
    let limit = input.max_results.map_or(usize::MAX, |max| max.max(1) as usize);
    let mut entries = entries;
    entries.sort_by(|a, b| a.cidr.cmp(&b.cidr));
    let key = |entry: &api::PrefixListEntry| entry.cidr.clone().unwrap_or_default();
    let page = page(entries, key, input.next_token.as_deref(), limit, "InvalidNextToken")?;
    Ok(api::GetManagedPrefixListEntriesOutput { entries: Some(page.items), next_token: page.next })
}

/// The lists of services only, as they were before users had their own.
pub async fn describe(cx: Cx, input: api::DescribePrefixListsInput) -> Result<api::DescribePrefixListsOutput> {
    let services = of_services(cx.region());
    let mut rows = Vec::new();
    for text in input.prefix_list_ids.iter().flatten() {
        let id = errors::id::<id::PrefixList>(text)?;
        let found = services.iter().find(|list| list.id == id);
        rows.push(found.ok_or_else(|| errors::not_found::<id::PrefixList>(text))?.clone());
    }
    if rows.is_empty() {
        rows = services;
    }
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    let shape = |list: ServiceList| api::PrefixList {
        cidrs: Some(list.cidrs.iter().map(|cidr| (*cidr).to_owned()).collect()),
        prefix_list_id: Some(list.id.into()),
        prefix_list_name: Some(list.name),
    };
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: (1, 1000) };
    let (prefix_lists, next_token) = filters::answer(rows.into_iter().map(shape), input.filters.as_ref(), paging)?;
    Ok(api::DescribePrefixListsOutput { prefix_lists: Some(prefix_lists), next_token })
}

impl Described for api::PrefixList {
    const FIELDS: &'static [Field<Self>] = &[
        ("prefix-list-id", |list| filters::one(&list.prefix_list_id)),
        ("prefix-list-name", |list| filters::one(&list.prefix_list_name)),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        self.prefix_list_id.clone().unwrap_or_default()
    }
}

/// The blocks of a service's list, of any region; none when there is no such list.
pub fn service_blocks(id: &str) -> Vec<Cidr> {
    let lists = standfast_core::place::REGIONS.iter().flat_map(|region| of_services(region.name));
    let found = lists.filter(|list| list.id.as_str() == id).flat_map(|list| list.cidrs.iter());
    found.filter_map(|cidr| cidr.parse().ok()).collect()
}
