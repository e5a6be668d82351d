//! Who reaches whom: every pair of {a group, another group, outside} under what allows and what denies.

use std::net::Ipv4Addr;

use standfast_core::network::*;

use crate::world::*;

const PORT: u16 = 80;

/// What stands in the way of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    Allowed,
    DeniedByGroup,
    DeniedByAcl,
    NoRoute,
}

/// Machine `a` in group `sg-a` and subnet a; machine `b` in `sg-b` and subnet b; each admits what the case says.
fn world() -> World {
    let mut now = snapshot();
    now.security_groups.insert(name("sg-a"), everything());
    now.security_groups.insert(name("sg-b"), everything());
    let mut world = World::new(now);
    world.instance("a", "10.0.1.10", &["sg-a"]);
    world.instance("b", "10.0.2.10", &["sg-b"]);
    world.public("a", public_address());
    world.public("b", public_address());
    world.serve("a", PORT);
    world.serve("b", PORT);
    world
}

fn peer_of(source: &str) -> Peer {
    match source {
        "outside" => Peer::Cidr(cidr("198.51.100.0/24")),
        other => Peer::Group(name(&format!("sg-{other}"))),
    }
}

/// Changes the rules so that from `source` to `target` it is as the case says, and everything else is allowed.
fn set(world: &mut World, source: &str, target: &str, case: Case) {
    let mut now = snapshot();
    now.interfaces = world.now.interfaces.clone();
    for group in ["a", "b"] {
        let mut rules = everything();
        if group == target {
            let all = ["a", "b", "outside"].into_iter().filter(|one| case != Case::DeniedByGroup || *one != source);
            rules.ingress =
                all.map(|one| GroupRule { traffic: Traffic::Tcp(PORT, PORT), peer: peer_of(one) }).collect();
        }
        now.security_groups.insert(name(&format!("sg-{group}")), rules);
    }
    let vpc = now.vpcs.get_mut(&name("vpc-1")).expect("it is there");
    if case == Case::DeniedByAcl {
        let blocked = match source {
            "outside" => cidr("198.51.100.0/24"),
            other => cidr(if other == "a" { "10.0.1.0/24" } else { "10.0.2.0/24" }),
        };
        let mut acl = vpc.acls[&name("acl-1")].clone();
        acl.ingress.insert(0, AclEntry { allow: false, traffic: Traffic::Tcp(PORT, PORT), peer: blocked });
        vpc.acls.insert(name("acl-2"), acl);
        let subnet = vpc.subnets.get_mut(&name(&format!("subnet-{target}"))).expect("it is there");
        subnet.acl = name("acl-2");
    }
    if case == Case::NoRoute {
        // Within a VPC there is always a route: what has none is the way to and from outside.
        vpc.route_tables.insert(name("rtb-1"), Vec::new());
    }
    world.now = now;
    world.apply();
}

fn address(world: &World, source: &str, target: &str) -> Ipv4Addr {
    let of = world.now.interfaces[&name(&format!("eni-{target}"))].addresses[0];
    if source == "outside" { of.public.expect("it has one") } else { of.private }
}

#[test]
fn every_pair_is_as_the_rules_say_also_after_they_change() {
    if !root() {
        return;
    }
    let mut world = world();
    for (source, target) in [("a", "b"), ("b", "a"), ("outside", "a"), ("outside", "b"), ("a", "a")] {
        for case in [Case::Allowed, Case::DeniedByGroup, Case::DeniedByAcl, Case::NoRoute, Case::Allowed] {
            set(&mut world, source, target, case);
            let own = source == target;
            let expected = match case {
                Case::Allowed => true,
                Case::NoRoute => source != "outside",
                // What a machine sends to itself meets no rule.
                Case::DeniedByGroup | Case::DeniedByAcl => own,
            };
            let to = address(&world, source, target);
            let said = match source {
                "outside" => connect(to, PORT, expected).map(first_line),
                other => world.ask(other, to, PORT, expected),
            };
            let case = format!("{source} to {target}, {case:?}");
            assert_eq!(said.is_some(), expected, "{case}");
            if let Some(said) = said {
                let seen = match source {
                    "outside" => "198.51.100.1",
                    "a" => "10.0.1.10",
                    _ => "10.0.2.10",
                };
                assert_eq!(said, format!("{target} {seen}"), "{case}");
            }
        }
    }
}

#[test]
fn a_live_connection_outlives_its_group_rule_and_not_its_acl() {
    if !root() {
        return;
    }
    let mut world = world();
    for (source, target) in [("a", "b"), ("outside", "a")] {
        set(&mut world, source, target, Case::Allowed);
        let to = address(&world, source, target);
        let mut open = match source {
            "outside" => connect(to, PORT, true),
            other => world.inside(other, || connect(to, PORT, true)),
        }
        .expect("it is allowed");
        assert!(carries_after_greeting(&mut open), "{source} to {target}");
        set(&mut world, source, target, Case::DeniedByGroup);
        assert!(carries(&mut open), "a tracked flow goes on: {source} to {target}");
        set(&mut world, source, target, Case::DeniedByAcl);
        assert!(!carries(&mut open), "network ACLs are stateless: {source} to {target}");
    }
}

fn carries_after_greeting(stream: &mut std::net::TcpStream) -> bool {
    let copy = stream.try_clone().expect("descriptors can be copied");
    !first_line(copy).is_empty() && carries(stream)
}

#[test]
fn the_same_subnet_meets_groups_and_no_acl() {
    if !root() {
        return;
    }
    let mut now = snapshot();
    now.security_groups.insert(name("sg-closed"), SecurityGroup { ingress: Vec::new(), ..everything() });
    let mut world = World::new(now);
    world.instance("one", "10.0.1.10", &["sg-open"]);
    world.instance("two", "10.0.1.11", &["sg-open"]);
    world.serve("two", PORT);
    let two = Ipv4Addr::new(10, 0, 1, 11);
    assert!(world.ask("one", two, PORT, true).is_some());
    world.change(|now| {
        let vpc = now.vpcs.get_mut(&name("vpc-1")).expect("it is there");
        vpc.acls.insert(name("acl-1"), Acl::default());
    });
    assert!(world.ask("one", two, PORT, true).is_some(), "no border is crossed");
    world.change(|now| {
        now.interfaces.get_mut(&name("eni-two")).expect("it is there").groups = vec![name("sg-closed")];
    });
    assert_eq!(world.ask("one", two, PORT, false), None, "the group holds within a subnet too");
}
