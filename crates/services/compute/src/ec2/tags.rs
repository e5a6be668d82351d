//! Tags of every resource, and what tag specifications may say.
//!
//! Invariant: a resource has at most 50 tags of its user's; keys that begin with `aws:` come from services only.

use standfast_api::ec2 as api;
use standfast_core::id;
use standfast_core::{Error, Result, Scope};
use standfast_kernel::{Cx, Principal};
use standfast_store::{Txn, View};

use super::errors::{self, Keyed, Resource};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{
    DhcpOptions, Image, ImportTask, Instance, InternetGateway, KeyPair, LaunchTemplate, NetworkAcl, NetworkInterface,
    RouteTable, SecurityGroup, Snapshot, SpotRequest, Subnet, Tagged, Tags, Volume, Vpc,
};
use super::model::{
    EgressOnlyGateway, ElasticIp, Endpoint, EndpointService, ManagedPrefixList, NatGateway, PlacementGroup, VpnGateway,
};
use super::peerings;

const TAGS_MAX: usize = 50;
const KEY_LENGTH_MAX: usize = 128;
const VALUE_LENGTH_MAX: usize = 256;
/// How many resources one CreateTags or DeleteTags may name.
const RESOURCES_MAX: usize = 1000;
const RESERVED_PREFIX: &str = "aws:";

/// A resource's type in tag specifications, and whether it exists.
type Kind = (&'static str, &'static str, fn(&View, &Scope, &str) -> Result<()>);

/// Everything that can have tags: prefix, type, existence.
const KINDS: &[Kind] = &[
    ("vpc", "vpc", exists::<Vpc>),
    ("subnet", "subnet", exists::<Subnet>),
    ("igw", "internet-gateway", exists::<InternetGateway>),
    ("eipalloc", "elastic-ip", exists::<ElasticIp>),
    ("nat", "natgateway", exists::<NatGateway>),
    ("pl", "prefix-list", exists::<ManagedPrefixList>),
    ("pg", "placement-group", exists::<PlacementGroup>),
    ("vgw", "vpn-gateway", exists::<VpnGateway>),
    ("vpce", "vpc-endpoint", exists::<Endpoint>),
    ("vpce-svc", "vpc-endpoint-service", exists::<EndpointService>),
    ("pcx", "vpc-peering-connection", peerings::exists),
    ("eigw", "egress-only-internet-gateway", exists::<EgressOnlyGateway>),
    ("rtb", "route-table", exists::<RouteTable>),
    ("acl", "network-acl", exists::<NetworkAcl>),
    ("dopt", "dhcp-options", exists::<DhcpOptions>),
    ("sg", "security-group", exists::<SecurityGroup>),
    ("sgr", "security-group-rule", rule_exists),
    ("eni", "network-interface", exists::<NetworkInterface>),
    ("key", "key-pair", exists::<KeyPair>),
    ("lt", "launch-template", exists::<LaunchTemplate>),
    ("i", "instance", exists::<Instance>),
    ("vol", "volume", exists::<Volume>),
    ("snap", "snapshot", exists::<Snapshot>),
    ("ami", "image", exists::<Image>),
    ("sir", "spot-instances-request", exists::<SpotRequest>),
    ("import-ami", "import-image-task", import_exists),
    ("import-snap", "import-snapshot-task", import_exists),
];

fn exists<R: Keyed>(view: &View, scope: &Scope, text: &str) -> Result<()> {
    errors::find::<R>(view, scope, &errors::id(text)?).map(|_| ())
}

fn import_exists(view: &View, scope: &Scope, text: &str) -> Result<()> {
    let unknown = || Error::client("InvalidConversionTaskId", format!("The import task '{text}' does not exist"));
    view.get::<ImportTask>(scope, text).map(|_| ()).ok_or_else(unknown)
}

fn rule_exists(view: &View, scope: &Scope, text: &str) -> Result<()> {
    let id = errors::id::<id::SecurityGroupRule>(text)?;
    let found = view.by_index::<SecurityGroup>(scope, "rule", &id);
    if found.is_empty() { Err(errors::not_found::<id::SecurityGroupRule>(text)) } else { Ok(()) }
}

/// The tags that a request's specifications give to a resource of this type. `others` are the types that the operation
/// gives tags to besides.
pub fn specified(
    cx: &Cx,
    specifications: Option<&Vec<api::TagSpecification>>,
    resource_type: &str,
    others: &[&str],
) -> Result<Tags> {
    let mut tags = Tags::new();
    for specification in specifications.into_iter().flatten() {
        let of = specification.resource_type.as_deref().unwrap_or_default();
        if of != resource_type && !others.contains(&of) {
            return Err(errors::invalid(format!("'{of}' is not a valid taggable resource type for this operation.")));
        }
        if of == resource_type {
            add(&mut tags, specification.tags.iter().flatten())?;
        }
    }
    check(cx, &tags)?;
    Ok(tags)
}

fn add<'a>(tags: &mut Tags, given: impl Iterator<Item = &'a api::Tag>) -> Result<()> {
    for tag in given {
        let key = tag.key.clone().unwrap_or_default();
        if tags.insert(key.clone(), tag.value.clone().unwrap_or_default()).is_some() {
            return Err(errors::invalid(format!("Duplicate tag key '{key}' specified.")));
        }
    }
    Ok(())
}

/// Whether the caller may give these tags to a new resource.
pub fn check(cx: &Cx, tags: &Tags) -> Result<()> {
    let service = matches!(cx.principal(), Principal::Service(_));
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > KEY_LENGTH_MAX {
            return Err(errors::invalid(format!(
                "Tag keys must be between 1 and {KEY_LENGTH_MAX} characters: '{key}'."
            )));
        }
        if value.chars().count() > VALUE_LENGTH_MAX {
            return Err(errors::invalid(format!(
                "Tag value exceeds the maximum length of {VALUE_LENGTH_MAX} characters."
            )));
        }
        if !service && key.get(..RESERVED_PREFIX.len()).is_some_and(|p| p.eq_ignore_ascii_case(RESERVED_PREFIX)) {
            return Err(errors::invalid(format!(
                "Tag keys starting with 'aws:' are reserved for internal use: '{key}'."
            )));
        }
    }
    limit(tags)
}

fn limit(tags: &Tags) -> Result<()> {
    if tags.keys().filter(|key| !key.starts_with(RESERVED_PREFIX)).count() > TAGS_MAX {
        return Err(Error::client("TagLimitExceeded", "The maximum number of Tags for a resource has been reached."));
    }
    Ok(())
}

/// Gives a new resource its tags.
pub fn put<K: Resource>(tx: &mut Txn, scope: &Scope, id: &id::Id<K>, tags: &Tags) {
    if !tags.is_empty() {
        let resource_type = KINDS.iter().find(|(prefix, ..)| *prefix == K::PREFIX).map_or("", |(_, kind, _)| kind);
        tx.put(scope, id, Tagged { resource_type: resource_type.to_owned(), tags: tags.clone() });
    }
}

/// Forgets the tags of a resource that goes.
pub fn forget(tx: &mut Txn, scope: &Scope, id: &str) {
    tx.delete::<Tagged>(scope, id);
}

/// A resource's tags as answers have them.
pub fn of(view: &View, scope: &Scope, id: &str) -> Option<Vec<api::Tag>> {
    let tagged = view.get::<Tagged>(scope, id)?;
    Some(shape(&tagged.tags))
}

pub fn shape(tags: &Tags) -> Vec<api::Tag> {
    tags.iter().map(|(key, value)| api::Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

fn kind_of(view: &View, scope: &Scope, id: &str) -> Result<&'static str> {
    let prefix = id.rsplit_once('-').map_or("", |(prefix, _)| prefix);
    let Some((_, kind, exists)) = KINDS.iter().find(|(known, ..)| *known == prefix) else {
        return Err(Error::client("InvalidID", format!("The ID '{id}' is not valid")));
    };
    exists(view, scope, id)?;
    Ok(kind)
}

fn resources(resources: &[String]) -> Result<()> {
    if resources.is_empty() {
        return Err(errors::missing("resourceIdSet"));
    }
    if resources.len() > RESOURCES_MAX {
        return Err(errors::invalid(format!("A request may name at most {RESOURCES_MAX} resources.")));
    }
    Ok(())
}

pub async fn create(cx: Cx, input: api::CreateTagsInput) -> Result<api::CreateTagsOutput> {
    resources(&input.resources)?;
    let mut given = Tags::new();
    add(&mut given, input.tags.iter())?;
    if given.is_empty() {
        return Err(errors::missing("tagSet"));
    }
    check(&cx, &given)?;
    let scope = cx.scope();
    cx.txn(|tx| {
        for id in &input.resources {
            let resource_type = kind_of(tx, scope, id)?.to_owned();
            let mut tags = tx.get::<Tagged>(scope, id).map(|tagged| tagged.tags.clone()).unwrap_or_default();
            tags.extend(given.clone());
            limit(&tags)?;
            tx.put(scope, id, Tagged { resource_type, tags });
        }
        errors::dry_run(input.dry_run)
    })
    .await?;
    Ok(api::CreateTagsOutput {})
}

pub async fn delete(cx: Cx, input: api::DeleteTagsInput) -> Result<api::DeleteTagsOutput> {
    resources(&input.resources)?;
    let service = matches!(cx.principal(), Principal::Service(_));
    let scope = cx.scope();
    let goes = |key: &str, value: &str| match &input.tags {
        // Without a list of tags, all go but those of services.
        None => service || !key.starts_with(RESERVED_PREFIX),
        Some(tags) => tags
            .iter()
            .any(|tag| tag.key.as_deref() == Some(key) && tag.value.as_deref().is_none_or(|given| given == value)),
    };
    if let Some(tag) = input
        .tags
        .iter()
        .flatten()
        .find(|tag| !service && tag.key.as_deref().is_some_and(|key| key.starts_with(RESERVED_PREFIX)))
    {
        let key = tag.key.as_deref().unwrap_or_default();
        return Err(errors::invalid(format!("Tag keys starting with 'aws:' are reserved for internal use: '{key}'.")));
    }
    cx.txn(|tx| {
        for id in &input.resources {
            let Some(tagged) = tx.get::<Tagged>(scope, id) else { continue };
            let mut tagged = (*tagged).clone();
            tagged.tags.retain(|key, value| !goes(key, value));
            if tagged.tags.is_empty() {
                forget(tx, scope, id);
            } else {
                tx.put(scope, id, tagged);
            }
        }
        errors::dry_run(input.dry_run)
    })
    .await?;
    Ok(api::DeleteTagsOutput {})
}

impl Described for api::TagDescription {
    const FIELDS: &'static [Field<Self>] = &[
        ("key", |tag| filters::one(&tag.key)),
        ("value", |tag| filters::one(&tag.value)),
        ("resource-id", |tag| filters::one(&tag.resource_id)),
        ("resource-type", |tag| filters::one(&tag.resource_type)),
        ("tag-key", |tag| filters::one(&tag.key)),
        ("tag-value", |tag| filters::one(&tag.value)),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        format!("{} {}", self.resource_id.as_deref().unwrap_or_default(), self.key.as_deref().unwrap_or_default())
    }
}

pub async fn describe(cx: Cx, input: api::DescribeTagsInput) -> Result<api::DescribeTagsOutput> {
    let tagged = cx.view(|view| view.list::<Tagged>(cx.scope()));
    let rows = tagged.iter().flat_map(|(id, tagged)| {
        tagged.tags.iter().map(move |(key, value)| api::TagDescription {
            key: Some(key.clone()),
            value: Some(value.clone()),
            resource_id: Some(id.to_string()),
            resource_type: Some(tagged.resource_type.clone()),
        })
    });
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
    let (tags, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeTagsOutput { tags: Some(tags), next_token })
}
