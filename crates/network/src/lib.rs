//! The network of the linux driver: VPCs as network namespaces with links, routes and nftables rules, over netlink.
//!
//! `Net` makes the networks of a cloud as `standfast_core::network::NetworkSnapshot` says. It needs root and nothing but the
//! kernel. Invariant: whatever ends the process, the kernel removes every namespace, link, route and rule that it made.
//! See docs/adr/0004-linux-driver.md.
#![cfg(target_os = "linux")]

mod delay;
pub mod egress;
mod flows;
mod inner;
mod internet;
mod links;
mod namespace;
mod net;
mod netlink;
mod nft;
mod rules;
mod vpc;

pub use delay::{can_delay, probe_delay};
pub use internet::probe;
pub use namespace::in_namespace;
pub use net::Net;
