//! Game days: break a stack on purpose, measure what its users see, and say what it means.
//!
//! Everything goes through a [`World`]: the time, calls of the API, and requests of probes. The command line gives it the
//! real one, the testkit a simulated cloud on virtual time, where a whole game day is the same to the byte every time.
//!
//! Not here: services, hosts, sockets, and any knowledge of the cloud that its API does not tell.

pub mod advice;
mod aim;
mod answers;
mod check;
pub mod estate;
mod inject;
pub mod lint;
pub mod probe;
pub mod report;
mod run;
pub mod site;
pub mod spec;
pub mod times;
pub mod watch;
pub mod world;
pub mod yaml;

pub use run::{Ended, Run, Say};
pub use spec::GameDay;
pub use world::World;
