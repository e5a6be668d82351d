//! What every driver promises, as one suite that runs on each of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::host::{HostDriver, Phase};

use crate::world::*;

/// Runs the suite's functions on every driver: the simulation on virtual time, processes on real time.
macro_rules! on_every_driver {
    ($($name:ident)*) => {
        mod sim {
            use standfast_core::host::HostDriver;

            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                let host = crate::sim::start();
                super::$name(&*host).await;
                host.shutdown().await;
            })*
        }
        mod process {
            use standfast_core::host::HostDriver;

            $(#[tokio::test]
            async fn $name() {
                let real = crate::world::Real::start();
                super::$name(&*real.host).await;
                real.host.shutdown().await;
            })*
        }
        #[cfg(target_os = "linux")]
        mod linux {
            use standfast_core::host::HostDriver;

            $(#[tokio::test]
            async fn $name() {
                let Some(machines) = crate::linux::Machines::start() else { return };
                super::$name(&*machines.host).await;
                machines.host.shutdown().await;
            })*
        }
    };
}

on_every_driver! {
    an_instance_boots_and_has_an_address_of_its_own
    the_same_snapshot_twice_changes_nothing
    an_instance_that_is_switched_off_boots_again_for_a_higher_number_only
    a_higher_boot_number_reboots_a_running_instance
    a_killed_instance_shows_as_crashed_and_boots_again_for_a_higher_number_only
    a_dark_zone_kills_what_runs_there_and_nothing_else
    nothing_boots_in_a_dark_zone_until_it_is_lit
    an_instance_that_is_no_longer_wanted_disappears
    an_instance_that_is_no_longer_wanted_while_it_boots_disappears
    a_crashed_instance_can_be_switched_off
    commands_run_inside_running_instances_only
    the_console_tells_of_the_boot
    many_instances_boot_and_go_together
    after_shutdown_there_is_nothing
}

async fn an_instance_boots_and_has_an_address_of_its_own(host: &dyn HostDriver) {
    host.obey(snapshot([(1, spec()), (2, spec())]));
    let first = until_running(host, 1, 1).await.address.expect("it has an address");
    let second = until_running(host, 2, 1).await.address.expect("it has an address");
    // Without networks of their own, instances are on the machine's.
    assert_eq!([first, second].map(|address| address.is_loopback()), [!host.abilities().networks; 2]);
    assert_ne!(first, second);
}

async fn the_same_snapshot_twice_changes_nothing(host: &dyn HostDriver) {
    let wanted = one(|_| ());
    host.obey(wanted.clone());
    until_running(host, 1, 1).await;
    let change = host.changed();
    host.obey(wanted.clone());
    host.obey(changed(&wanted, |_| ()));
    assert!(tokio::time::timeout(Duration::from_millis(50), change).await.is_err(), "something changed");
}

async fn an_instance_that_is_switched_off_boots_again_for_a_higher_number_only(host: &dyn HostDriver) {
    host.obey(one(|_| ()));
    let address = until_running(host, 1, 1).await.address;
    host.obey(one(|spec| spec.power = false));
    until_phase(host, 1, Phase::ShuttingDown, 1).await;
    until_phase(host, 1, Phase::Off, 1).await;
    host.obey(one(|_| ()));
    assert_eq!(host.observe().instances[&id(1)].phase, Phase::Off);
    host.obey(one(|spec| spec.boot = 2));
    assert_eq!(until_running(host, 1, 2).await.address, address);
}

async fn a_higher_boot_number_reboots_a_running_instance(host: &dyn HostDriver) {
    host.obey(one(|_| ()));
    let address = until_running(host, 1, 1).await.address;
    host.obey(one(|spec| spec.boot = 5));
    until_phase(host, 1, Phase::ShuttingDown, 1).await;
    assert_eq!(until_running(host, 1, 5).await.address, address);
}

async fn a_killed_instance_shows_as_crashed_and_boots_again_for_a_higher_number_only(host: &dyn HostDriver) {
    assert!(host.kill(&id(1)).expect_err("there is none").is("InvalidInstanceID.NotFound"));
    host.obey(one(|_| ()));
    until_running(host, 1, 1).await;
    host.kill(&id(1)).expect("it runs");
    until_phase(host, 1, Phase::Crashed("killed".into()), 1).await;
    assert!(host.kill(&id(1)).expect_err("it is dead").is("IncorrectInstanceState"));
    host.obey(one(|_| ()));
    assert_eq!(host.observe().instances[&id(1)].phase, Phase::Crashed("killed".into()));
    host.obey(one(|spec| spec.boot = 2));
    until_running(host, 1, 2).await;
}

async fn a_dark_zone_kills_what_runs_there_and_nothing_else(host: &dyn HostDriver) {
    let mut elsewhere = spec();
    elsewhere.zone = "eu-west-1b".into();
    let wanted = snapshot([(1, spec()), (2, spec()), (3, elsewhere)]);
    host.obey(wanted.clone());
    for n in 1..=3 {
        until_running(host, n, 1).await;
    }
    let dark = changed(&wanted, |s| s.dark_zones.extend(["eu-west-1a".to_string()]));
    host.obey(dark);
    until_phase(host, 1, dark_phase(), 1).await;
    until_phase(host, 2, dark_phase(), 1).await;
    assert_eq!(host.observe().instances[&id(3)].phase, Phase::Running);
}

async fn nothing_boots_in_a_dark_zone_until_it_is_lit(host: &dyn HostDriver) {
    let lit = one(|_| ());
    let dark = changed(&lit, |s| s.dark_zones.extend(["eu-west-1a".to_string()]));
    host.obey(dark.clone());
    until_phase(host, 1, dark_phase(), 1).await;
    host.obey(changed(&dark, |s| s.instances.values_mut().for_each(|spec| spec.boot = 2)));
    until_phase(host, 1, dark_phase(), 2).await;
    let change = host.changed();
    host.obey(changed(&lit, |s| s.instances.values_mut().for_each(|spec| spec.boot = 2)));
    assert!(tokio::time::timeout(Duration::from_millis(50), change).await.is_err(), "a boot number was used twice");
    host.obey(changed(&lit, |s| s.instances.values_mut().for_each(|spec| spec.boot = 3)));
    until_running(host, 1, 3).await;
}

fn dark_phase() -> Phase {
    Phase::Crashed("zone lost power".into())
}

async fn an_instance_that_is_no_longer_wanted_disappears(host: &dyn HostDriver) {
    host.obey(one(|_| ()));
    until_running(host, 1, 1).await;
    host.obey(Arc::default());
    until_phase(host, 1, Phase::ShuttingDown, 1).await;
    until(host, "no instance", |seen| seen.instances.is_empty()).await;
}

async fn an_instance_that_is_no_longer_wanted_while_it_boots_disappears(host: &dyn HostDriver) {
    host.obey(one(|_| ()));
    host.obey(Arc::default());
    until(host, "no instance", |seen| seen.instances.is_empty()).await;
    host.obey(one(|_| ()));
    until_phase(host, 1, Phase::Booting, 1).await;
    host.obey(Arc::default());
    until(host, "no instance", |seen| seen.instances.is_empty()).await;
}

async fn a_crashed_instance_can_be_switched_off(host: &dyn HostDriver) {
    host.obey(one(|_| ()));
    until_running(host, 1, 1).await;
    host.kill(&id(1)).expect("it runs");
    until_phase(host, 1, Phase::Crashed("killed".into()), 1).await;
    host.obey(one(|spec| spec.power = false));
    until_phase(host, 1, Phase::Off, 1).await;
}

async fn commands_run_inside_running_instances_only(host: &dyn HostDriver) {
    let echo = || vec!["echo".to_string(), "hello".to_string()];
    let error = host.exec(&id(1), echo(), LIMIT).await.expect_err("there is none");
    assert!(error.is("InvalidInstanceID.NotFound"));
    host.obey(one(|_| ()));
    until_running(host, 1, 1).await;
    let output = host.exec(&id(1), echo(), LIMIT).await.expect("it runs");
    assert_eq!((output.code, &output.stdout[..], &output.stderr[..]), (0, &b"hello\n"[..], &b""[..]));
    host.kill(&id(1)).expect("it runs");
    until_phase(host, 1, Phase::Crashed("killed".into()), 1).await;
    let error = host.exec(&id(1), echo(), LIMIT).await.expect_err("it is dead");
    assert!(error.is("IncorrectInstanceState"));
}

async fn the_console_tells_of_the_boot(host: &dyn HostDriver) {
    assert!(host.console(&id(1)).is_empty());
    host.obey(one(|_| ()));
    until_running(host, 1, 1).await;
    let text = String::from_utf8_lossy(&host.console(&id(1))).into_owned();
    assert!(text.contains("boot 1"), "{text}");
}

async fn many_instances_boot_and_go_together(host: &dyn HostDriver) {
    const MANY: u64 = 40;
    host.obey(snapshot((0..MANY).map(|n| (n, spec()))));
    let all = |phase: Phase| {
        move |seen: &standfast_core::host::HostObservation| {
            seen.instances.len() == MANY as usize && seen.instances.values().all(|o| o.phase == phase)
        }
    };
    let seen = until(host, "all running", all(Phase::Running)).await;
    let addresses: HashSet<_> = seen.instances.values().map(|o| o.address).collect();
    assert_eq!(addresses.len(), MANY as usize);
    let mut off = spec();
    off.power = false;
    host.obey(snapshot((0..MANY).map(|n| (n, off.clone()))));
    until(host, "all off", all(Phase::Off)).await;
    host.obey(Arc::default());
    until(host, "no instance", |seen| seen.instances.is_empty()).await;
}

async fn after_shutdown_there_is_nothing(host: &dyn HostDriver) {
    host.obey(snapshot([(1, spec()), (2, spec())]));
    until_running(host, 1, 1).await;
    host.shutdown().await;
    assert!(host.observe().instances.is_empty());
    host.obey(one(|_| ()));
    assert!(host.observe().instances.is_empty(), "a driver that was shut down starts nothing");
    host.shutdown().await;
}
