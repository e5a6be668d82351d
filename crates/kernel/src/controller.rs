//! The one controller runner.
//!
//! A controller takes no input, re-reads the world, decides, acts, and says when it wants to run again. Invariant: a
//! change between two runs is never missed, because the runner listens before it runs; a run that fails is not retried
//! inside but simply runs again, later each time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{pending, select, select_all};
use standfast_core::{BoxFuture, Result, Timestamp};

use crate::cloud::Cloud;
use crate::cx::Cx;

/// How long after a failed run the next one comes, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How many runs at one instant of the clock are let through before the runner insists on a pause: a controller that
/// changes what it watches in every run must not stop the world.
const RUNS_PER_INSTANT_MAX: u32 = 1000;
const SPIN_PAUSE: Duration = Duration::from_millis(100);

/// What wakes a controller.
#[derive(Clone, Copy, Debug, Default)]
pub struct On {
    /// Tables by name. Those of other services are wake-up hints only: their data comes through calls.
    pub tables: &'static [&'static str],
    /// A change seen by the host driver.
    pub host: bool,
    /// A change of a target's health seen by the load balancers.
    pub lb: bool,
}

impl On {
    pub fn tables(tables: &'static [&'static str]) -> Self {
        Self { tables, ..Self::default() }
    }

    pub fn host(self) -> Self {
        Self { host: true, ..self }
    }

    pub fn lb(self) -> Self {
        Self { lb: true, ..self }
    }
}

/// When a controller wants to run again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Only when something changes.
    OnChange,
    /// At this time at the latest.
    At(Timestamp),
}

impl Wake {
    /// The earlier of two.
    pub fn or(self, other: Wake) -> Wake {
        match (self, other) {
            (Wake::At(a), Wake::At(b)) => Wake::At(a.min(b)),
            (Wake::OnChange, wake) | (wake, Wake::OnChange) => wake,
        }
    }
}

pub(crate) struct Controller {
    pub service: &'static str,
    pub name: &'static str,
    pub on: On,
    pub run: Arc<dyn Fn(Cx) -> BoxFuture<'static, Result<Wake>> + Send + Sync>,
}

/// Runs a controller for as long as its cloud lives.
pub(crate) async fn run(cloud: Cloud, controller: Controller) {
    let mut tables = cloud.store().watch(controller.on.tables);
    let mut failures = 0u32;
    let mut runs = 0u32;
    let mut last = cloud.clock().now();
    loop {
        let mut changes: Vec<BoxFuture<'static, ()>> = Vec::new();
        if controller.on.host {
            changes.push(cloud.planes().host.changed());
        }
        if controller.on.lb {
            changes.push(cloud.planes().lb.changed());
        }
        let cx = cloud.service_context(controller.service);
        let wake = match (controller.run)(cx).await {
            Ok(wake) => {
                failures = 0;
                wake
            }
            Err(error) => {
                let wait = RETRY_FIRST.saturating_mul(1 << failures.min(16)).min(RETRY_MAX);
                failures += 1;
                eprintln!(
                    "level=warn event=controller_failed controller={}/{} error={:?} retry_in_ms={}",
                    controller.service,
                    controller.name,
                    error.to_string(),
                    wait.as_millis()
                );
                Wake::At(cloud.clock().now() + wait)
            }
        };
        let timer: BoxFuture<'_, ()> = match wake {
            Wake::OnChange => pending().boxed(),
            Wake::At(time) => cloud.clock().sleep_until(time).boxed(),
        };
        let plane = if changes.is_empty() { pending().boxed() } else { select_all(changes).map(|_| ()).boxed() };
        select(select(Box::pin(tables.changed()), plane), timer).await;
        let now = cloud.clock().now();
        runs = if now == last { runs + 1 } else { 0 };
        last = now;
        if runs > RUNS_PER_INSTANT_MAX {
            eprintln!("level=error event=controller_spins controller={}/{}", controller.service, controller.name);
            cloud.clock().sleep(SPIN_PAUSE).await;
        }
        tokio::task::yield_now().await;
    }
}
