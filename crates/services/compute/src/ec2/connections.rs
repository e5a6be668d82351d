//! The controller of what connects networks: gateways, endpoints and peerings move on by themselves once they are asked
//! for, are shown for a while after they are gone, and peerings that nobody accepts expire.
//!
//! Invariant: `next` alone says what becomes of a record, and says nothing about one that is as it should be.

use std::time::Duration;

use standfast_core::{Result, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};
use standfast_store::Record;

use super::model::{Endpoint, EndpointState, NatGateway, NatState, Peering, PeeringState, VpnGateway};
use super::tags;

/// The tables whose records it moves.
pub const TABLES: &[&str] = &[NatGateway::TABLE, Endpoint::TABLE, Peering::TABLE, VpnGateway::TABLE];

/// How long what is gone stays visible.
const GONE_VISIBLE: Duration = Duration::from_secs(3600);
/// Peerings stay for longer: those that were deleted or failed, and those that were refused.
const PEERING_VISIBLE: Duration = Duration::from_secs(2 * 3600);
const REFUSED_PEERING_VISIBLE: Duration = Duration::from_secs(2 * 24 * 3600);

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq)]
enum Next<R> {
    Put(R),
    Forget,
    At(Timestamp),
    Nothing,
}

/// A record that moves on.
trait Moving: Record + Clone + PartialEq {
    fn next(&self, now: Timestamp) -> Next<Self>;

    /// Where its tags are: in its own scope, for almost all.
    fn tagged(&self, scope: &Scope) -> Vec<Scope> {
        vec![scope.clone()]
    }
}

fn forget_at<R>(due: Timestamp, now: Timestamp) -> Next<R> {
    if now >= due { Next::Forget } else { Next::At(due) }
}

impl Moving for NatGateway {
    fn next(&self, now: Timestamp) -> Next<Self> {
        match (self.state, self.deleted) {
            (NatState::Pending, _) => Next::Put(Self { state: NatState::Available, ..self.clone() }),
            (NatState::Deleting, _) => Next::Put(Self { state: NatState::Deleted, ..self.clone() }),
            (NatState::Deleted, deleted) => forget_at(deleted.unwrap_or(self.created) + GONE_VISIBLE, now),
            (NatState::Available, _) => Next::Nothing,
        }
    }
}

impl Moving for Endpoint {
    fn next(&self, _: Timestamp) -> Next<Self> {
        match self.state {
            EndpointState::Pending => Next::Put(Self { state: EndpointState::Available, ..self.clone() }),
            EndpointState::Deleting => Next::Forget,
            EndpointState::PendingAcceptance | EndpointState::Available | EndpointState::Rejected => Next::Nothing,
        }
    }
}

impl Moving for Peering {
    fn next(&self, now: Timestamp) -> Next<Self> {
        let state = |state| Next::Put(Self { state, message: state.message().into(), changed: now, ..self.clone() });
        match self.state {
            PeeringState::PendingAcceptance if now >= self.expires => state(PeeringState::Expired),
            PeeringState::PendingAcceptance => Next::At(self.expires),
            PeeringState::Provisioning => state(PeeringState::Active),
            PeeringState::Active => Next::Nothing,
            PeeringState::Deleted | PeeringState::Failed => forget_at(self.changed + PEERING_VISIBLE, now),
            PeeringState::Rejected | PeeringState::Expired => forget_at(self.changed + REFUSED_PEERING_VISIBLE, now),
        }
    }

    fn tagged(&self, _: &Scope) -> Vec<Scope> {
        vec![self.requester.scope(), self.accepter.scope()]
    }
}

impl PeeringState {
    /// How answers explain the state.
    pub fn message(self) -> &'static str {
        match self {
            PeeringState::PendingAcceptance => "Pending Acceptance",
            PeeringState::Provisioning => "Provisioning",
            PeeringState::Active => "Active",
            PeeringState::Deleted => "Deleted",
            PeeringState::Rejected => "Rejected",
            PeeringState::Failed => "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range",
            PeeringState::Expired => "Expired",
        }
    }
}

impl Moving for VpnGateway {
    fn next(&self, now: Timestamp) -> Next<Self> {
        self.deleted.map_or(Next::Nothing, |deleted| forget_at(deleted + GONE_VISIBLE, now))
    }
}

pub async fn run(cx: Cx) -> Result<Wake> {
    let wake = advance::<NatGateway>(&cx).await?;
    let wake = wake.or(advance::<Endpoint>(&cx).await?);
    let wake = wake.or(advance::<Peering>(&cx).await?);
    Ok(wake.or(advance::<VpnGateway>(&cx).await?))
}

/// Moves all records of a table that are due.
async fn advance<R: Moving>(cx: &Cx) -> Result<Wake> {
    let now = cx.now();
    let (mut due, mut wake) = (Vec::new(), Wake::OnChange);
    for (scope, id, record) in cx.view(|view| view.all::<R>()) {
        match record.next(now) {
            Next::Nothing => (),
            Next::At(at) => wake = wake.or(Wake::At(at)),
            next => due.push((scope, id, record, next)),
        }
    }
    if due.is_empty() {
        return Ok(wake);
    }
    cx.txn(|tx| {
        for (scope, id, planned, next) in &due {
            // What has changed since is planned anew, by the change's own wake-up.
            if tx.get::<R>(scope, id).is_none_or(|newest| *newest != **planned) {
                continue;
            }
            match next {
                Next::Put(record) => tx.put(scope, id, record.clone()),
                Next::Forget => {
                    tx.delete::<R>(scope, id);
                    planned.tagged(scope).iter().for_each(|scope| tags::forget(tx, scope, id));
                }
                Next::At(_) | Next::Nothing => (),
            }
        }
        Ok(())
    })
    .await?;
    Ok(wake)
}

#[cfg(test)]
mod tests {
    use standfast_core::Id;

    use super::super::model::PeeringSide;
    use super::*;

    const NOW: Timestamp = Timestamp(10_000_000_000);

    fn peering(state: PeeringState, changed: Timestamp) -> Peering {
        let side = |vpc| PeeringSide {
            account: "1".into(),
            region: "eu-west-1".into(),
            vpc: Id::from_text(vpc),
            cidrs: Vec::new(),
            dns_resolution: false,
        };
        let expires = changed + Duration::from_secs(60);
        Peering { requester: side("vpc-1"), accepter: side("vpc-2"), state, message: String::new(), changed, expires }
    }

    #[test]
    fn a_peering_moves_when_it_is_due() {
        use PeeringState::*;
        let minutes = |minutes: u64| Timestamp(NOW.0 - (minutes * 60_000) as i64);
        for (state, since, expected) in [
            (PendingAcceptance, minutes(0), None),
            (PendingAcceptance, minutes(2), Some(Some(Expired))),
            (Provisioning, minutes(0), Some(Some(Active))),
            (Active, minutes(10_000), None),
            (Deleted, minutes(119), None),
            (Deleted, minutes(120), Some(None)),
            (Failed, minutes(120), Some(None)),
            (Rejected, minutes(120), None),
            (Expired, minutes(2 * 24 * 60), Some(None)),
        ] {
            let moved = match peering(state, since).next(NOW) {
                Next::Put(new) => Some(Some(new.state)),
                Next::Forget => Some(None),
                Next::At(at) => {
                    assert!(at > NOW, "{state:?}");
                    None
                }
                Next::Nothing => None,
            };
            assert_eq!(moved, expected, "{state:?}");
        }
    }
}
