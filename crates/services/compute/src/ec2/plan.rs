//! What should become of an instance, given what its host shows: pure.

use std::net::Ipv4Addr;
use std::time::Duration;

use standfast_core::Timestamp;
use standfast_core::host::{Observed, Phase};

use super::model::{Instance, State, StateReason};
use super::power::started;

/// How long a terminated instance stays visible.
pub const TERMINATED_VISIBLE: Duration = Duration::from_secs(3600);

/// The next record of an instance.
#[derive(Clone, Debug)]
pub enum Step {
    /// It changes.
    Put(Box<Instance>),
    /// It is terminated: what it held is given back.
    Terminate(Box<Instance>),
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
    /// Whether this process has just begun: what crashed until now died with the process before it.
    pub restarted: bool,
    pub now: Timestamp,
}

/// What should happen to the instance now; `None` when nothing should.
pub fn next(instance: &Instance, world: World) -> Option<Step> {
    let World { seen, dark, restarted, now } = world;
    // What the host says about an earlier boot says nothing about this one.
    let current = seen.filter(|seen| seen.boot == instance.boot);
    let died = current.is_some_and(|seen| matches!(seen.phase, Phase::Crashed(_)));
    match instance.state {
        State::Pending | State::Running if restarted && died && !dark => Some(put(started(instance, now))),
        State::Pending => pending(instance, current, dark, now),
        State::Running => running(instance, current, dark, now),
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
    (instance.state == State::Terminated).then(|| instance.changed + TERMINATED_VISIBLE)
}

fn pending(instance: &Instance, seen: Option<&Observed>, dark: bool, now: Timestamp) -> Option<Step> {
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
            public_ip: address(instance, seen),
            reason: None,
            changed: now,
            ..instance.clone()
        })),
        Phase::Failed(_) | Phase::Crashed(_) if first => {
            Some(terminate(instance, Some(server_error("Internal error on launch")), now))
        }
        Phase::Failed(_) | Phase::Crashed(_) => {
            let reason = Some(server_error("Internal error on launch"));
            Some(put(Instance { reason, ..stopped(instance, now) }))
        }
        _ => None,
    }
}

fn running(instance: &Instance, seen: Option<&Observed>, dark: bool, now: Timestamp) -> Option<Step> {
    let crashed = || Instance { reason: Some(server_error("Internal error")), ..stopped(instance, now) };
    if dark {
        return Some(put(Instance { resume: true, ..crashed() }));
    }
    match &seen?.phase {
        Phase::Crashed(_) | Phase::Failed(_) => Some(put(crashed())),
        // Nobody told it to be off: it shut itself down.
        Phase::Off => {
            let code = "Client.InstanceInitiatedShutdown";
            let reason = StateReason { code: code.into(), message: format!("{code}: Instance initiated shutdown") };
            Some(if instance.options.terminate_on_shutdown {
                let ending = Instance { reason: Some(reason), changed: now, ..instance.clone() };
                put(Instance { state: State::ShuttingDown, ..ending })
            } else {
                put(Instance { reason: Some(reason), ..stopped(instance, now) })
            })
        }
        Phase::Running => {
            let public_ip = address(instance, seen);
            (public_ip != instance.public_ip).then(|| put(Instance { public_ip, ..instance.clone() }))
        }
        Phase::Booting | Phase::ShuttingDown => None,
    }
}

fn put(instance: Instance) -> Step {
    Step::Put(Box::new(instance))
}

/// Where it can be reached from outside its VPC.
///
/// AWS-DIFF: the address is one that this machine really answers at, not one of Amazon's.
fn address(instance: &Instance, seen: Option<&Observed>) -> Option<Ipv4Addr> {
    seen.filter(|_| instance.public)?.address
}

fn server_error(text: &str) -> StateReason {
    StateReason { code: "Server.InternalError".into(), message: format!("Server.InternalError: {text}") }
}

fn stopped(instance: &Instance, now: Timestamp) -> Instance {
    Instance { state: State::Stopped, public_ip: None, changed: now, ..instance.clone() }
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
mod tests {
    use standfast_core::id::Id;

    use super::super::model::Options;
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn instance(state: State, boot: u64) -> Instance {
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
        }
    }

    fn seen(phase: Phase, boot: u64) -> Option<Observed> {
        let address = Some(Ipv4Addr::new(127, 0, 0, 9));
        Some(Observed { phase, boot, address, cpu_time: Duration::ZERO })
    }

    fn at(now: Timestamp, seen: Option<&Observed>, dark: bool) -> World<'_> {
        World { seen, dark, restarted: false, now }
    }

    fn state_after(instance: &Instance, seen: Option<Observed>, dark: bool) -> Option<(State, bool)> {
        match next(instance, at(NOW, seen.as_ref(), dark))? {
            Step::Put(new) | Step::Terminate(new) => Some((new.state, new.resume)),
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
    fn what_died_with_the_process_before_is_started_again() {
        let crashed = seen(Phase::Crashed("the cloud was restarted".into()), 1);
        for state in [State::Pending, State::Running] {
            let world = World { restarted: true, ..at(NOW, crashed.as_ref(), false) };
            let Some(Step::Put(new)) = next(&instance(state, 1), world) else { panic!("it starts") };
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
    fn terminated_instances_are_forgotten_after_an_hour() {
        let gone = instance(State::Terminated, 1);
        let due = gone.changed + TERMINATED_VISIBLE;
        assert_eq!(deadline(&gone), Some(due));
        assert!(next(&gone, at(Timestamp(due.0 - 1), None, false)).is_none());
        assert!(matches!(next(&gone, at(due, None, false)), Some(Step::Forget)));
    }
}
