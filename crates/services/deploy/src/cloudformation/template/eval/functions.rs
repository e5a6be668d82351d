//! What each intrinsic function gives.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use standfast_core::{Error, Result};

use super::{Evaluation, External};
use crate::cloudformation::template::call::{Attribute, Call, Reference};
use crate::cloudformation::template::dynamic::TEXT_BYTES_MAX;
use crate::cloudformation::template::sub::{self, Piece};
use crate::cloudformation::template::{cidr, invalid, text, validate};

/// The host bits of a block when `Fn::Cidr` names none.
const CIDR_BITS: &str = "8";

impl Evaluation<'_> {
    /// What a call gives; `None` for `AWS::NoValue`.
    pub(super) fn call(&self, call: &Call<'_>) -> Result<Option<Value>> {
        let value = match *call {
            Call::Ref(name) => return self.name(name),
            Call::If { condition, then, otherwise } => {
                let holds = self.condition(condition).ok_or_else(|| {
                    invalid(format!("Template error: unresolved condition dependency {condition} in Fn::If"))
                })?;
                return self.value(if holds { then } else { otherwise });
            }
            Call::Select { index, list } => return self.select(index, list),
            Call::FindInMap { map, top, second, default } => return self.find_in_map(map, top, second, default),
            Call::GetAtt { resource, attribute } => self.attribute(resource, attribute)?,
            Call::Sub { text, variables } => self.sub(text, variables)?.into(),
            Call::Join { delimiter, list } => self.join(delimiter, list)?.into(),
            Call::Split { delimiter, source } => self.split(delimiter, source)?,
            Call::Base64(node) => STANDARD.encode(self.settle_text(&self.text(node, call.name())?)?).into(),
            Call::GetAzs(region) => self.zones(&self.text(region, call.name())?)?,
            Call::Cidr { block, count, bits } => self.cidr(block, count, bits)?,
            Call::ImportValue(name) => {
                self.resolver.external(&External::Import { name: self.text(name, call.name())? })?
            }
            Call::Length(list) => self.list(list, call.name())?.len().into(),
            Call::ToJsonString(node) => self.value(node)?.unwrap_or_default().to_string().into(),
            Call::And(_) | Call::Or(_) | Call::Not(_) | Call::Equals(..) | Call::Condition(_) => {
                return Err(error(&format!("{} is only allowed in the Conditions block", call.name())));
            }
        };
        Ok(Some(value))
    }

    /// What a name stands for: pseudo parameter, parameter or resource.
    fn name(&self, name: &str) -> Result<Option<Value>> {
        let pseudo = self.pseudo;
        Ok(Some(match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::AccountId" => pseudo.account_id.as_str().into(),
            "AWS::NotificationARNs" => pseudo.notification_arns.clone().into(),
            "AWS::Partition" => pseudo.partition.as_str().into(),
            "AWS::Region" => pseudo.region.as_str().into(),
            "AWS::StackId" => pseudo.stack_id.as_str().into(),
            "AWS::StackName" => pseudo.stack_name.as_str().into(),
            "AWS::URLSuffix" => pseudo.url_suffix.as_str().into(),
            _ => match self.parameters.get(name) {
                Some(value) => value.clone(),
                None => {
                    self.must_be_active(name)?;
                    self.resolver.reference(name)?
                }
            },
        }))
    }

    fn must_be_active(&self, resource: &str) -> Result<()> {
        if self.is_active(resource) { Ok(()) } else { Err(validate::unresolved([resource], "Resources")) }
    }

    fn attribute(&self, resource: &str, attribute: Attribute<'_>) -> Result<Value> {
        self.must_be_active(resource)?;
        match attribute {
            Attribute::Name(name) => self.resolver.attribute(resource, name),
            Attribute::Computed(node) => self.resolver.attribute(resource, &self.text(node, "Fn::GetAtt")?),
        }
    }

    fn sub(&self, template: &str, variables: Option<&Map<String, Value>>) -> Result<String> {
        // A variable is computed once however often it stands there, else nested calls cost exponential time.
        let mut known: BTreeMap<&str, String> = BTreeMap::new();
        let mut done = String::new();
        for piece in sub::pieces(template)? {
            match piece {
                Piece::Text(plain) => done.push_str(plain),
                Piece::Literal(name) => ["${", name, "}"].into_iter().for_each(|part| done.push_str(part)),
                Piece::Variable(name) => match known.get(name) {
                    Some(value) => done.push_str(value),
                    None => {
                        let value = self.variable(name, variables)?;
                        done.push_str(&value);
                        known.insert(name, value);
                    }
                },
            }
            check_length("Fn::Sub", done.len())?;
        }
        Ok(done)
    }

    fn join(&self, delimiter: &str, list: &Value) -> Result<String> {
        let texts = self.texts(list, "Fn::Join")?;
        let delimiters = delimiter.len().saturating_mul(texts.len());
        check_length("Fn::Join", delimiters.saturating_add(texts.iter().map(String::len).sum()))?;
        Ok(texts.join(delimiter))
    }

    fn variable(&self, name: &str, variables: Option<&Map<String, Value>>) -> Result<String> {
        let value = match variables.and_then(|variables| variables.get(name)) {
            Some(node) => self.value(node)?,
            None => match Reference::of_variable(name) {
                Reference::Attribute { resource, attribute: Some(attribute), .. } => {
                    Some(self.attribute(resource, Attribute::Name(attribute))?)
                }
                _ => self.name(name)?,
            },
        };
        let found = value.as_ref().and_then(text);
        found.ok_or_else(|| error(&format!("variable {name} in Fn::Sub expression does not resolve to a string")))
    }

    fn select(&self, index: &Value, list: &Value) -> Result<Option<Value>> {
        let index = self.text(index, "Fn::Select")?;
        let position: usize =
            index.parse().map_err(|_| error(&format!("Fn::Select requires an integer index, got '{index}'")))?;
        let mut items = self.list(list, "Fn::Select")?;
        if position >= items.len() {
            return Err(error(&format!("Fn::Select cannot select nonexistent value at index {position}")));
        }
        Ok(Some(items.swap_remove(position)))
    }

    fn split(&self, delimiter: &str, source: &Value) -> Result<Value> {
        let source = self.text(source, "Fn::Split")?;
        if delimiter.is_empty() {
            return Err(error("every Fn::Split object requires a delimiter that is not empty"));
        }
        Ok(source.split(delimiter).map(Value::from).collect())
    }

    fn find_in_map(&self, map: &Value, top: &Value, second: &Value, default: Option<&Value>) -> Result<Option<Value>> {
        let part = |node| self.text(node, "Fn::FindInMap");
        let (map, top, second) = (part(map)?, part(top)?, part(second)?);
        let rows = self.template.mappings.get(&map);
        match (rows.and_then(|rows| rows.get(&top)?.get(&second)), default) {
            (Some(value), _) => Ok(Some(value.clone())),
            (None, Some(default)) => self.value(default),
            (None, None) if rows.is_none() => Err(validate::no_mapping(&map)),
            (None, None) => Err(validate::no_entry(&map, &top, &second)),
        }
    }

    fn zones(&self, region: &str) -> Result<Value> {
        let region = if region.is_empty() { &self.pseudo.region } else { region };
        self.resolver.external(&External::Zones { region: region.to_owned() })
    }

    fn cidr(&self, block: &Value, count: &Value, bits: Option<&Value>) -> Result<Value> {
        let part = |node| self.text(node, "Fn::Cidr");
        let bits = bits.map(part).transpose()?;
        let blocks = cidr::blocks(&part(block)?, &part(count)?, bits.as_deref().unwrap_or(CIDR_BITS))?;
        Ok(blocks.into())
    }

    /// A node's value, which must be text.
    pub(super) fn text(&self, node: &Value, function: &str) -> Result<String> {
        let value = self.value(node)?;
        let found = value.as_ref().and_then(text);
        found.ok_or_else(|| error(&format!("{function} was given what is not a string: {}", shown(node))))
    }

    fn list(&self, node: &Value, function: &str) -> Result<Vec<Value>> {
        match self.value(node)? {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(error(&format!("{function} was given what is not a list: {}", shown(node)))),
        }
    }

    fn texts(&self, node: &Value, function: &str) -> Result<Vec<String>> {
        let items = self.list(node, function)?;
        let found = items.iter().map(text).collect::<Option<Vec<String>>>();
        found
            .ok_or_else(|| error(&format!("{function} was given a list that holds more than strings: {}", shown(node))))
    }
}

fn check_length(function: &str, bytes: usize) -> Result<()> {
    if bytes > TEXT_BYTES_MAX {
        return Err(error(&format!("{function} gives more than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// A node as an error shows it.
fn shown(node: &Value) -> String {
    const CHARS_MAX: usize = 200;
    let text = node.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn error(what: &str) -> Error {
    invalid(format!("Template error: {what}"))
}
