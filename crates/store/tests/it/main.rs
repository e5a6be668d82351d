//! The store through its facade.

mod facade;
