//! The arithmetic of `Fn::Cidr`, for both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use standfast_core::Result;

use super::invalid;

/// How many blocks a call may ask for.
pub const BLOCKS_MAX: u32 = 256;

/// The first `count` blocks of `block` with `bits` host bits each.
pub fn blocks(block: &str, count: &str, bits: &str) -> Result<Vec<String>> {
    let bad = |what: &str| invalid(format!("Template error: Fn::Cidr {what}"));
    let count: u32 = count.parse().map_err(|_| bad(&format!("count '{count}' is not a number")))?;
    if !(1..=BLOCKS_MAX).contains(&count) {
        return Err(bad(&format!("count must be between 1 and {BLOCKS_MAX}, got {count}")));
    }
    let bits: u32 = bits.parse().map_err(|_| bad(&format!("cidrBits '{bits}' is not a number")))?;
    let parsed = block
        .split_once('/')
        .and_then(|(address, prefix)| Some((address.parse::<IpAddr>().ok()?, prefix.parse::<u32>().ok()?)));
    let (address, prefix) = parsed.ok_or_else(|| bad(&format!("ipBlock '{block}' is not a CIDR block")))?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    if prefix > width || bits > width || bits == 0 {
        return Err(bad(&format!("cannot cut '{block}' into blocks of {bits} bits")));
    }
    let new_prefix = width - bits;
    let fits = new_prefix >= prefix && (new_prefix - prefix >= 9 || 1u32 << (new_prefix - prefix) >= count);
    if !fits {
        return Err(bad(&format!("cannot cut {count} blocks of {bits} bits from '{block}'")));
    }
    Ok((0..count).map(|n| format!("{}/{new_prefix}", nth(address, prefix, bits, n))).collect())
}

/// The `n`th block's first address. The caller has checked that it lies within the block, so nothing overflows.
fn nth(address: IpAddr, prefix: u32, bits: u32, n: u32) -> IpAddr {
    let mask = |width: u32| u128::MAX.checked_shl(width - prefix).unwrap_or(0);
    let offset = u128::from(n).checked_shl(bits).unwrap_or(0);
    match address {
        IpAddr::V4(address) => {
            let base = u128::from(u32::from(address)) & mask(32);
            Ipv4Addr::from((base + offset) as u32).into()
        }
        IpAddr::V6(address) => Ipv6Addr::from((u128::from(address) & mask(128)) + offset).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_cut_into_equal_blocks() {
        assert_eq!(blocks("10.0.0.0/16", "3", "8").unwrap(), ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]);
        assert_eq!(blocks("192.168.0.0/24", "6", "5").unwrap().last().unwrap(), "192.168.0.160/27");
        assert_eq!(blocks("10.0.0.9/24", "1", "8").unwrap(), ["10.0.0.0/24"]);
        assert_eq!(blocks("2001:db8::/56", "2", "64").unwrap(), ["2001:db8::/64", "2001:db8:0:1::/64"]);
        assert_eq!(blocks("0.0.0.0/0", "256", "24").unwrap()[255], "255.0.0.0/8");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (block, count, bits) in [
            ("10.0.0.0/24", "2", "8"),
            ("10.0.0.0/24", "1", "9"),
            ("10.0.0.0/16", "0", "8"),
            ("10.0.0.0/16", "257", "4"),
            ("10.0.0.0/33", "1", "8"),
            ("10.0.0.0", "1", "8"),
            ("x/8", "1", "8"),
            ("10.0.0.0/16", "1", "0"),
            ("10.0.0.0/16", "1", "40"),
            ("10.0.0.0/16", "a", "8"),
        ] {
            assert!(blocks(block, count, bits).unwrap_err().message.contains("Fn::Cidr"), "{block} {count} {bits}");
        }
    }
}
