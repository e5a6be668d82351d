//! The edge: load balancers.

pub mod elbv2;
