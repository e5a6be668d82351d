//! Launches that are refused: told in the activity history, and not repeated at once.
//!
//! Invariant: a zone (or a pool of a mixed group) in which a launch was refused is left alone for a while, longer with
//! every refusal in a row, up to a bound.

use standfast_core::{Error, Scope, Timestamp};
use standfast_kernel::zones;
use standfast_store::Txn;

use super::activities;
use super::model::{BackOff, Group, Launch, Member, Status};
use super::plan;

/// Ends a launch's activity with EC2's reason.
pub fn fail_activity(tx: &mut Txn, scope: &Scope, key: Option<&String>, now: Timestamp, error: &Error) {
    let reason = format!("{} Launching EC2 instance failed.", error.message);
    activities::update(tx, scope, key, |activity| {
        activity.description = format!("Launching a new EC2 instance.  Status Reason: {reason}");
    });
    activities::finish(tx, scope, key, now, Status::Failed, Some(reason));
}

/// Closes a zone or pool for a while. Refusals that come while it is closed are of the same attempt.
pub fn note(group: &mut Group, key: &str, now: Timestamp, dark: bool) {
    let earlier = group.back_offs.get(key);
    if earlier.is_some_and(|back_off| back_off.until > now) {
        return;
    }
    let failures = earlier.map_or(0, |back_off| back_off.failures) + 1;
    group.back_offs.insert(key.to_owned(), BackOff { until: now + plan::back_off(failures), failures, dark });
}

/// The name under which a refusal of what the member is is remembered, in a mixed group.
pub fn pool(launch: &Launch, member: &Member) -> Option<String> {
    let market = if member.spot { "spot" } else { "on-demand" };
    matches!(launch, Launch::Mixed(_)).then(|| format!("{} {} {market}", member.zone, member.instance_type))
}

/// A member's instance was refused: the member goes, and where it was tried is left alone.
pub fn refuse(tx: &mut Txn, scope: &Scope, id: &str, launch: &Launch, now: Timestamp, error: &Error) {
    let Some(member) = tx.get::<Member>(scope, id) else { return };
    fail_activity(tx, scope, member.activity.as_ref(), now, error);
    tx.delete::<Member>(scope, id);
    let Some(group) = tx.get::<Group>(scope, &member.group) else { return };
    let mut group = (*group).clone();
    for (key, dark) in closed(tx, &group, &member, launch, error) {
        note(&mut group, &key, now, dark);
    }
    tx.put(scope, &member.group, group);
}

/// What is closed by a refusal, and whether for want of power.
pub fn closed(tx: &Txn, group: &Group, member: &Member, launch: &Launch, error: &Error) -> Vec<(String, bool)> {
    let dark = zones::is_dark(tx, &member.zone);
    let codes = ["InsufficientInstanceCapacity", "SpotMaxPriceTooLow", "Unsupported", "MaxSpotInstanceCountExceeded"];
    match pool(launch, member) {
        Some(pool) if !dark && codes.iter().any(|code| error.is(code)) => vec![(pool, false)],
        _ if error.is("InsufficientInstanceCapacity") || error.is("InsufficientFreeAddressesInSubnet") => {
            vec![(member.zone.clone(), dark)]
        }
        // What is wrong with the request is wrong everywhere.
        _ => group.zones.iter().map(|zone| (zone.clone(), zones::is_dark(tx, zone))).collect(),
    }
}
