//! What is printed for people and scripts.
//!
//! Invariant: a reader who has seen enough (`standfast status | head`) ends nothing. What nobody reads is dropped, and a
//! cloud in the foreground goes on.

use std::fmt::Display;
use std::io::Write;

/// A line on standard output.
pub fn line(text: impl Display) {
    text_of(format_args!("{text}\n"));
}

/// Text on standard output, as it is.
pub fn text_of(text: impl Display) {
    bytes(text.to_string().as_bytes());
}

/// Bytes on standard output, as they are.
pub fn bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: not our failure.
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// A line of the log, on standard error: fields, not prose.
pub fn log(level: &str, event: &str, fields: impl Display) {
    let line = format!("level={level} event={event} {fields}");
    // Who outlives its terminal has nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{}", line.trim_end());
}
