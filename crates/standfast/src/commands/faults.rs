//! `break` and `heal`: experiments of the fis API.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value as Json, json};
use standfast_api::{fis, sts};
use standfast_core::Clock;
use standfast_core::place::Zone;

use super::text;
use crate::api_client::ApiClient;
use crate::cli::{Breakable, Healable};
use crate::output;

/// The action that cuts a zone's power until the experiment ends.
const POWER: &str = "standfast:az:power-interruption";
/// The action that kills instances as failing hardware would.
const KILL: &str = "standfast:ec2:kill-instances";
/// Experiments begin and end at once; one that does not is stuck.
const EXPERIMENT_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Starts an experiment that breaks something.
pub async fn break_it(client: &ApiClient, what: &Breakable) -> Result<ExitCode> {
    match what {
        Breakable::Zone { zone } => {
            let region = region_of(zone)?;
            let client = ApiClient::new(client.endpoint(), &region)?;
            if running(&client, zone).await?.is_some() {
                output::line(format_args!("Zone {zone} is dark already; `standfast heal zone {zone}` brings it back."));
                return Ok(ExitCode::SUCCESS);
            }
            let actions = json!({"power": {"actionId": POWER, "parameters": {"availabilityZoneIdentifier": zone}}});
            let id = start(&client, &format!("{zone} loses power"), actions, json!({}), json!({"zone": zone})).await?;
            output::line(format_args!(
                "Zone {zone} is dark: its instances, load balancer nodes and links are gone (experiment {id})."
            ));
            output::line(format_args!(
                "`standfast status` and `standfast probe` show what users see; `standfast heal zone {zone}` brings it back."
            ));
        }
        Breakable::Instance { id } => {
            let caller = client.call(&sts::MODEL, "GetCallerIdentity", json!({})).await?;
            let arn = format!("arn:aws:ec2:{}:{}:instance/{id}", client.region(), text(&caller, "Account"));
            let actions = json!({"kill": {"actionId": KILL, "targets": {"Instances": "instance"}}});
            let targets = json!({"instance": {
                "resourceType": "aws:ec2:instance", "resourceArns": [arn], "selectionMode": "ALL",
            }});
            start(client, &format!("{id} is killed"), actions, targets, json!({})).await?;
            output::line(format_args!("Instance {id} was killed with SIGKILL."));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops the experiment that broke it.
pub async fn heal(client: &ApiClient, what: &Healable) -> Result<ExitCode> {
    let Healable::Zone { zone } = what;
    let client = ApiClient::new(client.endpoint(), &region_of(zone)?)?;
    let Some(id) = running(&client, zone).await? else {
        output::line(format_args!("Zone {zone} has power; nothing to heal."));
        return Ok(ExitCode::SUCCESS);
    };
    client.call(&fis::MODEL, "StopExperiment", json!({"id": id})).await?;
    until(&client, &id, "has not ended", is_over).await?;
    output::line(format_args!("Zone {zone} has power again."));
    Ok(ExitCode::SUCCESS)
}

fn region_of(zone: &str) -> Result<String> {
    match Zone::named(zone) {
        Some(zone) => Ok(zone.region().to_owned()),
        None => bail!("'{zone}' is not an availability zone; one is eu-west-1a"),
    }
}

/// The running experiment that keeps the zone dark.
async fn running(client: &ApiClient, zone: &str) -> Result<Option<String>> {
    for experiment in client.list(&fis::MODEL, "ListExperiments", json!({}), "experiments").await? {
        let of_zone = experiment.get("tags").map(|tags| text(tags, "zone")) == Some(zone);
        if of_zone && matches!(status(&experiment), "pending" | "initiating" | "running") {
            return Ok(Some(text(&experiment, "id").to_owned()));
        }
    }
    Ok(None)
}

/// Makes a template, starts it, and answers when the experiment has begun; an error when it has failed.
async fn start(client: &ApiClient, description: &str, actions: Json, targets: Json, tags: Json) -> Result<String> {
    let caller = client.call(&sts::MODEL, "GetCallerIdentity", json!({})).await?;
    let template = client
        .call(
            &fis::MODEL,
            "CreateExperimentTemplate",
            json!({
                "clientToken": description, "description": description,
                "stopConditions": [{"source": "none"}],
                "roleArn": format!("arn:aws:iam::{}:role/standfast", text(&caller, "Account")),
                "actions": actions, "targets": targets,
            }),
        )
        .await?;
    let template = template.get("experimentTemplate").map(|t| text(t, "id")).unwrap_or_default().to_owned();
    let started = client
        .call(
            &fis::MODEL,
            "StartExperiment",
            json!({"clientToken": template, "experimentTemplateId": template, "tags": tags}),
        )
        .await;
    // The experiment keeps its own copy; one-off templates would only pile up.
    client.call(&fis::MODEL, "DeleteExperimentTemplate", json!({"id": template})).await?;
    let started = started?;
    let id = started.get("experiment").map(|experiment| text(experiment, "id")).unwrap_or_default().to_owned();
    until(client, &id, "has not begun", has_begun).await?;
    Ok(id)
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

fn status(thing: &Json) -> &str {
    text(&thing["state"], "status")
}

/// Whether all its actions have done something.
fn has_begun(experiment: &Json) -> bool {
    let actions = experiment["actions"].as_object();
    actions.is_some_and(|actions| actions.values().all(|a| !matches!(status(a), "" | "pending" | "initiating")))
}

fn is_over(experiment: &Json) -> bool {
    matches!(status(experiment), "stopped" | "completed")
}
