//! `cargo xtask bench`: how fast it is, beside programs that do the same.
//!
//! Every figure is the median of rounds in which Standfast and its peers take turns, so that whatever else the machine
//! does falls on all of them. A peer that is not there is left out, and the end of the report says so. Figures are
//! reported and not asserted: machines differ.

mod api;
mod backend;
mod by_hand;
mod client;
mod cloud;
mod cloudwatch;
mod console;
mod game_day;
mod healing;
mod instances;
mod lb;
mod load;
mod machine;
mod network;
mod server;
mod start;
mod store;
mod table;
mod visit;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::machine::Cores;
use self::table::Row;
use crate::workspace::Workspace;

const HELP: &str = "\
Usage: cargo xtask bench [--rounds N] [--seconds S] [--no-build] [NAME...]

  start    exec to the first answered API call
  memory   resident memory when idle
  describe, launch, metrics
           requests a second: DescribeInstances, RunInstances, PutMetricData
  cloudwatch
           points a second, a day of 1,000 series, 10,000 alarms, a month on disk
  lb       the load balancer beside nginx and haproxy
  store    durable puts a second of the store
  game-day what a prober costs at 5,000 requests a second, and a report over a million
  instances
           the linux driver, as root: launch to first answer, 100 of them, their memory, their end
  network  the linux driver, as root: a rule, an Elastic IP, an interface and a zone, until packets obey
  healing  the linux driver, as root: from an alarm, and from a death, to the launch
  console  a page of the console where 200 instances run
";

const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(2);
/// Above this many runnable processes the figures are of little worth.
const LOAD_MAX: f64 = 0.7;

type Section = fn(&mut Bench) -> Result<Vec<Row>>;
const SECTIONS: &[(&str, Section)] = &[
    ("start", start::start),
    ("memory", start::memory),
    ("describe", api::describe),
    ("launch", api::launch),
    ("metrics", api::metrics),
    ("cloudwatch", cloudwatch::rows),
    ("lb", lb::rows),
    ("store", store::rows),
    ("game-day", game_day::rows),
    ("instances", instances::rows),
    ("network", network::rows),
    ("healing", healing::rows),
    ("console", console::rows),
];

/// A run: what it measures, with what, and what it left out.
pub struct Bench {
    workspace: Workspace,
    rounds: usize,
    /// How long one measurement of a rate takes.
    window: Duration,
    cores: Cores,
    /// Scratch space on the same disk as the build, removed at the end.
    scratch: PathBuf,
    left_out: Vec<String>,
    moto: Option<Option<PathBuf>>,
}

pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let scratch = workspace.root.join(format!("target/bench-{}", std::process::id()));
    let mut bench = Bench {
        workspace: workspace.clone(),
        rounds: ROUNDS,
        window: WINDOW,
        cores: Cores::of_this_machine()?,
        scratch: scratch.clone(),
        left_out: Vec::new(),
        moto: None,
    };
    let (names, build) = bench.read(arguments)?;
    if build {
        bench.build()?;
    }
    std::fs::create_dir_all(&scratch)?;
    let measured = bench.measure(&names);
    std::fs::remove_dir_all(&scratch).context("removing the scratch directory")?;
    measured
}

impl Bench {
    fn read(&mut self, arguments: &[String]) -> Result<(Vec<String>, bool)> {
        let (mut names, mut build) = (Vec::new(), true);
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--rounds" => self.rounds = arguments.next().context(HELP)?.parse::<usize>()?.max(1),
                "--seconds" => self.window = Duration::try_from_secs_f64(arguments.next().context(HELP)?.parse()?)?,
                "--no-build" => build = false,
                name if SECTIONS.iter().any(|(section, _)| *section == name) => names.push(name.to_owned()),
                _ => bail!("{HELP}"),
            }
        }
        Ok((names, build))
    }

    fn build(&self) -> Result<()> {
        for arguments in [
            &["build", "--release", "--bin", "standfast"][..],
            &["build", "--release", "-p", "standfast-dataplane", "--example", "lb_bench"],
            &["build", "--release", "-p", "standfast-store", "--example", "store_bench"],
            &["build", "--release", "-p", "standfast-testkit", "--example", "cloudwatch_bench"],
            &["build", "--release", "-p", "standfast-gameday", "--example", "report_bench"],
            &["build", "--release", "-p", "xtask", "--example", "minimal_hyper"],
        ] {
            let status = Command::new(env!("CARGO")).args(arguments).current_dir(&self.workspace.root).status()?;
            if !status.success() {
                bail!("cargo {} ended with {status}", arguments.join(" "));
            }
        }
        Ok(())
    }

    fn measure(&mut self, names: &[String]) -> Result<()> {
        let load = machine::load_average()?;
        println!("{}, load average {load:.2}, {} rounds", machine::describe()?, self.rounds);
        if load > LOAD_MAX {
            println!("WARNING: the machine is busy; the figures are of little worth.");
        }
        let mut rows = Vec::new();
        for (name, section) in SECTIONS {
            if names.is_empty() || names.iter().any(|wanted| wanted == name) {
                eprintln!("measuring {name} ...");
                rows.extend(section(self).with_context(|| format!("measuring {name}"))?);
            }
        }
        table::print(&rows);
        for left_out in &self.left_out {
            println!("NOT MEASURED: {left_out}");
        }
        println!("load average at the end {:.2}", machine::load_average()?);
        Ok(())
    }

    /// A program of the release build.
    fn built(&self, name: &str) -> PathBuf {
        self.workspace.root.join("target/release").join(name)
    }

    fn leave_out(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.left_out.contains(&what) {
            eprintln!("NOT MEASURED: {what}");
            self.left_out.push(what);
        }
    }

    /// moto's server, in a virtual environment of its own, installed when it is first asked for.
    fn moto(&mut self) -> Option<PathBuf> {
        if self.moto.is_none() {
            let found = self.install_moto();
            if let Err(why) = &found {
                self.leave_out(format!("moto: {why:#}"));
            }
            self.moto = Some(found.ok());
        }
        self.moto.clone().flatten()
    }

    fn install_moto(&self) -> Result<PathBuf> {
        let venv = self.workspace.root.join("target/venv-bench");
        let program = venv.join("bin/moto_server");
        if !program.exists() {
            machine::succeed(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
            machine::succeed(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "moto[server]"]))?;
        }
        Ok(program)
    }
}
