//! The network of the linux driver: VPCs as network namespaces with links, routes and nftables rules, over netlink.

#[cfg(target_os = "linux")]
mod links;
#[cfg(target_os = "linux")]
mod namespace;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod nft;

#[cfg(target_os = "linux")]
pub use namespace::in_namespace;
