//! What the simulation promises beyond the suite.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::host::{HostDriver, Phase};
use standfast_core::{Clock, Rng, Timestamp};
use standfast_host::{App, SimConfig, SimHost, SimReply};

use crate::world::*;

fn config() -> SimConfig {
    SimConfig::new(Clock::starting_at(Timestamp(0), 1.0), Rng::seeded(7))
}

pub fn start() -> Arc<SimHost> {
    SimHost::start(config())
}

#[tokio::test(start_paused = true)]
async fn boots_and_shutdowns_take_the_configured_time() {
    let config = SimConfig { boot_jitter: Duration::ZERO, ..config() };
    let clock = config.clock.clone();
    let host = SimHost::start(config);
    host.obey(one(|_| ()));
    until_running(&*host, 1, 1).await;
    let up = clock.now();
    assert!((2_000..2_010).contains(&up.0), "{}", up.0);
    host.obey(one(|spec| spec.power = false));
    until_phase(&*host, 1, Phase::Off, 1).await;
    let down_ms = clock.now().0 - up.0;
    assert!((1_000..1_010).contains(&down_ms), "{down_ms}");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_boot_times() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let config = config();
        let clock = config.clock.clone();
        let host = SimHost::start(config);
        let begin = clock.now();
        host.obey(snapshot((0..10).map(|n| (n, spec()))));
        let mut times = Vec::new();
        for n in 0..10 {
            until_running(&*host, n, 1).await;
            times.push(clock.now().since(begin));
        }
        runs.push(times);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].windows(2).any(|pair| pair[0] != pair[1]), "there is jitter");
}

#[tokio::test(start_paused = true)]
async fn an_application_answers_some_time_after_the_boot_and_as_it_is_told() {
    let config = config();
    let clock = config.clock.clone();
    let host = SimHost::start(config);
    host.obey(one(|_| ()));
    let address = host.observe().instances[&id(1)].address.expect("it has one");
    let ask = || host.answer(SocketAddr::from((address, 8080)), "/health");
    assert_eq!(ask(), SimReply::Refused);
    until_running(&*host, 1, 1).await;
    assert_eq!(ask(), SimReply::Refused);
    clock.sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(), SimReply::Status(200));
    for (app, reply) in
        [(App::Status(500), SimReply::Status(500)), (App::Hang, SimReply::Timeout), (App::Dead, SimReply::Refused)]
    {
        host.set_app(&id(1), app);
        assert_eq!(ask(), reply);
    }
    host.obey(one(|spec| spec.boot = 2));
    until_running(&*host, 1, 2).await;
    clock.sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(), SimReply::Status(200), "a boot begins with a healthy application");
    host.kill(&id(1)).expect("it runs");
    assert_eq!(ask(), SimReply::Refused);
    host.obey(Arc::default());
    assert_eq!(ask(), SimReply::Refused);
}

#[tokio::test(start_paused = true)]
async fn boots_fail_as_often_as_they_are_told_to() {
    let host = start();
    host.fail_next_boots(2, "no such image");
    host.obey(one(|_| ()));
    for boot in 1..=2 {
        host.obey(one(|spec| spec.boot = boot));
        until_phase(&*host, 1, Phase::Failed("no such image".into()), boot).await;
    }
    host.obey(one(|spec| spec.boot = 3));
    until_running(&*host, 1, 3).await;
}

#[tokio::test(start_paused = true)]
async fn cpu_time_grows_with_the_load_while_the_instance_runs() {
    let config = config();
    let clock = config.clock.clone();
    let host = SimHost::start(config);
    host.obey(one(|_| ()));
    until_running(&*host, 1, 1).await;
    let used = || host.observe().instances[&id(1)].cpu_time;
    assert_eq!(used(), Duration::ZERO);
    host.set_cpu(&id(1), 0.5);
    clock.sleep(Duration::from_secs(60)).await;
    host.set_cpu(&id(1), 1.0);
    clock.sleep(Duration::from_secs(60)).await;
    assert!((used().as_secs_f64() - 90.0).abs() < 0.1, "{:?}", used());
    host.kill(&id(1)).expect("it runs");
    let at_death = used();
    clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(used(), at_death);
    host.obey(one(|spec| spec.boot = 2));
    assert_eq!(used(), Duration::ZERO, "it counts from the boot");
}

#[tokio::test(start_paused = true)]
async fn thousands_of_launches_one_snapshot_each_all_come_up() {
    const LAUNCHES: u64 = 1_000;
    let host = start();
    let mut wanted = standfast_core::host::HostSnapshot::default();
    for n in 0..LAUNCHES {
        wanted.instances.insert(id(n), spec());
        host.obey(Arc::new(wanted.clone()));
    }
    until(&*host, "all running", |seen| {
        seen.instances.len() == LAUNCHES as usize && seen.instances.values().all(|o| o.phase == Phase::Running)
    })
    .await;
}
