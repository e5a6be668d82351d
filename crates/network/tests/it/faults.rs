//! What is wrong with one interface's packets, and that it is with no other's.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use standfast_core::network::*;

use crate::world::*;

const PORT: u16 = 80;
const OTHER: u16 = 81;
const DELAY_MS: u32 = 60;
const DELAY: Duration = Duration::from_millis(60);
const ONE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
const TWO: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 10);
const THREE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 11);

/// Three instances that are open to each other; each serves on two ports.
fn world() -> World {
    let mut world = World::new(snapshot());
    for (n, address) in [("one", "10.0.1.10"), ("two", "10.0.2.10"), ("three", "10.0.2.11")] {
        world.instance(n, address, &["sg-open"]);
        world.serve(n, PORT);
        world.serve(n, OTHER);
    }
    world
}

fn able() -> bool {
    if root() && !standfast_network::can_delay() {
        eprintln!("NOT TESTED: this kernel cannot delay: {:?}", standfast_network::probe_delay());
    }
    root() && standfast_network::can_delay()
}

fn fault(way: Way, traffic: Traffic, harm: Harm) -> PacketFault {
    PacketFault { way, peers: Vec::new(), traffic, harm }
}

/// Harms `two` like this; the earlier harm goes.
fn harm(world: &mut World, faults: Vec<PacketFault>) {
    world.change(|now| now.faults = faults.into_iter().map(|fault| (name("eni-two"), fault)).collect());
}

/// Whether a connection comes about.
fn reaches(world: &World, from: &str, to: Ipv4Addr, port: u16, expected: bool) -> bool {
    world.inside(from, || connect(to, port, expected)).is_some()
}

/// The shortest of some connections.
#[allow(clippy::disallowed_methods)] // Real packets take real time.
fn round_trip(world: &World, from: &str, to: Ipv4Addr) -> Duration {
    let times = (0..5).map(|_| {
        let start = Instant::now();
        assert!(reaches(world, from, to, PORT, true), "{from} reaches {to}");
        start.elapsed()
    });
    times.min().expect("there were some")
}

#[test]
fn what_one_interface_sends_is_lost_until_it_heals() {
    if !root() {
        return;
    }
    let mut world = world();
    harm(&mut world, vec![fault(Way::Sent, Traffic::All, Harm::Loss(100))]);
    assert!(!reaches(&world, "two", ONE, PORT, false) && !reaches(&world, "one", TWO, PORT, false));
    assert!(reaches(&world, "one", THREE, PORT, true), "the neighbour is well");
    harm(&mut world, Vec::new());
    assert!(reaches(&world, "two", ONE, PORT, true));

    let to_one = PacketFault { peers: vec![cidr("10.0.1.0/24")], ..fault(Way::Sent, Traffic::All, Harm::Loss(100)) };
    harm(&mut world, vec![to_one]);
    assert!(!reaches(&world, "two", ONE, PORT, false) && reaches(&world, "two", THREE, PORT, true));
}

#[test]
fn a_port_is_a_black_hole_in_one_direction() {
    if !root() {
        return;
    }
    let mut world = world();
    let mut open = world.inside("one", || connect(TWO, PORT, true)).expect("it is allowed");
    first_line(open.try_clone().expect("descriptors can be copied"));
    harm(&mut world, vec![fault(Way::Received, Traffic::Tcp(PORT, PORT), Harm::Loss(100))]);
    assert!(!reaches(&world, "one", TWO, PORT, false), "nothing gets in");
    assert!(!carries(&mut open), "also on what is open");
    assert!(reaches(&world, "one", TWO, OTHER, true), "another port is well");
    assert!(reaches(&world, "two", ONE, PORT, true), "the way out is open");
    harm(&mut world, vec![fault(Way::Sent, Traffic::Tcp(PORT, PORT), Harm::Loss(100))]);
    assert!(reaches(&world, "one", TWO, PORT, true) && !reaches(&world, "two", ONE, PORT, false));
}

#[test]
fn one_interface_is_late() {
    if !able() {
        return;
    }
    let mut world = world();
    let late = Harm::Late { delay_ms: DELAY_MS, jitter_ms: 0, corrupt_percent: 0 };
    harm(&mut world, vec![fault(Way::Received, Traffic::All, late)]);
    assert!(round_trip(&world, "one", TWO) >= DELAY && round_trip(&world, "two", THREE) >= DELAY);
    assert!(round_trip(&world, "one", THREE) < DELAY, "the neighbour is not");
    harm(&mut world, Vec::new());
    assert!(round_trip(&world, "one", TWO) < DELAY);
}

#[test]
fn jitter_is_even_around_the_delay_and_lets_packets_overtake() {
    if !able() {
        return;
    }
    const SENT: u64 = 100;
    let mut world = world();
    let late = Harm::Late { delay_ms: DELAY_MS, jitter_ms: 40, corrupt_percent: 0 };
    harm(&mut world, vec![fault(Way::Received, Traffic::All, late)]);
    let receiver = world.inside("two", || UdpSocket::bind((TWO, 0))).expect("a port is free");
    let to = SocketAddrV4::new(TWO, receiver.local_addr().expect("it is bound").port());
    let sender = world.inside("one", || UdpSocket::bind((ONE, 0))).expect("a port is free");
    receiver.set_read_timeout(Some(SILENCE)).expect("a limit over zero");
    #[allow(clippy::disallowed_methods)] // Real packets take real time.
    let began = Instant::now();
    for n in 0..SENT {
        sender.send_to(&n.to_be_bytes(), to).expect("it is sent");
    }
    let mut buffer = [0; 8];
    let came =
        std::iter::from_fn(|| receiver.recv(&mut buffer).ok().map(|_| (u64::from_be_bytes(buffer), began.elapsed())));
    let came: Vec<_> = came.take(SENT as usize).collect();
    assert_eq!(came.len(), SENT as usize, "none is lost");
    assert!(came[0].1 >= Duration::from_millis(20), "the first came after {:?}", came[0].1);
    // All but a few of a hundred are spread wider than this by chance.
    assert!(came.last().expect("some").1 - came[0].1 >= Duration::from_millis(40), "{:?}", came.last());
    assert!(!came.is_sorted_by_key(|(n, _)| *n), "some have overtaken others");
}

#[test]
fn damaged_packets_do_not_arrive_but_the_rest_does() {
    if !able() {
        return;
    }
    // Few enough for the buffer of a socket.
    const SENT: usize = 200;
    let mut world = world();
    let receiver = world.inside("two", || UdpSocket::bind((TWO, 0))).expect("a port is free");
    let to = SocketAddrV4::new(TWO, receiver.local_addr().expect("it is bound").port());
    let sender = world.inside("one", || UdpSocket::bind((ONE, 0))).expect("a port is free");
    receiver.set_read_timeout(Some(SILENCE)).expect("a limit over zero");
    let arrived = || {
        for _ in 0..SENT {
            sender.send_to(&[7; 100], to).expect("it can be sent");
        }
        let mut buffer = [0; 200];
        std::iter::from_fn(|| receiver.recv(&mut buffer).ok()).count()
    };
    let half = Harm::Late { delay_ms: 0, jitter_ms: 0, corrupt_percent: 50 };
    harm(&mut world, vec![fault(Way::Received, Traffic::All, half)]);
    let some = arrived();
    // Far from both ends: half of 200 with a deviation of seven.
    assert!((SENT / 4..SENT * 3 / 4).contains(&some), "{some} of {SENT} arrive whole");
    harm(&mut world, Vec::new());
    assert_eq!(arrived(), SENT);
}
