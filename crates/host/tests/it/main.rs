//! The drivers from outside: what both promise (`conformance`), and what each promises beyond that.

mod conformance;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod linux_egress;
#[cfg(target_os = "linux")]
mod linux_local;
#[cfg(target_os = "linux")]
mod linux_volumes;
mod process;
mod process_death;
mod sim;
mod world;
