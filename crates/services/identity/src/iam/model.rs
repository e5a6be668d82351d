//! Records of users, roles, policies and instance profiles. Their ids are their names.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use standfast_api::iam as api;
use standfast_core::{Arn, Timestamp};
use standfast_store::Record;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    pub id: String,
    pub path: String,
    pub created: Timestamp,
    pub tags: BTreeMap<String, String>,
}

impl Record for User {
    const TABLE: &'static str = "iam.users";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Role {
    pub id: String,
    pub path: String,
    pub created: Timestamp,
    pub trust: String,
    pub description: Option<String>,
    pub max_session_s: i32,
    pub tags: BTreeMap<String, String>,
    /// Inline policies: name to document.
    pub inline: BTreeMap<String, String>,
    /// ARNs of managed policies.
    pub attached: BTreeSet<String>,
}

impl Record for Role {
    const TABLE: &'static str = "iam.roles";
}

/// A customer's managed policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Policy {
    pub id: String,
    pub path: String,
    pub created: Timestamp,
    pub description: Option<String>,
    pub document: String,
    pub tags: BTreeMap<String, String>,
}

impl Record for Policy {
    const TABLE: &'static str = "iam.policies";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceProfile {
    pub id: String,
    pub path: String,
    pub created: Timestamp,
    pub role: Option<String>,
    pub tags: BTreeMap<String, String>,
}

impl Record for InstanceProfile {
    const TABLE: &'static str = "iam.instance_profiles";
}

pub fn tags_in(tags: Option<Vec<api::Tag>>) -> BTreeMap<String, String> {
    tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()
}

pub fn tags_out(tags: &BTreeMap<String, String>) -> Vec<api::Tag> {
    tags.iter().map(|(key, value)| api::Tag { key: key.clone(), value: value.clone() }).collect()
}

/// As answers leave tags out when there are none.
pub fn some_tags(tags: &BTreeMap<String, String>) -> Option<Vec<api::Tag>> {
    (!tags.is_empty()).then(|| tags_out(tags))
}

/// `arn:aws:iam::ACCOUNT:KIND/path/NAME`.
pub fn arn(account: &str, kind: &str, path: &str, name: &str) -> String {
    Arn::global("iam", account, format!("{kind}{path}{name}")).to_string()
}

impl User {
    pub fn shape(&self, account: &str, name: &str) -> api::User {
        api::User {
            path: self.path.clone(),
            user_name: name.to_owned(),
            user_id: self.id.clone(),
            arn: arn(account, "user", &self.path, name),
            create_date: self.created,
            password_last_used: None,
            permissions_boundary: None,
            tags: some_tags(&self.tags),
        }
    }
}

impl Role {
    pub fn shape(&self, account: &str, name: &str) -> api::Role {
        api::Role {
            path: self.path.clone(),
            role_name: name.to_owned(),
            role_id: self.id.clone(),
            arn: arn(account, "role", &self.path, name),
            create_date: self.created,
            assume_role_policy_document: Some(super::encoded(&self.trust)),
            description: self.description.clone(),
            max_session_duration: Some(self.max_session_s),
            permissions_boundary: None,
            tags: some_tags(&self.tags),
            role_last_used: Some(api::RoleLastUsed::default()),
        }
    }
}
