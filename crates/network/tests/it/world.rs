//! A small world to test networks in: a VPC, machines that are bare namespaces, and sockets in them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use standfast_core::Cidr;
use standfast_core::id::Id;
use standfast_core::network::*;
use standfast_network::{Net, in_namespace};

/// How long something that must not answer is given to answer; and something that must.
pub const SILENCE: Duration = Duration::from_millis(250);
pub const ANSWER: Duration = Duration::from_secs(3);

pub fn root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("NOT TESTED: networks need root");
    }
    is_root
}

pub fn name<K>(text: &str) -> Id<K> {
    Id::from_text(text)
}

pub fn cidr(text: &str) -> Cidr {
    text.parse().expect("a block")
}

/// A VPC 10.0.0.0/16 with subnets `subnet-a` (10.0.1.0/24, zone a) and `subnet-b` (10.0.2.0/24, zone b), open ACLs, and a
/// route to the internet.
pub fn vpc() -> Vpc {
    let open = AclEntry { allow: true, traffic: Traffic::All, peer: cidr("0.0.0.0/0") };
    let acl = Acl { ingress: vec![open.clone()], egress: vec![open] };
    let subnet = |n: u8, zone: &str| Subnet {
        zone: zone.into(),
        cidr: cidr(&format!("10.0.{n}.0/24")),
        route_table: name("rtb-1"),
        acl: name("acl-1"),
    };
    Vpc {
        account: "0".into(),
        region: "r".into(),
        cidrs: vec![cidr("10.0.0.0/16")],
        subnets: [(name("subnet-a"), subnet(1, "a")), (name("subnet-b"), subnet(2, "b"))].into(),
        route_tables: [(
            name("rtb-1"),
            vec![Route { destination: cidr("0.0.0.0/0"), target: RouteTarget::InternetGateway }],
        )]
        .into(),
        acls: [(name("acl-1"), acl)].into(),
        internet: true,
        dns: true,
        names: BTreeMap::new(),
        domain: "internal".into(),
    }
}

pub fn everything() -> SecurityGroup {
    let all = GroupRule { traffic: Traffic::All, peer: Peer::Cidr(cidr("0.0.0.0/0")) };
    SecurityGroup { ingress: vec![all.clone()], egress: vec![all] }
}

pub fn snapshot() -> NetworkSnapshot {
    NetworkSnapshot {
        vpcs: [(name("vpc-1"), vpc())].into(),
        security_groups: [(name("sg-open"), everything())].into(),
        ..NetworkSnapshot::default()
    }
}

/// An interface in `subnet-a` or `-b`, by its address, with these groups.
pub fn interface(address: &str, groups: &[&str], owner: Owner) -> Interface {
    let private: Ipv4Addr = address.parse().expect("an address");
    let [_, _, subnet, host] = private.octets();
    let zone = if subnet == 1 { "a" } else { "b" };
    Interface {
        vpc: name("vpc-1"),
        subnet: name(&format!("subnet-{zone}")),
        zone: zone.into(),
        mac: format!("02:00:00:00:{subnet:02x}:{host:02x}"),
        addresses: vec![Address { private, public: None }],
        groups: groups.iter().map(|group| name(group)).collect(),
        source_dest_check: true,
        owner,
    }
}

pub fn of_instance(n: &str) -> Owner {
    Owner::Instance { id: name(n), device_index: 0 }
}

/// The networks under test.
pub struct World {
    pub net: Net,
    cloud: String,
    pub now: NetworkSnapshot,
    pub dark: BTreeSet<String>,
    machines: BTreeMap<String, OwnedFd>,
}

impl World {
    pub fn new(now: NetworkSnapshot) -> Self {
        let cloud = format!("t{}", unique());
        let net = Net::start(&cloud).expect("networks can be made");
        let mut world = Self { net, cloud, now, dark: BTreeSet::new(), machines: BTreeMap::new() };
        world.apply();
        world
    }

    pub fn apply(&mut self) {
        self.net.apply(&self.now, &self.dark).expect("the snapshot can be made");
    }

    /// The name of the networks' one link in the host's namespace.
    pub fn link(&self) -> String {
        format!("sf-{}", self.cloud)
    }

    pub fn change(&mut self, change: impl FnOnce(&mut NetworkSnapshot)) {
        change(&mut self.now);
        self.apply();
    }

    /// A machine for instance `n`: a bare namespace.
    pub fn machine(&mut self, n: &str) {
        let namespace = new_namespace();
        self.net.plug(&name(n), namespace.try_clone().expect("descriptors can be copied")).expect("it can be plugged");
        self.machines.insert(n.into(), namespace);
    }

    /// Adds an instance `i-N` with one interface `eni-N`.
    pub fn instance(&mut self, n: &str, address: &str, groups: &[&str]) {
        let (instance, eni) = (format!("i-{n}"), format!("eni-{n}"));
        self.now.interfaces.insert(name(&eni), interface(address, groups, of_instance(&instance)));
        self.apply();
        self.machine(&instance);
    }

    pub fn public(&mut self, n: &str, address: Ipv4Addr) {
        self.change(|now| {
            let one = now.interfaces.get_mut(&name(&format!("eni-{n}"))).expect("it is there");
            one.addresses[0].public = Some(address);
        });
    }

    pub fn inside<T>(&self, n: &str, run: impl FnOnce() -> T) -> T {
        let namespace = &self.machines[&format!("i-{n}")];
        in_namespace(namespace.as_fd(), run).expect("the namespace is there")
    }

    /// A server in the instance that answers every connection with `NAME PEER` and then what it reads.
    pub fn serve(&self, n: &str, port: u16) {
        let listener = self.inside(n, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).expect("the port is free");
        serve(listener, n.to_owned());
    }

    /// What a server says to the instance; `None` when it does not answer.
    pub fn ask(&self, n: &str, address: Ipv4Addr, port: u16, expected: bool) -> Option<String> {
        let stream = self.inside(n, || connect(address, port, expected))?;
        Some(first_line(stream))
    }
}

/// Some address of the internet.
pub const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// A server on every address of the internet, on port 80.
pub fn internet(world: &World) {
    let namespace = world.net.internet_namespace();
    let listener = in_namespace(namespace.as_fd(), || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)));
    serve(listener.expect("it is there").expect("the port is free"), "internet".into());
}

/// Answers `NAME PEER` to every connection, then echoes.
pub fn serve(listener: TcpListener, name: String) {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let name = name.clone();
            std::thread::spawn(move || echo(stream, &name));
        }
    });
}

fn echo(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    let peer = stream.peer_addr()?.ip();
    writeln!(stream, "{name} {peer}")?;
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

pub fn connect(address: Ipv4Addr, port: u16, expected: bool) -> Option<TcpStream> {
    let limit = if expected { ANSWER } else { SILENCE };
    TcpStream::connect_timeout(&SocketAddrV4::new(address, port).into(), limit).ok()
}

pub fn first_line(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(ANSWER)).expect("a limit over zero");
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|n| n == 1) && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).expect("servers here speak text")
}

/// Whether an open connection still carries something there and back.
pub fn carries(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.set_read_timeout(Some(Duration::from_millis(700))).expect("a limit over zero");
    stream.write_all(b"x").is_ok() && stream.read(&mut byte).is_ok_and(|n| n == 1)
}

/// A socket whose echo requests, all of one flow, go to the address.
pub fn ping_socket(to: Ipv4Addr, limit: Duration) -> OwnedFd {
    use rustix::net::{AddressFamily, SocketType, ipproto, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP)).expect("instances may ping");
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(limit)).expect("a limit over zero");
    rustix::net::connect(&socket, &SocketAddrV4::new(to, 0)).expect("there is a route");
    socket
}

/// Whether an echo comes back.
pub fn ping(socket: &OwnedFd) -> bool {
    use rustix::net::{RecvFlags, SendFlags, recv, send};
    const ECHO: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 1];
    send(socket, &ECHO, SendFlags::empty()).is_ok() && recv(socket, &mut [0; 64][..], RecvFlags::empty()).is_ok()
}

/// A public address that no other test has.
pub fn public_address() -> Ipv4Addr {
    let n = unique();
    Ipv4Addr::new(127, 200 + (n >> 14) as u8 % 50, (n >> 7) as u8, 1 + (n & 0x7f) as u8)
}

/// A number of this process and this call.
fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    std::process::id() * 64 + NEXT.fetch_add(1, Ordering::Relaxed)
}

fn new_namespace() -> OwnedFd {
    let made = std::thread::spawn(|| {
        use rustix::thread::{UnshareFlags, unshare_unsafe};
        #[allow(unsafe_code)]
        // SAFETY: only this thread's network namespace changes, and the thread ends here.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("root may");
        std::fs::File::open("/proc/thread-self/ns/net").expect("it is there").into()
    });
    made.join().expect("it does not panic")
}

/// Waits until a link of the host's has gone, and with it its routes: the kernel cleans up behind namespaces in its own time.
pub fn gone(link: &str) {
    let path = std::path::Path::new("/sys/class/net").join(link);
    for _ in 0..1000 {
        if !path.exists() {
            return;
        }
        let _ = rustix::thread::nanosleep(&rustix::thread::Timespec { tv_sec: 0, tv_nsec: 10_000_000 });
    }
    panic!("the host still has the link {link}");
}
