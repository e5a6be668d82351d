//! Public keys as OpenSSH writes them, their fingerprints as EC2 gives them, and new keys: pure.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use md5::{Digest, Md5};
use sha2::Sha256;

const MAGIC: &[u8] = b"openssh-key-v1\0";
/// The private part is padded to a multiple of this.
const BLOCK_BYTES: usize = 8;
const PEM_LINE_CHARS: usize = 70;
/// `1.2.840.113549.1.1.1` and NULL: the algorithm of an RSA key.
const RSA_ALGORITHM: &[u8] = &[0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// `rsa` or `ed25519`.
    pub key_type: &'static str,
    /// The whole line.
    pub line: String,
    pub fingerprint: String,
}

/// Reads a line of OpenSSH: type, base64, comment.
pub fn read(line: &str) -> Option<PublicKey> {
    let mut words = line.split_ascii_whitespace();
    let (name, blob) = (words.next()?, BASE64_STANDARD.decode(words.next()?).ok()?);
    let mut fields = Fields(&blob);
    if fields.next()? != name.as_bytes() {
        return None;
    }
    let (key_type, fingerprint) = match name {
        "ssh-ed25519" => {
            fields.next().filter(|key| key.len() == 32)?;
            ("ed25519", ed25519_fingerprint(&blob))
        }
        "ssh-rsa" => {
            let (exponent, modulus) = (fields.next()?, fields.next()?);
            ("rsa", rsa_fingerprint(exponent, modulus))
        }
        _ => return None,
    };
    Some(PublicKey { key_type, line: line.trim().to_owned(), fingerprint })
}

fn ed25519_fingerprint(blob: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha256::digest(blob))
}

/// The MD5 digest of the key in DER, as pairs of digits.
fn rsa_fingerprint(exponent: &[u8], modulus: &[u8]) -> String {
    let integers = [der(2, modulus), der(2, exponent)].concat();
    let bits = [vec![0], der(0x30, &integers)].concat();
    let key = der(0x30, &[RSA_ALGORITHM.to_vec(), der(3, &bits)].concat());
    let pairs: Vec<String> = Md5::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

/// A value of DER: tag, length, content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    if content.len() < 0x80 {
        out.push(content.len() as u8);
    } else {
        let bytes = (content.len() as u32).to_be_bytes();
        let bytes: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
        out.push(0x80 | bytes.len() as u8);
        out.extend(bytes);
    }
    out.extend(content);
    out
}

/// The fields of OpenSSH's wire format: a length of four bytes and as many bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let field = rest.get(..length)?;
        self.0 = &rest[length..];
        Some(field)
    }
}

fn field(out: &mut Vec<u8>, content: &[u8]) {
    out.extend((content.len() as u32).to_be_bytes());
    out.extend(content);
}

/// A line of OpenSSH for an RSA key, whose numbers are given without sign.
pub fn rsa_line(exponent: &[u8], modulus: &[u8], comment: &str) -> String {
    // A leading bit that is set would make the number negative.
    let positive = |bytes: &[u8]| match bytes.first() {
        Some(first) if *first >= 0x80 => [&[0], bytes].concat(),
        _ => bytes.to_vec(),
    };
    let mut blob = Vec::new();
    field(&mut blob, b"ssh-rsa");
    field(&mut blob, &positive(exponent));
    field(&mut blob, &positive(modulus));
    format!("ssh-rsa {} {comment}", BASE64_STANDARD.encode(&blob))
}

/// A new ed25519 key from 32 random bytes: what OpenSSH keeps in a private file, and its public half.
pub fn make(seed: [u8; 32], check: u32, comment: &str) -> (String, PublicKey) {
    let pair = ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new(seed));
    let mut blob = Vec::new();
    field(&mut blob, b"ssh-ed25519");
    field(&mut blob, &pair.pk[..]);
    let mut secret = Vec::new();
    // Twice the same number: whoever decrypts the part sees that the pass phrase was right.
    secret.extend(check.to_be_bytes());
    secret.extend(check.to_be_bytes());
    field(&mut secret, b"ssh-ed25519");
    field(&mut secret, &pair.pk[..]);
    field(&mut secret, &pair.sk[..]);
    field(&mut secret, comment.as_bytes());
    let padding = (BLOCK_BYTES - secret.len() % BLOCK_BYTES) % BLOCK_BYTES;
    secret.extend((1..=padding).map(|n| n as u8));

    let mut file = MAGIC.to_vec();
    field(&mut file, b"none");
    field(&mut file, b"none");
    field(&mut file, b"");
    file.extend(1u32.to_be_bytes());
    field(&mut file, &blob);
    field(&mut file, &secret);
    let line = format!("ssh-ed25519 {} {comment}", BASE64_STANDARD.encode(&blob));
    let public = PublicKey { key_type: "ed25519", line, fingerprint: ed25519_fingerprint(&blob) };
    (pem(&file), public)
}

fn pem(file: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(file);
    let mut out = String::from("-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for start in (0..text.len()).step_by(PEM_LINE_CHARS) {
        out.push_str(&text[start..text.len().min(start + PEM_LINE_CHARS)]);
        out.push('\n');
    }
    out.push_str("-----END OPENSSH PRIVATE KEY-----\n");
    out
}

/// Reads what ImportKeyPair is given, which some clients encode twice.
pub fn read_material(material: &[u8]) -> Option<PublicKey> {
    let text = std::str::from_utf8(material).ok()?.trim();
    read(text).or_else(|| {
        let plain = text.trim_end_matches('=');
        let inner = BASE64_STANDARD_NO_PAD.decode(plain).ok()?;
        read(std::str::from_utf8(&inner).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVtTD0tUeYqLLeADrdGvK6JKCsbHU3jVYD2bF4CtSMj ops@example.com";

    #[test]
    fn public_keys_are_read() {
        let key = read(ED25519).expect("a key");
        assert_eq!((key.key_type, key.line.as_str(), key.fingerprint.len()), ("ed25519", ED25519, 44));
        for bad in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA== x", "nonsense here"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read_material(BASE64_STANDARD.encode(ED25519).as_bytes()), Some(key));
    }

    #[test]
    fn an_rsa_key_s_fingerprint_is_that_of_its_der() {
        // An exponent of 3 and a modulus of one byte: short enough to write the DER by hand.
        let mut blob = Vec::new();
        for part in [&b"ssh-rsa"[..], &[3], &[0x21]] {
            field(&mut blob, part);
        }
        let key = read(&format!("ssh-rsa {}", BASE64_STANDARD.encode(&blob))).expect("a key");
        let der: &[u8] = &[
            0x30, 0x1a, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0, 3, 9, 0, 0x30, 6, 2, 1,
            0x21, 2, 1, 3,
        ];
        let expected: Vec<String> = Md5::digest(der).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((key.key_type, key.fingerprint), ("rsa", expected.join(":")));
    }

    #[test]
    fn a_new_key_s_file_holds_its_public_half() {
        let (private, public) = make([7; 32], 1, "lab");
        assert_eq!(read(&public.line), Some(public.clone()));
        assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        let body: String = private.lines().filter(|line| !line.starts_with('-')).collect();
        let file = BASE64_STANDARD.decode(body).expect("base64");
        let blob = BASE64_STANDARD.decode(public.line.split(' ').nth(1).expect("a blob")).expect("base64");
        assert!(file.windows(blob.len()).any(|window| window == blob));
    }
}
