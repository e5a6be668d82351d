//! Behaviour of whole clouds on virtual time.

mod faults;
mod malformed;
mod site;
mod time_site;
