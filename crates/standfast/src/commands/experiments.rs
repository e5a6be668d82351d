//! Experiments of the fis API, as short commands make them: of one use, found again by a mark.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value as Json, json};
use standfast_api::{ec2, fis, sts};
use standfast_console::MARK;
use standfast_core::Clock;

use super::{items, text};
use crate::api_client::ApiClient;

/// Experiments begin and end at once; one that does not is stuck.
const EXPERIMENT_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// What the action and the target of an experiment with one are called.
const ACTION: &str = "action";
const TARGET: &str = "target";
/// So many resources are named to who asked for one that is not there.
const SHOWN_MAX: usize = 8;

/// What an experiment does, and to what.
#[derive(Clone, Debug)]
pub struct Plan {
    pub description: String,
    pub actions: Json,
    pub targets: Json,
    /// Whether actions without anything to act on are left out.
    pub skip_empty: bool,
}

impl Plan {
    /// One action, which may have a target: the action's name for it, and what it is.
    pub fn of(description: String, action: &str, parameters: Json, target: Option<(&str, Json)>) -> Self {
        let mut act = json!({"actionId": action, "parameters": parameters});
        let mut targets = json!({});
        if let Some((name, target)) = target {
            act["targets"] = json!({name: TARGET});
            targets[TARGET] = target;
        }
        Self { description, actions: json!({ACTION: act}), targets, skip_empty: false }
    }
}

/// The target that is this one resource.
pub fn resource(resource_type: &str, arn: String) -> Json {
    json!({"resourceType": resource_type, "resourceArns": [arn], "selectionMode": "ALL"})
}

/// The caller's account.
pub async fn account(client: &ApiClient) -> Result<String> {
    let caller = client.call(&sts::MODEL, "GetCallerIdentity", json!({})).await?;
    Ok(text(&caller, "Account").to_owned())
}

/// The ARN of one of ec2's resources: `instance/i-0123456789abcdef0`.
pub async fn ec2_arn(client: &ApiClient, resource: &str) -> Result<String> {
    Ok(format!("arn:aws:ec2:{}:{}:{resource}", client.region(), account(client).await?))
}

/// The running experiment with this mark.
pub async fn running(client: &ApiClient, mark: &str) -> Result<Option<String>> {
    for experiment in client.list(&fis::MODEL, "ListExperiments", json!({}), "experiments").await? {
        let is_it = experiment.get("tags").map(|tags| text(tags, MARK)) == Some(mark);
        if is_it && is_active(&experiment) {
            return Ok(Some(text(&experiment, "id").to_owned()));
        }
    }
    Ok(None)
}

/// The marks of all that runs.
pub async fn marks(client: &ApiClient) -> Result<Vec<String>> {
    let all = client.list(&fis::MODEL, "ListExperiments", json!({}), "experiments").await?;
    let marks = all.iter().filter(|one| is_active(one)).map(|one| text(&one["tags"], MARK).to_owned());
    Ok(marks.filter(|mark| !mark.is_empty()).collect())
}

/// Every experiment that runs.
pub async fn active(client: &ApiClient) -> Result<Vec<String>> {
    let all = client.list(&fis::MODEL, "ListExperiments", json!({}), "experiments").await?;
    Ok(all.iter().filter(|one| is_active(one)).map(|one| text(one, "id").to_owned()).collect())
}

/// Makes a template, starts it, and answers when the experiment has begun; an error when it has failed.
pub async fn start(client: &ApiClient, plan: &Plan, mark: Option<&str>) -> Result<String> {
    let role = format!("arn:aws:iam::{}:role/standfast", account(client).await?);
    let mode = if plan.skip_empty { "skip" } else { "fail" };
    let template = json!({
        "clientToken": token(&plan.description), "description": plan.description,
        "stopConditions": [{"source": "none"}], "roleArn": role, "actions": plan.actions, "targets": plan.targets,
        "experimentOptions": {"emptyTargetResolutionMode": mode},
    });
    let template = client.call(&fis::MODEL, "CreateExperimentTemplate", template).await?;
    let template = template.get("experimentTemplate").map(|t| text(t, "id")).unwrap_or_default().to_owned();
    let tags = mark.map_or_else(|| json!({}), |mark| json!({MARK: mark}));
    let started = client
        .call(
            &fis::MODEL,
            "StartExperiment",
            json!({"clientToken": template, "experimentTemplateId": template, "tags": tags}),
        )
        .await;
    // The experiment keeps its own copy; one-off templates would only pile up.
    client.call(&fis::MODEL, "DeleteExperimentTemplate", json!({"id": template})).await?;
    let started = started.map_err(plainly)?;
    let id = started.get("experiment").map(|experiment| text(experiment, "id")).unwrap_or_default().to_owned();
    match until(client, &id, "has not begun", has_begun).await {
        Err(error) if error.to_string().starts_with("Target resolution") => bail!("{}", missing(client, plan).await?),
        begun => begun.map(|()| id),
    }
}

/// What a refusal says to who has not written the template.
fn plainly(error: anyhow::Error) -> anyhow::Error {
    let text = error.to_string();
    if text.contains("ServiceQuotaExceeded") {
        return error.context("too much is broken at once; `standfast heal all` stops it");
    }
    let own = format!("The action '{ACTION}': ");
    if text.contains(&own) { anyhow::anyhow!("{}", text.replace(&own, "")) } else { error }
}

/// What is not there, and what is.
async fn missing(client: &ApiClient, plan: &Plan) -> Result<String> {
    let target = &plan.targets[TARGET];
    let (kind, arn) = (text(target, "resourceType"), target["resourceArns"][0].as_str().unwrap_or_default());
    let (operation, list, id) = match kind {
        "aws:ec2:instance" | "aws:ec2:spot-instance" => ("DescribeInstances", "Reservations", "InstanceId"),
        "aws:ec2:subnet" => ("DescribeSubnets", "Subnets", "SubnetId"),
        "aws:ec2:ebs-volume" => ("DescribeVolumes", "Volumes", "VolumeId"),
        _ => return Ok(format!("there is no {kind} {arn}")),
    };
    let all = client.call(&ec2::MODEL, operation, json!({})).await?;
    let all = items(&all, list).iter().flat_map(|one| match list {
        "Reservations" => items(one, "Instances").iter().collect(),
        _ => vec![one],
    });
    let spot = |one: &&Json| kind != "aws:ec2:spot-instance" || text(one, "InstanceLifecycle") == "spot";
    let there = |one: &&Json| !matches!(text(&one["State"], "Name"), "terminated" | "shutting-down");
    let ids: Vec<&str> = all.filter(spot).filter(there).map(|one| text(one, id)).take(SHOWN_MAX).collect();
    let (what, wanted) = (kind.rsplit([':', '-']).next().unwrap_or(kind), arn.rsplit('/').next().unwrap_or(arn));
    let what = if kind == "aws:ec2:spot-instance" { "spot instance" } else { what };
    let region = client.region();
    Ok(match ids[..] {
        [] => format!("there is no {what} '{wanted}' in {region}, nor any other"),
        _ => format!("there is no {what} '{wanted}' in {region}; there are {}", ids.join(", ")),
    })
}

/// Whether none of its actions had anything to act on.
pub async fn hit_nothing(client: &ApiClient, id: &str) -> Result<bool> {
    let answer = client.call(&fis::MODEL, "GetExperiment", json!({"id": id})).await?;
    let actions = answer["experiment"]["actions"].as_object();
    // What starts after what was left out may not be marked yet.
    let left_out = |action: &Json| matches!(status(action), "skipped" | "pending");
    Ok(actions.is_some_and(|actions| actions.values().all(left_out)))
}

/// A token is one word.
fn token(description: &str) -> String {
    description.split_whitespace().collect::<Vec<_>>().join("-")
}

/// Stops an experiment and waits for its end.
pub async fn stop(client: &ApiClient, id: &str) -> Result<()> {
    client.call(&fis::MODEL, "StopExperiment", json!({"id": id})).await?;
    until(client, id, "has not ended", is_over).await
}

/// Waits for an experiment to be in a state; its reason is the error when it fails.
async fn until(client: &ApiClient, id: &str, otherwise: &str, reached: fn(&Json) -> bool) -> Result<()> {
    let clock = Clock::system(1.0);
    let deadline = clock.now() + EXPERIMENT_LIMIT;
    loop {
        let answer = client.call(&fis::MODEL, "GetExperiment", json!({"id": id})).await?;
        let experiment = &answer["experiment"];
        if status(experiment) == "failed" {
            bail!("{}", text(&experiment["state"], "reason"));
        }
        if reached(experiment) {
            return Ok(());
        }
        if clock.now() > deadline {
            bail!("the experiment {id} {otherwise} after {} s", EXPERIMENT_LIMIT.as_secs());
        }
        clock.sleep(POLL).await;
    }
}

pub fn status(thing: &Json) -> &str {
    text(&thing["state"], "status")
}

fn is_active(experiment: &Json) -> bool {
    matches!(status(experiment), "pending" | "initiating" | "running")
}

/// Whether what can begin has begun: actions that start after others may wait for long.
fn has_begun(experiment: &Json) -> bool {
    let begun = |action: &Json| {
        let waits = action["startAfter"].as_array().is_some_and(|others| !others.is_empty());
        waits || !matches!(status(action), "" | "pending" | "initiating")
    };
    experiment["actions"].as_object().is_some_and(|actions| actions.values().all(begun))
}

fn is_over(experiment: &Json) -> bool {
    matches!(status(experiment), "stopped" | "completed")
}
