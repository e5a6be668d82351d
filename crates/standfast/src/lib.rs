//! The list of services that make a Standfast cloud, its console, and what it runs on when it is simulated. The only one:
//! the binary and the tests start clouds from it.

use std::sync::Arc;

use standfast_console::{Console, Sources};
use standfast_dataplane::{SimAnswer, SimLb};
use standfast_host::sim::{SimConfig, SimHost, SimReply};
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

/// Simulated hosts, and simulated load balancers whose targets are the instances on them.
pub fn simulation(config: SimConfig) -> (Arc<SimHost>, Arc<SimLb>) {
    let clock = config.clock.clone();
    let host = SimHost::start(config);
    let answers = host.clone();
    let backend = Arc::new(move |address, path: &str| match answers.answer(address, path) {
        SimReply::Status(status) => SimAnswer::Status(status),
        SimReply::Refused => SimAnswer::Refused,
        SimReply::Timeout => SimAnswer::Timeout,
    });
    (host, Arc::new(SimLb::new(clock, backend)))
}
