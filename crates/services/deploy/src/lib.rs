//! What deploys other resources: CloudFormation.

pub mod cloudformation;
