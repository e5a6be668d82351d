//! The kinds of alarms.

use standfast_core::Result;

use super::super::errors::invalid;

pub const METRIC: &str = "MetricAlarm";
pub const COMPOSITE: &str = "CompositeAlarm";

/// Which kinds are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub metric: bool,
    pub composite: bool,
}

/// Metric alarms where nothing is said.
pub fn wanted(names: Option<&[String]>) -> Result<Wanted> {
    let Some(names) = names.filter(|names| !names.is_empty()) else {
        return Ok(Wanted { metric: true, composite: false });
    };
    let mut wanted = Wanted { metric: false, composite: false };
    for (i, name) in names.iter().enumerate() {
        match name.as_str() {
            METRIC => wanted.metric = true,
            COMPOSITE => wanted.composite = true,
            other => return Err(invalid(other, format_args!("AlarmTypes.member.{}", i + 1))),
        }
    }
    Ok(wanted)
}
