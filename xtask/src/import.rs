//! `cargo xtask import BOTOCORE_DATA`: botocore's models, pruned to the manifest's operations and what they reach.
//!
//! Only facts are kept (see `model`). It runs when the manifest grows; everything else reads `models/`.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::manifest;
use crate::model::{Members, Model};
use crate::workspace::{self, Workspace};

pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let [data] = arguments else { bail!("usage: cargo xtask import BOTOCORE_DATA") };
    for (name, service) in manifest::load(workspace)? {
        let full = read_model(Path::new(data), &name, &service.version)?;
        let (before, wanted) = (full.shapes.len(), service.operations.len());
        let pruned = prune(full, &service.operations).with_context(|| format!("in {name}"))?;
        let path = workspace.models().join(format!("{name}.json"));
        workspace::write(&path, &pruned.to_text()?)?;
        println!("{name}: {wanted} operations, {} of {before} shapes", pruned.shapes.len());
    }
    Ok(())
}

fn read_model(data: &Path, service: &str, version: &str) -> Result<Model> {
    let folder = data.join(service).join(version);
    let (plain, packed) = (folder.join("service-2.json"), folder.join("service-2.json.gz"));
    let text = if plain.exists() {
        workspace::read(&plain)?
    } else {
        let file = std::fs::File::open(&packed).with_context(|| format!("opening {}", packed.display()))?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(file)
            .read_to_string(&mut text)
            .with_context(|| format!("unpacking {}", packed.display()))?;
        text
    };
    serde_json::from_str(&text).with_context(|| format!("parsing the model in {}", folder.display()))
}

/// Keeps the wanted operations and the shapes they reach. An error keeps its code and status, not its members, unless
/// an input or output reaches it too.
fn prune(mut model: Model, wanted: &[String]) -> Result<Model> {
    let unknown: Vec<&String> = wanted.iter().filter(|name| !model.operations.contains_key(*name)).collect();
    if !unknown.is_empty() {
        bail!("the model has no operation {unknown:?}");
    }
    model.operations.retain(|name, _| wanted.contains(name));
    let mut reached = BTreeSet::new();
    let mut pending: Vec<String> = (model.operations.values())
        .flat_map(|operation| operation.input.iter().chain(&operation.output))
        .map(|reference| reference.shape.clone())
        .collect();
    while let Some(name) = pending.pop() {
        let shape = model.shape(&name)?;
        if reached.insert(name) {
            pending.extend(shape.references().map(|reference| reference.shape.clone()));
        }
    }
    let errors: BTreeSet<String> = (model.operations.values())
        .flat_map(|operation| &operation.errors)
        .map(|reference| reference.shape.clone())
        .collect();
    model.shapes.retain(|name, _| reached.contains(name) || errors.contains(name));
    for (name, shape) in &mut model.shapes {
        if !reached.contains(name) {
            shape.members = Members::default();
            shape.required.clear();
        }
    }
    Ok(model)
}
