//! All metrics in Prometheus' text format 0.0.4: `aws_ec2_cpuutilization_average{account="...",instance_id="...",region="..."}`.
//!
//! Of each metric the newest period of a minute that has values, for whoever scrapes the machine. Statistics are families of
//! their own, as gauges.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use standfast_core::{Result, Scope, Timestamp};
use standfast_store::Store;

use super::points::{Bucket, Index, MetricName};
use super::stat::Stat;

/// What comes with an answer of this text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Metrics without values for this long are left out.
const SHOWN: Duration = Duration::from_secs(3600);
const STATS: [(&str, Stat); 5] = [
    ("average", Stat::Average),
    ("maximum", Stat::Maximum),
    ("minimum", Stat::Minimum),
    ("sample_count", Stat::SampleCount),
    ("sum", Stat::Sum),
];

/// The text for all accounts and regions.
pub fn text(store: &Store, now: Timestamp) -> Result<String> {
    let points = store.bulk::<Index>().map_err(super::unreadable)?;
    Ok(write(&points.data.newest(now - SHOWN)))
}

fn write(metrics: &[(Scope, MetricName, Bucket)]) -> String {
    let mut families = BTreeMap::<String, Vec<String>>::new();
    for (scope, metric, bucket) in metrics {
        let labels = labels(scope, metric);
        let base = format!("{}_{}", snake(&metric.namespace), snake(&metric.name));
        for (suffix, stat) in STATS {
            let name = format!("{base}_{suffix}");
            if let Some(value) = stat.of(bucket) {
                let line = format!("{name}{{{labels}}} {value}");
                families.entry(name).or_default().push(line);
            }
        }
    }
    let mut text = String::new();
    for (name, mut lines) in families {
        lines.sort_unstable();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# TYPE {name} gauge\n{}", lines.join("\n"));
    }
    text
}

fn labels(scope: &Scope, metric: &MetricName) -> String {
    let mut labels = BTreeMap::new();
    for (name, value) in &metric.dimensions {
        labels.insert(snake(name), value.as_str());
    }
    // A dimension of one of these names gives way.
    labels.insert("account".to_owned(), &scope.account);
    labels.insert("region".to_owned(), &scope.region);
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", quoted(value))).collect::<Vec<_>>().join(",")
}

/// `AWS/EC2` is `aws_ec2`, `NetworkIn` is `network_in`, `CPUUtilization` is `cpuutilization`, as the usual exporter has it.
fn snake(name: &str) -> String {
    let (mut out, mut lower) = (String::new(), false);
    for c in name.chars() {
        if c.is_ascii_uppercase() && lower {
            out.push('_');
        }
        lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        out.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statistic_is_a_family() {
        let scope = Scope::new("000000000000", "eu-west-1");
        let metric = |name: &str, instance: &str| MetricName {
            namespace: "AWS/EC2".into(),
            name: name.into(),
            dimensions: vec![("InstanceId".into(), instance.into())],
        };
        let text = write(&[
            (scope.clone(), metric("CPUUtilization", "i-2"), Bucket::values(2.5, 2.0)),
            (scope.clone(), metric("CPUUtilization", "i-\"1\""), Bucket::values(1.0, 1.0)),
            (scope, metric("NetworkIn", "i-1"), Bucket::values(7.0, 1.0)),
        ]);
        let expected = "# TYPE aws_ec2_cpuutilization_average gauge\n\
            aws_ec2_cpuutilization_average{account=\"000000000000\",instance_id=\"i-2\",region=\"eu-west-1\"} 2.5\n\
            aws_ec2_cpuutilization_average{account=\"000000000000\",instance_id=\"i-\\\"1\\\"\",region=\"eu-west-1\"} 1\n\
            # TYPE aws_ec2_cpuutilization_maximum gauge\n";
        let mut lines: Vec<_> = expected.lines().collect();
        lines[1..3].sort_unstable();
        assert!(text.starts_with(&lines.join("\n")), "{text}");
        assert!(text.contains("aws_ec2_network_in_sum{") && text.ends_with('\n'));
        assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE")).count(), 10);
    }
}
