//! Compute: instances and the networks they are in, and what keeps the right number of them running.

pub mod application_autoscaling;
pub mod autoscaling;
pub mod autoscaling_plans;
pub mod ec2;
mod kept;
pub mod ssm;
