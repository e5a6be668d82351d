//! Names out of short lists (metrics, units, reason codes) that are text of the program, and stay so when another
//! process of the same program tells them.
//!
//! Invariant: what is read is kept for ever, so there is a limit to how many different ones are.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, de::Error};

/// A text of the program.
pub type Name = &'static str;

/// Far more than the program has.
const NAMES_MAX: usize = 4096;

static KNOWN: Mutex<BTreeSet<Name>> = Mutex::new(BTreeSet::new());

/// Reads a name.
pub fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = known.get(text.as_str()) {
        return Ok(name);
    }
    if known.len() >= NAMES_MAX {
        return Err(D::Error::custom(format!("over {NAMES_MAX} different names")));
    }
    let name: Name = String::leak(text);
    known.insert(name);
    Ok(name)
}
