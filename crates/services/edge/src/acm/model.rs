//! Records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standfast_core::Timestamp;
use standfast_store::Record;

use super::TABLE;

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The domain names that it is for, the first of them its own.
    pub names: Vec<String>,
    pub source: Source,
    pub created: Timestamp,
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Source {
    Imported(Box<Imported>),
    Requested(Requested),
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Imported {
    /// All three as PEM.
    pub certificate: String,
    pub chain: Option<String>,
    pub key: String,
    pub at: Timestamp,
    pub facts: Facts,
}

/// What the certificate says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub subject: String,
    pub issuer: String,
    /// Octets in hexadecimal, with colons.
    pub serial: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// `RSA-2048`, `EC-prime256v1`
    pub key_algorithm: String,
    /// `SHA256WITHRSA`
    pub signature_algorithm: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requested {
    /// `DNS` or `EMAIL`.
    pub method: String,
    pub key_algorithm: String,
    /// What makes the same request twice one.
    pub token: Option<String>,
}

impl Certificate {
    pub fn status(&self, now: Timestamp) -> &'static str {
        match &self.source {
            Source::Imported(imported) if imported.facts.not_after < now => "EXPIRED",
            Source::Imported(_) => "ISSUED",
            Source::Requested(_) => "PENDING_VALIDATION",
        }
    }

    pub fn kind(&self) -> &'static str {
        match &self.source {
            Source::Imported(_) => "IMPORTED",
            Source::Requested(_) => "AMAZON_ISSUED",
        }
    }

    pub fn key_algorithm(&self) -> &str {
        match &self.source {
            Source::Imported(imported) => &imported.facts.key_algorithm,
            Source::Requested(requested) => &requested.key_algorithm,
        }
    }
}

impl Record for Certificate {
    const TABLE: &'static str = TABLE;
}
