//! Listeners that speak TLS with clients.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use standfast_core::lb::{Action, Certificate, LbDriver, Rule, Tls, TlsVersions};

use crate::support::*;

const SHOP: &str = "shop.example";
const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

/// A certificate for names, and that a client trusts it.
fn certificate(names: &[&str], roots: &mut RootCertStore) -> Certificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made: CertifiedKey<KeyPair> = rcgen::generate_simple_self_signed(names.clone()).expect("a certificate");
    roots.add(made.cert.der().clone()).expect("it can be trusted");
    Certificate { names, chain_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() }
}

struct World {
    cloud: Cloud,
    roots: Arc<RootCertStore>,
}

impl World {
    fn start(targets: Vec<standfast_core::lb::Target>, versions: TlsVersions) -> Self {
        let mut roots = RootCertStore::empty();
        let certificates = vec![certificate(&[SHOP], &mut roots), certificate(&["*.other.example"], &mut roots)];
        let mut snapshot = snapshot(group(targets));
        snapshot.load_balancers[0].listeners[0].tls = Some(Tls { certificates, versions });
        let cloud = Cloud::start(snapshot);
        cloud.wait_healthy();
        Self { cloud, roots: Arc::new(roots) }
    }

    fn client(&self, name: &str, versions: &[&'static SupportedProtocolVersion]) -> ClientConnection {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
        let config = config.with_root_certificates(self.roots.clone()).with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        ClientConnection::new(Arc::new(config), name).expect("a client")
    }

    fn browse(&self, name: &str) -> Secure {
        let stream = TcpStream::connect(self.cloud.address(0)).expect("connect");
        stream.set_read_timeout(Some(LIMIT)).expect("timeout");
        Secure(BufReader::new(StreamOwned::new(self.client(name, BOTH), stream)))
    }
}

struct Secure(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Secure {
    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("send");
    }

    fn get(&mut self, path: &str) -> Got {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {SHOP}\r\n\r\n").as_bytes());
        self.receive()
    }

    fn receive(&mut self) -> Got {
        read_message(&mut self.0).expect("an answer")
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.get_ref().conn.peer_certificates().expect("a handshake")[0].clone()
    }
}

#[test]
fn requests_come_through_and_targets_learn_how() {
    let backend = Backend::named("a");
    let world = World::start(vec![target("i-a", backend.address)], TlsVersions::Both);
    let mut browser = world.browse(SHOP);
    for _ in 0..3 {
        assert_eq!(browser.get("/x").text(), "a");
    }
    let got = &backend.seen()[0];
    assert_eq!(got.header("x-forwarded-proto"), Some("https"));
    assert_eq!(world.cloud.metric("NewConnectionCount"), 1.0);
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let backend = Backend::named("a");
    let world = World::start(vec![target("i-a", backend.address)], TlsVersions::Both);
    let (mut shop, mut other) = (world.browse(SHOP), world.browse("www.other.example"));
    assert_eq!((shop.get("/").status(), other.get("/").status()), (200, 200));
    assert_ne!(shop.certificate(), other.certificate());
}

#[test]
fn large_bodies_come_whole_in_both_directions() {
    const SIZE: usize = 3 << 20;
    let backend = Backend::start(|got, stream| answer(stream, 200, &got.body));
    let world = World::start(vec![target("i-a", backend.address)], TlsVersions::Both);
    let body: Vec<u8> = (0..SIZE).map(|index| (index % 251) as u8).collect();
    let head = format!("POST / HTTP/1.1\r\nHost: {SHOP}\r\nConnection: close\r\nContent-Length: {SIZE}\r\n\r\n");
    let mut browser = world.browse(SHOP);
    browser.send(head.as_bytes());
    browser.send(&body);
    assert!(browser.receive().body == body, "the body came back as it was");
    let mut rest = Vec::new();
    // Without the farewell of TLS this would be an error.
    assert_eq!(browser.0.read_to_end(&mut rest).expect("a farewell"), 0);
}

#[test]
fn answers_of_the_load_balancer_itself_know_the_scheme() {
    let backend = Backend::named("a");
    let mut world = World::start(vec![target("i-a", backend.address)], TlsVersions::Both);
    let redirect = Action::Redirect {
        status: 302,
        protocol: "#{protocol}".into(),
        host: "#{host}".into(),
        port: "8443".into(),
        path: "/#{path}".into(),
        query: String::new(),
    };
    world.cloud.balancer().listeners[0].rules = vec![Rule { arn: "r".into(), conditions: vec![], action: redirect }];
    world.cloud.obey();
    assert_eq!(world.browse(SHOP).get("/a").header("location"), Some("https://shop.example:8443/a"));
}

#[test]
fn versions_are_those_of_the_policy_and_who_fails_to_negotiate_is_counted() {
    let backend = Backend::named("a");
    let world = World::start(vec![target("i-a", backend.address)], TlsVersions::Only13);
    let stream = TcpStream::connect(world.cloud.address(0)).expect("connect");
    let mut old = StreamOwned::new(world.client(SHOP, &[&rustls::version::TLS12]), stream);
    let error =
        old.write_all(b"GET / HTTP/1.1\r\n\r\n").and_then(|()| old.read(&mut [0])).expect_err("no version in common");
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    let mut plain = world.cloud.browser();
    plain.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert!(plain.reader.read(&mut [0; 64]).is_ok_and(|count| count < 64), "an alert, and no answer");
    let mut counted = 0.0;
    wait_for("both are counted", || {
        counted += world.cloud.metric("ClientTLSNegotiationErrorCount");
        counted == 2.0
    });
    assert_eq!(world.browse(SHOP).get("/").text(), "a", "and the others are served");
}

#[test]
fn a_certificate_that_cannot_be_used_closes_its_listener_alone() {
    let backend = Backend::named("a");
    let mut roots = RootCertStore::empty();
    let broken = Certificate { key_pem: "nonsense".into(), ..certificate(&[SHOP], &mut roots) };
    let mut snapshot = snapshot(group(vec![target("i-a", backend.address)]));
    let mut listener = snapshot.load_balancers[0].listeners[0].clone();
    listener.arn = "broken".into();
    listener.tls = Some(Tls { certificates: vec![broken], versions: TlsVersions::Both });
    let cloud = Cloud::start(snapshot.clone());
    cloud.wait_healthy();
    snapshot.load_balancers[0].listeners.push(listener);
    cloud.plane.obey(Arc::new(snapshot));
    assert_eq!(cloud.get("/").text(), "a");
}
