//! The thread that makes networks: it alone speaks with `standfast_network`, and with the servers inside the VPCs.
//!
//! Invariant: jobs are done in the order in which they were given, except that only the newest snapshot is applied. So an
//! instance that boots because of a snapshot finds the network of that snapshot.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use standfast_core::host::HostSnapshot;
use standfast_core::id::{Id, Instance, NetworkInterface};
use standfast_network::Net;
use tokio::sync::{oneshot, watch};

use super::local::Local;

/// How long to wait before a snapshot that could not be applied whole is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How long the link of a killed cloud is waited for.
const START_TRIES_MAX: u32 = 500;
const START_RETRY: Duration = Duration::from_millis(20);

enum Job {
    Apply,
    Plug { id: Id<Instance>, namespace: OwnedFd, done: oneshot::Sender<io::Result<()>> },
    Unplug(Id<Instance>),
    End,
}

/// See the module's documentation.
pub struct Networks {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    wanted: Mutex<Option<Arc<HostSnapshot>>>,
    namespaces: Mutex<BTreeMap<Id<NetworkInterface>, PathBuf>>,
    changes: watch::Sender<()>,
}

impl Networks {
    /// Starts with no networks; `open` leads what is for the real internet to the relay in `local`. `changes` hears when namespaces come and go.
    pub fn start(cloud: &str, local: Local, open: bool, changes: watch::Sender<()>) -> io::Result<Self> {
        let (jobs, inbox) = channel();
        let shared = Arc::new(Shared { wanted: Mutex::default(), namespaces: Mutex::default(), changes });
        let (started, has_started) = channel();
        let (cloud, of_thread) = (cloud.to_owned(), shared.clone());
        let thread = std::thread::Builder::new().name("networks".into()).spawn(move || {
            let made = start_net(&cloud).and_then(|net| if open { net.open().map(|()| net) } else { Ok(net) });
            match made {
                Ok(net) => {
                    let _ = started.send(Ok(()));
                    Worker { net, local, shared: of_thread, last: None, unfinished: false }.run(&inbox);
                }
                Err(error) => drop(started.send(Err(error))),
            }
        })?;
        has_started.recv().map_err(io::Error::other)??;
        Ok(Self { jobs, shared, thread: Mutex::new(Some(thread)) })
    }

    /// Takes what should be and returns at once.
    pub fn apply(&self, snapshot: Arc<HostSnapshot>) {
        lock(&self.shared.wanted).replace(snapshot);
        let _ = self.jobs.send(Job::Apply);
    }

    /// Gives an instance its interfaces, in its namespace.
    pub async fn plug(&self, id: &Id<Instance>, namespace: OwnedFd) -> io::Result<()> {
        let (done, is_done) = oneshot::channel();
        let _ = self.jobs.send(Job::Plug { id: id.clone(), namespace, done });
        is_done.await.map_err(|_| io::Error::other("the networks have ended"))?
    }

    pub fn unplug(&self, id: &Id<Instance>) {
        let _ = self.jobs.send(Job::Unplug(id.clone()));
    }

    pub fn namespaces(&self) -> BTreeMap<Id<NetworkInterface>, PathBuf> {
        lock(&self.shared.namespaces).clone()
    }

    /// Ends all networks. Blocks until they are gone.
    pub fn end(&self) {
        let _ = self.jobs.send(Job::End);
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// After a cloud of the same name was killed, the kernel takes a moment to remove its link.
fn start_net(cloud: &str) -> io::Result<Net> {
    let mut tries = 0;
    loop {
        match Net::start(cloud) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < START_TRIES_MAX => {
                tries += 1;
                #[allow(clippy::disallowed_methods)] // The kernel's time, not the cloud's.
                std::thread::sleep(START_RETRY);
            }
            outcome => return outcome,
        }
    }
}

struct Worker {
    net: Net,
    local: Local,
    shared: Arc<Shared>,
    last: Option<Arc<HostSnapshot>>,
    unfinished: bool,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let job = match self.unfinished {
                true => jobs.recv_timeout(RETRY),
                false => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(Job::Apply) => {
                    let wanted = lock(&self.shared.wanted).take();
                    if wanted.is_some() {
                        self.last = wanted;
                        self.apply();
                    }
                }
                Ok(Job::Plug { id, namespace, done }) => {
                    let _ = done.send(self.net.plug(&id, namespace));
                }
                Ok(Job::Unplug(id)) => self.net.unplug(&id),
                Err(RecvTimeoutError::Timeout) => self.apply(),
                Ok(Job::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn apply(&mut self) {
        let Some(snapshot) = self.last.clone() else { return };
        let outcome = self.net.apply(&snapshot.network, &snapshot.dark_zones);
        self.unfinished = outcome.is_err();
        if let Err(error) = outcome {
            eprintln!("level=error event=network_failed error={:?}", error.to_string());
        }
        let vpcs = snapshot.network.vpcs.keys();
        let vpcs = vpcs.filter_map(|id| Some((id.clone(), self.net.vpc_namespace(id)?))).collect();
        self.local.apply(&snapshot, &vpcs, &self.net.internet_namespace());
        let now = self.net.namespaces();
        let changed = std::mem::replace(&mut *lock(&self.shared.namespaces), now.clone()) != now;
        if changed {
            self.shared.changes.send_replace(());
        }
    }
}
