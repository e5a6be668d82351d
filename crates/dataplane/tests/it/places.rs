//! Nodes with places in a VPC: what they send comes from there, and they can be reached there.
//!
//! The networks are made of namespaces that end with this process, and nothing leads out of them. Without root, or
//! without the programs `ip`, `unshare` and `nsenter`, these tests say so and do nothing.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use standfast_core::lb::{Health, LbDriver, NodePlace, Target};

use crate::support::*;

const INSTANCE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const NODES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 1, 10), Ipv4Addr::new(10, 77, 2, 10)];
const PORT: u16 = 8080;

/// A network namespace; it ends with the process in it and the descriptor by which a data plane finds it.
struct Namespace {
    child: Child,
    held: Option<File>,
}

impl Namespace {
    /// `None` where none can be made.
    fn new() -> Option<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        // An answer means that it is `cat` already, and in its namespace.
        child.stdin.as_mut()?.write_all(b"there\n").ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut()?).read_line(&mut line).ok()?;
        let held = File::open(format!("/proc/{}/ns/net", child.id())).ok();
        let namespace = Self { child, held };
        (line == "there\n" && namespace.held.is_some()).then_some(namespace)
    }

    fn file(&self) -> &File {
        self.held.as_ref().expect("it has not ended")
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file().as_raw_fd()).into()
    }

    fn ip(&self, arguments: &str) {
        let pid = self.child.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-n", "ip"]).args(arguments.split(' '));
        assert!(command.status().expect("nsenter runs").success(), "ip {arguments}");
    }

    /// Calls a function on a thread of this namespace.
    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter_and_work = || {
            move_into_link_name_space(self.file().as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter_and_work).join().expect("no panic"))
    }

    fn end(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        self.held = None;
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.end();
    }
}

/// An instance and two nodes, each with a link to the instance.
struct Vpc {
    instance: Namespace,
    nodes: [Namespace; 2],
    server: TcpListener,
    /// Who asked for what.
    seen: Arc<Mutex<Vec<(IpAddr, String)>>>,
}

impl Vpc {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: a place in a VPC is a network namespace, which only root can make");
            return None;
        }
        let (Some(instance), Some(a), Some(b)) = (Namespace::new(), Namespace::new(), Namespace::new()) else {
            eprintln!("SKIPPED: `unshare` cannot make network namespaces here");
            return None;
        };
        let nodes = [a, b];
        instance.ip("link set lo up");
        instance.ip(&format!("addr add {INSTANCE}/32 dev lo"));
        for (n, node) in nodes.iter().enumerate() {
            let [first, second, third, _] = NODES[n].octets();
            let link = format!("link add node{n} type veth peer name eth0 netns {}", node.child.id());
            instance.ip(&link);
            instance.ip(&format!("addr add {first}.{second}.{third}.1/24 dev node{n}"));
            instance.ip(&format!("link set node{n} up"));
            node.ip(&format!("addr add {}/24 dev eth0", NODES[n]));
            node.ip("link set eth0 up");
            node.ip(&format!("route add default via {first}.{second}.{third}.1"));
        }
        let server = instance.within(|| TcpListener::bind((INSTANCE, 80)).expect("bind"));
        let seen = Arc::default();
        let (listener, log) = (server.try_clone().expect("clone"), Arc::clone(&seen));
        std::thread::spawn(move || {
            // It ends when the listener is shut down.
            for stream in listener.incoming().map_while(Result::ok) {
                let log = Arc::clone(&log);
                std::thread::spawn(move || serve(stream, &log));
            }
        });
        Some(Self { instance, nodes, server, seen })
    }

    fn place(&self, node: usize) -> NodePlace {
        NodePlace { address: NODES[node], namespace: self.nodes[node].path() }
    }

    fn target(zone: usize) -> Target {
        Target { zone: ZONES[zone].into(), ..target("i-a", SocketAddr::from((INSTANCE, 80))) }
    }

    /// A cloud whose nodes are here, with a listener on `port`, and whose only target is the instance.
    fn cloud(&self, zone: usize, port: u16) -> Cloud {
        let mut snapshot = snapshot(group(vec![Self::target(zone)]));
        for (n, node) in snapshot.load_balancers[0].nodes.iter_mut().enumerate() {
            node.place = Some(self.place(n));
        }
        snapshot.load_balancers[0].listeners[0].port = port;
        let cloud = Cloud::start(snapshot);
        cloud.wait_healthy();
        cloud
    }

    /// Who asked for a path.
    fn askers(&self, path: &str) -> Vec<IpAddr> {
        let seen = self.seen.lock().expect("no panic");
        seen.iter().filter(|(_, asked)| asked == path).map(|(peer, _)| *peer).collect()
    }

    /// A connection from the instance to a node's private address.
    fn browser(&self, node: usize) -> Browser {
        Browser::over(self.instance.within(|| TcpStream::connect((NODES[node], PORT)).expect("it listens there")))
    }
}

impl Drop for Vpc {
    fn drop(&mut self) {
        let _ = socket2::SockRef::from(&self.server).shutdown(std::net::Shutdown::Both);
    }
}

/// Answers with the client's address and the X-Forwarded-For header.
fn serve(mut stream: TcpStream, log: &Mutex<Vec<(IpAddr, String)>>) {
    let peer = stream.peer_addr().expect("connected").ip();
    let mut reader = BufReader::new(stream.try_clone().expect("clone"));
    while let Some(got) = read_head(&mut reader) {
        log.lock().expect("no panic").push((peer, got.path().to_owned()));
        let text = format!("{peer} {}", got.header("x-forwarded-for").unwrap_or("-"));
        answer(&mut stream, 200, text.as_bytes());
    }
}

#[test]
fn requests_leave_from_their_nodes_places_and_share_no_connection() {
    let Some(vpc) = Vpc::new() else { return };
    let cloud = vpc.cloud(0, 0);
    let mut browsers = [Browser::connect(cloud.address(0)), Browser::connect(cloud.address(1))];
    for round in 0..3 {
        for (node, browser) in browsers.iter_mut().enumerate() {
            let text = browser.get("/").text();
            assert_eq!(text.split(' ').next(), Some(NODES[node].to_string().as_str()), "round {round}");
        }
    }
    let own = TcpStream::connect(cloud.address(0)).expect("this thread is where it was");
    assert!(own.peer_addr().is_ok_and(|address| address.ip().is_loopback()));
}

#[test]
fn health_checks_come_from_the_node_in_the_targets_zone_or_else_from_another() {
    let Some(vpc) = Vpc::new() else { return };
    let mut cloud = vpc.cloud(1, 0);
    assert!(vpc.askers("/health").iter().all(|peer| *peer == NODES[1]), "{:?}", vpc.askers("/health"));
    cloud.balancer().nodes[1].up = false;
    cloud.obey();
    wait_for("the other node asks", || vpc.askers("/health").contains(&NODES[0].into()));
}

#[test]
fn instances_reach_a_node_at_its_private_address() {
    let Some(vpc) = Vpc::new() else { return };
    let mut cloud = vpc.cloud(0, PORT);
    for (n, node) in NODES.iter().enumerate() {
        let [first, second, third, _] = node.octets();
        let own = format!("{first}.{second}.{third}.1");
        assert_eq!(vpc.browser(n).get("/").text(), format!("{node} {own}"), "as its client is known there");
    }
    cloud.balancer().listeners.clear();
    cloud.obey();
    // The event loop that has the socket closes it when it is told, which is after the steward knows.
    wait_for("a listener that is deleted closes there too", || {
        vpc.instance.within(|| TcpStream::connect((NODES[0], PORT)).is_err())
    });
}

#[test]
fn a_target_on_the_machine_itself_is_reached_without_the_place() {
    let Some(vpc) = Vpc::new() else { return };
    let backend = Backend::named("outside");
    let mut cloud = vpc.cloud(0, 0);
    cloud.group().targets = vec![target("i-outside", backend.address)];
    cloud.obey();
    cloud.wait_healthy();
    assert_eq!(cloud.get("/").text(), "outside");
}

#[test]
fn a_node_whose_namespace_is_gone_is_down_until_it_gets_another() {
    let Some(mut vpc) = Vpc::new() else { return };
    let mut cloud = vpc.cloud(0, 0);
    let address = cloud.address(0);
    let mut browser = Browser::connect(address);
    browser.get("/");
    vpc.nodes[0].end();
    cloud.plane.obey(Arc::new(cloud.snapshot.clone()));
    wait_for("its listener closes", || cloud.plane.observe().listeners.len() == 1);
    let error = std::io::Read::read(&mut browser.stream, &mut [0]).expect_err("reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(Browser::connect(cloud.address(1)).get("/").text().starts_with(&NODES[1].to_string()));
    assert_eq!(cloud.health("i-a"), Health::Healthy);
    // Not another's place, nor the machine's own network: traffic for a VPC must not leave the machine.
    for namespace in ["/proc/self/ns/net", "/proc/self/exe"] {
        for (node, address) in cloud.balancer().nodes.iter_mut().zip(NODES) {
            node.place = Some(NodePlace { address, namespace: namespace.into() });
        }
        cloud.plane.obey(Arc::new(cloud.snapshot.clone()));
        let (_client, server) = crate::nodes::pair();
        assert!(cloud.plane.adopt(NAME, server).is_err(), "no node is up with {namespace}");
    }
    cloud.balancer().nodes[1].place = Some(vpc.place(1));
    // A place that is there, though it is not where it was.
    cloud.balancer().nodes[0].place = Some(vpc.place(1));
    cloud.obey();
    assert_eq!(cloud.address(0), address, "it comes back where it was");
    assert!(Browser::connect(address).get("/").text().starts_with(&NODES[1].to_string()));
}
