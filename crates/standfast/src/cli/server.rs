//! What runs a cloud, and its processes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use standfast_core::{Clock, Timestamp};

use super::values::{moment, speed};
use crate::smtp::Smtp;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn egress_is_named_as_it_is_given() {
        for egress in Egress::value_variants() {
            assert_eq!(Egress::from_str(egress.name(), false), Ok(*egress));
        }
    }
}
