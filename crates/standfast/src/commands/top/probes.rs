//! What probes that are live tell the cloud, as anyone could read it.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value as Json, json};
use standfast_api::cloudwatch;
use standfast_core::Timestamp;
use standfast_gameday::World;
use standfast_gameday::probe::figures::{LIVE, Metric, NAMESPACE, PROBE};

use crate::api_client::ApiClient;
use crate::commands::{items, text};
use crate::world::RealWorld;

/// What is counted: the last hour of the cloud's time, by the minute.
const COUNTED: Duration = Duration::from_secs(3600);
const MINUTE_S: u64 = 60;
/// The most that a frame has room for.
pub const PROBES_MAX: usize = 3;

/// A probe that is live.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub name: String,
    /// By this machine's time.
    pub per_second: f64,
    /// In the last hour of the cloud.
    pub requests: u64,
    pub failed: u64,
}

/// Those that are live, by name.
pub async fn read(client: &ApiClient) -> Result<Vec<Probe>> {
    let input = json!({"Namespace": NAMESPACE, "MetricName": Metric::Requests.name(), "RecentlyActive": "PT3H"});
    let metrics = client.list(&cloudwatch::MODEL, "ListMetrics", input, "Metrics").await?;
    if metrics.is_empty() {
        return Ok(Vec::new());
    }
    let world = RealWorld::by_its_clock(client.clone()).await?;
    let (now, live) = (world.now(), LIVE.mul_f64(world.speed()));
    let mut out = Vec::new();
    for metric in metrics.iter().take(PROBES_MAX) {
        let dimensions = &metric["Dimensions"];
        let [recent, _] = sums(client, dimensions, (now - live, now), 1).await?;
        if recent.is_empty() {
            continue;
        }
        let [requests, failed] = sums(client, dimensions, (now - COUNTED, now), MINUTE_S).await?;
        let all = |sums: &[f64]| sums.iter().sum::<f64>() as u64;
        let is_name = |one: &&Json| text(one, "Name") == PROBE;
        let name = items(metric, "Dimensions").iter().find(is_name).map_or("", |one| text(one, "Value"));
        let per_second = rate(&recent, world.speed());
        out.push(Probe { name: name.to_owned(), per_second, requests: all(&requests), failed: all(&failed) });
    }
    out.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(out)
}

/// Requests in a second of this machine, from those of the cloud's seconds that have any. A probe tells each of its seconds
/// as one of the cloud's; where the cloud's are longer, as many of them as fit.
fn rate(sums: &[f64], speed: f64) -> f64 {
    sums.iter().sum::<f64>() / sums.len().max(1) as f64 * speed.min(1.0)
}

/// The sums of requests, and of failed ones, in the periods that have any.
async fn sums(
    client: &ApiClient,
    dimensions: &Json,
    (from, to): (Timestamp, Timestamp),
    period_s: u64,
) -> Result<[Vec<f64>; 2]> {
    let query = |id: &str, metric: Metric| {
        let metric = json!({"Namespace": NAMESPACE, "MetricName": metric.name(), "Dimensions": dimensions});
        json!({"Id": id, "MetricStat": {"Metric": metric, "Period": period_s, "Stat": "Sum"}})
    };
    let input = json!({
        "MetricDataQueries": [query("requests", Metric::Requests), query("failed", Metric::Failed)],
        "StartTime": from.iso8601(), "EndTime": to.iso8601(),
    });
    let answer = client.call(&cloudwatch::MODEL, "GetMetricData", input).await?;
    let of = |id: &str| {
        let results = items(&answer, "MetricDataResults").iter();
        let values = results.filter(|result| text(result, "Id") == id).flat_map(|result| items(result, "Values"));
        values.filter_map(Json::as_f64).collect()
    };
    Ok([of("requests"), of("failed")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_by_this_machines_time_at_any_speed() {
        assert_eq!(rate(&[100.0, 100.0], 1.0), 100.0);
        assert_eq!(rate(&[100.0, 100.0], 5.0), 100.0, "one of five seconds of the cloud has the probe's");
        assert_eq!(rate(&[200.0, 200.0], 0.5), 100.0);
        assert_eq!(rate(&[], 1.0), 0.0);
    }
}
