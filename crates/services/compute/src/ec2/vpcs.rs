//! VPCs: what comes with one, and what keeps one from being deleted.
//!
//! Invariant: a VPC has exactly one default security group, one default network ACL and one main route table from its
//! making to its deletion.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Cidr, Error, Result, Rng, Scope};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{
    AclEntry, Destination, EgressOnlyGateway, Endpoint, InternetGateway, NetworkAcl, NetworkInterface, Peer, Route,
    RouteTable, RouteTableAssociation, Rule, SecurityGroup, Subnet, Target, Traffic, Vpc, VpnGateway,
};
use super::{cidr_blocks, defaults, peerings, tags};

/// The sizes a VPC may have.
const PREFIX_MIN: u8 = 16;
const PREFIX_MAX: u8 = 28;

/// The ids of a VPC and of what comes with it, made before the transaction.
#[derive(Debug)]
pub struct NewVpc {
    pub vpc: Id<id::Vpc>,
    pub route_table: Id<id::RouteTable>,
    association: Id<id::RouteTableAssociation>,
    pub acl: Id<id::NetworkAcl>,
    group: Id<id::SecurityGroup>,
    rules: [Id<id::SecurityGroupRule>; 2],
    cidr_association: String,
}

impl NewVpc {
    pub fn new(rng: &Rng) -> Self {
        Self {
            vpc: Id::new(rng),
            route_table: Id::new(rng),
            association: Id::new(rng),
            acl: Id::new(rng),
            group: Id::new(rng),
            rules: [Id::new(rng), Id::new(rng)],
            cidr_association: format!("vpc-cidr-assoc-{}", rng.hex(17)),
        }
    }

    /// Writes the VPC and its default group, ACL and main route table.
    pub fn put(&self, tx: &mut Txn, scope: &Scope, vpc: Vpc, extra_routes: Vec<Route>) {
        let mut routes = vec![Route { destination: Destination::V4(vpc.cidr), target: Target::Local }];
        routes.extend(extra_routes);
        let main = RouteTableAssociation { id: self.association.clone(), subnet: None };
        let table = RouteTable { vpc: self.vpc.clone(), routes, associations: vec![main], propagating: Vec::new() };
        tx.put(scope, &self.route_table, table);
        let entries = [false, true].map(AclEntry::allow_all).to_vec();
        tx.put(scope, &self.acl, NetworkAcl { vpc: self.vpc.clone(), is_default: true, entries, associations: vec![] });
        let group = SecurityGroup {
            vpc: self.vpc.clone(),
            name: "default".into(),
            description: "default VPC security group".into(),
            rules: vec![
                Rule {
                    id: self.rules[0].clone(),
                    egress: false,
                    traffic: Traffic::all(),
                    peer: Peer::Group(self.group.clone()),
                    description: None,
                },
                Rule::allow_all_out(self.rules[1].clone()),
            ],
        };
        tx.put(scope, &self.group, group);
        tx.put(scope, &self.vpc, Vpc { cidr_association: self.cidr_association.clone(), ..vpc });
    }
}

impl AclEntry {
    fn allow_all(egress: bool) -> Self {
        Self {
            egress,
            number: 100,
            protocol: "-1".into(),
            action: "allow".into(),
            cidr: Some(anywhere()),
            cidr_v6: None,
            ports: None,
            icmp: None,
        }
    }
}

/// `0.0.0.0/0`.
pub fn anywhere() -> Cidr {
    "0.0.0.0/0".parse().expect("a valid block")
}

/// Refuses a block that is too large or too small for a VPC.
pub fn check_size(block: Cidr, text: &str) -> Result<()> {
    if (PREFIX_MIN..=PREFIX_MAX).contains(&block.prefix()) {
        return Ok(());
    }
    Err(Error::client("InvalidVpc.Range", format!("The CIDR '{text}' is invalid.")))
}

/// Reads a block that a request gives.
pub fn cidr(text: &str, parameter: &str) -> Result<Cidr> {
    text.parse().map_err(|_| {
        errors::invalid(format!("Value ({text}) for parameter {parameter} is invalid. This is not a valid CIDR block."))
    })
}

pub async fn create(cx: Cx, input: api::CreateVpcInput) -> Result<api::CreateVpcOutput> {
    defaults::ready(&cx).await?;
    let text = errors::required(input.cidr_block.as_deref(), "cidrBlock")?;
    let block = cidr(text, "cidrBlock")?;
    check_size(block, text)?;
    if input.amazon_provided_ipv6_cidr_block == Some(true) || input.ipv6_cidr_block.is_some() {
        return Err(Error::client("UnsupportedOperation", "IPv6 blocks are not supported."));
    }
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "vpc", &[])?;
    let (scope, new) = (cx.scope(), NewVpc::new(cx.rng()));
    let vpc = Vpc { tenancy: input.instance_tenancy.clone().unwrap_or_else(|| "default".into()), ..Vpc::of(block) };
    let vpc = cx
        .txn(|tx| {
            errors::dry_run(input.dry_run)?;
            let vpc = Vpc { dhcp_options: Some(defaults::dhcp_options(tx, scope)), ..vpc.clone() };
            new.put(tx, scope, vpc, Vec::new());
            tags::put(tx, scope, &new.vpc, &given);
            Ok(shape(tx, scope, &new.vpc, &*find::<Vpc>(tx, scope, &new.vpc)?))
        })
        .await?;
    Ok(api::CreateVpcOutput { vpc: Some(api::Vpc { state: Some("pending".into()), ..vpc }) })
}

impl Vpc {
    /// A VPC of this block with EC2's defaults.
    pub fn of(cidr: Cidr) -> Self {
        Self {
            cidr,
            cidr_association: String::new(),
            is_default: false,
            tenancy: "default".into(),
            dhcp_options: None,
            dns_support: true,
            dns_hostnames: false,
            usage_metrics: false,
            more_cidrs: Vec::new(),
        }
    }
}

pub async fn create_default(cx: Cx, input: api::CreateDefaultVpcInput) -> Result<api::CreateDefaultVpcOutput> {
    defaults::ready(&cx).await?;
    let (scope, new) = (cx.scope(), defaults::NewDefaultVpc::new(&cx));
    let vpc = cx
        .txn(|tx| {
            if let Some((vpc, _)) = tx.by_index::<Vpc>(scope, "default", "true").first() {
                let message = format!("A Default VPC already exists for this account in this region: {vpc}");
                return Err(Error::client("DefaultVpcAlreadyExists", message));
            }
            errors::dry_run(input.dry_run)?;
            new.put(tx, scope, defaults::dhcp_options(tx, scope));
            Ok(shape(tx, scope, new.vpc(), &*find::<Vpc>(tx, scope, new.vpc())?))
        })
        .await?;
    Ok(api::CreateDefaultVpcOutput { vpc: Some(vpc) })
}

pub async fn delete(cx: Cx, input: api::DeleteVpcInput) -> Result<api::DeleteVpcOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Vpc>(&input.vpc_id)?);
    cx.txn(|tx| {
        find::<Vpc>(tx, scope, &id)?;
        let groups = tx.by_index::<SecurityGroup>(scope, "vpc", &id);
        let tables = tx.by_index::<RouteTable>(scope, "vpc", &id);
        let acls = tx.by_index::<NetworkAcl>(scope, "vpc", &id);
        let in_use = !tx.by_index::<Subnet>(scope, "vpc", &id).is_empty()
            || !tx.by_index::<InternetGateway>(scope, "vpc", &id).is_empty()
            || !tx.by_index::<VpnGateway>(scope, "vpc", &id).is_empty()
            || !tx.by_index::<EgressOnlyGateway>(scope, "vpc", &id).is_empty()
            || !tx.by_index::<Endpoint>(scope, "vpc", &id).is_empty()
            || !tx.by_index::<NetworkInterface>(scope, "vpc", &id).is_empty()
            || peerings::of_vpc(tx, &id)
            || groups.iter().any(|(_, group)| group.name != "default")
            || tables.iter().any(|(_, table)| !table.is_main())
            || acls.iter().any(|(_, acl)| !acl.is_default);
        if in_use {
            return Err(errors::dependency(format!("The vpc '{id}' has dependencies and cannot be deleted.")));
        }
        errors::dry_run(input.dry_run)?;
        for (group_id, group) in groups {
            group.rules.iter().for_each(|rule| tags::forget(tx, scope, &rule.id));
            tx.delete::<SecurityGroup>(scope, &group_id);
            tags::forget(tx, scope, &group_id);
        }
        for (table, _) in tables {
            tx.delete::<RouteTable>(scope, &table);
            tags::forget(tx, scope, &table);
        }
        for (acl, _) in acls {
            tx.delete::<NetworkAcl>(scope, &acl);
            tags::forget(tx, scope, &acl);
        }
        tx.delete::<Vpc>(scope, &id);
        tags::forget(tx, scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteVpcOutput {})
}

pub async fn describe(cx: Cx, input: api::DescribeVpcsInput) -> Result<api::DescribeVpcsOutput> {
    defaults::ready(&cx).await?;
    cx.view(|view| {
        let rows = errors::select::<Vpc>(view, cx.scope(), input.vpc_ids.as_ref())?;
        let rows = rows.iter().map(|(id, vpc)| shape(view, cx.scope(), id, vpc));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (vpcs, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeVpcsOutput { vpcs: Some(vpcs), next_token })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, vpc: &Vpc) -> api::Vpc {
    let first = [(vpc.cidr_association.clone(), vpc.cidr)];
    let blocks = first.iter().chain(&vpc.more_cidrs);
    let associations = blocks.map(|(id, block)| cidr_blocks::shape(id, *block, "associated")).collect();
    api::Vpc {
        owner_id: Some(scope.account.to_string()),
        instance_tenancy: Some(vpc.tenancy.clone()),
        cidr_block_association_set: Some(associations),
        is_default: Some(vpc.is_default),
        tags: tags::of(view, scope, id),
        vpc_id: Some(id.to_owned()),
        state: Some("available".into()),
        cidr_block: Some(vpc.cidr.to_string()),
        dhcp_options_id: Some(vpc.dhcp_options.as_ref().map_or("default".into(), |id| id.to_string())),
        ..Default::default()
    }
}

impl Described for api::Vpc {
    const FIELDS: &'static [Field<Self>] = &[
        ("cidr", |vpc| filters::one(&vpc.cidr_block)),
        ("cidr-block", |vpc| filters::one(&vpc.cidr_block)),
        ("cidrBlock", |vpc| filters::one(&vpc.cidr_block)),
        ("cidr-block-association.cidr-block", |vpc| {
            filters::each(&vpc.cidr_block_association_set, |association| &association.cidr_block)
        }),
        ("cidr-block-association.association-id", |vpc| {
            filters::each(&vpc.cidr_block_association_set, |association| &association.association_id)
        }),
        ("cidr-block-association.state", |vpc| {
            vpc.cidr_block_association_set.iter().flatten().map(|_| "associated".into()).collect()
        }),
        ("dhcp-options-id", |vpc| filters::one(&vpc.dhcp_options_id)),
        ("is-default", |vpc| filters::text(vpc.is_default)),
        ("isDefault", |vpc| filters::text(vpc.is_default)),
        ("owner-id", |vpc| filters::one(&vpc.owner_id)),
        ("state", |vpc| filters::one(&vpc.state)),
        ("vpc-id", |vpc| filters::one(&vpc.vpc_id)),
        ("ipv6-cidr-block-association.ipv6-cidr-block", |_| Vec::new()),
        ("ipv6-cidr-block-association.ipv6-pool", |_| Vec::new()),
        ("ipv6-cidr-block-association.association-id", |_| Vec::new()),
        ("ipv6-cidr-block-association.state", |_| Vec::new()),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.vpc_id.clone().unwrap_or_default()
    }
}

pub async fn modify_attribute(cx: Cx, input: api::ModifyVpcAttributeInput) -> Result<api::ModifyVpcAttributeOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Vpc>(&input.vpc_id)?);
    let value = |attribute: &Option<api::AttributeBooleanValue>| attribute.as_ref().and_then(|value| value.value);
    cx.txn(|tx| {
        let old = find::<Vpc>(tx, scope, &id)?;
        let mut vpc = (*old).clone();
        vpc.dns_support = value(&input.enable_dns_support).unwrap_or(vpc.dns_support);
        vpc.dns_hostnames = value(&input.enable_dns_hostnames).unwrap_or(vpc.dns_hostnames);
        vpc.usage_metrics = value(&input.enable_network_address_usage_metrics).unwrap_or(vpc.usage_metrics);
        tx.put(scope, &id, vpc);
        Ok(())
    })
    .await?;
    Ok(api::ModifyVpcAttributeOutput {})
}

pub async fn describe_attribute(
    cx: Cx,
    input: api::DescribeVpcAttributeInput,
) -> Result<api::DescribeVpcAttributeOutput> {
    let id = errors::id::<id::Vpc>(&input.vpc_id)?;
    let vpc = cx.view(|view| find::<Vpc>(view, cx.scope(), &id))?;
    let mut output = api::DescribeVpcAttributeOutput { vpc_id: Some(id.to_string()), ..Default::default() };
    let value = |value| Some(api::AttributeBooleanValue { value: Some(value) });
    match input.attribute.as_str() {
        "enableDnsSupport" => output.enable_dns_support = value(vpc.dns_support),
        "enableDnsHostnames" => output.enable_dns_hostnames = value(vpc.dns_hostnames),
        "enableNetworkAddressUsageMetrics" => output.enable_network_address_usage_metrics = value(vpc.usage_metrics),
        other => return Err(errors::invalid_value("attribute", other)),
    }
    Ok(output)
}
