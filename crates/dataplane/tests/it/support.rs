//! A cloud of one load balancer: backends, a plane, a client.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use standfast_core::lb::*;
use standfast_core::{Clock, Rng, Timestamp};
use standfast_dataplane::{Plane, PlaneConfig, socket_of};

pub const LB: &str = "arn:aws:elasticloadbalancing:eu-west-1:000000000000:loadbalancer/app/web/0123456789abcdef";
pub const TG: &str = "arn:aws:elasticloadbalancing:eu-west-1:000000000000:targetgroup/web/0123456789abcdef";
pub const NAME: &str = "web-1.eu-west-1.elb.localhost";
pub const ZONES: [&str; 2] = ["eu-west-1a", "eu-west-1b"];
/// Everything here takes milliseconds; whoever waits longer has failed.
pub const LIMIT: Duration = Duration::from_secs(10);
const ROUND: Duration = Duration::from_millis(2);

/// Waits for a state.
pub fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    let (_never, pause) = std::sync::mpsc::channel::<()>();
    for _ in 0..LIMIT.as_millis() / ROUND.as_millis() {
        if reached() {
            return;
        }
        let _ = pause.recv_timeout(ROUND);
    }
    panic!("did not happen: {what}");
}

/// A request as a backend got it.
#[derive(Clone, Debug, Default)]
pub struct Got {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Got {
    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or("")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What a backend does with a request.
pub type Handler = dyn Fn(&Got, &mut TcpStream) -> After + Send + Sync;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum After {
    Keep,
    Close,
}

/// A server of one thread per connection. `/health` is answered by itself with 200.
pub struct Backend {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<Mutex<Vec<Got>>>,
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    pub fn start(handler: impl Fn(&Got, &mut TcpStream) -> After + Send + Sync + 'static) -> Self {
        Self::listen(TcpListener::bind((own_address(), 0)).expect("bind"), Arc::new(handler))
    }

    /// Answers every request with its own name.
    pub fn named(name: &'static str) -> Self {
        Self::start(move |_, stream| answer(stream, 200, name.as_bytes()))
    }

    fn listen(listener: TcpListener, handler: Arc<Handler>) -> Self {
        let address = listener.local_addr().expect("address");
        let connections = Arc::new(AtomicUsize::new(0));
        let requests: Arc<Mutex<Vec<Got>>> = Arc::default();
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let shared = (connections.clone(), Arc::clone(&requests), stop.clone(), Arc::clone(&open));
        let thread = std::thread::spawn(move || {
            let (connections, requests, stop, open) = shared;
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                lock(&open).push(stream.try_clone().expect("clone"));
                let (handler, requests, connections) = (handler.clone(), Arc::clone(&requests), connections.clone());
                std::thread::spawn(move || serve(stream, &*handler, &requests, &connections));
            }
        });
        Self { address, connections, requests, stop, open, thread: Some(thread) }
    }

    pub fn seen(&self) -> Vec<Got> {
        lock(&self.requests).clone()
    }

    /// As if the process was killed: its listener and connections are gone.
    pub fn kill(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        thread.join().expect("backend");
        for stream in lock(&self.open).drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}

fn serve(mut stream: TcpStream, handler: &Handler, requests: &Mutex<Vec<Got>>, connections: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().expect("clone"));
    let mut first = true;
    while let Some(got) = read_message(&mut reader) {
        if got.path() == "/health" {
            answer(&mut stream, 200, b"");
            break;
        }
        if std::mem::take(&mut first) {
            connections.fetch_add(1, Ordering::SeqCst);
        }
        lock(requests).push(got.clone());
        if handler(&got, &mut stream) == After::Close {
            break;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

pub fn answer(stream: &mut TcpStream, status: u16, body: &[u8]) -> After {
    let head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    After::Keep
}

/// Reads a request or an answer with its body; `None` at the end.
pub fn read_message(reader: &mut impl BufRead) -> Option<Got> {
    let mut got = read_head(reader)?;
    if got.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(read_line(reader)?.split(';').next()?, 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            got.body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Some(got);
            }
        }
    }
    if let Some(length) = got.header("content-length") {
        got.body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut got.body).ok()?;
    } else if got.line.starts_with("HTTP/") && !got.line.contains(" 204 ") && !got.line.contains(" 304 ") {
        reader.read_to_end(&mut got.body).ok()?;
    }
    Some(got)
}

pub fn read_head(reader: &mut impl BufRead) -> Option<Got> {
    let mut got = Got { line: read_line(reader)?, ..Got::default() };
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else { return Some(got) };
        got.headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let count = reader.read_line(&mut line).ok()?;
    (count > 0).then(|| line.trim_end().to_owned())
}

/// A client's connection.
pub struct Browser {
    pub stream: TcpStream,
    pub reader: BufReader<TcpStream>,
}

impl Browser {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("connect"))
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(LIMIT)).expect("timeout");
        Self { reader: BufReader::new(stream.try_clone().expect("clone")), stream }
    }

    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("send");
    }

    pub fn receive(&mut self) -> Got {
        read_message(&mut self.reader).expect("an answer")
    }

    pub fn get(&mut self, path: &str) -> Got {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n"));
        self.receive()
    }

    /// Whether the connection has ended without another byte.
    pub fn is_closed(&mut self) -> bool {
        !matches!(self.reader.read(&mut [0]), Ok(count) if count > 0)
    }
}

impl Got {
    /// The status of an answer.
    pub fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub fn target(id: &str, address: SocketAddr) -> Target {
    let SocketAddr::V4(v4) = address else { panic!("IPv4 only") };
    let zone = ZONES[0].into();
    Target { id: id.into(), port: v4.port(), zone, address: Some(*v4.ip()), draining_until: None }
}

/// An address where nobody listens, and nobody else will.
pub fn nowhere() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    socket.bind(&SocketAddr::from((own_address(), 0)).into()).expect("bind");
    let address = socket.local_addr().expect("address").as_socket().expect("IPv4");
    std::mem::forget(socket); // Bound and not listening, until the tests end.
    address
}

/// An address that no other backend has: its ports are not given to others when it is gone.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let own = Ipv4Addr::from(0x7f01_0000 + NEXT.fetch_add(1, Ordering::SeqCst) as u32);
    if TcpListener::bind((own, 0)).is_ok() { own } else { Ipv4Addr::LOCALHOST }
}

pub fn group(targets: Vec<Target>) -> TargetGroup {
    TargetGroup {
        arn: TG.into(),
        dimension: "targetgroup/web/0123456789abcdef".into(),
        algorithm: Algorithm::RoundRobin,
        health: HealthCheck {
            enabled: true,
            port: None,
            path: "/health".into(),
            interval_ms: 50,
            timeout_ms: 5_000,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: vec![(200, 200)],
        },
        targets,
        deregistration_delay_ms: 300_000,
        stickiness_s: None,
    }
}

pub fn forward() -> Rule {
    Rule {
        arn: "default".into(),
        conditions: vec![],
        action: Action::Forward { groups: vec![(TG.into(), 1)], stickiness_s: None },
    }
}

/// A load balancer with a node in each zone and one listener, on a port that the system chooses.
pub fn snapshot(group: TargetGroup) -> LbSnapshot {
    LbSnapshot {
        load_balancers: vec![LoadBalancer {
            arn: LB.into(),
            dimension: "app/web/0123456789abcdef".into(),
            dns_name: NAME.into(),
            nodes: ZONES.iter().map(|zone| Node { place: None, zone: (*zone).into(), up: true }).collect(),
            listeners: vec![Listener { arn: "listener".into(), port: 0, tls: None, rules: vec![forward()] }],
            idle_timeout_s: 60,
            xff_mode: XffMode::Append,
        }],
        target_groups: BTreeMap::from([(TG.into(), group)]),
    }
}

/// A plane with the snapshot that it obeys.
pub struct Cloud {
    pub plane: Plane,
    pub snapshot: LbSnapshot,
    pub clock: Clock,
}

impl Cloud {
    pub fn start(snapshot: LbSnapshot) -> Self {
        Self::start_with(snapshot, 1, 1.0)
    }

    pub fn start_with(snapshot: LbSnapshot, workers: usize, speed: f64) -> Self {
        let clock = Clock::starting_at(Timestamp(1_800_000_000_000), speed);
        let config = PlaneConfig { workers, speed, clock: clock.clone(), rng: Rng::seeded(7) };
        let cloud = Self { plane: Plane::start(config).expect("start"), snapshot, clock };
        cloud.obey();
        cloud
    }

    /// One that serves `targets`, all of them known to be healthy.
    pub fn serving(targets: Vec<Target>) -> Self {
        let cloud = Self::start(snapshot(group(targets)));
        cloud.wait_healthy();
        cloud
    }

    pub fn obey(&self) {
        self.plane.obey(Arc::new(self.snapshot.clone()));
        wait_for("the listeners are where they should be", || {
            let balancers = &self.snapshot.load_balancers;
            let nodes = |lb: &LoadBalancer| lb.nodes.iter().filter(|node| node.up).count() * lb.listeners.len();
            self.plane.observe().listeners.len() == balancers.iter().map(nodes).sum::<usize>()
        });
    }

    pub fn group(&mut self) -> &mut TargetGroup {
        self.snapshot.target_groups.get_mut(TG).expect("the group")
    }

    pub fn balancer(&mut self) -> &mut LoadBalancer {
        &mut self.snapshot.load_balancers[0]
    }

    pub fn wait_healthy(&self) {
        wait_for("all are healthy", || self.plane.observe().targets.values().all(|health| *health == Health::Healthy));
    }

    pub fn health(&self, id: &str) -> Health {
        let targets = self.plane.observe().targets;
        targets.into_iter().find(|(key, _)| key.id == id).expect("a target").1
    }

    pub fn address(&self, zone: usize) -> SocketAddr {
        let port = self.snapshot.load_balancers[0].listeners[0].port;
        socket_of(&self.plane.observe(), LB, ZONES[zone], port).expect("a listener")
    }

    pub fn browser(&self) -> Browser {
        Browser::connect(self.address(0))
    }

    pub fn get(&self, path: &str) -> Got {
        self.browser().get(path)
    }

    /// The sum of a metric of the load balancer.
    pub fn metric(&self, name: &str) -> f64 {
        let data = self.plane.take_metrics();
        data.iter().filter(|datum| datum.name == name && datum.dimensions.len() == 1).map(|datum| datum.stats.sum).sum()
    }
}
