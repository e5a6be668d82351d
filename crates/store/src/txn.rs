//! A transaction: reads and writes on the replica that are kept as a whole or undone as a whole.
//!
//! Invariant: a transaction that is dropped without [`Txn::keep`] leaves the replica as it found it, also when its
//! closure panics.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use standfast_core::{Error, Scope};

use crate::engine::{Reads, Write};
use crate::error::StoreError;
use crate::key;
use crate::record::{self, Record};
use crate::view::{Entry, Row, View};

/// A running transaction: a [`View`] that can be written to.
pub struct Txn<'a> {
    view: &'a mut View,
    undo: Vec<Undo>,
    /// Why the transaction cannot be committed whatever its closure returns.
    broken: Option<Error>,
}

struct Undo {
    table: &'static str,
    scope: Scope,
    id: Arc<str>,
    old: Option<Row>,
}

impl Deref for Txn<'_> {
    type Target = View;
    fn deref(&self) -> &View {
        self.view
    }
}

impl<'a> Txn<'a> {
    pub(crate) fn begin(view: &'a mut View) -> Self {
        view.reads = Some(Mutex::new(Reads { at: view.revision, ..Reads::default() }));
        Self { view, undo: Vec::new(), broken: None }
    }

    /// Writes a record. When another record of the table and scope has one of its unique values, the transaction fails.
    pub fn put<R: Record>(&mut self, scope: &Scope, id: &str, record: R) {
        let entries = entries(&record);
        for entry in entries.iter().filter(|entry| entry.unique) {
            let holder = self.view.holder(R::TABLE, scope, &entry.index, &entry.value);
            self.view.note_key(|| key::unique(R::TABLE, scope, &entry.index, &entry.value), holder.is_some());
            if holder.is_some_and(|holder| **holder != *id) {
                self.broken.get_or_insert(clash(R::TABLE, entry));
            }
        }
        match record::encode(id, &record) {
            Ok(json) => {
                let decoded = OnceLock::from(Arc::new(record) as Arc<dyn std::any::Any + Send + Sync>);
                self.replace(R::TABLE, scope, id, Some(Row { json, decoded, entries }));
            }
            Err(error) => {
                self.broken.get_or_insert(Error::internal(error.to_string()));
            }
        }
    }

    /// Deletes a record; nothing happens when there is none.
    pub fn delete<R: Record>(&mut self, scope: &Scope, id: &str) {
        self.replace(R::TABLE, scope, id, None);
    }

    /// Puts the records of a table again whose stored form is not what their type writes today.
    pub(crate) fn migrate<R: Record>(&mut self) -> Result<usize, StoreError> {
        let stale = self.view.stale::<R>()?;
        let count = stale.len();
        for (scope, id, json) in stale {
            self.put(&scope, &id, record::decode::<R>(&id, &json)?);
        }
        Ok(count)
    }

    fn replace(&mut self, table: &'static str, scope: &Scope, id: &str, new: Option<Row>) {
        let exists = self.view.row(table, scope, id).is_some();
        self.view.note_key(|| key::row(table, scope, id), exists);
        if !exists && new.is_none() {
            return;
        }
        let id: Arc<str> = id.into();
        let old = self.view.replace(table, scope, &id, new);
        self.undo.push(Undo { table, scope: scope.clone(), id, old });
    }

    /// Why the transaction cannot be committed, if it cannot.
    pub(crate) fn broken(&mut self) -> Option<Error> {
        self.broken.take()
    }

    /// What was read, in the order it was read.
    pub(crate) fn take_reads(&mut self) -> Reads {
        let reads = self.view.reads.take().map(|reads| reads.into_inner().unwrap_or_else(PoisonError::into_inner));
        reads.unwrap_or_default()
    }

    /// Brings what was read into the form that an engine compares: each key once, and whether it existed before this
    /// transaction wrote to it.
    pub(crate) fn compares(&self, mut reads: Reads) -> Reads {
        let mut existed = BTreeMap::new();
        for Undo { table, scope, id, old } in &self.undo {
            let now = self.view.row(table, scope, id);
            for entry in now.into_iter().chain(old).flat_map(|row| &row.entries) {
                existed.entry(entry_write(table, scope, id, entry).0).or_insert(false);
            }
        }
        for ((table, scope, id), old) in self.first() {
            existed.insert(key::row(table, scope, id), old.is_some());
            for entry in old.into_iter().flat_map(|row| &row.entries) {
                existed.insert(entry_write(table, scope, id, entry).0, true);
            }
        }
        let keys: BTreeMap<_, _> = reads.keys.drain(..).rev().collect();
        let before = |(key, exists): (key::Key, bool)| {
            let exists = existed.get(&key).copied().unwrap_or(exists);
            (key, exists)
        };
        reads.keys = keys.into_iter().map(before).collect();
        reads.ranges.sort();
        reads.ranges.dedup();
        reads
    }

    /// The records that were written to, as they were before.
    fn first(&self) -> BTreeMap<(&'static str, &Scope, &Arc<str>), Option<&Row>> {
        let mut first = BTreeMap::new();
        for undo in &self.undo {
            first.entry((undo.table, &undo.scope, &undo.id)).or_insert(undo.old.as_ref());
        }
        first
    }

    /// What differs from the replica as it was, and the tables it is in.
    pub(crate) fn writes(&self) -> (Vec<Write>, BTreeSet<&'static str>) {
        let (mut writes, mut tables) = (Vec::new(), BTreeSet::new());
        for ((table, scope, id), old) in self.first() {
            let new = self.view.row(table, scope, id);
            let before = writes.len();
            diff(table, scope, id, old, new, &mut writes);
            if writes.len() > before {
                tables.insert(table);
            }
        }
        // A unique value that moves from one record to another is one write of its key, and the put wins.
        writes.sort_by(|a, b| (&a.key, a.new.is_none()).cmp(&(&b.key, b.new.is_none())));
        writes.dedup_by(|later, kept| later.key == kept.key);
        (writes, tables)
    }

    /// Lets the writes stand.
    pub(crate) fn keep(mut self) {
        self.undo.clear();
    }
}

impl Drop for Txn<'_> {
    fn drop(&mut self) {
        self.view.reads = None;
        // All that was written goes first and what was there before comes after, so that a unique value finds its way
        // back whatever happened to it in between.
        let mut before = BTreeMap::new();
        for undo in mem::take(&mut self.undo).into_iter().rev() {
            self.view.replace(undo.table, &undo.scope, &undo.id, None);
            before.insert((undo.table, undo.scope, undo.id), undo.old);
        }
        for ((table, scope, id), old) in before {
            self.view.replace(table, &scope, &id, old);
        }
    }
}

/// The writes that bring `old` to `new`, index entries included.
fn diff(table: &str, scope: &Scope, id: &Arc<str>, old: Option<&Row>, new: Option<&Row>, writes: &mut Vec<Write>) {
    let (old_json, new_json) = (old.map(|row| row.json.clone()), new.map(|row| row.json.clone()));
    if old_json != new_json {
        writes.push(Write { key: key::row(table, scope, id), new: new_json });
    }
    let has = |row: Option<&Row>, entry: &Entry| row.is_some_and(|row| row.entries.contains(entry));
    for entry in old.iter().flat_map(|row| &row.entries).filter(|entry| !has(new, entry)) {
        let (key, _) = entry_write(table, scope, id, entry);
        writes.push(Write { key, new: None });
    }
    for entry in new.iter().flat_map(|row| &row.entries).filter(|entry| !has(old, entry)) {
        let (key, value) = entry_write(table, scope, id, entry);
        writes.push(Write { key, new: Some(value) });
    }
}

fn entry_write(table: &str, scope: &Scope, id: &str, entry: &Entry) -> (key::Key, Arc<[u8]>) {
    if entry.unique {
        (key::unique(table, scope, &entry.index, &entry.value), id.as_bytes().into())
    } else {
        (key::index(table, scope, &entry.index, &entry.value, id), Arc::default())
    }
}

/// The index entries that a record should have.
pub(crate) fn entries<R: Record>(record: &R) -> Vec<Entry> {
    let entry = |unique: bool| {
        move |(index, value): (&'static str, String)| Entry { unique, index: index.into(), value: value.into() }
    };
    let unique = record.unique().into_iter().map(entry(true));
    let mut all: Vec<Entry> = unique.chain(record.indexes().into_iter().map(entry(false))).collect();
    all.sort();
    all.dedup();
    all
}

fn clash(table: &str, entry: &Entry) -> Error {
    let message = format!("Table '{table}' already has a record whose {} is '{}'.", entry.index, entry.value);
    Error::client("UniqueClash", message)
}
