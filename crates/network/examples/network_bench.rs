//! How long networks take to change: `cargo run --release -p standfast-network --example network_bench` (as root). Prints the
//! median of several rounds, in milliseconds, each until the change holds for packets.

#[path = "../tests/it/world.rs"]
#[allow(dead_code)]
mod world;

use std::time::Instant;

use standfast_core::network::*;
use world::*;

const ROUNDS: usize = 21;
const MANY: usize = 100;
const ZONE: usize = 50;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn timed(mut change: impl FnMut(usize)) -> f64 {
    median((0..ROUNDS).map(|round| once(|| change(round))).collect())
}

#[allow(clippy::disallowed_methods)] // A benchmark measures real time.
fn once(change: impl FnOnce()) -> f64 {
    let start = Instant::now();
    change();
    start.elapsed().as_secs_f64() * 1000.0
}

fn main() {
    if !root() {
        return;
    }
    let mut now = snapshot();
    now.security_groups.insert(name("sg-changing"), everything());
    let mut world = World::new(now);
    for n in 0..MANY {
        world.machine(&format!("i-{n}"));
        let subnet = if n < ZONE { 1 } else { 2 };
        let one = interface(
            &format!("10.0.{subnet}.{}", 10 + n),
            &["sg-open", "sg-changing"],
            of_instance(&format!("i-{n}")),
        );
        world.now.interfaces.insert(name(&format!("eni-{n}")), one);
    }
    println!("{MANY} interfaces at once         {:8.1} ms", once(|| world.apply()));
    let group = timed(|round| {
        world.change(|now| {
            let rules = if round % 2 == 0 { SecurityGroup::default() } else { everything() };
            now.security_groups.insert(name("sg-changing"), rules);
        });
    });
    println!("a rule of a group of {MANY}       {group:8.1} ms");
    let elastic = public_address();
    let moved = timed(|round| {
        world.change(|now| {
            for n in 0..2 {
                let one = now.interfaces.get_mut(&name(&format!("eni-{n}"))).expect("it is there");
                one.addresses[0].public = (round % 2 == n).then_some(elastic);
            }
        });
    });
    println!("an Elastic IP moves          {moved:8.1} ms");
    let interface_moves = timed(|round| {
        world.change(|now| {
            let mut one = interface("10.0.1.250", &["sg-open"], Owner::None);
            one.owner = Owner::Instance { id: name(&format!("i-{}", round % 2)), device_index: 1 };
            now.interfaces.insert(name("eni-floating"), one);
        });
    });
    println!("an interface moves           {interface_moves:8.1} ms");
    let cut = timed(|round| {
        if round % 2 == 0 {
            world.dark.insert("a".into());
        } else {
            world.dark.clear();
        }
        world.apply();
    });
    println!("a zone of {ZONE} is cut           {cut:8.1} ms");
    println!("all is taken down            {:8.1} ms", once(|| drop(world)));
}
