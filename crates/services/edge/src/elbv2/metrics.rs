//! Takes what the data plane measured to CloudWatch, each minute, as long as there are load balancers.

use std::collections::BTreeMap;
use std::sync::Arc;

use standfast_api::cloudwatch as api;
use standfast_core::metric::{Datum, minute_measured, next_minute};
use standfast_core::{Result, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};

use super::model::LoadBalancer;

/// How many data one PutMetricData takes.
const DATA_PER_CALL_MAX: usize = 1000;
/// The dimension that says whose a datum is.
const OWNER: &str = "LoadBalancer";

pub async fn run(cx: Cx) -> Result<Wake> {
    let balancers = cx.view(|view| view.all::<LoadBalancer>());
    let now = cx.now();
    // Taken without a load balancer too: what was measured before the last one went must not wait for the next one.
    let measured = cx.lb().take_metrics();
    let time = minute_measured(now);
    let mut result = Ok(());
    for ((scope, namespace), data) in grouped(&balancers, measured, time) {
        for data in data.chunks(DATA_PER_CALL_MAX) {
            let input = api::PutMetricDataInput {
                namespace: namespace.into(),
                metric_data: Some(data.to_vec()),
                ..Default::default()
            };
            // The others are not held up by one that fails; its data are lost.
            result = result.and(cx.at(&scope).call(api::PutMetricData, input).await.map(|_| ()));
        }
    }
    result?;
    Ok(if balancers.is_empty() { Wake::OnChange } else { Wake::At(next_minute(now)) })
}

type Grouped = BTreeMap<(Scope, &'static str), Vec<api::MetricDatum>>;

/// The data by whose they are. What belongs to a load balancer that is gone is dropped.
fn grouped(balancers: &[(Scope, Arc<str>, Arc<LoadBalancer>)], measured: Vec<Datum>, time: Timestamp) -> Grouped {
    let scopes: BTreeMap<&str, &Scope> = balancers.iter().map(|(scope, id, _)| (&**id, scope)).collect();
    let mut grouped = Grouped::new();
    for datum in measured {
        let owner = datum.dimensions.iter().find(|(name, _)| *name == OWNER);
        let Some(scope) = owner.and_then(|(_, id)| scopes.get(id.as_str())) else { continue };
        grouped.entry(((*scope).clone(), datum.namespace)).or_default().push(shape(datum, time));
    }
    grouped
}

fn shape(datum: Datum, time: Timestamp) -> api::MetricDatum {
    let dimension = |(name, value): (&str, String)| api::Dimension { name: name.to_owned(), value };
    let (values, counts): (Vec<f64>, Vec<f64>) = datum.values.iter().map(|(value, n)| (*value, *n as f64)).unzip();
    // Values have percentiles, a statistic set has none.
    let summed = values.is_empty();
    api::MetricDatum {
        metric_name: datum.name.into(),
        dimensions: Some(datum.dimensions.into_iter().map(dimension).collect()),
        timestamp: Some(time),
        statistic_values: summed.then_some(api::StatisticSet {
            sample_count: datum.stats.count,
            sum: datum.stats.sum,
            minimum: datum.stats.min,
            maximum: datum.stats.max,
        }),
        values: (!summed).then_some(values),
        counts: (!summed).then_some(counts),
        unit: Some(datum.unit.into()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use standfast_core::metric::Stats;

    use crate::elbv2::model::State;

    fn balancer() -> Arc<LoadBalancer> {
        Arc::new(LoadBalancer {
            name: "web".into(),
            internal: false,
            vpc: "vpc-1".into(),
            zones: vec![],
            security_groups: vec![],
            dns_name: String::new(),
            state: State::Active,
            created: Timestamp(0),
            attributes: Default::default(),
            tags: Default::default(),
        })
    }

    fn datum(balancer: &str) -> Datum {
        Datum {
            namespace: "AWS/ApplicationELB",
            name: "RequestCount",
            dimensions: vec![(OWNER, balancer.to_owned())],
            unit: "Count",
            stats: Stats { count: 3.0, sum: 3.0, min: 1.0, max: 1.0 },
            values: vec![],
        }
    }

    #[test]
    fn data_go_to_the_account_of_their_load_balancer() {
        let (here, there) = (Scope::new("1", "eu-west-1"), Scope::new("2", "eu-west-1"));
        let balancers = [(here.clone(), "app/a/1".into(), balancer()), (there.clone(), "app/b/2".into(), balancer())];
        let data = vec![datum("app/a/1"), datum("app/b/2"), datum("app/a/1"), datum("app/gone/3")];
        let grouped = grouped(&balancers, data, Timestamp(60_000));
        let counts: Vec<_> = grouped.iter().map(|((scope, _), data)| (scope.clone(), data.len())).collect();
        assert_eq!(counts, [(here, 2), (there, 1)]);
        let first = &grouped.values().next().expect("two scopes")[0];
        assert_eq!(first.statistic_values.as_ref().map(|set| (set.sample_count, set.sum)), Some((3.0, 3.0)));
        assert_eq!((first.value, first.timestamp), (None, Some(Timestamp(60_000))));
    }
}
