//! The mailbox of a cloud that knows no mail server: what would have been sent stays here to be read.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use standfast_core::courier::Mail;
use standfast_core::{Scope, Timestamp};
use standfast_kernel::Cloud;
use standfast_store::{Record, Txn};

/// Mails that an account keeps in a region; older ones go.
const KEPT_MAX: usize = 1000;

/// A mail that was not sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    from: String,
    to: String,
    subject: String,
    body: String,
    at: Timestamp,
}

impl Record for Kept {
    const TABLE: &'static str = "sns.mail";
}

/// Keeps a mail; `unique` tells it from others of the same moment.
pub fn keep(tx: &mut Txn, scope: &Scope, unique: &str, mail: &Mail, at: Timestamp) {
    let Mail { from, to, subject, body } = mail.clone();
    tx.put(scope, &format!("{:016x}-{unique}", at.0), Kept { from, to, subject, body, at });
    let all = tx.list::<Kept>(scope);
    for (id, _) in all.iter().take(all.len().saturating_sub(KEPT_MAX)) {
        tx.delete::<Kept>(scope, id);
    }
}

/// All mails of a region, oldest first.
pub fn list(cloud: &Cloud, region: &str) -> Value {
    let mut all = cloud.store().view(|view| view.all::<Kept>());
    all.retain(|(scope, ..)| &*scope.region == region);
    all.sort_by(|(_, a, _), (_, b, _)| a.cmp(b));
    let shown = |(scope, _, mail): &(Scope, _, std::sync::Arc<Kept>)| {
        json!({
            "At": mail.at.iso8601_seconds(),
            "Account": &*scope.account,
            "From": mail.from,
            "To": mail.to,
            "Subject": mail.subject,
            "Body": mail.body,
        })
    };
    Value::Array(all.iter().map(shown).collect())
}
