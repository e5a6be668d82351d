//! What drivers of real instances have in common: the table of instances, a task per instance, its init, and the line
//! between the two. What an init is started as, and what it stands on, is a [`Backend`]'s and a [`init::Ground`]'s.
//!
//! Invariant: everything here follows `rules`, and nothing here knows which backend it has.

pub(crate) mod cloud;
pub(crate) mod console;
pub(crate) mod directory;
pub(crate) mod exec;
pub(crate) mod init;
pub(crate) mod machine;
pub(crate) mod procs;
pub(crate) mod protocol;
pub(crate) mod state;

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Pid;
use standfast_core::host::{ExecOutput, HostObservation, HostSnapshot, InstanceSpec, Traffic};
use standfast_core::{BoxFuture, Clock, Error, Id, id::Instance};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::{errors, rules};
use cloud::Cloud;
use directory::Directory;
use procs::Prey;
use protocol::ToInit;
use state::StateDir;

/// What a driver does in its own way.
pub(crate) trait Backend: Send + Sync + 'static {
    /// The address of an instance, which may have had one `earlier`; `None` when there is none left.
    fn claim(&self, id: &Id<Instance>, spec: Option<&InstanceSpec>, earlier: Option<Ipv4Addr>) -> Option<Ipv4Addr>;

    fn release(&self, address: Ipv4Addr);

    /// Starts an init, up to the point where it waits to be told what to boot.
    fn begin(self: Arc<Self>, start: Start) -> BoxFuture<'static, io::Result<Begun>>;

    /// The instance has no power any more; called before its init is waited for. Does not block for long.
    fn leave(&self, id: &Id<Instance>);

    /// Ends what an init that did not exit well may have left. Blocks; the init's process was not waited for.
    fn hunt(&self, mark: String, init: Pid);

    /// Takes away what was made for this boot, when nothing of it lives. Blocks.
    fn clean(&self, id: &Id<Instance>);

    /// What the end of an init means that nobody asked for.
    fn verdict(&self, status: Option<ExitStatus>) -> Verdict;

    /// The CPU time of instances since they were booted. Blocks.
    fn cpu_times(&self, inits: &[(Id<Instance>, Pid)]) -> HashMap<Pid, Duration>;

    /// What the interfaces of instances carried since they were booted, where they have their own. Blocks.
    fn traffic(&self, _: &[(Id<Instance>, Pid)]) -> HashMap<Pid, Traffic> {
        HashMap::new()
    }
}

/// What is to be started.
pub(crate) struct Start {
    pub id: Id<Instance>,
    pub spec: InstanceSpec,
    pub boot: u64,
    pub directory: Directory,
    pub address: Ipv4Addr,
    /// What marks its processes, as the value of `procs::MARK`.
    pub mark: String,
}

/// An init that waits for `message`.
pub(crate) struct Begun {
    pub child: Child,
    pub stream: UnixStream,
    pub message: ToInit,
}

pub(crate) enum Verdict {
    Crashed,
    /// Somebody inside switched it off.
    Off,
    /// Somebody inside wants it to boot again.
    Reboot,
}

/// Instances of a backend.
pub(crate) struct Core {
    pub cloud: Arc<Cloud>,
    runtime: Handle,
    /// Who shuts down takes it and waits for the end of all instances' tasks.
    tasks: std::sync::Mutex<Option<mpsc::Receiver<()>>>,
    finished: watch::Sender<bool>,
}

impl Core {
    /// Starts with the instances that the directory holds, which are all down.
    pub fn start(runtime: Handle, state: StateDir, clock: Clock, keep: bool, backend: Arc<dyn Backend>) -> Self {
        let (cloud, tasks) = Cloud::new(state, clock, keep, backend, runtime.clone());
        let tasks = std::sync::Mutex::new(Some(tasks));
        Self { cloud, runtime, tasks, finished: watch::Sender::new(false) }
    }

    pub fn changed(&self) -> BoxFuture<'static, ()> {
        let mut changes = self.cloud.changes.subscribe();
        Box::pin(async move {
            // An error means that the driver is gone: nothing will change any more.
            let _ = changes.changed().await;
        })
    }

    pub fn obey(&self, snapshot: Arc<HostSnapshot>) {
        self.cloud.obey(snapshot);
    }

    pub fn observe(&self) -> HostObservation {
        self.cloud.observe()
    }

    pub fn kill(&self, id: &Id<Instance>) -> Result<(), Error> {
        match self.cloud.cut(id, rules::KILLED) {
            true => Ok(()),
            false if self.cloud.has(id) => Err(errors::not_running(id)),
            false => Err(errors::not_found(id)),
        }
    }

    pub fn console(&self, id: &Id<Instance>) -> Vec<u8> {
        self.cloud.directory(id).console()
    }

    pub fn exec(
        &self,
        id: &Id<Instance>,
        argv: Vec<String>,
        limit: Duration,
    ) -> BoxFuture<'static, Result<ExecOutput, Error>> {
        Box::pin(exec::exec(self.cloud.clone(), id.clone(), argv, limit))
    }

    /// Ends everything; `last` is called when no instance is left, before the state directory is given up.
    pub fn shutdown(&self, last: impl FnOnce() + Send + 'static) -> BoxFuture<'static, ()> {
        self.cloud.close();
        let tasks = self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(tasks) = tasks {
            self.runtime.spawn(finish(self.cloud.clone(), tasks, self.finished.clone(), last));
        }
        let mut finished = self.finished.subscribe();
        Box::pin(async move {
            let _ = finished.wait_for(|finished| *finished).await;
        })
    }
}

/// Waits for the end of all instances, makes sure that no process is left, and removes what is not to be kept.
async fn finish(
    cloud: Arc<Cloud>,
    mut tasks: mpsc::Receiver<()>,
    finished: watch::Sender<bool>,
    last: impl FnOnce() + Send + 'static,
) {
    while tasks.recv().await.is_some() {}
    let _ = tokio::task::spawn_blocking(move || {
        (Prey { mark: format!("{}/", cloud.state.cloud), session: None }).hunt();
        last();
        if !cloud.keep {
            cloud.state.remove();
        }
        cloud.state.release();
    })
    .await;
    finished.send_replace(true);
}
