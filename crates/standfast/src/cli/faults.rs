//! What breaks, and what heals.

use clap::{Args, Subcommand, ValueEnum};

use super::values::{duration, probability};

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
        /// For example subnet-0123456789abcdef0
        id: String,
        /// From what
        #[arg(long, value_enum, default_value_t = Cut::Everything)]
        from: Cut,
    },
    /// Reads and writes of a volume hang, until healed
    Volume {
        /// For example vol-0123456789abcdef0
        id: String,
    },
    /// Instances cannot be launched in a zone, until healed
    Capacity {
        /// For example eu-west-1a
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
    /// What instances get from their own zone is late (tag AZApplicationSlowdown)
    #[value(name = "az-application-slowdown", alias = "AZ: Application Slowdown")]
    ApplicationSlowdown,
    /// Packets to other zones are lost (tag CrossAZTrafficSlowdown)
    #[value(name = "cross-az-traffic-slowdown", alias = "Cross-AZ: Traffic Slowdown")]
    TrafficSlowdown,
}

#[derive(Debug, Args)]
pub struct Scenario {
    #[arg(value_enum, ignore_case = true)]
    pub name: ScenarioName,
    /// For example eu-west-1a
    #[arg(long)]
    pub zone: String,
    /// How long; a volume that is to hang does so afterwards, for as long again
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
    /// Reads and writes of the volume go on
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
