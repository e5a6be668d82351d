//! What the API says of actions and target resource types.

use std::collections::BTreeMap;

use standfast_api::fis::{
    Action, ActionParameter, ActionSummary, ActionTarget, GetActionInput, GetActionOutput, GetTargetResourceTypeInput,
    GetTargetResourceTypeOutput, ListActionsInput, ListActionsOutput, ListTargetResourceTypesInput,
    ListTargetResourceTypesOutput, TargetResourceType, TargetResourceTypeParameter, TargetResourceTypeSummary,
};
use standfast_core::page::page;
use standfast_core::{Arn, Error, Result};
use standfast_kernel::Cx;

use super::catalogue::{ACTIONS, ActionType, action};
use super::targets::{TYPES, TargetType, target_type};

const PAGE_MAX: usize = 100;

fn arn(cx: &Cx, action: &ActionType) -> String {
    Arn::new("fis", cx.scope(), format!("action/{}", action.id)).to_string()
}

fn targets(action: &ActionType) -> Option<BTreeMap<String, ActionTarget>> {
    let target = action.target?;
    let shape = ActionTarget { resource_type: Some(target.resource_type.into()) };
    Some([(target.name.to_owned(), shape)].into())
}

pub async fn list_actions(cx: Cx, input: ListActionsInput) -> Result<ListActionsOutput> {
    let limit = input.max_results.map_or(PAGE_MAX, |limit| limit as usize);
    let page = page(ACTIONS, |a| a.id.to_owned(), input.next_token.as_deref(), limit, "ValidationException")?;
    let actions = (page.items.into_iter())
        .map(|action| ActionSummary {
            id: Some(action.id.into()),
            arn: Some(arn(&cx, action)),
            description: Some(action.description.into()),
            targets: targets(action),
            tags: Some(Default::default()),
        })
        .collect();
    Ok(ListActionsOutput { actions: Some(actions), next_token: page.next })
}

pub async fn get_action(cx: Cx, input: GetActionInput) -> Result<GetActionOutput> {
    let action = action(&input.id).ok_or_else(|| {
        Error::client("ResourceNotFoundException", format!("The action '{}' does not exist.", input.id))
    })?;
    let parameters = (action.parameters.iter())
        .map(|one| {
            let parameter = ActionParameter { description: Some(one.description.into()), required: Some(one.required) };
            (one.name.to_owned(), parameter)
        })
        .collect();
    Ok(GetActionOutput {
        action: Some(Action {
            id: Some(action.id.into()),
            arn: Some(arn(&cx, action)),
            description: Some(action.description.into()),
            parameters: Some(parameters),
            targets: targets(action),
            tags: Some(Default::default()),
        }),
    })
}

pub async fn list_target_resource_types(
    _: Cx,
    input: ListTargetResourceTypesInput,
) -> Result<ListTargetResourceTypesOutput> {
    let limit = input.max_results.map_or(PAGE_MAX, |limit| limit as usize);
    let key = |one: &&&TargetType| one.resource_type.to_owned();
    let page = page(TYPES, key, input.next_token.as_deref(), limit, "ValidationException")?;
    let summary = |target: &&TargetType| TargetResourceTypeSummary {
        resource_type: Some(target.resource_type.into()),
        description: Some(target.description.into()),
    };
    let types = page.items.into_iter().map(summary).collect();
    Ok(ListTargetResourceTypesOutput { target_resource_types: Some(types), next_token: page.next })
}

pub async fn get_target_resource_type(_: Cx, input: GetTargetResourceTypeInput) -> Result<GetTargetResourceTypeOutput> {
    let target = target_type(&input.resource_type).ok_or_else(|| {
        let message = format!("The target resource type '{}' does not exist.", input.resource_type);
        Error::client("ResourceNotFoundException", message)
    })?;
    let parameter = |(name, description): &(&str, &str)| {
        let shape = TargetResourceTypeParameter { description: Some((*description).into()), required: Some(false) };
        ((*name).to_owned(), shape)
    };
    Ok(GetTargetResourceTypeOutput {
        target_resource_type: Some(TargetResourceType {
            resource_type: Some(target.resource_type.into()),
            description: Some(target.description.into()),
            parameters: Some(target.parameters.iter().map(parameter).collect()),
        }),
    })
}
