//! The planes as the control plane sees them: a host driver and load balancers that are other processes.

use std::sync::Arc;
use std::time::Duration;

use standfast_core::host::{Abilities, ExecOutput, HostDriver, HostObservation, HostSnapshot, Phase};
use standfast_core::lb::{LbDriver, LbObservation, LbSnapshot, Traffic};
use standfast_core::metric::Datum;
use standfast_core::{BoxFuture, Error, Id, id::Instance};
use standfast_host::errors;

use super::line::Line;
use super::protocol::{HostAnswer, HostCall, HostKind, LbAnswer, LbCall, LbKind};
use crate::driver;

/// How long the control plane stands still for an answer at most; it takes a tenth of a millisecond.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// How long a command's answer may take beyond the command's own limit.
const EXEC_MARGIN: Duration = Duration::from_secs(15);

/// The host process.
pub struct RemoteHost {
    pub(super) line: Arc<Line<HostKind>>,
    pub(super) name: &'static str,
}

impl HostDriver for RemoteHost {
    fn name(&self) -> &'static str {
        self.name
    }

    fn abilities(&self) -> Abilities {
        self.line.hello().map_or_else(|| driver::expected(self.name), |hello| hello.abilities)
    }

    fn obey(&self, snapshot: Arc<HostSnapshot>) {
        self.line.obey(snapshot);
    }

    fn observe(&self) -> HostObservation {
        (*self.line.observe()).clone()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.line.changed()
    }

    /// Judged by what was shown last. An order that is lost with its process needs no repetition: all are dead then.
    fn kill(&self, id: &Id<Instance>) -> Result<(), Error> {
        match self.line.observe().instances.get(id).map(|seen| &seen.phase) {
            None => Err(errors::not_found(id)),
            Some(Phase::Off | Phase::Crashed(_) | Phase::Failed(_)) => Err(errors::not_running(id)),
            Some(Phase::Booting | Phase::Running | Phase::ShuttingDown) => {
                self.line.send(HostCall::Kill(id.clone()));
                Ok(())
            }
        }
    }

    fn console(&self, id: &Id<Instance>) -> Vec<u8> {
        match self.line.ask_blocking(HostCall::Console(id.clone()), ANSWER_LIMIT) {
            Some(HostAnswer::Console(output)) => output,
            _ => Vec::new(),
        }
    }

    fn exec(
        &self,
        id: &Id<Instance>,
        argv: Vec<String>,
        limit: Duration,
    ) -> BoxFuture<'static, Result<ExecOutput, Error>> {
        let answer = self.line.ask(HostCall::Exec { id: id.clone(), argv, limit });
        let id = id.clone();
        Box::pin(async move {
            match tokio::time::timeout(limit.saturating_add(EXEC_MARGIN), answer).await {
                Ok(Ok(HostAnswer::Exec(result))) => result.map_err(Error::from),
                Ok(Ok(_)) => Err(Error::internal("the host process answered another call")),
                // It died, and the instance with it.
                Ok(Err(_)) => Err(errors::not_running(&id)),
                Err(_) => Err(Error::unavailable("The host process does not respond")),
            }
        })
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.line.stop(Duration::ZERO)
    }
}

/// The data plane's process.
pub struct RemoteLb {
    pub(super) line: Arc<Line<LbKind>>,
}

impl LbDriver for RemoteLb {
    fn obey(&self, snapshot: Arc<LbSnapshot>) {
        self.line.obey(snapshot);
    }

    fn observe(&self) -> LbObservation {
        (*self.line.observe()).clone()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.line.changed()
    }

    /// What an answer that comes too late holds is lost: a minute's figures, of a process that hung for a second.
    fn take_metrics(&self) -> Vec<Datum> {
        match self.line.ask_blocking(LbCall::TakeMetrics, ANSWER_LIMIT) {
            Some(LbAnswer::Metrics(data)) => data,
            _ => Vec::new(),
        }
    }

    fn traffic(&self) -> Vec<Traffic> {
        match self.line.ask_blocking(LbCall::Traffic, ANSWER_LIMIT) {
            Some(LbAnswer::Traffic(traffic)) => traffic,
            _ => Vec::new(),
        }
    }

    fn shutdown(&self, grace: Duration) -> BoxFuture<'static, ()> {
        self.line.stop(grace)
    }
}
