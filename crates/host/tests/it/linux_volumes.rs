//! Volumes and snapshots on the machine's own file system, loop devices and mounts.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sha2::{Digest, Sha256};
use standfast_core::Id;
use standfast_core::host::{HostSnapshot, Progress, SnapshotSpec, VolumeSpec};
use standfast_core::id::{Instance, Snapshot, Volume};
use standfast_host::linux::ids;
use standfast_host::linux::volumes::{Volumes, user_namespace};
use tokio::runtime::Handle;

use crate::world::{LIMIT, eventually};

/// Set for the copy of this program that is to be killed.
const VICTIM: &str = "STANDFAST_TEST_VICTIM";

/// Set when its volume is to be paused then.
const FROZEN: &str = "STANDFAST_TEST_FROZEN";

pub fn may_run() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: this test needs root");
    }
    root
}

fn vol(n: u8) -> Id<Volume> {
    Id::from_text(&format!("vol-{n:017x}"))
}

fn snap(n: u8) -> Id<Snapshot> {
    Id::from_text(&format!("snap-{n:017x}"))
}

fn instance(n: u8) -> Id<Instance> {
    Id::from_text(&format!("i-{n:017x}"))
}

fn data() -> VolumeSpec {
    VolumeSpec {
        zone: "eu-west-1a".into(),
        size_gib: 1,
        iops: 3000,
        throughput_mib: 125,
        from: None,
        root: false,
        attached: None,
        paused: false,
    }
}

fn root() -> VolumeSpec {
    VolumeSpec { root: true, ..data() }
}

/// The volumes of a state directory and what should be of them.
struct World {
    volumes: Volumes,
    wanted: HostSnapshot,
    state: PathBuf,
    _dir: Option<tempfile::TempDir>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut world = Self::at(dir.path().join("state"));
        world._dir = Some(dir);
        world
    }

    fn at(state: PathBuf) -> Self {
        fs::create_dir_all(&state).expect("a directory");
        let volumes = Volumes::start(&state, Handle::current()).expect("volumes start");
        Self { volumes, wanted: HostSnapshot::default(), state, _dir: None }
    }

    /// The same directory with a process that begins anew.
    fn again(self) -> Self {
        let Self { volumes, wanted, state, _dir } = self;
        drop(volumes);
        let volumes = Volumes::start(&state, Handle::current()).expect("volumes start again");
        Self { volumes, wanted, state, _dir }
    }

    fn change(&mut self, change: impl FnOnce(&mut HostSnapshot)) {
        change(&mut self.wanted);
        self.volumes.apply(Arc::new(self.wanted.clone()));
    }

    async fn until(&self, what: &str, is: impl Fn(&Volumes) -> bool) {
        let mut changes = self.volumes.subscribe();
        let wait = async {
            while !is(&self.volumes) {
                changes.changed().await.expect("the volumes are there");
            }
        };
        if tokio::time::timeout(LIMIT, wait).await.is_err() {
            panic!("waited in vain for: {what}; it is {:?}", self.volumes.progress());
        }
    }

    /// Waits until everything is as it should be and nothing is being done.
    async fn ready(&self) {
        let done = |progress: &Progress| *progress == Progress::Ready;
        self.until("all is ready", |volumes| {
            let (volumes, snapshots) = volumes.progress();
            volumes.values().all(done) && snapshots.values().all(done)
        })
        .await;
    }

    async fn failure(&self, id: Id<Volume>) -> String {
        let failure = |volumes: &Volumes| match volumes.progress().0.get(&id) {
            Some(Progress::Failed(reason)) => Some(reason.clone()),
            _ => None,
        };
        self.until("a failure", |volumes| failure(volumes).is_some()).await;
        failure(&self.volumes).expect("it was just there")
    }

    async fn attached(&self, to: &Id<Instance>, count: usize) {
        self.until("attachments", |volumes| volumes.attachments(to).len() == count).await;
    }

    fn tree(&self, id: &Id<Volume>) -> PathBuf {
        self.volumes.root(id).expect("the root volume is ready").upper
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.state.join(directory)).expect("a directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Loop devices whose files are in this state directory.
    fn devices(&self) -> usize {
        devices_of(&self.state)
    }
}

fn devices_of(state: &Path) -> usize {
    let state = state.canonicalize().expect("the state directory");
    let blocks = fs::read_dir("/sys/block").expect("sysfs");
    let files = blocks.filter_map(|block| fs::read_to_string(block.ok()?.path().join("loop/backing_file")).ok());
    files.filter(|file| Path::new(file).starts_with(&state)).count()
}

/// A process in a user and a mount namespace of its own, as an instance's init is, with an empty `/mnt`.
struct Machine(Child);

impl Machine {
    fn start() -> Self {
        let namespace = user_namespace().expect("a user namespace");
        let users = format!("--user=/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
        let mut child = Command::new("nsenter")
            .args([
                &users,
                "--setuid",
                "0",
                "--setgid",
                "0",
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
            ])
            .arg("mount -t tmpfs -o mode=755 none /mnt && echo up && exec cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("nsenter runs");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("it speaks");
        assert_eq!(line, "up\n");
        Self(child)
    }

    fn init(&self) -> OwnedFd {
        let pid = Pid::from_raw(self.0.id() as i32).expect("a pid");
        pidfd_open(pid, PidfdFlags::empty()).expect("a pidfd")
    }

    /// A command in the machine, as its root.
    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--mount", "--target", &self.0.id().to_string(), "--setgid", "0", "--setuid", "0"]);
        command.args(["sh", "-c", script]);
        command
    }

    /// A write to the first volume.
    fn write(&self) -> Child {
        let script = "echo > /mnt/sdf/file; sync /mnt/sdf/file; echo done";
        self.command(script).stdout(Stdio::piped()).spawn().expect("nsenter runs")
    }

    fn sh(&self, script: &str) -> String {
        let output = self.command(script).output().expect("nsenter runs");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_root_volume_is_a_directory_and_its_snapshot_a_layer() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    world.change(|wanted| drop(wanted.volumes.insert(vol(1), root())));
    world.ready().await;
    let tree = world.tree(&vol(1));
    assert_eq!(fs::metadata(&tree).expect("the tree").uid(), ids::SHIFT);
    fill(&tree);

    world.change(|wanted| drop(wanted.snapshots.insert(snap(1), SnapshotSpec::OfVolume(vol(1)))));
    world.ready().await;
    fs::write(tree.join("etc/motd"), "written later").expect("a file");
    world.change(|wanted| {
        wanted.snapshots.insert(snap(2), SnapshotSpec::CopyOf(snap(1)));
        wanted.volumes.insert(vol(2), VolumeSpec { from: Some(snap(2)), ..root() });
    });
    world.ready().await;
    let copy = world.volumes.root(&vol(2)).expect("it is ready");
    assert!(copy.layers.len() == 1 && !copy.whole && fs::read_dir(&copy.upper).expect("a directory").count() == 0);
    check(&copy.layers[0]);

    world.change(|wanted| wanted.snapshots.clear());
    world.change(|wanted| drop(wanted.volumes.remove(&vol(1))));
    world.until("vol-1 is gone", |_| !tree.exists()).await;
    check(&copy.layers[0]);
    world.change(|wanted| wanted.volumes.clear());
    assert!(copy.upper.exists(), "it is in use");
    drop(copy);
    eventually("nothing is left", || {
        (world.names("layers").is_empty() && world.names("volumes").is_empty()).then_some(())
    })
    .await;
}

/// What overlays and programs leave in an upper directory.
fn fill(tree: &Path) {
    fs::create_dir(tree.join("etc")).expect("a directory");
    fs::write(tree.join("etc/motd"), "hello").expect("a file");
    fs::set_permissions(tree.join("etc/motd"), fs::Permissions::from_mode(0o4750)).expect("a mode");
    chown(tree.join("etc"), Some(ids::shifted(1000)), Some(ids::shifted(1000))).expect("an owner");
    fs::hard_link(tree.join("etc/motd"), tree.join("motd")).expect("a link");
    std::os::unix::fs::symlink("/etc/shadow", tree.join("link")).expect("a link");
    mknodat(CWD, tree.join("whiteout"), FileType::CharacterDevice, Mode::empty(), 0).expect("a whiteout");
    rustix::fs::setxattr(tree.join("etc"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).expect("an attribute");
    let mut sparse = fs::File::create(tree.join("sparse")).expect("a file");
    sparse.set_len(64 << 20).expect("a size");
    sparse.write_all(b"data").expect("some data");
}

fn check(tree: &Path) {
    let motd = fs::metadata(tree.join("etc/motd")).expect("the file");
    assert_eq!(fs::read(tree.join("etc/motd")).expect("the file"), b"hello");
    assert_eq!(motd.mode() & 0o7777, 0o4750);
    assert_eq!(fs::metadata(tree.join("etc")).expect("the directory").uid(), ids::shifted(1000));
    assert_eq!(fs::metadata(tree.join("motd")).expect("the link").ino(), motd.ino());
    assert_eq!(fs::read_link(tree.join("link")).expect("the link"), Path::new("/etc/shadow"));
    let whiteout = fs::symlink_metadata(tree.join("whiteout")).expect("the whiteout");
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(tree.join("etc"), "trusted.overlay.opaque", &mut value).expect("the attribute");
    assert_eq!(&value[..length], b"y");
    let sparse = fs::metadata(tree.join("sparse")).expect("the file");
    assert!(sparse.len() == 64 << 20 && sparse.blocks() * 512 < 1 << 20, "{} blocks", sparse.blocks());
}

/// A machine in which the volume 1 is attached as /dev/sdf.
async fn a_machine_with_a_disk() -> (World, Machine) {
    let mut world = World::new();
    let machine = Machine::start();
    let attached = Some((instance(1), "/dev/sdf".to_owned()));
    world.change(|wanted| drop(wanted.volumes.insert(vol(1), VolumeSpec { attached, ..data() })));
    world.volumes.enter(&instance(1), machine.init()).await;
    (world, machine)
}

#[tokio::test]
async fn a_data_volume_is_a_disk_of_its_size_that_follows_its_attachment() {
    if !may_run() {
        return;
    }
    let (mut world, machine) = a_machine_with_a_disk().await;
    let found = world.volumes.attachments(&instance(1));
    assert_eq!((found.len(), found[0].path.as_str(), found[0].major), (1, "/mnt/sdf", 7));
    assert_eq!(world.volumes.limits(&instance(1))[0].bytes_per_second, 125 << 20);
    assert_eq!(machine.sh("echo hello > /mnt/sdf/file; stat -c %u /mnt/sdf/file"), "0\n");
    let full = machine.sh("dd if=/dev/zero of=/mnt/sdf/big bs=1M 2>&1");
    assert!(full.contains("No space left on device"), "{full}");
    machine.sh("rm /mnt/sdf/big");

    // To another instance that runs, larger (what is in use grows only where that is allowed), and then nowhere.
    world.change(|wanted| wanted.volumes.get_mut(&vol(1)).expect("it is there").size_gib = 2);
    let other = Machine::start();
    world.volumes.enter(&instance(2), other.init()).await;
    world.change(|wanted| {
        wanted.volumes.get_mut(&vol(1)).expect("it is there").attached = Some((instance(2), "xvdb".into()))
    });
    eventually("it moved", || (other.sh("cat /mnt/xvdb/file") == "hello\n").then_some(())).await;
    assert_eq!(machine.sh("cat /mnt/sdf/file 2>/dev/null; ls /mnt"), "sdf\n");
    assert!(other.sh("df -BM --output=size /mnt/xvdb | tail -1").trim() > "1900M");
    world.change(|wanted| wanted.volumes.get_mut(&vol(1)).expect("it is there").attached = None);
    world.attached(&instance(2), 0).await;
    eventually("its device cleared itself", || (world.devices() == 0).then_some(())).await;
    world.change(|wanted| wanted.volumes.clear());
    eventually("it is gone", || world.names("volumes").is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_volume_that_came_as_its_machine_ended_is_in_the_next_boot() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    let attached = Some((instance(1), "/dev/sdf".to_owned()));
    world.change(|wanted| drop(wanted.volumes.insert(vol(1), VolumeSpec { attached, ..data() })));
    let machine = Machine::start();
    let init = machine.init();
    drop(machine);
    world.volumes.enter(&instance(1), init).await;
    let machine = Machine::start();
    world.volumes.enter(&instance(1), machine.init()).await;
    assert_eq!(machine.sh("stat -f -c %T /mnt/sdf"), "ext2/ext3\n");
}

#[tokio::test]
async fn snapshots_of_a_disk_are_of_one_moment_and_share_what_is_equal() {
    if !may_run() {
        return;
    }
    let (mut world, machine) = a_machine_with_a_disk().await;
    machine.sh("head -c 20M /dev/urandom > /mnt/sdf/random; echo first > /mnt/sdf/file");
    world.change(|wanted| drop(wanted.snapshots.insert(snap(1), SnapshotSpec::OfVolume(vol(1)))));
    world.ready().await;
    let kept = |world: &World| {
        let shelves = world.names("chunks");
        shelves.iter().map(|shelf| world.names(&format!("chunks/{shelf}")).len()).sum::<usize>()
    };
    let first = kept(&world);
    machine.sh("echo second > /mnt/sdf/file");
    world.change(|wanted| drop(wanted.snapshots.insert(snap(2), SnapshotSpec::OfVolume(vol(1)))));
    world.ready().await;
    assert!((1..20).contains(&(kept(&world) - first)), "{first} and then {}", kept(&world));

    // The first goes; volumes of both have what was there in their moment.
    world.change(|wanted| {
        let volume = |from| VolumeSpec { from: Some(from), attached: Some((instance(1), "/dev/sdg".into())), ..data() };
        wanted.volumes.insert(vol(2), volume(snap(1)));
        wanted.volumes.insert(vol(3), VolumeSpec { attached: None, size_gib: 3, ..volume(snap(2)) });
    });
    world.ready().await;
    eventually("the first", || (machine.sh("cat /mnt/sdg/file") == "first\n").then_some(())).await;
    assert_eq!(machine.sh("cmp /mnt/sdf/random /mnt/sdg/random && echo same"), "same\n");
    world.change(|wanted| {
        wanted.snapshots.remove(&snap(1));
        wanted.volumes.get_mut(&vol(3)).expect("it is there").attached = Some((instance(1), "/dev/sdh".into()));
    });
    eventually("the second", || (machine.sh("cat /mnt/sdh/file") == "second\n").then_some(())).await;
    assert!(machine.sh("df -BM --output=size /mnt/sdh | tail -1").trim() > "2900M");
    eventually("its chunks go", || (kept(&world) < first + 20).then_some(())).await;
    world.change(|wanted| *wanted = HostSnapshot::default());
    eventually("all goes", || (kept(&world) == 0 && world.devices() == 0).then_some(())).await;
}

#[tokio::test]
async fn writes_to_a_paused_volume_wait_until_it_goes_on_or_the_instance_ends() {
    if !may_run() {
        return;
    }
    let (mut world, machine) = a_machine_with_a_disk().await;
    let pause = |world: &mut World, paused| {
        world.change(|wanted| wanted.volumes.get_mut(&vol(1)).expect("it is there").paused = paused);
    };
    let write = || machine.write();
    pause(&mut world, true);
    let mut child = hanging(&write).await;
    pause(&mut world, false);
    assert!(tokio::task::spawn_blocking(move || child.wait()).await.expect("joins").expect("ends").success());

    pause(&mut world, true);
    let mut child = hanging(&write).await;
    world.volumes.leave(&instance(1));
    assert!(tokio::task::spawn_blocking(move || child.wait()).await.expect("joins").expect("ends").success());
}

#[tokio::test]
async fn a_paused_volume_is_detached_and_what_waited_for_it_goes_on() {
    if !may_run() {
        return;
    }
    let (mut world, machine) = a_machine_with_a_disk().await;
    assert!(world.volumes.limits(&instance(1))[0].read_bytes_per_second > 1);
    world.change(|wanted| wanted.volumes.get_mut(&vol(1)).expect("it is there").paused = true);
    let mut child = hanging(&|| machine.write()).await;
    let hang = || (world.volumes.limits(&instance(1))[0].read_bytes_per_second == 1).then_some(());
    eventually("reads hang too", hang).await;
    world.change(|wanted| wanted.volumes.get_mut(&vol(1)).expect("it is there").attached = None);
    assert!(tokio::task::spawn_blocking(move || child.wait()).await.expect("joins").expect("ends").success());
    eventually("no limits", || world.volumes.limits(&instance(1)).is_empty().then_some(())).await;
}

/// Writes until a write waits: the freeze comes soon after it was asked for.
async fn hanging(write: &impl Fn() -> Child) -> Child {
    loop {
        let mut child = write();
        let stat = format!("/proc/{}/stat", child.id());
        let state = eventually("the write ends or waits", || {
            let stat = fs::read_to_string(&stat).unwrap_or_default();
            ["D", "Z"].into_iter().find(|state| stat.contains(&format!(") {state} ")))
        });
        if state.await == "D" {
            return child;
        }
        child.wait().expect("it has ended");
    }
}

#[tokio::test]
async fn what_cannot_be_made_says_why() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    world.change(|wanted| {
        wanted.volumes.insert(vol(1), VolumeSpec { from: Some(snap(9)), ..root() });
        wanted.volumes.insert(vol(2), root());
        wanted.snapshots.insert(snap(2), SnapshotSpec::OfVolume(vol(2)));
        wanted.volumes.insert(vol(3), VolumeSpec { from: Some(snap(2)), ..data() });
        wanted.snapshots.insert(snap(4), SnapshotSpec::Import("/nowhere".into()));
        wanted.volumes.insert(vol(4), VolumeSpec { from: Some(snap(4)), ..root() });
    });
    assert!(world.failure(vol(1)).await.contains("does not exist"));
    assert!(world.failure(vol(3)).await.contains("root volume"));
    assert!(world.failure(vol(4)).await.contains("/nowhere"));
    assert_eq!(world.names("volumes"), [vol(2).as_str()], "nothing half-made stays");
}

#[tokio::test]
async fn what_is_whole_is_known_again_and_what_is_half_made_goes() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    world.change(|wanted| {
        wanted.volumes.insert(vol(1), root());
        wanted.volumes.insert(vol(2), data());
        wanted.snapshots.insert(snap(1), SnapshotSpec::OfVolume(vol(1)));
        wanted.snapshots.insert(snap(2), SnapshotSpec::OfVolume(vol(2)));
    });
    world.ready().await;
    let made = fs::metadata(world.tree(&vol(1))).expect("the tree").ino();
    fs::create_dir(world.state.join("volumes").join(vol(3).as_str())).expect("a directory");
    fs::create_dir(world.state.join("layers").join(snap(3).as_str())).expect("a directory");
    let mut world = world.again();
    world.change(|_| ());
    world.ready().await;
    assert_eq!(fs::metadata(world.tree(&vol(1))).expect("the tree").ino(), made);
    assert_eq!(world.names("volumes"), [vol(1).as_str(), vol(2).as_str()]);
    eventually("garbage goes", || (world.names("layers") == [snap(1).as_str()]).then_some(())).await;
}

#[tokio::test]
async fn an_imported_root_file_system_is_a_layer_with_shifted_owners() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    let tarball = world.state.join("rootfs.tar.gz");
    let file = fs::File::create(&tarball).expect("a file");
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
    let mut add = |path: &str, kind, mode, link: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_gid(0);
        header.set_size(if link.is_none() && kind == tar::EntryType::Regular { 4 } else { 0 });
        match link {
            Some(target) => archive.append_link(&mut header, path, target),
            None if kind == tar::EntryType::Regular => archive.append_data(&mut header, path, &b"text"[..]),
            None => archive.append_data(&mut header, path, &b""[..]),
        }
        .expect("an entry");
    };
    add("usr/bin/sh", tar::EntryType::Regular, 0o4755, None);
    add("bin", tar::EntryType::Symlink, 0o777, Some("usr/bin"));
    add("bin/ls", tar::EntryType::Regular, 0o755, None);
    add("old", tar::EntryType::Regular, 0o644, None);
    add(".wh.old", tar::EntryType::Regular, 0o644, None);
    archive.into_inner().expect("ends").finish().expect("ends");

    world.change(|wanted| {
        wanted.snapshots.insert(snap(1), SnapshotSpec::Import(tarball));
        wanted.volumes.insert(vol(1), VolumeSpec { from: Some(snap(1)), ..root() });
    });
    world.ready().await;
    let tree = world.volumes.root(&vol(1)).expect("it is ready");
    assert!(tree.whole && tree.layers.len() == 1);
    let sh = fs::metadata(tree.layers[0].join("usr/bin/sh")).expect("the shell");
    assert_eq!((sh.uid(), sh.gid(), sh.mode() & 0o7777), (ids::shifted(1000), ids::SHIFT, 0o4755));
    assert!(tree.layers[0].join("usr/bin/ls").exists(), "links within the tree are followed");
    assert!(!tree.layers[0].join("old").exists());
}

#[tokio::test]
async fn an_archive_cannot_lead_out_of_its_tree() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    let victim = world.state.join("victim");
    fs::create_dir(&victim).expect("a directory");
    let tarball = world.state.join("evil.tar");
    let mut archive = tar::Builder::new(fs::File::create(&tarball).expect("a file"));
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_link(&mut header, "out", &victim).expect("an entry");
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    archive.append_data(&mut header, "out/file", &b"evil"[..]).expect("an entry");
    archive.into_inner().expect("ends");
    world.change(|wanted| drop(wanted.snapshots.insert(snap(1), SnapshotSpec::Import(tarball))));
    world
        .until(
            "a refusal",
            |volumes| matches!(&volumes.progress().1[&snap(1)], Progress::Failed(why) if why.contains("leads out")),
        )
        .await;
    assert_eq!(fs::read_dir(&victim).expect("a directory").count(), 0);
}

/// Not a test of its own: the process that the next one kills.
#[tokio::test]
async fn victim() {
    let Some(state) = std::env::var_os(VICTIM) else { return };
    let mut world = World::at(state.into());
    let machine = Machine::start();
    let attached = Some((instance(1), "/dev/sdf".to_owned()));
    world.change(|wanted| drop(wanted.volumes.insert(vol(1), VolumeSpec { attached, ..data() })));
    world.volumes.enter(&instance(1), machine.init()).await;
    if std::env::var_os(FROZEN).is_some() {
        world.change(|wanted| wanted.volumes.get_mut(&vol(1)).expect("it is there").paused = true);
        drop(hanging(&|| machine.write()).await);
    }
    println!("machine {}", machine.0.id());
    std::future::pending::<()>().await;
}

/// Starts the victim, and kills it when its volume is attached.
fn kill_one(state: &Path, frozen: bool) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["linux_volumes::victim", "--exact", "--nocapture"]).env(VICTIM, state).stdout(Stdio::piped());
    if frozen {
        command.env(FROZEN, "1");
    }
    // Killed at the latest when the test fails.
    let mut victim = Machine(command.spawn().expect("it runs"));
    let mut lines = BufReader::new(victim.0.stdout.take().expect("piped")).lines();
    lines.find(|line| line.as_ref().expect("it speaks").contains("machine ")).expect("it is attached").expect("text");
    assert_eq!(devices_of(state), 1);
    victim.0.kill().expect("it is there");
    victim.0.wait().expect("it ends");
}

#[tokio::test]
async fn no_device_or_mount_outlives_the_process() {
    if !may_run() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    kill_one(dir.path(), false);
    // The machine reads the end of its input and ends, as an instance's init does.
    eventually("the device cleared itself", || (devices_of(dir.path()) == 0).then_some(())).await;
}

#[tokio::test]
async fn what_a_killed_process_left_frozen_is_thawed_at_the_next_start() {
    if !may_run() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    kill_one(dir.path(), true);
    let world = World::at(dir.path().into());
    eventually("the device cleared itself", || (world.devices() == 0).then_some(())).await;
}

#[tokio::test]
async fn an_image_of_an_oci_layout_is_its_layers_over_one_another() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    let layout = world.state.join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).expect("a directory");
    let blob = |content: &[u8]| {
        let hash = hex::encode(Sha256::digest(content));
        fs::write(layout.join("blobs/sha256").join(&hash), content).expect("a file");
        format!("sha256:{hash}")
    };
    let layer = |paths: &[&str]| {
        let mut archive = tar::Builder::new(Vec::new());
        for path in paths {
            let mut header = tar::Header::new_gnu();
            header.set_size(4);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            archive.append_data(&mut header, path, &b"text"[..]).expect("an entry");
        }
        archive.into_inner().expect("ends")
    };
    let layers = [
        layer(&["etc/kept", "etc/hidden", "var/old/file"]),
        layer(&["etc/.wh.hidden", "var/old/.wh..wh..opq", "var/old/new"]),
    ];
    let layers = layers.map(|layer| serde_json::json!({ "digest": blob(&layer) }));
    let manifest = blob(serde_json::json!({ "layers": layers }).to_string().as_bytes());
    let index = serde_json::json!({ "manifests": [{ "digest": manifest }] }).to_string();
    fs::write(layout.join("index.json"), index).expect("a file");
    fs::write(layout.join("oci-layout"), "{}").expect("a file");
    world.change(|wanted| {
        wanted.snapshots.insert(snap(1), SnapshotSpec::Import(layout));
        wanted.volumes.insert(vol(1), VolumeSpec { from: Some(snap(1)), ..root() });
    });
    world.ready().await;
    let tree = world.volumes.root(&vol(1)).expect("it is ready");
    let there = |path: &str| tree.layers[0].join(path).exists();
    assert!(there("etc/kept") && there("var/old/new") && !there("etc/hidden") && !there("var/old/file"));
    assert!(!tree.whole, "without a shell it lies over the base image");
}
