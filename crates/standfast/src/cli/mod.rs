//! The command line, as `--help` shows it.

mod faults;
mod measure;
mod server;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use faults::*;
pub use measure::*;
pub use server::*;
use values::duration;

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
    /// The same live on one screen, with rates and events; arrows scroll, q ends it
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
    /// Break something on purpose: a zone, an instance, packets, a volume, capacity, an API
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
pub struct Agent {
    /// How often
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub interval: std::time::Duration,
    /// Publish once and end
    #[arg(long)]
    pub once: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
