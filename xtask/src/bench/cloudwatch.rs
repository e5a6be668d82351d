//! CloudWatch's own figures, from an example of the testkit.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Bench;
use super::table::{self, Row, Target};

/// Lines of cloudwatch_bench, what they are called here, their unit, and what they should be.
const FIGURES: &[(&str, &str, &str, Target)] = &[
    ("durable points/s", "PutMetricData, 500 data, durable, no HTTP", "points/s", Target::AtLeast(200_000.0)),
    ("1000 series of a day, ms", "GetMetricData, 1000 series of a day", "ms", Target::Below(200.0)),
    ("10000 alarms a minute, % of a core", "10,000 alarms each minute", "% of a core", Target::Below(2.0)),
    (
        "a month of a million points a day, MB on disk",
        "a month of a million points a day, on disk",
        "MB",
        Target::Below(200.0),
    ),
];

/// One round: the month alone takes minutes.
pub fn rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let folder = bench.scratch.join("cloudwatch");
    let output = Command::new(bench.built("examples/cloudwatch_bench")).arg(&folder).output()?;
    if !output.status.success() {
        bail!("cloudwatch_bench ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let rows = FIGURES.iter().map(|(line, what, unit, target)| {
        let figure = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(": "));
        let figure = figure.context("a line of cloudwatch_bench")?.trim().parse()?;
        Ok(table::row(*what, unit, *target, vec![("standfast", figure)]))
    });
    let rows = rows.collect();
    std::fs::remove_dir_all(&folder)?;
    rows
}
