//! Signing keys, and what is signed with them: strings that name a time, a scope and a hash.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use standfast_core::Timestamp;

use super::canonical::sha256;
use super::{ALGORITHM, Credential, TERMINATOR};

/// A key that is good for one day, region and service, with the time that it signs for.
pub(super) struct Key {
    key: Vec<u8>,
    scope: String,
    /// `YYYYMMDDTHHMMSSZ`.
    stamp: String,
}

impl Key {
    pub(super) fn new(secret: &str, credential: &Credential, time: Timestamp) -> Self {
        let parts = [&credential.date, &credential.region, &credential.service, TERMINATOR];
        let first = format!("AWS4{secret}").into_bytes();
        let key = parts.iter().fold(first, |key, part| mac(&key, part.as_bytes()).finalize().into_bytes().to_vec());
        Self { key, scope: credential.scope(), stamp: stamp(time) }
    }

    /// Signs a canonical request.
    pub(super) fn request(&self, canonical: &[u8]) -> Signed {
        self.sign(ALGORITHM, &[&sha256(canonical)])
    }

    /// Signs a chunk of a body, which follows what `previous` signed.
    pub(super) fn chunk(&self, previous: &str, data: &[u8]) -> Signed {
        self.sign("AWS4-HMAC-SHA256-PAYLOAD", &[previous, &sha256(b""), &sha256(data)])
    }

    /// Signs the trailers after the last chunk, `name:value` lines.
    pub(super) fn trailer(&self, previous: &str, lines: &[u8]) -> Signed {
        self.sign("AWS4-HMAC-SHA256-TRAILER", &[previous, &sha256(lines)])
    }

    fn sign(&self, algorithm: &str, lines: &[&str]) -> Signed {
        let text = format!("{algorithm}\n{}\n{}\n{}", self.stamp, self.scope, lines.join("\n"));
        Signed(mac(&self.key, text.as_bytes()))
    }
}

/// The right signature.
pub(super) struct Signed(Hmac<Sha256>);

impl Signed {
    /// Whether this is the right signature; takes as long whatever it is.
    pub(super) fn is(self, signature: &str) -> bool {
        // Other writings of the same digits are not signatures: they would let a cache be asked twice.
        let is_lower = !signature.bytes().any(|byte| byte.is_ascii_uppercase());
        let bytes = hex::decode(signature).unwrap_or_default();
        self.0.verify_slice(&bytes).is_ok() && is_lower
    }

    pub(super) fn text(self) -> String {
        hex::encode(self.0.finalize().into_bytes())
    }
}

/// A time as signatures write it, `YYYYMMDDTHHMMSSZ`.
pub(super) fn stamp(time: Timestamp) -> String {
    let text = time.iso8601();
    let whole = text.split('.').next().unwrap_or(&text);
    let mut stamp: String = whole.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    stamp.push('Z');
    stamp
}

/// Reads `YYYYMMDDTHHMMSSZ`.
pub(super) fn time(stamp: &str) -> Option<Timestamp> {
    let is_digit = |i: usize, byte: u8| matches!(i, 8 | 15) || byte.is_ascii_digit();
    let bytes = stamp.as_bytes();
    let well_formed = bytes.len() == 16 && bytes[8] == b'T' && bytes[15] == b'Z';
    if !well_formed || !bytes.iter().enumerate().all(|(i, byte)| is_digit(i, *byte)) {
        return None;
    }
    let (date, time) = (&stamp[..8], &stamp[9..15]);
    let iso = [&date[..4], "-", &date[4..6], "-", &date[6..], "T", &time[..2], ":", &time[2..4], ":", &time[4..], "Z"];
    iso.concat().parse().ok()
}

fn mac(key: &[u8], data: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac
}
