//! Keeps groups as they should be: gather, decide and write in one transaction, then act.
//!
//! Invariant: decisions are made inside the transaction that writes them, from records as they are then; only what
//! other services say was gathered before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use standfast_api::{ec2, elbv2};
use standfast_core::{Error, Fault, Result, Rng, Scope, Timestamp};
use standfast_kernel::{Cx, Wake, zones};
use standfast_store::View;

use super::apply::{self, Pass, Records};
use super::model::{Group, Hook, Launch, Lifecycle, Member, Registration};
use super::plan::{self, Effect, Plan, Power, Snapshot, TargetState, World};
use super::{launch, prices, refreshes, refusals};

/// How many instances one DescribeInstances call asks for: EC2's limit on the values of a filter.
const INSTANCES_ASKED_MAX: usize = 200;
/// The tag by which EC2 says that it recommends to replace an instance.
const REBALANCE_TAG: &str = "aws:standfast:rebalance-recommendation";
/// How many calls of one group are under way at once.
const CALLS_AT_ONCE_MAX: usize = 64;

pub async fn run(cx: Cx) -> Result<Wake> {
    let mut scopes = BTreeMap::<_, Vec<Arc<str>>>::new();
    for (scope, name, _) in cx.view(|view| view.all::<Group>()) {
        scopes.entry(scope).or_default().push(name);
    }
    let passes = join_all(scopes.iter().map(|(scope, names)| place(cx.at(scope), names))).await;
    let mut wake = Wake::OnChange;
    for pass in passes {
        if let Some(time) = pass? {
            wake = wake.or(Wake::At(time));
        }
    }
    Ok(wake)
}

/// All groups of an account in a region. One group's failure does not keep the others from their turn.
async fn place(cx: Cx, names: &[Arc<str>]) -> Result<Option<Timestamp>> {
    let (world, trouble) = gather(&cx).await?;
    let passes = join_all(names.iter().map(|name| group(&cx, name, &world))).await;
    let (mut wake, mut failure) = (None::<Timestamp>, trouble);
    for pass in passes {
        match pass {
            Ok(time) => wake = [wake, time].into_iter().flatten().min(),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(wake), Err)
}

/// What the others say, and what could not be asked.
async fn gather(cx: &Cx) -> Result<(World, Option<Error>)> {
    let mut world = World::default();
    let (instances, target_groups) = cx.view(|view| {
        world.dark = zones::dark(view);
        let members = view.list::<Member>(cx.scope());
        let groups = view.list::<Group>(cx.scope());
        let used = members.iter().flat_map(|(_, member)| member.targets.keys().cloned());
        let used: BTreeSet<String> = used.chain(groups.iter().flat_map(|(_, g)| g.target_groups.clone())).collect();
        let instances: Vec<String> = members.iter().filter_map(|(_, member)| member.instance.clone()).collect();
        (instances, used)
    });
    for asked in instances.chunks(INSTANCES_ASKED_MAX) {
        world.instances.extend(asked.iter().map(|id| (id.clone(), Power::Gone)));
        let powers = powers(cx, asked, &mut world.recommended).await?;
        world.instances.extend(powers);
    }
    let mut trouble = None;
    let asked: Vec<String> = target_groups.into_iter().collect();
    let answers = join_all(asked.iter().map(|arn| targets(cx, arn))).await;
    for (arn, answer) in asked.into_iter().zip(answers) {
        match answer {
            Ok(states) => drop(world.targets.insert(arn, states)),
            Err(error) if error.is("TargetGroupNotFound") => drop(world.missing.insert(arn)),
            Err(error) => trouble = Some(error),
        }
    }
    world.alarms = alarms(cx).await?;
    Ok((world, trouble))
}

/// The states of the alarms that watch over instance refreshes.
async fn alarms(cx: &Cx) -> Result<BTreeMap<String, bool>> {
    let refreshes = cx.view(|view| view.list::<refreshes::Refresh>(cx.scope()));
    let active = refreshes.iter().filter(|(_, refresh)| refresh.is_active());
    let names: BTreeSet<String> = active.flat_map(|(_, refresh)| refresh.alarms.clone()).collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    refreshes::alarms(cx, &names.into_iter().collect::<Vec<_>>()).await
}

async fn powers(cx: &Cx, ids: &[String], recommended: &mut BTreeSet<String>) -> Result<Vec<(String, Power)>> {
    let filter = ec2::Filter { name: Some("instance-id".into()), values: Some(ids.to_vec()) };
    let input = ec2::DescribeInstancesInput { filters: Some(vec![filter]), ..Default::default() };
    let answer = cx.call(ec2::DescribeInstances, input).await?;
    let all = answer.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
    let mut power = |instance: ec2::Instance| {
        let advised = |tag: &ec2::Tag| tag.key.as_deref() == Some(REBALANCE_TAG);
        if instance.tags.as_ref().is_some_and(|tags| tags.iter().any(advised)) {
            recommended.extend(instance.instance_id.clone());
        }
        let power = match instance.state?.name?.as_str() {
            "pending" => Power::Pending,
            "running" => Power::Running,
            "stopping" => Power::Stopping,
            "stopped" => Power::Stopped,
            "shutting-down" => Power::ShuttingDown,
            _ => Power::Gone,
        };
        Some((instance.instance_id?, power))
    };
    Ok(all.filter_map(&mut power).collect())
}

async fn targets(cx: &Cx, arn: &str) -> Result<BTreeMap<String, TargetState>> {
    let input = elbv2::DescribeTargetHealthInput { target_group_arn: arn.to_owned(), ..Default::default() };
    let answer = cx.call(elbv2::DescribeTargetHealth, input).await?;
    let state = |description: elbv2::TargetHealthDescription| {
        let state = match description.target_health?.state?.as_str() {
            "initial" => TargetState::Initial,
            "healthy" => TargetState::Healthy,
            "unhealthy" => TargetState::Unhealthy,
            "draining" | "unhealthy.draining" => TargetState::Draining,
            _ => TargetState::Unused,
        };
        Some((description.target?.id, state))
    };
    Ok(answer.target_health_descriptions.unwrap_or_default().into_iter().filter_map(state).collect())
}

/// One group: decide, write, act.
async fn group(cx: &Cx, name: &str, world: &World) -> Result<Option<Timestamp>> {
    let (now, scope) = (cx.now(), cx.scope());
    let Some((mut plan, launch)) = cx.view(|view| {
        let records = load(view, cx.scope(), name)?;
        Some((decide(&records, world, now), records.launch().clone()))
    }) else {
        return Ok(None);
    };
    let mut world = world;
    let priced;
    if let Launch::Mixed(policy) = &launch
        && plan.launches()
    {
        priced = World { prices: prices::of(cx, policy).await?, ..world.clone() };
        world = &priced;
    }
    if !plan.decisions.is_empty() {
        let recipe = if plan.launches() { Some(launch::recipe(cx, &launch).await) } else { None };
        if let Some(Err(error)) = &recipe
            && error.fault == Fault::Server
        {
            return Err(error.clone());
        }
        let seed = cx.rng().u64();
        plan = cx
            .txn(|tx| {
                let Some(records) = load(tx, scope, name) else { return Ok(Plan::default()) };
                let plan = decide(&records, world, now);
                let rng = Rng::seeded(seed);
                let pass = Pass { scope, name, now, rng, recipe: recipe.as_ref() };
                apply::apply(tx, &pass, records, &plan);
                Ok(plan)
            })
            .await?;
    }
    act(cx, name, world, now).await?;
    Ok(plan.wake)
}

pub(super) fn load(view: &View, scope: &Scope, name: &str) -> Option<Records> {
    let group = (*view.get::<Group>(scope, name)?).clone();
    let members = view.by_index::<Member>(scope, "group", name);
    let members = members.into_iter().map(|(id, member)| (id, (*member).clone())).collect();
    let prefix = Hook::key(name, "").len();
    let hooks = view.by_index::<Hook>(scope, "group", name);
    let hooks = hooks.into_iter().map(|(key, hook)| (key[prefix..].to_owned(), hook)).collect();
    Some(Records { group, members, hooks, refresh: refreshes::active(view, scope, name) })
}

fn snapshot<'a>(
    records: &'a Records,
    members: &'a [(Arc<str>, Arc<Member>)],
    world: &'a World,
    now: Timestamp,
) -> Snapshot<'a> {
    let refresh = records.refresh.as_ref().map(|(_, refresh)| refresh);
    Snapshot { group: &records.group, launch: records.launch(), refresh, members, hooks: &records.hooks, world, now }
}

pub(super) fn decide(records: &Records, world: &World, now: Timestamp) -> Plan {
    let members: Vec<_> = records.members.iter().map(|(id, member)| (id.clone(), Arc::new(member.clone()))).collect();
    plan::decide(&snapshot(records, &members, world, now))
}

pub(super) fn effects(records: &Records, world: &World, now: Timestamp) -> Vec<Effect> {
    let members: Vec<_> = records.members.iter().map(|(id, member)| (id.clone(), Arc::new(member.clone()))).collect();
    plan::effects(&snapshot(records, &members, world, now))
}

async fn act(cx: &Cx, name: &str, world: &World, now: Timestamp) -> Result<()> {
    let Some((wanted, records)) = cx.view(|view| {
        let records = load(view, cx.scope(), name)?;
        Some((effects(&records, world, now), records))
    }) else {
        return Ok(());
    };
    let mut failure = None;
    for some in wanted.chunks(CALLS_AT_ONCE_MAX) {
        let results = join_all(some.iter().map(|effect| perform(cx, &records, effect))).await;
        failure = failure.or(results.into_iter().find_map(Result::err));
    }
    failure.map_or(Ok(()), Err)
}

async fn perform(cx: &Cx, records: &Records, effect: &Effect) -> Result<()> {
    match effect {
        Effect::Run { member } => run_instance(cx, records, member).await,
        Effect::Register { member, instance, target_group } => {
            let input = elbv2::RegisterTargetsInput {
                target_group_arn: target_group.clone(),
                targets: vec![elbv2::TargetDescription { id: instance.clone(), ..Default::default() }],
            };
            cx.call(elbv2::RegisterTargets, input).await?;
            registration(cx, member, target_group, Registration::Registered).await
        }
        Effect::Deregister { member, instance, target_group } => {
            let input = elbv2::DeregisterTargetsInput {
                target_group_arn: target_group.clone(),
                targets: vec![elbv2::TargetDescription { id: instance.clone(), ..Default::default() }],
            };
            match cx.call(elbv2::DeregisterTargets, input).await {
                Err(error) if !error.is("TargetGroupNotFound") && !error.is("InvalidTarget") => return Err(error),
                _ => (),
            }
            registration(cx, member, target_group, Registration::Draining).await
        }
        Effect::Start { member, instance } => start(cx, records, member, instance).await,
        Effect::Stop { instance, .. } => {
            let input = ec2::StopInstancesInput { instance_ids: vec![instance.clone()], ..Default::default() };
            match cx.call(ec2::StopInstances, input).await {
                // It has gone by itself; the next look will say so.
                Err(error) if error.fault == Fault::Client => Ok(()),
                other => other.map(drop),
            }
        }
        Effect::Terminate { instance, .. } => {
            let input = ec2::TerminateInstancesInput { instance_ids: vec![instance.clone()], ..Default::default() };
            match cx.call(ec2::TerminateInstances, input).await {
                Err(error) if !error.is("InvalidInstanceID.NotFound") => Err(error),
                _ => Ok(()),
            }
        }
    }
}

async fn registration(cx: &Cx, id: &str, target_group: &str, registration: Registration) -> Result<()> {
    cx.txn(|tx| {
        if let Some(member) = tx.get::<Member>(cx.scope(), id) {
            let mut member = (*member).clone();
            member.targets.insert(target_group.to_owned(), registration);
            tx.put(cx.scope(), id, member);
        }
        Ok(())
    })
    .await
}

async fn run_instance(cx: &Cx, records: &Records, id: &Arc<str>) -> Result<()> {
    let Some(member) = records.members.get(id) else { return Ok(()) };
    let result = launch::run(cx, id, &records.group, records.launch(), member).await;
    let (now, scope) = (cx.now(), cx.scope());
    match &result {
        Err(error) if error.fault == Fault::Server => Err(error.clone()),
        Ok(instance) => {
            cx.txn(|tx| {
                let Some(member) = tx.get::<Member>(scope, id) else { return Ok(()) };
                let mut member = (*member).clone();
                member.instance.clone_from(&instance.instance_id);
                member.instance_type = instance.instance_type.clone().unwrap_or_default();
                member.image.clone_from(&instance.image_id);
                super::activities::update(tx, scope, member.activity.as_ref(), |activity| {
                    let instance = instance.instance_id.as_deref().unwrap_or_default();
                    activity.description = format!("{}: {instance}", activity.description);
                });
                tx.put(scope, id, member);
                Ok(())
            })
            .await
        }
        Err(error) => {
            cx.txn(|tx| {
                refusals::refuse(tx, scope, id, records.launch(), now, error);
                Ok(())
            })
            .await
        }
    }
}

/// Starts a member that was taken from the warm pool; where that is refused it rests there again.
async fn start(cx: &Cx, records: &Records, id: &Arc<str>, instance: &str) -> Result<()> {
    let input = ec2::StartInstancesInput { instance_ids: vec![instance.to_owned()], ..Default::default() };
    let error = match cx.call(ec2::StartInstances, input).await {
        Err(error) if error.fault == Fault::Client => error,
        other => return other.map(drop),
    };
    let (now, scope) = (cx.now(), cx.scope());
    cx.txn(|tx| {
        let Some(member) = tx.get::<Member>(scope, id) else { return Ok(()) };
        let Some(group) = tx.get::<Group>(scope, &member.group) else { return Ok(()) };
        let (mut member, mut group) = ((*member).clone(), (*group).clone());
        refusals::fail_activity(tx, scope, member.activity.as_ref(), now, &error);
        for (key, dark) in refusals::closed(tx, &group, &member, records.launch(), &error) {
            refusals::note(&mut group, &key, now, dark);
        }
        (member.state, member.moves, member.activity) = (Lifecycle::WarmedStopped, None, None);
        tx.put(scope, &member.group.clone(), group);
        tx.put(scope, id, member);
        Ok(())
    })
    .await
}
