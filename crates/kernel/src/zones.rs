//! Power of availability zones, and the links between them: the fault domains that all planes share.
//!
//! Invariant: this is the only record of which zones are dark and which links are impaired. Compute refuses launches in
//! dark zones and tells the hosts, load balancers close their nodes there; each reads it here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use standfast_core::network::Impairment;
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

/// The table to watch for changes of links.
pub const LINKS_TABLE: &str = "kernel.impaired_links";

/// Something that is wrong between two zones; its key names who did it, so that each undoes its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImpairedLink(pub Impairment);

impl Record for ImpairedLink {
    const TABLE: &'static str = LINKS_TABLE;
}

/// All that is wrong with links.
pub fn impairments(view: &View) -> Vec<Impairment> {
    view.list::<ImpairedLink>(&scope()).into_iter().map(|(_, link)| link.0.clone()).collect()
}

/// Impairs a link, or with `None` undoes what was done under this key.
pub async fn impair(cx: &Cx, key: &str, impairment: Option<Impairment>) -> Result<()> {
    cx.txn(|tx| {
        match (&impairment, tx.get::<ImpairedLink>(&scope(), key)) {
            (Some(new), old) if old.as_ref().is_none_or(|old| old.0 != *new) => {
                tx.put(&scope(), key, ImpairedLink(new.clone()));
            }
            (None, Some(_)) => tx.delete::<ImpairedLink>(&scope(), key),
            _ => (),
        }
        Ok(())
    })
    .await
}
