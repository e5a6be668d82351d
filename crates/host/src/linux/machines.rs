//! Instances as machines: starting one, and taking away what is left of it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use standfast_core::BoxFuture;
use standfast_core::host::{InstanceSpec, NO_CAPACITY, Progress, Traffic};
use standfast_core::id::{Id, Instance, Volume};

use super::base::Base;
use super::cgroups::Cgroups;
use super::launcher::{Launched, Plan};
use super::networks::Networks;
use super::volumes::{RootTree, Volumes};
use super::{LinuxConfig, base, counters, files, ids, init};
use crate::driver::procs::MARK;
use crate::driver::protocol::{self, ToInit};
use crate::driver::{Backend, Begun, Start, Verdict};

/// Where programs are looked for, after Standfast's own.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where instances reach the cloud's API.
const ENDPOINT: &str = "http://169.254.169.254:4566";
/// How long a root volume may take to be ready, and a launcher to do its work.
const ROOT_LIMIT: Duration = Duration::from_secs(120);
const LAUNCH_LIMIT: Duration = Duration::from_secs(30);

/// Everything that machines are made from.
pub struct Machines {
    pub config: LinuxConfig,
    pub state: PathBuf,
    pub networks: Networks,
    pub volumes: Volumes,
    pub cgroups: Cgroups,
    pub user_namespace: OwnedFd,
    pub base: OnceLock<Result<Base, String>>,
    /// Nobody needs the base any more.
    pub stop: AtomicBool,
    /// The root volumes of instances that are up.
    pub roots: Mutex<BTreeMap<Id<Instance>, RootTree>>,
}

impl Machines {
    fn roots(&self) -> MutexGuard<'_, BTreeMap<Id<Instance>, RootTree>> {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Made by whoever needs it first.
    pub fn base(&self) -> io::Result<Base> {
        let own = self.state.components().nth(1).map(|top| PathBuf::from(top.as_os_str()));
        if own.is_some_and(|top| base::SYSTEM.iter().any(|name| top == Path::new(name))) {
            // An overlay cannot be written to below what it lies over.
            let text = format!("the state directory {} is in a directory that instances share", self.state.display());
            return Err(io::Error::other(text));
        }
        let make = || base::make(&self.state.join("base"), &self.stop).map_err(|error| error.to_string());
        let made = self.base.get_or_init(make);
        made.clone().map_err(|error| io::Error::other(format!("the base image: {error}")))
    }

    /// Waits until nobody makes the base, which nobody does from here on. Blocks, for milliseconds.
    pub fn end_base(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.base.get_or_init(|| Err("the cloud ends".to_owned()));
    }

    /// Limits what running instances' volumes may do, as it is wanted now. Blocks.
    pub fn limit_io(&self) {
        let running: Vec<_> = self.roots().keys().cloned().collect();
        for id in running {
            self.cgroups.limit_io(&id, &self.volumes.limits(&id));
        }
    }

    /// Waits for a root volume.
    async fn root(&self, id: &Id<Volume>) -> io::Result<RootTree> {
        let mut changes = self.volumes.subscribe();
        let ready = async {
            loop {
                match self.volumes.progress().0.get(id) {
                    Some(Progress::Ready) => return self.volumes.root(id),
                    Some(Progress::Failed(reason)) => return Err(io::Error::other(format!("{NO_CAPACITY}: {reason}"))),
                    _ => {}
                }
                if changes.changed().await.is_err() {
                    return Err(io::Error::other("the volumes have ended"));
                }
            }
        };
        tokio::time::timeout(ROOT_LIMIT, ready)
            .await
            .unwrap_or_else(|_| Err(io::Error::other(format!("the root volume {id} is not ready"))))
    }

    /// The directories that what it writes goes to, when it has no volume of its own.
    fn own_tree(directory: &Path) -> io::Result<(PathBuf, PathBuf)> {
        let (upper, work) = (directory.join("tree"), directory.join("work"));
        for path in [&upper, &work] {
            if !path.exists() {
                DirBuilder::new().recursive(true).mode(0o755).create(path)?;
                chown(path, Some(ids::SHIFT), Some(ids::SHIFT))?;
            }
        }
        Ok((upper, work))
    }

    fn plan(&self, start: &Start) -> io::Result<Plan> {
        let directory = start.directory.path();
        start.directory.prepare(&start.spec, start.address, start.boot)?;
        let (upper, work, layers, whole) = match self.roots().get(&start.id) {
            Some(tree) => (tree.upper.clone(), tree.work.clone(), tree.layers.clone(), tree.whole),
            None => {
                let (upper, work) = Self::own_tree(directory)?;
                (upper, work, Vec::new(), false)
            }
        };
        // Its init reads and writes here, as the instance's root.
        for entry in [directory.to_owned(), start.directory.console_path(), directory.join("user-data")] {
            if !entry.exists() {
                File::create(&entry)?;
            }
            chown(&entry, Some(ids::SHIFT), Some(ids::SHIFT))?;
        }
        let base = self.base()?;
        Ok(Plan {
            mount_point: start.directory.root(),
            directory: directory.to_owned(),
            upper,
            work,
            layers,
            whole,
            image_layers: self.config.image_layers.clone(),
            base: base.path,
            system: base.system,
            user_namespace: format!("/proc/{}/fd/{}", std::process::id(), self.user_namespace.as_raw_fd()).into(),
            programs: self.config.programs.clone(),
            vcpus: start.spec.vcpus,
            memory_mib: start.spec.memory_mib,
            hostname: start.spec.hostname.clone(),
            files: files::of(&start.id, &start.spec, &self.environment(start)),
        })
    }

    /// Starts the launcher and waits until the namespaces are there.
    fn launch(&self, start: &Start) -> io::Result<(Child, UnixStream, Pid)> {
        let plan = self.plan(start)?;
        let (mut stream, theirs) = UnixStream::pair()?;
        let mut child = Command::new(&self.config.init_program)
            .arg0("standfast")
            .args(&self.config.launch_args)
            .arg(start.id.as_str())
            .env_clear()
            .envs(self.environment(start))
            .env(MARK, &start.mark)
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(start.directory.console_path())?)
            .spawn()?;
        let mut made = || {
            let pid = Pid::from_raw(child.id() as i32).ok_or(io::ErrorKind::NotFound)?;
            self.cgroups.enter(&start.id, pid, start.spec.vcpus, start.spec.memory_mib)?;
            stream.write_all(&protocol::line(&plan))?;
            stream.set_read_timeout(Some(LAUNCH_LIMIT))?;
            made(&mut stream)
        };
        match made() {
            Ok(init) => Ok((child, stream, init)),
            Err(error) => {
                bury(&mut child);
                Err(error)
            }
        }
    }

    /// The environment of an instance's processes.
    fn environment(&self, start: &Start) -> Vec<(&'static str, OsString)> {
        let Start { id, spec, .. } = start;
        let text = |s: &str| s.into();
        vec![
            ("PATH", format!("/{}:{PATH}", super::root::PROGRAMS).into()),
            ("HOME", text("/root")),
            ("LANG", text("C.UTF-8")),
            ("AWS_ENDPOINT_URL", text(ENDPOINT)),
            ("AWS_REGION", text(&spec.region)),
            ("AWS_DEFAULT_REGION", text(&spec.region)),
            ("STANDFAST_ADDRESS", text("0.0.0.0")),
            ("STANDFAST_AVAILABILITY_ZONE", text(&spec.zone)),
            ("AVAILABILITY_ZONE", text(&spec.zone)),
            ("INSTANCE_ID", text(id)),
            ("INSTANCE_TYPE", text(&spec.instance_type)),
            ("PRIVATE_IP", spec.private_ip.to_string().into()),
        ]
    }

    async fn start(self: Arc<Self>, start: Start) -> io::Result<Begun> {
        if let Some(volume) = &start.spec.root_volume {
            let root = self.root(volume).await?;
            self.roots().insert(start.id.clone(), root);
        }
        let (id, boot) = (start.id.clone(), start.boot);
        let machines = self.clone();
        let launched = tokio::task::spawn_blocking(move || machines.launch(&start)).await.map_err(io::Error::other)?;
        let (mut child, stream, init) = launched?;
        match self.connect(&id, init).await {
            Ok(()) => {
                // The init's own name for its directory, which it holds open.
                let message = ToInit::Boot { directory: init::DIRECTORY.into(), boot };
                Ok(Begun { child, stream, message })
            }
            Err(error) => {
                self.leave(&id);
                let _ = tokio::task::spawn_blocking(move || bury(&mut child)).await;
                Err(error)
            }
        }
    }

    /// Gives the instance its network and its volumes.
    async fn connect(&self, id: &Id<Instance>, init: Pid) -> io::Result<()> {
        let pidfd = pidfd_open(init, PidfdFlags::empty())?;
        let namespace = File::open(format!("/proc/{}/ns/net", init.as_raw_nonzero()))?.into();
        self.networks.plug(id, namespace).await?;
        self.volumes.enter(id, pidfd).await;
        self.cgroups.limit_io(id, &self.volumes.limits(id));
        Ok(())
    }
}

/// The launcher's answer.
fn made(stream: &mut UnixStream) -> io::Result<Pid> {
    let mut inbox = Vec::new();
    loop {
        match protocol::take(&mut inbox)? {
            Some(Launched::Made { pid }) => {
                stream.set_read_timeout(None)?;
                return Pid::from_raw(pid).ok_or_else(|| io::Error::other("a process without an id"));
            }
            Some(Launched::Failed { text, full: true }) => {
                return Err(io::Error::other(format!("{NO_CAPACITY}: {text}")));
            }
            Some(Launched::Failed { text, full: false }) => return Err(io::Error::other(text)),
            None => {}
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk)? {
            0 => return Err(io::Error::other("its launcher ended; the console says why")),
            n => inbox.extend_from_slice(&chunk[..n]),
        }
    }
}

fn bury(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

impl Backend for Machines {
    fn claim(&self, _: &Id<Instance>, spec: Option<&InstanceSpec>, earlier: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        spec.map(|spec| spec.private_ip).or(earlier)
    }

    fn release(&self, _: Ipv4Addr) {}

    fn begin(self: Arc<Self>, start: Start) -> BoxFuture<'static, io::Result<Begun>> {
        Box::pin(self.start(start))
    }

    fn leave(&self, id: &Id<Instance>) {
        self.volumes.leave(id);
        self.cgroups.limit_io(id, &self.volumes.limits(id));
        self.networks.unplug(id);
    }

    /// Its launcher was killed, and with that everything in its namespaces.
    fn hunt(&self, _: String, _: Pid) {}

    fn clean(&self, id: &Id<Instance>) {
        self.cgroups.leave(id);
        self.roots().remove(id);
    }

    fn verdict(&self, status: Option<ExitStatus>) -> Verdict {
        match status.and_then(|status| status.code()) {
            Some(init::SWITCHED_OFF) => Verdict::Off,
            Some(init::REBOOTED) => Verdict::Reboot,
            _ => Verdict::Crashed,
        }
    }

    fn cpu_times(&self, inits: &[(Id<Instance>, Pid)]) -> HashMap<Pid, Duration> {
        inits.iter().filter_map(|(id, pid)| Some((*pid, self.cgroups.cpu_time(id)?))).collect()
    }

    fn traffic(&self, inits: &[(Id<Instance>, Pid)]) -> HashMap<Pid, Traffic> {
        let read = |pid: Pid| {
            let text = fs::read_to_string(format!("/proc/{}/net/dev", pid.as_raw_nonzero())).ok()?;
            Some((pid, counters::traffic(&text)))
        };
        inits.iter().filter_map(|(_, pid)| read(*pid)).collect()
    }
}

/// Removes what volumes and images left in a state directory that is not to be kept.
pub fn remove_volumes(state: &Path) {
    for name in ["volumes", "snapshots", "layers", "chunks", "base"] {
        let _ = fs::remove_dir_all(state.join(name));
    }
}
