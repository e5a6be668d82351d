//! Packets that arrive later: how much, in which order, and that nothing else changes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use standfast_core::network::*;
use standfast_network::in_namespace;

use crate::world::*;

const PORT: u16 = 80;
const DELAY: Duration = Duration::from_millis(50);
/// There and back.
const ROUND_TRIP: Duration = Duration::from_millis(100);
const ONE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
const TWO: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 10);

/// `one` in zone a, `two` in zone b, open to each other.
fn world() -> World {
    let mut world = World::new(snapshot());
    world.instance("one", "10.0.1.10", &["sg-open"]);
    world.instance("two", "10.0.2.10", &["sg-open"]);
    world.serve("one", PORT);
    world.serve("two", PORT);
    world
}

fn able() -> bool {
    if root() && !standfast_network::can_delay() {
        eprintln!("NOT TESTED: this kernel cannot delay: {:?}", standfast_network::probe_delay());
    }
    root() && standfast_network::can_delay()
}

fn delayed(zones: (&str, &str), delay: Duration) -> Impairment {
    let delay_ms = delay.as_millis() as u32;
    Impairment { zones: (zones.0.into(), zones.1.into()), loss_percent: 0, delay_ms }
}

#[allow(clippy::disallowed_methods)] // Real packets take real time.
fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed())
}

/// The shortest of some round trips: one that was not held up by anything else.
fn round_trip(world: &World, from: &str, to: Ipv4Addr) -> Duration {
    let times = (0..5).map(|_| {
        let (stream, took) = world.inside(from, || timed(|| connect(to, PORT, true)));
        assert!(stream.is_some(), "{from} reaches {to}");
        took
    });
    times.min().expect("there were some")
}

/// How long an echo takes to come back.
fn ping_time(world: &World, from: &str, to: Ipv4Addr) -> Duration {
    let socket = world.inside(from, || ping_socket(to, ANSWER));
    let (answered, took) = timed(|| ping(&socket));
    assert!(answered);
    took
}

/// The devices in the VPC's namespace that delay.
fn devices(world: &World) -> usize {
    let vpc = world.net.vpc_namespace(&name("vpc-1")).expect("it is there");
    let table = in_namespace(vpc.as_fd(), || std::fs::read_to_string("/proc/thread-self/net/dev"));
    table.expect("it is there").expect("it can be read").lines().filter(|line| line.trim().starts_with("late")).count()
}

#[test]
fn packets_between_zones_are_late_in_both_directions_until_the_link_heals() {
    if !able() {
        return;
    }
    let mut world = world();
    world.instance("near", "10.0.1.11", &["sg-open"]);
    world.serve("near", PORT);
    let near = Ipv4Addr::new(10, 0, 1, 11);
    let mut open = world.inside("one", || connect(TWO, PORT, true)).expect("it is allowed");
    assert_eq!(first_line(open.try_clone().expect("descriptors can be copied")), "two 10.0.1.10");
    assert!(round_trip(&world, "one", TWO) < ROUND_TRIP);

    world.change(|now| now.impairments = vec![delayed(("a", "b"), DELAY)]);
    assert_eq!(devices(&world), 1);
    for (from, to) in [("one", TWO), ("two", ONE)] {
        assert!(round_trip(&world, from, to) >= ROUND_TRIP, "{from} to {to}");
        assert!(ping_time(&world, from, to) >= ROUND_TRIP, "{from} to {to}");
    }
    assert!(round_trip(&world, "one", near) < ROUND_TRIP, "within the zone all is well");
    let (carried, took) = timed(|| carries(&mut open));
    assert!(carried && took >= ROUND_TRIP, "a connection that was there goes on, late: {took:?}");

    // Twice the delay, in two parts; and another within the zone.
    world.change(|now| {
        now.impairments = vec![delayed(("a", "b"), DELAY), delayed(("b", "a"), DELAY), delayed(("a", "a"), DELAY)];
    });
    assert_eq!(devices(&world), 2);
    assert!(round_trip(&world, "two", ONE) >= 2 * ROUND_TRIP);
    assert!(round_trip(&world, "one", near) >= ROUND_TRIP);

    world.change(|now| now.impairments.clear());
    assert_eq!(devices(&world), 0);
    assert!(round_trip(&world, "one", TWO) < ROUND_TRIP, "healed");
    assert!(carries(&mut open), "it outlives the impairment");
}

#[test]
fn what_is_on_its_way_when_a_link_heals_arrives_and_what_is_for_a_dark_zone_does_not() {
    if !able() {
        return;
    }
    const LONG: Duration = Duration::from_secs(60);
    let mut world = world();
    let receiver = world.inside("two", || UdpSocket::bind((TWO, PORT))).expect("the port is free");
    let sender = world.inside("one", || UdpSocket::bind((ONE, 0))).expect("a port is free");
    receiver.set_read_timeout(Some(ANSWER)).expect("a limit over zero");
    let send = |text: &str| sender.send_to(text.as_bytes(), (TWO, PORT)).expect("it can be sent");
    let mut buffer = [0; 64];
    world.change(|now| now.impairments = vec![delayed(("a", "b"), LONG)]);
    for n in 0..10 {
        send(&n.to_string());
    }
    world.change(|now| now.impairments.clear());
    for n in 0..10 {
        let length = receiver.recv(&mut buffer).expect("it arrives");
        assert_eq!(buffer[..length], *n.to_string().as_bytes());
    }
    world.change(|now| now.impairments = vec![delayed(("a", "b"), LONG)]);
    send("lost");
    world.dark.insert("b".into());
    world.apply();
    world.change(|now| now.impairments.clear());
    world.dark.clear();
    world.apply();
    send("arrives");
    let length = receiver.recv(&mut buffer).expect("it arrives");
    assert_eq!(buffer[..length], *b"arrives");
}

#[test]
fn late_packets_keep_their_order_and_their_bytes() {
    if !able() {
        return;
    }
    let mut world = world();
    world.change(|now| now.impairments = vec![delayed(("a", "b"), DELAY)]);
    let receiver = world.inside("two", || UdpSocket::bind((TWO, PORT))).expect("the port is free");
    let sender = world.inside("one", || UdpSocket::bind((ONE, 0))).expect("a port is free");
    receiver.set_read_timeout(Some(ANSWER)).expect("a limit over zero");
    for n in 0..100u32 {
        sender.send_to(&n.to_be_bytes(), (TWO, PORT)).expect("it can be sent");
    }
    for n in 0..100u32 {
        let mut buffer = [0; 64];
        let (length, from) = receiver.recv_from(&mut buffer).expect("it arrives");
        assert_eq!((&buffer[..length], from.ip()), (&n.to_be_bytes()[..], ONE.into()));
    }

    // More than fits into a packet at once, as programs send it.
    let bytes: Vec<u8> = (0..400_000u32).map(|n| (n % 251) as u8).collect();
    let mut stream = world.inside("one", || connect(TWO, PORT, true)).expect("it is allowed");
    stream.set_read_timeout(Some(ANSWER)).expect("a limit over zero");
    let mut writer = stream.try_clone().expect("descriptors can be copied");
    let sent = bytes.clone();
    let writes = std::thread::spawn(move || writer.write_all(&sent));
    let mut back = vec![0; "two 10.0.1.10\n".len() + bytes.len()];
    stream.read_exact(&mut back).expect("all of it comes back");
    assert!(back.ends_with(&bytes));
    writes.join().expect("it does not panic").expect("it can be written");
}

#[test]
fn rules_hold_for_late_packets_and_refusals_come_back() {
    if !able() {
        return;
    }
    let mut world = world();
    world.change(|now| now.impairments = vec![delayed(("a", "b"), DELAY)]);
    let refused = world.inside("one", || TcpStream::connect_timeout(&SocketAddrV4::new(TWO, 81).into(), ANSWER));
    assert_eq!(refused.expect_err("nobody listens").kind(), ErrorKind::ConnectionRefused);
    let mut only_answers = everything();
    only_answers.ingress.clear();
    world.change(|now| {
        now.security_groups.insert(name("sg-closed"), only_answers);
        now.interfaces.get_mut(&name("eni-two")).expect("it is there").groups = vec![name("sg-closed")];
    });
    assert_eq!(world.ask("one", TWO, PORT, false), None, "the group denies it");
    assert_eq!(world.ask("two", ONE, PORT, true), Some("one 10.0.2.10".into()), "answers are let in");
    world.change(|now| {
        now.impairments = vec![Impairment { loss_percent: 100, ..delayed(("a", "b"), DELAY) }];
    });
    assert_eq!(world.ask("two", ONE, PORT, false), None, "lost and late is lost");
}

#[test]
fn peers_and_gateways_in_other_zones_are_as_far_as_instances() {
    if !able() {
        return;
    }
    let mut world = world();
    internet(&world);
    world.change(|now| {
        let mut nat = interface("10.0.1.5", &[], Owner::NatGateway(name("nat-1")));
        nat.addresses[0].public = Some(public_address());
        nat.source_dest_check = false;
        now.interfaces.insert(name("eni-nat"), nat);
        let mut far = vpc();
        far.cidrs = vec![cidr("10.1.0.0/16")];
        for (subnet, block) in [("subnet-a", "10.1.1.0/24"), ("subnet-b", "10.1.2.0/24")] {
            far.subnets.get_mut(&name(subnet)).expect("it is there").cidr = cidr(block);
        }
        now.vpcs.insert(name("vpc-2"), far);
        let mut three = interface("10.0.1.10", &["sg-open"], of_instance("i-three"));
        (three.vpc, three.addresses[0].private) = (name("vpc-2"), Ipv4Addr::new(10, 1, 1, 10));
        now.interfaces.insert(name("eni-three"), three);
        now.peerings.insert(name("pcx-1"), (name("vpc-1"), name("vpc-2")));
        let peer = |block| Route { destination: cidr(block), target: RouteTarget::Peering(name("pcx-1")) };
        let way_out = Route { destination: cidr("0.0.0.0/0"), target: RouteTarget::Interface(name("eni-nat")) };
        now.vpcs.get_mut(&name("vpc-2")).expect("it is there").route_tables =
            [(name("rtb-1"), vec![peer("10.0.0.0/16")])].into();
        let own = now.vpcs.get_mut(&name("vpc-1")).expect("it is there");
        own.route_tables.insert(name("rtb-2"), vec![way_out, peer("10.1.0.0/16")]);
        own.route_tables.get_mut(&name("rtb-1")).expect("it is there").push(peer("10.1.0.0/16"));
        own.subnets.get_mut(&name("subnet-b")).expect("it is there").route_table = name("rtb-2");
    });
    world.machine("i-three");
    world.serve("three", PORT);
    let three = Ipv4Addr::new(10, 1, 1, 10);
    world.change(|now| now.impairments = vec![delayed(("a", "b"), DELAY)]);
    assert!(round_trip(&world, "two", FAR) >= ROUND_TRIP, "the NAT gateway is in the other zone");
    assert!(round_trip(&world, "two", three) >= ROUND_TRIP, "the peer is in the other zone");
    assert!(round_trip(&world, "one", three) < ROUND_TRIP, "the peer is in the same zone");
}
