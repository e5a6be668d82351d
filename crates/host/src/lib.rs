//! Where instances run.
//!
//! Two drivers obey `standfast_core::host`: `process` (an instance is a tree of processes on this machine, without
//! privileges) and `sim` (an instance is a few timers on the control plane's clock).
//!
//! Invariant: both follow the same rules (`rules`) and pass the same conformance suite, so what the control plane
//! learns in simulation holds on processes. This crate knows nothing of AWS's services; it sees snapshots only.

mod address;
pub mod errors;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod process;
mod rules;
pub mod sim;

pub use process::{ProcessConfig, ProcessDriver, run_instance_init_if_asked};
pub use sim::{App, SimConfig, SimHost, SimReply};

/// The newest console output that `console` returns.
pub const CONSOLE_BYTES_MAX: usize = 64 * 1024;
