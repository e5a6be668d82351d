//! Experiments: started, looked at, and ended whatever happens.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_core::{Error, Result};

use crate::World;
use crate::aim::{Action, Aimed, template};
use crate::answers::text;
use crate::site::Site;
use crate::spec::Fault;
use crate::world::{pass, patience};

/// Experiments begin and end at once; one that does not is stuck.
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Checks that the cloud takes an experiment: its template, and with a preview what it resolves to and whether the hosts
/// can do it. Nothing breaks.
pub async fn check(
    world: &dyn World,
    site: &Site,
    fault: &Fault,
    action: &Action,
    aimed: &Aimed,
    token: &str,
    stop: &[String],
) -> Result<()> {
    let made = world.call("fis", "CreateExperimentTemplate", template(site, fault, action, aimed, token, stop)).await?;
    let made = text(&made["experimentTemplate"], "id").to_owned();
    let preview = json!({
        "clientToken": token, "experimentTemplateId": made, "experimentOptions": {"actionsMode": "skip-all"},
    });
    let started = world.call("fis", "StartExperiment", preview).await;
    world.call("fis", "DeleteExperimentTemplate", json!({"id": made})).await?;
    until(world, text(&started?["experiment"], "id"), is_over).await.map(|_| ())
}

/// Starts an experiment and gives its id once it has done what it does.
pub async fn begin(
    world: &dyn World,
    site: &Site,
    fault: &Fault,
    action: &Action,
    aimed: &Aimed,
    token: &str,
    stop: &[String],
) -> Result<String> {
    let made = world.call("fis", "CreateExperimentTemplate", template(site, fault, action, aimed, token, stop)).await?;
    let made = text(&made["experimentTemplate"], "id").to_owned();
    let start = json!({"clientToken": token, "experimentTemplateId": made, "tags": {"game-day": site.name}});
    let started = world.call("fis", "StartExperiment", start).await;
    // The experiment keeps its own copy; one-off templates would only pile up.
    world.call("fis", "DeleteExperimentTemplate", json!({"id": made})).await?;
    let id = text(&started?["experiment"], "id").to_owned();
    until(world, &id, has_begun).await?;
    Ok(id)
}

/// Ends an experiment that may have ended by itself, and waits until what it broke is whole.
pub async fn end(world: &dyn World, id: &str) -> Result<()> {
    if is_over(&look(world, id).await?) {
        return Ok(());
    }
    match world.call("fis", "StopExperiment", json!({"id": id})).await {
        // It ended meanwhile.
        Err(error) if error.is("ValidationException") => (),
        answer => drop(answer?),
    }
    until(world, id, is_over).await.map(|_| ())
}

/// An experiment's state, whether it is over, and why.
pub async fn status(world: &dyn World, id: &str) -> Result<(String, bool, String)> {
    let experiment = look(world, id).await?;
    let state = &experiment["state"];
    Ok((text(state, "status").to_owned(), is_over(&experiment), text(state, "reason").to_owned()))
}

async fn look(world: &dyn World, id: &str) -> Result<Json> {
    Ok(world.call("fis", "GetExperiment", json!({"id": id})).await?["experiment"].take())
}

async fn until(world: &dyn World, id: &str, reached: fn(&Json) -> bool) -> Result<Json> {
    let limit = world.elapsed() + patience(world, LIMIT);
    loop {
        let experiment = look(world, id).await?;
        if text(&experiment["state"], "status") == "failed" {
            return Err(Error::client("ExperimentFailed", text(&experiment["state"], "reason")));
        }
        if reached(&experiment) {
            return Ok(experiment);
        }
        if world.elapsed() > limit {
            return Err(Error::unavailable(format!("the experiment {id} is stuck")));
        }
        pass(world, POLL).await;
    }
}

/// Whether all its actions have done something.
fn has_begun(experiment: &Json) -> bool {
    // One that has failed takes the whole experiment with it, which then says why.
    let waits = |action: &Json| matches!(text(&action["state"], "status"), "" | "pending" | "initiating" | "failed");
    experiment["actions"].as_object().is_some_and(|actions| !actions.values().any(waits))
}

fn is_over(experiment: &Json) -> bool {
    matches!(text(&experiment["state"], "status"), "completed" | "stopped" | "failed" | "cancelled")
}
