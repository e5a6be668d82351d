//! Loopback addresses for instances, from 127.128.0.0/9.
//!
//! Invariant: no two instances of a pool share an address, and an instance whose id hashes to a free address gets the
//! same one in every run. The last byte is never 0 or 255, which people (and some programs) read as a network's ends.

use std::collections::HashSet;
use std::net::Ipv4Addr;

/// 127.128.0.0, the first address of the range.
const BASE: u32 = 0x7f80_0000;
/// How many addresses the range has; a power of two.
const SIZE: u32 = 1 << 23;

#[derive(Debug, Default)]
pub(crate) struct Pool {
    used: HashSet<Ipv4Addr>,
}

impl Pool {
    /// The address for this id: where its id hashes to, or the next free one. `None` when the range is used up.
    pub fn claim(&mut self, id: &str) -> Option<Ipv4Addr> {
        let start = hash(id);
        let free = (0..SIZE).map(|i| nth(start.wrapping_add(i))).find(|a| usable(*a) && !self.used.contains(a))?;
        self.used.insert(free);
        Some(free)
    }

    /// Takes exactly this address, which an instance had before; false when it is taken or outside the range.
    pub fn reclaim(&mut self, address: Ipv4Addr) -> bool {
        (BASE..BASE + SIZE).contains(&u32::from(address)) && usable(address) && self.used.insert(address)
    }

    pub fn release(&mut self, address: Ipv4Addr) {
        self.used.remove(&address);
    }
}

fn nth(i: u32) -> Ipv4Addr {
    Ipv4Addr::from(BASE | (i & (SIZE - 1)))
}

fn usable(address: Ipv4Addr) -> bool {
    !matches!(address.octets()[3], 0 | 255)
}

/// FNV-1a, folded to 32 bits.
fn hash(text: &str) -> u32 {
    let wide = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    (wide ^ (wide >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_the_same_in_every_run_and_never_shared() {
        let (mut a, mut b) = (Pool::default(), Pool::default());
        let mut seen = HashSet::new();
        for i in 0..5_000 {
            let id = format!("i-{i:017x}");
            let address = a.claim(&id).expect("the range is larger");
            assert_eq!(b.claim(&id), Some(address));
            assert!(address.octets()[0] == 127 && address.octets()[1] >= 128 && usable(address), "{address}");
            assert!(seen.insert(address), "{address} twice");
        }
    }

    #[test]
    fn a_collision_takes_the_next_free_address_and_a_release_frees_it() {
        let mut pool = Pool::default();
        let first = pool.claim("i-1").expect("free");
        let second = pool.claim("i-1").expect("free");
        assert_ne!(first, second);
        assert!(!pool.reclaim(first));
        pool.release(first);
        assert!(pool.reclaim(first));
        assert!(!pool.reclaim(Ipv4Addr::new(10, 0, 0, 1)));
    }
}
