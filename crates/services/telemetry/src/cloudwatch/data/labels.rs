//! Labels of results: as given, with what they ask for in `${...}` put in; `AVG`, `LAST`, `PROP('Dim.InstanceId')` and others. Pure.

use standfast_core::{Scope, Timestamp};

use super::super::expression::Line;

/// A label that was given and has several results is followed by what tells them apart.
pub fn label(given: Option<&str>, line: &Line, scope: &Scope) -> String {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return line.label.clone() };
    if !given.contains("${") {
        let own = line.of.is_none() || line.label == given;
        return if own || line.label.is_empty() { given.to_owned() } else { format!("{given} {}", line.label) };
    }
    let (mut out, mut rest) = (String::new(), given);
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((word, after)) = after.split_once('}') else {
            out.push_str("${");
            rest = after;
            break;
        };
        match dynamic(word.trim(), line, scope) {
            Some(text) => out.push_str(&text),
            None => out.extend(["${", word, "}"]),
        }
        rest = after;
    }
    out + rest
}

/// `None` of a word that is not known.
fn dynamic(word: &str, line: &Line, scope: &Scope) -> Option<String> {
    let values = || line.points.values().copied();
    let shown = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
    let time = |at: Option<i64>| at.map_or_else(String::new, |at| Timestamp(at * 1000).iso8601());
    let by_value = |a: &(&i64, &f64), b: &(&i64, &f64)| a.1.total_cmp(b.1);
    let count = line.points.len();
    let sum: f64 = values().sum();
    Some(match word {
        "LABEL" => line.label.clone(),
        "DATAPOINT_COUNT" => count.to_string(),
        "SUM" => shown(Some(sum)),
        "AVG" => shown((count > 0).then(|| sum / count as f64)),
        "MIN" => shown(values().min_by(f64::total_cmp)),
        "MAX" => shown(values().max_by(f64::total_cmp)),
        "FIRST" => shown(values().next()),
        "LAST" => shown(values().next_back()),
        "MIN_TIME" => time(line.points.iter().min_by(by_value).map(|(at, _)| *at)),
        "MAX_TIME" => time(line.points.iter().max_by(by_value).map(|(at, _)| *at)),
        "FIRST_TIME" => time(line.points.keys().next().copied()),
        "LAST_TIME" => time(line.points.keys().next_back().copied()),
        word => {
            let name = word.strip_prefix("PROP(")?.strip_suffix(')')?.trim().trim_matches(['\'', '"']);
            let of = line.of.as_ref()?;
            match name {
                "AccountId" => scope.account.to_string(),
                "Region" => scope.region.to_string(),
                "MetricName" => of.metric.name.clone(),
                "Namespace" => of.metric.namespace.clone(),
                "Period" => of.period_s.to_string(),
                "Stat" => of.stat.clone(),
                name => {
                    let dimension = name.strip_prefix("Dim.")?;
                    let (_, value) = of.metric.dimensions.iter().find(|(own, _)| own == dimension)?;
                    value.clone()
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::expression::Of;
    use super::super::super::points::MetricName;
    use super::*;

    #[test]
    fn labels_hold_what_they_ask_for() {
        let metric = MetricName {
            namespace: "AWS/EC2".into(),
            name: "CPUUtilization".into(),
            dimensions: vec![("InstanceId".into(), "i-1".into())],
        };
        let line = Line {
            label: "i-1".into(),
            points: [(0, 1.0), (60, 4.0), (120, 2.5)].into(),
            of: Some(Of { metric, stat: "p90".into(), period_s: 60 }),
        };
        let scope = Scope::new("000000000000", "eu-west-1");
        for (given, expected) in [
            ("CPU", "CPU i-1"),
            ("${LABEL}: ${LAST}", "i-1: 2.50"),
            ("${MIN} ${AVG} ${MAX} of ${DATAPOINT_COUNT}", "1.00 2.50 4.00 of 3"),
            ("${PROP('Dim.InstanceId')} ${PROP('Stat')} in ${PROP('Region')}", "i-1 p90 in eu-west-1"),
            ("${MAX_TIME}", "1970-01-01T00:01:00.000Z"),
            ("${NONSENSE} ${LABEL", "${NONSENSE} ${LABEL"),
        ] {
            assert_eq!(label(Some(given), &line, &scope), expected);
        }
        assert_eq!(label(None, &line, &scope), "i-1");
    }
}
