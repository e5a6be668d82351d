//! The programs of the base image that this binary carries.
//!
//! An instance finds them on its PATH: links to this binary, which looks at the name it was called by. So a machine
//! with nothing but Standfast can run the example.

use std::path::Path;
use std::process::ExitCode;

const PROGRAMS: &[(&str, fn() -> ExitCode)] = &[("what-is-the-time", what_is_the_time::run)];

/// Runs the image's program when this process was called by its name.
pub fn run_program_if_asked() -> Option<ExitCode> {
    let called = std::env::args_os().next()?;
    let name = Path::new(&called).file_name()?;
    PROGRAMS.iter().find(|(program, _)| name == *program).map(|(_, run)| run())
}

/// This binary itself: `standfast load` and `standfast agent` are for instances too.
const OWN: &str = "standfast";

/// Their names, for the host driver to put on the instances' PATH.
pub fn programs() -> Vec<String> {
    PROGRAMS.iter().map(|(name, _)| *name).chain([OWN]).map(str::to_owned).collect()
}

/// Whether this process runs in an instance that has a network of its own: what it sends cannot leave the cloud by itself.
pub fn in_instance() -> bool {
    standfast_host::in_machine()
}
