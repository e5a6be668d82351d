//! Further blocks of VPCs.
//!
//! Invariant: the blocks of a VPC do not overlap, each of its route tables has a local route for each, and a block goes
//! only when no subnet is in it.

use standfast_api::ec2 as api;
use standfast_core::id;
use standfast_core::{Cidr, Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::Txn;

use super::errors::{self, find};
use super::model::{Destination, Route, RouteTable, Subnet, Target, Vpc};
use super::vpcs::{self, cidr};

/// How many blocks a VPC may have.
const BLOCKS_MAX: usize = 5;

pub async fn associate(cx: Cx, input: api::AssociateVpcCidrBlockInput) -> Result<api::AssociateVpcCidrBlockOutput> {
    let (scope, vpc_id) = (cx.scope(), errors::id::<id::Vpc>(&input.vpc_id)?);
    if input.amazon_provided_ipv6_cidr_block == Some(true) || input.ipv6_cidr_block.is_some() {
        return Err(Error::client("UnsupportedOperation", "IPv6 blocks are not supported."));
    }
    let text = errors::required(input.cidr_block.as_deref(), "cidrBlock")?;
    let block = cidr(text, "cidrBlock")?;
    vpcs::check_size(block, text)?;
    let association = format!("vpc-cidr-assoc-{}", cx.rng().hex(17));
    cx.txn(|tx| {
        let mut vpc = (*find::<Vpc>(tx, scope, &vpc_id)?).clone();
        if vpc.cidrs().iter().any(|known| known.overlaps(block)) {
            let message = format!("The CIDR '{text}' conflicts with another CIDR block of the VPC");
            return Err(Error::client("CidrConflict", message));
        }
        if vpc.cidrs().len() >= BLOCKS_MAX {
            let message = format!("The maximum number of CIDR blocks ({BLOCKS_MAX}) of the VPC has been reached.");
            return Err(Error::client("CidrLimitExceeded", message));
        }
        vpc.more_cidrs.push((association.clone(), block));
        tx.put(scope, &vpc_id, vpc);
        route(tx, scope, &vpc_id, block, true);
        Ok(())
    })
    .await?;
    Ok(api::AssociateVpcCidrBlockOutput {
        cidr_block_association: Some(shape(&association, block, "associating")),
        vpc_id: Some(vpc_id.into()),
        ..Default::default()
    })
}

/// Gives the VPC's route tables the local route to a block, or takes it from them.
fn route(tx: &mut Txn, scope: &Scope, vpc: &id::Id<id::Vpc>, block: Cidr, there: bool) {
    for (id, table) in tx.by_index::<RouteTable>(scope, "vpc", vpc) {
        let mut table = (*table).clone();
        let local = Route { destination: Destination::V4(block), target: Target::Local };
        table.routes.retain(|route| *route != local);
        if there {
            let after = table.routes.iter().take_while(|route| route.target == Target::Local).count();
            table.routes.insert(after, local);
        }
        tx.put(scope, &id, table);
    }
}

/// A block's association as answers show it.
pub fn shape(association: &str, block: Cidr, state: &str) -> api::VpcCidrBlockAssociation {
    api::VpcCidrBlockAssociation {
        association_id: Some(association.to_owned()),
        cidr_block: Some(block.to_string()),
        cidr_block_state: Some(api::VpcCidrBlockState { state: Some(state.into()), ..Default::default() }),
    }
}

pub async fn disassociate(
    cx: Cx,
    input: api::DisassociateVpcCidrBlockInput,
) -> Result<api::DisassociateVpcCidrBlockOutput> {
    let (scope, association) = (cx.scope(), &input.association_id);
    let (vpc_id, block) = cx
        .txn(|tx| {
            let vpcs = tx.list::<Vpc>(scope);
            if vpcs.iter().any(|(_, vpc)| vpc.cidr_association == *association) {
                let message = format!(
                    "The vpc CIDR block with association ID {association} may not be disassociated. It is the primary IPv4 CIDR block of the VPC"
                );
                return Err(Error::client("OperationNotPermitted", message));
            }
            let holder = vpcs.into_iter().find_map(|(id, vpc)| {
                let at = vpc.more_cidrs.iter().position(|(known, _)| known == association)?;
                Some((id::Id::<id::Vpc>::from_shared(id), (*vpc).clone(), at))
            });
            let (id, mut vpc, at) = holder.ok_or_else(|| {
                let message = format!("The vpc CIDR block association ID '{association}' does not exist");
                Error::client("InvalidVpcCidrBlockAssociationID.NotFound", message)
            })?;
            let (_, block) = vpc.more_cidrs.remove(at);
            let subnets = tx.by_index::<Subnet>(scope, "vpc", &id);
            if let Some((subnet, _)) = subnets.iter().find(|(_, subnet)| block.covers(subnet.cidr)) {
                let message = format!("The CIDR block {block} has dependencies ({subnet}) and cannot be disassociated.");
                return Err(errors::dependency(message));
            }
            tx.put(scope, &id, vpc);
            route(tx, scope, &id, block, false);
            Ok((id, block))
        })
        .await?;
    Ok(api::DisassociateVpcCidrBlockOutput {
        cidr_block_association: Some(shape(association, block, "disassociating")),
        vpc_id: Some(vpc_id.into()),
        ..Default::default()
    })
}
