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

    /// How many times as fast as this machine's time all times here go.
    fn speed(&self) -> f64 {
        1.0
    }

    /// Whether an operation takes this; the error says why not. Nothing is called.
    fn takes(&self, _service: &str, _operation: &str, _input: &Json) -> Result<(), String> {
        Ok(())
    }

    /// Waits until `elapsed` is this much; returns at once when it is already.
    fn sleep_until(&self, elapsed: Duration) -> BoxFuture<'static, ()>;

    /// Calls an operation. Members are named as in the API's model.
    fn call(&self, service: &str, operation: &str, input: Json) -> BoxFuture<'_, Result<Json>>;

    /// Prepares requests to a target; the error says why none can be sent there.
    fn aim(&self, target: &Target) -> Result<Shot, String>;
}

/// What is asked again and again is asked no oftener, by this machine's time.
const ASK_AT_MOST_EVERY: Duration = Duration::from_millis(20);

/// Waits this long before something is asked again; longer where time goes so fast that nothing else would be done.
pub async fn pass(world: &dyn World, time: Duration) {
    world.sleep_until(world.elapsed() + no_less(world, time, ASK_AT_MOST_EVERY)).await;
}

/// A time, or as much of the world's time as goes by in `least` of this machine's.
pub fn no_less(world: &dyn World, time: Duration, least: Duration) -> Duration {
    time.max(least.mul_f64(world.speed()))
}

/// What this machine is given to do something, in the world's time.
pub fn patience(world: &dyn World, time: Duration) -> Duration {
    no_less(world, time, time)
}
