//! `cargo xtask codegen`: `models/` in, `crates/api/` out.
//!
//! Invariant: the output depends on `models/` alone, so running it twice changes nothing and `--check` can compare.

mod crates;
mod names;
mod resolve;
mod schemas;
mod shapes;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::manifest;
use crate::model::Model;
use crate::workspace::{self, Workspace};
use resolve::Api;

pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    match arguments {
        [] => write(workspace),
        [flag] if flag == "--check" => check(workspace),
        _ => bail!("usage: cargo xtask codegen [--check]"),
    }
}

fn write(workspace: &Workspace) -> Result<()> {
    let generated = generate(workspace)?;
    for path in differing(workspace, &generated)? {
        match generated.get(&path) {
            Some(text) => workspace::write(&path, text)?,
            None => std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?,
        }
        println!("{}", workspace.relative(&path).display());
    }
    Ok(())
}

fn check(workspace: &Workspace) -> Result<()> {
    let stale = stale(workspace)?;
    for path in &stale {
        println!("{}:1: differs from what `cargo xtask codegen` writes", workspace.relative(path).display());
    }
    if stale.is_empty() { Ok(()) } else { bail!("{} generated files are not up to date", stale.len()) }
}

/// Files that are missing, differ, or should not be there, sorted.
pub fn stale(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    differing(workspace, &generate(workspace)?)
}

fn differing(workspace: &Workspace, generated: &BTreeMap<PathBuf, String>) -> Result<Vec<PathBuf>> {
    let mut paths = workspace::files_below(&workspace.api())?;
    paths.extend(generated.keys().cloned());
    paths.sort();
    paths.dedup();
    let same = |path: &PathBuf| match (generated.get(path), std::fs::read(path)) {
        (Some(text), Ok(found)) => text.as_bytes() == found,
        _ => false,
    };
    paths.retain(|path| !same(path));
    Ok(paths)
}

fn generate(workspace: &Workspace) -> Result<BTreeMap<PathBuf, String>> {
    let mut apis = Vec::new();
    for (name, service) in manifest::load(workspace)? {
        let path = workspace.models().join(format!("{name}.json"));
        let text = workspace::read(&path)?;
        let model: Model = serde_json::from_str(&text).with_context(|| format!("parsing {}", path.display()))?;
        let missing = service.operations.iter().find(|operation| !model.operations.contains_key(*operation));
        if let Some(operation) = missing {
            bail!("models/{name}.json has no {operation}: run `cargo xtask import BOTOCORE_DATA`");
        }
        apis.push(Api::new(&name, &service, model).with_context(|| format!("in {name}"))?);
    }
    let mut files = crates::facade(&apis);
    for api in &apis {
        files.extend(crates::service(api).with_context(|| format!("in {}", api.name))?);
    }
    Ok(files.into_iter().map(|(path, text)| (workspace.api().join(path), text)).collect())
}
