//! What a resource type's functions are given: the resource, its stack, and the means to call operations.
//!
//! Invariant: a job is only read; what a function did is what it returns.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use standfast_core::{Error, Result};
use standfast_kernel::Cx;
use standfast_wire::{Decode, Operation, Value as Wire, codec, convert};

use super::values;
use crate::cloudformation::errors;
use crate::cloudformation::model::Spec;
use crate::cloudformation::template::text;

/// How many random characters end a generated name.
pub const SUFFIX_CHARS: usize = 12;

/// The keys of the tags that say which stack a resource belongs to.
pub const STACK_ID_TAG: &str = "aws:cloudformation:stack-id";
pub const STACK_NAME_TAG: &str = "aws:cloudformation:stack-name";
pub const LOGICAL_ID_TAG: &str = "aws:cloudformation:logical-id";

pub struct Job {
    /// In the stack's account and region.
    pub cx: Cx,
    pub stack_arn: String,
    pub stack_name: String,
    pub logical_id: String,
    /// What is wanted.
    pub spec: Spec,
    /// What was wanted before, in an update.
    pub old: Option<Spec>,
    /// Absent until it is made, unless an earlier attempt made it.
    pub physical_id: Option<String>,
    /// Physical ids of the same logical id that are not the one to be made.
    pub others: Vec<String>,
    /// An earlier attempt may have made it.
    pub again: bool,
}

impl Job {
    pub fn properties(&self) -> &Map<String, Value> {
        &self.spec.evaluated.properties
    }

    pub fn get(&self, property: &str) -> Option<&Value> {
        self.properties().get(property)
    }

    /// A property's text; numbers and booleans have one too.
    pub fn text(&self, property: &str) -> Option<String> {
        self.get(property).and_then(text)
    }

    /// The text of a property that the type requires.
    pub fn need(&self, property: &str) -> Result<String> {
        self.text(property).ok_or_else(|| errors::property(format!("Property {property} cannot be empty.")))
    }

    /// The physical id. Functions other than `create` are called when there is one.
    pub fn id(&self) -> &str {
        self.physical_id.as_deref().unwrap_or_default()
    }

    /// The properties without some that are not the input's.
    pub fn without(&self, left_out: &[&str]) -> Map<String, Value> {
        let kept = self.properties().iter().filter(|(name, _)| !left_out.contains(&name.as_str()));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The properties of these names.
    pub fn only(&self, taken: &[&str]) -> Map<String, Value> {
        let taken = self.properties().iter().filter(|(name, _)| taken.contains(&name.as_str()));
        taken.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Whether an update changes a property.
    pub fn changes(&self, property: &str) -> bool {
        let old = self.old.as_ref().and_then(|old| old.evaluated.properties.get(property));
        let same_text = || old.and_then(text).is_some_and(|old| self.text(property) == Some(old));
        old != self.get(property) && !same_text()
    }

    /// The name of a thing: the property's, or a generated one.
    pub fn name(&self, property: &str, length_max: usize) -> String {
        self.text(property)
            .unwrap_or_else(|| generated_name(&self.stack_name, &self.logical_id, &self.spec.suffix, length_max))
    }

    /// All tags of the resource: of CloudFormation, of the stack and of itself.
    pub fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = tags_of(&self.spec);
        tags.insert(STACK_ID_TAG.into(), self.stack_arn.clone());
        tags.insert(STACK_NAME_TAG.into(), self.stack_name.clone());
        tags.insert(LOGICAL_ID_TAG.into(), self.logical_id.clone());
        tags
    }

    /// The tags as a list of `Key` and `Value`.
    pub fn tag_list(&self) -> Value {
        as_list(self.tags())
    }

    /// What an update does to tags: those to set, and the keys to take away.
    pub fn tag_changes(&self) -> (BTreeMap<String, String>, Vec<String>) {
        let new = tags_of(&self.spec);
        let old = self.old.as_ref().map(tags_of).unwrap_or_default();
        let gone = old.keys().filter(|key| !new.contains_key(*key)).cloned().collect();
        let set = new.into_iter().filter(|(key, value)| old.get(key) != Some(value)).collect();
        (set, gone)
    }

    /// Calls an operation: JSON by the model's names in, and out.
    pub async fn ask<O: Operation>(&self, operation: O, input: Value) -> Result<Value> {
        let Value::Object(members) = input else {
            return Err(Error::internal(format!("the input of {} is no object", O::SCHEMA.name)));
        };
        let input = values::structure(&members, <O::Input as Decode>::SCHEMA)?;
        codec::validate(O::SERVICE, O::SCHEMA, &input)?;
        let output = self.cx.call(operation, convert::decode(input)).await?;
        Ok(Wire::Struct(convert::encode(output)).to_json())
    }

    /// Calls an operation whose refusal, when what it names is not there, is fine. Says whether it was there.
    pub async fn forget<O: Operation>(&self, operation: O, input: Value) -> Result<bool> {
        match self.ask(operation, input).await {
            Ok(_) => Ok(true),
            Err(error) if errors::is_not_found(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks for one thing of a list in the answer; `None` when there is none.
    pub async fn look<O: Operation>(&self, operation: O, input: Value, list: &str) -> Result<Option<Value>> {
        match self.ask(operation, input).await {
            Ok(mut answer) => Ok(answer[list].as_array_mut().and_then(|items| items.pop())),
            Err(error) if errors::is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The id of what an earlier attempt made, by the tags it was given. For EC2, which filters by tags.
    pub async fn tagged<O: Operation>(&self, operation: O, list: &str, id: &str) -> Result<Option<String>> {
        let filter = |key: &str, value: &str| json!({"Name": format!("tag:{key}"), "Values": [value]});
        let filters = [filter(STACK_ID_TAG, &self.stack_arn), filter(LOGICAL_ID_TAG, &self.logical_id)];
        let answer = self.ask(operation, json!({"Filters": filters})).await?;
        let ids = answer[list].as_array().into_iter().flatten().filter_map(|item| item[id].as_str());
        let mut ids = ids.filter(|id| !self.others.iter().any(|other| other == id));
        Ok(ids.next().map(str::to_owned))
    }
}

/// The tags that the stack and the resource's own properties ask for.
fn tags_of(spec: &Spec) -> BTreeMap<String, String> {
    let mut tags = spec.stack_tags.clone();
    match spec.evaluated.properties.get("Tags") {
        Some(Value::Array(list)) => {
            let pair = |tag: &Value| Some((text(tag.get("Key")?)?, text(tag.get("Value")?)?));
            tags.extend(list.iter().filter_map(pair));
        }
        Some(Value::Object(map)) => {
            tags.extend(map.iter().filter_map(|(key, value)| Some((key.clone(), text(value)?))));
        }
        _ => (),
    }
    tags
}

/// Tags as a list of `Key` and `Value`.
pub fn as_list(tags: BTreeMap<String, String>) -> Value {
    tags.into_iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

/// The text of a member that an answer must have.
pub fn said(answer: &Value, pointer: &str) -> Result<String> {
    let found = answer.pointer(pointer).and_then(text);
    found.ok_or_else(|| Error::internal(format!("an answer has no {pointer}: {answer}")))
}

/// STACK-LOGICAL-SUFFIX, the first two cut to what the length allows.
fn generated_name(stack: &str, logical: &str, suffix: &str, length_max: usize) -> String {
    let room = length_max.saturating_sub(suffix.len() + 2);
    let logical_length = logical.len().min((room / 2).max(room.saturating_sub(stack.len())));
    let stack_length = stack.len().min(room - logical_length);
    let stack = stack[..stack_length].trim_end_matches('-');
    format!("{stack}-{}-{suffix}", &logical[..logical_length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_keep_within_their_length() {
        let suffix = "ABCDEFGHIJKL";
        assert_eq!(generated_name("web", "Group", suffix, 255), "web-Group-ABCDEFGHIJKL");
        assert_eq!(generated_name("what-is-the-time", "LoadBalancer", suffix, 32), "what-is-t-LoadBalan-ABCDEFGHIJKL");
        assert_eq!(generated_name("web", "LoadBalancerOfTheFront", suffix, 32), "web-LoadBalancerOfT-ABCDEFGHIJKL");
        assert_eq!(generated_name("what-is-the-time", "Lb", suffix, 32), "what-is-the-time-Lb-ABCDEFGHIJKL");
        for length in [15, 20, 31, 32, 64] {
            assert!(generated_name(&"s".repeat(128), &"L".repeat(255), suffix, length).len() <= length);
        }
    }
}
