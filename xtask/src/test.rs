//! `cargo xtask test`: everything that must hold, in one command, on a machine with Rust, a C compiler and Python 3.
//!
//! What the tests need beyond that (boto3, the aws CLI, pytest) goes into `target/venv`; programs that instances of the
//! linux driver use are Debian's packages, installed when it is root who asks. Terraform, cargo-deny and the second user
//! run where the machine has them; where it has not, the summary says so.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

const CLIENTS: &[&str] = &[
    "boto3==1.43.11",
    "cryptography==46.0.3",
    "awscli==1.45.11",
    "pytest==8.4.2",
    "pytest-timeout==2.4.0",
    "pytest-xdist==3.8.0",
    "selenium==4.51.0",
];

/// What hangs ends, and says where: one test with a client after so many seconds, ...
const TEST_LIMIT: &str = "600";
/// ... and a command with everything it started after so many.
const COMMAND_LIMIT: &str = "2400";

/// Programs that tests use, and their packages: of the linux driver (inside instances: their image is the machine's own),
/// and the browser that looks at the console.
const PROGRAMS: &[(&str, &str)] = &[
    ("/usr/bin/curl", "curl"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/mkfs.ext4", "e2fsprogs"),
    ("/usr/sbin/sshd", "openssh-server"),
    ("/usr/bin/chromium", "chromium"),
    ("/usr/bin/chromedriver", "chromium-driver"),
];

/// Files of tests that measure what users see, for which the machine is to do nothing else.
const ALONE: &[&str] = &["test_site.py", "test_processes.py", "test_game_day.py", "test_game_days_examples.py"];
/// The file that looks back at what all others have called.
const LAST: &str = "test_clients.py";

struct Run<'a> {
    workspace: &'a Workspace,
    done: Vec<String>,
    /// What was not run, and why.
    left_out: Vec<String>,
}

/// Runs all steps, or the one that is named.
pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let steps: [(&str, fn(&mut Run) -> Result<()>); 7] = [
        ("lint", lint),
        ("deny", deny),
        ("machine", machine),
        ("unit", unit),
        ("build", build),
        ("clients", clients),
        ("doc", doc),
    ];
    let wanted = arguments.first().map(String::as_str);
    if let Some(wanted) = wanted
        && !steps.iter().any(|(name, _)| *name == wanted)
    {
        let names: Vec<_> = steps.iter().map(|(name, _)| *name).collect();
        bail!("no step is called '{wanted}'; there are {}", names.join(", "));
    }
    std::env::set_current_dir(&workspace.root)?;
    let mut run = Run { workspace, done: Vec::new(), left_out: Vec::new() };
    for (name, step) in steps {
        if wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        #[allow(clippy::disallowed_methods)] // How long a step took, for the person who waits.
        let start = Instant::now();
        println!("== {name}");
        step(&mut run).with_context(|| format!("the step '{name}' failed"))?;
        run.done.push(format!("{name} {:.0} s", start.elapsed().as_secs_f64()));
    }
    println!("\n== all passed: {}", run.done.join(", "));
    for left_out in &run.left_out {
        println!("== NOT RUN: {left_out}");
    }
    Ok(())
}

fn lint(run: &mut Run) -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    crate::tidy::run(run.workspace, &[])?;
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

fn deny(run: &mut Run) -> Result<()> {
    if !works("cargo-deny", &["--version"]) {
        run.left_out.push("cargo deny: cargo-deny is not installed".into());
        return Ok(());
    }
    cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"])
}

/// Makes sure of the programs that tests use, where that can be done.
fn machine(run: &mut Run) -> Result<()> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|(path, _)| !Path::new(path).exists()).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    if !root() {
        run.left_out.push("the linux driver's tests: they need root".into());
    } else if !packages.is_empty() {
        let install = Command::new("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(&packages)
            // No service of a package is started: nothing of the host is to change but its files.
            .envs([("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")])
            .status();
        if !install.is_ok_and(|status| status.success()) {
            run.left_out.push(format!("tests that need one of {}: they could not be installed", packages.join(", ")));
        }
    }
    Ok(())
}

fn unit(_: &mut Run) -> Result<()> {
    cargo(&["test", "--quiet", "--workspace", "--no-fail-fast"])
}

fn build(_: &mut Run) -> Result<()> {
    cargo(&["build", "--release", "--bin", "standfast"])
}

fn doc(run: &mut Run) -> Result<()> {
    crate::coverage::run(run.workspace, &["--check".to_owned()])
}

/// The tests in tests/, with real clients against the release binary.
fn clients(run: &mut Run) -> Result<()> {
    let venv = run.workspace.root.join("target/venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        let made = works("python3", &["-m", "venv", &venv.to_string_lossy()]);
        if !made && root() {
            // Debian keeps ensurepip in a package of its own.
            command("apt-get", &["install", "--yes", "--quiet", "python3-venv"])?;
            command("python3", &["-m", "venv", &venv.to_string_lossy()])?;
        } else if !made {
            bail!("python3 -m venv failed; on Debian install the package python3-venv");
        }
    }
    let mut install = vec!["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    install.extend(CLIENTS);
    command(&python.to_string_lossy(), &install)?;
    if !works("chromedriver", &["--version"]) {
        run.left_out.push("the console in a browser: chromium and chromium-driver are not installed".into());
    }
    if !works("terraform", &["version"]) {
        run.left_out.push("Terraform: it is not installed".into());
    }
    if !root() {
        run.left_out.push("the run as another user: only root can become one".into());
    }
    let (tests, calls) = (run.workspace.root.join("tests"), run.workspace.root.join("target/calls"));
    // Of this run only.
    let _ = std::fs::remove_dir_all(&calls);
    let calls = format!("STANDFAST_CALLS={}", calls.display());
    let pytest = |more: &[&str]| {
        let python = python.to_string_lossy();
        let mut arguments = vec![calls.as_str(), &*python, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider"];
        arguments.extend(["--timeout", TEST_LIMIT]);
        arguments.extend(more);
        command("env", &arguments)
    };
    let file = |name: &&str| tests.join(name).to_string_lossy().into_owned();
    let (alone, last) = (ALONE.iter().map(file).collect::<Vec<_>>(), file(&LAST));
    // Most of the others wait most of the time, so two at once; each file's tests stay together, and in order.
    let mut others = vec!["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--ignore", &last];
    others.extend(alone.iter().flat_map(|file| ["--ignore", file]));
    let all = tests.to_string_lossy();
    others.push(&all);
    pytest(&others)?;
    pytest(&alone.iter().map(String::as_str).collect::<Vec<_>>())?;
    pytest(&[&last])
}

fn cargo(arguments: &[&str]) -> Result<()> {
    command(env!("CARGO"), arguments)
}

/// Runs a program to its end, which comes for all that it started with its limit or the end of this one.
fn command(program: &str, arguments: &[&str]) -> Result<()> {
    let bound = ["--pdeathsig", "TERM", "timeout", "--kill-after", "10", COMMAND_LIMIT, program];
    let status = Command::new("setpriv").args(bound).args(arguments).status().context("running setpriv and timeout")?;
    match status.code() {
        Some(0) => Ok(()),
        Some(124 | 137) => bail!("{program} {} was ended after {COMMAND_LIMIT} s", arguments.join(" ")),
        _ => bail!("{program} {} ended with {status}", arguments.join(" ")),
    }
}

fn works(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn root() -> bool {
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}
