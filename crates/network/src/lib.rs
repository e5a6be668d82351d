//! The network of the linux driver: VPCs as network namespaces with links, routes and nftables rules, over netlink.
