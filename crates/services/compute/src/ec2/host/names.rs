//! The names by which a VPC's resolver knows what is in it: pure.
//!
//! Which of them a VPC knows is decided in `network`.

use crate::ec2::model::Instance;
use crate::ec2::{convert, defaults};

/// What instances are called that are named for themselves and not for their address.
pub const RESOURCE_NAME: &str = "resource-name";
/// A service gives its interfaces this tag: the tag's value resolves to the private addresses of all that have it.
pub const DNS_NAME_TAG: &str = "aws:standfast:dns-name";

/// `i-0123456789abcdef0.eu-west-1.compute.internal`.
pub fn resource(region: &str, id: &str) -> String {
    format!("{id}.{}", defaults::domain(region))
}

/// The host name that an instance has inside.
pub fn host(region: &str, id: &str, instance: &Instance) -> String {
    if instance.options.hostname_type == RESOURCE_NAME {
        resource(region, id)
    } else {
        convert::private_dns(region, instance.private_ip)
    }
}
