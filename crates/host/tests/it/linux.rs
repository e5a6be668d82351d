//! The linux driver: what an instance can and cannot see of the machine, what it does when it boots, what is left of it.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use standfast_core::host::{ExecOutput, HostDriver, HostSnapshot, Phase, Progress, SnapshotSpec, VolumeSpec};
use standfast_core::id::{Id, SecurityGroup, Snapshot, Subnet, Volume, Vpc};
use standfast_core::{Cidr, Clock, network};
use standfast_host::linux::LAUNCH_ARGUMENT;
use standfast_host::{LinuxConfig, LinuxDriver};

use crate::world::*;

/// Where no API answers.
const API: std::net::SocketAddr = std::net::SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));

/// A linux driver and the directory that it lives in.
pub struct Machines {
    pub host: Arc<LinuxDriver>,
    dir: tempfile::TempDir,
}

impl Machines {
    /// `None`, loudly, where it cannot run.
    pub fn start() -> Option<Self> {
        Self::start_with(|_| ())
    }

    pub fn start_with(change: impl FnOnce(&mut LinuxConfig)) -> Option<Self> {
        if let Err(why) = standfast_host::linux::available() {
            eprintln!("SKIPPED: the linux driver cannot run here: {why}");
            return None;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = LinuxConfig {
            state_dir: Some(dir.path().join("state")),
            init_program: PROGRAM.into(),
            launch_args: vec![LAUNCH_ARGUMENT.into()],
            ..LinuxConfig::new(Clock::system(1.0), API)
        };
        change(&mut config);
        let host = LinuxDriver::start(config).expect("the driver starts");
        Some(Self { host, dir })
    }

    async fn booted(snapshot: &Arc<HostSnapshot>) -> Option<Self> {
        let machines = Self::start()?;
        machines.host.obey(snapshot.clone());
        until_running(&*machines.host, 1, 1).await;
        Some(machines)
    }

    pub async fn sh(&self, text: &str) -> ExecOutput {
        let argv = ["/bin/sh", "-c", text].map(String::from).to_vec();
        self.host.exec(&id(1), argv, LIMIT).await.expect("the instance runs")
    }

    /// What a command that works says.
    pub async fn says(&self, text: &str) -> String {
        let output = self.sh(text).await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.code, 0, "{text}: {out}{err}");
        out.trim_end().to_owned()
    }

    /// Waits until a command works.
    pub async fn until_works(&self, text: &str) {
        let clock = Clock::system(1.0);
        let wait = async {
            while self.sh(text).await.code != 0 {
                clock.sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(LIMIT, wait).await.is_err() {
            panic!("waited in vain for {text}: {}", String::from_utf8_lossy(&self.host.console(&id(1))));
        }
    }
}

#[tokio::test]
async fn what_is_not_for_everybody_on_the_machine_is_not_in_an_instance() {
    let secret = tempfile::Builder::new().prefix("standfast-secret").tempfile_in("/etc");
    let Ok(secret) = secret else { return eprintln!("SKIPPED: not root") };
    std::fs::set_permissions(secret.path(), std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    let Some(machines) = Machines::booted(&snapshot([(1, spec()), (2, spec())])).await else { return };
    let state = machines.dir.path().display();
    for path in [&secret.path().display().to_string(), &format!("{state}/state"), "/root/.bashrc", "/var/lib/dpkg"] {
        assert_ne!(machines.sh(&format!("cat {path} || ls {path}")).await.code, 0, "{path} is there");
    }
    let homes = machines.says("ls -A /home; ls -A /root; ls -A /tmp; ls -A /srv").await;
    assert_eq!(homes, "ec2-user");
    assert!(!machines.says("cat /etc/shadow").await.contains("$"), "the machine's passwords");
    let processes = machines.says("ls /proc | grep -c '^[0-9]'").await;
    assert!(processes.parse::<u32>().expect("a number") < 10, "{processes} processes are seen");
    // What its init holds open leads to the machine.
    assert_ne!(machines.sh("ls -l /proc/1/fd/").await.code, 0);
    assert_ne!(machines.sh("ls /proc/1/root/").await.code, 0);
    assert_ne!(machines.sh("cat /proc/1/environ").await.code, 0);
    assert_ne!(machines.sh("mknod /tmp/disk b 7 0").await.code, 0);
    machines.host.shutdown().await;
}

#[tokio::test]
async fn the_machines_loopback_is_not_the_instances() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let Some(machines) = Machines::booted(&one(|_| ())).await else { return };
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let argv = ["bash", "-c", &connect].map(String::from).to_vec();
    let output = machines.host.exec(&id(1), argv, LIMIT).await.expect("it runs");
    assert_ne!(output.code, 0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("refused"), "its own loopback is up: {output:?}");
    machines.host.shutdown().await;
}

#[tokio::test]
async fn an_instance_is_as_large_as_its_type_and_named_as_on_ec2() {
    let small = one(|spec| (spec.vcpus, spec.memory_mib) = (1, 512));
    let Some(machines) = Machines::booted(&small).await else { return };
    assert_eq!(machines.says("grep -c ^processor /proc/cpuinfo; nproc").await, "1\n1");
    assert_eq!(machines.says("awk '/MemTotal/ {print $2}' /proc/meminfo").await, "524288");
    assert_eq!(machines.says("hostname; cat /etc/hostname").await, format!("{0}\n{0}", spec().hostname));
    assert_eq!(
        machines.says("cat /etc/resolv.conf").await,
        "search eu-west-1.compute.internal\nnameserver 10.0.0.2\noptions timeout:2 attempts:3"
    );
    assert_eq!(
        machines.says("echo $AWS_ENDPOINT_URL $STANDFAST_ADDRESS $HOME").await,
        "http://169.254.169.254:4566 0.0.0.0 /root"
    );
    // A program that wants more memory than there is gets killed; the instance goes on.
    let greedy = machines.sh("head -c 900m /dev/zero | tail > /dev/null").await;
    assert_ne!(greedy.code, 0);
    assert_eq!(machines.says("echo alive").await, "alive");
    // Nor do many small ones take its first process along, which is larger than each.
    let many = "for n in $(seq 400); do sh -c 'x=$(head -c 1500k /dev/zero | tr \\\\0 x); sleep 1' & done; wait";
    machines.sh(many).await;
    assert_eq!(machines.says("echo alive").await, "alive");
    assert_eq!(machines.host.observe().instances[&id(1)].boot, 1);
    machines.host.shutdown().await;
}

#[tokio::test]
async fn what_an_instance_writes_outlives_a_reboot_and_user_data_runs_once() {
    let wanted = script(
        "echo web-7 > /etc/hostname; echo run >> /root/runs; printf '#!/bin/sh\\necho hook >> /root/runs\\n' > rc.local; chmod +x rc.local",
    );
    let Some(machines) = Machines::booted(&wanted).await else { return };
    machines.until_works("grep run /root/runs && test -x /rc.local").await;
    machines.host.obey(changed(&wanted, |s| s.instances.values_mut().for_each(|spec| spec.boot = 2)));
    until_running(&*machines.host, 1, 2).await;
    machines.until_works("grep hook /root/runs").await;
    assert_eq!(machines.says("cat /root/runs").await, "run\nhook");
    assert_eq!(machines.says("hostname").await, "web-7", "as it calls itself");
    machines.host.shutdown().await;
}

#[tokio::test]
async fn an_instance_can_switch_itself_off_and_reboot() {
    let wanted = script("echo $(( $(cat /root/count 2>/dev/null || echo 0) + 1 )) > /root/count");
    let Some(machines) = Machines::booted(&wanted).await else { return };
    machines.until_works("test -s /root/count").await;
    let change = machines.host.changed();
    // The command is ended with everything else.
    machines.sh("touch /run/before; reboot").await;
    change.await;
    until_running(&*machines.host, 1, 1).await;
    assert_ne!(machines.sh("test -e /run/before").await.code, 0, "it did not reboot");
    machines.sh("shutdown -h now").await;
    until_phase(&*machines.host, 1, Phase::Off, 1).await;
    machines.host.obey(changed(&wanted, |s| s.instances.values_mut().for_each(|spec| spec.boot = 2)));
    until_running(&*machines.host, 1, 2).await;
    machines.host.shutdown().await;
}

const CLOUD_CONFIG: &str = "#cloud-config
bootcmd:
  - echo early >> /root/order
write_files:
  - path: /srv/app/plain
    content: |
      two
      lines
    permissions: '0750'
    owner: www-data:www-data
  - path: /srv/coded
    encoding: b64
    content: aGVsbG8K
users:
  - default
  - name: deploy
    groups: [builders]
    ssh_authorized_keys: [ssh-ed25519 AAAA deploy]
ssh_authorized_keys: [ssh-ed25519 BBBB someone]
hostname: web-1
packages: [nginx]
runcmd:
  - cd /srv
  - [touch, \"it's here\"]
  - echo late >> /root/order
";

#[tokio::test]
async fn a_cloud_config_is_done_in_order() {
    let wanted = one(|spec| {
        spec.user_data = CLOUD_CONFIG.into();
        spec.ssh_keys = vec!["ssh-ed25519 CCCC launch".into()];
    });
    let Some(machines) = Machines::booted(&wanted).await else { return };
    machines.until_works("grep late /root/order").await;
    assert_eq!(machines.says("cat /root/order").await, "early\nlate");
    assert_eq!(machines.says("cat /srv/app/plain /srv/coded").await, "two\nlines\nhello");
    assert_eq!(machines.says("stat -c %a:%U:%G /srv/app/plain").await, "750:www-data:www-data");
    assert_eq!(machines.says("hostname; id -nG deploy").await, "web-1\ndeploy builders");
    machines.says("test -e \"/srv/it's here\"").await;
    assert_eq!(machines.says("cat ~deploy/.ssh/authorized_keys").await, "ssh-ed25519 AAAA deploy");
    let keys = machines.says("cat ~ec2-user/.ssh/authorized_keys; stat -c %a:%U ~ec2-user/.ssh/authorized_keys").await;
    assert_eq!(keys, "ssh-ed25519 CCCC launch\nssh-ed25519 BBBB someone\n600:ec2-user");
    let console = String::from_utf8_lossy(&machines.host.console(&id(1))).into_owned();
    assert!(console.contains("packages skipped: nginx"), "{console}");
    machines.host.shutdown().await;
}

#[tokio::test]
async fn whoever_has_the_key_may_log_in() {
    if !Path::new("/usr/sbin/sshd").exists() {
        return eprintln!("SKIPPED: there is no sshd");
    }
    let wanted = script(
        "ssh-keygen -q -t ed25519 -N '' -f /root/key && cat /root/key.pub >> /home/ec2-user/key.pub; \
         mkdir -p /home/ec2-user/.ssh; mv /home/ec2-user/key.pub /home/ec2-user/.ssh/authorized_keys; \
         chown -R ec2-user:ec2-user /home/ec2-user; touch /root/done",
    );
    let Some(machines) = Machines::booted(&wanted).await else { return };
    machines.until_works("test -e /root/done").await;
    let ssh = "ssh -o StrictHostKeyChecking=no -o BatchMode=yes -i /root/key ec2-user@127.0.0.1";
    machines.until_works(&format!("{ssh} true")).await;
    assert_eq!(
        machines.says(&format!("{ssh} 'id -un; pwd; echo $AWS_REGION' 2> /dev/null")).await,
        "ec2-user\n/home/ec2-user\neu-west-1"
    );
    machines.host.shutdown().await;
}

#[tokio::test]
async fn volumes_come_and_go_while_an_instance_runs() {
    let volume: Id<Volume> = Id::from_text("vol-00000000000000001");
    let root: Id<Volume> = Id::from_text("vol-00000000000000002");
    let spec_of = |root: bool, attached| VolumeSpec {
        zone: "eu-west-1a".into(),
        size_gib: 1,
        iops: 3000,
        throughput_mib: 125,
        from: None,
        root,
        attached,
        paused: false,
    };
    let off = changed(&one(|spec| spec.root_volume = Some(root.clone())), |s| {
        s.volumes.insert(root.clone(), spec_of(true, Some((id(1), "/dev/xvda".into()))));
        s.volumes.insert(volume.clone(), spec_of(false, None));
    });
    let Some(machines) = Machines::booted(&off).await else { return };
    let on = changed(&off, |s| {
        s.volumes.insert(volume.clone(), spec_of(false, Some((id(1), "/dev/sdf".into()))));
    });
    machines.host.obey(on.clone());
    machines.until_works("grep ' /mnt/sdf ' /proc/mounts").await;
    machines.says("echo kept > /mnt/sdf/file; echo rooted > /root/file").await;
    machines.host.obey(off.clone());
    machines.until_works("! grep ' /mnt/sdf ' /proc/mounts").await;
    machines.host.obey(changed(&on, |s| s.instances.values_mut().for_each(|spec| spec.boot = 2)));
    until_running(&*machines.host, 1, 2).await;
    assert_eq!(machines.says("cat /mnt/sdf/file /root/file").await, "kept\nrooted");
    machines.host.shutdown().await;
}

#[tokio::test]
async fn programs_and_image_layers_are_in_instances_and_cannot_be_written() {
    let layer = tempfile::tempdir().expect("a temporary directory");
    let tool = layer.path().join("usr/bin/standfast-test-tool");
    std::fs::create_dir_all(tool.parent().expect("it has one")).expect("writable");
    std::fs::write(&tool, "#!/bin/sh\necho from the layer\n").expect("writable");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let machines = Machines::start_with(|config| {
        config.programs = vec!["standfast-test-first".into(), "standfast-test-program".into()];
        config.image_layers = vec![layer.path().into()];
    });
    let Some(machines) = machines else { return };
    machines.host.obey(one(|_| ()));
    until_running(&*machines.host, 1, 1).await;
    assert_eq!(machines.says("standfast-test-tool").await, "from the layer");
    let size = machines.says("stat -c %s $(command -v standfast-test-program)").await;
    assert_eq!(size, std::fs::metadata(PROGRAM).expect("it is there").len().to_string());
    assert_ne!(machines.sh("echo broken >> $(command -v standfast-test-program)").await.code, 0);
    // The instance's own copy changes, and nothing else.
    machines.says("echo changed > /usr/bin/standfast-test-tool; echo mine > /etc/standfast-test-file").await;
    assert!(std::fs::read_to_string(&tool).expect("readable").contains("layer"));
    assert!(!Path::new("/etc/standfast-test-file").exists());
    machines.host.shutdown().await;
}

#[tokio::test]
async fn an_image_of_an_instance_has_what_it_wrote_and_not_its_first_boot() {
    let (root, copy): (Id<Volume>, Id<Volume>) = (Id::from_text("vol-1"), Id::from_text("vol-2"));
    let image: Id<Snapshot> = Id::from_text("snap-1");
    let volume = |from: Option<&Id<Snapshot>>, n: u64| VolumeSpec {
        zone: "eu-west-1a".into(),
        size_gib: 8,
        iops: 3000,
        throughput_mib: 125,
        from: from.cloned(),
        root: true,
        attached: Some((id(n), "/dev/xvda".into())),
        paused: false,
    };
    let golden = changed(&script("echo one > /root/who; echo kept > /usr/share/kept; rm /usr/bin/head"), |s| {
        s.instances.values_mut().for_each(|spec| spec.root_volume = Some(root.clone()));
        s.volumes.insert(root.clone(), volume(None, 1));
    });
    let Some(machines) = Machines::booted(&golden).await else { return };
    machines.until_works("! test -e /usr/bin/head").await;
    let imaged = changed(&golden, |s| {
        s.snapshots.insert(image.clone(), SnapshotSpec::OfVolume(root.clone()));
    });
    machines.host.obey(imaged.clone());
    until(&*machines.host, "the snapshot", |seen| seen.snapshots.get(&image) == Some(&Progress::Ready)).await;
    let both = changed(&imaged, |s| {
        let mut spec = spec();
        spec.private_ip = private_ip(2);
        spec.hostname = "ip-10-0-0-6.eu-west-1.compute.internal".into();
        spec.root_volume = Some(copy.clone());
        spec.user_data = b"#!/bin/sh\necho two >> /root/who\n".to_vec();
        s.instances.insert(id(2), spec);
        s.volumes.insert(copy.clone(), volume(Some(&image), 2));
    });
    machines.host.obey(both);
    until_running(&*machines.host, 2, 1).await;
    let script = "until grep -q two /root/who; do sleep 0.02; done; cat /root/who /usr/share/kept /etc/hostname; ls /usr/bin/head";
    let argv = ["/bin/sh", "-c", script].map(String::from).to_vec();
    let output = machines.host.exec(&id(2), argv, LIMIT).await.expect("it runs");
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(seen, "one\ntwo\nkept\nip-10-0-0-6.eu-west-1.compute.internal\n", "{output:?}");
    assert_ne!(output.code, 0, "what was removed is there again");
    machines.host.shutdown().await;
}

#[tokio::test]
async fn a_driver_that_ends_at_once_leaves_nothing() {
    let Some(machines) = Machines::start_with(|config| config.state_dir = None) else { return };
    let state = machines.host.state_dir().to_owned();
    assert!(state.exists());
    machines.host.shutdown().await;
    assert!(!state.exists(), "it is gone with all that was being made in it");
}

#[test]
fn what_the_machine_allows_can_be_asked() {
    let findings = standfast_host::linux::probe();
    for finding in &findings {
        eprintln!("{} {}: {}", if finding.ok { "ok" } else { "--" }, finding.name, finding.detail);
    }
    let needed = ["root", "user namespaces", "overlay", "networks"];
    let ok = needed.iter().all(|name| findings.iter().any(|finding| finding.name == *name && finding.ok));
    assert!(standfast_host::linux::available().is_err() || ok);
}

/// Two instances in a VPC with an internet gateway; the first has a public address.
pub fn in_a_vpc(public: Ipv4Addr) -> Arc<HostSnapshot> {
    let (vpc, subnet): (Id<Vpc>, Id<Subnet>) = (Id::from_text("vpc-1"), Id::from_text("subnet-1"));
    let (table, acl) = (Id::from_text("rtb-1"), Id::from_text("acl-1"));
    let group: Id<SecurityGroup> = Id::from_text("sg-1");
    let anywhere: Cidr = "0.0.0.0/0".parse().expect("a block");
    let open = network::AclEntry { allow: true, traffic: network::Traffic::All, peer: anywhere };
    let rule = network::GroupRule { traffic: network::Traffic::All, peer: network::Peer::Cidr(anywhere) };
    let mut net = network::NetworkSnapshot::default();
    net.security_groups
        .insert(group.clone(), network::SecurityGroup { ingress: vec![rule.clone()], egress: vec![rule] });
    let route = network::Route { destination: anywhere, target: network::RouteTarget::InternetGateway };
    let made = network::Vpc {
        account: "000000000000".into(),
        region: "eu-west-1".into(),
        cidrs: vec!["10.0.0.0/16".parse().expect("a block")],
        subnets: [(
            subnet.clone(),
            network::Subnet {
                zone: "eu-west-1a".into(),
                cidr: "10.0.0.0/24".parse().expect("a block"),
                route_table: Id::clone(&table),
                acl: Id::clone(&acl),
            },
        )]
        .into(),
        route_tables: [(table, vec![route])].into(),
        acls: [(acl, network::Acl { ingress: vec![open.clone()], egress: vec![open] })].into(),
        internet: true,
        dns: true,
        names: [("two.internal".to_owned(), vec![private_ip(2)])].into(),
        domain: "eu-west-1.compute.internal".into(),
    };
    net.vpcs.insert(vpc.clone(), made);
    for n in [1, 2] {
        let interface = network::Interface {
            vpc: vpc.clone(),
            subnet: subnet.clone(),
            zone: "eu-west-1a".into(),
            mac: format!("02:00:00:00:00:0{n}"),
            addresses: vec![network::Address { private: private_ip(n), public: (n == 1).then_some(public) }],
            groups: vec![group.clone()],
            source_dest_check: true,
            owner: network::Owner::Instance { id: id(n), device_index: 0 },
        };
        net.interfaces.insert(Id::from_text(&format!("eni-{n}")), interface);
    }
    let mut spec = spec();
    spec.metadata.enabled = true;
    spec.metadata.hop_limit = 2;
    spec.metadata.tree = [("meta-data/instance-type".to_owned(), "t3.micro".to_owned())].into();
    changed(&snapshot([(1, spec.clone()), (2, spec)]), |s| s.network = net)
}

#[tokio::test]
async fn instances_have_the_network_of_their_vpc_when_they_boot() {
    const METADATA: &str = "exec 3<>/dev/tcp/169.254.169.254/80; \
         printf 'GET /latest/meta-data/instance-type HTTP/1.0\\r\\n\\r\\n' >&3; tail -n 1 <&3";
    // Of the whole range this test alone uses this address on the machine.
    let public = Ipv4Addr::new(127, 201, 13, 7);
    let mut wanted = in_a_vpc(public);
    // What user data does needs the network at once.
    let user_data = format!("#!/bin/bash\n({METADATA}) > /root/type\n").into_bytes();
    wanted = changed(&wanted, |s| s.instances.values_mut().for_each(|spec| spec.user_data = user_data.clone()));
    let Some(machines) = Machines::booted(&wanted).await else { return };
    until_running(&*machines.host, 2, 1).await;
    machines.until_works("grep t3.micro /root/type").await;
    let second = private_ip(2);
    let connect = format!("bash -c 'exec 3<>/dev/tcp/{second}/22; head -c 7 <&3'");
    machines.until_works(&connect).await;
    assert_eq!(machines.says(&connect).await, "SSH-2.0");
    assert!(machines.says("getent hosts two.internal").await.contains(&second.to_string()));
    let greeting = eventually("an answer at the public address", || {
        let mut stream = std::net::TcpStream::connect((public, 22)).ok()?;
        let mut greeting = [0; 7];
        std::io::Read::read_exact(&mut stream, &mut greeting).ok()?;
        Some(greeting)
    })
    .await;
    assert_eq!(&greeting, b"SSH-2.0");
    machines.host.shutdown().await;
}

/// Everything of a killed driver that could be left: processes by their mark, mounts and groups by their names.
#[tokio::test]
async fn nothing_but_groups_outlives_a_killed_driver_and_the_next_sweeps_them() {
    if standfast_host::linux::available().is_err() {
        return eprintln!("SKIPPED: the linux driver cannot run here");
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let start = || {
        let mut driver = Command::new(PROGRAM)
            .arg(dir.path())
            .arg("linux")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut input = driver.stdin.take().expect("piped");
        let wanted = script("setsid sleep 1000 & sleep 1001");
        writeln!(input, "{}", serde_json::to_string(&*wanted).expect("serializable")).expect("it reads");
        (driver, input)
    };
    let (mut driver, input) = start();
    let mut output = BufReader::new(driver.stdout.take().expect("piped")).lines();
    assert!(output.any(|line| line.is_ok_and(|line| line.contains("Running"))), "the instance did not come up");
    let cloud = std::fs::read_to_string(dir.path().join("cloud-id")).expect("it has an id");
    assert!(!marked(&cloud).is_empty() && !groups(&cloud).is_empty());
    driver.kill().expect("it lives");
    driver.wait().expect("it is ours");
    drop(input);
    eventually("the end of all processes", || marked(&cloud).is_empty().then_some(())).await;
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("readable");
    assert!(!mounts.contains(&dir.path().display().to_string()), "{mounts}");
    let (mut driver, input) = start();
    // It ends in good order when its input does.
    drop(input);
    driver.wait().expect("it is ours");
    assert_eq!(groups(&cloud), Vec::<String>::new());
}

/// The processes that carry the mark of a cloud.
fn marked(cloud: &str) -> Vec<String> {
    let of = |pid: &str| std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let names = std::fs::read_dir("/proc").expect("there is one").flatten();
    let pids = names.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| String::from_utf8_lossy(&of(pid)).contains(&format!("STANDFAST_INSTANCE={cloud}/"))).collect()
}

/// The control groups of a cloud.
fn groups(cloud: &str) -> Vec<String> {
    let mut found = Vec::new();
    for hierarchy in ["", "cpu", "memory", "pids", "cpuacct", "blkio", "freezer"] {
        let path = Path::new("/sys/fs/cgroup").join(hierarchy);
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            found.extend(name.starts_with(&format!("standfast-{cloud}")).then_some(name));
        }
    }
    found
}
