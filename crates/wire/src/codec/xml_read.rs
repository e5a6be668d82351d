//! XML bodies, read into a small tree and from there into values.
//!
//! Documents with a DTD are refused, so the only entities are XML's own five and character references.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::bad::{Bad, Step, Within};
use super::budget::{Budget, Depth};
use super::limits::DEPTH_MAX;
use super::text;
use crate::schema::{ListSchema, Location, MapSchema, Member, StructSchema, TimeFormat, Type};
use crate::value::{Struct, Value};

/// A list's or map's items are a level of their own in XML.
const ELEMENT_DEPTH_MAX: usize = 2 * DEPTH_MAX;

/// An element. Names are without their prefixes.
#[derive(Default)]
pub(super) struct Element {
    pub name: String,
    attributes: Vec<(String, String)>,
    pub text: String,
    children: Vec<Element>,
}

impl Element {
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of a child; empty when there is none.
    pub fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| &child.text)
    }
}

/// Reads a document.
pub(super) fn parse(body: &[u8], budget: &Budget) -> Result<Element, Bad> {
    let body = std::str::from_utf8(body).map_err(|_| Bad::syntax("The XML is not valid UTF-8"))?;
    let mut reader = Reader::from_str(body.trim_start_matches('\u{feff}'));
    // The first one stands for the document itself.
    let mut open = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(broken)?;
        let top = open.last_mut().expect("the document is never closed");
        match event {
            Event::Start(start) => {
                budget.part()?;
                if open.len() > ELEMENT_DEPTH_MAX {
                    return Err(Bad::limit("it is nested too deeply"));
                }
                open.push(element(&start)?);
            }
            Event::Empty(start) => {
                budget.part()?;
                top.children.push(element(&start)?);
            }
            Event::End(_) => {
                let done = open.pop().expect("the reader checks that tags match");
                open.last_mut().ok_or_else(|| broken("a tag that was not opened"))?.children.push(done);
            }
            Event::Text(text) => top.text.push_str(&text.xml10_content().map_err(broken)?),
            Event::CData(text) => top.text.push_str(&text.xml10_content().map_err(broken)?),
            Event::GeneralRef(reference) => resolve(&mut top.text, &reference)?,
            Event::DocType(_) => return Err(Bad::syntax("The XML has a document type, which is not allowed")),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    let mut document = open.pop().filter(|_| open.is_empty()).ok_or_else(|| broken("it ends too early"))?;
    match (document.children.pop(), document.children.is_empty(), document.text.trim().is_empty()) {
        (Some(root), true, true) => Ok(root),
        _ => Err(broken("it must have exactly one root element")),
    }
}

fn broken(error: impl std::fmt::Display) -> Bad {
    Bad::syntax(format!("The XML you provided was not well-formed: {error}"))
}

fn element(start: &BytesStart<'_>) -> Result<Element, Bad> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(broken)?;
        let value = attribute.unescape_value().map_err(broken)?.into_owned();
        attributes.push((local(attribute.key.into_inner())?, value));
    }
    Ok(Element { name: local(start.name().into_inner())?, attributes, ..Element::default() })
}

fn local(name: &[u8]) -> Result<String, Bad> {
    let name = std::str::from_utf8(name).map_err(broken)?;
    Ok(without_prefix(name).to_owned())
}

fn without_prefix(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

fn resolve(out: &mut String, reference: &BytesRef<'_>) -> Result<(), Bad> {
    if let Some(c) = reference.resolve_char_ref().map_err(broken)? {
        out.push(c);
        return Ok(());
    }
    let name = reference.decode().map_err(broken)?;
    out.push_str(resolve_xml_entity(&name).ok_or_else(|| broken(format!("the entity '{name}' is not known")))?);
    Ok(())
}

/// Reads an element as a structure. Members outside the body are left alone.
pub(super) fn read_struct(schema: &'static StructSchema, element: &Element, depth: Depth<'_>) -> Result<Struct, Bad> {
    let depth = depth.structure(schema.members.len())?;
    let mut out = Struct::new(schema);
    for (slot, member) in schema.members.iter().enumerate() {
        if member.location == Location::Body {
            out.slots[slot] = read_member(member, element, depth).within(|| Step::Member(member))?;
        }
    }
    Ok(out)
}

fn read_member(member: &Member, element: &Element, depth: Depth<'_>) -> Result<Value, Bad> {
    let wire = without_prefix(member.wire);
    if member.xml_attribute {
        let attribute = element.attributes.iter().find(|(name, _)| name == wire);
        return attribute.map_or(Ok(Value::Null), |(_, value)| text::read(value, &member.ty, TimeFormat::Iso8601));
    }
    let all = |name: &'static str| element.children.iter().filter(move |child| child.name == name);
    match &member.ty {
        Type::List(list) if list.flattened => {
            let items = read_items(list, all(wire), depth)?;
            Ok(if items.is_empty() { Value::Null } else { Value::List(items) })
        }
        Type::Map(map) if map.flattened => {
            let entries = read_entries(map, all(wire), depth)?;
            Ok(if entries.is_empty() { Value::Null } else { Value::Map(entries) })
        }
        ty => all(wire).next().map_or(Ok(Value::Null), |child| read_value(ty, child, depth)),
    }
}

fn read_value(ty: &Type, element: &Element, depth: Depth<'_>) -> Result<Value, Bad> {
    match ty {
        Type::Struct(schema) => Ok(Value::Struct(read_struct(schema, element, depth)?)),
        // Whatever the items are called, they are the only elements here.
        Type::List(list) => Ok(Value::List(read_items(list, element.children.iter(), depth)?)),
        Type::Map(map) => Ok(Value::Map(read_entries(map, element.children.iter(), depth)?)),
        _ => text::read(&element.text, ty, TimeFormat::Iso8601),
    }
}

fn read_items<'e>(
    list: &ListSchema,
    elements: impl Iterator<Item = &'e Element>,
    depth: Depth<'_>,
) -> Result<Vec<Value>, Bad> {
    let items = elements.enumerate();
    items.map(|(index, item)| read_value(&list.item, item, depth.deeper()?).within(|| Step::Item(index + 1))).collect()
}

fn read_entries<'e>(
    map: &MapSchema,
    elements: impl Iterator<Item = &'e Element>,
    depth: Depth<'_>,
) -> Result<Vec<(String, Value)>, Bad> {
    elements
        .map(|entry| {
            let (Some(key), Some(value)) = (entry.child(map.key_wire), entry.child(map.value_wire)) else {
                return Err(Bad::kind(&entry.name, "a map's entry"));
            };
            let value = read_value(&map.value, value, depth.deeper()?).within(|| Step::Key(key.text.clone()))?;
            Ok((key.text.clone(), value))
        })
        .collect()
}
