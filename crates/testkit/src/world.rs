//! The world of game days in a test cloud: virtual time, the API over its bytes, requests that take none of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use standfast_core::{BoxFuture, Error, Result, Timestamp};
use standfast_gameday::World;
use standfast_gameday::probe::{Answer, Fate, Target, Who};
use standfast_gameday::world::Shot;
use tokio::time::Instant;

use crate::TestCloud;

/// See the module's documentation.
pub struct TestWorld {
    cloud: Arc<TestCloud>,
    start: Instant,
}

impl TestWorld {
    pub fn new(cloud: Arc<TestCloud>) -> Arc<Self> {
        Arc::new(Self { cloud, start: Instant::now() })
    }
}

impl World for TestWorld {
    fn now(&self) -> Timestamp {
        self.cloud.now()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep_until(&self, elapsed: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(self.start + elapsed))
    }

    fn call(&self, service: &str, operation: &str, input: Json) -> BoxFuture<'_, Result<Json>> {
        let model = standfast_api::SERVICES.iter().find(|model| model.name == service).copied();
        let operation = operation.to_owned();
        Box::pin(async move {
            let model = model.ok_or_else(|| Error::internal("a service that no client knows"))?;
            self.cloud.send(model, &operation, input).await
        })
    }

    /// Load balancers by their names; there is nothing else to ask.
    fn aim(&self, target: &Target) -> Result<Shot, String> {
        let rest = target.url.strip_prefix("http://").ok_or("only http:// is simulated")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let name = host.split(':').next().unwrap_or_default().to_owned();
        let (cloud, path) = (self.cloud.clone(), format!("/{path}"));
        Ok(Arc::new(move || {
            let (status, cell) = cloud.lb.ask(&name, &path);
            let who = cell.map(|cell| Who { target: cell.key.id.clone(), zone: cell.zone.clone() });
            Box::pin(std::future::ready(Answer { fate: Fate::status(status), who }))
        }))
    }
}
