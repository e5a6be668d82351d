//! CloudFormation: templates in, stacks of real resources out.

pub mod template;
