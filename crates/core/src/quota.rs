//! Quotas of AWS's that whoever plans goes by as well as the service that refuses.

/// Experiments of an account that are active at once in a region.
pub const ACTIVE_EXPERIMENTS: usize = 5;
