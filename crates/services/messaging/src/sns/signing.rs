//! The cloud's key for messages, and the certificate that proves it.
//!
//! Invariant: there is one key, made when the first message is signed; it is a record, so what was signed before a restart
//! can be verified after it.

use std::time::Duration;

use base64::Engine;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use standfast_core::place::DEFAULT_ACCOUNT;
use standfast_core::{Error, Result, Rng, Scope, Timestamp};
use standfast_kernel::{Cloud, Cx};
use standfast_store::Record;

const BITS: usize = 2048;
const VALID: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const SUBJECT: &str = "sns.standfast.localhost";
/// What the path of the certificate begins with, as on AWS.
const PATH: &str = "/SimpleNotificationService-";
const ID: &str = "key";

/// The key and its certificate, as PEM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    private: String,
    certificate: String,
    /// Part of the certificate's path.
    name: String,
}

impl Record for Key {
    const TABLE: &'static str = "sns.signing";
}

/// The cloud's own key belongs to no region.
fn place() -> Scope {
    Scope::new(DEFAULT_ACCOUNT, "").global()
}

/// The key, made now if this is the first time.
pub async fn key(cx: &Cx) -> Result<std::sync::Arc<Key>> {
    if let Some(key) = cx.view(|view| view.get::<Key>(&place(), ID)) {
        return Ok(key);
    }
    let (seed, now) = (cx.rng().u64(), cx.now());
    let failed = |_| Error::internal("a key for messages could not be made");
    // Aside: the work would hold up everything else.
    let made = tokio::task::spawn_blocking(move || make(seed, now)).await.map_err(failed)??;
    cx.txn(|tx| {
        if let Some(key) = tx.get::<Key>(&place(), ID) {
            return Ok(key);
        }
        tx.put(&place(), ID, made.clone());
        Ok(made.clone().into())
    })
    .await
}

/// The PEM behind a path of the API, if it is the certificate's.
pub fn certificate(cloud: &Cloud, path: &str) -> Option<String> {
    let name = path.strip_prefix(PATH)?.strip_suffix(".pem")?;
    let key = cloud.store().view(|view| view.get::<Key>(&place(), ID))?;
    (key.name == name).then(|| key.certificate.clone())
}

impl Key {
    /// Where the certificate is served.
    pub fn path(&self) -> String {
        format!("{PATH}{}.pem", self.name)
    }

    /// The signature of a text, by SHA-256 where `version` is 2 and by SHA-1 otherwise, as base64.
    pub fn sign(&self, version: &str, text: &str) -> Result<String> {
        let failed = |_| Error::internal("the key for messages cannot be used");
        let key = RsaPrivateKey::from_pkcs8_pem(&self.private).map_err(|_| failed(()))?;
        let signature = match version {
            "2" => key.sign(scheme(&SHA256_PREFIX, 32), &Sha256::digest(text)),
            _ => key.sign(scheme(&SHA1_PREFIX, 20), &Sha1::digest(text)),
        };
        Ok(base64::prelude::BASE64_STANDARD.encode(signature.map_err(|_| failed(()))?))
    }
}

/// What PKCS #1 puts before a digest: its algorithm, as DER.
const SHA1_PREFIX: [u8; 15] =
    [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];
const SHA256_PREFIX: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

fn scheme(prefix: &[u8], digest_bytes: usize) -> Pkcs1v15Sign {
    Pkcs1v15Sign { hash_len: Some(digest_bytes), prefix: prefix.into() }
}

fn make(seed: u64, now: Timestamp) -> Result<Key> {
    let failed = |what: &str| Error::internal(format!("the key for messages could not be {what}"));
    let mut rng = Rng::seeded(seed);
    let key = RsaPrivateKey::new(&mut rng, BITS).map_err(|_| failed("made"))?;
    let private = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| failed("written"))?.to_string();
    let public = key.to_public_key().to_public_key_der().map_err(|_| failed("written"))?;
    let inner = to_be_signed(public.as_bytes(), rng.u64(), now);
    let signature = key
        .sign(scheme(&SHA256_PREFIX, 32), &Sha256::digest(&inner))
        .map_err(|_| failed("used for its certificate"))?;
    let whole = der(0x30, &[&inner, &algorithm(), &der(0x03, &[&[0], &signature])]);
    Ok(Key { private, certificate: pem(&whole), name: rng.hex(32) })
}

/// The part of an X.509 certificate that is signed: of version 3, by itself for itself, without extensions.
fn to_be_signed(public_key: &[u8], serial: u64, now: Timestamp) -> Vec<u8> {
    let version = der(0xa0, &[&der(0x02, &[&[2]])]);
    // A positive number in as many bytes as it needs at most.
    let serial = der(0x02, &[&(serial >> 1 | 1 << 62).to_be_bytes()]);
    let name = der(0x30, &[&der(0x31, &[&der(0x30, &[&COMMON_NAME, &der(0x0c, &[SUBJECT.as_bytes()])])])]);
    let time = |time: Timestamp| der(0x17, &[time.civil().strftime("%y%m%d%H%M%SZ").to_string().as_bytes()]);
    // A clock that is a little behind must not find it too new.
    let validity = der(0x30, &[&time(now - Duration::from_secs(24 * 3600)), &time(now + VALID)]);
    der(0x30, &[&version, &serial, &algorithm(), &name, &validity, &name, public_key])
}

/// The object identifier 2.5.4.3.
const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];

/// sha256WithRSAEncryption.
fn algorithm() -> Vec<u8> {
    let identifier = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    der(0x30, &[&identifier, &[0x05, 0x00]])
}

/// A value of DER: its tag, its length, its parts.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let digits: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
        out.push(0x80 | digits.len() as u8);
        out.extend(digits);
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

fn pem(der: &[u8]) -> String {
    let base64 = base64::prelude::BASE64_STANDARD.encode(der);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use rsa::RsaPublicKey;
    use rsa::pkcs8::DecodePublicKey;
    use x509_cert::Certificate;
    use x509_cert::der::{DecodePem, Encode};

    use super::*;

    #[test]
    fn signatures_are_proved_by_the_certificate() {
        let key = make(7, Timestamp(1_767_225_600_000)).expect("a key");
        let certificate = Certificate::from_pem(&key.certificate).expect("a certificate");
        let inner = certificate.tbs_certificate;
        assert_eq!(inner.subject.to_string(), format!("CN={SUBJECT}"));
        let public = inner.subject_public_key_info.to_der().expect("it was read");
        let public = RsaPublicKey::from_public_key_der(&public).expect("an RSA key");
        let own = inner.to_der().expect("it was read");
        public
            .verify(scheme(&SHA256_PREFIX, 32), &Sha256::digest(&own), certificate.signature.raw_bytes())
            .expect("it signed itself");
        for (version, prefix) in [("1", &SHA1_PREFIX[..]), ("2", &SHA256_PREFIX[..])] {
            let signature = key.sign(version, "text").expect("a signature");
            let signature = base64::prelude::BASE64_STANDARD.decode(signature).expect("base64");
            let digest = if version == "1" { Sha1::digest("text").to_vec() } else { Sha256::digest("text").to_vec() };
            public.verify(scheme(prefix, digest.len()), &digest, &signature).expect("it is the key's");
        }
    }
}
