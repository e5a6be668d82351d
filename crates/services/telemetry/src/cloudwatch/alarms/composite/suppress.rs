//! How a suppressor keeps a composite alarm from acting, for how long, and what happens then.
//!
//! Invariant: what waits are the actions of the state that the alarm is in. A transition while they wait replaces them; when
//! nothing holds them any more they are owed, once.

use std::time::Duration;

use standfast_core::{Rng, Scope, Timestamp};
use standfast_store::Txn;

use super::super::actions::{self, Owing};
use super::super::evaluate::State;
use super::super::history;
use super::super::model::{Alarm, Composite, Held, HeldBy, Kind, Suppressor};

/// What becomes of actions that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Wait(Held),
    Act,
}

/// What to do about the actions of a state that was just entered. `suppressing` is whether the suppressor is in ALARM,
/// `held` what kept the actions of the state before.
pub fn entered(suppressor: &Suppressor, suppressing: bool, held: Option<Held>, now: Timestamp) -> Next {
    if suppressing {
        // It may have been so for long.
        return Next::Wait(
            held.filter(|held| held.by == HeldBy::Alarm).unwrap_or(Held { by: HeldBy::Alarm, since: now }),
        );
    }
    match held {
        // The extension is from the suppressor's end on, whatever the alarm does.
        Some(held) if held.by != HeldBy::Wait => later(suppressor, false, held, now),
        _ => later(suppressor, false, Held { by: HeldBy::Wait, since: now }, now),
    }
}

/// What to do about actions that wait.
pub fn later(suppressor: &Suppressor, suppressing: bool, held: Held, now: Timestamp) -> Next {
    let held = match (held.by, suppressing) {
        (HeldBy::Alarm, true) => held,
        (_, true) => Held { by: HeldBy::Alarm, since: now },
        (HeldBy::Alarm, false) => Held { by: HeldBy::Extension, since: now },
        _ => held,
    };
    match until(suppressor, &held) {
        Some(until) if until <= now => Next::Act,
        _ => Next::Wait(held),
    }
}

/// When a wait ends by itself.
pub fn until(suppressor: &Suppressor, held: &Held) -> Option<Timestamp> {
    let seconds = match held.by {
        HeldBy::Alarm => return None,
        HeldBy::Wait => suppressor.wait_s,
        HeldBy::Extension => suppressor.extension_s,
    };
    Some(held.since + Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

pub fn reason(composite: &Composite, held: &Held) -> String {
    match (held.by, &composite.suppressor) {
        (HeldBy::Alarm, Some(suppressor)) => format!("Actions suppressed by alarm {}", suppressor.alarm),
        _ => format!("Actions suppressed by {}", held.by.name()),
    }
}

/// Whether an alarm's suppressor is in ALARM.
fn suppressing(tx: &Txn, scope: &Scope, suppressor: &Suppressor) -> bool {
    tx.get::<Alarm>(scope, &suppressor.alarm).is_some_and(|alarm| alarm.condition.state == State::Alarm)
}

/// The alarm, which is to be written with another state, as it is after that transition.
pub fn transition(
    tx: &mut Txn,
    scope: &Scope,
    rng: &Rng,
    name: &str,
    alarm: &Alarm,
    to: State,
    now: Timestamp,
) -> Kind {
    let (Some(composite), Some(suppressor)) =
        (alarm.composite(), alarm.composite().and_then(|own| own.suppressor.as_ref()))
    else {
        return alarm.kind.clone();
    };
    let next = entered(suppressor, suppressing(tx, scope, suppressor), composite.held, now);
    apply(tx, scope, rng, name, alarm, composite, next, to, now)
}

/// Goes on with actions that wait.
pub fn proceed(tx: &mut Txn, scope: &Scope, rng: &Rng, name: &str, alarm: &Alarm, now: Timestamp) {
    let Some(composite) = alarm.composite() else { return };
    let (Some(held), Some(suppressor)) = (composite.held, composite.suppressor.as_ref()) else { return };
    let next = later(suppressor, suppressing(tx, scope, suppressor), held, now);
    if next != Next::Wait(held) {
        let kind = apply(tx, scope, rng, name, alarm, composite, next, alarm.condition.state, now);
        tx.put(scope, name, Alarm { kind, ..alarm.clone() });
    }
}

fn apply(
    tx: &mut Txn,
    scope: &Scope,
    rng: &Rng,
    name: &str,
    alarm: &Alarm,
    composite: &Composite,
    next: Next,
    state: State,
    now: Timestamp,
) -> Kind {
    let held = match next {
        Next::Wait(held) => {
            if composite.held.is_none_or(|before| before.by != held.by) && alarm.actions_enabled {
                history::note(tx, scope, rng, history::held(name, &held, &reason(composite, &held), now));
            }
            Some(held)
        }
        Next::Act => {
            if alarm.actions_enabled {
                let why = Owing { state, at: now, breach: None, lasts: false };
                actions::owe(tx, scope, rng, name, alarm, &why);
            }
            None
        }
    };
    Kind::Composite(Composite { held, ..composite.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: i32 = 2;
    const EXTENSION: i32 = 3;

    /// A second a character: the alarm's states (`A`, `O`), the suppressor's (`!` is ALARM), and then what is to be shown
    /// (`w`ait, `a`larm, `e`xtension, `.` nothing) or is done (the state's letter).
    #[rustfmt::skip]
    const CASES: &[(&str, &str, &str)] = &[
        // The User Guide: not suppressed once the wait is over.
        ("OOAAAAAA", "........", "..wwA..."),
        // Suppressed by the alarm before the wait is over; then the extension.
        ("OOAAAAAAAA", "...!!.....", "..waaeeeA."),
        // The state changes during the wait: it begins again, and the newer state's actions are done.
        ("OOAOOOO", ".......", "..wwwO."),
        // The state changes while the suppressor is in ALARM.
        ("OOAAOOOOOO", "..!!!!....", "..aaaaeeeO"),
        // The state changes during the extension, which goes on.
        ("OAAAOOOO", ".!!.....", ".aaeeeO."),
        // The suppressor comes back during the extension.
        ("OAAAAAAAAA", ".!..!.....", ".aeeaeeeA."),
        // It was in ALARM before the alarm was.
        ("OOAAAAAA", "!!!!....", "..aaeeeA"),
        // It is in ALARM only while nothing waits.
        ("OOOOAAAA", ".!!.....", "....wwA."),
        ("AAAAAAAA", ".!!.....", "........"),
        // It comes too late.
        ("OAAAAAA", "...!!..", ".wwaaee"),
        ("OAAAAAA", "....!..", ".wwA..."),
        // Back and forth: only the last state's actions are done.
        ("OAOAOOOO", "........", ".wwwwwO."),
        ("OAOAAAAA", ".!!!....", ".aaaeeeA"),
    ];

    #[test]
    fn actions_wait_as_documented() {
        let suppressor = Suppressor { alarm: "s".into(), given: "s".into(), wait_s: WAIT, extension_s: EXTENSION };
        for (states, suppressing, expected) in CASES {
            let (mut held, mut before, mut shown) = (None, states.as_bytes()[0], String::new());
            for (i, (state, suppressing)) in states.bytes().zip(suppressing.bytes()).enumerate() {
                let (now, suppressing) = (Timestamp(1000 * i as i64), suppressing == b'!');
                let next = match held {
                    _ if state != before => Some(entered(&suppressor, suppressing, held, now)),
                    Some(held) => Some(later(&suppressor, suppressing, held, now)),
                    None => None,
                };
                before = state;
                (held, shown) = match next {
                    None => (None, shown + "."),
                    Some(Next::Act) => (None, shown + &char::from(state).to_string()),
                    Some(Next::Wait(held)) => {
                        let letter = match held.by {
                            HeldBy::Wait => "w",
                            HeldBy::Alarm => "a",
                            HeldBy::Extension => "e",
                        };
                        (Some(held), shown + letter)
                    }
                };
            }
            assert_eq!(shown, *expected, "{states} with {suppressing}");
        }
    }

    #[test]
    fn without_periods_nothing_waits_but_for_the_suppressor() {
        let suppressor = Suppressor { alarm: "s".into(), given: "s".into(), wait_s: 0, extension_s: 0 };
        let now = Timestamp(5000);
        assert_eq!(entered(&suppressor, false, None, now), Next::Act);
        let held = Held { by: HeldBy::Alarm, since: now };
        assert_eq!(entered(&suppressor, true, None, now), Next::Wait(held));
        assert_eq!(later(&suppressor, false, held, now), Next::Act);
    }
}
