//! What makes a listener an HTTPS listener: its security policy and its certificates.

use standfast_api::elbv2 as api;
use standfast_core::{Error, Result, Scope, lb};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, given, too_many, unavailable, validation};
use super::model::{Listener, LoadBalancer, Secure};
use super::{catalogue, errors::not_permitted};
use crate::acm;

const DEFAULT_POLICY: &str = "ELBSecurityPolicy-2016-08";
/// Beside the default.
const CERTIFICATES_MAX: usize = 25;

pub fn check_protocol(protocol: &str) -> Result<()> {
    match protocol {
        "HTTP" | "HTTPS" => Ok(()),
        other => Err(Error::client(
            "UnsupportedProtocol",
            format!("Listener protocol '{other}' is not supported by load balancers with type 'application'"),
        )),
    }
}

pub fn refuse_mutual(asked: Option<&api::MutualAuthenticationAttributes>) -> Result<()> {
    match asked.and_then(|asked| asked.mode.as_deref()) {
        None | Some("" | "off") => Ok(()),
        Some(mode) => Err(unavailable(format!("Modes of mutual authentication such as '{mode}'"))),
    }
}

/// What a request says of it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub protocol: Option<&'a str>,
    pub policy: Option<&'a str>,
    pub certificates: Option<&'a [api::Certificate]>,
}

impl Asked<'_> {
    /// What the listener is to have. A policy is ignored where the protocol is HTTP: Terraform sends it.
    pub fn settle(&self, view: &View, scope: &Scope, now: Option<&Listener>) -> Result<Option<Secure>> {
        let before = now.and_then(|listener| listener.secure.clone());
        let arns = self.certificates.unwrap_or_default().iter().filter_map(|one| given(&one.certificate_arn));
        let arns: Vec<&str> = arns.collect();
        if self.protocol.or(now.map(Listener::protocol)) != Some("HTTPS") {
            return match arns.first() {
                Some(_) => Err(validation("Certificates cannot be specified for listeners with protocol 'HTTP'")),
                None => Ok(None),
            };
        }
        let certificate = match arns.as_slice() {
            [] => before.as_ref().and_then(|secure| secure.certificates.first().cloned()),
            [arn] => Some((*arn).to_owned()),
            _ => return Err(validation("Only one certificate can be specified: it is the listener's default")),
        };
        let certificate = certificate
            .ok_or_else(|| validation("A certificate must be specified for listeners with protocol 'HTTPS'"))?;
        check_certificate(view, scope, &certificate)?;
        let policy = self.policy.filter(|policy| !policy.is_empty()).map(str::to_owned);
        let policy = policy.or(before.as_ref().map(|secure| secure.policy.clone()));
        let policy = policy.unwrap_or_else(|| DEFAULT_POLICY.to_owned());
        catalogue::versions(&policy)?;
        let others = before.into_iter().flat_map(|secure| secure.certificates.into_iter().skip(1));
        let others = others.filter(|arn| *arn != certificate);
        Ok(Some(Secure { policy, certificates: [certificate.clone()].into_iter().chain(others).collect() }))
    }
}

fn check_certificate(view: &View, scope: &Scope, arn: &str) -> Result<()> {
    if acm::usable(view, scope, arn).is_some() {
        return Ok(());
    }
    if acm::exists(view, scope, arn) {
        let message = format!(
            "The certificate '{arn}' must have a fully-qualified domain name, a supported signature, and a supported \
             key size: it has not been issued"
        );
        return Err(Error::client("UnsupportedCertificate", message));
    }
    Err(Error::client("CertificateNotFound", format!("Certificate '{arn}' not found")))
}

/// What the data plane is told. A certificate that is gone is left out.
pub fn tls(view: &View, scope: &Scope, secure: &Secure) -> lb::Tls {
    let certificates = secure.certificates.iter().filter_map(|arn| acm::usable(view, scope, arn)).collect();
    // It was known when it was set.
    let versions = catalogue::versions(&secure.policy).unwrap_or(lb::TlsVersions::Both);
    lb::Tls { certificates, versions }
}

/// The load balancers, by ARN, whose listeners use a certificate.
pub fn users_of_certificate(view: &View, scope: &Scope, arn: &str) -> Vec<String> {
    let listeners = view.by_index::<Listener>(scope, "certificate", arn);
    let mut users: Vec<String> =
        listeners.iter().map(|(_, listener)| errors::arn::<LoadBalancer>(scope, &listener.load_balancer)).collect();
    users.sort();
    users.dedup();
    users
}

/// The default, as a listener shows it.
pub fn default_shape(secure: &Secure) -> Vec<api::Certificate> {
    let shape = |arn: &String| api::Certificate { certificate_arn: Some(arn.clone()), is_default: None };
    secure.certificates.iter().take(1).map(shape).collect()
}

fn shapes(secure: &Secure) -> Vec<api::Certificate> {
    let shape = |(index, arn): (usize, &String)| api::Certificate {
        certificate_arn: Some(arn.clone()),
        is_default: Some(index == 0),
    };
    secure.certificates.iter().enumerate().map(shape).collect()
}

pub async fn add(cx: Cx, input: api::AddListenerCertificatesInput) -> Result<api::AddListenerCertificatesOutput> {
    let arns: Vec<&str> = input.certificates.iter().filter_map(|one| given(&one.certificate_arn)).collect();
    let secure = change(&cx, &input.listener_arn, |view, secure| {
        for arn in &arns {
            check_certificate(view, cx.scope(), arn)?;
            if !secure.certificates.iter().any(|known| known == arn) {
                secure.certificates.push((*arn).to_owned());
            }
        }
        if secure.certificates.len() > CERTIFICATES_MAX + 1 {
            return Err(too_many("TooManyCertificates", "certificates on the listener", CERTIFICATES_MAX));
        }
        Ok(())
    })
    .await?;
    let added =
        shapes(&secure).into_iter().filter(|shape| arns.contains(&shape.certificate_arn.as_deref().unwrap_or("")));
    Ok(api::AddListenerCertificatesOutput { certificates: Some(added.collect()) })
}

pub async fn remove(
    cx: Cx,
    input: api::RemoveListenerCertificatesInput,
) -> Result<api::RemoveListenerCertificatesOutput> {
    let arns: Vec<&str> = input.certificates.iter().filter_map(|one| given(&one.certificate_arn)).collect();
    change(&cx, &input.listener_arn, |_, secure| {
        if secure.certificates.first().is_some_and(|default| arns.contains(&default.as_str())) {
            return Err(not_permitted("The default certificate cannot be removed from a listener"));
        }
        secure.certificates.retain(|arn| !arns.contains(&arn.as_str()));
        Ok(())
    })
    .await?;
    Ok(api::RemoveListenerCertificatesOutput {})
}

async fn change(cx: &Cx, listener: &str, change: impl Fn(&View, &mut Secure) -> Result<()>) -> Result<Secure> {
    cx.txn(|tx| {
        let (id, listener) = errors::find::<Listener>(tx, cx.scope(), listener)?;
        let mut listener = Listener::clone(&listener);
        let secure = listener.secure.as_mut();
        let secure =
            secure.ok_or_else(|| validation("Certificates cannot be specified for listeners with protocol 'HTTP'"))?;
        change(tx, secure)?;
        let secure = secure.clone();
        tx.put(cx.scope(), &id, listener);
        Ok(secure)
    })
    .await
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeListenerCertificatesInput,
) -> Result<api::DescribeListenerCertificatesOutput> {
    let (_, listener) = cx.view(|view| errors::find::<Listener>(view, cx.scope(), &input.listener_arn))?;
    let rows = listener.secure.iter().flat_map(shapes).enumerate();
    let rows = rows.map(|(index, shape)| (format!("{index:03}"), shape)).collect();
    let (certificates, next_marker) = errors::paged(rows, input.marker.as_deref(), input.page_size)?;
    Ok(api::DescribeListenerCertificatesOutput { certificates: Some(certificates), next_marker })
}
