//! Development tasks: `cargo xtask TASK`. Nothing here is part of the product.
//!
//! Each task is a module with a `run(&Workspace, &[String])`; this file only finds the task.

mod bench;
mod codegen;
mod coverage;
mod import;
mod manifest;
mod model;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

const HELP: &str = "\
Usage: cargo xtask TASK

  import BOTOCORE_DATA   prune botocore's API models to models/manifest.toml, write models/SERVICE.json
  codegen [--check]      generate crates/api from models/; with --check only list what differs, and fail
  tidy [--differences]   check the repository's own rules; list deliberate differences from AWS
  test [STEP]            all that must hold: lint, deny, unit, build, clients, doc
  coverage [--check]     write docs/coverage.md from what the binary says
  bench [NAME...]        measure speed and memory beside other programs; bench --help says what
  help                   this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((task, rest)) = arguments.split_first() else {
        print!("{HELP}");
        return Ok(());
    };
    let workspace = Workspace::find()?;
    match task.as_str() {
        "import" => import::run(&workspace, rest),
        "codegen" => codegen::run(&workspace, rest),
        "tidy" => tidy::run(&workspace, rest),
        "test" => test::run(&workspace, rest),
        "bench" => bench::run(&workspace, rest),
        "coverage" => coverage::run(&workspace, rest),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("no task is called '{other}'\n\n{HELP}"),
    }
}
