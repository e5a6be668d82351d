//! The linux driver: an instance is a little machine in namespaces of its own, a VPC is a network (ADR 4).

pub mod ids;
pub mod local;
pub mod volumes;
