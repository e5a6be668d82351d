//! Certificates: those that were imported, for listeners that end TLS, and requests for new ones.
//!
//! Owns `acm.certificates`. Invariant: a private key leaves its record only for the data plane (`usable`), never through
//! the API. A request stays PENDING_VALIDATION: nothing here answers for a domain before there are hosted zones.

mod calls;
mod model;
mod pem;
mod requests;
mod tags;

use standfast_api::acm as api;
use standfast_core::{Arn, Error, Result, Scope, lb};
use standfast_kernel::Service;
use standfast_store::View;

use self::model::{Certificate, Source};

/// The service's name in ARNs.
const SERVICE: &str = "acm";

/// The table whose changes concern listeners.
pub const TABLE: &str = "acm.certificates";

/// The service's table.
pub fn service() -> Service {
    Service::new(&api::MODEL)
        .op(api::ImportCertificate, calls::import)
        .op(api::RequestCertificate, requests::request)
        .op(api::DescribeCertificate, calls::describe)
        .op(api::GetCertificate, calls::get)
        .op(api::ListCertificates, calls::list)
        .op(api::DeleteCertificate, calls::delete)
        .op(api::AddTagsToCertificate, tags::add)
        .op(api::RemoveTagsFromCertificate, tags::remove)
        .op(api::ListTagsForCertificate, tags::list)
}

/// A certificate with its key, for a listener; `None` when there is none of this ARN that can be used.
pub fn usable(view: &View, scope: &Scope, arn: &str) -> Option<lb::Certificate> {
    let certificate = view.get::<Certificate>(scope, &id(scope, arn).ok()?)?;
    let Source::Imported(imported) = &certificate.source else { return None };
    let chain_pem = [Some(imported.certificate.as_str()), imported.chain.as_deref()].into_iter().flatten();
    let chain_pem = chain_pem.collect::<Vec<_>>().join("\n");
    Some(lb::Certificate { names: certificate.names.clone(), chain_pem, key_pem: imported.key.clone() })
}

pub fn exists(view: &View, scope: &Scope, arn: &str) -> bool {
    find(view, scope, arn).is_ok()
}

fn arn(scope: &Scope, id: &str) -> String {
    Arn::new(SERVICE, scope, format!("certificate/{id}")).to_string()
}

/// The id in an ARN of this account and region.
fn id(scope: &Scope, text: &str) -> Result<String> {
    let invalid = || Error::client("InvalidArnException", format!("The ARN '{text}' is not one of a certificate."));
    let parsed: Arn = text.parse().map_err(|_| invalid())?;
    let id = parsed.resource.strip_prefix("certificate/").filter(|_| parsed.service == SERVICE);
    let id = id.ok_or_else(invalid)?;
    if parsed.scope() != *scope {
        return Err(not_found(text));
    }
    Ok(id.to_owned())
}

fn find(view: &View, scope: &Scope, text: &str) -> Result<(String, Certificate)> {
    let id = id(scope, text)?;
    let certificate = view.get::<Certificate>(scope, &id).ok_or_else(|| not_found(text))?;
    Ok((id, (*certificate).clone()))
}

fn not_found(arn: &str) -> Error {
    Error::client("ResourceNotFoundException", format!("Could not find certificate {arn}."))
}

fn validation(message: impl Into<String>) -> Error {
    Error::client("ValidationException", message)
}
