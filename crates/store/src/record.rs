//! What a service keeps: its own serde types, as JSON that names its version.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// A record type: the project's own serde type, never a wire shape.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The table that holds the records of this type and of no other, for example `instances`.
    const TABLE: &'static str;

    /// Counts up with every change that makes older JSON unreadable.
    const VERSION: u32 = 1;

    /// Brings the JSON of an older version to the current one.
    fn migrate(from: u32, value: serde_json::Value) -> Result<serde_json::Value, StoreError> {
        let _ = value;
        Err(StoreError::Version { table: Self::TABLE, from, to: Self::VERSION })
    }

    /// Index names and values that no other record of the table and scope may have.
    fn unique(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Index names and values that records are found by.
    fn indexes(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    d: T,
}

#[derive(Deserialize)]
struct Head {
    v: u32,
}

/// The JSON of a record.
pub(crate) fn encode<R: Record>(id: &str, record: &R) -> Result<Arc<[u8]>, StoreError> {
    let json = serde_json::to_vec(&Versioned { v: R::VERSION, d: record }).map_err(|e| unreadable::<R>(id, &e))?;
    Ok(json.into())
}

/// The version of the program's type that wrote this JSON.
pub(crate) fn version<R: Record>(id: &str, json: &[u8]) -> Result<u32, StoreError> {
    let head: Head = serde_json::from_slice(json).map_err(|e| unreadable::<R>(id, &e))?;
    Ok(head.v)
}

/// The record of its JSON, migrated when an older version wrote it.
pub(crate) fn decode<R: Record>(id: &str, json: &[u8]) -> Result<R, StoreError> {
    let version = version::<R>(id, json)?;
    if version == R::VERSION {
        let current: Versioned<R> = serde_json::from_slice(json).map_err(|e| unreadable::<R>(id, &e))?;
        return Ok(current.d);
    }
    if version > R::VERSION {
        return Err(StoreError::Version { table: R::TABLE, from: version, to: R::VERSION });
    }
    let old: Versioned<serde_json::Value> = serde_json::from_slice(json).map_err(|e| unreadable::<R>(id, &e))?;
    serde_json::from_value(R::migrate(old.v, old.d)?).map_err(|e| unreadable::<R>(id, &e))
}

fn unreadable<R: Record>(id: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Record { table: R::TABLE, id: id.to_owned(), what: error.to_string() }
}
