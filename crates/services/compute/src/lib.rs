//! Compute: instances and the networks they are in, and what keeps the right number of them running.

pub mod autoscaling;
pub mod ec2;
mod kept;
pub mod ssm;
