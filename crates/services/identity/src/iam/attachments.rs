//! What a role may do: inline policies and attached managed ones.

use standfast_api::iam::{
    AttachRolePolicyInput, AttachRolePolicyOutput, AttachedPolicy, DeleteRolePolicyInput, DeleteRolePolicyOutput,
    DetachRolePolicyInput, DetachRolePolicyOutput, GetRolePolicyInput, GetRolePolicyOutput,
    ListAttachedRolePoliciesInput, ListAttachedRolePoliciesOutput, ListRolePoliciesInput, ListRolePoliciesOutput,
    PutRolePolicyInput, PutRolePolicyOutput,
};
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::{check_document, encoded, page, policies, roles};

fn no_policy(role: &str, name: &str) -> Error {
    Error::client("NoSuchEntity", format!("The role policy with name {name} cannot be found for role {role}."))
}

pub async fn put_inline(cx: Cx, input: PutRolePolicyInput) -> Result<PutRolePolicyOutput> {
    check_document(&input.policy_document)?;
    roles::change(&cx, &input.role_name, |role| {
        role.inline.insert(input.policy_name.clone(), input.policy_document.clone());
        Ok(())
    })
    .await?;
    Ok(PutRolePolicyOutput::default())
}

pub async fn get_inline(cx: Cx, input: GetRolePolicyInput) -> Result<GetRolePolicyOutput> {
    let role = roles::read(&cx, &input.role_name)?;
    let document = role.inline.get(&input.policy_name);
    let document = document.ok_or_else(|| no_policy(&input.role_name, &input.policy_name))?;
    Ok(GetRolePolicyOutput {
        policy_document: encoded(document),
        role_name: input.role_name,
        policy_name: input.policy_name,
    })
}

pub async fn delete_inline(cx: Cx, input: DeleteRolePolicyInput) -> Result<DeleteRolePolicyOutput> {
    roles::change(&cx, &input.role_name, |role| match role.inline.remove(&input.policy_name) {
        Some(_) => Ok(()),
        None => Err(no_policy(&input.role_name, &input.policy_name)),
    })
    .await?;
    Ok(DeleteRolePolicyOutput::default())
}

pub async fn list_inline(cx: Cx, input: ListRolePoliciesInput) -> Result<ListRolePoliciesOutput> {
    let names: Vec<String> = roles::read(&cx, &input.role_name)?.inline.keys().cloned().collect();
    let page = page(names, String::clone, input.marker.as_deref(), input.max_items)?;
    Ok(ListRolePoliciesOutput { policy_names: page.items, is_truncated: Some(page.next.is_some()), marker: page.next })
}

pub async fn attach(cx: Cx, input: AttachRolePolicyInput) -> Result<AttachRolePolicyOutput> {
    policies::find(&cx, &input.policy_arn)?;
    roles::change(&cx, &input.role_name, |role| {
        role.attached.insert(input.policy_arn.clone());
        Ok(())
    })
    .await?;
    Ok(AttachRolePolicyOutput::default())
}

pub async fn detach(cx: Cx, input: DetachRolePolicyInput) -> Result<DetachRolePolicyOutput> {
    roles::change(&cx, &input.role_name, |role| {
        if role.attached.remove(&input.policy_arn) {
            return Ok(());
        }
        Err(Error::client("NoSuchEntity", format!("Policy {} was not found.", input.policy_arn)))
    })
    .await?;
    Ok(DetachRolePolicyOutput::default())
}

pub async fn list_attached(cx: Cx, input: ListAttachedRolePoliciesInput) -> Result<ListAttachedRolePoliciesOutput> {
    let arns: Vec<String> = roles::read(&cx, &input.role_name)?.attached.iter().cloned().collect();
    let page = page(arns, String::clone, input.marker.as_deref(), input.max_items)?;
    let attached =
        |arn: String| AttachedPolicy { policy_name: arn.rsplit('/').next().map(str::to_owned), policy_arn: Some(arn) };
    Ok(ListAttachedRolePoliciesOutput {
        attached_policies: Some(page.items.into_iter().map(attached).collect()),
        is_truncated: Some(page.next.is_some()),
        marker: page.next,
    })
}
