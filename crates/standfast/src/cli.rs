//! The command line, as `--help` shows it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use standfast_core::{Clock, Timestamp};

use crate::smtp::Smtp;

/// Where the API listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:4566";

const EXAMPLES: &str = "\
Examples:
  standfast up examples/what-is-the-time/template.yaml    start a cloud and deploy a stack
  standfast status                                        what runs, where, and how healthy it is
  standfast probe URL --rate 200 --duration 60s           open-loop load: what users would see
  standfast game-day run FILE.yaml                        break it as the file says, and write a report
  standfast lint TEMPLATE                                 what will cost availability, before anything runs
  standfast break zone eu-west-1a                         cut a zone's power; heal brings it back
  standfast break instance i-0123456789abcdef0            kill one instance, as bad hardware would
  standfast down                                          delete the stack

Any AWS client works too: set AWS_ENDPOINT_URL=http://127.0.0.1:4566 and any access key.";

/// A highly available cloud of your own: real instances, load balancers and Auto Scaling behind the AWS API, made to be
/// broken on purpose.
#[derive(Debug, Parser)]
#[command(name = "standfast", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// The cloud's API
    #[arg(
        long,
        global = true,
        env = "AWS_ENDPOINT_URL",
        default_value = "http://127.0.0.1:4566",
        value_name = "URL",
        hide_env_values = true
    )]
    pub endpoint: String,

    /// The region to act in
    #[arg(long, global = true, env = "AWS_REGION", default_value = standfast_core::place::DEFAULT_REGION, hide_env_values = true)]
    pub region: String,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Deploy a CloudFormation template; starts a cloud where none answers
    Up(Up),
    /// Delete a stack and all it made
    Down(Down),
    /// Zones, groups, instances, target health and stacks
    Status(Status),
    /// The same live on one screen, with rates and events; q ends it
    Top(Top),
    /// Send open-loop load to a URL and report what users would have seen
    Probe(Probe),
    /// Break a stack as a file says, measure what its users see, and write a report
    GameDay(GameDay),
    /// Say what in a template will cost availability, and what is wrong with it, before anything runs
    Lint(Lint),
    /// Send load to a URL, steady or rising; also from within instances
    Load(Load),
    /// Within an instance: publish its memory and disk use to CloudWatch
    Agent(Agent),
    /// Within an instance: load its processor, memory or disks for a time, as the documents of FIS do
    Stress(Stress),
    /// Break a zone or an instance on purpose
    Break(Break),
    /// Bring back what was broken
    Heal(Heal),
    /// Terminate instances of Auto Scaling groups at random, on a schedule
    Monkey(Monkey),
    /// Print an instance's console output
    Logs(Logs),
    /// Run a command inside an instance
    Exec(Exec),
    /// Public addresses and load balancers' names, and who has them
    Addresses(Status),
    /// E-mail that the cloud sent nowhere, for want of --smtp: a list, or one of it
    Mail(Mail),
    /// Print what services tell, as JSON, and go on as they tell more
    Events(Events),
    /// What this machine lets a cloud do, and what each thing that is missing costs
    Doctor(Status),
    /// Run a cloud in the foreground
    Server(Server),
    /// The process of a cloud that runs its instances; `server` starts it
    #[command(hide = true)]
    Host(HostProcess),
    /// The process of a cloud that runs its load balancers; `server` starts it
    #[command(hide = true)]
    Dataplane(DataplaneProcess),
    /// Print which operations work, as JSON
    #[command(hide = true)]
    Coverage,
}

#[derive(Debug, Args)]
pub struct Up {
    /// The template, YAML or JSON
    pub template: PathBuf,
    /// The stack's name; the template's folder name by default
    #[arg(long, value_name = "NAME")]
    pub stack_name: Option<String>,
    /// A parameter of the template; may be given several times
    #[arg(long = "parameter", short = 'p', value_name = "KEY=VALUE")]
    pub parameters: Vec<String>,
    #[command(flatten)]
    pub server: Server,
}

#[derive(Debug, Args)]
pub struct Mail {
    /// The mail's number in the list
    pub number: Option<usize>,
}

#[derive(Debug, Args)]
pub struct Events {
    /// End after those that are there
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, Args)]
pub struct Down {
    /// The stack's name; needed only when there are several
    pub stack_name: Option<String>,
}

#[derive(Debug, Args)]
pub struct Top {
    /// Print one frame as text and end
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, Args)]
pub struct Status {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

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
pub struct Agent {
    /// How often
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub interval: std::time::Duration,
    /// Publish once and end
    #[arg(long)]
    pub once: bool,
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
        #[arg(long, default_value_t = 1)]
        workers: usize,
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

#[derive(Debug, Args)]
pub struct Break {
    #[command(subcommand)]
    pub what: Breakable,
}

#[derive(Debug, Subcommand)]
pub enum Breakable {
    /// The zone loses power: its instances, load balancer nodes and links, at once, until healed
    Zone {
        /// For example eu-west-1a
        zone: String,
    },
    /// SIGKILL to everything in the instance
    Instance {
        /// For example i-0123456789abcdef0
        id: String,
    },
    /// The hardware below the instance fails: it is recovered elsewhere, or its status check fails for good
    Hardware {
        /// For example i-0123456789abcdef0
        id: String,
    },
    /// The spot instance gets its notice, and is taken away two minutes later
    Spot {
        /// For example i-0123456789abcdef0
        id: String,
    },
    /// Packets between two zones are lost or late, in both directions, until healed
    Link(Link),
    /// A scenario of AWS's by its name: what it hits has the tags that AWS documents
    Scenario(Scenario),
    /// Load on an instance's processor, memory or disks, for a time
    Stress(BreakStress),
    /// Packets of one instance are lost, late or damaged, until healed
    Network {
        /// The instance
        id: String,
        /// How many packets of a hundred that it sends are lost
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100), value_name = "PERCENT")]
        loss: u8,
        /// How many milliseconds later packets reach it
        #[arg(long, default_value_t = 0, value_name = "MS")]
        delay: u32,
        /// How many packets of a hundred that reach it have a wrong bit
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100), value_name = "PERCENT")]
        corrupt: u8,
    },
    /// A subnet is cut off, until healed
    Subnet {
        id: String,
        /// From what
        #[arg(long, value_enum, default_value_t = Cut::Everything)]
        from: Cut,
    },
    /// Writes to a volume hang, until healed
    Volume { id: String },
    /// Instances cannot be launched in a zone, until healed
    Capacity {
        zone: String,
        /// Only those of this Auto Scaling group
        #[arg(long, value_name = "NAME")]
        group: Option<String>,
    },
    /// Requests to a service fail, until healed
    Api {
        /// As in IAM's policies: ec2, autoscaling, elasticloadbalancing
        service: String,
        /// Only these operations; may be given several times
        #[arg(long = "operation", value_name = "NAME")]
        operations: Vec<String>,
        #[arg(long, value_enum, default_value_t = ApiError::Throttle)]
        error: ApiError,
        /// How many requests of a hundred
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: u8,
    },
    /// The targets of a target group fail their health checks, until healed
    Targets {
        /// The target group's name or ARN
        name: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cut {
    Everything,
    OtherZones,
    OutsideVpc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ApiError {
    Throttle,
    Internal,
    Unavailable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScenarioName {
    /// Instances stop, launches find no capacity, subnets are cut off, volumes hang (tag AzImpairmentPower)
    #[value(name = "az-power-interruption", alias = "AZ Availability: Power Interruption")]
    PowerInterruption,
    /// Packets to other zones are lost (tag CrossAZTrafficSlowdown)
    #[value(name = "cross-az-traffic-slowdown", alias = "Cross-AZ: Traffic Slowdown")]
    TrafficSlowdown,
}

#[derive(Debug, Args)]
pub struct Scenario {
    #[arg(value_enum, ignore_case = true)]
    pub name: ScenarioName,
    #[arg(long)]
    pub zone: String,
    /// How long
    #[arg(long = "for", default_value = "30m", value_parser = duration, value_name = "TIME")]
    pub time: std::time::Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StressOf {
    Cpu,
    Memory,
    Io,
    Disk,
}

#[derive(Debug, Args)]
pub struct BreakStress {
    /// The instance
    pub id: String,
    #[arg(value_enum)]
    pub what: StressOf,
    /// Ends by itself after this
    #[arg(long = "for", default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub time: std::time::Duration,
}

#[derive(Debug, Args)]
pub struct Monkey {
    /// Hit this group; may be given several times. Without it: groups with the tag standfast:monkey=on
    #[arg(long = "group", value_name = "NAME")]
    pub groups: Vec<String>,
    /// How likely a group is to be hit each time
    #[arg(long, default_value_t = 0.5, value_parser = probability)]
    pub probability: f64,
    /// How often
    #[arg(long, default_value = "10m", value_parser = duration, value_name = "TIME")]
    pub every: std::time::Duration,
    /// End after this; without it, it goes on until it is interrupted
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    pub time: Option<std::time::Duration>,
    /// Only from Monday to Friday, 9 to 17 o'clock UTC
    #[arg(long)]
    pub business_hours: bool,
    /// Say who would be hit, and hit nobody
    #[arg(long)]
    pub dry_run: bool,
    /// Repeat a run's random choices
    #[arg(long)]
    pub seed: Option<u64>,
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("a probability is a number from 0 to 1".into()),
    }
}

#[derive(Debug, Args)]
pub struct Link {
    /// For example eu-west-1a
    pub zone: String,
    /// For example eu-west-1b; the same zone again for traffic within it
    pub other: String,
    /// How many packets of a hundred are lost; 100 is a partition
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100), value_name = "PERCENT")]
    pub loss: u8,
    /// How many milliseconds later packets arrive, there and back: a round trip takes twice this longer
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub delay: u32,
}

#[derive(Debug, Args)]
pub struct Heal {
    #[command(subcommand)]
    pub what: Healable,
}

#[derive(Debug, Subcommand)]
pub enum Healable {
    /// The zone has power again
    Zone {
        /// For example eu-west-1a
        zone: String,
    },
    /// Packets between the two zones arrive again
    Link {
        /// For example eu-west-1a
        zone: String,
        /// For example eu-west-1b
        other: String,
    },
    /// Every experiment of the region is stopped
    All,
    /// The scenario in the zone is stopped
    Scenario { zone: String },
    /// The instance's packets arrive again
    Network { id: String },
    /// The subnet is no longer cut off
    Subnet { id: String },
    /// Writes to the volume go on
    Volume { id: String },
    /// Instances can be launched in the zone again
    Capacity {
        zone: String,
        #[arg(long, value_name = "NAME")]
        group: Option<String>,
    },
    /// The service answers again
    Api { service: String },
    /// The target group's targets are what they answer again
    Targets { name: String },
}

#[derive(Debug, Args)]
pub struct Logs {
    /// The instance's id
    pub id: String,
}

#[derive(Debug, Args)]
pub struct Exec {
    /// The instance's id
    pub id: String,
    /// The command and its arguments, after --
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Server {
    /// Where the API listens; a port of 0 takes a free one. `up` uses the endpoint's address
    #[arg(long, value_name = "ADDRESS", env = "STANDFAST_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Keep the cloud's state here; without it the cloud is forgotten when it stops
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// What runs instances
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    pub driver: Driver,
    /// A directory laid over the base image of instances, read-only (linux driver): DIR/usr/bin/x is their /usr/bin/x
    #[arg(long = "image-layer", value_name = "DIR")]
    pub image_layers: Vec<PathBuf>,
    /// Where instances that have a way to the internet get to (linux driver; those of the process driver use this machine's
    /// network in any case)
    #[arg(long, value_enum, default_value_t = Egress::Simulated)]
    pub egress: Egress,
    /// Send e-mail notifications to this mail server, smtp://[USER:PASSWORD@]HOST[:PORT]; without it `standfast mail` shows
    /// them
    #[arg(long, value_name = "URL", env = "STANDFAST_SMTP", hide_env_values = true)]
    pub smtp: Option<Smtp>,
    /// Control-plane time runs this many times as fast
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Repeat a run's random choices
    #[arg(long)]
    pub seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// The best one that this machine allows
    Auto,
    /// Instances are little machines: namespaces, networks and file systems of their own
    Linux,
    /// Instances are process groups with loopback addresses of their own
    Process,
    /// Instances are simulated
    Sim,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Egress {
    /// An internet of the cloud's own; nothing leaves this machine
    #[default]
    Simulated,
    /// The real one, by this machine's network: TCP and names, no other UDP and no ICMP, and no private networks
    Host,
}

impl Egress {
    /// As it is given.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Host => "host",
        }
    }
}

/// What every process of a cloud is told.
#[derive(Debug, Args)]
pub struct Process {
    /// What the cloud's clock showed, and what the machine's did, in milliseconds
    #[arg(long, value_name = "CLOUD:MACHINE", value_parser = moment)]
    pub clock: (i64, i64),
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Where it is found by a later server; without it, it ends with the server that started it
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
}

impl Process {
    /// The cloud's clock.
    pub fn clock(&self) -> Clock {
        let (cloud, machine) = self.clock;
        let passed = Clock::system(1.0).now().since(Timestamp(machine));
        Clock::starting_at(Timestamp(cloud) + passed.mul_f64(self.speed), self.speed)
    }
}

#[derive(Debug, Args)]
pub struct HostProcess {
    #[command(flatten)]
    pub process: Process,
    #[arg(long, value_enum)]
    pub driver: Driver,
    /// Where instances live; removed at the end unless there is a later server
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Where instances find the API, on this machine's loopback
    #[arg(long, value_name = "ADDRESS")]
    pub api: SocketAddr,
    #[arg(long, value_enum, default_value_t = Egress::Simulated)]
    pub egress: Egress,
    #[arg(long = "image-layer", value_name = "DIR")]
    pub image_layers: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DataplaneProcess {
    #[command(flatten)]
    pub process: Process,
    #[arg(long)]
    pub seed: Option<u64>,
}

fn moment(text: &str) -> Result<(i64, i64), String> {
    let pair = text.split_once(':').and_then(|(cloud, machine)| Some((cloud.parse().ok()?, machine.parse().ok()?)));
    pair.ok_or_else(|| format!("'{text}' is not two times"))
}

/// Reads `250ms`, `90s`, `5m`, `1h`; a bare number is seconds.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| format!("'{text}' is not a duration such as 90s or 5m"))?;
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("'{unit}' is not a unit of time; use ms, s, m or h")),
    };
    let seconds = number * unit;
    if !(seconds > 0.0 && seconds <= 86_400.0) {
        return Err("a duration is more than zero and at most 24h".into());
    }
    Ok(std::time::Duration::from_secs_f64(seconds))
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.1..=1000.0).contains(&speed) => Ok(speed),
        _ => Err("a speed is a number from 0.1 to 1000".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn egress_is_named_as_it_is_given() {
        for egress in Egress::value_variants() {
            assert_eq!(Egress::from_str(egress.name(), false), Ok(*egress));
        }
    }

    #[test]
    fn durations_have_units_and_bounds() {
        assert_eq!(duration("1.5m"), Ok(std::time::Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(std::time::Duration::from_millis(250)));
        for bad in ["", "s", "5 parsecs", "0s", "-1s", "25h", "NaN"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
