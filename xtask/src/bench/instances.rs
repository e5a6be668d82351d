//! Instances of the linux driver: how fast they are there, what they cost, how fast they are gone.
//!
//! From the request to RunInstances until a server in the instance answers a GET through its public address, which is
//! asked for with DescribeInstances, as RunInstances does not know it yet.

use std::time::Duration;

use anyhow::Result;

use super::by_hand::{self, Unshared};
use super::cloud::Cloud;
use super::table::{self, Row, Subject, Target};
use super::{Bench, machine};

const FIRST_ANSWER_MS_MAX: f64 = 100.0;
const MANY: usize = 100;
const MANY_MS_MAX: f64 = 5_000.0;
const END_MS_MAX: f64 = 3_000.0;
const OVERHEAD_MB_MAX: f64 = 2.0;
/// Single launches are short, so there is time for more of them.
const LAUNCHES_PER_ROUND: usize = 5;
/// After which memory is what it stays.
const SETTLE: Duration = Duration::from_secs(2);
const PYTHON: &str = "python3 -m http.server 80";

pub fn rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let Some(cloud) = bench.cloud("instances")? else { return Ok(Vec::new()) };
    let program = by_hand::static_server(&bench.built("standfast"), &bench.scratch)?;
    // The first one finds a cloud that has never had any.
    first_answer_ms(&cloud)?;
    let mut rows = vec![first_answer(bench, &cloud, &program)?];
    rows.extend(many(bench, &cloud, &program)?);
    Ok(rows)
}

fn first_answer(bench: &Bench, cloud: &Cloud, program: &str) -> Result<Row> {
    let by_hand =
        |name, command: String| Subject { name, measure: Box::new(move || by_hand::first_answer_ms(&command)) };
    let subjects = vec![
        Subject { name: "standfast", measure: Box::new(|| first_answer_ms(cloud)) },
        by_hand("unshare, same server", program.to_owned()),
        by_hand("unshare, python3 -m http.server", PYTHON.to_owned()),
    ];
    let figures = table::medians(bench.rounds * LAUNCHES_PER_ROUND, subjects)?;
    Ok(table::row("RunInstances to first answer", "ms", Target::Below(FIRST_ANSWER_MS_MAX), figures))
}

fn first_answer_ms(cloud: &Cloud) -> Result<f64> {
    let begin = machine::now();
    let ids = cloud.launch(1)?;
    cloud.all_answer(&ids)?;
    let time = machine::ms_since(begin);
    cloud.terminate(&ids)?;
    Ok(time)
}

/// The figures of many instances at once.
#[derive(Default)]
struct Many {
    answer_ms: Vec<f64>,
    end_ms: Vec<f64>,
    overhead_mb: Vec<f64>,
    whole_mb: Vec<f64>,
}

fn many(bench: &Bench, cloud: &Cloud, program: &str) -> Result<Vec<Row>> {
    let (mut ours, mut peers) = (Many::default(), Many::default());
    for _ in 0..bench.rounds {
        many_instances(cloud, &mut ours)?;
        many_by_hand(program, &mut peers)?;
    }
    let row = |what: String, unit, target, pick: fn(&mut Many) -> &mut Vec<f64>, ours: &mut Many, peers: &mut Many| {
        let mut figures = vec![("standfast", table::median(std::mem::take(pick(ours))))];
        let theirs = std::mem::take(pick(peers));
        if !theirs.is_empty() {
            figures.push(("unshare, same server", table::median(theirs)));
        }
        table::row(what, unit, target, figures)
    };
    let (ours, peers) = (&mut ours, &mut peers);
    let until_answer = format!("{MANY} instances, until each answers");
    let until_gone = format!("{MANY} instances, until nothing is left");
    Ok(vec![
        row(until_answer, "ms", Target::Below(MANY_MS_MAX), |many| &mut many.answer_ms, ours, peers),
        row(until_gone, "ms", Target::Below(END_MS_MAX), |many| &mut many.end_ms, ours, peers),
        row(
            "memory of Standfast for an instance".into(),
            "MB",
            Target::Below(OVERHEAD_MB_MAX),
            |many| &mut many.overhead_mb,
            ours,
            peers,
        ),
        row("memory of the machine for an instance".into(), "MB", Target::None, |many| &mut many.whole_mb, ours, peers),
    ])
}

fn many_instances(cloud: &Cloud, figures: &mut Many) -> Result<()> {
    machine::pause(SETTLE);
    let (own_before, all_before) = (cloud.memory_mb()?, machine::available_mb()?);
    let begin = machine::now();
    let ids = cloud.launch(MANY)?;
    cloud.all_answer(&ids)?;
    figures.answer_ms.push(machine::ms_since(begin));
    machine::pause(SETTLE);
    figures.overhead_mb.push((cloud.memory_mb()? - own_before) / MANY as f64);
    figures.whole_mb.push((all_before - machine::available_mb()?) / MANY as f64);
    let begin = machine::now();
    cloud.terminate(&ids)?;
    figures.end_ms.push(machine::ms_since(begin));
    Ok(())
}

fn many_by_hand(program: &str, figures: &mut Many) -> Result<()> {
    machine::pause(SETTLE);
    let before = machine::available_mb()?;
    let begin = machine::now();
    let mut servers = (0..MANY).map(|_| Unshared::start(program)).collect::<Result<Vec<_>>>()?;
    by_hand::all_answer(&mut servers)?;
    figures.answer_ms.push(machine::ms_since(begin));
    machine::pause(SETTLE);
    figures.whole_mb.push((before - machine::available_mb()?) / MANY as f64);
    let begin = machine::now();
    drop(servers);
    figures.end_ms.push(machine::ms_since(begin));
    Ok(())
}
