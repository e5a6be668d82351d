//! ImportCertificate, and what is asked and done with certificates that are there.

use standfast_api::acm as api;
use standfast_core::page::page;
use standfast_core::{Error, Result, Timestamp};
use standfast_kernel::Cx;

use super::model::{Certificate, Source};
use super::{arn, find, not_found, pem, requests, tags, validation};
use crate::elbv2;

/// The service's quota of certificates in a region.
const CERTIFICATES_MAX: usize = 2500;
const PAGE_MAX: i32 = 1000;

pub async fn import(cx: Cx, input: api::ImportCertificateInput) -> Result<api::ImportCertificateOutput> {
    let (now, scope) = (cx.now(), cx.scope());
    let chain = input.certificate_chain.as_ref().map(|chain| chain.0.as_ref());
    let (names, imported) = pem::read(&input.certificate.0, &input.private_key.0, chain, now)?;
    let given = tags::parse(input.tags.as_deref().unwrap_or_default())?;
    if input.certificate_arn.is_some() && !given.is_empty() {
        return Err(validation("You cannot apply tags when reimporting a certificate."));
    }
    let new_id = cx.rng().uuid();
    let id = cx
        .txn(|tx| {
            let source = Source::Imported(Box::new(imported.clone()));
            let (id, certificate) = match &input.certificate_arn {
                Some(text) => {
                    let (id, old) = find(tx, scope, text)?;
                    if matches!(old.source, Source::Requested(_)) {
                        return Err(validation("Only an imported certificate can be imported again."));
                    }
                    (id, Certificate { names: names.clone(), source, ..old })
                }
                None => {
                    limit(tx, scope)?;
                    let tags = given.clone();
                    (new_id.clone(), Certificate { names: names.clone(), source, created: now, tags })
                }
            };
            tx.put(scope, &id, certificate);
            Ok(id)
        })
        .await?;
    Ok(api::ImportCertificateOutput { certificate_arn: Some(arn(scope, &id)) })
}

/// Refuses one more certificate than the quota.
pub fn limit(view: &standfast_store::View, scope: &standfast_core::Scope) -> Result<()> {
    if view.list::<Certificate>(scope).len() >= CERTIFICATES_MAX {
        let message = format!("The region has {CERTIFICATES_MAX} certificates at most.");
        return Err(Error::client("LimitExceededException", message));
    }
    Ok(())
}

pub async fn describe(cx: Cx, input: api::DescribeCertificateInput) -> Result<api::DescribeCertificateOutput> {
    let now = cx.now();
    let detail = cx.view(|view| {
        let (id, certificate) = find(view, cx.scope(), &input.certificate_arn)?;
        let arn = arn(cx.scope(), &id);
        let users = elbv2::users_of_certificate(view, cx.scope(), &arn);
        Ok::<_, Error>(detail(&certificate, arn, users, now))
    })?;
    Ok(api::DescribeCertificateOutput { certificate: Some(detail) })
}

fn detail(certificate: &Certificate, arn: String, users: Vec<String>, now: Timestamp) -> api::CertificateDetail {
    let preference = Some("ENABLED".to_owned());
    let mut detail = api::CertificateDetail {
        certificate_arn: Some(arn),
        domain_name: certificate.names.first().cloned(),
        subject_alternative_names: Some(certificate.names.clone()),
        created_at: Some(certificate.created),
        status: Some(certificate.status(now).to_owned()),
        key_algorithm: Some(certificate.key_algorithm().to_owned()),
        in_use_by: Some(users),
        r#type: Some(certificate.kind().to_owned()),
        renewal_eligibility: Some("INELIGIBLE".to_owned()),
        options: Some(api::CertificateOptions {
            certificate_transparency_logging_preference: preference,
            export: Some("DISABLED".to_owned()),
        }),
        ..Default::default()
    };
    match &certificate.source {
        Source::Imported(imported) => {
            let facts = &imported.facts;
            detail.imported_at = Some(imported.at);
            detail.subject = Some(facts.subject.clone());
            detail.issuer = Some(facts.issuer.clone());
            detail.serial = Some(facts.serial.clone());
            detail.not_before = Some(facts.not_before);
            detail.not_after = Some(facts.not_after);
            detail.signature_algorithm = Some(facts.signature_algorithm.clone());
        }
        Source::Requested(requested) => {
            detail.subject = certificate.names.first().map(|name| format!("CN={name}"));
            detail.issuer = Some("Amazon".to_owned());
            detail.signature_algorithm = Some("SHA256WITHRSA".to_owned());
            detail.domain_validation_options = Some(requests::validations(certificate, requested));
        }
    }
    detail
}

pub async fn get(cx: Cx, input: api::GetCertificateInput) -> Result<api::GetCertificateOutput> {
    let (_, certificate) = cx.view(|view| find(view, cx.scope(), &input.certificate_arn))?;
    let Source::Imported(imported) = certificate.source else {
        let message = format!("The certificate {} has not been issued.", input.certificate_arn);
        return Err(Error::client("RequestInProgressException", message));
    };
    Ok(api::GetCertificateOutput { certificate: Some(imported.certificate), certificate_chain: imported.chain })
}

pub async fn list(cx: Cx, input: api::ListCertificatesInput) -> Result<api::ListCertificatesOutput> {
    let limit = input.max_items.unwrap_or(PAGE_MAX);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(validation(format!("MaxItems must be between 1 and {PAGE_MAX}; it is {limit}.")));
    }
    let now = cx.now();
    let statuses = input.certificate_statuses.unwrap_or_default();
    let key_types = input.includes.and_then(|filters| filters.key_types);
    let rows = cx.view(|view| {
        let fits = |certificate: &Certificate| {
            // Without a filter the service lists RSA of 1024 and 2048 bits alone; this lists all.
            let key = certificate.key_algorithm().replace('-', "_");
            (statuses.is_empty() || statuses.iter().any(|status| status == certificate.status(now)))
                && key_types.as_ref().is_none_or(|types| types.contains(&key))
        };
        let rows = view.list::<Certificate>(cx.scope()).into_iter().filter(|(_, certificate)| fits(certificate));
        let row = |(id, certificate): (std::sync::Arc<str>, std::sync::Arc<Certificate>)| {
            let arn = arn(cx.scope(), &id);
            let in_use = !elbv2::users_of_certificate(view, cx.scope(), &arn).is_empty();
            summary(&certificate, arn, in_use, now)
        };
        rows.map(row).collect::<Vec<_>>()
    });
    let key = |row: &api::CertificateSummary| row.certificate_arn.clone().unwrap_or_default();
    let page = page(rows, key, input.next_token.as_deref(), limit as usize, "ValidationException")?;
    Ok(api::ListCertificatesOutput { certificate_summary_list: Some(page.items), next_token: page.next })
}

fn summary(certificate: &Certificate, arn: String, in_use: bool, now: Timestamp) -> api::CertificateSummary {
    let mut summary = api::CertificateSummary {
        certificate_arn: Some(arn),
        domain_name: certificate.names.first().cloned(),
        subject_alternative_name_summaries: Some(certificate.names.clone()),
        has_additional_subject_alternative_names: Some(false),
        status: Some(certificate.status(now).to_owned()),
        r#type: Some(certificate.kind().to_owned()),
        key_algorithm: Some(certificate.key_algorithm().to_owned()),
        in_use: Some(in_use),
        renewal_eligibility: Some("INELIGIBLE".to_owned()),
        created_at: Some(certificate.created),
        ..Default::default()
    };
    if let Source::Imported(imported) = &certificate.source {
        summary.imported_at = Some(imported.at);
        summary.not_before = Some(imported.facts.not_before);
        summary.not_after = Some(imported.facts.not_after);
    }
    summary
}

pub async fn delete(cx: Cx, input: api::DeleteCertificateInput) -> Result<api::DeleteCertificateOutput> {
    cx.txn(|tx| {
        let (id, _) = find(tx, cx.scope(), &input.certificate_arn)?;
        let arn = arn(cx.scope(), &id);
        if !elbv2::users_of_certificate(tx, cx.scope(), &arn).is_empty() {
            let message = format!("Certificate {arn} in account {} is in use.", cx.account());
            return Err(Error::client("ResourceInUseException", message));
        }
        if tx.get::<Certificate>(cx.scope(), &id).is_none() {
            return Err(not_found(&arn));
        }
        tx.delete::<Certificate>(cx.scope(), &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteCertificateOutput {})
}
