//! What the DHCP server of a VPC tells instances: pure.

use std::net::Ipv4Addr;

use standfast_core::Cidr;

use crate::ec2::model::DhcpOptions;

/// The name by which options refer to the VPC's own resolver.
const OWN_RESOLVER: &str = "AmazonProvidedDNS";
/// Its address, counted from the base of the VPC's first block.
const OWN_RESOLVER_NUMBER: u64 = 2;
/// What instances ask in a VPC without options, as those of Nitro do.
const RESOLVER_DEFAULT: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lease {
    pub resolvers: Vec<Ipv4Addr>,
    /// The domains in which short names are looked for, with a space between.
    pub search: String,
}

pub fn lease(first_block: Cidr, options: Option<&DhcpOptions>) -> Lease {
    let Some(options) = options else { return Lease { resolvers: vec![RESOLVER_DEFAULT], search: String::new() } };
    let address = |word: &str| match word.eq_ignore_ascii_case(OWN_RESOLVER) {
        true => first_block.nth(OWN_RESOLVER_NUMBER),
        false => word.parse().ok(),
    };
    let domains: Vec<&str> = options.words("domain-name").map(|domain| domain.trim_end_matches('.')).collect();
    Lease { resolvers: options.words("domain-name-servers").filter_map(address).collect(), search: domains.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &[&str])]) -> DhcpOptions {
        let owned = |(key, values): &(&str, &[&str])| {
            ((*key).to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
        };
        DhcpOptions { options: pairs.iter().map(owned).collect() }
    }

    fn leased(options: Option<&DhcpOptions>) -> (String, String) {
        let lease = lease("10.3.0.0/16".parse().expect("a block"), options);
        (lease.resolvers.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(" "), lease.search)
    }

    #[test]
    fn resolvers_and_domains_are_those_of_the_options() {
        let usual = options(&[
            ("domain-name", &["eu-west-1.compute.internal"]),
            ("domain-name-servers", &["AmazonProvidedDNS"]),
        ]);
        assert_eq!(leased(Some(&usual)), ("10.3.0.2".into(), "eu-west-1.compute.internal".into()));
        let own = options(&[
            ("domain-name-servers", &["10.3.7.7, 10.3.7.8", "fd00::1"]),
            ("domain-name", &["corp.example. lab.example"]),
        ]);
        assert_eq!(leased(Some(&own)), ("10.3.7.7 10.3.7.8".into(), "corp.example lab.example".into()));
        assert_eq!(leased(Some(&options(&[("ntp-servers", &["10.3.0.9"])]))), (String::new(), String::new()));
        assert_eq!(leased(None), ("169.254.169.253".into(), String::new()));
    }
}
