//! What the tests stand on: snapshots, waiting for states, and a process driver in a directory of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::host::{HostDriver, HostObservation, HostSnapshot, InstanceSpec, Metadata, Observed, Phase};
use standfast_core::{Clock, Id, id::Instance};
use standfast_host::process::INIT_ARGUMENT;
use standfast_host::{ProcessConfig, ProcessDriver};

/// A wait longer than this is a failure. On a paused clock it costs nothing.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The program of the test, with the init in it.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_standfast-host");

pub fn id(n: u64) -> Id<Instance> {
    Id::from_text(&format!("i-{n:017x}"))
}

pub fn spec() -> InstanceSpec {
    InstanceSpec {
        account: "000000000000".into(),
        region: "eu-west-1".into(),
        zone: "eu-west-1a".into(),
        instance_type: "t3.micro".into(),
        image_id: "ami-0123456789abcdef0".into(),
        private_ip: private_ip(0),
        user_data: Vec::new(),
        power: true,
        boot: 1,
        vcpus: 2,
        memory_mib: 1024,
        hostname: "ip-10-0-0-4.eu-west-1.compute.internal".into(),
        resolvers: vec![[10, 0, 0, 2].into()],
        search: "eu-west-1.compute.internal".into(),
        ssh_keys: Vec::new(),
        root_volume: None,
        metadata: Metadata::default(),
    }
}

pub fn private_ip(n: u64) -> std::net::Ipv4Addr {
    [10, 0, (n / 250) as u8, (4 + n % 250) as u8].into()
}

/// The one instance that most tests need.
pub fn one(change: impl FnOnce(&mut InstanceSpec)) -> Arc<HostSnapshot> {
    let mut spec = spec();
    change(&mut spec);
    snapshot([(1, spec)])
}

pub fn script(text: &str) -> Arc<HostSnapshot> {
    one(|spec| spec.user_data = format!("#!/bin/sh\n{text}\n").into_bytes())
}

pub fn snapshot(specs: impl IntoIterator<Item = (u64, InstanceSpec)>) -> Arc<HostSnapshot> {
    // No two have the same address, as in a VPC.
    let instances = specs.into_iter().map(|(n, spec)| (id(n), InstanceSpec { private_ip: private_ip(n), ..spec }));
    let instances = instances.collect();
    Arc::new(HostSnapshot { instances, ..HostSnapshot::default() })
}

pub fn changed(old: &Arc<HostSnapshot>, change: impl FnOnce(&mut HostSnapshot)) -> Arc<HostSnapshot> {
    let mut new = HostSnapshot::clone(old);
    change(&mut new);
    Arc::new(new)
}

/// Waits until what the driver shows is as it should be.
pub async fn until(host: &dyn HostDriver, what: &str, is: impl Fn(&HostObservation) -> bool) -> HostObservation {
    let wait = async {
        loop {
            let change = host.changed();
            let now = host.observe();
            if is(&now) {
                return now;
            }
            change.await;
        }
    };
    match tokio::time::timeout(LIMIT, wait).await {
        Ok(seen) => seen,
        Err(_) => panic!("waited in vain for: {what}; it is {:?}", host.observe()),
    }
}

pub async fn until_phase(host: &dyn HostDriver, n: u64, phase: Phase, boot: u64) -> Observed {
    let is = |seen: &HostObservation| seen.instances.get(&id(n)).is_some_and(|o| o.phase == phase && o.boot == boot);
    until(host, &format!("{phase:?} in boot {boot}"), is).await.instances[&id(n)].clone()
}

pub async fn until_running(host: &dyn HostDriver, n: u64, boot: u64) -> Observed {
    until_phase(host, n, Phase::Running, boot).await
}

/// Waits for something that no driver tells of: a file, the death of a process.
pub async fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let clock = Clock::system(1.0);
    let wait = async {
        loop {
            match look() {
                Some(found) => return found,
                None => clock.sleep(Duration::from_millis(2)).await,
            }
        }
    };
    match tokio::time::timeout(LIMIT, wait).await {
        Ok(found) => found,
        Err(_) => panic!("waited in vain for: {what}"),
    }
}

/// A process driver and the directory that it lives in.
pub struct Real {
    pub host: Arc<ProcessDriver>,
    pub dir: tempfile::TempDir,
}

impl Real {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let host = ProcessDriver::start(config(dir.path().join("state"), false)).expect("the driver starts");
        Self { host, dir }
    }

    pub async fn booted(snapshot: &Arc<HostSnapshot>) -> Self {
        let real = Self::start();
        real.host.obey(snapshot.clone());
        until_running(&*real.host, 1, 1).await;
        real
    }

    /// A file in an instance's working directory.
    pub fn file(&self, n: u64, name: &str) -> PathBuf {
        self.dir.path().join("state/instances").join(id(n).as_str()).join("root").join(name)
    }

    /// Waits until a file in the instance's working directory holds a whole line or more.
    pub async fn text(&self, n: u64, name: &str) -> String {
        lines(self.file(n, name)).await
    }

    pub async fn sh(&self, n: u64, text: &str) -> standfast_core::host::ExecOutput {
        let argv = ["/bin/sh", "-c", text].map(String::from).to_vec();
        self.host.exec(&id(n), argv, LIMIT).await.expect("the instance runs")
    }
}

pub async fn lines(path: PathBuf) -> String {
    let whole = || std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'));
    eventually(&format!("a line in {}", path.display()), whole).await
}

pub fn config(state_dir: PathBuf, keep: bool) -> ProcessConfig {
    ProcessConfig {
        state_dir: Some(state_dir),
        init_program: PROGRAM.into(),
        init_args: vec![INIT_ARGUMENT.into()],
        programs: Vec::new(),
        clock: Clock::system(1.0),
        keep,
    }
}

/// Whether a process with this id lives (one that is dead but not yet waited for does not).
pub fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub async fn until_dead(pid: &str) {
    eventually(&format!("the death of process {}", pid.trim()), || (!lives(pid)).then_some(())).await;
}
