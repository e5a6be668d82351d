//! Carries decisions out: record changes and the activities that tell of them, in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Error, Rng, Scope, Timestamp};
use standfast_kernel::zones;
use standfast_store::Txn;

use super::activities::{self, Draft};
use super::causes;
use super::hooks;
use super::launch::Recipe;
use super::model::{BackOff, Group, Hook, HookWait, Launch, Lifecycle, Member, Move, Registration, Status};
use super::plan::{self, Decision, EndCause, LaunchCause, Pick, Plan};
use super::pool_moves::{draw, put_back, rest};
use super::refreshes::{self, Refresh, RefreshStatus};
use super::refusals::{self, pool};
use super::{notifications, policies};

/// A group in a transaction.
pub struct Pass<'a> {
    pub scope: &'a Scope,
    pub name: &'a str,
    pub now: Timestamp,
    /// A generator of this transaction's own: it may run twice.
    pub rng: Rng,
    /// What instances are launched from, or why they cannot be; None when no launch was foreseen.
    pub recipe: Option<&'a Result<Recipe, Error>>,
}

/// The group's records while they change.
pub struct Records {
    pub group: Group,
    pub members: BTreeMap<Arc<str>, Member>,
    pub hooks: Vec<(String, Arc<Hook>)>,
    /// The active instance refresh, with its key.
    pub refresh: Option<(Arc<str>, Refresh)>,
}

impl Records {
    /// What new members are launched from.
    pub fn launch(&self) -> &Launch {
        self.refresh.as_ref().and_then(|(_, refresh)| refresh.launch()).unwrap_or(&self.group.launch)
    }
}

/// Applies a plan that was made of exactly these records.
pub fn apply(tx: &mut Txn, pass: &Pass, mut records: Records, plan: &Plan) {
    let before = records.group.clone();
    let mut gone = false;
    for decision in &plan.decisions {
        gone |= *decision == Decision::DeleteGroup;
        one(tx, pass, &mut records, decision);
    }
    launches(tx, pass, &mut records, plan);
    if gone {
        tx.delete::<Group>(pass.scope, pass.name);
        for (hook, _) in &records.hooks {
            tx.delete::<Hook>(pass.scope, &Hook::key(pass.name, hook));
        }
        policies::remove_all(tx, pass.scope, pass.name, pass.now);
        refreshes::remove_all(tx, pass.scope, pass.name);
    } else if before != records.group {
        tx.put(pass.scope, pass.name, records.group);
    }
}

fn one(tx: &mut Txn, pass: &Pass, records: &mut Records, decision: &Decision) {
    let (scope, now) = (pass.scope, pass.now);
    match decision {
        Decision::Launch { .. } | Decision::DeleteGroup => (),
        Decision::ClearChange => records.group.change = None,
        Decision::ClearBackOff { zone } => {
            records.group.back_offs.remove(zone);
        }
        Decision::BackOff { zone } => {
            let failures = records.group.back_offs.get(zone).map_or(0, |b| b.failures) + 1;
            let until = now + plan::early_back_off(failures);
            let dark = zones::is_dark(tx, zone);
            records.group.back_offs.insert(zone.clone(), BackOff { until, failures, dark });
        }
        Decision::Remove { member } => {
            if let Some(record) = records.members.remove(member) {
                activities::finish(tx, scope, record.activity.as_ref(), now, Status::Successful, None);
                tx.delete::<Member>(scope, member);
            }
        }
        Decision::Terminate { member, cause } => terminate(tx, pass, records, member, cause),
        Decision::MarkUnhealthy { member, why } => change(tx, scope, records, member, |m| m.unhealthy = Some(*why)),
        Decision::Settle { member } => change(tx, scope, records, member, |m| m.spare = false),
        Decision::Forget { member, target_group } => {
            change(tx, scope, records, member, |m| {
                m.targets.remove(target_group);
            });
        }
        Decision::Draw { member } => draw(tx, pass, records, member),
        Decision::Return { member } => put_back(tx, pass, records, member),
        Decision::Rest { member } => rest(tx, pass, records, member),
        Decision::DropPool => records.group.warm_pool = None,
        Decision::Refresh(next) => refresh(tx, scope, records, next),
        Decision::Wait { member } => wait(tx, pass, records, member),
        Decision::Proceed { member } => change(tx, scope, records, member, |m| {
            m.state = m.state.proceeding();
            m.waits.clear();
        }),
        Decision::InService { member } => {
            let Some(record) = records.members.get(member) else { return };
            let (activity, zone, pool) = (record.activity.clone(), record.zone.clone(), pool(records.launch(), record));
            activities::finish(tx, scope, activity.as_ref(), now, Status::Successful, None);
            records.group.back_offs.remove(&zone);
            if let Some(pool) = pool {
                records.group.back_offs.remove(&pool);
            }
            change(tx, scope, records, member, |m| {
                m.state = Lifecycle::InService;
                m.in_service = Some(now);
                m.activity = None;
                m.moves = None;
            });
        }
    }
}

fn change(tx: &mut Txn, scope: &Scope, records: &mut Records, id: &Arc<str>, change: impl FnOnce(&mut Member)) {
    if let Some(member) = records.members.get_mut(id) {
        change(member);
        tx.put(scope, id, member.clone());
    }
}

fn terminate(tx: &mut Txn, pass: &Pass, records: &mut Records, id: &Arc<str>, cause: &EndCause) {
    let shrinks = matches!(cause, EndCause::Shrink { .. });
    let change = records.group.change.clone().filter(|_| shrinks);
    let Some(member) = records.members.get_mut(id) else { return };
    let instance = member.instance.clone().unwrap_or_default();
    let text = causes::end(pass.now, cause, &instance, change.as_deref());
    begin_end(tx, pass, &records.group, id, member, text);
}

/// Sends a member on its way out and writes down why.
pub fn begin_end(tx: &mut Txn, pass: &Pass, group: &Group, id: &str, member: &mut Member, cause: String) -> String {
    let (scope, now) = (pass.scope, pass.now);
    if member.state.is_pending() {
        let message = "Instance became unhealthy while waiting for instance to be in InService state.".to_owned();
        let message = member.unhealthy.map(|_| message);
        activities::finish(tx, scope, member.activity.as_ref(), now, Status::Cancelled, message);
    }
    let drains = member.targets.values().any(|registration| *registration == Registration::Registered);
    let (status, progress) =
        if drains { (Status::WaitingForElbConnectionDraining, 60) } else { (Status::InProgress, 50) };
    let draft = Draft {
        group: pass.name,
        group_arn: &group.arn,
        description: format!(
            "Terminating EC2 instance{}: {}",
            if member.state.in_pool() { " from warm pool" } else { "" },
            member.instance.as_deref().unwrap_or_default()
        ),
        cause,
        status,
        progress,
        member,
    };
    let key = activities::begin(tx, scope, &pass.rng, now, draft);
    let in_pool = member.state.in_pool();
    member.state = if in_pool { Lifecycle::WarmedTerminating } else { Lifecycle::Terminating };
    member.spare = false;
    member.waits.clear();
    member.activity = Some(key.clone());
    tx.put(scope, id, member.clone());
    key
}

fn wait(tx: &mut Txn, pass: &Pass, records: &mut Records, id: &Arc<str>) {
    let Some(member) = records.members.get_mut(id) else { return };
    let launching = !member.state.is_terminating() && member.moves != Some(Move::Back);
    let waits = records.hooks.iter().filter(|(_, hook)| hook.launching == launching).map(|(name, hook)| HookWait {
        hook: name.clone(),
        token: pass.rng.uuid(),
        until: pass.now + seconds(hook.heartbeat_s),
        limit: pass.now + seconds(hooks::hold_max_s(hook)),
        result: None,
    });
    member.waits = waits.collect();
    member.state = member.state.waiting();
    activities::update(tx, pass.scope, member.activity.as_ref(), |activity| {
        activity.status = Status::MidLifecycleAction;
        activity.progress = 60;
    });
    notifications::waits(tx, pass.scope, &records.hooks, member, pass.now);
    tx.put(pass.scope, id, member.clone());
}

fn seconds(seconds: i32) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// Writes how far the instance refresh is; one that has succeeded leaves its configuration with the group.
fn refresh(tx: &mut Txn, scope: &Scope, records: &mut Records, next: &Refresh) {
    let Some((key, current)) = &mut records.refresh else { return };
    tx.put(scope, key, next.clone());
    records.group.generation = records.group.generation.max(next.launches());
    if next.status == RefreshStatus::Successful
        && let Some((launch, _)) = &next.desired
    {
        records.group.launch = launch.clone();
    }
    *current = next.clone();
}

/// Writes the members to be launched. Their instances are asked for once this is durable.
fn launches(tx: &mut Txn, pass: &Pass, records: &mut Records, plan: &Plan) {
    let Some(recipe) = pass.recipe else { return };
    let drawn = plan.decisions.iter().any(|decision| matches!(decision, Decision::Draw { .. }));
    let wanted: Vec<(&String, &Pick, usize, &LaunchCause)> = (plan.decisions.iter())
        .filter_map(|decision| match decision {
            Decision::Launch { zone, pick, count, cause } => Some((zone, pick, *count, cause)),
            _ => None,
        })
        .collect();
    let have: i32 = records.members.values().filter(|member| member.counts()).map(Member::units).sum();
    let into_group = |cause: &LaunchCause| *cause != LaunchCause::Warm;
    let units = |count: usize, pick: &Pick| i32::try_from(count).unwrap_or(i32::MAX).saturating_mul(pick.units());
    let total: i32 =
        wanted.iter().filter(|(.., cause)| into_group(cause)).map(|(_, pick, count, _)| units(*count, pick)).sum();
    let grows = wanted.iter().any(|(.., cause)| matches!(cause, LaunchCause::Difference | LaunchCause::Replace));
    for (zone, pick, count, cause) in &wanted {
        for _ in 0..*count {
            let text = causes::launch(pass.now, cause, records.group.change.as_deref(), have, have + total);
            match recipe {
                Ok(recipe) => launch(tx, pass, records, (zone, pick), recipe, cause, text),
                Err(error) => return refuse(tx, pass, records, zone, error, text),
            }
        }
    }
    if grows || drawn {
        records.group.change = None;
    }
}

fn launch(
    tx: &mut Txn,
    pass: &Pass,
    records: &mut Records,
    (zone, pick): (&str, &Pick),
    recipe: &Recipe,
    cause: &LaunchCause,
    text: String,
) {
    let id: Arc<str> = pass.rng.uuid().into();
    let mut member = recipe.member(pass.name, &records.group, pick, zone, pass.now);
    member.subnet = subnet(records, zone);
    member.spare = matches!(cause, LaunchCause::Balance(_) | LaunchCause::Ahead(_));
    let warm = *cause == LaunchCause::Warm;
    if warm {
        member.state = Lifecycle::WarmedPending;
    }
    let draft = Draft {
        group: pass.name,
        group_arn: &records.group.arn,
        description: format!("Launching a new EC2 instance{}", if warm { " into warm pool" } else { "" }),
        cause: text,
        status: Status::PreInService,
        progress: 30,
        member: &member,
    };
    member.activity = Some(activities::begin(tx, pass.scope, &pass.rng, pass.now, draft));
    tx.put(pass.scope, &id, member.clone());
    records.members.insert(id, member);
}

/// The zone's subnet with the fewest members.
fn subnet(records: &Records, zone: &str) -> String {
    let count = |subnet: &str| records.members.values().filter(|member| member.subnet == subnet).count();
    let own = records.group.subnets.iter().filter(|(_, other)| other == zone).map(|(subnet, _)| subnet);
    own.min_by_key(|subnet| count(subnet)).cloned().unwrap_or_default()
}

/// Nothing can be launched at all: one activity says why, and all zones wait.
fn refuse(tx: &mut Txn, pass: &Pass, records: &mut Records, zone: &str, error: &Error, text: String) {
    let recipe = Recipe::default();
    let mut member = recipe.member(pass.name, &records.group, &Pick::default(), zone, pass.now);
    member.subnet = subnet(records, zone);
    let draft = Draft {
        group: pass.name,
        group_arn: &records.group.arn,
        description: String::new(),
        cause: text,
        status: Status::PreInService,
        progress: 30,
        member: &member,
    };
    let key = activities::begin(tx, pass.scope, &pass.rng, pass.now, draft);
    refusals::fail_activity(tx, pass.scope, Some(&key), pass.now, error);
    for zone in records.group.zones.clone() {
        let dark = zones::is_dark(tx, &zone);
        refusals::note(&mut records.group, &zone, pass.now, dark);
    }
}
