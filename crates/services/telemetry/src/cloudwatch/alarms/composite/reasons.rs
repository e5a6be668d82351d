//! Why a composite alarm is in its state, in CloudWatch's words and as its data.

use serde_json::json;
use standfast_core::Timestamp;

use super::super::evaluate::State;
use super::super::model::{Alarm, Fresh};
use super::super::reasons::timestamp;

const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAY_MS: i64 = 24 * 3600 * 1000;

/// `latest` is the alarm of the rule that changed its state last.
pub fn reason(arn: &str, state: State, fresh: Option<Fresh>, latest: Option<&Alarm>) -> String {
    let made = match (fresh, latest) {
        (None, Some(child)) => {
            let (state, at) = (child.condition.state.name(), day(child.condition.transitioned));
            return format!("{} transitioned to {state} at {at}", child.arn);
        }
        (Some(Fresh::Created), _) => "created",
        _ => "updated",
    };
    format!("{arn} was {made} and its alarm rule evaluates to {}", state.name())
}

/// What programs read of it: the alarms because of which it is so.
pub fn data<'a>(because: impl Iterator<Item = &'a Alarm>) -> String {
    let one = |alarm: &Alarm| {
        let state = alarm.condition.state.name();
        json!({ "arn": alarm.arn, "state": { "value": state, "timestamp": timestamp(alarm.condition.transitioned) } })
    };
    json!({ "triggeringAlarms": because.map(one).collect::<Vec<_>>() }).to_string()
}

/// `Friday 22 July, 2022 15:57:45 UTC`.
fn day(at: Timestamp) -> String {
    let text = at.iso8601();
    // The first day of 1970 was a Thursday.
    let weekday = DAYS[at.0.div_euclid(DAY_MS).rem_euclid(7) as usize];
    let month = text[5..7].parse::<usize>().ok().and_then(|month| MONTHS.get(month - 1)).unwrap_or(&"");
    format!("{weekday} {} {month}, {} {} UTC", &text[8..10], &text[..4], &text[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_told_in_the_words_of_the_service() {
        let at: Timestamp = "2022-07-22T15:57:45.394Z".parse().expect("a time");
        assert_eq!(day(at), "Friday 22 July, 2022 15:57:45 UTC");
        assert_eq!(
            reason("arn:x", State::Ok, Some(Fresh::Created), None),
            "arn:x was created and its alarm rule evaluates to OK"
        );
    }
}
