//! Internet gateways. A gateway is attached to one VPC at most, and a VPC has one at most.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{InternetGateway, NetworkInterface, Vpc};
use super::{defaults, tags};

pub async fn create(cx: Cx, input: api::CreateInternetGatewayInput) -> Result<api::CreateInternetGatewayOutput> {
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "internet-gateway", &[])?;
    errors::dry_run(input.dry_run)?;
    let (scope, id) = (cx.scope(), Id::<id::InternetGateway>::new(cx.rng()));
    let gateway = cx
        .txn(|tx| {
            let gateway = InternetGateway { vpc: None };
            tx.put(scope, &id, gateway.clone());
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &gateway))
        })
        .await?;
    Ok(api::CreateInternetGatewayOutput { internet_gateway: Some(gateway) })
}

pub async fn attach(cx: Cx, input: api::AttachInternetGatewayInput) -> Result<api::AttachInternetGatewayOutput> {
    let id = errors::id::<id::InternetGateway>(&input.internet_gateway_id)?;
    let vpc = errors::id::<id::Vpc>(&input.vpc_id)?;
    let scope = cx.scope();
    cx.txn(|tx| {
        let gateway = find::<InternetGateway>(tx, scope, &id)?;
        find::<Vpc>(tx, scope, &vpc)?;
        if let Some(other) = &gateway.vpc {
            let message = format!("resource {id} is already attached to network {other}");
            return Err(Error::client("Resource.AlreadyAssociated", message));
        }
        if !tx.by_index::<InternetGateway>(scope, "vpc", &vpc).is_empty() {
            let message = format!("Network {vpc} already has an internet gateway attached");
            return Err(Error::client("InvalidParameterValue", message));
        }
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, InternetGateway { vpc: Some(vpc.clone()) });
        Ok(())
    })
    .await?;
    Ok(api::AttachInternetGatewayOutput {})
}

pub async fn detach(cx: Cx, input: api::DetachInternetGatewayInput) -> Result<api::DetachInternetGatewayOutput> {
    let id = errors::id::<id::InternetGateway>(&input.internet_gateway_id)?;
    let vpc = errors::id::<id::Vpc>(&input.vpc_id)?;
    let scope = cx.scope();
    cx.txn(|tx| {
        let gateway = find::<InternetGateway>(tx, scope, &id)?;
        if gateway.vpc.as_ref() != Some(&vpc) {
            let message = format!("resource {id} is not attached to network {vpc}");
            return Err(Error::client("Gateway.NotAttached", message));
        }
        if tx.by_index::<NetworkInterface>(scope, "vpc", &vpc).iter().any(|(_, interface)| has_elastic_ip(interface)) {
            let message = format!(
                "Network {vpc} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway."
            );
            return Err(errors::dependency(message));
        }
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, InternetGateway { vpc: None });
        Ok(())
    })
    .await?;
    Ok(api::DetachInternetGatewayOutput {})
}

fn has_elastic_ip(interface: &NetworkInterface) -> bool {
    let mut publics = interface.addresses.iter().filter_map(|address| address.public.as_ref());
    publics.any(|public| public.allocation.is_some())
}

pub async fn delete(cx: Cx, input: api::DeleteInternetGatewayInput) -> Result<api::DeleteInternetGatewayOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::InternetGateway>(&input.internet_gateway_id)?);
    cx.txn(|tx| {
        if find::<InternetGateway>(tx, scope, &id)?.vpc.is_some() {
            let message = format!("The internetGateway '{id}' has dependencies and cannot be deleted.");
            return Err(errors::dependency(message));
        }
        errors::dry_run(input.dry_run)?;
        tx.delete::<InternetGateway>(scope, &id);
        tags::forget(tx, scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteInternetGatewayOutput {})
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeInternetGatewaysInput,
) -> Result<api::DescribeInternetGatewaysOutput> {
    defaults::ready(&cx).await?;
    cx.view(|view| {
        let rows = errors::select::<InternetGateway>(view, cx.scope(), input.internet_gateway_ids.as_ref())?;
        let rows = rows.iter().map(|(id, gateway)| shape(view, cx.scope(), id, gateway));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (gateways, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeInternetGatewaysOutput { internet_gateways: Some(gateways), next_token })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, gateway: &InternetGateway) -> api::InternetGateway {
    let attachment = |vpc: &Id<id::Vpc>| api::InternetGatewayAttachment {
        state: Some("available".into()),
        vpc_id: Some(vpc.to_string()),
    };
    api::InternetGateway {
        attachments: Some(gateway.vpc.iter().map(attachment).collect()),
        internet_gateway_id: Some(id.to_owned()),
        owner_id: Some(scope.account.to_string()),
        tags: tags::of(view, scope, id),
    }
}

impl Described for api::InternetGateway {
    const FIELDS: &'static [Field<Self>] = &[
        ("attachment.state", |gateway| filters::each(&gateway.attachments, |attachment| &attachment.state)),
        ("attachment.vpc-id", |gateway| filters::each(&gateway.attachments, |attachment| &attachment.vpc_id)),
        ("internet-gateway-id", |gateway| filters::one(&gateway.internet_gateway_id)),
        ("owner-id", |gateway| filters::one(&gateway.owner_id)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.internet_gateway_id.clone().unwrap_or_default()
    }
}
