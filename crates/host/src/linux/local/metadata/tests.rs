//! The metadata tree as SDKs and cloud-init read it.

use super::*;
use standfast_core::Rng;

fn spec(change: impl FnOnce(&mut InstanceSpec)) -> InstanceSpec {
    let leaves = [
        ("meta-data/ami-id", "ami-1"),
        ("meta-data/iam/info", "{}"),
        ("meta-data/iam/security-credentials/web", "{\"Code\":\"Success\"}"),
        ("meta-data/placement/availability-zone", "eu-west-1a"),
        ("meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA me"),
        ("meta-data/public-keys/=", "0=my-key"),
        ("dynamic/instance-identity/document", "{}"),
    ];
    let tree = leaves.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    let mut spec = crate::linux::local::view::tests::instance();
    spec.metadata = Metadata { enabled: true, tokens_required: false, hop_limit: 2, tree };
    spec.user_data = vec![0x1f, 0x8b, 0xff];
    change(&mut spec);
    spec
}

struct World {
    tokens: Tokens,
    id: Id<Instance>,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let tokens = Tokens::new().expect("the kernel has random bytes");
        Self { tokens, id: Id::new(&Rng::seeded(1)), now: Timestamp(1_000_000) }
    }

    fn ask(&self, spec: &InstanceSpec, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(&self.tokens, self.now, &self.id, spec, &request.body(()).expect("well formed"))
    }

    fn get(&self, spec: &InstanceSpec, path: &str) -> (u16, String) {
        let response = self.ask(spec, Method::GET, path, &[]).response;
        (response.status().as_u16(), body(response))
    }

    fn token(&self, spec: &InstanceSpec, ttl: &str) -> String {
        let answer = self.ask(spec, Method::PUT, "/latest/api/token", &[(TOKEN_TTL, ttl)]);
        assert_eq!((answer.response.status(), answer.hop_limit), (StatusCode::OK, Some(2)));
        assert_eq!(answer.response.headers()[TOKEN_TTL], ttl);
        body(answer.response)
    }

    fn status_with(&self, spec: &InstanceSpec, token: &str) -> u16 {
        self.ask(spec, Method::GET, "/latest/meta-data/ami-id", &[(TOKEN, token)]).response.status().as_u16()
    }
}

fn body(response: Response<Full<Bytes>>) -> String {
    use http_body_util::BodyExt as _;
    let collected = futures_now(response.into_body().collect());
    String::from_utf8_lossy(&collected.expect("a body in memory").to_bytes()).into_owned()
}

/// The result of a future that never waits.
fn futures_now<T>(future: impl Future<Output = T>) -> T {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut cx) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn paths_lead_where_ec2_has_them() {
    let (world, spec) = (World::new(), spec(|_| {}));
    for (path, expected) in [
        ("/latest/", "dynamic\nmeta-data\nuser-data"),
        ("/latest", "dynamic\nmeta-data\nuser-data"),
        ("/latest/meta-data/", "ami-id\niam/\nplacement/\npublic-keys/"),
        ("/2009-04-04/meta-data", "ami-id\niam/\nplacement/\npublic-keys/"),
        ("/2021-07-15//meta-data/ami-id", "ami-1"),
        ("/latest/meta-data/placement/availability-zone/", "eu-west-1a"),
        ("/latest/meta-data/iam/", "info\nsecurity-credentials/"),
        ("/latest/meta-data/iam/security-credentials/", "web"),
        ("/latest/meta-data/iam/security-credentials/web", "{\"Code\":\"Success\"}"),
        ("/latest/meta-data/public-keys/", "0=my-key"),
        ("/latest/meta-data/public-keys/0/", "openssh-key"),
        ("/latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA me"),
        ("/latest/meta-data/placement/availability%2Dzone", "eu-west-1a"),
        ("/latest/dynamic/instance-identity/", "document"),
    ] {
        assert_eq!(world.get(&spec, path), (200, expected.into()), "{path}");
    }
    assert!(world.get(&spec, "/").1.starts_with("1.0\n2007-01-19\n"));
    let (status, text) = world.get(&spec, "/latest/meta-data/nothing");
    assert!(status == 404 && text.contains("<h1>404 - Not Found</h1>"), "{status} {text}");
    assert_eq!(world.get(&spec, "/2006-01-01/meta-data/").0, 404);
    assert_eq!(world.ask(&spec, Method::POST, "/latest/", &[]).response.status(), 405);
}

#[test]
fn user_data_is_what_was_given_byte_for_byte() {
    let world = World::new();
    let response = world.ask(&spec(|_| {}), Method::GET, "/latest/user-data", &[]).response;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/octet-stream");
    let none = spec(|spec| spec.user_data.clear());
    assert_eq!(world.get(&none, "/latest/user-data").0, 404);
    assert_eq!(world.get(&none, "/latest/").1, "dynamic\nmeta-data");
}

#[test]
fn a_token_opens_its_own_instance_until_it_expires() {
    let (mut world, spec) = (World::new(), spec(|spec| spec.metadata.tokens_required = true));
    assert_eq!(world.get(&spec, "/latest/meta-data/ami-id").0, 401);
    let token = world.token(&spec, "60");
    assert_eq!(world.status_with(&spec, &token), 200);
    assert_eq!(world.status_with(&spec, "AAAA"), 401);
    let own = std::mem::replace(&mut world.id, Id::new(&Rng::seeded(2)));
    assert_eq!(world.status_with(&spec, &token), 401, "of another instance");
    world.id = own;
    world.now = world.now + Duration::from_secs(59);
    let response = world.ask(&spec, Method::GET, "/latest/user-data", &[(TOKEN, &token)]).response;
    assert_eq!((response.status().as_u16(), &response.headers()[TOKEN_TTL]), (200, &HeaderValue::from(1)));
    world.now = world.now + Duration::from_secs(1);
    assert_eq!(world.status_with(&spec, &token), 401);
}

#[test]
fn tokens_are_refused_without_a_good_ttl_and_through_proxies() {
    let (world, spec) = (World::new(), spec(|_| {}));
    let put = |headers: &[(&str, &str)]| world.ask(&spec, Method::PUT, "/latest/api/token", headers).response.status();
    for bad in ["0", "21601", "-1", "soon", ""] {
        assert_eq!(put(&[(TOKEN_TTL, bad)]), 400, "{bad}");
    }
    assert_eq!(put(&[]), 400);
    assert_eq!(put(&[(TOKEN_TTL, "60"), (FORWARDED, "10.0.0.9")]), 403);
    assert_eq!(world.status_with(&spec, "a bad token"), 401, "also where none is required");
}

#[test]
fn a_service_that_is_off_tells_nothing() {
    let (world, spec) = (World::new(), spec(|spec| spec.metadata.enabled = false));
    assert_eq!(world.get(&spec, "/latest/meta-data/ami-id").0, 403);
    let put = world.ask(&spec, Method::PUT, "/latest/api/token", &[(TOKEN_TTL, "60")]);
    assert_eq!(put.response.status(), 403);
}
