//! The report: what was measured, beside what was promised and expected.

pub mod words;
