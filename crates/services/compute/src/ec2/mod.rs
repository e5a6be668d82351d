//! ec2: VPCs and what is in them, images, launch templates, instances.
//!
//! It owns every record whose table begins with `ec2.`, and is the only one that tells the host driver what to run.
//! Invariant: an address is given out once at a time; an instance's state is moved by requests (what its owner wants) and
//! by the `instances` controller (what its host shows), each in one transaction.
//! It is not the place for policy about how many instances there should be.

mod addresses;
pub mod catalogue;
mod defaults;
mod errors;
mod filters;
mod images;
mod internet_gateways;
mod launch_templates;
mod model;
mod route_tables;
mod security_groups;
mod security_rules;
mod subnets;
mod tags;
mod template_data;
mod vpcs;

use standfast_api::ec2::*;
use standfast_kernel::Service;

pub fn service() -> Service {
    Service::new(&MODEL)
        .op(CreateVpc, vpcs::create)
}
