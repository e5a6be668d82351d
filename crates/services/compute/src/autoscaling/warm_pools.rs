//! Warm pools as users handle them. Filling and emptying them is the planner's (`plan/warm.rs`).

use standfast_api::autoscaling::{
    self as api, DeleteWarmPoolInput, DeleteWarmPoolOutput, DescribeWarmPoolInput, DescribeWarmPoolOutput,
    PutWarmPoolInput, PutWarmPoolOutput,
};
use standfast_core::Result;
use standfast_core::page::page;
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, validation};
use super::groups::{find, live};
use super::model::{Launch, Member, PoolState, WarmPool};
use super::{capacity, convert, refreshes};

/// Takes a maximum that was set away.
const NONE: i32 = -1;
const PAGE_MAX: usize = 50;

pub async fn put(cx: Cx, input: PutWarmPoolInput) -> Result<PutWarmPoolOutput> {
    let name = &input.auto_scaling_group_name;
    let state = match input.pool_state.as_deref() {
        None | Some("") => None,
        Some(text) => Some(PoolState::named(text).ok_or_else(|| {
            validation(format!("PoolState '{text}' is not valid. Valid values: Stopped, Running, Hibernated."))
        })?),
    };
    let min = input.min_size.unwrap_or_default();
    if min < 0 {
        return Err(validation(format!("MinSize {min} of the warm pool must not be negative.")));
    }
    let prepared = input.max_group_prepared_capacity;
    if let Some(max) = prepared.filter(|max| *max < NONE) {
        return Err(validation(format!("MaxGroupPreparedCapacity {max} must be -1 or greater.")));
    }
    cx.txn(|tx| {
        let mut group = live(tx, &cx, name)?;
        if matches!(group.launch, Launch::Mixed(_)) {
            return Err(validation(
                "You can't add a warm pool to an Auto Scaling group that has a mixed instances policy.",
            ));
        }
        if refreshes::active(tx, cx.scope(), name).is_some() {
            return Err(errors::refresh_in_progress());
        }
        if group.warm_pool.as_ref().is_some_and(|pool| pool.deleting) {
            return Err(validation(format!("The warm pool of AutoScalingGroup {name} is being deleted.")));
        }
        let prepared_max = prepared.filter(|max| *max != NONE);
        if let Some(max) = prepared_max.filter(|max| *max < group.min) {
            return Err(validation(format!(
                "MaxGroupPreparedCapacity {max} must be greater than or equal to the group's min size {}.",
                group.min
            )));
        }
        group.warm_pool = Some(WarmPool {
            min,
            prepared_max,
            state: state.unwrap_or(PoolState::Stopped),
            reuse: input.instance_reuse_policy.as_ref().and_then(|policy| policy.reuse_on_scale_in),
            deleting: false,
        });
        tx.put(cx.scope(), name, group);
        Ok(())
    })
    .await?;
    Ok(PutWarmPoolOutput {})
}

pub async fn delete(cx: Cx, input: DeleteWarmPoolInput) -> Result<DeleteWarmPoolOutput> {
    let (name, seed) = (&input.auto_scaling_group_name, cx.rng().u64());
    cx.txn(|tx| {
        let mut group = live(tx, &cx, name)?;
        let Some(pool) = &mut group.warm_pool else {
            return Err(validation(format!("No warm pool found for Auto Scaling group {name}.")));
        };
        pool.deleting = true;
        let pass = capacity::pass(&cx, name, seed);
        for (id, member) in pooled(tx, &cx, name).into_iter().filter(|_| input.force_delete == Some(true)) {
            // The lifecycle hooks that hold it end as well.
            if !member.waits.is_empty() {
                let mut member = (*member).clone();
                super::apply::begin_end(tx, &pass, &group, &id, &mut member, super::causes::pool_deleted(pass.now));
            }
        }
        tx.put(cx.scope(), name, group);
        Ok(())
    })
    .await?;
    Ok(DeleteWarmPoolOutput {})
}

type Row = (std::sync::Arc<str>, std::sync::Arc<Member>);

/// The pool's members, ordered by instance.
fn pooled(view: &View, cx: &Cx, group: &str) -> Vec<Row> {
    let mut members = view.by_index::<Member>(cx.scope(), "group", group);
    members.retain(|(_, member)| member.instance.is_some() && member.state.in_pool());
    members.sort_by(|(_, a), (_, b)| a.instance.cmp(&b.instance));
    members
}

pub async fn describe(cx: Cx, input: DescribeWarmPoolInput) -> Result<DescribeWarmPoolOutput> {
    let name = &input.auto_scaling_group_name;
    let group = find(&cx, name)?;
    let rows = cx.view(|view| pooled(view, &cx, name));
    let limit = input.max_records.map_or(PAGE_MAX, |max| (max.max(1) as usize).min(PAGE_MAX));
    let key = |(_, member): &Row| member.instance.clone().unwrap_or_default();
    let page = page(rows, key, input.next_token.as_deref(), limit, "InvalidNextToken")?;
    Ok(DescribeWarmPoolOutput {
        warm_pool_configuration: group.warm_pool.as_ref().map(shape),
        instances: Some(page.items.iter().map(|(_, member)| convert::instance(member)).collect()),
        next_token: page.next,
    })
}

pub fn shape(pool: &WarmPool) -> api::WarmPoolConfiguration {
    api::WarmPoolConfiguration {
        max_group_prepared_capacity: pool.prepared_max,
        min_size: Some(pool.min),
        pool_state: Some(pool.state.name().into()),
        status: pool.deleting.then(|| "PendingDelete".to_owned()),
        instance_reuse_policy: pool.reuse.map(|reuse| api::InstanceReusePolicy { reuse_on_scale_in: Some(reuse) }),
    }
}
