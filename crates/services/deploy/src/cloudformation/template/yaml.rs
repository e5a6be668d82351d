//! YAML events to a tree.
//!
//! Scalars are read by YAML 1.1 as CloudFormation does: `yes`, `on` and their like are booleans, dates are text. A
//! plain number becomes a number only when the number prints as the same text, so `000000000000` and `1.10` stay what
//! the author wrote. A tag `!Name` is the object `{"Fn::Name": node}`, known or not: unknown functions are named by
//! validation, in one place for both syntaxes.
//!
//! Invariant: no recursion, and what aliases expand to is paid from one budget, so no input can exhaust the stack or
//! the memory.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};
use standfast_core::{Error, Result};

use super::invalid;
use super::parse::{DEPTH_MAX, NODE_WEIGHT, WEIGHT_MAX};

/// Reads one YAML document; an empty one is null.
pub fn read(text: &str) -> Result<Value> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| malformed(error.marker(), ""))?;
        builder.take(event, span)?;
    }
    Ok(builder.root.unwrap_or(Value::Null))
}

fn malformed(at: &Marker, why: &str) -> Error {
    let gap = if why.is_empty() { "" } else { " " };
    invalid(format!(
        "Template format error: YAML not well-formed. (line {}, column {}){gap}{why}",
        at.line(),
        at.col() + 1
    ))
}

/// A finished node with what it costs to have it.
#[derive(Clone)]
struct Node {
    value: Value,
    weight: usize,
    depth: usize,
}

impl Node {
    fn scalar(value: Value) -> Self {
        let text = value.as_str().map_or(0, str::len);
        Self { value, weight: NODE_WEIGHT + text, depth: 0 }
    }

    /// The node as the only member of an object.
    fn under(self, key: &str) -> Self {
        let weight = self.weight + NODE_WEIGHT + key.len();
        let depth = self.depth + 1;
        Self { value: Value::Object(Map::from_iter([(key.to_owned(), self.value)])), weight, depth }
    }
}

/// A list or an object whose end has not been seen.
struct Open {
    container: Container,
    function: Option<String>,
    anchor: usize,
    weight: usize,
    depth: usize,
}

enum Container {
    List(Vec<Value>),
    Object { members: Map<String, Value>, key: Option<String> },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    /// The weight of everything that was built or copied.
    spent: usize,
    root: Option<Value>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<()> {
        let at = &span.start;
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if self.wants_key() {
                    return self.key(&text, style, tag.as_deref(), anchor, at);
                }
                let node = scalar(&text, style, tag.as_deref(), at)?;
                self.finish(node, anchor, at)
            }
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned();
                let node = node.ok_or_else(|| malformed(at, "An alias stands inside its own anchor."))?;
                self.pay(node.weight, at)?;
                match (self.wants_key(), &node.value) {
                    (true, Value::String(text)) => self.key(&text.clone(), ScalarStyle::DoubleQuoted, None, 0, at),
                    _ => self.finish(node, 0, at),
                }
            }
            Event::SequenceStart(anchor, tag) => self.start(Container::List(Vec::new()), tag, anchor, at),
            Event::MappingStart(anchor, tag) => {
                self.start(Container::Object { members: Map::new(), key: None }, tag, anchor, at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(at),
            Event::DocumentStart(_) if self.root.is_some() => Err(malformed(at, "A template is a single document.")),
            Event::DocumentStart(_) | Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => {
                Ok(())
            }
        }
    }

    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { container: Container::Object { key: None, .. }, .. }))
    }

    fn start(&mut self, container: Container, tag: Option<Cow<'_, Tag>>, anchor: usize, at: &Marker) -> Result<()> {
        if self.wants_key() {
            return Err(self.key_is_no_text("a map"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(malformed(at, &format!("Templates may nest {DEPTH_MAX} levels at most.")));
        }
        let function = match tag.as_deref() {
            None => None,
            Some(tag) if tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "map" | "seq") => None,
            Some(tag) => Some(function(tag, at)?),
        };
        self.open.push(Open { container, function, anchor, weight: NODE_WEIGHT, depth: 0 });
        Ok(())
    }

    fn end(&mut self, at: &Marker) -> Result<()> {
        let Some(open) = self.open.pop() else { return Err(malformed(at, "")) };
        let value = match open.container {
            Container::List(items) => Value::Array(items),
            Container::Object { members, .. } => Value::Object(members),
        };
        let node = Node { value, weight: open.weight, depth: open.depth + 1 };
        let node = match &open.function {
            Some(function) => node.under(function),
            None => node,
        };
        self.finish(node, open.anchor, at)
    }

    fn key(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, anchor: usize, at: &Marker) -> Result<()> {
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema()) {
            return Err(self.key_is_no_text("a map"));
        }
        if style == ScalarStyle::Plain {
            if text == "<<" {
                // CloudFormation does not merge either; said here, because a key named `<<` would be found nowhere.
                return Err(malformed(at, "Hash merges (<<) are not supported."));
            }
            if plain_number(text).is_some() {
                return Err(self.key_is_no_text(&format!("numeric [{text}]")));
            }
        }
        if anchor != 0 {
            self.remember(anchor, &Node::scalar(text.into()), at)?;
        }
        if let Some(Open { container: Container::Object { members, key }, weight, .. }) = self.open.last_mut() {
            if members.contains_key(text) {
                return Err(malformed(at, &format!("Duplicate key '{text}'.")));
            }
            *key = Some(text.to_owned());
            *weight += text.len();
        }
        Ok(())
    }

    fn key_is_no_text(&self, got: &str) -> Error {
        let path: Vec<&str> = self.open.iter().filter_map(Open::current_key).collect();
        let path = path.join("/");
        invalid(format!("Template format error: [/{path}] map keys must be strings; received {got} instead"))
    }

    /// Gives a node to whatever encloses it.
    fn finish(&mut self, node: Node, anchor: usize, at: &Marker) -> Result<()> {
        if self.wants_key() {
            return Err(self.key_is_no_text("a map"));
        }
        if self.open.len() + node.depth > DEPTH_MAX {
            return Err(malformed(at, &format!("Templates may nest {DEPTH_MAX} levels at most.")));
        }
        if anchor != 0 {
            self.remember(anchor, &node, at)?;
        }
        self.pay(if node.depth == 0 { node.weight } else { NODE_WEIGHT }, at)?;
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node.value);
            return Ok(());
        };
        open.weight += node.weight;
        open.depth = open.depth.max(node.depth);
        match &mut open.container {
            Container::List(items) => items.push(node.value),
            Container::Object { members, key } => {
                // `wants_key` was asked above: an object that waits for a value has its key.
                let key = key.take().expect("an object takes a key before its value");
                members.insert(key, node.value);
            }
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, node: &Node, at: &Marker) -> Result<()> {
        self.pay(node.weight, at)?;
        self.anchors.insert(anchor, node.clone());
        Ok(())
    }

    fn pay(&mut self, weight: usize, at: &Marker) -> Result<()> {
        self.spent = self.spent.saturating_add(weight);
        if self.spent > WEIGHT_MAX {
            return Err(malformed(at, "The template's aliases expand to too much."));
        }
        Ok(())
    }
}

impl Open {
    fn current_key(&self) -> Option<&str> {
        match &self.container {
            Container::Object { key, .. } => key.as_deref(),
            Container::List(_) => None,
        }
    }
}

/// The long form of a short form's tag.
fn function(tag: &Tag, at: &Marker) -> Result<String> {
    match tag.suffix.as_str() {
        _ if tag.handle != "!" => {
            Err(malformed(at, &format!("The tag {}{} is not supported.", tag.handle, tag.suffix)))
        }
        name @ ("Ref" | "Condition") => Ok(name.to_owned()),
        name => Ok(format!("Fn::{name}")),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: &Marker) -> Result<Node> {
    let Some(tag) = tag else {
        let value = if style == ScalarStyle::Plain { plain(text) } else { text.into() };
        return Ok(Node::scalar(value));
    };
    if tag.is_yaml_core_schema() {
        return match tag.suffix.as_str() {
            "str" => Ok(Node::scalar(text.into())),
            "bool" | "int" | "float" | "null" => Ok(Node::scalar(plain(text))),
            _ => Err(malformed(at, &format!("The tag !!{} is not supported.", tag.suffix))),
        };
    }
    // The non-specific tag `!` alone means text.
    if tag.suffix.is_empty() || (tag.handle.is_empty() && tag.suffix == "!") {
        return Ok(Node::scalar(text.into()));
    }
    let name = function(tag, at)?;
    if name == "Fn::GetAtt" {
        // The list form, so that both ways of writing it are one tree. Text without a dot is left for validation.
        if let Some((resource, attribute)) = text.split_once('.') {
            let list = Value::Array(vec![resource.into(), attribute.into()]);
            return Ok(Node { value: list, weight: 3 * NODE_WEIGHT + text.len(), depth: 1 }.under(&name));
        }
    }
    Ok(Node::scalar(text.into()).under(&name))
}

/// A plain scalar: YAML 1.1's booleans and null, numbers that print as they are written, else text.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => plain_number(text).map_or_else(|| text.into(), Value::Number),
    }
}

fn plain_number(text: &str) -> Option<Number> {
    if !text.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        return None;
    }
    let number = match (text.parse::<u64>(), text.parse::<i64>()) {
        (Ok(number), _) => Number::from(number),
        (_, Ok(number)) => Number::from(number),
        _ => Number::from_f64(text.parse().ok()?)?,
    };
    (number.to_string() == text).then_some(number)
}
