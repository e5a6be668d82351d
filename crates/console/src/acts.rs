//! What buttons do: the calls that `standfast break` and `heal` make too.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use standfast_api::{ec2, fis};
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use crate::estate::{experiments, goes_on};
use crate::html::{self as ui};
use crate::{Page, ROOT, guard};

standfast_core::names! {
    /// An act by its name in paths.
    Act {
        BreakZone "break-zone", HealZone "heal-zone", KillInstance "kill-instance",
        TerminateInstance "terminate-instance", StopExperiment "stop-experiment",
    }
}

impl Act {
    /// The field that names what is acted on.
    pub fn field(self) -> &'static str {
        match self {
            Act::BreakZone | Act::HealZone => "zone",
            Act::KillInstance | Act::TerminateInstance | Act::StopExperiment => "id",
        }
    }
}

/// The same on the command line.
pub fn command(act: Act, subject: &str) -> String {
    match act {
        Act::BreakZone => format!("standfast break zone {subject}"),
        Act::HealZone => format!("standfast heal zone {subject}"),
        Act::KillInstance => format!("standfast break instance {subject}"),
        Act::TerminateInstance => format!("aws ec2 terminate-instances --instance-ids {subject}"),
        Act::StopExperiment => format!("aws fis stop-experiment --id {subject}"),
    }
}

/// The page about what is acted on.
pub fn about(act: Act, subject: &str) -> String {
    match act {
        Act::BreakZone | Act::HealZone => ROOT.to_owned(),
        Act::KillInstance | Act::TerminateInstance => ui::path("instances", subject),
        Act::StopExperiment => ui::path("experiments", subject),
    }
}

/// The action that cuts a zone's power until the experiment ends.
pub const POWER: &str = "standfast:az:power-interruption";
/// The parameter that names the zone.
pub const POWER_ZONE: &str = "availabilityZoneIdentifier";
/// The action that kills instances as failing hardware would.
pub const KILL: &str = "standfast:ec2:kill-instances";
/// The tag by which a lasting experiment is found again, here and by `standfast heal`; its value says what it broke.
pub const MARK: &str = "zone";
/// How long the page after an act is held back, so that it shows what the act did.
const SETTLED: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);

/// Does what a form asks for, and shows where it is seen.
pub async fn act(page: &Page<'_>) -> Result<Response<Bytes>> {
    let parts: Vec<&str> = page.asked.parts.iter().map(String::as_str).collect();
    let ["act", name] = parts.as_slice() else { return Ok(ui::missing(page, ui::ACT, &parts.join("/"))) };
    let Some(act) = Act::named(name) else { return Ok(ui::missing(page, ui::ACT, name)) };
    let subject = page.asked.form.get(act.field()).map(String::as_str).unwrap_or_default();
    let cx = &page.cx;
    match act {
        Act::BreakZone => break_zone(cx, subject).await?,
        Act::HealZone => heal_zone(cx, subject).await?,
        Act::KillInstance => kill(cx, subject).await?,
        Act::TerminateInstance => {
            let input = ec2::TerminateInstancesInput { instance_ids: vec![subject.into()], ..Default::default() };
            cx.call(ec2::TerminateInstances, input).await?;
        }
        Act::StopExperiment => stop(cx, subject).await?,
    }
    Ok(guard::see_other(&about(act, subject)))
}

async fn break_zone(cx: &Cx, zone: &str) -> Result<()> {
    if !darkening(cx, zone).await?.is_empty() {
        return Ok(());
    }
    let parameters = BTreeMap::from([(POWER_ZONE.to_owned(), zone.to_owned())]);
    let action = fis::CreateExperimentTemplateActionInput {
        action_id: POWER.into(),
        parameters: Some(parameters),
        ..Default::default()
    };
    let mark = BTreeMap::from([(MARK.to_owned(), zone.to_owned())]);
    start(cx, &format!("{zone} loses power"), action, BTreeMap::new(), mark).await
}

/// Stops what has cut the zone's power, whoever has started it.
async fn heal_zone(cx: &Cx, zone: &str) -> Result<()> {
    for id in darkening(cx, zone).await? {
        stop(cx, &id).await?;
    }
    Ok(())
}

/// The running experiments that keep a zone dark.
async fn darkening(cx: &Cx, zone: &str) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for summary in experiments(cx).await? {
        let status = summary.state.as_ref().and_then(|state| state.status.as_deref());
        let (true, Some(id)) = (goes_on(status), summary.id) else { continue };
        let experiment = cx.call(fis::GetExperiment, fis::GetExperimentInput { id: id.clone() }).await?.experiment;
        let actions = experiment.and_then(|experiment| experiment.actions).unwrap_or_default();
        let is_it = |action: &fis::ExperimentAction| {
            let of_zone = action.parameters.iter().flatten().any(|(name, value)| name == POWER_ZONE && value == zone);
            action.action_id.as_deref() == Some(POWER) && of_zone
        };
        if actions.values().any(is_it) {
            out.push(id);
        }
    }
    Ok(out)
}

async fn kill(cx: &Cx, id: &str) -> Result<()> {
    let arn = format!("arn:aws:ec2:{}:{}:instance/{id}", cx.region(), cx.account());
    let target = fis::CreateExperimentTemplateTargetInput {
        resource_type: "aws:ec2:instance".into(),
        resource_arns: Some(vec![arn]),
        selection_mode: "ALL".into(),
        ..Default::default()
    };
    let action = fis::CreateExperimentTemplateActionInput {
        action_id: KILL.into(),
        targets: Some(BTreeMap::from([("Instances".to_owned(), "instance".to_owned())])),
        ..Default::default()
    };
    let targets = BTreeMap::from([("instance".to_owned(), target)]);
    start(cx, &format!("{id} is killed"), action, targets, BTreeMap::new()).await
}

/// Runs an experiment of one action.
async fn start(
    cx: &Cx,
    description: &str,
    action: fis::CreateExperimentTemplateActionInput,
    targets: BTreeMap<String, fis::CreateExperimentTemplateTargetInput>,
    tags: BTreeMap<String, String>,
) -> Result<()> {
    let none = fis::CreateExperimentTemplateStopConditionInput { source: "none".into(), value: None };
    let input = fis::CreateExperimentTemplateInput {
        client_token: cx.rng().uuid(),
        description: description.into(),
        stop_conditions: vec![none],
        role_arn: format!("arn:aws:iam::{}:role/standfast", cx.account()),
        actions: BTreeMap::from([("action".to_owned(), action)]),
        targets: Some(targets),
        ..Default::default()
    };
    let template = cx.call(fis::CreateExperimentTemplate, input).await?.experiment_template;
    let template = template.and_then(|template| template.id).unwrap_or_default();
    let input = fis::StartExperimentInput {
        client_token: cx.rng().uuid(),
        experiment_template_id: template.clone(),
        tags: Some(tags),
        ..Default::default()
    };
    let started = cx.call(fis::StartExperiment, input).await;
    // The experiment keeps its own copy; one-off templates would only pile up.
    cx.call(fis::DeleteExperimentTemplate, fis::DeleteExperimentTemplateInput { id: template }).await?;
    let id = started?.experiment.and_then(|experiment| experiment.id).unwrap_or_default();
    settle(cx, &id, |status| !matches!(status, "pending" | "initiating")).await
}

async fn stop(cx: &Cx, id: &str) -> Result<()> {
    cx.call(fis::StopExperiment, fis::StopExperimentInput { id: id.into() }).await?;
    settle(cx, id, |status| !goes_on(Some(status))).await
}

/// Waits a little for an experiment to get there; its reason is the error when it fails.
async fn settle(cx: &Cx, id: &str, there: fn(&str) -> bool) -> Result<()> {
    let deadline = cx.now() + SETTLED.mul_f64(cx.clock().speed());
    loop {
        let answer = cx.call(fis::GetExperiment, fis::GetExperimentInput { id: id.into() }).await?;
        let state = answer.experiment.and_then(|experiment| experiment.state).unwrap_or_default();
        let status = state.status.unwrap_or_default();
        if status == "failed" {
            return Err(Error::client("ExperimentFailed", state.reason.unwrap_or_default()));
        }
        if there(&status) || cx.now() > deadline {
            return Ok(());
        }
        cx.clock().sleep(POLL.mul_f64(cx.clock().speed())).await;
    }
}
