//! What a game day happens in.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use standfast_core::{BoxFuture, Result, Timestamp};

use crate::probe::{Answer, Target};

/// One request of a probe, sent whenever it is called.
pub type Shot = Arc<dyn Fn() -> BoxFuture<'static, Answer> + Send + Sync>;

/// The time, the API, and the way that users come.
pub trait World: Send + Sync + 'static {
    /// The cloud's time, which its events carry.
    fn now(&self) -> Timestamp;

    /// Time since some moment before everything, finer than `now`; it never goes back.
    fn elapsed(&self) -> Duration;

    /// Waits until `elapsed` is this much; returns at once when it is already.
    fn sleep_until(&self, elapsed: Duration) -> BoxFuture<'static, ()>;

    /// Calls an operation. Members are named as in the API's model.
    fn call(&self, service: &str, operation: &str, input: Json) -> BoxFuture<'_, Result<Json>>;

    /// Prepares requests to a target; the error says why none can be sent there.
    fn aim(&self, target: &Target) -> Result<Shot, String>;
}

/// Waits this long.
pub async fn pass(world: &dyn World, time: Duration) {
    world.sleep_until(world.elapsed() + time).await;
}
