//! Roles, instance profiles, policies and users of IAM.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use standfast_api::iam as api;
use standfast_core::Result;

use super::ec2_network::{ready, vanished};
use super::job::{Job, as_list};
use super::{BASE, Iam, ResourceType, State, values};
use crate::cloudformation::errors;
use crate::cloudformation::template::text;

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::IAM::Role",
        required: &["AssumeRolePolicyDocument"],
        replaced: &["Path", "RoleName"],
        updated: &[
            "AssumeRolePolicyDocument",
            "Description",
            "ManagedPolicyArns",
            "MaxSessionDuration",
            "PermissionsBoundary",
            "Policies",
            "Tags",
        ],
        attributes: &["Arn", "RoleId"],
        iam: Iam::Named("RoleName"),
        create: |job| Box::pin(create_role(job)),
        equip: |job| Box::pin(role_policies(job)),
        find: |job| Box::pin(find_role(job)),
        read: |job| Box::pin(read_role(job)),
        update: |job| Box::pin(update_role(job)),
        delete: |job| Box::pin(delete_role(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::IAM::InstanceProfile",
        required: &["Roles"],
        replaced: &["InstanceProfileName", "Path"],
        updated: &["Roles"],
        attributes: &["Arn"],
        iam: Iam::Named("InstanceProfileName"),
        create: |job| Box::pin(create_profile(job)),
        equip: |job| Box::pin(profile_roles(job)),
        find: |job| Box::pin(find_profile(job)),
        read: |job| Box::pin(read_profile(job)),
        update: |job| Box::pin(profile_roles(job)),
        delete: |job| Box::pin(delete_profile(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::IAM::Policy",
        required: &["PolicyDocument", "PolicyName"],
        replaced: &["PolicyName"],
        updated: &["PolicyDocument", "Roles", "Users"],
        iam: Iam::Plain,
        create: |job| Box::pin(async { put_policy(job).await.map(|()| job.need("PolicyName"))? }),
        update: |job| Box::pin(put_policy(job)),
        delete: |job| Box::pin(delete_policy(job)),
        ..BASE
    },
];

const NAME_CHARS_MAX: usize = 64;
const PROFILE_NAME_CHARS_MAX: usize = 128;

/// The texts of a list property, now and before the update.
fn lists(job: &Job, property: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let texts =
        |value: Option<&Value>| value.and_then(Value::as_array).into_iter().flatten().filter_map(text).collect();
    let old = job.old.as_ref().and_then(|old| old.evaluated.properties.get(property));
    (texts(job.get(property)), texts(old))
}

/// Inline policies by name, now and before the update.
fn inline(properties: Option<&Value>) -> Vec<(String, String)> {
    let list = properties.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|policy| Some((text(&policy["PolicyName"])?, values::document(&policy["PolicyDocument"]))))
        .collect()
}

async fn create_role(job: &Job) -> Result<String> {
    let name = job.name("RoleName", NAME_CHARS_MAX);
    let mut input = job.only(&["Description", "MaxSessionDuration", "Path", "PermissionsBoundary"]);
    let trust = job.get("AssumeRolePolicyDocument").map(values::document);
    input.insert("AssumeRolePolicyDocument".into(), trust.into());
    input.insert("RoleName".into(), name.clone().into());
    input.insert("Tags".into(), job.tag_list());
    job.ask(api::CreateRole, input.into()).await?;
    Ok(name)
}

async fn role_policies(job: &Job) -> Result<()> {
    let name = job.id();
    let (new, old) = lists(job, "ManagedPolicyArns");
    for arn in old.difference(&new) {
        job.forget(api::DetachRolePolicy, json!({"RoleName": name, "PolicyArn": arn})).await?;
    }
    for arn in new.difference(&old) {
        job.ask(api::AttachRolePolicy, json!({"RoleName": name, "PolicyArn": arn})).await?;
    }
    let new = inline(job.get("Policies"));
    let old = inline(job.old.as_ref().and_then(|old| old.evaluated.properties.get("Policies")));
    for (policy, _) in old.iter().filter(|(policy, _)| !new.iter().any(|(other, _)| other == policy)) {
        job.forget(api::DeleteRolePolicy, json!({"RoleName": name, "PolicyName": policy})).await?;
    }
    for (policy, document) in new.iter().filter(|policy| !old.contains(policy)) {
        let input = json!({"RoleName": name, "PolicyName": policy, "PolicyDocument": document});
        job.ask(api::PutRolePolicy, input).await?;
    }
    Ok(())
}

async fn role(job: &Job, name: &str) -> Result<Option<Value>> {
    match job.ask(api::GetRole, json!({"RoleName": name})).await {
        Ok(answer) => Ok(Some(answer["Role"].clone())),
        Err(error) if errors::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn find_role(job: &Job) -> Result<Option<String>> {
    let name = job.name("RoleName", NAME_CHARS_MAX);
    let found = role(job, &name).await?.unwrap_or_default();
    let mut tags = found["Tags"].as_array().into_iter().flatten();
    let ours = tags.any(|tag| tag["Key"] == super::job::STACK_ID_TAG && tag["Value"] == job.stack_arn.as_str());
    Ok((ours && !job.others.contains(&name)).then_some(name))
}

async fn read_role(job: &Job) -> Result<State> {
    let found = role(job, job.id()).await?;
    Ok(found.map_or_else(|| vanished(job), |role| ready(json!({"Arn": role["Arn"], "RoleId": role["RoleId"]}))))
}

async fn update_role(job: &Job) -> Result<()> {
    let name = job.id();
    if job.changes("AssumeRolePolicyDocument") {
        let document = job.get("AssumeRolePolicyDocument").map(values::document);
        job.ask(api::UpdateAssumeRolePolicy, json!({"RoleName": name, "PolicyDocument": document})).await?;
    }
    if job.changes("Description") || job.changes("MaxSessionDuration") {
        let mut input = job.only(&["Description", "MaxSessionDuration"]);
        input.insert("RoleName".into(), name.into());
        job.ask(api::UpdateRole, input.into()).await?;
    }
    role_policies(job).await?;
    let (set, gone) = job.tag_changes();
    if !gone.is_empty() {
        job.ask(api::UntagRole, json!({"RoleName": name, "TagKeys": gone})).await?;
    }
    if !set.is_empty() {
        job.ask(api::TagRole, json!({"RoleName": name, "Tags": as_list(set)})).await?;
    }
    Ok(())
}

/// A role goes after its policies.
async fn delete_role(job: &Job) -> Result<bool> {
    let name = job.id();
    for arn in lists(job, "ManagedPolicyArns").0 {
        job.forget(api::DetachRolePolicy, json!({"RoleName": name, "PolicyArn": arn})).await?;
    }
    for (policy, _) in inline(job.get("Policies")) {
        job.forget(api::DeleteRolePolicy, json!({"RoleName": name, "PolicyName": policy})).await?;
    }
    job.forget(api::DeleteRole, json!({"RoleName": name})).await.map(|_| true)
}

async fn create_profile(job: &Job) -> Result<String> {
    let name = job.name("InstanceProfileName", PROFILE_NAME_CHARS_MAX);
    let mut input = job.only(&["Path"]);
    input.insert("InstanceProfileName".into(), name.clone().into());
    input.insert("Tags".into(), job.tag_list());
    job.ask(api::CreateInstanceProfile, input.into()).await?;
    Ok(name)
}

async fn profile_roles(job: &Job) -> Result<()> {
    let name = job.id();
    let found = profile(job, name).await?.unwrap_or_default();
    let roles = found["Roles"].as_array().into_iter().flatten();
    let has: BTreeSet<String> = roles.filter_map(|role| text(&role["RoleName"])).collect();
    let (wanted, _) = lists(job, "Roles");
    for role in has.difference(&wanted) {
        job.forget(api::RemoveRoleFromInstanceProfile, json!({"InstanceProfileName": name, "RoleName": role})).await?;
    }
    for role in wanted.difference(&has) {
        job.ask(api::AddRoleToInstanceProfile, json!({"InstanceProfileName": name, "RoleName": role})).await?;
    }
    Ok(())
}

async fn profile(job: &Job, name: &str) -> Result<Option<Value>> {
    match job.ask(api::GetInstanceProfile, json!({"InstanceProfileName": name})).await {
        Ok(answer) => Ok(Some(answer["InstanceProfile"].clone())),
        Err(error) if errors::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn find_profile(job: &Job) -> Result<Option<String>> {
    let name = job.name("InstanceProfileName", PROFILE_NAME_CHARS_MAX);
    let found = profile(job, &name).await?.unwrap_or_default();
    let mut tags = found["Tags"].as_array().into_iter().flatten();
    let ours = tags.any(|tag| tag["Key"] == super::job::STACK_ID_TAG && tag["Value"] == job.stack_arn.as_str());
    Ok((ours && !job.others.contains(&name)).then_some(name))
}

async fn read_profile(job: &Job) -> Result<State> {
    let found = profile(job, job.id()).await?;
    Ok(found.map_or_else(|| vanished(job), |profile| ready(json!({"Arn": profile["Arn"]}))))
}

async fn delete_profile(job: &Job) -> Result<bool> {
    for role in lists(job, "Roles").0 {
        let input = json!({"InstanceProfileName": job.id(), "RoleName": role});
        job.forget(api::RemoveRoleFromInstanceProfile, input).await?;
    }
    job.forget(api::DeleteInstanceProfile, json!({"InstanceProfileName": job.id()})).await.map(|_| true)
}

async fn put_policy(job: &Job) -> Result<()> {
    let name = job.need("PolicyName")?;
    let document = job.get("PolicyDocument").map(values::document);
    let (roles, old_roles) = lists(job, "Roles");
    let (users, old_users) = lists(job, "Users");
    for role in old_roles.difference(&roles) {
        job.forget(api::DeleteRolePolicy, json!({"RoleName": role, "PolicyName": name})).await?;
    }
    for user in old_users.difference(&users) {
        job.forget(api::DeleteUserPolicy, json!({"UserName": user, "PolicyName": name})).await?;
    }
    for role in &roles {
        let input = json!({"RoleName": role, "PolicyName": name, "PolicyDocument": document});
        job.ask(api::PutRolePolicy, input).await?;
    }
    for user in &users {
        let input = json!({"UserName": user, "PolicyName": name, "PolicyDocument": document});
        job.ask(api::PutUserPolicy, input).await?;
    }
    Ok(())
}

async fn delete_policy(job: &Job) -> Result<bool> {
    let name = job.need("PolicyName")?;
    for role in lists(job, "Roles").0 {
        job.forget(api::DeleteRolePolicy, json!({"RoleName": role, "PolicyName": name})).await?;
    }
    for user in lists(job, "Users").0 {
        job.forget(api::DeleteUserPolicy, json!({"UserName": user, "PolicyName": name})).await?;
    }
    Ok(true)
}
