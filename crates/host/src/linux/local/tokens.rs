//! Session tokens of the metadata service (version 2).
//!
//! A token says until when and, sealed with a secret of this process, for which instance it is valid; nothing is kept, so
//! an instance can ask for any number. After a restart of the host tokens are refused, and clients fetch another.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE as BASE64;
use hmac::{Hmac, Mac};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::Sha256;
use standfast_core::clock::Timestamp;
use standfast_core::id::{Id, Instance};

const SECRET_BYTES: usize = 32;

pub struct Tokens([u8; SECRET_BYTES]);

impl Tokens {
    pub fn new() -> io::Result<Self> {
        let mut secret = [0; SECRET_BYTES];
        // Reads of up to 256 bytes are never short.
        getrandom(&mut secret, GetRandomFlags::empty())?;
        Ok(Self(secret))
    }

    pub fn issue(&self, instance: &Id<Instance>, now: Timestamp, ttl: Duration) -> String {
        let expiry = (now + ttl).0.to_be_bytes();
        let seal = self.seal(instance, expiry).finalize().into_bytes();
        BASE64.encode([&expiry[..], &seal[..]].concat())
    }

    /// How long the token is still valid for the instance; `None` when it is not.
    pub fn remaining(&self, instance: &Id<Instance>, token: &str, now: Timestamp) -> Option<Duration> {
        let bytes = BASE64.decode(token).ok()?;
        let (expiry, seal) = bytes.split_first_chunk::<8>()?;
        self.seal(instance, *expiry).verify_slice(seal).ok()?;
        let expiry = Timestamp(i64::from_be_bytes(*expiry));
        (expiry > now).then(|| expiry.since(now))
    }

    fn seal(&self, instance: &Id<Instance>, expiry: [u8; 8]) -> Hmac<Sha256> {
        let mut seal = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length is good");
        seal.update(&expiry);
        seal.update(instance.as_str().as_bytes());
        seal
    }
}
