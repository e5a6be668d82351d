//! Virtual private gateways and egress-only internet gateways. AWS-DIFF: they can be made, attached and routed to, and
//! nothing goes through them: there is no VPN, and there is no IPv6.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, find};
use super::filters::{self, Described, Field, Filters, Paging, USUAL_BOUNDS};
use super::model::{EgressOnlyGateway, EgressOnlyGatewayKind, RouteTable, Vpc, VpnGateway, VpnGatewayKind};
use super::{defaults, tags};

const KIND: &str = "ipsec.1";
const ASN_DEFAULT: i64 = 64_512;

pub async fn create(cx: Cx, input: api::CreateVpnGatewayInput) -> Result<api::CreateVpnGatewayOutput> {
    if input.r#type != KIND {
        return Err(errors::invalid_value("type", &input.r#type));
    }
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "vpn-gateway", &[])?;
    let (scope, id) = (cx.scope(), Id::<VpnGatewayKind>::new(cx.rng()));
    let gateway = VpnGateway {
        vpc: None,
        asn: input.amazon_side_asn.unwrap_or(ASN_DEFAULT),
        zone: input.availability_zone.clone(),
        deleted: None,
    };
    let gateway = cx
        .txn(|tx| {
            errors::dry_run(input.dry_run)?;
            tx.put(scope, &id, gateway.clone());
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &gateway))
        })
        .await?;
    Ok(api::CreateVpnGatewayOutput { vpn_gateway: Some(gateway) })
}

/// A gateway that is not deleted.
fn there(view: &View, scope: &Scope, text: &str) -> Result<(Id<VpnGatewayKind>, VpnGateway)> {
    let id = errors::id::<VpnGatewayKind>(text)?;
    let gateway = find::<VpnGateway>(view, scope, &id)?;
    if gateway.deleted.is_some() {
        return Err(errors::not_found::<VpnGatewayKind>(text));
    }
    Ok((id, (*gateway).clone()))
}

pub async fn attach(cx: Cx, input: api::AttachVpnGatewayInput) -> Result<api::AttachVpnGatewayOutput> {
    let (scope, vpc) = (cx.scope(), errors::id::<id::Vpc>(&input.vpc_id)?);
    cx.txn(|tx| {
        let (id, gateway) = there(tx, scope, &input.vpn_gateway_id)?;
        find::<Vpc>(tx, scope, &vpc)?;
        match &gateway.vpc {
            Some(old) if *old == vpc => return Ok(()),
            Some(old) => {
                let message = format!("The vpnGateway '{id}' is already attached to vpc '{old}'");
                return Err(Error::client("VpnGatewayAttachmentLimitExceeded", message));
            }
            None => (),
        }
        if !tx.by_index::<VpnGateway>(scope, "vpc", &vpc).is_empty() {
            let message = format!("Network {vpc} already has a virtual private gateway attached");
            return Err(errors::invalid(message));
        }
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, VpnGateway { vpc: Some(vpc.clone()), ..gateway });
        Ok(())
    })
    .await?;
    let attachment = api::VpcAttachment { vpc_id: Some(vpc.into()), state: Some("attaching".into()) };
    Ok(api::AttachVpnGatewayOutput { vpc_attachment: Some(attachment) })
}

pub async fn detach(cx: Cx, input: api::DetachVpnGatewayInput) -> Result<api::DetachVpnGatewayOutput> {
    let (scope, vpc) = (cx.scope(), errors::id::<id::Vpc>(&input.vpc_id)?);
    cx.txn(|tx| {
        let (id, gateway) = there(tx, scope, &input.vpn_gateway_id)?;
        if gateway.vpc.as_ref() != Some(&vpc) {
            let message = format!("The vpnGateway '{id}' is not attached to vpc '{vpc}'");
            return Err(Error::client("InvalidVpnGatewayAttachment.NotFound", message));
        }
        errors::dry_run(input.dry_run)?;
        for (table_id, table) in tx.by_index::<RouteTable>(scope, "vpc", &vpc) {
            if table.propagating.contains(&id) {
                let mut table = (*table).clone();
                table.propagating.retain(|known| *known != id);
                tx.put(scope, &table_id, table);
            }
        }
        tx.put(scope, &id, VpnGateway { vpc: None, ..gateway });
        Ok(())
    })
    .await?;
    Ok(api::DetachVpnGatewayOutput {})
}

pub async fn delete(cx: Cx, input: api::DeleteVpnGatewayInput) -> Result<api::DeleteVpnGatewayOutput> {
    let (scope, now) = (cx.scope(), cx.now());
    cx.txn(|tx| {
        let (id, gateway) = there(tx, scope, &input.vpn_gateway_id)?;
        if gateway.vpc.is_some() {
            return Err(Error::client("IncorrectState", format!("The vpnGateway '{id}' is in use.")));
        }
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, VpnGateway { deleted: Some(now), ..gateway });
        Ok(())
    })
    .await?;
    Ok(api::DeleteVpnGatewayOutput {})
}

pub async fn describe(cx: Cx, input: api::DescribeVpnGatewaysInput) -> Result<api::DescribeVpnGatewaysOutput> {
    cx.view(|view| {
        let rows = errors::select::<VpnGateway>(view, cx.scope(), input.vpn_gateway_ids.as_ref())?;
        let filters = Filters::parse(input.filters.as_ref())?;
        let shapes = rows.iter().map(|(id, gateway)| shape(view, cx.scope(), id, gateway));
        let gateways = shapes.filter(|gateway| filters.pass(gateway)).collect();
        Ok(api::DescribeVpnGatewaysOutput { vpn_gateways: Some(gateways) })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, gateway: &VpnGateway) -> api::VpnGateway {
    let attachment =
        |vpc: &Id<id::Vpc>| api::VpcAttachment { vpc_id: Some(vpc.into()), state: Some("attached".into()) };
    api::VpnGateway {
        amazon_side_asn: Some(gateway.asn),
        tags: tags::of(view, scope, id),
        vpn_gateway_id: Some(id.to_owned()),
        state: Some(if gateway.deleted.is_some() { "deleted" } else { "available" }.into()),
        r#type: Some(KIND.into()),
        availability_zone: gateway.zone.clone(),
        vpc_attachments: Some(gateway.vpc.iter().map(attachment).collect()),
    }
}

impl Described for api::VpnGateway {
    const FIELDS: &'static [Field<Self>] = &[
        ("amazon-side-asn", |gateway| filters::text(gateway.amazon_side_asn)),
        ("attachment.state", |gateway| filters::each(&gateway.vpc_attachments, |attachment| &attachment.state)),
        ("attachment.vpc-id", |gateway| filters::each(&gateway.vpc_attachments, |attachment| &attachment.vpc_id)),
        ("availability-zone", |gateway| filters::one(&gateway.availability_zone)),
        ("state", |gateway| filters::one(&gateway.state)),
        ("type", |gateway| filters::one(&gateway.r#type)),
        ("vpn-gateway-id", |gateway| filters::one(&gateway.vpn_gateway_id)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.vpn_gateway_id.clone().unwrap_or_default()
    }
}

pub async fn enable_propagation(
    cx: Cx,
    input: api::EnableVgwRoutePropagationInput,
) -> Result<api::EnableVgwRoutePropagationOutput> {
    propagate(&cx, &input.route_table_id, &input.gateway_id, input.dry_run, true).await?;
    Ok(api::EnableVgwRoutePropagationOutput {})
}

pub async fn disable_propagation(
    cx: Cx,
    input: api::DisableVgwRoutePropagationInput,
) -> Result<api::DisableVgwRoutePropagationOutput> {
    propagate(&cx, &input.route_table_id, &input.gateway_id, input.dry_run, false).await?;
    Ok(api::DisableVgwRoutePropagationOutput {})
}

async fn propagate(cx: &Cx, table: &str, gateway: &str, dry_run: Option<bool>, on: bool) -> Result<()> {
    let (scope, table_id) = (cx.scope(), errors::id::<id::RouteTable>(table)?);
    cx.txn(|tx| {
        let mut table = (*find::<RouteTable>(tx, scope, &table_id)?).clone();
        let (id, record) = there(tx, scope, gateway)?;
        if on && record.vpc.as_ref() != Some(&table.vpc) {
            let message = format!("resource {id} is not attached to network {}", table.vpc);
            return Err(Error::client("Gateway.NotAttached", message));
        }
        errors::dry_run(dry_run)?;
        table.propagating.retain(|known| *known != id);
        if on {
            table.propagating.push(id);
        }
        tx.put(scope, &table_id, table);
        Ok(())
    })
    .await
}

pub async fn create_egress_only(
    cx: Cx,
    input: api::CreateEgressOnlyInternetGatewayInput,
) -> Result<api::CreateEgressOnlyInternetGatewayOutput> {
    defaults::ready(&cx).await?;
    let vpc = errors::id::<id::Vpc>(&input.vpc_id)?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "egress-only-internet-gateway", &[])?;
    let (scope, id) = (cx.scope(), Id::<EgressOnlyGatewayKind>::new(cx.rng()));
    let gateway = cx
        .txn(|tx| {
            find::<Vpc>(tx, scope, &vpc)?;
            errors::dry_run(input.dry_run)?;
            let gateway = EgressOnlyGateway { vpc: vpc.clone() };
            tx.put(scope, &id, gateway.clone());
            tags::put(tx, scope, &id, &given);
            Ok(egress_only_shape(tx, scope, &id, &gateway))
        })
        .await?;
    Ok(api::CreateEgressOnlyInternetGatewayOutput {
        client_token: input.client_token,
        egress_only_internet_gateway: Some(gateway),
    })
}

pub async fn delete_egress_only(
    cx: Cx,
    input: api::DeleteEgressOnlyInternetGatewayInput,
) -> Result<api::DeleteEgressOnlyInternetGatewayOutput> {
    let scope = cx.scope();
    let id = errors::id::<EgressOnlyGatewayKind>(&input.egress_only_internet_gateway_id)?;
    cx.txn(|tx| {
        find::<EgressOnlyGateway>(tx, scope, &id)?;
        errors::dry_run(input.dry_run)?;
        tx.delete::<EgressOnlyGateway>(scope, &id);
        tags::forget(tx, scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteEgressOnlyInternetGatewayOutput { return_code: Some(true) })
}

pub async fn describe_egress_only(
    cx: Cx,
    input: api::DescribeEgressOnlyInternetGatewaysInput,
) -> Result<api::DescribeEgressOnlyInternetGatewaysOutput> {
    cx.view(|view| {
        let ids = input.egress_only_internet_gateway_ids.as_ref();
        let rows = errors::select::<EgressOnlyGateway>(view, cx.scope(), ids)?;
        let rows = rows.iter().map(|(id, gateway)| egress_only_shape(view, cx.scope(), id, gateway));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (gateways, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeEgressOnlyInternetGatewaysOutput { egress_only_internet_gateways: Some(gateways), next_token })
    })
}

fn egress_only_shape(
    view: &View,
    scope: &Scope,
    id: &str,
    gateway: &EgressOnlyGateway,
) -> api::EgressOnlyInternetGateway {
    let attachment =
        api::InternetGatewayAttachment { state: Some("attached".into()), vpc_id: Some((&gateway.vpc).into()) };
    api::EgressOnlyInternetGateway {
        attachments: Some(vec![attachment]),
        egress_only_internet_gateway_id: Some(id.to_owned()),
        tags: tags::of(view, scope, id),
    }
}

impl Described for api::EgressOnlyInternetGateway {
    const FIELDS: &'static [Field<Self>] = &[];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.egress_only_internet_gateway_id.clone().unwrap_or_default()
    }
}
