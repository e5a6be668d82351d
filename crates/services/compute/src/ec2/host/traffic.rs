//! What rules and ACL entries are about, as a host understands it: pure.

use standfast_core::network::Traffic;

use crate::ec2::model::{self, AclEntry};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;

/// The number of a protocol that is named or numbered; `None` is all of them.
fn number(protocol: &str) -> Option<u8> {
    match protocol {
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        "icmp" => Some(ICMP),
        "icmpv6" => Some(ICMP_V6),
        other => other.parse().ok(),
    }
}

/// A port range as records have it: what is absent or -1 is the end of all ports.
fn ports(from: Option<i32>, to: Option<i32>) -> (u16, u16) {
    let port = |value: Option<i32>, otherwise: u16| value.and_then(|port| port.try_into().ok()).unwrap_or(otherwise);
    (port(from, 0), port(to, u16::MAX))
}

/// A type or code; -1 is any.
fn icmp(value: Option<i32>) -> Option<u8> {
    value.and_then(|value| value.try_into().ok())
}

fn traffic(protocol: &str, ports: (u16, u16), kind: Option<i32>, code: Option<i32>) -> Option<Traffic> {
    match number(protocol) {
        None => Some(Traffic::All),
        Some(ICMP_V6) => None,
        Some(TCP) => Some(Traffic::Tcp(ports.0, ports.1)),
        Some(UDP) => Some(Traffic::Udp(ports.0, ports.1)),
        Some(ICMP) => Some(Traffic::Icmp(icmp(kind), icmp(code))),
        Some(other) => Some(Traffic::Protocol(other)),
    }
}

/// The traffic of a group's rule; `None` when no IPv4 packet is of it.
pub fn of_rule(rule: &model::Traffic) -> Option<Traffic> {
    traffic(&rule.protocol, ports(rule.from, rule.to), rule.from, rule.to)
}

/// The traffic of an ACL entry; `None` when no IPv4 packet is of it.
pub fn of_entry(entry: &AclEntry) -> Option<Traffic> {
    let (from, to) = entry.ports.unzip();
    let (kind, code) = entry.icmp.unzip();
    traffic(&entry.protocol, ports(from, to), kind, code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_read_by_name_and_number() {
        let rule = |protocol: &str, from, to| of_rule(&model::Traffic { protocol: protocol.to_owned(), from, to });
        assert_eq!(rule("-1", None, None), Some(Traffic::All));
        assert_eq!(rule("tcp", Some(80), Some(443)), Some(Traffic::Tcp(80, 443)));
        assert_eq!(rule("6", None, None), Some(Traffic::Tcp(0, u16::MAX)));
        assert_eq!(rule("17", Some(53), Some(53)), Some(Traffic::Udp(53, 53)));
        assert_eq!(rule("icmp", Some(-1), Some(-1)), Some(Traffic::Icmp(None, None)));
        assert_eq!(rule("icmp", Some(8), Some(-1)), Some(Traffic::Icmp(Some(8), None)));
        assert_eq!(rule("icmpv6", Some(-1), Some(-1)), None);
        assert_eq!(rule("50", None, None), Some(Traffic::Protocol(50)));
    }

    #[test]
    fn entries_have_ports_or_types() {
        let entry = |protocol: &str, ports, icmp| AclEntry {
            egress: false,
            number: 100,
            protocol: protocol.to_owned(),
            action: "allow".to_owned(),
            cidr: None,
            cidr_v6: None,
            ports,
            icmp,
        };
        assert_eq!(of_entry(&entry("-1", None, None)), Some(Traffic::All));
        assert_eq!(of_entry(&entry("6", Some((22, 22)), None)), Some(Traffic::Tcp(22, 22)));
        assert_eq!(of_entry(&entry("1", None, Some((8, -1)))), Some(Traffic::Icmp(Some(8), None)));
    }
}
