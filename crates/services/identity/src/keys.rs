//! Access keys of users and of sessions: what the kernel asks for every signed request.
//!
//! Invariant: keys of all accounts live in one scope of the cloud, because a request names its key before anything tells
//! its account. Owns `iam.access_keys` and `sts.sessions`.

use serde::{Deserialize, Serialize};
use standfast_core::{Error, Result, Scope, Timestamp};
use standfast_kernel::{Cloud, KnownKey};
use standfast_store::Record;

/// A user's long-lived key; its id is the access key id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessKey {
    pub account: String,
    pub user_name: String,
    pub user_id: String,
    pub user_arn: String,
    pub secret: String,
    pub active: bool,
    pub created: Timestamp,
}

impl Record for AccessKey {
    const TABLE: &'static str = "iam.access_keys";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("user", user_index(&self.account, &self.user_name))]
    }
}

/// The value under which a user's keys are indexed.
pub fn user_index(account: &str, user_name: &str) -> String {
    format!("{account}/{user_name}")
}

/// A session's temporary key; its id is the access key id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    pub account: String,
    /// The ARN of the assumed role's session, or of the user who asked for a session token.
    pub arn: String,
    pub user_id: String,
    pub secret: String,
    pub token: String,
    pub expires: Timestamp,
}

impl Record for Session {
    const TABLE: &'static str = "sts.sessions";
}

/// The scope of all keys.
pub fn scope() -> Scope {
    Scope::new("cloud", "global")
}

/// What the cloud knows of an access key; an error for one that must not be used.
pub fn find(cloud: &Cloud, id: &str) -> Result<Option<KnownKey>> {
    let refused = |code: &'static str, message: &str| Err(Error::client(code, message).with_status(403));
    let (key, session) = cloud.store().view(|v| (v.get::<AccessKey>(&scope(), id), v.get::<Session>(&scope(), id)));
    if let Some(key) = key {
        if !key.active {
            return refused("InvalidClientTokenId", "The security token included in the request is invalid.");
        }
        return Ok(Some(KnownKey {
            account: key.account.clone(),
            secret: key.secret.clone(),
            arn: key.user_arn.clone(),
            user_id: key.user_id.clone(),
            session_token: None,
        }));
    }
    let Some(session) = session else { return Ok(None) };
    if session.expires <= cloud.clock().now() {
        return refused("ExpiredToken", "The security token included in the request is expired");
    }
    Ok(Some(KnownKey {
        account: session.account.clone(),
        secret: session.secret.clone(),
        arn: session.arn.clone(),
        user_id: session.user_id.clone(),
        session_token: Some(session.token.clone()),
    }))
}

/// An id of the form that IAM gives out: a prefix and 16 or 17 upper-case letters and digits.
pub fn new_id(rng: &standfast_core::Rng, prefix: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let rest: String = (0..16).map(|_| char::from(ALPHABET[rng.below(ALPHABET.len())])).collect();
    format!("{prefix}{rest}")
}

/// A secret of 40 characters.
pub fn new_secret(rng: &standfast_core::Rng) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..40).map(|_| char::from(ALPHABET[rng.below(ALPHABET.len())])).collect()
}
