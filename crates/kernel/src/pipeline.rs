//! From a request's bytes to an answer's.
//!
//! Match service and operation, verify the signature to a principal, decode and validate, run the handler, encode.
//! Every failure on the way is an answer in the request's own protocol.

use bytes::Bytes;
use http::{Request, Response};
use standfast_core::place::{DEFAULT_ACCOUNT, DEFAULT_REGION, Region};
use standfast_core::{Error, Result, Scope};
use standfast_wire::route::{Route, route};
use standfast_wire::{ServiceSchema, chunked, codec, sigv4};

use crate::cloud::Cloud;
use crate::cx::{Cx, Principal};
use crate::faults;

/// Stands for the service of a request that names none, so that its error has an envelope too.
static UNKNOWN: ServiceSchema = ServiceSchema {
    name: "",
    signing_name: "",
    api_version: "",
    protocols: &[],
    target_prefix: None,
    cbor_name: "",
    xml_namespace: "",
    global: true,
    operations: &[],
};

impl Cloud {
    /// Answers one request.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let route = match route(&self.registry().models, &request) {
            Ok(route) => route,
            Err(misrouted) => {
                let id = self.rng().uuid();
                let service = misrouted.service.unwrap_or(&UNKNOWN);
                return codec::encode_error(misrouted.protocol, service, None, &misrouted.error, &id);
            }
        };
        let (service, operation, protocol) = (route.service, route.operation, route.protocol);
        let (scope, principal) = match self.authenticate(&route, &request) {
            Ok(caller) => caller,
            Err(error) => {
                let id = self.rng().uuid();
                return codec::encode_error(protocol, service, Some(operation), &error, &id);
            }
        };
        if let Err(error) = self.authorize(service, operation.name, &scope, &principal) {
            let id = self.rng().uuid();
            return codec::encode_error(protocol, service, Some(operation), &error, &id);
        }
        let prefix = action_prefix(service);
        let fault =
            self.store().view(|view| faults::of_request(view, self.rng(), &scope, &principal, prefix, operation.name));
        if let Some(error) = fault {
            let id = self.rng().uuid();
            return codec::encode_error(protocol, service, Some(operation), &error, &id);
        }
        let cx = Cx::new(self.clone(), scope, principal, service.name).asked_by(request.extensions().get());
        let id = cx.request_id().to_owned();
        match self.answer(cx, &route, request).await {
            Ok(output) => codec::encode_response(protocol, service, operation, output, &id),
            Err(error) => codec::encode_error(protocol, service, Some(operation), &error, &id),
        }
    }

    async fn answer(&self, cx: Cx, route: &Route, request: Request<Bytes>) -> Result<standfast_wire::Struct> {
        let Some(handler) = self.registry().dynamic.get(&(route.service.name, route.operation.name)) else {
            let (service, operation) = (route.service.name, route.operation.name);
            // 400 and not 501: clients retry every 5xx for minutes.
            return Err(Error::client(
                "NotImplemented",
                format!("{service}:{operation} is not implemented by Standfast."),
            )
            .with_status(400));
        };
        let request = chunked::plain_body(request)?;
        let input = codec::decode_request(route.protocol, route.service, route.operation, &request)?;
        handler(cx, input).await
    }

    /// Whether the caller's policies allow the operation.
    fn authorize(&self, service: &ServiceSchema, operation: &str, scope: &Scope, caller: &Principal) -> Result<()> {
        let Some(authorizer) = self.registry().authorizer else { return Ok(()) };
        authorizer(self, scope, caller, &format!("{}:{operation}", action_prefix(service)))
    }

    /// The caller's account, the request's region, and who the caller is.
    fn authenticate(&self, route: &Route, request: &Request<Bytes>) -> Result<(Scope, Principal)> {
        let region = route.region.as_deref().unwrap_or(DEFAULT_REGION);
        if !route.service.global && Region::named(region).is_none() {
            return Err(Error::client(
                "InvalidRegion",
                format!("The region '{region}' is not a region of this cloud."),
            ));
        }
        // A malformed signature is an error; only a request with none at all is anonymous.
        let credential = sigv4::read_credential(request)?;
        let Some(key) = credential.as_ref().map(|credential| credential.access_key.as_str()) else {
            return Ok((Scope::new(DEFAULT_ACCOUNT, region), Principal::Root));
        };
        let known = match self.registry().credentials {
            Some(source) => source(self, key)?,
            None => None,
        };
        let Some(known) = known else {
            let is_account = key.len() == 12 && key.bytes().all(|b| b.is_ascii_digit());
            return Ok((Scope::new(if is_account { key } else { DEFAULT_ACCOUNT }, region), Principal::Root));
        };
        sigv4::verify(request, &known.secret, self.clock().machine_now())?;
        let token = credential.as_ref().and_then(|credential| credential.session_token.as_ref());
        if known.session_token.is_some() && token != known.session_token.as_ref() {
            return Err(Error::client(
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            )
            .with_status(403));
        }
        let principal = Principal::Known { arn: known.arn.into(), user_id: known.user_id.into() };
        Ok((Scope::new(&known.account, region), principal))
    }
}

/// The service's name in policies.
pub(crate) fn action_prefix(service: &ServiceSchema) -> &'static str {
    match service.signing_name {
        "monitoring" => "cloudwatch",
        name => name,
    }
}
