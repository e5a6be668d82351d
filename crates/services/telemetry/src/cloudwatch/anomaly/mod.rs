//! Anomaly detection: detectors, and the bands that they expect metrics in.
//!
//! Owns detectors: which times a model must not learn from. There is no trained state: a band follows from the points each
//! time it is asked for (`band`), so it is the same before and after a restart.

pub mod band;

use serde::{Deserialize, Serialize};
use standfast_api::cloudwatch as api;
use standfast_core::page::page;
use standfast_core::{Error, Result, Scope, Timestamp, names};
use standfast_kernel::Cx;
use standfast_store::{Record, Txn};

use super::errors::{combination, invalid, missing, too_many};
use super::points::{Detail, Key, Range};
use super::stat::Stat;

const EXCLUDED_MAX: usize = 10;
const PAGE: i32 = 100;
/// Between the fields of a detector's id, none of which may hold it.
const SEPARATOR: &str = "\u{1f}";

names! {
    /// What a detector watches.
    Of { Metric "SINGLE_METRIC", Math "METRIC_MATH" }
}

/// A detector. Its id follows from what it watches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    pub watches: Watches,
    /// In milliseconds since 1970.
    pub excluded: Vec<(Timestamp, Timestamp)>,
    pub timezone: Option<String>,
    pub periodic_spikes: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Watches {
    Metric(Single),
    /// The queries as JSON, as they were given.
    Math(Vec<super::alarms::Query>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Single {
    pub namespace: String,
    pub name: String,
    /// Sorted.
    pub dimensions: Vec<(String, String)>,
    pub stat: String,
}

impl Record for Detector {
    const TABLE: &'static str = "cloudwatch.anomaly_detectors";
}

impl Watches {
    fn id(&self) -> String {
        match self {
            Watches::Metric(single) => {
                let pairs = single.dimensions.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
                let fields = [single.namespace.as_str(), &single.name, &single.stat].into_iter().chain(pairs);
                fields.collect::<Vec<_>>().join(SEPARATOR)
            }
            Watches::Math(queries) => format!("{SEPARATOR}{queries:?}"),
        }
    }
}

/// The ways in which a request names what a detector watches.
struct Named {
    namespace: Option<String>,
    metric_name: Option<String>,
    dimensions: Option<Vec<api::Dimension>>,
    stat: Option<String>,
    single: Option<api::SingleMetricAnomalyDetector>,
    math: Option<api::MetricMathAnomalyDetector>,
}

impl Named {
    fn watches(self) -> Result<Watches> {
        let plain =
            self.namespace.is_some() || self.metric_name.is_some() || self.dimensions.is_some() || self.stat.is_some();
        if u8::from(plain) + u8::from(self.single.is_some()) + u8::from(self.math.is_some()) > 1 {
            return Err(combination(
                "A detector is named by SingleMetricAnomalyDetector, MetricMathAnomalyDetector, or Namespace, MetricName, \
                 Dimensions and Stat: by one of them only.",
            ));
        }
        if let Some(math) = self.math {
            let queries = math.metric_data_queries.unwrap_or_default();
            if queries.is_empty() {
                return Err(missing("MetricMathAnomalyDetector.MetricDataQueries"));
            }
            return super::alarms::queries(&queries, "MetricMathAnomalyDetector.MetricDataQueries").map(Watches::Math);
        }
        let one = self.single.unwrap_or(api::SingleMetricAnomalyDetector {
            account_id: None,
            namespace: self.namespace,
            metric_name: self.metric_name,
            dimensions: self.dimensions,
            stat: self.stat,
        });
        let stat = one.stat.ok_or_else(|| missing("Stat"))?;
        Stat::named(&stat).ok_or_else(|| invalid(&stat, "Stat"))?;
        Ok(Watches::Metric(Single {
            namespace: one.namespace.ok_or_else(|| missing("Namespace"))?,
            name: one.metric_name.ok_or_else(|| missing("MetricName"))?,
            dimensions: sorted(one.dimensions.as_deref()),
            stat,
        }))
    }
}

/// Dimensions in the order of their names.
pub fn sorted(dimensions: Option<&[api::Dimension]>) -> Vec<(String, String)> {
    let pair = |dimension: &api::Dimension| (dimension.name.clone(), dimension.value.clone());
    let mut all: Vec<_> = dimensions.unwrap_or_default().iter().map(pair).collect();
    all.sort();
    all
}

pub async fn put(cx: Cx, input: api::PutAnomalyDetectorInput) -> Result<api::PutAnomalyDetectorOutput> {
    let configuration = input.configuration.unwrap_or_default();
    let ranges = configuration.excluded_time_ranges.unwrap_or_default();
    if ranges.len() > EXCLUDED_MAX {
        return Err(too_many("Configuration.ExcludedTimeRanges", EXCLUDED_MAX));
    }
    if let Some((i, _)) = ranges.iter().enumerate().find(|(_, range)| range.start_time >= range.end_time) {
        let member = format!("Configuration.ExcludedTimeRanges.member.{}", i + 1);
        return Err(invalid("StartTime", format!("{member}: it must be before EndTime")));
    }
    let named = Named {
        namespace: input.namespace,
        metric_name: input.metric_name,
        dimensions: input.dimensions,
        stat: input.stat,
        single: input.single_metric_anomaly_detector,
        math: input.metric_math_anomaly_detector,
    };
    let detector = Detector {
        watches: named.watches()?,
        excluded: ranges.iter().map(|range| (range.start_time, range.end_time)).collect(),
        timezone: configuration.metric_timezone,
        periodic_spikes: input.metric_characteristics.and_then(|characteristics| characteristics.periodic_spikes),
    };
    cx.txn(|tx| {
        tx.put(cx.scope(), &detector.watches.id(), detector.clone());
        Ok(api::PutAnomalyDetectorOutput {})
    })
    .await
}

pub async fn delete(cx: Cx, input: api::DeleteAnomalyDetectorInput) -> Result<api::DeleteAnomalyDetectorOutput> {
    let named = Named {
        namespace: input.namespace,
        metric_name: input.metric_name,
        dimensions: input.dimensions,
        stat: input.stat,
        single: input.single_metric_anomaly_detector,
        math: input.metric_math_anomaly_detector,
    };
    let id = named.watches()?.id();
    cx.txn(|tx| {
        tx.get::<Detector>(cx.scope(), &id).ok_or_else(|| {
            Error::client("ResourceNotFoundException", "There is no such anomaly detector.").with_status(404)
        })?;
        tx.delete::<Detector>(cx.scope(), &id);
        Ok(api::DeleteAnomalyDetectorOutput {})
    })
    .await
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeAnomalyDetectorsInput,
) -> Result<api::DescribeAnomalyDetectorsOutput> {
    let limit = input.max_results.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(invalid(limit, "MaxResults"));
    }
    let wanted = match input.anomaly_detector_types.as_deref() {
        None | Some([]) => vec![Of::Metric],
        Some(names) => (names.iter().enumerate())
            .map(|(i, name)| {
                Of::named(name).ok_or_else(|| invalid(name, format_args!("AnomalyDetectorTypes.member.{}", i + 1)))
            })
            .collect::<Result<_>>()?,
    };
    let dimensions = input.dimensions.as_deref().map(|given| sorted(Some(given)));
    let fits = |detector: &Detector| match &detector.watches {
        Watches::Math(_) => wanted.contains(&Of::Math),
        Watches::Metric(single) => {
            wanted.contains(&Of::Metric)
                && input.namespace.as_ref().is_none_or(|namespace| *namespace == single.namespace)
                && input.metric_name.as_ref().is_none_or(|name| *name == single.name)
                && dimensions.as_ref().is_none_or(|dimensions| *dimensions == single.dimensions)
        }
    };
    let found = cx.view(|view| view.list::<Detector>(cx.scope()));
    let found = found.into_iter().filter(|(_, detector)| fits(detector));
    let page = page(found, |(id, _)| id.to_string(), input.next_token.as_deref(), limit as usize, "InvalidNextToken")?;
    let detectors = page.items.iter().map(|(_, detector)| shape(&cx, detector)).collect::<Result<_>>()?;
    Ok(api::DescribeAnomalyDetectorsOutput { anomaly_detectors: Some(detectors), next_token: page.next })
}

fn shape(cx: &Cx, detector: &Detector) -> Result<api::AnomalyDetector> {
    let range = |(start, end): &(Timestamp, Timestamp)| api::Range { start_time: *start, end_time: *end };
    let mut shape = api::AnomalyDetector {
        configuration: Some(api::AnomalyDetectorConfiguration {
            excluded_time_ranges: Some(detector.excluded.iter().map(range).collect()),
            metric_timezone: detector.timezone.clone(),
        }),
        metric_characteristics: detector
            .periodic_spikes
            .map(|spikes| api::MetricCharacteristics { periodic_spikes: Some(spikes) }),
        ..Default::default()
    };
    match &detector.watches {
        Watches::Metric(single) => {
            let dimension =
                |(name, value): &(String, String)| api::Dimension { name: name.clone(), value: value.clone() };
            let dimensions: Vec<_> = single.dimensions.iter().map(dimension).collect();
            shape.state_value = Some(state(cx, single)?.to_owned());
            (shape.namespace, shape.metric_name) = (Some(single.namespace.clone()), Some(single.name.clone()));
            (shape.dimensions, shape.stat) = (Some(dimensions.clone()), Some(single.stat.clone()));
            shape.single_metric_anomaly_detector = Some(api::SingleMetricAnomalyDetector {
                account_id: None,
                namespace: shape.namespace.clone(),
                metric_name: shape.metric_name.clone(),
                dimensions: Some(dimensions),
                stat: shape.stat.clone(),
            });
        }
        Watches::Math(queries) => {
            shape.state_value = Some("TRAINED".to_owned());
            let queries = queries.iter().map(super::alarms::query_shape).collect();
            shape.metric_math_anomaly_detector =
                Some(api::MetricMathAnomalyDetector { metric_data_queries: Some(queries) });
        }
    }
    Ok(shape)
}

/// Whether there are enough points for a model now.
fn state(cx: &Cx, single: &Single) -> Result<&'static str> {
    let now = cx.now();
    let end = now.0.div_euclid(1000);
    let range = Range { start: end - band::TRAINING_S, end, period: 60 };
    let dimensions = single.dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let key = Key::new(cx.scope(), &single.namespace, &single.name, dimensions);
    let found = super::points(cx)?.data.read_merged(&key, range, None, Detail::Sums, now);
    Ok(if found.len() as f64 >= band::VALUES_MIN { "TRAINED" } else { "TRAINED_INSUFFICIENT_DATA" })
}

/// The times that a model of a metric must not learn from, in seconds.
pub fn excluded(cx: &Cx, single: Single) -> Vec<(i64, i64)> {
    let id = Watches::Metric(single).id();
    let detector = cx.view(|view| view.get::<Detector>(cx.scope(), &id));
    let seconds = |at: Timestamp| at.0.div_euclid(1000);
    detector.iter().flat_map(|detector| &detector.excluded).map(|(from, to)| (seconds(*from), seconds(*to))).collect()
}

/// Makes a detector where there is none: an alarm on a band has one.
pub fn ensure(tx: &mut Txn, scope: &Scope, single: Single) {
    let watches = Watches::Metric(single);
    let id = watches.id();
    if tx.get::<Detector>(scope, &id).is_none() {
        tx.put(scope, &id, Detector { watches, excluded: Vec::new(), timezone: None, periodic_spikes: None });
    }
}
