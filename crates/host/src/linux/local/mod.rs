//! What answers inside a VPC on link-local addresses.
