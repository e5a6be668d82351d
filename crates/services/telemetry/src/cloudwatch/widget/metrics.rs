//! The metrics of a widget as its JSON writes them: `["AWS/EC2", "CPUUtilization", "InstanceId", "i-1", {"stat": "p90"}]`,
//! `[".", ".", ".", "i-2"]`, `["...", "i-3"]`, `[{"expression": "m1+m2"}]`. Pure.

use serde_json::{Map, Value};

/// Metrics that one widget may hold.
const METRICS_MAX: usize = 500;

/// One line of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub source: Source,
    /// How it is to be drawn and computed: `stat`, `period`, `label`, `color`, `yAxis`, `id`, `visible`.
    pub options: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Metric { namespace: String, name: String, dimensions: Vec<(String, String)> },
    Expression(String),
}

/// What is wrong, and where under `metrics`.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub path: String,
    pub message: String,
}

impl Line {
    pub fn text(&self, option: &str) -> Option<&str> {
        self.options.get(option).and_then(Value::as_str)
    }
}

pub fn parse(metrics: &Value) -> Result<Vec<Line>, Wrong> {
    let wrong = |path: &str, message: String| Wrong { path: path.to_owned(), message };
    let Value::Array(metrics) = metrics else { return Err(wrong("", "Should be array".to_owned())) };
    if metrics.len() > METRICS_MAX {
        return Err(wrong("", format!("Should NOT have more than {METRICS_MAX} items")));
    }
    let (mut lines, mut before) = (Vec::new(), Vec::new());
    for (i, metric) in metrics.iter().enumerate() {
        let line = line(metric, &mut before);
        lines.push(line.map_err(|error| Wrong { path: format!("/{i}{}", error.path), message: error.message })?);
    }
    Ok(lines)
}

/// `before` are the fields of the metric before this one, which it may refer to.
fn line(metric: &Value, before: &mut Vec<String>) -> Result<Line, Wrong> {
    let wrong = |path: String, message: &str| Err(Wrong { path, message: message.to_owned() });
    let Value::Array(fields) = metric else { return wrong(String::new(), "Should be array") };
    let (options, fields) = match fields.split_last() {
        Some((Value::Object(options), fields)) => (options.clone(), fields),
        _ => (Map::new(), fields.as_slice()),
    };
    if fields.is_empty() {
        return match options.get("expression") {
            Some(Value::String(text)) => Ok(Line { source: Source::Expression(text.clone()), options }),
            _ => wrong(String::new(), "Should NOT have fewer than 2 items"),
        };
    }
    let mut full: Vec<String> = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        match field.as_str() {
            None => return wrong(format!("/{i}"), "Invalid metric field type, only \"String\" type is allowed"),
            Some("...") => {
                let kept = before.len().saturating_sub(fields.len() - i - 1);
                full.extend(before[..kept].iter().skip(full.len()).cloned());
            }
            Some(".") => match before.get(full.len()) {
                Some(same) => full.push(same.clone()),
                None => return wrong(format!("/{i}"), "There is no field above that this could repeat"),
            },
            Some(text) => full.push(text.to_owned()),
        }
    }
    if full.len() < 2 {
        return wrong(String::new(), "Should NOT have fewer than 2 items");
    }
    if !full.len().is_multiple_of(2) {
        return wrong(String::new(), "Should have a value for every dimension");
    }
    let dimensions = full[2..].chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let source = Source::Metric { namespace: full[0].clone(), name: full[1].clone(), dimensions };
    *before = full;
    Ok(Line { source, options })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_repeat_those_above() {
        let lines = parse(&json!([
            ["AWS/EC2", "CPUUtilization", "InstanceId", "i-1", { "stat": "p90" }],
            [".", "NetworkIn", ".", "."],
            ["...", "i-2"],
            [{ "expression": "m1 + m2", "id": "e1" }],
            ["..."],
        ]));
        let lines = lines.expect("a good list");
        let metric = |name: &str, instance: &str| Source::Metric {
            namespace: "AWS/EC2".into(),
            name: name.into(),
            dimensions: vec![("InstanceId".into(), instance.into())],
        };
        let sources: Vec<_> = lines.iter().map(|line| line.source.clone()).collect();
        let expected = [
            metric("CPUUtilization", "i-1"),
            metric("NetworkIn", "i-1"),
            metric("NetworkIn", "i-2"),
            Source::Expression("m1 + m2".into()),
            metric("NetworkIn", "i-2"),
        ];
        assert_eq!(sources, expected);
        assert_eq!((lines[0].text("stat"), lines[3].text("id")), (Some("p90"), Some("e1")));
    }
}
