//! Running a command inside an instance.
//!
//! The instance's init starts it, so it has the instance's environment, is killed with the instance, and its CPU time
//! counts. Its output comes back through two named pipes in the instance's directory. The command is over when its
//! own process ends; what it left in the background with its output open is not waited for.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::host::ExecOutput;
use standfast_core::{Error, Id, id::Instance};
use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::sync::oneshot;

use super::cloud::Cloud;
use super::machine::{Request, Started};
use crate::errors;

/// How much of each of a command's two outputs is kept; the rest is read and dropped.
pub const EXEC_OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// How long a command's arguments may be together.
pub const EXEC_ARGUMENT_BYTES_MAX: usize = 64 * 1024;
/// The code of a command that ran out of time, as `timeout` gives it.
const CODE_TIMEOUT: i32 = 124;
/// How long an init may take to start a command.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long a command that was killed may take to be dead.
const END_LIMIT: Duration = Duration::from_secs(2);
const CHUNK_BYTES: usize = 16 * 1024;

pub(crate) async fn exec(
    cloud: Arc<Cloud>,
    id: Id<Instance>,
    argv: Vec<String>,
    limit: Duration,
) -> Result<ExecOutput, Error> {
    check(&argv)?;
    let requests = cloud.requests(&id).ok_or_else(|| match cloud.has(&id) {
        true => errors::not_running(&id),
        false => errors::not_found(&id),
    })?;
    let n = cloud.next_exec();
    let directory = cloud.directory(&id);
    let open = |end: &str| Pipe::open(directory.path().join(format!("exec-{n}.{end}")));
    let failed = |error: io::Error| Error::internal(format!("no pipe for a command's output: {error}"));
    let (out, err) = (open("out").map_err(failed)?, open("err").map_err(failed)?);
    let (started, is_started) = oneshot::channel();
    let (ended, mut is_ended) = oneshot::channel();
    let gone = || errors::not_running(&id);
    let start = async {
        requests.send(Request::Exec { n, argv, started, ended }).await.map_err(|_| gone())?;
        is_started.await.map_err(|_| gone())
    };
    match tokio::time::timeout(START_LIMIT, start).await {
        Err(_) => return Err(Error::unavailable(format!("The instance '{id}' does not respond"))),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(Started::Yes)) => {}
        Ok(Ok(Started::No { code, reason })) => {
            return Ok(ExecOutput { code, stdout: Vec::new(), stderr: format!("{reason}\n").into_bytes() });
        }
    }
    let (mut out, mut err) = (out.reader(), err.reader());
    let collect = async {
        loop {
            tokio::select! {
                code = &mut is_ended => break code,
                () = out.more(), if !out.at_end => {}
                () = err.more(), if !err.at_end => {}
            }
        }
    };
    let code = match tokio::time::timeout(limit, collect).await {
        Ok(code) => code.map_err(|_| gone())?,
        Err(_) => {
            let _ = requests.send(Request::EndExec { n }).await;
            // Its init answers when it is dead. One that does not is left to the end of the instance.
            let _ = tokio::time::timeout(END_LIMIT, &mut is_ended).await;
            CODE_TIMEOUT
        }
    };
    out.rest();
    err.rest();
    Ok(ExecOutput { code, stdout: out.bytes, stderr: err.bytes })
}

fn check(argv: &[String]) -> Result<(), Error> {
    let bytes: usize = argv.iter().map(|argument| argument.len() + 1).sum();
    if argv.first().is_none_or(String::is_empty) {
        return Err(Error::client("InvalidParameterValue", "A command needs a program to run"));
    }
    if bytes > EXEC_ARGUMENT_BYTES_MAX {
        let text = format!("The command is {bytes} bytes long, the limit is {EXEC_ARGUMENT_BYTES_MAX}");
        return Err(Error::client("InvalidParameterValue", text));
    }
    Ok(())
}

/// A named pipe that is open for reading and disappears from the directory when it is dropped.
struct Pipe {
    path: PathBuf,
    receiver: Option<Receiver>,
}

impl Pipe {
    fn open(path: PathBuf) -> io::Result<Self> {
        make_fifo(&path)?;
        let receiver = OpenOptions::new().open_receiver(&path);
        let mut pipe = Self { path, receiver: None };
        pipe.receiver = Some(receiver?);
        Ok(pipe)
    }

    /// What comes out of it. The writer has it open by now, so that the end of the stream is really the end.
    fn reader(mut self) -> Reader {
        Reader { receiver: self.receiver.take(), bytes: Vec::new(), at_end: false }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // It may have gone with the whole directory.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(target_os = "linux")]
fn make_fifo(path: &std::path::Path) -> io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode};
    use std::os::unix::fs::MetadataExt;
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    // The init that opens it may be another user than we: the one whose directory it is.
    let owner = path.parent().map(std::fs::metadata).transpose()?.map(|meta| (meta.uid(), meta.gid()));
    match owner {
        Some((uid, gid)) if uid != rustix::process::getuid().as_raw() => {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))
        }
        _ => Ok(()),
    }
}

/// Named pipes cannot be made without unsafe code elsewhere; there, commands are not run.
#[cfg(not(target_os = "linux"))]
fn make_fifo(_: &std::path::Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

struct Reader {
    receiver: Option<Receiver>,
    bytes: Vec<u8>,
    at_end: bool,
}

impl Reader {
    /// Waits for output and takes what there is.
    async fn more(&mut self) {
        if let Some(receiver) = &self.receiver
            && receiver.readable().await.is_ok()
        {
            self.take();
        }
    }

    /// Takes a chunk; false when there is none now.
    fn take(&mut self) -> bool {
        let mut chunk = [0; CHUNK_BYTES];
        let Some(receiver) = &self.receiver else { return false };
        match receiver.try_read(&mut chunk) {
            Ok(n) if n > 0 => {
                let room = EXEC_OUTPUT_BYTES_MAX - self.bytes.len();
                self.bytes.extend_from_slice(&chunk[..n.min(room)]);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            _ => {
                self.at_end = true;
                false
            }
        }
    }

    /// Takes what is left in the pipe after the command has ended. Bounded, because a process that the command left
    /// in the background may go on writing.
    fn rest(&mut self) {
        for _ in 0..EXEC_OUTPUT_BYTES_MAX / CHUNK_BYTES {
            if !self.take() {
                return;
            }
        }
    }
}
