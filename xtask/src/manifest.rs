//! `models/manifest.toml`: which services and operations this project knows.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::workspace::{Workspace, read};

/// By the service's name in botocore.
pub type Manifest = BTreeMap<String, Service>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The API version, which is a folder in botocore's data.
    pub version: String,
    /// Which protocols to speak, where that is not what the model says; the first one is the default.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// Whether the service has no region.
    #[serde(default)]
    pub global: bool,
    /// Structures that need both directions whichever way operations use them: a service keeps what it was given in one
    /// shape and gives it back in another.
    #[serde(default)]
    pub both: Vec<String>,
    pub operations: Vec<String>,
}

pub fn load(workspace: &Workspace) -> Result<Manifest> {
    let path = workspace.models().join("manifest.toml");
    toml::from_str(&read(&path)?).with_context(|| format!("parsing {}", path.display()))
}
