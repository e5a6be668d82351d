//! Which driver runs instances, and why.

use anyhow::{Result, bail};
use standfast_core::host::Abilities;

use crate::cli::Driver;

pub const PROCESS: &str = "process";
pub const LINUX: &str = "linux";
pub const SIM: &str = "sim";

/// A driver by name, and why it is this one.
#[derive(Clone, Debug)]
pub struct Choice {
    pub name: &'static str,
    pub why: String,
}

/// What was asked for, where this machine allows it; for `auto` the best that it allows.
pub fn choose(asked: Driver) -> Result<Choice> {
    let asked_for = |name| Ok(Choice { name, why: "it was asked for".into() });
    // What is not asked about is not tried: it takes a while.
    match asked {
        Driver::Process => return asked_for(PROCESS),
        Driver::Sim => return asked_for(SIM),
        Driver::Auto | Driver::Linux => {}
    }
    match (asked, linux_available()) {
        (Driver::Linux, Err(why)) => bail!(
            "the linux driver cannot run here: {why}. `standfast doctor` shows what is missing; --driver process needs \
             none of it, without networks and volumes"
        ),
        (Driver::Linux, Ok(())) => asked_for(LINUX),
        (_, Ok(())) => Ok(Choice { name: LINUX, why: "it is the best that this machine allows".into() }),
        (_, Err(why)) => Ok(Choice { name: PROCESS, why: format!("the linux driver cannot run here: {why}") }),
    }
}

/// What a driver can do here, for as long as its process has not said so itself: the control plane's first decisions
/// are not to be those for another driver.
pub fn expected(driver: &str) -> Abilities {
    let all = driver == LINUX;
    Abilities { networks: all, volumes: all, metadata: all, ..Abilities::default() }
}

/// The name of a driver that a host says it runs.
pub fn known(driver: &str) -> &'static str {
    if driver == LINUX { LINUX } else { PROCESS }
}

/// Whether the linux driver can run here; the text says why not.
#[cfg(target_os = "linux")]
pub fn linux_available() -> Result<(), String> {
    standfast_host::linux::available()
}

/// Whether the linux driver can run here; the text says why not.
#[cfg(not(target_os = "linux"))]
pub fn linux_available() -> Result<(), String> {
    Err("this is not Linux".into())
}
