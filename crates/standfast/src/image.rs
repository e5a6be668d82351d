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

/// Their names, for the host driver to put on the instances' PATH.
pub fn programs() -> Vec<String> {
    PROGRAMS.iter().map(|(name, _)| (*name).to_owned()).collect()
}
