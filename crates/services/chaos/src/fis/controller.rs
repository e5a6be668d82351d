//! Runs experiments: plan, act, write down how far it came.

use std::collections::BTreeMap;

use standfast_core::{Error, Fault, Result, Rng, Timestamp};
use standfast_kernel::{Cx, Wake};

use super::actions::{self, Lasts};
use super::model::{Experiment, Progress, Status, Target};
use super::plan::{Step, plan};
use super::{check, events, stop_conditions, targets};

pub async fn run(cx: Cx) -> Result<Wake> {
    let mut wake = Wake::OnChange;
    for (scope, id, experiment) in cx.view(|v| v.all::<Experiment>()) {
        if experiment.status.is_over() {
            continue;
        }
        let cx = cx.at(&scope);
        if experiment.status == Status::Running && stop_conditions::is_met(&cx, &experiment.template).await? {
            update(&cx, &id, |e| stopping(e, stop_conditions::STOPPED)).await?;
            continue;
        }
        for (name, reason) in actions::failures(&cx, &id, &experiment).await? {
            let now = cx.now();
            actions::end(&cx, &id, &experiment, &name, &experiment.template.actions[&name], true).await?;
            failed(&cx, &id, &name, &reason, now, now).await?;
        }
        let Some(experiment) = cx.view(|v| v.get::<Experiment>(&scope, &id)) else { continue };
        let (steps, next) = plan(&experiment, cx.now());
        for step in steps {
            apply(&cx, &id, &experiment, step).await?;
        }
        if let Some(next) = next {
            wake = wake.or(Wake::At(next));
        }
    }
    Ok(wake)
}

async fn apply(cx: &Cx, id: &str, experiment: &Experiment, step: Step) -> Result<()> {
    let now = cx.now();
    match step {
        Step::Resolve => match resolve(cx, experiment).await {
            Ok(resolved) => update(cx, id, |e| begun(e, &resolved, now)).await,
            Err(error) => update(cx, id, |e| fail(e, &error, now)).await,
        },
        Step::Begin(name) => begin(cx, id, experiment, name, now).await,
        Step::End { action, stopped } => end(cx, id, experiment, action, stopped, now).await,
        Step::Finish(status) => {
            update(cx, id, |e| {
                for progress in e.progress.values_mut().filter(|p| matches!(p, Progress::Pending)) {
                    *progress = Progress::Cancelled;
                }
                e.status = status;
                e.ended = Some(now);
            })
            .await
        }
    }
}

/// Its targets are known. One that runs no actions is at its end.
fn begun(experiment: &mut Experiment, resolved: &BTreeMap<String, Vec<String>>, now: Timestamp) {
    experiment.resolved = resolved.clone();
    experiment.started = Some(now);
    if experiment.status != Status::Initiating {
        return;
    }
    experiment.status = Status::Running;
    if experiment.skip_all {
        for progress in experiment.progress.values_mut() {
            *progress = Progress::Skipped("The experiment's actionsMode is skip-all.".into());
        }
    }
}

fn fail(experiment: &mut Experiment, error: &Error, now: Timestamp) {
    experiment.status = Status::Failed;
    experiment.reason = Some(error.message.clone());
    experiment.ended = Some(now);
    for progress in experiment.progress.values_mut() {
        *progress = Progress::Cancelled;
    }
}

/// What is broken is undone on the way out.
fn stopping(experiment: &mut Experiment, reason: &str) {
    experiment.reason.get_or_insert_with(|| reason.to_owned());
    experiment.status = Status::Stopping;
}

async fn begin(cx: &Cx, id: &str, experiment: &Experiment, name: String, now: Timestamp) -> Result<()> {
    let Some(action) = experiment.template.actions.get(&name) else { return Ok(()) };
    if actions::targets(experiment, action).is_some_and(|arns| arns.is_empty()) {
        let skipped = Progress::Skipped("No resource matches the action's target.".into());
        return update(cx, id, |e| drop(e.progress.insert(name.clone(), skipped.clone()))).await;
    }
    // Before anything breaks, so that whoever goes on from here knows that it may be broken.
    update(cx, id, |e| drop(e.progress.insert(name.clone(), Progress::Beginning { since: now }))).await?;
    let progress = match actions::begin(cx, id, experiment, &name, action).await {
        Ok(Lasts::Instant) => Progress::Completed { since: now, ended: now },
        Ok(Lasts::For(time)) => Progress::Running { since: now, until: Some(now + time) },
        Ok(Lasts::UntilStopped) => Progress::Running { since: now, until: None },
        Err(error) => {
            actions::undo_part(cx, id, &name, action).await?;
            return failed(cx, id, &name, &error, now, now).await;
        }
    };
    update(cx, id, |e| drop(e.progress.insert(name.clone(), progress.clone()))).await
}

async fn end(cx: &Cx, id: &str, experiment: &Experiment, name: String, stopped: bool, now: Timestamp) -> Result<()> {
    let Some(action) = experiment.template.actions.get(&name) else { return Ok(()) };
    let since = match experiment.progress.get(&name) {
        Some(Progress::Beginning { since } | Progress::Running { since, .. }) => *since,
        _ => now,
    };
    match actions::end(cx, id, experiment, &name, action, stopped).await {
        // A passing condition: the next run tries again.
        Err(error) if error.fault == Fault::Server => Err(error),
        Err(error) => failed(cx, id, &name, &error, since, now).await,
        Ok(()) => {
            let ended = match stopped {
                true => Progress::Stopped { since, ended: now },
                false => Progress::Completed { since, ended: now },
            };
            update(cx, id, |e| drop(e.progress.insert(name.clone(), ended.clone()))).await
        }
    }
}

async fn failed(cx: &Cx, id: &str, name: &str, error: &Error, since: Timestamp, now: Timestamp) -> Result<()> {
    update(cx, id, |e| {
        let reason = error.message.clone();
        e.progress.insert(name.to_owned(), Progress::Failed { since, ended: now, reason });
        stopping(e, &format!("Action {name} failed: {error}"));
    })
    .await
}

async fn resolve(cx: &Cx, experiment: &Experiment) -> Result<BTreeMap<String, Vec<String>>> {
    let mut resolved = BTreeMap::new();
    for (name, target) in &experiment.template.targets {
        let arns = targets::resolve(cx, target).await?;
        if arns.is_empty() && !experiment.template.skip_empty_targets {
            return Err(Error::client(
                "ValidationException",
                format!("Target resolution returned empty set for '{name}': {}.", sought(target)),
            ));
        }
        resolved.insert(name.clone(), arns);
    }
    if !experiment.skip_all {
        check::targets(cx, &Experiment { resolved: resolved.clone(), ..experiment.clone() }).await?;
    }
    Ok(resolved)
}

/// What a target means, for people.
fn sought(target: &Target) -> String {
    let tags = target.resource_tags.iter().map(|(key, value)| format!("the tag {key}={value}"));
    let filters = target.filters.iter().map(|(path, values)| format!("{path} of {}", values.join(" or ")));
    let arns = (!target.resource_arns.is_empty()).then(|| format!("one of {}", target.resource_arns.join(", ")));
    let all: Vec<String> = arns.into_iter().chain(tags).chain(filters).collect();
    let kind = &target.resource_type;
    if all.is_empty() { format!("there is no {kind}") } else { format!("no {kind} with {}", all.join(" and ")) }
}

async fn update(cx: &Cx, id: &str, change: impl Fn(&mut Experiment)) -> Result<()> {
    let seed = cx.rng().u64();
    cx.txn(|tx| {
        if let Some(old) = tx.get::<Experiment>(cx.scope(), id) {
            let mut new = (*old).clone();
            change(&mut new);
            events::moved(tx, cx, &Rng::seeded(seed), id, Some(&old), &new);
            tx.put(cx.scope(), id, new);
        }
        Ok(())
    })
    .await
}
