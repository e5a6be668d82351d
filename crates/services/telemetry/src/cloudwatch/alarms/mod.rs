//! Alarms on metrics and on other alarms: what they watch, the state that follows, and what they do about it.
//!
//! Owns alarms, their history and the actions they owe. Invariant: a state changes in one transaction with its history and
//! with what is owed because of it. It is not here: what is expected of metrics (`anomaly`).

pub mod actions;
pub mod composite;
pub mod controller;
pub mod describe;
pub mod evaluate;
pub mod history;
mod model;
mod notice;
pub mod put;
mod reasons;
pub mod state;
#[cfg(test)]
mod tests;
mod types;

pub use self::describe::query as query_shape;
pub use self::model::{Alarm, Query};
pub use self::put::queries;

/// What wakes the evaluation, and the actions.
pub const ALARMS: &[&str] = &["cloudwatch.alarms"];
pub const OWED: &[&str] = &[<actions::Action as standfast_kernel::owed::Debt>::TABLE];
