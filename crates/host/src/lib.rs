//! Where instances run.
//!
//! Two drivers obey `standfast_core::host`: `process` (an instance is a tree of processes on this machine, without
//! privileges) and `sim` (an instance is a few timers on the control plane's clock).
//!
//! Invariant: both follow the same rules (`rules`) and pass the same conformance suite, so what the control plane
//! learns in simulation holds on processes. This crate knows nothing of AWS's services; it sees snapshots only.

mod address;
mod driver;
pub mod errors;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod process;
mod rules;
pub mod sim;

#[cfg(target_os = "linux")]
pub use linux::{LinuxConfig, LinuxDriver};
pub use process::{ProcessConfig, ProcessDriver};
pub use sim::{App, SimConfig, SimHost, SimReply};

/// Turns this process into an instance's init (or what launches one) when its first argument says so, and then never
/// returns. Programs that start a driver call it first thing in `main`, before any thread exists.
pub fn run_instance_init_if_asked() {
    if let Some(code) = process::init::run_if_asked() {
        std::process::exit(code);
    }
    #[cfg(target_os = "linux")]
    if let Some(code) = linux::run_if_asked() {
        std::process::exit(code);
    }
}

/// Whether this process is one of the image's programs in an instance with a network of its own (linux driver).
pub fn in_machine() -> bool {
    #[cfg(target_os = "linux")]
    return linux::in_machine();
    #[cfg(not(target_os = "linux"))]
    false
}

/// The newest console output that `console` returns.
pub const CONSOLE_BYTES_MAX: usize = 64 * 1024;
