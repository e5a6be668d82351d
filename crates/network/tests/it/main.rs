//! Networks with real namespaces and sockets. They need root.
#![cfg(target_os = "linux")]

mod churn;
mod faults;
mod late;
mod open;
mod paths;
mod reach;
mod world;
