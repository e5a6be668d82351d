//! The way of instances to the real internet, with a listener of the test in its place: no packet leaves this machine.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};

use standfast_core::host::{HostDriver, HostSnapshot};
use standfast_core::id::Id;
use standfast_core::network::{self, Owner, RouteTarget};
use standfast_host::linux::{Egress, Outside};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::linux::{Machines, in_a_vpc};
use crate::world::*;

/// A site of the real internet, and one that refuses.
const SITE: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
const CLOSED: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 35);

/// What stands for the real internet, and what was asked of it.
#[derive(Clone, Default)]
struct Internet {
    dialled: Arc<Mutex<Vec<SocketAddrV4>>>,
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl Internet {
    /// Every address but [`CLOSED`] greets, listens to the end, and says how much it heard; every name leads to [`SITE`].
    async fn start(&self) -> Egress {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(greet(stream));
            }
        });
        let resolver = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let resolvers = vec![resolver.local_addr().expect("it is bound")];
        tokio::spawn(know_names(resolver, self.names.clone()));
        let dialled = self.dialled.clone();
        let dial = move |to: SocketAddrV4| -> standfast_core::BoxFuture<'static, io::Result<TcpStream>> {
            dialled.lock().expect("nobody panics with it").push(to);
            Box::pin(async move {
                if *to.ip() == CLOSED { Err(io::ErrorKind::ConnectionRefused.into()) } else { connect(address).await }
            })
        };
        Egress::Host(Outside { dial: Arc::new(dial), resolvers: Arc::new(move || resolvers.clone()) })
    }

    /// What was dialled since this was asked last.
    fn dialled(&self) -> Vec<SocketAddrV4> {
        std::mem::take(&mut self.dialled.lock().expect("nobody panics with it"))
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

async fn greet(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"hello\n").await?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await?;
    stream.write_all(format!("heard {}\n", heard.len()).as_bytes()).await
}

/// Answers every question for an IPv4 address with the same one, and no other.
async fn know_names(socket: UdpSocket, names: Arc<Mutex<BTreeSet<String>>>) -> io::Result<()> {
    const HEADER: usize = 12;
    let mut question = [0; 512];
    loop {
        let (length, client) = socket.recv_from(&mut question).await?;
        let labels = question[HEADER..length].split(|byte| *byte < b'-').filter(|label| !label.is_empty());
        let labels: Vec<_> = labels.map(String::from_utf8_lossy).collect();
        names.lock().expect("nobody panics with it").insert(labels.join("."));
        let end = HEADER + question[HEADER..].iter().position(|byte| *byte == 0).unwrap_or_default() + 5;
        let is_a = question[end - 3] == 1;
        let mut answer = question[..end].to_vec();
        answer[2..HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
        if is_a {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(SITE.octets());
        }
        socket.send_to(&answer, client).await?;
    }
}

/// Two instances: the first has a public address, the second the way through a NAT gateway.
fn wanted(publics: [Ipv4Addr; 2]) -> Arc<HostSnapshot> {
    changed(&in_a_vpc(publics[0]), |s| {
        let vpc = s.network.vpcs.values_mut().next().expect("there is one");
        let mut subnet = vpc.subnets.values().next().expect("there is one").clone();
        (subnet.cidr, subnet.route_table) = ("10.0.1.0/24".parse().expect("a block"), Id::from_text("rtb-2"));
        let gateway = RouteTarget::Interface(Id::from_text("eni-nat"));
        let route = network::Route { destination: "0.0.0.0/0".parse().expect("a block"), target: gateway };
        vpc.route_tables.insert(subnet.route_table.clone(), vec![route]);
        vpc.subnets.insert(Id::from_text("subnet-2"), subnet);
        let mut nat = s.network.interfaces[&Id::from_text("eni-1")].clone();
        nat.mac = "02:00:00:00:00:09".into();
        nat.addresses = vec![network::Address { private: [10, 0, 0, 99].into(), public: Some(publics[1]) }];
        (nat.groups, nat.source_dest_check, nat.owner) = (Vec::new(), false, Owner::NatGateway(Id::from_text("nat-1")));
        s.network.interfaces.insert(Id::from_text("eni-nat"), nat);
        let second = s.network.interfaces.get_mut(&Id::from_text("eni-2")).expect("it is there");
        second.subnet = Id::from_text("subnet-2");
        second.addresses[0].private = [10, 0, 1, 6].into();
        s.instances.get_mut(&id(2)).expect("it is there").private_ip = [10, 0, 1, 6].into();
    })
}

async fn booted(egress: Egress, publics: [Ipv4Addr; 2]) -> Option<Machines> {
    let machines = Machines::start_with(|config| config.egress = egress)?;
    machines.host.obey(wanted(publics));
    until_running(&*machines.host, 1, 1).await;
    until_running(&*machines.host, 2, 1).await;
    Some(machines)
}

/// Prints what an address says first.
fn open(to: Ipv4Addr, port: u16) -> String {
    format!("bash -c 'exec 3<>/dev/tcp/{to}/{port}; head -n 1 <&3'")
}

/// Says 100,000 bytes, ends its half of the connection, and prints what comes then; or the error's name.
fn converse(to: Ipv4Addr) -> String {
    format!(
        "/usr/bin/python3 -c '
import socket, errno
try:
    s = socket.create_connection((\"{to}\", 443), timeout=10)
    s.sendall(bytes(100000))
    try: s.shutdown(socket.SHUT_WR)
    except OSError as e:
        # Reset already; reading says so.
        if e.errno != errno.ENOTCONN: raise
    print(\"\".join(iter(lambda: s.recv(4096).decode(), \"\")).split())
except OSError as e:
    print(errno.errorcode.get(e.errno, e))'"
    )
}

#[tokio::test]
async fn instances_with_a_way_out_get_to_the_real_internet_where_it_is_asked_for() {
    // Of the whole range this test alone uses these addresses on the machine.
    let publics = [Ipv4Addr::new(127, 201, 14, 1), Ipv4Addr::new(127, 201, 14, 2)];
    let internet = Internet::default();
    let Some(machines) = booted(internet.start().await, publics).await else { return };
    machines.until_works(&open(SITE, 80)).await;
    internet.dialled();
    for port in [80, 443, 4567] {
        assert_eq!(machines.says(&open(SITE, port)).await, "hello");
        assert_eq!(internet.dialled(), [SocketAddrV4::new(SITE, port)]);
    }
    if machines.sh("test -x /usr/bin/python3").await.code == 0 {
        assert_eq!(machines.says(&converse(SITE)).await, "['hello', 'heard', '100000']", "half a connection");
        assert_eq!(machines.says(&converse(CLOSED)).await, "ECONNRESET");
    } else {
        eprintln!("SKIPPED: halves of connections and refusals need python3");
    }
    let argv = ["/bin/sh", "-c", &open(SITE, 80)].map(String::from).to_vec();
    let output = machines.host.exec(&id(2), argv, LIMIT).await.expect("the instance runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n", "through the NAT gateway: {output:?}");
    machines.host.shutdown().await;
}

#[tokio::test]
async fn what_is_not_outside_is_never_dialled() {
    // Of the whole range this test alone uses these addresses on the machine.
    let publics = [Ipv4Addr::new(127, 201, 14, 3), Ipv4Addr::new(127, 201, 14, 4)];
    let internet = Internet::default();
    let Some(machines) = booted(internet.start().await, publics).await else { return };
    machines.until_works(&open(SITE, 80)).await;
    internet.dialled();
    for to in ["10.99.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "203.0.113.9", "127.129.1.1"] {
        let output = machines.sh(&open(to.parse().expect("an address"), 80)).await;
        assert_ne!(output.code, 0, "{to}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("refused"), "{to}: {output:?}");
        // The relay's own port there is not led to it, but is it.
        assert!(machines.sh(&open(to.parse().expect("an address"), 4567)).await.stdout.is_empty(), "{to}");
    }
    // The cloud's own site is still there.
    let checkip = "exec 3<>/dev/tcp/checkip.amazonaws.com/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; tail -n 1 <&3";
    machines.says(&format!("cat > /tmp/checkip <<'END'\n{checkip}\nEND")).await;
    machines.until_works("bash /tmp/checkip").await;
    assert_eq!(machines.says("bash /tmp/checkip").await, publics[0].to_string());
    assert_eq!(internet.dialled(), []);
    machines.host.shutdown().await;
}

#[tokio::test]
async fn names_that_a_vpc_does_not_know_are_asked_of_the_machines_resolver() {
    // Of the whole range this test alone uses these addresses on the machine.
    let publics = [Ipv4Addr::new(127, 201, 14, 5), Ipv4Addr::new(127, 201, 14, 6)];
    let internet = Internet::default();
    let Some(machines) = booted(internet.start().await, publics).await else { return };
    machines.until_works("getent ahostsv4 www.example.net").await;
    assert!(machines.says("getent ahostsv4 www.example.net").await.starts_with(&SITE.to_string()));
    assert!(machines.says("getent hosts two.internal").await.starts_with(&private_ip(2).to_string()));
    assert_ne!(machines.sh("getent hosts three.internal").await.code, 0);
    assert!(machines.says("getent ahostsv4 checkip.amazonaws.com").await.starts_with("198.51.100.80"));
    let asked = internet.names.lock().expect("nobody panics with it").clone();
    assert_eq!(asked, BTreeSet::from(["www.example.net".to_owned()]));
    machines.host.shutdown().await;
}

#[tokio::test]
async fn nothing_of_it_is_there_where_it_is_not_asked_for() {
    // Of the whole range this test alone uses these addresses on the machine.
    let publics = [Ipv4Addr::new(127, 201, 14, 7), Ipv4Addr::new(127, 201, 14, 8)];
    let Some(machines) = booted(Egress::Simulated, publics).await else { return };
    machines.until_works("bash -c 'exec 3<>/dev/tcp/93.184.216.34/80'").await;
    for port in [443, 4567] {
        let output = machines.sh(&open(SITE, port)).await;
        assert!(String::from_utf8_lossy(&output.stderr).contains("refused"), "{output:?}");
    }
    assert_ne!(machines.sh("getent hosts www.example.net").await.code, 0);
    machines.host.shutdown().await;
}
