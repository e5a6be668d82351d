//! The processes of a cloud: the control plane, the host and the data plane, three roles of this one program.
//!
//! | process | owns | lives |
//! |---|---|---|
//! | `standfast server` (or `up`) | records, API, controllers | until it is told to stop |
//! | `standfast host` | the host driver: everything of instances | with the server; with `--data` also without it |
//! | `standfast dataplane` | load balancers, and the listener of the API's port | the same |
//!
//! The server starts the other two, starts them again when they end, and speaks with each over a Unix socket through a
//! proxy that is a `HostDriver` or an `LbDriver` like any other (`remote`). Between them travel levels: the newest of
//! what should be, the newest of what is; calls are the few things that are neither.
//!
//! # Invariants
//! - Without `--data` both end, with all that they run, when their connection to the server does, however it died.
//! - With `--data` they live on, and a server that is started on the same state finds them under `DATA/run` and adopts
//!   them. One of another version or with other options is replaced, and that is said.
//! - What a process should do next never depends on how far an earlier connection got: a new one begins with the newest
//!   level of both sides.
//!
//! Not here: any decision about instances or targets. A host that died shows its instances as crashed, and the control
//! plane starts them again like after any other crash of hardware.

pub mod adopt;
mod descriptors;
mod door;
pub mod front;
mod line;
mod protocol;
pub mod remote;
mod role;
mod run_dir;
mod station;
mod supervise;

pub use protocol::{Kind, build};
pub use role::{dataplane, host};
pub use run_dir::RunDir;
pub use supervise::{Processes, Start};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Host,
    Dataplane,
}

impl Role {
    /// The command that runs it, and the name of its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Dataplane => "dataplane",
        }
    }
}
