//! The list of services that make a Standfast cloud, and its console. The only one: the binary and the tests start clouds
//! from it.

use standfast_console::{Console, Sources};
use standfast_kernel::{Cloud, Service};

/// Every service.
pub fn services() -> Vec<Service> {
    vec![
        standfast_identity::iam::service(),
        standfast_identity::sts::service(),
        standfast_compute::ec2::service(),
        standfast_compute::autoscaling::service(),
        standfast_compute::autoscaling_plans::service(),
        standfast_compute::application_autoscaling::service(),
        standfast_compute::ssm::service(),
        standfast_edge::acm::service(),
        standfast_edge::elbv2::service(),
        standfast_telemetry::cloudwatch::service(),
        standfast_messaging::sns::service(),
        standfast_messaging::events::service(),
        standfast_deploy::cloudformation::service(),
        standfast_chaos::fis::service(),
    ]
}

/// The console of a cloud of these services.
pub fn console(cloud: &Cloud) -> Console {
    Console::start(cloud, Sources { mails: standfast_messaging::sns::mails, events: standfast_messaging::events::seen })
}
