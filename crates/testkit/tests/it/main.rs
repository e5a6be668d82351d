//! Behaviour of whole clouds on virtual time.

mod elbv2;
mod faults;
mod malformed;
mod site;
mod time_site;
