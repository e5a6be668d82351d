//! Makes of plans what they say: bounds of groups, and policies.

use standfast_api::autoscaling as asg;
use standfast_api::autoscaling_plans as api;
use standfast_core::{Fault, Result};
use standfast_kernel::{Cx, Wake};

use super::{Outcome, Plan, Scaling, Status, policies};

const REPLACES: &str = "ReplaceExternalPolicies";

pub async fn run(cx: Cx) -> Result<Wake> {
    for (scope, name, plan) in cx.view(|view| view.all::<Plan>()) {
        let cx = cx.at(&scope);
        match plan.status {
            Status::Active | Status::ActiveWithProblems => (),
            Status::Creating | Status::Updating => put(&cx, &name, &plan).await?,
            Status::Deleting => {
                for (group, policy) in &plan.made {
                    remove(&cx, group, policy).await?;
                }
                cx.txn(|tx| {
                    tx.delete::<Plan>(&scope, &name);
                    Ok(())
                })
                .await?;
            }
        }
    }
    Ok(Wake::OnChange)
}

/// Removes a policy; one that is gone, or whose group is, is fine.
async fn remove(cx: &Cx, group: &str, policy: &str) -> Result<()> {
    let input =
        asg::DeletePolicyInput { auto_scaling_group_name: Some(group.to_owned()), policy_name: policy.to_owned() };
    match cx.call(asg::DeletePolicy, input).await {
        Err(error) if error.fault == Fault::Server => Err(error),
        _ => Ok(()),
    }
}

async fn put(cx: &Cx, name: &str, plan: &Plan) -> Result<()> {
    let mut wanted = Vec::new();
    for own in &plan.instructions {
        let Some(group) = policies::group(&own.0) else { continue };
        wanted.extend(policies::wanted(name, group, &own.0).into_iter().map(|one| (group.to_owned(), one.policy_name)));
    }
    // Noted before anything is made, and those of before until they are gone.
    let mut noted = plan.made.clone();
    noted.extend(wanted.iter().filter(|one| !plan.made.contains(one)).cloned());
    if noted != plan.made {
        return change(cx, name, plan, |plan| plan.made.clone_from(&noted)).await;
    }
    for (group, policy) in plan.made.iter().filter(|one| !wanted.contains(one)) {
        remove(cx, group, policy).await?;
    }
    let (mut outcomes, mut kept) = (Vec::new(), Vec::new());
    for own in &plan.instructions {
        let (outcome, made) = instruction(cx, name, &own.0).await?;
        outcomes.push(outcome);
        kept.extend(made);
    }
    let troubles = outcomes.iter().filter(|outcome| outcome.status != Scaling::Active).count();
    let now = cx.now();
    change(cx, name, plan, |plan| {
        plan.status = if troubles == 0 { Status::Active } else { Status::ActiveWithProblems };
        plan.message = (troubles > 0).then(|| format!("{troubles} of {} resources have problems.", outcomes.len()));
        plan.since = now;
        plan.outcomes.clone_from(&outcomes);
        plan.made.clone_from(&kept);
    })
    .await
}

/// Changes a plan that is still as it was.
async fn change(cx: &Cx, name: &str, old: &Plan, change: impl Fn(&mut Plan)) -> Result<()> {
    cx.txn(|tx| {
        if tx.get::<Plan>(cx.scope(), name).is_some_and(|now| *now == *old) {
            let mut plan = old.clone();
            change(&mut plan);
            tx.put(cx.scope(), name, plan);
        }
        Ok(())
    })
    .await
}

/// Makes what one instruction says; how it went, and the policies that there are now.
async fn instruction(cx: &Cx, plan: &str, own: &api::ScalingInstruction) -> Result<(Outcome, Vec<(String, String)>)> {
    let inactive = |message: String| Outcome { status: Scaling::Inactive, message: Some(message) };
    let Some(group) = policies::group(own) else {
        let message = format!(
            "{} of the service '{}' cannot be scaled in this version of Standfast, only autoScalingGroup/NAME.",
            own.resource_id, own.service_namespace
        );
        return Ok((inactive(message), Vec::new()));
    };
    let wanted = policies::wanted(plan, group, own);
    let external = match external(cx, group, &wanted).await {
        Err(error) if error.fault == Fault::Client => return Ok((inactive(error.message), Vec::new())),
        other => other?,
    };
    if !external.is_empty() && own.scaling_policy_update_behavior.as_deref() != Some(REPLACES) {
        let message = format!("The resource has scaling policies of its own, which are kept: {}.", external.join(", "));
        for policy in &wanted {
            remove(cx, group, &policy.policy_name).await?;
        }
        return Ok((inactive(message), Vec::new()));
    }
    for policy in &external {
        remove(cx, group, policy).await?;
    }
    let bounds = asg::UpdateAutoScalingGroupInput {
        auto_scaling_group_name: group.to_owned(),
        min_size: Some(own.min_capacity),
        max_size: Some(own.max_capacity),
        ..Default::default()
    };
    let (mut made, mut problems) = (Vec::new(), Vec::new());
    problems.extend(problem(cx.call(asg::UpdateAutoScalingGroup, bounds).await)?);
    for policy in wanted {
        let name = policy.policy_name.clone();
        match problem(cx.call(asg::PutScalingPolicy, policy).await)? {
            None => made.push((group.to_owned(), name)),
            Some(message) => problems.push(message),
        }
    }
    let status = match (problems.is_empty(), made.is_empty()) {
        (true, _) => Scaling::Active,
        (false, false) => Scaling::Partly,
        (false, true) => Scaling::Inactive,
    };
    let message = (!problems.is_empty()).then(|| problems.join(" "));
    Ok((Outcome { status, message }, made))
}

/// A refusal is the plan's problem, a failure is tried again.
fn problem<T>(result: Result<T>) -> Result<Option<String>> {
    match result {
        Err(error) if error.fault == Fault::Client => Ok(Some(error.message)),
        other => other.map(|_| None),
    }
}

/// The target tracking policies of a group that are not the plan's.
async fn external(cx: &Cx, group: &str, own: &[asg::PutScalingPolicyInput]) -> Result<Vec<String>> {
    let input = asg::DescribePoliciesInput {
        auto_scaling_group_name: Some(group.to_owned()),
        policy_types: Some(vec!["TargetTrackingScaling".into(), "PredictiveScaling".into()]),
        max_records: Some(100),
        ..Default::default()
    };
    let found = cx.call(asg::DescribePolicies, input).await?.scaling_policies.unwrap_or_default();
    let names = found.into_iter().filter_map(|policy| policy.policy_name);
    Ok(names.filter(|name| !own.iter().any(|policy| policy.policy_name == *name)).collect())
}
