//! The command line's own client: the same calls, on the same wire, as everyone's.

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http_body_util::Full;
use serde_json::Value as Json;
use standfast_core::{Clock, Error};
use standfast_wire::{ServiceSchema, Struct, Value, codec, sigv4};

use crate::http_client::{Connection, Place, place};
use crate::own;

/// A client of one endpoint and region.
#[derive(Clone)]
pub struct ApiClient {
    place: Place,
    endpoint: String,
    region: String,
    credentials: sigv4::Credentials,
    clock: Clock,
}

/// Those of the environment, as the aws CLI finds them: the access key is the account. Without any, the default
/// account's; the cloud accepts any key that its iam does not know.
fn credentials() -> sigv4::Credentials {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        (Some(access_key), Some(secret_key)) => {
            sigv4::Credentials { access_key, secret_key, session_token: variable("AWS_SESSION_TOKEN") }
        }
        _ => sigv4::Credentials { access_key: "standfast".into(), secret_key: "standfast".into(), session_token: None },
    }
}

impl ApiClient {
    pub fn new(endpoint: &str, region: &str) -> Result<Self> {
        let place = place(endpoint).context("reading the endpoint")?;
        let (endpoint, region) = (endpoint.to_owned(), region.to_owned());
        Ok(Self { place, endpoint, region, credentials: credentials(), clock: Clock::system(1.0) })
    }

    /// The same with other credentials than the environment's.
    pub fn signing_with(self, credentials: sigv4::Credentials) -> Self {
        Self { credentials, ..self }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn region(&self) -> &str {
        &self.region
    }

    /// Whether a cloud answers.
    pub async fn is_up(&self) -> bool {
        self.own("health").await.is_ok()
    }

    /// What the cloud tells of itself under a name (see `own`).
    pub async fn own(&self, name: &str) -> Result<Bytes> {
        let path = format!("{}{name}", own::PREFIX);
        let request = http::Request::get(&path).header("host", &self.place.host).body(Full::default())?;
        let mut connection = Connection::open(self.place.address)
            .await
            .with_context(|| format!("no cloud answers at {}; start one with `standfast server`", self.endpoint))?;
        let answer = connection.send(request).await?;
        if answer.status() != 200 {
            bail!("{path} answers {}: {}", answer.status(), String::from_utf8_lossy(answer.body()).trim_end());
        }
        Ok(answer.into_body())
    }

    /// Calls an operation. Members are named as in the API's model; the answer is JSON of the same form.
    ///
    /// An error of the API is a `standfast_core::Error` inside the returned error.
    pub async fn call(&self, service: &'static ServiceSchema, operation: &str, input: Json) -> Result<Json> {
        let op = service.operation(operation).ok_or_else(|| anyhow!("{} has no {operation}", service.name))?;
        let input = Struct::from_json(&input, op.input).map_err(|error| anyhow!("{operation}: {error}"))?;
        let protocol = service.protocols[0];
        let mut request = codec::encode_request(protocol, service, op, &input);
        request.headers_mut().insert("host", self.place.host.parse().context("the endpoint's host")?);
        sigv4::sign(&mut request, &self.credentials, &self.region, service.signing_name, self.clock.now())?;
        let mut connection = Connection::open(self.place.address)
            .await
            .with_context(|| format!("no cloud answers at {}; start one with `standfast server`", self.endpoint))?;
        let answer = connection.send(request.map(|body: Bytes| Full::new(body))).await?;
        let output = codec::decode_response(protocol, service, op, &answer)?;
        Ok(Value::Struct(output).to_json())
    }

    /// Calls an operation until its pages end and joins the lists under `key`.
    pub async fn list(
        &self,
        service: &'static ServiceSchema,
        operation: &str,
        input: Json,
        key: &str,
    ) -> Result<Vec<Json>> {
        /// A listing this long is a loop in the tokens.
        const PAGES_MAX: usize = 1000;
        let mut all = Vec::new();
        let mut input = input;
        for _ in 0..PAGES_MAX {
            let mut page = self.call(service, operation, input.clone()).await?;
            if let Some(Json::Array(items)) = page.get_mut(key).map(Json::take) {
                all.extend(items);
            }
            let Some((name, token)) = ["NextToken", "nextToken", "NextMarker"]
                .iter()
                .find_map(|name| Some((*name, page.get(*name)?.as_str().filter(|t| !t.is_empty())?.to_owned())))
            else {
                return Ok(all);
            };
            input[if name == "NextMarker" { "Marker" } else { name }] = token.into();
        }
        bail!("{operation} gave over {PAGES_MAX} pages")
    }
}

/// The API's error inside an error, if it is one.
pub fn api_error(error: &anyhow::Error) -> Option<&Error> {
    error.downcast_ref::<Error>()
}
