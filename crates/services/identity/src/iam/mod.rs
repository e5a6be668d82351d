//! Users with access keys, roles, policies and instance profiles.
//!
//! Owns the `iam.*` tables, in the account's global scope. Invariant: policies are kept and answered exactly as given.
//! Those of roles are evaluated for every call with a role's credentials (`evaluate`).

mod access_keys;
mod attachments;
mod evaluate;
mod instance_profiles;
pub(crate) mod model;
mod policies;
mod roles;
mod users;

use standfast_api::iam as api;
use standfast_core::{Error, Result};
use standfast_kernel::Service;

/// The service's table.
pub fn service() -> Service {
    let service = Service::new(&api::MODEL)
        .authorizer(evaluate::authorize)
        .op(api::CreateUser, users::create)
        .op(api::GetUser, users::get)
        .op(api::ListUsers, users::list)
        .op(api::DeleteUser, users::delete)
        .op(api::ListGroupsForUser, users::list_groups)
        .op(api::CreateAccessKey, access_keys::create)
        .op(api::ListAccessKeys, access_keys::list)
        .op(api::UpdateAccessKey, access_keys::update)
        .op(api::DeleteAccessKey, access_keys::delete)
        .op(api::CreateRole, roles::create)
        .op(api::GetRole, roles::get)
        .op(api::ListRoles, roles::list)
        .op(api::DeleteRole, roles::delete)
        .op(api::UpdateRole, roles::update)
        .op(api::UpdateAssumeRolePolicy, roles::update_trust)
        .op(api::TagRole, roles::tag)
        .op(api::UntagRole, roles::untag)
        .op(api::ListRoleTags, roles::list_tags)
        .op(api::ListInstanceProfilesForRole, instance_profiles::list_for_role);
    service
        .op(api::PutRolePolicy, attachments::put_inline)
        .op(api::GetRolePolicy, attachments::get_inline)
        .op(api::DeleteRolePolicy, attachments::delete_inline)
        .op(api::ListRolePolicies, attachments::list_inline)
        .op(api::AttachRolePolicy, attachments::attach)
        .op(api::DetachRolePolicy, attachments::detach)
        .op(api::ListAttachedRolePolicies, attachments::list_attached)
        .op(api::CreatePolicy, policies::create)
        .op(api::GetPolicy, policies::get)
        .op(api::ListPolicies, policies::list)
        .op(api::DeletePolicy, policies::delete)
        .op(api::GetPolicyVersion, policies::get_version)
        .op(api::ListPolicyVersions, policies::list_versions)
        .op(api::CreateInstanceProfile, instance_profiles::create)
        .op(api::GetInstanceProfile, instance_profiles::get)
        .op(api::ListInstanceProfiles, instance_profiles::list)
        .op(api::DeleteInstanceProfile, instance_profiles::delete)
        .op(api::AddRoleToInstanceProfile, instance_profiles::add_role)
        .op(api::RemoveRoleFromInstanceProfile, instance_profiles::remove_role)
}

/// The page size of listings unless the caller asks for less.
const PAGE_MAX: usize = 100;

/// Cuts a listing; iam calls the token a marker.
fn page<T>(
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    marker: Option<&str>,
    max_items: Option<i32>,
) -> Result<standfast_core::page::Page<T>> {
    let limit = max_items.map_or(PAGE_MAX, |max| max as usize);
    standfast_core::page::page(items, key, marker, limit, "ValidationError")
}

fn missing(what: &str, name: &str) -> Error {
    Error::client("NoSuchEntity", format!("The {what} with name {name} cannot be found."))
}

fn exists(what: &str, name: &str) -> Error {
    Error::client("EntityAlreadyExists", format!("{what} with name {name} already exists."))
}

fn conflict(message: &str) -> Error {
    Error::client("DeleteConflict", message)
}

/// A path as IAM takes it: slashes around each part.
fn check_path(path: Option<&str>) -> Result<String> {
    let path = path.unwrap_or("/");
    if path.starts_with('/') && path.ends_with('/') {
        return Ok(path.to_owned());
    }
    let message = "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric \
                   characters and/or / characters.";
    Err(Error::client("ValidationError", message))
}

/// Policy documents must be JSON objects; they are kept as they came.
fn check_document(document: &str) -> Result<()> {
    match serde_json::from_str::<serde_json::Value>(document) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        _ => Err(Error::client("MalformedPolicyDocument", "Syntax errors in policy.")),
    }
}

/// Documents come back URL-encoded, as RFC 3986 says.
fn encoded(document: &str) -> String {
    let mut out = String::with_capacity(document.len() * 2);
    for byte in document.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_checked_and_encoded() {
        assert_eq!(encoded(r#"{"a": "é~"}"#), "%7B%22a%22%3A%20%22%C3%A9~%22%7D");
        assert!(check_document("{}").is_ok() && check_document("[]").is_err() && check_document("{").is_err());
        assert!(check_path(Some("/a/")).is_ok() && check_path(Some("a/")).is_err() && check_path(None).is_ok());
    }
}
