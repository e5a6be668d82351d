//! Brings stacks to where they should be: plan, act, write down, until nothing moves.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use standfast_core::{Result, Scope};
use standfast_kernel::{Cx, Wake};

use super::act::Scene;
use super::model::{Resource, Stack, Status, TemplateText};
use super::plan::{self, AT_ONCE_MAX, Resources, Step};
use super::template::model::Template;
use super::{prepare, turn};

/// How often something that takes time is asked whether it is done, while a stack is under way.
const POLL: Duration = Duration::from_millis(250);
/// How many rounds of one stack a run makes before it lets the controller look at the others again.
const ROUNDS_MAX: usize = 64;

pub async fn run(cx: Cx) -> Result<Wake> {
    let under_way = cx.view(|view| view.all::<Stack>()).into_iter().filter(|(.., stack)| stack.status.is_under_way());
    let wakes = under_way.map(|(scope, uuid, _)| drive(cx.at(&scope), scope, uuid));
    let wakes = join_all(wakes).await.into_iter().collect::<Result<Vec<Wake>>>()?;
    Ok(wakes.into_iter().fold(Wake::OnChange, Wake::or))
}

/// A stack and its resources.
pub fn load(cx: &Cx, scope: &Scope, uuid: &str) -> Option<(Stack, Resources)> {
    cx.view(|view| {
        let stack = (*view.get::<Stack>(scope, uuid)?).clone();
        let records = view.prefix::<Resource>(scope, &Resource::key(uuid, ""));
        let resources = records.into_iter().map(|(_, resource)| (resource.logical_id.clone(), (*resource).clone()));
        Some((stack, resources.collect()))
    })
}

async fn drive(cx: Cx, scope: Scope, uuid: std::sync::Arc<str>) -> Result<Wake> {
    let mut template: Option<(String, Template)> = None;
    for _ in 0..ROUNDS_MAX {
        let Some((stack, resources)) = load(&cx, &scope, &uuid) else { return Ok(Wake::OnChange) };
        if !stack.status.is_under_way() {
            return Ok(Wake::OnChange);
        }
        let steps = plan::plan(&stack, &resources, cx.now());
        if template.as_ref().is_none_or(|(key, _)| *key != stack.target.template) {
            template = read_template(&cx, &scope, &stack)?;
        }
        let template = template.as_ref().map(|(_, template)| template);
        let scene = Scene { cx: cx.clone(), uuid: &uuid, stack: &stack, resources: &resources, template };
        if !round(&scene, steps).await? {
            return Ok(Wake::At(cx.now() + POLL));
        }
    }
    Ok(Wake::At(cx.now()))
}

fn read_template(cx: &Cx, scope: &Scope, stack: &Stack) -> Result<Option<(String, Template)>> {
    if !matches!(stack.status, Status::CreateInProgress | Status::UpdateInProgress) {
        return Ok(None);
    }
    let key = stack.target.template.clone();
    let Some(text) = cx.view(|view| view.get::<TemplateText>(scope, &key)) else { return Ok(None) };
    Ok(Some((key, prepare::again(&text.body, &stack.target)?)))
}

/// Does all steps of a plan side by side. Says whether anything moved. One that fails does not keep the others from
/// being done.
async fn round(scene: &Scene<'_>, steps: Vec<Step>) -> Result<bool> {
    let acts = steps.into_iter().map(|step| async move {
        match step {
            Step::Arrive | Step::Fail(_) | Step::Restored | Step::RestoreFailed(_) | Step::Cleaned(_) => {
                turn::turn(scene, step).await
            }
            step => scene.act(step).await,
        }
    });
    let done: Vec<Result<bool>> = stream::iter(acts).buffer_unordered(AT_ONCE_MAX).collect().await;
    let mut moved = false;
    for result in done {
        moved |= result?;
    }
    Ok(moved)
}
