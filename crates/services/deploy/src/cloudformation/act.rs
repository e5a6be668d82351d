//! Does what a plan says to one resource, and writes down what came of it.
//!
//! Invariant: before a call that makes something its record says that the call may have been made; after it, what was
//! made. Whoever finds the former without the latter looks for the thing before making another.

use std::time::Duration;

use standfast_core::{Error, Result, Timestamp};
use standfast_kernel::Cx;

use super::errors;
use super::events::{self, Said};
use super::model::{Deployed, Doomed, Resource, ResourceStatus, Spec, Stack, Status, Work};
use super::plan::{Resources, Step};
use super::prepare;
use super::resolve::{Known, World};
use super::template::diff::{self, Part};
use super::template::eval::Evaluation;
use super::template::model::{DeletionPolicy, Template};
use super::types::job::{Job, SUFFIX_CHARS};
use super::types::{self, ResourceType, State};

/// How long a resource may take to become what it should be.
const SETTLE_MAX: Duration = Duration::from_secs(30 * 60);
/// How long a deletion may be refused because something else is in the way.
const IN_USE_MAX: Duration = Duration::from_secs(60);
/// How long a deletion may take.
const ERASE_MAX: Duration = Duration::from_secs(60 * 60);

/// A stack under way, as one round of its controller sees it.
pub struct Scene<'a> {
    /// In the stack's account and region.
    pub cx: Cx,
    pub uuid: &'a str,
    pub stack: &'a Stack,
    pub resources: &'a Resources,
    /// The target's template; absent when no step needs it.
    pub template: Option<&'a Template>,
}

impl Scene<'_> {
    /// Does a step of one resource. Says whether anything moved.
    pub async fn act(&self, step: Step) -> Result<bool> {
        match step {
            Step::Start(name) => self.start(&name).await,
            Step::Create(name) => {
                let resource = self.resource(&name)?;
                let Work::Create { wanted, .. } = &resource.work else { return Ok(false) };
                self.create(resource, wanted, true).await
            }
            Step::Update(name) => {
                let resource = self.resource(&name)?;
                let Work::Update { wanted } = &resource.work else { return Ok(false) };
                self.update(resource, wanted).await
            }
            Step::Settle(name) => {
                let resource = self.resource(&name)?;
                let Work::Settle { wanted, physical_id, since } = &resource.work else { return Ok(false) };
                self.settle(resource, wanted, physical_id, *since).await
            }
            Step::Restore(name) => self.restore(&name).await,
            Step::Condemn(name) => self.condemn(&name).await,
            Step::Erase(name) => self.erase(&name).await,
            other => Err(Error::internal(format!("{other:?} is a step of the stack"))),
        }
    }

    fn resource(&self, name: &str) -> Result<&Resource> {
        self.resources.get(name).ok_or_else(|| Error::internal(format!("resource {name} has no record")))
    }

    fn kind(&self, name: &str) -> Result<&'static ResourceType> {
        types::named(name).ok_or_else(|| Error::internal(format!("the type {name} is not known")))
    }

    pub fn job(&self, resource: &Resource, spec: &Spec, old: Option<&Spec>, physical_id: Option<&str>) -> Job {
        let things = resource.now.iter().chain(&resource.before).chain(resource.doomed.iter().map(|d| &d.deployed));
        Job {
            cx: self.cx.clone(),
            stack_arn: self.stack.arn.clone(),
            stack_name: self.stack.name.clone(),
            logical_id: resource.logical_id.clone(),
            spec: spec.clone(),
            old: old.cloned(),
            physical_id: physical_id.map(str::to_owned),
            others: things.map(|thing| thing.physical_id.clone()).collect(),
            again: false,
        }
    }

    /// Changes a resource's record, and says what happened.
    async fn record(
        &self,
        resource: &Resource,
        happened: Option<Happened<'_>>,
        change: impl Fn(&mut Resource),
    ) -> Result<Resource> {
        let (scope, now) = (self.cx.scope(), self.cx.now());
        let key = Resource::key(self.uuid, &resource.logical_id);
        self.cx
            .txn(|tx| {
                let mut new =
                    tx.get::<Resource>(scope, &key).map_or_else(|| resource.clone(), |found| (*found).clone());
                change(&mut new);
                if let Some(happened) = &happened {
                    if happened.shows {
                        (new.status, new.changed) = (happened.status, now);
                        new.reason = happened.reason.map(str::to_owned);
                    }
                    let said = Said {
                        status: happened.status.text(),
                        reason: happened.reason,
                        physical_id: happened.physical_id,
                        properties: happened.spec.and_then(|spec| events::properties(self.stack, spec)),
                    };
                    events::of_resource(tx, scope, self.stack, &new, &said, now);
                }
                tx.put(scope, &key, new.clone());
                Ok(new)
            })
            .await
    }

    async fn start(&self, name: &str) -> Result<bool> {
        let template = self.template.ok_or_else(|| Error::internal("a step needs the template"))?;
        let form = template.resources.get(name).ok_or_else(|| Error::internal(format!("no {name} in the template")))?;
        let fresh = || Resource::new(self.uuid, name, &form.kind, self.cx.now());
        let mut resource = self.resources.get(name).cloned().unwrap_or_else(fresh);
        let evaluated = match self.evaluate(name, template).await {
            Err(error) if error.fault == standfast_core::Fault::Server => return Err(error),
            evaluated => evaluated,
        };
        let kind = self.kind(&form.kind)?;
        let checked = evaluated.and_then(|evaluated| kind.check(&evaluated.properties).map(|()| evaluated));
        let evaluated = match checked {
            Ok(evaluated) => evaluated,
            Err(error) => return self.fail(&resource, &error.message, None).await,
        };
        let stack_tags = self.stack.target.tags.clone();
        let suffix = self.suffix();
        let Some(now) = resource.now.clone() else {
            resource.kind = form.kind.clone();
            let wanted = Spec { evaluated, stack_tags, suffix };
            return self.begin(&resource, wanted, None).await;
        };
        let changed = diff::changed_paths(&now.spec.evaluated, &evaluated);
        let replaced = changed.iter().any(|path| {
            path.part == Part::Kind || path.property().is_some_and(|property| kind.replaced.contains(&property))
        });
        let properties = changed.iter().any(|path| path.part == Part::Properties);
        if replaced {
            let reason = "Requested update requires the creation of a new physical resource; hence creating one.";
            resource.kind = form.kind.clone();
            return self.begin(&resource, Spec { evaluated, stack_tags, suffix }, Some(reason)).await;
        }
        let wanted = Spec { evaluated, stack_tags, suffix: now.spec.suffix.clone() };
        if properties || resource.half.is_some() || (wanted.stack_tags != now.spec.stack_tags && kind.has("Tags")) {
            return self.begin_update(&resource, &now, wanted).await;
        }
        let operation = self.stack.operation;
        self.record(&resource, None, |resource| {
            if resource.before.is_none() && !changed.is_empty() {
                resource.before = resource.now.clone();
            }
            if let Some(now) = &mut resource.now {
                now.spec = wanted.clone();
            }
            (resource.settled, resource.failed) = (operation, false);
        })
        .await?;
        Ok(true)
    }

    fn suffix(&self) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        (0..SUFFIX_CHARS).map(|_| char::from(LETTERS[self.cx.rng().below(LETTERS.len())])).collect()
    }

    async fn evaluate(&self, name: &str, template: &Template) -> Result<super::template::eval::EvaluatedResource> {
        let known = |(name, resource): (&String, &Resource)| {
            let now = resource.now.as_ref()?;
            let (physical_id, attributes) = (Some(now.physical_id.clone()), now.attributes.clone());
            Some((name.clone(), Known { physical_id, attributes, volatile: &[] }))
        };
        let mut world = World::of(self.resources.iter().filter_map(known));
        let values = prepare::values(&self.stack.target);
        let pseudo = prepare::pseudo(&self.cx, &self.stack.arn, &self.stack.name, &self.stack.target);
        world.evaluate(&self.cx, |resolver| Evaluation::new(template, &values, &pseudo, resolver)?.resource(name)).await
    }

    /// Makes a resource that is not there, or one to take the place of another.
    async fn begin(&self, resource: &Resource, wanted: Spec, reason: Option<&str>) -> Result<bool> {
        let physical_id = resource.now.as_ref().map(|now| now.physical_id.as_str());
        let status = in_progress(resource);
        let happened =
            Happened { status, reason, physical_id: physical_id.unwrap_or_default(), spec: Some(&wanted), shows: true };
        let kind = wanted.evaluated.kind.clone();
        let resource = self
            .record(resource, Some(happened), |resource| {
                resource.kind = kind.clone();
                resource.fresh |= resource.now.is_none();
                resource.failed = false;
                resource.work = Work::Create { wanted: wanted.clone(), tried: true };
            })
            .await?;
        self.create(&resource, &wanted, false).await
    }

    async fn create(&self, resource: &Resource, wanted: &Spec, again: bool) -> Result<bool> {
        let kind = self.kind(&wanted.evaluated.kind)?;
        let mut job = self.job(resource, wanted, None, None);
        job.again = again;
        if again {
            job.physical_id = (kind.find)(&job).await?;
        }
        let equipped = match make(kind, &mut job).await {
            Ok(()) => (kind.equip)(&job).await,
            Err(error) => Err(error),
        };
        let physical_id = match (equipped, job.physical_id) {
            (Ok(()), id) => id.unwrap_or_default(),
            (Err(error), _) if error.status == Some(503) => return Ok(false),
            (Err(error), made) => return self.fail(resource, &self.reason(kind, &error), made).await,
        };
        let status = in_progress(resource);
        let reason = "Resource creation Initiated";
        let happened =
            Happened { status, reason: Some(reason), physical_id: &physical_id, spec: Some(wanted), shows: true };
        let since = self.cx.now();
        let resource = self
            .record(resource, Some(happened), |resource| {
                resource.work = Work::Settle { wanted: wanted.clone(), physical_id: physical_id.clone(), since };
                resource.last_id = Some(physical_id.clone());
            })
            .await?;
        self.settle(&resource, wanted, &physical_id, since).await.map(|_| true)
    }

    async fn begin_update(&self, resource: &Resource, now: &Deployed, wanted: Spec) -> Result<bool> {
        let happened = Happened {
            status: ResourceStatus::UpdateInProgress,
            reason: None,
            physical_id: &now.physical_id,
            spec: Some(&wanted),
            shows: true,
        };
        let resource = self
            .record(resource, Some(happened), |resource| {
                resource.failed = false;
                resource.work = Work::Update { wanted: wanted.clone() };
            })
            .await?;
        self.update(&resource, &wanted).await
    }

    async fn update(&self, resource: &Resource, wanted: &Spec) -> Result<bool> {
        let Some(now) = &resource.now else { return Err(Error::internal("nothing is there to be updated")) };
        let kind = self.kind(&wanted.evaluated.kind)?;
        let old = resource.half.as_ref().unwrap_or(&now.spec);
        let job = self.job(resource, wanted, Some(old), Some(&now.physical_id));
        match (kind.update)(&job).await {
            Ok(()) => (),
            Err(error) if error.status == Some(503) => return Ok(false),
            Err(error) => return self.fail(resource, &self.reason(kind, &error), None).await,
        }
        let (since, physical_id) = (self.cx.now(), now.physical_id.clone());
        let resource = self
            .record(resource, None, |resource| {
                resource.work = Work::Settle { wanted: wanted.clone(), physical_id: physical_id.clone(), since };
            })
            .await?;
        self.settle(&resource, wanted, &physical_id, since).await.map(|_| true)
    }

    async fn settle(&self, resource: &Resource, wanted: &Spec, physical_id: &str, since: Timestamp) -> Result<bool> {
        let kind = self.kind(&wanted.evaluated.kind)?;
        let in_place = resource.now.as_ref().filter(|now| now.physical_id == physical_id).map(|now| &now.spec);
        let job = self.job(resource, wanted, in_place, Some(physical_id));
        let made = || in_place.is_none().then(|| physical_id.to_owned());
        match (kind.read)(&job).await {
            Ok(State::Ready(attributes)) => {
                let deployed = Deployed { spec: wanted.clone(), physical_id: physical_id.to_owned(), attributes };
                self.complete(resource, deployed).await?;
                Ok(true)
            }
            Ok(State::Pending) if self.cx.now() < since + SETTLE_MAX => Ok(false),
            Ok(State::Pending) => self.fail(resource, "Exceeded attempts to wait", made()).await,
            Ok(State::Failed(reason)) => self.fail(resource, &reason, made()).await,
            Err(error) if error.status == Some(503) => Ok(false),
            Err(error) => self.fail(resource, &self.reason(kind, &error), made()).await,
        }
    }

    /// The resource is what it should be.
    async fn complete(&self, resource: &Resource, deployed: Deployed) -> Result<Resource> {
        let restoring = self.stack.status == Status::UpdateRollbackInProgress;
        let status =
            if resource.now.is_some() { ResourceStatus::UpdateComplete } else { ResourceStatus::CreateComplete };
        let (reason, physical_id, spec) = (None, deployed.physical_id.as_str(), Some(&deployed.spec));
        let happened = Happened { status, reason, physical_id, spec, shows: true };
        let operation = self.stack.operation;
        self.record(resource, Some(happened), |resource| {
            let was = resource.now.replace(deployed.clone());
            resource.before = if restoring { None } else { resource.before.take().or(was) };
            resource.work = Work::Rest;
            resource.last_id = Some(deployed.physical_id.clone());
            (resource.settled, resource.failed, resource.half) = (operation, false, None);
        })
        .await
    }

    /// The resource cannot become what it should be. `made` is what was made of it all the same.
    async fn fail(&self, resource: &Resource, reason: &str, made: Option<String>) -> Result<bool> {
        let updating = resource.now.is_some();
        let status = if updating { ResourceStatus::UpdateFailed } else { ResourceStatus::CreateFailed };
        let spec = wanted(&resource.work);
        let physical_id = made.as_deref().or(resource.physical_id()).unwrap_or_default();
        let happened = Happened { status, reason: Some(reason), physical_id, spec, shows: true };
        let operation = self.stack.operation;
        self.record(resource, Some(happened), |resource| {
            abandon(resource, made.clone());
            (resource.settled, resource.failed) = (operation, true);
        })
        .await?;
        Ok(true)
    }

    /// A service's refusal, in CloudFormation's words.
    fn reason(&self, kind: &ResourceType, error: &Error) -> String {
        errors::handler_message(error, kind.service(), self.cx.request_id(), &self.cx.rng().uuid())
    }

    async fn restore(&self, name: &str) -> Result<bool> {
        let resource = self.resource(name)?;
        let (Some(now), Some(before)) = (&resource.now, resource.before.as_ref().or(resource.now.as_ref())) else {
            return Err(Error::internal(format!("{name} has nothing to go back to")));
        };
        if now.physical_id == before.physical_id {
            let same = now.spec.evaluated.properties == before.spec.evaluated.properties
                && now.spec.stack_tags == before.spec.stack_tags;
            if same && resource.half.is_none() {
                self.record(resource, None, |resource| {
                    resource.now = resource.before.take().or(resource.now.take());
                })
                .await?;
                return Ok(true);
            }
            return self.begin_update(resource, now, before.spec.clone()).await;
        }
        let happened = Happened {
            status: ResourceStatus::UpdateComplete,
            reason: None,
            physical_id: &before.physical_id,
            spec: Some(&before.spec),
            shows: true,
        };
        self.record(resource, Some(happened), |resource| {
            if let Some(before) = resource.before.take() {
                resource.kind = before.spec.evaluated.kind.clone();
                resource.last_id = Some(before.physical_id.clone());
                let newer = resource.now.replace(before);
                resource.doomed.extend(newer.map(|deployed| Doomed { deployed, keep: false, since: None }));
            }
            resource.half = None;
        })
        .await?;
        Ok(true)
    }

    /// Begins to delete: what is there, when everything goes, and what is doomed already.
    async fn condemn(&self, name: &str) -> Result<bool> {
        let mut resource = self.resource(name)?.clone();
        let everything = matches!(self.stack.status, Status::RollbackInProgress | Status::DeleteInProgress);
        if everything {
            // A create that was cut short may have made something.
            if let Work::Create { wanted, tried: true } = &resource.work {
                let kind = self.kind(&wanted.evaluated.kind)?;
                let made = (kind.find)(&self.job(&resource, wanted, None, None)).await?;
                abandon(&mut resource, made);
            }
            let made = match &resource.work {
                Work::Settle { physical_id, .. } => Some(physical_id.clone()),
                _ => None,
            };
            abandon(&mut resource, made);
            let keep = resource.now.as_ref().is_some_and(|now| self.keeps(&resource, now));
            resource.doomed.extend(resource.now.take().map(|deployed| Doomed { deployed, keep, since: None }));
            resource.doomed.extend(resource.before.take().map(|deployed| Doomed {
                deployed,
                keep: false,
                since: None,
            }));
            resource.doomed.dedup_by(|a, b| a.deployed.physical_id == b.deployed.physical_id);
        }
        let (scope, now) = (self.cx.scope(), self.cx.now());
        let kept: Vec<Doomed> = resource.doomed.iter().filter(|doomed| doomed.keep).cloned().collect();
        resource.doomed.retain(|doomed| !doomed.keep);
        let begun: Vec<Deployed> = {
            let new = resource.doomed.iter_mut().filter(|doomed| doomed.since.is_none());
            new.map(|doomed| {
                doomed.since = Some(now);
                doomed.deployed.clone()
            })
            .collect()
        };
        if resource.now.is_none() {
            let status =
                if begun.is_empty() { ResourceStatus::DeleteSkipped } else { ResourceStatus::DeleteInProgress };
            (resource.status, resource.reason, resource.changed) = (status, None, now);
        }
        resource.failed = false;
        let key = Resource::key(self.uuid, name);
        self.cx
            .txn(|tx| {
                for doomed in &kept {
                    let status = (ResourceStatus::DeleteSkipped.text(), None);
                    events::of_doomed(tx, scope, self.stack, &resource, &doomed.deployed, status, now);
                }
                for deployed in &begun {
                    let status = (ResourceStatus::DeleteInProgress.text(), None);
                    events::of_doomed(tx, scope, self.stack, &resource, deployed, status, now);
                }
                tx.put(scope, &key, resource.clone());
                Ok(())
            })
            .await?;
        if !resource.doomed.is_empty() {
            self.erase_all(&resource).await?;
        }
        Ok(true)
    }

    /// Whether a resource's policy lets it stay when the stack goes.
    fn keeps(&self, resource: &Resource, now: &Deployed) -> bool {
        let created_now = resource.fresh && self.stack.status == Status::RollbackInProgress;
        match now.spec.evaluated.deletion_policy {
            DeletionPolicy::Retain => !(created_now && self.stack.retain_except_on_create),
            DeletionPolicy::RetainExceptOnCreate => !created_now,
            DeletionPolicy::Delete | DeletionPolicy::Snapshot => false,
        }
    }

    async fn erase(&self, name: &str) -> Result<bool> {
        self.erase_all(self.resource(name)?).await
    }

    async fn erase_all(&self, resource: &Resource) -> Result<bool> {
        let mut moved = false;
        for doomed in &resource.doomed {
            let Some(since) = doomed.since else { continue };
            moved |= self.erase_one(resource, &doomed.deployed, since).await?;
        }
        Ok(moved)
    }

    async fn erase_one(&self, resource: &Resource, gone: &Deployed, since: Timestamp) -> Result<bool> {
        let kind = self.kind(&gone.spec.evaluated.kind)?;
        let job = self.job(resource, &gone.spec, None, Some(&gone.physical_id));
        let waited = self.cx.now().since(since);
        let outcome = match (kind.delete)(&job).await {
            Ok(true) => Ok(()),
            Ok(false) if waited < ERASE_MAX => return Ok(false),
            Ok(false) => Err("Exceeded attempts to wait".to_owned()),
            Err(error) if errors::is_in_use(&error) && waited < IN_USE_MAX => return Ok(false),
            Err(error) => Err(self.reason(kind, &error)),
        };
        let status = if outcome.is_ok() { ResourceStatus::DeleteComplete } else { ResourceStatus::DeleteFailed };
        let happened = Happened {
            status,
            reason: outcome.as_ref().err().map(String::as_str),
            physical_id: &gone.physical_id,
            spec: Some(&gone.spec),
            shows: resource.now.is_none(),
        };
        let (operation, gone_id) = (self.stack.operation, gone.physical_id.clone());
        self.record(resource, Some(happened), |resource| match outcome {
            Ok(()) => resource.doomed.retain(|doomed| doomed.deployed.physical_id != gone_id),
            Err(_) => (resource.settled, resource.failed) = (operation, true),
        })
        .await?;
        Ok(true)
    }
}

/// Makes what was not found.
async fn make(kind: &ResourceType, job: &mut Job) -> Result<()> {
    if job.physical_id.is_none() {
        job.physical_id = Some((kind.create)(job).await?);
    }
    Ok(())
}

/// What happened to a resource, for its record and its event.
struct Happened<'a> {
    status: ResourceStatus,
    reason: Option<&'a str>,
    physical_id: &'a str,
    spec: Option<&'a Spec>,
    /// Whether it is the resource's own status: what becomes of something that it replaced is not.
    shows: bool,
}

fn in_progress(resource: &Resource) -> ResourceStatus {
    if resource.now.is_some() { ResourceStatus::UpdateInProgress } else { ResourceStatus::CreateInProgress }
}

fn wanted(work: &Work) -> Option<&Spec> {
    match work {
        Work::Rest => None,
        Work::Create { wanted, .. } | Work::Update { wanted } | Work::Settle { wanted, .. } => Some(wanted),
    }
}

/// Whether the work under way changes the physical thing that is there.
fn in_place(resource: &Resource) -> bool {
    let now = resource.now.as_ref().map(|now| now.physical_id.as_str());
    match &resource.work {
        Work::Update { .. } => true,
        Work::Settle { physical_id, .. } => now == Some(physical_id),
        Work::Rest | Work::Create { .. } => false,
    }
}

/// Stops the work on a resource. What was `made` of it goes.
pub fn abandon(resource: &mut Resource, made: Option<String>) {
    let changes_what_is_there = in_place(resource);
    let work = std::mem::take(&mut resource.work);
    if changes_what_is_there {
        resource.half = wanted(&work).cloned();
        return;
    }
    let (Some(spec), Some(physical_id)) = (wanted(&work).cloned(), made) else { return };
    let deployed = Deployed { spec, physical_id, attributes: serde_json::Map::new() };
    resource.doomed.push(Doomed { deployed, keep: false, since: None });
}
