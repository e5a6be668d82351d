//! Where routes lead: what a request may name, and whether it is there.
//!
//! Invariant: a route is made to what exists in, or is attached to, the VPC of its table. What goes or stops later leaves
//! the route as a `blackhole`.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Scope};
use standfast_store::View;

use super::errors::{self, find};
use super::model::{
    EgressOnlyGateway, Endpoint, EndpointKind, EndpointState, Instance, InternetGateway, NatGateway, NatState,
    NetworkInterface, Peering, PeeringState, State, Target, VpnGateway, cloud,
};

/// The targets that a request names. Those of services that this project lacks are never found.
#[derive(Default)]
pub struct Asked<'a> {
    pub gateway: Option<&'a str>,
    pub instance: Option<&'a str>,
    pub interface: Option<&'a str>,
    pub nat_gateway: Option<&'a str>,
    pub peering: Option<&'a str>,
    pub endpoint: Option<&'a str>,
    pub transit_gateway: Option<&'a str>,
    pub egress_only: Option<&'a str>,
    pub local: bool,
}

impl<'a> Asked<'a> {
    pub fn create(input: &'a api::CreateRouteInput) -> Self {
        Self {
            gateway: input.gateway_id.as_deref(),
            instance: input.instance_id.as_deref(),
            interface: input.network_interface_id.as_deref(),
            nat_gateway: input.nat_gateway_id.as_deref(),
            peering: input.vpc_peering_connection_id.as_deref(),
            endpoint: input.vpc_endpoint_id.as_deref(),
            transit_gateway: input.transit_gateway_id.as_deref(),
            egress_only: input.egress_only_internet_gateway_id.as_deref(),
            local: false,
        }
    }

    pub fn replace(input: &'a api::ReplaceRouteInput) -> Self {
        Self {
            gateway: input.gateway_id.as_deref(),
            instance: input.instance_id.as_deref(),
            interface: input.network_interface_id.as_deref(),
            nat_gateway: input.nat_gateway_id.as_deref(),
            peering: input.vpc_peering_connection_id.as_deref(),
            endpoint: input.vpc_endpoint_id.as_deref(),
            transit_gateway: input.transit_gateway_id.as_deref(),
            egress_only: input.egress_only_internet_gateway_id.as_deref(),
            local: input.local_target == Some(true),
        }
    }
}

/// The target, of a table of this VPC, that a request names.
pub fn target(view: &View, scope: &Scope, (table, vpc): (&str, &Id<id::Vpc>), asked: &Asked) -> Result<Target> {
    let not_found = |code: &'static str, noun: &str, id: &str| {
        Err(Error::client(code, format!("The {noun} ID '{id}' does not exist")))
    };
    let same = |of: &Id<id::Vpc>, what: &str| {
        let message = format!("route table {table} and {what} belong to different networks");
        if of == vpc { Ok(()) } else { Err(errors::invalid(message)) }
    };
    match asked {
        Asked { local: true, .. } | Asked { gateway: Some("local"), .. } => Ok(Target::Local),
        Asked { gateway: Some(text), .. } => gateway(view, scope, vpc, text),
        Asked { interface: Some(text), .. } => {
            let id = errors::id::<id::NetworkInterface>(text)?;
            same(&find::<NetworkInterface>(view, scope, &id)?.vpc, &format!("interface {id}"))?;
            Ok(Target::NetworkInterface(id))
        }
        Asked { instance: Some(text), .. } => {
            let instance = find::<Instance>(view, scope, &errors::id(text)?)?;
            same(&instance.vpc, &format!("interface of instance {text}"))?;
            match &instance.interfaces[..] {
                [only] => Ok(Target::NetworkInterface(only.clone())),
                _ => {
                    let message = format!(
                        "There are multiple interfaces attached to instance '{text}'. Please specify an interface ID for the operation instead."
                    );
                    Err(Error::client("InvalidInstanceID", message))
                }
            }
        }
        Asked { nat_gateway: Some(text), .. } => {
            let id = Id::<id::NatGateway>::parse(text);
            let found = id.and_then(|id| Some((view.get::<NatGateway>(scope, &id)?, id)));
            let there = found.filter(|(gateway, _)| gateway.state.is_there());
            let Some((gateway, id)) = there else {
                return not_found("InvalidNatGatewayID.NotFound", "natGateway", text);
            };
            same(&gateway.vpc, &format!("network gateway {id}"))?;
            Ok(Target::NatGateway(id))
        }
        Asked { peering: Some(text), .. } => {
            let id = errors::id::<id::VpcPeering>(text)?;
            let peering = find::<Peering>(view, &cloud(), &id)?;
            if !peering.state.is_open() {
                return Err(errors::not_found::<id::VpcPeering>(text));
            }
            let ours = [&peering.requester, &peering.accepter].into_iter().any(|side| side.vpc == *vpc);
            if !ours {
                let message =
                    format!("route table {table} and vpc peering connection {id} belong to different networks");
                return Err(errors::invalid(message));
            }
            Ok(Target::Peering(id))
        }
        Asked { endpoint: Some(text), .. } => {
            let id = errors::id::<id::VpcEndpoint>(text)?;
            let endpoint = find::<Endpoint>(view, scope, &id)?;
            if !matches!(endpoint.kind, EndpointKind::GatewayLoadBalancer { .. }) {
                return Err(errors::invalid(format!("VPC endpoint {id} is not of type GatewayLoadBalancer.")));
            }
            same(&endpoint.vpc, &format!("VPC endpoint {id}"))?;
            Ok(Target::Endpoint(id))
        }
        Asked { transit_gateway: Some(id), .. } => not_found("InvalidTransitGatewayID.NotFound", "transitGateway", id),
        Asked { egress_only: Some(text), .. } => {
            let id = errors::id(text)?;
            same(&find::<EgressOnlyGateway>(view, scope, &id)?.vpc, &format!("network gateway {id}"))?;
            Ok(Target::EgressOnly(id))
        }
        _ => Err(errors::missing("gatewayId")),
    }
}

/// An internet or a virtual private gateway.
fn gateway(view: &View, scope: &Scope, vpc: &Id<id::Vpc>, text: &str) -> Result<Target> {
    let internet = Id::<id::InternetGateway>::parse(text)
        .and_then(|id| Some((view.get::<InternetGateway>(scope, &id)?.vpc.clone(), Target::InternetGateway(id))));
    let private = || {
        let id = Id::parse(text)?;
        let gateway = view.get::<VpnGateway>(scope, &id)?;
        gateway.deleted.is_none().then(|| (gateway.vpc.clone(), Target::VpnGateway(id)))
    };
    let Some((attached, target)) = internet.or_else(private) else {
        let message = format!("The gateway ID '{text}' does not exist");
        return Err(Error::client("InvalidGatewayID.NotFound", message));
    };
    if attached.as_ref() != Some(vpc) {
        return Err(errors::invalid(format!("route table and network gateway {text} belong to different networks")));
    }
    Ok(target)
}

/// Says in an answer where a route leads, and whether that is there.
pub fn show(view: &View, scope: &Scope, vpc: &Id<id::Vpc>, target: &Target, out: &mut api::Route) -> bool {
    match target {
        Target::Local => {
            out.gateway_id = Some("local".into());
            true
        }
        Target::InternetGateway(id) => {
            out.gateway_id = Some(id.into());
            view.get::<InternetGateway>(scope, id).is_some_and(|gateway| gateway.vpc.as_ref() == Some(vpc))
        }
        Target::VpnGateway(id) => {
            out.gateway_id = Some(id.into());
            view.get::<VpnGateway>(scope, id).is_some_and(|gateway| gateway.vpc.as_ref() == Some(vpc))
        }
        Target::NetworkInterface(id) => {
            out.network_interface_id = Some(id.into());
            let Some(interface) = view.get::<NetworkInterface>(scope, id) else { return false };
            let Some(attachment) = &interface.attachment else { return interface.is_in_use() };
            out.instance_id = Some((&attachment.instance).into());
            out.instance_owner_id = Some(scope.account.to_string());
            let runs = |instance: &Instance| matches!(instance.state, State::Pending | State::Running);
            view.get::<Instance>(scope, &attachment.instance).is_some_and(|instance| runs(&instance))
        }
        Target::NatGateway(id) => {
            out.nat_gateway_id = Some(id.into());
            let gateway = view.get::<NatGateway>(scope, id);
            gateway.is_some_and(|gateway| matches!(gateway.state, NatState::Pending | NatState::Available))
        }
        Target::Peering(id) => {
            out.vpc_peering_connection_id = Some(id.into());
            let peering = view.get::<Peering>(&cloud(), id);
            peering.is_some_and(|peering| matches!(peering.state, PeeringState::Active | PeeringState::Provisioning))
        }
        Target::Endpoint(id) => {
            out.gateway_id = Some(id.into());
            view.get::<Endpoint>(scope, id).is_some_and(|endpoint| endpoint.state == EndpointState::Available)
        }
        Target::EgressOnly(id) => {
            out.egress_only_internet_gateway_id = Some(id.into());
            view.get::<EgressOnlyGateway>(scope, id).is_some()
        }
    }
}
