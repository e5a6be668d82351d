//! Does what is owed to subscriptions: many deliveries at a time, each retried on its subscription's own schedule.
//!
//! Invariants: what is under way is known by its record and its attempt, so nothing is sent twice unless this process ends
//! in between; a slow endpoint holds up nobody but itself; no endpoint gets more in a second than it wants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use standfast_core::courier::{Mail, Undelivered};
use standfast_core::{Result, Scope, Timestamp};
use standfast_kernel::owed::Owed;
use standfast_kernel::{Cx, Wake};
use standfast_store::Txn;

use super::counts;
use super::envelope::{self, Address};
use super::model::{Delivery, Message, Parcel, Subscription, Topic};
use super::retry::{MAIL, Policy, Retry};
use super::{mail, signing};

/// Deliveries under way at one time, of all and of one subscription.
const FLYING_MAX: usize = 256;
const FLYING_PER_SUBSCRIPTION_MAX: usize = 8;
/// How long after its start a delivery that has said nothing is looked after.
const LOOK_AFTER: Duration = Duration::from_secs(30);
const SECOND_MS: i64 = 1000;

/// What is under way.
#[derive(Clone, Default)]
pub struct Flights(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The attempt that is under way, by the delivery.
    attempts: HashMap<(Scope, Arc<str>), u32>,
    lanes: HashMap<(Scope, String), Lane>,
    count: usize,
}

/// A subscription's deliveries.
#[derive(Default)]
struct Lane {
    flying: usize,
    /// When the newest one began, where there is a limit to how many a second may.
    last: Option<Timestamp>,
}

enum Admission {
    Go,
    /// Something has to land first.
    Full,
    At(Timestamp),
}

impl Flights {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_flying(&self, scope: &Scope, id: &Arc<str>, attempt: u32) -> bool {
        self.state().attempts.get(&(scope.clone(), id.clone())) == Some(&attempt)
    }

    fn admit(
        &self,
        scope: &Scope,
        id: &Arc<str>,
        owed: &Owed<Delivery>,
        per_second: Option<u32>,
        now: Timestamp,
    ) -> Admission {
        let mut state = self.state();
        if state.count >= FLYING_MAX {
            return Admission::Full;
        }
        let lane = state.lanes.entry((scope.clone(), owed.what.subscription.clone())).or_default();
        if lane.flying >= FLYING_PER_SUBSCRIPTION_MAX {
            return Admission::Full;
        }
        if let (Some(per_second), Some(last)) = (per_second, lane.last) {
            let next = last.0 + SECOND_MS / i64::from(per_second.max(1));
            if next > now.0 {
                return Admission::At(Timestamp(next));
            }
        }
        lane.flying += 1;
        lane.last = per_second.map(|_| now);
        state.count += 1;
        state.attempts.insert((scope.clone(), id.clone()), owed.attempts);
        Admission::Go
    }

    /// Makes room for others, before the record says so and wakes the controller.
    fn land(&self, scope: &Scope, subscription: &str) {
        let mut state = self.state();
        state.count = state.count.saturating_sub(1);
        let key = (scope.clone(), subscription.to_owned());
        if let Some(lane) = state.lanes.get_mut(&key) {
            lane.flying = lane.flying.saturating_sub(1);
            if lane.flying == 0 && lane.last.is_none() {
                state.lanes.remove(&key);
            }
        }
    }

    /// Forgets an attempt, after the record says how it ended.
    fn forget(&self, scope: &Scope, id: &Arc<str>, attempt: u32) {
        let (mut state, key) = (self.state(), (scope.clone(), id.clone()));
        if state.attempts.get(&key) == Some(&attempt) {
            state.attempts.remove(&key);
        }
    }
}

/// Starts what is due. The controller on deliveries.
pub async fn run(cx: Cx, flights: Flights) -> Result<Wake> {
    let now = cx.now();
    let mut wake = Wake::OnChange;
    for (scope, id, owed) in cx.view(|view| view.all::<Owed<Delivery>>()) {
        if owed.due > now {
            wake = wake.or(Wake::At(owed.due));
            continue;
        }
        if flights.is_flying(&scope, &id, owed.attempts) {
            wake = wake.or(Wake::At(now + LOOK_AFTER));
            continue;
        }
        let to = Recipient::of(&cx, &scope, &owed);
        let per_second = to.as_ref().and_then(|to| to.policy.per_second);
        match flights.admit(&scope, &id, &owed, per_second, now) {
            Admission::Full => wake = wake.or(Wake::At(now + LOOK_AFTER)),
            Admission::At(time) => wake = wake.or(Wake::At(time)),
            Admission::Go => {
                let (there, flights, name) = (cx.at(&scope), flights.clone(), format!("sns/delivery/{id}"));
                cx.cloud().supervisor().spawn(name, async move { fly(&there, &flights, &id, &owed, to).await });
            }
        }
    }
    Ok(wake)
}

/// Whom something is for, as it is now.
struct Recipient {
    subscription: Arc<Subscription>,
    topic: Option<Arc<Topic>>,
    policy: Policy,
}

impl Recipient {
    /// None when the subscription is gone.
    fn of(cx: &Cx, scope: &Scope, owed: &Owed<Delivery>) -> Option<Self> {
        cx.view(|view| {
            let subscription = view.get::<Subscription>(scope, &owed.what.subscription)?;
            let topic = view.get::<Topic>(scope, &subscription.topic);
            let of_topic = topic.as_ref().and_then(|topic| topic.attributes.get("DeliveryPolicy"));
            let policy = Policy::effective(of_topic, subscription.attributes.get("DeliveryPolicy"));
            Some(Self { subscription, topic, policy })
        })
    }

    fn retry(&self) -> Retry {
        if self.subscription.protocol.is_web() { self.policy.retry } else { MAIL }
    }
}

/// How an attempt ended.
enum Landing {
    Arrived,
    /// There is no mail server: it is to be kept.
    Keep(Mail),
    /// Nobody is there any more to whom it is owed.
    Void,
    Failed(Undelivered),
}

async fn fly(cx: &Cx, flights: &Flights, id: &Arc<str>, owed: &Owed<Delivery>, to: Option<Recipient>) {
    let landing = match &to {
        None => Landing::Void,
        Some(to) => attempt(cx, id, owed, to).await.unwrap_or_else(|error| {
            // Of ours, not of the endpoint's: another time.
            Landing::Failed(Undelivered::Passing(error.to_string()))
        }),
    };
    flights.land(cx.scope(), &owed.what.subscription);
    let now = cx.now();
    let noted = cx.txn(|tx| {
        if tx.get::<Owed<Delivery>>(cx.scope(), id).is_some_and(|there| there.attempts == owed.attempts) {
            note(tx, cx.scope(), id, owed, to.as_ref(), &landing, now);
        }
        Ok(())
    });
    if let Err(error) = noted.await {
        eprintln!("level=warn event=delivery_not_noted delivery={id} error={:?}", error.to_string());
    }
    flights.forget(cx.scope(), id, owed.attempts);
}

async fn attempt(cx: &Cx, id: &str, owed: &Owed<Delivery>, to: &Recipient) -> Result<Landing> {
    let key = signing::key(cx).await?;
    let endpoint = format!("http://127.0.0.1:{}", cx.cloud().api_port());
    let attribute = |name: &str| to.topic.as_ref().and_then(|topic| topic.attributes.get(name)).map(String::as_str);
    let address = Address {
        scope: cx.scope(),
        id: &owed.what.subscription,
        subscription: &to.subscription,
        endpoint: &endpoint,
        display_name: attribute("DisplayName").filter(|name| !name.is_empty()),
        signature_version: attribute("SignatureVersion").unwrap_or("1"),
        content_type: to.policy.content_type.as_deref(),
    };
    let courier = &cx.cloud().planes().courier;
    let web = to.subscription.protocol.is_web();
    let (post, mail) = match &owed.what.what {
        Parcel::Confirmation => {
            let number = id.split('/').next().unwrap_or(id);
            match web {
                true => (Some(envelope::confirmation_post(&address, number, owed.since, &key)?), None),
                false => (None, Some(envelope::confirmation_mail(&address, number, owed.since, &key)?)),
            }
        }
        Parcel::Message(number) => {
            let message = cx.view(|view| view.get::<Message>(cx.scope(), number));
            let Some(message) = message else { return Ok(Landing::Void) };
            match web {
                true => (Some(envelope::post(&address, number, &message, &key)?), None),
                false => (None, Some(envelope::mail(&address, number, &message, &key)?)),
            }
        }
    };
    let result = match (post, mail) {
        (Some(post), _) => {
            let url = post.url.clone();
            courier.post(post).await.and_then(|status| judge(&url, status))
        }
        (None, Some(mail)) if !courier.takes_mail() => return Ok(Landing::Keep(mail)),
        (None, Some(mail)) => courier.mail(mail).await,
        (None, None) => Ok(()),
    };
    Ok(result.map_or_else(Landing::Failed, |()| Landing::Arrived))
}

/// What a status says: an endpoint's own mistakes and what asks for patience come again, refusals do not.
fn judge(url: &str, status: u16) -> Result<(), Undelivered> {
    let why = format!("{url}: answered with status {status}");
    match status {
        200..=299 => Ok(()),
        429 | 500.. => Err(Undelivered::Passing(why)),
        _ => Err(Undelivered::Final(why)),
    }
}

/// AWS-DIFF: an endpoint of this machine's loopback at which nobody listens yet counts as confirmed. Nobody else could be
/// asked: who runs the cloud is who would answer there.
fn confirm(tx: &mut Txn, scope: &Scope, id: &str) {
    if let Some(one) = tx.get::<Subscription>(scope, id) {
        tx.put(scope, id, Subscription { confirmed: true, ..(*one).clone() });
    }
}

/// Writes down how an attempt ended.
fn note(
    tx: &mut Txn,
    scope: &Scope,
    id: &str,
    owed: &Owed<Delivery>,
    to: Option<&Recipient>,
    landing: &Landing,
    now: Timestamp,
) {
    let is_message = matches!(owed.what.what, Parcel::Message(_));
    match landing {
        Landing::Failed(why) => {
            let wait = match why {
                Undelivered::Nobody(_) if !is_message => {
                    confirm(tx, scope, &owed.what.subscription);
                    None
                }
                Undelivered::Passing(_) | Undelivered::Nobody(_) => to.and_then(|to| to.retry().wait(owed.attempts)),
                Undelivered::Final(_) => None,
            };
            if let Some(wait) = wait {
                tx.put(scope, id, Owed { due: now + wait, attempts: owed.attempts + 1, ..owed.clone() });
                return;
            }
            let (Undelivered::Passing(text) | Undelivered::Nobody(text) | Undelivered::Final(text)) = why;
            let attempts = owed.attempts + 1;
            let subscription = &owed.what.subscription;
            eprintln!(
                "level=warn event=notification_failed subscription={subscription} attempts={attempts} error={text:?}"
            );
        }
        Landing::Keep(mail) => mail::keep(tx, scope, id, mail, now),
        Landing::Arrived | Landing::Void => {}
    }
    if let Some(to) = to.filter(|_| is_message && !matches!(landing, Landing::Void)) {
        counts::add(tx, scope, &to.subscription.topic, now, |counts| match landing {
            Landing::Failed(_) => counts.failed += 1,
            _ => counts.delivered += 1,
        });
    }
    tx.delete::<Owed<Delivery>>(scope, id);
    if let Parcel::Message(number) = &owed.what.what
        && tx.prefix::<Owed<Delivery>>(scope, &format!("{number}/")).is_empty()
    {
        tx.delete::<Message>(scope, number);
    }
}
