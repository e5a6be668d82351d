//! Parameters: put, read by name or path, delete.

use standfast_api::ssm::{
    self as api, DeleteParameterInput, DeleteParameterOutput, DeleteParametersInput, DeleteParametersOutput,
    DescribeParametersInput, DescribeParametersOutput, GetParameterHistoryInput, GetParameterHistoryOutput,
    GetParameterInput, GetParameterOutput, GetParametersByPathInput, GetParametersByPathOutput, GetParametersInput,
    GetParametersOutput, PutParameterInput, PutParameterOutput,
};
use standfast_core::page::page;
use standfast_core::{Arn, Error, Result, Scope};
use standfast_kernel::{Cx, Principal};

use super::model::{Parameter, Version};
use super::{filters, public};

const VALUE_BYTES_MAX: usize = 4096;
const ADVANCED_VALUE_BYTES_MAX: usize = 8192;
const LEVELS_MAX: usize = 15;
/// Older versions are dropped, as the service does.
const VERSIONS_MAX: usize = 100;
const PATH_PAGE_MAX: usize = 10;
const DESCRIBE_PAGE_MAX: usize = 50;

pub async fn put(cx: Cx, input: PutParameterInput) -> Result<PutParameterOutput> {
    check_name(&input.name)?;
    let tier = input.tier.clone().unwrap_or_else(|| "Standard".into());
    let limit = if tier == "Standard" { VALUE_BYTES_MAX } else { ADVANCED_VALUE_BYTES_MAX };
    if input.value.len() > limit {
        return Err(invalid(format!(
            "Standard tier parameters support a maximum parameter value of {VALUE_BYTES_MAX} characters. To create a \
             larger parameter value, upgrade the parameter to use the advanced-parameter tier."
        )));
    }
    if input.overwrite == Some(true) && input.tags.is_some() {
        return Err(invalid(
            "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please \
             remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or \
             RemoveTagsFromResource.",
        ));
    }
    let user = match cx.principal() {
        Principal::Known { arn, .. } => arn.to_string(),
        _ => Arn::global("iam", cx.account(), "root").to_string(),
    };
    let version = cx
        .txn(|tx| {
            let earlier = tx.get::<Parameter>(cx.scope(), &input.name);
            if earlier.is_some() && input.overwrite != Some(true) {
                return Err(Error::client(
                    "ParameterAlreadyExists",
                    "The parameter already exists. To overwrite this value, set the overwrite option in the request to \
                     true.",
                ));
            }
            let newest = earlier.as_ref().map(|parameter| parameter.newest());
            let kind = match (&input.r#type, newest) {
                (Some(kind), _) => kind.clone(),
                (None, Some(newest)) => newest.kind.clone(),
                (None, None) => {
                    return Err(invalid("A parameter type is required when you create a parameter."));
                }
            };
            let version = Version {
                number: newest.map_or(1, |newest| newest.number + 1),
                kind,
                value: input.value.clone(),
                description: input.description.clone().or_else(|| newest.and_then(|n| n.description.clone())),
                allowed_pattern: input.allowed_pattern.clone(),
                key_id: input.key_id.clone(),
                tier: tier.clone(),
                data_type: input.data_type.clone().unwrap_or_else(|| "text".into()),
                modified: cx.now(),
                user: user.clone(),
            };
            let number = version.number;
            let mut parameter = earlier.as_deref().cloned().unwrap_or_else(|| Parameter {
                versions: Vec::new(),
                tags: (input.tags.iter().flatten()).map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
            });
            parameter.versions.push(version);
            if parameter.versions.len() > VERSIONS_MAX {
                parameter.versions.remove(0);
            }
            tx.put(cx.scope(), &input.name, parameter);
            Ok(number)
        })
        .await?;
    Ok(PutParameterOutput { version: Some(version), tier: Some(tier) })
}

fn invalid(message: impl Into<String>) -> Error {
    Error::client("ValidationException", message)
}

fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    let reserved = name.trim_start_matches('/').to_ascii_lowercase();
    if reserved.starts_with("aws") || reserved.starts_with("ssm") {
        return Err(invalid(format!(
            "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive): {name}"
        )));
    }
    if !name.chars().all(plain) || name.ends_with('/') || (name.contains('/') && !name.starts_with('/')) {
        return Err(invalid(format!(
            "Parameter name must be a fully qualified name made of letters, digits and the characters _.-/ : {name}"
        )));
    }
    if name.matches('/').count() > LEVELS_MAX {
        let message = format!("A hierarchy can have a maximum of {LEVELS_MAX} levels: {name}");
        return Err(Error::client("HierarchyLevelLimitExceededException", message));
    }
    Ok(())
}

pub fn not_found(name: &str) -> Error {
    Error::client("ParameterNotFound", format!("The parameter {name} was not found."))
}

/// A name, and the version that may follow it after a colon. An ARN stands for its name.
fn selector(text: &str) -> (String, Option<&str>) {
    let plain = match text.split_once(":parameter") {
        Some((_, name)) if text.starts_with("arn:") => name,
        _ => text,
    };
    match plain.split_once(':') {
        Some((name, version)) => (name.to_owned(), Some(version)),
        None => (plain.to_owned(), None),
    }
}

/// The parameter that a caller means by `text`; `None` when there is none.
async fn find(cx: &Cx, text: &str) -> Result<Option<api::Parameter>> {
    let (name, wanted) = selector(text);
    if public::is_public(&name) {
        let value = public::value(cx, &name).await?;
        return Ok(value.map(|value| api::Parameter {
            name: Some(name.clone()),
            r#type: Some("String".into()),
            value: Some(value),
            version: Some(1),
            arn: Some(format!("arn:aws:ssm:{}::parameter{name}", cx.region())),
            data_type: Some("aws:ec2:image".into()),
            last_modified_date: Some(cx.now()),
            ..Default::default()
        }));
    }
    let Some(parameter) = cx.view(|v| v.get::<Parameter>(cx.scope(), &name)) else { return Ok(None) };
    let version = match wanted {
        None => parameter.newest(),
        Some(wanted) => {
            let number = wanted.parse::<i64>().ok();
            let version = parameter.versions.iter().find(|version| Some(version.number) == number);
            version.ok_or_else(|| {
                let message = format!(
                    "Systems Manager could not find version {wanted} of {name}. Verify the version and try again."
                );
                Error::client("ParameterVersionNotFound", message)
            })?
        }
    };
    Ok(Some(shape(cx.scope(), &name, version, wanted)))
}

fn arn(scope: &Scope, name: &str) -> String {
    let slash = if name.starts_with('/') { "" } else { "/" };
    Arn::new("ssm", scope, format!("parameter{slash}{name}")).to_string()
}

fn shape(scope: &Scope, name: &str, version: &Version, wanted: Option<&str>) -> api::Parameter {
    api::Parameter {
        name: Some(name.to_owned()),
        r#type: Some(version.kind.clone()),
        value: Some(version.value.clone()),
        version: Some(version.number),
        selector: wanted.map(|wanted| format!(":{wanted}")),
        source_result: None,
        last_modified_date: Some(version.modified),
        arn: Some(arn(scope, name)),
        data_type: Some(version.data_type.clone()),
    }
}

pub async fn get(cx: Cx, input: GetParameterInput) -> Result<GetParameterOutput> {
    let parameter = find(&cx, &input.name).await?.ok_or_else(|| not_found(&input.name))?;
    Ok(GetParameterOutput { parameter: Some(parameter) })
}

pub async fn get_many(cx: Cx, input: GetParametersInput) -> Result<GetParametersOutput> {
    let (mut parameters, mut invalid) = (Vec::new(), Vec::new());
    for name in input.names {
        match find(&cx, &name).await? {
            Some(parameter) => parameters.push(parameter),
            None => invalid.push(name),
        }
    }
    Ok(GetParametersOutput { parameters: Some(parameters), invalid_parameters: Some(invalid) })
}

pub async fn get_by_path(cx: Cx, input: GetParametersByPathInput) -> Result<GetParametersByPathOutput> {
    if !input.path.starts_with('/') {
        return Err(invalid(format!("The parameter path '{}' doesn't begin with a forward slash (/).", input.path)));
    }
    let recursive = input.recursive == Some(true);
    let stored = cx.view(|v| v.list::<Parameter>(cx.scope()));
    let mut names: Vec<String> = Vec::new();
    for (name, parameter) in &stored {
        let wanted = filters::below(name, &input.path, recursive)
            && filters::passes(name, parameter, input.parameter_filters.as_deref().unwrap_or_default())?;
        if wanted {
            names.push(name.to_string());
        }
    }
    let public =
        public::names_below(&input.path).into_iter().filter(|name| filters::below(name, &input.path, recursive));
    names.extend(public.map(str::to_owned));
    names.sort();
    let limit = input.max_results.map_or(PATH_PAGE_MAX, |limit| limit as usize);
    let page = page(names, String::clone, input.next_token.as_deref(), limit, "InvalidNextToken")?;
    let mut parameters = Vec::new();
    for name in &page.items {
        parameters.extend(find(&cx, name).await?);
    }
    Ok(GetParametersByPathOutput { parameters: Some(parameters), next_token: page.next })
}

pub async fn history(cx: Cx, input: GetParameterHistoryInput) -> Result<GetParameterHistoryOutput> {
    let parameter = cx.view(|v| v.get::<Parameter>(cx.scope(), &input.name)).ok_or_else(|| not_found(&input.name))?;
    let limit = input.max_results.map_or(DESCRIBE_PAGE_MAX, |limit| limit as usize);
    let key = |version: &Version| format!("{:020}", version.number);
    let page = page(parameter.versions.clone(), key, input.next_token.as_deref(), limit, "InvalidNextToken")?;
    let versions = (page.items.into_iter())
        .map(|version| api::ParameterHistory {
            name: Some(input.name.clone()),
            r#type: Some(version.kind),
            key_id: version.key_id,
            last_modified_date: Some(version.modified),
            last_modified_user: Some(version.user),
            description: version.description,
            value: Some(version.value),
            allowed_pattern: version.allowed_pattern,
            version: Some(version.number),
            labels: Some(Vec::new()),
            tier: Some(version.tier),
            policies: Some(Vec::new()),
            data_type: Some(version.data_type),
        })
        .collect();
    Ok(GetParameterHistoryOutput { parameters: Some(versions), next_token: page.next })
}

pub async fn describe(cx: Cx, input: DescribeParametersInput) -> Result<DescribeParametersOutput> {
    let mut found = Vec::new();
    for (name, parameter) in cx.view(|v| v.list::<Parameter>(cx.scope())) {
        let old = input.filters.iter().flatten().all(|filter| match filter.key.as_str() {
            "Name" => filter.values.iter().any(|value| **value == *name),
            "Type" => filter.values.contains(&parameter.newest().kind),
            _ => false,
        });
        if old && filters::passes(&name, &parameter, input.parameter_filters.as_deref().unwrap_or_default())? {
            found.push((name, parameter));
        }
    }
    let limit = input.max_results.map_or(DESCRIBE_PAGE_MAX, |limit| limit as usize);
    let page = page(found, |(name, _)| name.to_string(), input.next_token.as_deref(), limit, "InvalidNextToken")?;
    let parameters = (page.items.into_iter())
        .map(|(name, parameter)| {
            let version = parameter.newest();
            api::ParameterMetadata {
                name: Some(name.to_string()),
                arn: Some(arn(cx.scope(), &name)),
                r#type: Some(version.kind.clone()),
                key_id: version.key_id.clone(),
                last_modified_date: Some(version.modified),
                last_modified_user: Some(version.user.clone()),
                description: version.description.clone(),
                allowed_pattern: version.allowed_pattern.clone(),
                version: Some(version.number),
                tier: Some(version.tier.clone()),
                policies: Some(Vec::new()),
                data_type: Some(version.data_type.clone()),
            }
        })
        .collect();
    Ok(DescribeParametersOutput { parameters: Some(parameters), next_token: page.next })
}

pub async fn delete(cx: Cx, input: DeleteParameterInput) -> Result<DeleteParameterOutput> {
    cx.txn(|tx| {
        tx.get::<Parameter>(cx.scope(), &input.name).ok_or_else(|| not_found(&input.name))?;
        tx.delete::<Parameter>(cx.scope(), &input.name);
        Ok(DeleteParameterOutput::default())
    })
    .await
}

pub async fn delete_many(cx: Cx, input: DeleteParametersInput) -> Result<DeleteParametersOutput> {
    cx.txn(|tx| {
        let (deleted, invalid): (Vec<String>, Vec<String>) =
            input.names.iter().cloned().partition(|name| tx.get::<Parameter>(cx.scope(), name).is_some());
        for name in &deleted {
            tx.delete::<Parameter>(cx.scope(), name);
        }
        Ok(DeleteParametersOutput { deleted_parameters: Some(deleted), invalid_parameters: Some(invalid) })
    })
    .await
}
