//! The transform `AWS::LanguageExtensions`, as far as it changes the tree: `Fn::ForEach` loops are written out.
//!
//! Invariant: the returned tree has no loop and obeys the parser's limits. The functions that the transform adds
//! (`Fn::Length`, `Fn::ToJsonString`) are functions like others. Not here: other macros, which are refused by name.

use serde_json::{Map, Value};
use standfast_core::{Error, Result};

use super::model::{LANGUAGE_EXTENSIONS, transforms};
use super::parse::{DEPTH_MAX, NODE_WEIGHT, WEIGHT_MAX};
use super::{invalid, text};

const LOOP: &str = "Fn::ForEach::";
/// The longest item of a collection; it mostly becomes part of a name, which is no longer either.
const ITEM_BYTES_MAX: usize = 255;

/// Writes out the loops of a tree that asks for the transform; another tree comes back as it is. `list` gives the
/// items of a parameter by its name.
pub fn expand(tree: Value, list: &dyn Fn(&str) -> Option<Vec<String>>) -> Result<Value> {
    let asked = match &tree {
        Value::Object(root) => transforms(root)?.iter().any(|name| name == LANGUAGE_EXTENSIONS),
        _ => false,
    };
    if asked { Expansion { list, weight: 0 }.node(tree, 0) } else { Ok(tree) }
}

struct Expansion<'a> {
    list: &'a dyn Fn(&str) -> Option<Vec<String>>,
    weight: usize,
}

impl Expansion<'_> {
    fn node(&mut self, node: Value, depth: usize) -> Result<Value> {
        self.weight += NODE_WEIGHT + node.as_str().map_or(0, str::len);
        if self.weight > WEIGHT_MAX || depth > DEPTH_MAX {
            return Err(error("the template's loops expand to too much"));
        }
        match node {
            Value::Array(items) => items.into_iter().map(|item| self.node(item, depth + 1)).collect(),
            Value::Object(members) => {
                let mut done = Map::new();
                for (key, member) in members {
                    match key.strip_prefix(LOOP) {
                        Some(name) => self.write_out(name, member, &mut done, depth + 1)?,
                        None => insert(&mut done, key, self.node(member, depth + 1)?)?,
                    }
                }
                Ok(Value::Object(done))
            }
            scalar => Ok(scalar),
        }
    }

    /// Writes the members that a loop gives into the object that holds the loop.
    fn write_out(&mut self, name: &str, definition: Value, into: &mut Map<String, Value>, depth: usize) -> Result<()> {
        let form = || {
            error(&format!(
                "{LOOP}{name} requires a list of three: an identifier, a collection and an object with one member"
            ))
        };
        let Value::Array(parts) = definition else { return Err(form()) };
        let Ok([Value::String(identifier), collection, Value::Object(body)]) = <[Value; 3]>::try_from(parts) else {
            return Err(form());
        };
        if identifier.is_empty() || !identifier.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(error(&format!("the identifier of {LOOP}{name} must be alphanumeric")));
        }
        for item in self.items(name, &collection)? {
            let substitution = Substitution { identifier: &identifier, item: &item };
            let body = Value::Object(body.clone());
            let Value::Object(written) = self.node(substitution.apply(body), depth)? else { return Err(form()) };
            written.into_iter().try_for_each(|(key, member)| insert(into, key, member))?;
        }
        Ok(())
    }

    fn items(&self, name: &str, collection: &Value) -> Result<Vec<String>> {
        let of_ref = |node: &Value| (self.list)(node.get("Ref")?.as_str()?);
        let items = match collection {
            Value::Array(items) => {
                let item = |item: &Value| text(item).map(|text| vec![text]).or_else(|| of_ref(item));
                items.iter().map(item).collect::<Option<Vec<_>>>().map(|lists| lists.concat())
            }
            node => of_ref(node),
        };
        let items = items.filter(|items| items.iter().all(|item| item.len() <= ITEM_BYTES_MAX));
        items.ok_or_else(|| {
            error(&format!(
                "the collection of {LOOP}{name} must be a list of short strings or a Ref to a list parameter"
            ))
        })
    }
}

/// Two members of an object must not end up with one name.
fn insert(into: &mut Map<String, Value>, key: String, member: Value) -> Result<()> {
    if into.contains_key(&key) {
        return Err(error(&format!("a loop gives the key {key} twice")));
    }
    into.insert(key, member);
    Ok(())
}

/// A loop's identifier with the item that takes its place.
struct Substitution<'a> {
    identifier: &'a str,
    item: &'a str,
}

impl Substitution<'_> {
    fn apply(&self, node: Value) -> Value {
        match node {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.apply(item)).collect(),
            Value::Object(members) if is_ref_to(&members, self.identifier) => self.item.into(),
            Value::Object(members) => {
                members.into_iter().map(|(key, member)| (self.text(&key), self.apply(member))).collect()
            }
            scalar => scalar,
        }
    }

    /// `${Name}` is the item, `&{Name}` the item without what a logical id cannot have.
    fn text(&self, text: &str) -> String {
        if !text.contains(self.identifier) {
            return text.to_owned();
        }
        let plain: String = self.item.chars().filter(char::is_ascii_alphanumeric).collect();
        let text = text.replace(&format!("${{{}}}", self.identifier), self.item);
        text.replace(&format!("&{{{}}}", self.identifier), &plain)
    }
}

fn is_ref_to(members: &Map<String, Value>, identifier: &str) -> bool {
    members.len() == 1 && members.get("Ref").and_then(Value::as_str) == Some(identifier)
}

fn error(what: &str) -> Error {
    invalid(format!("Template error: {what}"))
}
