//! What an update would do, as far as that is known before it runs.
//!
//! Invariant: a forecast changes nothing, and one that says nothing will change is right. What an attribute will be when
//! its resource has changed is not known; whatever needs it is told as dynamic.

use std::collections::BTreeSet;

use standfast_core::Result;
use standfast_kernel::Cx;

use super::controller::load;
use super::model::{Action, Deployed, Detail, Planned, Replacement, Stack};
use super::plan::Resources;
use super::prepare::{self, Prepared};
use super::resolve::{Known, World, is_unknown};
use super::template::diff::{self, Part};
use super::template::eval::{EvaluatedResource, Evaluation, Pseudo};
use super::template::model::Template;
use super::types::{self, ResourceType};

pub struct Forecast {
    pub changes: Vec<Planned>,
    /// Whether something beside resources changes: outputs, tags, topics.
    pub others: bool,
}

impl Forecast {
    pub fn is_nothing(&self) -> bool {
        self.changes.is_empty() && !self.others
    }
}

struct Update<'a> {
    cx: &'a Cx,
    stack: &'a Stack,
    resources: Resources,
    prepared: &'a Prepared,
    pseudo: Pseudo,
    world: World,
}

pub async fn forecast(cx: &Cx, uuid: &str, stack: &Stack, prepared: &Prepared) -> Result<Forecast> {
    let resources = load(cx, cx.scope(), uuid).map(|(_, resources)| resources).unwrap_or_default();
    let known = resources.iter().filter_map(|(name, resource)| {
        let kind = types::named(&resource.kind)?;
        Some((name.clone(), known(resource.now.as_ref()?, kind, false)))
    });
    let world = World::of(known);
    let pseudo = prepare::pseudo(cx, &stack.arn, &stack.name, &prepared.target);
    let mut update = Update { cx, stack, resources, prepared, pseudo, world };
    let mut changes = Vec::new();
    for name in prepared.target.graph().waves()?.into_iter().flatten() {
        changes.extend(update.resource(&name).await?);
    }
    changes.extend(update.removed());
    let others = changes.is_empty() && update.others().await?;
    Ok(Forecast { changes, others })
}

fn known(now: &Deployed, kind: &ResourceType, modified: bool) -> Known {
    let volatile = if modified { kind.volatile } else { &[] };
    Known { physical_id: Some(now.physical_id.clone()), attributes: now.attributes.clone(), volatile }
}

impl Update<'_> {
    fn removed(&self) -> Vec<Planned> {
        let gone = self.resources.values().filter(|r| !self.prepared.target.needs.contains_key(&r.logical_id));
        let gone = gone.filter_map(|resource| {
            let physical_id = Some(resource.now.as_ref()?.physical_id.clone());
            let (logical_id, kind) = (resource.logical_id.clone(), resource.kind.clone());
            Some(Planned { logical_id, physical_id, kind, action: Action::Remove, details: Vec::new() })
        });
        gone.collect()
    }

    async fn resource(&mut self, name: &str) -> Result<Option<Planned>> {
        let Some(form) = self.prepared.template.resources.get(name) else { return Ok(None) };
        let logical_id = name.to_owned();
        let Some(now) = self.resources.get(name).and_then(|resource| resource.now.clone()) else {
            self.world.set(name, Known::default());
            let (kind, action) = (form.kind.clone(), Action::Add);
            return Ok(Some(Planned { logical_id, physical_id: None, kind, action, details: Vec::new() }));
        };
        let Some(kind) = types::named(&form.kind) else { return Ok(None) };
        let mut details = self.details(name, &now, kind).await?;
        let tags = kind.has("Tags") && now.spec.stack_tags != self.prepared.target.tags;
        if tags && !details.iter().any(|detail| detail.property.as_deref() == Some("Tags")) {
            let (attribute, replacement) = ("Tags".to_owned(), Replacement::Never);
            details.push(Detail { attribute, property: None, replacement, dynamic: false });
        }
        let unfinished = self.resources.get(name).is_some_and(|resource| resource.half.is_some());
        let Some(replacement) = details.iter().map(|detail| detail.replacement).max() else {
            let action = Action::Modify(Replacement::Never);
            let physical_id = Some(now.physical_id.clone());
            let again = Planned { logical_id, physical_id, kind: form.kind.clone(), action, details };
            return Ok(unfinished.then_some(again));
        };
        let after = match replacement {
            Replacement::Never => known(&now, kind, true),
            Replacement::Conditional | Replacement::Always => Known::default(),
        };
        self.world.set(name, after);
        let (physical_id, action) = (Some(now.physical_id), Action::Modify(replacement));
        Ok(Some(Planned { logical_id, physical_id, kind: form.kind.clone(), action, details }))
    }

    /// What changes of a resource.
    async fn details(&mut self, name: &str, now: &Deployed, kind: &ResourceType) -> Result<Vec<Detail>> {
        let template = &self.prepared.template;
        let (evaluated, dynamic) = match self.evaluate(template, name).await {
            Ok(evaluated) => (evaluated, BTreeSet::new()),
            Err(error) if is_unknown(&error) => self.piecemeal(name, now).await?,
            Err(error) => return Err(error),
        };
        let mut seen = BTreeSet::new();
        let mut details = Vec::new();
        for path in diff::changed_paths(&now.spec.evaluated, &evaluated) {
            let property = path.property().map(str::to_owned);
            if seen.insert((path.part, property.clone())) {
                let always = path.part == Part::Kind || property.as_deref().is_some_and(|p| kind.replaced.contains(&p));
                let replacement = if always { Replacement::Always } else { Replacement::Never };
                let attribute = if property.as_deref() == Some("Tags") { "Tags" } else { path.part.name() };
                details.push(Detail { attribute: attribute.into(), property, replacement, dynamic: false });
            }
        }
        for property in dynamic {
            let conditional = kind.replaced.contains(&property.as_str());
            let replacement = if conditional { Replacement::Conditional } else { Replacement::Never };
            details.push(Detail {
                attribute: "Properties".into(),
                property: Some(property),
                replacement,
                dynamic: true,
            });
        }
        Ok(details)
    }

    async fn evaluate(&mut self, template: &Template, name: &str) -> Result<EvaluatedResource> {
        let (values, pseudo) = (prepare::values(&self.prepared.target), &self.pseudo);
        self.world
            .evaluate(self.cx, |resolver| Evaluation::new(template, &values, pseudo, resolver)?.resource(name))
            .await
    }

    /// A resource of which some properties are not known yet: those keep their old values here, and are named.
    async fn piecemeal(&mut self, name: &str, now: &Deployed) -> Result<(EvaluatedResource, BTreeSet<String>)> {
        let mut evaluated = now.spec.evaluated.clone();
        let mut dynamic = BTreeSet::new();
        let Some(form) = self.prepared.template.resources.get(name).cloned() else { return Ok((evaluated, dynamic)) };
        (evaluated.kind, evaluated.deletion_policy) = (form.kind.clone(), form.deletion_policy);
        evaluated.update_replace_policy = form.update_replace_policy;
        evaluated.properties.retain(|property, _| form.properties.contains_key(property));
        for property in form.properties.keys() {
            let mut alone = self.prepared.template.clone();
            if let Some(resource) = alone.resources.get_mut(name) {
                resource.properties.retain(|other, _| other == property);
                (resource.metadata, resource.creation_policy, resource.update_policy) = (None, None, None);
            }
            match self.evaluate(&alone, name).await {
                Ok(mut one) => match one.properties.remove(property) {
                    Some(value) => drop(evaluated.properties.insert(property.clone(), value)),
                    None => drop(evaluated.properties.remove(property)),
                },
                Err(error) if is_unknown(&error) => drop(dynamic.insert(property.clone())),
                Err(error) => return Err(error),
            }
        }
        Ok((evaluated, dynamic))
    }

    /// Whether anything but resources changes.
    async fn others(&mut self) -> Result<bool> {
        let (old, new) = (&self.stack.target, &self.prepared.target);
        if old.tags != new.tags || old.notification_arns != new.notification_arns || !self.stack.outputs_are_current() {
            return Ok(true);
        }
        let values = prepare::values(new);
        let (template, pseudo) = (&self.prepared.template, &self.pseudo);
        let outputs = self
            .world
            .evaluate(self.cx, |resolver| Evaluation::new(template, &values, pseudo, resolver)?.outputs())
            .await?;
        Ok(outputs != self.stack.outputs)
    }
}

impl Stack {
    /// After a failed update that was not undone the outputs are still those from before.
    fn outputs_are_current(&self) -> bool {
        !matches!(self.status, super::model::Status::UpdateFailed | super::model::Status::CreateFailed)
    }
}
