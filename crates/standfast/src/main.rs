//! The Standfast binary: command line, configuration, and the roles that one program plays.
//!
//! Called under the name of a program of the base image (see `image`), it is that program; called by the process driver
//! as an instance's init, it is that; otherwise it is the command line.

mod api_client;
mod cli;
mod commands;
mod courier;
mod driver;
mod http_client;
mod image;
mod listen;
mod output;
mod own;
mod processes;
mod server;
mod signals;
mod smtp;
mod world;

use std::process::ExitCode;

use clap::Parser;

/// glibc's allocator returns memory to the kernel after each large answer and faults it in again for the next.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    standfast_host::run_instance_init_if_asked();
    if let Some(code) = image::run_program_if_asked() {
        return code;
    }
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("standfast: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("standfast: {error:#}");
            ExitCode::FAILURE
        }
    }
}
