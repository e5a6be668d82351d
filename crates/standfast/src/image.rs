//! The programs of the base image that this binary carries.
//!
//! An instance finds them on its PATH: links to this binary, which looks at the name it was called by. So a machine
//! with nothing but Standfast can run the example.

use std::io;
use std::path::Path;
use std::process::ExitCode;

const PROGRAMS: &[(&str, fn() -> ExitCode)] = &[("what-is-the-time", what_is_the_time::run)];

/// Runs the image's program when this process was called by its name.
pub fn run_program_if_asked() -> Option<ExitCode> {
    let called = std::env::args_os().next()?;
    let name = Path::new(&called).file_name()?;
    PROGRAMS.iter().find(|(program, _)| name == *program).map(|(_, run)| run())
}

/// Makes a folder with a link for each program.
pub fn install_programs(folder: &Path, binary: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, _) in PROGRAMS {
        let link = folder.join(name);
        match std::fs::remove_file(&link) {
            Ok(()) => (),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => return Err(error),
        }
        std::os::unix::fs::symlink(binary, &link)?;
    }
    Ok(())
}
