//! What measures, and what sends load.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Server;
use super::values::duration;

#[derive(Debug, Args)]
pub struct Probe {
    /// http://HOST/PATH, tcp://HOST:PORT or dns://RESOLVER:PORT/NAME, on this machine: a load balancer's name, localhost, or
    /// a loopback address
    pub url: String,
    /// Requests a second, sent at their times whether or not earlier ones have been answered
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub rate: u32,
    /// How long, for example 90s, 5m
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub duration: std::time::Duration,
    /// A request that takes longer has failed
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub timeout: std::time::Duration,
    /// Print one JSON object at the end instead of a line a second
    #[arg(long)]
    pub json: bool,
    /// What it is called in the metrics that it tells the cloud; its URL when not given
    #[arg(long)]
    pub name: Option<String>,
    /// Do not tell the cloud at the endpoint what is seen, as metrics in the namespace Standfast/Probes
    #[arg(long)]
    pub no_metrics: bool,
    /// Write every request as a line of CSV: when it was due, what became of it, and who answered
    #[arg(long, value_name = "FILE")]
    pub records: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct GameDay {
    #[command(subcommand)]
    pub what: GameDayCommand,
}

#[derive(Debug, Subcommand)]
pub enum GameDayCommand {
    /// Deploy, check the steady state, break, watch, heal, check again. Exit code 0: the hypothesis held; 1: it failed; 2: it
    /// was refused before anything broke
    Run(GameDayRun),
    /// Deploy, and say whether it could be run; break nothing
    Check(GameDayFile),
}

#[derive(Debug, Args)]
pub struct GameDayFile {
    /// The game day, YAML
    pub file: PathBuf,
    #[command(flatten)]
    pub server: Server,
}

#[derive(Debug, Args)]
pub struct GameDayRun {
    #[command(flatten)]
    pub day: GameDayFile,
    /// Where report.html and report.json go
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Also write requests.csv there: every request of the probes, when it was due, what became of it, and who answered
    #[arg(long)]
    pub records: bool,
}

#[derive(Debug, Args)]
pub struct Lint {
    /// The template, YAML or JSON
    pub template: PathBuf,
    /// A parameter of the template; may be given several times
    #[arg(long = "parameter", short = 'p', value_name = "KEY=VALUE")]
    pub parameters: Vec<String>,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = LintFormat::Text)]
    pub format: LintFormat,
    /// The exit code is 1 when something as bad as this is found
    #[arg(long, value_enum, default_value_t = FailOn::Error)]
    pub fail_on: FailOn,
    /// How long an outage may last; what is slower is found
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub objective: std::time::Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    Text,
    Json,
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    Error,
    Warning,
}

#[derive(Debug, Args)]
pub struct Load {
    /// An http:// URL on this machine; within an instance, any that its network leads to
    pub url: String,
    /// Requests a second, sent at their times whether or not earlier ones have been answered
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub rate: u32,
    /// Requests a second at the end of a rise (or fall) over `--over`
    #[arg(long, value_name = "RATE", requires = "over", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub to: Option<u32>,
    /// How long the rise takes
    #[arg(long, requires = "to", value_parser = duration)]
    pub over: Option<std::time::Duration>,
    /// How long in all, for example 90s, 5m; it ends by itself
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub duration: std::time::Duration,
    /// A request that takes longer has failed
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub timeout: std::time::Duration,
    /// Print one JSON object at the end instead of a line a second
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Stress {
    #[command(subcommand)]
    pub what: StressKind,
}

/// How long, and under which name it is found again.
#[derive(Debug, Args)]
pub struct StressTime {
    /// Ends by itself after this
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    pub time: std::time::Duration,
    /// `stress end TOKEN` ends it
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum StressKind {
    /// Keep processors busy
    Cpu {
        /// How many; 0 is all
        #[arg(long, default_value_t = 0)]
        cpus: usize,
        /// For how much of the time
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100), value_name = "PERCENT")]
        load: u8,
        #[command(flatten)]
        time: StressTime,
    },
    /// Hold memory
    Memory {
        /// How many threads hold a share each
        #[arg(long, default_value_t = 1)]
        workers: usize,
        /// Of what is free
        #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: u8,
        #[command(flatten)]
        time: StressTime,
    },
    /// Write and read without pause
    Io {
        /// How many threads write and read, each in a file of its own
        #[arg(long, default_value_t = 1)]
        workers: usize,
        /// Of the space that is free, which the files take between them
        #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: u8,
        /// Where
        #[arg(long, default_value = "/var/tmp", value_name = "DIR")]
        path: PathBuf,
        #[command(flatten)]
        time: StressTime,
    },
    /// Fill mounted volumes
    Disk {
        /// Until they are this full
        #[arg(long, default_value_t = 95, value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: u8,
        /// This one only
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
        #[command(flatten)]
        time: StressTime,
    },
    /// Send a signal to every process of a name
    Kill {
        #[arg(long, default_value = "SIGTERM")]
        signal: String,
        process: String,
    },
    /// End what was started with this token
    #[command(hide = true)]
    End { token: String },
}
