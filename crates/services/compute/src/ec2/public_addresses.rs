//! Addresses on the internet, for all accounts and regions: who gets which, and how answers show them.
//!
//! Invariant: an address of 127.128.0.0/9 has a record in `ec2.public_addresses` for as long as somebody has it, and
//! nobody else gets it meanwhile.

use std::net::Ipv4Addr;

use standfast_core::{Error, Result, Rng, Scope, Timestamp};
use standfast_store::{Txn, View};

use super::model::{Instance, InterfaceAddress, NetworkInterface, PublicAddress, PublicAddressUse, cloud};

/// 127.128.0.0/9.
const FIRST: u32 = 0x7f80_0000;
const COUNT: usize = 1 << 23;
/// How often a free address is looked for at random. With a million in use, one in eight tries fails.
const TRIES_MAX: usize = 64;

/// Whether an address may be given out at all.
pub fn is_usable(address: Ipv4Addr) -> bool {
    let number = u32::from(address);
    (FIRST..FIRST + COUNT as u32).contains(&number) && !matches!(number & 0xff, 0 | 0xff)
}

/// Takes a free address at random. `rng` must give the same in each run of the transaction: seed it before.
pub fn take(tx: &mut Txn, rng: &Rng, now: Timestamp) -> Result<Ipv4Addr> {
    for _ in 0..TRIES_MAX {
        let address = Ipv4Addr::from(FIRST + rng.below(COUNT) as u32);
        if is_usable(address) && take_this(tx, address, now) {
            return Ok(address);
        }
    }
    Err(Error::client("InsufficientAddressCapacity", "Insufficient capacity to satisfy the request.").with_status(500))
}

/// Takes this address; false when somebody has it.
pub fn take_this(tx: &mut Txn, address: Ipv4Addr, now: Timestamp) -> bool {
    let free = tx.get::<PublicAddressUse>(&cloud(), &address.to_string()).is_none();
    if free {
        tx.put(&cloud(), &address.to_string(), PublicAddressUse { since: now });
    }
    free
}

/// Gives an address back.
pub fn release(tx: &mut Txn, address: Ipv4Addr) {
    tx.delete::<PublicAddressUse>(&cloud(), &address.to_string());
}

/// The public address of a place on an interface. Where the control plane gives none, an instance has on its primary
/// address the one at which its host answers.
pub fn of(instance: Option<&Instance>, primary: bool, address: &InterfaceAddress) -> Option<PublicAddress> {
    let of_host = || {
        let address = instance.filter(|_| primary)?.public_ip?;
        Some(PublicAddress { address, allocation: None, association: None })
    };
    address.public.clone().or_else(of_host)
}

/// Where an instance is reached from outside.
pub fn of_instance(view: &View, scope: &Scope, instance: &Instance) -> Option<Ipv4Addr> {
    let primary = instance.interfaces.first().and_then(|id| view.get::<NetworkInterface>(scope, id));
    let elastic = primary.and_then(|interface| Some(interface.addresses.first()?.public.as_ref()?.address));
    elastic.or(instance.public_ip)
}

/// Who is said to own a public address: the account, when it has allocated it.
pub fn owner(scope: &Scope, address: &PublicAddress) -> String {
    if address.allocation.is_some() { scope.account.to_string() } else { "amazon".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_broadcast_addresses_are_not_given_out() {
        for (address, usable) in [
            ("127.128.0.0", false),
            ("127.128.0.1", true),
            ("127.200.7.255", false),
            ("127.255.255.254", true),
            ("127.127.0.1", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_usable(address.parse().expect("an address")), usable, "{address}");
        }
    }
}
