//! The peers of instances: the same done by hand with the programs that every Linux has.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::cloud::{PORT, until};
use super::{machine, visit};

const LOOK: Duration = Duration::from_micros(200);

/// A process in namespaces of its own that `unshare` made, with nothing around it: no root file system, no link to
/// anywhere, no limits, no records. It is killed with this value.
pub struct Unshared {
    child: Child,
}

impl Unshared {
    /// `command` is words for a shell. A shell and `ip` are needed for its loopback.
    pub fn start(command: &str) -> Result<Self> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--fork", "--kill-child", "--pid", "--mount", "--net", "--uts", "--ipc", "--mount-proc"]);
        unshare.args(["sh", "-c", &format!("ip link set lo up && exec {command}")]);
        unshare.env("PORT", PORT.to_string());
        unshare.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { child: unshare.spawn().context("starting unshare")? })
    }

    /// Its network namespace, once it has one.
    pub fn network(&mut self) -> Result<File> {
        let link = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net"));
        let (own, path) = (link("self")?, self.child.id().to_string());
        until("a namespace of unshare", LOOK, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("unshare ended with {status}");
            }
            Ok((link(&path)? != own).then_some(()))
        })?;
        Ok(File::open(format!("/proc/{path}/ns/net"))?)
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        // The kernel kills what is inside with it. An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the servers answer on their own loopbacks, on a thread that goes there.
pub fn all_answer(servers: &mut [Unshared]) -> Result<()> {
    let visitor = || {
        for server in servers {
            let network = server.network()?;
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            visit::answered(SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT), "")?;
        }
        Ok(())
    };
    std::thread::scope(|scope| scope.spawn(visitor).join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
}

/// From nothing to the first answer, in milliseconds.
pub fn first_answer_ms(command: &str) -> Result<f64> {
    let begin = machine::now();
    let mut servers = [Unshared::start(command)?];
    all_answer(&mut servers)?;
    Ok(machine::ms_since(begin))
}

/// The command of the server that instances run, by the name that it has there.
pub fn static_server(standfast: &Path, scratch: &Path) -> Result<String> {
    let link = scratch.join("what-is-the-time");
    if !link.exists() {
        std::os::unix::fs::symlink(standfast, &link)?;
    }
    Ok(link.to_string_lossy().into_owned())
}
