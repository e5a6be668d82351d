//! `lint`: what a template's errors are, and what in it will cost availability, from a cloud that exists for that only.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use standfast_gameday::advice::Severity;
use standfast_gameday::lint::{self, Finding};

use crate::cli::{self, FailOn, LintFormat};
use crate::output;
use crate::world::SimulatedWorld;

/// Nothing could be said of the template.
const UNREAD: u8 = 2;

pub async fn run(options: &cli::Lint) -> Result<ExitCode> {
    let found = match find(options).await {
        Ok(found) => found,
        Err(error) => {
            eprintln!("standfast: {error:#}");
            return Ok(ExitCode::from(UNREAD));
        }
    };
    let path = options.template.display().to_string();
    match options.format {
        LintFormat::Text => output::text_of(lint::text(&path, &found)),
        LintFormat::Json => output::line(format_args!("{:#}", lint::json(&path, &found))),
        LintFormat::Sarif => output::line(format_args!("{:#}", lint::sarif(&path, &found))),
    }
    Ok(if found.iter().any(|finding| fails(finding, options.fail_on)) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn find(options: &cli::Lint) -> Result<Vec<Finding>> {
    let text = std::fs::read_to_string(&options.template)
        .with_context(|| format!("reading the template {}", options.template.display()))?;
    let parameters = (options.parameters.iter())
        .map(|parameter| match parameter.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => bail!("--parameter {parameter} is not of the form KEY=VALUE"),
        })
        .collect::<Result<BTreeMap<_, _>>>()?;
    let world = SimulatedWorld::start();
    let found = lint::lint(&world, &text, &parameters, options.objective).await;
    world.stop().await;
    found.context("reading what the template makes")
}

fn fails(finding: &Finding, on: FailOn) -> bool {
    match on {
        FailOn::Error => finding.severity == Severity::Error,
        FailOn::Warning => finding.severity <= Severity::Warning,
    }
}
