//! Access keys of users.

use standfast_api::iam::{
    self as api, AccessKeyMetadata, CreateAccessKeyInput, CreateAccessKeyOutput, DeleteAccessKeyInput,
    DeleteAccessKeyOutput, ListAccessKeysInput, ListAccessKeysOutput, UpdateAccessKeyInput, UpdateAccessKeyOutput,
};
use standfast_core::{Error, Result};
use standfast_kernel::Cx;
use standfast_store::Txn;

use super::model::{self, User};
use super::{missing, page, users};
use crate::keys::{self, AccessKey};

const KEYS_PER_USER_MAX: usize = 2;

fn status(key: &AccessKey) -> String {
    if key.active { "Active".into() } else { "Inactive".into() }
}

pub async fn create(cx: Cx, input: CreateAccessKeyInput) -> Result<CreateAccessKeyOutput> {
    let name = users::own_name(&cx, input.user_name.as_deref())?;
    let (id, secret, now) = (keys::new_id(cx.rng(), "AKIA"), keys::new_secret(cx.rng()), cx.now());
    let key = cx
        .txn(|tx| {
            let user = tx.get::<User>(&cx.scope().global(), &name).ok_or_else(|| missing("user", &name))?;
            let index = keys::user_index(cx.account(), &name);
            if tx.by_index::<AccessKey>(&keys::scope(), "user", &index).len() >= KEYS_PER_USER_MAX {
                let message = format!("Cannot exceed quota for AccessKeysPerUser: {KEYS_PER_USER_MAX}");
                return Err(Error::client("LimitExceeded", message));
            }
            let key = AccessKey {
                account: cx.account().to_owned(),
                user_name: name.clone(),
                user_id: user.id.clone(),
                user_arn: model::arn(cx.account(), "user", &user.path, &name),
                secret: secret.clone(),
                active: true,
                created: now,
            };
            tx.put(&keys::scope(), &id, key.clone());
            Ok(key)
        })
        .await?;
    Ok(CreateAccessKeyOutput {
        access_key: api::AccessKey {
            user_name: name,
            access_key_id: id,
            status: status(&key),
            secret_access_key: key.secret,
            create_date: Some(key.created),
        },
    })
}

pub async fn list(cx: Cx, input: ListAccessKeysInput) -> Result<ListAccessKeysOutput> {
    let name = users::own_name(&cx, input.user_name.as_deref())?;
    cx.view(|v| v.get::<User>(&cx.scope().global(), &name)).ok_or_else(|| missing("user", &name))?;
    let index = keys::user_index(cx.account(), &name);
    let all = cx.view(|v| v.by_index::<AccessKey>(&keys::scope(), "user", &index));
    let page = page(all, |(id, _)| id.to_string(), input.marker.as_deref(), input.max_items)?;
    let metadata = |(id, key): &(std::sync::Arc<str>, std::sync::Arc<AccessKey>)| AccessKeyMetadata {
        user_name: Some(name.clone()),
        access_key_id: Some(id.to_string()),
        status: Some(status(key)),
        create_date: Some(key.created),
    };
    Ok(ListAccessKeysOutput {
        access_key_metadata: page.items.iter().map(metadata).collect(),
        is_truncated: Some(page.next.is_some()),
        marker: page.next,
    })
}

fn own(tx: &Txn, cx: &Cx, name: &str, id: &str) -> Result<AccessKey> {
    let key = tx.get::<AccessKey>(&keys::scope(), id);
    let key = key.filter(|key| key.account == cx.account() && key.user_name == name);
    let unknown = || Error::client("NoSuchEntity", format!("The Access Key with id {id} cannot be found."));
    Ok((*key.ok_or_else(unknown)?).clone())
}

pub async fn update(cx: Cx, input: UpdateAccessKeyInput) -> Result<UpdateAccessKeyOutput> {
    let name = users::own_name(&cx, input.user_name.as_deref())?;
    cx.txn(|tx| {
        let key = own(tx, &cx, &name, &input.access_key_id)?;
        tx.put(&keys::scope(), &input.access_key_id, AccessKey { active: input.status == "Active", ..key });
        Ok(UpdateAccessKeyOutput::default())
    })
    .await
}

pub async fn delete(cx: Cx, input: DeleteAccessKeyInput) -> Result<DeleteAccessKeyOutput> {
    let name = users::own_name(&cx, input.user_name.as_deref())?;
    cx.txn(|tx| {
        own(tx, &cx, &name, &input.access_key_id)?;
        tx.delete::<AccessKey>(&keys::scope(), &input.access_key_id);
        Ok(DeleteAccessKeyOutput::default())
    })
    .await
}
