//! `shapes.rs` (structures) and `enums.rs` (constants) of a service's crate.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use super::names;
use super::resolve::Api;
use crate::model::{Kind, Shape};

/// One field of a structure.
struct Field {
    name: String,
    /// The type inside Option and Box.
    inner: String,
    required: bool,
    boxed: bool,
}

pub fn shapes(api: &Api) -> Result<String> {
    let mut out = String::from("use {standfast_core as core, standfast_wire as wire};\n");
    out.push_str("use std::collections::BTreeMap;\nuse wire::{FromValue, IntoValue};\nuse crate::schemas;\n");
    for (shape_name, rust) in &api.structs {
        let shape = api.model.shape(shape_name)?;
        let fields = fields(api, shape_name, shape).with_context(|| format!("in {shape_name}"))?;
        out.push_str("\n#[derive(Clone, Debug, Default, PartialEq)]\n");
        write_struct(&mut out, rust, &fields)?;
        if api.decoded.contains(shape_name) {
            write_decode(&mut out, shape_name, rust, &fields)?;
        }
        if api.encoded.contains(shape_name) {
            write_encode(&mut out, shape_name, rust, &fields)?;
        }
    }
    // The file's imports depend on what the shapes need.
    Ok(out)
}

fn fields(api: &Api, shape_name: &str, shape: &Shape) -> Result<Vec<Field>> {
    let mut seen = BTreeSet::new();
    let mut fields = Vec::new();
    for (member, reference) in &shape.members.0 {
        let name = names::identifier(&names::snake(member));
        ensure!(seen.insert(name.clone()), "two members would be called '{name}'");
        fields.push(Field {
            name,
            inner: rust_type(api, &reference.shape)?,
            required: shape.required.contains(member),
            boxed: api.boxed.contains(&(shape_name.to_owned(), member.clone())),
        });
    }
    Ok(fields)
}

fn rust_type(api: &Api, shape_name: &str) -> Result<String> {
    let shape = api.model.shape(shape_name)?;
    Ok(match shape.kind {
        Kind::Structure if shape.document => "serde_json::Value".to_owned(),
        Kind::Structure => api.struct_name(shape_name)?.to_owned(),
        Kind::List => {
            let item = shape.member.as_ref().with_context(|| format!("the list {shape_name} has no item"))?;
            format!("Vec<{}>", rust_type(api, &item.shape)?)
        }
        Kind::Map => {
            let value = shape.value.as_ref().with_context(|| format!("the map {shape_name} has no value"))?;
            format!("BTreeMap<String, {}>", rust_type(api, &value.shape)?)
        }
        Kind::String | Kind::Character => "String".to_owned(),
        Kind::Boolean => "bool".to_owned(),
        Kind::Byte | Kind::Short | Kind::Integer => "i32".to_owned(),
        Kind::Long => "i64".to_owned(),
        Kind::Float => "f32".to_owned(),
        Kind::Double => "f64".to_owned(),
        Kind::Blob => "wire::Blob".to_owned(),
        Kind::Timestamp => "core::Timestamp".to_owned(),
    })
}

fn write_struct(out: &mut String, rust: &str, fields: &[Field]) -> Result<()> {
    if fields.is_empty() {
        writeln!(out, "pub struct {rust} {{}}")?;
        return Ok(());
    }
    writeln!(out, "pub struct {rust} {{")?;
    for Field { name, inner, required, boxed } in fields {
        match (required, boxed) {
            (true, _) => writeln!(out, "    pub {name}: {inner},")?,
            (false, false) => writeln!(out, "    pub {name}: Option<{inner}>,")?,
            (false, true) => writeln!(out, "    pub {name}: Option<Box<{inner}>>,")?,
        }
    }
    out.push_str("}\n");
    Ok(())
}

fn write_decode(out: &mut String, shape_name: &str, rust: &str, fields: &[Field]) -> Result<()> {
    let schema = names::identifier(shape_name);
    writeln!(out, "impl wire::Decode for {rust} {{")?;
    writeln!(out, "    const SCHEMA: &'static wire::StructSchema = &schemas::{schema};")?;
    if fields.is_empty() {
        out.push_str("    fn set(&mut self, _: usize, _: wire::Value) {}\n}\n");
        return Ok(());
    }
    out.push_str("    fn set(&mut self, slot: usize, value: wire::Value) {\n        match slot {\n");
    for (slot, Field { name, boxed, .. }) in fields.iter().enumerate() {
        if *boxed {
            writeln!(out, "            {slot} => self.{name} = Option::from_value(value).map(Box::new),")?;
        } else {
            writeln!(out, "            {slot} => self.{name} = FromValue::from_value(value),")?;
        }
    }
    out.push_str("            _ => {}\n        }\n    }\n}\n");
    Ok(())
}

fn write_encode(out: &mut String, shape_name: &str, rust: &str, fields: &[Field]) -> Result<()> {
    let schema = names::identifier(shape_name);
    writeln!(out, "impl wire::Encode for {rust} {{")?;
    writeln!(out, "    const SCHEMA: &'static wire::StructSchema = &schemas::{schema};")?;
    if fields.is_empty() {
        out.push_str("    fn take(&mut self, _: usize) -> wire::Value { wire::Value::Null }\n}\n");
        return Ok(());
    }
    out.push_str("    fn take(&mut self, slot: usize) -> wire::Value {\n        match slot {\n");
    for (slot, Field { name, boxed, .. }) in fields.iter().enumerate() {
        if *boxed {
            writeln!(out, "            {slot} => self.{name}.take().map(|inner| *inner).into_value(),")?;
        } else {
            writeln!(out, "            {slot} => std::mem::take(&mut self.{name}).into_value(),")?;
        }
    }
    out.push_str("            _ => wire::Value::Null,\n        }\n    }\n}\n");
    Ok(())
}

pub fn enums(api: &Api) -> Result<String> {
    let mut out = String::new();
    let mut modules = BTreeSet::new();
    for (shape_name, shape) in &api.model.shapes {
        if shape.values.is_empty() {
            continue;
        }
        let module = names::identifier(&names::snake(shape_name));
        ensure!(modules.insert(module.clone()), "two enums would be called '{module}'");
        writeln!(out, "pub mod {module} {{")?;
        let mut taken = BTreeSet::new();
        for value in &shape.values {
            let name = unique(&mut taken, names::constant(value));
            writeln!(out, "    pub const {name}: &str = {value:?};")?;
        }
        out.push_str("}\n");
    }
    Ok(out)
}

/// The name, or with the first number from 2 that makes it differ from those before it.
fn unique(taken: &mut BTreeSet<String>, name: String) -> String {
    let numbered = (2..).map(|n| format!("{name}_{n}"));
    let free = std::iter::once(name.clone()).chain(numbered).find(|candidate| !taken.contains(candidate));
    let free = free.expect("numbers do not run out");
    taken.insert(free.clone());
    free
}
