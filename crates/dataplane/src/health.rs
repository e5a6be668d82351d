//! The health of one target, decided from its probes and from what real requests meet.
//!
//! - A new target is `Initial`; its first pass makes it healthy. `unhealthy_threshold` failures in a row make any
//!   target unhealthy; after that it takes `healthy_threshold` passes in a row to come back.
//! - Instant ejection: a refused or unreachable connection, of a request or of a probe, makes a *healthy* target
//!   unhealthy at once. Such a target has not failed by threshold, so one pass brings it back: a process that was
//!   restarted is not kept out longer than one probe interval. When it keeps failing until the threshold, the ordinary
//!   way back applies. An initial target gets no requests yet, so ejection has nothing to add and only counts as a
//!   failure.
//!
//! Pure: this module knows neither sockets nor time; whoever probes keeps the interval.
//!
//! AWS-DIFF: ELB ejects by threshold only. Losing a zone would then cost requests for two intervals.

use standfast_core::lb::{Health, HealthCheck};

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Status(u16),
    /// Nobody listens there, or there is no way there.
    Refused,
    Timeout,
    /// Connected, but no HTTP answer came.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Initial,
    Healthy,
    /// `by_threshold`: whether healthy_threshold passes are needed, or one.
    Unhealthy {
        cause: Outcome,
        by_threshold: bool,
    },
}

/// The state machine of one target.
#[derive(Clone, Debug)]
pub struct Machine {
    state: State,
    passes: u32,
    failures: u32,
}

impl Machine {
    /// A target that was just registered. Without checks it counts as healthy.
    pub fn new(checked: bool) -> Self {
        Self { state: if checked { State::Initial } else { State::Healthy }, passes: 0, failures: 0 }
    }

    pub fn is_healthy(&self) -> bool {
        self.state == State::Healthy
    }

    /// Takes the result of a probe; true when what `health` says has changed.
    pub fn probed(&mut self, outcome: Outcome, check: &HealthCheck) -> bool {
        let before = self.state;
        if passes(outcome, check) {
            self.pass(check.healthy_threshold);
        } else {
            self.fail(outcome, check.unhealthy_threshold);
        }
        self.state != before
    }

    /// Takes that a request's connection was refused; true when what `health` says has changed.
    pub fn refused(&mut self) -> bool {
        let healthy = self.is_healthy();
        if healthy {
            self.state = State::Unhealthy { cause: Outcome::Refused, by_threshold: false };
            self.passes = 0;
        }
        healthy
    }

    pub fn health(&self) -> Health {
        match self.state {
            State::Initial => Health::Initial,
            State::Healthy => Health::Healthy,
            State::Unhealthy { cause, .. } => {
                let (reason, description) = match cause {
                    Outcome::Status(code) => {
                        ("Target.ResponseCodeMismatch", format!("Health checks failed with these codes: [{code}]"))
                    }
                    Outcome::Timeout => ("Target.Timeout", "Request timed out".to_owned()),
                    Outcome::Refused | Outcome::Broken => {
                        ("Target.FailedHealthChecks", "Health checks failed".to_owned())
                    }
                };
                Health::Unhealthy { reason, description }
            }
        }
    }

    fn pass(&mut self, healthy_threshold: u32) {
        self.failures = 0;
        self.passes = self.passes.saturating_add(1);
        let enough = match self.state {
            State::Unhealthy { by_threshold: true, .. } => self.passes >= healthy_threshold,
            _ => true,
        };
        if enough {
            self.state = State::Healthy;
        }
    }

    fn fail(&mut self, cause: Outcome, unhealthy_threshold: u32) {
        self.passes = 0;
        self.failures = self.failures.saturating_add(1);
        let by_threshold = self.failures >= unhealthy_threshold;
        self.state = match self.state {
            State::Unhealthy { by_threshold: already, .. } => {
                State::Unhealthy { cause, by_threshold: already || by_threshold }
            }
            State::Healthy if cause == Outcome::Refused => State::Unhealthy { cause, by_threshold },
            _ if by_threshold => State::Unhealthy { cause, by_threshold },
            state => state,
        };
    }
}

fn passes(outcome: Outcome, check: &HealthCheck) -> bool {
    match outcome {
        Outcome::Status(code) => check.matcher.iter().any(|(low, high)| (*low..=*high).contains(&code)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome::*;
    use super::*;

    fn check() -> HealthCheck {
        HealthCheck {
            enabled: true,
            port: None,
            path: "/health".into(),
            interval_ms: 30_000,
            timeout_ms: 5_000,
            healthy_threshold: 3,
            unhealthy_threshold: 2,
            matcher: vec![(200, 204), (302, 302)],
        }
    }

    /// The health after each outcome, as a letter: I, H, U.
    fn letters(outcomes: &[Outcome]) -> String {
        let mut machine = Machine::new(true);
        outcomes
            .iter()
            .map(|outcome| {
                machine.probed(*outcome, &check());
                match machine.health() {
                    Health::Initial => 'I',
                    Health::Healthy => 'H',
                    _ => 'U',
                }
            })
            .collect()
    }

    #[test]
    fn probes_move_a_target_between_states() {
        let cases: [(&str, &[Outcome], &str); 9] = [
            ("a new target needs one pass", &[Status(200)], "H"),
            ("ranges hold both ends", &[Status(204), Status(302)], "HH"),
            ("a new target fails by threshold", &[Status(503), Status(503)], "IU"),
            ("a refused new target too", &[Refused, Refused], "IU"),
            ("one pass between clears failures", &[Timeout, Status(200), Timeout, Timeout], "IHHU"),
            (
                "passes in a row bring it back",
                &[Timeout, Timeout, Status(200), Status(200), Timeout, Status(200), Status(200), Status(200)],
                "IUUUUUUH",
            ),
            ("a refused probe ejects at once, one pass suffices", &[Status(200), Refused, Status(200)], "HUH"),
            (
                "ejected and failing on needs all passes",
                &[Status(200), Refused, Broken, Status(200), Status(200), Status(200)],
                "HUUUUH",
            ),
            ("other failures wait for the threshold", &[Status(200), Broken, Status(500)], "HHU"),
        ];
        for (name, outcomes, expected) in cases {
            assert_eq!(letters(outcomes), expected, "{name}");
        }
    }

    #[test]
    fn reasons_are_the_services() {
        let table = [
            (Status(503), "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]"),
            (Timeout, "Target.Timeout", "Request timed out"),
            (Refused, "Target.FailedHealthChecks", "Health checks failed"),
            (Broken, "Target.FailedHealthChecks", "Health checks failed"),
        ];
        for (outcome, reason, description) in table {
            let mut machine = Machine::new(true);
            machine.probed(outcome, &check());
            machine.probed(outcome, &check());
            assert_eq!(machine.health(), Health::Unhealthy { reason, description: description.into() });
        }
    }

    #[test]
    fn a_refused_request_ejects_a_healthy_target_once() {
        let mut machine = Machine::new(true);
        assert!(!machine.refused(), "an initial target is not in service");
        assert!(machine.probed(Status(200), &check()));
        assert!(machine.refused() && !machine.refused());
        assert!(!machine.is_healthy());
        assert!(machine.probed(Status(200), &check()) && machine.is_healthy());
    }

    #[test]
    fn unchecked_targets_are_healthy() {
        assert!(Machine::new(false).is_healthy());
    }
}
