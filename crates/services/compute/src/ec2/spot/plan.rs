//! What becomes of a request for a spot instance: pure.

use std::time::Duration;

use standfast_core::Timestamp;

use crate::ec2::model::{Cause, Interruption, Notice, SpotRequest, SpotState, SpotStatus, State};

/// How long before its interruption an instance is told.
pub const NOTICE: Duration = Duration::from_secs(120);
/// How long an instance stays stopped after an interruption before there is capacity for it again.
pub const CAPACITY_BACK: Duration = Duration::from_secs(120);
/// How long a request that has ended stays visible.
const ENDED_VISIBLE: Duration = Duration::from_secs(48 * 3600);

/// What a plan looks at besides the request.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Its instance, when there is one.
    pub instance: Option<Seen>,
    /// When a service wants its instance to be interrupted.
    pub interruption: Option<Timestamp>,
    /// Whether its price is too low now.
    pub too_low: bool,
    pub now: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub state: State,
    /// It is stopped because its zone has no power.
    pub waits: bool,
}

/// What should happen now.
#[derive(Clone, Debug)]
pub enum Step {
    /// Only the record changes.
    Put(Box<SpotRequest>),
    /// An instance is launched for it.
    Launch,
    /// Its instance is told of its interruption, which the new record says.
    Tell(Box<SpotRequest>),
    /// Its instance is interrupted.
    Interrupt(Box<SpotRequest>),
    /// Its instance, which an interruption has stopped, is started again.
    Resume(Box<SpotRequest>),
    Forget,
}

pub fn status(code: &str, message: &str, now: Timestamp) -> SpotStatus {
    SpotStatus { code: code.to_owned(), message: message.to_owned(), updated: now }
}

/// The request with another state and status.
pub fn moved(request: &SpotRequest, state: SpotState, code: &str, message: &str, now: Timestamp) -> SpotRequest {
    SpotRequest { state, status: status(code, message, now), ..request.clone() }
}

pub fn next(request: &SpotRequest, world: &World) -> Option<Step> {
    match request.state {
        SpotState::Open => open(request, world),
        SpotState::Active => active(request, world),
        SpotState::Disabled => disabled(request, world),
        SpotState::Cancelled if request.instance.is_some() => cancelled(request, world),
        SpotState::Closed | SpotState::Cancelled | SpotState::Failed => {
            (world.now >= request.status.updated + ENDED_VISIBLE).then_some(Step::Forget)
        }
    }
}

/// When `next` may say something else by the clock alone.
pub fn deadline(request: &SpotRequest) -> Option<Timestamp> {
    match request.state {
        SpotState::Open => [request.valid_from, request.valid_until].into_iter().flatten().min(),
        SpotState::Active => request.notice.map(|notice| if notice.told { notice.at } else { notice.at - NOTICE }),
        SpotState::Disabled => request.notice.map(|notice| notice.at + CAPACITY_BACK),
        SpotState::Cancelled if request.instance.is_some() => {
            request.notice.map(|notice| if notice.told { notice.at } else { notice.at - NOTICE })
        }
        SpotState::Closed | SpotState::Cancelled | SpotState::Failed => Some(request.status.updated + ENDED_VISIBLE),
    }
}

fn put(request: SpotRequest) -> Option<Step> {
    Some(Step::Put(Box::new(request)))
}

/// The same request unless it says so already.
fn holding(request: &SpotRequest, code: &str, message: &str, now: Timestamp) -> Option<Step> {
    if request.status.code == code { None } else { put(moved(request, SpotState::Open, code, message, now)) }
}

fn open(request: &SpotRequest, world: &World) -> Option<Step> {
    let now = world.now;
    if request.valid_until.is_some_and(|until| now >= until) {
        let message = "The validity period of your Spot request has expired.";
        return put(moved(request, SpotState::Closed, "schedule-expired", message, now));
    }
    if request.valid_from.is_some_and(|from| now < from) {
        return holding(request, "not-scheduled-yet", "Your Spot request will be evaluated at its start time.", now);
    }
    if world.too_low {
        return holding(request, "price-too-low", "Your price is lower than the minimum required Spot price.", now);
    }
    Some(Step::Launch)
}

/// What a request becomes when its instance is gone: one-time requests are closed, persistent ones open again.
fn without_instance(request: &SpotRequest, code: &str, message: &str, now: Timestamp) -> SpotRequest {
    let gone = SpotRequest { notice: None, ..request.clone() };
    if request.persistent && request.state != SpotState::Cancelled {
        SpotRequest { instance: None, ..moved(&gone, SpotState::Open, code, message, now) }
    } else {
        let state = if request.state == SpotState::Cancelled { SpotState::Cancelled } else { SpotState::Closed };
        moved(&gone, state, code, message, now)
    }
}

fn terminated_by_user(request: &SpotRequest, now: Timestamp) -> Option<Step> {
    let message = "Your Spot instance was terminated by you.";
    put(without_instance(request, "instance-terminated-by-user", message, now))
}

fn active(request: &SpotRequest, world: &World) -> Option<Step> {
    let now = world.now;
    let Some(instance) = world.instance.filter(|seen| !seen.state.is_ending()) else {
        return terminated_by_user(request, now);
    };
    if matches!(instance.state, State::Stopping | State::Stopped) {
        let (code, message) = if instance.waits {
            ("instance-stopped-no-capacity", "Your Spot instance was stopped because its zone has no power.")
        } else {
            ("instance-stopped-by-user", "Your Spot instance was stopped by you.")
        };
        return put(SpotRequest { notice: None, ..moved(request, SpotState::Disabled, code, message, now) });
    }
    notice(request, world)
}

/// The steps of an interruption: noted, told two minutes before, done.
fn notice(request: &SpotRequest, world: &World) -> Option<Step> {
    let now = world.now;
    let Some(notice) = request.notice else {
        let (at, cause) = match (world.interruption, world.too_low) {
            (Some(at), _) => (at.max(now + NOTICE), Cause::Experiment),
            (None, true) => (now + NOTICE, Cause::Price),
            (None, false) => return None,
        };
        return put(SpotRequest { notice: Some(Notice { at, cause, told: false }), ..request.clone() });
    };
    if !notice.told && now + NOTICE >= notice.at {
        let what = match request.interruption {
            Interruption::Terminate => "termination",
            Interruption::Stop => "stop",
        };
        let code =
            format!("marked-for-{what}{}", if notice.cause == Cause::Experiment { "-by-experiment" } else { "" });
        let told = SpotRequest { notice: Some(Notice { told: true, ..notice }), ..request.clone() };
        let message = format!("Your Spot instance is marked for {what}.");
        return Some(Step::Tell(Box::new(moved(&told, request.state, &code, &message, now))));
    }
    if now < notice.at {
        return None;
    }
    let by = match notice.cause {
        Cause::Experiment => "experiment",
        Cause::Price => "price",
    };
    let new = match request.interruption {
        Interruption::Terminate => {
            let message = format!("Your Spot instance was terminated by {by}.");
            without_instance(request, &format!("instance-terminated-by-{by}"), &message, now)
        }
        Interruption::Stop => {
            let (code, message) =
                (format!("instance-stopped-by-{by}"), format!("Your Spot instance was stopped by {by}."));
            let state = if request.state == SpotState::Cancelled { request.state } else { SpotState::Disabled };
            moved(request, state, &code, &message, now)
        }
    };
    Some(Step::Interrupt(Box::new(new)))
}

const FULFILLED: (&str, &str) = ("fulfilled", "Your Spot request is fulfilled.");

fn disabled(request: &SpotRequest, world: &World) -> Option<Step> {
    let now = world.now;
    let Some(instance) = world.instance.filter(|seen| !seen.state.is_ending()) else {
        return terminated_by_user(request, now);
    };
    let up = SpotRequest { notice: None, ..moved(request, SpotState::Active, FULFILLED.0, FULFILLED.1, now) };
    match (instance.state, request.notice) {
        (State::Pending | State::Running, _) => put(up),
        (State::Stopped, Some(notice)) if now >= notice.at + CAPACITY_BACK && !world.too_low => {
            Some(Step::Resume(Box::new(up)))
        }
        _ => None,
    }
}

/// A cancelled request whose instance runs on.
fn cancelled(request: &SpotRequest, world: &World) -> Option<Step> {
    match world.instance.filter(|seen| !seen.state.is_ending()) {
        None => {
            let gone = SpotRequest { instance: None, ..request.clone() };
            if request.status.code.starts_with("instance-") { put(gone) } else { terminated_by_user(&gone, world.now) }
        }
        Some(Seen { state: State::Running | State::Pending, .. }) => notice(request, world),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use standfast_core::Id;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn request(persistent: bool, interruption: Interruption) -> SpotRequest {
        SpotRequest {
            persistent,
            interruption,
            price_max: None,
            valid_from: None,
            valid_until: None,
            launch_group: None,
            zone_group: None,
            launch: Default::default(),
            launches: 1,
            instance: Some(Id::from_text("i-1")),
            zone: None,
            created: NOW,
            state: SpotState::Active,
            status: status("fulfilled", "", NOW),
            notice: None,
            client_token: None,
        }
    }

    fn world(state: State, now: Timestamp) -> World {
        World { instance: Some(Seen { state, waits: false }), interruption: None, too_low: false, now }
    }

    fn new(step: Option<Step>) -> SpotRequest {
        match step.expect("a step") {
            Step::Put(new) | Step::Tell(new) | Step::Interrupt(new) | Step::Resume(new) => *new,
            other => panic!("{other:?} changes nothing"),
        }
    }

    #[test]
    fn an_interruption_is_told_two_minutes_before() {
        let at = NOW + Duration::from_secs(600);
        let asked = |now| World { interruption: Some(at), ..world(State::Running, now) };
        let noted = new(next(&request(false, Interruption::Terminate), &asked(NOW)));
        assert_eq!(deadline(&noted), Some(at - NOTICE));
        assert!(next(&noted, &asked(at - NOTICE - Duration::from_millis(1))).is_none());
        let told = next(&noted, &asked(at - NOTICE));
        assert!(matches!(told, Some(Step::Tell(_))));
        let told = new(told);
        assert_eq!(told.status.code, "marked-for-termination-by-experiment");
        assert!(next(&told, &asked(at - Duration::from_millis(1))).is_none());
        let done = next(&told, &asked(at));
        assert!(matches!(done, Some(Step::Interrupt(_))));
        let done = new(done);
        assert_eq!((done.state, done.status.code.as_str()), (SpotState::Closed, "instance-terminated-by-experiment"));
    }

    #[test]
    fn a_price_that_rises_over_what_is_paid_interrupts() {
        let dear = World { too_low: true, ..world(State::Running, NOW) };
        let noted = new(next(&request(true, Interruption::Terminate), &dear));
        let told = new(next(&noted, &dear));
        assert_eq!(told.status.code, "marked-for-termination");
        let done = new(next(&told, &World { now: NOW + NOTICE, ..dear }));
        assert_eq!((done.state, done.status.code.as_str()), (SpotState::Open, "instance-terminated-by-price"));
        assert_eq!(done.instance, None);
        let held = new(next(&done, &World { instance: None, ..dear }));
        assert_eq!(held.status.code, "price-too-low");
    }

    #[test]
    fn a_stopped_instance_comes_back_with_the_capacity() {
        let at = NOW + NOTICE;
        let notice = Some(Notice { at, cause: Cause::Experiment, told: true });
        let told = SpotRequest { notice, ..request(true, Interruption::Stop) };
        let stopped = new(next(&told, &world(State::Running, at)));
        assert_eq!(
            (stopped.state, stopped.status.code.as_str()),
            (SpotState::Disabled, "instance-stopped-by-experiment")
        );
        assert!(next(&stopped, &world(State::Stopped, at)).is_none());
        let back = next(&stopped, &world(State::Stopped, at + CAPACITY_BACK));
        assert!(matches!(back, Some(Step::Resume(_))));
    }

    #[test]
    fn what_its_user_terminates_ends_a_one_time_request_and_reopens_a_persistent_one() {
        let gone = world(State::ShuttingDown, NOW);
        assert_eq!(new(next(&request(false, Interruption::Terminate), &gone)).state, SpotState::Closed);
        assert_eq!(new(next(&request(true, Interruption::Terminate), &gone)).state, SpotState::Open);
        let cancelled = SpotRequest { state: SpotState::Cancelled, ..request(true, Interruption::Terminate) };
        let ended = new(next(&cancelled, &gone));
        assert_eq!((ended.state, ended.instance), (SpotState::Cancelled, None));
    }
}
