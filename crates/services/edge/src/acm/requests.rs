//! RequestCertificate: what is asked for, and what would have to be there for it to be issued.

use standfast_api::acm as api;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::calls::limit;
use super::model::{Certificate, Requested, Source};
use super::{arn, tags, validation};

const NAMES_MAX: usize = 100;
const NAME_LENGTH_MAX: usize = 253;
const KEY_ALGORITHMS: &[&str] = &["RSA_2048", "EC_prime256v1", "EC_secp384r1"];

pub async fn request(cx: Cx, input: api::RequestCertificateInput) -> Result<api::RequestCertificateOutput> {
    if input.certificate_authority_arn.is_some() {
        return Err(Error::client("InvalidArnException", "There are no private certificate authorities here."));
    }
    let mut names = vec![input.domain_name.clone()];
    for name in input.subject_alternative_names.iter().flatten() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names.iter().try_for_each(|name| check_name(name))?;
    if names.len() > NAMES_MAX {
        let message = format!("A certificate is for {NAMES_MAX} names at most; {} are given.", names.len());
        return Err(Error::client("LimitExceededException", message));
    }
    let method = input.validation_method.clone().unwrap_or_else(|| "EMAIL".to_owned());
    if !matches!(method.as_str(), "DNS" | "EMAIL") {
        return Err(Error::client(
            "InvalidParameterException",
            format!("ValidationMethod '{method}' is not available."),
        ));
    }
    let key_algorithm = input.key_algorithm.clone().unwrap_or_else(|| "RSA_2048".to_owned());
    if !KEY_ALGORITHMS.contains(&key_algorithm.as_str()) {
        return Err(validation(format!("KeyAlgorithm '{key_algorithm}' is not one of {}.", KEY_ALGORITHMS.join(", "))));
    }
    let key_algorithm = key_algorithm.replacen('_', "-", 1);
    let requested = Requested { method, key_algorithm, token: input.idempotency_token.clone() };
    let (given, now, scope, id) =
        (tags::parse(input.tags.as_deref().unwrap_or_default())?, cx.now(), cx.scope(), cx.rng().uuid());
    let id = cx
        .txn(|tx| {
            let source = Source::Requested(requested.clone());
            if requested.token.is_some() {
                let same = |certificate: &Certificate| certificate.source == source && certificate.names == names;
                let known = tx.list::<Certificate>(scope).into_iter().find(|(_, certificate)| same(certificate));
                if let Some((id, _)) = known {
                    return Ok(id.to_string());
                }
            }
            limit(tx, scope)?;
            tx.put(scope, &id, Certificate { names: names.clone(), source, created: now, tags: given.clone() });
            Ok(id.clone())
        })
        .await?;
    Ok(api::RequestCertificateOutput { certificate_arn: Some(arn(scope, &id)) })
}

fn check_name(name: &str) -> Result<()> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let plain = name.strip_prefix("*.").unwrap_or(name);
    if name.len() > NAME_LENGTH_MAX || !plain.contains('.') || !plain.split('.').all(label) {
        return Err(validation(format!("'{name}' is not a domain name that a certificate can be for.")));
    }
    Ok(())
}

/// What would prove each name: a record of its zone, which follows from the name alone, as the service's does.
pub fn validations(certificate: &Certificate, requested: &Requested) -> Vec<api::DomainValidation> {
    let validation = |name: &String| {
        let zone = name.strip_prefix("*.").unwrap_or(name);
        let dns = requested.method == "DNS";
        let emails = ["admin", "administrator", "hostmaster", "postmaster", "webmaster"];
        api::DomainValidation {
            domain_name: name.clone(),
            validation_domain: Some(name.clone()),
            validation_status: Some("PENDING_VALIDATION".to_owned()),
            validation_method: Some(requested.method.clone()),
            validation_emails: (!dns).then(|| emails.iter().map(|who| format!("{who}@{zone}")).collect()),
            resource_record: dns.then(|| api::ResourceRecord {
                name: format!("_{}.{zone}.", digest(zone, 0)),
                r#type: "CNAME".to_owned(),
                value: format!("_{}.acm-validations.aws.", digest(zone, 1)),
            }),
            ..Default::default()
        }
    };
    certificate.names.iter().map(validation).collect()
}

/// 32 hexadecimal digits that follow from a name.
fn digest(name: &str, salt: u64) -> String {
    let words = [salt, salt + 2].map(|salt| {
        // FNV-1a: it has to be the same each time, not secret.
        name.bytes()
            .fold(0xcbf2_9ce4_8422_2325 ^ salt, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    });
    format!("{:016x}{:016x}", words[0], words[1])
}
