//! A thousand random steps, and nothing left.

use std::net::Ipv4Addr;

use standfast_core::Rng;
use standfast_core::network::*;

use crate::world::*;

const STEPS: usize = 1000;
const SEED: u64 = 3;
const PORT: u16 = 80;

/// How many namespaces this process holds.
fn held() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("it is there");
    let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("net:[")).count()
}

/// Adds, attaches, moves or removes something.
fn step(world: &mut World, rng: &Rng, n: usize) {
    let pick = |count: usize| rng.below(count);
    let ids: Vec<_> = world.now.interfaces.keys().cloned().collect();
    let some = (!ids.is_empty()).then(|| ids[pick(ids.len())].clone());
    match (pick(9), some) {
        (0 | 1, _) if ids.len() < 12 => {
            let address = format!("10.0.{}.{}", 1 + pick(2), 10 + n % 200);
            let owner = match pick(4) {
                0 => Owner::None,
                1 => Owner::Service,
                2 => Owner::NatGateway(name("nat-1")),
                _ => of_instance(&format!("i-{n}")),
            };
            if let Owner::Instance { .. } = owner {
                world.machine(&format!("i-{n}"));
            }
            let taken = world.now.interfaces.values().any(|one| one.addresses[0].private.to_string() == address);
            if !taken {
                world.now.interfaces.insert(name(&format!("eni-{n}")), interface(&address, &["sg-open"], owner));
            }
        }
        (2, Some(id)) => drop(world.now.interfaces.remove(&id)),
        (3, Some(id)) => {
            let public = if pick(2) == 0 { Some(public_address()) } else { None };
            world.now.interfaces.get_mut(&id).expect("it was listed").addresses[0].public = public;
        }
        (4, Some(id)) => {
            // Moves to another instance, where there is one.
            let mut owners = world.now.interfaces.values().filter_map(|one| match &one.owner {
                Owner::Instance { id, .. } => Some(id.clone()),
                _ => None,
            });
            let Some(to) = owners.next() else { return };
            let one = world.now.interfaces.get_mut(&id).expect("it was listed");
            one.owner = Owner::Instance { id: to, device_index: 1 + n as u32 };
        }
        (5, _) => {
            if !world.dark.remove("a") {
                world.dark.insert("a".into());
            }
        }
        (6, _) => {
            let vpc = world.now.vpcs.get_mut(&name("vpc-1")).expect("it is there");
            vpc.internet = !vpc.internet;
        }
        (7, _) if standfast_network::can_delay() => {
            let zones = ("a".into(), if pick(2) == 0 { "a" } else { "b" }.into());
            let late = Impairment { zones, loss_percent: 0, delay_ms: 1 + pick(3) as u32 };
            world.now.impairments = if pick(2) == 0 { Vec::new() } else { vec![late] };
        }
        _ => {
            let other = name("vpc-2");
            if world.now.vpcs.remove(&other).is_none() {
                world.now.vpcs.insert(other, vpc());
            }
        }
    }
}

#[test]
fn a_thousand_steps_leave_nothing_behind() {
    if !root() {
        return;
    }
    let rng = Rng::seeded(SEED);
    let mut world = World::new(snapshot());
    for n in 0..STEPS {
        step(&mut world, &rng, n);
        world.apply();
    }
    // What is there at the end works.
    world.dark.clear();
    world.now = snapshot();
    world.apply();
    world.instance("last", "10.0.1.250", &["sg-open"]);
    world.instance("other", "10.0.2.250", &["sg-open"]);
    world.serve("last", PORT);
    assert!(world.ask("other", Ipv4Addr::new(10, 0, 1, 250), PORT, true).is_some());
    let with = held();
    let link = world.link();
    drop(world);
    assert!(held() < with, "namespaces are let go");
    gone(&link);
}
