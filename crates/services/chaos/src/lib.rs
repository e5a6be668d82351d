//! Breaking things on purpose.

pub mod fis;
