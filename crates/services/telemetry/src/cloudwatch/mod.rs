//! Metrics: points come in, statistics of them go out.
//!
//! Owns the store of metric points (`points`). Invariant: what PutMetricData answered for is durable as soon as the
//! store is, and no request costs a transaction. Alarms on them are in `alarms`. Dashboards are in `dashboards`.

mod alarms;
mod anomaly;
mod dashboards;
mod data;
mod errors;
mod expression;
mod metrics;
mod points;
pub mod prometheus;
mod put;
mod range;
mod stat;
mod statistics;
mod tags;
mod widget;

use std::sync::Arc;

use standfast_api::cloudwatch as api;
use standfast_core::{Error, Result};
use standfast_kernel::{Cx, On, Service, Wake};
use standfast_store::{Store, StoreError};

use self::points::{Index, Points};

/// The service's table.
pub fn service() -> Service {
    let last = alarms::controller::Shared::default();
    Service::new(&api::MODEL)
        .op(api::PutMetricData, put::put)
        .op(api::GetMetricStatistics, statistics::get)
        .op(api::GetMetricData, data::get)
        .op(api::ListMetrics, metrics::list)
        .op(api::PutMetricAlarm, alarms::put::put)
        .op(api::PutCompositeAlarm, alarms::composite::put)
        .op(api::DescribeAlarms, alarms::describe::describe)
        .op(api::DescribeAlarmsForMetric, alarms::describe::for_metric)
        .op(api::DescribeAlarmHistory, alarms::history::describe)
        .op(api::SetAlarmState, alarms::state::set)
        .op(api::EnableAlarmActions, alarms::state::enable)
        .op(api::DisableAlarmActions, alarms::state::disable)
        .op(api::DeleteAlarms, alarms::state::delete)
        .op(api::TagResource, tags::tag)
        .op(api::UntagResource, tags::untag)
        .op(api::ListTagsForResource, tags::list)
        .op(api::GetMetricWidgetImage, widget::image)
        .op(api::PutAnomalyDetector, anomaly::put)
        .op(api::DescribeAnomalyDetectors, anomaly::describe)
        .op(api::DeleteAnomalyDetector, anomaly::delete)
        .op(api::PutDashboard, dashboards::put)
        .op(api::GetDashboard, dashboards::get)
        .op(api::ListDashboards, dashboards::list)
        .op(api::DeleteDashboards, dashboards::delete)
        .controller("points", On::default(), open_at_start)
        .controller("alarms", On::tables(alarms::ALARMS), move |cx| alarms::controller::run(cx, last.clone()))
        .controller("composite_alarms", On::tables(alarms::ALARMS), alarms::composite::controller::run)
        .controller("alarm_actions", On::tables(alarms::OWED), alarms::actions::run)
}

/// Reads the metric points of a store. To be called before a cloud is started, so that a damaged log stops the start and
/// not the first request.
pub fn open(store: &Store) -> Result<(), StoreError> {
    store.bulk::<Index>().map(|_| ())
}

/// So that no request has to wait for the log to be read.
async fn open_at_start(cx: Cx) -> Result<Wake> {
    points(&cx).map(|_| Wake::OnChange)
}

fn points(cx: &Cx) -> Result<Arc<Points>> {
    cx.store().bulk::<Index>().map_err(unreadable)
}

fn unreadable(error: StoreError) -> Error {
    Error::unavailable(format!("The metric points cannot be read: {error}."))
}
