//! The safety lever: engaged, it stops what runs and lets nothing start.

use standfast_api::fis as api;
use standfast_core::{Arn, Error, Result};
use standfast_kernel::Cx;
use standfast_store::View;

use super::model::{Experiment, Lever, Status};
use super::parse;

/// The one lever of an account and region.
const ID: &str = "default";
const REASON_USUAL: &str = "The safety lever has not been engaged.";

/// What stops experiments when the lever is engaged.
pub const STOPPED: &str = "Experiment halted by the safety lever.";

fn known(id: &str) -> Result<()> {
    match id {
        ID => Ok(()),
        _ => Err(Error::client("ResourceNotFoundException", format!("The safety lever '{id}' does not exist."))),
    }
}

/// Whether nothing may start; the reason of who engaged it.
pub fn engaged(view: &View, cx: &Cx) -> Option<String> {
    view.get::<Lever>(cx.scope(), ID).filter(|lever| lever.engaged).map(|lever| lever.reason.clone())
}

fn shape(cx: &Cx) -> api::SafetyLever {
    let (lever, running) = cx.view(|view| {
        let all = view.list::<Experiment>(cx.scope());
        (view.get::<Lever>(cx.scope(), ID), all.iter().any(|(_, one)| !one.status.is_over()))
    });
    let status = match &lever {
        Some(lever) if lever.engaged && running => "engaging",
        Some(lever) if lever.engaged => "engaged",
        _ => "disengaged",
    };
    let reason = lever.map_or_else(|| REASON_USUAL.to_owned(), |lever| lever.reason.clone());
    api::SafetyLever {
        id: Some(ID.into()),
        arn: Some(Arn::new("fis", cx.scope(), format!("safety-lever/{ID}")).to_string()),
        state: Some(api::SafetyLeverState { status: Some(status.into()), reason: Some(reason) }),
    }
}

pub async fn get(cx: Cx, input: api::GetSafetyLeverInput) -> Result<api::GetSafetyLeverOutput> {
    known(&input.id)?;
    Ok(api::GetSafetyLeverOutput { safety_lever: Some(shape(&cx)) })
}

pub async fn update(cx: Cx, input: api::UpdateSafetyLeverStateInput) -> Result<api::UpdateSafetyLeverStateOutput> {
    known(&input.id)?;
    let engaged = input.state.status == "engaged";
    cx.txn(|tx| {
        if tx.get::<Lever>(cx.scope(), ID).is_some_and(|lever| lever.engaged) == engaged {
            let message = format!("The safety lever is {} already.", input.state.status);
            return Err(parse::invalid(message));
        }
        tx.put(cx.scope(), ID, Lever { engaged, reason: input.state.reason.clone() });
        let running = tx.list::<Experiment>(cx.scope()).into_iter().filter(|(_, one)| !one.status.is_over());
        for (id, experiment) in running.filter(|_| engaged) {
            let mut stopping = (*experiment).clone();
            stopping.reason.get_or_insert_with(|| STOPPED.to_owned());
            stopping.status = Status::Stopping;
            tx.put(cx.scope(), &id, stopping);
        }
        Ok(())
    })
    .await?;
    Ok(api::UpdateSafetyLeverStateOutput { safety_lever: Some(shape(&cx)) })
}
