//! Launch templates and their versions.
//!
//! Invariant: a template always has its default version; numbers count up and are not used again.

use std::sync::Arc;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Scope, Timestamp};
use standfast_kernel::{Cx, Principal};
use standfast_store::View;

use super::errors;
use super::filters::{self, Described, Field, Paging};
use super::model::{LaunchTemplate, LaunchTemplateVersion};
use super::tags;
use super::template_data::{self, Data};

const NAME_LENGTH: std::ops::RangeInclusive<usize> = 3..=128;
const BOUNDS: (i32, i32) = (1, 200);
/// How many versions one DescribeLaunchTemplateVersions or DeleteLaunchTemplateVersions may name.
const VERSIONS_MAX: usize = 200;

pub async fn create(cx: Cx, input: api::CreateLaunchTemplateInput) -> Result<api::CreateLaunchTemplateOutput> {
    let name = input.launch_template_name.clone();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "().-/_".contains(c);
    if !NAME_LENGTH.contains(&name.len()) || !name.chars().all(allowed) {
        let message = "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the following characters: - ( ) . / _";
        return Err(Error::client("InvalidLaunchTemplateName.MalformedException", message));
    }
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "launch-template", &[])?;
    let data = template_data::keep(input.launch_template_data.clone())?;
    let (scope, id, now) = (cx.scope(), Id::<id::LaunchTemplate>::new(cx.rng()), cx.now());
    let created_by = caller(&cx);
    let template = cx
        .txn(|tx| {
            if tx.by_unique::<LaunchTemplate>(scope, "name", &name).is_some() {
                let message = "Launch template name already in use.";
                return Err(Error::client("InvalidLaunchTemplateName.AlreadyExistsException", message));
            }
            errors::dry_run(input.dry_run)?;
            let template = LaunchTemplate {
                name: name.clone(),
                created: now,
                created_by: created_by.clone(),
                default_version: 1,
                latest_version: 1,
            };
            let description = input.version_description.clone();
            let version = version_record(1, description, now, &created_by, data.clone());
            tx.put(scope, &LaunchTemplateVersion::key(&id, 1), version);
            tx.put(scope, &id, template.clone());
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &template))
        })
        .await?;
    Ok(api::CreateLaunchTemplateOutput { launch_template: Some(template), warning: None })
}

fn version_record(
    number: i64,
    description: Option<String>,
    created: Timestamp,
    created_by: &str,
    data: Data,
) -> LaunchTemplateVersion {
    LaunchTemplateVersion { number, description, created, created_by: created_by.to_owned(), data }
}

/// The ARN of who asks.
fn caller(cx: &Cx) -> String {
    match cx.principal() {
        Principal::Root => format!("arn:aws:iam::{}:root", cx.account()),
        Principal::Known { arn, .. } => arn.to_string(),
        Principal::Service(service) => format!("arn:aws:iam::{}:role/aws-service-role/{service}", cx.account()),
    }
}

/// The template that a request names, by id or by name.
pub fn named(
    view: &View,
    scope: &Scope,
    id: Option<&str>,
    name: Option<&str>,
) -> Result<(Id<id::LaunchTemplate>, Arc<LaunchTemplate>)> {
    match (id.filter(|id| !id.is_empty()), name.filter(|name| !name.is_empty())) {
        (Some(_), Some(_)) => Err(errors::combination("Specify either a launch template ID or a name, not both.")),
        (Some(text), None) => {
            let id = errors::id::<id::LaunchTemplate>(text)?;
            let template = view.get::<LaunchTemplate>(scope, &id).ok_or_else(|| {
                let message = format!("The specified launch template, with template ID {id}, does not exist.");
                Error::client("InvalidLaunchTemplateId.NotFound", message)
            })?;
            Ok((id, template))
        }
        (None, Some(name)) => {
            let (id, template) = view.by_unique::<LaunchTemplate>(scope, "name", name).ok_or_else(|| {
                let message = format!("The specified launch template, with template name {name}, does not exist.");
                Error::client("InvalidLaunchTemplateName.NotFoundException", message)
            })?;
            Ok((Id::from_text(&id), template))
        }
        (None, None) => Err(errors::missing("launchTemplateId")),
    }
}

/// The number that a version's text means for a template: a number, `$Latest`, `$Default`, or nothing (the default).
fn number(template: &LaunchTemplate, text: Option<&str>) -> Result<i64> {
    match text.filter(|text| !text.is_empty()) {
        None | Some("$Default") => Ok(template.default_version),
        Some("$Latest") => Ok(template.latest_version),
        Some(text) => text.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
            errors::invalid(format!("Invalid launch template version: '{text}'. Use a number, $Latest or $Default."))
        }),
    }
}

/// A version of a template.
pub fn version(
    view: &View,
    scope: &Scope,
    (id, template): &(Id<id::LaunchTemplate>, Arc<LaunchTemplate>),
    text: Option<&str>,
) -> Result<Arc<LaunchTemplateVersion>> {
    let number = number(template, text)?;
    view.get::<LaunchTemplateVersion>(scope, &LaunchTemplateVersion::key(id, number)).ok_or_else(|| {
        let message = format!("Could not find the specified version {number} for the launch template with ID {id}.");
        Error::client("InvalidLaunchTemplateId.VersionNotFound", message)
    })
}

pub async fn create_version(
    cx: Cx,
    input: api::CreateLaunchTemplateVersionInput,
) -> Result<api::CreateLaunchTemplateVersionOutput> {
    let given = template_data::keep(input.launch_template_data.clone())?;
    let (scope, now, created_by) = (cx.scope(), cx.now(), caller(&cx));
    let version = cx
        .txn(|tx| {
            let name = input.launch_template_name.as_deref();
            let found = named(tx, scope, input.launch_template_id.as_deref(), name)?;
            let data = match input.source_version.as_deref().filter(|source| !source.is_empty()) {
                Some(source) => template_data::overlay(&version(tx, scope, &found, Some(source))?.data, given.clone()),
                None => given.clone(),
            };
            errors::dry_run(input.dry_run)?;
            let (id, template) = found;
            let number = template.latest_version + 1;
            let record = version_record(number, input.version_description.clone(), now, &created_by, data);
            let template = LaunchTemplate { latest_version: number, ..(*template).clone() };
            let answer = version_shape(&id, &template, &record);
            tx.put(scope, &LaunchTemplateVersion::key(&id, number), record);
            tx.put(scope, &id, template);
            Ok(answer)
        })
        .await?;
    Ok(api::CreateLaunchTemplateVersionOutput { launch_template_version: Some(version), warning: None })
}

pub async fn modify(cx: Cx, input: api::ModifyLaunchTemplateInput) -> Result<api::ModifyLaunchTemplateOutput> {
    let scope = cx.scope();
    let template = cx
        .txn(|tx| {
            let name = input.launch_template_name.as_deref();
            let found = named(tx, scope, input.launch_template_id.as_deref(), name)?;
            let text = errors::required(input.default_version.as_deref(), "setDefaultVersion")?;
            let default_version = version(tx, scope, &found, Some(text))?.number;
            errors::dry_run(input.dry_run)?;
            let (id, template) = found;
            let template = LaunchTemplate { default_version, ..(*template).clone() };
            tx.put(scope, &id, template.clone());
            Ok(shape(tx, scope, &id, &template))
        })
        .await?;
    Ok(api::ModifyLaunchTemplateOutput { launch_template: Some(template) })
}

pub async fn delete(cx: Cx, input: api::DeleteLaunchTemplateInput) -> Result<api::DeleteLaunchTemplateOutput> {
    let scope = cx.scope();
    let template = cx
        .txn(|tx| {
            let name = input.launch_template_name.as_deref();
            let (id, template) = named(tx, scope, input.launch_template_id.as_deref(), name)?;
            errors::dry_run(input.dry_run)?;
            let answer = shape(tx, scope, &id, &template);
            for (key, _) in tx.prefix::<LaunchTemplateVersion>(scope, &format!("{id}/")) {
                tx.delete::<LaunchTemplateVersion>(scope, &key);
            }
            tx.delete::<LaunchTemplate>(scope, &id);
            tags::forget(tx, scope, &id);
            Ok(answer)
        })
        .await?;
    Ok(api::DeleteLaunchTemplateOutput { launch_template: Some(template) })
}

pub async fn delete_versions(
    cx: Cx,
    input: api::DeleteLaunchTemplateVersionsInput,
) -> Result<api::DeleteLaunchTemplateVersionsOutput> {
    check_count(&input.versions)?;
    let scope = cx.scope();
    cx.txn(|tx| {
        let name = input.launch_template_name.as_deref();
        let found = named(tx, scope, input.launch_template_id.as_deref(), name)?;
        errors::dry_run(input.dry_run)?;
        let (mut gone, mut left) = (Vec::new(), Vec::new());
        for text in &input.versions {
            let number = number(&found.1, Some(text))?;
            let key = LaunchTemplateVersion::key(&found.0, number);
            let refused = if number == found.1.default_version {
                Some(("unexpectedError", "The default version of a launch template cannot be deleted."))
            } else if tx.get::<LaunchTemplateVersion>(scope, &key).is_none() {
                Some(("launchTemplateVersionDoesNotExist", "The specified version does not exist."))
            } else {
                None
            };
            let (id, name) = (Some(String::from(&found.0)), Some(found.1.name.clone()));
            match refused {
                None => {
                    tx.delete::<LaunchTemplateVersion>(scope, &key);
                    gone.push(api::DeleteLaunchTemplateVersionsResponseSuccessItem {
                        launch_template_id: id,
                        launch_template_name: name,
                        version_number: Some(number),
                    });
                }
                Some((code, message)) => left.push(api::DeleteLaunchTemplateVersionsResponseErrorItem {
                    launch_template_id: id,
                    launch_template_name: name,
                    version_number: Some(number),
                    response_error: Some(api::ResponseError { code: Some(code.into()), message: Some(message.into()) }),
                }),
            }
        }
        Ok(api::DeleteLaunchTemplateVersionsOutput {
            successfully_deleted_launch_template_versions: Some(gone),
            unsuccessfully_deleted_launch_template_versions: Some(left),
        })
    })
    .await
}

fn check_count(versions: &[String]) -> Result<()> {
    if versions.len() > VERSIONS_MAX {
        return Err(errors::invalid(format!("A request may name at most {VERSIONS_MAX} versions.")));
    }
    Ok(())
}

pub async fn describe(cx: Cx, input: api::DescribeLaunchTemplatesInput) -> Result<api::DescribeLaunchTemplatesOutput> {
    cx.view(|view| {
        let scope = cx.scope();
        let ids = input.launch_template_ids.iter().flatten().map(|id| named(view, scope, Some(id), None));
        let names = input.launch_template_names.iter().flatten().map(|name| named(view, scope, None, Some(name)));
        let mut found = ids.chain(names).collect::<Result<Vec<_>>>()?;
        let all = [&input.launch_template_ids, &input.launch_template_names];
        if all.iter().all(|list| list.as_ref().is_none_or(|list| list.is_empty())) {
            found = (view.list::<LaunchTemplate>(scope).into_iter())
                .map(|(id, template)| (Id::from_text(&id), template))
                .collect();
        }
        let rows = found.iter().map(|(id, template)| shape(view, scope, id, template));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
        let (templates, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeLaunchTemplatesOutput { launch_templates: Some(templates), next_token })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, template: &LaunchTemplate) -> api::LaunchTemplate {
    api::LaunchTemplate {
        launch_template_id: Some(id.to_owned()),
        launch_template_name: Some(template.name.clone()),
        create_time: Some(template.created),
        created_by: Some(template.created_by.clone()),
        default_version_number: Some(template.default_version),
        latest_version_number: Some(template.latest_version),
        tags: tags::of(view, scope, id),
        operator: None,
    }
}

impl Described for api::LaunchTemplate {
    const FIELDS: &'static [Field<Self>] = &[
        ("create-time", |template| filters::text(template.create_time)),
        ("launch-template-name", |template| filters::one(&template.launch_template_name)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.launch_template_id.clone().unwrap_or_default()
    }
}

pub async fn describe_versions(
    cx: Cx,
    input: api::DescribeLaunchTemplateVersionsInput,
) -> Result<api::DescribeLaunchTemplateVersionsOutput> {
    let versions = input.versions.clone().unwrap_or_default();
    check_count(&versions)?;
    cx.view(|view| {
        let scope = cx.scope();
        let mut rows = Vec::new();
        if input.launch_template_id.is_none() && input.launch_template_name.is_none() {
            if versions.is_empty() || versions.iter().any(|text| !text.starts_with('$')) {
                return Err(errors::missing("launchTemplateId"));
            }
            for (id, template) in view.list::<LaunchTemplate>(scope) {
                let found = (Id::from_text(&id), template);
                for text in &versions {
                    rows.push(version_shape(&found.0, &found.1, &*version(view, scope, &found, Some(text))?));
                }
            }
        } else {
            let name = input.launch_template_name.as_deref();
            let found = named(view, scope, input.launch_template_id.as_deref(), name)?;
            if versions.is_empty() {
                let bounds = [&input.min_version, &input.max_version]
                    .map(|text| text.as_deref().map(|text| number(&found.1, Some(text))).transpose());
                let [low, high] = bounds;
                let range = low?.unwrap_or(1)..=high?.unwrap_or(i64::MAX);
                let all = view.prefix::<LaunchTemplateVersion>(scope, &format!("{}/", found.0));
                let inside = all.iter().rev().filter(|(_, version)| range.contains(&version.number));
                rows.extend(inside.map(|(_, version)| version_shape(&found.0, &found.1, version)));
            } else {
                for text in &versions {
                    rows.push(version_shape(&found.0, &found.1, &*version(view, scope, &found, Some(text))?));
                }
            }
        }
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
        let (versions, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeLaunchTemplateVersionsOutput { launch_template_versions: Some(versions), next_token })
    })
}

fn version_shape(id: &str, template: &LaunchTemplate, version: &LaunchTemplateVersion) -> api::LaunchTemplateVersion {
    api::LaunchTemplateVersion {
        launch_template_id: Some(id.to_owned()),
        launch_template_name: Some(template.name.clone()),
        version_number: Some(version.number),
        version_description: version.description.clone(),
        create_time: Some(version.created),
        created_by: Some(version.created_by.clone()),
        default_version: Some(version.number == template.default_version),
        launch_template_data: Some(template_data::answer(&version.data)),
        operator: None,
    }
}

impl Described for api::LaunchTemplateVersion {
    const FIELDS: &'static [Field<Self>] = &[
        ("create-time", |version| filters::text(version.create_time)),
        ("ebs-optimized", |version| data(version).flat_map(|data| filters::text(data.ebs_optimized)).collect()),
        ("image-id", |version| data(version).flat_map(|data| filters::one(&data.image_id)).collect()),
        ("instance-type", |version| data(version).flat_map(|data| filters::one(&data.instance_type)).collect()),
        ("is-default-version", |version| filters::text(version.default_version)),
        ("kernel-id", |version| data(version).flat_map(|data| filters::one(&data.kernel_id)).collect()),
        ("ram-disk-id", |version| data(version).flat_map(|data| filters::one(&data.ram_disk_id)).collect()),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    /// The newest first.
    fn key(&self) -> String {
        let id = self.launch_template_id.as_deref().unwrap_or_default();
        format!("{id}/{:019}", i64::MAX - self.version_number.unwrap_or_default())
    }
}

fn data(version: &api::LaunchTemplateVersion) -> impl Iterator<Item = &api::ResponseLaunchTemplateData> {
    version.launch_template_data.iter()
}
