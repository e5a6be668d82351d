//! Dashboards: PutDashboard, GetDashboard, ListDashboards, DeleteDashboards.
//!
//! Owns the dashboards of an account, which are of no region. What may be in a body is said by `body`. It is not: what draws
//! them (`widget` draws one of their graphs).

mod body;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standfast_api::cloudwatch as api;
use standfast_core::page::page;
use standfast_core::{Arn, Error, Result, Timestamp};
use standfast_kernel::Cx;
use standfast_store::Record;

use super::errors::too_many;

/// Dashboards that one call may delete, and list.
const NAMES_MAX: usize = 100;
const PAGE: usize = 1000;
const NAME_CHARS_MAX: usize = 255;

/// A dashboard. Its id is its name, in the account's global scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dashboard {
    pub body: String,
    pub modified: Timestamp,
    pub tags: BTreeMap<String, String>,
}

impl Record for Dashboard {
    const TABLE: &'static str = "cloudwatch.dashboards";
}

pub async fn put(cx: Cx, input: api::PutDashboardInput) -> Result<api::PutDashboardOutput> {
    let (name, scope, now) = (&input.dashboard_name, cx.scope().global(), cx.now());
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(plain) {
        return Err(bad(format!(
            "The value {name} for field DashboardName contains invalid characters. It can only contain alphanumerics, dash \
             (-) and underscore (_), {NAME_CHARS_MAX} of them at most."
        )));
    }
    let found = body::check(&input.dashboard_body);
    if let Some(first) = found.errors.first() {
        let list: Vec<_> = found.errors.iter().map(body::Problem::json).collect();
        let list = serde_json::to_string_pretty(&list).unwrap_or_else(|_| first.message.clone());
        return Err(bad(format!(
            "The dashboard body is invalid, there are {} validation errors:\n{list}",
            found.errors.len()
        )));
    }
    let tags: BTreeMap<_, _> = input.tags.iter().flatten().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
    cx.txn(|tx| {
        let old = tx.get::<Dashboard>(&scope, name);
        let tags = old.map_or_else(|| tags.clone(), |old| old.tags.clone());
        tx.put(&scope, name, Dashboard { body: input.dashboard_body.clone(), modified: now, tags });
        Ok(())
    })
    .await?;
    let message = |problem: body::Problem| api::DashboardValidationMessage {
        data_path: Some(problem.path),
        message: Some(problem.message),
    };
    let warnings = found.warnings.into_iter().map(message).collect();
    Ok(api::PutDashboardOutput { dashboard_validation_messages: Some(warnings) })
}

pub async fn get(cx: Cx, input: api::GetDashboardInput) -> Result<api::GetDashboardOutput> {
    let name = input.dashboard_name;
    let found = cx.view(|view| view.get::<Dashboard>(&cx.scope().global(), &name)).ok_or_else(|| not_found(&name))?;
    Ok(api::GetDashboardOutput {
        dashboard_arn: Some(arn(&cx, &name)),
        dashboard_body: Some(found.body.clone()),
        dashboard_name: Some(name),
    })
}

pub async fn list(cx: Cx, input: api::ListDashboardsInput) -> Result<api::ListDashboardsOutput> {
    let prefix = input.dashboard_name_prefix.unwrap_or_default();
    let found = cx.view(|view| view.prefix::<Dashboard>(&cx.scope().global(), &prefix));
    let page = page(found, |(name, _)| name.to_string(), input.next_token.as_deref(), PAGE, "InvalidParameterValue")?;
    let entry = |(name, dashboard): &(std::sync::Arc<str>, std::sync::Arc<Dashboard>)| api::DashboardEntry {
        dashboard_name: Some(name.to_string()),
        dashboard_arn: Some(arn(&cx, name)),
        last_modified: Some(dashboard.modified),
        size: i64::try_from(dashboard.body.len()).ok(),
    };
    let entries = page.items.iter().map(entry).collect();
    Ok(api::ListDashboardsOutput { dashboard_entries: Some(entries), next_token: page.next })
}

/// All of them, or none when one is not there.
pub async fn delete(cx: Cx, input: api::DeleteDashboardsInput) -> Result<api::DeleteDashboardsOutput> {
    if input.dashboard_names.len() > NAMES_MAX {
        return Err(too_many("DashboardNames", NAMES_MAX));
    }
    let scope = cx.scope().global();
    cx.txn(|tx| {
        for name in &input.dashboard_names {
            tx.get::<Dashboard>(&scope, name).ok_or_else(|| not_found(name))?;
            tx.delete::<Dashboard>(&scope, name);
        }
        Ok(api::DeleteDashboardsOutput {})
    })
    .await
}

fn arn(cx: &Cx, name: &str) -> String {
    Arn::global("cloudwatch", cx.account(), format!("dashboard/{name}")).to_string()
}

fn bad(message: String) -> Error {
    Error::client("InvalidParameterInput", message)
}

fn not_found(name: &str) -> Error {
    Error::client("ResourceNotFound", format!("Dashboard {name} does not exist")).with_status(404)
}
