//! From a request to a target: a template that was checked, with the parameters that it runs with.
//!
//! Invariant: a [`Prepared`] passed every check that needs no resource to exist. Not here: what differs from before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use standfast_api::cloudformation as api;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::errors::{self, invalid};
use super::model::{Given, Target};
use super::resolve::{self, World};
use super::template::call::{self, Call, Place};
use super::template::eval::{Evaluation, Pseudo};
use super::template::model::{self as form, Template};
use super::template::params::{self, Supplied};
use super::template::parse::{Origin, parse};
use super::template::{rules, text, validate};
use super::types::{self, Iam};

/// How many tags a stack may have.
const TAGS_MAX: usize = 50;

/// What a request says about what a stack should be.
pub struct Request {
    pub body: String,
    pub parameters: Option<Vec<api::Parameter>>,
    pub tags: BTreeMap<String, String>,
    pub capabilities: Vec<String>,
    pub notification_arns: Vec<String>,
    pub role_arn: Option<String>,
    pub stack_arn: String,
    pub stack_name: String,
    /// The parameters of the stack as it is.
    pub previous: BTreeMap<String, String>,
}

pub struct Prepared {
    pub template: Template,
    /// Its template has no key yet.
    pub target: Target,
}

/// The text of a template in a request.
pub fn body(body: Option<String>, url: Option<String>) -> Result<String> {
    match (body, url) {
        (Some(body), None) => Ok(body),
        // AWS-DIFF: there is no S3 to read a template from.
        (None, Some(_)) => {
            Err(invalid("TemplateURL is not supported by Standfast: give the template as TemplateBody."))
        }
        _ => Err(invalid("Either Template URL or Template Body must be specified.")),
    }
}

pub async fn prepare(cx: &Cx, request: Request) -> Result<Prepared> {
    let tree = parse(&request.body, Origin::Body)?;
    let declared = form::parameters(&tree)?;
    let supplied = supplied(request.parameters)?;
    let mut ssm = BTreeMap::new();
    for name in params::ssm_names(&declared, &supplied, &request.previous)? {
        let value = resolve::parameter(cx, &name, None, false).await?;
        ssm.insert(name, value);
    }
    let lookup = |name: &str| ssm.get(name).cloned().ok_or_else(|| Error::internal(format!("{name} was not fetched")));
    let effective = params::effective(&declared, &supplied, &request.previous, &lookup)?;
    let values = params::values(&effective);
    let template = super::template::template(tree, &values)?;
    validate::validate(&template, &types::REGISTRY)?;
    check_policies(&template)?;
    let given = |effective: params::Effective| Given {
        given: effective.given,
        resolved: effective.resolved,
        value: effective.value,
        no_echo: effective.no_echo,
    };
    let mut target = Target {
        template: String::new(),
        description: template.description.clone(),
        parameters: effective.into_iter().map(|(name, effective)| (name, given(effective))).collect(),
        tags: request.tags,
        capabilities: request.capabilities,
        notification_arns: request.notification_arns,
        role_arn: request.role_arn,
        needs: BTreeMap::new(),
        imports: BTreeSet::new(),
    };
    let pseudo = pseudo(cx, &request.stack_arn, &request.stack_name, &target);
    let (needs, imports, needed) = World::default()
        .evaluate(cx, |resolver| {
            let evaluation = Evaluation::new(&template, &values, &pseudo, resolver)?;
            evaluation.check()?;
            rules::check(&template, &evaluation)?;
            let graph = evaluation.graph()?;
            let edges = |name: &str| (name.to_owned(), graph.needs(name).map(str::to_owned).collect());
            let active = evaluation.active();
            let needs = active.iter().map(|name| edges(name)).collect();
            Ok((needs, imports(&template, &active, &evaluation)?, capability(&template, &active)))
        })
        .await?;
    check_capabilities(&template, &target.capabilities, needed)?;
    (target.needs, target.imports) = (needs, imports);
    Ok(Prepared { template, target })
}

/// The template of a target that was prepared before.
pub fn again(body: &str, target: &Target) -> Result<Template> {
    super::template::template(parse(body, Origin::Body)?, &values(target))
}

/// What `Ref` gives of a target's parameters.
pub fn values(target: &Target) -> BTreeMap<String, Value> {
    target.parameters.iter().map(|(name, given)| (name.clone(), given.value.clone())).collect()
}

pub fn pseudo(cx: &Cx, stack_arn: &str, stack_name: &str, target: &Target) -> Pseudo {
    Pseudo {
        account_id: cx.account().to_owned(),
        notification_arns: target.notification_arns.clone(),
        partition: "aws".into(),
        region: cx.region().to_owned(),
        stack_id: stack_arn.to_owned(),
        stack_name: stack_name.to_owned(),
        url_suffix: "amazonaws.com".into(),
    }
}

fn supplied(parameters: Option<Vec<api::Parameter>>) -> Result<BTreeMap<String, Supplied>> {
    let mut supplied = BTreeMap::new();
    for parameter in parameters.unwrap_or_default() {
        let key = parameter.parameter_key.unwrap_or_default();
        let value = match (parameter.use_previous_value, parameter.parameter_value) {
            (Some(true), Some(_)) => {
                return Err(invalid(format!(
                    "Invalid input for parameter key {key}. Cannot specify usePreviousValue as true and non empty value \
                     for a parameter"
                )));
            }
            (Some(true), None) => Supplied::UsePrevious,
            (_, Some(value)) => Supplied::Value(value),
            (_, None) => {
                return Err(invalid(format!("Parameter {key} should either have input value or reference value")));
            }
        };
        if supplied.insert(key.clone(), value).is_some() {
            return Err(invalid(format!("Parameter {key} is given more than once.")));
        }
    }
    Ok(supplied)
}

/// Tags of a request.
pub fn tags(tags: Option<Vec<api::Tag>>) -> Result<BTreeMap<String, String>> {
    let mut read = BTreeMap::new();
    for tag in tags.unwrap_or_default() {
        if tag.key.starts_with("aws:") {
            return Err(invalid(format!("aws: prefixed tag key names are not allowed for external use: {}", tag.key)));
        }
        if read.insert(tag.key.clone(), tag.value).is_some() {
            return Err(invalid(format!("Duplicate tag key '{}' specified.", tag.key)));
        }
    }
    if read.len() > TAGS_MAX {
        return Err(invalid(format!("A stack may have at most {TAGS_MAX} tags.")));
    }
    Ok(read)
}

/// Refuses policies that wait for signals, which instances here cannot send.
fn check_policies(template: &Template) -> Result<()> {
    for (name, resource) in &template.resources {
        let creation = resource.creation_policy.as_ref().is_some_and(|policy| policy.get("ResourceSignal").is_some());
        let rolling = resource.update_policy.as_ref().and_then(|policy| policy.pointer("/AutoScalingRollingUpdate"));
        let waits = rolling.and_then(|rolling| types::values::is_true(rolling.get("WaitOnResourceSignals")));
        let replacing =
            resource.update_policy.as_ref().and_then(|policy| policy.pointer("/AutoScalingReplacingUpdate"));
        if replacing.and_then(|replacing| types::values::is_true(replacing.get("WillReplace"))) == Some(true) {
            return Err(invalid(format!(
                "Resource {name}: Standfast does not support AutoScalingReplacingUpdate; AutoScalingRollingUpdate it does."
            )));
        }
        if creation || waits == Some(true) {
            // AWS-DIFF: there are no signals.
            return Err(invalid(format!(
                "Resource {name} waits for signals (cfn-signal), which Standfast does not support. For an Auto Scaling \
                 group use AutoScalingCreationPolicy with MinSuccessfulInstancesPercent alone."
            )));
        }
    }
    Ok(())
}

/// The exports that the active resources and the outputs import.
fn imports(template: &Template, active: &[&str], evaluation: &Evaluation<'_>) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let resources = active.iter().filter_map(|name| template.resources.get(*name));
    let outputs = template.outputs.values().map(|output| &output.value);
    for node in resources.flat_map(|resource| resource.nodes()).chain(outputs) {
        call::walk(node, Place::Value, &|name| evaluation.condition(name), &mut |call| {
            if let Call::ImportValue(name) = call {
                names.extend(evaluation.value(name)?.as_ref().and_then(text));
            }
            Ok(())
        })?;
    }
    Ok(names)
}

/// The capability that a template's resources need, with those that need it.
pub fn capability<'a>(template: &'a Template, active: &[&str]) -> Option<(&'static str, Vec<&'a str>)> {
    let mut needed: Option<(&'static str, Vec<&str>)> = None;
    for (name, resource) in template.resources.iter().filter(|(name, _)| active.contains(&name.as_str())) {
        let what = match types::named(&resource.kind).map_or(Iam::No, |kind| kind.iam) {
            Iam::No => continue,
            Iam::Named(property) if resource.properties.contains_key(property) => "CAPABILITY_NAMED_IAM",
            Iam::Named(_) | Iam::Plain => "CAPABILITY_IAM",
        };
        let (capability, names) = needed.get_or_insert((what, Vec::new()));
        if what == "CAPABILITY_NAMED_IAM" {
            *capability = what;
        }
        names.push(name);
    }
    needed
}

fn check_capabilities(template: &Template, given: &[String], needed: Option<(&'static str, Vec<&str>)>) -> Result<()> {
    let has = |capability: &str| given.iter().any(|given| given == capability);
    if !template.transforms.is_empty() && !has("CAPABILITY_AUTO_EXPAND") {
        return Err(errors::insufficient_capabilities("CAPABILITY_AUTO_EXPAND"));
    }
    match needed {
        Some((capability, _)) if !has(capability) && !has("CAPABILITY_NAMED_IAM") => {
            Err(errors::insufficient_capabilities(capability))
        }
        _ => Ok(()),
    }
}
