//! Who callers are: users and roles, their keys, and sessions.

pub mod iam;
mod keys;
pub mod sts;
