//! What it takes to begin: the time to the first answer, and the memory of doing nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::server::Server;
use super::table::{self, Row, Subject, Target};
use super::{Bench, client, machine};

const START_MS_MAX: f64 = 20.0;
const IDLE_MB_MAX: f64 = 25.0;
/// Starts are short, so there is time for more of them.
const STARTS_PER_ROUND: usize = 5;
/// How long after its first answer a server is idle.
const SETTLE: Duration = Duration::from_secs(1);

/// From exec to the first answered API call.
pub fn start(bench: &mut Bench) -> Result<Vec<Row>> {
    let moto = bench.moto();
    let bench = &*bench;
    let data = bench.scratch.join("start");
    let data_text = data.to_string_lossy().into_owned();
    let rounds = bench.rounds * STARTS_PER_ROUND;
    let subjects = vec![
        subject("in memory", Box::new(|| bench.standfast(&[], None))),
        subject(
            "new --data",
            Box::new(|| {
                forget(&data)?;
                bench.standfast(&["--data", &data_text], None)
            }),
        ),
        subject("same --data again", Box::new(|| bench.standfast(&["--data", &data_text], None))),
        subject("minimal hyper server", Box::new(|| bench.minimal_hyper(None))),
    ];
    let peers = table::medians(rounds, subjects)?;
    let moto = match &moto {
        Some(program) => {
            table::medians(bench.rounds, vec![subject("moto", Box::new(|| bench.moto_server(program, None)))])?
        }
        None => Vec::new(),
    };
    let row = |at: usize| {
        let figures = [peers[at], peers[3]].into_iter().chain(moto.iter().copied()).collect();
        table::row(format!("exec to first answer, {}", peers[at].0), "ms", Target::Below(START_MS_MAX), figures)
    };
    Ok((0..3).map(row).collect())
}

fn subject<'a>(name: &'static str, start: Box<dyn Fn() -> Result<Server> + 'a>) -> Subject<'a> {
    Subject { name, measure: Box::new(move || first_answer_ms(&*start)) }
}

fn first_answer_ms(start: &dyn Fn() -> Result<Server>) -> Result<f64> {
    let begin = machine::now();
    let server = start()?;
    client::ask(server.address, &client::first_call())?;
    Ok(begin.elapsed().as_secs_f64() * 1000.0)
}

fn forget(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Memory after one answered call and a second of nothing.
pub fn memory(bench: &mut Bench) -> Result<Vec<Row>> {
    let mut figures = vec![("standfast", idle_mb(&bench.standfast(&[], None)?)?)];
    figures.push(("minimal hyper server", idle_mb(&bench.minimal_hyper(None)?)?));
    if let Some(program) = bench.moto() {
        figures.push(("moto", idle_mb(&bench.moto_server(&program, None)?)?));
    }
    let column = |pick: fn(&(f64, f64)) -> f64| figures.iter().map(|(name, both)| (*name, pick(both))).collect();
    Ok(vec![
        table::row("idle, resident", "MB", Target::Below(IDLE_MB_MAX), column(|both| both.0)),
        table::row("idle, proportional", "MB", Target::None, column(|both| both.1)),
    ])
}

fn idle_mb(server: &Server) -> Result<(f64, f64)> {
    client::ask(server.address, &client::first_call())?;
    machine::pause(SETTLE);
    server.process.memory_mb()
}
