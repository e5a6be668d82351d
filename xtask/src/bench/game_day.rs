//! What a prober costs, and the report of a game day of a million requests.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Bench;
use super::machine::{self, Process};
use super::table::{self, Row, Subject, Target};

/// Requests a second, and for how long.
const RATE: u32 = 5000;
const SECONDS: u32 = 10;
/// Lines of report_bench, what they are called here, their unit, and what they should be.
const FIGURES: &[(&str, &str, &str, Target)] = &[
    ("report of a million requests, s", "report over a million requests", "s", Target::Below(2.0)),
    ("report of a million requests, MB", "report over a million requests, its size", "MB", Target::Below(5.0)),
];

pub fn rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let rounds = bench.rounds;
    let cost = Subject { name: "standfast", measure: Box::new(|| prober(bench)) };
    let what = format!("prober at {RATE} requests/s that tells its metrics, its processor time");
    let mut rows = vec![table::row(what, "% of a core", Target::Below(100.0), table::medians(rounds, vec![cost])?)];
    let output = Command::new(bench.built("examples/report_bench")).output()?;
    if !output.status.success() {
        bail!("report_bench ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    for (line, what, unit, target) in FIGURES {
        let figure = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(": "));
        let figure = figure.context("a line of report_bench")?.trim().parse()?;
        rows.push(table::row(*what, unit, *target, vec![("standfast", figure)]));
    }
    Ok(rows)
}

/// How much of a core a probe needs. It asks the cloud itself, which answers at once: what is measured is the prober.
fn prober(bench: &Bench) -> Result<f64> {
    let cloud = bench.standfast(&["--driver", "sim"], None)?;
    let mut command = Command::new(bench.built("standfast"));
    let url = format!("http://{}/_standfast/health", cloud.address);
    command.args(["probe", &url, "--rate", &RATE.to_string(), "--duration", &format!("{SECONDS}s")]);
    let begin = machine::now();
    let mut probe = Process::spawn(command, None)?;
    // A line a second, two seconds later: the last that comes while it still sends.
    for _ in 0..SECONDS - 2 {
        let line = probe.line()?;
        if !line.contains(" 0 failed") {
            bail!("requests failed: {}", line.trim());
        }
    }
    Ok(100.0 * probe.cpu_time()?.as_secs_f64() * 1000.0 / machine::ms_since(begin))
}
