//! Behaviour of whole clouds on virtual time.

mod alarms;
mod autoscaling;
mod cloudformation;
mod cloudformation_crash;
mod cloudformation_network;
mod cloudwatch;
mod composite_alarms;
mod dashboards;
mod ec2;
mod ec2_host;
mod ec2_network;
mod ec2_spot;
mod ec2_storage;
mod elbv2;
mod faults;
mod links;
mod malformed;
mod policies;
mod request_path;
mod site;
mod sns;
mod time_site;
