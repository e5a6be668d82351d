//! Reads what is imported: a certificate, its issuers', its key; and whether they belong together.

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use standfast_core::{Result, Timestamp};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::time::Time;

use super::model::{Facts, Imported};
use super::validation;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

const CURVES: &[(&str, &str)] =
    &[("1.2.840.10045.3.1.7", "EC-prime256v1"), ("1.3.132.0.34", "EC-secp384r1"), ("1.3.132.0.35", "EC-secp521r1")];
const SIGNATURES: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.5", "SHA1WITHRSA"),
    ("1.2.840.113549.1.1.11", "SHA256WITHRSA"),
    ("1.2.840.113549.1.1.12", "SHA384WITHRSA"),
    ("1.2.840.113549.1.1.13", "SHA512WITHRSA"),
    ("1.2.840.10045.4.3.2", "SHA256WITHECDSA"),
    ("1.2.840.10045.4.3.3", "SHA384WITHECDSA"),
    ("1.2.840.10045.4.3.4", "SHA512WITHECDSA"),
];

/// What an import comes to, and the names that the certificate is for.
pub fn read(certificate: &[u8], key: &[u8], chain: Option<&[u8]>, at: Timestamp) -> Result<(Vec<String>, Imported)> {
    let text = |bytes: &[u8], what: &str| {
        String::from_utf8(bytes.to_vec()).map_err(|_| validation(format!("The {what} is not in PEM format.")))
    };
    let (certificate, key) = (text(certificate, "certificate")?, text(key, "private key")?);
    let chain = chain.map(|chain| text(chain, "certificate chain")).transpose()?;
    let mut all = certificates(&certificate, "certificate")?;
    if all.len() > 1 {
        let message = "The certificate field contains more than one certificate. You can specify only one \
                       certificate in this field.";
        return Err(validation(message));
    }
    all.extend(chain.as_deref().map(|chain| certificates(chain, "certificate chain")).transpose()?.unwrap_or_default());
    if key.contains("ENCRYPTED") {
        return Err(validation("The private key is encrypted. You must provide it unencrypted."));
    }
    let parsed_key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| validation(format!("The private key is not in PEM format: {error}.")))?;
    let parsed = Certificate::from_der(&all[0])
        .map_err(|error| validation(format!("The certificate field is not a valid X.509 certificate: {error}.")))?;
    CertifiedKey::from_der(all, parsed_key, &default_provider()).map_err(|error| {
        validation(format!("The private key does not match the certificate, or cannot be used: {error}."))
    })?;
    let facts = facts(&parsed)?;
    if facts.not_before > at {
        return Err(validation("The certificate field contains a certificate that is not yet valid."));
    }
    if facts.not_after < at {
        return Err(validation("The certificate field contains an expired certificate."));
    }
    Ok((names(&parsed), Imported { certificate, chain, key, at, facts }))
}

fn certificates(pem: &str, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<std::result::Result<Vec<_>, _>>();
    let all = all.map_err(|error| validation(format!("The {what} is not in PEM format: {error}.")))?;
    if all.is_empty() {
        return Err(validation(format!("The {what} is not in PEM format: it holds no certificate.")));
    }
    Ok(all)
}

fn facts(certificate: &Certificate) -> Result<Facts> {
    let body = &certificate.tbs_certificate;
    let serial: Vec<String> = body.serial_number.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = certificate.signature_algorithm.oid.to_string();
    let signature_name = SIGNATURES.iter().find(|(oid, _)| *oid == signature).map_or(signature.as_str(), |row| row.1);
    Ok(Facts {
        subject: body.subject.to_string(),
        issuer: [ORGANIZATION, COMMON_NAME].iter().find_map(|oid| part(&body.issuer, *oid)).unwrap_or_default(),
        serial: serial.join(":"),
        not_before: timestamp(&body.validity.not_before),
        not_after: timestamp(&body.validity.not_after),
        key_algorithm: key_algorithm(certificate)?,
        signature_algorithm: signature_name.to_owned(),
    })
}

fn timestamp(time: &Time) -> Timestamp {
    Timestamp(i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX))
}

fn key_algorithm(certificate: &Certificate) -> Result<String> {
    let key = &certificate.tbs_certificate.subject_public_key_info;
    let unsupported = || validation(format!("The key algorithm {} is not supported.", key.algorithm.oid));
    if key.algorithm.oid == EC {
        let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
        let curve = curve.ok_or_else(unsupported)?.to_string();
        return CURVES
            .iter()
            .find(|(oid, _)| *oid == curve)
            .map(|(_, name)| (*name).to_owned())
            .ok_or_else(unsupported);
    }
    if key.algorithm.oid != RSA {
        return Err(unsupported());
    }
    // Two integers in a sequence, the modulus first: its length says the size.
    let bits = key.subject_public_key.raw_bytes().len() / 64 * 512;
    Ok(format!("RSA-{bits}"))
}

/// The alternative names that are domains, or else the common name.
fn names(certificate: &Certificate) -> Vec<String> {
    let body = &certificate.tbs_certificate;
    let alternatives = body.get::<SubjectAltName>().ok().flatten().map(|(_, names)| names.0).unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    names.extend(part(&body.subject, COMMON_NAME));
    for alternative in alternatives {
        if let GeneralName::DnsName(name) = alternative
            && !names.iter().any(|known| known == name.as_str())
        {
            names.push(name.as_str().to_owned());
        }
    }
    names
}

/// A part of a name, as text.
fn part(name: &Name, oid: ObjectIdentifier) -> Option<String> {
    let parts = name.0.iter().flat_map(|set| set.0.iter());
    let found = parts.into_iter().find(|part| part.oid == oid)?;
    let der = found.value.to_der().ok()?;
    // A string of any kind: a tag, a length below 128, the characters.
    let text = der.get(2..).filter(|_| der.get(1).is_some_and(|length| *length < 0x80))?;
    String::from_utf8(text.to_vec()).ok()
}
