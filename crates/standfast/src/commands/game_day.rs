//! `game-day`: a file's faults, in a cloud that answers or in one of its own, and the report of what users saw.
//!
//! The game day has a thread of its own: a cloud in this process, busy with what it lost, does not hold up the probes.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use standfast_core::{Clock, Error, Rng};
use standfast_gameday::report::{self, Report, words};
use standfast_gameday::{Ended, GameDay, Run, World};
use tokio::sync::{oneshot, watch};

use super::probe::write_records;
use super::{deploy, run as cloud};
use crate::api_client::ApiClient;
use crate::cli::{GameDayCommand, GameDayFile, GameDayRun};
use crate::output;
use crate::server::Running;
use crate::signals;
use crate::world::RealWorld;

const FAILED: u8 = 1;
const REFUSED: u8 = 2;
/// Where every request is, beside the report.
const REQUESTS: &str = "requests.csv";

pub async fn run(client: &ApiClient, what: &GameDayCommand) -> Result<ExitCode> {
    match what {
        GameDayCommand::Run(options) => play(client, options).await,
        GameDayCommand::Check(options) => check(client, options).await,
    }
}

/// What a file says, with the text of its template.
struct Told {
    day: GameDay,
    template: Option<String>,
    stack: String,
}

/// Reads the file; an error of the file is a refusal.
fn read(file: &Path) -> Result<Told> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let day = GameDay::read(&text).map_err(|mistake| anyhow!("{}: {mistake}", file.display()))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let path = day.stack.template.as_ref().map(|template| folder.join(template));
    let template = match &path {
        Some(path) => {
            Some(std::fs::read_to_string(path).with_context(|| format!("reading the template {}", path.display()))?)
        }
        None => None,
    };
    let named = day.stack.name.clone().or_else(|| path.as_deref().map(deploy::stack_name_of));
    Ok(Told { day, template, stack: named.context("the file names no stack")? })
}

fn refused(why: &[String]) -> ExitCode {
    eprintln!("standfast: refused, and nothing was broken:");
    why.iter().for_each(|why| eprintln!("  {why}"));
    ExitCode::from(REFUSED)
}

/// Reads the file, or says why it cannot be played.
fn told(options: &GameDayFile) -> Result<Told, ExitCode> {
    read(&options.file).map_err(|error| refused(&[format!("{error:#}")]))
}

async fn play(client: &ApiClient, options: &GameDayRun) -> Result<ExitCode> {
    let told = match told(&options.day) {
        Ok(told) => told,
        Err(code) => return Ok(code),
    };
    std::fs::create_dir_all(&options.out).with_context(|| format!("making {}", options.out.display()))?;
    let (out, records) = (options.out.clone(), options.records);
    in_a_cloud(
        client,
        &options.day,
        told,
        |run| async move { run.run().await },
        move |ended| match ended {
            Ended::Refused(why) => Ok(refused(&why)),
            Ended::Reported(report, requests) => {
                write(&report, &out)?;
                if records {
                    write_records(&out.join(REQUESTS), requests.iter().map(|fact| (&*fact.probe.name, &fact.log)))?;
                }
                output::text_of(people(&report, &out));
                let held = report.verdict == report::Verdict::Held;
                Ok(if held { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
            }
        },
    )
    .await
}

async fn check(client: &ApiClient, options: &GameDayFile) -> Result<ExitCode> {
    let told = match told(options) {
        Ok(told) => told,
        Err(code) => return Ok(code),
    };
    in_a_cloud(
        client,
        options,
        told,
        |run| async move { run.check().await },
        |checked| match checked {
            Err(why) => Ok(refused(&why)),
            Ok(()) => {
                output::line("The game day can be run here; nothing was broken.");
                Ok(ExitCode::SUCCESS)
            }
        },
    )
    .await
}

/// Does something in the cloud that answers, or in one that lives as long.
async fn in_a_cloud<T, F>(
    client: &ApiClient,
    options: &GameDayFile,
    told: Told,
    what: impl FnOnce(Run) -> F + Send + 'static,
    then: impl FnOnce(T) -> Result<ExitCode>,
) -> Result<ExitCode>
where
    T: Send + 'static,
    F: Future<Output = standfast_core::Result<T>>,
{
    let listen = match options.server.listen {
        Some(listen) => listen,
        None => crate::http_client::place(client.endpoint())?.address,
    };
    let there = cloud::client_of(listen, client.region())?;
    let (client, running) = if listen.port() != 0 && there.is_up().await {
        output::line(format_args!("In the cloud at {}", there.endpoint()));
        (there, None)
    } else {
        let running = Running::start(&options.server, listen).await?;
        let client = cloud::client_of(running.address, client.region())?;
        output::line(format_args!("Standfast is ready: {} ({} driver)", client.endpoint(), running.driver));
        (client, Some(running))
    };
    let seed = options.server.seed.unwrap_or_else(|| Rng::from_entropy().u64() % SEEDS);
    let done = aside(client, told, seed, what).await;
    if let Some(running) = running {
        running.stop().await;
    }
    let answer = done?.context("the game day")?;
    then(answer)
}

/// Seeds that are made here are short enough to be typed.
const SEEDS: u64 = 1_000_000;

/// Runs it on a thread and a runtime of its own. The first interruption ends it in order, the second at once.
async fn aside<T, F>(
    client: ApiClient,
    told: Told,
    seed: u64,
    what: impl FnOnce(Run) -> F + Send + 'static,
) -> Result<standfast_core::Result<T>>
where
    T: Send + 'static,
    F: Future<Output = standfast_core::Result<T>>,
{
    let (stopper, stop) = watch::channel(false);
    let (tell, told_back) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("game-day".into()).spawn(move || {
        let answer = runtime.block_on(async {
            let world =
                RealWorld::by_its_clock(client).await.map_err(|error| Error::unavailable(format!("{error:#}")))?;
            let clock = Clock::system(world.speed());
            let start = clock.now();
            let say = move |line: &str| {
                output::line(format_args!("{:>6.1}s  {line}", clock.now().since(start).as_secs_f64()));
            };
            let Told { day, template, stack } = told;
            what(Run { world: Arc::new(world), day, template, stack, seed, say: Arc::new(say), stop }).await
        });
        // Nobody listens when the command has ended already.
        let _ = tell.send(answer);
    })?;
    let interrupted = tokio::spawn(async move {
        if signals::stop_requested().await.is_ok() {
            output::line("Stopping: what is broken is healed first.");
            stopper.send_replace(true);
        }
        std::future::pending::<()>().await
    });
    let answer = told_back.await.map_err(|_| anyhow!("the game day ended without an answer"));
    interrupted.abort();
    answer
}

fn write(report: &Report, out: &Path) -> Result<()> {
    let json = serde_json::to_vec(report).context("writing the report")?;
    for (name, text) in [("report.json", json), ("report.html", report::page(report).into_bytes())] {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn people(report: &Report, out: &Path) -> String {
    let mut text = String::from("\n");
    for line in &report.hypothesis {
        let sign = if line.held { "held  " } else { "FAILED" };
        text += &format!("  {sign}  {}: {}, expected {}\n", line.what, line.measured, line.expected);
        if !line.why.is_empty() {
            text += &format!("          {}\n", line.why);
        }
    }
    for probe in &report.probes {
        let broken = &probe.broken;
        text += &format!("\n  {}: {}\n", probe.name, words::nines(broken.failed, broken.requests));
    }
    text + &format!("\n{}\nThe report: {}\n", report.said, out.join("report.html").display())
}
