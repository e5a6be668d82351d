//! Security groups, their rules, and key pairs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use standfast_core::id::{self, Id};
use standfast_core::{Cidr, Timestamp};
use standfast_store::Record;

use crate::ec2::errors::Keyed;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub vpc: Id<id::Vpc>,
    pub name: String,
    pub description: String,
    pub rules: Vec<Rule>,
}

/// One direction, protocol, port range and peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub id: Id<id::SecurityGroupRule>,
    pub egress: bool,
    pub traffic: Traffic,
    pub peer: Peer,
    pub description: Option<String>,
}

/// What a rule is about. Two rules of a group and direction with the same traffic and peer are the same rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Traffic {
    /// `-1`, `tcp`, `udp`, `icmp`, `icmpv6` or a protocol's number.
    pub protocol: String,
    pub from: Option<i32>,
    pub to: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    V4(Cidr),
    V6(String),
    Group(Id<id::SecurityGroup>),
    PrefixList(String),
}

impl SecurityGroup {
    /// The index value of the unique name.
    pub fn name_key(vpc: &str, name: &str) -> String {
        format!("{vpc}/{name}")
    }
}

impl Record for SecurityGroup {
    const TABLE: &'static str = "ec2.security_groups";
    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("name", Self::name_key(&self.vpc, &self.name))]
    }
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let rules = self.rules.iter().map(|rule| ("rule", rule.id.to_string()));
        let peers: BTreeSet<_> = (self.rules.iter())
            .filter_map(|rule| match &rule.peer {
                Peer::Group(group) => Some(("peer", group.to_string())),
                _ => None,
            })
            .collect();
        rules.chain(peers).chain([("vpc", self.vpc.to_string())]).collect()
    }
}
impl Keyed for SecurityGroup {
    type Kind = id::SecurityGroup;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyPair {
    pub name: String,
    /// `rsa` or `ed25519`.
    pub key_type: String,
    pub fingerprint: String,
    /// The line of OpenSSH.
    pub public_key: String,
    pub created: Timestamp,
}

impl Record for KeyPair {
    const TABLE: &'static str = "ec2.key_pairs";
    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }
}
impl Keyed for KeyPair {
    type Kind = id::KeyPair;
}
