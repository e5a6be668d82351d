//! Processes end with what they belong to, however that ends.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use standfast_core::host::{HostDriver, HostSnapshot, Phase};
use standfast_host::ProcessDriver;

use crate::world::*;

const THREE: &str = "echo $PPID > init\nsleep 1000 & echo $! > plain\n\
     setsid sh -c 'echo $$ > session; exec sleep 1000' &\nsleep 1000 & echo $! > last; wait";
const FILES: [&str; 3] = ["plain", "session", "last"];

#[tokio::test]
async fn killing_an_instance_kills_all_of_it_now() {
    let real = Real::booted(&script(THREE)).await;
    let mut pids = vec![real.text(1, "init").await];
    for name in FILES {
        pids.push(real.text(1, name).await);
    }
    real.host.kill(&id(1)).expect("it runs");
    until_phase(&*real.host, 1, Phase::Crashed("killed".into()), 1).await;
    assert!(!pids.iter().any(|pid| lives(pid)));
    real.host.shutdown().await;
}

#[tokio::test]
async fn when_an_init_is_killed_the_rest_of_its_instance_goes_too() {
    let real = Real::booted(&script(THREE)).await;
    let init = real.text(1, "init").await;
    let mut pids = Vec::new();
    for name in FILES {
        pids.push(real.text(1, name).await);
    }
    kill(&init);
    until_phase(&*real.host, 1, Phase::Crashed("its init ended: killed".into()), 1).await;
    assert!(!pids.iter().any(|pid| lives(pid)));
    real.host.shutdown().await;
}

/// A cloud in a process of its own.
struct Cloud {
    process: Child,
    /// The snapshots' end must stay open, or the cloud shuts down.
    _input: std::process::ChildStdin,
}

impl Cloud {
    fn start(state: &Path, snapshot: &HostSnapshot) -> Self {
        let mut process = Command::new(PROGRAM)
            .arg(state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut input = process.stdin.take().expect("piped");
        writeln!(input, "{}", serde_json::to_string(snapshot).expect("serializable")).expect("it reads");
        let mut output = BufReader::new(process.stdout.take().expect("piped")).lines();
        assert!(output.any(|line| line.is_ok_and(|line| line.contains("Running"))), "the instance did not come up");
        Self { process, _input: input }
    }

    fn kill(mut self) {
        self.process.kill().expect("it lives");
        self.process.wait().expect("it is ours");
    }
}

fn kill(pid: &str) {
    let killed = Command::new("/bin/sh").args(["-c", &format!("kill -9 {}", pid.trim())]).status().expect("a shell");
    assert!(killed.success());
}

async fn pids(state: &Path) -> Vec<String> {
    let mut pids = Vec::new();
    for name in FILES {
        pids.push(lines(state.join("instances").join(id(1).as_str()).join("root").join(name)).await);
    }
    pids
}

#[tokio::test]
async fn when_a_cloud_is_killed_its_instances_go_with_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cloud = Cloud::start(dir.path(), &script(THREE));
    let pids = pids(dir.path()).await;
    assert!(pids.iter().all(|pid| lives(pid)));
    cloud.kill();
    for pid in pids {
        until_dead(&pid).await;
    }
}

#[tokio::test]
async fn what_a_killed_cloud_and_its_killed_inits_left_is_swept_by_the_next() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cloud = Cloud::start(dir.path(), &script(THREE));
    let pids = pids(dir.path()).await;
    let init = lines(dir.path().join("instances").join(id(1).as_str()).join("root/init")).await;
    // Stopped, the init cannot act on the end of its cloud before it is killed itself.
    let stop = Command::new("/bin/sh").args(["-c", &format!("kill -STOP {}", init.trim())]).status();
    assert!(stop.expect("a shell").success());
    cloud.kill();
    kill(&init);
    until_dead(&init).await;
    assert!(pids.iter().all(|pid| lives(pid)), "this test needs orphans");
    let mut stranger = Command::new("sleep").arg("1000").env("STANDFAST_INSTANCE", "0/i-1").spawn().expect("a program");
    let host = ProcessDriver::start(config(dir.path().into(), true)).expect("it starts");
    assert!(!pids.iter().any(|pid| lives(pid)));
    assert!(stranger.try_wait().expect("it is ours").is_none(), "another cloud's process was killed");
    stranger.kill().expect("it lives");
    stranger.wait().expect("it is ours");
    host.shutdown().await;
}

#[tokio::test]
async fn a_temporary_directory_goes_with_its_cloud_or_with_the_next() {
    let config = || standfast_host::ProcessConfig { state_dir: None, ..config("".into(), false) };
    let host = ProcessDriver::start(config()).expect("it starts");
    let path = host.state_dir().to_path_buf();
    assert!(path.is_dir());
    // Somebody's that looks like one of a dead cloud, and one that a living cloud uses.
    let stale = path.with_file_name(format!("{}-stale", path.file_name().expect("a name").to_string_lossy()));
    std::fs::create_dir(&stale).expect("a free name");
    std::fs::write(stale.join("lock"), "").expect("writable");
    std::fs::write(stale.join("cloud-id"), "0123456789abcdef").expect("writable");
    let second = ProcessDriver::start(config()).expect("it starts");
    assert!(!stale.exists(), "what a dead cloud left is removed");
    assert!(path.is_dir(), "what a living cloud uses is not");
    host.shutdown().await;
    second.shutdown().await;
    assert!(!path.exists() && !second.state_dir().exists());
}

#[tokio::test]
async fn a_directory_has_one_cloud_at_a_time() {
    let real = Real::start();
    let second = ProcessDriver::start(config(real.dir.path().join("state"), false));
    assert!(second.err().expect("it is taken").to_string().contains("in use"));
    real.host.shutdown().await;
}

#[tokio::test]
async fn a_kept_instance_waits_for_a_new_boot_number_after_the_cloud_is_restarted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let start = || ProcessDriver::start(config(dir.path().into(), true)).expect("it starts");
    let wanted = script("echo once >> runs");
    let host = start();
    host.obey(wanted.clone());
    let address = until_running(&*host, 1, 1).await.address;
    let file = dir.path().join("instances").join(id(1).as_str()).join("root/runs");
    lines(file.clone()).await;
    host.shutdown().await;
    drop(host);

    let host = start();
    let restarted = Phase::Crashed("the cloud was restarted".into());
    assert_eq!(host.observe().instances[&id(1)].phase, restarted);
    host.obey(wanted.clone());
    until_phase(&*host, 1, restarted, 1).await;
    host.obey(changed(&wanted, |s| s.instances.values_mut().for_each(|spec| spec.boot = 2)));
    assert_eq!(until_running(&*host, 1, 2).await.address, address);
    assert_eq!(lines(file.clone()).await, "once\n", "user data is for the first boot");
    host.obey(Arc::default());
    until(&*host, "no instance", |seen| seen.instances.is_empty()).await;
    assert!(!file.exists());
    host.shutdown().await;
}
