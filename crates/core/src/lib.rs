//! What every other crate speaks of: identifiers, addresses, time, chance, errors, and the snapshots that the data
//! planes obey.
//!
//! Invariant: no I/O and no knowledge of any service. Data planes and hosts see nothing of Standfast but this crate.

pub mod arn;
pub mod cidr;
pub mod clock;
pub mod courier;
pub mod cron;
pub mod error;
pub mod host;
pub mod id;
pub mod lb;
pub mod metric;
pub mod name;
pub mod names;
pub mod network;
pub mod page;
pub mod place;
pub mod quota;
pub mod rng;

pub use arn::Arn;
pub use cidr::Cidr;
pub use clock::{Clock, Timestamp};
pub use error::{Error, Fault, Result};
pub use id::{Id, Kind};
pub use place::Scope;
pub use rng::Rng;

/// A boxed future, for the few traits that are used behind a pointer.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
