//! `doctor`: what this machine lets a cloud do, as this user, and what each thing that is missing costs.
//!
//! Every line is tried, not guessed from who asks: root in a container may do less than a user with capabilities.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value as Json, json};

use crate::cli::Driver;
use crate::{driver, output};

/// Where programs are looked for after the PATH: where administrators' are, which is in few users' PATH.
const MORE_PATH: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
/// With fewer descriptors than this a cloud has trouble with a hundred instances.
const DESCRIPTORS_MIN: u64 = 4096;
/// An address as load balancers' nodes get them where instances have no networks.
const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 64, 255, 254);

/// Programs of the machine that instances use, and what is not there without them.
const PROGRAMS: [(&str, &str); 4] = [
    ("mkfs.ext4", "file systems of volumes: attached volumes cannot be made"),
    ("sshd", "logging in to instances: `ssh` finds nobody who listens"),
    ("squid", "proxies such as the egress examples': their instances fail to start it"),
    ("python3", "the examples' applications in Python: their instances fail to start them"),
];

const NO_LINUX: &str = "instances have no networks, volumes, metadata or limits, and send what they send by this machine's own \
     network; security groups are records only";
/// What the linux driver can do without, by how the finding's name begins.
#[cfg(target_os = "linux")]
const LINUX_COSTS: [(&str, &str); 5] = [
    ("loop devices", "volumes cannot be attached"),
    ("mkfs.ext4", "volumes come without a file system"),
    ("latency ", "`standfast break link --delay` is refused; loss and partitions work"),
    ("egress ", "instances get to the simulated internet only, as they do without --egress host"),
    ("cgroup ", "instances are not held to what their type has of it"),
];

/// Something that was tried.
struct Finding {
    name: String,
    works: bool,
    detail: String,
    /// What is not there when it does not work.
    cost: String,
}

/// Prints the driver that would run, what was tried, and the programs.
pub fn run(as_json: bool) -> Result<ExitCode> {
    let choice = driver::choose(Driver::Auto)?;
    let (findings, programs) = (findings(), programs());
    if as_json {
        let all = json!({
            "driver": choice.name, "why": choice.why, "user": rustix::process::geteuid().as_raw(),
            "findings": findings.iter().map(shape).collect::<Vec<_>>(),
            "programs": programs.iter().map(shape).collect::<Vec<_>>(),
        });
        output::line(format_args!("{all:#}"));
        return Ok(ExitCode::SUCCESS);
    }
    output::line(format_args!("Driver: {} ({})", choice.name, choice.why));
    output::line("\nAbilities");
    findings.iter().for_each(print);
    output::line("\nPrograms that instances use");
    programs.iter().for_each(print);
    Ok(ExitCode::SUCCESS)
}

fn shape(finding: &Finding) -> Json {
    let Finding { name, works, detail, cost } = finding;
    json!({"name": name, "works": works, "detail": detail, "without": cost})
}

fn print(finding: &Finding) {
    let mark = if finding.works { "ok" } else { "--" };
    output::line(format_args!("  {mark}  {:<26} {}", finding.name, finding.detail));
    if !finding.works {
        output::line(format_args!("      without it: {}", finding.cost));
    }
}

fn findings() -> Vec<Finding> {
    let mut all = linux();
    all.extend([addresses(), port_80(), names(), descriptors(), processes()]);
    all
}

/// Whether the linux driver runs, and what it needs or can use.
fn linux() -> Vec<Finding> {
    let available = driver::linux_available();
    let mut all = vec![Finding {
        name: "linux driver".into(),
        works: available.is_ok(),
        detail: available.err().unwrap_or_else(|| "instances are little machines".into()),
        cost: NO_LINUX.into(),
    }];
    #[cfg(target_os = "linux")]
    all.extend(standfast_host::linux::probe().into_iter().map(|found| {
        let cost = LINUX_COSTS.iter().find(|(name, _)| found.name.starts_with(name)).map_or(NO_LINUX, |(_, cost)| cost);
        Finding { name: found.name, works: found.ok, detail: found.detail, cost: cost.into() }
    }));
    all
}

fn addresses() -> Finding {
    let bound = TcpListener::bind(SocketAddrV4::new(NODE_ADDRESS, 0));
    Finding {
        name: "loopback addresses".into(),
        works: bound.is_ok(),
        detail: bound.map_or_else(|error| error.to_string(), |_| "all of 127.0.0.0/8 can be listened on".into()),
        cost: "instances and load balancers share 127.0.0.1 and its ports".into(),
    }
}

fn port_80() -> Finding {
    let bound = TcpListener::bind(SocketAddrV4::new(NODE_ADDRESS, 80));
    Finding {
        name: "ports below 1024".into(),
        works: bound.is_ok(),
        detail: bound.map_or_else(|error| error.to_string(), |_| "they can be listened on".into()),
        cost: "load balancers' own addresses answer on other ports; by name they answer on the API's port".into(),
    }
}

fn names() -> Finding {
    const NAME: &str = "any-name.eu-west-1.elb.localhost";
    let found = (NAME, 80).to_socket_addrs().map(|mut all| all.any(|address| address.ip().is_loopback()));
    let works = found.as_ref().is_ok_and(|loopback| *loopback);
    let detail = match found {
        Ok(true) => "names below localhost are this machine".into(),
        Ok(false) => format!("{NAME} is another machine"),
        Err(error) => format!("{NAME}: {error}"),
    };
    let cost = "programs that ask the resolver find no load balancer by name; curl and browsers do by themselves";
    Finding { name: "names of load balancers".into(), works, detail, cost: cost.into() }
}

fn descriptors() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    Finding {
        name: "file descriptors".into(),
        works: limit.is_none_or(|limit| limit >= DESCRIPTORS_MIN),
        detail: limit.map_or("no limit".into(), |limit| format!("up to {limit}")),
        cost: format!("fewer instances and connections: raise the hard limit to {DESCRIPTORS_MIN} (ulimit -Hn)"),
    }
}

/// Where processes of others are hidden nothing is lost; where all are, nothing of instances can be found.
fn processes() -> Finding {
    let seen = std::fs::read_to_string("/proc/self/stat");
    Finding {
        name: "/proc".into(),
        works: seen.is_ok(),
        detail: seen.map_or_else(|error| error.to_string(), |_| "processes can be seen".into()),
        cost: "CPU time reads zero, and what leaves an instance's process group is not found".into(),
    }
}

fn programs() -> Vec<Finding> {
    PROGRAMS
        .iter()
        .map(|(name, what_for)| {
            let found = find(name);
            Finding {
                name: (*name).to_owned(),
                works: found.is_some(),
                detail: found.map_or("not found".into(), |path| path.display().to_string()),
                cost: (*what_for).to_owned(),
            }
        })
        .collect()
}

/// A program that this user may run.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_PATH.iter().map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0))
}
