//! The transactional, ordered key-value store under the control plane.
//!
//! It owns the records of every service: what a committed transaction wrote is durable before its caller hears of it,
//! and reads come from a replica in memory that holds all of it. The facade ([`Store`], [`Txn`], [`View`], [`Watch`]) is
//! the same over every [`engine::Engine`].
//!
//! Invariants: what was acknowledged survives SIGKILL; a transaction is there as a whole or not at all, its index
//! entries included; a store that is not ours, is newer or is damaged is refused and left as it was; after a failed
//! write nothing more is acknowledged.
//!
//! It is not: a query engine; a cache; a place for bulk data (queue messages, metric points) in records, which all fit
//! into memory. Such data has collections and logs of its own beside the records ([`bulk`]).

pub mod bulk;
pub mod engine;
mod error;
mod key;
mod record;
mod store;
mod txn;
mod view;
mod watch;

pub use error::StoreError;
pub use key::Key;
pub use record::Record;
pub use store::Store;
pub use txn::Txn;
pub use view::View;
pub use watch::Watch;
