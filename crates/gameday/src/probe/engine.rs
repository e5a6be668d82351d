//! Sends requests at their times.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::record::{Fate, SharedLog, lock};
use crate::world::{Shot, World};

/// Requests under way at once; each is a connection.
pub const UNDER_WAY_MAX: usize = 20_000;

/// When requests are due: a fixed number a second.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub per_second: u32,
    /// Nothing is due from here on.
    pub duration: Duration,
}

impl Pace {
    /// How many requests there are in all.
    pub fn total(&self) -> u64 {
        (self.duration.as_secs_f64() * f64::from(self.per_second)).round() as u64
    }

    fn due(&self, n: u64) -> Duration {
        // Whole numbers: no drift, whatever the rate.
        Duration::from_nanos((u128::from(n) * 1_000_000_000 / u128::from(self.per_second.max(1))) as u64)
    }
}

/// Ends a probe before its time.
pub type Stopper = watch::Sender<bool>;
/// Hears of it.
pub type Stop = watch::Receiver<bool>;

/// Resolves when the probe is to end; never when nobody is left who could say so.
async fn stopped(stop: &mut Stop) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

/// Sends a probe's requests and waits until all are answered. `start` is the world's `elapsed` at its beginning;
/// `each_due` is told of every due time that has come. Gives how many requests were due.
pub async fn fire(
    world: &Arc<dyn World>,
    shot: &Shot,
    pace: Pace,
    start: Duration,
    log: &SharedLog,
    mut stop: Stop,
    mut each_due: impl FnMut(Duration),
) -> u64 {
    let mut under_way = JoinSet::new();
    let mut sent = 0;
    for n in 0..pace.total() {
        let due = pace.due(n);
        if world.elapsed() < start + due {
            tokio::select! {
                // In this order, so that a seed is a run.
                biased;
                () = stopped(&mut stop) => break,
                () = world.sleep_until(start + due) => (),
            }
        } else if *stop.borrow() {
            break;
        }
        sent += 1;
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= UNDER_WAY_MAX {
            lock(log).add(due, world.elapsed().saturating_sub(start + due), Fate::NOT_SENT, None);
        } else {
            under_way.spawn(one(world.clone(), shot.clone(), start, due, log.clone()));
        }
        each_due(due);
    }
    while under_way.join_next().await.is_some() {}
    sent
}

async fn one(world: Arc<dyn World>, shot: Shot, start: Duration, due: Duration, log: SharedLog) {
    let answer = shot().await;
    // From when it was due, not from when it left: the user came then.
    let latency = world.elapsed().saturating_sub(start + due);
    lock(&log).add(due, latency, answer.fate, answer.who);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_where_the_rate_says() {
        let pace = Pace { per_second: 3, duration: Duration::from_secs(2) };
        assert_eq!(pace.total(), 6);
        assert_eq!((pace.due(0), pace.due(3)), (Duration::ZERO, Duration::from_secs(1)));
        assert_eq!(pace.due(3 * 86_400 * 365), Duration::from_secs(86_400 * 365), "no drift");
    }
}
