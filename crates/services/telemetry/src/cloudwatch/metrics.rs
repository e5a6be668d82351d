//! ListMetrics.

use std::time::Duration;

use standfast_api::cloudwatch::{Dimension, DimensionFilter, ListMetricsInput, ListMetricsOutput, Metric};
use standfast_core::Result;
use standfast_core::page::page;
use standfast_kernel::Cx;

use super::errors::{invalid, too_many};
use super::points::MetricName;
use super::put::DIMENSIONS_MAX;

const PAGE_MAX: usize = 500;
/// A metric without points for this long is not listed.
pub const ACTIVE: Duration = Duration::from_secs(14 * 24 * 3600);
/// What `RecentlyActive` can ask for: three hours.
const RECENTLY: &str = "PT3H";
const RECENT: Duration = Duration::from_secs(3 * 3600);

pub async fn list(cx: Cx, input: ListMetricsInput) -> Result<ListMetricsOutput> {
    let since = match input.recently_active.as_deref() {
        None => cx.now() - ACTIVE,
        Some(RECENTLY) => cx.now() - RECENT,
        Some(other) => return Err(invalid(other, "RecentlyActive")),
    };
    let filters = input.dimensions.unwrap_or_default();
    if filters.len() > DIMENSIONS_MAX {
        return Err(too_many("Dimensions", DIMENSIONS_MAX));
    }
    // Nothing links accounts here: another account's metrics are none.
    let own = input.owning_account.as_deref().is_none_or(|owner| owner == cx.account());
    let wanted = |metric: &MetricName| {
        own && input.namespace.as_ref().is_none_or(|namespace| *namespace == metric.namespace)
            && input.metric_name.as_ref().is_none_or(|name| *name == metric.name)
            && filters.iter().all(|filter| has(metric, filter))
    };
    let mut found = super::points(&cx)?.data.list(cx.scope(), since, wanted);
    found.sort_unstable();
    let page = page(found, page_key, input.next_token.as_deref(), PAGE_MAX, "InvalidParameterValue")?;
    let owners = input.include_linked_accounts.unwrap_or(false);
    let owning_accounts = owners.then(|| vec![cx.account().to_owned(); page.items.len()]);
    let metrics = page.items.into_iter().map(metric).collect();
    Ok(ListMetricsOutput { metrics: Some(metrics), next_token: page.next, owning_accounts })
}

fn has(metric: &MetricName, filter: &DimensionFilter) -> bool {
    let fits = |value: &String| filter.value.as_ref().is_none_or(|wanted| wanted == value);
    metric.dimensions.iter().any(|(name, value)| *name == filter.name && fits(value))
}

/// Orders as `MetricName` does: fields are separated by what is below everything that they hold.
fn page_key(metric: &MetricName) -> String {
    let mut key = format!("{}\0{}", metric.namespace, metric.name);
    for (name, value) in &metric.dimensions {
        key.extend(["\0", name.as_str(), "\0", value.as_str()]);
    }
    key
}

fn metric(metric: MetricName) -> Metric {
    let dimensions = metric.dimensions.into_iter().map(|(name, value)| Dimension { name, value }).collect();
    Metric { namespace: Some(metric.namespace), metric_name: Some(metric.name), dimensions: Some(dimensions) }
}
