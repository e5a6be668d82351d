//! What a cloud measures and tells about itself.

pub mod cloudwatch;
