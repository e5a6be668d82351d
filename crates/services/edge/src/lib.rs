//! The edge: load balancers, and the certificates of their listeners.

pub mod acm;
pub mod elbv2;
