//! Graphs of metrics: what a widget's JSON asks for.

pub mod metrics;
