//! The programs that are measured: Standfast and its peers, each on a port of its own.

use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::machine::{self, Process};
use super::{Bench, client};

/// How long a program may take until it answers.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const READY_PAUSE: Duration = Duration::from_micros(200);

/// A running program and where it answers.
pub struct Server {
    pub process: Process,
    pub address: SocketAddrV4,
}

impl Server {
    /// A program that prints `http://ADDRESS:PORT` when it listens.
    pub fn that_says_where(command: Command, core: Option<usize>) -> Result<Self> {
        let mut process = Process::spawn(command, core)?;
        let line = process.line()?;
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split_whitespace().next());
        let address = address.with_context(|| format!("a server printed '{}'", line.trim()))?;
        Ok(Self { address: address.parse()?, process })
    }

    /// A program that was told where to listen: it is ready when it answers this request.
    pub fn at(address: SocketAddrV4, command: Command, core: Option<usize>, request: &[u8]) -> Result<Self> {
        let mut process = Process::spawn(command, core)?;
        let start = machine::now();
        while std::net::TcpStream::connect(address).is_err() {
            if process.ended() {
                bail!("a server ended before it was ready");
            }
            if start.elapsed() > READY_TIMEOUT {
                bail!("nothing answers at {address}");
            }
            machine::pause(READY_PAUSE);
        }
        client::ask(address, request)?;
        Ok(Self { process, address })
    }
}

impl Bench {
    pub fn standfast(&self, arguments: &[&str], core: Option<usize>) -> Result<Server> {
        let mut command = Command::new(self.built("standfast"));
        command.args(["server", "--listen", "127.0.0.1:0"]).args(arguments);
        Server::that_says_where(command, core)
    }

    pub fn minimal_hyper(&self, core: Option<usize>) -> Result<Server> {
        Server::that_says_where(Command::new(self.built("examples/minimal_hyper")), core)
    }

    pub fn moto_server(&self, program: &Path, core: Option<usize>) -> Result<Server> {
        let address = machine::free_port()?;
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        Server::at(address, command, core, &client::first_call())
    }
}
