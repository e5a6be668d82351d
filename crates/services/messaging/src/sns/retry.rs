//! When a delivery that failed is tried again: delivery policies.
//!
//! Four phases follow each other: at once, at the least delay, at delays that grow from the least to the most, at the
//! most delay.

use std::time::Duration;

use serde_json::{Value, json};

/// Bounds of a policy.
const RETRIES_MAX: u32 = 100;
const DELAY_MAX_S: u32 = 3600;
const TOTAL_MAX_S: u64 = 3600;
const PER_SECOND_MIN: u32 = 1;

standfast_core::names! {
    /// How delays grow.
    Backoff {
        Linear "linear",
        Arithmetic "arithmetic",
        Geometric "geometric",
        Exponential "exponential",
    }
}

/// A schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    pub delay_min_s: u32,
    pub delay_max_s: u32,
    pub retries: u32,
    pub immediate: u32,
    pub at_min: u32,
    pub at_max: u32,
    pub backoff: Backoff,
}

/// That of HTTP and HTTPS without a policy.
pub const HTTP: Retry = Retry {
    delay_min_s: 20,
    delay_max_s: 20,
    retries: 3,
    immediate: 0,
    at_min: 0,
    at_max: 0,
    backoff: Backoff::Linear,
};

/// That of e-mail: 50 times in 6 hours.
pub const MAIL: Retry = Retry {
    delay_min_s: 10,
    delay_max_s: 600,
    retries: 50,
    immediate: 0,
    at_min: 2,
    at_max: 38,
    backoff: Backoff::Exponential,
};

impl Retry {
    /// How long after the failure of an attempt (0 is the first one) the next comes; none when it was the last.
    pub fn wait(&self, attempt: u32) -> Option<Duration> {
        if attempt >= self.retries {
            return None;
        }
        let seconds = |seconds: u32| Some(Duration::from_secs(seconds.into()));
        let growing = self.retries.saturating_sub(self.immediate + self.at_min + self.at_max);
        let Some(after_immediate) = attempt.checked_sub(self.immediate) else { return seconds(0) };
        let Some(step) = after_immediate.checked_sub(self.at_min) else { return seconds(self.delay_min_s) };
        if step >= growing {
            return seconds(self.delay_max_s);
        }
        let (min, max) = (f64::from(self.delay_min_s), f64::from(self.delay_max_s));
        // From 0 at the first of the growing delays to 1 at the last.
        let way = if growing > 1 { f64::from(step) / f64::from(growing - 1) } else { 0.0 };
        // AWS-DIFF: the service publishes the shapes of its curves and not their formulas; these have the same ends.
        let delay = match self.backoff {
            Backoff::Linear => min + (max - min) * way,
            Backoff::Arithmetic => min + (max - min) * way * (f64::from(step) + 1.0) / f64::from(growing),
            Backoff::Geometric => min * (max / min).powf(way),
            Backoff::Exponential => min + (max - min) * (2f64.powf(10.0 * way) - 1.0) / 1023.0,
        };
        Some(Duration::from_secs_f64(delay))
    }
}

/// A delivery policy: of a topic for all its endpoints of HTTP, or of one subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub retry: Retry,
    /// A topic's only: subscriptions' own do not count.
    pub disables_own: bool,
    pub per_second: Option<u32>,
    pub content_type: Option<String>,
}

pub const DEFAULT_CONTENT_TYPE: &str = "text/plain; charset=UTF-8";

impl Default for Policy {
    fn default() -> Self {
        Self { retry: HTTP, disables_own: false, per_second: None, content_type: None }
    }
}

impl Policy {
    /// Reads a topic's: `{"http": {"defaultHealthyRetryPolicy": ..}}`.
    pub fn of_topic(text: &str) -> Result<Self, String> {
        let policy = object(text)?;
        let http = &policy["http"];
        Ok(Self {
            retry: retry(&http["defaultHealthyRetryPolicy"], "http.defaultHealthyRetryPolicy")?,
            disables_own: http["disableSubscriptionOverrides"].as_bool().unwrap_or(false),
            per_second: throttle(&http["defaultThrottlePolicy"])?,
            content_type: content_type(&http["defaultRequestPolicy"]),
        })
    }

    /// Reads a subscription's: `{"healthyRetryPolicy": ..}`.
    pub fn of_subscription(text: &str) -> Result<Self, String> {
        let policy = object(text)?;
        Ok(Self {
            retry: retry(&policy["healthyRetryPolicy"], "healthyRetryPolicy")?,
            disables_own: false,
            per_second: throttle(&policy["throttlePolicy"])?,
            content_type: content_type(&policy["requestPolicy"]),
        })
    }

    /// The policy that counts for a subscription, from those that were accepted before.
    pub fn effective(topic: Option<&String>, own: Option<&String>) -> Self {
        let topic = topic.and_then(|text| Self::of_topic(text).ok());
        let own = own.filter(|_| topic.as_ref().is_none_or(|topic| !topic.disables_own));
        own.and_then(|text| Self::of_subscription(text).ok()).or(topic).unwrap_or_default()
    }

    /// As `EffectiveDeliveryPolicy` of a topic shows it.
    pub fn topic_json(&self) -> String {
        json!({ "http": {
            "defaultHealthyRetryPolicy": self.retry_json(),
            "disableSubscriptionOverrides": self.disables_own,
            "defaultRequestPolicy": { "headerContentType": self.content_type.as_deref().unwrap_or(DEFAULT_CONTENT_TYPE) },
        } })
        .to_string()
    }

    /// As `EffectiveDeliveryPolicy` of a subscription shows it.
    pub fn subscription_json(&self) -> String {
        json!({
            "healthyRetryPolicy": self.retry_json(),
            "sicklyRetryPolicy": null,
            "throttlePolicy": self.per_second.map(|per_second| json!({ "maxReceivesPerSecond": per_second })),
            "requestPolicy": { "headerContentType": self.content_type.as_deref().unwrap_or(DEFAULT_CONTENT_TYPE) },
            "guaranteed": false,
        })
        .to_string()
    }

    fn retry_json(&self) -> Value {
        json!({
            "minDelayTarget": self.retry.delay_min_s,
            "maxDelayTarget": self.retry.delay_max_s,
            "numRetries": self.retry.retries,
            "numMaxDelayRetries": self.retry.at_max,
            "numNoDelayRetries": self.retry.immediate,
            "numMinDelayRetries": self.retry.at_min,
            "backoffFunction": self.retry.backoff.name(),
        })
    }
}

fn object(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("Invalid delivery policy JSON: {error}"))?;
    if value.is_object() { Ok(value) } else { Err("Invalid delivery policy: it is not a JSON object".into()) }
}

fn throttle(policy: &Value) -> Result<Option<u32>, String> {
    match &policy["maxReceivesPerSecond"] {
        Value::Null => Ok(None),
        value => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|n| *n >= PER_SECOND_MIN);
            number.map(Some).ok_or_else(|| format!("maxReceivesPerSecond must be 1 or more: {value}"))
        }
    }
}

fn content_type(policy: &Value) -> Option<String> {
    policy["headerContentType"].as_str().map(str::to_owned)
}

fn retry(policy: &Value, name: &str) -> Result<Retry, String> {
    if policy.is_null() {
        return Ok(HTTP);
    }
    let number = |field: &str, default: u32, min: u32, max: u32| match &policy[field] {
        Value::Null => Ok(default),
        value => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(|| format!("{name}.{field} must be from {min} to {max}: {value}"))
        }
    };
    let backoff = match &policy["backoffFunction"] {
        Value::Null => Backoff::Linear,
        value => value.as_str().and_then(Backoff::named).ok_or_else(|| {
            format!("{name}.backoffFunction must be one of linear, arithmetic, geometric, exponential: {value}")
        })?,
    };
    let retry = Retry {
        delay_min_s: number("minDelayTarget", HTTP.delay_min_s, 1, DELAY_MAX_S)?,
        delay_max_s: number("maxDelayTarget", HTTP.delay_max_s, 1, DELAY_MAX_S)?,
        retries: number("numRetries", HTTP.retries, 0, RETRIES_MAX)?,
        immediate: number("numNoDelayRetries", 0, 0, RETRIES_MAX)?,
        at_min: number("numMinDelayRetries", 0, 0, RETRIES_MAX)?,
        at_max: number("numMaxDelayRetries", 0, 0, RETRIES_MAX)?,
        backoff,
    };
    if retry.delay_min_s > retry.delay_max_s {
        return Err(format!("{name}.maxDelayTarget must be greater than or equal to minDelayTarget"));
    }
    if retry.immediate + retry.at_min + retry.at_max > retry.retries {
        return Err(format!(
            "{name}.numRetries must be at least the sum of those without delay, with the least and the most"
        ));
    }
    let total: u64 = (0..retry.retries).filter_map(|attempt| retry.wait(attempt)).map(|wait| wait.as_secs()).sum();
    if total > TOTAL_MAX_S {
        return Err(format!("{name} takes {total} seconds in all; it may take {TOTAL_MAX_S} at most"));
    }
    Ok(retry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(retry: &Retry) -> Vec<u64> {
        (0..).map_while(|attempt| retry.wait(attempt)).map(|wait| wait.as_secs()).collect()
    }

    #[test]
    fn phases_follow_each_other() {
        assert_eq!(waits(&HTTP), [20, 20, 20]);
        let all = Retry {
            delay_min_s: 5,
            delay_max_s: 60,
            retries: 9,
            immediate: 2,
            at_min: 2,
            at_max: 1,
            backoff: Backoff::Linear,
        };
        assert_eq!(waits(&all), [0, 0, 5, 5, 5, 23, 41, 60, 60]);
        for backoff in Backoff::ALL {
            let waits = waits(&Retry { backoff: *backoff, ..all });
            assert!(waits.is_sorted(), "{backoff:?} {waits:?}");
            assert_eq!((waits[4], waits[7]), (5, 60), "{backoff:?}");
        }
        let mail = waits(&MAIL);
        assert_eq!((mail.len(), mail[0], mail[1], mail[2], mail[12], mail[49]), (50, 10, 10, 10, 600, 600));
    }

    #[test]
    fn policies_are_checked() {
        let policy = |retry: Value| Policy::of_subscription(&json!({ "healthyRetryPolicy": retry }).to_string());
        let read = policy(json!({"minDelayTarget": 1, "maxDelayTarget": 2, "numRetries": 7, "numNoDelayRetries": 3}));
        assert_eq!(read.expect("valid").retry.immediate, 3);
        for bad in [
            json!({"numRetries": 101}),
            json!({"minDelayTarget": 0}),
            json!({"minDelayTarget": 30}),
            json!({"numRetries": 2, "numMinDelayRetries": 3}),
            json!({"backoffFunction": "cubic"}),
            json!({"minDelayTarget": 3600, "maxDelayTarget": 3600, "numRetries": 2}),
            json!({"numRetries": "3"}),
        ] {
            assert!(policy(bad.clone()).is_err(), "{bad}");
        }
        let topic =
            json!({"http": {"defaultHealthyRetryPolicy": {"numRetries": 1}, "disableSubscriptionOverrides": true}});
        let (topic, own) = (topic.to_string(), json!({"healthyRetryPolicy": {"numRetries": 9}}).to_string());
        assert_eq!(Policy::effective(Some(&topic), Some(&own)).retry.retries, 1);
        assert_eq!(Policy::effective(None, Some(&own)).retry.retries, 9);
    }
}
