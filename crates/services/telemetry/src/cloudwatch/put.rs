//! PutMetricData: everything is checked before anything is kept.
//!
//! This is the hottest operation of a cloud that measures itself: no transaction, no allocation per datum beyond what
//! its values need, and one wait for the disk for the whole request.

use standfast_api::cloudwatch::{Dimension, MetricDatum, PutMetricDataInput, PutMetricDataOutput, StatisticSet};
use standfast_core::metric::VALUES_MAX;
use standfast_core::{Result, Timestamp};
use standfast_kernel::{Cx, Principal};

use super::errors::{combination, invalid, missing, too_many, wrong};
use super::points::{Bucket, Key, Sample, Unit};

/// How many data a request may hold.
const DATA_MAX: usize = 1000;
/// How many dimensions a metric may have.
pub const DIMENSIONS_MAX: usize = 30;
/// The largest magnitude of a value: 2^360.
const VALUE_MAX: f64 = f64::from_bits((1023 + 360) << 52);
/// How far back and ahead a point's time may be.
const PAST_MAX_MS: i64 = 14 * 24 * 3600 * 1000;
const FUTURE_MAX_MS: i64 = 2 * 3600 * 1000;
/// What AWS's own services publish under.
const RESERVED: &str = "AWS/";

pub async fn put(cx: Cx, input: PutMetricDataInput) -> Result<PutMetricDataOutput> {
    check_namespace(&input.namespace, cx.principal())?;
    let mut data: Vec<(MetricDatum, Path)> = Vec::new();
    let plain = input.metric_data.unwrap_or_default();
    data.extend(plain.into_iter().enumerate().map(|(i, datum)| (datum, Path { entity: None, datum: i + 1 })));
    // AWS-DIFF: which entity a metric belongs to is not kept; nothing in this API gives it back.
    for (e, entity) in input.entity_metric_data.unwrap_or_default().into_iter().enumerate() {
        let inner = entity.metric_data.unwrap_or_default().into_iter().enumerate();
        data.extend(inner.map(|(i, datum)| (datum, Path { entity: Some(e + 1), datum: i + 1 })));
    }
    if data.is_empty() {
        return Err(missing("MetricData"));
    }
    if data.len() > DATA_MAX {
        return Err(too_many("MetricData", DATA_MAX));
    }
    let points = super::points(&cx)?;
    points.log.ready()?;
    let now = cx.now();
    let samples = data.iter().map(|(datum, path)| sample(datum, *path, now)).collect::<Result<Vec<_>>>()?;
    let mut key = Key::default();
    for ((datum, _), sample) in data.iter().zip(&samples) {
        let named = datum.dimensions.as_deref().unwrap_or_default();
        let mut dimensions: Vec<_> = named.iter().map(|d| (d.name.as_str(), d.value.as_str())).collect();
        key.set(cx.scope(), &input.namespace, &datum.metric_name, &mut dimensions);
        points.data.put(&points.log, &key, sample, now)?;
    }
    points.log.synced().await?;
    Ok(PutMetricDataOutput::default())
}

/// Where a datum is in the request, for messages.
#[derive(Clone, Copy)]
struct Path {
    entity: Option<usize>,
    datum: usize,
}

impl Path {
    #[cold]
    fn member(self, name: impl std::fmt::Display) -> String {
        match self.entity {
            None => format!("MetricData.member.{}.{name}", self.datum),
            Some(entity) => format!("EntityMetricData.member.{entity}.MetricData.member.{}.{name}", self.datum),
        }
    }
}

fn check_namespace(namespace: &str, principal: &Principal) -> Result<()> {
    let reserved = namespace.starts_with(RESERVED) && !matches!(principal, Principal::Service(_));
    if reserved || namespace.starts_with(':') || !is_plain(namespace) {
        let value = if reserved { RESERVED } else { namespace };
        return Err(invalid(value, "Namespace"));
    }
    Ok(())
}

/// ASCII without control characters, and not all blank.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| (b' '..=b'~').contains(&b)) && text.bytes().any(|b| b != b' ')
}

fn sample(datum: &MetricDatum, path: Path, now: Timestamp) -> Result<Sample> {
    if !is_plain(&datum.metric_name) {
        return Err(invalid(&datum.metric_name, path.member("MetricName")));
    }
    check_dimensions(datum.dimensions.as_deref().unwrap_or_default(), path)?;
    let fine = match datum.storage_resolution {
        None | Some(60) => false,
        Some(1) => true,
        Some(other) => return Err(invalid(other, path.member("StorageResolution"))),
    };
    let unit = match datum.unit.as_deref() {
        None => Unit::NONE,
        Some(name) => Unit::named(name).ok_or_else(|| invalid(name, path.member("Unit")))?,
    };
    let at = datum.timestamp.unwrap_or(now);
    if at.0 < now.0 - PAST_MAX_MS {
        let member = path.member("Timestamp");
        return Err(wrong(format!("The parameter {member} must specify a time within the past two weeks.")));
    }
    if at.0 > now.0 + FUTURE_MAX_MS {
        let member = path.member("Timestamp");
        return Err(wrong(format!("The parameter {member} must specify a time no more than two hours in the future.")));
    }
    Ok(Sample { at, unit, fine, values: values(datum, path)? })
}

fn check_dimensions(dimensions: &[Dimension], path: Path) -> Result<()> {
    if dimensions.len() > DIMENSIONS_MAX {
        return Err(too_many(path.member("Dimensions"), DIMENSIONS_MAX));
    }
    for (i, dimension) in dimensions.iter().enumerate() {
        if !is_plain(&dimension.name) || dimension.name.starts_with(':') {
            return Err(invalid(&dimension.name, path.member(format_args!("Dimensions.member.{}.Name", i + 1))));
        }
        if !is_plain(&dimension.value) {
            return Err(invalid(&dimension.value, path.member(format_args!("Dimensions.member.{}.Value", i + 1))));
        }
        if dimensions[..i].iter().any(|other| other.name == dimension.name) {
            let member = path.member("Dimensions");
            return Err(wrong(format!("The collection {member} has the dimension {} more than once.", dimension.name)));
        }
    }
    Ok(())
}

/// What a datum measured, in whichever of the three ways it says so.
fn values(datum: &MetricDatum, path: Path) -> Result<Bucket> {
    let exclusive = |one: &str, other: &str| {
        let (one, other) = (path.member(one), path.member(other));
        combination(format!("The parameters {one} and {other} are mutually exclusive and you have specified both."))
    };
    let list = datum.values.as_deref().filter(|values| !values.is_empty());
    match (datum.value, list, &datum.statistic_values) {
        (Some(_), Some(_), _) => Err(exclusive("Value", "Values")),
        (Some(_), _, Some(_)) => Err(exclusive("Value", "StatisticValues")),
        (_, Some(_), Some(_)) => Err(exclusive("Values", "StatisticValues")),
        (Some(value), None, None) => {
            check_value(value, || path.member("Value"))?;
            Ok(Bucket::values(value, 1.0))
        }
        (None, Some(values), None) => counted(values, datum.counts.as_deref(), path),
        (None, None, Some(set)) => statistic_set(set, path),
        (None, None, None) => Err(missing(path.member("Value"))),
    }
}

fn check_value(value: f64, parameter: impl Fn() -> String) -> Result<()> {
    if value.is_finite() && value.abs() <= VALUE_MAX { Ok(()) } else { Err(invalid(value, parameter())) }
}

fn counted(values: &[f64], counts: Option<&[f64]>, path: Path) -> Result<Bucket> {
    if values.len() > VALUES_MAX {
        return Err(too_many(path.member("Values"), VALUES_MAX));
    }
    if counts.is_some_and(|counts| counts.len() != values.len()) {
        let (values, counts) = (path.member("Values"), path.member("Counts"));
        return Err(wrong(format!("The parameters {values} and {counts} must be of the same size.")));
    }
    let mut sum: Option<Bucket> = None;
    for (i, value) in values.iter().enumerate() {
        check_value(*value, || path.member(format_args!("Values.member.{}", i + 1)))?;
        let count = counts.map_or(1.0, |counts| counts[i]);
        if !(count > 0.0 && count <= VALUE_MAX) {
            return Err(invalid(count, path.member(format_args!("Counts.member.{}", i + 1))));
        }
        let bucket = Bucket::values(*value, count);
        match &mut sum {
            None => sum = Some(bucket),
            Some(sum) => sum.merge(&bucket),
        }
    }
    sum.ok_or_else(|| missing(path.member("Values")))
}

fn statistic_set(set: &StatisticSet, path: Path) -> Result<Bucket> {
    let fields =
        [("SampleCount", set.sample_count), ("Sum", set.sum), ("Minimum", set.minimum), ("Maximum", set.maximum)];
    for (name, value) in fields {
        check_value(value, || path.member(format_args!("StatisticValues.{name}")))?;
    }
    if set.sample_count <= 0.0 {
        return Err(invalid(set.sample_count, path.member("StatisticValues.SampleCount")));
    }
    if set.minimum > set.maximum {
        let (min, max) = (path.member("StatisticValues.Minimum"), path.member("StatisticValues.Maximum"));
        return Err(wrong(format!("The parameter {min} must be less than or equal to the parameter {max}.")));
    }
    Ok(Bucket::set(set.sample_count, set.sum, set.minimum, set.maximum))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_767_225_600_000);
    const AT: Path = Path { entity: None, datum: 2 };

    fn datum() -> MetricDatum {
        MetricDatum { metric_name: "m".into(), value: Some(1.0), ..Default::default() }
    }

    fn refusal(change: impl Fn(&mut MetricDatum)) -> (String, String) {
        let mut datum = datum();
        change(&mut datum);
        let error = sample(&datum, AT, NOW).expect_err("must be refused");
        (error.code.into_owned(), error.message)
    }

    fn dimension(name: &str, value: &str) -> Dimension {
        Dimension { name: name.into(), value: value.into() }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let set = |count, min, max| StatisticSet { sample_count: count, sum: 1.0, minimum: min, maximum: max };
        let cases: Vec<(Box<dyn Fn(&mut MetricDatum)>, &str, &str)> = vec![
            (Box::new(|d| d.value = None), "MissingParameter", "The parameter MetricData.member.2.Value is required."),
            (
                Box::new(|d| d.value = Some(f64::NAN)),
                "InvalidParameterValue",
                "The value NaN for parameter MetricData.member.2.Value is invalid.",
            ),
            (
                Box::new(|d| d.value = Some(f64::INFINITY)),
                "InvalidParameterValue",
                "The value inf for parameter MetricData.member.2.Value is invalid.",
            ),
            (
                Box::new(|d| d.values = Some(vec![1.0])),
                "InvalidParameterCombination",
                "The parameters MetricData.member.2.Value and MetricData.member.2.Values are mutually exclusive and you \
                 have specified both.",
            ),
            (
                Box::new(|d| (d.value, d.values, d.counts) = (None, Some(vec![1.0]), Some(vec![1.0, 2.0]))),
                "InvalidParameterValue",
                "The parameters MetricData.member.2.Values and MetricData.member.2.Counts must be of the same size.",
            ),
            (
                Box::new(|d| (d.value, d.values) = (None, Some(vec![1.0; 151]))),
                "InvalidParameterValue",
                "The collection MetricData.member.2.Values must not have a size greater than 150.",
            ),
            (
                Box::new(|d| (d.value, d.values, d.counts) = (None, Some(vec![1.0]), Some(vec![-1.0]))),
                "InvalidParameterValue",
                "The value -1 for parameter MetricData.member.2.Counts.member.1 is invalid.",
            ),
            (
                Box::new(move |d| (d.value, d.statistic_values) = (None, Some(set(1.0, 2.0, 1.0)))),
                "InvalidParameterValue",
                "The parameter MetricData.member.2.StatisticValues.Minimum must be less than or equal to the parameter \
                 MetricData.member.2.StatisticValues.Maximum.",
            ),
            (
                Box::new(move |d| (d.value, d.statistic_values) = (None, Some(set(0.0, 1.0, 1.0)))),
                "InvalidParameterValue",
                "The value 0 for parameter MetricData.member.2.StatisticValues.SampleCount is invalid.",
            ),
            (
                Box::new(|d| d.timestamp = Some(Timestamp(NOW.0 - PAST_MAX_MS - 1))),
                "InvalidParameterValue",
                "The parameter MetricData.member.2.Timestamp must specify a time within the past two weeks.",
            ),
            (
                Box::new(|d| d.timestamp = Some(Timestamp(NOW.0 + FUTURE_MAX_MS + 1))),
                "InvalidParameterValue",
                "The parameter MetricData.member.2.Timestamp must specify a time no more than two hours in the future.",
            ),
            (
                Box::new(|d| d.storage_resolution = Some(5)),
                "InvalidParameterValue",
                "The value 5 for parameter MetricData.member.2.StorageResolution is invalid.",
            ),
            (
                Box::new(|d| d.dimensions = Some((0..31).map(|i| dimension(&format!("d{i}"), "v")).collect())),
                "InvalidParameterValue",
                "The collection MetricData.member.2.Dimensions must not have a size greater than 30.",
            ),
            (
                Box::new(|d| d.dimensions = Some(vec![dimension("a", "1"), dimension("a", "2")])),
                "InvalidParameterValue",
                "The collection MetricData.member.2.Dimensions has the dimension a more than once.",
            ),
            (
                Box::new(|d| d.dimensions = Some(vec![dimension("a", "\0")])),
                "InvalidParameterValue",
                "The value \0 for parameter MetricData.member.2.Dimensions.member.1.Value is invalid.",
            ),
        ];
        for (change, code, message) in cases {
            assert_eq!(refusal(change), (code.to_owned(), message.to_owned()));
        }
    }

    #[test]
    fn what_is_at_the_edge_is_taken() {
        let changes: [fn(&mut MetricDatum); 6] = [
            |d| d.value = Some(VALUE_MAX),
            |d| d.timestamp = Some(Timestamp(NOW.0 - PAST_MAX_MS)),
            |d| d.timestamp = Some(Timestamp(NOW.0 + FUTURE_MAX_MS)),
            |d| (d.value, d.values) = (None, Some(vec![1.0; 150])),
            |d| d.dimensions = Some((0..30).map(|i| Dimension { name: format!("d{i}"), value: "v".into() }).collect()),
            |d| d.storage_resolution = Some(1),
        ];
        for change in changes {
            let mut datum = datum();
            change(&mut datum);
            assert!(sample(&datum, AT, NOW).is_ok(), "{datum:?}");
        }
        assert_eq!(VALUE_MAX, 2f64.powi(360));
    }

    #[test]
    fn reserved_namespaces_are_for_services() {
        assert!(check_namespace("AWS/EC2", &Principal::Service("ec2")).is_ok());
        let error = check_namespace("AWS/EC2", &Principal::Root).expect_err("reserved");
        assert_eq!(error.message, "The value AWS/ for parameter Namespace is invalid.");
        assert!(check_namespace("MyApp/AWS/", &Principal::Root).is_ok());
        for bad in [":x", " ", "a\0b", "é"] {
            assert!(check_namespace(bad, &Principal::Root).is_err_and(|e| e.is("InvalidParameterValue")), "{bad:?}");
        }
    }
}
