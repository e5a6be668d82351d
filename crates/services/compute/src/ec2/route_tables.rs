//! Route tables, their routes and associations.
//!
//! Invariant: a VPC's main table is the one with an association that names no subnet; a subnet has one association at
//! most. A route whose target is gone or detached stays, as a `blackhole`.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging};
use super::model::{Destination, Route, RouteTable, RouteTableAssociation, Subnet, Target, Vpc, VpnGatewayKind};
use super::route_targets::{self, Asked, target};
use super::vpcs::cidr;
use super::{defaults, prefix_lists, tags};

/// How many routes a table may have.
const ROUTES_MAX: usize = 500;
const BOUNDS: (i32, i32) = (5, 100);

pub async fn create(cx: Cx, input: api::CreateRouteTableInput) -> Result<api::CreateRouteTableOutput> {
    defaults::ready(&cx).await?;
    let vpc_id = errors::id::<id::Vpc>(&input.vpc_id)?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "route-table", &[])?;
    let (scope, id) = (cx.scope(), Id::<id::RouteTable>::new(cx.rng()));
    let table = cx
        .txn(|tx| {
            let vpc = find::<Vpc>(tx, scope, &vpc_id)?;
            errors::dry_run(input.dry_run)?;
            let local = |cidr| Route { destination: Destination::V4(cidr), target: Target::Local };
            let table = RouteTable {
                vpc: vpc_id.clone(),
                routes: vpc.cidrs().into_iter().map(local).collect(),
                associations: Vec::new(),
                propagating: Vec::new(),
            };
            tx.put(scope, &id, table.clone());
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &table))
        })
        .await?;
    Ok(api::CreateRouteTableOutput { route_table: Some(table), ..Default::default() })
}

pub async fn delete(cx: Cx, input: api::DeleteRouteTableInput) -> Result<api::DeleteRouteTableOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::RouteTable>(&input.route_table_id)?);
    cx.txn(|tx| {
        if !find::<RouteTable>(tx, scope, &id)?.associations.is_empty() {
            let message = format!("The routeTable '{id}' has dependencies and cannot be deleted.");
            return Err(errors::dependency(message));
        }
        errors::dry_run(input.dry_run)?;
        tx.delete::<RouteTable>(scope, &id);
        tags::forget(tx, scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteRouteTableOutput {})
}

fn destination(v4: Option<&str>, v6: Option<&str>, list: Option<&str>) -> Result<Destination> {
    match (v4, v6, list) {
        (Some(text), None, None) => Ok(Destination::V4(cidr(text, "destinationCidrBlock")?)),
        (None, Some(text), None) => Ok(Destination::V6(text.to_owned())),
        (None, None, Some(text)) => Ok(Destination::PrefixList(errors::id(text)?)),
        (None, None, None) => Err(errors::missing("destinationCidrBlock")),
        _ => Err(errors::combination("Exactly one destination must be given.")),
    }
}

/// Refuses a prefix list that does not exist.
fn known(view: &View, scope: &Scope, to: &Destination) -> Result<()> {
    match to {
        Destination::PrefixList(id) => prefix_lists::find_any(view, scope, id).map(|_| ()),
        Destination::V4(_) | Destination::V6(_) => Ok(()),
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Destination::V4(block) => write!(f, "{block}"),
            Destination::V6(block) => f.write_str(block),
            Destination::PrefixList(id) => f.write_str(id),
        }
    }
}

pub async fn create_route(cx: Cx, input: api::CreateRouteInput) -> Result<api::CreateRouteOutput> {
    let id = errors::id::<id::RouteTable>(&input.route_table_id)?;
    let to = destination(
        input.destination_cidr_block.as_deref(),
        input.destination_ipv6_cidr_block.as_deref(),
        input.destination_prefix_list_id.as_deref(),
    )?;
    let asked = Asked::create(&input);
    let scope = cx.scope();
    cx.txn(|tx| {
        let mut table = (*find::<RouteTable>(tx, scope, &id)?).clone();
        let target = target(tx, scope, (&id, &table.vpc), &asked)?;
        known(tx, scope, &to)?;
        if table.routes.iter().any(|route| route.destination == to) {
            let message = format!("The route identified by {to} already exists.");
            return Err(Error::client("RouteAlreadyExists", message));
        }
        if table.routes.len() >= ROUTES_MAX {
            return Err(Error::client("RouteLimitExceeded", format!("A route table has at most {ROUTES_MAX} routes.")));
        }
        errors::dry_run(input.dry_run)?;
        table.routes.push(Route { destination: to.clone(), target });
        tx.put(scope, &id, table);
        Ok(())
    })
    .await?;
    Ok(api::CreateRouteOutput { r#return: Some(true) })
}

pub async fn replace_route(cx: Cx, input: api::ReplaceRouteInput) -> Result<api::ReplaceRouteOutput> {
    let id = errors::id::<id::RouteTable>(&input.route_table_id)?;
    let to = destination(
        input.destination_cidr_block.as_deref(),
        input.destination_ipv6_cidr_block.as_deref(),
        input.destination_prefix_list_id.as_deref(),
    )?;
    let asked = Asked::replace(&input);
    let scope = cx.scope();
    cx.txn(|tx| {
        let mut table = (*find::<RouteTable>(tx, scope, &id)?).clone();
        let target = target(tx, scope, (&id, &table.vpc), &asked)?;
        known(tx, scope, &to)?;
        let route = table.routes.iter_mut().find(|route| route.destination == to).ok_or_else(|| {
            errors::invalid(format!(
                "There is no route defined for '{to}' in the route table. Use CreateRoute instead."
            ))
        })?;
        errors::dry_run(input.dry_run)?;
        route.target = target;
        tx.put(scope, &id, table);
        Ok(())
    })
    .await?;
    Ok(api::ReplaceRouteOutput {})
}

pub async fn delete_route(cx: Cx, input: api::DeleteRouteInput) -> Result<api::DeleteRouteOutput> {
    let id = errors::id::<id::RouteTable>(&input.route_table_id)?;
    let to = destination(
        input.destination_cidr_block.as_deref(),
        input.destination_ipv6_cidr_block.as_deref(),
        input.destination_prefix_list_id.as_deref(),
    )?;
    let scope = cx.scope();
    cx.txn(|tx| {
        let mut table = (*find::<RouteTable>(tx, scope, &id)?).clone();
        let at = table.routes.iter().position(|route| route.destination == to).ok_or_else(|| {
            let message = format!("no route with destination-cidr-block {to} in route table {id}");
            Error::client("InvalidRoute.NotFound", message)
        })?;
        if table.routes[at].target == Target::Local {
            return Err(errors::invalid(format!("cannot remove local route {to} in route table {id}")));
        }
        if matches!((&to, &table.routes[at].target), (Destination::PrefixList(_), Target::Endpoint(_))) {
            return Err(errors::invalid(format!("cannot remove VPC endpoint route {to} in route table {id}")));
        }
        errors::dry_run(input.dry_run)?;
        table.routes.remove(at);
        tx.put(scope, &id, table);
        Ok(())
    })
    .await?;
    Ok(api::DeleteRouteOutput {})
}

fn associated() -> Option<api::RouteTableAssociationState> {
    Some(api::RouteTableAssociationState { state: Some("associated".into()), ..Default::default() })
}

pub async fn associate(cx: Cx, input: api::AssociateRouteTableInput) -> Result<api::AssociateRouteTableOutput> {
    let id = errors::id::<id::RouteTable>(&input.route_table_id)?;
    let subnet_id = errors::required_id::<id::Subnet>(input.subnet_id.as_deref(), "subnetId")?;
    let (scope, new) = (cx.scope(), Id::<id::RouteTableAssociation>::new(cx.rng()));
    let association = cx
        .txn(|tx| {
            let mut table = (*find::<RouteTable>(tx, scope, &id)?).clone();
            let subnet = find::<Subnet>(tx, scope, &subnet_id)?;
            if subnet.vpc != table.vpc {
                let message = format!("Route table {id} and subnet {subnet_id} belong to different networks");
                return Err(errors::invalid(message));
            }
            let same = |association: &&RouteTableAssociation| association.subnet.as_ref() == Some(&subnet_id);
            if let Some(old) = table.associations.iter().find(same) {
                return Ok(old.id.clone());
            }
            if !tx.by_index::<RouteTable>(scope, "subnet", &subnet_id).is_empty() {
                let message =
                    format!("the specified association for route table {id} conflicts with an existing association");
                return Err(Error::client("Resource.AlreadyAssociated", message));
            }
            errors::dry_run(input.dry_run)?;
            table.associations.push(RouteTableAssociation { id: new.clone(), subnet: Some(subnet_id.clone()) });
            tx.put(scope, &id, table);
            Ok(new.clone())
        })
        .await?;
    Ok(api::AssociateRouteTableOutput { association_id: Some(association.into()), association_state: associated() })
}

/// The table that has this association, and the association's place in it.
fn holder(
    view: &View,
    scope: &Scope,
    association: &Id<id::RouteTableAssociation>,
) -> Result<(String, RouteTable, usize)> {
    let found = view.by_index::<RouteTable>(scope, "association", association);
    let (id, table) = found.first().ok_or_else(|| errors::not_found::<id::RouteTableAssociation>(association))?;
    let at = table.associations.iter().position(|known| known.id == *association).expect("indexed by it");
    Ok((id.to_string(), (**table).clone(), at))
}

pub async fn disassociate(
    cx: Cx,
    input: api::DisassociateRouteTableInput,
) -> Result<api::DisassociateRouteTableOutput> {
    let (scope, association) = (cx.scope(), errors::id::<id::RouteTableAssociation>(&input.association_id)?);
    cx.txn(|tx| {
        let (id, mut table, at) = holder(tx, scope, &association)?;
        if table.associations[at].subnet.is_none() {
            let message = format!("cannot disassociate the main route table association {association}");
            return Err(errors::invalid(message));
        }
        errors::dry_run(input.dry_run)?;
        table.associations.remove(at);
        tx.put(scope, &id, table);
        Ok(())
    })
    .await?;
    Ok(api::DisassociateRouteTableOutput {})
}

pub async fn replace_association(
    cx: Cx,
    input: api::ReplaceRouteTableAssociationInput,
) -> Result<api::ReplaceRouteTableAssociationOutput> {
    let association = errors::id::<id::RouteTableAssociation>(&input.association_id)?;
    let to = errors::id::<id::RouteTable>(&input.route_table_id)?;
    let (scope, new) = (cx.scope(), Id::<id::RouteTableAssociation>::new(cx.rng()));
    cx.txn(|tx| {
        let (from_id, from, at) = holder(tx, scope, &association)?;
        errors::dry_run(input.dry_run)?;
        if find::<RouteTable>(tx, scope, &to)?.vpc != from.vpc {
            return Err(errors::invalid(format!("Route table {to} and {from_id} belong to different networks")));
        }
        move_association(tx, scope, (&from_id, from, at), &to, &new)
    })
    .await?;
    Ok(api::ReplaceRouteTableAssociationOutput {
        new_association_id: Some(new.into()),
        association_state: associated(),
    })
}

fn move_association(
    tx: &mut Txn,
    scope: &Scope,
    (from_id, mut from, at): (&str, RouteTable, usize),
    to: &Id<id::RouteTable>,
    new: &Id<id::RouteTableAssociation>,
) -> Result<()> {
    let subnet = from.associations.remove(at).subnet;
    tx.put(scope, from_id, from);
    let mut table = (*find::<RouteTable>(tx, scope, to)?).clone();
    table.associations.push(RouteTableAssociation { id: new.clone(), subnet });
    tx.put(scope, to, table);
    Ok(())
}

pub async fn describe(cx: Cx, input: api::DescribeRouteTablesInput) -> Result<api::DescribeRouteTablesOutput> {
    defaults::ready(&cx).await?;
    cx.view(|view| {
        let rows = errors::select::<RouteTable>(view, cx.scope(), input.route_table_ids.as_ref())?;
        let rows = rows.iter().map(|(id, table)| shape(view, cx.scope(), id, table));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
        let (tables, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeRouteTablesOutput { route_tables: Some(tables), next_token })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, table: &RouteTable) -> api::RouteTable {
    let association = |association: &RouteTableAssociation| api::RouteTableAssociation {
        main: Some(association.subnet.is_none()),
        route_table_association_id: Some((&association.id).into()),
        route_table_id: Some(id.to_owned()),
        subnet_id: association.subnet.as_ref().map(String::from),
        association_state: associated(),
        ..Default::default()
    };
    let propagating = |id: &Id<VpnGatewayKind>| api::PropagatingVgw { gateway_id: Some(id.into()) };
    api::RouteTable {
        associations: Some(table.associations.iter().map(association).collect()),
        propagating_vgws: Some(table.propagating.iter().map(propagating).collect()),
        route_table_id: Some(id.to_owned()),
        routes: Some(table.routes.iter().map(|route| route_shape(view, scope, &table.vpc, route)).collect()),
        tags: tags::of(view, scope, id),
        vpc_id: Some((&table.vpc).into()),
        owner_id: Some(scope.account.to_string()),
    }
}

fn route_shape(view: &View, scope: &Scope, vpc: &Id<id::Vpc>, route: &Route) -> api::Route {
    let mut out = api::Route { origin: Some("CreateRoute".into()), ..Default::default() };
    match &route.destination {
        Destination::V4(block) => out.destination_cidr_block = Some(block.to_string()),
        Destination::V6(block) => out.destination_ipv6_cidr_block = Some(block.clone()),
        Destination::PrefixList(id) => out.destination_prefix_list_id = Some(id.into()),
    }
    if route.target == Target::Local {
        out.origin = Some("CreateRouteTable".into());
    }
    let active = route_targets::show(view, scope, vpc, &route.target, &mut out);
    out.state = Some(if active { "active" } else { "blackhole" }.into());
    out
}

impl Described for api::RouteTable {
    const FIELDS: &'static [Field<Self>] = &[
        ("association.route-table-association-id", |table| {
            filters::each(&table.associations, |association| &association.route_table_association_id)
        }),
        ("association.route-table-id", |table| {
            filters::each(&table.associations, |association| &association.route_table_id)
        }),
        ("association.subnet-id", |table| filters::each(&table.associations, |association| &association.subnet_id)),
        ("association.gateway-id", |table| filters::each(&table.associations, |association| &association.gateway_id)),
        ("association.main", |table| {
            table.associations.iter().flatten().flat_map(|association| filters::text(association.main)).collect()
        }),
        ("owner-id", |table| filters::one(&table.owner_id)),
        ("route-table-id", |table| filters::one(&table.route_table_id)),
        ("route.destination-cidr-block", |table| filters::each(&table.routes, |route| &route.destination_cidr_block)),
        ("route.destination-ipv6-cidr-block", |table| {
            filters::each(&table.routes, |route| &route.destination_ipv6_cidr_block)
        }),
        ("route.destination-prefix-list-id", |table| {
            filters::each(&table.routes, |route| &route.destination_prefix_list_id)
        }),
        ("route.egress-only-internet-gateway-id", |table| {
            filters::each(&table.routes, |route| &route.egress_only_internet_gateway_id)
        }),
        ("route.gateway-id", |table| filters::each(&table.routes, |route| &route.gateway_id)),
        ("route.instance-id", |table| filters::each(&table.routes, |route| &route.instance_id)),
        ("route.nat-gateway-id", |table| filters::each(&table.routes, |route| &route.nat_gateway_id)),
        ("route.origin", |table| filters::each(&table.routes, |route| &route.origin)),
        ("route.state", |table| filters::each(&table.routes, |route| &route.state)),
        ("route.transit-gateway-id", |_| Vec::new()),
        ("route.vpc-peering-connection-id", |table| {
            filters::each(&table.routes, |route| &route.vpc_peering_connection_id)
        }),
        ("transit-gateway-id", |_| Vec::new()),
        ("vpc-id", |table| filters::one(&table.vpc_id)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.route_table_id.clone().unwrap_or_default()
    }
}
