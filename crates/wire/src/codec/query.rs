//! Requests of the query and ec2 protocols: forms with dotted names.
//!
//! Reading is lenient about how lists are written (`A.1`, `A.member.1`, `A.Name.1`), since clients of all ages differ;
//! writing follows the model.

use base64::Engine;

use super::bad::{Bad, Step, Within};
use super::budget::{Budget, Depth};
use super::dotted::{Form, Node, Scope, push_pair};
use super::text;
use crate::schema::{ListSchema, MapSchema, Member, OperationSchema, ServiceSchema, StructSchema, TimeFormat, Type};
use crate::value::{Struct, Value};

/// The two ways in which names are made.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Style {
    Query,
    Ec2,
}

impl Style {
    fn name(self, member: &Member) -> &'static str {
        match self {
            Style::Query => member.wire,
            Style::Ec2 => member.ec2,
        }
    }

    fn flat(self, flattened: bool) -> bool {
        flattened || self == Style::Ec2
    }
}

/// Reads an input from the query string and the body.
pub(super) fn read(
    style: Style,
    schema: &'static StructSchema,
    query: &str,
    body: &str,
    budget: &Budget,
) -> Result<Struct, Bad> {
    let form = Form::read([query, body], budget)?;
    read_struct(style, schema, form.top(), budget.top())
}

fn read_struct(style: Style, schema: &'static StructSchema, scope: Scope<'_>, depth: Depth<'_>) -> Result<Struct, Bad> {
    let depth = depth.structure(schema.members.len())?;
    let mut out = Struct::new(schema);
    for (slot, member) in schema.members.iter().enumerate() {
        let node = scope.node(style.name(member));
        out.slots[slot] = read_value(style, &member.ty, node, depth).within(|| Step::Member(member))?;
    }
    Ok(out)
}

fn read_value(style: Style, ty: &Type, node: Node<'_>, depth: Depth<'_>) -> Result<Value, Bad> {
    match (ty, node.text) {
        _ if node.is_absent() => Ok(Value::Null),
        (Type::Struct(schema), None | Some("")) => Ok(Value::Struct(read_struct(style, schema, node.below, depth)?)),
        (Type::List(list), None | Some("")) => read_list(style, list, node, depth.deeper()?),
        (Type::Map(map), None | Some("")) => read_map(style, map, node, depth.deeper()?),
        (_, Some(text)) => text::read(text, ty, TimeFormat::Iso8601),
        (_, None) => Ok(Value::Null),
    }
}

fn read_list(style: Style, list: &ListSchema, node: Node<'_>, depth: Depth<'_>) -> Result<Value, Bad> {
    let direct = node.below.items()?;
    let named = || node.below.node(list.wire).below.items();
    let found = if style.flat(list.flattened) {
        if direct.is_empty() { named()? } else { direct }
    } else {
        let named = named()?;
        match (named.is_empty(), direct.is_empty()) {
            (false, _) => named,
            (true, false) => direct,
            (true, true) => node.below.node("member").below.items()?,
        }
    };
    let mut items = Vec::with_capacity(found.len());
    for (index, node) in found.into_iter().enumerate() {
        let item = read_value(style, &list.item, node, depth).within(|| Step::Item(index + 1))?;
        if !item.is_null() {
            items.push(item);
        }
    }
    Ok(absent_or(items.is_empty() && node.text.is_none(), Value::List(items)))
}

/// Parameters under a list's or map's name that mean nothing to it leave it unset.
fn absent_or(absent: bool, value: Value) -> Value {
    if absent { Value::Null } else { value }
}

fn read_map(style: Style, map: &MapSchema, node: Node<'_>, depth: Depth<'_>) -> Result<Value, Bad> {
    let wrapped = node.below.node("entry").below.items()?;
    let found = if wrapped.is_empty() { node.below.items()? } else { wrapped };
    let mut entries = Vec::with_capacity(found.len());
    for (index, entry) in found.into_iter().enumerate() {
        let Some(key) = entry.below.node(map.key_wire).text else {
            return Err(Bad::kind("", "a map's key").within(Step::Item(index + 1)));
        };
        let value = read_value(style, &map.value, entry.below.node(map.value_wire), depth)
            .within(|| Step::Key(key.to_owned()))?;
        if value.is_null() {
            return Err(Bad::kind("", "a map's value").within(Step::Key(key.to_owned())));
        }
        entries.push((key.to_owned(), value));
    }
    Ok(absent_or(entries.is_empty() && node.text.is_none(), Value::Map(entries)))
}

/// Writes an input as a form. Empty structures, lists and maps are written as `Name=`, which reads back.
pub(super) fn write(style: Style, service: &ServiceSchema, op: &OperationSchema, input: &Struct) -> String {
    let mut form = Writer { style, out: String::with_capacity(256), name: String::new() };
    push_pair(&mut form.out, "Action", op.name);
    push_pair(&mut form.out, "Version", service.api_version);
    form.members(input);
    form.out.pop();
    form.out
}

struct Writer {
    style: Style,
    out: String,
    /// The name so far.
    name: String,
}

impl Writer {
    fn members(&mut self, value: &Struct) {
        for (member, value) in value.schema.members.iter().zip(&value.slots) {
            self.under(self.style.name(member), |form| form.value(&member.ty, value));
        }
    }

    fn under(&mut self, step: &str, write: impl FnOnce(&mut Self)) {
        let end = self.name.len();
        if end > 0 {
            self.name.push('.');
        }
        self.name.push_str(step);
        write(self);
        self.name.truncate(end);
    }

    fn value(&mut self, ty: &Type, value: &Value) {
        match (ty, value) {
            (_, Value::Null) => {}
            (Type::List(list), Value::List(items)) if !items.is_empty() => {
                if self.style.flat(list.flattened) {
                    self.items(list, items);
                } else {
                    self.under(list.wire, |form| form.items(list, items));
                }
            }
            (Type::Map(map), Value::Map(entries)) if !entries.is_empty() => {
                if self.style.flat(map.flattened) {
                    self.entries(map, entries);
                } else {
                    self.under("entry", |form| form.entries(map, entries));
                }
            }
            (Type::Struct(_), Value::Struct(inner)) if inner.slots.iter().any(|value| !value.is_null()) => {
                self.members(inner);
            }
            (Type::List(_) | Type::Map(_) | Type::Struct(_), _) => push_pair(&mut self.out, &self.name, ""),
            (_, Value::String(text)) => push_pair(&mut self.out, &self.name, text),
            (_, Value::Blob(bytes)) => push_pair(&mut self.out, &self.name, &text::BASE64.encode(bytes)),
            _ => {
                let mut text = String::new();
                text::write(&mut text, ty, value, TimeFormat::Iso8601);
                push_pair(&mut self.out, &self.name, &text);
            }
        }
    }

    fn items(&mut self, list: &ListSchema, items: &[Value]) {
        for (index, item) in items.iter().enumerate() {
            self.under(itoa::Buffer::new().format(index + 1), |form| form.value(&list.item, item));
        }
    }

    fn entries(&mut self, map: &MapSchema, entries: &[(String, Value)]) {
        for (index, (key, value)) in entries.iter().enumerate() {
            self.under(itoa::Buffer::new().format(index + 1), |form| {
                form.under(map.key_wire, |form| push_pair(&mut form.out, &form.name, key));
                form.under(map.value_wire, |form| form.value(&map.value, value));
            });
        }
    }
}
