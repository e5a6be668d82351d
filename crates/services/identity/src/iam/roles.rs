//! Roles and who may assume them.

use std::collections::{BTreeMap, BTreeSet};

use standfast_api::iam::{
    CreateRoleInput, CreateRoleOutput, DeleteRoleInput, DeleteRoleOutput, GetRoleInput, GetRoleOutput,
    ListRoleTagsInput, ListRoleTagsOutput, ListRolesInput, ListRolesOutput, TagRoleInput, TagRoleOutput,
    UntagRoleInput, UntagRoleOutput, UpdateAssumeRolePolicyInput, UpdateAssumeRolePolicyOutput, UpdateRoleInput,
    UpdateRoleOutput,
};
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::model::{self, InstanceProfile, Role};
use super::{check_document, check_path, conflict, exists, missing, page};
use crate::keys;

const SESSION_S: i32 = 3600;

pub async fn create(cx: Cx, input: CreateRoleInput) -> Result<CreateRoleOutput> {
    if input.permissions_boundary.is_some() {
        return Err(Error::client(
            "InvalidInput",
            "PermissionsBoundary is not available in this version of Standfast.",
        ));
    }
    check_document(&input.assume_role_policy_document)?;
    let role = Role {
        id: keys::new_id(cx.rng(), "AROA"),
        path: check_path(input.path.as_deref())?,
        created: cx.now(),
        trust: input.assume_role_policy_document,
        description: input.description,
        max_session_s: input.max_session_duration.unwrap_or(SESSION_S),
        tags: model::tags_in(input.tags),
        inline: BTreeMap::new(),
        attached: BTreeSet::new(),
    };
    let scope = cx.scope().global();
    cx.txn(|tx| {
        if tx.get::<Role>(&scope, &input.role_name).is_some() {
            return Err(exists("Role", &input.role_name));
        }
        tx.put(&scope, &input.role_name, role.clone());
        Ok(())
    })
    .await?;
    Ok(CreateRoleOutput { role: role.shape(cx.account(), &input.role_name) })
}

/// Reads a role.
pub fn read(cx: &Cx, name: &str) -> Result<std::sync::Arc<Role>> {
    cx.view(|v| v.get::<Role>(&cx.scope().global(), name)).ok_or_else(|| missing("role", name))
}

/// Changes a role in one transaction.
pub async fn change(cx: &Cx, name: &str, f: impl Fn(&mut Role) -> Result<()>) -> Result<()> {
    let scope = cx.scope().global();
    cx.txn(|tx| {
        let mut role = (*tx.get::<Role>(&scope, name).ok_or_else(|| missing("role", name))?).clone();
        f(&mut role)?;
        tx.put(&scope, name, role);
        Ok(())
    })
    .await
}

pub async fn get(cx: Cx, input: GetRoleInput) -> Result<GetRoleOutput> {
    Ok(GetRoleOutput { role: read(&cx, &input.role_name)?.shape(cx.account(), &input.role_name) })
}

pub async fn list(cx: Cx, input: ListRolesInput) -> Result<ListRolesOutput> {
    let mut all = cx.view(|v| v.list::<Role>(&cx.scope().global()));
    all.retain(|(_, role)| role.path.starts_with(input.path_prefix.as_deref().unwrap_or("/")));
    let page = page(all, |(name, _)| name.to_string(), input.marker.as_deref(), input.max_items)?;
    Ok(ListRolesOutput {
        roles: page.items.iter().map(|(name, role)| role.shape(cx.account(), name)).collect(),
        is_truncated: Some(page.next.is_some()),
        marker: page.next,
    })
}

pub async fn delete(cx: Cx, input: DeleteRoleInput) -> Result<DeleteRoleOutput> {
    let scope = cx.scope().global();
    cx.txn(|tx| {
        let role = tx.get::<Role>(&scope, &input.role_name).ok_or_else(|| missing("role", &input.role_name))?;
        if !role.inline.is_empty() {
            return Err(conflict("Cannot delete entity, must delete policies first."));
        }
        if !role.attached.is_empty() {
            return Err(conflict("Cannot delete entity, must detach all policies first."));
        }
        let profiles = tx.list::<InstanceProfile>(&scope);
        if profiles.iter().any(|(_, profile)| profile.role.as_ref() == Some(&input.role_name)) {
            return Err(conflict("Cannot delete entity, must remove roles from instance profile first."));
        }
        tx.delete::<Role>(&scope, &input.role_name);
        Ok(DeleteRoleOutput::default())
    })
    .await
}

pub async fn update(cx: Cx, input: UpdateRoleInput) -> Result<UpdateRoleOutput> {
    change(&cx, &input.role_name, |role| {
        role.description = input.description.clone().or_else(|| role.description.take());
        role.max_session_s = input.max_session_duration.unwrap_or(role.max_session_s);
        Ok(())
    })
    .await?;
    Ok(UpdateRoleOutput::default())
}

pub async fn update_trust(cx: Cx, input: UpdateAssumeRolePolicyInput) -> Result<UpdateAssumeRolePolicyOutput> {
    check_document(&input.policy_document)?;
    change(&cx, &input.role_name, |role| {
        role.trust = input.policy_document.clone();
        Ok(())
    })
    .await?;
    Ok(UpdateAssumeRolePolicyOutput::default())
}

pub async fn tag(cx: Cx, input: TagRoleInput) -> Result<TagRoleOutput> {
    change(&cx, &input.role_name, |role| {
        role.tags.extend(input.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())));
        Ok(())
    })
    .await?;
    Ok(TagRoleOutput::default())
}

pub async fn untag(cx: Cx, input: UntagRoleInput) -> Result<UntagRoleOutput> {
    change(&cx, &input.role_name, |role| {
        role.tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(UntagRoleOutput::default())
}

pub async fn list_tags(cx: Cx, input: ListRoleTagsInput) -> Result<ListRoleTagsOutput> {
    let role = read(&cx, &input.role_name)?;
    Ok(ListRoleTagsOutput { tags: model::tags_out(&role.tags), is_truncated: Some(false), marker: None })
}
