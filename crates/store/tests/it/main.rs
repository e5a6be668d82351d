//! The store through its facade, over every engine, and over what crashes and damage leave behind.

mod crash;
mod engines;
mod facade;
mod model;
mod pets;
mod refusal;
mod rival;
