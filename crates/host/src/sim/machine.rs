//! A simulated instance.

use std::cmp::Ordering;
use std::net::Ipv4Addr;
use std::time::Duration;

use standfast_core::host::{Observed, Phase};
use standfast_core::{Id, Timestamp, id::Instance};

use super::App;
use crate::rules::{Status, Target};

pub(super) struct Machine {
    pub target: Target,
    pub status: Status,
    /// When it entered its phase.
    pub since: Timestamp,
    pub address: Ipv4Addr,
    /// Counts phases, so that a timer can tell that it is no longer meant.
    pub turn: u64,
    pub app: App,
    /// Why the boot that is going on will fail.
    doomed: Option<String>,
    cpu_share: f64,
    /// CPU time used until `cpu_since`.
    cpu_used: Duration,
    cpu_since: Timestamp,
}

impl Machine {
    pub fn new(address: Ipv4Addr, target: Target, now: Timestamp) -> Self {
        Self {
            target,
            status: Status::NEW,
            since: now,
            address,
            turn: 0,
            app: App::Healthy,
            doomed: None,
            cpu_share: 0.0,
            cpu_used: Duration::ZERO,
            cpu_since: now,
        }
    }

    pub fn is_on(&self) -> bool {
        matches!(self.status.phase, Phase::Booting | Phase::Running | Phase::ShuttingDown)
    }

    pub fn enter(&mut self, phase: Phase, now: Timestamp) {
        self.cpu_used = self.cpu_time(now);
        self.cpu_since = now;
        self.status.phase = phase;
        self.since = now;
        self.turn += 1;
    }

    pub fn boot(&mut self, boot: u64, now: Timestamp, doomed: Option<String>) {
        self.enter(Phase::Booting, now);
        self.status.boot = Some(boot);
        self.doomed = doomed;
        self.app = App::Healthy;
        self.cpu_share = 0.0;
        self.cpu_used = Duration::ZERO;
    }

    /// The time of the phase is over.
    pub fn arrive(&mut self, now: Timestamp) {
        match (&self.status.phase, self.doomed.take()) {
            (Phase::Booting, None) => self.enter(Phase::Running, now),
            (Phase::Booting, Some(reason)) => self.enter(Phase::Failed(reason), now),
            (Phase::ShuttingDown, _) => self.enter(Phase::Off, now),
            _ => {}
        }
    }

    pub fn set_cpu(&mut self, share: f64, now: Timestamp) {
        self.cpu_used = self.cpu_time(now);
        self.cpu_since = now;
        self.cpu_share = share.clamp(0.0, 1.0);
    }

    fn cpu_time(&self, now: Timestamp) -> Duration {
        let share = if self.status.phase == Phase::Running { self.cpu_share } else { 0.0 };
        self.cpu_used + now.since(self.cpu_since).mul_f64(share)
    }

    pub fn observed(&self, now: Timestamp) -> Observed {
        Observed {
            phase: self.status.phase.clone(),
            boot: self.status.boot.unwrap_or(0),
            address: Some(self.address),
            cpu_time: self.cpu_time(now),
            traffic: None,
        }
    }

    pub fn console(&self, id: &Id<Instance>) -> String {
        match self.status.boot {
            Some(boot) => format!("[standfast] boot {boot}, address {}\n[standfast] {id} is simulated\n", self.address),
            None => String::new(),
        }
    }
}

/// When an instance's phase ends. The heap's greatest is the earliest.
#[derive(PartialEq, Eq)]
pub(super) struct Due {
    pub at: Timestamp,
    pub id: Id<Instance>,
    pub turn: u64,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at).then_with(|| other.id.cmp(&self.id)).then_with(|| other.turn.cmp(&self.turn))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
