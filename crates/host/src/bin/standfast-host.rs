//! A driver without a cloud: `standfast-host DIR [process|linux] < snapshot.json` obeys the snapshots on its input (a JSON
//! `HostSnapshot` per line), prints every observation, and shuts down at the end of the input. For trying the driver by
//! hand, and for tests of what happens when a cloud is killed.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;

use standfast_core::{Clock, host::HostDriver};
use standfast_host::{ProcessConfig, ProcessDriver, run_instance_init_if_asked};

/// Where an API would be, if there were a cloud.
#[cfg(target_os = "linux")]
const API_PORT: u16 = 4566;

fn main() -> std::io::Result<()> {
    run_instance_init_if_asked();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}

async fn run() -> std::io::Result<()> {
    let state_dir = std::env::args_os().nth(1).map(PathBuf::from);
    let keep = state_dir.is_some();
    let clock = Clock::system(1.0);
    let driver: Arc<dyn HostDriver> = match std::env::args().nth(2).as_deref() {
        None | Some("process") => ProcessDriver::start(ProcessConfig { state_dir, keep, ..ProcessConfig::new(clock) })?,
        #[cfg(target_os = "linux")]
        Some("linux") => {
            let api = (std::net::Ipv4Addr::LOCALHOST, API_PORT).into();
            let config = standfast_host::LinuxConfig::new(clock, api);
            standfast_host::LinuxDriver::start(standfast_host::LinuxConfig { state_dir, keep, ..config })?
        }
        Some(other) => return Err(std::io::Error::other(format!("there is no driver {other}"))),
    };
    let (lines, mut snapshots) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    loop {
        let changed = driver.changed();
        print(&*driver)?;
        tokio::select! {
            line = snapshots.recv() => match line {
                Some(line) => driver.obey(Arc::new(serde_json::from_str(&line)?)),
                None => break,
            },
            () = changed => {}
        }
    }
    driver.shutdown().await;
    Ok(())
}

fn print(driver: &dyn HostDriver) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for (id, seen) in driver.observe().instances {
        let address = seen.address.map(|address| address.to_string()).unwrap_or_default();
        writeln!(out, "{id} boot {} {:?} {address}", seen.boot, seen.phase)?;
    }
    out.flush()
}
