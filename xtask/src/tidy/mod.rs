//! `cargo xtask tidy`: the rules of this repository that the compiler and clippy do not hold.
//!
//! Each finding is a line `path:line: message`; any finding fails. `cargo xtask tidy --differences` prints the table of
//! deliberate differences from AWS instead.

mod layers;
mod source;
mod text;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::codegen;
use crate::workspace::{self, Workspace};

/// Something to put right. The order is the order of printing.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Relative to the workspace.
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
    pub message: String,
}

impl Finding {
    pub fn new(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// A file that people write: its path relative to the workspace, and its text.
#[derive(Debug)]
pub struct File {
    pub path: PathBuf,
    pub text: String,
}

pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    match arguments {
        [] => check(workspace),
        [flag] if flag == "--differences" => {
            print!("{}", text::differences(&written_sources(workspace)?));
            Ok(())
        }
        _ => bail!("usage: cargo xtask tidy [--differences]"),
    }
}

fn check(workspace: &Workspace) -> Result<()> {
    let mut findings = layers::check(&manifests(workspace)?)?;
    for file in written_sources(workspace)? {
        findings.extend(text::check(&file));
    }
    for path in codegen::stale(workspace)? {
        findings.push(Finding::new(workspace.relative(&path), 1, "differs from what `cargo xtask codegen` writes"));
    }
    findings.sort();
    for Finding { path, line, message } in &findings {
        println!("{}:{line}: {message}", path.display());
    }
    if findings.is_empty() { Ok(()) } else { bail!("{} findings", findings.len()) }
}

/// Every Cargo.toml of the workspace, with the generated ones and without the excluded ones.
fn manifests(workspace: &Workspace) -> Result<Vec<File>> {
    let root: toml::Table = toml::from_str(&workspace::read(&workspace.root.join("Cargo.toml"))?)?;
    let excluded = root.get("workspace").and_then(|workspace| workspace.get("exclude")).and_then(toml::Value::as_array);
    let excluded = excluded.into_iter().flatten().filter_map(toml::Value::as_str);
    let excluded: Vec<PathBuf> = excluded.map(|folder| workspace.root.join(folder)).collect();
    load(workspace, |path| path.ends_with("Cargo.toml") && !excluded.iter().any(|folder| path.starts_with(folder)))
}

/// Every Rust file that is not generated.
fn written_sources(workspace: &Workspace) -> Result<Vec<File>> {
    let api = workspace.api();
    load(workspace, |path| path.extension().is_some_and(|extension| extension == "rs") && !path.starts_with(&api))
}

fn load(workspace: &Workspace, wanted: impl Fn(&Path) -> bool) -> Result<Vec<File>> {
    let paths = workspace::files_below(&workspace.root)?;
    let wanted = paths.iter().filter(|path| wanted(path));
    wanted.map(|path| Ok(File { path: workspace.relative(path).to_owned(), text: workspace::read(path)? })).collect()
}
