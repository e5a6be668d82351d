//! Between the control plane and the load balancers' data plane.
//!
//! The control plane publishes `LbSnapshot`; the data plane obeys the last one, decides health by itself, changes its
//! own routing at once, and shows what it sees in `LbObservation`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::metric::Datum;
use crate::name::{Name, named};
use crate::{BoxFuture, Cidr};

/// All load balancers of a cloud.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LbSnapshot {
    pub load_balancers: Vec<LoadBalancer>,
    /// By ARN.
    pub target_groups: BTreeMap<String, TargetGroup>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancer {
    pub arn: String,
    /// The metric dimension `LoadBalancer`: `app/NAME/16 hex`.
    pub dimension: String,
    /// `NAME-ID.REGION.elb.localhost`.
    pub dns_name: String,
    /// One node in each enabled zone.
    pub nodes: Vec<Node>,
    pub listeners: Vec<Listener>,
    pub idle_timeout_s: u32,
    pub xff_mode: XffMode,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub zone: String,
    /// Its place in the VPC, where instances have networks: probes and requests to targets leave from there.
    pub place: Option<NodePlace>,
    /// False while its zone has no power: its listeners are closed and its connections reset.
    pub up: bool,
}

/// A load balancer node's network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlace {
    /// Its private address; the source of what it sends, and an address that its listeners listen on.
    pub address: Ipv4Addr,
    /// Where its network namespace can be opened (see `HostObservation::namespaces`).
    pub namespace: std::path::PathBuf,
}

/// What happens to the X-Forwarded-For header of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum XffMode {
    #[default]
    Append,
    Preserve,
    Remove,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    pub arn: String,
    pub port: u16,
    /// What an HTTPS listener ends TLS with.
    pub tls: Option<Tls>,
    /// In order of priority; the last one has no conditions and is the default.
    pub rules: Vec<Rule>,
}

/// How TLS is spoken with clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The first is given to clients that name none of them.
    pub certificates: Vec<Certificate>,
    pub versions: TlsVersions,
}

/// The versions that a security policy allows, of those that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersions {
    Only12,
    Only13,
    Both,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The domain names that it is for; `*.` stands for one label.
    pub names: Vec<String>,
    /// The certificate and those of its issuers, as PEM.
    pub chain_pem: String,
    /// As PEM.
    pub key_pem: String,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub arn: String,
    /// All must hold.
    pub conditions: Vec<Condition>,
    pub action: Action,
}

/// Holds when any of its values matches. `*` stands for any characters and `?` for exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Condition {
    /// Case-sensitive, without the query.
    Path(Vec<String>),
    /// Case-insensitive, without the port.
    Host(Vec<String>),
    Header {
        name: String,
        values: Vec<String>,
    },
    Method(Vec<String>),
    Query(Vec<(Option<String>, String)>),
    SourceIp(Vec<Cidr>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    Forward {
        /// Target groups by ARN with weights 0 to 999.
        groups: Vec<(String, u32)>,
        /// How long a client stays with the group that it got, if it does.
        stickiness_s: Option<u32>,
    },
    FixedResponse {
        status: u16,
        content_type: String,
        body: String,
    },
    /// The parts may hold `#{protocol}`, `#{host}`, `#{port}`, `#{path}` and `#{query}`.
    Redirect {
        status: u16,
        protocol: String,
        host: String,
        port: String,
        path: String,
        query: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetGroup {
    pub arn: String,
    /// The metric dimension `TargetGroup`: `targetgroup/NAME/16 hex`.
    pub dimension: String,
    pub algorithm: Algorithm,
    pub health: HealthCheck,
    pub targets: Vec<Target>,
    /// How long a deregistered target's requests may go on.
    pub deregistration_delay_ms: u64,
    /// Seconds of an AWSALB cookie, when stickiness is on.
    pub stickiness_s: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    #[default]
    RoundRobin,
    LeastOutstandingRequests,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub enabled: bool,
    /// The port when it is not the traffic port.
    pub port: Option<u16>,
    pub path: String,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    /// Ranges of HTTP codes that count as healthy, both ends included.
    pub matcher: Vec<(u16, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The instance id, or the address for targets by IP.
    pub id: String,
    pub port: u16,
    pub zone: String,
    /// Where it can be reached; a target without an address gets no probes and no requests.
    pub address: Option<Ipv4Addr>,
    /// Set when it was deregistered: no new requests; forgotten when the time has come or its requests are done.
    pub draining_until: Option<Timestamp>,
}

impl Target {
    pub fn socket(&self) -> Option<SocketAddr> {
        self.address.map(|address| (address, self.port).into())
    }
}

/// A target within a target group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetKey {
    pub target_group_arn: String,
    pub id: String,
    pub port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LbObservation {
    /// Health of every target that has an address and whose group is used by a listener.
    pub targets: BTreeMap<TargetKey, Health>,
    /// Where each node's listeners really are: (load balancer ARN, zone, port) to a socket address. Where the port
    /// cannot be bound this is another port, and the name answers on the API's port only.
    pub listeners: BTreeMap<(String, String, u16), SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// Registered, not yet decided.
    Initial,
    Healthy,
    /// The reason code of DescribeTargetHealth (`Target.ResponseCodeMismatch`, `Target.Timeout`,
    /// `Target.FailedHealthChecks`) and its description.
    Unhealthy {
        #[serde(deserialize_with = "named")]
        reason: Name,
        description: String,
    },
    /// Deregistered, with this many requests still under way.
    Draining {
        in_flight: usize,
    },
}

/// What a node of a load balancer, or the targets of a group in a zone, have counted since the data plane knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// `LoadBalancer::dimension`.
    pub balancer: String,
    /// `TargetGroup::dimension`; none for a node.
    pub group: Option<String>,
    /// The zone of the node, or of the targets.
    pub zone: String,
    pub counts: TrafficCounts,
}

/// Counters that only grow, until a new data plane begins with zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficCounts {
    /// Requests that were sent to a target.
    pub requests: u64,
    /// Answers of any kind, also the load balancer's own.
    pub answers: u64,
    /// Answers with a status of 500 or more.
    pub errors: u64,
    /// Connections that targets refused or broke.
    pub connection_errors: u64,
    /// Answers of targets, and how long all of them took together.
    pub timed: u64,
    pub time_us: u64,
}

/// The load balancers' data plane, or a simulation of it.
pub trait LbDriver: Send + Sync + 'static {
    /// Takes the state that should be and returns at once.
    fn obey(&self, snapshot: Arc<LbSnapshot>);

    fn observe(&self) -> LbObservation;

    /// Resolves at the next change of any target's health after the call of this method.
    fn changed(&self) -> BoxFuture<'static, ()>;

    /// What was measured since the last call.
    fn take_metrics(&self) -> Vec<Datum>;

    /// The traffic so far, for whoever watches it live. Nothing when the data plane does not answer.
    fn traffic(&self) -> Vec<Traffic>;

    /// Closes everything; resolves when in-flight requests are done or `grace` has passed.
    fn shutdown(&self, grace: Duration) -> BoxFuture<'static, ()>;
}
