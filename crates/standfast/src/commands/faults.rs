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
use crate::cli::{self, Breakable, Healable};
use crate::output;

/// The action that cuts a zone's power until the experiment ends.
const POWER: &str = "standfast:az:power-interruption";
/// The action that kills instances as failing hardware would.
const KILL: &str = "standfast:ec2:kill-instances";
/// The action that fails the hardware below instances.
const HARDWARE: &str = "standfast:ec2:fail-hardware";
/// The action that interrupts spot instances, and the notice that they get.
const SPOT: &str = "aws:ec2:send-spot-instance-interruptions";
const SPOT_NOTICE: &str = "PT2M";
/// The action that loses or delays packets between zones.
const LINK: &str = "standfast:az:impair-link";
/// The tag by which a lasting experiment is found again; its value is the zone or the two zones of the link.
const MARK: &str = "zone";
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
            let parameters = json!({"availabilityZoneIdentifier": zone});
            let id = lasting(&client, &format!("{zone} loses power"), POWER, parameters, zone).await?;
            output::line(format_args!(
                "Zone {zone} is dark: its instances, load balancer nodes and links are gone (experiment {id})."
            ));
            output::line(format_args!(
                "`standfast status` and `standfast probe` show what users see; `standfast heal zone {zone}` brings it back."
            ));
        }
        Breakable::Link(link) => break_link(client, link).await?,
        Breakable::Instance { id } => {
            to_instance(client, id, &format!("{id} is killed"), KILL, json!({})).await?;
            output::line(format_args!("Instance {id} was killed with SIGKILL."));
        }
        Breakable::Hardware { id } => {
            to_instance(client, id, &format!("the hardware below {id} fails"), HARDWARE, json!({})).await?;
            output::line(format_args!(
                "The hardware below {id} has failed; `aws ec2 describe-instance-status` shows when it is recovered."
            ));
        }
        Breakable::Spot { id } => {
            let notice = json!({"durationBeforeInterruption": SPOT_NOTICE});
            to_instance(client, id, &format!("{id} is interrupted"), SPOT, notice).await?;
            output::line(format_args!("Spot instance {id} has its notice: it goes in two minutes."));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn break_link(client: &ApiClient, link: &cli::Link) -> Result<()> {
    let (zone, other) = (&link.zone, &link.other);
    let client = ApiClient::new(client.endpoint(), &region_of(zone)?)?;
    region_of(other)?;
    let mark = link_mark(zone, other);
    if running(&client, &mark).await?.is_some() {
        bail!(
            "the link between {zone} and {other} is broken already; `standfast heal link {zone} {other}` comes first"
        );
    }
    let parameters = json!({
        "availabilityZoneIdentifier": zone, "otherAvailabilityZoneIdentifier": other,
        "lossPercent": link.loss.to_string(), "delayMilliseconds": link.delay.to_string(),
    });
    let id = lasting(&client, &format!("{zone} and {other} are cut off"), LINK, parameters, &mark).await?;
    output::line(format_args!(
        "Between {zone} and {other}, {} % of the packets are lost and each is {} ms late, in both directions \
         (experiment {id}); `standfast heal link {zone} {other}` undoes it.",
        link.loss, link.delay
    ));
    Ok(())
}

/// What marks the experiment on a link, whichever zone is named first.
fn link_mark(zone: &str, other: &str) -> String {
    let (first, second) = if zone <= other { (zone, other) } else { (other, zone) };
    format!("{first} {second}")
}

/// An experiment that goes on until it is stopped, found again by its mark.
async fn lasting(client: &ApiClient, description: &str, action: &str, parameters: Json, mark: &str) -> Result<String> {
    let actions = json!({"action": {"actionId": action, "parameters": parameters}});
    start(client, description, actions, json!({}), json!({MARK: mark})).await
}

/// An experiment of one action on one instance.
async fn to_instance(
    client: &ApiClient,
    id: &str,
    description: &str,
    action: &str,
    parameters: Json,
) -> Result<String> {
    let (resource, name) =
        if action == SPOT { ("aws:ec2:spot-instance", "SpotInstances") } else { ("aws:ec2:instance", "Instances") };
    let caller = client.call(&sts::MODEL, "GetCallerIdentity", json!({})).await?;
    let arn = format!("arn:aws:ec2:{}:{}:instance/{id}", client.region(), text(&caller, "Account"));
    let actions = json!({"action": {"actionId": action, "targets": {name: "instance"}, "parameters": parameters}});
    let targets = json!({"instance": {"resourceType": resource, "resourceArns": [arn], "selectionMode": "ALL"}});
    start(client, description, actions, targets, json!({})).await
}

/// Stops the experiment that broke it.
pub async fn heal(client: &ApiClient, what: &Healable) -> Result<ExitCode> {
    let (zone, mark, broken, whole) = match what {
        Healable::Zone { zone } => {
            (zone, zone.clone(), format!("Zone {zone} has power"), format!("Zone {zone} has power again."))
        }
        Healable::Link { zone, other } => {
            let link = format!("The link between {zone} and {other}");
            (zone, link_mark(zone, other), format!("{link} is whole"), format!("{link} is whole again."))
        }
    };
    let client = ApiClient::new(client.endpoint(), &region_of(zone)?)?;
    let Some(id) = running(&client, &mark).await? else {
        output::line(format_args!("{broken}; nothing to heal."));
        return Ok(ExitCode::SUCCESS);
    };
    client.call(&fis::MODEL, "StopExperiment", json!({"id": id})).await?;
    until(&client, &id, "has not ended", is_over).await?;
    output::line(format_args!("{whole}"));
    Ok(ExitCode::SUCCESS)
}

fn region_of(zone: &str) -> Result<String> {
    match Zone::named(zone) {
        Some(zone) => Ok(zone.region().to_owned()),
        None => bail!("'{zone}' is not an availability zone; one is eu-west-1a"),
    }
}

/// The running experiment with this mark.
async fn running(client: &ApiClient, mark: &str) -> Result<Option<String>> {
    for experiment in client.list(&fis::MODEL, "ListExperiments", json!({}), "experiments").await? {
        let is_it = experiment.get("tags").map(|tags| text(tags, MARK)) == Some(mark);
        if is_it && matches!(status(&experiment), "pending" | "initiating" | "running") {
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
