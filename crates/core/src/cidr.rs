//! Blocks of IPv4 addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A block such as `10.0.0.0/16`. Invariant: the bits after the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    base: u32,
    prefix: u8,
}

impl Cidr {
    /// Every address.
    pub const ANY: Self = Self { base: 0, prefix: 0 };

    /// The block that holds `address`, with the bits after the prefix set to zero; `None` for a prefix over 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| Self { base: u32::from(address) & mask(prefix), prefix })
    }

    pub fn prefix(self) -> u8 {
        self.prefix
    }

    pub fn base(self) -> Ipv4Addr {
        self.base.into()
    }

    /// How many addresses the block has.
    pub fn size(self) -> u64 {
        1 << (32 - self.prefix)
    }

    /// The `n`th address of the block, counted from zero; `None` past its end.
    pub fn nth(self, n: u64) -> Option<Ipv4Addr> {
        (n < self.size()).then(|| Ipv4Addr::from(self.base + n as u32))
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == self.base
    }

    /// Whether all of `other` lies within this block.
    pub fn covers(self, other: Cidr) -> bool {
        self.prefix <= other.prefix && self.contains(other.base())
    }

    pub fn overlaps(self, other: Cidr) -> bool {
        self.covers(other) || other.covers(self)
    }
}

fn mask(prefix: u8) -> u32 {
    if prefix == 0 { 0 } else { u32::MAX << (32 - prefix) }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

/// The text is not a block of addresses.
#[derive(Debug)]
pub struct NotACidr(pub String);

impl fmt::Display for NotACidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not an IPv4 CIDR block", self.0)
    }
}

impl FromStr for Cidr {
    type Err = NotACidr;

    /// Reads `a.b.c.d/n`. Bits after the prefix are set to zero, as EC2 does.
    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let bad = || NotACidr(text.into());
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        let address: Ipv4Addr = address.parse().map_err(|_| bad())?;
        Self::new(address, prefix.parse().map_err(|_| bad())?).ok_or_else(bad)
    }
}

impl TryFrom<String> for Cidr {
    type Error = NotACidr;
    fn try_from(text: String) -> Result<Self, NotACidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect(text)
    }

    #[test]
    fn blocks_know_what_they_hold() {
        let vpc = cidr("10.0.0.0/16");
        assert!(vpc.covers(cidr("10.0.255.0/24")) && !vpc.covers(cidr("10.1.0.0/24")));
        assert!(cidr("10.0.1.0/24").overlaps(vpc) && !cidr("10.0.1.0/24").overlaps(cidr("10.0.2.0/24")));
        assert_eq!(cidr("10.0.1.7/24").to_string(), "10.0.1.0/24");
        assert_eq!((cidr("0.0.0.0/0").size(), cidr("1.2.3.4/32").size()), (1 << 32, 1));
        assert_eq!(cidr("10.0.1.0/24").nth(5), Some(Ipv4Addr::new(10, 0, 1, 5)));
        assert_eq!(cidr("10.0.1.0/24").nth(256), None);
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "a/b", "10.0.0.0/-1"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
