//! Flows that rules change under: what is tracked goes on, what is not is judged packet by packet.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use standfast_core::network::*;

use crate::world::*;

const PORT: u16 = 80;
const LIMIT: Duration = Duration::from_millis(400);
const HERE: &str = "10.0.1.10";
const TARGET: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 10);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Tcp,
    Udp,
    Ping,
}

/// Something that was begun and goes on.
enum Live {
    Tcp(TcpStream),
    Udp(UdpSocket),
    Ping(OwnedFd),
}

impl Live {
    fn begin(kind: Kind, to: Ipv4Addr) -> Self {
        match kind {
            Kind::Tcp => {
                let stream = connect(to, PORT, true).expect("it is allowed");
                assert!(!first_line(stream.try_clone().expect("descriptors can be copied")).is_empty());
                Self::Tcp(stream)
            }
            Kind::Udp => {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port is free");
                socket.connect(SocketAddrV4::new(to, PORT)).expect("there is a route");
                socket.set_read_timeout(Some(LIMIT)).expect("a limit over zero");
                Self::Udp(socket)
            }
            Kind::Ping => Self::Ping(ping_socket(to, LIMIT)),
        }
    }

    fn carries(&mut self) -> bool {
        match self {
            Self::Tcp(stream) => carries(stream),
            Self::Udp(socket) => socket.send(b"x").is_ok() && socket.recv(&mut [0; 8]).is_ok(),
            Self::Ping(socket) => ping(socket),
        }
    }
}

/// What a group's rules of one direction are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rules {
    Nothing,
    /// To or from everybody: one port, or everything.
    Everybody,
    /// The same, but for the other end of what is tested only; or for somebody else only.
    Peer,
    Other,
    /// To or from everybody, on a port that is not what is tested.
    Elsewhere,
}

fn rules(rules: Rules, kind: Kind, all: bool, peer: &str) -> Vec<GroupRule> {
    let port = |port| match kind {
        Kind::Tcp => Traffic::Tcp(port, port),
        Kind::Udp => Traffic::Udp(port, port),
        Kind::Ping => Traffic::Icmp(None, None),
    };
    let whole = match kind {
        Kind::Tcp => Traffic::Tcp(0, u16::MAX),
        Kind::Udp => Traffic::Udp(0, u16::MAX),
        Kind::Ping => Traffic::All,
    };
    let (block, traffic) = match rules {
        Rules::Nothing => return Vec::new(),
        Rules::Everybody => ("0.0.0.0/0", if all { whole } else { port(PORT) }),
        Rules::Peer => (peer, port(PORT)),
        Rules::Other => ("192.0.2.0/24", port(PORT)),
        Rules::Elsewhere => ("0.0.0.0/0", Traffic::Tcp(443, 443)),
    };
    vec![GroupRule { traffic, peer: Peer::Cidr(cidr(block)) }]
}

/// `a`, open to everything, and `b`, which echoes and has the rules under test.
fn world() -> World {
    let mut now = snapshot();
    now.security_groups.insert(name("sg-b"), everything());
    let mut world = World::new(now);
    world.instance("a", HERE, &["sg-open"]);
    world.instance("b", "10.0.2.10", &["sg-b"]);
    world.public("b", public_address());
    world.serve("b", PORT);
    let socket = world.inside("b", || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))).expect("the port is free");
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    world
}

fn set(world: &mut World, group: &str, ingress: Vec<GroupRule>, egress: Vec<GroupRule>) {
    world.change(|now| drop(now.security_groups.insert(name(group), SecurityGroup { ingress, egress })));
}

#[test]
fn what_is_not_tracked_is_cut_with_its_rule_and_what_is_goes_on() {
    use Rules::*;
    if !root() {
        return;
    }
    // Ingress and egress of the target, first and then; and whether what is not tracked would go on.
    let open = (Everybody, Everybody);
    let cases = [
        (open, (Nothing, Everybody), false),
        (open, (Other, Everybody), false),
        (open, (Peer, Everybody), true),
        (open, (Everybody, Nothing), false),
        (open, (Everybody, Elsewhere), false),
        // Tracked, for one direction is not open.
        ((Peer, Everybody), (Nothing, Everybody), true),
        ((Peer, Everybody), (Peer, Nothing), true),
        ((Everybody, Elsewhere), (Nothing, Elsewhere), true),
        ((Everybody, Nothing), (Nothing, Nothing), true),
        ((Peer, Nothing), (Nothing, Nothing), true),
    ];
    let mut world = world();
    let public = world.now.interfaces[&name("eni-b")].addresses[0].public.expect("it has one");
    for (kind, source) in [(Kind::Tcp, "a"), (Kind::Udp, "a"), (Kind::Ping, "a"), (Kind::Tcp, "outside")] {
        let outside = source == "outside";
        let peer = if outside { "198.51.100.0/24" } else { "10.0.1.10/32" };
        for (before, after, goes_on) in cases {
            let case = format!("{kind:?} from {source}, {before:?} to {after:?}");
            let both = |(ingress, egress)| (rules(ingress, kind, false, peer), rules(egress, kind, true, peer));
            let (ingress, egress) = both(before);
            set(&mut world, "sg-b", ingress, egress);
            let mut live = match outside {
                true => Live::begin(kind, public),
                false => world.inside("a", || Live::begin(kind, TARGET)),
            };
            assert!(live.carries(), "{case}: allowed at first");
            let (ingress, egress) = both(after);
            set(&mut world, "sg-b", ingress, egress);
            assert_eq!(live.carries(), goes_on || kind == Kind::Ping, "{case}");
        }
    }
}

#[test]
fn who_begins_a_flow_loses_it_with_a_rule_only_if_it_is_not_tracked_there() {
    if !root() {
        return;
    }
    let mut world = world();
    for (kind, whole) in [(Kind::Tcp, Traffic::Tcp(0, u16::MAX)), (Kind::Udp, Traffic::Udp(0, u16::MAX))] {
        let all = |traffic| vec![GroupRule { traffic, peer: Peer::Cidr(cidr("0.0.0.0/0")) }];
        for (ingress, goes_on) in [(all(whole), false), (all(Traffic::All), false), (Vec::new(), true)] {
            set(&mut world, "sg-open", ingress.clone(), all(Traffic::All));
            let mut live = world.inside("a", || Live::begin(kind, TARGET));
            assert!(live.carries());
            set(&mut world, "sg-open", ingress.clone(), Vec::new());
            assert_eq!(live.carries(), goes_on, "{kind:?}: {ingress:?}");
        }
    }
}

#[test]
fn a_flow_that_is_not_tracked_goes_on_when_its_rule_is_back() {
    if !root() {
        return;
    }
    let mut world = world();
    let mut live = world.inside("a", || Live::begin(Kind::Udp, TARGET));
    for allowed in [true, false, true, false] {
        let group = if allowed { everything() } else { SecurityGroup { ingress: Vec::new(), ..everything() } };
        set(&mut world, "sg-b", group.ingress, group.egress);
        assert_eq!(live.carries(), allowed);
    }
}

#[test]
fn what_goes_through_a_nat_gateway_is_tracked() {
    if !root() {
        return;
    }
    let mut world = world();
    internet(&world);
    world.change(|now| {
        let mut nat = interface("10.0.1.5", &[], Owner::NatGateway(name("nat-1")));
        nat.addresses[0].public = Some(public_address());
        nat.source_dest_check = false;
        now.interfaces.insert(name("eni-nat"), nat);
        let route = Route { destination: cidr("0.0.0.0/0"), target: RouteTarget::Interface(name("eni-nat")) };
        let vpc = now.vpcs.get_mut(&name("vpc-1")).expect("it is there");
        vpc.route_tables.insert(name("rtb-2"), vec![route]);
        vpc.subnets.get_mut(&name("subnet-b")).expect("it is there").route_table = name("rtb-2");
    });
    let mut live = world.inside("b", || Live::begin(Kind::Tcp, FAR));
    set(&mut world, "sg-b", Vec::new(), Vec::new());
    assert!(live.carries());
}
