//! Launch templates and their versions.

use serde::{Deserialize, Serialize};
use standfast_core::Timestamp;
use standfast_core::id;
use standfast_store::Record;

use crate::ec2::errors::Keyed;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaunchTemplate {
    pub name: String,
    pub created: Timestamp,
    /// The ARN of who made it.
    pub created_by: String,
    pub default_version: i64,
    /// The highest number ever given; numbers are not used again.
    pub latest_version: i64,
}

impl Record for LaunchTemplate {
    const TABLE: &'static str = "ec2.launch_templates";
    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }
}
impl Keyed for LaunchTemplate {
    type Kind = id::LaunchTemplate;
}

/// A version, keyed by `LaunchTemplateVersion::key`. Versions never change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaunchTemplateVersion {
    pub number: i64,
    pub description: Option<String>,
    pub created: Timestamp,
    pub created_by: String,
    /// The launch template data, members by their names in EC2's model, exactly those that were given. It is a document
    /// that is only ever echoed, merged by name and read when an instance is launched, so it has no type of ours.
    pub data: serde_json::Map<String, serde_json::Value>,
}

impl LaunchTemplateVersion {
    /// Keys sort by number.
    pub fn key(template: &str, number: i64) -> String {
        format!("{template}/{number:010}")
    }
}

impl Record for LaunchTemplateVersion {
    const TABLE: &'static str = "ec2.launch_template_versions";
}
