//! Records. A record's id is the path of its ARN after the type (`app/NAME/16 hex`), so that ids of what belongs to a
//! load balancer begin with the load balancer's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use standfast_core::Timestamp;
use standfast_store::Record;

pub type Tags = BTreeMap<String, String>;
/// Attributes that were set; the others have their defaults (see `attributes`).
pub type Attributes = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancer {
    pub name: String,
    pub internal: bool,
    pub vpc: String,
    /// In order of the zones' names; one subnet in each.
    pub zones: Vec<ZoneMapping>,
    pub security_groups: Vec<String>,
    pub dns_name: String,
    pub state: State,
    pub created: Timestamp,
    pub attributes: Attributes,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ZoneMapping {
    pub zone: String,
    pub subnet: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Its nodes are not all there, or the data plane has not been told of it yet.
    Provisioning,
    Active,
}

impl Record for LoadBalancer {
    const TABLE: &'static str = "elbv2.load_balancers";

    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }
}

/// A load balancer's place in one of its subnets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The load balancer's id.
    pub load_balancer: String,
    pub subnet: String,
    /// `None` until it is made.
    pub interface: Option<Interface>,
}

/// A node's network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub id: String,
    pub address: Ipv4Addr,
    pub security_groups: Vec<String>,
}

impl Node {
    pub fn record_id(load_balancer: &str, subnet: &str) -> String {
        format!("{load_balancer}/{subnet}")
    }

    /// The description of its interface, by which people find it: `ELB app/NAME/16 hex`.
    pub fn description(&self) -> String {
        format!("ELB {}", self.load_balancer)
    }
}

impl Record for Node {
    const TABLE: &'static str = "elbv2.nodes";
}

/// A listener. Its default actions are those of its default rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// The load balancer's id.
    pub load_balancer: String,
    pub port: u16,
    /// What an HTTPS listener ends TLS with.
    #[serde(default)]
    pub secure: Option<Secure>,
    pub attributes: Attributes,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secure {
    /// The security policy's name.
    pub policy: String,
    /// Certificates by ARN, the default first.
    pub certificates: Vec<String>,
}

impl Listener {
    pub fn protocol(&self) -> &'static str {
        if self.secure.is_some() { "HTTPS" } else { "HTTP" }
    }
}

impl Record for Listener {
    const TABLE: &'static str = "elbv2.listeners";

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let mut indexes = vec![("load_balancer", self.load_balancer.clone())];
        let certificates = self.secure.iter().flat_map(|secure| &secure.certificates);
        indexes.extend(certificates.map(|arn| ("certificate", arn.clone())));
        indexes
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The load balancer's id.
    pub load_balancer: String,
    /// The listener's id.
    pub listener: String,
    /// `None` for the default rule: it comes last and has no conditions.
    pub priority: Option<u32>,
    pub conditions: Vec<Condition>,
    pub action: Action,
    pub tags: Tags,
}

impl Record for Rule {
    const TABLE: &'static str = "elbv2.rules";

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let mut indexes = vec![("load_balancer", self.load_balancer.clone()), ("listener", self.listener.clone())];
        indexes.extend(self.action.target_groups().map(|arn| ("target_group", arn.to_owned())));
        indexes
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Condition {
    Path(Vec<String>),
    Host(Vec<String>),
    Header {
        name: String,
        values: Vec<String>,
    },
    Method(Vec<String>),
    Query(Vec<(Option<String>, String)>),
    /// As they were written.
    SourceIp(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    pub order: Option<i32>,
    pub does: Does,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Does {
    Forward {
        /// By ARN, each once.
        groups: Vec<(String, u32)>,
        stickiness: Stickiness,
    },
    FixedResponse {
        status: u16,
        content_type: Option<String>,
        body: Option<String>,
    },
    Redirect {
        permanent: bool,
        protocol: String,
        host: String,
        port: String,
        path: String,
        query: String,
    },
}

/// Of a forward action: whether a client stays with its target group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stickiness {
    pub enabled: bool,
    pub duration_s: Option<i32>,
}

impl Action {
    /// The ARNs of the groups that it forwards to.
    pub fn target_groups(&self) -> impl Iterator<Item = &str> {
        let groups = match &self.does {
            Does::Forward { groups, .. } => groups.as_slice(),
            _ => &[],
        };
        groups.iter().map(|(arn, _)| arn.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetGroup {
    pub name: String,
    pub port: u16,
    pub vpc: String,
    pub target_type: TargetType,
    pub health: HealthCheck,
    pub attributes: Attributes,
    pub tags: Tags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetType {
    Instance,
    Ip,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub path: String,
    /// `None` is the traffic port.
    pub port: Option<u16>,
    pub interval_s: u32,
    pub timeout_s: u32,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    /// As it was written: `200`, `200-299`, `200,204`.
    pub matcher: String,
}

impl Record for TargetGroup {
    const TABLE: &'static str = "elbv2.target_groups";

    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }
}

/// A target of a group; its record's id is `GROUP ID/TARGET ID/PORT`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The target group's id.
    pub group: String,
    /// The instance's id, or an address.
    pub id: String,
    pub port: u16,
    /// Where it is, or `all`.
    pub zone: String,
    pub draining: Option<Draining>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    pub since: Timestamp,
    pub until: Timestamp,
}

impl Target {
    pub fn record_id(group: &str, id: &str, port: u16) -> String {
        format!("{group}/{id}/{port}")
    }
}

impl Record for Target {
    const TABLE: &'static str = "elbv2.targets";

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("group", self.group.clone())]
    }
}
