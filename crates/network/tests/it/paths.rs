//! Ways through gateways, between VPCs and zones, and addresses that move.

use std::net::{Ipv4Addr, TcpListener};

use standfast_core::network::*;

use crate::world::*;

const PORT: u16 = 80;

#[test]
fn an_elastic_address_moves_at_once() {
    if !root() {
        return;
    }
    let mut world = World::new(snapshot());
    world.instance("one", "10.0.1.10", &["sg-open"]);
    world.instance("two", "10.0.2.10", &["sg-open"]);
    world.serve("one", PORT);
    world.serve("two", PORT);
    internet(&world);
    let elastic = public_address();
    for at in ["one", "two", "one"] {
        world.change(|now| {
            for n in ["one", "two"] {
                let one = now.interfaces.get_mut(&name(&format!("eni-{n}"))).expect("it is there");
                one.addresses[0].public = (n == at).then_some(elastic);
            }
        });
        let said = connect(elastic, PORT, true).map(first_line);
        assert_eq!(said, Some(format!("{at} 198.51.100.1")));
        assert_eq!(world.ask(at, FAR, PORT, true), Some(format!("internet {elastic}")));
        let other = if at == "one" { "two" } else { "one" };
        assert_eq!(world.ask(other, FAR, PORT, false), None, "without a public address there is no way out");
        assert_eq!(world.ask(other, elastic, PORT, false), None);
    }
    // Both with an address: they reach each other by it.
    let second = public_address();
    world.public("two", second);
    assert_eq!(world.ask("one", second, PORT, true), Some(format!("two {elastic}")));
}

#[test]
fn a_nat_gateway_and_a_nat_instance_lend_their_addresses() {
    if !root() {
        return;
    }
    let mut world = World::new(snapshot());
    internet(&world);
    world.instance("inner", "10.0.2.10", &["sg-open"]);
    let (gateway, forwarder) = (public_address(), public_address());
    world.change(|now| {
        let mut nat = interface("10.0.1.5", &[], Owner::NatGateway(name("nat-1")));
        nat.addresses[0].public = Some(gateway);
        nat.source_dest_check = false;
        now.interfaces.insert(name("eni-nat"), nat);
        let vpc = now.vpcs.get_mut(&name("vpc-1")).expect("it is there");
        let route = Route { destination: cidr("0.0.0.0/0"), target: RouteTarget::Interface(name("eni-nat")) };
        vpc.route_tables.insert(name("rtb-2"), vec![route]);
        vpc.subnets.get_mut(&name("subnet-b")).expect("it is there").route_table = name("rtb-2");
    });
    assert_eq!(world.ask("inner", FAR, PORT, true), Some(format!("internet {gateway}")));
    // An instance that forwards takes over, when nothing checks that what it sends is its own.
    let translate = "add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; }; \
                     add rule ip nat out oifname eth0 masquerade";
    world.instance("forwarder", "10.0.1.6", &["sg-open"]);
    world.public("forwarder", forwarder);
    let ready = world.inside("forwarder", || {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("it is root's");
        std::process::Command::new("nft").arg(translate).status().is_ok_and(|status| status.success())
    });
    if ready {
        let expected = [(true, None), (false, Some(format!("internet {forwarder}")))];
        for (check, seen) in expected {
            world.change(|now| {
                let one = now.interfaces.get_mut(&name("eni-forwarder")).expect("it is there");
                one.source_dest_check = check;
                let vpc = now.vpcs.get_mut(&name("vpc-1")).expect("it is there");
                let target = RouteTarget::Interface(name("eni-forwarder"));
                vpc.route_tables.insert(name("rtb-2"), vec![Route { destination: cidr("0.0.0.0/0"), target }]);
            });
            assert_eq!(world.ask("inner", FAR, PORT, seen.is_some()), seen, "source/destination check: {check}");
        }
    } else {
        eprintln!("NOT TESTED: NAT instances, because this machine has no nft");
    }
    world.change(|now| {
        let vpc = now.vpcs.get_mut(&name("vpc-1")).expect("it is there");
        let gone = Route { destination: cidr("0.0.0.0/0"), target: RouteTarget::Blackhole };
        vpc.route_tables.insert(name("rtb-2"), vec![gone]);
    });
    assert_eq!(world.ask("inner", FAR, PORT, false), None, "the route's target is gone");
}

#[test]
fn networks_of_the_same_block_do_not_meet_and_peered_ones_do() {
    if !root() {
        return;
    }
    let mut now = snapshot();
    now.vpcs.insert(name("vpc-2"), vpc());
    let mut third = vpc();
    third.cidrs = vec![cidr("10.1.0.0/16")];
    third.subnets.get_mut(&name("subnet-a")).expect("it is there").cidr = cidr("10.1.1.0/24");
    third.subnets.remove(&name::<standfast_core::id::Subnet>("subnet-b"));
    now.vpcs.insert(name("vpc-3"), third);
    for (n, vpc, address) in
        [("one", "vpc-1", "10.0.1.10"), ("two", "vpc-2", "10.0.1.11"), ("three", "vpc-3", "10.1.1.10")]
    {
        let mut one = interface("10.0.1.10", &["sg-open"], of_instance(&format!("i-{n}")));
        one.vpc = name(vpc);
        one.addresses[0].private = address.parse().expect("an address");
        now.interfaces.insert(name(&format!("eni-{n}")), one);
    }
    let mut world = World::new(now);
    for n in ["one", "two", "three"] {
        world.machine(&format!("i-{n}"));
        world.serve(n, PORT);
    }
    assert_eq!(world.ask("one", Ipv4Addr::new(10, 0, 1, 11), PORT, false), None, "the same block, another network");
    let three = Ipv4Addr::new(10, 1, 1, 10);
    assert_eq!(world.ask("one", three, PORT, false), None, "not peered");
    world.change(|now| {
        now.peerings.insert(name("pcx-1"), (name("vpc-1"), name("vpc-3")));
        for (vpc, block) in [("vpc-1", "10.1.0.0/16"), ("vpc-3", "10.0.0.0/16")] {
            let route = Route { destination: cidr(block), target: RouteTarget::Peering(name("pcx-1")) };
            let vpc = now.vpcs.get_mut(&name(vpc)).expect("it is there");
            vpc.route_tables.get_mut(&name("rtb-1")).expect("it is there").push(route);
        }
    });
    assert_eq!(world.ask("one", three, PORT, true), Some("three 10.0.1.10".into()));
    world.change(|now| now.peerings.clear());
    assert_eq!(world.ask("one", three, PORT, false), None, "no longer peered");
}

#[test]
fn an_interface_moves_with_its_mac_and_a_dark_zone_is_silent() {
    if !root() {
        return;
    }
    let mut world = World::new(snapshot());
    world.instance("one", "10.0.1.10", &["sg-open"]);
    world.instance("two", "10.0.1.11", &["sg-open"]);
    world.instance("far", "10.0.2.10", &["sg-open"]);
    world.serve("one", PORT);
    world.serve("two", PORT);
    let floating = Ipv4Addr::new(10, 0, 1, 99);
    for at in ["one", "two", "one"] {
        world.change(|now| {
            let mut eni = interface("10.0.1.99", &["sg-open"], of_instance(&format!("i-{at}")));
            eni.owner = Owner::Instance { id: name(&format!("i-{at}")), device_index: 1 };
            now.interfaces.insert(name("eni-floating"), eni);
        });
        assert_eq!(world.ask("far", floating, PORT, true), Some(format!("{at} 10.0.2.10")));
        let mac = world.inside(at, || std::fs::read_to_string("/proc/thread-self/net/dev")).expect("it is there");
        assert!(mac.contains("eth1:"), "{mac}");
    }
    world.dark.insert("a".into());
    world.apply();
    assert_eq!(world.ask("far", floating, PORT, false), None);
    world.dark.clear();
    world.apply();
    assert!(world.ask("far", floating, PORT, true).is_some());
    world.change(|now| {
        now.impairments = vec![Impairment { zones: ("a".into(), "b".into()), loss_percent: 100, delay_ms: 0 }];
    });
    assert_eq!(world.ask("far", floating, PORT, false), None, "a partition");
    assert!(world.ask("one", Ipv4Addr::new(10, 0, 1, 11), PORT, true).is_some(), "within the zone all is well");
}

#[test]
fn nothing_reaches_the_host_and_nothing_is_left() {
    if !root() {
        return;
    }
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    serve(listener, "host".into());
    let mut world = World::new(snapshot());
    world.instance("one", "10.0.1.10", &["sg-open"]);
    world.public("one", public_address());
    for address in [Ipv4Addr::new(127, 254, 0, 1), Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::LOCALHOST] {
        let said = world.ask("one", address, port, false);
        assert_eq!(said, None, "{address} of the host");
    }
    let link = world.link();
    drop(world);
    gone(&link);
}
