//! The only clock.
//!
//! Invariant: control-plane time advances `speed` times as fast as the runtime's. On a paused tokio runtime it is
//! virtual time: a sleep costs nothing and tests of hours take milliseconds.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * 1000.0).round() as i64)
    }

    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The time that has passed since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// The beginning of the period that this is in; periods follow each other from 1970 on.
    pub fn floor(self, period: Duration) -> Self {
        let period_ms = (period.as_millis() as i64).max(1);
        Self(self.0.div_euclid(period_ms) * period_ms)
    }

    /// ISO 8601 with milliseconds and Z, for example `2026-11-20T22:41:00.000Z`.
    pub fn iso8601(self) -> String {
        let whole = self.civil();
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            whole.year(),
            whole.month(),
            whole.day(),
            whole.hour(),
            whole.minute(),
            whole.second(),
            self.0.rem_euclid(1000)
        )
    }

    /// The same to the second, for example `2026-11-20T22:41:00Z`.
    pub fn iso8601_seconds(self) -> String {
        self.civil().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// The date of RFC 9110, for example `Fri, 20 Nov 2026 22:41:00 GMT`.
    pub fn http_date(self) -> String {
        self.civil().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// The calendar date and time of day in UTC.
    pub fn civil(self) -> jiff::civil::DateTime {
        jiff::Timestamp::from_millisecond(self.0)
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .to_zoned(jiff::tz::TimeZone::UTC)
            .datetime()
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(by.as_millis() as i64))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(by.as_millis() as i64))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso8601())
    }
}

/// The text is not an ISO 8601 or RFC 9110 time.
#[derive(Debug)]
pub struct NotATime;

impl FromStr for Timestamp {
    type Err = NotATime;

    /// Reads ISO 8601 (with Z, an offset, or neither: then UTC) and the date of RFC 9110.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(time.as_millisecond()));
        }
        if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
            let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| NotATime)?;
            return Ok(Self(zoned.timestamp().as_millisecond()));
        }
        let civil = jiff::civil::DateTime::strptime("%a, %d %b %Y %H:%M:%S GMT", text).map_err(|_| NotATime)?;
        let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| NotATime)?;
        Ok(Self(zoned.timestamp().as_millisecond()))
    }
}

/// The source of time. Cheap to clone; all clones agree.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What the clock showed at `start`.
    base: Timestamp,
    start: tokio::time::Instant,
    speed: f64,
}

impl Clock {
    /// A clock that starts at `base` and runs `speed` times as fast as the runtime it is made on (which may be paused).
    pub fn starting_at(base: Timestamp, speed: f64) -> Self {
        Self(Arc::new(Inner { base, start: tokio::time::Instant::now(), speed }))
    }

    /// A clock that starts at the machine's time.
    pub fn system(speed: f64) -> Self {
        #[allow(clippy::disallowed_methods)] // The one place where the machine's time enters.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self::starting_at(Timestamp(now.as_millis() as i64), speed)
    }

    /// The control plane's time.
    pub fn now(&self) -> Timestamp {
        self.0.base + self.0.start.elapsed().mul_f64(self.0.speed)
    }

    /// The time that clients on this machine go by, whatever the speed: for signatures.
    pub fn machine_now(&self) -> Timestamp {
        self.0.base + self.0.start.elapsed()
    }

    /// How many times as fast as the machine's time this clock runs.
    pub fn speed(&self) -> f64 {
        self.0.speed
    }

    /// Waits until `by` of control-plane time has passed.
    pub async fn sleep(&self, by: Duration) {
        #[allow(clippy::disallowed_methods)] // The one place where the runtime's timer is used.
        tokio::time::sleep(by.div_f64(self.0.speed)).await;
    }

    /// Waits until the clock shows `until`; returns at once when it already does.
    pub async fn sleep_until(&self, until: Timestamp) {
        self.sleep(until.since(self.now())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_back() {
        let time: Timestamp = "2026-11-20T22:41:05.120Z".parse().expect("valid");
        assert_eq!(time.iso8601(), "2026-11-20T22:41:05.120Z");
        assert_eq!(time.http_date(), "Fri, 20 Nov 2026 22:41:05 GMT");
        assert_eq!("2026-11-20T22:41:05.120".parse::<Timestamp>().expect("no zone is UTC"), time);
        assert_eq!(time.http_date().parse::<Timestamp>().expect("http date").0, time.0 - 120);
    }
}
