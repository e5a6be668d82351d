//! What a model leaves open and generated code must decide: names, reach, boxes and protocols.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

use super::names;
use crate::manifest::Service;
use crate::model::{Kind, Members, Model, Operation, Reference, Shape};

/// A model with every decision made.
#[derive(Debug)]
pub struct Api {
    /// The service's name: `elbv2`.
    pub name: String,
    pub global: bool,
    /// Variants of `wire::Protocol`.
    pub protocols: Vec<&'static str>,
    /// With an empty input or output made for each operation that has none.
    pub model: Model,
    /// The Rust type of each structure, by shape.
    pub structs: BTreeMap<String, String>,
    /// Structures that an input reaches.
    pub decoded: BTreeSet<String>,
    /// Structures that an output reaches.
    pub encoded: BTreeSet<String>,
    /// Members (shape, member) that need a box because their structure contains itself.
    pub boxed: BTreeSet<(String, String)>,
    /// Shapes that exist as errors only.
    pub errors: BTreeSet<String>,
}

impl Api {
    pub fn new(name: &str, service: &Service, mut model: Model) -> Result<Self> {
        add_empty_shapes(&mut model)?;
        let shape = |reference: &Reference| reference.shape.clone();
        let inputs = model.operations.values().filter_map(|operation| operation.input.as_ref().map(shape));
        let decoded = structs_reached(&model, inputs.chain(service.both.iter().cloned()))?;
        let outputs = model.operations.values().filter_map(|operation| operation.output.as_ref().map(shape));
        let encoded = structs_reached(&model, outputs.chain(service.both.iter().cloned()))?;
        let errors: BTreeSet<String> = (model.operations.values())
            .flat_map(|operation| &operation.errors)
            .map(|error| error.shape.clone())
            .filter(|shape| !decoded.contains(shape) && !encoded.contains(shape))
            .collect();
        let structs = struct_names(&model, decoded.union(&encoded))?;
        let boxed = boxed_members(&model, &structs)?;
        let protocols = protocols(service, &model)?;
        let (name, global) = (name.to_owned(), service.global);
        Ok(Self { name, global, protocols, model, structs, decoded, encoded, boxed, errors })
    }

    /// The Rust type of a structure shape.
    pub fn struct_name(&self, shape: &str) -> Result<&str> {
        Ok(self.structs.get(shape).with_context(|| format!("'{shape}' is no structure"))?)
    }

    /// Whether it is spoken in a protocol where a flattened list's items give the member its name.
    pub fn speaks_xml(&self) -> bool {
        self.protocols.iter().any(|protocol| matches!(*protocol, "Query" | "RestXml"))
    }
}

/// The shape of an operation's input or output; `add_empty_shapes` has made sure that there is one.
pub fn shape_of(reference: &Option<Reference>) -> Result<&str> {
    Ok(&reference.as_ref().context("an operation without input or output")?.shape)
}

fn add_empty_shapes(model: &mut Model) -> Result<()> {
    let Model { operations, shapes, .. } = model;
    for (name, Operation { input, output, .. }) in operations {
        for (slot, suffix) in [(input, "Input"), (output, "Output")] {
            if slot.is_some() {
                continue;
            }
            let shape = format!("{name}{suffix}");
            ensure!(!shapes.contains_key(&shape), "{name} has no {suffix}, yet there is a shape '{shape}'");
            let empty = format!(r#"{{"shape": "{shape}"}}"#);
            *slot = Some(serde_json::from_str(&empty).expect("a reference needs a shape's name only"));
            shapes.insert(shape, empty_structure());
        }
    }
    Ok(())
}

fn empty_structure() -> Shape {
    let shape: Shape = serde_json::from_str(r#"{"type": "structure"}"#).expect("a shape needs a type only");
    debug_assert!(shape.kind == Kind::Structure && Members::is_empty(&shape.members));
    shape
}

fn structs_reached(model: &Model, from: impl Iterator<Item = String>) -> Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    let mut structs = BTreeSet::new();
    let mut pending: Vec<String> = from.collect();
    while let Some(name) = pending.pop() {
        let shape = model.shape(&name)?;
        if shape.kind == Kind::Structure && !shape.document {
            structs.insert(name.clone());
        }
        if seen.insert(name) {
            pending.extend(shape.references().map(|reference| reference.shape.clone()));
        }
    }
    Ok(structs)
}

/// Operations come first: their markers and their `XInput`, `XOutput` keep their names, and a structure that would be
/// called the same takes the suffix `Shape`.
fn struct_names<'a>(model: &Model, structs: impl Iterator<Item = &'a String>) -> Result<BTreeMap<String, String>> {
    let mut taken: BTreeSet<String> = names::RESERVED_TYPES.iter().map(|name| (*name).to_owned()).collect();
    for (name, operation) in &model.operations {
        taken.insert(name.clone());
        for (reference, suffix) in [(&operation.input, "Input"), (&operation.output, "Output")] {
            let alias = format!("{name}{suffix}");
            if shape_of(reference)? != alias {
                taken.insert(alias);
            }
        }
    }
    let mut out = BTreeMap::new();
    for shape in structs {
        let mut name = names::type_name(shape);
        if taken.contains(&name) {
            name.push_str("Shape");
        }
        ensure!(taken.insert(name.clone()), "two types would be called '{name}'");
        out.insert(shape.clone(), name);
    }
    Ok(out)
}

/// Direct structure-to-structure members that lead back to their own structure.
fn boxed_members(model: &Model, structs: &BTreeMap<String, String>) -> Result<BTreeSet<(String, String)>> {
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in structs.keys() {
        let members = &model.shape(name)?.members.0;
        let targets = members.iter().map(|(_, reference)| reference.shape.as_str());
        edges.insert(name, targets.filter(|target| structs.contains_key(*target)).collect());
    }
    let mut boxed = BTreeSet::new();
    for name in structs.keys() {
        let shape = model.shape(name)?;
        for (member, reference) in &shape.members.0 {
            let cyclic = structs.contains_key(&reference.shape) && leads_to(&edges, &reference.shape, name);
            if cyclic && !shape.required.contains(member) {
                boxed.insert((name.clone(), member.clone()));
            }
        }
    }
    Ok(boxed)
}

fn leads_to(edges: &BTreeMap<&str, Vec<&str>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut pending = vec![from];
    while let Some(at) = pending.pop() {
        if at == to {
            return true;
        }
        if seen.insert(at) {
            pending.extend(edges.get(at).into_iter().flatten());
        }
    }
    false
}

fn protocols(service: &Service, model: &Model) -> Result<Vec<&'static str>> {
    let metadata = &model.metadata;
    let json = format!("json{}", metadata.json_version.as_deref().unwrap_or("1.0"));
    let named: Vec<&str> = if !service.protocols.is_empty() {
        service.protocols.iter().map(String::as_str).collect()
    } else if !metadata.protocols.is_empty() {
        metadata.protocols.iter().map(String::as_str).collect()
    } else {
        vec![&metadata.protocol]
    };
    named
        .into_iter()
        .map(|name| {
            Ok(match if name == "json" { json.as_str() } else { name } {
                "ec2" => "Ec2",
                "query" => "Query",
                "json1.0" => "Json10",
                "json1.1" => "Json11",
                "rest-json" => "RestJson",
                "rest-xml" => "RestXml",
                "cbor" | "smithy-rpc-v2-cbor" => "Cbor",
                other => bail!("unknown protocol '{other}'"),
            })
        })
        .collect()
}
