//! What answers inside a VPC, through real sockets: with curl, botocore and plain DNS messages.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use standfast_core::host::{HostSnapshot, Metadata};
use standfast_core::id::{Subnet, Vpc};
use standfast_core::network::{self, Address, Interface, Owner};
use standfast_core::{Clock, Id};
use standfast_host::linux::local::{Egress, Local};
use tokio::runtime::Handle;

use crate::linux_volumes::may_run;
use crate::world::{eventually, id, spec};

/// A network namespace with loopback, and more by `setup`.
struct Namespace(Child);

impl Namespace {
    fn new(setup: &str) -> Self {
        let script = format!("set -e; ip link set lo up; {setup}; echo up; exec cat");
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("it speaks");
        assert_eq!(line, "up\n");
        Self(child)
    }

    fn vpc() -> Self {
        let addresses = ["10.0.0.2", "10.0.0.4", "10.0.0.5", "169.254.169.253", "169.254.169.254"];
        let add = addresses.map(|address| format!("ip address add {address}/32 dev lo"));
        // Whoever does not say where it calls from is 10.0.0.4.
        let from = "ip route replace local 169.254.169.254 dev lo table local src 10.0.0.4";
        Self::new(&format!("{}; {from}", add.join("; ")))
    }

    fn open(&self) -> Arc<OwnedFd> {
        let path = format!("/proc/{}/ns/net", self.0.id());
        Arc::new(File::open(path).expect("the namespace").into())
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.0.id().to_string(), program]).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().expect("nsenter runs"));
        let output = output.await.expect("joins");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    async fn curl(&self, arguments: &[&str]) -> String {
        self.run("curl", &[&["-sS", "--max-time", "5"], arguments].concat()).await
    }

    /// What a Python program prints; `None`, loudly, where there is no botocore.
    async fn python(&self, program: &str) -> Option<String> {
        if Command::new("python3").args(["-c", "import botocore"]).status().is_ok_and(|status| status.success()) {
            return Some(self.run("python3", &["-c", program]).await);
        }
        eprintln!("SKIPPED: this part of the test needs python3 with botocore");
        None
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn vpc_id() -> Id<Vpc> {
    Id::from_text("vpc-0123456789abcdef0")
}

/// Two instances, 10.0.0.4 and 10.0.0.5, in a VPC.
fn snapshot(dns: bool) -> Arc<HostSnapshot> {
    let credentials = r#"{"Code":"Success","LastUpdated":"2026-11-20T00:00:00Z","Type":"AWS-HMAC",
        "AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"secret","Token":"token","Expiration":"2036-11-20T00:00:00Z"}"#;
    let leaves = [
        ("meta-data/instance-id", "i-4"),
        ("meta-data/iam/security-credentials/web", credentials),
        ("meta-data/placement/availability-zone", "eu-west-1a"),
    ];
    let mut snapshot = HostSnapshot::default();
    for n in [4u8, 5] {
        let mut instance = spec();
        let mut tree: BTreeMap<_, _> = leaves.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        tree.insert("meta-data/instance-id".into(), format!("i-{n}"));
        instance.metadata = Metadata { enabled: true, tokens_required: n == 5, hop_limit: 3, tree };
        snapshot.instances.insert(id(n.into()), instance);
        let interface = Interface {
            vpc: vpc_id(),
            subnet: Id::<Subnet>::from_text("subnet-0123456789abcdef0"),
            zone: "eu-west-1a".into(),
            mac: "02:00:00:00:00:04".into(),
            addresses: vec![Address { private: [10, 0, 0, n].into(), public: None }],
            groups: Vec::new(),
            source_dest_check: true,
            owner: Owner::Instance { id: id(n.into()), device_index: 0 },
        };
        snapshot.network.interfaces.insert(Id::from_text(&format!("eni-{n:017x}")), interface);
    }
    let vpc = network::Vpc {
        account: "000000000000".into(),
        region: "eu-west-1".into(),
        cidrs: vec!["10.0.0.0/16".parse().expect("a block")],
        subnets: BTreeMap::new(),
        route_tables: BTreeMap::new(),
        acls: BTreeMap::new(),
        internet: true,
        dns,
        names: [("db.internal".to_owned(), vec![[10, 0, 0, 5].into()])].into(),
        domain: "eu-west-1.compute.internal".into(),
    };
    snapshot.network.vpcs.insert(vpc_id(), vpc);
    Arc::new(snapshot)
}

struct World {
    local: Local,
    vpc: Namespace,
    internet: Namespace,
    fds: (BTreeMap<Id<Vpc>, Arc<OwnedFd>>, Arc<OwnedFd>),
}

impl World {
    async fn start(api: SocketAddr) -> Self {
        let (vpc, internet) = (Namespace::vpc(), Namespace::new("ip route add local 0.0.0.0/0 dev lo"));
        let local = Local::start(Handle::current(), Clock::system(1.0), api, Egress::Simulated).expect("it starts");
        let fds = ([(vpc_id(), vpc.open())].into(), internet.open());
        let world = Self { local, vpc, internet, fds };
        world.apply(&snapshot(true));
        eventually("the sockets", || (world.listening() == [53, 53, 80, 4566]).then_some(())).await;
        world
    }

    fn apply(&self, snapshot: &Arc<HostSnapshot>) {
        self.local.apply(snapshot, &self.fds.0, &self.fds.1);
    }

    /// The ports of the listeners in the VPC.
    fn listening(&self) -> Vec<u16> {
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.vpc.0.id())).unwrap_or_default();
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let listeners = rows.filter(|row| row.get(3) == Some(&"0A"));
        let mut ports: Vec<u16> =
            listeners.filter_map(|row| u16::from_str_radix(row.get(1)?.rsplit(':').next()?, 16).ok()).collect();
        ports.sort_unstable();
        ports
    }
}

fn nowhere() -> SocketAddr {
    ([127, 0, 0, 1], 1).into()
}

#[tokio::test]
async fn instances_read_their_own_metadata() {
    if !may_run() {
        return;
    }
    let world = World::start(nowhere()).await;
    let url = "http://169.254.169.254/latest/meta-data/instance-id";
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    assert_eq!(world.vpc.curl(&[url]).await, "i-4", "by its source address");
    let other = ["--interface", "10.0.0.5", url];
    assert_eq!(world.vpc.curl(&[&status[..], &other].concat()).await, "401", "a token is required there");
    let stranger = ["--interface", "10.0.0.2", url];
    assert_eq!(world.vpc.curl(&[&status[..], &stranger].concat()).await, "404", "not an instance");
    let put =
        ["-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", "http://169.254.169.254/latest/api/token"];
    let token = world.vpc.curl(&[&["--interface", "10.0.0.5"], &put[..]].concat()).await;
    let header = format!("X-aws-ec2-metadata-token: {token}");
    assert_eq!(world.vpc.curl(&[&["-H", &header], &other[..]].concat()).await, "i-5");
    let answers = world.vpc.curl(&["-i", url, url]).await;
    assert_eq!(answers.to_lowercase().matches("server: ec2ws").count(), 2, "one connection, two answers: {answers}");
}

#[tokio::test]
async fn sdks_find_credentials_and_region() {
    if !may_run() {
        return;
    }
    let world = World::start(nowhere()).await;
    let program = "
from botocore.utils import InstanceMetadataFetcher, InstanceMetadataRegionFetcher
from botocore.credentials import InstanceMetadataProvider
provider = InstanceMetadataProvider(iam_role_fetcher=InstanceMetadataFetcher(timeout=5, num_attempts=1))
keys = provider.load().get_frozen_credentials()
print(keys.access_key, keys.secret_key, keys.token)
print(InstanceMetadataRegionFetcher(timeout=5, num_attempts=1).retrieve_region())
";
    if let Some(printed) = world.vpc.python(program).await {
        assert_eq!(printed, "ASIAEXAMPLE secret token\neu-west-1\n");
    }
}

#[tokio::test]
async fn packets_with_a_token_go_only_so_far() {
    if !may_run() {
        return;
    }
    let world = World::start(nowhere()).await;
    // Packets as they arrive, and the times to live of those that carry an answer.
    let program = "
import socket, http.client
tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.ntohs(0x0800))
tap.bind(('lo', 0x0800)); tap.settimeout(5)
def ttl():
    while True:
        packet = tap.recv(65535)
        if b'HTTP/1.1 200' in packet:
            return packet[8]
c = http.client.HTTPConnection('169.254.169.254', timeout=5)
def ask(method, path, headers={}):
    c.request(method, path, headers=headers)
    assert c.getresponse().read()
    return ttl()
print(ask('GET', '/latest/'))
print(ask('PUT', '/latest/api/token', {'X-aws-ec2-metadata-token-ttl-seconds': '60'}))
print(ask('GET', '/latest/'))
";
    if let Some(printed) = world.vpc.python(program).await {
        assert_eq!(printed, "64\n3\n64\n");
    }
}

#[tokio::test]
async fn the_resolver_answers_where_the_vpc_has_one() {
    if !may_run() {
        return;
    }
    let world = World::start(nowhere()).await;
    let program = "
import socket, struct
question = b'\\x00\\x07\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x02db\\x08internal\\x00\\x00\\x01\\x00\\x01'
for server in '10.0.0.2', '169.254.169.253':
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.settimeout(5)
    udp.sendto(question, (server, 53))
    answer, peer = udp.recvfrom(4096)
    print(peer[0], socket.inet_ntoa(answer[-4:]))
    tcp = socket.create_connection((server, 53), timeout=5)
    for _ in range(2):
        tcp.sendall(struct.pack('>H', len(question)) + question)
        print(tcp.recv(4096)[2:] == answer)
";
    if let Some(printed) = world.vpc.python(program).await {
        assert_eq!(printed, "10.0.0.2 10.0.0.5\nTrue\nTrue\n169.254.169.253 10.0.0.5\nTrue\nTrue\n");
    }
    world.apply(&snapshot(false));
    eventually("only its resolver is gone", || (world.listening() == [80, 4566]).then_some(())).await;
    world.apply(&Arc::new(HostSnapshot::default()));
    eventually("all is gone", || world.listening().is_empty().then_some(())).await;
}

#[tokio::test]
async fn instances_reach_the_api_and_see_the_address_that_they_leave_with() {
    if !may_run() {
        return;
    }
    let api = TcpListener::bind("127.0.0.1:0").expect("a port");
    let world = World::start(api.local_addr().expect("an address")).await;
    let server = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = api.accept().expect("a connection");
        let mut head = [0; 14];
        stream.read_exact(&mut head).expect("a request");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi").expect("an answer");
        // What was not read would make the end of the connection a reset.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
        head
    });
    assert_eq!(world.vpc.curl(&["http://169.254.169.254:4566/"]).await, "hi");
    // Awaited, not joined: the relay, which tells the server of the end, runs on this thread.
    assert_eq!(&server.await.expect("it answers"), b"GET / HTTP/1.1");
    let seen = world.internet.curl(&[
        "--retry",
        "5",
        "--retry-connrefused",
        "--interface",
        "203.0.113.9",
        "http://198.51.100.80/",
    ]);
    assert_eq!(seen.await, "203.0.113.9\n");
}
