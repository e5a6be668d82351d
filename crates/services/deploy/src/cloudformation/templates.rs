//! Templates without a stack, and the templates of stacks: ValidateTemplate, GetTemplateSummary, GetTemplate.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use standfast_api::cloudformation as api;
use standfast_core::Result;
use standfast_kernel::Cx;

use super::errors::{self, invalid};
use super::model::TemplateText;
use super::template::model::{Parameter, Template};
use super::template::parse::{Origin, parse};
use super::template::validate;
use super::{change_sets, prepare, stacks, types};

/// A template's text, read and checked as far as that goes without parameters.
fn read(body: &str) -> Result<(Value, Template)> {
    let tree = parse(body, Origin::Body)?;
    let defaults = super::template::model::parameters(&tree)?;
    let value = |(name, parameter): (String, Parameter)| Some((name, Value::from(parameter.default?)));
    let values: BTreeMap<String, Value> = defaults.into_iter().filter_map(value).collect();
    let template = super::template::template(tree.clone(), &values)?;
    validate::validate(&template, &types::REGISTRY)?;
    Ok((tree, template))
}

/// The capabilities that a template needs, and why.
fn capabilities(template: &Template) -> (Vec<String>, Option<String>) {
    let all: Vec<&str> = template.resources.keys().map(String::as_str).collect();
    let mut needed = Vec::new();
    let mut reason = None;
    if let Some((capability, names)) = prepare::capability(template, &all) {
        let kinds: BTreeSet<&str> =
            names.iter().filter_map(|name| Some(template.resources.get(*name)?.kind.as_str())).collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        reason = Some(format!("The following resource(s) require capabilities: [{}]", kinds.join(", ")));
        needed.push(capability.to_owned());
    }
    if !template.transforms.is_empty() {
        needed.push("CAPABILITY_AUTO_EXPAND".to_owned());
    }
    (needed, reason)
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

pub async fn validate(_: Cx, input: api::ValidateTemplateInput) -> Result<api::ValidateTemplateOutput> {
    let (_, template) = read(&prepare::body(input.template_body, input.template_url)?)?;
    let parameter = |(name, parameter): (&String, &Parameter)| api::TemplateParameter {
        parameter_key: Some(name.clone()),
        default_value: parameter.default.clone(),
        no_echo: Some(parameter.no_echo),
        description: parameter.description.clone(),
    };
    let (capabilities, capabilities_reason) = capabilities(&template);
    Ok(api::ValidateTemplateOutput {
        parameters: Some(template.parameters.iter().map(parameter).collect()),
        description: template.description.clone(),
        capabilities: some(capabilities),
        capabilities_reason,
        declared_transforms: some(template.transforms.clone()),
    })
}

pub async fn summary(cx: Cx, input: api::GetTemplateSummaryInput) -> Result<api::GetTemplateSummaryOutput> {
    let body = match &input.stack_name {
        Some(name) if input.template_body.is_none() && input.template_url.is_none() => {
            let (_, stack) = cx.view(|view| stacks::find(view, cx.scope(), name))?;
            stacks::template_of(&cx, &stack.target)?
        }
        Some(_) => return Err(invalid("Only one of StackName, TemplateBody and TemplateURL may be specified.")),
        None => prepare::body(input.template_body, input.template_url)?,
    };
    let (tree, template) = read(&body)?;
    let parameter = |(name, parameter): (&String, &Parameter)| api::ParameterDeclaration {
        parameter_key: Some(name.clone()),
        default_value: parameter.default.clone(),
        parameter_type: Some(parameter.kind.to_string()),
        no_echo: Some(parameter.no_echo),
        description: parameter.description.clone(),
        parameter_constraints: Some(api::ParameterConstraints {
            allowed_values: some(parameter.allowed_values.clone()),
        }),
    };
    let kinds: BTreeSet<String> = template.resources.values().map(|resource| resource.kind.clone()).collect();
    let (capabilities, capabilities_reason) = capabilities(&template);
    Ok(api::GetTemplateSummaryOutput {
        parameters: Some(template.parameters.iter().map(parameter).collect()),
        description: template.description.clone(),
        capabilities: some(capabilities),
        capabilities_reason,
        resource_types: Some(kinds.into_iter().collect()),
        version: tree.get("AWSTemplateFormatVersion").and_then(super::template::text),
        metadata: template.metadata.as_ref().map(ToString::to_string),
        declared_transforms: some(template.transforms.clone()),
        ..Default::default()
    })
}

pub async fn get(cx: Cx, input: api::GetTemplateInput) -> Result<api::GetTemplateOutput> {
    let target = match (&input.change_set_name, &input.stack_name) {
        (Some(name), stack) => {
            let found = cx.view(|view| change_sets::find(view, cx.scope(), name, stack.as_deref()))?;
            found.1.target.clone()
        }
        (None, Some(name)) => {
            cx.view(|view| stacks::find_or(view, cx.scope(), name, errors::no_stack))?.1.target.clone()
        }
        (None, None) => return Err(invalid("Either StackName or ChangeSetName must be specified.")),
    };
    let text = cx.view(|view| view.get::<TemplateText>(cx.scope(), &target.template));
    let body = text.ok_or_else(|| invalid("The stack has no template yet."))?.body.clone();
    // AWS-DIFF: the processed stage is the template as it was given; loops are not written out.
    let stages_available = Some(vec!["Original".to_owned(), "Processed".to_owned()]);
    Ok(api::GetTemplateOutput { template_body: Some(body), stages_available })
}
