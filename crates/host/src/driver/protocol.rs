//! What the cloud and an instance's init say to each other over their socket: a JSON object per line.
//!
//! Invariant: the end of the stream is the strongest word. An init that reads it (the cloud died, or cut the power)
//! kills everything below it and exits; a cloud that reads it knows that the instance is down.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

/// A message longer than this ends the connection.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToInit {
    /// The first message: what to boot.
    Boot { directory: PathBuf, boot: u64 },
    /// SIGTERM to everything, SIGKILL to what is left after the grace, then exit.
    ShutDown { grace_ms: u64 },
    /// Run a command whose output goes to the named pipes `exec-N.out` and `exec-N.err` in the directory.
    Exec { n: u64, argv: Vec<String> },
    /// Kill the command's process group.
    EndExec { n: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromInit {
    /// The instance is up; what it starts at boot has been started.
    Ready,
    ExecStarted {
        n: u64,
    },
    /// The command could not be started; the code is the shell's (126, 127).
    ExecRefused {
        n: u64,
        code: i32,
        reason: String,
    },
    ExecEnded {
        n: u64,
        code: i32,
    },
}

/// A message as it goes over the wire.
pub(crate) fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("messages have string keys only");
    line.push(b'\n');
    line
}

/// Takes the first complete line off the buffer and reads it; `None` when there is none.
pub(crate) fn take<T: for<'de> Deserialize<'de>>(buffer: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(end) = buffer.iter().position(|b| *b == b'\n') else {
        return match buffer.len() > MESSAGE_BYTES_MAX {
            true => Err(io::Error::new(io::ErrorKind::InvalidData, "message too long")),
            false => Ok(None),
        };
    };
    let message = serde_json::from_slice(&buffer[..end])?;
    buffer.drain(..=end);
    Ok(Some(message))
}

/// The cloud's end of the socket.
pub(crate) struct Line {
    stream: Arc<UnixStream>,
    buffer: Vec<u8>,
}

/// Cuts an instance's power: from now on both ends read the end of the stream.
#[derive(Clone)]
pub(crate) struct Plug(Arc<UnixStream>);

impl Plug {
    pub fn pull(&self) {
        // An error means that the other end is gone already.
        let _ = rustix::net::shutdown(&*self.0, rustix::net::Shutdown::Both);
    }
}

impl Line {
    pub fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: Arc::new(UnixStream::from_std(stream)?), buffer: Vec::new() })
    }

    pub fn plug(&self) -> Plug {
        Plug(self.stream.clone())
    }

    /// The next message; `None` at the end of the stream, which an error is taken for. Safe to cancel.
    pub async fn next(&mut self) -> Option<FromInit> {
        loop {
            if let Some(message) = take(&mut self.buffer).ok()? {
                return Some(message);
            }
            self.stream.readable().await.ok()?;
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    /// Sends a message. A failure shows as the end of the stream in `next`.
    pub async fn send(&self, message: &ToInit) {
        let line = line(message);
        let mut rest = &line[..];
        while !rest.is_empty() {
            if self.stream.writable().await.is_err() {
                return;
            }
            match self.stream.try_write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
