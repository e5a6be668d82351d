//! The store's own figures, from its example.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Bench;
use super::table::{self, Row, Target};

/// Lines of store_bench, and what they are called here.
const FIGURES: &[(&str, &str)] = &[
    ("durable puts/s,  1 writers", "store, durable puts, 1 writer"),
    ("durable puts/s, 64 writers", "store, durable puts, 64 writers"),
];

pub fn rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let folder = bench.scratch.join("store");
    let mut figures = vec![Vec::new(); FIGURES.len()];
    for _ in 0..bench.rounds.min(3) {
        let output = Command::new(bench.built("examples/store_bench")).arg(&folder).output()?;
        if !output.status.success() {
            bail!("store_bench ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        for ((line, _), figures) in FIGURES.iter().zip(&mut figures) {
            let figure = text.lines().find_map(|found| found.strip_prefix(line)).context("a line of store_bench")?;
            figures.push(figure.trim().parse()?);
        }
        std::fs::remove_dir_all(&folder)?;
    }
    let rows = FIGURES.iter().zip(figures);
    Ok(rows
        .map(|((_, what), figures)| {
            table::row(*what, "puts/s", Target::None, vec![("standfast", table::median(figures))])
        })
        .collect())
}
