//! Members on their way between the group and its warm pool: records and activities.

use std::sync::Arc;

use standfast_store::Txn;

use super::activities::{self, Draft};
use super::apply::{Pass, Records};
use super::model::{Group, Lifecycle, Member, Move, PoolState, Status};
use super::{causes, plan};

/// Takes a warmed member into the group.
pub fn draw(tx: &mut Txn, pass: &Pass, records: &mut Records, id: &Arc<str>) {
    let units = |records: &Records| records.members.values().filter(|m| m.counts()).map(Member::units).sum::<i32>();
    let have = units(records);
    let change = records.group.change.clone();
    let Some(member) = records.members.get_mut(id) else { return };
    member.state = Lifecycle::Pending;
    member.moves = Some(Move::Out);
    let to = have + member.units();
    let cause = causes::launch(pass.now, &plan::LaunchCause::Difference, change.as_deref(), have, to);
    let instance = member.instance.as_deref().unwrap_or_default();
    let description = format!("Launching a new EC2 instance from warm pool: {instance}");
    let key = begin(tx, pass, &records.group, member, description, cause);
    member.activity = Some(key);
    tx.put(pass.scope, id, member.clone());
}

/// Puts a member that the group lets go into the pool.
pub fn put_back(tx: &mut Txn, pass: &Pass, records: &mut Records, id: &Arc<str>) {
    let Some(member) = records.members.get_mut(id) else { return };
    let instance = member.instance.clone().unwrap_or_default();
    let cause = causes::returned(pass.now, &instance, records.group.change.as_deref());
    let description = format!("Returning EC2 instance to warm pool: {instance}");
    let key = begin(tx, pass, &records.group, member, description, cause);
    member.state = Lifecycle::WarmedPending;
    member.moves = Some(Move::Back);
    member.in_service = None;
    member.spare = false;
    member.waits.clear();
    member.activity = Some(key);
    tx.put(pass.scope, id, member.clone());
}

/// A member is warm.
pub fn rest(tx: &mut Txn, pass: &Pass, records: &mut Records, id: &Arc<str>) {
    let Some(pool) = &records.group.warm_pool else { return };
    let Some(member) = records.members.get_mut(id) else { return };
    activities::finish(tx, pass.scope, member.activity.as_ref(), pass.now, Status::Successful, None);
    member.state = match pool.state {
        PoolState::Running => Lifecycle::WarmedRunning,
        PoolState::Stopped => Lifecycle::WarmedStopped,
        // AWS-DIFF: the memory of hibernated instances is not kept; they are stopped.
        PoolState::Hibernated => Lifecycle::WarmedHibernated,
    };
    (member.moves, member.activity) = (None, None);
    records.group.back_offs.remove(&member.zone);
    tx.put(pass.scope, id, member.clone());
}

fn begin(tx: &mut Txn, pass: &Pass, group: &Group, member: &Member, description: String, cause: String) -> String {
    let draft = Draft {
        group: pass.name,
        group_arn: &group.arn,
        description,
        cause,
        status: Status::PreInService,
        progress: 30,
        member,
    };
    activities::begin(tx, pass.scope, &pass.rng, pass.now, draft)
}
