//! The resource types: for each one entry, in its service's file, of what it takes and how it is made.
//!
//! Invariant: a type's functions call the same operations as every client, and each may run twice: what exists already
//! is found again, what is gone already is gone. Not here: when they run, and what is recorded.

mod application_autoscaling;
mod autoscaling;
mod autoscaling_policies;
mod cloudformation;
mod cloudwatch;
mod ec2_compute;
mod ec2_connections;
mod ec2_interfaces;
mod ec2_network;
mod ec2_security;
mod ec2_storage;
mod elbv2;
mod fis;
mod iam;
pub mod job;
mod messaging;
mod rolling;
mod ssm;
pub mod values;

use serde_json::{Map, Value};
use standfast_core::{BoxFuture, Result};

use self::job::Job;
use super::errors;
use super::template::validate::Types;

/// A function of a type.
pub type Act<T> = for<'a> fn(&'a Job) -> BoxFuture<'a, Result<T>>;

/// What a physical thing is like now.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// As it should be, with the attributes for `Fn::GetAtt`.
    Ready(Map<String, Value>),
    Pending,
    /// It will never be as it should be, and why.
    Failed(String),
}

/// Whether a stack with a resource of the type must be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iam {
    No,
    Plain,
    /// More so when this property gives it a name.
    Named(&'static str),
}

pub struct ResourceType {
    pub name: &'static str,
    pub required: &'static [&'static str],
    /// Properties whose change takes a new resource.
    pub replaced: &'static [&'static str],
    /// Properties that are changed in place.
    pub updated: &'static [&'static str],
    pub attributes: &'static [&'static str],
    /// The attributes that a change in place may change.
    pub volatile: &'static [&'static str],
    pub iam: Iam,
    /// Makes it and gives its physical id. What can be done afterwards is left to `equip`.
    pub create: Act<String>,
    /// Gives what was made, and has its physical id now, what its creation could not. May run more than once.
    pub equip: Act<()>,
    /// The physical id of what an earlier attempt to create it made.
    pub find: Act<Option<String>>,
    pub read: Act<State>,
    pub update: Act<()>,
    /// Deletes it; true when it is gone, false when it takes time: then it is asked again.
    pub delete: Act<bool>,
}

/// What most types leave as it is.
pub const BASE: ResourceType = ResourceType {
    name: "",
    required: &[],
    replaced: &[],
    updated: &[],
    attributes: &[],
    volatile: &[],
    iam: Iam::No,
    create: |job| {
        Box::pin(async { Err(standfast_core::Error::internal(format!("{} cannot be made", job.logical_id))) })
    },
    equip: |_| Box::pin(async { Ok(()) }),
    find: |_| Box::pin(async { Ok(None) }),
    read: |_| Box::pin(async { Ok(State::Ready(Map::new())) }),
    update: |_| Box::pin(async { Ok(()) }),
    delete: |_| Box::pin(async { Ok(true) }),
};

/// Every file's types.
static ALL: &[&[ResourceType]] = &[
    application_autoscaling::TYPES,
    autoscaling::TYPES,
    autoscaling_policies::TYPES,
    cloudformation::TYPES,
    cloudwatch::TYPES,
    ec2_compute::TYPES,
    ec2_connections::TYPES,
    ec2_interfaces::TYPES,
    ec2_network::TYPES,
    ec2_security::TYPES,
    ec2_storage::TYPES,
    elbv2::TYPES,
    fis::TYPES,
    iam::TYPES,
    messaging::TYPES,
    ssm::TYPES,
];

pub fn all() -> impl Iterator<Item = &'static ResourceType> {
    ALL.iter().copied().flatten()
}

/// The type of this name.
pub fn named(name: &str) -> Option<&'static ResourceType> {
    all().find(|kind| kind.name == name)
}

/// What the template engine asks about types.
pub const REGISTRY: Types<'static> = Types {
    exists: &|name| named(name).is_some(),
    has_attribute: &|name, attribute| named(name).is_some_and(|kind| kind.attributes.contains(&attribute)),
};

impl ResourceType {
    pub fn has(&self, property: &str) -> bool {
        self.replaced.contains(&property) || self.updated.contains(&property)
    }

    /// The service's name in messages: `Ec2`.
    pub fn service(&self) -> &str {
        match self.name.split("::").nth(1) {
            Some("EC2") => "Ec2",
            Some("SNS") => "Sns",
            Some("SSM") => "Ssm",
            Some("IAM") => "Iam",
            other => other.unwrap_or_default(),
        }
    }

    /// Refuses properties that there are not, and the absence of those that there must be.
    pub fn check(&self, properties: &Map<String, Value>) -> Result<()> {
        let unknown = properties.keys().find(|property| !self.has(property));
        if let Some(unknown) = unknown {
            return Err(errors::property(format!("Encountered unsupported property {unknown}")));
        }
        match self.required.iter().find(|property| !properties.contains_key(**property)) {
            Some(missing) => Err(errors::property(format!("Property {missing} cannot be empty."))),
            None => Ok(()),
        }
    }
}

/// The members of an answer that are attributes under their own names.
fn attributes(answer: &Value, names: &[&str]) -> Map<String, Value> {
    let found = names.iter().filter_map(|name| Some(((*name).to_owned(), answer.get(*name)?.clone())));
    found.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_type_is_listed_once_and_is_of_one_piece() {
        let mut names = BTreeSet::new();
        for kind in all() {
            assert!(names.insert(kind.name), "{} is listed twice", kind.name);
            for property in kind.required {
                assert!(kind.has(property), "{} has no property {property}", kind.name);
            }
            assert!(!matches!(kind.iam, Iam::Named(property) if !kind.has(property)), "{}", kind.name);
            for property in kind.replaced {
                assert!(!kind.updated.contains(property), "{}.{property} is in both lists", kind.name);
            }
            for attribute in kind.volatile {
                assert!(kind.attributes.contains(attribute), "{} has no attribute {attribute}", kind.name);
            }
        }
    }

    #[test]
    fn unknown_and_missing_properties_are_named() {
        let vpc = named("AWS::EC2::Subnet").expect("listed");
        let properties = |json: Value| json.as_object().expect("an object").clone();
        let refusal = |json| vpc.check(&properties(json)).expect_err("refused").message;
        assert_eq!(refusal(serde_json::json!({"VpcId": "v", "Foo": 1})), "Encountered unsupported property Foo");
        assert_eq!(refusal(serde_json::json!({"CidrBlock": "c"})), "Property VpcId cannot be empty.");
    }
}
