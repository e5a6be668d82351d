//! The drivers from outside: what both promise (`conformance`), and what each promises beyond that.

mod conformance;
mod process;
mod process_death;
mod sim;
mod world;
