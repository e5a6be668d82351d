//! What an update changes: two sets of evaluated resources, compared.
//!
//! Invariant: comparing a set with itself gives nothing; numbers and booleans equal their text, as CloudFormation
//! compares. Not here: whether a change means replacement; resource types know that.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::eval::EvaluatedResource;
use super::text;

/// A logical id with what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub logical_id: String,
    pub change: Change,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Removed,
    /// Never empty. A resource whose type changed has [`Part::Kind`] among its paths.
    Changed(Vec<ChangedPath>),
}

/// What part of a resource changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Kind,
    Properties,
    Metadata,
    CreationPolicy,
    UpdatePolicy,
    DeletionPolicy,
    UpdateReplacePolicy,
}

/// Where in a part, from the outside in; empty for the whole part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangedPath {
    pub part: Part,
    pub path: Vec<String>,
}

impl Part {
    /// The name that change sets use.
    pub fn name(self) -> &'static str {
        match self {
            Part::Kind => "Type",
            Part::Properties => "Properties",
            Part::Metadata => "Metadata",
            Part::CreationPolicy => "CreationPolicy",
            Part::UpdatePolicy => "UpdatePolicy",
            Part::DeletionPolicy => "DeletionPolicy",
            Part::UpdateReplacePolicy => "UpdateReplacePolicy",
        }
    }
}

impl ChangedPath {
    /// The property of the resource that changed, when one did.
    pub fn property(&self) -> Option<&str> {
        self.path.first().filter(|_| self.part == Part::Properties).map(String::as_str)
    }

    /// `/Properties/A/0/B`.
    pub fn pointer(&self) -> String {
        self.path.iter().fold(format!("/{}", self.part.name()), |pointer, step| format!("{pointer}/{step}"))
    }
}

/// The differences from `old` to `new`, by logical id.
pub fn differences(
    old: &BTreeMap<String, EvaluatedResource>,
    new: &BTreeMap<String, EvaluatedResource>,
) -> Vec<Difference> {
    let ids: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |id: &String| match (old.get(id), new.get(id)) {
        (None, _) => Some(Change::Added),
        (_, None) => Some(Change::Removed),
        (Some(old), Some(new)) => Some(changed_paths(old, new)).filter(|paths| !paths.is_empty()).map(Change::Changed),
    };
    let difference = |id: &String| Some(Difference { logical_id: id.clone(), change: change(id)? });
    ids.into_iter().filter_map(difference).collect()
}

/// What changed from one state of a resource to another.
pub fn changed_paths(old: &EvaluatedResource, new: &EvaluatedResource) -> Vec<ChangedPath> {
    let mut paths = Vec::new();
    let mut whole = |part, changed| {
        if changed {
            paths.push(ChangedPath { part, path: Vec::new() });
        }
    };
    whole(Part::Kind, old.kind != new.kind);
    whole(Part::DeletionPolicy, old.deletion_policy != new.deletion_policy);
    whole(Part::UpdateReplacePolicy, old.update_replace_policy != new.update_replace_policy);
    for (part, old, new) in [
        (Part::Metadata, &old.metadata, &new.metadata),
        (Part::CreationPolicy, &old.creation_policy, &new.creation_policy),
        (Part::UpdatePolicy, &old.update_policy, &new.update_policy),
    ] {
        compare(old.as_ref(), new.as_ref(), part, &mut Vec::new(), &mut paths);
    }
    let keys: BTreeSet<&String> = old.properties.keys().chain(new.properties.keys()).collect();
    for key in keys {
        let (old, new) = (old.properties.get(key), new.properties.get(key));
        compare(old, new, Part::Properties, &mut vec![key.clone()], &mut paths);
    }
    paths.sort();
    paths
}

fn compare(old: Option<&Value>, new: Option<&Value>, part: Part, path: &mut Vec<String>, found: &mut Vec<ChangedPath>) {
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                path.push(key.clone());
                compare(old.get(key), new.get(key), part, path, found);
                path.pop();
            }
        }
        // Lists of equal length are compared item by item; with another length the list itself is what changed.
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                path.push(index.to_string());
                compare(Some(old), Some(new), part, path, found);
                path.pop();
            }
        }
        (old, new) if old == new || old.and_then(text).is_some_and(|old| new.and_then(text) == Some(old)) => {}
        _ => found.push(ChangedPath { part, path: path.clone() }),
    }
}
