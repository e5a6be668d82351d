//! Runs experiments: plan, act, write down how far it came.

use standfast_core::{Error, Result, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};

use super::actions::{self, Lasts};
use super::model::{Experiment, Progress, Status};
use super::plan::{Step, plan};

pub async fn run(cx: Cx) -> Result<Wake> {
    let mut wake = Wake::OnChange;
    for (scope, id, experiment) in cx.view(|v| v.all::<Experiment>()) {
        if experiment.status.is_over() {
            continue;
        }
        let (steps, next) = plan(&experiment, cx.now());
        for step in steps {
            apply(&cx.at(&scope), &scope, &id, &experiment, step).await?;
        }
        if let Some(next) = next {
            wake = wake.or(Wake::At(next));
        }
    }
    Ok(wake)
}

async fn apply(cx: &Cx, scope: &Scope, id: &str, experiment: &Experiment, step: Step) -> Result<()> {
    let now = cx.now();
    match step {
        Step::Resolve => match resolve(cx, experiment).await {
            Ok(resolved) => {
                update(cx, scope, id, |e| {
                    e.resolved = resolved.clone();
                    if e.status == Status::Initiating {
                        e.status = Status::Running;
                    }
                    e.started = Some(now);
                })
                .await
            }
            Err(error) => update(cx, scope, id, |e| fail(e, &error, now)).await,
        },
        Step::Begin(name) => {
            let Some(action) = experiment.template.actions.get(&name) else { return Ok(()) };
            let progress = match actions::begin(cx, id, experiment, &name, action).await {
                Ok(Lasts::Instant) => Progress::Completed { since: now, ended: now },
                Ok(Lasts::For(time)) => Progress::Running { since: now, until: Some(now + time) },
                Ok(Lasts::UntilStopped) => Progress::Running { since: now, until: None },
                Err(error) => {
                    return update(cx, scope, id, |e| {
                        e.progress.insert(name.clone(), Progress::Failed { reason: error.message.clone(), ended: now });
                        e.reason = Some(format!("Action {name} failed: {error}"));
                        // What other actions broke is undone on the way out.
                        e.status = Status::Stopping;
                    })
                    .await;
                }
            };
            update(cx, scope, id, |e| drop(e.progress.insert(name.clone(), progress.clone()))).await
        }
        Step::End { action: name, stopped } => {
            let Some(action) = experiment.template.actions.get(&name) else { return Ok(()) };
            actions::end(cx, id, experiment, &name, action).await?;
            update(cx, scope, id, |e| {
                let since = match e.progress.get(&name) {
                    Some(Progress::Running { since, .. }) => *since,
                    _ => now,
                };
                let over = if stopped {
                    Progress::Stopped { since, ended: now }
                } else {
                    Progress::Completed { since, ended: now }
                };
                e.progress.insert(name.clone(), over);
            })
            .await
        }
        Step::Finish(status) => {
            update(cx, scope, id, |e| {
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

fn fail(experiment: &mut Experiment, error: &Error, now: Timestamp) {
    experiment.status = Status::Failed;
    experiment.reason = Some(error.message.clone());
    experiment.ended = Some(now);
    for progress in experiment.progress.values_mut() {
        *progress = Progress::Cancelled;
    }
}

async fn resolve(cx: &Cx, experiment: &Experiment) -> Result<std::collections::BTreeMap<String, Vec<String>>> {
    let mut resolved = std::collections::BTreeMap::new();
    for (name, target) in &experiment.template.targets {
        let ids = actions::resolve(cx, target).await?;
        if ids.is_empty() && !experiment.template.skip_empty_targets {
            return Err(Error::client(
                "ValidationException",
                format!("Target resolution returned empty set for '{name}'."),
            ));
        }
        resolved.insert(name.clone(), ids);
    }
    Ok(resolved)
}

async fn update(cx: &Cx, scope: &Scope, id: &str, change: impl Fn(&mut Experiment)) -> Result<()> {
    cx.txn(|tx| {
        if let Some(experiment) = tx.get::<Experiment>(scope, id) {
            let mut experiment = (*experiment).clone();
            change(&mut experiment);
            tx.put(scope, id, experiment);
        }
        Ok(())
    })
    .await
}
