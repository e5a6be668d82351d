//! How a cloud tells people and programs what happens: topics, and the event bus.

pub mod events;
mod pattern;
pub mod sns;
