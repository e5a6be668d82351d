//! What topics did, for CloudWatch: counted in the transactions that did it, and told once a minute.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_api::cloudwatch::{Dimension, MetricDatum, PutMetricData, PutMetricDataInput, StatisticSet};
use standfast_core::{Result, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};
use standfast_store::{Record, Txn};

const NAMESPACE: &str = "AWS/SNS";
const MINUTE_MS: i64 = 60_000;
/// What one call of PutMetricData takes.
const DATA_MAX: usize = 500;

/// A topic's doings in a minute; the id is the topic's name and the minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    topic: String,
    minute: Timestamp,
    published: u64,
    bytes: u64,
    bytes_min: u64,
    bytes_max: u64,
    pub delivered: u64,
    pub failed: u64,
    pub filtered_out: u64,
}

impl Record for Counts {
    const TABLE: &'static str = "sns.counts";
}

impl Counts {
    pub fn published(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.bytes_min = if self.published == 0 { bytes } else { self.bytes_min.min(bytes) };
        self.bytes_max = self.bytes_max.max(bytes);
        self.bytes += bytes;
        self.published += 1;
    }

    fn data(&self) -> Vec<MetricDatum> {
        let datum = |name: &str, unit: &str| MetricDatum {
            metric_name: name.to_owned(),
            dimensions: Some(vec![Dimension { name: "TopicName".into(), value: self.topic.clone() }]),
            timestamp: Some(self.minute),
            unit: Some(unit.to_owned()),
            ..Default::default()
        };
        let counts = [
            ("NumberOfMessagesPublished", self.published),
            ("NumberOfNotificationsDelivered", self.delivered),
            ("NumberOfNotificationsFailed", self.failed),
            ("NumberOfNotificationsFilteredOut", self.filtered_out),
        ];
        let counted = counts.iter().filter(|(_, count)| *count > 0);
        let mut all: Vec<_> =
            counted.map(|(name, count)| MetricDatum { value: Some(*count as f64), ..datum(name, "Count") }).collect();
        if self.published > 0 {
            let sizes = StatisticSet {
                sample_count: self.published as f64,
                sum: self.bytes as f64,
                minimum: self.bytes_min as f64,
                maximum: self.bytes_max as f64,
            };
            all.push(MetricDatum { statistic_values: Some(sizes), ..datum("PublishSize", "Bytes") });
        }
        all
    }
}

/// Counts something that a topic did.
pub fn add(tx: &mut Txn, scope: &Scope, topic: &str, at: Timestamp, change: impl Fn(&mut Counts)) {
    let minute = Timestamp(at.0.div_euclid(MINUTE_MS) * MINUTE_MS);
    let id = format!("{topic}:{:016x}", minute.0);
    let mut counts = match tx.get::<Counts>(scope, &id) {
        Some(counts) => (*counts).clone(),
        None => Counts { topic: topic.to_owned(), minute, ..Counts::default() },
    };
    change(&mut counts);
    tx.put(scope, &id, counts);
}

/// Tells CloudWatch of the minutes that are over. The controller on `Counts`.
pub async fn tell(cx: Cx) -> Result<Wake> {
    let now = cx.now();
    let mut wake = Wake::OnChange;
    let mut due: Vec<(Scope, Vec<(std::sync::Arc<str>, std::sync::Arc<Counts>)>)> = Vec::new();
    for (scope, id, counts) in cx.view(|view| view.all::<Counts>()) {
        let end = counts.minute + Duration::from_millis(MINUTE_MS as u64);
        if end > now {
            wake = wake.or(Wake::At(end));
            continue;
        }
        match due.last_mut() {
            Some((last, all)) if *last == scope => all.push((id, counts)),
            _ => due.push((scope, vec![(id, counts)])),
        }
    }
    for (scope, all) in due {
        let data: Vec<MetricDatum> = all.iter().flat_map(|(_, counts)| counts.data()).collect();
        for chunk in data.chunks(DATA_MAX) {
            let metric_data = Some(chunk.to_vec());
            let input = PutMetricDataInput { namespace: NAMESPACE.into(), metric_data, ..Default::default() };
            cx.at(&scope).call(PutMetricData, input).await?;
        }
        cx.txn(|tx| {
            all.iter().for_each(|(id, _)| tx.delete::<Counts>(&scope, id));
            Ok(())
        })
        .await?;
    }
    Ok(wake)
}
