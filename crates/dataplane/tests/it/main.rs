//! The plane on real sockets: loopback addresses, ports that the system chooses, small backends on threads.

mod bodies;
mod failures;
mod garbage;
mod nodes;
#[cfg(target_os = "linux")]
mod places;
mod requests;
mod simulation;
mod support;
mod tls;
