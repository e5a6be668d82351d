//! The metrics that policies watch: settings of the API to queries of cloudwatch.

use standfast_api::autoscaling as api;
use standfast_api::cloudwatch as cw;
use standfast_core::Result;

use super::super::errors::validation;

pub const PERIOD_S: i32 = 60;
/// The dimension that says which group.
pub const GROUP: &str = "AutoScalingGroupName";
const QUERIES_MAX: usize = 10;

/// A load balancer and its target group, as a resource label names them: `app/NAME/ID/targetgroup/NAME/ID`.
pub fn label(text: &str) -> Option<(&str, &str)> {
    let at = text.find("/targetgroup/")?;
    let (balancer, target_group) = (&text[..at], &text[at + 1..]);
    let parts = |text: &str| text.split('/').filter(|part| !part.is_empty()).count();
    (balancer.starts_with("app/") && parts(balancer) == 3 && parts(target_group) == 3)
        .then_some((balancer, target_group))
}

/// Checks that there is a resource label exactly where the metric is a load balancer's.
pub fn check_label(metric: &str, given: Option<&str>) -> Result<()> {
    match (metric.starts_with("ALB"), given) {
        (true, None) => {
            Err(validation(format!("You must specify the resource label when the metric type is {metric}.")))
        }
        (true, Some(text)) if label(text).is_none() => Err(validation(format!(
            "The resource label '{text}' is not valid. It must be app/<load-balancer-name>/<load-balancer-id>/targetgroup/\
             <target-group-name>/<target-group-id>."
        ))),
        (false, Some(text)) if !text.is_empty() => Err(validation(format!(
            "The resource label '{text}' cannot be specified when the metric type is {metric}."
        ))),
        _ => Ok(()),
    }
}

fn dimension(name: &str, value: &str) -> cw::Dimension {
    cw::Dimension { name: name.to_owned(), value: value.to_owned() }
}

/// A statistic of a metric as a query of its own.
pub fn plain(
    namespace: &str,
    metric: &str,
    dimensions: Vec<cw::Dimension>,
    stat: &str,
    period: i32,
) -> cw::MetricDataQuery {
    let metric = cw::Metric {
        namespace: Some(namespace.to_owned()),
        metric_name: Some(metric.to_owned()),
        dimensions: Some(dimensions),
    };
    cw::MetricDataQuery {
        id: "m1".into(),
        metric_stat: Some(cw::MetricStat { metric, period, stat: stat.to_owned(), unit: None }),
        return_data: Some(true),
        ..Default::default()
    }
}

/// A metric of a group's instances: `CPUUtilization`.
pub fn of_group(group: &str, metric: &str, stat: &str, period: i32) -> cw::MetricDataQuery {
    plain("AWS/EC2", metric, vec![dimension(GROUP, group)], stat, period)
}

/// A metric of a load balancer's target group, by its label.
pub fn of_target_group(text: &str, metric: &str, stat: &str, period: i32) -> cw::MetricDataQuery {
    let (balancer, target_group) = label(text).unwrap_or_default();
    let dimensions = vec![dimension("LoadBalancer", balancer), dimension("TargetGroup", target_group)];
    plain("AWS/ApplicationELB", metric, dimensions, stat, period)
}

pub fn dimensions(given: Option<&[api::MetricDimension]>) -> Vec<cw::Dimension> {
    given.unwrap_or_default().iter().map(|own| dimension(&own.name, &own.value)).collect()
}

/// What a target tracking policy watches.
pub fn tracked(group: &str, config: &api::TargetTrackingConfiguration) -> Vec<cw::MetricDataQuery> {
    if let Some(predefined) = &config.predefined_metric_specification {
        let label = predefined.resource_label.as_deref().unwrap_or_default();
        return vec![match predefined.predefined_metric_type.as_str() {
            "ASGAverageNetworkIn" => of_group(group, "NetworkIn", "Average", PERIOD_S),
            "ASGAverageNetworkOut" => of_group(group, "NetworkOut", "Average", PERIOD_S),
            "ALBRequestCountPerTarget" => of_target_group(label, "RequestCountPerTarget", "Sum", PERIOD_S),
            _ => of_group(group, "CPUUtilization", "Average", PERIOD_S),
        }];
    }
    let custom = config.customized_metric_specification.clone().unwrap_or_default();
    if let Some(queries) = custom.metrics.filter(|queries| !queries.is_empty()) {
        return queries.iter().map(query).collect();
    }
    let mut query = plain(
        custom.namespace.as_deref().unwrap_or_default(),
        custom.metric_name.as_deref().unwrap_or_default(),
        dimensions(custom.dimensions.as_deref()),
        custom.statistic.as_deref().unwrap_or_default(),
        custom.period.unwrap_or(PERIOD_S),
    );
    if let Some(stat) = &mut query.metric_stat {
        stat.unit = custom.unit;
    }
    vec![query]
}

fn query(own: &api::TargetTrackingMetricDataQuery) -> cw::MetricDataQuery {
    let stat = |own: &api::TargetTrackingMetricStat| cw::MetricStat {
        metric: metric(&own.metric),
        period: own.period.unwrap_or(PERIOD_S),
        stat: own.stat.clone(),
        unit: own.unit.clone(),
    };
    cw::MetricDataQuery {
        id: own.id.clone(),
        metric_stat: own.metric_stat.as_ref().map(stat),
        expression: own.expression.clone(),
        label: own.label.clone(),
        return_data: Some(own.return_data.unwrap_or(true)),
        period: own.period,
        account_id: None,
    }
}

pub fn metric(own: &api::Metric) -> cw::Metric {
    cw::Metric {
        namespace: Some(own.namespace.clone()),
        metric_name: Some(own.metric_name.clone()),
        dimensions: Some(dimensions(own.dimensions.as_deref())),
    }
}

/// What the queries of a metric of metrics must be: id, whether it has a metric or an expression, whether it is returned.
pub fn check_queries<'a>(queries: impl Iterator<Item = (&'a str, bool, bool, bool)>) -> Result<()> {
    let (mut ids, mut returned) = (Vec::new(), 0);
    for (id, has_metric, has_expression, is_returned) in queries {
        let valid = id.chars().next().is_some_and(|first| first.is_ascii_lowercase())
            && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            return Err(validation(format!(
                "The metric query id '{id}' is not valid. It must begin with a lowercase letter and have letters, \
                 numbers and underscores only."
            )));
        }
        if ids.contains(&id) {
            return Err(validation(format!("The metric query id '{id}' is used more than once.")));
        }
        if has_metric == has_expression {
            return Err(validation(format!(
                "The metric query '{id}' must have either MetricStat or Expression, but not both."
            )));
        }
        returned += usize::from(is_returned);
        ids.push(id);
    }
    if ids.len() > QUERIES_MAX {
        return Err(validation(format!("At most {QUERIES_MAX} metric queries are allowed; there are {}.", ids.len())));
    }
    if returned != 1 {
        return Err(validation("Exactly one metric query must have ReturnData set to true."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_name_a_load_balancer_and_a_target_group() {
        let good = "app/web/50dc6c495c0c9188/targetgroup/blue/943f017f100becff";
        assert_eq!(label(good), Some(("app/web/50dc6c495c0c9188", "targetgroup/blue/943f017f100becff")));
        for bad in ["", "app/web/1", "targetgroup/blue/1", "net/web/1/targetgroup/blue/1", "app/web/targetgroup/blue/1"]
        {
            assert_eq!(label(bad), None, "{bad}");
        }
    }
}
