//! Instance profiles: the role that an instance is given.

use standfast_api::iam::{
    self as api, AddRoleToInstanceProfileInput, AddRoleToInstanceProfileOutput, CreateInstanceProfileInput,
    CreateInstanceProfileOutput, DeleteInstanceProfileInput, DeleteInstanceProfileOutput, GetInstanceProfileInput,
    GetInstanceProfileOutput, ListInstanceProfilesForRoleInput, ListInstanceProfilesForRoleOutput,
    ListInstanceProfilesInput, ListInstanceProfilesOutput, RemoveRoleFromInstanceProfileInput,
    RemoveRoleFromInstanceProfileOutput,
};
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::model::{self, InstanceProfile, Role};
use super::{check_path, conflict, exists, missing, page, roles};
use crate::keys;

fn shape(cx: &Cx, name: &str, profile: &InstanceProfile) -> api::InstanceProfile {
    let role = profile.role.as_ref().and_then(|name| {
        let role = cx.view(|v| v.get::<Role>(&cx.scope().global(), name))?;
        Some(role.shape(cx.account(), name))
    });
    api::InstanceProfile {
        path: profile.path.clone(),
        instance_profile_name: name.to_owned(),
        instance_profile_id: profile.id.clone(),
        arn: model::arn(cx.account(), "instance-profile", &profile.path, name),
        create_date: profile.created,
        roles: role.into_iter().collect(),
        tags: model::some_tags(&profile.tags),
    }
}

fn no_profile(name: &str) -> Error {
    Error::client("NoSuchEntity", format!("Instance Profile {name} cannot be found."))
}

pub async fn create(cx: Cx, input: CreateInstanceProfileInput) -> Result<CreateInstanceProfileOutput> {
    let name = input.instance_profile_name;
    let profile = InstanceProfile {
        id: keys::new_id(cx.rng(), "AIPA"),
        path: check_path(input.path.as_deref())?,
        created: cx.now(),
        role: None,
        tags: model::tags_in(input.tags),
    };
    let scope = cx.scope().global();
    cx.txn(|tx| {
        if tx.get::<InstanceProfile>(&scope, &name).is_some() {
            return Err(exists("Instance Profile", &name));
        }
        tx.put(&scope, &name, profile.clone());
        Ok(())
    })
    .await?;
    Ok(CreateInstanceProfileOutput { instance_profile: shape(&cx, &name, &profile) })
}

pub async fn get(cx: Cx, input: GetInstanceProfileInput) -> Result<GetInstanceProfileOutput> {
    let name = &input.instance_profile_name;
    let profile = cx.view(|v| v.get::<InstanceProfile>(&cx.scope().global(), name)).ok_or_else(|| no_profile(name))?;
    Ok(GetInstanceProfileOutput { instance_profile: shape(&cx, name, &profile) })
}

pub async fn list(cx: Cx, input: ListInstanceProfilesInput) -> Result<ListInstanceProfilesOutput> {
    let mut all = cx.view(|v| v.list::<InstanceProfile>(&cx.scope().global()));
    all.retain(|(_, profile)| profile.path.starts_with(input.path_prefix.as_deref().unwrap_or("/")));
    let page = page(all, |(name, _)| name.to_string(), input.marker.as_deref(), input.max_items)?;
    Ok(ListInstanceProfilesOutput {
        instance_profiles: page.items.iter().map(|(name, profile)| shape(&cx, name, profile)).collect(),
        is_truncated: Some(page.next.is_some()),
        marker: page.next,
    })
}

pub async fn list_for_role(
    cx: Cx,
    input: ListInstanceProfilesForRoleInput,
) -> Result<ListInstanceProfilesForRoleOutput> {
    roles::read(&cx, &input.role_name)?;
    let mut all = cx.view(|v| v.list::<InstanceProfile>(&cx.scope().global()));
    all.retain(|(_, profile)| profile.role.as_ref() == Some(&input.role_name));
    let page = page(all, |(name, _)| name.to_string(), input.marker.as_deref(), input.max_items)?;
    Ok(ListInstanceProfilesForRoleOutput {
        instance_profiles: page.items.iter().map(|(name, profile)| shape(&cx, name, profile)).collect(),
        is_truncated: Some(page.next.is_some()),
        marker: page.next,
    })
}

async fn change(cx: &Cx, name: &str, f: impl Fn(&mut InstanceProfile) -> Result<()>) -> Result<()> {
    let scope = cx.scope().global();
    cx.txn(|tx| {
        let mut profile = (*tx.get::<InstanceProfile>(&scope, name).ok_or_else(|| no_profile(name))?).clone();
        f(&mut profile)?;
        tx.put(&scope, name, profile);
        Ok(())
    })
    .await
}

pub async fn delete(cx: Cx, input: DeleteInstanceProfileInput) -> Result<DeleteInstanceProfileOutput> {
    let (scope, name) = (cx.scope().global(), &input.instance_profile_name);
    cx.txn(|tx| {
        let profile = tx.get::<InstanceProfile>(&scope, name).ok_or_else(|| no_profile(name))?;
        if profile.role.is_some() {
            return Err(conflict("Cannot delete entity, must remove roles from instance profile first."));
        }
        tx.delete::<InstanceProfile>(&scope, name);
        Ok(DeleteInstanceProfileOutput::default())
    })
    .await
}

pub async fn add_role(cx: Cx, input: AddRoleToInstanceProfileInput) -> Result<AddRoleToInstanceProfileOutput> {
    roles::read(&cx, &input.role_name)?;
    change(&cx, &input.instance_profile_name, |profile| {
        if profile.role.is_some() {
            return Err(Error::client(
                "LimitExceeded",
                "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
            ));
        }
        profile.role = Some(input.role_name.clone());
        Ok(())
    })
    .await?;
    Ok(AddRoleToInstanceProfileOutput::default())
}

pub async fn remove_role(
    cx: Cx,
    input: RemoveRoleFromInstanceProfileInput,
) -> Result<RemoveRoleFromInstanceProfileOutput> {
    change(&cx, &input.instance_profile_name, |profile| {
        if profile.role.as_ref() != Some(&input.role_name) {
            return Err(missing("role", &input.role_name));
        }
        profile.role = None;
        Ok(())
    })
    .await?;
    Ok(RemoveRoleFromInstanceProfileOutput::default())
}
