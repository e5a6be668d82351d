//! New RSA keys: what OpenSSH keeps in a private file, their public halves, and fingerprints as EC2 gives them.
//!
//! Keys are made and written down here, and never used.

use rsa::pkcs1::{EncodeRsaPrivateKey, LineEnding};
use rsa::pkcs8::EncodePrivateKey;
use rsa::traits::PublicKeyParts;
use sha1::{Digest, Sha1};
use standfast_core::{Error, Result, Rng};

use super::ssh_keys::PublicKey;

/// The length of the keys that EC2 makes.
const BITS: usize = 2048;

/// A new key: PEM of PKCS #1, and its public half. It takes a good part of a second of a processor.
pub fn make(seed: u64, comment: &str) -> Result<(String, PublicKey)> {
    let failed = |what: &str| Error::internal(format!("an RSA key could not be {what}"));
    let key = rsa::RsaPrivateKey::new(&mut Rng::seeded(seed), BITS).map_err(|_| failed("made"))?;
    let pem = key.to_pkcs1_pem(LineEnding::LF).map_err(|_| failed("written"))?;
    let der = key.to_pkcs8_der().map_err(|_| failed("written"))?;
    // A key that EC2 has made is known by its private half, an imported one by its public half.
    let pairs: Vec<String> = Sha1::digest(der.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let line = super::ssh_keys::rsa_line(&key.e().to_bytes_be(), &key.n().to_bytes_be(), comment);
    Ok((pem.to_string(), PublicKey { key_type: "rsa", line, fingerprint: pairs.join(":") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_pem_and_its_public_half_can_be_imported() {
        let (pem, public) = make(1, "lab").expect("a key");
        assert!(pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
        assert_eq!(public.fingerprint.len(), 59);
        let read = super::super::ssh_keys::read(&public.line).expect("a line of OpenSSH");
        assert_eq!((read.key_type, read.fingerprint.len()), ("rsa", 47));
    }
}
