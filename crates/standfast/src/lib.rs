//! The list of services that make a Standfast cloud. The only one: the binary and the tests start clouds from it.

use standfast_kernel::Service;

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
