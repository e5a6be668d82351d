//! VPC peering connections, between VPCs of any account and region of this cloud.
//!
//! Invariant: the record is one for both sides, in the cloud's own scope; each side sees it under the same id, with tags
//! of its own. Two VPCs whose blocks overlap are never joined.

use std::sync::Arc;
use std::time::Duration;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{Peering, PeeringSide, PeeringState, Vpc, cloud};
use super::{defaults, tags};

/// How long a request waits to be accepted.
const ACCEPTANCE: Duration = Duration::from_secs(7 * 24 * 3600);

type Pcx = Id<id::VpcPeering>;

pub async fn create(
    cx: Cx,
    input: api::CreateVpcPeeringConnectionInput,
) -> Result<api::CreateVpcPeeringConnectionOutput> {
    defaults::ready(&cx).await?;
    let ours = errors::id::<id::Vpc>(&input.vpc_id)?;
    let theirs = errors::required_id::<id::Vpc>(input.peer_vpc_id.as_deref(), "peerVpcId")?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "vpc-peering-connection", &[])?;
    let (scope, id, now) = (cx.scope(), Pcx::new(cx.rng()), cx.now());
    let account = input.peer_owner_id.as_deref().unwrap_or(&scope.account);
    let there = Scope::new(account, input.peer_region.as_deref().unwrap_or(&scope.region));
    let shape = cx
        .txn(|tx| {
            let vpc = find::<Vpc>(tx, scope, &ours)?;
            let peer = tx.get::<Vpc>(&there, &theirs);
            if let Some((id, old)) = between(tx, &ours, &theirs) {
                if old.state == PeeringState::PendingAcceptance {
                    return Ok(shape(tx, scope, &id, &old));
                }
                let message = format!("VpcPeeringConnection {id} already exists between the specified VPCs.");
                return Err(Error::client("VpcPeeringConnectionAlreadyExists", message));
            }
            errors::dry_run(input.dry_run)?;
            let apart = |peer: &Vpc| !vpc.cidrs().iter().any(|a| peer.cidrs().iter().any(|b| a.overlaps(*b)));
            let state = match peer.as_deref().is_some_and(apart) {
                true => PeeringState::PendingAcceptance,
                false => PeeringState::Failed,
            };
            let message = match state {
                PeeringState::PendingAcceptance => format!("Pending Acceptance by {}", there.account),
                _ => state.message().to_owned(),
            };
            let peering = Peering {
                requester: side(scope, &ours, vpc.cidrs()),
                accepter: side(&there, &theirs, peer.map(|peer| peer.cidrs()).unwrap_or_default()),
                state,
                message,
                changed: now,
                expires: now + ACCEPTANCE,
            };
            tx.put(&cloud(), &id, peering.clone());
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &peering))
        })
        .await?;
    let status = api::VpcPeeringConnectionStateReason {
        code: Some("initiating-request".into()),
        message: Some(format!("Initiating Request to {account}")),
    };
    let shape = api::VpcPeeringConnection { status: Some(status), ..shape };
    Ok(api::CreateVpcPeeringConnectionOutput { vpc_peering_connection: Some(shape) })
}

fn side(scope: &Scope, vpc: &Id<id::Vpc>, cidrs: Vec<standfast_core::Cidr>) -> PeeringSide {
    PeeringSide {
        account: scope.account.to_string(),
        region: scope.region.to_string(),
        vpc: vpc.clone(),
        cidrs,
        dns_resolution: false,
    }
}

/// The open peering of two VPCs, whoever asked for it.
fn between(view: &View, a: &Id<id::Vpc>, b: &Id<id::Vpc>) -> Option<(Pcx, Arc<Peering>)> {
    let of_a = view.by_index::<Peering>(&cloud(), "vpc", a);
    let both = |peering: &Peering| peering.requester.vpc == *b || peering.accepter.vpc == *b;
    of_a.into_iter().find(|(_, peering)| both(peering)).map(|(id, peering)| (Id::from_shared(id), peering))
}

/// Whether a VPC has a peering, asked for or active.
pub fn of_vpc(view: &View, vpc: &Id<id::Vpc>) -> bool {
    !view.by_index::<Peering>(&cloud(), "vpc", vpc).is_empty()
}

/// A peering that is seen from here.
fn seen(view: &View, scope: &Scope, text: &str) -> Result<(Pcx, Arc<Peering>)> {
    let id = errors::id::<id::VpcPeering>(text)?;
    let peering = find::<Peering>(view, &cloud(), &id)?;
    match peering.side_in(scope) {
        Some(_) => Ok((id, peering)),
        None => Err(errors::not_found::<id::VpcPeering>(text)),
    }
}

/// Whether a peering of this id can have tags here.
pub fn exists(view: &View, scope: &Scope, text: &str) -> Result<()> {
    seen(view, scope, text).map(|_| ())
}

fn transition(id: &Pcx, from: PeeringState, to: &str) -> Error {
    let message = format!("Invalid state transition for {id}, attempted to transition from {} to {to}", from.name());
    Error::client("InvalidStateTransition", message)
}

/// Only who was asked may answer.
fn check_accepter(scope: &Scope, id: &Pcx, peering: &Peering) -> Result<()> {
    if peering.accepter.is_in(scope) {
        return Ok(());
    }
    let message = format!("User {} cannot accept or reject peering {id}", scope.account);
    Err(Error::client("OperationNotPermitted", message))
}

pub async fn accept(
    cx: Cx,
    input: api::AcceptVpcPeeringConnectionInput,
) -> Result<api::AcceptVpcPeeringConnectionOutput> {
    let (scope, now) = (cx.scope(), cx.now());
    let shape = cx
        .txn(|tx| {
            let (id, old) = seen(tx, scope, &input.vpc_peering_connection_id)?;
            check_accepter(scope, &id, &old)?;
            if matches!(old.state, PeeringState::Active | PeeringState::Provisioning) {
                return Ok(shape(tx, scope, &id, &old));
            }
            if old.state != PeeringState::PendingAcceptance {
                return Err(transition(&id, old.state, "active"));
            }
            errors::dry_run(input.dry_run)?;
            let state = PeeringState::Provisioning;
            let new = Peering { state, message: state.message().into(), changed: now, ..(*old).clone() };
            tx.put(&cloud(), &id, new.clone());
            Ok(shape(tx, scope, &id, &new))
        })
        .await?;
    Ok(api::AcceptVpcPeeringConnectionOutput { vpc_peering_connection: Some(shape) })
}

pub async fn reject(
    cx: Cx,
    input: api::RejectVpcPeeringConnectionInput,
) -> Result<api::RejectVpcPeeringConnectionOutput> {
    let (scope, now) = (cx.scope(), cx.now());
    cx.txn(|tx| {
        let (id, old) = seen(tx, scope, &input.vpc_peering_connection_id)?;
        check_accepter(scope, &id, &old)?;
        if old.state != PeeringState::PendingAcceptance {
            return Err(transition(&id, old.state, "rejected"));
        }
        errors::dry_run(input.dry_run)?;
        let message = format!("Rejected by {}", scope.account);
        tx.put(&cloud(), &id, Peering { state: PeeringState::Rejected, message, changed: now, ..(*old).clone() });
        Ok(())
    })
    .await?;
    Ok(api::RejectVpcPeeringConnectionOutput { r#return: Some(true) })
}

pub async fn delete(
    cx: Cx,
    input: api::DeleteVpcPeeringConnectionInput,
) -> Result<api::DeleteVpcPeeringConnectionOutput> {
    let (scope, now) = (cx.scope(), cx.now());
    cx.txn(|tx| {
        let (id, old) = seen(tx, scope, &input.vpc_peering_connection_id)?;
        if !old.state.is_open() {
            return Err(transition(&id, old.state, "deleted"));
        }
        errors::dry_run(input.dry_run)?;
        let message = format!("Deleted by {}", scope.account);
        tx.put(&cloud(), &id, Peering { state: PeeringState::Deleted, message, changed: now, ..(*old).clone() });
        Ok(())
    })
    .await?;
    Ok(api::DeleteVpcPeeringConnectionOutput { r#return: Some(true) })
}

pub async fn modify_options(
    cx: Cx,
    input: api::ModifyVpcPeeringConnectionOptionsInput,
) -> Result<api::ModifyVpcPeeringConnectionOptionsOutput> {
    let scope = cx.scope();
    let new = cx
        .txn(|tx| {
            let (id, old) = seen(tx, scope, &input.vpc_peering_connection_id)?;
            if old.state != PeeringState::Active {
                let message =
                    format!("Peering {id} is not active. Peering options can be added only to active peerings.");
                return Err(Error::client("OperationNotPermitted", message));
            }
            let mut new = (*old).clone();
            let sides = [
                (&mut new.requester, &input.requester_peering_connection_options),
                (&mut new.accepter, &input.accepter_peering_connection_options),
            ];
            for (side, options) in sides {
                let Some(options) = options else { continue };
                if !side.is_in(scope) {
                    let message = format!("User {} cannot modify the options of the other side", scope.account);
                    return Err(Error::client("OperationNotPermitted", message));
                }
                side.dns_resolution = options.allow_dns_resolution_from_remote_vpc.unwrap_or(side.dns_resolution);
            }
            errors::dry_run(input.dry_run)?;
            tx.put(&cloud(), &id, new.clone());
            Ok(new)
        })
        .await?;
    let options = |side: &PeeringSide| api::PeeringConnectionOptions {
        allow_dns_resolution_from_remote_vpc: Some(side.dns_resolution),
        allow_egress_from_local_classic_link_to_remote_vpc: Some(false),
        allow_egress_from_local_vpc_to_remote_classic_link: Some(false),
    };
    Ok(api::ModifyVpcPeeringConnectionOptionsOutput {
        requester_peering_connection_options: input
            .requester_peering_connection_options
            .map(|_| options(&new.requester)),
        accepter_peering_connection_options: input.accepter_peering_connection_options.map(|_| options(&new.accepter)),
    })
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeVpcPeeringConnectionsInput,
) -> Result<api::DescribeVpcPeeringConnectionsOutput> {
    let scope = cx.scope();
    cx.view(|view| {
        let ids = input.vpc_peering_connection_ids.as_ref().filter(|ids| !ids.is_empty());
        let rows: Vec<(Pcx, Arc<Peering>)> = match ids {
            Some(ids) => ids.iter().map(|text| seen(view, scope, text)).collect::<Result<_>>()?,
            None => {
                let key = Peering::side_key(&scope.account, &scope.region);
                let found = view.by_index::<Peering>(&cloud(), "side", &key);
                found.into_iter().map(|(id, peering)| (Id::from_shared(id), peering)).collect()
            }
        };
        let rows = rows.iter().map(|(id, peering)| shape(view, scope, id, peering));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (connections, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeVpcPeeringConnectionsOutput { vpc_peering_connections: Some(connections), next_token })
    })
}

fn shape(view: &View, scope: &Scope, id: &Pcx, peering: &Peering) -> api::VpcPeeringConnection {
    let joined = matches!(peering.state, PeeringState::Active | PeeringState::Provisioning);
    let info = |side: &PeeringSide, known: bool| {
        let cidrs = if known { &side.cidrs[..] } else { &[] };
        let block = |cidr: &standfast_core::Cidr| api::CidrBlock { cidr_block: Some(cidr.to_string()) };
        api::VpcPeeringConnectionVpcInfo {
            cidr_block: cidrs.first().map(ToString::to_string),
            cidr_block_set: known.then(|| cidrs.iter().map(block).collect()),
            owner_id: Some(side.account.clone()),
            peering_options: known.then_some(api::VpcPeeringConnectionOptionsDescription {
                allow_dns_resolution_from_remote_vpc: Some(side.dns_resolution),
                allow_egress_from_local_classic_link_to_remote_vpc: Some(false),
                allow_egress_from_local_vpc_to_remote_classic_link: Some(false),
            }),
            vpc_id: Some((&side.vpc).into()),
            region: Some(side.region.clone()),
            ..Default::default()
        }
    };
    let pending = peering.state == PeeringState::PendingAcceptance;
    api::VpcPeeringConnection {
        accepter_vpc_info: Some(info(&peering.accepter, joined)),
        requester_vpc_info: Some(info(&peering.requester, true)),
        expiration_time: pending.then_some(peering.expires),
        status: Some(api::VpcPeeringConnectionStateReason {
            code: Some(peering.state.name().into()),
            message: Some(peering.message.clone()),
        }),
        tags: tags::of(view, scope, id),
        vpc_peering_connection_id: Some(id.into()),
    }
}

type Info = api::VpcPeeringConnectionVpcInfo;

fn of(info: &Option<Info>, value: fn(&Info) -> &Option<String>) -> Vec<String> {
    info.iter().flat_map(|info| filters::one(value(info))).collect()
}

impl Described for api::VpcPeeringConnection {
    const FIELDS: &'static [Field<Self>] = &[
        ("accepter-vpc-info.cidr-block", |one| of(&one.accepter_vpc_info, |info| &info.cidr_block)),
        ("accepter-vpc-info.owner-id", |one| of(&one.accepter_vpc_info, |info| &info.owner_id)),
        ("accepter-vpc-info.vpc-id", |one| of(&one.accepter_vpc_info, |info| &info.vpc_id)),
        ("expiration-time", |one| filters::text(one.expiration_time)),
        ("requester-vpc-info.cidr-block", |one| of(&one.requester_vpc_info, |info| &info.cidr_block)),
        ("requester-vpc-info.owner-id", |one| of(&one.requester_vpc_info, |info| &info.owner_id)),
        ("requester-vpc-info.vpc-id", |one| of(&one.requester_vpc_info, |info| &info.vpc_id)),
        ("status-code", |one| one.status.iter().flat_map(|status| filters::one(&status.code)).collect()),
        ("status-message", |one| one.status.iter().flat_map(|status| filters::one(&status.message)).collect()),
        ("vpc-peering-connection-id", |one| filters::one(&one.vpc_peering_connection_id)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.vpc_peering_connection_id.clone().unwrap_or_default()
    }
}
