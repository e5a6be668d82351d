//! Power of availability zones: the fault domain that all planes share.
//!
//! Invariant: this is the only record of which zones are dark. Compute refuses launches there and tells the hosts, load
//! balancers close their nodes there; each reads it here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use standfast_core::place::Zone;
use standfast_core::{Error, Result, Scope, Timestamp};
use standfast_store::{Record, Txn, View};

use crate::cx::Cx;

/// The table to watch for changes of zones.
pub const TABLE: &str = "kernel.dark_zones";

/// A zone without power, for all accounts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DarkZone {
    pub since: Timestamp,
}

impl Record for DarkZone {
    const TABLE: &'static str = TABLE;
}

fn scope() -> Scope {
    Scope::new("cloud", "global")
}

/// The names of all zones without power.
pub fn dark(view: &View) -> BTreeSet<String> {
    view.list::<DarkZone>(&scope()).into_iter().map(|(zone, _)| zone.to_string()).collect()
}

/// Whether the zone has no power, inside a transaction.
pub fn is_dark(tx: &Txn, zone: &str) -> bool {
    tx.get::<DarkZone>(&scope(), zone).is_some()
}

/// Cuts a zone's power or brings it back.
pub async fn set_power(cx: &Cx, zone: &str, on: bool) -> Result<()> {
    if Zone::named(zone).is_none() {
        return Err(Error::client("ValidationException", format!("'{zone}' is not an availability zone.")));
    }
    let since = cx.now();
    cx.txn(|tx| {
        match (on, tx.get::<DarkZone>(&scope(), zone)) {
            (true, Some(_)) => tx.delete::<DarkZone>(&scope(), zone),
            (false, None) => tx.put(&scope(), zone, DarkZone { since }),
            _ => (),
        }
        Ok(())
    })
    .await
}
