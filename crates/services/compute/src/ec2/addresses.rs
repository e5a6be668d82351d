//! Which addresses of a subnet are free: pure.
//!
//! Invariant: the first four addresses and the last one of a block are never given out.

use std::net::Ipv4Addr;

use standfast_core::Cidr;

use super::model::Addresses;

/// The network, the router, the name server, one kept back; and the broadcast address.
const RESERVED_FIRST: u32 = 4;
const RESERVED_LAST: u32 = 1;

/// Why an address cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No address is left.
    Full,
    /// It is not in the block, or reserved.
    OutOfRange,
    InUse,
}

impl Addresses {
    /// How many addresses can still be given out.
    pub fn free(&self, block: Cidr) -> u32 {
        let used: u32 = self.used.iter().map(|(from, to)| to - from).sum();
        (block.size() as u32).saturating_sub(RESERVED_FIRST + RESERVED_LAST + used)
    }

    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    /// Takes the lowest free address.
    pub fn take_lowest(&mut self, block: Cidr) -> Result<Ipv4Addr, Refused> {
        let lowest = match self.used.first() {
            Some((from, to)) if *from == RESERVED_FIRST => *to,
            _ => RESERVED_FIRST,
        };
        if u64::from(lowest) + u64::from(RESERVED_LAST) >= block.size() {
            return Err(Refused::Full);
        }
        self.insert(lowest);
        Ok(block.nth(lowest.into()).expect("below the block's size"))
    }

    /// Takes this address.
    pub fn take(&mut self, block: Cidr, address: Ipv4Addr) -> Result<(), Refused> {
        if !block.contains(address) {
            return Err(Refused::OutOfRange);
        }
        let offset = u32::from(address) - u32::from(block.base());
        if offset < RESERVED_FIRST || u64::from(offset) + u64::from(RESERVED_LAST) >= block.size() {
            return Err(Refused::OutOfRange);
        }
        if self.used.iter().any(|(from, to)| (*from..*to).contains(&offset)) {
            return Err(Refused::InUse);
        }
        self.insert(offset);
        Ok(())
    }

    /// Gives an address back; nothing happens when it is free.
    pub fn release(&mut self, block: Cidr, address: Ipv4Addr) {
        let Some(offset) = u32::from(address).checked_sub(u32::from(block.base())) else { return };
        let Some(at) = self.used.iter().position(|(from, to)| (*from..*to).contains(&offset)) else { return };
        let (from, to) = self.used[at];
        let rest = [(from, offset), (offset + 1, to)].into_iter().filter(|(from, to)| from < to);
        self.used.splice(at..=at, rest);
    }

    /// Adds a free offset, joining the ranges that it touches.
    fn insert(&mut self, offset: u32) {
        let at = self.used.partition_point(|(from, _)| *from < offset);
        let joins_left = at > 0 && self.used[at - 1].1 == offset;
        let joins_right = self.used.get(at).is_some_and(|(from, _)| *from == offset + 1);
        match (joins_left, joins_right) {
            (true, true) => {
                self.used[at - 1].1 = self.used[at].1;
                self.used.remove(at);
            }
            (true, false) => self.used[at - 1].1 = offset + 1,
            (false, true) => self.used[at].0 = offset,
            (false, false) => self.used.insert(at, (offset, offset + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn block() -> Cidr {
        "10.0.0.0/28".parse().expect("valid")
    }

    #[test]
    fn reserved_addresses_are_never_given_out() {
        let mut addresses = Addresses::default();
        assert_eq!(addresses.free(block()), 11);
        let given: Vec<String> =
            std::iter::from_fn(|| addresses.take_lowest(block()).ok()).map(|address| address.to_string()).collect();
        assert_eq!((given.len(), given[0].as_str(), given[10].as_str()), (11, "10.0.0.4", "10.0.0.14"));
        assert_eq!(addresses.take_lowest(block()), Err(Refused::Full));
        assert_eq!(addresses.free(block()), 0);
        for (address, refused) in [
            ("10.0.0.3", Refused::OutOfRange),
            ("10.0.0.15", Refused::OutOfRange),
            ("10.0.1.4", Refused::OutOfRange),
            ("10.0.0.5", Refused::InUse),
        ] {
            assert_eq!(addresses.take(block(), address.parse().expect("valid")), Err(refused), "{address}");
        }
    }

    proptest! {
        /// Whatever is taken and released, the ranges say the same as a plain set.
        #[test]
        fn ranges_agree_with_a_set(steps in proptest::collection::vec((0u8..3, 0u8..16), 0..80)) {
            let (mut addresses, mut model) = (Addresses::default(), BTreeSet::new());
            for (step, offset) in steps {
                let address = block().nth(offset.into()).expect("in the block");
                match step {
                    0 => {
                        let lowest = (4..15u8).find(|free| !model.contains(free));
                        let got = addresses.take_lowest(block()).ok();
                        prop_assert_eq!(got, lowest.map(|free| block().nth(free.into()).expect("in the block")));
                        model.extend(lowest);
                    }
                    1 => {
                        let ok = (4..15).contains(&offset) && !model.contains(&offset);
                        prop_assert_eq!(addresses.take(block(), address).is_ok(), ok);
                        if ok { model.insert(offset); }
                    }
                    _ => {
                        addresses.release(block(), address);
                        model.remove(&offset);
                    }
                }
                prop_assert_eq!(addresses.free(block()) as usize, 11 - model.len());
                prop_assert!(addresses.used.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
        }
    }
}
