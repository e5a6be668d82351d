//! Users.

use standfast_api::iam::{
    CreateUserInput, CreateUserOutput, DeleteUserInput, DeleteUserOutput, GetUserInput, GetUserOutput,
    ListGroupsForUserInput, ListGroupsForUserOutput, ListUsersInput, ListUsersOutput,
};
use standfast_core::{Error, Result};
use standfast_kernel::{Cx, Principal};

use super::model::{self, User};
use super::{check_path, conflict, exists, missing, page};
use crate::keys::{self, AccessKey};

pub async fn create(cx: Cx, input: CreateUserInput) -> Result<CreateUserOutput> {
    if input.permissions_boundary.is_some() {
        return Err(Error::client(
            "InvalidInput",
            "PermissionsBoundary is not available in this version of Standfast.",
        ));
    }
    let user = User {
        id: keys::new_id(cx.rng(), "AIDA"),
        path: check_path(input.path.as_deref())?,
        created: cx.now(),
        tags: model::tags_in(input.tags),
    };
    let scope = cx.scope().global();
    cx.txn(|tx| {
        if tx.get::<User>(&scope, &input.user_name).is_some() {
            return Err(exists("User", &input.user_name));
        }
        tx.put(&scope, &input.user_name, user.clone());
        Ok(())
    })
    .await?;
    Ok(CreateUserOutput { user: Some(user.shape(cx.account(), &input.user_name)) })
}

/// The user that an operation means when it names none: the caller.
pub fn own_name(cx: &Cx, given: Option<&str>) -> Result<String> {
    match (given, cx.principal()) {
        (Some(name), _) => Ok(name.to_owned()),
        (None, Principal::Known { arn, .. }) if arn.contains(":user/") => {
            Ok(arn.rsplit('/').next().unwrap_or_default().to_owned())
        }
        (None, _) => {
            Err(Error::client("ValidationError", "Must specify userName when calling with non-User credentials"))
        }
    }
}

pub async fn get(cx: Cx, input: GetUserInput) -> Result<GetUserOutput> {
    let name = own_name(&cx, input.user_name.as_deref())?;
    let user = cx.view(|v| v.get::<User>(&cx.scope().global(), &name)).ok_or_else(|| missing("user", &name))?;
    Ok(GetUserOutput { user: user.shape(cx.account(), &name) })
}

pub async fn list(cx: Cx, input: ListUsersInput) -> Result<ListUsersOutput> {
    let mut all = cx.view(|v| v.list::<User>(&cx.scope().global()));
    all.retain(|(_, user)| user.path.starts_with(input.path_prefix.as_deref().unwrap_or("/")));
    let page = page(all, |(name, _)| name.to_string(), input.marker.as_deref(), input.max_items)?;
    Ok(ListUsersOutput {
        users: page.items.iter().map(|(name, user)| user.shape(cx.account(), name)).collect(),
        is_truncated: Some(page.next.is_some()),
        marker: page.next,
    })
}

pub async fn delete(cx: Cx, input: DeleteUserInput) -> Result<DeleteUserOutput> {
    let scope = cx.scope().global();
    cx.txn(|tx| {
        tx.get::<User>(&scope, &input.user_name).ok_or_else(|| missing("user", &input.user_name))?;
        let index = keys::user_index(cx.account(), &input.user_name);
        if !tx.by_index::<AccessKey>(&keys::scope(), "user", &index).is_empty() {
            return Err(conflict("Cannot delete entity, must delete access keys first."));
        }
        tx.delete::<User>(&scope, &input.user_name);
        Ok(DeleteUserOutput::default())
    })
    .await
}

/// There are no groups yet, so a user is in none.
pub async fn list_groups(cx: Cx, input: ListGroupsForUserInput) -> Result<ListGroupsForUserOutput> {
    let user = cx.view(|v| v.get::<User>(&cx.scope().global(), &input.user_name));
    user.ok_or_else(|| missing("user", &input.user_name))?;
    Ok(ListGroupsForUserOutput { groups: Vec::new(), is_truncated: Some(false), marker: None })
}
