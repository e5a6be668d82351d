//! Experiments: started, looked at, and ended whatever happens.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_core::{Error, Result};

use crate::World;
use crate::answers::text;
use crate::world::{pass, patience};

/// Experiments begin and end at once; one that does not is stuck.
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Checks that the cloud takes an experiment: its template, and with a preview what it resolves to and whether the hosts
/// can do it. Nothing breaks.
pub async fn check(world: &dyn World, template: Json, token: &str) -> Result<()> {
    let preview = json!({"clientToken": token, "experimentOptions": {"actionsMode": "skip-all"}});
    let id = start(world, template, preview).await?;
    until(world, &id, is_over).await.map(|_| ())
}

/// Starts an experiment and gives its id once it has done what it does; it can be told by the stack's name.
pub async fn begin(world: &dyn World, template: Json, token: &str, stack: &str) -> Result<String> {
    let id = start(world, template, json!({"clientToken": token, "tags": {"game-day": stack}})).await?;
    until(world, &id, has_begun).await?;
    Ok(id)
}

/// Makes an experiment of a template that is there for it alone.
async fn start(world: &dyn World, template: Json, mut input: Json) -> Result<String> {
    let made = world.call("fis", "CreateExperimentTemplate", template).await?;
    let made = text(&made["experimentTemplate"], "id").to_owned();
    input["experimentTemplateId"] = made.as_str().into();
    let started = world.call("fis", "StartExperiment", input).await;
    // The experiment keeps its own copy; one-off templates would only pile up.
    world.call("fis", "DeleteExperimentTemplate", json!({"id": made})).await?;
    Ok(text(&started?["experiment"], "id").to_owned())
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
