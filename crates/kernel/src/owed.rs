//! What a service owes because of a change: an alarm's action, a notification, a delivery.
//!
//! Invariant: it is a record of the change's own transaction, and is deleted in the transaction that notes how it ended.
//! So it survives SIGKILL and is done at least once, and nobody waits for who it is owed to.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use standfast_core::{Error, Fault, Result, Rng, Scope, Timestamp};
use standfast_store::{Record, Txn};

use crate::controller::Wake;
use crate::cx::Cx;

/// How long after a failure that is not the request's own it is tried again, at first and at most; and for how long.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
const GIVEN_UP_AFTER: Duration = Duration::from_secs(3600);

/// Something that is owed: a kind of record.
pub trait Debt: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Its table, for `On::tables`.
    const TABLE: &'static str;
}

/// A debt with when it came and when to try next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Owed<T> {
    pub what: T,
    pub since: Timestamp,
    pub due: Timestamp,
    pub attempts: u32,
}

impl<T: Debt> Record for Owed<T> {
    const TABLE: &'static str = T::TABLE;
}

/// How a debt ended.
pub struct Ended<'a, T> {
    pub owed: &'a Owed<T>,
    pub error: Option<&'a Error>,
    pub at: Timestamp,
    /// A generator of the transaction's own.
    pub rng: Rng,
}

/// Writes down that something is owed from now on. `id` is new: `Rng::uuid` of a generator of the transaction's own.
pub fn owe<T: Debt>(tx: &mut Txn, scope: &Scope, id: &str, what: T, now: Timestamp) {
    tx.put(scope, id, Owed { what, since: now, due: now, attempts: 0 });
}

/// Does what is due, as a controller on the debt's table. `perform` may run more than once for a debt; `ended` notes its
/// outcome in the transaction that deletes it. A client's error ends it at once, any other is tried again for an hour.
pub async fn settle<T, F, Fut>(cx: &Cx, perform: F, ended: impl Fn(&mut Txn, &Scope, Ended<'_, T>)) -> Result<Wake>
where
    T: Debt,
    F: Fn(Cx, T) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let mut wake = Wake::OnChange;
    for (scope, id, owed) in cx.view(|view| view.all::<Owed<T>>()) {
        let now = cx.now();
        if owed.due > now {
            wake = wake.or(Wake::At(owed.due));
            continue;
        }
        let done = perform(cx.at(&scope), owed.what.clone()).await;
        let (now, seed) = (cx.now(), cx.rng().u64());
        cx.txn(|tx| {
            if tx.get::<Owed<T>>(&scope, &id).is_none() {
                return Ok(());
            }
            match &done {
                Err(error) if error.fault == Fault::Server && now < owed.since + GIVEN_UP_AFTER => {
                    let wait = RETRY_FIRST.saturating_mul(1 << owed.attempts.min(16)).min(RETRY_MAX);
                    tx.put(&scope, &id, Owed { due: now + wait, attempts: owed.attempts + 1, ..(*owed).clone() });
                }
                done => {
                    tx.delete::<Owed<T>>(&scope, &id);
                    let rng = Rng::seeded(seed);
                    ended(tx, &scope, Ended { owed: &owed, error: done.as_ref().err(), at: now, rng });
                }
            }
            Ok(())
        })
        .await?;
    }
    Ok(wake)
}
