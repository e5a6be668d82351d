//! The API over HTTP/1.1, on connections that are the API's.
//!
//! Which ones are is decided before (see `processes::front`); only a simulated cloud answers here for load balancers too.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use standfast_console::Console;
use standfast_core::host::INSTANCES_CALL_FROM;
use standfast_kernel::{Cloud, FromInstance};
use tokio::net::{TcpListener, TcpStream};

use crate::{output, own};

/// A request body of the control plane's operations; S3 objects will stream past this.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What becomes of requests whose Host is a load balancer's name.
#[derive(Clone)]
pub enum Sites {
    /// The data plane's process serves them: what comes here has a name that no load balancer has.
    Elsewhere,
    /// Host and path to the status that the simulation gives; 0 when no node of that name is up.
    Simulated(Arc<dyn Fn(&str, &str) -> u16 + Send + Sync>),
}

/// What answers on the API's port. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub cloud: Cloud,
    pub console: Console,
}

/// Serves all that comes to this listener, until the task is dropped.
pub async fn serve(listener: TcpListener, api: Api, sites: Sites) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, api.clone(), sites.clone()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to come back instead of spinning.
                output::log("warn", "accept_failed", format_args!("error={:?}", error.to_string()));
                api.cloud.clock().sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves a connection of which nothing has been read.
pub async fn connection(stream: TcpStream, api: Api, sites: Sites) {
    let _ = stream.set_nodelay(true);
    // Instances' connections are of IPv4 where their origin can be told.
    let from_instance = stream.peer_addr().map_or(true, |peer| peer.is_ipv6() || peer.ip() == INSTANCES_CALL_FROM);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        let (api, sites) = (api.clone(), sites.clone());
        if from_instance {
            request.extensions_mut().insert(FromInstance);
        }
        async move { Ok::<_, Infallible>(answer(api, sites, request).await) }
    });
    // A client that hangs up mid-request is no event of ours.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(api: Api, sites: Sites, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let Api { cloud, console } = api;
    if Console::has(request.uri().path()) {
        let from_instance = request.extensions().get::<FromInstance>().is_some();
        return match collected(request).await {
            Some(request) => console.answer(request, from_instance).await.map(Full::new),
            None => too_large(),
        };
    }
    if let Some(name) = request.uri().path().strip_prefix(own::PREFIX) {
        let from_instance = request.extensions().get::<FromInstance>().is_some();
        return own::answer(&cloud, name, request.uri().query().unwrap_or_default(), from_instance);
    }
    if let Some(certificate) = standfast_messaging::sns::certificate(&cloud, request.uri().path()) {
        return own::with_type("application/x-pem-file", certificate.into());
    }
    let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    if host.contains(".elb.localhost") {
        return site(&sites, host, request.uri().path());
    }
    match collected(request).await {
        Some(request) => cloud.handle(request).await.map(Full::new),
        None => too_large(),
    }
}

/// The request with its whole body, unless that is too large or was cut off.
async fn collected(request: Request<Incoming>) -> Option<Request<Bytes>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.ok()?;
    Some(Request::from_parts(head, body.to_bytes()))
}

fn too_large() -> Response<Full<Bytes>> {
    own::text(StatusCode::PAYLOAD_TOO_LARGE, "The request's body is over 16 MiB or was cut off.\n")
}

/// The answer for a load balancer's name that no data plane took.
fn site(sites: &Sites, host: &str, path: &str) -> Response<Full<Bytes>> {
    let name = host.split(':').next().unwrap_or_default();
    let status = match sites {
        Sites::Elsewhere => None,
        Sites::Simulated(simulated) => StatusCode::from_u16(simulated(name, path)).ok(),
    };
    match status {
        Some(status) => own::text(status, "Simulated: no instance of this cloud runs any program.\n"),
        // Not a 404, which a prober would take for an answer of the site.
        None => {
            let text = "No load balancer has this name, or none of its zones has power.\n";
            let mut response = own::text(StatusCode::SERVICE_UNAVAILABLE, text);
            // The next request is to find its load balancer, which a connection that has come here never would.
            response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
            response
        }
    }
}
