//! The records of these tests.

use serde::{Deserialize, Serialize};
use standfast_core::{Result, Scope};
use standfast_store::{Record, Store};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pet {
    pub name: String,
    pub kind: String,
}

impl Record for Pet {
    const TABLE: &'static str = "pets";
    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("kind", self.kind.clone())]
    }
}

/// A record without indexes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counter {
    pub n: u64,
}

impl Record for Counter {
    const TABLE: &'static str = "counters";
}

pub fn pet(name: &str, kind: &str) -> Pet {
    Pet { name: name.into(), kind: kind.into() }
}

pub fn scope() -> Scope {
    Scope::new("000000000000", "eu-west-1")
}

pub async fn put<R: Record + Clone>(store: &Store, scope: &Scope, id: &str, record: R) -> Result<()> {
    let put = store.txn(|tx| {
        tx.put(scope, id, record.clone());
        Ok(())
    });
    put.await
}

pub async fn delete<R: Record>(store: &Store, scope: &Scope, id: &str) -> Result<()> {
    let delete = store.txn(|tx| {
        tx.delete::<R>(scope, id);
        Ok(())
    });
    delete.await
}
