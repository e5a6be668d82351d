//! Graphs of metrics: GetMetricWidgetImage draws what a widget's JSON asks for.
//!
//! `metrics` reads the list of metrics, `spec` the rest of the JSON, `chart` decides where everything is, `canvas` draws. It is
//! not: a dashboard.

mod axis;
mod canvas;
mod chart;
pub mod metrics;
mod spec;

use standfast_api::cloudwatch as api;
use standfast_core::Result;
use standfast_kernel::Cx;
use standfast_wire::Blob;

use self::chart::{Chart, Series};
use self::metrics::{Line, Source};
use self::spec::Spec;
use super::data;
use super::errors::{invalid, validation};

/// What an image may be asked for as; both are the same bytes here, in the answer's member.
const FORMATS: [&str; 2] = ["png", "image/png"];
/// What lines are drawn in, one after the other.
const COLORS: [&str; 10] =
    ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"];

pub async fn image(cx: Cx, input: api::GetMetricWidgetImageInput) -> Result<api::GetMetricWidgetImageOutput> {
    if let Some(format) = input.output_format.as_deref().filter(|format| !FORMATS.contains(format)) {
        return Err(invalid(format, "OutputFormat"));
    }
    let spec = Spec::parse(&input.metric_widget, cx.now())
        .map_err(|wrong| validation(format!("Invalid metric widget at '{}': {}", wrong.path, wrong.message)))?;
    let queries = spec.lines.iter().enumerate().map(|(i, line)| query(&spec, i, line)).collect::<Vec<_>>();
    let found = if queries.is_empty() { Vec::new() } else { data::lines(&cx, queries, spec.start, spec.end)? };
    let series = found.into_iter().enumerate().map(|(i, (id, found))| {
        let line = spec.lines.iter().enumerate().find(|(i, line)| self::id(*i, line) == id).map(|(_, line)| line);
        Series {
            label: found.label,
            color: line.and_then(|line| line.text("color")).unwrap_or(COLORS[i % COLORS.len()]).to_owned(),
            right: line.and_then(|line| line.text("yAxis")) == Some("right"),
            points: found.points.into_iter().collect(),
        }
    });
    let series = series.collect();
    let chart = Chart { spec: &spec, series };
    let png = chart.png().ok_or_else(|| validation("The picture cannot be drawn in this size."))?;
    Ok(api::GetMetricWidgetImageOutput { metric_widget_image: Some(Blob(png)) })
}

fn id(i: usize, line: &Line) -> String {
    line.text("id").map_or_else(|| format!("line{i}"), str::to_owned)
}

fn query(spec: &Spec, i: usize, line: &Line) -> api::MetricDataQuery {
    let number = |option: &str| line.options.get(option).and_then(serde_json::Value::as_i64);
    let period = number("period").and_then(|period| i32::try_from(period).ok()).unwrap_or(spec.period_s);
    let visible = line.options.get("visible").and_then(serde_json::Value::as_bool);
    let mut query = api::MetricDataQuery {
        id: id(i, line),
        label: line.text("label").map(str::to_owned),
        return_data: Some(visible.unwrap_or(true)),
        ..Default::default()
    };
    match &line.source {
        Source::Expression(text) => (query.expression, query.period) = (Some(text.clone()), Some(period)),
        Source::Metric { namespace, name, dimensions } => {
            let dimension =
                |(name, value): &(String, String)| api::Dimension { name: name.clone(), value: value.clone() };
            query.metric_stat = Some(api::MetricStat {
                metric: api::Metric {
                    namespace: Some(namespace.clone()),
                    metric_name: Some(name.clone()),
                    dimensions: Some(dimensions.iter().map(dimension).collect()),
                },
                period,
                stat: line.text("stat").unwrap_or(&spec.stat).to_owned(),
                unit: None,
            });
        }
    }
    query
}
