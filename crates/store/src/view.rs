//! The replica in memory: every record and every index entry, as of the last transaction.
//!
//! Invariant: an index entry exists here exactly as long as its record has it. Records are decoded at the first read
//! and shared from then on. It is not durable and knows no engine.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use standfast_core::Scope;

use crate::engine::{Reads, Revision};
use crate::error::StoreError;
use crate::key::{self, Key, Parsed};
use crate::record::{self, Record};
use crate::txn;

/// All records at one point in time. A [`crate::Txn`] is one too, and sees its own writes.
#[derive(Default)]
pub struct View {
    tables: HashMap<String, BTreeMap<Scope, Shelf>>,
    /// Counts the transactions that wrote.
    pub(crate) revision: Revision,
    /// What has been read, while a transaction runs.
    pub(crate) reads: Option<Mutex<Reads>>,
}

/// The records of one table in one scope.
#[derive(Default)]
struct Shelf {
    rows: BTreeMap<Arc<str>, Row>,
    unique: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<str>>>,
    indexes: BTreeMap<Arc<str>, BTreeMap<Arc<str>, BTreeSet<Arc<str>>>>,
}

/// A record, as JSON and (from the first read on) as its type.
pub(crate) struct Row {
    pub(crate) json: Arc<[u8]>,
    pub(crate) decoded: OnceLock<Arc<dyn Any + Send + Sync>>,
    pub(crate) entries: Vec<Entry>,
}

/// An index entry of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) unique: bool,
    pub(crate) index: Arc<str>,
    pub(crate) value: Arc<str>,
}

impl View {
    /// The record of this id.
    pub fn get<R: Record>(&self, scope: &Scope, id: &str) -> Option<Arc<R>> {
        let found = self.shelf(R::TABLE, scope).and_then(|shelf| shelf.rows.get_key_value(id));
        self.note_key(|| key::row(R::TABLE, scope, id), found.is_some());
        found.map(|(id, row)| row.record(id))
    }

    /// All records of the scope, ordered by id.
    pub fn list<R: Record>(&self, scope: &Scope) -> Vec<(Arc<str>, Arc<R>)> {
        self.prefix(scope, "")
    }

    /// The records of the scope whose ids begin with `prefix`, ordered by id.
    pub fn prefix<R: Record>(&self, scope: &Scope, prefix: &str) -> Vec<(Arc<str>, Arc<R>)> {
        self.note_range(|| key::row(R::TABLE, scope, prefix));
        let Some(shelf) = self.shelf(R::TABLE, scope) else { return Vec::new() };
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let rows = shelf.rows.range::<str, _>(from).take_while(|(id, _)| id.starts_with(prefix));
        rows.map(|(id, row)| (id.clone(), row.record(id))).collect()
    }

    /// At most `limit` records of the scope whose ids come after `after`, ordered by id: a page.
    pub fn list_from<R: Record>(&self, scope: &Scope, after: &str, limit: usize) -> Vec<(Arc<str>, Arc<R>)> {
        self.note_range(|| key::row(R::TABLE, scope, ""));
        let Some(shelf) = self.shelf(R::TABLE, scope) else { return Vec::new() };
        let rows = shelf.rows.range::<str, _>((Bound::Excluded(after), Bound::Unbounded)).take(limit);
        rows.map(|(id, row)| (id.clone(), row.record(id))).collect()
    }

    /// The records of every scope, ordered by scope and id.
    pub fn all<R: Record>(&self) -> Vec<(Scope, Arc<str>, Arc<R>)> {
        self.note_range(|| key::table_prefix(R::TABLE));
        let Some(shelves) = self.tables.get(R::TABLE) else { return Vec::new() };
        let rows = shelves.iter().flat_map(|(scope, shelf)| shelf.rows.iter().map(move |row| (scope, row)));
        rows.map(|(scope, (id, row))| (scope.clone(), id.clone(), row.record(id))).collect()
    }

    /// The records of the scope that have this value in this index, ordered by id.
    pub fn by_index<R: Record>(&self, scope: &Scope, index: &'static str, value: &str) -> Vec<(Arc<str>, Arc<R>)> {
        self.note_range(|| key::index_prefix(R::TABLE, scope, index, value));
        let Some(shelf) = self.shelf(R::TABLE, scope) else { return Vec::new() };
        let ids = shelf.indexes.get(index).and_then(|values| values.get(value));
        let found: Vec<_> = ids.into_iter().flatten().map(|id| (id.clone(), shelf.row(id).record(id))).collect();
        for (id, _) in &found {
            self.note_key(|| key::row(R::TABLE, scope, id), true);
        }
        found
    }

    /// The one record of the scope that has this value in this unique index.
    pub fn by_unique<R: Record>(&self, scope: &Scope, index: &'static str, value: &str) -> Option<(Arc<str>, Arc<R>)> {
        let id = self.holder(R::TABLE, scope, index, value);
        self.note_key(|| key::unique(R::TABLE, scope, index, value), id.is_some());
        let id = id?;
        self.note_key(|| key::row(R::TABLE, scope, id), true);
        let row = self.shelf(R::TABLE, scope)?.row(id);
        Some((id.clone(), row.record(id)))
    }

    /// How many records the scope has.
    pub fn count<R: Record>(&self, scope: &Scope) -> usize {
        self.note_range(|| key::row(R::TABLE, scope, ""));
        self.shelf(R::TABLE, scope).map_or(0, |shelf| shelf.rows.len())
    }

    /// The records of a table, as JSON, that an older version wrote or that have other index entries than they should.
    pub(crate) fn stale<R: Record>(&self) -> Result<Vec<(Scope, Arc<str>, Arc<[u8]>)>, StoreError> {
        self.note_range(|| key::table_prefix(R::TABLE));
        let mut stale = Vec::new();
        for (scope, shelf) in self.tables.get(R::TABLE).into_iter().flatten() {
            for (id, row) in &shelf.rows {
                let entries = txn::entries(&*row.try_record::<R>(id)?);
                let same = entries.len() == row.entries.len() && entries.iter().all(|e| row.entries.contains(e));
                if !same || record::version::<R>(id, &row.json)? != R::VERSION {
                    stale.push((scope.clone(), id.clone(), row.json.clone()));
                }
            }
        }
        Ok(stale)
    }

    /// Puts or deletes a record together with its index entries; returns the record that was there.
    pub(crate) fn replace(&mut self, table: &str, scope: &Scope, id: &Arc<str>, new: Option<Row>) -> Option<Row> {
        self.shelf_mut(table, scope).replace(id, new)
    }

    pub(crate) fn row(&self, table: &str, scope: &Scope, id: &str) -> Option<&Row> {
        self.shelf(table, scope)?.rows.get(id)
    }

    /// The id of the record that has this unique value.
    pub(crate) fn holder(&self, table: &str, scope: &Scope, index: &str, value: &str) -> Option<&Arc<str>> {
        self.shelf(table, scope)?.unique.get(index)?.get(value)
    }

    /// Notes that a key was read, while a transaction runs.
    pub(crate) fn note_key(&self, key: impl FnOnce() -> Key, exists: bool) {
        if let Some(reads) = &self.reads {
            reads.lock().unwrap_or_else(PoisonError::into_inner).keys.push((key(), exists));
        }
    }

    fn note_range(&self, prefix: impl FnOnce() -> Key) {
        if let Some(reads) = &self.reads {
            reads.lock().unwrap_or_else(PoisonError::into_inner).ranges.push(prefix());
        }
    }

    /// Takes in what an engine holds or has committed. On an error (the text says what is wrong with which key) the
    /// replica is unusable.
    pub(crate) fn ingest(&mut self, writes: Vec<(Key, Option<Arc<[u8]>>)>) -> Result<BTreeSet<String>, String> {
        let (mut gone, mut new, mut tables) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (key, value) in writes {
            let parsed = key::parse(&key).ok_or_else(|| format!("the key '{key}' is not one of ours"))?;
            match (parsed, value) {
                (Parsed::Row { table, scope, id }, json) => {
                    let shelf = self.shelf_mut(&table, &scope);
                    let row = json.map(|json| {
                        let entries = shelf.rows.get(id.as_str()).map(|old| old.entries.clone()).unwrap_or_default();
                        Row { json, decoded: OnceLock::new(), entries }
                    });
                    shelf.replace(&id.into(), row);
                    tables.insert(table);
                }
                (Parsed::Unique { table, scope, index, value }, Some(id)) => {
                    let id = String::from_utf8(id.to_vec()).map_err(|_| format!("the id at '{key}' is not text"))?;
                    if let Some(holder) = self.holder(&table, &scope, &index, &value).cloned() {
                        let entry = Entry { unique: true, index: index.as_str().into(), value: value.as_str().into() };
                        gone.push((table.clone(), scope.clone(), holder, entry));
                    }
                    new.push((key, table, scope, id, Entry { unique: true, index: index.into(), value: value.into() }));
                }
                (Parsed::Unique { table, scope, index, value }, None) => {
                    if let Some(id) = self.holder(&table, &scope, &index, &value).cloned() {
                        gone.push((table, scope, id, Entry { unique: true, index: index.into(), value: value.into() }));
                    }
                }
                (Parsed::Index { table, scope, index, value, id }, Some(_)) => {
                    let entry = Entry { unique: false, index: index.into(), value: value.into() };
                    new.push((key, table, scope, id, entry));
                }
                (Parsed::Index { table, scope, index, value, id }, None) => {
                    let entry = Entry { unique: false, index: index.into(), value: value.into() };
                    gone.push((table, scope, id.into(), entry));
                }
            }
        }
        for (table, scope, id, entry) in gone {
            self.shelf_mut(&table, &scope).detach(&id, &entry);
        }
        for (key, table, scope, id, entry) in new {
            if !self.shelf_mut(&table, &scope).attach(&id, entry) {
                return Err(format!("the entry '{key}' belongs to record '{id}', which is missing"));
            }
        }
        Ok(tables)
    }

    fn shelf(&self, table: &str, scope: &Scope) -> Option<&Shelf> {
        self.tables.get(table)?.get(scope)
    }

    fn shelf_mut(&mut self, table: &str, scope: &Scope) -> &mut Shelf {
        if !self.tables.contains_key(table) {
            self.tables.insert(table.to_owned(), BTreeMap::new());
        }
        let shelves = self.tables.get_mut(table).expect("inserted above");
        if !shelves.contains_key(scope) {
            shelves.insert(scope.clone(), Shelf::default());
        }
        shelves.get_mut(scope).expect("inserted above")
    }
}

impl Shelf {
    fn row(&self, id: &str) -> &Row {
        self.rows.get(id).expect("an index entry exists exactly as long as its record has it")
    }

    fn replace(&mut self, id: &Arc<str>, new: Option<Row>) -> Option<Row> {
        let old = self.rows.remove(id);
        for entry in old.iter().flat_map(|row| &row.entries) {
            self.unlink(id, entry);
        }
        if let Some(row) = new {
            for entry in &row.entries {
                self.link(id, entry);
            }
            self.rows.insert(id.clone(), row);
        }
        old
    }

    /// Adds an entry to a record that is there; false when it is not.
    fn attach(&mut self, id: &str, entry: Entry) -> bool {
        let Some((id, _)) = self.rows.get_key_value(id) else { return false };
        let id = id.clone();
        self.link(&id, &entry);
        let row = self.rows.get_mut(&id).expect("found above");
        if !row.entries.contains(&entry) {
            row.entries.push(entry);
        }
        true
    }

    fn detach(&mut self, id: &Arc<str>, entry: &Entry) {
        if let Some(row) = self.rows.get_mut(id) {
            row.entries.retain(|e| e != entry);
        }
        self.unlink(id, entry);
    }

    /// A unique value that another record has stays with it: the transaction that wants it fails.
    fn link(&mut self, id: &Arc<str>, entry: &Entry) {
        if entry.unique {
            let values = self.unique.entry(entry.index.clone()).or_default();
            values.entry(entry.value.clone()).or_insert_with(|| id.clone());
        } else {
            let values = self.indexes.entry(entry.index.clone()).or_default();
            values.entry(entry.value.clone()).or_default().insert(id.clone());
        }
    }

    fn unlink(&mut self, id: &Arc<str>, entry: &Entry) {
        if entry.unique {
            if let Some(values) = self.unique.get_mut(&entry.index)
                && values.get(&entry.value) == Some(id)
            {
                values.remove(&entry.value);
            }
        } else if let Some(values) = self.indexes.get_mut(&entry.index)
            && let Some(ids) = values.get_mut(&entry.value)
        {
            ids.remove(id);
            if ids.is_empty() {
                values.remove(&entry.value);
            }
        }
    }
}

impl Row {
    /// The record. Panics when it cannot be read: `Store::migrate` says so at start, before anything depends on it.
    fn record<R: Record>(&self, id: &str) -> Arc<R> {
        self.try_record(id).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_record<R: Record>(&self, id: &str) -> Result<Arc<R>, StoreError> {
        let any = match self.decoded.get() {
            Some(any) => any.clone(),
            None => {
                let fresh: Arc<dyn Any + Send + Sync> = Arc::new(record::decode::<R>(id, &self.json)?);
                self.decoded.get_or_init(|| fresh).clone()
            }
        };
        any.downcast::<R>().map_err(|_| StoreError::Record {
            table: R::TABLE,
            id: id.to_owned(),
            what: "two record types share this table".to_owned(),
        })
    }
}
