//! What should happen next in an experiment. Pure.

use standfast_core::Timestamp;

use super::model::{Experiment, Progress, Status};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Choose the targets.
    Resolve,
    /// Begin this action.
    Begin(String),
    /// Undo this action, which ends as stopped or completed.
    End { action: String, stopped: bool },
    /// The whole experiment has ended like this.
    Finish(Status),
}

/// What to do now, and when to look again if nothing changes before.
pub fn plan(experiment: &Experiment, now: Timestamp) -> (Vec<Step>, Option<Timestamp>) {
    let running = |progress: &Progress| matches!(progress, Progress::Beginning { .. } | Progress::Running { .. });
    let failed = experiment.progress.values().any(|progress| matches!(progress, Progress::Failed { .. }));
    match experiment.status {
        Status::Initiating => (vec![Step::Resolve], None),
        Status::Stopping => {
            let ends: Vec<Step> = (experiment.progress.iter())
                .filter(|(_, progress)| running(progress))
                .map(|(action, _)| Step::End { action: action.clone(), stopped: true })
                .collect();
            let over = if failed { Status::Failed } else { Status::Stopped };
            if ends.is_empty() { (vec![Step::Finish(over)], None) } else { (ends, None) }
        }
        Status::Running => advance(experiment, now),
        Status::Completed | Status::Stopped | Status::Failed => (vec![], None),
    }
}

fn advance(experiment: &Experiment, now: Timestamp) -> (Vec<Step>, Option<Timestamp>) {
    let (mut steps, mut next) = (Vec::new(), None::<Timestamp>);
    for (name, progress) in &experiment.progress {
        match progress {
            Progress::Running { until: Some(until), .. } if *until <= now => {
                steps.push(Step::End { action: name.clone(), stopped: false });
            }
            Progress::Running { until: Some(until), .. } => next = Some(next.map_or(*until, |n| n.min(*until))),
            Progress::Pending if ready(experiment, name) => steps.push(Step::Begin(name.clone())),
            Progress::Beginning { .. } => steps.push(Step::Begin(name.clone())),
            _ => (),
        }
    }
    if steps.is_empty() && experiment.progress.values().all(Progress::is_done) {
        steps.push(Step::Finish(Status::Completed));
    }
    (steps, next)
}

/// Whether all that the action starts after is done.
fn ready(experiment: &Experiment, name: &str) -> bool {
    experiment.template.actions.get(name).is_some_and(|action| {
        (action.start_after.iter()).all(|other| experiment.progress.get(other).is_some_and(Progress::is_done))
    })
}
