//! The one way in: from a request's bytes to a handler and back, from a change to the controllers it concerns.
//!
//! Owns: services as tables of operations and controllers, the request pipeline, the controller runner, credentials.
//! Invariant: whoever calls an operation, over the network or from another service, runs the same handler through
//! this crate. It is not the place for any service's rules.

pub mod cloud;
pub mod controller;
pub mod cx;
pub mod events;
pub mod faults;
pub mod owed;
pub mod pipeline;
pub mod service;
pub mod supervisor;
pub mod zones;

pub use cloud::{Cloud, Config, Planes};
pub use controller::{On, Wake};
pub use cx::{Cx, FromInstance, Principal};
pub use service::{Authorizer, KnownKey, Service};
