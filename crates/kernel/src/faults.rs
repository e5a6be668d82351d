//! Lasting faults: what is wrong now, on purpose, beside the zones and links of `zones`.
//!
//! A fault is a record, keyed by the experiment and the action that made it, in the account and region that it is for.
//! Whoever can make it true reads it when it makes its snapshot (compute, edge) or takes a request (the request path).
//! Invariant: nobody is told to break something and nobody has to be told to undo it: when the record goes, the next
//! snapshot is without it. What ends a fault is its experiment, which is not the business of this module.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use standfast_core::network::PacketFault;
use standfast_core::{Cidr, Error, Result, Rng, Scope};
use standfast_store::{Record, View};

use crate::cx::{Cx, Principal};

/// The table to watch for changes of faults.
pub const TABLE: &str = "kernel.faults";

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fault {
    /// Requests to a service fail.
    Api(ApiFault),
    /// Launches of instances find no capacity.
    Capacity(CapacityFault),
    /// Subnets are cut off from something.
    Subnets { ids: BTreeSet<String>, from: CutOff },
    /// Writes to these volumes hang.
    Volumes(BTreeSet<String>),
    /// What these instances send or get is lost, late or damaged.
    Packets { instances: BTreeSet<String>, faults: Vec<PacketFault> },
    /// The targets of these target groups (ARNs) fail their health checks.
    Targets(BTreeSet<String>),
}

/// Which requests fail, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiFault {
    /// As in policies: `ec2`.
    pub service: String,
    /// All of the service when there are none.
    pub operations: BTreeSet<String>,
    pub percentage: u8,
    pub callers: Callers,
    pub failure: ApiFailure,
}

/// Whose requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Callers {
    /// Everybody's, but not what services of the cloud ask of each other.
    All,
    /// Of those who have assumed one of these roles, by name.
    Roles(BTreeSet<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiFailure {
    Throttling,
    InternalError,
    Unavailable,
}

/// Which launches find no capacity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityFault {
    pub launches: Launches,
    pub zones: BTreeSet<String>,
    pub percentage: u8,
}

/// Whose launches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Launches {
    /// Everybody's, and those of services of the cloud.
    All,
    /// Of those who have assumed one of these roles, by name.
    Roles(BTreeSet<String>),
    /// Of these Auto Scaling groups, by name.
    Groups(BTreeSet<String>),
}

/// What a subnet is cut off from. Traffic within the subnet goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CutOff {
    Everything,
    /// Subnets of its VPC in other zones.
    OtherZones,
    /// What is not in its VPC.
    OutsideVpc,
    Blocks(Vec<Cidr>),
}

/// The record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Faulty(pub Fault);

impl Record for Faulty {
    const TABLE: &'static str = TABLE;
}

/// All that is wrong in an account and region.
pub fn at(view: &View, scope: &Scope) -> Vec<Fault> {
    view.list::<Faulty>(scope).into_iter().map(|(_, fault)| fault.0.clone()).collect()
}

/// All that is wrong anywhere.
pub fn all(view: &View) -> Vec<Fault> {
    view.all::<Faulty>().into_iter().map(|(.., fault)| fault.0.clone()).collect()
}

/// Makes something wrong, or with `None` undoes what was done under this key. Doing it twice is the same as once.
pub async fn set(cx: &Cx, key: &str, fault: Option<Fault>) -> Result<()> {
    cx.txn(|tx| {
        match (&fault, tx.get::<Faulty>(cx.scope(), key)) {
            (Some(new), old) if old.as_ref().is_none_or(|old| old.0 != *new) => {
                tx.put(cx.scope(), key, Faulty(new.clone()));
            }
            (None, Some(_)) => tx.delete::<Faulty>(cx.scope(), key),
            _ => (),
        }
        Ok(())
    })
    .await
}

impl Callers {
    /// Whether it is about the requests of this caller.
    pub fn include(&self, caller: &Principal) -> bool {
        match (self, caller) {
            (_, Principal::Service(_)) => false,
            (Self::All, _) => true,
            (Self::Roles(names), caller) => is_one_of(names, caller),
        }
    }
}

/// Whether the caller has assumed a role of one of these names.
fn is_one_of(roles: &BTreeSet<String>, caller: &Principal) -> bool {
    let Principal::Known { arn, .. } = caller else { return false };
    role_of(arn).is_some_and(|role| roles.contains(role))
}

/// The name of the role that an ARN of a session is of: `arn:aws:sts::123456789012:assumed-role/NAME/SESSION`.
fn role_of(arn: &str) -> Option<&str> {
    arn.rsplit_once(":assumed-role/")?.1.split('/').next()
}

/// The error that a request gets because of a fault.
pub fn of_request(
    view: &View,
    rng: &Rng,
    scope: &Scope,
    caller: &Principal,
    service: &str,
    operation: &str,
) -> Option<Error> {
    at(view, scope).into_iter().find_map(|fault| {
        let Fault::Api(fault) = fault else { return None };
        let meant = fault.service == service
            && (fault.operations.is_empty() || fault.operations.contains(operation))
            && fault.callers.include(caller);
        (meant && happens(rng, fault.percentage)).then(|| fault.failure.error(service))
    })
}

/// Whether a launch finds no capacity because of a fault; `group` is the Auto Scaling group that it is for.
pub fn refuses_launch(
    view: &View,
    rng: &Rng,
    scope: &Scope,
    caller: &Principal,
    group: Option<&str>,
    zone: &str,
) -> bool {
    at(view, scope).into_iter().any(|fault| {
        let Fault::Capacity(fault) = fault else { return false };
        let meant = match &fault.launches {
            Launches::All => true,
            Launches::Roles(names) => is_one_of(names, caller),
            Launches::Groups(names) => group.is_some_and(|group| names.contains(group)),
        };
        meant && fault.zones.contains(zone) && happens(rng, fault.percentage)
    })
}

fn happens(rng: &Rng, percentage: u8) -> bool {
    percentage >= 100 || rng.below(100) < usize::from(percentage)
}

impl ApiFailure {
    /// As the service says it.
    fn error(self, service: &str) -> Error {
        let (code, status, message) = match (self, service) {
            (Self::Throttling, "ec2") => ("RequestLimitExceeded", 503, "Request limit exceeded."),
            (
                Self::Throttling,
                "autoscaling" | "elasticloadbalancing" | "cloudwatch" | "cloudformation" | "iam" | "sts",
            ) => ("Throttling", 400, "Rate exceeded"),
            (Self::Throttling, _) => ("ThrottlingException", 400, "Rate exceeded"),
            (Self::InternalError, "ec2") => ("InternalError", 500, "An internal error has occurred"),
            (Self::InternalError, _) => ("InternalFailure", 500, "An internal error has occurred."),
            (Self::Unavailable, "ec2") => ("Unavailable", 503, "The service is unavailable. Please try again shortly."),
            (Self::Unavailable, _) => {
                ("ServiceUnavailable", 503, "The service is unavailable. Please try again shortly.")
            }
        };
        Error::client(code, message).with_status(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_meant_by_its_name_whoever_has_assumed_it() {
        let roles = Callers::Roles(["app".to_owned()].into());
        let known = |arn: &str| Principal::Known { arn: arn.into(), user_id: "x".into() };
        assert!(roles.include(&known("arn:aws:sts::123456789012:assumed-role/app/i-1")));
        for other in ["arn:aws:sts::123456789012:assumed-role/apps/i-1", "arn:aws:iam::123456789012:user/app"] {
            assert!(!roles.include(&known(other)), "{other}");
        }
        assert!(!roles.include(&Principal::Root) && Callers::All.include(&Principal::Root));
        assert!(!Callers::All.include(&Principal::Service("autoscaling")));
    }
}
