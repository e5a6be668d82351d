//! What an instance does next, decided from what it is and what it should be.
//!
//! Invariant: pure, and the only place that knows these rules; every driver asks it. A boot number is used once: an
//! instance that crashed, failed or was switched off boots again only for a higher number, so the control plane (and
//! never the driver) decides about a restart.

use standfast_core::host::Phase;

/// Why an instance in a dark zone is not running.
pub(crate) const ZONE_DARK: &str = "zone lost power";
/// Why an instance is not running after `HostDriver::kill`.
pub(crate) const KILLED: &str = "killed";
/// Why an instance that ran under an earlier driver is not running.
pub(crate) use standfast_core::host::HOST_RESTARTED as RESTARTED;

/// What an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub phase: Phase,
    /// The newest boot; none before the first.
    pub boot: Option<u64>,
}

impl Status {
    pub const NEW: Status = Status { phase: Phase::Off, boot: None };
}

/// What an instance should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub exists: bool,
    pub power: bool,
    pub boot: u64,
    /// Its zone has no power.
    pub dark: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// As it should be, or already on the way.
    Stay,
    Boot(u64),
    /// The boot cannot begin in a dark zone; the instance shows as crashed in it.
    Refuse(u64),
    /// End its processes with grace.
    ShutDown,
    /// Kill its processes now: the zone lost power.
    Cut,
    /// It is down already and was told to be off.
    SwitchOff,
    /// It is down and no longer exists: remove what is left of it.
    Remove,
}

pub(crate) fn next(status: &Status, target: &Target) -> Step {
    let newer = status.boot.is_none_or(|boot| target.boot > boot);
    match status.phase {
        Phase::Booting | Phase::Running | Phase::ShuttingDown if target.dark => Step::Cut,
        Phase::Booting | Phase::Running if !target.exists || !target.power || newer => Step::ShutDown,
        Phase::Booting | Phase::Running | Phase::ShuttingDown => Step::Stay,
        Phase::Off | Phase::Crashed(_) | Phase::Failed(_) if !target.exists => Step::Remove,
        Phase::Crashed(_) | Phase::Failed(_) if !target.power => Step::SwitchOff,
        Phase::Off | Phase::Crashed(_) | Phase::Failed(_) if target.power && newer => match target.dark {
            true => Step::Refuse(target.boot),
            false => Step::Boot(target.boot),
        },
        Phase::Off | Phase::Crashed(_) | Phase::Failed(_) => Step::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crashed() -> Phase {
        Phase::Crashed(KILLED.into())
    }

    #[test]
    fn every_phase_has_one_next_step() {
        let on = |boot| Target { exists: true, power: true, boot, dark: false };
        let dark = |boot| Target { dark: true, ..on(boot) };
        let off = Target { power: false, ..on(1) };
        let gone = Target { exists: false, ..on(1) };
        let table = [
            (Status::NEW, on(0), Step::Boot(0)),
            (Status::NEW, off, Step::Stay),
            (Status::NEW, dark(1), Step::Refuse(1)),
            (Status { phase: Phase::Booting, boot: Some(1) }, on(1), Step::Stay),
            (Status { phase: Phase::Booting, boot: Some(1) }, off, Step::ShutDown),
            (Status { phase: Phase::Running, boot: Some(1) }, on(1), Step::Stay),
            (Status { phase: Phase::Running, boot: Some(2) }, on(1), Step::Stay),
            (Status { phase: Phase::Running, boot: Some(1) }, on(2), Step::ShutDown),
            (Status { phase: Phase::Running, boot: Some(1) }, off, Step::ShutDown),
            (Status { phase: Phase::Running, boot: Some(1) }, gone, Step::ShutDown),
            (Status { phase: Phase::Running, boot: Some(1) }, dark(1), Step::Cut),
            (Status { phase: Phase::ShuttingDown, boot: Some(1) }, gone, Step::Stay),
            (Status { phase: Phase::ShuttingDown, boot: Some(1) }, dark(1), Step::Cut),
            (Status { phase: Phase::Off, boot: Some(1) }, on(1), Step::Stay),
            (Status { phase: Phase::Off, boot: Some(1) }, on(2), Step::Boot(2)),
            (Status { phase: Phase::Off, boot: Some(1) }, gone, Step::Remove),
            (Status { phase: crashed(), boot: Some(1) }, on(1), Step::Stay),
            (Status { phase: crashed(), boot: Some(1) }, on(2), Step::Boot(2)),
            (Status { phase: crashed(), boot: Some(1) }, dark(1), Step::Stay),
            (Status { phase: crashed(), boot: Some(1) }, dark(2), Step::Refuse(2)),
            (Status { phase: crashed(), boot: Some(1) }, off, Step::SwitchOff),
            (Status { phase: crashed(), boot: Some(1) }, gone, Step::Remove),
            (Status { phase: Phase::Failed("x".into()), boot: Some(1) }, on(2), Step::Boot(2)),
        ];
        for (status, target, step) in table {
            assert_eq!(next(&status, &target), step, "{status:?} {target:?}");
        }
    }
}
