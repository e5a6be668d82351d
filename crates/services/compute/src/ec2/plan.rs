//! What should become of an instance, given what its host shows: pure.

use std::net::Ipv4Addr;
use std::time::Duration;

use standfast_core::Timestamp;
use standfast_core::host::{HOST_RESTARTED, NO_CAPACITY, Observed, Phase};

use super::model::{Check, Impaired, Instance, State, StateReason};
use super::power::started;

/// How long a terminated instance stays visible.
pub const TERMINATED_VISIBLE: Duration = Duration::from_secs(3600);
/// How often the status checks are made.
pub const CHECK_PERIOD: Duration = Duration::from_secs(60);
/// For how many checks a system may be impaired before its instance is recovered.
const CHECKS_BEFORE_RECOVERY: u32 = 2;

/// The next record of an instance.
#[derive(Clone, Debug)]
pub enum Step {
    /// It changes.
    Put(Box<Instance>),
    /// It is terminated: what it held is given back.
    Terminate(Box<Instance>),
    /// It changes, and nothing asks any longer that it fails a check.
    Heal(Box<Instance>),
    /// It has been terminated for long enough.
    Forget,
}

/// What a plan looks at besides the instance.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// What the host shows of it.
    pub seen: Option<&'a Observed>,
    /// Whether its zone has no power.
    pub dark: bool,
    /// The check that it is asked to fail.
    pub asked: Option<Check>,
    /// Whether hosts have networks: public addresses are then given by the control plane, to interfaces.
    pub networks: bool,
    pub now: Timestamp,
}

/// What should happen to the instance now; `None` when nothing should.
pub fn next(instance: &Instance, world: World) -> Option<Step> {
    let World { seen, dark, now, .. } = world;
    // What the host says about an earlier boot says nothing about this one.
    let current = seen.filter(|seen| seen.boot == instance.boot);
    let host_ended = current.is_some_and(|seen| matches!(&seen.phase, Phase::Crashed(why) if why == HOST_RESTARTED));
    match instance.state {
        State::Pending | State::Running if host_ended && !dark => Some(put(started(instance, now))),
        State::Pending => pending(instance, current, world),
        State::Running if !dark && (world.asked.is_some() || instance.impaired.is_some()) => impaired(instance, world),
        State::Running => running(instance, current, world),
        // What comes up again is on other hardware.
        _ if world.asked.is_some() || instance.impaired.is_some() => {
            Some(Step::Heal(Box::new(Instance { impaired: None, ..instance.clone() })))
        }
        State::Stopping => {
            let off = |seen: &Observed| matches!(seen.phase, Phase::Off | Phase::Crashed(_) | Phase::Failed(_));
            (dark || seen.is_none_or(off)).then(|| put(stopped(instance, now)))
        }
        State::Stopped => (instance.resume && !dark).then(|| put(started(instance, now))),
        State::ShuttingDown => seen.is_none().then(|| terminate(instance, None, now)),
        State::Terminated => (now >= instance.changed + TERMINATED_VISIBLE).then_some(Step::Forget),
    }
}

/// When `next` may say something else without any change of record or host.
pub fn deadline(instance: &Instance) -> Option<Timestamp> {
    match instance.state {
        State::Terminated => Some(instance.changed + TERMINATED_VISIBLE),
        State::Running => recovery(instance),
        _ => None,
    }
}

/// When an impaired instance is recovered; `None` when it is not.
fn recovery(instance: &Instance) -> Option<Timestamp> {
    let impaired = instance.impaired.filter(|impaired| impaired.check == Check::System)?;
    let allowed = instance.options.auto_recovery.as_deref() != Some("disabled");
    allowed.then(|| impaired.since + CHECK_PERIOD * CHECKS_BEFORE_RECOVERY)
}

/// A running instance that fails a check, or is asked to, or no longer is.
fn impaired(instance: &Instance, world: World) -> Option<Step> {
    let World { asked, now, .. } = world;
    let again = Instance { impaired: None, boot: instance.boot + 1, ..instance.clone() };
    match (asked, instance.impaired) {
        (Some(check), old) if old.is_none_or(|old| old.check != check) => {
            Some(put(Instance { impaired: Some(Impaired { check, since: now }), ..instance.clone() }))
        }
        (None, _) => Some(put(again)),
        _ if recovery(instance).is_some_and(|due| now >= due) => {
            Some(Step::Heal(Box::new(Instance { recovered: Some(now), ..again })))
        }
        _ => None,
    }
}

fn pending(instance: &Instance, seen: Option<&Observed>, world: World) -> Option<Step> {
    let World { dark, now, .. } = world;
    let first = instance.boot == 1;
    if dark {
        let reason = server_error("Internal error on launch");
        return Some(if first {
            terminate(instance, Some(reason), now)
        } else {
            put(Instance { resume: true, reason: Some(reason), ..stopped(instance, now) })
        });
    }
    match &seen?.phase {
        Phase::Running => Some(put(Instance {
            state: State::Running,
            public_ip: address(instance, seen, world),
            reason: None,
            changed: now,
            ..instance.clone()
        })),
        Phase::Failed(why) | Phase::Crashed(why) if first => Some(terminate(instance, Some(failure(why)), now)),
        Phase::Failed(why) | Phase::Crashed(why) => {
            Some(put(Instance { reason: Some(failure(why)), ..stopped(instance, now) }))
        }
        Phase::Off => Some(shut_itself_down(instance, now)),
        Phase::Booting | Phase::ShuttingDown => None,
    }
}

fn running(instance: &Instance, seen: Option<&Observed>, world: World) -> Option<Step> {
    let World { dark, now, .. } = world;
    let crashed = || Instance { reason: Some(server_error("Internal error")), ..stopped(instance, now) };
    if dark {
        return Some(put(Instance { resume: true, ..crashed() }));
    }
    match &seen?.phase {
        Phase::Crashed(_) | Phase::Failed(_) => Some(put(crashed())),
        Phase::Off => Some(shut_itself_down(instance, now)),
        Phase::Running => {
            let public_ip = address(instance, seen, world);
            (public_ip != instance.public_ip).then(|| put(Instance { public_ip, ..instance.clone() }))
        }
        Phase::Booting | Phase::ShuttingDown => None,
    }
}

/// It is off and nobody told it to be.
fn shut_itself_down(instance: &Instance, now: Timestamp) -> Step {
    let code = "Client.InstanceInitiatedShutdown";
    let reason = Some(StateReason { code: code.into(), message: format!("{code}: Instance initiated shutdown") });
    if instance.options.terminate_on_shutdown {
        put(Instance { state: State::ShuttingDown, reason, changed: now, ..instance.clone() })
    } else {
        put(Instance { reason, ..stopped(instance, now) })
    }
}

fn put(instance: Instance) -> Step {
    Step::Put(Box::new(instance))
}

/// Where it can be reached from outside its VPC.
///
/// AWS-DIFF: the address is one that this machine really answers at, not one of Amazon's.
fn address(instance: &Instance, seen: Option<&Observed>, world: World) -> Option<Ipv4Addr> {
    seen.filter(|_| instance.public && !world.networks)?.address
}

/// Why a boot failed, in EC2's words. The host's own are in the log.
fn failure(why: &str) -> StateReason {
    if !why.starts_with(NO_CAPACITY) {
        return server_error("Internal error on launch");
    }
    let code = "Server.InsufficientInstanceCapacity";
    let message = format!("{code}: There is not enough capacity to fulfill your request for instances ({why})");
    StateReason { code: code.into(), message }
}

fn server_error(text: &str) -> StateReason {
    StateReason { code: "Server.InternalError".into(), message: format!("Server.InternalError: {text}") }
}

fn stopped(instance: &Instance, now: Timestamp) -> Instance {
    Instance { state: State::Stopped, public_ip: None, changed: now, impaired: None, ..instance.clone() }
}

/// The instance without what it held; its reason is the one that is given, or what it had.
fn terminate(instance: &Instance, reason: Option<StateReason>, now: Timestamp) -> Step {
    Step::Terminate(Box::new(Instance {
        state: State::Terminated,
        reason: reason.or_else(|| instance.reason.clone()),
        public_ip: None,
        changed: now,
        resume: false,
        ..instance.clone()
    }))
}

#[cfg(test)]
pub mod tests {
    use standfast_core::id::Id;

    use super::super::model::Options;
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    pub fn instance(state: State, boot: u64) -> Instance {
        Instance {
            reservation: Id::from_text("r-1"),
            launch_index: 0,
            image: "ami-1".into(),
            instance_type: "t3.micro".into(),
            key_name: None,
            vpc: Id::from_text("vpc-1"),
            subnet: Id::from_text("subnet-1"),
            zone: "eu-west-1a".into(),
            private_ip: Ipv4Addr::new(10, 0, 0, 4),
            public: true,
            public_ip: None,
            interfaces: Vec::new(),
            devices: Vec::new(),
            root_device: "/dev/xvda".into(),
            launched: Timestamp(0),
            state,
            reason: None,
            transition: String::new(),
            changed: Timestamp(0),
            boot,
            resume: false,
            user_data: Default::default(),
            iam_profile: None,
            options: Options::default(),
            client_token: None,
            impaired: None,
            recovered: None,
        }
    }

    fn seen(phase: Phase, boot: u64) -> Option<Observed> {
        let address = Some(Ipv4Addr::new(127, 0, 0, 9));
        Some(Observed { phase, boot, address, cpu_time: Duration::ZERO, traffic: None })
    }

    fn at(now: Timestamp, seen: Option<&Observed>, dark: bool) -> World<'_> {
        World { seen, dark, asked: None, networks: false, now }
    }

    fn state_after(instance: &Instance, seen: Option<Observed>, dark: bool) -> Option<(State, bool)> {
        match next(instance, at(NOW, seen.as_ref(), dark))? {
            Step::Put(new) | Step::Terminate(new) | Step::Heal(new) => Some((new.state, new.resume)),
            Step::Forget => None,
        }
    }

    #[test]
    fn each_state_follows_its_host() {
        use State::*;
        let crashed = || Phase::Crashed("killed".into());
        let failed = || Phase::Failed("no interpreter".into());
        for (state, boot, seen, dark, expected) in [
            (Pending, 1, None, false, None),
            (Pending, 1, seen(Phase::Booting, 1), false, None),
            (Pending, 1, seen(Phase::Running, 1), false, Some((Running, false))),
            (Pending, 2, seen(Phase::Running, 1), false, None),
            (Pending, 1, seen(failed(), 1), false, Some((Terminated, false))),
            (Pending, 2, seen(failed(), 2), false, Some((Stopped, false))),
            (Pending, 2, seen(crashed(), 1), false, None),
            (Pending, 1, None, true, Some((Terminated, false))),
            (Pending, 2, None, true, Some((Stopped, true))),
            (Running, 1, None, false, None),
            (Running, 1, seen(crashed(), 1), false, Some((Stopped, false))),
            (Running, 2, seen(crashed(), 1), false, None),
            (Running, 1, seen(Phase::Running, 1), true, Some((Stopped, true))),
            (Running, 1, seen(crashed(), 1), true, Some((Stopped, true))),
            (Running, 1, seen(Phase::Off, 1), false, Some((Stopped, false))),
            (Stopping, 1, seen(Phase::Running, 1), false, None),
            (Stopping, 1, seen(Phase::ShuttingDown, 1), false, None),
            (Stopping, 1, seen(Phase::Off, 1), false, Some((Stopped, false))),
            (Stopping, 1, None, false, Some((Stopped, false))),
            (Stopped, 1, seen(Phase::Off, 1), false, None),
            (ShuttingDown, 1, seen(Phase::Running, 1), false, None),
            (ShuttingDown, 1, None, false, Some((Terminated, false))),
        ] {
            let case = format!("{state:?} {boot} {seen:?} {dark}");
            assert_eq!(state_after(&instance(state, boot), seen, dark), expected, "{case}");
        }
    }

    #[test]
    fn what_died_with_its_host_is_started_again() {
        let crashed = seen(Phase::Crashed(HOST_RESTARTED.into()), 1);
        for state in [State::Pending, State::Running] {
            let Some(Step::Put(new)) = next(&instance(state, 1), at(NOW, crashed.as_ref(), false)) else {
                panic!("it starts")
            };
            assert_eq!((new.state, new.boot), (State::Pending, 2));
        }
    }

    #[test]
    fn power_that_returns_starts_what_lost_it() {
        let lost = Instance { resume: true, ..instance(State::Stopped, 3) };
        assert!(next(&lost, at(NOW, None, true)).is_none());
        let Some(Step::Put(new)) = next(&lost, at(NOW, None, false)) else { panic!("it starts") };
        assert_eq!((new.state, new.boot, new.resume), (State::Pending, 4, false));
    }

    #[test]
    fn a_running_instance_is_reached_where_its_host_says() {
        let up = seen(Phase::Running, 1);
        let Some(Step::Put(new)) = next(&instance(State::Pending, 1), at(NOW, up.as_ref(), false)) else {
            panic!("it runs")
        };
        assert_eq!(new.public_ip, Some(Ipv4Addr::new(127, 0, 0, 9)));
        assert!(next(&new, at(NOW, up.as_ref(), false)).is_none());
        let private = Instance { public: false, ..instance(State::Pending, 1) };
        let Some(Step::Put(new)) = next(&private, at(NOW, up.as_ref(), false)) else { panic!("it runs") };
        assert_eq!(new.public_ip, None);
    }

    #[test]
    fn an_impaired_system_is_recovered_after_two_checks() {
        let world = |asked, now| World { asked, ..at(now, None, false) };
        let healthy = instance(State::Running, 1);
        let Some(Step::Put(sick)) = next(&healthy, world(Some(Check::System), NOW)) else { panic!("it is impaired") };
        assert_eq!((sick.state, sick.boot, sick.impaired.is_some()), (State::Running, 1, true));
        let due = NOW + CHECK_PERIOD * 2;
        assert_eq!(deadline(&sick), Some(due));
        // That its host has switched it off is no shutdown of its own.
        let off = seen(Phase::Off, 1);
        let early = World { asked: Some(Check::System), ..at(NOW, off.as_ref(), false) };
        assert!(next(&sick, early).is_none());
        let Some(Step::Heal(well)) = next(&sick, world(Some(Check::System), due)) else { panic!("it is recovered") };
        assert_eq!((well.state, well.boot, well.impaired, well.recovered), (State::Running, 2, None, Some(due)));

        let mut left = (*sick).clone();
        left.options.auto_recovery = Some("disabled".into());
        assert!(next(&left, world(Some(Check::System), due)).is_none() && deadline(&left).is_none());
        let Some(Step::Put(well)) = next(&left, world(None, due)) else { panic!("it comes back") };
        assert_eq!((well.boot, well.impaired), (2, None));
    }

    #[test]
    fn a_machine_that_is_full_is_told_from_one_that_fails() {
        for (why, code) in [
            (format!("{NO_CAPACITY}: memory"), "Server.InsufficientInstanceCapacity"),
            ("no interpreter".to_owned(), "Server.InternalError"),
        ] {
            let failed = seen(Phase::Failed(why), 1);
            let step = next(&instance(State::Pending, 1), at(NOW, failed.as_ref(), false));
            let Some(Step::Terminate(new)) = step else { panic!("it is terminated") };
            assert_eq!(new.reason.map(|reason| reason.code).as_deref(), Some(code));
        }
    }

    #[test]
    fn terminated_instances_are_forgotten_after_an_hour() {
        let gone = instance(State::Terminated, 1);
        let due = gone.changed + TERMINATED_VISIBLE;
        assert_eq!(deadline(&gone), Some(due));
        assert!(next(&gone, at(Timestamp(due.0 - 1), None, false)).is_none());
        assert!(matches!(next(&gone, at(due, None, false)), Some(Step::Forget)));
    }
}
