//! Lifecycle hooks: what holds an instance before it serves or before it is terminated.

use std::time::Duration;

use standfast_api::autoscaling::{
    self as api, CompleteLifecycleActionInput, CompleteLifecycleActionOutput, DeleteLifecycleHookInput,
    DeleteLifecycleHookOutput, DescribeLifecycleHookTypesInput, DescribeLifecycleHookTypesOutput,
    DescribeLifecycleHooksInput, DescribeLifecycleHooksOutput, PutLifecycleHookInput, PutLifecycleHookOutput,
    RecordLifecycleActionHeartbeatInput, RecordLifecycleActionHeartbeatOutput,
};
use standfast_core::{Result, Rng};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, validation};
use super::groups::{find, live};
use super::model::{Hook, HookResult, Member};
use super::notifications;

pub const LAUNCHING: &str = "autoscaling:EC2_INSTANCE_LAUNCHING";
pub const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";
const HEARTBEAT_S: i32 = 3600;
const HEARTBEAT_RANGE_S: std::ops::RangeInclusive<i32> = 30..=7200;
/// The longest a hook holds an instance: 48 hours, or this many heartbeats if that is sooner.
const HEARTBEATS_MAX: i32 = 100;
const HOLD_MAX_S: i32 = 172_800;
/// Hooks of a group.
const HOOKS_MAX: usize = 50;

fn transition(text: &str) -> Result<bool> {
    match text {
        LAUNCHING => Ok(true),
        TERMINATING => Ok(false),
        other => Err(validation(format!(
            "The lifecycle transition '{other}' is not valid. Valid transitions are: {LAUNCHING}, {TERMINATING}."
        ))),
    }
}

fn result(text: &str) -> Result<HookResult> {
    match text {
        "CONTINUE" => Ok(HookResult::Continue),
        "ABANDON" => Ok(HookResult::Abandon),
        other => {
            Err(validation(format!("The lifecycle action result '{other}' is not valid; use CONTINUE or ABANDON.")))
        }
    }
}

fn heartbeat(seconds: i32) -> Result<i32> {
    if HEARTBEAT_RANGE_S.contains(&seconds) {
        return Ok(seconds);
    }
    let (low, high) = (HEARTBEAT_RANGE_S.start(), HEARTBEAT_RANGE_S.end());
    Err(validation(format!("HeartbeatTimeout {seconds} must be between {low} and {high} seconds.")))
}

/// The longest that a hook holds an instance, whatever heartbeats come.
pub fn hold_max_s(hook: &Hook) -> i32 {
    hook.heartbeat_s.saturating_mul(HEARTBEATS_MAX).min(HOLD_MAX_S)
}

/// The hooks that a group is made with.
pub fn of_group(group: &str, specifications: Vec<api::LifecycleHookSpecification>) -> Result<Vec<(String, Hook)>> {
    let hook = |own: api::LifecycleHookSpecification| {
        let hook = Hook {
            group: group.to_owned(),
            launching: transition(&own.lifecycle_transition)?,
            heartbeat_s: heartbeat(own.heartbeat_timeout.unwrap_or(HEARTBEAT_S))?,
            default: result(own.default_result.as_deref().unwrap_or("ABANDON"))?,
            metadata: own.notification_metadata,
            notification_target: own.notification_target_arn,
            role: own.role_arn,
        };
        Ok((own.lifecycle_hook_name, hook))
    };
    specifications.into_iter().map(hook).collect()
}

pub async fn put(cx: Cx, input: PutLifecycleHookInput) -> Result<PutLifecycleHookOutput> {
    let group = &input.auto_scaling_group_name;
    let key = Hook::key(group, &input.lifecycle_hook_name);
    let launching = input.lifecycle_transition.as_deref().map(transition).transpose()?;
    let seconds = input.heartbeat_timeout.map(heartbeat).transpose()?;
    let default = input.default_result.as_deref().map(result).transpose()?;
    if let Some(target) = input.notification_target_arn.as_deref().filter(|target| !target.is_empty()) {
        find(&cx, group)?;
        notifications::check_topic(&cx, target).await?;
    }
    let (now, seed) = (cx.now(), cx.rng().u64());
    cx.txn(|tx| {
        let record = live(tx, &cx, group)?;
        let earlier = tx.get::<Hook>(cx.scope(), &key).map(|hook| (*hook).clone());
        if earlier.is_none() && tx.by_index::<Hook>(cx.scope(), "group", group).len() >= HOOKS_MAX {
            return Err(errors::limit(format!("A group can have at most {HOOKS_MAX} lifecycle hooks.")));
        }
        let launching = launching.or(earlier.as_ref().map(|hook| hook.launching));
        let launching = launching.ok_or_else(|| {
            validation("Valid requests must contain the LifecycleTransition parameter for a new lifecycle hook.")
        })?;
        let kept = |new: &Option<String>, old: fn(&Hook) -> &Option<String>| {
            new.clone().or_else(|| earlier.as_ref().and_then(|hook| old(hook).clone())).filter(|text| !text.is_empty())
        };
        let hook = Hook {
            group: group.clone(),
            launching,
            heartbeat_s: seconds.or(earlier.as_ref().map(|hook| hook.heartbeat_s)).unwrap_or(HEARTBEAT_S),
            default: default.or(earlier.as_ref().map(|hook| hook.default)).unwrap_or(HookResult::Abandon),
            metadata: kept(&input.notification_metadata, |hook| &hook.metadata),
            notification_target: kept(&input.notification_target_arn, |hook| &hook.notification_target),
            role: kept(&input.role_arn, |hook| &hook.role),
        };
        if let Some(target) = &hook.notification_target {
            notifications::test(tx, cx.scope(), &Rng::seeded(seed), group, &record, target, now);
        }
        tx.put(cx.scope(), &key, hook);
        Ok(())
    })
    .await?;
    Ok(PutLifecycleHookOutput {})
}

pub async fn delete(cx: Cx, input: DeleteLifecycleHookInput) -> Result<DeleteLifecycleHookOutput> {
    let (group, name) = (&input.auto_scaling_group_name, &input.lifecycle_hook_name);
    let key = Hook::key(group, name);
    cx.txn(|tx| {
        live(tx, &cx, group)?;
        let hook = tx.get::<Hook>(cx.scope(), &key).ok_or_else(|| no_hook(group, name))?;
        // Actions under way end: a launch is given up, a termination goes on.
        let end = if hook.launching { HookResult::Abandon } else { HookResult::Continue };
        for (id, member) in tx.by_index::<Member>(cx.scope(), "group", group) {
            if member.waits.iter().any(|wait| wait.hook == *name && wait.result.is_none()) {
                let mut member = (*member).clone();
                for wait in member.waits.iter_mut().filter(|wait| wait.hook == *name) {
                    wait.result = wait.result.or(Some(end));
                }
                tx.put(cx.scope(), &id, member);
            }
        }
        tx.delete::<Hook>(cx.scope(), &key);
        Ok(())
    })
    .await?;
    Ok(DeleteLifecycleHookOutput {})
}

fn no_hook(group: &str, name: &str) -> standfast_core::Error {
    validation(format!("No Lifecycle Hook found with name '{name}' for the group '{group}'."))
}

pub async fn describe(cx: Cx, input: DescribeLifecycleHooksInput) -> Result<DescribeLifecycleHooksOutput> {
    let group = &input.auto_scaling_group_name;
    find(&cx, group)?;
    let names = input.lifecycle_hook_names.unwrap_or_default();
    let rows = cx.view(|view| view.by_index::<Hook>(cx.scope(), "group", group));
    let prefix = Hook::key(group, "").len();
    let rows = rows.iter().map(|(key, hook)| (&key[prefix..], hook));
    let hooks = rows.filter(|(name, _)| names.is_empty() || names.iter().any(|own| own == name));
    let hooks = hooks.map(|(name, hook)| shape(name, hook)).collect();
    Ok(DescribeLifecycleHooksOutput { lifecycle_hooks: Some(hooks) })
}

fn shape(name: &str, hook: &Hook) -> api::LifecycleHook {
    let default = match hook.default {
        HookResult::Continue => "CONTINUE",
        HookResult::Abandon => "ABANDON",
    };
    api::LifecycleHook {
        lifecycle_hook_name: Some(name.to_owned()),
        auto_scaling_group_name: Some(hook.group.clone()),
        lifecycle_transition: Some(if hook.launching { LAUNCHING } else { TERMINATING }.into()),
        notification_target_arn: hook.notification_target.clone(),
        role_arn: hook.role.clone(),
        notification_metadata: hook.metadata.clone(),
        heartbeat_timeout: Some(hook.heartbeat_s),
        global_timeout: Some(hold_max_s(hook)),
        default_result: Some(default.into()),
    }
}

pub async fn describe_types(_: Cx, _: DescribeLifecycleHookTypesInput) -> Result<DescribeLifecycleHookTypesOutput> {
    let types = vec![LAUNCHING.to_owned(), TERMINATING.to_owned()];
    Ok(DescribeLifecycleHookTypesOutput { lifecycle_hook_types: Some(types) })
}

/// Which action a request means: by its token or by its instance.
struct Action<'a> {
    group: &'a str,
    hook: &'a str,
    token: Option<&'a str>,
    instance: Option<&'a str>,
}

/// The member that waits for this action and the action's place in its waits.
fn waiting(view: &View, cx: &Cx, action: &Action) -> Result<(std::sync::Arc<str>, Member, usize)> {
    live(view, cx, action.group)?;
    if action.token.is_none() && action.instance.is_none() {
        return Err(validation("Valid requests must contain either LifecycleActionToken or InstanceId."));
    }
    for (id, member) in view.by_index::<Member>(cx.scope(), "group", action.group) {
        let same = action.instance.is_none_or(|own| member.instance.as_deref() == Some(own));
        let place = member.waits.iter().position(|wait| {
            let meant = action.token.is_none_or(|own| wait.token == own);
            same && wait.hook == action.hook && meant && wait.result.is_none()
        });
        if let Some(place) = place {
            return Ok((id, (*member).clone(), place));
        }
    }
    Err(match (action.instance, action.token) {
        (Some(instance), _) => validation(format!("No active Lifecycle Action found with instance ID {instance}")),
        (None, token) => {
            validation(format!("No active Lifecycle Action found with token {}", token.unwrap_or_default()))
        }
    })
}

pub async fn complete(cx: Cx, input: CompleteLifecycleActionInput) -> Result<CompleteLifecycleActionOutput> {
    let result = result(&input.lifecycle_action_result)?;
    let action = Action {
        group: &input.auto_scaling_group_name,
        hook: &input.lifecycle_hook_name,
        token: input.lifecycle_action_token.as_deref(),
        instance: input.instance_id.as_deref(),
    };
    cx.txn(|tx| {
        let (id, mut member, place) = waiting(tx, &cx, &action)?;
        member.waits[place].result = Some(result);
        tx.put(cx.scope(), &id, member);
        Ok(())
    })
    .await?;
    Ok(CompleteLifecycleActionOutput {})
}

pub async fn heartbeat_recorded(
    cx: Cx,
    input: RecordLifecycleActionHeartbeatInput,
) -> Result<RecordLifecycleActionHeartbeatOutput> {
    let action = Action {
        group: &input.auto_scaling_group_name,
        hook: &input.lifecycle_hook_name,
        token: input.lifecycle_action_token.as_deref(),
        instance: input.instance_id.as_deref(),
    };
    cx.txn(|tx| {
        let (id, mut member, place) = waiting(tx, &cx, &action)?;
        let hook = tx.get::<Hook>(cx.scope(), &Hook::key(action.group, action.hook));
        let hook = hook.ok_or_else(|| no_hook(action.group, action.hook))?;
        let wait = &mut member.waits[place];
        wait.until = cx.now() + Duration::from_secs(u64::try_from(hook.heartbeat_s).unwrap_or_default());
        tx.put(cx.scope(), &id, member);
        Ok(())
    })
    .await?;
    Ok(RecordLifecycleActionHeartbeatOutput {})
}
